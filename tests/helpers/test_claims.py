"""The ledger whole, and cards honest."""

import hashlib
import json
import re
import string
from dataclasses import replace
from pathlib import Path

import pytest

from helpers import claims
from helpers.errors import CourseError

WINDOWS = Path(__file__).parent / "corpus" / "guide_windows.txt"
OURS = {6, 16, 18, 21, 37}  # the guide has no words for them: counted apart everywhere


def words(text: str) -> list[str]:
    """The words of a Markdown text, emphasis and marks around a word aside: a quote may end inside a sentence."""
    return [word.strip('.,;:"') for word in text.replace("*", "").split()]


def windows(text: str) -> list[str]:
    """A hash of every five words in a row."""
    found = words(text)
    return [hashlib.sha256(" ".join(found[i : i + 5]).encode()).hexdigest()[:12] for i in range(len(found) - 4)]


def test_the_ledger_holds_all_claims():
    ledger = claims.ledger()
    assert sorted(c.number for c in ledger.values()) == list(range(1, 48))
    for claim in ledger.values():
        assert claim.id.startswith(f"{claim.number:02d}-") and claim.section in range(1, 6)
        assert claim.tests and claim.sentence and claim.truth
        assert claim.settled == (claim.expect is not None)
        assert claim.verdict in claims.VERDICTS


@pytest.mark.parametrize("claim", claims.ledger().values(), ids=lambda claim: claim.id)
def test_a_quote_is_the_guides_own_words(claim):
    """Against the stored hashes of the guide's five-word windows; the test below holds those against the guide."""
    if claim.number in OURS:
        assert not claim.quote and not claim.heading and claim.ours and claim.said == "(not in the guide)"
        return
    known = set(WINDOWS.read_text(encoding="utf-8").split())
    assert claim.heading.startswith(str(claim.section)) and not claim.ours
    assert windows(claim.quote) and set(windows(claim.quote)) <= known


def test_the_stored_windows_are_those_of_the_guide(shared):
    guide = (shared / "guide.md").read_text(encoding="utf-8")
    assert set(WINDOWS.read_text(encoding="utf-8").split()) == set(windows(guide))
    for claim in claims.ledger().values():
        assert " ".join(words(claim.quote)) in " ".join(words(guide)), claim.id


def test_a_word_that_is_not_the_guides_is_found():
    known = set(WINDOWS.read_text(encoding="utf-8").split())
    sharpened = claims.ledger()["32-spike-means-alpha"].quote.replace("might be", "is")
    assert not set(windows(sharpened)) <= known


def test_what_a_card_quotes_is_plain_text():
    for claim in claims.ledger().values():
        assert not set("$*\\`") & set(claim.said), claim.said
    said = {claim.number: claim.said for claim in claims.ledger().values()}
    assert said[32] == "“If you see a massive spike, your α might be too high.”" and "W₀ ∈ ℝ^(d×k)" in said[38]
    assert said[34].endswith("Q8_0.”") and said[2] == "(the equation of section 1.A)"


def test_a_figure_that_the_sentence_needs_is_named():
    with pytest.raises(CourseError, match="24-json.*speaks of 'n'.*verdict"):
        claims.verdict("24-json-function-call", 0).shown  # noqa: B018


def test_a_measurement_inside_its_band_gets_the_ledgers_verdict():
    card = claims.verdict("24-json-function-call", 0, n=9)
    assert card.inside and card.verdict == "does not hold"
    assert "we measured:    0 of 9 parts" in repr(card) and "Claim 24" in card._repr_html_()


def test_a_measurement_outside_raises_in_ci_and_says_so_elsewhere(monkeypatch):
    with pytest.raises(CourseError, match="measured 3 of 9 parts"):
        claims.verdict("24-json-function-call", 3, n=9)
    monkeypatch.delenv("COURSE_STRICT")
    card = claims.verdict("24-json-function-call", 3, n=9)
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
    figures = {"n": 9, "stop": 50, "with_106": 0, "turns": 2}
    assert "&lt;end_of_turn&gt;" in claims.verdict("23-learn-end-of-turn", 1.0, **figures)._repr_html_()


def test_what_was_measured_is_kept_when_a_file_for_it_is_named(monkeypatch, tmp_path):
    """In the ledger's order, whatever the order of the cells; without the variable nothing is written."""
    claims.verdict("24-json-function-call", 0, n=9)
    monkeypatch.setenv("COURSE_MEASURED", str(tmp_path / "measured.json"))
    claims.verdict("24-json-function-call", 0, n=9)
    claims.verdict("20-double-quantization", 0.373, plain=4.5, double=4.127)
    told = json.loads((tmp_path / "measured.json").read_text(encoding="utf-8"))
    assert list(told) == ["20-double-quantization", "24-json-function-call"] and told[
        "24-json-function-call"
    ].startswith("0 of 9 parts")


def test_every_settled_claim_has_its_measurement():
    assert list(claims.measurements()) == [c.id for c in claims.ledger().values() if c.settled]


def test_a_damaged_file_of_measurements_is_named(monkeypatch, tmp_path):
    (tmp_path / "measured.json").write_text("{")
    monkeypatch.setattr(claims, "ASSETS", tmp_path)
    with pytest.raises(CourseError, match="measured.json cannot be read.*make notebooks"):
        claims.measurements()


