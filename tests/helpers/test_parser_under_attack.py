"""The parser against a fuzzer's corpus, mutated generations of the model, deep nesting and a megabyte of anything."""

import contextlib
import json
import random
import time
from pathlib import Path

import pytest

from helpers.calls import MAX_DEPTH, ParseError, parse, serialize
from helpers.chat import CONTROL_TOKENS

CORPUS = Path(__file__).parent / "corpus"
FUZZED = [json.loads(line) for line in (CORPUS / "parser.txt").read_text(encoding="utf-8").splitlines()]
GENERATED = [json.loads(line) for line in (CORPUS / "generations.txt").read_text(encoding="utf-8").splitlines()]
PIECES = [*CONTROL_TOKENS, "{", "}", "[", "]", ",", ":", "call:", "null", "-", "1e9", "\u200f", "ة", "\x00", "\n", " "]


def outcome(text: str) -> str:
    """Either "calls" or "error"; anything else that parse does fails the test."""
    try:
        found = parse(text)
    except ParseError as error:
        assert 0 <= error.position <= len(text) and error.reason
        return "error"
    assert parse(serialize(found)) == found
    return "calls"


def test_the_fuzzers_corpus_gives_calls_or_errors():
    outcomes = [outcome(text) for text in FUZZED]
    print(
        f"{len(FUZZED)} inputs kept of 1,000,000 fuzzed (make fuzz): "
        f"{outcomes.count('calls')} give calls, {outcomes.count('error')} errors"
    )
    assert len(FUZZED) >= 100 and min(outcomes.count("calls"), outcomes.count("error")) >= 5


def mutated(text: str, draw: random.Random) -> str:
    """One to three edits: a piece put in, taken out, doubled or exchanged."""
    for _ in range(draw.randint(1, 3)):
        start = draw.randrange(len(text) + 1)
        stop = min(len(text), start + draw.choice((1, 2, 8, 21)))
        text = text[:start] + draw.choice(["", draw.choice(PIECES), text[start:stop] * 2, text[::-1][:3]]) + text[stop:]
    return text


def test_mutated_generations_give_calls_or_errors():
    draw = random.Random(3407)
    outcomes = [outcome(mutated(text, draw)) for text in GENERATED for _ in range(400)]
    print(
        f"{len(outcomes)} mutations of {len(GENERATED)} real generations: "
        f"{outcomes.count('calls')} give calls, {outcomes.count('error')} errors"
    )
    assert len(GENERATED) >= 40 and all(outcome(text) == "calls" for text in GENERATED)
    assert min(outcomes.count("calls"), outcomes.count("error")) >= 500


def wrapped(value: str) -> str:
    return f"<start_function_call>call:f{{a:{value}}}<end_function_call>"


def test_nesting_is_bounded():
    for opener, closer in (("[", "]"), ("{a:", "}")):
        allowed = MAX_DEPTH - 2  # the arguments themselves are level 1
        assert parse(wrapped(opener * allowed + "1" + closer * allowed))
        for depth in (allowed + 1, 100_000):
            with pytest.raises(ParseError, match=f"nested deeper than {MAX_DEPTH}"):
                parse(wrapped(opener * depth + "1" + closer * depth))


SHAPES = {
    "one long string": lambda n: wrapped("<escape>" + "ا" * n + "<escape>"),
    "many keys": lambda n: wrapped("{" + ",".join(f"k{i}:1" for i in range(n // 9)) + "}"),
    "many numbers": lambda n: wrapped("[" + "12," * (n // 3) + "1]"),
    "many calls": lambda n: wrapped("1") * (n // 48),
    "text without a call": lambda n: "كلام " * (n // 5),
    "one endless number": lambda n: wrapped("1" * n),
    "one endless word": lambda n: wrapped("t" * n),
    "openers only": lambda n: "<start_function_call>" * (n // 21),
    "a string never closed": lambda n: wrapped("<escape>" + "<" * n),
    "spaces after a call": lambda n: wrapped("1") + " " * n,
}


def seconds(shape, n: int) -> float:
    """The processor time of one parse, the best of three: load from elsewhere does not count."""
    text, best = SHAPES[shape](n), float("inf")
    for _ in range(3):
        started = time.process_time()
        outcome_only(text)
        best = min(best, time.process_time() - started)
    return best


def outcome_only(text: str) -> None:
    with contextlib.suppress(ParseError):
        parse(text)


@pytest.mark.parametrize("shape", SHAPES)
def test_time_grows_with_length_and_not_with_its_square(shape):
    """Sixteen times the text takes about sixteen times as long; a quadratic parser would take 256 times."""
    small, large = seconds(shape, 2**16), seconds(shape, 2**20)
    print(f"{shape}: 1 MB in {1000 * large:.1f} ms, {large / max(small, 1e-4):.1f} times 64 kB")
    assert large / max(small, 1e-3) < 80
