"""Carry a rehearsal to a GPU host that reaches no package index: its wheels for Python 3.12, cut into pieces.

    python -m scripts.rehearsal.rehearse --passes setup --python python3.12   here first, with the host's Python
    python -m scripts.rehearsal.stage pack             the wheels of that environment, as .gpu_kit/00/piece.00, …
    python3 -m scripts.rehearsal.stage unpack FOLDER   on the host, from FOLDER's pieces: FOLDER/wheels, FOLDER/driver

In the first, pip resolves what a reader's kernel gets; FOLDER holds every piece, and FOLDER/driver is to drive with.
Then, on the host:

    export PYTHONPATH=FOLDER/driver:src PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER/wheels
    python3 -m scripts.rehearsal.rehearse --t4 --host-packages --write --revision SHA

What the host has stays behind: name it with ``--host`` (torch's own requirements, CUDA among them, follow torch).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KIT = ROOT / ".gpu_kit"
LIST = "pieces.json"
HOST = ("torch", "torchvision", "numpy", "scipy", "scikit-learn", "transformers", "pip", "setuptools", "wheel")
ONLY_TORCH = r"nvidia-.*|cuda-.*|triton"
DRIVER = ("nbclient", "nbformat", "jupyter-client")
PLATFORMS = [f"manylinux_2_{n}_x86_64" for n in (39, 35, 34, 31, 28, 27, 24, 17, 12, 5)] + [
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
]
UNUSED = {"unsloth": "studio/"}  # a web application of 80 MB that training never imports


def held(python: Path) -> dict[str, str]:
    """Normalized name -> version of what an environment holds."""
    told = subprocess.run(
        [str(python), "-m", "pip", "list", "--format", "json"], capture_output=True, text=True, check=True
    ).stdout
    return {_normal(entry["name"]): entry["version"] for entry in json.loads(told)}


def _normal(name: str) -> str:
    """A package's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def lacking(packages: dict[str, str], host: tuple[str, ...]) -> list[str]:
    """``name==version`` of what has to travel."""
    stays = {_normal(name) for name in host}
    return sorted(
        f"{name}=={version}"
        for name, version in packages.items()
        if name not in stays and not re.fullmatch(ONLY_TORCH, name)
    )


def download(wanted: list[str], folder: Path) -> None:
    """Wheels for Python 3.12 on x86-64 Linux, without what they need: the list is complete."""
    target = [
        "--only-binary=:all:",
        "--python-version",
        "3.12",
        "--implementation",
        "cp",
        *(word for name in PLATFORMS for word in ("--platform", name)),
    ]
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--disable-pip-version-check",
        "--no-deps",
        *target,
        "-d",
        str(folder),
    ]
    subprocess.run([*command, *wanted], check=True)
    for name, part in UNUSED.items():
        for wheel in folder.glob(f"{name}-*.whl"):
            _without(wheel, part)


def _without(wheel: Path, part: str) -> None:
    """Rewrite a wheel without the files under ``part``; pip does not miss them."""
    slim = wheel.with_suffix(".slim")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            if not item.filename.startswith(part):
                new.writestr(item, old.read(item))
    slim.replace(wheel)


def cut(folder: Path, kit: Path, size: int) -> int:
    """The files of ``folder`` as one tar in pieces of ``size`` bytes, a folder each. Returns how many.

    The first has a list of all with their hashes.
    """
    shutil.rmtree(kit, ignore_errors=True)
    hashes = {}
    with tempfile.TemporaryFile() as whole:
        with tarfile.open(fileobj=whole, mode="w") as tar:
            tar.add(folder, arcname="wheels")
        whole.seek(0)
        while piece := whole.read(size):
            place = kit / f"{len(hashes):02d}" / f"piece.{len(hashes):02d}"
            place.parent.mkdir(parents=True)
            place.write_bytes(piece)
            hashes[place.name] = hashlib.sha256(piece).hexdigest()
    (kit / "00" / LIST).write_text(json.dumps(hashes), encoding="utf-8")
    return len(hashes)


def unpack(folder: Path) -> None:
    """Join the pieces in ``folder`` and install what drives a rehearsal."""
    join(folder)
    driver = ["--no-index", "--find-links", str(folder / "wheels"), "--target", str(folder / "driver"), *DRIVER]
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", *driver],
        check=True,
    )


def join(folder: Path) -> None:
    """The pieces in ``folder`` as FOLDER/wheels again. Raises SystemExit naming those that are missing or damaged."""
    if not (folder / LIST).exists():
        raise SystemExit(f"error: {folder} has no {LIST} → send what .gpu_kit/00 holds")
    hashes = json.loads((folder / LIST).read_text(encoding="utf-8"))
    with tempfile.TemporaryFile() as whole:
        for name, expected in hashes.items():
            piece = (folder / name).read_bytes() if (folder / name).exists() else b""
            if hashlib.sha256(piece).hexdigest() != expected:
                raise SystemExit(
                    f"error: {name} of {len(hashes)} is {'damaged' if piece else 'missing'} → send it again"
                )
            whole.write(piece)
        whole.seek(0)
        with tarfile.open(fileobj=whole) as tar:
            tar.extractall(folder, filter="data")


def main() -> int:
    """Run the command line (see the module). Returns the exit status; raises SystemExit before any rehearsal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=("pack", "unpack"))
    parser.add_argument("folder", nargs="?", type=Path, help="unpack: the folder with every piece")
    parser.add_argument(
        "--work",
        type=Path,
        default=ROOT / "build" / "rehearsal",
        help="pack: the folder of the rehearsal that was played here",
    )
    parser.add_argument("--host", nargs="+", default=HOST, help="pack: what the host has (%(default)s)")
    parser.add_argument("--piece-mb", type=int, default=30, help="pack: size of a piece in MiB (%(default)s)")
    arguments = parser.parse_args()
    if arguments.do == "unpack":
        if arguments.folder is None:
            parser.error("unpack needs the folder with the pieces")
        unpack(arguments.folder)
        return 0
    python = arguments.work / "colab" / "bin" / "python"
    if not python.exists():
        raise SystemExit(
            f"error: no rehearsal was played in {arguments.work} → python -m scripts.rehearsal.rehearse --passes setup"
        )
    wanted = lacking(held(python), tuple(arguments.host))
    with tempfile.TemporaryDirectory() as folder:
        download(wanted, Path(folder))
        count = cut(Path(folder), KIT, arguments.piece_mb * 2**20)
    print(f"{len(wanted)} wheels in {count} pieces of {arguments.piece_mb} MiB under {KIT.name}/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
