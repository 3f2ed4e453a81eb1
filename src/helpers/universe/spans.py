"""Requests with their values marked inside: ``[تلات أسابيع|weeks=3]``. What is marked becomes the call, nothing else.

The syntax is described in ``assets/data/universe/WRITING.md``. Writer and gold cannot drift apart: there is one text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date, timedelta

from ..errors import CourseError

_MARK = re.compile(r"\[([^\[\]|]*)\|([^\[\]|]*)\]")
_TARGET = re.compile(
    r"(?:(?P<call>[1-9]):)?(?P<path>[^\W\d]\w*(?:#\d+)?(?:\.[^\W\d]\w*(?:#\d+)?)*)(?P<more>\+?)(?:=(?P<value>.*))?"
)
_STEP = re.compile(r"([^\W\d]\w*)(?:#(\d+))?")
_RELATIVE = re.compile(
    r"@(?:(?P<sign>[+-])(?P<n>\d+)(?P<unit>[dw])|(?P<which>next|last)-(?P<weekday>[a-z]{3})|(?P<past>last-)?(?P<month>\d\d)-(?P<day>\d\d))(?P<time>T\d\d:\d\d)?"
)
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")  # date.weekday() counts from Monday


@dataclass(frozen=True)
class Span:
    """One marked value: which call (from 1) and parameter it belongs to, its words, and the value if other than these.

    ``path`` holds ``(name, index)`` steps; ``index`` counts the objects of a list from 1, None elsewhere. ``append``:
    one more element of a list.
    """

    text: str
    call: int
    path: tuple[tuple[str, int | None], ...]
    append: bool
    value: str | None

    @property
    def parameter(self) -> str:
        """The name of the parameter itself, without what is inside it."""
        return self.path[0][0]

    @property
    def relative(self) -> bool:
        """Whether the value is a date that depends on today's."""
        return self.value is not None and self.value.startswith("@")


def parse(marked: str) -> tuple[str, list[Span]]:
    """A marked text as plain text and its spans, in order. Raises CourseError for brackets or marks out of form."""
    spans: list[Span] = []

    def plain(match: re.Match) -> str:
        words = match.group(1)
        if not words.strip():
            raise CourseError(f"a mark has no words: {match.group()!r}", "mark the words that say the value")
        spans.extend(_span(words, one, marked) for one in match.group(2).split(";"))
        return words

    text = _MARK.sub(plain, marked)
    if found := re.search(r"[\[\]|]", text):
        raise CourseError(f"a {found.group()} stands outside of marks in {marked[:80]!r}", "write [words|parameter]")
    return text, spans


def _span(words: str, target: str, marked: str) -> Span:
    match = _TARGET.fullmatch(target.strip())
    if not match:
        raise CourseError(
            f"{target!r} is no mark, in {marked[:80]!r}", "write parameter, parameter=value or 2:parameter"
        )
    path = tuple((name, int(index) if index else None) for name, index in _STEP.findall(match["path"]))
    return Span(words, int(match["call"] or 1), path, bool(match["more"]), match["value"])


def reworded(marked: str, other) -> str:
    """A marked text with other words where ``other(span)`` gives some; marks of several values stay as they are."""

    def again(match: re.Match) -> str:
        if ";" in match.group(2):
            return match.group()
        span = _span(match.group(1), match.group(2), marked)
        words = other(span)
        if words is None:
            return match.group()
        return f"[{words}|{match.group(2) if span.value is None else match.group(2).split('=')[0] + '=' + words}]"

    return _MARK.sub(again, marked)


def schema_of(span: Span, parameters: dict) -> dict:
    """The JSON Schema of what a span says, within a tool's ``parameters``. Raises CourseError when it has none."""
    schema = parameters
    for name, index in span.path:
        schema = _inside(schema, name, span)
        schema = schema.get("items") or {} if index is not None else schema
    return schema.get("items") or {} if span.append else schema


