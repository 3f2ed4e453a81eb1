"""The one idea of a tool's schema: what a declaration may hold, and whether a call's arguments fit it."""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass
from typing import Any

from .control_tokens import holds_control_token
from .errors import CourseError

#: Parameters of these names vanish from a declaration: the official template takes them for keywords of the schema.
DROPPED_NAMES = frozenset({"type", "description", "properties", "required", "nullable"})
SCHEMA_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object"})
_VALIDATORS: dict[str, Any] = {}  # a schema as text -> its validator; see _validator


def check_tools(tools: list[dict]) -> None:
    """Raise CourseError for a declaration the template would render incompletely or that carries control tokens."""
    names = set()
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise CourseError(
                "a tool declaration has no function name", 'use {"type": "function", "function": {"name": …}}'
            )
        name = function["name"]
        if not re.fullmatch(r"[^\W\d][\w.-]*", name):
            raise CourseError(f"tool name {name!r} is not an identifier", "use letters, digits and underscores")
        if name in names:
            raise CourseError(f"tool {name} is declared twice", "remove one declaration")
        names.add(name)
        if holds_control_token(function):
            raise CourseError(f"tool {name}: its declaration holds a control token", "remove it from the text")
        _check_schema(name, (function.get("parameters") or {}).get("properties") or {})


def _check_schema(tool: str, properties: dict, where: str = "") -> None:
    for name, schema in properties.items():
        path = f"{where}{name}"
        if name in DROPPED_NAMES:
            raise CourseError(f"tool {tool}: the template drops a parameter named {path}", "give it another name")
        if not re.fullmatch(r"[^\W\d]\w*", name):
            raise CourseError(f"tool {tool}: {path!r} is not an identifier", "use letters, digits and underscores")
        if not isinstance(schema, dict) or schema.get("type") not in SCHEMA_TYPES:
            raise CourseError(
                f"tool {tool}: parameter {path} has no known type", f"use one of {', '.join(sorted(SCHEMA_TYPES))}"
            )
        if "enum" in schema and schema["type"] != "string":
            raise CourseError(
                f"tool {tool}: the template drops the enum of {path}, a {schema['type']}", "make it a string"
            )
        inner = schema.get("items") if schema["type"] == "array" else schema
        if isinstance(inner, dict):
            _check_schema(tool, inner.get("properties") or {}, f"{path}.")


def closed_schema(schema: dict) -> dict:
    """The schema with every object in it closed: JSON Schema allows further properties unless told otherwise."""
    closed = dict(schema)
    if isinstance(schema.get("properties"), dict):
        closed["properties"] = {name: closed_schema(inner) for name, inner in schema["properties"].items()}
    if isinstance(schema.get("items"), dict):
        closed["items"] = closed_schema(schema["items"])
    if schema.get("type") == "object":
        # first, so that an undeclared argument is what is reported of a call with several faults
        closed = {"additionalProperties": False, "properties": {}, **closed}
    return closed


@dataclass(frozen=True)
class Fault:
    """Where arguments break their schema, in jsonschema's words, and which of the schema's keywords they break."""

    path: str
    message: str
    keyword: str


def schema_fault(name: str, arguments: dict, parameters: dict | None) -> Fault | None:
    """What is wrong with a call's arguments, None if they fit. Raises CourseError for a malformed schema."""
    import jsonschema

    try:
        validator = _validator(closed_schema(parameters or {"type": "object"}))
    except jsonschema.SchemaError as error:
        raise CourseError(f"the schema of {name} is malformed: {error.message[:200]}", "mend the declaration") from None
    if found := jsonschema.exceptions.best_match(validator.iter_errors(arguments)):
        return Fault(".".join(map(str, found.absolute_path)) or "arguments", found.message, found.validator)
    return None


def _validator(schema: dict) -> Any:
    """What ``jsonschema.validate`` makes of a schema at every call; kept, as checking a schema takes milliseconds."""
    import jsonschema

    # repr, not JSON: order decides which fault is reported, and a tuple, which is malformed, is no list
    text = repr(schema)
    if text not in _VALIDATORS:
        kind = jsonschema.validators.validator_for(schema)
        kind.check_schema(schema)
        if len(_VALIDATORS) >= 1024:
            _VALIDATORS.clear()
        _VALIDATORS[text] = kind(copy.deepcopy(schema))  # the caller may change its own
    return _VALIDATORS[text]
