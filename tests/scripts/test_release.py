"""The check before a release and the zip: on a small repository with tiny commands; and the course's own zip."""

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from test_setup import cell, found

from helpers.errors import CourseError
from helpers.paths import ROOT
from scripts.publish import course_zip, release, repository

NAME = repository.REPOSITORY.split("/")[1]
FILES = {
    ".gitignore": "build/\n",
    "CHANGELOG.md": "# Changelog\n\n## 0.2.0 · 2026-12-01\n\n- New.\n\n## 0.1.0 · 2026-11-27\n\n- First.\n",
    "CITATION.cff": "cff-version: 1.2.0\nversion: 0.2.0\ndate-released: 2026-12-01\n",
    "Makefile": "run:\nrehearse:\nslides:\nlint:\n",
    "README.md": "# دورة\n",
    "notebooks/00_start.ipynb": "{}\n",
    "pyproject.toml": '[project]\nname = "x"\nversion = "0.2.0"\n',
    "scripts/__init__.py": "",
    "scripts/publish/__init__.py": "",
    "scripts/publish/notebooks.py": "",
    "scripts/publish/site.py": "",
    "src/helpers/__init__.py": '__version__ = "0.2.0"\n',
    "src/helpers/setup.py": "def prepare():\n    print(__file__)\n    return 'ready'\n",
    "tests/test_x.py": "",
    "بيانات.txt": "نص\n",
}
SHIPPED = sorted(set(FILES) - {".gitignore", "scripts/publish/site.py", "tests/test_x.py"})


def commit(root: Path) -> None:
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(root)]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "a course"]):
        subprocess.run([*git, *words], check=True)


@pytest.fixture
def small(tmp_path):
    """A course of a few small files, as a git repository whose path has a space and Arabic letters."""
    root = tmp_path / "نسخة of it" / "course"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    commit(root)
    return root


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


# --- the zip ----------------------------------------------------------------------------------------------------------


