"""The ledger's table, docs/ledger.md: what each claim says, what the stored notebooks measured, and the verdict."""

from __future__ import annotations

from helpers import claims
from helpers.paths import ROOT

from .generated import markdown_table, plain, replaced

PAGE = ROOT / "docs" / "ledger.md"


def markdown() -> str:
    """``claims.table()`` as Markdown, with a link to each notebook, and a line that counts the guide's verdicts."""
    whole, rows = claims.table(), []
    for number, row in whole.iterrows():
        there = (ROOT / "notebooks" / f"{row['notebook']}.ipynb").exists()
        link = f"[{row['notebook'][:2]}](../notebooks/{row['notebook']}.ipynb)" if there else row["notebook"][:2]
        rows.append([number, plain(row["the guide says"]), plain(row["we measured"]) or "–", row["verdict"], link])
    ours = whole.index.isin([claim.number for claim in claims.ledger().values() if not claim.quote])
    counts = whole.loc[~ours, "verdict"].value_counts()
    told = ", ".join(f"{counts[name]} {name}" for name in (*claims.VERDICTS, "not settled yet") if name in counts)
    table = markdown_table(["", "the guide says", "we measured", "verdict", "notebook"], rows, "rlllr")
    apart = whole.loc[ours, "verdict"].value_counts()
    beside = ", ".join(f"{apart[name]} {name}" for name in claims.VERDICTS if name in apart)
    return (
        f"{(~ours).sum()} claims of the guide: {told}. {ours.sum()} questions of ours beside them: {beside}.\n\n{table}"
    )


def written(page: str) -> str:
    """The page with the table as it is now."""
    return replaced(page, "ledger", markdown())
