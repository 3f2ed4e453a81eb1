"""Calls of a FunctionGemma model: read from its text, held to their declarations, run, and answered.

``parse`` reads the calls in a text, ``check_call`` holds one to its declaration, ``dispatch`` runs them, and
``converse`` carries a conversation on until the model answers in words. Nothing but the standard library is needed.

Made by ``python -m scripts.publish`` in the Arabic FunctionGemma course (Apache-2.0) from the course's own modules;
change them, not this file.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# --- errors -----------------------------------------------------------------------------------------------------------


class CourseError(ValueError):
    """Something the reader or a contributor can mend.

    Parameters
    ----------
    problem : what is wrong, naming the thing
    remedy : what to do about it
    kind : the problem without its particulars, for counting problems of many rows
    """

    def __init__(self, problem: str, remedy: str = "", kind: str = ""):
        self.problem, self.remedy, self.kind = problem, remedy, kind or problem
        super().__init__(f"{problem} → {remedy}" if remedy else problem)


# --- control_tokens ---------------------------------------------------------------------------------------------------


CONTROL_TOKENS: dict[str, int] = {
    "<eos>": 1,
    "<bos>": 2,
    "<start_function_declaration>": 46,
    "<end_function_declaration>": 47,
    "<start_function_call>": 48,
    "<end_function_call>": 49,
    "<start_function_response>": 50,
    "<end_function_response>": 51,
    "<escape>": 52,
    "<start_of_turn>": 105,
    "<end_of_turn>": 106,
}
#: Generation ends on any of these: a tool is to be run (50), the turn is over (106), the text is over (1).
STOP_IDS: tuple[int, ...] = (50, 106, 1)

# What a stranger's text must never turn into: every id that the tokenizer reads as something other than text.
_CONTROL_NAME = (
    r"(?:start|end)_of_(?:turn|image)|(?:start|end)_function_(?:declaration|call|response)"
    r"|escape|bos|eos|pad|unk|mask|s|image_soft_token|unused\d+"
)
_CONTROL = re.compile(rf"<[\s/]*(?:{_CONTROL_NAME})\s*>|\[multimodal\]", re.IGNORECASE)


def _folded(text: str) -> tuple[str, list[int]]:
    """``text`` as an attacker would have it read, with positions.

    Compatibility forms are folded, invisible characters gone.
    """
    characters, origin = [], []
    for position, character in enumerate(text):
        if unicodedata.category(character) in ("Cf", "Mn", "Me") or character in "\u3164\u115f\u1160\uffa0":
            continue
        for plain in unicodedata.normalize("NFKC", character):
            characters.append(plain)
            origin.append(position)
    return "".join(characters), origin


def neutralize(text: str) -> str:
    """Foreign text that reads the same and tokenizes to no control id.

    A control token's brackets become ``‹`` and ``›``; so do those of its disguises (zero-width characters inside,
    full-width forms, ``<unusedN>``). All other text is returned as it came. Applying it twice changes nothing more.
    """
    if "<" not in text and text.isascii() and "[multimodal]" not in text.lower():
        return text
    folded, origin = _folded(text)
    pieces, end = [], 0
    for match in _CONTROL.finditer(folded):
        start, stop = origin[match.start()], origin[match.end() - 1] + 1
        pieces += [text[end:start], "‹", match.group()[1:-1], "›"]
        end = stop
    return "".join([*pieces, text[end:]])


def neutralized(value):
    """``neutralize`` for every string in a JSON-like value."""
    if isinstance(value, str):
        return neutralize(value)
    if isinstance(value, dict):
        return {neutralize(str(key)): neutralized(item) for key, item in value.items()}
    return [neutralized(item) for item in value] if isinstance(value, list | tuple) else value


def holds_control_token(value) -> bool:
    """Whether any string in a JSON-like value holds a control token or a disguise of one."""
    if isinstance(value, dict):
        return any(holds_control_token(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return any(map(holds_control_token, value))
    return isinstance(value, str) and neutralize(value) != value


# --- schemas/declarations ---------------------------------------------------------------------------------------------


#: Parameters of these names vanish from a declaration: the official template takes them for keywords of the schema.
DROPPED_NAMES = frozenset({"type", "description", "properties", "required", "nullable"})
SCHEMA_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object"})
MAX_DEPTH = 64  # of nested objects and lists, in declarations and in values
#: What may stand in a prompt as a bare word: a key or parameter, and a function's name.
IDENTIFIER = re.compile(r"[^\W\d]\w*")
TOOL_NAME = re.compile(r"[^\W\d][\w.-]*")
ANY_OF = ("allOf", "anyOf", "oneOf")
#: Keywords that change what a value may be and have no form in the template.
_UNWRITTEN = (*ANY_OF, "$ref", "$dynamicRef", "not", "if", "then", "else", "const", "prefixItems", "patternProperties",
              "dependentSchemas", "contains", "unevaluatedProperties", "unevaluatedItems")  # fmt: skip
DEFINITIONS = ("$defs", "definitions")


@dataclass(frozen=True)
class Fault:
    """Where arguments break their schema, in words, and which of the schema's keywords they break."""

    path: str
    message: str
    keyword: str


