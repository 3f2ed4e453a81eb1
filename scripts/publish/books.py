"""The notebooks as they are read without running anything: cells and what they print, sections, heads."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from helpers.paths import ROOT

NOTEBOOKS = ROOT / "notebooks"
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
    def claims(self) -> list[str]:
        """Ids of the claims it settles."""
        return re.findall(r'\bverdict\(\s*"([^"]+)"', self.source) if self.kind == "code" else []

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
        return [claim for cell in self.cells for claim in cell.claims]

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
