"""What a declaration may hold, and which fault of a call's arguments is reported; refused calls: test_dispatch."""

import jsonschema
import pytest

from helpers import chat, schemas
from helpers.errors import CourseError


def tool(name="get_weather", **properties):
    return {
        "type": "function",
        "function": {"name": name, "description": "d", "parameters": {"type": "object", "properties": properties}},
    }


@pytest.mark.parametrize("name", sorted(schemas.DROPPED_NAMES))
def test_a_parameter_that_the_template_drops_is_reported(name):
    with pytest.raises(CourseError, match=f"drops a parameter named {name}"):
        schemas.check_tools([tool(**{name: {"type": "string"}})])


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (tool(days={"type": "integer", "enum": [1, 2]}), "drops the enum of days"),
        (tool(days={"type": "datetime"}), "no known type"),
        (tool(place={"type": "object", "properties": {"type": {"type": "string"}}}), "place.type"),
        (tool(name="get weather"), "not an identifier"),
        (tool(city={"type": "string", "description": "x<escape>,evil:<escape>"}), "control token"),
        ({"type": "function"}, "no function name"),
    ],
)
def test_bad_declarations_are_named(bad, words):
    with pytest.raises(CourseError, match=words):
        chat.render([{"role": "user", "content": "q"}], [bad])


SCHEMA = tool(
    city={"type": "string"}, days={"type": "integer"}, where={"type": "object", "properties": {"a": {"type": "number"}}}
)["function"]["parameters"] | {"required": ["city"]}


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"city": "x", "days": True, "more": 1},
        {"city": 3, "days": "3"},
        {"city": "x", "where": {"b": 1}},
        {"city": None},
    ],
)
def test_the_fault_is_the_one_that_jsonschema_reports(arguments):
    with pytest.raises(jsonschema.ValidationError) as caught:
        jsonschema.validate(arguments, schemas.closed_schema(SCHEMA))
    for _ in range(2):  # the second time its validator is there
        fault = schemas.schema_fault("f", arguments, SCHEMA)
        assert (fault.message, fault.keyword) == (caught.value.message, caught.value.validator)


@pytest.mark.parametrize("changed", [{"type": "nope"}, {"required": "city"}, {"required": ("city",)}])
def test_a_malformed_schema_is_named_though_its_like_was_sound(changed):
    assert schemas.schema_fault("f", {"city": "x"}, SCHEMA) is None
    for _ in range(2):
        with pytest.raises(CourseError, match="the schema of f is malformed"):
            schemas.schema_fault("f", {"city": "x"}, SCHEMA | changed)


def test_a_schema_that_its_owner_changes_is_judged_anew():
    schema = {"type": "object", "required": ["a"]}
    assert schemas.schema_fault("f", {}, schema).keyword == "required"
    schema["required"].remove("a")
    assert schemas.schema_fault("f", {}, schema) is None
    assert schemas.schema_fault("f", {}, {"type": "object", "required": ["a"]}).keyword == "required"
