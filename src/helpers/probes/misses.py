"""What went wrong in a row that is not exact: told in one word for counting, and argument by argument for reading."""

from __future__ import annotations

import itertools
import json
from collections import Counter

from .. import calls, scoring

NO_CALL, MALFORMED, FUNCTION = "no call", "malformed", "other function"
LEFT_OUT, PUT_IN, BOTH, VALUE = "argument left out", "argument put in", "left out and put in", "other value"
FATES = (NO_CALL, MALFORMED, FUNCTION, LEFT_OUT, PUT_IN, BOTH, VALUE)


def called(text: str) -> list[str]:
    """The names of the functions that a generation calls, or in their place what it did instead."""
    try:
        return [call.name for call in calls.parse(text)] or [NO_CALL]
    except calls.ParseError:
        return [MALFORMED]


def fate(row: dict, text: str) -> str:
    """Where an answer that is not exact first parts from the calls that its row asks for: one of FATES."""
    names, gold = called(text), json.loads(row["calls"])
    if names in ([NO_CALL], [MALFORMED]):
        return names[0]
    if Counter(names) != Counter(call["name"] for call in gold):
        return FUNCTION
    defaults = scoring.default_false(row)
    lost, added = _keys(gold, defaults), _keys(_written(text), defaults)
    lost, added = lost - added, added - lost
    if lost or added:
        return BOTH if lost and added else LEFT_OUT if lost else PUT_IN
    return VALUE


def missed(rows, generations, report) -> list[tuple]:
    """(row, generation) of every row whose call is not exact, in their order; ``report`` is their scoring.Report."""
    judged = zip(rows, generations, report.rows, strict=True)
    return [(row, generation) for row, generation, told in judged if told["exact"] is False]


def fates(pairs) -> Counter:
    """How many of the missed (row, generation) met which fate."""
    return Counter(fate(row, generation.text) for row, generation in pairs)


def told(counts: Counter) -> str:
    """Counts as words, the most frequent first: "25 argument put in, 5 other value"."""
    return ", ".join(f"{n} {name}" for name, n in counts.most_common()) or "none"


def wrong_values(row: dict, text: str) -> tuple[int, int]:
    """Of the arguments in calls that have the right names and keys: how many have another value, and how many are.

    Calls of the same name are paired so that as few values as possible differ.
    """
    gold, written = json.loads(row["calls"]), _written(text)
    wrong = 0
    for name in {call["name"] for call in gold}:
        ours, theirs = ([call for call in listed if call["name"] == name] for listed in (gold, written))
        pairings = (zip(ours, order, strict=True) for order in itertools.permutations(theirs))
        wrong += min(sum(_differing(*pair) for pair in pairing) for pairing in pairings)
    return wrong, sum(len(call["arguments"]) for call in gold)


def _differing(gold: dict, other: dict) -> int:
    one, two = gold["arguments"], other["arguments"]
    return sum(key not in two or not _same(value, two[key]) for key, value in one.items())


def _same(one, two) -> bool:
    """Whether two values are equal; True is not 1, 5 is 5.0."""
    if isinstance(one, dict) and isinstance(two, dict):
        return one.keys() == two.keys() and all(_same(one[key], two[key]) for key in one)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(map(_same, one, two))
    return isinstance(one, bool) == isinstance(two, bool) and one == two


def _written(text: str) -> list[dict]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls.parse(text)]


def _keys(listed: list[dict], defaults: dict[str, set[str]]) -> Counter:
    """(function, argument) of every argument in the calls, without those that say what goes without saying."""
    made = (scoring.without_defaults(calls.FunctionCall(**call), defaults) for call in listed)
    return Counter((call.name, path) for call in made for path in scoring.argument_paths(call.arguments))


def in_english(row: dict) -> str:
    """What a row asks for, from its tools' English descriptions and the gold arguments."""
    tools = {tool["function"]["name"]: tool["function"] for tool in json.loads(row["tools"])}
    asked = []
    for call in json.loads(row["calls"]):
        given = ", ".join(f"{key}: {_plain(value)}" for key, value in call["arguments"].items())
        asked.append(f"{tools[call['name']]['description']} {given}".strip())
    return "\n".join(asked) or "(nothing that a tool does)"


def _plain(value) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
