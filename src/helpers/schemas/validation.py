"""A call's arguments against the schema of their tool, closed at every level. Source: JSON Schema, draft 2020-12."""

from __future__ import annotations

import copy
import re
from typing import Any

from ..errors import CourseError
from .declarations import ANY_OF, DEFINITIONS, MAX_DEPTH, Fault, check_references, is_optional, too_deep, without_ids

_VALIDATORS: dict[str, Any] = {}  # a schema as text -> its validator; see _validator
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
    for word in (*DEFINITIONS, "dependentSchemas"):
        if isinstance(schema.get(word), dict):
            closed[word] = {name: _closed(inner, whole=False) for name, inner in schema[word].items()}
    for word in _NEW_PLACE:
        if isinstance(schema.get(word), dict):
            closed[word] = _closed(schema[word], whole=True)
    for word in _SAME_PLACE:
        if word in schema:
            closed[word] = _closed(schema[word], whole=False)
    for word in (*ANY_OF, "prefixItems"):
        if isinstance(schema.get(word), list):
            closed[word] = [_closed(inner, whole=word == "prefixItems") for inner in schema[word]]
    if isinstance(schema.get("required"), list) and isinstance(schema.get("properties"), dict):
        closed["required"] = [name for name in schema["required"] if not is_optional(schema["properties"].get(name))]
    return {**_bounds(schema), **closed} if whole else closed


def _bounds(schema: dict) -> dict:
    """What closes one level. First in order: an undeclared argument is what is reported of a call with several faults.

    Values of no declared shape (a schema without type, an array without items) may be scalars, and objects and lists
    without anything in them.
    """
    kinds = schema.get("type", ["object", "array"])
    composed = any(word in schema for word in (*ANY_OF, "$ref", "if", "dependentSchemas"))
    bounds: dict = {}
    if "object" in kinds:
        bounds = {"unevaluatedProperties": False} if composed else {"additionalProperties": False, "properties": {}}
    if "array" in kinds:
        scalars = {"type": ["string", "number", "boolean", "null"]}
        further = False if "prefixItems" in schema else scalars
        bounds["unevaluatedItems" if composed else "items"] = further
    return bounds


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
