"""How the exercises of notebook 00 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

import math

from .. import calls, chat
from ..errors import CourseError
from . import CORRECT, returned

_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City name in Arabic"}},
            "required": ["city"],
        },
    },
}
_PRAYERS = ["asr", "dhuhr", "fajr", "isha", "maghrib"]


def check_example_turns(example_turns) -> str:
    """Judge ``example_turns(request, city)``, four messages that show a request answered. Returns a str."""
    request, city = "كيف الجو في فاس؟", "فاس"
    turns = returned(example_turns, request, city)
    if not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
        return "return a list of messages, each a dict with a role"
    roles = [turn.get("role") for turn in turns]
    if any("call:" in str(turn.get("content")) for turn in turns):
        return "that call is written as text, and text is disarmed: put it under tool_calls, and the template writes it"
    if not any(turn.get("tool_calls") for turn in turns):
        return "no turn of the assistant calls the function: that is what the example is to show"
    if "tool" not in roles or roles[-1] == "tool":
        return "the example stops halfway: after the call come the tool's result and a reply in words"
    if roles != ["user", "assistant", "tool", "assistant"]:
        return f"the roles are {', '.join(map(str, roles))}; expected user, assistant, tool, assistant"
    if turns[0].get("content") != request:
        return "the example begins with the request that was handed over, unchanged"
    try:
        text = chat.render(turns, [_WEATHER])
    except CourseError as error:
        return f"the template refuses it: {error}"
    call = calls.serialize([calls.FunctionCall("get_weather", {"city": city})])
    return CORRECT if call in text else f"the call is not that of get_weather for the city handed over: expected {call}"


def check_prayer_tool(prayer_tool) -> str:
    """Judge ``prayer_tool()``, a declaration of get_prayer_time(city, prayer). Returns a str."""
    tool = returned(prayer_tool)
    if not isinstance(tool, dict) or tool.get("type") != "function" or "function" not in tool:
        return "a declaration is wrapped: {'type': 'function', 'function': {…}}"
    function = tool["function"]
    schema = function.get("parameters") or {}
    declared = schema.get("properties") or {}
    if function.get("name") != "get_prayer_time" or set(declared) != {"city", "prayer"}:
        return "declare get_prayer_time with the properties city and prayer"
    if any(str(part.get("type")).isupper() for part in (schema, *declared.values())):
        return "types are in small letters in JSON Schema; the template writes them in capitals by itself"
    if schema.get("required") != ["city"]:
        return "city is required and prayer is not: required is a list beside properties, ['city']"
    if sorted(declared["prayer"].get("enum") or ()) != _PRAYERS:
        return f"prayer is one of a few words: give it an enum of {', '.join(_PRAYERS)}"
    if not function.get("description") or not all(part.get("description") for part in declared.values()):
        return "without descriptions the model has nothing but names to choose by: describe function and arguments"
    try:
        chat.render([{"role": "user", "content": "متى الفجر؟"}], [tool])
    except CourseError as error:
        return f"the template refuses it: {error}"
    return CORRECT


def check_bad_arguments(bad_arguments) -> str:
    """Judge ``bad_arguments(arguments, schema)``, the names of faulty arguments, on seven calls. Returns a str."""
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        "required": ["city"],
    }

    def named(arguments):
        return sorted(returned(bad_arguments, arguments, schema))

    if named({"city": "جدة"}):
        return "an optional argument may be left out: only what `required` names has to be there"
    if named({"city": "جدة", "hour": 9}) != ["hour"]:
        return "an argument that is not declared went through: the model has invented `hour`"
    if named({"days": 3}) != ["city"]:
        return "a required argument may be missing: `city` is named in `required` and not in the arguments"
    if named({"city": "جدة", "days": "3"}) != ["days"]:
        return "the text '3' is no integer: look at `type`"
    if named({"city": "جدة", "days": True}) != ["days"]:
        return "in Python True is an int, in JSON Schema it is a boolean and no integer"
    if named({"hour": 9}) != ["city", "hour"]:
        return "one call can have several faults: give all of them"
    return (
        CORRECT if named({"city": "جدة", "days": 3}) == [] else "a call that fits its declaration has no bad argument"
    )


def check_requests_needed(requests_needed) -> str:
    """Judge ``requests_needed(rate)``, the smallest n with (1 - rate)^n at most 0.05. Returns a str."""
    got = {rate: returned(requests_needed, rate) for rate in (0.1, 0.4, 0.95)}
    if any(n != int(n) for n in got.values()):
        return "requests are counted in whole numbers: round up"
    exact = {rate: math.log(0.05) / math.log(1 - rate) for rate in got}
    if got == {rate: math.ceil(n) for rate, n in exact.items()}:
        return CORRECT
    if got == {rate: max(1, math.floor(n)) for rate, n in exact.items()}:
        return f"one too few: {got[0.1]} requests without a call still happen {(1 - 0.1) ** got[0.1]:.1%} of the time"
    if got[0.1] == 10:
        return "that many bring one call on average; not one call among them still happens a third of the time"
    if got[0.1] in (1, 2):
        return "that is rate ** n, a call for every request: here none of them gets one, (1 - rate) ** n"
    if got[0.1] == math.ceil(3 / 0.1):
        return "3 / rate is a rule of thumb, close for small rates and wrong for 0.4: count it exactly"
    return f"for a rate of 0.1 expected {math.ceil(exact[0.1])}, got {got[0.1]}"
