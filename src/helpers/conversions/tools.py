"""Tool declarations out of the columns of public rows, in OpenAI's form."""

from __future__ import annotations

import re
from typing import Any

from .. import schemas
from ..errors import CourseError
from ..schemas.foreign import PARAMETERS, converted
from .values import decoded, plain, refuse


def of_row(row: dict, table: dict[str, dict]) -> list[dict]:
    """The tools that a row shows the model.

    From its column ``tools``, or ``sampled_tools`` if that holds any: declarations, or names of those in ``tools`` or
    in ``table`` (name -> declaration). Raises CourseError for a declaration that cannot be used.
    """
    listed = decoded(row.get("tools"), list, "tools are not a JSON list")
    sampled = decoded(row.get("sampled_tools"), list, "tools are not a JSON list")
    names = [one for one in sampled if isinstance(one, str) and re.fullmatch(r"[\w.-]+", one)]
    if not names:
        return [declaration(tool) for tool in sampled or listed]
    if len(names) != len(sampled):
        refuse("sampled tools are partly names, partly declarations")
    known = {tool["function"].get("name"): tool for tool in map(declaration, listed or table.values())}
    if missing := [name for name in names if name not in known]:
        refuse("a sampled tool is not declared", f"the sampled tool {missing[0]} is not declared")
    return [known[name] for name in dict.fromkeys(names)]


def declaration(tool: Any) -> dict:
    """A declaration as ``{"type": "function", "function": {…}}``, one type to a parameter.

    ``tool`` is in OpenAI's form, wrapped or flat, MCP's or Anthropic's; JSON text of one, too. Null in a type list or
    an enum makes a parameter optional: it goes, and so does the name from ``required``. Raises CourseError for another
    form, and for a schema that cannot be read.
    """
    tool = plain(decoded(tool, dict, "a tool is not a JSON object"))
    if not tool:
        refuse("a tool is not a JSON object")
    if tool.get("type", "function") not in ("function", "custom"):
        refuse("a tool is no function")
    if "function" in tool:
        tool = plain(decoded(tool["function"], dict, "a tool is not a JSON object"))
    for word in PARAMETERS:
        if word in tool:
            tool[word] = plain(decoded(tool[word], dict, "parameters are no object schema"))
    try:
        made = converted(tool)
        schemas.check_tools([made], prompt=False)
    except CourseError as error:
        refuse("a declaration that cannot be read", error.problem)
    if parameters := made["function"].get("parameters"):
        made["function"]["parameters"] = schemas.plain_schema(parameters)
    return made