def check_tools(tools, prompt: bool = True) -> None:
    """Raise CourseError for a declaration that is malformed, or that the template would render incompletely.

    Parameters
    ----------
    tools : declarations ``{"type": "function", "function": {"name", "description", "parameters"}}``
    prompt : False for a program that does not show them to the model: what only the template loses is then accepted
    """
    if not isinstance(tools, list | tuple):
        raise CourseError(f"tools are a {type(tools).__name__}, not a list", "pass a list of declarations")
    names: set[str] = set()
    for tool in tools:
        function = _function(tool)
        name = function["name"]
        if not TOOL_NAME.fullmatch(name):
            raise CourseError(f"tool name {name[:80]!r} is not an identifier", "use letters, digits and underscores")
        if name in names:
            raise CourseError(f"tool {name} is declared twice", "remove one declaration")
        names.add(name)
        if too_deep(function):
            raise CourseError(f"tool {name}: its declaration is nested deeper than {MAX_DEPTH}", "flatten it")
        if holds_control_token(function):
            raise CourseError(f"tool {name}: its declaration holds a control token", "remove it from the text")
        _check_text(name, "its description", function)
        _check_parameters(name, function.get("parameters"), prompt)


def _function(tool) -> dict:
    """What a declaration holds under ``function``. Raises CourseError for another form, and for none."""
    function = tool.get("function") if isinstance(tool, dict) else None
    if isinstance(function, dict) and isinstance(function.get("name"), str):
        return function
    if callable(tool) or (isinstance(tool, dict) and isinstance(tool.get("name"), str)):
        name = tool["name"] if isinstance(tool, dict) else getattr(tool, "__name__", repr(tool))
        raise CourseError(f"tool {name[:80]!r} is declared in another form", "convert it: helpers.schemas.as_tools")
    raise CourseError("a tool declaration has no function name", 'use {"type": "function", "function": {"name": …}}')


def _check_text(tool: str, what: str, holder: dict) -> None:
    if not isinstance(holder.get("description", ""), str):
        kind = type(holder["description"]).__name__
        raise CourseError(f"tool {tool}: {what} is a {kind}, not text", "write text, or leave it out")


def _check_parameters(tool: str, parameters, prompt: bool) -> None:
    if parameters is None:
        return
    if not isinstance(parameters, dict):
        raise CourseError(f"tool {tool}: parameters are a {type(parameters).__name__}", "use a JSON Schema object")
    outside = [word for word in parameters.keys() - set(DEFINITIONS) if isinstance(parameters[word], dict)]
    if outside and "properties" not in parameters and not any(word in parameters for word in _UNWRITTEN):
        raise CourseError(
            f"tool {tool}: {outside[0]} stands outside of properties", 'use {"properties": {name: schema}}'
        )
    if "type" in parameters and kind_of(parameters) != "object":
        raise CourseError(f"tool {tool}: its parameters have the type {parameters['type']!r}", 'use "object"')
    if prompt:
        _check_unwritten(tool, "its parameters", parameters)
    else:
        check_references(tool, parameters)
    _check_object(tool, parameters, "", prompt)


def _check_unwritten(tool: str, what: str, schema: dict) -> None:
    if found := next((word for word in _UNWRITTEN if word in schema), None):
        raise CourseError(
            f"tool {tool}: the template has no form for {found} in {what}",
            "write it out, or try helpers.schemas.as_tools",
        )


