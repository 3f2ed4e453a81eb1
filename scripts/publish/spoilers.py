"""What tells a reader the answer before the bet: text of earlier cells, and controls that suggest it.

The answers are read from the recaps of the stored notebooks. A text twin has no outputs, so that there prose alone is
looked at.
"""

from __future__ import annotations

import ast
import re

from .books import Book, Cell

_RECAP = re.compile(r"^(\S+) +your bet: .*?measured: (.*?)(?:  \(.*\))?$", re.M)
_NUMBER = re.compile(r"(?<![\w.])[-−]?\d[\d,]*(?:\.\d+)?(?![\w])")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n\s*\n|\n(?=[|>#-])")
_COMMON = set(
    "about above after before between does each every first from have into many much only other than that their then "
    "there these they this those what when where which while will with without write your".split()
)
_REACH = 0.02  # of a slider's range: how near one of its steps must come to the answer


def answers(books: list[Book]) -> dict[str, str]:
    """Bet id -> what was measured, as the recaps of stored notebooks print it."""
    return {
        bet: measured
        for each in books
        for cell in each.cells("code")
        if "exercises.recap" in cell.source
        for bet, measured in _RECAP.findall(cell.text)
    }


def bets(cell: Cell) -> list[dict]:
    """The bets that a code cell places: ``id``, ``question``, and the literal keywords of the call."""
    if cell.kind != "code" or "exercises.bet(" not in cell.source:
        return []
    found = []
    for node in ast.walk(ast.parse(cell.source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "exercises.bet":
            named = [*zip(("id", "question"), node.args, strict=False), *((k.arg, k.value) for k in node.keywords)]
            bet = {"question": ""}
            for name, value in named:
                try:
                    bet[name] = ast.literal_eval(value)
                except ValueError:  # computed in the notebook: nothing to hold an answer against
                    continue
            found.append(bet)
    return found


def spoiled(each: Book, known: dict[str, str]) -> list[str]:
    """Bets whose answer stands in an earlier cell of the notebook, one line each.

    A sentence or a line of output gives a bet away when it holds the answer beside words of the question: two of them,
    one for a number of three digits or more. An option gives it away only where no other option stands beside it. A
    control token among the options gives it away in any output, since it needs no words. A number that the question
    names itself is no answer.
    """
    found, before = [], []
    for cell in each.cells():
        for bet in bets(cell):
            if (answer := known.get(bet["id"])) is not None:
                found += [
                    f"bet {bet['id']!r}: its answer, {answer}, stands before it: {' '.join(text.split())[:90]}"
                    for printed, text in before
                    if _tells(text, printed, bet, answer)
                ][:1]
        before += [(True, line) for line in cell.text.splitlines()] if cell.kind == "code" else _sentences(cell.source)
    return found


def _sentences(markdown: str) -> list[tuple[bool, str]]:
    """(False, sentence) for each sentence of prose that stands open, without code blocks and link targets."""
    shown = re.sub(r"```.*?```|<details>.*?</details>|<!--.*?-->|\]\([^)]*\)", " ", markdown, flags=re.S)
    return [(False, part) for part in _SENTENCE.split(shown) if part.strip()]


def _tells(text: str, printed: bool, bet: dict, answer: str) -> bool:
    """Whether one sentence, or one ``printed`` line, gives a bet's answer away (see ``spoiled``)."""
    if options := bet.get("options"):
        if answer not in options or not _holds(text, answer):
            return False
        if any(_holds(text, other) for other in options if other != answer and other not in answer):
            return False
        return (printed and answer.startswith("<")) or _shared(text, bet) >= 2
    measured = _number(answer)
    if measured is None or "**Your bet" in text or measured in map(_number, _NUMBER.findall(bet["question"])):
        return False
    exact = [token for token in _NUMBER.findall(text) if _number(token) == measured]
    digits = re.sub(r"\D", "", answer.split("e")[0]).strip("0")
    return bool(exact) and _shared(text, bet) >= (1 if len(digits) >= 3 else 2)


def _holds(text: str, option: str) -> bool:
    """Whether an option's words stand in a text, not as a part of longer words."""
    return re.search(rf"(?<!\w){re.escape(option)}(?!\w)", text, re.I) is not None


def _number(text: str) -> float | None:
    met = re.match(r"[-+−]?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?", text)
    return float(met.group().replace("−", "-").replace(",", "")) if met else None


def _shared(text: str, bet: dict) -> int:
    """How many telling words of a bet's question, its unit included, a text has; endings do not count."""

    def stems(words: str) -> set[str]:
        return {w[:5] for w in re.findall(r"[a-zα-ω_]{4,}", words.lower()) if w not in _COMMON}

    asked = stems(f"{bet['question']} {bet.get('unit', '')}") - stems(" ".join(map(str, bet.get("options", ()))))
    return len(asked & stems(text))


def suggested(each: Book, known: dict[str, str]) -> list[str]:
    """Bets whose control tells the answer or cannot give it: at a slider's end, past it, off its steps, no option."""
    found = []
    for bet in (bet for cell in each.cells("code") for bet in bets(cell)):
        answer = known.get(bet["id"])
        if answer is None:
            continue
        if options := bet.get("options"):
            if answer not in options:
                found.append(f"bet {bet['id']!r}: {answer!r} is none of its options")
        elif {"low", "high"} <= bet.keys() and (measured := _number(answer)) is not None:
            low, high = bet["low"], bet["high"]
            step = bet.get("step") or (high - low) / 20
            near = low + step * round((measured - low) / step)
            if min(near - low, high - near) < step / 2:
                found.append(f"bet {bet['id']!r}: {answer} lies at an end of its slider, {low} to {high}, or past it")
            elif abs(near - measured) > _REACH * (high - low):
                found.append(f"bet {bet['id']!r}: steps of {step:g} from {low} do not come near {answer}")
    return found