def resolve_date(value: str, today: date) -> str:
    """``@+2d``, ``@next-thu``, ``@03-12`` and the like as YYYY-MM-DD, with a time if one is written behind.

    ``@next-thu`` is the first Thursday after today, ``@last-thu`` the last before it; ``@03-12`` is the next 12 March,
    ``@last-03-12`` the last, today included. Raises CourseError for another form and for a day that no year has.
    """
    match = _RELATIVE.fullmatch(value)
    if not match:
        raise CourseError(
            f"{value!r} is no date", "write @+2d, @-1w, @next-thu, @last-thu, @03-12, @last-03-12 or @+1dT17:30"
        )
    try:
        return _day(match, today).isoformat() + (match["time"] or "")
    except ValueError:
        raise CourseError(f"{value!r} is no day of a calendar", "correct it") from None


def _day(match: re.Match, today: date) -> date:
    if match["weekday"]:
        ahead = (WEEKDAYS.index(match["weekday"]) - today.weekday() - 1) % 7 + 1  # 1 to 7; ValueError: no such day
        return today + timedelta(days=ahead if match["which"] == "next" else ahead - 7 - 7 * (ahead == 7))
    if match["month"]:
        day = date(today.year, int(match["month"]), int(match["day"]))
        away = -(day > today) if match["past"] else int(day < today)
        return day.replace(year=today.year + away)
    days = int(match["n"]) * (7 if match["unit"] == "w" else 1)
    return today + timedelta(days=days if match["sign"] == "+" else -days)


def arguments(spans: list[Span], parameters: dict, today: date) -> dict:
    """The arguments that spans of one call say. ``parameters``: the tool's JSON Schema. Raises CourseError."""
    told: dict = {}
    for span in spans:
        _place(told, span, parameters, today)
    return told


def _place(told: dict, span: Span, parameters: dict, today: date) -> None:
    """Put one span's value where its path leads, making objects and lists on the way."""
    holder, schema = told, parameters
    for name, index in span.path[:-1]:
        schema = _inside(schema, name, span)
        if index is None:
            holder = holder.setdefault(name, {})
        else:
            holder, schema = _element(holder.setdefault(name, []), index, span), schema.get("items") or {}
    name, index = span.path[-1]
    schema = _inside(schema, name, span)
    if index is not None:
        raise CourseError(f"{name}#{index} names no field", "write list#1.field, or list+ for plain elements")
    if span.append:
        if schema.get("type") != "array":
            raise CourseError(f"{name} is no list", f"leave the + away, or declare {name} as an array")
        holder.setdefault(name, []).append(_value(span, schema.get("items") or {}, today))
    elif name in holder:
        raise CourseError(f"{name} is marked twice", "mark the words that count; use + for a list")
    else:
        holder[name] = _value(span, schema, today)


def _inside(schema: dict, name: str, span: Span) -> dict:
    found = (schema.get("properties") or {}).get(name)
    if found is None:
        raise CourseError(f"{name} is marked and not declared", f"declare it, or correct the mark of {span.text!r}")
    return found


def _element(items, index: int, span: Span) -> dict:
    if not isinstance(items, list) or index > len(items) + 1:
        raise CourseError(f"object {index} of a list is marked before object {index - 1}", f"see {span.text!r}")
    if index == len(items) + 1:
        items.append({})
    return items[index - 1]


def _value(span: Span, schema: dict, today: date):
    """The words or the written value, converted to the declared type and to nothing else."""
    kind, written = schema.get("type"), span.text if span.value is None else span.value
    if kind == "string":
        return resolve_date(written, today) if span.relative else written
    try:
        if kind == "integer":
            return int(written)
        if kind == "number":
            number = float(written)
            return int(number) if number.is_integer() and "." not in written else number
        if kind == "boolean":
            return {"true": True, "false": False}[written]
    except (KeyError, ValueError):
        raise CourseError(f"{span.parameter}={written!r} is no {kind}", f"correct the mark of {span.text!r}") from None
    raise CourseError(f"{span.parameter} is a {kind}: mark its elements", "write name+ or name.field")
