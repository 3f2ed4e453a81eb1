"""A function call as a value: parsed from what the model writes, serialized as the template writes it.

The language (FunctionGemma's, not JSON)::

    turn    = [text] call* [stop]          call  = <start_function_call>call:NAME{ [pair (, pair)*] }<end_function_call>
    pair    = NAME : value                 value = <escape>text<escape> | number | true | false | null | None
                                                 | [ [value (, value)*] ] | { [pair (, pair)*] }
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field

from .control_tokens import CONTROL_TOKENS, STOP_IDS
from .errors import CourseError
from .schemas import IDENTIFIER, MAX_DEPTH, TOOL_NAME, check_tools, plain_schema

MAX_DIGITS = 400  # of a number; a double holds at most 309 before the point
_OPEN, _CLOSE, _ESCAPE = "<start_function_call>", "<end_function_call>", "<escape>"
_STOPS = tuple(token for token, i in CONTROL_TOKENS.items() if i in STOP_IDS)
_PADDING = "<pad>"
_TOKENS = re.compile("|".join(map(re.escape, CONTROL_TOKENS)))
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?![\w.])")
_WORD = re.compile(r"(true|false|null|None)(?![\w.])")
_WORDS = {"true": True, "false": False, "null": None, "None": None}


@dataclass(frozen=True)
class FunctionCall:
    """One call: the function's name, and its arguments as Python values (str, int, float, bool, None, list, dict)."""

    name: str
    arguments: dict = field(default_factory=dict)


class ParseError(CourseError):
    """Text that is no well-formed call. ``position`` counts characters from 0; ``reason`` says what is wrong there."""

    def __init__(self, position: int, reason: str):
        self.position, self.reason = position, reason
        super().__init__(f"at character {position}: {reason}")


def parse(text: str) -> list[FunctionCall]:
    """The calls in a model's turn, in order; ``[]`` for text without any.

    Stop tokens and padding at the end are part of the format, in any number. An escaped value is a string always:
    ``<escape>0501<escape>`` is "0501".

    Raises
    ------
    ParseError : duplicate keys, bare words, stray or unbalanced control tokens, missing separators, text after a call,
        nesting deeper than ``MAX_DEPTH``, numbers longer than ``MAX_DIGITS`` or out of a double's range.
    """
    body = _without_stop(text)
    start = body.find(_OPEN)
    end_of_text = len(body) if start < 0 else start
    if stray := _TOKENS.search(body, 0, end_of_text):
        raise ParseError(stray.start(), f"stray control token {stray.group()}")
    calls, position = [], end_of_text
    while position < len(body):
        if body.startswith(_OPEN, position):
            call, position = _call(body, position)
            calls.append(call)
        elif body[position].isspace():
            position += 1
        else:
            stray = _TOKENS.match(body, position)
            raise ParseError(position, f"stray control token {stray.group()}" if stray else "text after a call")
    return calls


def _without_stop(text: str) -> str:
    """``text`` up to its last stops and padding; all of it, spaces included, if it has none."""
    end = stopped = len(text)
    while True:
        while end and text[end - 1].isspace():
            end -= 1
        token = next((token for token in (*_STOPS, _PADDING) if text.endswith(token, 0, end)), None)
        if token is None:
            return text[:stopped]
        end = stopped = end - len(token)


def _expect(text: str, position: int, literal: str) -> int:
    if not text.startswith(literal, position):
        token = _TOKENS.match(text, position)
        found = token.group() if token else text[position : position + 1] or "the end"
        raise ParseError(position, f"expected {literal}, found {found}")
    return position + len(literal)


def _call(text: str, position: int) -> tuple[FunctionCall, int]:
    position = _expect(text, position + len(_OPEN), "call:")
    name = TOOL_NAME.match(text, position)
    if not name:
        raise ParseError(position, "expected a function name")
    arguments, position = _object(text, name.end(), depth=1)
    return FunctionCall(name.group(), arguments), _expect(text, position, _CLOSE)


def _value(text: str, position: int, depth: int):
    if depth > MAX_DEPTH:
        raise ParseError(position, f"nested deeper than {MAX_DEPTH}")
    if text.startswith(_ESCAPE, position):
        return _string(text, position + len(_ESCAPE))
    opener = text[position : position + 1]
    if opener == "{":
        return _object(text, position, depth)
    if opener == "[":
        return _list(text, position, depth)
    if word := _WORD.match(text, position):
        return _WORDS[word.group()], word.end()
    if number := _NUMBER.match(text, position):
        return _number(number), number.end()
    raise ParseError(
        position, "expected a value: strings stand between <escape>, other values are numbers, true, false or null"
    )