def _check_object(tool: str, schema: dict, where: str, prompt: bool) -> None:
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        raise CourseError(f"tool {tool}: the properties of {where[:-1] or 'it'} are no mapping", "use name: schema")
    for name, inner in properties.items():
        path = f"{where}{name}"
        if prompt and name in DROPPED_NAMES:
            raise CourseError(
                f"tool {tool}: the template drops a parameter named {path}",
                "give it another name; helpers.schemas.as_tools(tools, rename=True) does and returns the way back",
                f"the template drops a parameter named {name}",
            )
        if not (isinstance(name, str) and IDENTIFIER.fullmatch(name)):
            raise CourseError(f"tool {tool}: {path[:80]!r} is not an identifier", "use letters, digits and underscores")
        _check_schema(tool, inner, path, prompt)
    required = schema.get("required", [])
    if not isinstance(required, list | tuple) or not all(isinstance(name, str) for name in required):
        raise CourseError(f"tool {tool}: required of {where[:-1] or 'it'} is no list of names", "list parameters")
    composed = not prompt and any(word in schema for word in _UNWRITTEN)
    if not composed and (missing := [name for name in required if name not in properties]):
        raise CourseError(f"tool {tool}: it requires {where}{missing[0]}, which it does not declare", "declare it")


def _check_schema(tool: str, schema, path: str, prompt: bool, item: bool = False) -> None:
    composed = isinstance(schema, dict) and any(word in schema for word in _UNWRITTEN)
    if prompt and composed:
        _check_unwritten(tool, path, schema)
    kind = kind_of(schema)
    if kind is None and not composed:
        told = repr(schema.get("type") if isinstance(schema, dict) else schema)[:60]
        raise CourseError(
            f"tool {tool}: parameter {path} has no known type ({told})", f"use one of {', '.join(sorted(SCHEMA_TYPES))}"
        )
    _check_text(tool, f"the description of {path}", schema)
    if "enum" in schema and not composed:
        _check_enum(tool, schema["enum"], kind, path, prompt and not item)
    extra = sorted(str(key) for key in schema.keys() - DROPPED_NAMES)
    if prompt and not item and kind == "object" and "properties" not in schema and extra:
        raise CourseError(
            f"tool {tool}: the template writes {extra[0]} of {path} as a parameter", 'add "properties": {}'
        )
    _check_object(tool, schema, f"{path}.", prompt)
    items = schema.get("items")
    if prompt and item and (odd := [key for key in schema if not IDENTIFIER.fullmatch(str(key))]):
        raise CourseError(f"tool {tool}: {odd[0]!r} in the items of {path} would stand as a bare word", "remove it")
    if "items" in schema and items != {} and not (composed and isinstance(items, bool)):
        _check_schema(tool, items, path, prompt, item=True)


_OF_TYPE: dict[str, Callable] = {
    "string": lambda value: isinstance(value, str),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "boolean": lambda value: isinstance(value, bool),
}


def _check_enum(tool: str, enum, kind: str | None, path: str, parameter: bool) -> None:
    """``parameter``: it stands where the template writes enums of strings only."""
    if parameter and kind != "string":
        raise CourseError(f"tool {tool}: the template drops the enum of {path}, a {kind}", "make it a string")
    values = [value for value in enum if value is not None] if isinstance(enum, list | tuple) else []
    if not values:
        raise CourseError(f"tool {tool}: the enum of {path} lists no values", "list them, or leave it out")
    if odd := [value for value in values if not _OF_TYPE.get(kind or "", lambda value: True)(value)]:
        raise CourseError(f"tool {tool}: the enum of {path} holds {odd[0]!r:.60}, which is no {kind}", "correct it")


def kind_of(schema) -> str | None:
    """The one type of a schema, null in a type list aside; None for an unknown type, or several."""
    kind = schema.get("type") if isinstance(schema, dict) else None
    if isinstance(kind, list | tuple):
        others = [one for one in kind if one != "null"]
        kind = others[0] if len(others) == 1 else None
    return kind if isinstance(kind, str) and kind in SCHEMA_TYPES else None


def is_optional(schema) -> bool:
    """Whether null stands in a schema's type list or enum: the argument may be left out."""
    return isinstance(schema, dict) and any(
        isinstance(schema.get(word), list | tuple) and null in schema[word]
        for word, null in (("type", "null"), ("enum", None))
    )


