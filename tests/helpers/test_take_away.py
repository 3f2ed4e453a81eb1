"""What leaves the course with a model: one file made of the course's own modules, and the client that uses it."""

import json
import runpy
import subprocess
import sys

import pytest

from helpers import calls, chat, llama_server, reference
from helpers.paths import ASSETS
from helpers.yours import take_away
from scripts.publish import portable

FOLDER = ASSETS / "take_away"
QUESTION = "كيف الطقس في جدة اليوم؟"
CALLS = (
    calls.FunctionCall("get_current_weather", {"city": "جدة", "unit": "celsius"}),
    calls.FunctionCall("place_order", {"address": {"city": "أسوان", "street": "شارع {7}"}, "gift": True, "n": -2.5}),
    calls.FunctionCall("add_to_cart", {"items": ["بصل", "خبز, أبيض"], "empty": [], "note": None}),
    calls.FunctionCall("ping", {}),
)
UNREADABLE = (
    "<start_function_call>call:f{a:<escape>x<escape>,a:1}<end_function_call>",
    "<start_function_call>call:f{a:[1,2}<end_function_call>",
    "<start_function_call>call:f{a:1",
    "<start_function_call>call:f{a:word}<end_function_call>",
    "<start_function_call>f{a:1}<end_function_call>",
)


def alone(code: str) -> dict:
    """What code prints as JSON in a Python without any package, beside the file."""
    program = f"import json, sys\nsys.path.insert(0, {str(FOLDER)!r})\nimport function_calls as f\n{code}"
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", program], capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_made_from_the_modules():
    assert portable.TARGET.read_text(encoding="utf-8") == portable.whole()


def test_names_may_stand_once(monkeypatch):
    monkeypatch.setattr(portable, "MODULES", ("errors", "errors"))
    with pytest.raises(ValueError, match="CourseError is defined in errors and in errors"):
        portable.whole()


def test_no_package_is_needed(monkeypatch):
    monkeypatch.setattr(portable, "MODULES", ("errors", "schemas/validation"))
    with pytest.raises(ValueError, match="jsonschema is no part"):
        portable.whole()


def test_it_reads_what_the_course_writes():
    texts = [calls.serialize(list(chosen)) + "<start_function_response>" for chosen in (*zip(CALLS), CALLS, ())]
    read = alone(f"print(json.dumps([[(c.name, c.arguments) for c in f.parse(t)] for t in {texts!r}]))")
    assert read == [[[call.name, call.arguments] for call in calls.parse(text)] for text in texts]


def test_what_cannot_be_read_is_refused():
    code = f"""
def fault(text):
    try: return f.parse(text) and None
    except f.ParseError as error: return error.reason
print(json.dumps([fault(t) for t in {UNREADABLE!r}]))"""
    assert all(alone(code))


def test_only_declared_calls_run():
    given = [("rm", {}), ("get_current_weather", {}), ("get_current_weather", {"city": 3}),
             ("get_current_weather", {"city": "جدة", "unit": "kelvin"}),
             ("get_current_weather", {"city": "جدة", "when": "now"}),
             ("get_current_weather", {"city": "جدة"})]  # fmt: skip
    code = f"""
import my_tools
def fault(name, arguments):
    try: return f.check_call(f.FunctionCall(name, arguments), my_tools.TOOLS)
    except f.CourseError as error: return error.problem
print(json.dumps([fault(*g) for g in {given!r}], ensure_ascii=False))"""
    faults = alone(code)
    words = ("not declared", "required", "not of type", "not one of", "'when' is not declared")
    assert faults[-1] is None and all(word in told for word, told in zip(words, faults, strict=False))


def test_the_loop_runs_without_the_course():
    code = """
import my_tools
call = f.FunctionCall("get_current_weather", {"city": "x"})
left = [f.serialize([call]), "sunny<end_of_turn>"]
asked = [{"role": "user", "content": "?"}]
print(json.dumps(f.converse(lambda m, t: left.pop(0), asked, my_tools.TOOLS, my_tools.FUNCTIONS)))"""
    talk = alone(code)
    assert talk[2]["content"]["degrees"] == 31 and talk[-1]["content"] == "sunny"


# --- with llama.cpp ---------------------------------------------------------------------------------------------------


def get_current_weather(city: str, unit: str = "celsius"):
    """Get the weather in a city right now."""
    return {"city": city, "sky": "مشمس", "degrees": 31 if unit == "celsius" else 88}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The folder that leaves with the reference adapter."""
    tools = runpy.run_path(str(FOLDER / "my_tools.py"))["TOOLS"]
    folder = tmp_path_factory.mktemp("packed") / "take_away"
    return take_away.pack(reference.adapter_folder(), [get_current_weather], tools, folder)


@pytest.fixture(scope="module")
def served(packed):
    """The address of llama.cpp's server with its file."""
    with llama_server.Server(packed / "model.gguf", threads=1) as server:
        yield server.address


def run_client(folder, *words):
    return subprocess.run(
        [sys.executable, "-B", str(folder / "client.py"), *words], capture_output=True, text=True, encoding="utf-8"
    )


@pytest.mark.slow
def test_the_client_asks_runs_and_answers(packed, served):
    left = {"Modelfile", "client.py", "function_calls.py", "model.gguf", "my_tools.py"}
    assert {path.name for path in packed.iterdir()} == left
    done = run_client(packed, served, QUESTION)
    assert done.returncode == 0, done.stderr
    wrote, returned, *_, reply = done.stdout.strip().splitlines()
    assert calls.parse(wrote) == [calls.FunctionCall("get_current_weather", {"city": "جدة"})]
    assert json.loads(returned)["degrees"] == 31 and "31" in reply and "<" not in reply


@pytest.mark.slow
def test_where_no_server_is_the_client_says_so():
    done = run_client(FOLDER, "http://127.0.0.1:9", QUESTION)
    assert done.returncode == 1 and "no server answers" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_openai_client_gets_calls_as_text_and_loses_them_as_tool_calls(served):
    """llama.cpp's own reading of calls does not know ``<escape>``; with tool_choice none the text comes as it is."""
    import openai

    client = openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=0)
    messages = [{"role": "developer", "content": chat.DEVELOPER_PROMPT}, {"role": "user", "content": QUESTION}]
    asked = {
        "model": "local",
        "messages": messages,
        "tools": runpy.run_path(str(FOLDER / "my_tools.py"))["TOOLS"],
        "temperature": 0,
        "max_tokens": 64,
    }
    text = client.chat.completions.create(**asked, tool_choice="none").choices[0].message.content
    assert calls.parse(text) == [calls.FunctionCall("get_current_weather", {"city": "جدة"})]
    with pytest.raises(openai.InternalServerError, match="does not match the expected"):
        client.chat.completions.create(**asked)
