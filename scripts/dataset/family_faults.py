"""What is wrong with a family of tools: its form, its declarations, its marks, and the mix that a family should hold.

``python -m scripts.dataset universe [FILE …]`` prints every fault (all families, without a file).
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import date
from pathlib import Path

from helpers.errors import CourseError
from helpers.schemas import check_tools, schema_fault
from helpers.universe import families, spans

from .sources import FORBIDDEN

COUNTRIES = {
    "egyptian": ("EG",),
    "gulf": ("SA", "KW", "AE", "QA", "OM", "BH"),
    "levantine": ("SY", "LB", "PS", "JO"),
    "maghrebi": ("MA", "DZ", "TN"),
}
STYLES = ("arabizi", "feminine", "emoji", "stretched", "typo", "latin_words", "self_correction", "line_break")
#: How often a style stands in a family at least; two thirds of what WRITING.md asks for.
WANTED_STYLES = {
    "arabizi": 2,
    "feminine": 2,
    "emoji": 1,
    "stretched": 1,
    "typo": 2,
    "latin_words": 3,
    "self_correction": 1,
}
TODAY = date(2026, 11, 26)  # a Thursday; any day would do, as only forms are checked
TOOL_KEYS = {"names", "description", "description_ar", "params", "requests", "ask_back", "none", "near"}
PARAMETER_KEYS = {"type", "required", "names", "description", "description_ar", "format", "minimum", "maximum", "enum",
                  "items", "properties"}  # fmt: skip
UTTERANCE_KEYS = {"text", "country", "style", "turns", "calls", "dialect", "missing", "question", "asks", "answer",
                  "near", "reply"}  # fmt: skip
ARABIC = re.compile("[\u0621-\u064a]")
DIGITS = str.maketrans("٠١٢٣٤٥٦٧٨٩۰۱۲۳۴۵۶۷۸۹", "01234567890123456789")


def faults(path: Path) -> list[str]:
    """Every fault of a family's file, a line each."""
    try:
        written = families.read_written(path)
        tools = families.read_family(path)
    except CourseError as error:
        return [str(error)]
    found = (
        [] if written.get("family") == path.stem else [f"family says {written.get('family')!r}, the file {path.stem!r}"]
    )
    raw = path.read_text(encoding="utf-8")
    if bad := FORBIDDEN.search(raw):
        found.append(f"a hidden character {bad.group()!r} in line {raw[: bad.start()].count(chr(10)) + 1}")
    by_name = {tool.name: tool for tool in tools}
    for tool, entry in zip(tools, written["tools"], strict=True):
        said = [f"{tool.name}: {fault}" for fault in _tool_faults(tool, entry)]
        found += said or [f"{one.id}: {fault}" for one in tool.requests for fault in request_faults(one, by_name)]
        found += [] if said else [f"{one.id}: {fault}" for one in tool.ask_back for fault in _ask_faults(one, tool)]
        found += [] if said else [f"{one.id}: {fault}" for one in tool.none for fault in _none_faults(one)]
    return found + _mix_faults(tools)


def _tool_faults(tool: families.Tool, written: dict) -> list[str]:
    found = [f"unknown key {key}" for key in written.keys() - TOOL_KEYS]
    found += [
        f"parameter {path}: {fault}" for path, one in _parameters(tool.parameters) for fault in _parameter_faults(one)
    ]
    if len(tool.names) < 2:
        found.append("one name only")
    if len(tool.descriptions) < 2 or not tool.descriptions_ar:
        found.append("two descriptions in English and one in Arabic are wanted")
    for name in tool.names:
        function = {"name": name, "description": tool.descriptions[0], "parameters": tool.schema}
        try:
            check_tools([{"type": "function", "function": function}])
        except CourseError as error:
            found.append(error.problem)
            break
    dialects = Counter(one.dialect for one in tool.requests)
    found += [f"no request in {dialect}" for dialect in families.DIALECTS if not dialects[dialect]]
    if sum(dialects.values()) < 7:
        found.append(f"{sum(dialects.values())} requests, not 7")
    if not tool.none:
        found.append("nothing under none")
    if tool.schema["required"] and not tool.ask_back:
        found.append("nothing under ask_back")
    return found


def _parameters(parameters: dict, where: str = ""):
    """(path, parameter as written) of all parameters, inner ones too."""
    for name, written in parameters.items():
        yield f"{where}{name}", written
        inner = written.get("items", {}) if isinstance(written, dict) else {}
        if isinstance(written, dict):
            yield from _parameters(written.get("properties", {}), f"{where}{name}.")
            yield from _parameters(inner.get("properties", {}) if isinstance(inner, dict) else {}, f"{where}{name}[].")


