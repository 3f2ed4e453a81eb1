"""Arabic text and its direction: what a reader sees, what the data hold, and the characters that really break a call.

Direction is decided when text is drawn (Unicode Standard Annex #9): memory, files and tokens keep the order in which
text is read aloud. What does reach a parser are characters that only look like others, or cannot be seen at all.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from itertools import pairwise

#: Invisible characters that change the order of display (UAX #9, section 2), and the byte order mark.
BIDI_CONTROLS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
TATWEEL = "\u0640"  # the line that stretches a word; it has no sound and no meaning
_DIGITS = {ord(digit): str(value) for row in ("٠١٢٣٤٥٦٧٨٩", "۰۱۲۳۴۵۶۷۸۹") for value, digit in enumerate(row)}
_PUNCTUATION = {ord("،"): ",", ord("٫"): ".", ord("٬"): None, ord("؛"): ";"}
_INVISIBLE = dict.fromkeys(map(ord, BIDI_CONTROLS + TATWEEL))
#: What only looks like nothing, like a space and like a minus sign: the zero-width space, U+00A0 and U+2212.
_LOOKALIKES: dict[int, str | None] = {0x200B: None, 0xA0: " ", 0x2212: "-"}
_NUMBER_SIGNS = re.compile("(?<=[0-9])[\u066b\u066c](?=[0-9])")  # the Arabic decimal and thousands separators
#: Isolates and the direction inside them: left to right, right to left, that of the first strong character.
_ISOLATES = {"\u2066": "L", "\u2067": "R", "\u2068": None}
_POP, _OBJECT = "\u2069", "\ufffc"  # what closes one, and what stands for a whole one in the line around it
_LETTER = "x"  # for a character younger than this Python's Unicode, which has no direction there
_STRING = re.compile(r"(<escape>.*?<escape>)", re.DOTALL)


@dataclass(frozen=True)
class Hazard:
    """A character that a parser reads unlike a person: where it stands (from 0), itself, its Unicode name, its kind."""

    position: int
    character: str
    name: str
    kind: str


def hazards(text: str) -> list[Hazard]:
    """Every character that ``mend`` would change, in order.

    Kinds: bidi control, tatweel, digit, punctuation, look-alike.
    """
    return [
        Hazard(i, c, unicodedata.name(c, f"U+{ord(c):04X}"), kind) for i, c in enumerate(text) if (kind := _kind(c))
    ]


def _kind(character: str) -> str | None:
    if character in BIDI_CONTROLS:
        return "bidi control"
    if character == TATWEEL:
        return "tatweel"
    if ord(character) in _DIGITS:
        return "digit"
    if ord(character) in _LOOKALIKES:
        return "look-alike"
    return "punctuation" if ord(character) in _PUNCTUATION else None


def mend(text: str) -> str:
    """Plain text with ASCII digits and separators, without bidi controls and tatweel.

    Letters and diacritics stay. Idempotent.
    """
    return text.translate(_INVISIBLE | _DIGITS | _PUNCTUATION | _LOOKALIKES)


def mend_call(text: str) -> str:
    """A model's turn with the hazards gone.

    Everything outside ``<escape>`` strings as ``mend`` does it, inside them only what cannot be seen and digits,
    because a comma inside a string is a comma somebody wrote; a separator between two digits is part of a number
    (٣٫٥ becomes 3.5). A no-break space in a call, where the format has none, goes. A call without hazards comes back
    as it was. Idempotent.
    """
    before, opener, call = text.partition("<start_function_call>")
    return _mended_outside(before, "\xa0") + opener + _mended_outside(call, "")


def _mended_outside(text: str, space: str) -> str:
    """``space``: what stands for a no-break space outside strings."""
    pieces = _STRING.split(text)
    pieces[::2] = [mend(piece.replace("\xa0", space)) for piece in pieces[::2]]
    pieces[1::2] = map(_mended_string, pieces[1::2])
    return "".join(pieces)


def _mended_string(text: str) -> str:
    ascii_digits = text.translate(_INVISIBLE | _DIGITS)
    return _NUMBER_SIGNS.sub(lambda sign: "." if sign.group() == "\u066b" else "", ascii_digits)


def displayed(text: str, base: str | None = None) -> str:
    """The characters of one line as they are drawn from left to right, mirrored ones exchanged (``{`` drawn as ``}``).

    ``base`` is the paragraph's direction, "L" or "R"; by default its first strong character decides. By python-bidi,
    which follows UAX #9 but for isolates; those are drawn here, each as a line of its own inside the line.
    """
    return "".join(character for _, character in _drawn(text, base))


def drawing_order(text: str, base: str | None = None) -> list[int]:
    """Positions in ``text`` of one line's characters as drawn from left to right: ``displayed`` before its mirroring.

    Controls that are not drawn are left out.
    """
    return [position for position, _ in _drawn(text, base)]


def _drawn(text: str, base: str | None) -> list[tuple[int, str]]:
    """(position, character as drawn) from left to right."""
    from bidi.algorithm import get_display  # the Python one: the faster one in `bidi` does not mirror

    outer, places, inside, i = "", [], {}, 0
    while i < len(text):
        start = i
        if text[i] in _ISOLATES:
            i = _closing(text, i)
            inside[len(outer)] = (start + 1, text[start + 1 : i], _ISOLATES[text[start]])
        if text[start] != _POP:  # one that closes nothing is not drawn
            known = text[start] if unicodedata.bidirectional(text[start]) else _LETTER
            outer += _OBJECT if text[start] in _ISOLATES else known
            places.append(start)
        i += 1
    drawn: list[tuple[int, str]] = []
    for place, character in zip(_order(outer, base), get_display(outer, base_dir=base), strict=True):
        if place in inside:
            first, line, direction = inside[place]
            drawn += [(first + position, one) for position, one in _drawn(line, direction)]
        else:
            drawn.append((places[place], text[places[place]] if outer[place] == _LETTER else character))
    return drawn


def _closing(text: str, opener: int) -> int:
    """Where the isolate that opens at ``opener`` is closed; the text's end if it is not."""
    depth = 0
    for i in range(opener, len(text)):
        depth += (text[i] in _ISOLATES) - (text[i] == _POP)
        if depth == 0:
            return i
    return len(text)


