"""Does breadth make a small model call tools it has never seen? Runs over parts of the universe of tools.

    python -m scripts.experiments.universe_runs prepare CHECKPOINT FOLDER [--steps 500] [--tools 32 130 …] (here)
    python -m scripts.experiments.universe_runs train CHECKPOINT FOLDER OUT [--jobs 3] [--part 0/2]        (a GPU host)
    python -m scripts.experiments.universe_runs score OUT FOLDER TARGET                                   (here)

``prepare`` draws, for each number of tools, as many rows as the steps need: few tools come often, each time with other
declarations beside them and other words in them; so runs differ in breadth alone. Families enter in the order of their
hash. Token ids travel, not text. ``train`` is plain transformers + PEFT, one process a run; ``score`` judges what each
run wrote on validation and the rings, and writes TARGET.json and TARGET.jsonl.gz.
"""

from __future__ import annotations

import argparse
import gzip
import io
import itertools
import json
import lzma
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path

STEPS, BATCH, RATE = 500, 32, 2e-4
COUNTS = (32, 130, 230)
JUDGED = (
    "universe_validation",
    "ring_1_new_tool",
    "ring_2_new_family",
    "ring_3_no_neighbours",
    "test",
    "test_unseen_tools",
)
ROWS = {"test": 300}  # of a split; all of the others
LEVELS = ("parse", "name", "keys", "exact", "no_call")


@dataclass(frozen=True)
class Run:
    """One training run: which data set of the folder, which seed, and the recipe."""

    data: str
    seed: int = 0
    learning_rate: float = RATE
    steps: int = STEPS
    rank: int = 32
    alpha: float = 64

    @property
    def name(self) -> str:
        """Its name for files."""
        return f"{self.data}-{self.learning_rate:g}-{self.steps}-r{self.rank}-{self.seed}"


# --- here: rows to ids ------------------------------------------------------------------------------------------------


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


def old_rows(wanted: int) -> list[dict]:
    """``wanted`` rows of the course's 32 tools, drawn anew and renamed, for comparison."""
    from scripts.dataset import augmentation

    rounds = ([augmentation.renamed(row, seed) for row in augmentation.fresh(seed)] for seed in itertools.count())
    return list(itertools.islice(itertools.chain.from_iterable(rounds), wanted))


def prepare(checkpoint: Path, folder: Path, counts: list[int], steps: int) -> None:
    """Write FOLDER/DATA.npz.xz (ids and labels) for each number of tools, and FOLDER/rows.jsonl.gz to be judged on."""
    from transformers import AutoTokenizer

    from helpers import dataset, universe

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = steps * BATCH
    for count in counts:
        rows = universe.training_rows(wanted, first_tools(count))
        print(count, "tools:", store(rows, tokenizer, folder / f"universe_{count}.npz.xz"), flush=True)
    print("the course's 32:", store(old_rows(wanted), tokenizer, folder / "old_32.npz.xz"), flush=True)
    with gzip.open(folder / "rows.jsonl.gz", "wt", encoding="utf-8") as file:
        for split in JUDGED:
            rows = dataset.load(split).to_list()[: ROWS.get(split)]
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            print(split, len(rows), flush=True)


def store(rows: list[dict], tokenizer, path: Path) -> dict:
    """Rows as ids and labels in one compressed file: all ids in a row, where each begins, which carry a label."""
    import numpy as np

    from helpers import masking

    encoded = masking.encode(rows, tokenizer)
    lengths = np.array([len(row) for row in encoded.ids])
    flat = np.concatenate([np.array(row, "int32") for row in encoded.ids])
    labelled = np.concatenate([np.array(row) != masking.IGNORED for row in encoded.labels])
    buffer = io.BytesIO()
    np.savez(buffer, ids=flat, lengths=lengths.astype("int32"), labelled=np.packbits(labelled))
    path.write_bytes(lzma.compress(buffer.getvalue()))  # declarations come again and again, megabytes apart
    return {"rows": len(rows), "mean": float(lengths.mean().round(1)), "longest": int(lengths.max())}


def restore(path: Path) -> dict:
    """What ``store`` wrote, as ``gpu_runs.train`` takes it."""
    import numpy as np

    from helpers import masking

    with np.load(io.BytesIO(lzma.decompress(path.read_bytes()))) as stored:
        flat, lengths = stored["ids"], stored["lengths"]
        labelled = np.unpackbits(stored["labelled"], count=len(flat)).astype(bool)
    labels = np.where(labelled, flat, masking.IGNORED)
    ends = np.cumsum(lengths)[:-1]
    ids = [row.tolist() for row in np.split(flat, ends)]
    return {"ids": ids, "response": [row.tolist() for row in np.split(labels, ends)], "plain": 0}


