"""The course's terms in English and Arabic, in the order of their first use in the stored notebooks.

``make generate`` writes docs/glossary.md from assets/glossary.yaml and names the terms that no notebook uses yet.
A notebook links its hard terms where it first uses them, by reference: ``[KV cache][g-cache]``, with the address at the
end of the same cell, since every cell is drawn alone. ``python -m scripts.publish.glossary`` names what breaks that.
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
_INLINE = re.compile(r"\]\(https://github\.com/[^)\s]*/docs/glossary\.md#([a-z0-9-]+)\)")
_USED = re.compile(r"\[([^\]]+)\]\[(g-[a-z0-9-]+)\]")
_DEFINED = re.compile(r"^# \[(g-[a-z0-9-]+)\]: (\S+)#([a-z0-9-]+)$", re.M)
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
    return " ".join(
        re.sub(
            r"```.*?```|`[^`\n]*`|<!--.*?-->|\]\([^)]*\)|\]\[g-[^\]]*\]|\[g-[^\]]*\]: \S+", " ", source, flags=re.S
        ).split()
    )


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
        r"−?[A-Za-z0-9](?:[\w.]*\w)?(?: [A-Za-z0-9](?:[\w.]*\w)?)*",  # a full stop behind is the sentence's
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


def links(text: str) -> list[tuple[str, str]]:
    """(the words, the term's id) of every link to the glossary in a text twin, cell by cell."""
    found = []
    for cell in _cells(text):
        defined = {name: term for name, _, term in _DEFINED.findall(cell)}
        found += [(words, defined[name]) for words, name in _USED.findall(cell) if name in defined]
    return found


def _cells(text: str) -> list[str]:
    return re.split(r"^(?=# %%)", text, flags=re.M)


def faults(text: str) -> list[str]:
    """What is wrong with a text twin's links to the glossary, one line each."""
    page, known = address(text), {term.id for term in terms()}
    found = [f"#{term} is linked inline: give it a reference" for term in _INLINE.findall(text)]
    for cell in _cells(text):
        defined, used = _DEFINED.findall(cell), {name for _, name in _USED.findall(cell)}
        names = [name for name, _, _ in defined]
        found += [f"[{name}] is used in a cell that does not define it" for name in sorted(used - set(names))]
        found += [f"[{name}] is defined in a cell that does not use it" for name in names if name not in used]
        found += [f"[{name}] leads to {target}, not to {page}" for name, target, _ in defined if target != page]
        found += [f"[{name}] leads to #{term}, which is no term" for name, _, term in defined if term not in known]
    linked = [term for _, term in links(text)]
    return found + [f"#{term} is linked more than once" for term in sorted({t for t in linked if linked.count(t) > 1})]


def read_twins() -> dict[str, str]:
    """Every text twin, name -> text, in the course's order."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(TWINS.glob("*.py"))}


def main() -> None:
    """Run the command line (see the module)."""
    for name, text in read_twins().items():
        print(f"{name}: {len(links(text))} links to the glossary", *(f"  {line}" for line in faults(text)), sep="\n")
    if missing := [term.term for term in terms() if first_use(term) is None]:
        print("not used by any notebook yet:", ", ".join(missing))


if __name__ == "__main__":
    main()
