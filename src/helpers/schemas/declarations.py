"""What a declaration may hold, and where references inside it lead. Source: JSON Schema, draft 2020-12."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ..control_tokens import holds_control_token
from ..errors import CourseError

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
