"""A call's arguments against their schema with the standard library alone: what ``schemas`` says, no jsonschema.

For the file that leaves the course with a reader's model (``scripts.publish.portable``). It knows the keywords that the
template writes, and bounds. A declaration with any other keyword is refused, not passed over. Source: JSON Schema,
draft 2020-12, validation vocabulary.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

from ..errors import CourseError
from ..schemas.declarations import Fault, is_optional

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
