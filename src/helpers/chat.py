"""FunctionGemma's chat format: every prompt of the course is rendered here, from a template that is our own writing.

Source: *FunctionGemma formatting and best practices*, Google AI for Developers. The template's output is compared byte
for byte with renderings of the official one in ``tests/helpers/test_chat.py``. On purpose it differs in this:

- what the official template loses or distorts is refused (``CourseError``): see ``render`` and ``schemas.check_tools``.
  Not refused, though both leave it out: bounds and notes of a parameter (``minimum``, ``format``, ``default``,
  ``title``, …), ``nullable`` outside items, what a free-form map holds, and what a function is said to return;
- null in a type list or an enum means that the argument may be left out: the plain type is written, the enum without
  null, and the argument is not listed as required;
- declared parameters without ``type`` are an object;
- a number as a tool's result is written like a string, ``{value:22}``, and a result that names only its call by
  ``tool_call_id`` gets the name of that call;
- control tokens in contents are neutralized; names and keys that stand as bare words are identifiers.
"""

from __future__ import annotations

import math
import re
from functools import cache

from .control_tokens import CONTROL_TOKENS, STOP_IDS, holds_control_token, neutralize, neutralized
from .errors import CourseError
from .paths import ASSETS
from .schemas import IDENTIFIER, MAX_DEPTH, TOOL_NAME, check_tools, plain_schema

__all__ = ["CONTROL_TOKENS", "STOP_IDS", "check_tokenizer", "neutralize", "render", "template_difference"]

#: Who may speak. The developer is also called system.
ROLES = ("developer", "system", "user", "assistant", "tool")
DEVELOPER_PROMPT = "You are a model that can do function calling with the following functions"


def __getattr__(name: str) -> str:
    """``CHAT_TEMPLATE``, the course's own writing of the official template.

    Read when it is first asked for, so that importing needs no file.
    """
    if name == "CHAT_TEMPLATE":
        return _template()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _template() -> str:
    return (ASSETS / "chat_template.jinja").read_text(encoding="utf-8")


def _check_word(what: str, word, pattern: re.Pattern = IDENTIFIER) -> None:
    """Names and keys stand in the prompt as bare words: nothing but an identifier may."""
    if not (isinstance(word, str) and pattern.fullmatch(word)):
        raise CourseError(f"{what} {str(word)[:80]!r} is not an identifier", "use letters, digits and underscores")


def _check_value(owner: str, value, path: str, depth: int = 0) -> None:
    """Raise CourseError for a value that the format cannot hold."""
    if depth > MAX_DEPTH:
        raise CourseError(f"{owner}: {path[:80]} is nested deeper than {MAX_DEPTH}", "flatten it")
    if value is None:
        raise CourseError(f"{owner}: {path} is None, which renders as the word None", "leave it out")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_word(f"{owner}: a key of {path},", key)
            _check_value(owner, item, f"{path}.{key}", depth + 1)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_value(owner, item, f"{path}[{index}]", depth + 1)
    elif not isinstance(value, str | bool | int | float):
        raise CourseError(f"{owner}: {path} is a {type(value).__name__}", "write it as text or as a number")
    elif isinstance(value, float) and not math.isfinite(value):
        raise CourseError(f"{owner}: {path} is {value}, which is no number of the format", "leave it out")


def _check_calls(message: dict) -> None:
    listed = message.get("tool_calls") or []
    if not isinstance(listed, list | tuple):
        raise CourseError(f"tool_calls are a {type(listed).__name__}, not a list", "put the call into a list")
    for call in listed:
        function = call.get("function") if isinstance(call, dict) else None
        if not isinstance(function, dict) or "name" not in function:
            raise CourseError("a call names no function", 'use {"function": {"name": …, "arguments": {…}}}')
        name, arguments = function["name"], function.get("arguments") or {}
        _check_word("a call's function name", name, TOOL_NAME)
        if not isinstance(arguments, dict):
            kind = "string" if isinstance(arguments, str) else type(arguments).__name__
            raise CourseError(
                f"call of {name}: arguments are a {kind}, which the template pastes raw", "decode the JSON first"
            )
        _check_value(f"call of {name}", arguments, "arguments")
        if holds_control_token(arguments):
            raise CourseError(f"call of {name}: an argument holds a control token", "remove it from the value")


