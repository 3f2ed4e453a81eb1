"""The client that notebook 05 leaves: it reads and checks calls as the course does, alone."""

import importlib.util

import pytest

from helpers import calls
from helpers.paths import ASSETS

spec = importlib.util.spec_from_file_location("client", ASSETS / "take_away" / "client.py")
client = importlib.util.module_from_spec(spec)
spec.loader.exec_module(client)
CALLS = (
    calls.FunctionCall("get_current_weather", {"city": "جدة", "unit": "celsius"}),
    calls.FunctionCall("place_order", {"address": {"city": "أسوان", "street": "شارع {7}"}, "gift": True, "n": -2.5}),
    calls.FunctionCall("add_to_cart", {"items": ["بصل", "خبز, أبيض"], "empty": [], "note": None}),
    calls.FunctionCall("ping", {}),
)


@pytest.mark.parametrize("chosen", [CALLS[:1], CALLS[1:2], CALLS[2:3], CALLS, ()])
def test_it_reads_what_the_course_writes(chosen):
    text = calls.serialize(list(chosen)) + "<start_function_response>"
    assert client.parse(text) == [(call.name, call.arguments) for call in calls.parse(text)]


@pytest.mark.parametrize(
    "text",
    [
        "<start_function_call>call:f{a:<escape>x<escape>,a:1}<end_function_call>",
        "<start_function_call>call:f{a:<escape>x",
        "<start_function_call>call:f{a:[1,2}<end_function_call>",
        "<start_function_call>call:f{a:1",
        "<start_function_call>call:f{a:word}<end_function_call>",
        "<start_function_call>call:f{a:1}<start_function_response>",
        "<start_function_call>f{a:1}<end_function_call>",
    ],
)
def test_what_cannot_be_read_is_refused(text):
    with pytest.raises(ValueError):
        client.parse(text)


@pytest.mark.parametrize(
    "name, arguments, words",
    [
        ("rm", {}, "no function"),
        ("get_current_weather", {}, "lacks"),
        ("get_current_weather", {"city": 3}, "to be a string"),
        ("get_current_weather", {"city": "جدة", "unit": "kelvin"}, "one of"),
        ("get_current_weather", {"city": "جدة", "when": "now"}, "no argument"),
    ],
)
def test_only_declared_calls_run(name, arguments, words):
    client.check("get_current_weather", {"city": "جدة"})
    with pytest.raises(ValueError, match=words):
        client.check(name, arguments)
