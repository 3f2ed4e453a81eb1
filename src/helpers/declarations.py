"""Tools as others declare them, turned into the course's form; ``schemas.as_tools`` is the way in.

Sources: ``transformers.utils.get_json_schema`` for Python functions, pydantic's ``model_json_schema``, OpenAI's
function tools (flat and wrapped), the Model Context Protocol's ``inputSchema`` and Anthropic's ``input_schema``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from .errors import CourseError

#: Parameters of these names vanish from a declaration: the official template takes them for keywords of the schema.
DROPPED_NAMES = frozenset({"type", "description", "properties", "required", "nullable"})
SCHEMA_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object"})
MAX_DEPTH = 64  # of a declaration's nested dicts and lists
#: What Python programs and other APIs call the types.
_ALIASES = {
    "str": "string", "int": "integer", "float": "number", "double": "number", "bool": "boolean",
    "list": "array", "tuple": "array", "dict": "object",
}  # fmt: skip
_BOOKKEEPING = ("$defs", "definitions", "$schema", "$id")
_PARAMETERS = ("parameters", "inputSchema", "input_schema")


def converted(tool) -> dict:
    """One declaration in the course's form, from any of the forms named above; not yet checked."""
    name, description, parameters = _parts(tool)
    function = {"name": name, "description": description or ""}
    if parameters is not None:
        function["parameters"] = _simplified(parameters, parameters, name)
    return {"type": "function", "function": function}


def _parts(tool) -> tuple[str, str, object]:
    if isinstance(tool, type) and hasattr(tool, "model_json_schema"):
        schema = dict(tool.model_json_schema())
        return tool.__name__, schema.pop("description", ""), schema
    if callable(tool):
        return _from_function(tool)
    outer = tool if isinstance(tool, dict) else {}
    inner: dict = outer["function"] if isinstance(outer.get("function"), dict) else outer
    if not isinstance(inner.get("name"), str):
        raise CourseError(
            f"no tool can be read from a {type(tool).__name__} without a name",
            "pass a function, a pydantic model, or a declaration with name, description and parameters",
        )
    return inner["name"], inner.get("description") or "", next((inner[k] for k in _PARAMETERS if inner.get(k)), None)


def _from_function(function) -> tuple[str, str, dict]:
    """A function with type hints and a docstring that describes each argument (Google's style)."""
    from transformers.utils import get_json_schema

    name = getattr(function, "__name__", type(function).__name__)
    try:
        made = get_json_schema(function)["function"]
    except Exception as error:  # of three kinds of its own, and what inspect raises for objects without a signature
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise CourseError(
            f"function {name}: {reason}", "give it type hints, and a docstring with a line for each argument"
        ) from None
    return made["name"], made.get("description"), made["parameters"]


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


def _simplified(schema, root, tool: str, seen: tuple = ()):
    """A schema without references and one-way choices, its types named as JSON Schema names them."""
    if len(seen) > MAX_DEPTH:
        raise CourseError(f"tool {tool}: its schema is nested deeper than {MAX_DEPTH}", "flatten it")
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        reference = schema["$ref"]
        if reference in seen:
            raise CourseError(f"tool {tool}: {reference} refers to itself", "declare as many levels as are needed")
        try:
            target = resolved(root, reference)
        except LookupError:
            raise CourseError(
                f"tool {tool}: its $ref {str(reference)[:80]!r} leads nowhere in the declaration", "use #/$defs/…"
            ) from None
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        return _simplified({**(target if isinstance(target, dict) else {}), **rest}, root, tool, (*seen, reference))
    for word in ("allOf", "anyOf", "oneOf"):
        ways = [way for way in schema[word] if way != {"type": "null"}] if isinstance(schema.get(word), list) else []
        if len(ways) == 1 and isinstance(ways[0], dict):
            rest = {key: value for key, value in schema.items() if key != word and value is not None}
            found = _simplified({**ways[0], **rest}, root, tool, (*seen, word))
            return found if len(ways) == len(schema[word]) else _or_null(found)
    return _keywords(schema, root, tool, (*seen, ""))


def _or_null(schema: dict) -> dict:
    return {**schema, "type": [schema["type"], "null"]} if isinstance(schema.get("type"), str) else schema


