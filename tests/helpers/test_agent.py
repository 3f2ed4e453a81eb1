"""The loop around a model: calls run and are answered, errors go to the model, and it ends."""

import pytest

from helpers import calls, chat
from helpers.errors import CourseError
from helpers.yours import agent


def tool(name, **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": f"{name}.", "parameters": parameters}}


TOOLS = [tool("add", a={"type": "integer"}, b={"type": "integer"}), tool("fail"), tool("nobody")]
FUNCTIONS = {"add": lambda a, b: a + b, "fail": lambda: 1 / 0}
ASKED = [{"role": "developer", "content": "Call."}, {"role": "user", "content": "كم ١ و٢؟"}]


def written(*made):
    return (
        calls.serialize([calls.FunctionCall(name, arguments) for name, arguments in made]) + "<start_function_response>"
    )


def told(*texts, **options):
    """The conversation when the model writes these texts one after another, and what it was asked with."""
    left, seen = list(texts), []

    def ask(messages, tools):
        seen.append(chat.render(messages, tools, add_generation_prompt=True))
        return left.pop(0)

    return agent.converse(ask, ASKED, TOOLS, FUNCTIONS, **options), seen


def test_a_call_is_run_and_its_result_handed_back():
    talk, seen = told(written(("add", {"a": 1, "b": 2})), "ثلاثة<end_of_turn>")
    assert [m["role"] for m in talk[2:]] == ["assistant", "tool", "assistant"]
    assert talk[3] == {"role": "tool", "name": "add", "content": {"result": 3}} and talk[-1]["content"] == "ثلاثة"
    assert seen[1].endswith("<start_function_response>response:add{result:3}<end_function_response>")


def test_two_calls_are_both_answered():
    talk, _ = told(written(("add", {"a": 1, "b": 2}), ("add", {"a": 5, "b": 5})), "3, 10<end_of_turn>")
    assert [m["content"] for m in talk if m["role"] == "tool"] == [{"result": 3}, {"result": 10}]


def test_words_end_it_at_once():
    talk, seen = told("أي عددين؟<end_of_turn>")
    assert len(seen) == 1 and talk[-1] == {"role": "assistant", "content": "أي عددين؟"}


@pytest.mark.parametrize(
    "made, words",
    [
        (("rm", {}), "not declared"),
        (("add", {"a": 1}), "required"),
        (("add", {"a": 1, "b": "two"}), "two"),
        (("add", {"a": 1, "b": 2, "c": 3}), "'c'"),
        (("nobody", {}), "no function nobody"),
        (("fail", {}), "ZeroDivisionError"),
    ],
)
def test_an_error_goes_to_the_model(made, words):
    talk, seen = told(written(made), "عذرا<end_of_turn>")
    assert words in talk[3]["content"]["error"] and talk[-1]["content"] == "عذرا" and "error:<escape>" in seen[1]


def test_if_one_call_may_not_run_none_does():
    ran = []
    left = [written(("add", {"a": 1, "b": 2}), ("rm", {})), "لا<end_of_turn>"]
    functions = {"add": lambda a, b: ran.append(a)}
    talk = agent.converse(lambda messages, tools: left.pop(0), ASKED, TOOLS, functions)
    assert not ran and [("error" in m["content"]) for m in talk if m["role"] == "tool"] == [True, True]


def test_it_does_not_go_on_for_ever():
    with pytest.raises(CourseError, match="after 2 rounds"):
        told(*[written(("add", {"a": 1, "b": 2}))] * 2, rounds=2)


def test_text_that_cannot_be_read_is_said():
    with pytest.raises(calls.ParseError):
        told("<start_function_call>call:add{a:1")


@pytest.mark.parametrize(
    "reply, words", [("طلبت <escape>ستة<escape> كيلو<end_of_turn>", "طلبت"), ("<end_function_call>", "")]
)
def test_a_reply_with_stray_tokens_loses_nothing_of_what_has_run(reply, words):
    talk, _ = told(written(("add", {"a": 1, "b": 2})), reply)
    assert talk[3]["content"] == {"result": 3} and talk[-1] == {"role": "assistant", "content": words}


@pytest.mark.parametrize("value, result", [(None, "done"), ([], "done"), (0, 0), (False, False), ("x", "x")])
def test_what_a_function_returns_becomes_a_result(value, result):
    left = [written(("add", {"a": 1, "b": 2})), "نعم<end_of_turn>"]
    talk = agent.converse(lambda *_: left.pop(0), ASKED, TOOLS, {"add": lambda a, b: value})
    assert talk[3]["content"] == {"result": result}


def test_what_was_added_is_written_as_the_template_writes_it():
    results = [{"n": 3, "list": [1, "ب"], "inner": {"ok": True}}, {"text": "<end_of_turn> and more"}]
    made = [{"name": "add", "arguments": {"b": 2, "a": 1}}, {"name": "fail", "arguments": {}}]
    called = {"role": "assistant", "tool_calls": [{"type": "function", "function": call} for call in made]}
    answers = [{"role": "tool", "name": c["name"], "content": r} for c, r in zip(made, results, strict=True)]
    prompt = chat.render(ASKED, TOOLS, add_generation_prompt=True)
    whole = chat.render([*ASKED, called, *answers], TOOLS, add_generation_prompt=True)
    assert agent.continued(prompt, [called, *answers]) == whole
