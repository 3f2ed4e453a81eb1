"""The ledger of the guide's claims and the verdict cards drawn from it.

``assets/claims.yaml`` holds for each claim: number, section, the guide's words under their heading (or why we ask what
it does not say), what we test, the truth, what a measurement must be (``expect``: a ``band`` [low, high] or an exact
``value``, per model where they differ; ``also``: bands of further figures, by name), the sentence that its card says,
the verdict, and the notebook.
``verdict`` keeps what the reader's own cards say, from notebook to notebook (``own``): notebook 00's map shows nothing
else. ``assets/measured.json`` holds the sentences of the stored notebooks' cards, claim by claim: ``verdict`` writes it
where COURSE_MEASURED names a file, as ``scripts.publish`` does when notebooks are stored. README and the pages read it.
"""

from __future__ import annotations

import html
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

from .errors import CourseError
from .paths import ASSETS, ROOT, readers_file

VERDICTS = ("holds", "holds with corrections", "misleading", "does not hold", "open")
_MARKS = {"holds": "✓", "holds with corrections": "✓*", "misleading": "!", "does not hold": "✗", "open": "?"}
_COLOURS = {  # Okabe-Ito; the mark and the words say the same without colour
    "holds": "#009E73",
    "holds with corrections": "#56B4E9",
    "misleading": "#E69F00",
    "does not hold": "#D55E00",
    "open": "#999999",
}
CARDS = "cards.json"  # the reader's own measurements, beside their bets

#: Where a claim's number comes from, in words.
KINDS = {
    "measured": "measured here",
    "stored": "stored result, recomputed",
    "identity": "true by construction: no evidence for or against",
}
#: The same in two words, for a table.
SHORT = {"measured": "measured by you", "stored": "stored result", "identity": "identity"}
_MATH = (
    (r"\\Delta +", "Δ"), (r"\\frac\{\\alpha\}\{r\}", "α/r"), (r"\\alpha", "α"), (r"\\times", "×"), (r"\\in\b", "∈"),
    (r"\\mathbb\{R\}\^\{(\w+) × (\w+)\}", r"ℝ^(\1×\2)"), (r"\^2", "²"), (r"(?<=W)_0", "₀"), (r"[$*`]", ""),
)  # fmt: skip


def plain(text: str) -> str:
    """Markdown as plain text: small formulas in letters, without emphasis and marks of code."""
    for pattern, letters in _MATH:
        text = re.sub(pattern, letters, text)
    return text.strip()


@dataclass(frozen=True)
class Claim:
    """An entry of the ledger. ``settled`` is False while no notebook measures it.

    ``quote`` is the guide's own words, Markdown and all, under ``heading``; without them ``ours`` says why we ask.
    """

    id: str
    number: int
    section: int
    tests: str
    sentence: str
    truth: str
    verdict: str
    notebook: str
    kind: str = "measured"
    heading: str = ""
    quote: str = ""
    ours: str = ""
    settled: bool = False
    expect: dict | None = None

    @property
    def said(self) -> str:
        """What the guide says, as plain text; for an equation where it stands, and "not in the guide" for nothing."""
        if not self.quote:
            return "(not in the guide)"
        if self.quote.startswith("$$"):
            return f"(the equation of section {self.heading})"
        return f"“{plain(self.quote)}”"


@dataclass(frozen=True)
class Card:
    """What a verdict cell shows: the guide says · we test · we measured · verdict."""

    claim: Claim
    measured: object
    inside: bool
    figures: dict

    @property
    def shown(self) -> str:
        """The measurement as a sentence. Raises CourseError when a figure of the sentence was not handed over."""
        try:
            return self.claim.sentence.format(m=self.measured, **self.figures)
        except KeyError as missing:
            raise CourseError(
                f"claim {self.claim.id}: its sentence speaks of {missing}", "hand it to verdict() by that name"
            ) from None

    @property
    def verdict(self) -> str:
        """The claim's verdict, or a warning when the measurement lies outside the expected band."""
        return self.claim.verdict if self.inside else "outside its band: this run does not support the ledger"

    def _rows(self, mark: str = "") -> list[tuple[str, str]]:
        c = self.claim
        asked = [] if c.quote else [("why we ask", c.ours)]
        rows = [("the guide says", c.said), *asked, ("we test", c.tests), ("we measured", self.shown)]
        return [*rows, ("verdict", f"{mark}{self.verdict}")]

    def _title(self) -> str:
        place = f"section {self.claim.heading}" if self.claim.heading else f"beside section {self.claim.section}"
        return f"Claim {self.claim.number} · {place} · {KINDS[self.claim.kind]}"

    def __repr__(self) -> str:
        rows = "\n".join(f"  {name + ':':<16}{text}" for name, text in self._rows())
        return f"{self._title()}\n{rows}\n  {self.claim.truth}"

    def _repr_html_(self) -> str:
        c = self.claim
        colour, mark = (_COLOURS[c.verdict], _MARKS[c.verdict]) if self.inside else ("#CC79A7", "‼")
        cells = "".join(
            '<div style="display:flex;gap:1em">'
            f'<span style="min-width:8em;opacity:.75">{name}</span><strong>{html.escape(text)}</strong></div>'
            for name, text in self._rows(f"{mark} ")
        )
        return (
            f'<div style="border-left:6px solid {colour};padding:.6em 1em;margin:.5em 0;'
            'color:var(--jp-content-font-color0,inherit)">'
            f'<div style="opacity:.75">{html.escape(self._title())}</div>{cells}'
            f'<div style="margin-top:.4em">{html.escape(c.truth)}</div></div>'
        )


