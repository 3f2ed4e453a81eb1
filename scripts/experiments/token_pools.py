"""Rows as token ids on disk: what training runs draw their steps from, one pool for each source of rows.

    universe   the thousand tools' training requests, drawn anew each round     helpers.universe
    refilled   the same, half of its copied values replaced                      helpers.universe.refilling
    universe_N as many rows of some N of its tools alone, to see what breadth does
    course     the course's own 32 tools, drawn anew and renamed each round     scripts.dataset.augmentation
    seal       Seal-Tools (Wu et al. 2024, Apache-2.0), English, 1,640 requests beside drawn distractors; its converted
               files (declarations.jsonl.gz, requests.jsonl.gz) are made from github.com/fairyshine/Seal-Tools
    train      the course's stored rows, for the guide's recipe; train_full, train_no_stops and train_with_results label
               all tokens, no stop, and what tools wrote
    held       the first rows of universe_validation: their loss is measured, nothing is trained on them
    plain      text that the base model wrote by itself, Arabic and English: what it may not forget (``replay``)

A round draws every request of its source once. ``draw`` writes FOLDER/POOL-ROUND.npz, several rounds at a time.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from helpers import dataset, masking

from . import lines

#: Pools of the stored rows -> which tokens carry loss.
STORED: dict[str, dict[str, bool]] = {
    "train": {}, "train_full": {"mask_prompt": False, "mask_tool_results": False},
    "train_no_stops": {"label_stops": False}, "train_with_results": {"mask_tool_results": False},
}  # fmt: skip
COUNTS = (32, 130, 230)  # tools of the universe_N pools
ROUNDS = {
    "universe": 24,
    "refilled": 24,
    "course": 12,
    "seal": 12,
    "held": 1,
    **dict.fromkeys(STORED, 1),
    **{f"universe_{count}": 1 for count in COUNTS},
}
REFILL = 0.5  # share of copied values that are replaced
HELD = 300  # rows whose loss is measured
FEW_TOOLS = 20_000  # rows of a universe_N pool: 500 steps
ROOM = 3000  # characters of a row's declarations, as the universe has it
BESIDE = 5  # declarations beside Seal-Tools' own, at most


@dataclass(frozen=True)
class Pool:
    """Rows behind each other: all ``ids`` and which are ``labelled`` (both (total,)), and where each row ``starts``."""

    ids: np.ndarray
    labelled: np.ndarray
    starts: np.ndarray  # (rows + 1,)

    @classmethod
    def of(cls, ids: list[list[int]], labels: list[list[int]]) -> Pool:
        """From rows of token ids and their labels."""
        labelled = [np.array(row) != masking.IGNORED for row in labels]
        starts = np.cumsum([0, *map(len, ids)])
        return cls(np.concatenate([np.array(row, "int32") for row in ids]), np.concatenate(labelled), starts)

    @classmethod
    def join(cls, pools: list[Pool]) -> Pool:
        """The rows of several pools."""
        ends = np.cumsum([0, *[len(pool.ids) for pool in pools]])
        starts = [pool.starts[:-1] + end for pool, end in zip(pools, ends, strict=False)]
        ids, labelled = (np.concatenate([getattr(pool, name) for pool in pools]) for name in ("ids", "labelled"))
        return cls(ids, labelled, np.concatenate([*starts, ends[-1:]]))

    @classmethod
    def load(cls, path: Path) -> Pool:
        """What ``save`` wrote."""
        with np.load(path) as stored:
            flat = stored["ids"]
            return cls(flat, np.unpackbits(stored["labelled"], count=len(flat)).astype(bool), stored["starts"])

    def save(self, path: Path) -> None:
        """Write the pool to one file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, ids=self.ids, labelled=np.packbits(self.labelled), starts=self.starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> list[int]:
        """Tokens of each row."""
        return np.diff(self.starts).tolist()

    def row(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """A row's ids and labels, both (N,)."""
        place = slice(self.starts[number], self.starts[number + 1])
        return self.ids[place], np.where(self.labelled[place], self.ids[place], masking.IGNORED)


def read(folder: Path, name: str, rounds: int | None = None) -> Pool:
    """The first rounds of a pool (all unless said)."""
    return Pool.join([Pool.load(path) for path in sorted(folder.glob(f"{name}-*.npz"))[:rounds]])


def rows_of(name: str, number: int, seal: Path) -> list[dict]:
    """The data rows of one round of a pool."""
    if name in ("universe", "refilled"):
        from helpers import universe

        return universe.rows("universe_train", seed=number, refill=REFILL if name == "refilled" else 0.0)
    if name in STORED:
        return dataset.load("train").to_list()
    if name == "held":
        return dataset.load("universe_validation").to_list()[:HELD]
    if name.startswith("universe_"):
        from helpers import universe

        return universe.training_rows(FEW_TOOLS, first_tools(int(name.removeprefix("universe_"))))
    if name == "course":
        from scripts.dataset import augmentation

        return [augmentation.renamed(row, number) for row in augmentation.fresh(number)]
    return seal_rows(seal, number)


def first_tools(count: int) -> tuple:
    """Tools of whole training families, in the order of the families' hashes, about ``count`` of them."""
    from helpers import universe
    from helpers.universe import families

    known = universe.by_split(universe.read())["universe_train"]
    chosen: list = []
    for family in sorted({tool.family for tool in known}, key=lambda name: families.digest(f"order|{name}")):
        own = [tool for tool in known if tool.family == family]
        if not chosen or len(chosen) + len(own) / 2 <= count:
            chosen += own
    return tuple(chosen)


def seal_rows(folder: Path, seed: int) -> list[dict]:
    """Seal-Tools' requests, each with its own declarations and up to ``BESIDE`` others, shuffled."""
    declarations = [line["tool"] for line in lines.read(folder / "declarations.jsonl.gz")]
    rows = []
    for row in lines.read(folder / "requests.jsonl.gz"):
        draw = random.Random(f"{seed}|{row['id']}")
        tools = json.loads(row["tools"])
        names, room = {tool["function"]["name"] for tool in tools}, ROOM - len(row["tools"])
        for other in draw.sample(declarations, draw.randint(0, BESIDE)):
            room -= len(json.dumps(other, ensure_ascii=False))
            if room > 0 and other["function"]["name"] not in names:
                names.add(other["function"]["name"])
                tools.append(other)
        rows.append(row | {"tools": json.dumps(draw.sample(tools, len(tools)), ensure_ascii=False)})
    return rows


def draw_round(checkpoint, name: str, number: int, seal: Path, folder: Path) -> str:
    """Draw, render and tokenize one round, unless it is there. Returns a line that says what it holds."""
    from transformers import AutoTokenizer

    path = folder / f"{name}-{number:03}.npz"
    if not path.exists():
        labels = STORED.get(name, {})
        encoded = masking.encode(rows_of(name, number, seal), AutoTokenizer.from_pretrained(checkpoint), **labels)
        Pool.of(encoded.ids, encoded.labels).save(path)
    lengths = Pool.load(path).lengths
    return f"{path.name}: {len(lengths)} rows, {sum(lengths) / len(lengths):.0f} tokens, {max(lengths)} the longest"


def draw(checkpoint, seal: Path, folder: Path, rounds: dict[str, int], jobs: int) -> None:
    """Draw all rounds, ``jobs`` at a time."""
    from joblib import Parallel, delayed

    wanted = [(name, number) for name, count in rounds.items() for number in range(count)]
    wanted.sort(key=lambda each: each[1])
    tasks = (delayed(draw_round)(checkpoint, name, number, seal, folder) for name, number in wanted)
    for told in Parallel(n_jobs=jobs, return_as="generator_unordered")(tasks):
        print(told, flush=True)