def _string(text: str, position: int) -> tuple[str, int]:
    stop = _TOKENS.search(text, position)
    if not stop:
        raise ParseError(position - len(_ESCAPE), "a string is never closed by <escape>")
    if stop.group() != _ESCAPE:
        raise ParseError(stop.start(), f"control token {stop.group()} inside a string")
    return text[position : stop.start()], stop.end()


def _number(match: re.Match) -> int | float:
    digits = match.group()
    if len(digits) > MAX_DIGITS:
        raise ParseError(match.start(), f"a number of more than {MAX_DIGITS} characters")
    if match.group(1) is None and match.group(2) is None:
        return int(digits)
    value = float(digits)
    if math.isinf(value):
        raise ParseError(match.start(), "a number out of range")
    return value


def _object(text: str, position: int, depth: int) -> tuple[dict, int]:
    found: dict = {}
    position = _expect(text, position, "{")
    while not text.startswith("}", position):
        if found:
            position = _expect(text, position, ",")
        key = IDENTIFIER.match(text, position)
        if not key:
            raise ParseError(position, "expected a key")
        if key.group() in found:
            raise ParseError(position, f"key {key.group()} stands twice")
        position = _expect(text, key.end(), ":")
        found[key.group()], position = _value(text, position, depth + 1)
    return found, position + 1


def _list(text: str, position: int, depth: int) -> tuple[list, int]:
    found: list = []
    position += 1
    while not text.startswith("]", position):
        if found:
            position = _expect(text, position, ",")
        item, position = _value(text, position, depth + 1)
        found.append(item)
    return found, position + 1


def serialize(calls: list[FunctionCall]) -> str:
    """The calls as the template writes them: keys bare and sorted without regard to case, strings in ``<escape>``.

    Raises ParseError for what could not be read back: a control token in a string, a key or name that is no identifier,
    a number that is not finite, too deep a nesting. The position is that of the value in the text being written.
    """
    out = _Writer()
    for call in calls:
        if not TOOL_NAME.fullmatch(call.name):
            raise ParseError(out.length, f"function name {call.name!r} is no identifier")
        out.add(f"{_OPEN}call:{call.name}")
        out.value(dict(call.arguments), depth=1)
        out.add(_CLOSE)
    return "".join(out.pieces)


