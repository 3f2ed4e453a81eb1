"""Arguments against their schema: closed at every level, no reference out of it, and which fault is reported."""

import jsonschema
import pytest
from declared import S, bare, one_line

from helpers import calls, dispatch, schemas
from helpers.errors import CourseError

A = {"properties": {"a": S}}
OPEN = {
    "no type": (A, {"a": "x"}, {"a": "x", "shell": "rm"}),
    "type list": ({"type": ["object", "null"], **A}, {"a": "x"}, {"a": "x", "shell": "rm"}),
    "no properties": ({}, {}, {"shell": "rm"}),
    "inner without type": ({"properties": {"o": A}}, {"o": {"a": "x"}}, {"o": {"a": "x", "shell": "rm"}}),
    "inner type list": (
        {"properties": {"o": {"type": ["object", "null"], **A}}},
        {"o": {"a": "x"}},
        {"o": {"shell": "rm"}},
    ),
    "anyOf": ({"anyOf": [A, {"properties": {"b": S}}]}, {"a": "x", "b": "y"}, {"a": "x", "shell": "rm"}),
    "oneOf": (
        {"oneOf": [{**A, "required": ["a"]}, {"properties": {"b": S}, "required": ["b"]}]},
        {"b": "y"},
        {"b": "y", "c": 1},
    ),
    "allOf": ({**A, "allOf": [{"properties": {"b": S}}]}, {"a": "x", "b": "y"}, {"a": "x", "b": "y", "shell": "rm"}),
    "anyOf inside": (
        {"properties": {"o": {"anyOf": [A, {"type": "null"}]}}},
        {"o": {"a": "x"}},
        {"o": {"a": "x", "shell": "rm"}},
    ),
    "$ref": (
        {"$defs": {"A": A}, "properties": {"o": {"$ref": "#/$defs/A"}}},
        {"o": {"a": "x"}},
        {"o": {"shell": "rm"}},
    ),
    "definitions": (
        {"definitions": {"A": A}, "properties": {"o": {"$ref": "#/definitions/A"}}},
        {"o": {"a": "x"}},
        {"o": {"b": 1}},
    ),
    "deep in $defs": (
        {"$defs": {"A": {"properties": {"in": A}}}, "properties": {"o": {"$ref": "#/$defs/A"}}},
        {"o": {"in": {"a": "x"}}},
        {"o": {"in": {"a": "x", "shell": "rm"}}},
    ),
    "$ref beside properties": (
        {"$defs": {"A": A}, "$ref": "#/$defs/A", "properties": {"b": S}},
        {"a": "x", "b": "y"},
        {"a": "x", "shell": "rm"},
    ),
    "a tree": (
        {"properties": {"a": S, "next": {"$ref": "#"}}},
        {"next": {"next": {"a": "x"}}},
        {"next": {"next": {"b": "x"}}},
    ),
    "additionalProperties": (
        {"properties": {"m": {"additionalProperties": A}}},
        {"m": {"k": {"a": "x"}}},
        {"m": {"k": {"a": "x", "b": 1}}},
    ),
    "items": ({"properties": {"l": {"items": A}}}, {"l": [{"a": "x"}]}, {"l": [{"a": "x", "shell": "rm"}]}),
    "items of no shape": ({"properties": {"l": {"type": "array"}}}, {"l": ["x", 1]}, {"l": [{"shell": "rm"}]}),
    "prefixItems": (
        {"properties": {"l": {"type": "array", "prefixItems": [A]}}},
        {"l": [{"a": "x"}]},
        {"l": [{"a": "x", "b": 1}]},
    ),
    "after prefixItems": (
        {"properties": {"l": {"type": "array", "prefixItems": [S]}}},
        {"l": ["x"]},
        {"l": ["x", {"shell": "rm"}]},
    ),
    "true": ({"properties": {"o": {"anyOf": [True]}}}, {"o": 1}, {"o": {"shell": "rm"}}),
}


@pytest.mark.parametrize("kind", OPEN)
def test_nothing_undeclared_runs(kind):
    parameters, good, bad = OPEN[kind]
    assert schemas.schema_fault("f", good, parameters) is None and schemas.schema_fault("f", bad, parameters)
    ran: list = []
    text = calls.serialize([calls.FunctionCall("f", bad)])
    one_line(lambda: dispatch.dispatch(text, [bare(parameters)], {"f": lambda **arguments: ran.append(arguments)}))
    assert ran == []


@pytest.mark.parametrize("kind", ["no type", "type list", "anyOf", "allOf", "$ref", "a tree", "prefixItems"])
def test_what_is_declared_runs(kind):
    parameters, good, _ = OPEN[kind]
    ran: list = []
    text = calls.serialize([calls.FunctionCall("f", good)])
    dispatch.dispatch(text, [bare(parameters)], {"f": lambda **arguments: ran.append(arguments)})
    assert ran == [good]


@pytest.mark.parametrize(
    "reference",
    [
        "https://example.com/s.json",
        "#/$defs/B",
        "other.json#/a",
        "#anchor",
        "file:///etc/passwd",
        5,
        "#/$defs/A/type",
        "",
    ],
)
@pytest.mark.parametrize("word", ["$ref", "$dynamicRef"])
def test_a_reference_out_of_the_declaration_is_refused_and_nothing_is_fetched(reference, word, monkeypatch):
    monkeypatch.setattr("socket.socket", lambda *a, **k: pytest.fail("the network was asked"))
    parameters = {"$id": "https://example.com/", "$defs": {"A": S}, "properties": {"a": {word: reference}}}
    text = "<start_function_call>call:f{a:1}<end_function_call>"
    assert "leads nowhere" in one_line(lambda: dispatch.dispatch(text, [bare(parameters)], {"f": print}))
    assert "leads nowhere" in one_line(lambda: schemas.schema_fault("f", {"a": 1}, parameters))


def test_a_name_inside_the_schema_leads_no_reference_astray(monkeypatch):
    monkeypatch.setattr("socket.socket", lambda *a, **k: pytest.fail("the network was asked"))
    inner = {"$id": "https://example.com/", "$ref": "#/$defs/A"}
    for parameters in (
        {"properties": {"a": inner}},
        {"properties": {"a": {"not": {"not": inner}}}},
        {**inner, "not": inner},
    ):
        parameters = {
            "$defs": {"A": {"type": "string"}},
            "$schema": "http://json-schema.org/draft-07/schema#",
            **parameters,
        }
        found = schemas.schema_fault("f", {"a": 1}, parameters)
        assert found is not None and found.message


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"properties": {"a": {"type": "string", "pattern": "("}}}, "malformed"),
        ({"properties": {"a": {"$ref": "#/properties/a"}}}, "cannot be followed"),
        ({"properties": {"a": {"type": "string", "minLength": "x"}}}, "malformed"),
    ],
)
def test_a_schema_that_cannot_be_followed_is_one_line(parameters, words):
    assert words in one_line(lambda: schemas.schema_fault("f", {"a": "x"}, parameters))


def test_an_open_map_that_is_written_out_stays_open():
    parameters = {"properties": {"m": {"type": "object", "additionalProperties": True}}}
    assert schemas.schema_fault("f", {"m": {"k": 1}}, parameters) is None


# --- which fault is reported ------------------------------------------------------------------------------------------


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "where": {"type": "object", "properties": {"a": {"type": "number"}}},
    },
    "required": ["city"],
}


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
