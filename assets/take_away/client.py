"""Ask the model in a GGUF, read the calls that it writes, check each against its declaration, and run it.

    python client.py model.gguf "كيف الطقس في جدة اليوم؟"        (How is the weather in Jeddah today?)

It needs two packages, requests and xllamacpp (llama.cpp's server inside this process), and nothing of the course.
"""

import json
import re
import sys


def get_current_weather(city, unit="celsius"):
    """A stand-in: your own function goes here."""
    return {"city": city, "sky": "مشمس", "degrees": 31 if unit == "celsius" else 88}


FUNCTIONS = {"get_current_weather": get_current_weather}
WEATHER = {
    "name": "get_current_weather",
    "description": "Get the weather in a city right now.",
    "parameters": {
        "type": "object",
        "required": ["city"],
        "properties": {
            "city": {"type": "string", "description": "City name in Arabic"},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "description": "Temperature unit"},
        },
    },
}
TOOLS = [{"type": "function", "function": WEATHER}]
DEVELOPER = "You are a model that can do function calling with the following functions"
CALL = re.compile(r"<start_function_call>call:([\w.-]+)(?=\{)")
KEY = re.compile(r"(\w+):")
PLAIN = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])|true\b|false\b|null\b|None\b")
TYPES = {"string": str, "boolean": bool, "integer": int, "number": (int, float), "array": list, "object": dict}


def value(text, at):
    """The value that begins at a place of the text, and the place after it."""
    if text.startswith("<escape>", at):
        end = text.index("<escape>", at + 8)
        return text[at + 8 : end], end + 8
    if text[at] in "{[":
        return group(text, at)
    if not (plain := PLAIN.match(text, at)):
        raise ValueError(f"no value at character {at}")
    return None if plain.group() == "None" else json.loads(plain.group()), plain.end()


def group(text, at):
    """An object or a list, values of any kind inside, and the place after its closing bracket."""
    keyed, closing = text[at] == "{", "}" if text[at] == "{" else "]"
    keys, values, at = [], [], at + 1
    while text[at] != closing:
        if values:
            if text[at] != ",":
                raise ValueError(f"no comma at character {at}")
            at += 1
        if keyed:
            key = KEY.match(text, at)
            if not key or key.group(1) in keys:
                raise ValueError(f"no key, or one for the second time, at character {at}")
            keys.append(key.group(1))
            at = key.end()
        item, at = value(text, at)
        values.append(item)
    return (dict(zip(keys, values, strict=True)) if keyed else values), at + 1


def parse(text):
    """Every call in a model's turn, as pairs (name, arguments). Raises ValueError for one that cannot be read."""
    found, at = [], 0
    while call := CALL.search(text, at):
        try:
            arguments, at = group(text, call.end())
        except IndexError:
            raise ValueError("the call has no end") from None
        if not text.startswith("<end_function_call>", at):
            raise ValueError(f"no <end_function_call> at character {at}")
        found.append((call.group(1), arguments))
    if text.count("<start_function_call>") != len(found):
        raise ValueError("a call begins that cannot be read")
    return found


def check(name, arguments):
    """Raise ValueError unless the function is declared and its arguments are, in name, type and allowed values."""
    declared = {tool["function"]["name"]: tool["function"]["parameters"] for tool in TOOLS}
    if name not in declared or name not in FUNCTIONS:
        raise ValueError(f"{name} is no function of this program")
    known = declared[name]["properties"]
    if missing := [key for key in declared[name].get("required", ()) if key not in arguments]:
        raise ValueError(f"{name} lacks {missing}")
    for key, item in arguments.items():
        if key not in known:
            raise ValueError(f"{name} has no argument {key}")
        kind = known[key]["type"]
        if not isinstance(item, TYPES[kind]) or (isinstance(item, bool) and kind != "boolean"):
            raise ValueError(f"{key} is to be a {kind}")
        if item not in known[key].get("enum", [item]):
            raise ValueError(f"{key} is to be one of {known[key]['enum']}")


def start(path):
    """llama.cpp's server inside this process."""
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.special, asked.verbosity = path, 2048, True, -1
    return xllamacpp.Server(asked)


def ask(address, question):
    """What the model writes; the file's own template makes the prompt, and no tag of the question's gets into it."""
    import requests

    plain = re.sub(r"<(\w+)>", r"‹\1›", question)
    messages = [{"role": "developer", "content": DEVELOPER}, {"role": "user", "content": plain}]
    rendered = requests.post(f"{address}/apply-template", json={"messages": messages, "tools": TOOLS}, timeout=60)
    asked = {"prompt": rendered.json()["prompt"], "n_predict": 128, "temperature": 0}
    return requests.post(f"{address}/completion", json=asked, timeout=600).json()["content"]


def main(path, question):
    """Answer one question on the screen."""
    server = start(path)
    answer = ask(server.listening_address, question)
    print(answer)
    try:
        calls = parse(answer)
        for call in calls:  # all are checked before the first one runs
            check(*call)
    except ValueError as fault:
        raise SystemExit(f"not run: {fault}") from None
    for name, arguments in calls:
        print(json.dumps(FUNCTIONS[name](**arguments), ensure_ascii=False))


if __name__ == "__main__":
    main(*sys.argv[1:])
