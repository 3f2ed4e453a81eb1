"""What the stored notebooks hold, section by section: cells, bets, claims, exercises, quizzes, and the times printed.

``make generate`` writes the table of docs/instructor.md; ``python -m scripts.publish.outline`` lists what the text
twins lack against the contract (``contract.gaps``).
"""

from __future__ import annotations

from helpers import exercises
from helpers.paths import ROOT

from .books import books, twins
from .contract import gaps, measures
from .generated import markdown_table, plain, replaced
from .spoilers import answers

GUIDE = ROOT / "docs" / "instructor.md"


def minutes_table() -> str:
    """Every section of every notebook with what an instructor has to plan for, as Markdown."""
    rows = []
    for each in books():
        rows.append(
            [
                f"**[{each.name[:2]}](../notebooks/{each.name}.ipynb)**",
                f"**whole notebook: {each.minutes} on two CPU cores, as its head says**",
                "",
                "",
                "",
                "",
                "",
            ]
        )
        for section in each.sections[1:]:
            numbers = " ".join(str(int(claim[:2])) for claim in section.claims)
            paper = sum(exercises.bank()[e].minutes for e in section.exercises)
            shown = f"{section.seconds} s" if section.seconds else ""
            code = sum(cell.kind == "code" for cell in section.cells)
            rows.append(
                [
                    "",
                    plain(section.title),
                    code,
                    shown,
                    len(section.bets) or "",
                    numbers,
                    f"{len(section.exercises)}: {paper} min" if paper else "",
                ]
            )
    return markdown_table(
        ["", "section", "code cells", "progress bars, in all", "bets", "claims settled", "exercises"], rows, "llrrrrr"
    )


def written(guide: str) -> str:
    """The instructor's guide with its table as the stored notebooks are now."""
    return replaced(guide, "minutes", minutes_table())


def main() -> None:
    """Run the command line (see the module)."""
    known = answers(books())
    for each in twins():
        print(measures(each), *(f"  {line}" for line in gaps(each, twins(), known)), sep="\n")


if __name__ == "__main__":
    main()
