"""Build the data set from its sources, and check it.

python -m scripts.dataset build              assets/data/*.jsonl, anew
python -m scripts.dataset check              every row against its tools, its schema and the template
python -m scripts.dataset sources [DOMAIN …]   every fault of the named domain files (all, without a name)
python -m scripts.dataset universe [FILE …]    every fault of the named families of tools (all, without a name)
python -m scripts.dataset report               the universe in figures, and what stands against its gates
python -m scripts.dataset agreement …          a blind second writer: scripts.dataset.agreement
python -m scripts.dataset export FOLDER [--rows N]   rows for those who do not use this package: parquet and a card
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from helpers import dataset, universe
from helpers.errors import CourseError
from helpers.paths import encode

from . import agreement, export, family_faults, row_builder, sources, universe_report


def build(folder: Path = dataset.FOLDER) -> dict[str, int]:
    """Write every split, the declarations and their checksums into ``folder``; returns the number of rows per split."""
    from tqdm import tqdm

    read = sources.read()
    builder = row_builder.Builder(read)
    tools = [{"domain": tool.domain, **tool.declaration} for tool in read.tools.values()]
    files = {"tools.jsonl": tools}
    for split in tqdm(dataset.STORED, desc="building", unit="split", file=sys.stdout):
        files[f"{split}.jsonl"] = builder.rows(split)
    sums = []
    for name, entries in files.items():
        data = "".join(encode(entry) + "\n" for entry in entries).encode()
        (folder / name).write_bytes(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    (folder / dataset.CHECKSUMS).write_text("".join(sums), encoding="utf-8")
    if folder == dataset.FOLDER:
        (folder / "universe" / dataset.CHECKSUMS).write_text("".join(universe_sums()), encoding="utf-8")
    return {split: len(files[f"{split}.jsonl"]) for split in dataset.STORED}


def universe_sums() -> list[str]:
    """A checksum of the rows that each of the universe's splits gives when it is loaded, in the form of sha256sum."""
    sums = []
    for split in universe.SPLITS:
        drawn = "".join(encode(row) + "\n" for row in universe.rows(split))
        sums.append(f"{hashlib.sha256(drawn.encode()).hexdigest()}  {split}\n")
    return sums


def check() -> None:
    """Validate every row of every split."""
    for split in dataset.STORED:
        loaded = dataset.load(split)
        for row in loaded:
            dataset.validate(row)
        print(f"{split}: {len(loaded)} rows are valid")


def main(argv: list[str] | None = None) -> int:
    """Run the command named in ``argv``. Returns the exit status: 2 for an unknown command."""
    argv = sys.argv[1:] if argv is None else argv
    commands = {
        "build": lambda rest: _built(),
        "check": lambda rest: check(),
        "sources": sources.main,
        "universe": family_faults.main,
        "report": lambda rest: universe_report.main(),
        "agreement": agreement.main,
        "export": export.main,
    }
    if not argv or argv[0] not in commands:
        print(f"usage: python -m scripts.dataset {' | '.join(commands)} …", file=sys.stderr)
        return 2
    return commands[argv[0]](argv[1:]) or 0


def _built() -> None:
    for split, count in build().items():
        print(f"{split}: {count} rows")


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
