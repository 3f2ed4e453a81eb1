"""A folder laid out like the hub's own cache, and programs that find their files there.

``HF_HUB_CACHE`` is read when ``huggingface_hub`` is imported, so each program runs in a process of its own.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REVISION = "0123456789abcdef0123456789abcdef01234567"


def mirror(cache: Path, kind: str, name: str) -> Path:
    """An empty snapshot of a repository in a hub cache.

    ``models--owner--name/snapshots/REVISION``, and ``refs/main`` that names it.
    """
    folder = cache / f"{kind}--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    return folder / "snapshots" / REVISION


def blob(snapshot: Path, source: Path) -> None:
    """A file as the hub's cache keeps it: the content under ``blobs``, a relative link to it in the snapshot."""
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(exist_ok=True)
    try:
        os.link(source, blobs / source.name)
    except OSError:  # another disk
        shutil.copy(source, blobs / source.name)
    (snapshot / source.name).symlink_to(Path("..", "..", "blobs", source.name))


def python(program: str, cache: Path, **settings) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "COURSE_MODEL"}
    environment |= {
        "HF_HUB_CACHE": str(cache),
        "HF_DATASETS_CACHE": str(cache / "datasets"),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUTF8": "1",
    } | settings
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)
