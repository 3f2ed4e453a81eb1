"""Blocks of Markdown files that a command writes between two marks, so that no table in them is typed.

A block reads ``<!-- NAME: written by make generate -->``, then its text, then ``<!-- end of NAME -->``.
"""

from __future__ import annotations

import html
import re
from pathlib import Path

from helpers.errors import CourseError

_BLOCK = r"(<!-- {name}: written by make generate -->\n).*?(<!-- end of {name} -->)"


def markdown_table(header: list[str], rows: list[list], align: str | None = None) -> str:
    """A Markdown table.

    ``align`` has one of l, r for each column; without it the first is left-aligned, the others right.
    """
    align = align or "l" + "r" * (len(header) - 1)
    lines = [header, ["---" if side == "l" else "---:" for side in align], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def plain(text: str) -> str:
    """Text as it stands, in a table's cell: nothing in it becomes markup or a new column."""
    return re.sub(r"([|*\\`])", r"\\\1", html.escape(str(text), quote=False)).replace("\n", " ")


def share(told: dict, digits: int = 0) -> str:
    """A rate and its interval, ``rate, low, high``, in percent."""
    rate, low, high = (f"{told[key]:.{digits}%}" for key in ("rate", "low", "high"))
    return f"{rate} ({low}–{high})"


def replaced(text: str, name: str, block_text: str) -> str:
    """The file's text with the block ``name`` holding ``block_text``. Raises CourseError when it has no such block."""
    changed, found = re.subn(_BLOCK.format(name=name), lambda m: f"{m[1]}\n{block_text}\n{m[2]}", text, flags=re.S)
    if found != 1:
        raise CourseError(
            f"the file has {found} blocks {name!r}", f"put the marks back: <!-- {name}: written by make generate -->"
        )
    return changed


def block(name: str, path: Path) -> str:
    """The present text of a generated block of a file; empty when it has no such block."""
    found = re.search(_BLOCK.format(name=name), path.read_text(encoding="utf-8"), flags=re.S)
    return found.group().split("-->\n", 1)[1].rsplit("<!--", 1)[0].strip() + "\n" if found else ""
