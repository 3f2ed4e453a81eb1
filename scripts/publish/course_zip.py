"""The committed course as a zip for people without git (``make zip``; the command is in ``release``).

It holds HEAD in one folder, as the setup cell wants it, without ``LEFT_OUT``: the tests, CI, the site's settings, and
the scripts that make the course, but for the one that ``make run`` executes. No notebook and no helper reads anything
of that; of the Makefile ``run``, ``lab`` and ``setup`` work. The same commit gives the same bytes wherever zlib is the
same.
"""

from __future__ import annotations

import io
import subprocess
import tarfile
import time
import zipfile
from pathlib import Path

from helpers.errors import CourseError

from . import repository

LARGEST = 30  # MB
LEFT_OUT = (".ci/", ".devcontainer/", ".github/", ".gitignore", ".pre-commit-config.yaml", "conftest.py", "docs/site/",
            "requirements-site.txt", "scripts/", "tests/")  # fmt: skip
NEEDED = ("scripts/__init__.py", "scripts/publish/__init__.py", "scripts/publish/notebooks.py")  # for make run


def git(root: Path, *words: str) -> bytes:
    """What a git command prints in a repository. Raises CourseError with git's own first line when it fails."""
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True)
    if done.returncode:
        told = (done.stderr.decode(errors="replace").splitlines() or ["no reason given"])[0]
        raise CourseError(f"git {words[0]}: {told}", "run this in a clone of the course")
    return done.stdout


def write_zip(root: Path, target: Path, limit: float = LARGEST) -> float:
    """Write the committed HEAD as a zip, without what is left out. Returns its MB.

    Raises CourseError when it would be larger than ``limit``; then nothing is written.
    """
    date = time.gmtime(int(git(root, "log", "-1", "--format=%ct")))[:6]
    whole = io.BytesIO(git(root, "-c", "core.autocrlf=false", "archive", "--format=tar", "HEAD"))
    written, folder = io.BytesIO(), repository.REPOSITORY.split("/")[1]
    with tarfile.open(fileobj=whole) as tar, zipfile.ZipFile(written, "w") as archive:
        for member in sorted(tar, key=lambda member: member.name):
            held = tar.extractfile(member)  # None for a folder
            if held and (member.name in NEEDED or not member.name.startswith(LEFT_OUT)):
                info = zipfile.ZipInfo(f"{folder}/{member.name}", date)
                info.create_system, info.external_attr = 3, (0o100755 if member.mode & 0o100 else 0o100644) << 16
                archive.writestr(info, held.read(), zipfile.ZIP_DEFLATED, 9)
        largest = sorted(archive.infolist(), key=lambda info: -info.compress_size)[:3]
    if (size := len(written.getvalue()) / 1e6) > limit:
        named = ", ".join(f"{i.filename.split('/', 1)[1]} {i.compress_size / 1e6:.1f}" for i in largest)
        raise CourseError(f"{target.name} would take {size:.1f} MB, of which {named}", f"keep it to {limit:g}")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(written.getvalue())
    return size
