"""Rows for those who do not use this package: parquet files and a card, as ``datasets.load_dataset`` reads them.

    python -m scripts.dataset export FOLDER [--rows N]

``--rows`` is how many training rows are drawn (each request once, without it). ``messages``, ``tools``, ``calls`` and
``asks`` stay JSON strings, as in the course.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from helpers import dataset, universe

CARD = """---
license: apache-2.0
language: [ar, en]
task_categories: [text-generation]
tags: [function-calling, tool-use, arabic, dialects]
configs:
- config_name: default
  data_files:
{files}
---
# A thousand tools in five dialects

Requests in standard Arabic, four groups of dialects and English, the tools declared beside them, and the call that is
right. {told}

`messages`, `tools`, `calls` and `asks` are JSON strings. `kind` is single, parallel, none (nothing is to be called) or
ask_back (something required is missing; `asks` lists word stems of the right question). Splits: `universe_train`;
`universe_validation`, other families of tools; `ring_1_new_tool`, new tools of known families; `ring_2_new_family`, new
families; `ring_3_no_neighbours`, ring 1's tools without their known neighbours declared.

All texts were written by language models and are to be read by native speakers; see `assets/data/universe/README.md` of
the course for counts, the agreement of a blind second writer, and what the set cannot show.
"""


def export(folder: Path, rows: int | None = None) -> dict[str, int]:
    """Write a parquet file a split and README.md into ``folder``. Returns the number of rows per split."""
    from datasets import Dataset

    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for split in universe.SPLITS:
        drawn = rows if split == "universe_train" else None
        data = Dataset.from_list(universe.training_rows(drawn)) if drawn else dataset.load(split)
        data.to_parquet(folder / f"{split}.parquet")
        written[split] = len(data)
    files = "\n".join(f"  - split: {split}\n    path: {split}.parquet" for split in universe.SPLITS)
    told = ", ".join(f"{split} {count:,} rows" for split, count in written.items()) + "."
    (folder / "README.md").write_text(CARD.format(files=files, told=told), encoding="utf-8")
    return written


def main(argv: list[str]) -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(prog="python -m scripts.dataset export", description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int)
    arguments = parser.parse_args(argv)
    for split, count in export(arguments.folder, arguments.rows).items():
        print(f"{split}: {count} rows")
