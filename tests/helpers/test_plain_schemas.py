"""Arguments checked without jsonschema: the same verdict as with it, for every schema the course's tools may have."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import dataset, universe
from helpers.errors import CourseError
from helpers.schemas import validation
from helpers.yours import plain_schemas as plain

NAMES = st.sampled_from("abc")
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, 1.5, "", "a", "bb"]))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=6
)
KINDS = st.sampled_from(["string", "integer", "number", "boolean", "array", "object", ["string", "null"], "null"])
LEAVES = st.fixed_dictionaries(
    {},
    optional={
        "type": KINDS,
        "description": st.just("a note"),
        "enum": st.lists(SCALARS, min_size=1, max_size=3),
        "minimum": st.integers(-2, 2),
        "exclusiveMaximum": st.integers(-2, 3),
        "multipleOf": st.sampled_from([1, 2, 0.5]),
        "minLength": st.integers(0, 2),
        "maxLength": st.integers(0, 2),
        "pattern": st.sampled_from(["^a", "b"]),
        "minItems": st.integers(0, 2),
        "uniqueItems": st.booleans(),
        "maxProperties": st.integers(0, 2),
    },
)


def nested(inner):
    return st.tuples(
        LEAVES,
        st.fixed_dictionaries(
            {},
            optional={
                "properties": st.dictionaries(NAMES, inner | st.just(True), max_size=3),
                "required": st.lists(NAMES, max_size=2, unique=True),
                "additionalProperties": st.booleans() | inner,
                "items": inner | st.just(True),
            },
        ),
    ).map(lambda two: two[0] | two[1])


SCHEMAS = nested(st.recursive(LEAVES, nested, max_leaves=4)).map(lambda schema: {**schema, "type": "object"})


@settings(max_examples=800, deadline=None)
@given(SCHEMAS, st.dictionaries(NAMES, VALUES, max_size=3))
def test_it_says_what_jsonschema_says(schema, arguments):
    ours, theirs = plain.schema_fault("f", arguments, schema), validation.schema_fault("f", arguments, schema)
    assert (ours is None) == (theirs is None), (ours, theirs)


def test_it_follows_every_declaration_of_the_course():
    schemas = [tool["function"].get("parameters") for tool in dataset.read_declarations().values()]
    schemas += [tool.schema for tool in universe.read()]
    assert len(schemas) > 1000 and all(plain.schema_fault("f", {"no such argument": 1}, schema) for schema in schemas)


@pytest.mark.parametrize("keyword", ["anyOf", "$ref", "not", "if", "prefixItems", "patternProperties", "const"])
def test_a_keyword_that_it_does_not_know_is_refused(keyword):
    schema = {"properties": {"a": {keyword: []}}}
    with pytest.raises(CourseError, match=keyword.replace("$", r"\$")):
        plain.schema_fault("f", {"a": 1}, schema)


def test_a_fault_is_named_with_its_place():
    schema = {"properties": {"a": {"type": "array", "items": {"properties": {"n": {"type": "integer"}}}}}}
    found = plain.schema_fault("f", {"a": [{"n": 1}, {"n": "two"}]}, schema)
    assert (found.path, found.keyword) == ("a.1.n", "type") and json.dumps("two")[1:-1] in found.message
