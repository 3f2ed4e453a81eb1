"""One constant names the repository; everything that holds the address agrees with it, and one command sets it."""

import re
import shutil
import subprocess
import sys

import nbformat
import pytest

from helpers.errors import CourseError
from helpers.paths import ROOT
from scripts.publish import badges, repository

NOW = repository.REPOSITORY


@pytest.fixture
def copy(tmp_path):
    """The course's pages, twins, stored notebooks and constant, in a folder with a space and Arabic letters."""
    root = tmp_path / "نسخة of the course"
    for name in ("notebooks", "docs"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name)
    for page in ROOT.glob("*.md"):
        shutil.copy(page, root)
    (root / "scripts" / "publish").mkdir(parents=True)
    shutil.copy(ROOT / "scripts" / "publish" / "repository.py", root / "scripts" / "publish")
    return root


def test_nothing_disagrees_with_the_constant():
    assert not [str(path.relative_to(ROOT)) for path in badges.disagreeing(ROOT, NOW, NOW)], "run: make badges"


def test_one_command_sets_every_place_and_touches_no_output(copy, capsys):
    assert badges.main(["somebody/a-course.v2", "--root", str(copy)]) == 0
    assert "now hold somebody/a-course.v2" in capsys.readouterr().out
    for path in (p for pattern in ("**/*.md", "**/*.py", "**/*.ipynb") for p in copy.glob(pattern)):
        text = path.read_text(encoding="utf-8")
        assert NOW not in text, path.name
        assert path.suffix == ".md" or path.name == "conf.py" or "somebody/a-course.v2" in text, path.name
    for path in (copy / "notebooks").glob("*.ipynb"):
        new, old = nbformat.read(path, as_version=4), nbformat.read(ROOT / "notebooks" / path.name, as_version=4)
        changed = [i for i, (a, b) in enumerate(zip(new.cells, old.cells, strict=True)) if a != b]
        first = next(
            i for i, cell in enumerate(new.cells) if cell.cell_type == "code" and "setup.prepare()" in cell.source
        )
        assert [i for i in changed if new.cells[i].cell_type == "code"] == [first], (
            "of the code the setup cell, nothing else"
        )
        assert all(NOW in old.cells[i].source for i in changed), (
            "of the prose the badge and links to the course's own pages"
        )
        assert [c.get("outputs") for c in new.cells] == [c.get("outputs") for c in old.cells]
    assert badges.main(["somebody/a-course.v2", "--root", str(copy), "--check"]) == 0
    assert badges.main([NOW, "--root", str(copy)]) == 0  # and back, to the byte
    for path in copy.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (ROOT / path.relative_to(copy)).read_bytes(), path.name


@pytest.mark.parametrize(("name", "old", "new"), [
    ("notebooks/text/00_start_here.py", f"github/{NOW}", "github/ELSE/x"),
    ("notebooks/00_start_here.ipynb", f"github/{NOW}", "github/ELSE/x"),
    ("notebooks/text/00_start_here.py", f"https://github.com/{NOW}", "https://github.com/ELSE/x"),
    ("notebooks/text/00_start_here.py", "checkpoint = setup.prepare()", "x = 1; checkpoint = setup.prepare()"),
    ("README.md", "# The Arabic FunctionGemma course\n",
     "# The Arabic FunctionGemma course\n\ngit clone https://github.com/ELSE/old-name.git\n"),
])  # fmt: skip
def test_one_place_that_disagrees_is_found(copy, capsys, name, old, new):
    path = copy / name
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    assert badges.main(["--root", str(copy), "--check"]) == 1
    assert f"disagrees: {name}" in capsys.readouterr().out


def test_a_notebook_without_badge_is_named(copy):
    path = copy / "notebooks" / "text" / "00_start_here.py"
    path.write_text(badges.BADGE.sub("", path.read_text(encoding="utf-8")), encoding="utf-8")
    with pytest.raises(CourseError, match="00_start_here has 0 places that look like its badge"):
        badges.main(["--root", str(copy)])


@pytest.mark.parametrize("name", ["https://github.com/a/b", "a/b.git", "a", "a/b/c", "a b/c", "a/..", 'a/b"', "a/b\n"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(CourseError, match="no repository's name"):
        badges.main([name, "--check"])


def test_make_badges_passes_the_name_on():
    told = subprocess.run(
        ["make", "-n", "badges", "REPO=a/b", f"RUN={sys.executable}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert re.search(r"-m scripts\.publish\.badges a/b$", told, re.M)
