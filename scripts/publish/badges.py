"""Set the repository's address everywhere: badges, clone lines, links, and the setup cell of every notebook.

    python -m scripts.publish.badges owner/name   set scripts.publish.repository.REPOSITORY and write what is made of it
    python -m scripts.publish.badges              write what is made of it as it is: brings other notebooks in line
    python -m scripts.publish.badges --check      write nothing; name every place that disagrees, exit 1 if there is one

Text twins and stored notebooks are both written. The setup cell is the same in a clone whatever the address is, so no
output changes and nothing has to run again.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import nbformat

from helpers.errors import CourseError

from . import repository

ROOT = Path(__file__).resolve().parents[2]
CONSTANT = re.compile(r'^(REPOSITORY = ")(?P<now>[^"]*)(")', re.M)
BADGE = re.compile(r"\[!\[Open in Colab\]\([^)]*\)\]\([^)]*\)")
SETUP = re.compile(r"(?<=\n)# @title Setup: .*?checkpoint = setup\.prepare\(\)", re.S)
ADDRESS = re.compile(
    r"((?:colab\.research\.google\.com/github/|git clone[^\n`]*?https://github\.com/))"
    r"([\w.-]+/[\w.-]+?)(?=\.git\b|[/\s`)\"]|$)",
    re.M,
)
# the glossary, from a notebook
OWN_PAGE = re.compile(r"(https://github\.com/)([\w.-]+/[\w.-]+)(?=/blob/main/(?:docs|notebooks)/)")
PAGES = ("*.md", "docs/*.md", "notebooks/text/*.py")


def in_twin(text: str, name: str, address: str) -> str:
    """A text twin's text with its badge and setup cell as the address makes them.

    Raises CourseError when one is not there.
    """
    for pattern, new, what in (
        (BADGE, repository.badge(name, address), "badge"),
        (SETUP, repository.setup_cell(address), "setup cell"),
    ):
        text, found = pattern.subn(lambda _, new=new: new, text)
        if found != 1:
            raise CourseError(
                f"{name} has {found} places that look like its {what}", "give it one, as the other notebooks have it"
            )
    return text


def in_notebook(notebook, name: str, address: str) -> None:
    """Set badge and setup cell of a stored notebook in place; its outputs stay.

    Raises CourseError when it lacks one.
    """
    head, setup = (
        notebook.cells[0],
        next((cell for cell in notebook.cells if cell.cell_type == "code" and "setup" in cell.source), None),
    )
    if setup is None or not SETUP.fullmatch(f"\n{setup.source}", 1) or len(BADGE.findall(head.source)) != 1:
        raise CourseError(
            f"{name}.ipynb does not start with a badge and the setup cell",
            "give it both, as the other notebooks have them",
        )
    head.source = BADGE.sub(lambda _: repository.badge(name, address), head.source)
    setup.source = repository.setup_cell(address)


def in_page(text: str, old: str, address: str) -> str:
    """A page's text with every clone line, Colab link and mention of the old address as the new one."""
    text = OWN_PAGE.sub(lambda m: m[1] + address, text)
    return ADDRESS.sub(
        lambda m: m[1] + address, re.sub(rf"(?<![\w-]){re.escape(old)}(?![\w-])", lambda _: address, text)
    )


def wanted(root: Path, address: str, old: str) -> dict[Path, str]:
    """Every file that holds the address -> the text that it should have."""
    files = {}
    constant = root / "scripts" / "publish" / "repository.py"
    files[constant] = CONSTANT.sub(lambda m: m[1] + address + m[3], constant.read_text(encoding="utf-8"), count=1)
    for pattern in PAGES:
        for path in sorted(root.glob(pattern)):
            text = in_page(path.read_text(encoding="utf-8"), old, address)
            files[path] = in_twin(text, path.stem, address) if path.suffix == ".py" else text
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = in_page(cell.source, old, address)
        in_notebook(notebook, path.stem, address)
        files[path] = nbformat.writes(notebook) + "\n"
    return files


def disagreeing(root: Path, address: str, old: str) -> dict[Path, str]:
    """The files that do not have the text they should have -> that text."""
    return {path: text for path, text in wanted(root, address, old).items() if path.read_text(encoding="utf-8") != text}


def main(argv: list[str] | None = None) -> int:
    """Run the command line (see the module). Returns the exit status; raises CourseError for what it cannot do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("repository", nargs="?", default=repository.REPOSITORY, metavar="owner/name")
    parser.add_argument("--check", action="store_true")
    # a copy of the course, for the tests
    parser.add_argument("--root", type=Path, default=ROOT, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if not repository.is_name(arguments.repository):
        raise CourseError(
            f"{arguments.repository!r} is no repository's name",
            "make badges REPO=owner/name, without https:// and .git",
        )
    old = CONSTANT.search((arguments.root / "scripts" / "publish" / "repository.py").read_text(encoding="utf-8")).group(
        "now"
    )
    changed = disagreeing(arguments.root, arguments.repository, old)
    for path, text in changed.items():
        print(f"{'disagrees' if arguments.check else 'written'}: {path.relative_to(arguments.root)}")
        if not arguments.check:
            path.write_text(text, encoding="utf-8")
    print(f"{len(changed)} files {'disagree with' if arguments.check else 'now hold'} {arguments.repository}")
    return 1 if arguments.check and changed else 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
