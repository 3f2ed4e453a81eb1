"""Conversations as other clients write them, turn by turn in the course's form: kept whole, or refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from .. import chat
from .values import decoded, plain, refuse

_ROLES = {"system": "developer", "model": "assistant", "function": "tool"} | {
    role: role for role in ("developer", "user", "assistant", "tool")
}
#: What a message may say beside its content and calls, and the template would leave out.
_LOST = ("audio", "image", "images", "video", "videos", "refusal", "reasoning", "reasoning_content", "thinking",
         "tool_responses")  # fmt: skip
_CALL_IN_TEXT = re.compile(r"</?tool_(?:call|response)s?>|<function=|\[TOOL_CALLS\]|<start_function_(?:call|response)>")
_TEXT_PARTS = ("text", "input_text", "output_text")


def spoken(row: dict) -> list[dict]:
    """The messages of a row as they came, the calls of its column ``tool_calls`` as the last turn.

    Raises CourseError for messages that are no objects, and for two different answers.
    """
    messages = decoded(row["messages"], list, "messages are not a JSON list")
    if not all(isinstance(message, dict) for message in messages):
        refuse("a message is not a JSON object")
    answer = {"role": "assistant", "tool_calls": row.get("tool_calls")}
    if not (asked := calls_of(answer)):
        return messages
    if messages and _role(messages[-1]) == "assistant":
        same = _without_ids(calls_of(messages[-1])) in ("[]", _without_ids(asked))
        if not same or _text(messages[-1].get("content")).strip():
            refuse("two answers, one in messages and one in tool_calls")
        messages = messages[:-1]
    return [*messages, answer]


def _without_ids(calls: list[dict]) -> str:
    """Calls as text to compare by: a dict's == would take True for 1."""
    return json.dumps([[call["name"], call["arguments"]] for call in calls], sort_keys=True)


def conversation(messages: list[dict], ours: Callable | None = None) -> list[dict]:
    """All turns in the course's form, the developer's first.

    Parameters
    ----------
    messages : OpenAI's, older ones with ``function_call``, contents as lists of text parts; arguments may be JSON text
    ours : turns a call's name and arguments into those of renamed tools

    A system prompt stands before the course's developer prompt, which the declarations follow. A result gets the name
    of the function that its ``tool_call_id`` asked. Raises CourseError for a turn that would be lost or would mean
    something else: images and other parts, unknown roles, calls in another format inside the text, calls without a
    result before the next turn, results without a call, a last turn that is not the model's.
    """
    head: list[str] = []
    made: list[dict] = []
    asked: list[tuple] = []  # (id, name) of the calls of the last turn that made any, until the user speaks
    for message in messages:
        role = _role(message)
        if lost := next((key for key in _LOST if message.get(key)), None):
            refuse(f"a message holds {lost}")
        calls = calls_of(message)
        if calls and role != "assistant":
            refuse("a call in a turn that is not the model's")
        if role == "tool":
            made.append(_result(message, asked, ours))
            continue
        if made and made[-1].get("tool_calls"):
            refuse("a call has no result before the next turn")
        text = _text(message.get("content"))
        if _CALL_IN_TEXT.search(text):
            refuse("a call or a result in another format inside the text")
        if role == "developer":
            if made:
                refuse("a system prompt after the first turn")
            head.append(text)
        elif role == "user":
            if not text.strip():
                refuse("no query")
            asked = []
            made.append({"role": role, "content": text})
        else:
            made.append(_answer(text, calls, ours))
            asked = [(call.get("id"), call["name"]) for call in calls]
    if not any(message["role"] == "user" for message in made):
        refuse("no query")
    if made[-1]["role"] == "tool":
        refuse("the conversation ends with a result")
    if made[-1]["role"] == "user":
        refuse("neither a call nor a reply")
    return [{"role": "developer", "content": _developer(head)}, *made]


def _developer(head: list[str]) -> str:
    text = "\n".join(filter(str.strip, head))
    return text if chat.DEVELOPER_PROMPT in text else "\n".join(filter(None, [text, chat.DEVELOPER_PROMPT]))


def _role(message: dict) -> str:
    role = _ROLES.get(str(message.get("role")))
    if role is None:
        refuse("a message has no known role")
    return role


def _answer(text: str, calls: list[dict], ours: Callable | None) -> dict:
    if not calls and not text.strip():
        refuse("neither a call nor a reply")
    made: dict = {"role": "assistant"} | ({"content": text} if text.strip() else {})
    if calls:
        named = [ours(c["name"], c["arguments"]) if ours else (c["name"], c["arguments"]) for c in calls]
        made["tool_calls"] = [{"type": "function", "function": {"name": n, "arguments": a}} for n, a in named]
    return made


def calls_of(message: dict) -> list[dict]:
    """The calls of a message: dicts of name, arguments and, if it has one, id.

    From ``tool_calls`` or the older ``function_call``. Raises CourseError for another form.
    """
    listed = decoded(message.get("tool_calls"), list, "tool_calls are not a JSON list")
    if message.get("function_call"):
        if listed:
            refuse("a message holds both function_call and tool_calls")
        listed = [decoded(message["function_call"], dict, "function_call is not a JSON object")]
    return [_call(call) for call in listed]


def _call(call: Any) -> dict:
    if not isinstance(call, dict) or call.get("type") not in (None, "function"):
        refuse("a call is not the call of a function")
    function = call if call.get("function") is None else call["function"]
    if not isinstance(function, dict) or not isinstance(function.get("name"), str):
        refuse("a call names no function")
    if function.get("arguments") is None and any(function.get(key) for key in ("parameters", "args", "input")):
        refuse("a call keeps its arguments under another name")
    arguments = plain(decoded(function.get("arguments"), dict, "arguments are not a JSON object"))
    return {"name": function["name"], "arguments": arguments} | ({"id": call["id"]} if call.get("id") else {})


def _text(content: Any) -> str:
    """What a content says, its parts put together as they are."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list | dict):
        refuse("a content is neither text nor parts")
    said = []
    for part in content if isinstance(content, list) else [content]:
        kind = part.get("type") if isinstance(part, dict) else "text"
        text = part.get("text") if isinstance(part, dict) else part
        if kind not in (None, *_TEXT_PARTS) or not isinstance(text, str):
            known = isinstance(kind, str) and re.fullmatch(r"\w{1,30}", kind) and kind not in _TEXT_PARTS
            refuse(f"a content holds a part of type {kind}" if known else "a content holds a part that is no text")
        said.append(text)
    return "".join(said)


def _result(message: dict, asked: list[tuple], ours: Callable | None) -> dict:
    """A tool's message under the name of the function that was called, its content kept as text, number or mapping."""
    name, content, call = message.get("name"), message.get("content"), message.get("tool_call_id")
    if not asked:
        refuse("a result without a call")
    if isinstance(content, list):
        content = _text(content) if any(isinstance(part, dict) and "text" in part for part in content) else content
        if isinstance(content, list) and content:
            refuse("a result is a list")
    if isinstance(content, dict) and content.keys() == {"name", "response"} and name in (None, content["name"]):
        name, content = content["name"], content["response"]
    by_id = [named for identity, named in asked if call and identity == call]
    names = by_id or sorted({named for _, named in asked})
    if name is None and len(names) > 1:
        refuse("a result does not say whose call it answers")
    if name is not None and name not in names:
        refuse("a result of a function that was not called")
    if content is None or content in ("", {}, []):
        refuse("a result is empty")
    name = name or names[0]
    return {"role": "tool", "name": ours(name, {})[0] if ours else name, "content": content}