def _order(text: str, base: str | None) -> list[int]:
    """``drawing_order`` without isolates: the steps of ``get_display``, each character's position carried along."""
    from bidi import algorithm

    level = algorithm.get_base_level(text) if base is None else algorithm.PARAGRAPH_LEVELS[base]
    storage = algorithm.get_empty_storage() | {"base_level": level, "base_dir": "LR"[level]}
    algorithm.get_embedding_levels(text, storage)
    for position, character in enumerate(storage["chars"]):
        character["position"] = position
    algorithm.explicit_embed_and_overrides(storage)
    algorithm.resolve_weak_types(storage)
    algorithm.resolve_neutral_types(storage, False)
    algorithm.resolve_implicit_levels(storage, False)
    algorithm.reorder_resolved_levels(storage, False)
    return [character["position"] for character in storage["chars"]]


def joined(text: str) -> list[str]:
    """One character each, in ``text``'s order, with letters in the shape they take beside their neighbours.

    The shape is isolated, initial, medial or final. For drawing letters one by one: the shapes are Unicode's
    presentation forms, which belong in a drawing and never in data.
    """
    shapes = _presentation_forms()
    kinds = [shapes.get(c, {}) for c in text]
    # whether a stroke joins letters i - 1 and i
    joins = [False, *("initial" in a and "final" in b for a, b in pairwise(kinds)), False]
    names = {(False, False): "isolated", (False, True): "initial", (True, True): "medial", (True, False): "final"}
    return [kinds[i].get(names[joins[i], joins[i + 1]], c) for i, c in enumerate(text)]


@cache
def _presentation_forms() -> dict[str, dict[str, str]]:
    """letter -> {"isolated": form, "initial": …, "medial": …, "final": …}.

    Read off Unicode's compatibility decompositions (U+FE80-FEFC).
    """
    forms: dict[str, dict[str, str]] = {}
    for form in map(chr, range(0xFE80, 0xFEFD)):
        kind, *letters = unicodedata.decomposition(form).split()
        if len(letters) == 1:
            forms.setdefault(chr(int(letters[0], 16)), {})[kind.strip("<>")] = form
    return forms


def isolate(text: str) -> str:
    """The text between FIRST STRONG ISOLATE and POP DIRECTIONAL ISOLATE.

    For a display, so that it cannot reorder its surroundings.
    """
    return f"\u2068{text}\u2069"
