"""Build the data set from its sources, and check it.

python -m scripts.dataset build              assets/data/*.jsonl, anew
python -m scripts.dataset check              every row against its tools, its schema and the template
python -m scripts.dataset sources [DOMAIN …]   every fault of the named domain files (all, without a name)
python -m scripts.dataset universe [FILE …]    every fault of the named families of tools (all, without a name)
"""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

from helpers import dataset
from helpers.errors import CourseError

from . import family_faults, row_builder, sources


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
        data = "".join(dataset.encode(entry) + "\n" for entry in entries).encode()
        (folder / name).write_bytes(data)
        sums.append(f"{hashlib.sha256(data).hexdigest()}  {name}\n")
    (folder / dataset.CHECKSUMS).write_text("".join(sums), encoding="utf-8")
    return {split: len(files[f"{split}.jsonl"]) for split in dataset.STORED}


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
    if argv == ["build"]:
        for split, count in build().items():
            print(f"{split}: {count} rows")
        return 0
    if argv == ["check"]:
        check()
        return 0
    if argv[:1] == ["sources"]:
        return sources.main(argv[1:])
    if argv[:1] == ["universe"]:
        return family_faults.main(argv[1:])
    print("usage: python -m scripts.dataset build | check | sources [DOMAIN …] | universe [FILE …]", file=sys.stderr)
    return 2


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
