"""Tools as others declare them, in the course's form, and calls led back to their names."""

import json

import pytest
from declared import ANTHROPIC, MCP, S, bare, one_line, tool

from helpers import chat, schemas


def test_declarations_of_five_kinds_become_the_same():
    wrapped = tool({"a": S})
    flat = {"type": "function", "strict": True, **wrapped["function"]}
    shouted = bare({"type": "OBJECT", "properties": {"a": {"type": "STRING"}}})
    made = [schemas.as_tools(one).declarations for one in (wrapped, flat, MCP, ANTHROPIC, [shouted])]
    assert all(one == [wrapped] for one in made), made


def test_pydantic_models_are_tools():
    from typing import Literal, Optional

    pydantic = pytest.importorskip("pydantic")

    class Guest(pydantic.BaseModel):
        name: str
        meal: Literal["meat", "fish"] = "meat"

    class book_table(pydantic.BaseModel):
        """Book a table."""

        guests: list[Guest]
        city: Optional[str] = pydantic.Field(None, description="City")  # noqa: UP045
        notes: dict[str, str] = {}

    made = schemas.as_tools(book_table).declarations
    text = chat.render([{"role": "user", "content": "q"}], made)
    assert "declaration:book_table{description:<escape>Book a table.<escape>,parameters:{properties:{" in text
    assert "city:{description:<escape>City<escape>,type:<escape>STRING<escape>}" in text
    assert (
        "items:{properties:{meal:{description:<escape><escape>,enum:[<escape>meat<escape>,<escape>fish<escape>],"
        in text
    )
    assert "notes:{description:<escape><escape>,properties:{},type:<escape>OBJECT<escape>}" in text
    good = {"guests": [{"name": "x"}], "notes": {"k": "v"}}
    assert schemas.schema_fault("book_table", good, made[0]["function"]["parameters"]) is None
    assert schemas.schema_fault("book_table", {"guests": [{"name": "x", "b": 1}]}, made[0]["function"]["parameters"])


def test_python_functions_are_tools():
    def get_weather(city: str, days: int = 1, unit: str | None = None):
        """Weather of a city.

        Args:
            city: The city
            days: How many days
            unit: The unit
        """

    def undescribed(city: str):
        pass

    def unhinted(city):
        """Weather.

        Args:
            city: The city
        """

    (made,) = schemas.as_tools(get_weather).declarations
    text = chat.render([{"role": "user", "content": "q"}], [made])
    assert "days:{description:<escape>How many days<escape>,type:<escape>INTEGER<escape>}" in text
    assert made["function"]["parameters"]["required"] == ["city"] and "return" not in made["function"]
    for bad in (undescribed, unhinted, print):
        assert f"function {bad.__name__}:" in one_line(lambda bad=bad: schemas.as_tools([bad]))


@pytest.mark.parametrize(
    ("given", "right"),
    [
        ({"type": "str"}, {"type": "string"}),
        ({"type": "dict"}, {"type": "object", "properties": {}}),
        ({"type": "float", "title": "X", "description": None}, {"type": "number"}),
        ({"enum": ["a", "b"]}, {"type": "string", "enum": ["a", "b"]}),
        ({"const": "a"}, {"type": "string", "enum": ["a"]}),
        ({"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}, {"type": ["string", "null"]}),
        ({"allOf": [{"$ref": "#/$defs/A"}], "description": "d"}, {"type": "string", "description": "d"}),
        ({"items": {"type": "int"}}, {"type": "array", "items": {"type": "integer"}}),
    ],
)
def test_schemas_as_people_write_them(given, right):
    parameters = {"type": "object", "$defs": {"A": {"type": "string"}}, "properties": {"a": given}}
    (made,) = schemas.as_tools({"name": "f", "inputSchema": parameters}).declarations
    assert made["function"]["parameters"] == {"type": "object", "properties": {"a": right}}
    chat.render([{"role": "user", "content": "q"}], [made])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"description": "no name"}, "without a name"),
        (5, "without a name"),
        ({"name": "f", "inputSchema": {"properties": {"a": {"$ref": "https://example.com/x"}}}}, "leads nowhere"),
        ({"name": "f", "inputSchema": {"properties": {"a": {"$ref": "#/properties/a"}}}}, "refers to itself"),
        ({"name": "f", "inputSchema": {"properties": {"a": {"anyOf": [S, {"type": "integer"}]}}}}, "anyOf"),
        ({"name": "f", "inputSchema": {"properties": {"type": S}}}, "rename=True"),
        ({"name": "my tool", "inputSchema": {}}, "not an identifier"),
    ],
)
def test_what_cannot_become_a_tool_is_one_line(bad, words):
    assert words in one_line(lambda: schemas.as_tools([bad]))


def test_names_that_the_template_drops_are_renamed_and_led_back():
    inner = {
        "type": "object",
        "properties": {"required": S, "type_": S, "type": {"type": "integer"}},
        "required": ["type"],
    }
    rows = {"type": "array", "items": inner}
    given = {
        "name": "shop/find",
        "input_schema": {
            "type": "object",
            "required": ["type", "city"],
            "properties": {"type": S, "city": S, "user-id": S, "3d": S, "rows": rows, "o": inner},
        },
    }  # fmt: skip
    made = schemas.as_tools([given], rename=True)
    function = made.declarations[0]["function"]
    assert function["name"] == "shop_find" and function["parameters"]["required"] == ["type_", "city"]
    assert sorted(function["parameters"]["properties"]) == ["_3d", "city", "o", "rows", "type_", "user_id"]
    theirs = {
        "type": "x",
        "user-id": "u",
        "3d": "y",
        "rows": [{"required": "r", "type": 1, "type_": "z"}],
        "o": {"type": 2},
    }
    ours = {
        "type_": "x",
        "user_id": "u",
        "_3d": "y",
        "rows": [{"required_": "r", "type__": 1, "type_": "z"}],
        "o": {"type__": 2},
    }
    assert made.ours("shop/find", theirs) == ("shop_find", ours)
    assert made.original("shop_find", ours) == ("shop/find", theirs)
    assert schemas.schema_fault("shop_find", {**ours, "city": "c"}, function["parameters"]) is None
    chat.render([{"role": "user", "content": "q"}], made.declarations)
    assert schemas.as_tools(tool({"a": S}), rename=True) == schemas.Tools([tool({"a": S})])


@pytest.mark.parametrize("name", sorted(schemas.DROPPED_NAMES))
def test_every_dropped_name_comes_back(name):
    made = schemas.as_tools([{"name": "f", "inputSchema": {"type": "object", "properties": {name: S}}}], rename=True)
    assert made.original("f", {f"{name}_": "x"}) == ("f", {name: "x"}) and name not in json.dumps(made.ours("f", {}))