@cache
def ledger() -> dict[str, Claim]:
    """Every claim by id, in the guide's order. Raises CourseError for a malformed entry."""
    entries = yaml.safe_load((ASSETS / "claims.yaml").read_text(encoding="utf-8"))
    claims = {entry["id"]: Claim(**entry) for entry in entries}
    for claim in claims.values():
        if claim.verdict not in VERDICTS:
            raise CourseError(
                f"claim {claim.id}: unknown verdict {claim.verdict!r}", f"use one of {', '.join(VERDICTS)}"
            )
        if claim.kind not in KINDS:
            raise CourseError(f"claim {claim.id}: unknown kind {claim.kind!r}", f"use one of {', '.join(KINDS)}")
    return claims


def of_the_guide() -> int:
    """How many claims are the guide's own; the others are questions of ours beside it."""
    return sum(bool(claim.quote) for claim in ledger().values())


def verdict(claim_id: str, measured, model: str | None = None, **figures) -> Card:
    """Confront a measurement with the ledger.

    Parameters
    ----------
    measured : a number, or a value to be met exactly (bool, str, tuple of ints)
    model : the checkpoint's name, for claims whose expectation differs by model
    figures : what the card's sentence speaks of beside the measurement

    Raises
    ------
    CourseError : unknown claim, a figure missing; under ``COURSE_STRICT=1`` also a measurement outside its band.
    """
    if claim_id not in ledger():
        raise CourseError(f"there is no claim {claim_id!r} in assets/claims.yaml", "see helpers.claims.ledger()")
    claim = ledger()[claim_id]
    card = Card(claim, measured, _inside(claim, measured, model, figures), figures)
    if target := os.environ.get("COURSE_MEASURED"):
        _note(Path(target), claim_id, card.shown)
    _keep(card)
    if not card.inside and os.environ.get("COURSE_STRICT") == "1":
        raise CourseError(
            f"claim {claim_id}: measured {card.shown}, expected {claim.expect}", "find out which of the two is wrong"
        )
    return card


def _keep(card: Card) -> None:
    """Put a card's measurement and verdict into the reader's own file."""
    try:
        readers_file(CARDS).parent.mkdir(parents=True, exist_ok=True)
        kept = own() | {card.claim.id: {"measured": card.shown, "verdict": card.verdict}}
        readers_file(CARDS).write_text(json.dumps(kept, ensure_ascii=False, indent=1), encoding="utf-8")
    except OSError:
        pass  # the card is on the screen: a map without it is no reason to stop


def own() -> dict[str, dict]:
    """Claim id -> measurement and verdict of the reader's own cards; empty while there is none, or none can be read."""
    try:
        kept = json.loads(readers_file(CARDS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}


def _note(path: Path, claim_id: str, shown: str) -> None:
    """Put a card's measurement into a file of them, in the ledger's order."""
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told[claim_id] = shown
    ordered = {name: told[name] for name in ledger() if name in told}
    path.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _inside(claim: Claim, measured, model: str | None, figures: dict) -> bool:
    expect = claim.expect
    if expect is not None and "by_model" in expect:
        expect = expect["by_model"].get(model or "", expect["by_model"].get("default"))
    if expect is None:
        raise CourseError(
            f"claim {claim.id} has no expectation in the ledger yet", "add expect: {band: […]} or {value: …}"
        )
    for name, (low, high) in expect.get("also", {}).items():
        if name not in figures:
            raise CourseError(f"claim {claim.id} expects a figure {name!r}", "hand it to verdict() by that name")
        if not low <= figures[name] <= high:
            return False
    if "band" in expect:
        low, high = expect["band"]
        return bool(low <= measured <= high)
    wanted = expect["value"]
    return (list(measured) if isinstance(measured, tuple) else measured) == wanted


def measurements() -> dict[str, str]:
    """Claim id -> what its card says in the stored notebook. Raises CourseError when the file is missing or damaged."""
    try:
        return json.loads((ASSETS / "measured.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CourseError(
            "assets/measured.json cannot be read",
            "restore it with git checkout, or store the notebooks: make notebooks",
        ) from None


def table(section: int | None = None):
    """The ledger as a pandas.DataFrame, a claim a row; unsettled ones say so.

    Columns: section, the guide says, we test, we measured, verdict, notebook.
    """
    import pandas

    chosen, measured = [c for c in ledger().values() if section is None or c.section == section], measurements()
    return pandas.DataFrame(
        {
            "section": [c.section for c in chosen],
            "the guide says": [c.said for c in chosen],
            "we test": [c.tests for c in chosen],
            "we measured": [measured.get(c.id, "") for c in chosen],
            "verdict": [c.verdict if c.settled else "not settled yet" for c in chosen],
            "notebook": [c.notebook for c in chosen],
        },
        index=[c.number for c in chosen],
    )


def agenda():
    """What there is to settle, as a pandas.DataFrame, a claim a row: nothing measured but by the reader's own cards.

    Columns: the guide says, we test, settled by, notebook, your card. ``settled by``: the first words of ``KINDS``.
    """
    import pandas

    chosen, done = list(ledger().values()), own()
    cards = [done.get(c.id) for c in chosen]
    return pandas.DataFrame(
        {
            "the guide says": [c.said for c in chosen],
            "we test": [c.tests for c in chosen],
            "settled by": [SHORT[c.kind] for c in chosen],
            "notebook": [c.notebook for c in chosen],
            "your card": [f"{card['measured']} → {card['verdict']}" if card else "" for card in cards],
        },
        index=[c.number for c in chosen],
    )


def link(notebook: str) -> str:
    """A notebook's name as an HTML link to it from its neighbours; the bare name while it is not there."""
    name = html.escape(notebook)
    return f'<a href="{name}.ipynb">{name}</a>' if (ROOT / "notebooks" / f"{notebook}.ipynb").exists() else name
