"""Rows of the universe, drawn when they are loaded: a request, the tools beside its own, today's date, the gold call.

Everything is drawn from a seed that is the row's id, so that the same rows come on every machine. Training rows have
their declarations in other words (``declaring``); those of validation and the rings keep the writers' first ones.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import date, timedelta
from functools import cache
from itertools import chain, count, islice

from .. import chat
from ..errors import CourseError
from ..paths import ASSETS, encode, read_yaml
from . import families, spans
from .declaring import declare
from .families import SPLITS, Tool, Utterance
from .refilling import refilled

REPLIES = ASSETS / "data" / "universe" / "replies.yaml"
DISPUTED = ASSETS / "data" / "universe" / "disputed.yaml"  # utterances on which a second writer wrote another call
NEAR, FAR = 3, 4  # at most so many tools of the same family, and of others, beside those called
ABSENT = 0.1  # share of requests whose tool is not declared: nothing is to be called
DATED = 0.3  # share of rows that say today's date though nobody needs it
FIRST_DAY, DAYS = date(2025, 1, 1), 3 * 365
WRITERS_DAY = date(2026, 11, 26)  # a Thursday
#: Characters of a row's declarations as JSON; some 800 tokens.
ROOM = 3000
_DAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")  # whatever the locale


def rows(
    split: str, copies: int = 1, seed: int = 0, tools: tuple[Tool, ...] | None = None, refill: float = 0.0
) -> list[dict]:
    """The rows of a split, in an order that is drawn too, with the columns of ``helpers.dataset``.

    Parameters
    ----------
    split : one of ``SPLITS``
    copies : how often each request of ``universe_train`` is drawn, each time with other declarations and tools
    seed : another seed, other rows; validation and the rings know one only
    tools : the universe, or a part of it for an experiment
    refill : the share of copied values of ``universe_train`` that are replaced (``refilling``)

    Raises
    ------
    CourseError : unknown split; families that are missing or damaged.
    """
    if split not in SPLITS:
        raise CourseError(f"there is no split {split!r}", f"use one of {', '.join(SPLITS)}")
    place = _Place(split, tools or families.read(), refill)
    if split == "universe_train":
        keys = [f"{seed}.{copy}" for copy in range(copies)]
        found = [
            row for one, tool in place.utterances() for key in keys for row in place.drawn(one, tool, f"{one.id}@{key}")
        ]
    else:
        found = [row for one, tool in place.utterances() for row in place.drawn(one, tool, f"{split}/{one.id}")]
        found = _balanced(found)
    return random.Random(f"{split}|{seed}").sample(found, len(found))


def training_rows(wanted: int, tools: tuple[Tool, ...] | None = None) -> list[dict]:
    """``wanted`` rows of ``universe_train``: every request once, then all again with other declarations, and so on."""
    rounds = (rows("universe_train", seed=seed, tools=tools) for seed in count())
    return list(islice(chain.from_iterable(rounds), wanted))


def _balanced(found: list[dict]) -> list[dict]:
    """As many rows of each dialect as the scarcest has; which stay, their hashes say."""
    groups = {dialect: [row for row in found if row["dialect"] == dialect] for dialect in families.DIALECTS}
    least = min(map(len, groups.values()))
    return [
        row for group in groups.values() for row in sorted(group, key=lambda row: families.digest(row["id"]))[:least]
    ]


@cache
def _replies(kind: str) -> dict[str, list[str]]:
    """dialect -> what an assistant says when no declared tool serves (``absent``), or ``question_words``."""
    return read_yaml(REPLIES, strings=True)[kind]


def asks(text: str, stems: list[str], dialect: str) -> bool:
    """Whether a text asks for something missing: a question word of the dialect is in it, and one of the stems."""
    words = _replies("question_words").get(dialect, ["؟", "?"])
    return any(word in text for word in words) and any(stem in text for stem in stems)


@cache
def _disputed() -> frozenset[str]:
    return frozenset(read_yaml(DISPUTED, strings=True)["disputed"])


def _day_for(marked: list[spans.Span], draw: random.Random) -> date:
    """Today's date, drawn: one on which several days of a request follow each other as they do on the writers' day.

    "From Friday to Sunday" said on a Saturday would end before it begins.
    """
    relative = [str(span.value) for span in marked if span.relative]

    def order(today: date) -> list[int]:
        days = [spans.resolve_date(value, today) for value in relative]
        return sorted(range(len(days)), key=lambda i: days[i][:10])

    wanted = order(WRITERS_DAY)
    for _ in range(51):
        today = FIRST_DAY + timedelta(days=draw.randrange(DAYS))
        if order(today) == wanted:
            break
    return today


class _Place:
    """A split: which tools are its own, which may stand beside them."""

    def __init__(self, split: str, tools: tuple[Tool, ...], refill: float = 0.0):
        self.split, self.train = split, split == "universe_train"
        self.refill = refill if self.train else 0.0
        places = families.by_split(tools)
        self.own = places[split]
        beside = {"ring_1_new_tool": "universe_train", "ring_3_no_neighbours": "ring_2_new_family"}
        self.beside = [*self.own, *(places[beside[split]] if split in beside else ())]
        self.by_name = {(tool.family, tool.name): tool for tool in self.beside}
        self._others: dict[str, tuple[list[Tool], list[Tool]]] = {}

    def utterances(self) -> Iterator[tuple[Utterance, Tool]]:
        """What users say to this split's tools; a request with several calls belongs where its newest tool does."""
        own = {(tool.family, tool.name) for tool in self.own}
        pool = self.own if self.split != "ring_1_new_tool" else self.beside
        for tool in pool:
            mine = (tool.family, tool.name) in own
            for one in tool.utterances:
                called = {(tool.family, name) for name in one.calls}
                if one.id not in _disputed() and (mine or called & own) and called <= self.by_name.keys():
                    yield one, tool

    def others(self, family: str) -> tuple[list[Tool], list[Tool]]:
        """The tools that may stand beside a family's: those of the family itself, and strangers."""
        if family not in self._others:
            near = [tool for tool in self.beside if tool.family == family]
            self._others[family] = near, [tool for tool in self.beside if tool.family != family]
        return self._others[family]

    def drawn(self, one: Utterance, tool: Tool, key: str) -> Iterator[dict]:
        """The rows of one utterance: what it asks; a question that is answered; now and then, its tool not declared."""
        draw = random.Random(key)
        if self.refill:
            called = {name: self.by_name[tool.family, name] for name in (*one.calls, tool.name)}
            one = refilled(one, called, self.refill, random.Random(f"{key}|values"))
        if one.missing:
            yield self._row(key, "ask_back", one, tool, draw)
            yield self._row(f"{key}+answer", "single", one.answered, tool, random.Random(f"{key}+answer"))
        elif not one.calls:
            yield self._row(key, "none", one, tool, draw)
        else:
            absent = draw.random() < ABSENT
            if not (absent and self.train):
                yield self._row(key, "parallel" if len(one.calls) > 1 else "single", one, tool, draw)
            if absent:
                yield self._row(f"{key}-absent", "none", one, tool, random.Random(f"{key}-absent"))

    def _row(self, key: str, kind: str, one: Utterance, tool: Tool, draw: random.Random) -> dict:
        texts = [spans.parse(text)[0] for text in (*one.turns, one.text)]
        today = _day_for(one.marked, draw)
        absent = kind == "none" and bool(one.calls)
        if kind != "none":
            called = [self.by_name[tool.family, name] for name in dict.fromkeys(one.calls)]
        elif absent:
            called = []
        else:  # the tool may be there, and is not asked for
            called = [tool] if one.near or draw.random() < 0.5 else []
        said = self._said(one, tool.family, today) if kind in ("single", "parallel") else []
        declared = self._declared(one, tool, called, said, draw)
        calls = []
        for name, arguments in said:
            declaration, names = declared[tool.family, name]
            calls.append({"name": declaration["function"]["name"], "arguments": names.arguments(arguments)})
        reply = draw.choice(_replies("absent")[one.dialect]) if absent else one.reply
        dated = any(span.relative for span in one.marked) or draw.random() < DATED
        messages = _messages(texts, today if dated else None, draw, calls, reply)
        tools = draw.sample([declaration for declaration, _ in declared.values()], len(declared))
        return {
            "id": key, "split": self.split, "kind": kind, "domain": tool.family, "dialect": one.dialect,
            "messages": encode(messages), "query": texts[-1], "tools": encode(tools), "calls": encode(calls),
            "reply": "" if calls else reply, "phrasing": one.id,
            "asks": encode(one.asks if kind == "ask_back" else []),
        }  # fmt: skip

    def _said(self, one: Utterance, family: str, today: date) -> list[tuple[str, dict]]:
        """The gold calls under canonical names: (tool, arguments) each."""
        return [
            (
                name,
                spans.arguments([s for s in one.marked if s.call == number], self.by_name[family, name].schema, today),
            )
            for number, name in enumerate(one.calls, 1)
        ]

    def _declared(self, one: Utterance, tool: Tool, called: list[Tool], said: list[tuple[str, dict]], draw) -> dict:
        """(family, canonical name) -> declaration and names: tools called, and as many more as there is room for."""
        near, far = self.others(tool.family)
        near = [other for other in near if other.name not in (*one.calls, tool.name)]
        chosen: list[Tool] = []
        if self.split != "ring_3_no_neighbours":
            chosen += draw.sample(near, min(len(near), draw.randint(0 if called else 1, NEAR)))
        chosen += draw.sample(far, min(len(far), draw.randint(0 if called or chosen else 1, FAR)))
        found: dict = {}
        room = ROOM
        for number, each in enumerate([*called, *chosen]):
            wanted = number < len(called)
            stranger = draw.choice(far) if far and self.train else None
            used = {key for name, arguments in said if wanted and name == each.name for key in arguments}
            if each is tool:
                used |= {span.parameter for span in spans.parse(one.text)[1]}
            declaration, names = declare(each, draw if self.train else None, frozenset(used), stranger)
            length = len(json.dumps(declaration, ensure_ascii=False))
            taken = {other["function"]["name"] for other, _ in found.values()}
            if declaration["function"]["name"] in taken or (not wanted and length > room):
                if not wanted:
                    continue
                declaration, names = declare(each)  # an opaque name was drawn twice
            room -= length
            found[each.family, each.name] = declaration, names
        return found


def today_line(today: date, clock: str = "09:00:00") -> str:
    """What the developer turn says of the day, in the form that FunctionGemma's makers use."""
    stamp = f"{today.isoformat()}T{clock}"
    weekday = _DAY_NAMES[today.weekday()]
    return f"Current date and time given in YYYY-MM-DDTHH:MM:SS format: {stamp}\nDay of week is {weekday}"


def _messages(texts: list[str], today: date | None, draw, calls: list[dict], reply: str) -> list[dict]:
    clock = f"{draw.randrange(7, 23):02}:{draw.randrange(60):02}:{draw.randrange(60):02}"
    developer = chat.DEVELOPER_PROMPT if today is None else f"{today_line(today, clock)}\n{chat.DEVELOPER_PROMPT}"
    messages: list[dict] = [{"role": "developer", "content": developer}]
    for number, text in enumerate(texts):
        messages.append({"role": "assistant" if number % 2 else "user", "content": text})
    if calls:
        messages.append({"role": "assistant", "tool_calls": [{"type": "function", "function": call} for call in calls]})
    elif reply:
        messages.append({"role": "assistant", "content": reply})
    return messages
