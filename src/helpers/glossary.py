"""The course's terms in English and Arabic, in the order of their first use in the stored notebooks.

``python -m helpers.glossary`` writes docs/glossary.md from assets/glossary.yaml and names the terms that no notebook uses yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import yaml

from . import outline
from .errors import CourseError
from .paths import ASSETS, ROOT

PAGE = ROOT / "docs" / "glossary.md"
INTRODUCTION = """# Glossary · مسرد المصطلحات

The course's terms in the order in which the notebooks first use them. Written by `python -m helpers.glossary` from
`assets/glossary.yaml`; a test holds it to the notebooks. The Arabic is model-written and has not been reviewed yet.
"""


@dataclass(frozen=True)
class Term:
    """An entry: its anchor, its names, two sentences in each language, and the pattern that finds it in a notebook's prose."""

    id: str
    term: str
    arabic: str
    en: str
    ar: str
    find: str = ""

    @property
    def pattern(self) -> re.Pattern:
        return re.compile(self.find or rf"\b{re.escape(self.term)}s?\b", re.IGNORECASE)


@dataclass(frozen=True)
class Use:
    """Where a term first stands: notebook, section, cell and place, which also sort it."""

    notebook: str
    section: str
    place: tuple[int, int, int]


@cache
def terms() -> list[Term]:
    """All entries, as written. Raises CourseError when two share an anchor."""
    found = [Term(**entry) for entry in yaml.safe_load((ASSETS / "glossary.yaml").read_text(encoding="utf-8"))]
    if twice := {a.id for a in found if sum(a.id == b.id for b in found) > 1}:
        raise CourseError(f"two terms have the anchor {sorted(twice)[0]!r}", "give one of them another id in assets/glossary.yaml")
    return found


def prose(source: str) -> str:
    """A markdown cell's text on one line, without what no reader sees as prose: code, comments, link targets."""
    return " ".join(re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)", " ", source, flags=re.S).split())


def first_use(term: Term) -> Use | None:
    """The first place in the stored notebooks whose prose uses a term."""
    for number, book in enumerate(outline.books()):
        position = 0
        for section in book.sections:
            for cell in section.cells:
                position += 1
                if cell.kind == "markdown" and (met := term.pattern.search(prose(cell.source))):
                    return Use(book.name, section.title, (number, position, met.start()))
    return None


def listed() -> list[tuple[Term, Use]]:
    """The terms that some notebook uses, in the order of first use."""
    used = [(term, use) for term in terms() if (use := first_use(term))]
    return sorted(used, key=lambda pair: pair[1].place)


def _entry(term: Term, use: Use) -> str:
    where = use.section or "its first lines"
    return (
        f'<a id="{term.id}"></a>\n\n## {term.term} · <bdi lang="ar">{term.arabic}</bdi>\n\n{term.en.strip()}\n\n'
        f'<p dir="rtl" lang="ar">{isolated(term.ar.strip())}</p>\n\n'
        f"First used in [{use.notebook[:2]}](../notebooks/{use.notebook}.ipynb), {where}.\n"
    )


def isolated(arabic: str) -> str:
    """Arabic text whose Latin words stand in elements of their own direction."""
    return re.sub(r"−?[A-Za-z0-9][\w.]*(?: [A-Za-z0-9][\w.]*)*", lambda met: f'<bdi dir="ltr">{met.group()}</bdi>', arabic, flags=re.ASCII)


def page() -> str:
    """docs/glossary.md as it should be now."""
    return "\n".join([INTRODUCTION, *(_entry(term, use) for term, use in listed())])


def main() -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(), encoding="utf-8")
    missing = [term.term for term in terms() if first_use(term) is None]
    print(f"docs/glossary.md: {len(listed())} terms" + (f"; not used by any notebook yet: {', '.join(missing)}" if missing else ""))


if __name__ == "__main__":
    main()
