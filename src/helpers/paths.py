"""Where the repository's own files are, in a clone or installed package, and where the course keeps what it makes."""

from __future__ import annotations

import os
from pathlib import Path


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
