"""Bets and self-checks. A bet is kept in a small file, so that a recap in another kernel can read it; nothing is sent.

The exercises' texts (prompt, hints, solution) are in ``assets/exercises``, what judges an answer in ``helpers.checks``.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import yaml

from .checks import CORRECT, NotAttempted
from .errors import CourseError
from .paths import ASSETS, cache_folder, set_aside


def _file() -> Path:
    return Path(os.environ.get("COURSE_BETS") or cache_folder() / "bets.json")


def _kept() -> dict:
    """The bets so far, id -> guess. A file that holds none is set aside, so that the next bet does not overwrite it."""
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CourseError(
            f"the bets in {_file().name} cannot be read: {error.strerror}",
            "set COURSE_BETS to a file that can be read and written",
        ) from None
    except (ValueError, RecursionError):
        kept = None
    if isinstance(kept, dict):
        return kept
    set_aside(_file(), f"{_file().name}.damaged")
    return {}


@dataclass(frozen=True)
class Bet:
    """A prediction: its id, its question, and ``guess`` (None while the reader has not committed)."""

    id: str
    question: str
    unit: str = ""

    @property
    def guess(self):
        """The stored guess, or None when there is none."""
        return _kept().get(self.id)

    def place(self, guess) -> None:
        """Store a guess; a later one replaces it. Raises CourseError when the file of bets cannot be written."""
        kept = _kept() | {self.id: guess}
        try:
            _file().parent.mkdir(parents=True, exist_ok=True)
            temporary = _file().with_suffix(".tmp")
            temporary.write_text(json.dumps(kept, ensure_ascii=False), encoding="utf-8")
            os.replace(temporary, _file())
        except OSError as error:
            raise CourseError(
                f"the bet cannot be kept in {_file().name}: {error.strerror}",
                "set COURSE_BETS to a file that can be written",
            ) from None

    def __repr__(self) -> str:
        return f"{self.question}  [{self.unit}]" if self.unit else self.question


def bet(
    bet_id: str,
    question: str,
    options: list[str] | None = None,
    low=None,
    high=None,
    step=None,
    unit: str = "",
    guess=None,
) -> Bet:
    """Ask for a prediction: radio buttons for ``options``, a slider from ``low`` to ``high``, or ``guess=`` in a cell.

    Widgets appear where ``COURSE_WIDGETS`` is not 0; without them the question and what may be answered are printed.
    """
    placed = Bet(bet_id, question, unit)
    if guess is not None:
        placed.place(guess)
    choices = " / ".join(options) if options else f"{low} to {high} {unit}".strip()
    print(f"Your bet: {question}\n  {choices}\n  Choose below, or write guess=… into this cell and run it again.")
    if os.environ.get("COURSE_WIDGETS", "1") != "0":
        _widget(placed, options, low, high, step)
    return placed


UNSET = "not placed"  # where a slider starts: no answer suggests itself


def _widget(placed: Bet, options, low, high, step) -> None:
    try:
        import ipywidgets
        from IPython.display import display
    except ImportError:
        return
    if options:
        control = ipywidgets.RadioButtons(options=options, value=placed.guess if placed.guess in options else None)
    else:
        step = step or (high - low) / 20
        values = [round(low + i * step, 10) for i in range(round((high - low) / step) + 1)]
        named = [(UNSET, UNSET), *((f"{value:g}", value) for value in values)]
        known = placed.guess if placed.guess in values else UNSET
        control = ipywidgets.SelectionSlider(options=named, value=known, continuous_update=False)

    def keep(change):
        if change["new"] != UNSET:
            placed.place(change["new"])

    control.observe(keep, names="value")
    display(control)


def recap(results: dict) -> None:
    """Print each bet beside what was measured, and how far off it was.

    ``results`` maps a bet's id to the measured number, or to its words; of words that begin with a number, the number
    is compared with a bet that is one. A function is called for it: one that fails for a name that is not there
    belongs to a section that was left out, and that is said.
    """
    kept = _kept()
    for bet_id, measured in results.items():
        line = f"{bet_id:<24} your bet: {kept.get(bet_id, 'none placed'):<16}"
        try:
            measured = measured() if callable(measured) else measured
        except NameError:
            print(f"{line} its section was left out")
            continue
        line += f" measured: {measured:.3g}" if isinstance(measured, float) else f" measured: {measured}"
        print(f"{line}  ({_distance(kept[bet_id], measured)})" if bet_id in kept else line)


def _distance(guess, measured) -> str:
    number = re.match(r"[-+]?\d+(?:\.\d+)?(?:e-?\d+)?", str(measured).replace("−", "-"))
    try:
        mine = float(guess)  # an option may be a number in words: "3"
    except ValueError:
        mine = None
    if (isinstance(guess, str) and guess == str(measured)) or mine is None or not number:
        return "as you bet" if str(guess) == str(measured) else "not as you bet"
    return f"off by {abs(mine - float(number.group())):.3g}"


# --- exercises --------------------------------------------------------------------------------------------------------

NOT_ATTEMPTED = "not attempted yet"


@dataclass(frozen=True)
class Exercise:
    """``check`` takes the answer, a function, and returns ``CORRECT`` or a diagnosis."""

    id: str
    title: str
    stars: int
    minutes: int
    prompt: str
    hints: tuple[str, ...]
    solution: str
    stub: str
    check: Callable

    @property
    def function(self) -> str:
        """The name of the function that its stub defines."""
        return self.stub.removeprefix("def ").split("(")[0]

    def judge(self, answer) -> str:
        """The check's words; an untouched stub is "not attempted yet", an answer that fails says how."""
        if answer is None or answer is Ellipsis:
            return NOT_ATTEMPTED
        if not callable(answer):
            return f"give the function itself: check({self.id!r}, {self.function})"
        try:
            return self.check(answer)
        except NotAttempted:
            return NOT_ATTEMPTED
        except Exception as error:  # an answer may fail in any way; the reader is told which
            if _is_stub(answer):
                return NOT_ATTEMPTED
            return f"your answer raised {type(error).__name__}: {error}"