def _parameter_faults(written) -> list[str]:
    if not isinstance(written, dict):
        return ["is no mapping"]
    found = [f"unknown key {key}" for key in written.keys() - PARAMETER_KEYS]
    for key in ("names", "description", "description_ar"):
        if not isinstance(written.get(key, []), list):
            found.append(f"{key} is no list")
    if not written.get("description"):
        found.append("has no description")
    if "enum" in written and not (isinstance(written["enum"], dict) and all(map(_is_list, written["enum"].values()))):
        found.append("its enum is no mapping label: [other names]")
    if written.get("type") == "array" and "items" not in written:
        found.append("an array without items")
    if written.get("type") == "object" and not written.get("properties"):
        found.append("an object without properties")
    if written.get("required", "true") not in ("true", "false"):
        found.append("required is neither true nor false")
    return found


def _is_list(value) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in value)


def _place_faults(one: families.Utterance) -> list[str]:
    """Dialect, country, style and letters."""
    found = [] if one.dialect in families.DIALECTS else [f"unknown dialect {one.dialect!r}"]
    if one.country not in COUNTRIES.get(one.dialect, ("",)):
        found.append(f"country {one.country!r} in a {one.dialect} request")
    found += [f"unknown style {style!r}" for style in one.style if style not in STYLES]
    arabic = bool(ARABIC.search(one.text))
    if one.dialect != "english" and arabic == ("arabizi" in one.style):
        found.append("arabizi is written in Latin letters, all else in Arabic")
    if one.dialect == "english" and arabic and len(ARABIC.findall(one.text)) > len(one.text) / 2:
        found.append("an English request in Arabic")
    return found


def said_calls(one: families.Utterance, tools: dict[str, families.Tool]) -> list[dict]:
    """The gold calls that marked texts say, under canonical names. Raises CourseError."""
    calls = []
    for number, name in enumerate(one.calls, 1):
        if name not in tools:
            raise CourseError(f"calls {name}, which the family does not have", "use canonical names of this family")
        own = [span for span in one.marked if span.call == number]
        calls.append({"name": name, "arguments": spans.arguments(own, tools[name].schema, TODAY)})
    if beyond := [span for span in one.marked if span.call > len(one.calls)]:
        raise CourseError(f"a mark of call {beyond[0].call}, and {len(one.calls)} calls", "list the calls under calls")
    return calls


def _call_faults(one: families.Utterance, tools: dict[str, families.Tool]) -> list[str]:
    """What is wrong with the calls that an utterance says, and with its marks."""
    found = []
    try:
        for call in said_calls(one, tools):
            if fault := schema_fault(call["name"], call["arguments"], tools[call["name"]].schema):
                found.append(f"{call['name']}, {fault.path}: {fault.message[:120]}")
        return found + [fault for s in one.marked if (fault := _span_fault(s, tools[one.calls[s.call - 1]]))]
    except CourseError as error:
        return [*found, f"{error.problem}: {error.remedy}"]


def request_faults(one: families.Utterance, tools: dict[str, families.Tool]) -> list[str]:
    """What is wrong with a request; ``tools``: the family's, by canonical name."""
    found = _place_faults(one)
    if any("[" in text for text in one.turns[1::2]):
        found.append("a mark in the assistant's turn")
    if len(one.turns) % 2:
        found.append("turns end with the user's, not the assistant's")
    return found + _call_faults(one, tools)


def schema_at(span: spans.Span, schema: dict) -> dict:
    """The declaration of the value that a span sets."""
    for name, _ in span.path:
        schema = (schema.get("items") or schema) if schema.get("type") == "array" else schema
        schema = schema["properties"][name]
    return schema.get("items", {}) if span.append else schema


def rule(span: spans.Span, schema: dict) -> str:
    """How a span's value comes from its words.

    verbatim, digits, number, enum, boolean, date, time or normalized. ``schema``: that of the value itself.
    """
    if span.relative:
        return "date"
    if span.value is None or span.value == span.text:
        return "verbatim"
    if schema.get("enum"):
        return "enum"
    if schema.get("type") == "boolean":
        return "boolean"
    words = span.text.translate(DIGITS)
    if schema.get("type") in ("integer", "number"):
        return "digits" if span.value in re.sub(r"[,٬]", "", words) else "number"
    if re.search(r"\d{4}-\d\d-\d\d", span.value):
        return "date"
    if re.fullmatch(r"(\d{4}-\d\d-\d\dT)?\d\d:\d\d(:\d\d)?", span.value):
        return "time"
    return "digits" if span.value == words else "normalized"


