"""Declarations for tests: ours, and one tool as OpenAI's flat form, MCP and Anthropic write it."""

import pytest

from helpers.errors import CourseError

S = {"type": "string"}
FLAT = {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
MCP = {"name": "f", "description": "d", "inputSchema": {"type": "object", "properties": {"a": S}}}
ANTHROPIC = {"name": "f", "description": "d", "input_schema": {"type": "object", "properties": {"a": S}}}


def bare(parameters, name="f"):
    """A tool whose parameters are whatever is given."""
    return {"type": "function", "function": {"name": name, "description": "d", "parameters": parameters}}


def tool(properties=None, name="f", **parameters):
    """A tool with these properties; further keywords join its parameters."""
    return bare({"type": "object", "properties": properties or {}, **parameters}, name)


def one_line(thunk) -> str:
    """The one line, with a remedy, of the CourseError that ``thunk`` raises."""
    with pytest.raises(CourseError) as caught:
        thunk()
    assert "\n" not in str(caught.value) and "→" in str(caught.value)
    return str(caught.value)
