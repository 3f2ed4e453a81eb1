"""The ledger whole, and cards honest."""

import json
from dataclasses import replace

import pytest

from helpers import claims
from helpers.errors import CourseError


def test_the_ledger_holds_all_41_claims():
    ledger = claims.ledger()
    assert sorted(c.number for c in ledger.values()) == list(range(1, 42))
    for claim in ledger.values():
        assert (
            claim.id.startswith(f"{claim.number:02d}-") and claim.section in range(1, 6) and claim.says and claim.truth
        )
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


def test_what_was_measured_is_kept_when_a_file_for_it_is_named(monkeypatch, tmp_path):
    """In the ledger's order, whatever the order of the cells; without the variable nothing is written."""
    claims.verdict("24-json-function-call", 0)
    monkeypatch.setenv("COURSE_MEASURED", str(tmp_path / "measured.json"))
    claims.verdict("24-json-function-call", 0)
    claims.verdict("23-learn-end-of-turn", (50, 0))
    told = json.loads((tmp_path / "measured.json").read_text(encoding="utf-8"))
    assert list(told) == ["23-learn-end-of-turn", "24-json-function-call"] and told["24-json-function-call"].startswith(
        "0 of the parts"
    )


def test_every_settled_claim_has_its_measurement():
    assert list(claims.measurements()) == [c.id for c in claims.ledger().values() if c.settled]


def test_a_damaged_file_of_measurements_is_named(monkeypatch, tmp_path):
    (tmp_path / "measured.json").write_text("{")
    monkeypatch.setattr(claims, "ASSETS", tmp_path)
    with pytest.raises(CourseError, match="measured.json cannot be read.*make notebooks"):
        claims.measurements()


@pytest.mark.parametrize(
    "claim_id, wrong",
    [("35-q4-k-m-is-4-bit", 4.5), ("34-export-q8", 8.0), ("33-rtl-flips-braces", 1), ("32-spike-means-alpha", 1.0)],
)
def test_bands_of_section_5_can_fail(monkeypatch, claim_id, wrong):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    assert not claims.verdict(claim_id, wrong).inside
