"""The one idea of a tool's schema: what a declaration may hold, and whether a call's arguments fit it.

``check_tools`` is called by all who read declarations: ``chat.render``, ``calls.grammar``, ``dispatch`` and the data.
Declarations as others write them (Python functions, pydantic models, OpenAI's flat form, MCP's, Anthropic's) become
ours through ``as_tools``. Source: JSON Schema, draft 2020-12.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .control_tokens import holds_control_token
from .declarations import (
    DROPPED_NAMES,
    MAX_DEPTH,
    SCHEMA_TYPES,
    check_references,
    converted,
    renamed,
    too_deep,
    translated,
    without_ids,
)
from .errors import CourseError

_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_TOOL_NAME = re.compile(r"[^\W\d][\w.-]*")
_ANY_OF = ("allOf", "anyOf", "oneOf")
#: Keywords that change what a value may be and have no form in the template.
_UNWRITTEN = (*_ANY_OF, "$ref", "$dynamicRef", "not", "if", "then", "else", "const", "prefixItems", "patternProperties",
              "dependentSchemas", "contains", "unevaluatedProperties", "unevaluatedItems")  # fmt: skip
_VALIDATORS: dict[str, Any] = {}  # a schema as text -> its validator; see _validator


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
        if not _TOOL_NAME.fullmatch(name):
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
            f"tool {tool}: the template has no form for {found} in {what}", "write it out, or try schemas.as_tools"
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
            )
        if not (isinstance(name, str) and _IDENTIFIER.fullmatch(name)):
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
    if prompt and item and (odd := [key for key in schema if not _IDENTIFIER.fullmatch(str(key))]):
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


def _optional(schema) -> bool:
    """Whether null stands in a schema's type list: the argument may be left out."""
    return isinstance(schema, dict) and isinstance(schema.get("type"), list | tuple) and "null" in schema["type"]


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
            plain["required"] = [name for name in schema["required"] if not _optional(properties.get(name))]
    if kind == "array" and isinstance(schema.get("items"), dict):
        plain["items"] = plain_schema(schema["items"])
    return plain


@dataclass(frozen=True)
class Tools:
    """Declarations in the course's form, and the names of those they were made from.

    ``back`` and ``forth`` hold what was renamed: a path of names (the tool's, then parameters') to the last one's
    other name, from ours to the original and from the original to ours.
    """

    declarations: list[dict]
    back: dict[tuple, str] = field(default_factory=dict)
    forth: dict[tuple, str] = field(default_factory=dict)

    def original(self, name: str, arguments: dict) -> tuple[str, dict]:
        """A call under the names that the tool's own program knows."""
        return self.back.get((name,), name), translated(arguments, self.back, (name,))

    def ours(self, name: str, arguments: dict) -> tuple[str, dict]:
        """A call as the model is to write it."""
        return self.forth.get((name,), name), translated(arguments, self.forth, (name,))


def as_tools(declarations, rename: bool = False) -> Tools:
    """Declarations that ``check_tools`` accepts, from those of others.

    Parameters
    ----------
    declarations : one or a list of: Python functions with type hints and a docstring, pydantic models, OpenAI's
        declarations (flat or wrapped), MCP's (``inputSchema``), Anthropic's (``input_schema``)
    rename : give other names to tools and parameters that the template drops or that are no identifiers (``type``
        becomes ``type_``); without it they are refused

    References are written out, ``X | None`` becomes a type list with null, ``str``, ``dict`` and other names of types
    become JSON Schema's. Raises CourseError for what cannot be read, and for what ``check_tools`` refuses.
    """
    listed = declarations if isinstance(declarations, list | tuple) else [declarations]
    made = [converted(tool) for tool in listed]
    back: dict[tuple, str] = {}
    forth: dict[tuple, str] = {}
    if rename:
        for number, declaration in enumerate(made):
            made[number], one_back, one_forth = renamed(declaration)
            back, forth = back | one_back, forth | one_forth
    check_tools(made)
    return Tools(made, back, forth)


# --- arguments against their schema -----------------------------------------------------------------------------------

