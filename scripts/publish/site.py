"""Build the static site: the stored notebooks, README and the other pages as HTML under build/site (``make site``).

    python -m scripts.publish.site            stage the sources under build/site_source, then run Sphinx on them
    python -m scripts.publish.site --stage    stage them only

Sources keep the repository's folders, so that links among them hold; links to files that are no pages lead to GitHub.
Nothing is executed. Sphinx's settings, the start page and its style are in docs/site.
"""

from __future__ import annotations

import argparse
import os
import posixpath
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nbformat

from helpers.errors import CourseError
from helpers.paths import ROOT

from . import repository

SETTINGS = ROOT / "docs" / "site"
SOURCE, BUILT = ROOT / "build" / "site_source", ROOT / "build" / "site"
PAGES = (
    "README.md",
    "README.ar.md",
    "CHANGELOG.md",
    *(f"docs/{name}.md" for name in ("ledger", "glossary", "instructor", "adapter", "machines", "promises")),
    "assets/data/README.md",
    "assets/data/universe/README.md",
)
NEEDED = ("sphinx", "myst_nb", "sphinx_book_theme", "latex2mathml")  # requirements-site.txt
LARGEST = 25  # MB of the whole site
_CODE = re.compile(r"(^ *```.*?^ *```|``.+?``|`[^`\n]*`|<!--.*?-->)", re.S | re.M)  # where nothing is a link
_LINK = re.compile(r"(\]\()([^()\s]+)(?=\))|(^ {0,3}\[[^\]\n]+\]: +)(\S+)", re.M)
_ATTRIBUTE = re.compile(r'(<[^>]*\b(?:href|src)=")([^"]+)(?=")')
_PAGE = re.compile(r"^([^:#]+)\.(?:md|ipynb)(?=#|$)")  # a source by its path
_BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\(([^)]*)\)")
_ANCHOR = re.compile(r'<a id="([\w-]+)"></a>\n+(?=#)')
_ARABIC = '<div dir="rtl" lang="ar">'


@dataclass(frozen=True)
class Site:
    """The repository's folder, its name on GitHub, and the paths below it that are pages."""

    root: Path
    repository: str
    pages: frozenset[str]

    def address(self, link: str, page: str) -> str:
        """Where a link of a page leads on the site, as a path to another source or as an address.

        Raises CourseError for a relative link to a file that is not there.
        """
        blob = f"https://github.com/{self.repository}/blob/{repository.BRANCH}/"
        path, _, anchor = link.partition("#")
        anchor = anchor and f"#{anchor}"
        if path.startswith(blob) and path.removeprefix(blob) in self.pages:
            return posixpath.relpath(path.removeprefix(blob), posixpath.dirname(page) or ".") + anchor
        if not path or re.match(r"[a-z][a-z+.-]*:|//", path, re.I):
            return link
        found = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        if found in self.pages:
            return link
        if not (self.root / found).exists():
            raise CourseError(f"{page} links to {link}, which is not there", "mend the link")
        return (blob.replace("/blob/", "/tree/") if (self.root / found).is_dir() else blob) + found + anchor


def site(root: Path = ROOT, address: str = repository.REPOSITORY) -> Site:
    """The site of a repository: ``PAGES`` and every stored notebook. Raises CourseError for a page that is lost."""
    if missing := [page for page in PAGES if not (root / page).is_file()]:
        raise CourseError(f"{missing[0]} is missing", "restore it, or take it out of scripts/publish/site.py")
    notebooks = [path.relative_to(root).as_posix() for path in sorted((root / "notebooks").glob("*.ipynb"))]
    return Site(root, address, frozenset([*PAGES, *notebooks]))


def outside_code(text: str, change: Callable[[str], str]) -> str:
    """Markdown with ``change`` made to whatever is neither code nor a comment."""
    parts = _CODE.split(text)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def html(text: str, page: str, of: Site) -> str:
    """HTML of a page, in its Markdown or its outputs, whose links name the pages that come out: Sphinx reads none."""
    return _ATTRIBUTE.sub(lambda m: m[1] + _PAGE.sub(r"\1.html", of.address(m[2], page)), text)


