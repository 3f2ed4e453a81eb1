"""Write the slides of the half-day plan, drawn from the stored notebooks, as one file that needs no network.

    python -m scripts.publish.slides     build/slides/half_day.html (``make slides``); nothing is executed

The plan is the table of docs/instructor.md: a slide for each of its lines, then the core sections that the line names.
Of a section come its heading, the guide's words, each bet before its result, and what its cells show: figures, tables
that fit, printed lines, verdicts. Code and longer prose stay in the notebook. Page and script are in slides.html.
"""

from __future__ import annotations

import html
import json
import re
from dataclasses import dataclass, field
from pathlib import Path

from helpers.errors import CourseError
from helpers.paths import ROOT

from .books import NOTEBOOKS
from .outline import GUIDE
from .slide_parts import bet, directed, inline, opening, prose, quote, shown

PLAN = "## Half a day"
COURSE = "The Arabic FunctionGemma course"
KEYS = "← → or page up and down to move; an answer unfolds with a click, or with Tab and Enter"
DECK = ROOT / "build" / "slides" / "half_day.html"
PAGE = Path(__file__).with_suffix(".html")
_SECTION = re.compile(r"\b(\d)\.(\d+)(?: to \d\.(\d+))?")
_UNSHOWN = re.compile(r"^# @title|exercises\.(?:check|recap)\(")  # cells whose outputs are their reader's own
_BET = re.compile(r"Your bet: (.*)\n  (.*)\n")
_BETS = re.compile(r"\*\*[^*]*\bbets?\b[^*]*\*\*", re.I)


@dataclass
class Section:
    """A section of a notebook: its heading, and its cells: Markdown as text, code as it is stored."""

    title: str
    book: str
    cells: list = field(default_factory=list)

    @property
    def core(self) -> bool:
        """Whether it belongs to the core."""
        return "(deeper)" not in self.title


def sections(path: Path) -> dict[str, Section]:
    """The sections of a stored notebook by their numbers, such as 4.2."""
    raw_cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    book = "".join(raw_cells[0]["source"]).splitlines()[0].removeprefix("# ").partition(":")[0]
    found = [Section("", book)]
    for raw in raw_cells:
        source = "".join(raw["source"])
        if raw["cell_type"] == "code":
            found[-1].cells.append(raw | {"source": source})
            continue
        before, *headed = re.split(r"^## (.+)$", source, flags=re.M)
        found[-1].cells.append(before)
        found += [Section(title, book, [text]) for title, text in zip(headed[::2], headed[1::2], strict=True)]
    return {section.title.partition(" ")[0]: section for section in found[1:]}


@dataclass(frozen=True)
class Line:
    """A line of the plan: its minutes, what is done, and where in the notebooks."""

    minutes: str
    what: str
    where: str

    @property
    def numbers(self) -> list[str]:
        """The sections that it names, such as 4.2, one by one."""
        named = _SECTION.findall(self.where)
        return [f"{book}.{number}" for book, low, high in named for number in range(int(low), int(high or low) + 1)]


def plan(guide: str) -> list[Line]:
    """The lines of the half-day plan in the instructor's guide. Raises CourseError when there are none."""
    text = guide.partition(f"\n{PLAN}")[2].split("\n## ")[0]
    if not (found := re.findall(r"^\| (\d+) \| (.*?) \| ?(.*?) ?\|$", text, re.M)):
        raise CourseError(f"docs/instructor.md has no plan {PLAN!r}", "put its table back, or mend slides.PLAN")
    return [Line(*line) for line in found]