def _text(role: str, content) -> str | None:
    """What a turn says, disarmed. ``content``: text, or a list of parts, each trimmed as the template does."""
    if content is None or isinstance(content, str):
        return content and neutralize(content)
    parts: list = list(content) if isinstance(content, list | tuple) else [f"a bare {type(content).__name__}"]
    for part in parts:
        if not (isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)):
            kind = part.get("type") if isinstance(part, dict) else None
            told = f"a part of type {kind!r:.60}" if kind not in (None, "text") else f"what is no text ({part!r:.60})"
            raise CourseError(
                f"the {role} message holds {told}, which the template leaves out", 'use {"type": "text", "text": …}'
            )
    return neutralize("".join(part["text"].strip() for part in parts))  # together: a token may be cut in two


def _result(message: dict, asked: dict) -> dict:
    """A tool's message with its name and its result as the template writes them. ``asked``: call id -> name."""
    content, name = message.get("content"), message.get("name")
    if name is None and isinstance(message.get("tool_call_id"), str):
        name = asked.get(message["tool_call_id"])
    results = content if isinstance(content, list | tuple) else [content]
    if content is None or (not content and not isinstance(content, bool | int | float)):
        told = "no result" if content is None else "an empty result, which the template leaves out"
        raise CourseError(f"a message of tool {str(name)[:80]!r} has {told}", 'say so, as in {"result": "nothing"}')
    for one in results:
        _check_result(name, one, several=one is not content)
    return {**message, "name": name, "content": neutralized(content)}


def _check_result(name, result, several: bool) -> None:
    if several and not isinstance(result, dict):
        raise CourseError(f"a list of results of {str(name)[:80]!r} holds a {type(result).__name__}", "use mappings")
    if isinstance(result, dict) and {"name", "response"} <= result.keys():
        named, body = result["name"], result["response"]
        if not isinstance(body, dict) or len(result) > 2 or name not in (None, named):
            raise CourseError(
                f"the template takes name and response in a result of {str(name or named)[:80]!r} for its own",
                'put the result into a mapping of its own: {"result": {…}}',
            )
        name, result = named, body
    if name is None:
        raise CourseError("a tool's message has no name", "name the function that returned it")
    _check_word("a tool message's name", name, TOOL_NAME)
    _check_value(f"result of {name}", result, "result")


def _clean(messages) -> list[dict]:
    """Messages whose contents cannot open or close a turn, a call or a string, and lose nothing in the template."""
    if not isinstance(messages, list | tuple):
        raise CourseError(f"messages are a {type(messages).__name__}, not a list", "put the message into a list")
    cleaned: list[dict] = []
    asked: dict[str, str] = {}
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role not in ROLES:
            raise CourseError(f"a message has the role {str(role)[:80]!r}", f"use one of {', '.join(ROLES)}")
        if lost := next((key for key in ("function_call", "tool_responses") if message.get(key)), None):
            raise CourseError(
                f"the template leaves out {lost} of the {role} message", "use tool_calls, and tool messages"
            )
        if role == "tool":
            cleaned.append(_result(message, asked))
            continue
        if role != "assistant" and message.get("tool_calls"):
            raise CourseError(f"a {role} message calls a tool", "calls are the assistant's")
        _check_calls(message)
        asked |= {
            c["id"]: c["function"]["name"] for c in message.get("tool_calls") or [] if isinstance(c.get("id"), str)
        }
        content = _text(role, message.get("content"))
        cleaned.append({**message, **({"content": content} if content is not None else {})})
    return cleaned


