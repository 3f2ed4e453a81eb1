"""How the exercises of notebook 04 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

import json
import re
from functools import cache

from .. import dataset
from ..errors import CourseError
from ..schemas import check_tools
from . import CORRECT, returned

_HEADER = [105, 4368, 107]  # <start_of_turn>, model, a line feed
#: Two turns of the model: a reply that <end_of_turn> (106) ends, and a call that id 50 ends.
_TALK = [2, 105, 2364, 107, 11, 106, 107, *_HEADER, 21, 22, 106, 107, 105, 2364, 107, 12, 106, 107, *_HEADER, 48, 7, 50]
_REPLY, _CALL = [10, 11, 12], [23, 24, 25]  # the places of what the model writes


def check_mask(labels_of) -> str:
    """Judge ``labels_of(ids, header)``, (N,) -> (N,) with -100 outside the model's turns. Returns a str."""
    got = list(returned(labels_of, list(_TALK), list(_HEADER)))
    if len(got) != len(_TALK):
        return f"there are {len(_TALK)} ids and {len(got)} labels: every position needs one"
    if any(label not in (-100, token) for label, token in zip(got, _TALK, strict=True)):
        return "some label is not the id at its own place (the shift by one is the loss function's work)"
    labelled = {i for i, label in enumerate(got) if label != -100}
    if labelled == {*_REPLY, *_CALL}:
        return CORRECT
    return _mask_fault(labelled)


def _mask_fault(labelled: set[int]) -> str:
    if labelled == {*_REPLY[:-1], *_CALL}:
        return "that is the colleague's mask: a reply's <end_of_turn> (id 106) has no label, so no reply learns to end"
    if _REPLY[-1] + 1 in labelled and 14 not in labelled:
        return "the line break after <end_of_turn> is labelled: the template writes it, the model never does"
    if 14 in labelled:
        return "the second user's turn is labelled: the model's turn is over at its <end_of_turn>"
    if not labelled & set(_REPLY) and set(_CALL) <= labelled:
        return "the first of two turns of the model has no label: look for every header, not for the last"
    if not labelled & set(_CALL):
        return "the second turn of the model has no label: look for every header, not for the first"
    if _CALL[-1] not in labelled:
        return "id 50 has no label: then no call learns to end"
    return "label what follows each header, up to and with the token that ends the turn, and nothing else"


def check_tool(my_tool) -> str:
    """Judge ``my_tool()``, a declaration and a request for it: valid, unknown to training, in Arabic. Returns a str."""
    given = returned(my_tool)
    if not (isinstance(given, tuple) and len(given) == 2):
        return "return two things: the declaration, and the request as text"
    declaration, request = given
    if isinstance(declaration, dict) and "function" not in declaration and "name" in declaration:
        return 'the declaration stands bare: wrap it, {"type": "function", "function": {…}}'
    try:
        check_tools([declaration])
    except CourseError as error:
        return f"the template cannot hold this declaration: {error}"
    name = declaration["function"]["name"]
    if name in dataset.read_declarations():
        return f"{name} is one of the course's tools: take one that no row declares"
    if not (isinstance(request, str) and re.search(r"[\u0621-\u064a]", request)):
        return "write the request in Arabic letters, as a user would"
    return CORRECT


def check_weight(weight) -> str:
    """Judge ``weight(labelled, window)``, a micro-batch's share in a step's loss. Returns a str."""
    window = [10, 90, 300]
    got = [float(returned(weight, labelled, list(window))) for labelled in window]
    total = sum(window)

    def same(wanted: list[float]) -> bool:
        return all(abs(one - other) < 1e-9 for one, other in zip(got, wanted, strict=True))

    if same([n / total for n in window]):
        return CORRECT
    if same([1 / len(window)] * len(window)):
        return "that is the author's: a mean of means, in which the 10 tokens weigh as much as the 300"
    if same([1 / total] * len(window)):
        return "the loss that comes in is a mean already: dividing by all tokens alone makes it far too small"
    if same([float(n) for n in window]):
        return "that makes the sum of all losses: divide by the number of tokens in the whole window"
    if abs(sum(got) - 1) > 1e-9:
        return f"the weights of one step should add up to 1, and these add up to {sum(got):.3g}"
    return "each batch counts by its share of the window's labelled tokens"


@cache
def _requests() -> dict[str, tuple[str, ...]]:
    """Tool -> the training requests that call it."""
    found: dict[str, list[str]] = {}
    for row in dataset.load("train"):
        for call in json.loads(row["calls"]):
            found.setdefault(call["name"], []).append(row["query"])
    return {name: tuple(asked) for name, asked in found.items()}


def _words(text: str) -> set[str]:
    return set(re.findall(r"[\u0621-\u064a]{3,}", text))


def check_negative(hard_negative) -> str:
    """Judge ``hard_negative()``, (request, tool): near the tool's training requests, none of them. Returns a str."""
    given = returned(hard_negative)
    if not (isinstance(given, tuple) and len(given) == 2 and all(isinstance(part, str) for part in given)):
        return "return two texts: the request, and the name of the tool that it is near to"
    request, near = given
    if near not in _requests():
        return f"no training row calls {near[:40]!r}: name a tool that the model was trained on"
    if request.strip() in {asked.strip() for asked in _requests()[near]}:
        return f"that is a training request for {near}, word for word: the tool does what it asks"
    shared = _words(request) & set().union(*map(_words, _requests()[near]))
    if len(shared) < 2:
        return f"that is not near: it shares {len(shared)} words with the requests for {near}, and two are wanted"
    return CORRECT
