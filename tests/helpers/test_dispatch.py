"""The model's text is data: what is not declared or does not fit reaches no function."""

import pytest

from helpers import dispatch
from helpers.calls import FunctionCall, ParseError, serialize
from helpers.errors import CourseError

TOOLS = [
    {"type": "function", "function": {"name": "get_weather", "description": "d", "parameters": {
        "type": "object", "required": ["city"], "properties": {
            "city": {"type": "string"}, "days": {"type": "integer"},
            "where": {"type": "object", "properties": {"street": {"type": "string"}}},
            "hours": {"type": "array", "items": {"type": "integer"}}}}}},
    {"type": "function", "function": {"name": "get_time", "description": "d"}},
]  # fmt: skip


class Spy(dict):
    """A table of functions that records what ran."""

    def __init__(self):
        self.ran = []
        super().__init__(get_weather=self.note, get_time=self.note)

    def note(self, **arguments):
        self.ran.append(arguments)
        return "done"


def call(name, **arguments):
    return FunctionCall(name, arguments)


def test_good_calls_run_in_order():
    spy = Spy()
    text = serialize([call("get_weather", city="جدة", days=2), call("get_time")]) + "<start_function_response>"
    assert [r.value for r in dispatch.dispatch(text, TOOLS, spy)] == ["done", "done"]
    assert spy.ran == [{"city": "جدة", "days": 2}, {}]
    assert dispatch.dispatch("شكراً لك.<end_of_turn>", TOOLS, spy) == []


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (call("__import__", module="os"), "called '__import__', which was not declared"),
        (call("os.system", command="rm"), "not declared"),
        (call("get_weather", city="x", shell="rm"), "Additional properties"),
        (call("get_weather", days=3), "'city' is a required property"),
        (call("get_weather", city=3), "city: 3 is not of type 'string'"),
        (call("get_weather", city="x", days="3"), "days: '3' is not of type 'integer'"),
        (call("get_weather", city="x", days=True), "not of type 'integer'"),
        (call("get_weather", city=None), "not of type 'string'"),
        (call("get_weather", city="x", where={"street": "y", "door": 1}), "where: Additional properties"),
        (call("get_weather", city="x", hours=[1, "2"]), "hours.1: '2' is not of type"),
        (call("get_time", zone="x"), "Additional properties"),
    ],
)
def test_a_bad_call_is_named_and_nothing_runs(bad, words):
    spy = Spy()
    with pytest.raises(CourseError, match=words):
        dispatch.dispatch(serialize([call("get_time"), bad]), TOOLS, spy)  # the good call before it does not run either
    assert spy.ran == []


def test_malformed_text_and_missing_functions_run_nothing():
    spy = Spy()
    with pytest.raises(ParseError):
        dispatch.dispatch("<start_function_call>call:get_time{}", TOOLS, spy)
    with pytest.raises(CourseError, match="no function for it"):
        dispatch.dispatch(serialize([call("get_time"), call("get_weather", city="x")]), TOOLS, {"get_time": spy.note})
    assert spy.ran == []


@pytest.mark.parametrize(
    "parameters",
    [
        {"properties": {"a": {"type": "string"}}},
        {"type": ["object", "null"], "properties": {"a": {"type": "string"}}},
        {"anyOf": [{"properties": {"a": {"type": "string"}}}]},
        {"$defs": {"A": {"properties": {"a": {"type": "string"}}}}, "$ref": "#/$defs/A"},
        {"patternProperties": {"^a$": {"type": "string"}}},
    ],
)
def test_an_undeclared_argument_never_runs_however_the_schema_is_written(parameters):
    spy = Spy()
    tools = [{"type": "function", "function": {"name": "get_time", "parameters": parameters}}]
    assert dispatch.dispatch(serialize([call("get_time", a="x")]), tools, spy)
    with pytest.raises(CourseError, match="'shell' was unexpected|'shell' does not match"):
        dispatch.dispatch(serialize([call("get_time", a="x", shell="rm")]), tools, spy)
    assert spy.ran == [{"a": "x"}]


@pytest.mark.parametrize(
    "tools",
    [
        {"get_time": {}},
        [None],
        [{"name": "get_time", "inputSchema": {}}],
        [TOOLS[1], TOOLS[1]],
        [{"type": "function", "function": {"name": "get_time", "parameters": {"$ref": "https://example.com/"}}}],
    ],
)
def test_malformed_declarations_run_nothing(tools):
    spy = Spy()
    with pytest.raises(CourseError):
        dispatch.dispatch(serialize([call("get_time")]), tools, spy)
    assert spy.ran == []
