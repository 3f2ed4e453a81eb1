"""Tools as others declare them, in the course's form, and calls led back to the names that others know.

Sources: ``transformers.utils.get_json_schema`` for Python functions, pydantic's ``model_json_schema``, OpenAI's
function tools (flat and wrapped), the Model Context Protocol's ``inputSchema`` and Anthropic's ``input_schema``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..errors import CourseError
from .declarations import DROPPED_NAMES, IDENTIFIER, MAX_DEPTH, check_tools, resolved

#: What Python programs and other APIs call the types.
_ALIASES = {
    "str": "string", "int": "integer", "float": "number", "double": "number", "bool": "boolean",
    "list": "array", "tuple": "array", "dict": "object",
}  # fmt: skip
_BOOKKEEPING = ("$defs", "definitions", "$schema", "$id")
#: Where other forms keep the schema of the arguments.
PARAMETERS = ("parameters", "inputSchema", "input_schema")


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


def converted(tool) -> dict:
    """One declaration in the course's form, from any of the forms named above; not yet checked."""
    name, description, parameters = _parts(tool)
    function: dict = {"name": name} | ({} if description is None else {"description": description})
    if parameters is not None:
        function["parameters"] = _simplified(parameters, parameters, name)
    return {"type": "function", "function": function}


def _parts(tool) -> tuple[str, str | None, object]:
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
    return inner["name"], inner.get("description"), next((inner[k] for k in PARAMETERS if inner.get(k)), None)


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
        new = {name: name for name in old if IDENTIFIER.fullmatch(name) and name not in DROPPED_NAMES}
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
