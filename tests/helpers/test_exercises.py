"""Bets kept, and every exercise's check able to tell right from wrong."""

import os

import pytest
from exercise_mistakes import MISTAKES

from helpers import exercises
from helpers.checks import CORRECT
from helpers.errors import CourseError


def test_a_bet_is_kept_and_recalled(capsys):
    placed = exercises.bet("test-bet", "how many?", low=0, high=5, unit="calls")
    assert placed.guess is None
    placed.place(3)
    assert exercises.Bet("test-bet", "").guess == 3
    exercises.bet("test-bet", "how many?", low=0, high=5, guess=4)
    exercises.recap({"test-bet": 2.0, "other": "x"})
    told = capsys.readouterr().out
    assert "your bet: 4" in told and "measured: 2" in told and "none placed" in told


def test_a_bet_that_cannot_be_kept_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(os.environ, "COURSE_BETS", str(tmp_path / "file" / "bets.json"))
    with pytest.raises(CourseError, match="COURSE_BETS"):
        exercises.Bet("x", "").place(1)


def defined(source: str):
    scope = {"math": __import__("math")}
    exec(source, scope)  # our own solutions and stubs
    return next(value for name, value in scope.items() if callable(value) and name not in ("math", "__builtins__"))


@pytest.mark.parametrize("identity", sorted(exercises.bank()))
def test_solution_passes_stub_does_not_and_mistakes_are_diagnosed(identity):
    exercise = exercises.bank()[identity]
    assert exercise.judge(defined(exercise.solution)) == CORRECT
    assert exercise.judge(defined(exercise.stub)) == exercises.NOT_ATTEMPTED
    assert exercise.judge(None) == exercise.judge(...) == exercises.NOT_ATTEMPTED
    assert len(MISTAKES[identity]) >= 2
    for words, wrong in MISTAKES[identity].items():
        assert words in exercise.judge(wrong)
    assert "raised ZeroDivisionError" in exercise.judge(lambda *a: 1 / 0)
    assert exercises.markdown(identity).count("<details>") == len(exercise.hints) + 1


def test_checking_never_raises_for_an_answer_and_names_an_unknown_exercise(capsys):
    exercises.check("4.2", lambda parts: "nonsense")
    exercises.check("4.2", ...)
    assert exercises.NOT_ATTEMPTED in capsys.readouterr().out
    with pytest.raises(CourseError, match="no exercise"):
        exercises.check("9.9", 1)
