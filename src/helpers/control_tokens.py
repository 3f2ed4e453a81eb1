"""FunctionGemma's control tokens, and the one door for foreign text: what a stranger writes never becomes one of them.

Source: *FunctionGemma formatting and best practices*, Google AI for Developers.
"""

from __future__ import annotations

import re
import unicodedata

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

# What a stranger's text must never turn into: every id that the tokenizer reads as something other than text.
_CONTROL_NAME = (
    r"(?:start|end)_of_(?:turn|image)|(?:start|end)_function_(?:declaration|call|response)"
    r"|escape|bos|eos|pad|unk|mask|s|image_soft_token|unused\d+"
)
_CONTROL = re.compile(rf"<[\s/]*(?:{_CONTROL_NAME})\s*>|\[multimodal\]", re.IGNORECASE)


def _folded(text: str) -> tuple[str, list[int]]:
    """``text`` as an attacker would have it read, with positions.

    Compatibility forms are folded, invisible characters gone.
    """
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


def neutralized(value):
    """``neutralize`` for every string in a JSON-like value."""
    if isinstance(value, str):
        return neutralize(value)
    if isinstance(value, dict):
        return {neutralize(str(key)): neutralized(item) for key, item in value.items()}
    return [neutralized(item) for item in value] if isinstance(value, list | tuple) else value


def holds_control_token(value) -> bool:
    """Whether any string in a JSON-like value holds a control token or a disguise of one."""
    if isinstance(value, dict):
        return any(holds_control_token(part) for pair in value.items() for part in pair)
    if isinstance(value, list | tuple):
        return any(map(holds_control_token, value))
    return isinstance(value, str) and neutralize(value) != value
