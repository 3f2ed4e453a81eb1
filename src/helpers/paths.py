"""Where the repository's own files are and how they are read, where the course keeps what it makes, what is damaged."""

from __future__ import annotations

import json
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


def readers_file(name: str) -> Path:
    """Where a reader's own file is kept from notebook to notebook: beside ``COURSE_BETS``, or in the cache folder."""
    named = os.environ.get("COURSE_BETS")
    return Path(named).with_name(name) if named else cache_folder() / name


def encode(value) -> str:
    """A value as the compact JSON that the columns and files hold."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_yaml(path: Path, strings: bool = False) -> dict:
    """A YAML file of the course. Raises CourseError when it is missing or damaged.

    ``strings`` reads every value as a string: YAML's own types turn NO, 12:30 and 0501 into other things.
    """
    import yaml  # the first cell imports this module before anything is installed

    loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader) if strings else yaml.SafeLoader  # none runs anything
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    except FileNotFoundError:
        raise CourseError(f"{path.name} is missing from {path.parent}", "restore it with git checkout") from None
    except yaml.YAMLError as error:
        raise CourseError(
            f"{path.name} is not valid YAML: {str(error).splitlines()[-1].strip()}", "mend that line"
        ) from None


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
