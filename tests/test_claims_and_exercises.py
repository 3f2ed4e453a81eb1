"""The ledger whole, cards honest, bets kept, and every exercise's check able to tell right from wrong."""

import os
from dataclasses import replace

import pytest

from helpers import claims, exercises
from helpers.errors import CourseError
from helpers.exercise_bank import CORRECT, EXERCISES, NOT_ATTEMPTED, markdown


def test_the_ledger_holds_all_41_claims():
    ledger = claims.ledger()
    assert sorted(c.number for c in ledger.values()) == list(range(1, 42))
    for claim in ledger.values():
        assert claim.id.startswith(f"{claim.number:02d}-") and claim.section in range(1, 6) and claim.says and claim.truth
        assert claim.settled == (claim.expect is not None)
        assert claim.verdict in claims.VERDICTS


def test_a_measurement_inside_its_band_gets_the_ledgers_verdict():
    card = claims.verdict("24-json-function-call", 0)
    assert card.inside and card.verdict == "does not hold"
    assert "we measured:    0 of the parts" in repr(card) and "Claim 24" in card._repr_html_()


def test_a_measurement_outside_raises_in_ci_and_says_so_elsewhere(monkeypatch):
    with pytest.raises(CourseError, match="measured 3 of the parts"):
        claims.verdict("24-json-function-call", 3)
    monkeypatch.delenv("COURSE_STRICT")
    card = claims.verdict("24-json-function-call", 3)
    assert not card.inside and "outside its band" in repr(card) and "does not hold" not in card.verdict
    assert not claims.verdict("26-prompt-labels-masked", float("nan")).inside


def test_unknown_and_unsettled_claims_are_named(monkeypatch):
    with pytest.raises(CourseError, match="no claim '99-x'"):
        claims.verdict("99-x", 1)
    with pytest.raises(CourseError, match="no expectation"):
        unsettled = replace(claims.ledger()["37-fp16-on-t4"], settled=False, expect=None)
        monkeypatch.setattr(claims, "ledger", lambda: {unsettled.id: unsettled})
        claims.verdict("37-fp16-on-t4", 1)
    assert "not settled yet" in set(claims.table()["verdict"])


def test_cards_escape_what_they_show():
    assert "&lt;end_of_turn&gt;" in claims.verdict("23-learn-end-of-turn", (50, 0))._repr_html_()


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


@pytest.mark.parametrize("identity", sorted(EXERCISES))
def test_solution_passes_stub_does_not_and_mistakes_are_diagnosed(identity):
    exercise = EXERCISES[identity]
    assert exercise.judge(defined(exercise.solution)) == CORRECT
    assert exercise.judge(defined(exercise.stub)) == NOT_ATTEMPTED
    assert exercise.judge(None) == exercise.judge(...) == NOT_ATTEMPTED
    assert len(exercise.mistakes) >= 2
    for words, wrong in exercise.mistakes.items():
        assert words in exercise.judge(wrong)
    assert "raised ZeroDivisionError" in exercise.judge(lambda *a: 1 / 0)
    assert markdown(identity).count("<details>") == len(exercise.hints) + 1


def test_checking_never_raises_for_an_answer_and_names_an_unknown_exercise(capsys):
    exercises.check("4.2", lambda parts: "nonsense")
    exercises.check("4.2", ...)
    assert NOT_ATTEMPTED in capsys.readouterr().out
    with pytest.raises(CourseError, match="no exercise"):
        exercises.check("9.9", 1)
