"""Where the course lives on GitHub: the one constant, the addresses made of it, and the setup cell that every notebook starts with.

``make badges REPO=owner/name`` (``scripts/badges.py``) sets the constant and writes whatever is made of it; ``tests/test_badges.py`` finds
what disagrees.
"""

from __future__ import annotations

import re

REPOSITORY = "OWNER/arabic-functiongemma-course"  # set by: make badges REPO=owner/name
PLACEHOLDER = "OWNER/"
BRANCH = "main"

SETUP_CELL = """\
# Setup, the same in every notebook: find the course (or fetch it), install what is missing, show what we run on.
import importlib.util, os, pathlib, shutil, subprocess, sys

REPOSITORY = "https://github.com/{repository}"
here = pathlib.Path.cwd()
if (here / "course.zip").exists() and not (here / "course").exists():
    shutil.unpack_archive("course.zip", "course")
near = (here, *here.parents, here / "course", *here.glob("course/*"))
root = next((p for p in near if (p / "src" / "helpers").is_dir()), None)
if root is None and not importlib.util.find_spec("helpers"):
    clone = ["git", "clone", "--quiet", "--depth=1", REPOSITORY, "course"]
    if "/OWNER/" in REPOSITORY or subprocess.run(clone, env=os.environ | {{"GIT_TERMINAL_PROMPT": "0"}}).returncode:
        raise RuntimeError(f"no course here, and none at {{REPOSITORY}} → upload the repository as course.zip beside this notebook, run this cell again")
    root = here / "course"
if root:
    sys.path.insert(0, str(root / "src"))
from helpers import setup

checkpoint = setup.prepare()"""


def setup_cell(repository: str = REPOSITORY) -> str:
    """The setup cell's source, with the repository's address in it."""
    return SETUP_CELL.format(repository=repository)


def badge(notebook: str, repository: str = REPOSITORY) -> str:
    """The Open-in-Colab badge of a notebook, as Markdown. ``notebook`` is its name without folder and suffix."""
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return f"[![Open in Colab]({picture})](https://colab.research.google.com/github/{repository}/blob/{BRANCH}/notebooks/{notebook}.ipynb)"


def is_name(text: str) -> bool:
    """Whether a text is ``owner/name`` as GitHub allows it."""
    return bool(re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", text)) and not text.endswith(".git")
