"""Where the course lives on GitHub: the one constant, the addresses made of it, and the setup cell of every notebook.

``make badges REPO=owner/name`` (``scripts/publish/badges.py``) sets the constant and writes whatever is made of it;
``tests/scripts/test_badges.py`` finds what disagrees.
"""

from __future__ import annotations

import re

REPOSITORY = "OWNER/arabic-functiongemma-course"  # set by: make badges REPO=owner/name
PLACEHOLDER = "OWNER/"
BRANCH = "main"

SETUP_CELL = """\
# @title Setup: find the course or fetch it, install what is missing, show what we run on
REPOSITORY = "https://github.com/{repository}"  # @param {{type: "string"}}
import importlib, itertools, os, pathlib, subprocess, sys, tempfile, zipfile

HERE, MARK, told = pathlib.Path.cwd(), "helpers/setup.py", []
PLACES = [HERE, pathlib.Path("/content/drive/MyDrive"), *pathlib.Path("/kaggle/input").glob("*")]


def find():  # the folder that holds the package: above us, below one of the places, or installed
    far = (f.parents[1] for n in range(3) for p in PLACES for f in p.glob("*/" * n + f"src/{{MARK}}"))
    places = itertools.chain((p / "src" for p in HERE.parents), far, map(pathlib.Path, sys.path))
    return next((p for p in places if (p / MARK).is_file()), None)


def sources():  # what to try, one after the other
    yield from [*(z for p in PLACES for z in sorted(p.glob("*.zip"))), REPOSITORY]
    if "google.colab" in sys.modules and not find():
        print("No course here. Upload its zip (on GitHub: Code, Download ZIP):")
        importlib.import_module("google.colab.files").upload()
        yield from sorted(HERE.glob("*.zip"))


def fetch(source):
    if source == REPOSITORY:
        words = ["git", "clone", "-q", "--depth=1", source, "course"]
        asks = os.environ | {{"GIT_TERMINAL_PROMPT": "0"}}
        done = subprocess.run(words, env=asks, stderr=subprocess.PIPE, text=True)
        told.extend(done.stderr.splitlines()[:1])
    elif inside := [n for n in zipfile.ZipFile(source).namelist() if n.endswith("src/" + MARK)]:
        with tempfile.TemporaryDirectory(dir=HERE) as part:  # then moved: half a zip leaves nothing
            zipfile.ZipFile(source).extractall(part)
            os.replace(pathlib.Path(part, inside[0]).parents[2], "course")


for source in sources():
    try:
        find() or (source == REPOSITORY and "/OWNER/" in source) or fetch(source)
    except Exception as error:
        told.append(f"{{pathlib.PurePath(source).name}}: {{error}}")
if not find():
    remedy = "put its zip beside this notebook, or set REPOSITORY above, and run this cell again"
    raise RuntimeError("; ".join(["no course here", *told]) + f" → {{remedy}}")
# a file of that name, which is not ours, makes room
hasattr(sys.modules.get("helpers"), "__path__") or sys.modules.pop("helpers", None)
sys.path.insert(0, str(find()))
from helpers import setup

checkpoint = setup.prepare()"""


def setup_cell(repository: str = REPOSITORY) -> str:
    """The setup cell's source, with the repository's address in it."""
    return SETUP_CELL.format(repository=repository)


def badge(notebook: str, repository: str = REPOSITORY) -> str:
    """The Open-in-Colab badge of a notebook, as Markdown. ``notebook`` is its name without folder and suffix."""
    picture = "https://colab.research.google.com/assets/colab-badge.svg"
    return (
        f"[![Open in Colab]({picture})]"
        f"(https://colab.research.google.com/github/{repository}/blob/{BRANCH}/notebooks/{notebook}.ipynb)"
    )


def is_name(text: str) -> bool:
    """Whether a text is ``owner/name`` as GitHub allows it."""
    return bool(
        re.fullmatch(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}", text)
    ) and not text.endswith(".git")