_MAPS = ("properties", "patternProperties")
_NEW_PLACE = ("items", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")
_SAME_PLACE = ("then", "else")


def closed_schema(schema: dict) -> dict:
    """The schema closed at every level: JSON Schema allows further properties and items unless told otherwise.

    Where a schema is composed (``allOf``, ``$ref``, …) the whole is closed, not its parts, because each part would
    refuse what another declares. ``additionalProperties`` that is written out stays. ``not`` and ``if`` are left alone:
    they are conditions. An argument whose type list holds null may be left out.
    """
    return _closed(without_ids(schema), whole=True)


def _closed(schema, whole: bool):
    if schema is True:
        schema = {}
    if not isinstance(schema, dict):
        return schema
    closed = dict(schema)
    for word in _MAPS:
        if isinstance(schema.get(word), dict):
            closed[word] = {name: _closed(inner, whole=True) for name, inner in schema[word].items()}
    for word in ("$defs", "definitions", "dependentSchemas"):
        if isinstance(schema.get(word), dict):
            closed[word] = {name: _closed(inner, whole=False) for name, inner in schema[word].items()}
    for word in _NEW_PLACE:
        if isinstance(schema.get(word), dict):
            closed[word] = _closed(schema[word], whole=True)
    for word in _SAME_PLACE:
        if word in schema:
            closed[word] = _closed(schema[word], whole=False)
    for word in (*_ANY_OF, "prefixItems"):
        if isinstance(schema.get(word), list):
            closed[word] = [_closed(inner, whole=word == "prefixItems") for inner in schema[word]]
    if isinstance(schema.get("required"), list) and isinstance(schema.get("properties"), dict):
        closed["required"] = [name for name in schema["required"] if not _optional(schema["properties"].get(name))]
    return {**_bounds(schema), **closed} if whole else closed


def _bounds(schema: dict) -> dict:
    """What closes one level. First in order: an undeclared argument is what is reported of a call with several faults.

    Values of no declared shape (a schema without type, an array without items) may be scalars, and objects and lists
    without anything in them.
    """
    kinds = schema.get("type", ["object", "array"])
    composed = any(word in schema for word in (*_ANY_OF, "$ref", "if", "dependentSchemas"))
    bounds: dict = {}
    if "object" in kinds:
        bounds = {"unevaluatedProperties": False} if composed else {"additionalProperties": False, "properties": {}}
    if "array" in kinds:
        scalars = {"type": ["string", "number", "boolean", "null"]}
        further = False if "prefixItems" in schema else scalars
        bounds["unevaluatedItems" if composed else "items"] = further
    return bounds


@dataclass(frozen=True)
class Fault:
    """Where arguments break their schema, in jsonschema's words, and which of the schema's keywords they break."""

    path: str
    message: str
    keyword: str


def schema_fault(name: str, arguments: dict, parameters: dict | None) -> Fault | None:
    """What is wrong with a call's arguments, None if they fit.

    Raises CourseError for a malformed schema and for a reference out of it.
    """
    import jsonschema

    try:
        validator = _validator(name, {"type": "object", **(parameters or {})})
        error = jsonschema.exceptions.best_match(validator.iter_errors(arguments))
    except jsonschema.SchemaError as fault:
        raise CourseError(f"the schema of {name} is malformed: {fault.message[:200]}", "mend the declaration") from None
    except (RecursionError, re.error, OverflowError) as fault:
        reason = str(fault).splitlines()[0][:200]
        raise CourseError(f"the schema of {name} cannot be followed: {reason}", "mend the declaration") from None
    if error is None:
        return None
    keyword = "additionalProperties" if error.validator == "unevaluatedProperties" else error.validator
    return Fault(".".join(map(str, error.absolute_path)) or "arguments", error.message, keyword)


def _validator(name: str, schema: dict) -> Any:
    """What holds arguments to a schema, checked and closed; kept, as that takes milliseconds at every call."""
    import jsonschema

    if too_deep(schema):
        raise CourseError(f"the schema of {name} is nested deeper than {MAX_DEPTH}", "flatten the declaration")
    # repr, not JSON: order decides which fault is reported, and a tuple, which is malformed, is no list
    text = repr(schema)
    if text not in _VALIDATORS:
        check_references(name, schema)
        jsonschema.Draft202012Validator.check_schema(schema)
        if len(_VALIDATORS) >= 1024:
            _VALIDATORS.clear()
        # no $id is left: nothing to fetch; a copy, as the caller may change its own
        _VALIDATORS[text] = jsonschema.Draft202012Validator(copy.deepcopy(closed_schema(schema)))
    return _VALIDATORS[text]