@dataclass
class Talk:
    """The slides of one section, made while its cells are read in order."""

    heading: str
    told: list[str] = field(default_factory=list)  # paragraphs since the last slide
    said: list[str] = field(default_factory=list)  # lines printed since the last prose
    exercises: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    begun: bool = False  # whether the heading has had a slide
    deeper: bool = False  # below a heading of the third level that can be left out

    def add(self, *parts: str) -> None:
        """A slide: the heading, the paragraphs that lead to it, what was printed, and some parts."""
        plain = [text for text in self.told if text[0] != ">" and not _BETS.match(text)]
        leads = 0 if self.begun else 1  # of a heading's first slide the first paragraph leads, of any the last one asks
        dropped = plain[leads:-1] if parts or self.said else plain[1:]
        kept = [text for text in self.told if text not in dropped]
        words = [quote(text) if text[0] == ">" else prose(opening(text)) for text in kept]
        lines = [f"<pre>{html.escape(chr(10).join(self.said))}</pre>"] if self.said else []
        self.made.append("\n".join([f'<h2 dir="auto">{inline(self.heading)}</h2>', *words, *lines, *parts]))
        self.told, self.said, self.begun = [], [], True

    def markdown(self, text: str) -> None:
        """Read a piece of prose."""
        if self.said:
            self.add()
        if exercise := re.search(r"<!-- exercise [\d.]+ -->\n(.*)", text):
            self.exercises.append(f"<li>{inline(exercise[1])}</li>")
            return
        before, *quizzes = re.split(r"^(?=\*\*Quiz)", re.sub(r"^\[[^\]]+\]: .*$", "", text, flags=re.M), flags=re.M)
        for block in filter(None, re.split(r"\n\s*\n", before.strip())):
            if block.startswith("### "):
                self.heading, self.deeper = block.removeprefix("### "), "(deeper)" in block
                self.told, self.begun = [], False
            elif block.startswith("|") and not self.deeper:
                self.add(prose(block))
            elif not re.match(r"[-*] |\d+\. |```|<", block) and not self.deeper:
                self.told.append(block)
        for quiz in quizzes:
            self.told = []
            self.add(prose(quiz.replace("<details>", '<details name="quiz">')))

    def code(self, cell: dict) -> None:
        """Read a cell that was run."""
        if self.deeper or _UNSHOWN.search(cell["source"]):
            return
        printed = "".join("".join(o["text"]) for o in cell["outputs"] if o.get("name") == "stdout")
        if "exercises.bet(" in cell["source"]:
            self.add(*(bet(*found) for found in _BET.findall(printed)))
            return
        self.said += [line for line in printed.splitlines() if line.strip() and "%|" not in line]
        if parts := list(filter(None, map(shown, cell["outputs"]))):
            self.add(*parts)

    def slides(self, cells: list) -> list[str]:
        """All slides of the section."""
        prose_cells = [cell for cell in cells if isinstance(cell, str)]
        for cell in prose_cells if any("<!-- exercise" in text for text in prose_cells) else cells:
            self.markdown(cell) if isinstance(cell, str) else self.code(cell)
        if self.exercises:
            self.told = self.told[:1]
            self.add(f"<ul>{''.join(self.exercises)}</ul>")
        elif self.said or not self.made:
            self.add()
        return self.made


def deck(guide: str, folder: Path = NOTEBOOKS) -> str:
    """The half day as one page: title and plan, then each line of the plan and the core sections it names.

    A section of a notebook that is not stored is left out, and so is one that is marked deeper.
    """
    lines = plan(guide)
    stored = {number: s for path in sorted(folder.glob("*.ipynb")) for number, s in sections(path).items()}
    title = re.search(rf"^{PLAN}.*$", guide, re.M)[0].removeprefix("## ")
    rows = "".join(f"<tr><td>{x.minutes}</td><td>{inline(x.what)}</td><td>{x.where}</td></tr>" for x in lines)
    heads = "<tr><th>minutes</th><th>what</th><th>notebook</th></tr>"
    named = dict.fromkeys(stored[n].book for line in lines for n in line.numbers if n in stored)
    books = "".join(f"<p>{book}</p>" for book in named)
    made = [
        (f'<p class="mark">{COURSE}</p><h1>{title}</h1>{books}<p class="left">{KEYS}</p>', "whole", ""),
        (directed(f"<table>{heads}{rows}</table>"), "", title),
    ]
    for line in lines:
        where = f"<p>Notebooks: {line.where}</p>" if line.where else ""
        made.append((f'<p class="mark">{line.minutes} minutes</p><h1>{inline(line.what)}</h1>{where}', "whole", title))
        for section in (stored[number] for number in line.numbers if number in stored):
            if section.core:
                made += [(slide, "", section.book) for slide in Talk(section.title).slides(section.cells)]
    whole = [
        f'<section><div class="fit {kind}">{body}</div>'
        f"<footer><span>{foot}</span><span>{n} / {len(made)}</span></footer></section>"
        for n, (body, kind, foot) in enumerate(made, 1)
    ]
    page = PAGE.read_text(encoding="utf-8").replace("<!-- title -->", title)
    return page.replace("<!-- slides -->", "\n".join(whole))


def main() -> None:
    """Write the deck."""
    DECK.parent.mkdir(parents=True, exist_ok=True)
    page = deck(GUIDE.read_text(encoding="utf-8"))
    DECK.write_text(page, encoding="utf-8")
    print(f"{page.count('<section>')} slides → {DECK.relative_to(ROOT)}")


if __name__ == "__main__":
    try:
        main()
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