def markdown(text: str, page: str, of: Site) -> str:
    """A page's Markdown as Sphinx is to read it: links, the badge and anchors that GitHub has as HTML."""

    def change(part: str) -> str:
        return html(_LINK.sub(lambda m: (m[1] or m[3]) + of.address(m[2] or m[4], page), part), page, of)

    # the badge's picture is on another machine
    text = _BADGE.sub(lambda m: f'<a class="colab" href="{m[1]}">Open in Colab</a>', text)
    return _ANCHOR.sub(r"(\1)=\n", outside_code(text, change))


def right_to_left(text: str) -> str:
    """An Arabic page without the elements that turn it on GitHub, which Sphinx would close in the wrong place.

    Its front matter says the language instead, and docs/site/conf.py turns the whole body.
    """
    if not text.startswith(_ARABIC):
        return text
    return "---\nlang: ar\n---\n\n" + re.sub(rf"^(?:{_ARABIC}|</div>)$\n*", "", text, flags=re.M)


def notebook(book, page: str, of: Site):
    """A stored notebook, changed in place, as MyST-NB is to read it: links, alt texts, and forms folded as in Colab."""
    for number, cell in enumerate(book.cells):
        if cell.cell_type == "markdown":
            cell.source = markdown(cell.source, page, of)
        if cell.cell_type == "code":
            _outputs(cell, f"cell {number} of {page}", page, of)
        if cell.metadata.get("cellView") == "form":
            cell.metadata["tags"] = [*cell.metadata.get("tags", []), "hide-input"]
    return book


def _outputs(cell, name: str, page: str, of: Site) -> None:
    """Rewrite the links of a cell's outputs, and hand their figure's alt text to MyST-NB, which has one for each cell.

    Raises CourseError for a cell with two figures.
    """
    for output in cell.outputs:
        if "text/html" in (data := output.get("data", {})):
            data["text/html"] = html(data["text/html"], page, of)
    figures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
    if len(figures) > 1:
        raise CourseError(f"{name} has {len(figures)} figures", "give each a cell of its own")
    for figure in figures:
        alt = figure.metadata.get("image/png", {}).get("alt", "")
        cell.metadata["mystnb"] = {"image": {"alt": " ".join(alt.split())}}


def stage(of: Site, folder: Path = SOURCE) -> None:
    """Write the sources of every page, Sphinx's settings and the start page into a folder made anew."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(SETTINGS, folder)
    for page in sorted(of.pages):
        source, target = of.root / page, folder / page
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.suffix == ".ipynb":
            nbformat.write(notebook(nbformat.read(source, as_version=4), page, of), target)
        else:
            text = markdown(right_to_left(source.read_text(encoding="utf-8")), page, of)
            target.write_text(text, encoding="utf-8")


def build(of: Site, source: Path = SOURCE, target: Path = BUILT) -> None:
    """Run Sphinx on staged sources; every warning is an error.

    Raises CourseError when a package is missing, when Sphinx finds a fault, or when the site is too large.
    """
    if missing := [name for name in NEEDED if find_spec(name) is None]:
        raise CourseError(f"{missing[0]} is not installed", "make site, which installs requirements-site.txt")
    shutil.rmtree(target, ignore_errors=True)
    words = ["-b", "html", "-W", "--keep-going", "-q", "-d", source.with_name("site_doctrees"), source, target]
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", *map(str, words)], env=os.environ | {"COURSE_REPOSITORY": of.repository}
    )
    if done.returncode:
        raise CourseError("Sphinx found what is named above", "mend it in the page, not in build/site_source")
    if (size := megabytes(target)) > LARGEST:
        raise CourseError(f"the site takes {size:.1f} MB", f"keep it to {LARGEST}: smaller figures or fewer")


def megabytes(folder: Path, pattern: str = "**/*") -> float:
    """What the files of a folder take together, or those that a pattern names."""
    return sum(path.stat().st_size for path in folder.glob(pattern) if path.is_file()) / 1e6


def main() -> None:
    """Run the command line (see the module). Raises CourseError for what it cannot do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", action="store_true", help="stop before Sphinx")
    staged_only, of = parser.parse_args().stage, site()
    stage(of)
    if not staged_only:
        build(of)
        print(f"{len(of.pages)} pages, {megabytes(BUILT):.1f} MB → {BUILT.relative_to(ROOT)}/index.html")


if __name__ == "__main__":
    try:
        main()
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
