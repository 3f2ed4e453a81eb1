"""FunctionGemma's chat format: its control tokens, its template (written afresh), and the one door for foreign text.

Source: *FunctionGemma formatting and best practices*, Google AI for Developers. The template's output is compared byte
for byte with renderings of the official one in ``tests/test_chat.py``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from .errors import CourseError

CONTROL_TOKENS: dict[str, int] = {
    "<eos>": 1,
    "<bos>": 2,
    "<start_function_declaration>": 46,
    "<end_function_declaration>": 47,
    "<start_function_call>": 48,
    "<end_function_call>": 49,
    "<start_function_response>": 50,
    "<end_function_response>": 51,
    "<escape>": 52,
    "<start_of_turn>": 105,
    "<end_of_turn>": 106,
}
#: Generation ends on any of these: a tool is to be run (50), the turn is over (106), the text is over (1).
STOP_IDS: tuple[int, ...] = (50, 106, 1)
DEVELOPER_PROMPT = "You are a model that can do function calling with the following functions"
#: Parameters of these names vanish from a declaration: the official template takes them for keywords of the schema.
DROPPED_NAMES = frozenset({"type", "description", "properties", "required", "nullable"})
SCHEMA_TYPES = frozenset({"string", "integer", "number", "boolean", "array", "object"})

CHAT_TEMPLATE = """\
{%- macro text(value) -%}<escape>{{ value }}<escape>{%- endmacro -%}

{%- macro argument(value) -%}
    {%- if value is string -%}{{ text(value) }}
    {%- elif value is boolean -%}{{ 'true' if value else 'false' }}
    {%- elif value is mapping -%}{ {{- pairs(value) -}} }
    {%- elif value is iterable -%}[{%- for item in value -%}{{ ',' if not loop.first }}{{ argument(item) }}{%- endfor -%}]
    {%- else -%}{{ value }}
    {%- endif -%}
{%- endmacro -%}

{%- macro pairs(mapping) -%}
    {%- for key, value in mapping | dictsort -%}{{ ',' if not loop.first }}{{ key }}:{{ argument(value) }}{%- endfor -%}
{%- endmacro -%}

{%- macro object_body(schema) -%}
    {%- if schema.get('properties') -%}properties:{ {{- parameters(schema['properties']) -}} },{%- endif -%}
    {%- if schema.get('required') -%}required:{{ argument(schema['required']) }},{%- endif -%}
{%- endmacro -%}

{%- macro item_schema(schema) -%}
    {%- if schema.get('type', '') | upper == 'OBJECT' -%}{{ object_body(schema) }}{%- endif -%}
    type:{{ text(schema['type'] | upper) }}
{%- endmacro -%}

{%- macro parameters(properties) -%}
    {%- set names = properties.keys() | reject('in', ['description', 'type', 'properties', 'required', 'nullable']) -%}
    {%- for name in names | sort -%}
        {%- set schema = properties[name] -%}
        {%- set kind = schema['type'] | upper -%}
        {{ ',' if not loop.first }}{{ name }}:{description:{{ text(schema.get('description', '')) }},
        {%- if kind == 'STRING' and schema.get('enum') -%}enum:{{ argument(schema['enum']) }},
        {%- elif kind == 'OBJECT' -%}{{ object_body(schema) }}
        {%- elif kind == 'ARRAY' and schema.get('items') -%}items:{ {{- item_schema(schema['items']) -}} },
        {%- endif -%}
        type:{{ text(kind) }}}
    {%- endfor -%}
{%- endmacro -%}

{%- macro declaration(function) -%}
    <start_function_declaration>declaration:{{ function['name'] }}{description:{{ text(function.get('description', '')) }}
    {%- if function.get('parameters') -%}
        ,parameters:{ {{- object_body(function['parameters']) -}}
        type:{{ text(function['parameters'].get('type', 'object') | upper) }}}
    {%- endif -%}
    }<end_function_declaration>
{%- endmacro -%}

