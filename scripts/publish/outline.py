"""What the stored notebooks hold, section by section: cells, bets, claims, exercises, quizzes, and the times printed.

``make generate`` writes the table of docs/instructor.md; ``python -m scripts.publish.outline`` lists what the text
twins lack against the course's own rules.
"""

from __future__ import annotations

import ast
import builtins
import json
import re
import statistics
from collections import Counter
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from helpers import exercises
from helpers.paths import ROOT

from .generated import markdown_table, plain, replaced

NOTEBOOKS = ROOT / "notebooks"
GUIDE = ROOT / "docs" / "instructor.md"
LIMITS = {"median": 8, "largest": 40, "run": 2, "exercises": 4, "quizzes": 3}  # the notebook contract
_CLOCK = re.compile(r"100%\|[^|]*\|\s*\d+/\d+ \[(?:(\d+):)?(\d+):(\d+)<")  # a finished progress bar


@dataclass(frozen=True)
class Cell:
    """One cell of a stored notebook; ``text`` is what its outputs say in plain text."""

    kind: str
    source: str
    text: str = ""

    @property
    def lines(self) -> int:
        """Lines of code, without empty ones and comments."""
        return len([line for line in self.source.splitlines() if line.strip() and not line.lstrip().startswith("#")])

    @property
    def seconds(self) -> int:
        """What its finished progress bars show; 0 for a cell that printed none."""
        return sum(3600 * int(h or 0) + 60 * int(m) + int(s) for h, m, s in _CLOCK.findall(self.text))


@dataclass
class Section:
    """A section of a notebook: the cells under one heading of the second level."""

    title: str
    cells: list[Cell] = field(default_factory=list)

    def found(self, pattern: str, kind: str) -> list[str]:
        """All matches of a pattern in the sources of its code or markdown cells."""
        return [match for cell in self.cells if cell.kind == kind for match in re.findall(pattern, cell.source)]

    @property
    def bets(self) -> list[str]:
        """Ids of its bets."""
        return self.found(r'exercises\.bet\(\s*"([^"]+)"', "code")

    @property
    def claims(self) -> list[str]:
        """Ids of the claims it settles."""
        return self.found(r'\bverdict\("([^"]+)"', "code")

    @property
    def exercises(self) -> list[str]:
        """Ids of its exercises."""
        return self.found(r"<!-- exercise ([\d.]+) -->", "markdown")

    @property
    def quizzes(self) -> int:
        """The number of its quiz questions."""
        return len(self.found(r"\*\*Quiz", "markdown"))

    @property
    def seconds(self) -> int:
        """Seconds that its finished progress bars show, in all."""
        return sum(cell.seconds for cell in self.cells)


@dataclass(frozen=True)
class Book:
    """A stored notebook: its name, what its first cell promises, and its sections."""

    name: str
    head: str
    sections: list[Section]

    @property
    def minutes(self) -> str:
        """The minutes on two CPU cores, as its first cell says."""
        found = re.search(r"\*\*Time\*\*: ([^.]*?minutes?)", self.head)
        return found.group(1) if found else "not said"

    def cells(self, kind: str | None = None) -> list[Cell]:
        """Its cells in order, of one kind ("code", "markdown") or all."""
        return [cell for section in self.sections for cell in section.cells if kind in (None, cell.kind)]


