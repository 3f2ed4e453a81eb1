"""The course's terms in English and Arabic, in the order of their first use in the stored notebooks.

``make generate`` writes docs/glossary.md from assets/glossary.yaml and names the terms that no notebook uses yet.
``python -m scripts.publish.glossary`` links each term's first use in the text twins to it, and takes away links from
later ones; then ``python -m scripts.publish.notebooks prose`` brings them into the stored notebooks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import yaml

from helpers.errors import CourseError
from helpers.paths import ASSETS, ROOT

from . import books

PAGE = ROOT / "docs" / "glossary.md"
TWINS = ROOT / "notebooks" / "text"
_REPOSITORY = re.compile(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+/blob/\w+)/")  # in a notebook's badge
_LINK = re.compile(r"\[([^\]]*)\]\(https://github\.com/[^)\s]*/docs/glossary\.md#([a-z0-9-]+)\)")
_NO_PROSE = re.compile(  # where a link would break something or would not be seen as one
    r"```.*?```|`[^`]*`|<!--.*?-->|!?\[[^\]]*\]\([^)]*\)|\]\([^)]*\)"
    r"|\$\$.*?\$\$|\$[^$\n]+\$|<summary>.*?</summary>|<div.*?</div>|<[^>\n]+>"
    r"|^#+ [^\n]*|^[>|][^\n]*",  # headings, the guide's words, tables
    re.S | re.M,
)
INTRODUCTION = """# Glossary · مسرد المصطلحات

The course's terms in the order in which the notebooks first use them. Written by `make generate` from
`assets/glossary.yaml`; a test holds it to the notebooks. The Arabic is model-written and has not been reviewed yet.
"""


@dataclass(frozen=True)
class Term:
    """An entry: anchor, names, two sentences in each language, and the pattern that finds it in a notebook's prose."""

    id: str
    term: str
    arabic: str
    en: str
    ar: str
    find: str = ""

    @property
    def pattern(self) -> re.Pattern:
        """The compiled pattern that finds the term in prose."""
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
        raise CourseError(
            f"two terms have the anchor {sorted(twice)[0]!r}", "give one of them another id in assets/glossary.yaml"
        )
    return found


def prose(source: str) -> str:
    """A markdown cell's text on one line, without what no reader sees as prose: code, comments, link targets."""
    return " ".join(re.sub(r"```.*?```|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)", " ", source, flags=re.S).split())


def first_use(term: Term) -> Use | None:
    """The first place in the stored notebooks whose prose uses a term."""
    for number, book in enumerate(books.books()):
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
    return re.sub(
        r"−?[A-Za-z0-9][\w.]*(?: [A-Za-z0-9][\w.]*)*",
        lambda met: f'<bdi dir="ltr">{met.group()}</bdi>',
        arabic,
        flags=re.ASCII,
    )


def page() -> str:
    """docs/glossary.md as it should be now."""
    return "\n".join([INTRODUCTION, *(_entry(term, use) for term, use in listed())])


def address(twin: str) -> str:
    """The glossary's page on GitHub, in the repository that a notebook's badge names.

    A whole address: Colab resolves a relative one against its own, where only notebooks are. Raises CourseError when
    the text has no badge.
    """
    if not (named := _REPOSITORY.search(twin)):
        raise CourseError(
            "a notebook without an Open-in-Colab badge names no repository to link to",
            "give it one, as the other notebooks have it",
        )
    return f"https://github.com/{named[1]}/docs/glossary.md"


def unlinked(text: str) -> str:
    """Text without links to the glossary."""
    return _LINK.sub(r"\1", text)


def links(text: str) -> list[tuple[str, str]]:
    """(the words, the term's id) of every link to the glossary in a text."""
    return _LINK.findall(text)


def first_places(source: str, open_terms: list[Term]) -> list[tuple[int, int, Term]]:
    """(start, end, term) of the first linkable use of each term in a cell.

    Longer names go first: *control token* is no use of *token*.
    """
    free = _NO_PROSE.sub(lambda met: "\0" * len(met.group()), source).replace("\n", " ")
    found = []
    for term in sorted(open_terms, key=lambda term: -len(term.term)):
        if met := term.pattern.search(free):
            found.append((met.start(), met.end(), term))
            free = f"{free[: met.start()]}{chr(0) * len(met.group())}{free[met.end() :]}"
    return sorted(found, key=lambda place: place[0])


def linked(twins: dict[str, str]) -> dict[str, str]:
    """Text twins, name -> text in the course's order, with the first use of each term linked and no other."""
    written, waiting = {}, list(terms())
    for name, text in twins.items():
        page, cells = address(text), re.split(r"^(?=# %%)", unlinked(text), flags=re.M)
        for number, cell in enumerate(cells):
            if not cell.startswith("# %% [markdown]") or "<!-- exercise" in cell:
                continue
            head, _, commented = cell.partition("\n")
            source = re.sub(r"^# ?", "", commented, flags=re.M)
            places = first_places(source, waiting)
            for start, end, term in reversed(places):
                source = f"{source[:start]}[{source[start:end]}]({page}#{term.id}){source[end:]}"
            waiting = [term for term in waiting if term not in [place[2] for place in places]]
            body = source.rstrip("\n")
            cells[number] = (
                "\n".join([head, *(f"# {line}".rstrip() for line in body.split("\n"))]) + source[len(body) :]
            )
        written[name] = "".join(cells)
    return written


def read_twins() -> dict[str, str]:
    """Every text twin, name -> text, in the course's order."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(TWINS.glob("*.py"))}


def write_links() -> None:
    """Link each term's first use in the text twins, and print the links of each."""
    for name, text in linked(read_twins()).items():
        (TWINS / name).write_text(text, encoding="utf-8")
        print(f"{name}: {len(links(text))} links to the glossary")


def main() -> None:
    """Run the command line (see the module)."""
    write_links()
    if missing := [term.term for term in terms() if first_use(term) is None]:
        print("not used by any notebook yet:", ", ".join(missing))


if __name__ == "__main__":
    main()