@cache
def _compiled():
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(_template())


def _plain(tool: dict) -> dict:
    function = tool["function"]
    return {"function": {**function, "parameters": plain_schema(function.get("parameters") or {})}}


def _declaration(tool: dict) -> str:
    """A tool as the prompt declares it. Few tools stand in many prompts, and writing them is most of the work: kept."""
    text = repr(tool)  # by content: the caller may change its own
    if text not in _DECLARED:
        if len(_DECLARED) >= 4096:
            _DECLARED.clear()
        _DECLARED[text] = _compiled().module.declaration(_plain(tool)["function"])
    return _DECLARED[text]


_DECLARED: dict[str, str] = {}
#: Stands in the template for all tools. No content can hold what is written for it: control tokens are neutralized.
_STUB = {"type": "function", "function": {"name": "_"}}


def render(messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = False) -> str:
    """The prompt of a conversation, ``<bos>`` included: tokenize it with ``add_special_tokens=False``.

    Parameters
    ----------
    messages : dicts with ``role`` (developer or system, user, assistant, tool) and ``content`` or ``tool_calls``
    tools : JSON-Schema declarations ``{"type": "function", "function": {…}}``
    add_generation_prompt : end with the opening of the model's turn

    Raises
    ------
    CourseError : for what the template would drop or distort: in declarations (see ``check_tools``), ``None``, other
        types or JSON text as arguments, empty or nameless results, parts that are no text; for unknown roles, and
        names and keys that are no identifiers; for control tokens inside declarations or arguments. Control tokens in
        contents are neutralized instead.
    """
    check_tools(tools or [])
    written = _compiled().render(
        messages=_clean(messages),
        tools=[_STUB] if tools else [],
        add_generation_prompt=add_generation_prompt,
        bos_token="<bos>",
    )
    return written.replace(_declaration(_STUB), "".join(map(_declaration, tools)), 1) if tools else written


def check_tokenizer(tokenizer) -> None:
    """Raise CourseError unless every control token is one token with the id the course expects."""
    for token, expected in CONTROL_TOKENS.items():
        ids = tokenizer.encode(token, add_special_tokens=False)
        if ids != [expected]:
            raise CourseError(
                f"this tokenizer reads {token} as ids {ids}, not [{expected}]",
                "use unsloth/functiongemma-270m-it or the folder that helpers.checkpoints.ensure() builds",
            )


def template_difference(template: str) -> str | None:
    """How another template (the hub's own) writes a probe conversation differently from ours; None if it does not."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    probe_tool = {
        "name": "get_weather", "description": "Weather",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "City", "enum": ["جدة", "فاس"]},
            "days": {"type": "integer", "description": "Days"},
            "hours": {"type": "array", "description": "Hours", "items": {"type": "string", "description": "Hour"}},
            "where": {"type": "object", "description": "Where", "properties": {
                "street": {"type": "string", "description": "Street"}}}}},
    }  # fmt: skip
    tools = [{"type": "function", "function": probe_tool}]
    arguments = {"days": 2, "city": "جدة", "hours": ["06", "18"]}
    call = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    messages: list[dict] = [{"role": "user", "content": "الطقس؟"}, {"role": "assistant", "tool_calls": [call]}]
    ours = render(messages, tools)
    if not isinstance(template, str):
        return f"cannot be read (it is a {type(template).__name__}, not text)"
    try:
        other = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        theirs = other.render(messages=messages, tools=tools, bos_token="<bos>")
    except Exception as error:  # a stranger's template may fail in any way that Python knows
        return f"cannot be read ({(str(error) or type(error).__name__).splitlines()[0]})"
    if theirs == ours:
        return None
    at = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
    return (
        f"writes {theirs[at : at + 24]!r} where the course writes {ours[at : at + 24]!r}, "
        f"after {ours[max(0, at - 24) : at]!r}"
    )