def _span_fault(span: spans.Span, tool: families.Tool) -> str | None:
    schema = schema_at(span, tool.schema)
    how, words = rule(span, schema), span.text.translate(DIGITS)
    if span.text != span.text.strip(" \n،,.؟?!"):
        return f"the mark {span.text!r} holds spaces or punctuation at its ends"
    if how == "date" and not span.relative and span.value[:4] not in words:
        return f"the date {span.value} has a year that {span.text!r} does not say: write @{span.value[5:10]}"
    if how in ("digits", "number") and re.search(r"\d", words) and schema.get("type") == "integer":
        numbers = [int(one) for one in re.findall(r"\d+", re.sub(r"[,٬]", "", words))]
        if int(span.value) not in numbers and not re.search("[^\\d\\s]", words):
            return f"{span.value} is not what {span.text!r} says"
    if (
        schema.get("type") == "string"
        and schema.get("format") == "date"
        and not re.fullmatch(r"@.*|\d{4}-\d\d-\d\d", span.value or span.text)
    ):
        return f"{span.parameter}: {span.value or span.text!r} is no date YYYY-MM-DD"
    return None


def _ask_faults(one: families.Utterance, tool: families.Tool) -> list[str]:
    found = _place_faults(one)
    if not one.reply or not any(word in one.reply for word in one.asks):
        found.append("the question holds none of its asks")
    wrong = _call_faults(one.answered, {tool.name: tool})
    if wrong:
        return found + [f"with its answer, {fault}" for fault in wrong]
    said, answered = ({span.parameter for span in spans.parse(text)[1]} for text in (one.text, one.answer))
    lacking = set(tool.schema["required"]) - said
    if set(one.missing) != lacking or not one.missing:
        found.append(f"missing says {sorted(one.missing)}, the text lacks {sorted(lacking)}")
    if not set(one.missing) <= answered:
        found.append(f"the answer lacks {sorted(set(one.missing) - answered)}")
    return found


def _none_faults(one: families.Utterance) -> list[str]:
    found = _place_faults(one)
    if "[" in one.text or "|" in one.text:
        found.append("a mark where nothing is called")
    return found if one.reply else [*found, "no reply"]


def _mix_faults(tools: list[families.Tool]) -> list[str]:
    """The mix that a family should hold, so that the universe does."""
    found = [] if 8 <= len(tools) <= 10 else [f"{len(tools)} tools, not 9 or 10"]
    names = [name for tool in tools for name in tool.names]
    found += [f"two tools named {name}" for name, n in Counter(names).items() if n > 1]
    kinds = Counter(kind for tool in tools for kind in kinds_of(tool))
    for kind, least in (("number", 4), ("enum", 3), ("boolean", 2), ("array", 1), ("object", 1)):
        if kinds[kind] < least:
            found.append(f"{kinds[kind]} tools with a parameter of kind {kind}, not {least}")
    requests = [one for tool in tools for one in tool.requests]
    styles = Counter(style for one in requests for style in one.style)
    found += [f"style {style}: {styles[style]}, not {n}" for style, n in WANTED_STYLES.items() if styles[style] < n]
    for dialect, countries in COUNTRIES.items():
        seen = {one.country for one in requests if one.dialect == dialect}
        if len(seen) < min(3, len(countries)):
            found.append(f"{dialect}: countries {sorted(seen)} only")
    for what, n, least in (
        ("with an earlier turn", sum(bool(one.turns) for one in requests), 2),
        ("with two or three calls", sum(len(one.calls) > 1 for one in requests), 2),
    ):
        found += [f"{n} requests {what}, not {least}"] if n < least else []
    texts = Counter(spans.parse(one.text)[0] for one in requests)
    return found + [f"twice: {text[:60]!r}" for text, n in texts.items() if n > 1]


def kinds_of(tool: families.Tool) -> set[str]:
    """Which kinds of parameters a tool has: number, enum, boolean, array, object."""
    found = set()
    for _, written in _parameters(tool.parameters):
        items = written.get("items", {})
        kind = written["type"]
        found |= {"number"} if {kind, items.get("type")} & {"integer", "number"} else set()
        found |= {"enum"} if "enum" in written or "enum" in items else set()
        found |= {kind} & {"boolean", "array", "object"}
        found |= {"object"} if items.get("type") == "object" else set()
    return found


def main(arguments: list[str]) -> int:
    """Print every fault of the named files, or of all; 1 if there is one."""
    paths = [Path(one) for one in arguments] or sorted(families.FOLDER.glob("*.yaml"))
    found = 0
    for path in paths:
        for fault in faults(path):
            print(f"{path.stem}: {fault}")
            found += 1
    print(f"{len(paths)} families, {found} faults")
    return int(bool(found))
