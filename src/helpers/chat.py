"""FunctionGemma's chat format: every prompt of the course is rendered here, from a template that is our own writing.

Source: *FunctionGemma formatting and best practices*, Google AI for Developers. The template's output is compared byte
for byte with renderings of the official one in ``tests/helpers/test_chat.py``.
"""

from __future__ import annotations

from functools import cache

from .control_tokens import CONTROL_TOKENS, STOP_IDS, holds_control_token, neutralize, neutralized
from .errors import CourseError
from .paths import ASSETS
from .schemas import check_tools

__all__ = ["CONTROL_TOKENS", "STOP_IDS", "check_tokenizer", "neutralize", "render", "template_difference"]

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


def _check_arguments(name: str, value, path: str = "arguments") -> None:
    if value is None:
        raise CourseError(f"call of {name}: {path} is None, which renders as the word None", "leave the argument out")
    if isinstance(value, dict):
        for key, item in value.items():
            _check_arguments(name, item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _check_arguments(name, item, f"{path}[{index}]")


def _check_calls(message: dict) -> None:
    for call in message.get("tool_calls") or []:
        name, arguments = call["function"]["name"], call["function"].get("arguments") or {}
        if not isinstance(arguments, dict):
            raise CourseError(
                f"call of {name}: arguments are a string, which the template pastes raw", "decode the JSON first"
            )
        _check_arguments(name, arguments)
        if holds_control_token(arguments):
            raise CourseError(f"call of {name}: an argument holds a control token", "remove it from the value")


def _clean(message: dict) -> dict:
    """A message whose content cannot open or close a turn, a call or a string."""
    _check_calls(message)
    content = message.get("content")
    if isinstance(content, list) and message["role"] != "tool":
        content = [{**part, "text": neutralize(part["text"])} if "text" in part else part for part in content]
    elif content is not None:
        content = neutralized(content)
    return {**message, **({"content": content} if content is not None else {})}


@cache
def _compiled():
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(_template())


def render(messages: list[dict], tools: list[dict] | None = None, add_generation_prompt: bool = False) -> str:
    """The prompt of a conversation, ``<bos>`` included: tokenize it with ``add_special_tokens=False``.

    Parameters
    ----------
    messages : dicts with ``role`` (developer or system, user, assistant, tool) and ``content`` or ``tool_calls``
    tools : JSON-Schema declarations ``{"type": "function", "function": {…}}``
    add_generation_prompt : end with the opening of the model's turn

    Raises
    ------
    CourseError : for what the template would drop or distort (see ``check_tools``), ``None`` or JSON text as arguments,
        and control tokens inside declarations or arguments. Control tokens in contents are neutralized instead.
    """
    check_tools(tools or [])
    return _compiled().render(
        messages=[_clean(m) for m in messages],
        tools=tools,
        add_generation_prompt=add_generation_prompt,
        bos_token="<bos>",
    )


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
    from jinja2 import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    probe_tool = {
        "name": "get_weather", "description": "Weather",
        "parameters": {"type": "object", "required": ["city"], "properties": {
            "city": {"type": "string", "description": "City", "enum": ["جدة", "فاس"]},
            "days": {"type": "integer", "description": "Days"}}},
    }  # fmt: skip
    tools = [{"type": "function", "function": probe_tool}]
    call = {"type": "function", "function": {"name": "get_weather", "arguments": {"days": 2, "city": "جدة"}}}
    messages: list[dict] = [{"role": "user", "content": "الطقس؟"}, {"role": "assistant", "tool_calls": [call]}]
    ours = render(messages, tools)
    try:
        other = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        theirs = other.render(messages=messages, tools=tools, bos_token="<bos>")
    except (TemplateError, TypeError, ValueError) as error:
        return f"cannot be read ({str(error).splitlines()[0]})"
    if theirs == ours:
        return None
    at = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
    return (
        f"writes {theirs[at : at + 24]!r} where the course writes {ours[at : at + 24]!r}, "
        f"after {ours[max(0, at - 24) : at]!r}"
    )