{%- macro content(message) -%}
    {%- if message.get('content') is string -%}{{ message['content'] | trim }}
    {%- elif message.get('content') -%}
        {%- for part in message['content'] if part['type'] == 'text' -%}{{ part['text'] | trim }}{%- endfor -%}
    {%- endif -%}
{%- endmacro -%}

{%- macro result(message) -%}
    <start_function_response>response:{{ message['name'] }}{
    {%- if message['content'] is mapping -%}{{ pairs(message['content']) }}
    {%- else -%}value:{{ argument(message['content']) }}
    {%- endif -%}
    }<end_function_response>
{%- endmacro -%}

{{- bos_token -}}
{%- set head = messages[0] if messages and messages[0]['role'] in ('system', 'developer') else none -%}
{%- if head or tools -%}
    {{- '<start_of_turn>developer\\n' -}}
    {%- if head -%}{{ content(head) }}{%- endif -%}
    {%- for tool in tools or [] -%}{{ declaration(tool['function']) }}{%- endfor -%}
    {{- '<end_of_turn>\\n' -}}
{%- endif -%}
{#- state.open: the model's turn is still open, because a call or a tool's result came last -#}
{%- set state = namespace(open=false) -%}
{%- for message in (messages[1:] if head else messages) -%}
    {%- set next = loop.nextitem -%}
    {%- if message['role'] == 'tool' -%}
        {{- result(message) -}}
        {%- set state.open = true -%}
    {%- else -%}
        {%- if not (state.open and message['role'] == 'assistant') -%}
            {{- '<end_of_turn>\\n' if state.open -}}
            {{- '<start_of_turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' -}}
        {%- endif -%}
        {{- content(message) -}}
        {%- if message.get('tool_calls') -%}
            {%- for call in message['tool_calls'] -%}
                <start_function_call>call:{{ call['function']['name'] }}{
                {%- if call['function']['arguments'] is string -%}{{ call['function']['arguments'] }}
                {%- else -%}{{ pairs(call['function'].get('arguments') or {}) }}
                {%- endif -%}
                }<end_function_call>
            {%- endfor -%}
            {{- '<start_function_response>' if not next -}}
            {%- set state.open = true -%}
        {%- else -%}
            {{- '<end_of_turn>\\n' -}}
            {%- set state.open = false -%}
        {%- endif -%}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt and not state.open -%}{{ '<start_of_turn>model\\n' }}{%- endif -%}
