"""Lines of JSON in a compressed file: how rows, predictions and judgements are kept."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from pathlib import Path


def read(path: Path) -> list[dict]:
    """The objects of a .jsonl.gz file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file if line.strip()]


def write(path: Path, told: Iterable[dict]) -> None:
    """Write objects to a .jsonl.gz file, Arabic as it is."""
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(each, ensure_ascii=False) + "\n" for each in told)
