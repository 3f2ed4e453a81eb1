"""What the first cell of every notebook calls: install what is missing, load the libraries quietly, say what we run on."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

from .errors import CourseError
from .paths import ROOT

_REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)\s*(==\s*([^\s#;]+))?")


def _missing(path) -> list[str]:
    """Lines of a requirements file whose package is absent, or is pinned to another version."""
    wanted = []
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#")[0].strip()
        if not line or line.startswith("-"):
            continue
        name, _, pinned = _REQUIREMENT.match(line).groups()
        try:
            if pinned and metadata.version(name) != pinned:
                wanted.append(line)
        except metadata.PackageNotFoundError:
            wanted.append(line)
    return wanted


def install() -> list[str]:
    """Install what requirements.txt and requirements-nodeps.txt name and this kernel lacks; torch and numpy stay as they are.

    Returns what was installed. Raises CourseError when a pin cannot be met, naming it.
    """
    changed = []
    keep = [f"{name}=={metadata.version(name)}" for name in ("torch", "numpy") if _installed(name)]
    for file, extra in (("requirements.txt", keep), ("requirements-nodeps.txt", ["--no-deps"])):
        wanted = _missing(ROOT / file)
        if not wanted:
            continue
        print(f"installing {', '.join(wanted)}")
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *wanted, *extra]
        if subprocess.run(command, check=False).returncode:
            raise CourseError(f"pip could not install {', '.join(wanted)} from {file}", "read pip's message above; on Colab: Runtime → Disconnect and delete, then run again")
        changed += wanted
    return changed


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def prepare(which: str = "course"):
    """Make this kernel ready and print versions, device and model. Returns the Checkpoint that the notebook uses."""
    install()
    from . import checkpoints, environment, plots, quiet

    quiet.libraries()
    plots.style()
    environment.seed_everything()
    checkpoint = checkpoints.ensure(which)
    environment.show(checkpoint)
    return checkpoint
