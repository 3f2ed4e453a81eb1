"""Tool declarations out of the columns of public rows, in OpenAI's form."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from .. import schemas
from ..errors import CourseError
from .values import decoded, plain, refuse


def of_row(row: dict, declarations: dict[str, dict], any_name: bool = False) -> list[dict]:
    """The tools that a row shows the model.

    From its column ``tools``, or ``sampled_tools`` if that holds any: declarations, or names of those in ``tools`` or
    in the table ``declarations`` (name -> declaration). ``any_name`` as in ``declaration``. Raises CourseError for a
    declaration that cannot be used.
    """
    listed = decoded(row.get("tools"), list, "tools are not a JSON list")
    sampled = decoded(row.get("sampled_tools"), list, "tools are not a JSON list")
    names = [one for one in sampled if isinstance(one, str) and re.fullmatch(r"[\w.-]+", one)]
    if not names:
        return [declaration(tool, any_name) for tool in sampled or listed]
    if len(names) != len(sampled):
        refuse("sampled tools are partly names, partly declarations")
    known = {tool["function"].get("name"): tool for tool in map(declaration_freely, listed or declarations.values())}
    if missing := [name for name in names if name not in known]:
        refuse("a sampled tool is not declared", f"the sampled tool {missing[0]} is not declared")
    return [declaration(known[name], any_name) for name in dict.fromkeys(names)]


def declaration(tool: Any, any_name: bool = False) -> dict:
    """A declaration as ``{"type": "function", "function": {…}}``.

    Parameters
    ----------
    tool : OpenAI's form, wrapped or flat, MCP's or Anthropic's; JSON text of one, too
    any_name : leave parameters whose names the template drops (``schemas.DROPPED_NAMES``); they are refused otherwise

    Null in a type list or an enum makes a parameter optional: it goes, and so does the name from ``required``. Raises
    CourseError for another form, several types of one parameter, and such names.
    """
    tool = plain(decoded(tool, dict, "a tool is not a JSON object"))
    if not tool:
        refuse("a tool is not a JSON object")
    if tool.get("type", "function") not in ("function", "custom"):
        refuse("a tool is no function")
    wrapped = "function" in tool
    made = plain(decoded(tool["function"], dict, "a tool is not a JSON object")) if wrapped else dict(tool)
    if not wrapped:
        made.pop("type", None)
    for key in ("input_schema", "inputSchema"):
        if key in made:
            made["parameters"] = made.pop(key)
    if "parameters" in made:
        parameters = plain(decoded(made["parameters"], dict, "parameters are no object schema"))
        if "properties" in parameters:
            parameters.setdefault("type", "object")
        if parameters and parameters.get("type") != "object":
            refuse("parameters are no object schema")
        made["parameters"] = _schema(parameters, any_name)
    return {"type": "function", "function": made}


def declaration_freely(tool: Any) -> dict:
    """``declaration`` whatever its parameters' names. Raises CourseError for what is no declaration."""
    return declaration(tool, any_name=True)


def _schema(schema: Any, any_name: bool) -> dict:
    if not isinstance(schema, dict):
        refuse("a parameter's schema is no object")
    made, properties = dict(schema), schema.get("properties")
    if isinstance(made.get("type"), list):
        kinds = [kind for kind in made["type"] if kind != "null"]
        if len(kinds) != 1:
            refuse("a parameter has several types")
        made["type"] = kinds[0]
    if isinstance(made.get("enum"), list):
        made["enum"] = [value for value in made["enum"] if value is not None]
    if isinstance(made.get("items"), dict):
        made["items"] = _schema(made["items"], any_name)
    if isinstance(properties, dict):
        if not any_name and (lost := sorted(schemas.DROPPED_NAMES & properties.keys())):
            refuse(f"the template drops a parameter named {lost[0]}", remedy="give it another name, or drop the row")
        made["properties"] = {name: _schema(inner, any_name) for name, inner in properties.items()}
        if isinstance(made.get("required"), list):
            made["required"] = [name for name in made["required"] if not _optional(properties.get(name))]
    return made


def _optional(schema: Any) -> bool:
    """Whether a parameter may be null, which the format writes as an argument left out."""
    return isinstance(schema, dict) and any(
        isinstance(schema.get(key), list) and null in schema[key] for key, null in (("type", "null"), ("enum", None))
    )


def renamed(tools: list[dict]) -> tuple[list[dict], Callable]:
    """The tools under names that the template keeps, and what turns a call's name and arguments into theirs.

    Raises CourseError while ``schemas`` has no ``as_tools``.
    """
    as_tools = getattr(schemas, "as_tools", None)
    if as_tools is None:
        raise CourseError("nothing here renames parameters (schemas.as_tools is missing)", "leave out rename=True")
    made = as_tools(tools, rename=True)
    return made.declarations, made.ours