def plain_schema(schema: dict) -> dict:
    """A checked schema as the template and the grammar write it: one type, no null in enums, optional not required."""
    plain = dict(schema)
    if kind := kind_of(schema):
        plain["type"] = kind
    if isinstance(schema.get("enum"), list | tuple):
        plain["enum"] = [value for value in schema["enum"] if value is not None]
    if properties := schema.get("properties"):
        plain["properties"] = {name: plain_schema(inner) for name, inner in properties.items()}
        if "required" in schema:
            plain["required"] = [name for name in schema["required"] if not is_optional(properties.get(name))]
    if kind == "array" and isinstance(schema.get("items"), dict):
        plain["items"] = plain_schema(schema["items"])
    return plain


# --- references and depth ---------------------------------------------------------------------------------------------


def too_deep(value) -> bool:
    """Whether a JSON-like value is nested deeper than ``MAX_DEPTH``. Uses no recursion itself."""
    level, depth = [value], 0
    while level and depth <= MAX_DEPTH:
        level = [
            item
            for one in level
            if isinstance(one, dict | list | tuple)
            for item in (one.values() if isinstance(one, dict) else one)
        ]
        depth += 1
    return bool(level)


def without_ids(value):
    """A schema without the names that would make its references lead somewhere else."""
    if isinstance(value, dict):
        return {k: without_ids(v) for k, v in value.items() if not (k in ("$id", "$schema") and isinstance(v, str))}
    return [without_ids(item) for item in value] if isinstance(value, list | tuple) else value


def resolved(root, reference):
    """What a reference ``#/…`` names inside ``root``. Raises LookupError for a remote or an unresolvable one."""
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise LookupError(reference)
    found = root
    for step in reference.split("/")[1:]:
        try:
            found = found[int(step)] if isinstance(found, list) else found[step.replace("~1", "/").replace("~0", "~")]
        except (TypeError, ValueError):
            raise LookupError(reference) from None
    if not isinstance(found, dict | bool):
        raise LookupError(reference)
    return found


def _references(value) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from ((key, item) for key, item in value.items() if key in ("$ref", "$dynamicRef", "$recursiveRef"))
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _references(item)


def check_references(name: str, parameters: dict) -> None:
    """Raise CourseError unless every reference leads to a place in the declaration itself. Nothing is fetched."""
    for word, reference in _references(parameters):
        try:
            resolved(parameters, reference if word == "$ref" else None)
        except LookupError:
            raise CourseError(
                f"tool {name}: its {word} {str(reference)[:80]!r} leads nowhere in the declaration", "use #/$defs/…"
            ) from None


# --- yours/plain_schemas ----------------------------------------------------------------------------------------------


_KINDS: dict[str, Any] = {
    "string": str,
    "boolean": bool,
    "integer": (int, float),
    "number": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
}
_NOTES = frozenset({"description", "title", "default", "examples", "format", "nullable", "deprecated", "$comment"})
_KNOWN = _NOTES | frozenset(
    "type enum properties required additionalProperties items minimum maximum exclusiveMinimum exclusiveMaximum "
    "multipleOf minLength maxLength pattern minItems maxItems uniqueItems minProperties maxProperties".split()
)
_SCALARS = {"type": ["string", "number", "boolean", "null"]}


def schema_fault(name: str, arguments: dict, parameters: dict | None) -> Fault | None:
    """What is wrong with a call's arguments, None if they fit.

    Raises CourseError for a declaration with a keyword that only jsonschema can follow.
    """
    return _fault(name, arguments, {"type": "object", **(parameters or {})}, ())


def _fault(name: str, value, schema, path: tuple) -> Fault | None:
    if schema is True:
        schema = {}
    if not isinstance(schema, dict) or (unknown := sorted(schema.keys() - _KNOWN)):
        told = "false" if not isinstance(schema, dict) else unknown[0]
        raise CourseError(f"the schema of {name} has {told}, which cannot be followed here", "check with jsonschema")
    found = _own_fault(value, schema)
    if found:
        return Fault(".".join(map(str, path)) or "arguments", found[1], found[0])
    faults = (_fault(name, item, below, (*path, key)) for key, item, below in _inside(value, schema))
    return next(filter(None, faults), None)


def _inside(value, schema: dict) -> Iterator[tuple]:
    """(key or place, item, its schema) of what a value holds; what ``true`` lets pass is left out."""
    if isinstance(value, dict):
        further, properties = schema.get("additionalProperties"), schema.get("properties", {})
        for key, item in value.items():
            if key in properties or further is not True:
                yield key, item, properties.get(key, further)
    elif isinstance(value, list) and schema.get("items") is not True:
        for place, item in enumerate(value):
            yield place, item, schema.get("items", _SCALARS)


