"""Where the repository's own files are, where the course keeps what it makes, and what is damaged."""

from __future__ import annotations

import os
from pathlib import Path

from .errors import CourseError


def _root() -> Path:
    """The repository: COURSE_ROOT, or the nearest parent of this file or of the working directory with ``assets/``."""
    if named := os.environ.get("COURSE_ROOT"):
        return Path(named)
    for start in (Path(__file__).resolve(), Path.cwd().resolve()):
        for folder in start.parents if start.is_file() else (start, *start.parents):
            if (folder / "assets" / "data").is_dir():
                return folder
    return Path.cwd()


ROOT = _root()
ASSETS = ROOT / "assets"
REFERENCE = ASSETS / "reference"


def cache_folder() -> Path:
    """``COURSE_CACHE``, or ``arabic-functiongemma`` in the user's cache folder."""
    named = os.environ.get("COURSE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "arabic-functiongemma"


def set_aside(path: Path, name: str) -> None:
    """Rename what is damaged to ``name`` beside it, or to ``name-2`` …, and print one line: nothing is deleted.

    Raises CourseError where it cannot be renamed.
    """
    count, aside = 1, path.with_name(name)
    while aside.exists():
        count += 1
        aside = path.with_name(f"{name}-{count}")
    try:
        path.rename(aside)
    except OSError as error:
        raise CourseError(
            f"{path.name} is damaged and cannot be renamed: {error.strerror}", f"move {path} away yourself"
        ) from None
    print(f"{path.name} is damaged → kept as {aside.name}")
