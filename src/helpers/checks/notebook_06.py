"""How the exercises of notebook 06 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

import itertools
import json

from ..calls import FunctionCall
from ..errors import CourseError
from ..paths import ASSETS
from ..scoring import wilson
from ..yours import examples
from . import CORRECT, returned

STUDIO = ASSETS / "own_example"


def check_my_requests(my_requests) -> str:
    """Judge ``my_requests()``, pairs of a request and a call for the studio's functions. Returns a str."""
    given = returned(my_requests)
    if not isinstance(given, list) or not all(isinstance(pair, tuple) and len(pair) == 2 for pair in given):
        return "that is no list of pairs: [(request, call), …]"
    known = {one.request for one in examples.read(STUDIO / "requests.csv")}
    if taken := [request for request, _ in given if request in known]:
        return f"the studio's list has {taken[0]!r}: use words of your own"
    try:
        examples.check(examples.read(given), json.loads((STUDIO / "tools.json").read_text(encoding="utf-8")), least=5)
    except CourseError as error:
        return str(error).splitlines()[0]
    return CORRECT


def check_guard(guard) -> str:
    """Judge ``guard(call)``, a reason why a call must not run or "". Returns a str, also what a CourseError says."""

    def says(name: str, **arguments) -> bool:
        told = guard(FunctionCall(name, arguments))
        if told is None:
            raise CourseError("guard returns nothing for some call", "return an empty string where it may run")
        if not isinstance(told, str):
            raise CourseError(f"guard returns a {type(told).__name__}", "a reason in words, or an empty string")
        return bool(told.strip())

    returned(guard, FunctionCall("fire_kiln", {"pieces": 2, "degrees": 5000}))  # a stub says nothing even of this
    try:
        if says("order_clay", kilos=5000, color="red") or says("book_wheel", hours=3000, day="الأحد"):
            return "clay and wheels may run: only the kiln is guarded"
        if not says("fire_kiln", pieces=2, degrees=5000) or not says("fire_kiln", pieces=2, degrees=1281):
            return "the kiln fires at 1,280 degrees at most"
        if says("fire_kiln", pieces=20, degrees=1280) or says("fire_kiln", pieces=40, degrees=1200):
            return "at most means that the bound itself may run: 20 pieces at 1,280 degrees, 40 at 1,200"
        if not says("fire_kiln", pieces=41, degrees=900):
            return "the kiln holds 40 pieces"
        if not says("fire_kiln", pieces=21, degrees=1201):
            return "above 1,200 degrees it holds 20 pieces: the bound on one argument depends on the other"
    except CourseError as error:
        return str(error)
    return CORRECT


def check_requests_needed(requests_needed) -> str:
    """Judge ``requests_needed(right, floor)``, a number of requests. Returns a str."""
    cases = [(0.9, 0.8), (0.75, 0.5), (1.0, 0.9)]
    got = [returned(requests_needed, *case) for case in cases]
    want = [next(n for n in itertools.count(1) if wilson(round(r * n), n)[0] > floor) for r, floor in cases]
    if got == want:
        return CORRECT
    if all(mine < right for mine, right in zip(got, want, strict=True)):
        return "so few would not do: it is the interval's lower end that has to lie above the floor, not the share"
    if all(mine > right for mine, right in zip(got, want, strict=True)):
        return "fewer are enough: try every n from 1 on, and stop at the first whose interval lies above the floor"
    return f"for {cases} it is {want}; yours is {got}"
