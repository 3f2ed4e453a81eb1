"""The ledger of the guide's claims and the verdict cards drawn from it.

``assets/claims.yaml`` holds for each claim: number, section, the guide's words, the truth, what a measurement must be
(``expect``: a ``band`` [low, high] or an exact ``value``, per model where they differ), the verdict, and the notebook.
``python -m helpers.claims`` writes the ledger's table into README.md; its numbers are those of the stored notebooks' cards.
"""

from __future__ import annotations

import html
import os
import re
from dataclasses import dataclass
from functools import cache

import yaml

from .errors import CourseError
from .paths import ASSETS, ROOT

VERDICTS = ("holds", "holds with corrections", "misleading", "does not hold", "open")
_MARKS = {"holds": "✓", "holds with corrections": "✓*", "misleading": "!", "does not hold": "✗", "open": "?"}
_COLOURS = {  # Okabe-Ito; the mark and the words say the same without colour
    "holds": "#009E73", "holds with corrections": "#56B4E9", "misleading": "#E69F00", "does not hold": "#D55E00", "open": "#999999",
}  # fmt: skip


@dataclass(frozen=True)
class Claim:
    """An entry of the ledger. ``settled`` is False while no notebook measures it."""

    id: str
    number: int
    section: int
    says: str
    truth: str
    verdict: str
    notebook: str
    settled: bool = False
    expect: dict | None = None
    unit: str = ""


@dataclass(frozen=True)
class Card:
    """What a verdict cell shows: the guide says · we measured · verdict."""

    claim: Claim
    measured: object
    inside: bool

    @property
    def shown(self) -> str:
        """The measurement in words."""
        value = self.measured
        text = f"{value:.4g}" if isinstance(value, float) else str(value)
        return f"{text} {self.claim.unit}".strip()

    @property
    def verdict(self) -> str:
        return self.claim.verdict if self.inside else "outside its band: this run does not support the ledger"

    def __repr__(self) -> str:
        c = self.claim
        return f"Claim {c.number}, section {c.section}\n  the guide says: {c.says}\n  we measured:    {self.shown}\n  verdict:        {self.verdict}\n  {c.truth}"

    def _repr_html_(self) -> str:
        c = self.claim
        colour, mark = (_COLOURS[c.verdict], _MARKS[c.verdict]) if self.inside else ("#CC79A7", "‼")
        rows = [("the guide says", c.says), ("we measured", self.shown), ("verdict", f"{mark} {self.verdict}")]
        cells = "".join(
            f'<div style="display:flex;gap:1em"><span style="min-width:8em;opacity:.75">{name}</span><strong>{html.escape(text)}</strong></div>'
            for name, text in rows
        )
        return (
            f'<div style="border-left:6px solid {colour};padding:.6em 1em;margin:.5em 0;color:var(--jp-content-font-color0,inherit)">'
            f'<div style="opacity:.75">Claim {c.number} · section {c.section}</div>{cells}'
            f'<div style="margin-top:.4em">{html.escape(c.truth)}</div></div>'
        )


@cache
def ledger() -> dict[str, Claim]:
    """Every claim by id, in the guide's order. Raises CourseError for a malformed entry."""
    entries = yaml.safe_load((ASSETS / "claims.yaml").read_text(encoding="utf-8"))
    claims = {entry["id"]: Claim(**entry) for entry in entries}
    for claim in claims.values():
        if claim.verdict not in VERDICTS:
            raise CourseError(f"claim {claim.id}: unknown verdict {claim.verdict!r}", f"use one of {', '.join(VERDICTS)}")
    return claims


def verdict(claim_id: str, measured, model: str | None = None) -> Card:
    """Confront a measurement with the ledger.

    Parameters
    ----------
    measured : a number, or a value to be met exactly (bool, str, tuple of ints)
    model : the checkpoint's name, for claims whose expectation differs by model

    Raises
    ------
    CourseError : unknown claim; under ``COURSE_STRICT=1`` also a measurement outside its band.
    """
    if claim_id not in ledger():
        raise CourseError(f"there is no claim {claim_id!r} in assets/claims.yaml", "see helpers.claims.ledger()")
    claim = ledger()[claim_id]
    card = Card(claim, measured, _inside(claim, measured, model))
    if not card.inside and os.environ.get("COURSE_STRICT") == "1":
        raise CourseError(f"claim {claim_id}: measured {card.shown}, expected {claim.expect}", "find out which of the two is wrong")
    return card


def _inside(claim: Claim, measured, model: str | None) -> bool:
    expect = claim.expect
    if expect is not None and "by_model" in expect:
        expect = expect["by_model"].get(model or "", expect["by_model"].get("default"))
    if expect is None:
        raise CourseError(f"claim {claim.id} has no expectation in the ledger yet", "add expect: {band: […]} or {value: …}")
    if "band" in expect:
        low, high = expect["band"]
        return bool(low <= measured <= high)
    wanted = expect["value"]
    return (list(measured) if isinstance(measured, tuple) else measured) == wanted


def measured(claim: Claim) -> str:
    """What the claim's card says in the stored notebook; empty while the claim is not settled there."""
    from . import outline

    path = outline.NOTEBOOKS / f"{claim.notebook}.ipynb"
    for cell in outline.book(path).cells("code") if claim.settled and path.exists() else ():
        if f'verdict("{claim.id}"' in cell.source and (told := re.search(r"we measured: +(.+)", cell.text)):
            return told.group(1).strip()
    return ""


def table(section: int | None = None):
    """The ledger as a pandas.DataFrame: section, claim, what was measured, verdict, notebook; unsettled ones say so."""
    import pandas

    chosen = [c for c in ledger().values() if section is None or c.section == section]
    return pandas.DataFrame(
        {
            "section": [c.section for c in chosen],
            "the guide says": [c.says for c in chosen],
            "we measured": [measured(c) for c in chosen],
            "verdict": [c.verdict if c.settled else "not settled yet" for c in chosen],
            "notebook": [c.notebook for c in chosen],
        },
        index=[c.number for c in chosen],
    )


def link(notebook: str) -> str:
    """A notebook's name as an HTML link to it from its neighbours; the bare name while it is not there."""
    from . import outline

    name = html.escape(notebook)
    return f'<a href="{name}.ipynb">{name}</a>' if (outline.NOTEBOOKS / f"{notebook}.ipynb").exists() else name


def markdown() -> str:
    """``table()`` as Markdown, with a link to each notebook that is there, and a line that counts the verdicts."""
    from . import outline
    from .generated import markdown_table, plain

    whole = table()
    rows = []
    for number, row in whole.iterrows():
        there = (outline.NOTEBOOKS / f"{row['notebook']}.ipynb").exists()
        link = f"[{row['notebook'][:2]}](notebooks/{row['notebook']}.ipynb)" if there else row["notebook"][:2]
        rows.append([number, plain(row["the guide says"]), plain(row["we measured"]) or "–", row["verdict"], link])
    counts = whole["verdict"].value_counts()
    told = ", ".join(f"{counts[name]} {name}" for name in (*VERDICTS, "not settled yet") if name in counts)
    return f"{len(whole)} claims: {told}.\n\n{markdown_table(['', 'the guide says', 'we measured', 'verdict', 'notebook'], rows, 'rlllr')}"


def main() -> None:
    from .generated import replaced

    readme = ROOT / "README.md"
    readme.write_text(replaced(readme.read_text(encoding="utf-8"), "ledger", markdown(), "claims"), encoding="utf-8")
    print("the ledger in README.md is up to date")


if __name__ == "__main__":
    main()
