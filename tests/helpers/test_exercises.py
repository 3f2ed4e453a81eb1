"""Bets kept and recalled, and answers checked without an exception; the checks themselves: test_checks."""

import importlib
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
    assert "your bet: 4" in told and "measured: 2" in told and "none placed" in told and "(off by 2)" in told


@pytest.mark.parametrize(("guess", "measured", "said"), [
    (60, "62.6%", "(off by 2.6)"), (0.25, 0.373, "(off by 0.123)"), (-1.5, "−2.0 dB", "(off by 0.5)"),
    ("B @ A", "B @ A", "(as you bet)"), ("256", 256, "(as you bet)"), ("3", 0, "(off by 3)"),
    ("A", "both", "(not as you bet)"),
])  # fmt: skip
def test_a_recap_says_how_far_off_a_bet_was(guess, measured, said, capsys):
    exercises.Bet("far", "").place(guess)
    exercises.recap({"far": measured})
    assert said in capsys.readouterr().out


def test_a_recap_goes_on_past_a_section_that_was_left_out(capsys):
    exercises.recap({"there": lambda: 7, "gone": lambda: left_out_section, "after": 1.0})  # noqa: F821
    told = capsys.readouterr().out.splitlines()
    assert "measured: 7" in told[0] and "its section was left out" in told[1] and "measured: 1" in told[2]


def test_a_slider_starts_unset_and_keeps_nothing_until_it_is_moved(monkeypatch):
    display = importlib.import_module("IPython.display")

    shown = []
    monkeypatch.setenv("COURSE_WIDGETS", "1")
    monkeypatch.setattr(display, "display", shown.append)
    placed = exercises.bet("unset", "how many?", low=0.0, high=0.6, step=0.05)
    (slider,) = shown
    assert slider.value == "not placed" and placed.guess is None
    slider.value = 0.35
    assert placed.guess == 0.35
    exercises.bet("unset", "how many?", low=0.0, high=0.6, step=0.05)
    assert shown[1].value == 0.35


@pytest.mark.parametrize("content", [b"{", b"", b"[1, 2]", b"\xff\xfe", b"null", b"[" * 100_000])
def test_a_damaged_file_of_bets_is_set_aside_and_said(content, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(os.environ, "COURSE_BETS", str(tmp_path / "bets.json"))
    for count in (1, 2):  # the second does not replace the first
        (tmp_path / "bets.json").write_bytes(content)
        assert exercises.Bet("x", "").guess is None
        aside = "bets.json.damaged" if count == 1 else "bets.json.damaged-2"
        assert capsys.readouterr().out == f"bets.json is damaged → kept as {aside}\n"
        exercises.Bet("x", "").place(1)
        assert exercises.Bet("x", "").guess == 1 and (tmp_path / aside).read_bytes() == content
    assert not capsys.readouterr().out


@pytest.mark.parametrize("error", [PermissionError(13, "Permission denied"), OSError(5, "Input/output error")])
def test_bets_that_cannot_be_read_are_no_damaged_bets(error, monkeypatch, tmp_path):
    from pathlib import Path

    def fail(self, *args, **kwargs):
        raise error

    (tmp_path / "bets.json").write_text('{"x": 1}')
    monkeypatch.setitem(os.environ, "COURSE_BETS", str(tmp_path / "bets.json"))
    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(CourseError, match=f"bets in bets.json cannot be read: {error.strerror} → set COURSE_BETS"):
        exercises.Bet("x", "").place(2)
    monkeypatch.undo()
    assert (tmp_path / "bets.json").read_text() == '{"x": 1}'


def test_a_bet_that_cannot_be_kept_is_named(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setitem(os.environ, "COURSE_BETS", str(tmp_path / "file" / "bets.json"))
    with pytest.raises(CourseError, match="COURSE_BETS"):
        exercises.Bet("x", "").place(1)


def test_checking_never_raises_for_an_answer_and_names_an_unknown_exercise(capsys):
    exercises.check("4.2", lambda parts: "nonsense")
    exercises.check("4.2", ...)
    assert exercises.NOT_ATTEMPTED in capsys.readouterr().out
    assert not exercises.solved("4.2", lambda parts: "nonsense") and not exercises.solved("4.2", lambda: 1 / 0)
    names: dict = {}
    right = exercises.bank()["1.2"]
    exec(right.solution, names)
    assert exercises.solved("1.2", names[right.function])
    with pytest.raises(CourseError, match="no exercise"):
        exercises.check("9.9", 1)