class _Writer:
    """Pieces of text and their length so far, so that an error can say where."""

    def __init__(self):
        self.pieces, self.length = [], 0

    def add(self, piece: str) -> None:
        self.pieces.append(piece)
        self.length += len(piece)

    def value(self, value, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise ParseError(self.length, f"nested deeper than {MAX_DEPTH}")
        if isinstance(value, dict):
            self._object(value, depth)
        elif isinstance(value, list | tuple):
            self.add("[")
            for index, item in enumerate(value):
                self.add("," if index else "")
                self.value(item, depth + 1)
            self.add("]")
        else:
            self.add(self._scalar(value))

    def _object(self, mapping: dict, depth: int) -> None:
        self.add("{")
        for index, (key, item) in enumerate(sorted(mapping.items(), key=lambda pair: str(pair[0]).lower())):
            if not (isinstance(key, str) and IDENTIFIER.fullmatch(key)):
                raise ParseError(self.length, f"key {key!r} is no identifier")
            self.add(f"{',' if index else ''}{key}:")
            self.value(item, depth + 1)
        self.add("}")

    def _scalar(self, value) -> str:
        if isinstance(value, str):
            if token := _TOKENS.search(value):
                raise ParseError(self.length, f"a string holds the control token {token.group()}")
            return f"{_ESCAPE}{value}{_ESCAPE}"
        if value is None or isinstance(value, bool):
            return {None: "None", True: "true", False: "false"}[value]
        if isinstance(value, float) and not math.isfinite(value):
            raise ParseError(self.length, f"{value} is not a finite number")
        if not isinstance(value, int | float):
            raise ParseError(self.length, f"a {type(value).__name__} is no value of the format")
        if isinstance(value, int) and value.bit_length() > 1300:
            raise ParseError(self.length, f"a number of more than {MAX_DIGITS} characters")
        return repr(value)


# --- grammar ----------------------------------------------------------------------------------------------------------

_GRAMMAR_HEAD = f"""\
root ::= call+ | text
call ::= {_OPEN} "call:" function {_CLOSE}
text ::= [^<] [^<]*
string ::= {_ESCAPE} [^<]* {_ESCAPE}
integer ::= "-"? ("0" | [1-9] [0-9]{{0,14}})
number ::= integer ("." [0-9]{{1,15}})?
boolean ::= "true" | "false"
"""
#: A key nobody declared: Latin and Arabic letters, underscores, and digits after the first.
_KEY_RULE = r"[a-zA-Z_\u0621-\u064A] [a-zA-Z0-9_\u0621-\u064A]*"


def grammar(tools: list[dict]) -> str:
    """What a model may write when these tools are declared, in llama.cpp's GBNF.

    One call or several, or text without any. Names, keys (in the template's order), required arguments, types and enums
    are those of the declarations. Control tokens stand as tokens (``<escape>``), not as text, which llama.cpp knows
    since December 2025 (grammars/README.md, "Tokens"). Text and strings hold no ``<``; numbers have at most 15 digits
    on either side of the point. A string's length is not bounded: only the token limit cuts it.

    An object without declared properties is a map of whatever its ``additionalProperties`` allow; where that is
    ``true``, its values are strings, numbers and booleans. Where an object declares properties it holds no others.

    Raises CourseError for a malformed declaration and for a schema that has no form here (``anyOf``, ``$ref``, …).
    """
    check_tools(tools, prompt=False)
    rules: dict[str, str] = {}
    functions = [tool["function"] for tool in tools]
    for number, function in enumerate(functions):
        body = _object_rule(plain_schema(function.get("parameters") or {}), f"f{number}", rules)
        rules[f"f{number}"] = f"{_literal(function['name'])} {body}"
    rules["function"] = " | ".join(f"f{number}" for number in range(len(functions))) or _literal("")
    if not functions:
        return "root ::= text\ntext ::= [^<] [^<]*\n"
    return _GRAMMAR_HEAD + "".join(f"{name} ::= {rule}\n" for name, rule in rules.items())


def _literal(text: str) -> str:
    """A GBNF string: what is not plain ASCII is written as its code point."""
    escaped = (c if c.isascii() and c.isprintable() and c not in '"\\\\' else f"\\U{ord(c):08x}" for c in text)
    return f'"{"".join(escaped)}"'


def _value_rule(schema: dict, name: str, rules: dict) -> str:
    kind = schema.get("type")
    if kind in ("string", "integer", "number", "boolean"):
        if not schema.get("enum"):
            return kind
        if kind == "string":
            return f"{_ESCAPE} ({' | '.join(map(_literal, schema['enum']))}) {_ESCAPE}"
        return f"({' | '.join(_literal(json.dumps(value)) for value in schema['enum'])})"
    if kind == "object":
        return _object_rule(schema, name, rules)
    if kind == "array":
        rules[name] = _value_rule(schema.get("items") or {"type": "string"}, f"{name}-item", rules)
        return f'"[" ({name} ("," {name})*)? "]"'
    found = f"of type {kind!r}" if kind else f"declared by {next(iter(schema), 'nothing')}"
    raise CourseError(
        f"the grammar has no form for a value {found}", "use string, integer, number, boolean, array or object"
    )


def _object_rule(schema: dict, name: str, rules: dict) -> str:
    """Pairs in the template's order.

    The first pair written has no comma before it: one alternative for each that may be first.
    """
    further = schema.get("additionalProperties")
    if further and not schema.get("properties"):
        value = (
            "(string | number | boolean)" if further is True else _value_rule(plain_schema(further), f"{name}-v", rules)
        )
        rules[f"{name}-pair"] = f'{_KEY_RULE} ":" {value}'
        return f'"{{" ({name}-pair ("," {name}-pair)*)? "}}"'
    required = set(schema.get("required") or [])
    pairs = []
    for number, (key, value) in enumerate(
        sorted((schema.get("properties") or {}).items(), key=lambda pair: pair[0].lower())
    ):
        rule = f"{name}-{number}"
        rules[rule] = f"{_literal(key + ':')} {_value_rule(value, rule + '-value', rules)}"
        pairs.append((rule, key in required))
    ways = []
    for first in range(len(pairs)):
        rest = [f'"," {rule}' if needed else f'("," {rule})?' for rule, needed in pairs[first + 1 :]]
        ways.append(" ".join([pairs[first][0], *rest]))
        if pairs[first][1]:
            break
    if not any(needed for _, needed in pairs):
        ways.append('""')
    return f'"{{" ({" | ".join(ways)}) "}}"'