def _own_fault(value, schema: dict) -> tuple[str, str] | None:
    """(keyword, message) of what is wrong with a value itself, not with what is inside it."""
    kinds = schema.get("type")
    if kinds is not None and not any(_is(value, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)):
        return "type", f"{value!r} is not of type {kinds!r}"
    if "enum" in schema and not any(_same(value, allowed) for allowed in schema["enum"]):
        return "enum", f"{value!r} is not one of {schema['enum']!r}"
    if isinstance(value, dict):
        return _object_fault(value, schema)
    if isinstance(value, list):
        return _list_fault(value, schema)
    if isinstance(value, str):
        return _text_fault(value, schema)
    return _number_fault(value, schema) if _is(value, "number") else None


def _object_fault(value: dict, schema: dict) -> tuple[str, str] | None:
    properties = schema.get("properties", {})
    if schema.get("additionalProperties", False) is False:
        for key in value:
            if key not in properties:
                return "additionalProperties", f"{key!r} is not declared"
    for key in schema.get("required", ()):
        if key not in value and not is_optional(properties.get(key)):
            return "required", f"{key!r} is a required property"
    return _size_fault(len(value), schema, "Properties", "properties")


def _list_fault(value: list, schema: dict) -> tuple[str, str] | None:
    if schema.get("uniqueItems") and any(_same(a, b) for place, a in enumerate(value) for b in value[:place]):
        return "uniqueItems", f"{value!r} has one item twice"
    return _size_fault(len(value), schema, "Items", "items")


def _text_fault(value: str, schema: dict) -> tuple[str, str] | None:
    if "pattern" in schema and not re.search(schema["pattern"], value):
        return "pattern", f"{value!r} does not match {schema['pattern']!r}"
    return _size_fault(len(value), schema, "Length", "characters")


def _size_fault(size: int, schema: dict, word: str, told: str) -> tuple[str, str] | None:
    if size < schema.get(f"min{word}", 0):
        return f"min{word}", f"{size} {told} are too few"
    if size > schema.get(f"max{word}", math.inf):
        return f"max{word}", f"{size} {told} are too many"
    return None


def _number_fault(value: int | float, schema: dict) -> tuple[str, str] | None:
    bounds = (
        ("minimum", lambda bound: value < bound, "less than"),
        ("maximum", lambda bound: value > bound, "greater than"),
        ("exclusiveMinimum", lambda bound: value <= bound, "not greater than"),
        ("exclusiveMaximum", lambda bound: value >= bound, "not less than"),
        ("multipleOf", lambda step: not _divides(step, value), "not a multiple of"),
    )
    for keyword, breaks, told in bounds:
        if keyword in schema and breaks(schema[keyword]):
            return keyword, f"{value!r} is {told} {schema[keyword]!r}"
    return None


def _divides(step, value) -> bool:
    if isinstance(step, float):
        quotient = value / step
        return math.isfinite(quotient) and quotient == int(quotient)
    return value % step == 0


def _is(value, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS.get(kind, ()))


def _same(a, b) -> bool:
    """JSON's equality: 1 is 1.0, and neither is true."""
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return a == b


# --- calls ------------------------------------------------------------------------------------------------------------


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


# --- dispatch ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Result:
    """What one call returned."""

    call: FunctionCall
    value: object


def check_call(call: FunctionCall, tools: list[dict]) -> None:
    """Raise CourseError unless the call names a declared tool and its arguments fit that tool's JSON schema.

    Arguments that the schema does not name are refused, at every level, however it is composed. A malformed
    declaration, and one that refers out of itself, is refused too: nothing is fetched.
    """
    _check(call, _declared(tools))


def _declared(tools: list[dict]) -> dict[str, dict]:
    """Name -> what is declared under it. Raises CourseError for a malformed declaration."""
    check_tools(tools, prompt=False)
    return {tool["function"]["name"]: tool["function"] for tool in tools}


def _check(call: FunctionCall, declared: dict[str, dict]) -> None:
    if call.name not in declared:
        raise CourseError(
            f"the model called {call.name!r}, which was not declared", "answer it with an error, or ask again"
        )
    if fault := schema_fault(call.name, call.arguments, declared[call.name].get("parameters")):
        raise CourseError(
            f"call of {call.name}, {fault.path}: {fault.message[:200]}", "answer it with an error, or ask again"
        )