"""

# What a stranger's text must never turn into: every id that the tokenizer reads as something other than text.
_CONTROL_NAME = (
    r"(?:start|end)_of_(?:turn|image)|(?:start|end)_function_(?:declaration|call|response)"
    r"|escape|bos|eos|pad|unk|mask|s|image_soft_token|unused\d+"
)
_CONTROL = re.compile(rf"<[\s/]*(?:{_CONTROL_NAME})\s*>|\[multimodal\]", re.IGNORECASE)


def _folded(text: str) -> tuple[str, list[int]]:
    """``text`` as an attacker would have it read: compatibility forms folded, invisible characters gone; with positions."""
    characters, origin = [], []
    for position, character in enumerate(text):
        if unicodedata.category(character) in ("Cf", "Mn", "Me") or character in "\u3164\u115f\u1160\uffa0":
            continue
        for plain in unicodedata.normalize("NFKC", character):
            characters.append(plain)
            origin.append(position)
    return "".join(characters), origin


def neutralize(text: str) -> str:
    """Foreign text that reads the same and tokenizes to no control id.

    A control token's brackets become ``‹`` and ``›``; so do those of its disguises (zero-width characters inside,
    full-width forms, ``<unusedN>``). All other text is returned as it came. Applying it twice changes nothing more.
    """
    if "<" not in text and text.isascii() and "[multimodal]" not in text.lower():
        return text
    folded, origin = _folded(text)
    pieces, end = [], 0
    for match in _CONTROL.finditer(folded):
        start, stop = origin[match.start()], origin[match.end() - 1] + 1
        pieces += [text[end:start], "‹", match.group()[1:-1], "›"]
        end = stop
    return "".join([*pieces, text[end:]])


def _neutralized(value):
    """``neutralize`` for every string in a JSON-like value."""
    if isinstance(value, str):
        return neutralize(value)
    if isinstance(value, dict):
        return {neutralize(str(key)): _neutralized(item) for key, item in value.items()}
    return [_neutralized(item) for item in value] if isinstance(value, list | tuple) else value


def holds_control_token(value) -> bool:
    """Whether any string in a JSON-like value holds a control token or a disguise of one."""
    return _neutralized(value) != value


# --- what the template would lose silently ----------------------------------------------------------------------------


def _check_schema(tool: str, properties: dict, where: str = "") -> None:
    for name, schema in properties.items():
        path = f"{where}{name}"
        if name in DROPPED_NAMES:
            raise CourseError(f"tool {tool}: the template drops a parameter named {path}", "give it another name")
        if not re.fullmatch(r"[^\W\d]\w*", name):
            raise CourseError(f"tool {tool}: {path!r} is not an identifier", "use letters, digits and underscores")
        if not isinstance(schema, dict) or schema.get("type") not in SCHEMA_TYPES:
            raise CourseError(f"tool {tool}: parameter {path} has no known type", f"use one of {', '.join(sorted(SCHEMA_TYPES))}")
        if "enum" in schema and schema["type"] != "string":
            raise CourseError(f"tool {tool}: the template drops the enum of {path}, a {schema['type']}", "make it a string")
        inner = schema.get("items") if schema["type"] == "array" else schema
        if isinstance(inner, dict):
            _check_schema(tool, inner.get("properties") or {}, f"{path}.")


def check_tools(tools: list[dict]) -> None:
    """Raise CourseError for a declaration that the template would render incompletely or that carries control tokens."""
    names = set()
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise CourseError("a tool declaration has no function name", 'use {"type": "function", "function": {"name": …}}')
        name = function["name"]
        if not re.fullmatch(r"[^\W\d][\w.-]*", name):
            raise CourseError(f"tool name {name!r} is not an identifier", "use letters, digits and underscores")
        if name in names:
            raise CourseError(f"tool {name} is declared twice", "remove one declaration")
        names.add(name)
        if holds_control_token(function):
            raise CourseError(f"tool {name}: its declaration holds a control token", "remove it from the text")
        _check_schema(name, (function.get("parameters") or {}).get("properties") or {})


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
            raise CourseError(f"call of {name}: arguments are a string, which the template pastes raw", "decode the JSON first")
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
        content = _neutralized(content)
    return {**message, **({"content": content} if content is not None else {})}


@cache
def _compiled():
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    return ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(CHAT_TEMPLATE)


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
        messages=[_clean(m) for m in messages], tools=tools, add_generation_prompt=add_generation_prompt, bos_token="<bos>"
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
    """How another template (the hub's own) writes a probe conversation differently from ours; None when it writes the same."""
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
    messages = [{"role": "user", "content": "الطقس؟"}, {"role": "assistant", "tool_calls": [call]}]
    ours = render(messages, tools)
    try:
        other = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True).from_string(template)
        theirs = other.render(messages=messages, tools=tools, bos_token="<bos>")
    except (TemplateError, TypeError, ValueError) as error:
        return f"cannot be read ({str(error).splitlines()[0]})"
    if theirs == ours:
        return None
    at = next((i for i, (a, b) in enumerate(zip(theirs, ours, strict=False)) if a != b), min(len(theirs), len(ours)))
    return f"writes {theirs[at : at + 24]!r} where the course writes {ours[at : at + 24]!r}, after {ours[max(0, at - 24) : at]!r}"
