"""Check the committed course from a fresh clone before a release, and write it as a zip for people without git.

    python -m scripts.publish.release check FOLDER [--again]   run everything, one table   (make release FOLDER=…)
    python -m scripts.publish.release zip [OUT]                build/course.zip, or OUT    (make zip)

``check`` clones HEAD into FOLDER/clone and runs there ``make setup`` and ``test``, then ``run`` and ``rehearse`` side
by side, each on half of the cores, and after them ``site`` and ``slides``, those of them that the Makefile has. It goes
on after a failure and ends with 1 if anything failed. The caches of the course and of the hub are FOLDER/cache, empty
at first; pip's own stays. Called again with the same FOLDER and HEAD it goes on where it was: a step whose log ended
well is not run again, unless ``--again`` asks for it.
FOLDER lies outside every course: the setup cell that is rehearsed would find that course and not clone. Test material
in ``shared/`` beside the repository is linked beside the clone, as CI has it.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import subprocess
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from helpers.errors import CourseError
from helpers.paths import read_yaml

from .course_zip import git, write_zip
from .site import megabytes

ROOT = Path(__file__).resolve().parents[2]  # of this clone, wherever helpers is installed from
STEPS = ("setup", "test", "run", "rehearse", "site", "slides")  # the one that finds most in the least time first
SIDE_BY_SIDE = ("run", "rehearse")  # a notebook alone leaves most of a second core idle; test fills both by itself
FORGOTTEN = {"MAKEFLAGS", "MAKELEVEL", "MFLAGS", "MAKEOVERRIDES", "FOLDER", "NB", "OPTIONS", "OUT", "RUN", "VENV",
             "HF_TOKEN", "PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV"}  # fmt: skip
_ENDED = re.compile(r"^release: ended with (-?\d+) after ([\d.]+) minutes\n\Z", re.M)


@dataclass(frozen=True)
class Row:
    """A line of the table: what was done or measured, how that went, and where to look."""

    step: str
    result: str
    minutes: str
    where: str
    failed: bool = False


def versions(root: Path) -> dict[str, str]:
    """The version that each file names, with the date of the release where the file has one."""

    def first(name: str, pattern: str) -> str:
        found = re.search(pattern, (root / name).read_text(encoding="utf-8"), re.M)
        return found[1] if found else "none"

    cited = read_yaml(root / "CITATION.cff", strings=True)
    return {
        "pyproject.toml": tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"],
        "src/helpers/__init__.py": first("src/helpers/__init__.py", r'^__version__ = "(.+)"$'),
        "CITATION.cff": f"{cited['version']} · {cited['date-released']}",
        "CHANGELOG.md": first("CHANGELOG.md", r"^## (.+)$"),
    }


def prepare(root: Path, folder: Path) -> Path:
    """Clone the committed HEAD into an empty folder, or find the clone that is there. Returns the clone.

    Raises CourseError for a tree with changes, and for a folder inside a course or with anything else in it.
    """
    if changed := [line[3:] for line in git(root, "status", "--porcelain").decode().splitlines()]:
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        raise CourseError(f"not committed: {changed[0]}{more}", "commit it, or git stash --include-untracked")
    if any((above / "src" / "helpers" / "setup.py").exists() for above in folder.parents):
        raise CourseError(f"{folder} lies inside a course, which would be rehearsed", "name a folder elsewhere")
    clone, head = folder / "clone", git(root, "rev-parse", "HEAD")
    if (clone / ".git").is_dir() and git(clone, "rev-parse", "HEAD") == head:
        return clone
    if folder.exists() and any(folder.iterdir()):
        raise CourseError(f"{folder} holds something else than a check of {head[:7].decode()}", "name an empty folder")
    folder.mkdir(parents=True, exist_ok=True)
    git(root, "clone", "--quiet", str(root), str(clone))
    if (beside := root.parent / "shared").is_dir():
        (folder / "shared").symlink_to(beside)
    return clone


def commands(clone: Path) -> dict[str, list[str]]:
    """Step -> the command that is run in the clone, for each step that its Makefile has."""
    makefile = (clone / "Makefile").read_text(encoding="utf-8")
    found = {step: ["make", step] for step in STEPS if re.search(rf"^{step}:", makefile, re.M)}
    if "rehearse" in found:  # outside the clone, which the setup cell would find
        found["rehearse"] += [f"OPTIONS=--work {shlex.quote(str(clone.parent / 'rehearsal'))}"]
    return found


def run(step: str, words: list[str], folder: Path, again: bool = False, threads: int | None = None) -> Row:
    """Run one step in the clone with its output in a log, whose last line says how it ended; or read that line.

    ``threads``: how many it computes with, all that there are unless given.
    """
    log = folder / "logs" / f"{step}.log"
    log.parent.mkdir(exist_ok=True)
    before = _ENDED.search(log.read_text(encoding="utf-8", errors="replace")) if log.exists() else None
    if before and before[1] == "0" and not again:
        print(f"{step}: ended well before this")
        return Row(step, "well", before[2], str(log))
    own = {name: value for name, value in os.environ.items() if name not in FORGOTTEN and name[:7] != "COURSE_"}
    own |= {"COURSE_CACHE": str(folder / "cache"), "HF_HOME": str(folder / "cache" / "huggingface")}
    own |= {"OMP_NUM_THREADS": str(threads)} if threads else {}
    print(f"{step}: begun at {time.strftime('%H:%M')} → {log}", flush=True)
    started = time.monotonic()
    with log.open("w", encoding="utf-8") as told:
        try:
            status = subprocess.run(
                words, cwd=folder / "clone", env=own, stdin=subprocess.DEVNULL, stdout=told, stderr=subprocess.STDOUT
            ).returncode
        except OSError as error:  # the command is not on this machine
            status = 127
            told.write(f"{error}\n")
    minutes = f"{(time.monotonic() - started) / 60:.1f}"
    with log.open("a", encoding="utf-8") as told:
        told.write(f"\nrelease: ended with {status} after {minutes} minutes\n")
    result = f"failed ({status})" if status else "well"
    print(f"{step}: {result} after {minutes} minutes", flush=True)
    return Row(step, result, minutes, str(log), bool(status))


def facts(folder: Path) -> list[Row]:
    """The sizes of what was checked, and whether its files agree on the version and the date."""
    clone, target = folder / "clone", folder / "course.zip"
    rows = []
    for name, place, pattern in (
        ("notebooks", clone / "notebooks", "*.ipynb"),
        ("site", clone / "build" / "site", "**/*"),
    ):
        rows.append(Row(name, f"{megabytes(place, pattern):.1f} MB" if place.is_dir() else "not built", "", str(place)))
    try:
        rows.append(Row("zip", f"{write_zip(clone, target):.1f} MB", "", str(target)))
    except CourseError as error:
        rows.append(Row("zip", f"failed: {error}", "", "", True))
    told = versions(clone)
    agree = told["CITATION.cff"] == told["CHANGELOG.md"] and len({text.split(" · ")[0] for text in told.values()}) == 1
    result = told["CHANGELOG.md"] if agree else "differs: " + ", ".join(f"{n} {text}" for n, text in told.items())
    return [*rows, Row("version", result, "", "", not agree)]


def table(rows: list[Row]) -> str:
    """The rows as a Markdown table whose columns a terminal shows one below the other."""
    cells = [["step", "result", "minutes", "where"], *([r.step, r.result, r.minutes, r.where] for r in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    cells.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "| " + " | ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)) + " |" for line in cells
    )


def check(root: Path, folder: Path, steps: dict[str, list[str]] | None = None, again: bool = False) -> int:
    """Run every step in a clone of HEAD and print the table. Returns the exit status; 1 if anything failed.

    ``steps`` stand for ``commands``. Raises CourseError before the first step for what cannot be checked.
    """
    clone = prepare(root, folder := folder.resolve())
    steps = steps or commands(clone)
    side = [step for step in SIDE_BY_SIDE if step in steps]
    half = max(1, (os.cpu_count() or 2) // 2) if len(side) > 1 else None
    rows: list[Row] = []
    for step, words in steps.items():
        if step not in side:
            rows.append(run(step, words, folder, again))
        elif step == side[0]:
            with ThreadPoolExecutor() as pool:
                rows += pool.map(lambda each: run(each, steps[each], folder, again, half), side)
    rows += facts(folder)
    print(f"\n{table(rows)}")
    return int(any(row.failed for row in rows))


def main(argv: list[str] | None = None) -> int:
    """Run the command line (see the module). Returns the exit status; raises CourseError for what it cannot do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="do", required=True)
    of_check = ways.add_parser("check", help="run everything in a fresh clone of HEAD")
    of_check.add_argument("folder", type=Path, help="an empty folder, or that of a check to go on with")
    of_check.add_argument("--again", action="store_true", help="run the steps that ended well, too")
    of_zip = ways.add_parser("zip", help="HEAD as a zip")
    of_zip.add_argument("out", type=Path, nargs="?", default=ROOT / "build" / "course.zip")
    arguments = parser.parse_args(argv)
    if arguments.do == "check":
        return check(ROOT, arguments.folder, again=arguments.again)
    size = write_zip(ROOT, arguments.out)
    print(f"{git(ROOT, 'rev-parse', '--short', 'HEAD').decode().strip()}, {size:.1f} MB → {arguments.out}")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit("stopped → the same command goes on") from None