def bound(source: str) -> set[str]:
    """The names that a cell binds at its top level: what it assigns, loops over, imports, defines."""
    names, waiting = set(), [ast.parse(source)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif not isinstance(node, ast.Lambda | ast.comprehension):
            waiting += ast.iter_child_nodes(node)
    return names


def recap_gaps(each: Book) -> list[str]:
    """Names that a recap shows and that no cell, or more than one, has bound before it.

    It would show another number than the bet's.
    """
    found, before = [], Counter()
    for cell in each.cells("code"):
        if "exercises.recap(" in cell.source:
            read = {
                node.id
                for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            }
            inner = {
                node.id
                for node in ast.walk(ast.parse(cell.source))
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
            found += [
                f"the recap reads {name!r}, which {before[name] or 'no'} cells bind"
                for name in sorted(read - inner)
                if name not in vars(builtins) and before[name] != 1
            ]
        before.update(bound(cell.source))
    return found


def _cell(raw: dict) -> Cell:
    outputs = [
        output.get("text") or output.get("data", {}).get("text/plain") or "" for output in raw.get("outputs", [])
    ]
    return Cell(raw["cell_type"], "".join(raw["source"]), "\n".join("".join(text) for text in outputs))


@cache
def book(path: Path) -> Book:
    """A stored notebook, or a text twin (.py, without outputs), read without running anything."""
    if path.suffix == ".py":
        import jupytext

        raw_cells = jupytext.read(path, fmt="py:percent").cells
    else:
        raw_cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    sections = [Section("")]
    for raw in raw_cells:
        cell = _cell(raw)
        if cell.kind == "markdown" and (heading := re.search(r"^## (.+)$", cell.source, re.M)):
            sections.append(Section(heading.group(1)))
        sections[-1].cells.append(cell)
    return Book(path.stem, sections[0].cells[0].source, sections)


def books() -> list[Book]:
    """All stored notebooks, in the course's order."""
    return [book(path) for path in sorted(NOTEBOOKS.glob("*.ipynb"))]


def twins() -> list[Book]:
    """All text twins, in the course's order: what the notebooks hold once they are stored again."""
    return [book(path) for path in sorted((NOTEBOOKS / "text").glob("*.py"))]


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


def gaps(each: Book, among: list[Book] | None = None) -> list[str]:
    """What a notebook lacks against the contract and the course's own rules, one line each.

    ``among``: whose recaps count.
    """
    code = each.cells("code")
    sizes = [cell.lines for cell in code]
    kinds = "".join("c" if cell.kind == "code" else "m" for cell in each.cells())
    longest_run = max(map(len, re.findall("c+", kinds)))
    exercises = [e for section in each.sections for e in section.exercises]
    found = []
    if statistics.median(sizes) > LIMITS["median"] or max(sizes) > LIMITS["largest"]:
        found.append(f"cells: median {statistics.median(sizes):g}, largest {max(sizes)}")
    if longest_run > LIMITS["run"]:
        found.append(f"{longest_run} code cells in a row")
    if len(exercises) < LIMITS["exercises"]:
        found.append(f"{len(exercises)} exercises, {LIMITS['exercises']} are asked for")
    found += [
        f"section {s.title!r} settles {', '.join(s.claims)} without a bet"
        for s in each.sections
        if s.claims and not s.bets
    ]
    recaps = "".join(
        cell.source
        for other in (books() if among is None else among)
        for cell in other.cells("code")
        if "exercises.recap" in cell.source
    )
    found += [
        f"bet {bet!r} of section {s.title!r} is in no recap"
        for s in each.sections
        for bet in s.bets
        if f'"{bet}"' not in recaps
    ]
    asked = sum(section.quizzes for section in each.sections)
    if asked < LIMITS["quizzes"]:
        found.append(f"{asked} quiz questions, {LIMITS['quizzes']} are asked for")
    return found + recap_gaps(each) + _quiz_gaps(each)


def _quiz_gaps(each: Book) -> list[str]:
    """Quiz questions of fewer than three answers, or with an answer that nothing explains."""
    found = []
    for question in (part for cell in each.cells("markdown") for part in cell.source.split("**Quiz")[1:]):
        answers = re.findall(r"<details><summary>([A-Z]) · .*?</summary>\n(.*?)</details>", question, re.S)
        if len(answers) < 3:
            found.append(f"a quiz of {len(answers)} answers")
        found += [f"quiz answer {letter} is not explained" for letter, why in answers if len(why.split()) < 5]
    return found


def measures(each: Book) -> str:
    """The notebook in one line: cell sizes, prose, and what is there to do."""
    sizes = sorted(cell.lines for cell in each.cells("code"))
    words = sum(len(cell.source.split()) for cell in each.cells("markdown"))
    kinds = "".join("c" if cell.kind == "code" else "m" for cell in each.cells())
    count = {what: sum(len(getattr(s, what)) for s in each.sections) for what in ("bets", "claims", "exercises")}
    quizzes = sum(s.quizzes for s in each.sections)
    return (
        f"{each.name}: code lines median {statistics.median(sizes):g}, "
        f"90th percentile {sizes[int(0.9 * len(sizes))]}, largest {sizes[-1]}; "
        f"{words / sum(sizes):.1f} words a code line; longest run {max(map(len, re.findall('c+', kinds)))}; "
        f"bets {count['bets']}, claims {count['claims']}, exercises {count['exercises']}, quizzes {quizzes}"
    )


def written(guide: str) -> str:
    """The instructor's guide with its table as the stored notebooks are now."""
    return replaced(guide, "minutes", minutes_table())


def main() -> None:
    """Run the command line (see the module)."""
    for each in twins():
        print(measures(each), *(f"  {line}" for line in gaps(each, twins())), sep="\n")


if __name__ == "__main__":
    main()