ALPHA = {"row": "", "equal": "", "low": -3.5, "high": 3.4, "slow": 8.3, "slow_low": 5.0, "slow_high": 11.7} | {
    "wide": -9.7, "wide_low": -13.5, "wide_high": -6.2
}  # fmt: skip
RANKS = {"syntax": "", "exact": "", "same": 0.69, "apart": -5.2, "low": -11.4, "high": 1.0, "r1": 0.29} | {
    "new": 2.7, "new_low": 1.2, "new_high": 4.3, "new_share": 0.34, "new_same": 0.44
}  # fmt: skip
SPIKES = {"few": 28, "many": 46, "low": 4, "high": 19, "where": 23, "late": 510, "harder": 2.1} | {
    "best": 36, "most": 17, "fewer": 6, "worst": 16, "together": 0.84
}  # fmt: skip
DIALECTS = {"gaps": "", "low": -4.4, "high": 2.5, "spoken": 0.75, "standard": 0.85} | {
    "spoken_32": 0.78, "standard_32": 0.89
}  # fmt: skip


WORSE = {"low": -6.0, "high": -4.0, "mb": 292, "f16": 543}


@pytest.mark.parametrize(
    ("claim_id", "wrong", "figures"),
    [
        ("35-q4-k-m-is-4-bit", 4.5, {}),
        ("34-export-q8", -5.0, dict.fromkeys(("saved", "q4", "q4_low", "q4_high"), 0.1) | WORSE),
        ("33-rtl-flips-braces", 1, {"n": 9}),
        ("32-spike-means-alpha", -11, SPIKES),  # most where the step is too large
        ("32-spike-means-alpha", 11, SPIKES | {"low": -2}),
        ("32-spike-means-alpha", 11, SPIKES | {"together": 0.1}),
        ("23-learn-end-of-turn", 0.5, {"n": 9, "stop": 50, "with_106": 0, "turns": 2}),
        ("13-alpha-2r-signal", 6.0, ALPHA),  # α = 2r is ahead
        ("13-alpha-2r-signal", 0.0, ALPHA | {"low": 1.0}),
        ("13-alpha-2r-signal", 0.0, ALPHA | {"slow_low": -1.0}),
        ("12-r8-json-r32-arabic", 0.57, RANKS),  # what r = 4 makes
        ("12-r8-json-r32-arabic", 0.64, RANKS | {"r1": 0.6}),
        ("45-dialects", 4.0, DIALECTS),
        ("45-dialects", -0.9, DIALECTS | {"high": 6.0}),
    ],
)
def test_bands_can_fail(monkeypatch, claim_id, wrong, figures):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    sentence = claims.ledger()[claim_id].sentence
    needed = {re.split(r"[\[.]", name)[0] for _, name, _, _ in string.Formatter().parse(sentence) if name} - {"m"}
    card = claims.verdict(claim_id, wrong, **dict.fromkeys(needed, 0.1) | figures)
    assert not card.inside and card.shown


def test_what_was_measured_of_ranks_lies_in_its_bands():
    told = {
        "13-alpha-2r-signal": (0.0, ALPHA),
        "32-spike-means-alpha": (11, SPIKES),
        "12-r8-json-r32-arabic": (0.64, RANKS),
        "45-dialects": (-0.9, DIALECTS),
    }
    for claim_id, (measured, figures) in told.items():
        assert claims.verdict(claim_id, measured, **figures).inside


def test_further_figures_have_bands_of_their_own(monkeypatch):
    monkeypatch.delenv("COURSE_STRICT", raising=False)
    expect = {"value": 0, "also": {"n": [5, 20]}}
    bounded = replace(claims.ledger()["24-json-function-call"], expect=expect)
    monkeypatch.setattr(claims, "ledger", lambda: {bounded.id: bounded})
    assert claims.verdict(bounded.id, 0, n=9).inside and not claims.verdict(bounded.id, 0, n=30).inside
    with pytest.raises(CourseError, match="expects a figure 'n' → hand it"):
        claims.verdict(bounded.id, 0)


def test_the_map_shows_nothing_but_the_readers_own_cards(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_BETS", str(tmp_path / "kept" / "bets.json"))
    before = claims.agenda()
    assert len(before) == len(claims.ledger()) and set(before["your card"]) == {""}
    told = " ".join(before.drop(columns="notebook").to_csv().split())
    assert not [text for text in claims.measurements().values() if text in told]
    claims.verdict("24-json-function-call", 0, n=9)
    after = claims.agenda()["your card"]
    assert after[24].startswith("0 of 9 parts") and after[24].endswith("does not hold")
    assert sum(after != "") == 1


@pytest.mark.parametrize("content", ["{", "[]", ""])
def test_cards_that_cannot_be_read_or_kept_stop_nothing(content, monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_BETS", str(tmp_path / "bets.json"))
    (tmp_path / claims.CARDS).write_text(content, encoding="utf-8")
    assert claims.own() == {}
    monkeypatch.setenv("COURSE_BETS", str(tmp_path / claims.CARDS / "no folder" / "bets.json"))
    assert claims.verdict("24-json-function-call", 0, n=9).inside


def test_every_kind_has_its_short_name():
    assert claims.SHORT.keys() == claims.KINDS.keys()
