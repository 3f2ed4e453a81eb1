"""Other values in the same sentences: what a training request quotes or counts is replaced by what others say.

Some 8,000 sentences are soon known by heart, values and all. A model that is to copy must meet values that no sentence
foretells. Only words that are their own value are replaced, free text and numbers in digits: a label, a number in words
or a date would need another wording.
"""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from ..errors import CourseError
from . import families, spans
from .families import Tool, Utterance

SAME_NAME = 0.5  # share of free texts that come from a parameter of the same name, where there is one
LONGER = 1.5  # a text is at most so many times as long as the one it replaces, so that rows still fit


def refilled(one: Utterance, tools: dict[str, Tool], share: float, draw: random.Random) -> Utterance:
    """The utterance with about ``share`` of its copied values replaced; ``tools``: those it calls or lacks, by name."""
    called = [tools[name] for name in one.calls if name in tools] or list(tools.values())[:1]

    def other(span: spans.Span) -> str | None:
        if span.call > len(called) or draw.random() >= share:
            return None
        try:
            schema = spans.schema_of(span, called[span.call - 1].schema)
        except CourseError:  # marked for a tool that is not called
            return None
        return _digits(span, schema, draw) or _words(span, schema, one.dialect, draw)

    texts = [spans.reworded(text, other) for text in (*one.turns[::2], one.text, one.answer)]
    turns = list(one.turns)
    turns[::2] = texts[:-2]
    return replace(one, turns=tuple(turns), text=texts[-2], answer=texts[-1])


def _digits(span: spans.Span, schema: dict, draw: random.Random) -> str | None:
    """Another number of as many digits, within the declared bounds; none for 1 and 2, whose nouns would not agree."""
    if schema.get("type") != "integer" or not span.text.isascii() or not span.text.isdigit():
        return None
    if span.value not in (None, span.text) or int(span.text) < 3:
        return None
    low, high = 10 ** (len(span.text) - 1), 10 ** len(span.text) - 1
    low, high = max(low, 3, schema.get("minimum", low)), min(high, schema.get("maximum", high))
    return str(draw.randint(int(low), int(high))) if low <= high else None


def _words(span: spans.Span, schema: dict, dialect: str, draw: random.Random) -> str | None:
    """What somebody else says in the same dialect for free text, most wanted for a parameter of that name."""
    if not _is_free(span, schema):
        return None
    known = free_texts()
    name = span.path[-1][0]
    alike = known.get((dialect, name), ()) if draw.random() < SAME_NAME else ()
    fits = [text for text in alike or known[dialect, ""] if len(text) <= LONGER * len(span.text) + 4]
    return draw.choice(fits) if fits else None


def _is_free(span: spans.Span, schema: dict) -> bool:
    return schema.get("type") == "string" and span.value is None and "enum" not in schema and "format" not in schema


@cache
def free_texts() -> dict[tuple[str, str], tuple[str, ...]]:
    """(dialect, parameter) -> what training requests say for free text there; parameter "" holds all of a dialect."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for tool in families.by_split(families.read())["universe_train"]:
        for one in tool.requests:
            for span in one.marked if one.calls == (tool.name,) else ():
                if _is_free(span, spans.schema_of(span, tool.schema)):
                    for name in (span.path[-1][0], ""):
                        found.setdefault((one.dialect, name), {})[span.text] = None
    return {place: tuple(texts) for place, texts in found.items()}
