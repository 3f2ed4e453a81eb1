"""Bets kept and recalled, and answers checked without an exception; the checks themselves: test_checks."""

import os

import pytest

from helpers import exercises
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


def test_checking_never_raises_for_an_answer_and_names_an_unknown_exercise(capsys):
    exercises.check("4.2", lambda parts: "nonsense")
    exercises.check("4.2", ...)
    assert exercises.NOT_ATTEMPTED in capsys.readouterr().out
    with pytest.raises(CourseError, match="no exercise"):
        exercises.check("9.9", 1)