def read_rows(folder: Path) -> list[dict]:
    """The rows to be judged on."""
    with gzip.open(folder / "rows.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


# --- on a GPU host ----------------------------------------------------------------------------------------------------


def train(run: Run, checkpoint: Path, folder: Path, out: Path) -> dict:
    """One run, in a process of its own: its losses, and what it writes for every row, under OUT."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from helpers import dataset, masking

    from . import gpu_runs

    if (out / f"{run.name}.json").exists():
        return {"name": run.name, "done": "before"}
    started = time.time()
    torch.set_num_threads(4)
    masking.CHUNK = 1024
    gpu_runs.fused_norms()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=gpu_runs.HALF, attn_implementation="sdpa")
    job = gpu_runs.Job(
        "universe", run.name, run.seed, run.learning_rate, warmup=0.05, steps=run.steps, batch=BATCH, accumulation=2,
        rank=run.rank, alpha=run.alpha, augmented=True,
    )  # fmt: skip
    model = gpu_runs.adapted(job, base.to(gpu_runs.DEVICE))
    facts, _ = gpu_runs.train(job, model, restore(folder / f"{run.data}.npz.xz"))
    told = asdict(run) | {"name": run.name} | facts
    texts = dataset.retention()
    told |= {f"perplexity_{name}": gpu_runs.perplexity(model, tokenizer, texts[name]) for name in ("arabic", "english")}
    predictions = gpu_runs.predict(model, tokenizer, read_rows(folder))
    told["seconds"] = round(time.time() - started, 1)
    with gzip.open(out / f"{run.name}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(one, ensure_ascii=False) + "\n" for one in predictions)
    (out / f"{run.name}.json").write_text(json.dumps(told), encoding="utf-8")
    return {"name": run.name, "seconds": told["seconds"], "loss": facts["loss"][-1]}


def runs_of(folder: Path, seeds: int, steps: int) -> list[Run]:
    """Every data set of the folder, whole seeds first."""
    names = sorted(path.name.removesuffix(".npz.xz") for path in folder.glob("*.npz.xz"))
    return [Run(name, seed, steps=steps) for seed in range(seeds) for name in names]


# --- here: what it says -----------------------------------------------------------------------------------------------


def rates(rows: list[dict], texts: list[str]) -> dict[str, dict[str, list[int]]]:
    """split -> level -> [hits, n], for what was written to each row. A row needs its split, kind, dialect and calls."""
    from helpers import generation, scoring

    table = {}
    for split in JUDGED:
        own = [(row, text) for row, text in zip(rows, texts, strict=True) if row["split"] == split]
        written = [generation.Generation(text, (), "<start_function_response>") for _, text in own]
        table[split] = scoring.score(written, [row for row, _ in own]).counts(LEVELS)
    return table


def kept(out: Path, folder: Path, target: Path, source: dict) -> None:
    """Write TARGET.json (a result a run, with its scores) and TARGET.jsonl.gz (each row's gold, what runs wrote)."""
    rows = read_rows(folder)
    results: list[dict] = []
    lines: list[dict] = []
    for row in rows:
        told = {key: row[key] for key in ("split", "id", "kind", "dialect", "phrasing", "calls")}
        lines.append({"run": "gold"} | told | {"asks": row.get("asks", "[]")})
    for path in sorted(out.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            texts = [json.loads(line)["text"] for line in file]
        told = json.loads((out / path.name.replace(".jsonl.gz", ".json")).read_text(encoding="utf-8"))
        told |= {key: [round(value, 3) for value in told[key]] for key in ("loss", "grad_norm")}
        results.append(told | {"scores": rates(lines[: len(rows)], texts)})
        lines += [{"run": told["name"], "text": text} for text in texts]  # in the order of the gold
    target.with_suffix(".json").write_text(json.dumps({"provenance": source, "results": results}), encoding="utf-8")
    with gzip.open(target.with_suffix(".jsonl.gz"), "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "train", "score"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--tools", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=3, help="runs at a time")
    parser.add_argument("--part", default="0/1", help="every n-th run only, from k: k/n")
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        return prepare(*arguments.paths, arguments.tools, arguments.steps)
    if arguments.what == "score":
        from helpers import reference

        return kept(*arguments.paths, reference.provenance(range(arguments.seeds)))
    from joblib import Parallel, delayed

    checkpoint, folder, out = arguments.paths
    out.mkdir(parents=True, exist_ok=True)
    first, every = map(int, arguments.part.split("/"))
    asked = runs_of(folder, arguments.seeds, arguments.steps)[first::every]
    for told in Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(
        delayed(train)(run, checkpoint, folder, out) for run in asked
    ):
        print(told, flush=True)
    return None


if __name__ == "__main__":
    main()