def dispatch(text: str, tools: list[dict], functions: Mapping[str, Callable]) -> list[Result]:
    """Run the calls in a model's text.

    Parameters
    ----------
    text : what the model wrote
    tools : the declarations that stood in the prompt
    functions : name -> the program's own function for it

    All calls are checked before the first one runs, so that a bad second call leaves nothing half done.

    Raises
    ------
    CourseError : malformed text (``ParseError``), an undeclared tool, arguments that do not fit, a tool without a
        function.
    """
    declared, calls = _declared(tools), parse(text)
    for call in calls:
        _check(call, declared)
        if call.name not in functions:
            raise CourseError(
                f"{call.name} is declared but the program has no function for it",
                "add it to functions, or do not declare it",
            )
    return [Result(call, functions[call.name](**call.arguments)) for call in calls]


# --- yours/agent ------------------------------------------------------------------------------------------------------


def converse(
    ask: Callable[[list, list], str],
    messages: list[dict],
    tools: list[dict],
    functions: Mapping[str, Callable],
    rounds: int = 4,
) -> list[dict]:
    """A conversation carried on until the model answers in words.

    Parameters
    ----------
    ask : messages and tools -> the text of the model's next turn, control tokens included
    messages : what was said so far, the user's request last
    tools, functions : what is declared, and the program's own function for each name
    rounds : how often the model may call before it has to answer

    Returns the messages with all that was added: the model's calls, the results, and its reply as the last.

    Raises
    ------
    CourseError : a call that cannot be read (``ParseError``), and a model that still calls after ``rounds``. Text in
        which no call begins is words, whatever control tokens stand in it: what has run is not lost to a bad reply.
    """
    talk = list(messages)
    for _ in range(rounds):
        text = ask(talk, tools)
        made = parse(text) if "<start_function_call>" in text else []
        if not made:
            return [*talk, {"role": "assistant", "content": _words(text)}]
        written = [{"type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in made]
        talk.append({"role": "assistant", "tool_calls": written})
        talk += _results(made, tools, functions)
    raise CourseError(f"the model still calls after {rounds} rounds", "read the conversation, or allow more rounds")


def _words(text: str) -> str:
    """A turn without calls as text for a person: control tokens and what follows the first of them are gone."""
    end = min((at for token in CONTROL_TOKENS if (at := text.find(token)) >= 0), default=len(text))
    return neutralize(text[:end].strip())


def _results(made: list[FunctionCall], tools: list[dict], functions: Mapping[str, Callable]) -> list[dict]:
    """A message for each call. If one may not run, none runs: half of what was asked for is not what was asked for."""
    faults = [_refusal(call, tools, functions) for call in made]
    results = []
    for call, fault in zip(made, faults, strict=True):
        if any(faults):
            value = {"error": fault or "not run, because of the other call"}
        else:
            value = _run(functions[call.name], call.arguments)
        results.append({"role": "tool", "name": call.name, "content": value})
    return results


def _refusal(call: FunctionCall, tools: list[dict], functions: Mapping[str, Callable]) -> str | None:
    try:
        check_call(call, tools)
    except CourseError as error:
        return error.problem
    return None if call.name in functions else f"there is no function {call.name}"


def _run(function: Callable, arguments: dict) -> dict:
    """What a function returned, as a mapping; ``{"error": …}`` for one that fails."""
    try:
        value = function(**arguments)
    except Exception as error:  # of whatever kind: it is the model's to react to
        return {"error": f"{type(error).__name__}: {error}"}
    return value if isinstance(value, dict) and value else {"result": "done" if value in (None, {}, [], "") else value}


def continued(prompt: str, added: list[dict]) -> str:
    """A prompt with the calls and results that were added since, as the template writes them inside the model's turn.

    For an engine that takes results as text only, such as llama.cpp's server: it writes a mapping as one string.
    ``prompt`` ends where the model's turn begins; ``added`` are messages of ``converse``.
    """
    for message in added:
        made = [call["function"] for call in message.get("tool_calls", ())]
        if made:
            prompt += serialize([FunctionCall(call["name"], call["arguments"]) for call in made])
        else:
            written = serialize([FunctionCall(message["name"], neutralized(message["content"]))])
            body = written.removeprefix("<start_function_call>call:").removesuffix("<end_function_call>")
            prompt += f"<start_function_response>response:{body}<end_function_response>"
    return prompt