def _is_stub(answer) -> bool:
    code = getattr(answer, "__code__", None)
    return code is not None and set(code.co_consts) <= {None, Ellipsis} and not code.co_names


@cache
def bank() -> dict[str, Exercise]:
    """Every exercise by its number, in the course's order."""
    read = {}
    for path in sorted((ASSETS / "exercises").glob("*.yaml")):
        checks = import_module(f".checks.notebook_{path.stem}", __package__)
        for number, entry in yaml.safe_load(path.read_text(encoding="utf-8")).items():
            entry |= {"hints": tuple(entry["hints"]), "check": getattr(checks, entry["check"])}
            read[number] = Exercise(id=number, **entry)
    return read


def markdown(exercise_id: str) -> str:
    """The exercise as a notebook's markdown cell: prompt, graded hints and the solution, folded."""
    exercise = bank()[exercise_id]
    stars = "★" * exercise.stars + "☆" * (3 - exercise.stars)
    hints = [
        f"<details><summary>Hint {i}</summary>\n\n{hint}\n\n</details>" for i, hint in enumerate(exercise.hints, 1)
    ]
    solution = f"<details><summary>Solution</summary>\n\n```python\n{exercise.solution}\n```\n\n</details>"
    head = f"**Exercise {exercise_id} · {exercise.title}** ({stars}, {exercise.minutes} minutes)\n\n{exercise.prompt}"
    return "\n\n".join([head, *hints, solution])


def check(exercise_id: str, answer) -> None:
    """Print the verdict on an answer (a function); a wrong or missing answer prints, too, and does not raise.

    Raises CourseError for an unknown exercise id.
    """
    if exercise_id not in bank():
        raise CourseError(f"there is no exercise {exercise_id!r}", f"use one of {', '.join(bank())}")
    print(f"Exercise {exercise_id}: {bank()[exercise_id].judge(answer)}")


def solved(exercise_id: str, answer) -> bool:
    """Whether an answer (a function) is right, so that a cell may go on and use it. Prints nothing, raises nothing."""
    return bank()[exercise_id].judge(answer) == CORRECT
