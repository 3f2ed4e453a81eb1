"""Ask the model in a GGUF, run what it calls, and print what it answers.

    python client.py model.gguf "كيف الطقس في جدة اليوم؟"              (How is the weather in Jeddah today?)
    python client.py http://127.0.0.1:8080 "كيف الطقس في جدة اليوم؟"   (llama-server -m model.gguf --jinja --special)

Beside it stand ``function_calls.py`` and ``my_tools.py``, with the functions. For a file the package xllamacpp is
needed, llama.cpp's server in this process; for an address nothing.
"""

import json
import sys
import urllib.error
import urllib.request

from function_calls import CourseError, continued, converse, neutralize
from my_tools import FUNCTIONS, TOOLS

DEVELOPER = "You are a model that can do function calling with the following functions"


def start(path):
    """llama.cpp's server inside this process, for the file."""
    import xllamacpp

    asked = xllamacpp.CommonParams()
    asked.model.path, asked.n_ctx, asked.special, asked.verbosity = path, 2048, True, -1
    return xllamacpp.Server(asked)


def post(address, body):
    """What a server answers. Raises CourseError with the server's own words."""
    request = urllib.request.Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=600) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        raise CourseError(f"the server refused: {error.read().decode(errors='replace')[:200]}") from None
    except OSError as error:
        raise CourseError(f"no server answers at {address}: {error}", "start llama-server, or name a GGUF") from None


def asker(address):
    """A function for ``converse``: messages and tools -> what the model writes next.

    The file's own template makes the prompt of what was said; calls and results that were added are written behind it.
    All that the model writes, and all that comes back from the functions, is printed as it comes.
    """
    printed = 0

    def ask(messages, tools):
        nonlocal printed
        said = max(place for place, message in enumerate(messages) if message["role"] == "user") + 1
        for message in messages[said + printed :]:
            if message["role"] == "tool":
                print(json.dumps(message["content"], ensure_ascii=False))
        printed = len(messages) - said
        plain = [{**message, "content": neutralize(message["content"])} for message in messages[:said]]
        prompt = post(f"{address}/apply-template", {"messages": plain, "tools": tools})["prompt"]
        asked = {"prompt": continued(prompt, messages[said:]), "n_predict": 128, "temperature": 0}
        text = post(f"{address}/completion", asked)["content"]
        print(text)
        return text

    return ask


def main(where, question):
    """Answer one question on the screen: what the model writes, what the functions return, the reply."""
    server = None if where.startswith("http") else start(where)
    address = where.rstrip("/") if server is None else server.listening_address
    messages = [{"role": "developer", "content": DEVELOPER}, {"role": "user", "content": question}]
    try:
        talk = converse(asker(address), messages, TOOLS, FUNCTIONS)
    except CourseError as fault:
        raise SystemExit(f"no answer: {fault}") from None
    print(talk[-1]["content"])


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    main(*sys.argv[1:])
