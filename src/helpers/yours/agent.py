"""The loop around a model that calls: ask, run what it calls, hand back what came of it, until it answers in words.

Errors go to the model, not to the user: a call that does not fit its declaration, and a function that fails, come back
as a result ``{"error": …}``. What runs is decided here, by ``check_call`` and the program's own table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ..calls import FunctionCall, parse, serialize
from ..control_tokens import CONTROL_TOKENS, neutralize, neutralized
from ..dispatch import check_call
from ..errors import CourseError


def converse(
    ask: Callable[[list, list], str],
    messages: list[dict],
    tools: list[dict],
    functions: Mapping[str, Callable],
    rounds: int = 4,
) -> list[dict]:
    """A conversation carried on until the model answers in words.

    Parameters
    ----------
    ask : messages and tools -> the text of the model's next turn, control tokens included
    messages : what was said so far, the user's request last
    tools, functions : what is declared, and the program's own function for each name
    rounds : how often the model may call before it has to answer

    Returns the messages with all that was added: the model's calls, the results, and its reply as the last.

    Raises
    ------
    CourseError : a call that cannot be read (``ParseError``), and a model that still calls after ``rounds``. Text in
        which no call begins is words, whatever control tokens stand in it: what has run is not lost to a bad reply.
    """
    talk = list(messages)
    for _ in range(rounds):
        text = ask(talk, tools)
        made = parse(text) if "<start_function_call>" in text else []
        if not made:
            return [*talk, {"role": "assistant", "content": _words(text)}]
        written = [{"type": "function", "function": {"name": c.name, "arguments": c.arguments}} for c in made]
        talk.append({"role": "assistant", "tool_calls": written})
        talk += _results(made, tools, functions)
    raise CourseError(f"the model still calls after {rounds} rounds", "read the conversation, or allow more rounds")


def _words(text: str) -> str:
    """A turn without calls as text for a person: control tokens and what follows the first of them are gone."""
    end = min((at for token in CONTROL_TOKENS if (at := text.find(token)) >= 0), default=len(text))
    return neutralize(text[:end].strip())


def _results(made: list[FunctionCall], tools: list[dict], functions: Mapping[str, Callable]) -> list[dict]:
    """A message for each call. If one may not run, none runs: half of what was asked for is not what was asked for."""
    faults = [_refusal(call, tools, functions) for call in made]
    results = []
    for call, fault in zip(made, faults, strict=True):
        if any(faults):
            value = {"error": fault or "not run, because of the other call"}
        else:
            value = _run(functions[call.name], call.arguments)
        results.append({"role": "tool", "name": call.name, "content": value})
    return results


def _refusal(call: FunctionCall, tools: list[dict], functions: Mapping[str, Callable]) -> str | None:
    try:
        check_call(call, tools)
    except CourseError as error:
        return error.problem
    return None if call.name in functions else f"there is no function {call.name}"


def _run(function: Callable, arguments: dict) -> dict:
    """What a function returned, as a mapping; ``{"error": …}`` for one that fails."""
    try:
        value = function(**arguments)
    except Exception as error:  # of whatever kind: it is the model's to react to
        return {"error": f"{type(error).__name__}: {error}"}
    return value if isinstance(value, dict) and value else {"result": "done" if value in (None, {}, [], "") else value}


def continued(prompt: str, added: list[dict]) -> str:
    """A prompt with the calls and results that were added since, as the template writes them inside the model's turn.

    For an engine that takes results as text only, such as llama.cpp's server: it writes a mapping as one string.
    ``prompt`` ends where the model's turn begins; ``added`` are messages of ``converse``.
    """
    for message in added:
        made = [call["function"] for call in message.get("tool_calls", ())]
        if made:
            prompt += serialize([FunctionCall(call["name"], call["arguments"]) for call in made])
        else:
            written = serialize([FunctionCall(message["name"], neutralized(message["content"]))])
            body = written.removeprefix("<start_function_call>call:").removesuffix("<end_function_call>")
            prompt += f"<start_function_response>response:{body}<end_function_response>"
    return prompt