def test_the_same_commit_gives_the_same_bytes_from_any_clone(small, tmp_path):
    release.write_zip(small, tmp_path / "one" / "a.zip")
    subprocess.run(["git", "clone", "-q", str(small), str(tmp_path / "again")], check=True)
    (small / "README.md").write_text("not committed\n")
    (small / "new.txt").write_text("neither\n")
    os.utime(small / "pyproject.toml", (0, 0))
    subprocess.run(["git", "-C", str(small), "config", "tar.umask", "0077"], check=True)
    for number, root in enumerate((small, tmp_path / "again")):
        release.write_zip(root, tmp_path / f"{number}.zip")
        assert (tmp_path / f"{number}.zip").read_bytes() == (tmp_path / "one" / "a.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        assert archive.namelist() == [f"{NAME}/{name}" for name in SHIPPED]
        assert archive.read(f"{NAME}/README.md").decode() == "# دورة\n"


def test_a_zip_that_is_too_large_is_refused_and_names_what_is_large(small, tmp_path):
    (small / "notebooks" / "large.bin").write_bytes(os.urandom(200_000))
    commit(small)
    with pytest.raises(
        CourseError, match=r"^c.zip would take 0.2 MB, of which notebooks/large.bin 0.2, .* → keep it to 0.1$"
    ):
        release.write_zip(small, tmp_path / "c.zip", limit=0.1)
    assert not (tmp_path / "c.zip").exists()


def test_the_setup_cell_finds_the_course_in_the_zip(small, tmp_path):
    content = tmp_path / "content"
    content.mkdir()
    release.write_zip(small, content / "course.zip")
    assert found(cell(content)) == (content / "course" / "src" / "helpers" / "setup.py").resolve()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The course's own zip, unpacked."""
    if subprocess.run(["git", "-C", str(ROOT), "rev-parse", "HEAD"], capture_output=True).returncode:
        pytest.skip("this copy is no git repository")
    folder = tmp_path_factory.mktemp("zip")
    size = course_zip.write_zip(ROOT, folder / "course.zip")
    assert size <= course_zip.LARGEST == 30 and (folder / "course.zip").stat().st_size == pytest.approx(size * 1e6)
    zipfile.ZipFile(folder / "course.zip").extractall(folder)
    return folder / NAME


def test_the_zip_holds_what_a_reader_needs_and_what_its_pages_link_to(unpacked):
    told = subprocess.run(
        ["git", "ls-tree", "-r", "-z", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, check=True
    )
    names = [name for name in told.stdout.decode().split("\0") if name]
    for name in names:
        if name.startswith(("notebooks/", "src/", "assets/")) or name in ("Makefile", "LICENSE", "README.md"):
            assert (unpacked / name).is_file(), name
    for page in unpacked.rglob("*.md"):
        for link in re.findall(r"\]\(([^()\s#:]+)(?:#[^()\s]*)?\)", page.read_text(encoding="utf-8")):
            target = page.parent / link
            lost = (ROOT / page.relative_to(unpacked)).parent / link
            assert target.exists() or not lost.exists(), f"{page.relative_to(unpacked)} links to {link}, left out"


@pytest.mark.slow
def test_the_makefile_of_the_zip_sets_up_and_runs_the_notebooks(unpacked):
    """Every file that ``make run`` names is there, and what it executes imports from the unpacked folder alone."""
    told = subprocess.run(["make", "-n", "run"], cwd=unpacked, capture_output=True, text=True, check=True).stdout
    assert "-m scripts.publish.notebooks run" in told
    for name in re.findall(r"requirements[\w-]*\.txt", told):
        assert (unpacked / name).is_file(), name
    own = {name: value for name, value in os.environ.items() if not name.startswith("COURSE_")}
    code = "import helpers.setup, scripts.publish.notebooks as n, helpers.paths as p; print(len(n.chosen([])), p.ROOT)"
    done = subprocess.run(
        python(code), cwd=unpacked, env=own | {"PYTHONPATH": "src"}, capture_output=True, text=True, check=True
    )
    twins = len(list((unpacked / "notebooks" / "text").glob("*.py")))
    assert done.stdout.split() == [str(twins), str(unpacked)] and twins


# --- the check --------------------------------------------------------------------------------------------------------


def test_one_step_fails_the_others_run_and_the_table_tells(small, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COURSE_MODEL", "mine")
    folder = tmp_path / "release"
    tells = "import os, pathlib; print(os.environ['COURSE_CACHE'], 'COURSE_MODEL' in os.environ, pathlib.Path.cwd())"
    steps = {"run": python(tells), "test": python("exit('it broke')"), "site": ["no-such-command"], "last": python("")}
    assert release.check(small, folder, steps) == 1
    told = capsys.readouterr().out
    rows = [[text.strip() for text in line.strip("|").split("|")] for line in told.splitlines() if line[:1] == "|"]
    assert (
        rows[0] == ["step", "result", "minutes", "where"]
        and len({len(line) for line in told.splitlines() if line[:1] == "|"}) == 1
    )
    results = {row[0]: row[1] for row in rows[2:]}
    assert {step: results[step] for step in steps} == {
        "run": "well", "test": "failed (1)", "site": "not built", "last": "well"
    }  # fmt: skip
    assert ["site", "failed (127)", "0.0", str(folder / "logs" / "site.log")] in rows
    assert results["notebooks"] == results["zip"] == "0.0 MB" and results["version"] == "0.2.0 · 2026-12-01"
    assert "it broke" in (folder / "logs" / "test.log").read_text(encoding="utf-8")
    first = (folder / "logs" / "run.log").read_text(encoding="utf-8").splitlines()[0]
    assert first == f"{folder / 'cache'} False {folder / 'clone'}" and not (folder / "cache").exists()
    assert (folder / "course.zip").is_file() and "test: failed (1) after 0.0 minutes" in told


def test_what_ended_well_is_not_run_again_unless_asked(small, tmp_path):
    folder, counted = tmp_path / "release", tmp_path / "counted"
    counts = f"import pathlib; p = pathlib.Path({str(counted)!r}); p.open('a').write(NAME)"
    steps = {name: python(counts.replace("NAME", repr(name))) for name in "abc"}
    steps["b"][-1] += "; exit(p.read_text().count('b') < 2)"
    assert release.check(small, folder, steps) == 1 and counted.read_text() == "abc"
    (folder / "logs" / "c.log").write_text("a step that was cut off has no last line\n")
    assert release.check(small, folder, steps) == 0 and counted.read_text() == "abcbc"
    assert release.check(small, folder, steps) == 0 and counted.read_text() == "abcbc"
    assert release.check(small, folder, steps, again=True) == 0 and counted.read_text() == "abcbcabc"


def test_notebooks_run_beside_the_rehearsal_each_on_half_of_the_cores(small, tmp_path, monkeypatch):
    """Each of the two waits until the other has begun, and both end before what follows."""
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    waits = """
import os, pathlib, time
pathlib.Path({own!r}).write_text(os.environ["OMP_NUM_THREADS"])
until = time.time() + 30
while not pathlib.Path({other!r}).exists() and time.time() < until: time.sleep(0.05)
exit(time.time() > until)
"""
    run, rehearsal = str(tmp_path / "run"), str(tmp_path / "rehearsal")
    last = (
        f"import os; exit(open({run!r}).read() + open({rehearsal!r}).read() != '33' or 'OMP_NUM_THREADS' in os.environ)"
    )
    steps = {
        "setup": python(""),
        "run": python(waits.format(own=run, other=rehearsal)),
        "rehearse": python(waits.format(own=rehearsal, other=run)),
        "test": python(last),
    }
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert release.check(small, tmp_path / "release", steps) == 0


def test_a_tree_with_changes_is_refused_in_a_line(small, tmp_path):
    (small / "README.md").write_text("changed\n")
    (small / "new.txt").write_text("new\n")
    with pytest.raises(
        CourseError, match=r"^not committed: README.md and 1 more → commit it, or git stash --include-u"
    ):
        release.check(small, tmp_path / "release", {})
    assert not (tmp_path / "release").exists()


def test_only_an_empty_folder_outside_every_course_will_do(small, tmp_path):
    with pytest.raises(CourseError, match="lies inside a course"):
        release.check(small, small / "build" / "release", {})
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").write_text("a reader's own")
    with pytest.raises(CourseError, match="holds something else than a check of [0-9a-f]{7} → name an empty folder"):
        release.check(small, tmp_path / "used", {})
    step = {"run": python("")}
    assert release.check(small, tmp_path / "release", step) == 0
    (small / "README.md").write_text("the next commit\n")
    commit(small)
    with pytest.raises(CourseError, match="holds something else"):
        release.check(small, tmp_path / "release", step)


def test_test_material_beside_the_repository_is_beside_the_clone(small, tmp_path):
    (small.parent / "shared").mkdir()
    (small.parent / "shared" / "guide.md").write_text("text")
    assert release.check(small, tmp_path / "release", {"test": python("open('../shared/guide.md')")}) == 0


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("pyproject.toml", "0.2.0", "0.2.1"),
        ("src/helpers/__init__.py", "0.2.0", "0.1.0"),
        ("CITATION.cff", "2026-12-01", "2026-11-27"),
        ("CHANGELOG.md", "## 0.2.0", "## Unreleased\n\n- Newer.\n\n## 0.2.0"),
    ],
)
def test_a_version_or_date_that_differs_is_found(small, tmp_path, capsys, name, old, new):
    (small / name).write_text(FILES[name].replace(old, new), encoding="utf-8")
    commit(small)
    assert release.check(small, tmp_path / "release", {"run": python("")}) == 1
    assert re.search(r"\| version +\| differs: .*CHANGELOG\.md ", capsys.readouterr().out)


def test_the_files_of_the_course_agree_on_its_last_version():
    """While there is something unreleased, they name the version before it."""
    told = release.versions(ROOT)
    last = re.search(r"^## (\d.*)$", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.M)[1]
    assert told["CITATION.cff"] == last
    assert {told["pyproject.toml"], told["src/helpers/__init__.py"]} == {last.split(" · ")[0]}


def test_the_steps_are_those_that_the_makefile_has(small, tmp_path):
    clone = release.prepare(small, tmp_path / "a folder")
    found = release.commands(clone)
    assert list(found) == ["run", "rehearse", "slides"] and found["run"] == ["make", "run"]
    assert found["rehearse"] == ["make", "rehearse", f"OPTIONS=--work '{tmp_path / 'a folder' / 'rehearsal'}'"]
    assert set(release.commands(ROOT)) >= {"run", "test", "rehearse", "site"}
    told = subprocess.run(["make", *found["rehearse"][1:], "-n"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert told.stdout.splitlines()[-1].endswith(f"rehearse --work '{tmp_path / 'a folder' / 'rehearsal'}'")