def _keywords(schema: dict, root, tool: str, seen: tuple) -> dict:
    found = {
        key: value
        for key, value in schema.items()
        if value is not None and key not in _BOOKKEEPING and not (key == "title" and isinstance(value, str))
    }
    if found.get("additionalProperties") is False:
        del found["additionalProperties"]
    if "const" in found:
        found["enum"] = [found.pop("const")]
    kind = found.get("type", _implied_type(found))
    if kind is not None:
        found["type"] = [_type_name(one) for one in kind] if isinstance(kind, list) else _type_name(kind)
    if found.get("type") == "object":
        found.setdefault("properties", {})
    if isinstance(found.get("properties"), dict):
        inside = {name: inner for name, inner in found["properties"].items() if inner is not None}
        found["properties"] = {name: _simplified(inner, root, tool, seen) for name, inner in inside.items()}
    for word in ("items", "additionalProperties"):
        if isinstance(found.get(word), dict):
            found[word] = _simplified(found[word], root, tool, seen)
    return found


def _implied_type(schema: dict) -> str | None:
    """The type that a schema without one can only have."""
    if "properties" in schema:
        return "object"
    if "items" in schema:
        return "array"
    enum = schema.get("enum")
    return "string" if isinstance(enum, list) and enum and all(isinstance(value, str) for value in enum) else None


def _type_name(kind):
    low = kind.strip().lower() if isinstance(kind, str) else kind
    return _ALIASES.get(low, low) if isinstance(low, str) else kind


# --- other names ------------------------------------------------------------------------------------------------------


def renamed(declaration: dict) -> tuple[dict, dict[tuple, str], dict[tuple, str]]:
    """A declaration whose names the template can write, and the names on the way back and forth.

    The two mappings lead from a path of names (the tool's, then parameters', lists left out) to the last one's other
    name: from ours to the original, and from the original to ours.
    """
    function = declaration["function"]
    name = _free_name(function["name"], set(), r"[^\w.-]")
    back, forth = ({(name,): function["name"]}, {(function["name"],): name}) if name != function["name"] else ({}, {})
    function = {**function, "name": name}
    if isinstance(function.get("parameters"), dict):
        paths = (name,), (declaration["function"]["name"],)
        function["parameters"] = _renamed(function["parameters"], *paths, back, forth)
    return {**declaration, "function": function}, back, forth


def _free_name(name: str, taken: set[str], odd: str = r"\W") -> str:
    """An identifier that is not dropped and not taken: ``type`` becomes ``type_``, ``user-id`` becomes ``user_id``."""
    found = re.sub(odd, "_", name) or "_"
    found = found if re.match(r"[^\W\d]", found) else f"_{found}"
    while found in taken or (found in DROPPED_NAMES and odd == r"\W"):
        found += "_"
    return found


def _renamed(schema: dict, ours: tuple, theirs: tuple, back: dict, forth: dict) -> dict:
    schema = dict(schema)
    if isinstance(schema.get("properties"), dict):
        old = list(schema["properties"])
        new = {name: name for name in old if re.fullmatch(r"[^\W\d]\w*", name) and name not in DROPPED_NAMES}
        for name in old:
            if name not in new:
                new[name] = _free_name(name, {*old, *new.values()})
                back[(*ours, new[name])], forth[(*theirs, name)] = name, new[name]
        schema["properties"] = {
            new[name]: _renamed(inner, (*ours, new[name]), (*theirs, name), back, forth)
            if isinstance(inner, dict)
            else inner
            for name, inner in schema["properties"].items()
        }
        if isinstance(schema.get("required"), list):
            schema["required"] = [new.get(name, name) if isinstance(name, str) else name for name in schema["required"]]
    if isinstance(schema.get("items"), dict):
        schema["items"] = _renamed(schema["items"], ours, theirs, back, forth)
    return schema


def translated(value, names: dict[tuple, str], path: tuple):
    """Arguments with their keys, at every depth, as ``names`` has them."""
    if isinstance(value, dict):
        return {names.get((*path, k), k): translated(item, names, (*path, k)) for k, item in value.items()}
    return [translated(item, names, path) for item in value] if isinstance(value, list | tuple) else value
