"""What a training run is judged on, and what came out: one line to read, two files to keep.

``keep`` writes NAME.json (provenance; a result a run, with its scores) and NAME.jsonl.gz: first each row's gold
(``{"run": "gold", …}``), then what each run wrote for the rows, in the same order. So a stored result carries the rows
it was judged on, and ``rates`` gives its scores again.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from pathlib import Path

from helpers import dataset, generation, masking, reference, scoring
from helpers.checkpoints import without_adapter
from helpers.errors import CourseError
from helpers.probes import stored_runs

from . import lines

LEVELS = ("parse", "name", "keys", "exact", "no_call", "asks")
GOLD = ("split", "id", "kind", "dialect", "phrasing", "calls", "asks", "tools")  # of tools, what scoring reads
RINGS = ("ring_1_new_tool", "ring_2_new_family", "ring_3_no_neighbours")
#: What a group's runs are judged on: split -> rows (None: all). Recipes never see a ring or a test.
JUDGED: dict[str, dict[str, int | None]] = {
    "recipe": {"universe_validation": None, "validation": 200},
    "form": {**dict.fromkeys(RINGS), "test": 300},
    "bet": {"universe_validation": None, **dict.fromkeys(RINGS), "test": 300, "test_unseen_tools": None},
    "rates": {"universe_validation": None},
    "ranks": {**dict.fromkeys(RINGS, 300), "test": 300},
    "guide": {"validation": 300, "test": 300, "english": None},
    "scaling": {"validation": 300},
    "candidate": dict.fromkeys(["universe_validation", *RINGS, "validation", "test", "test_unseen_tools"]),
}
NEW_TOKENS = 160  # of an answer, at most
TRUNCATED = 300  # test rows for an adapter of fewer singular values


def judged(group: str) -> list[dict]:
    """The rows a group's runs are judged on."""
    return [row for split, n in JUDGED[group].items() for row in _rows_of(split)[:n]]


def _rows_of(split: str) -> list[dict]:
    return english_rows() if split == "english" else dataset.load(split).to_list()


def english_rows() -> list[dict]:
    """The English requests of assets/data/retention.yaml as data rows, each with three other tools of the course."""
    declared, rows = dataset.read_declarations(), []
    for number, request in enumerate(stored_runs.english_requests()):
        draw, calls = random.Random(number), json.loads(request["calls"])
        wanted = calls[0]["name"]
        names = [wanted, *draw.sample(sorted(set(declared) - {wanted}), 3)]
        draw.shuffle(names)
        rows.append(
            request
            | {
                "split": "english",
                "messages": json.dumps(dataset.conversation(request["query"], calls)),
                "tools": json.dumps([declared[n] for n in names]),
            }
        )
    return rows


def predict(model, tokenizer, rows: list[dict], new_tokens: int | None = None) -> list[str]:
    """What the model writes for each row, as text."""
    model.eval()
    written = generation.generate(model, tokenizer, rows, max_new_tokens=new_tokens or NEW_TOKENS, batch_size=512)
    return [one.text for one in written]


def truncated(model, tokenizer, rank: int) -> dict[str, list[str]]:
    """What the adapter writes to the first ``TRUNCATED`` test rows with every ΔW cut to half its rank, a quarter, … 1.

    The adapter stays cut.
    """
    from helpers.probes import lora

    found, rows = {}, _rows_of("test")[:TRUNCATED]
    while rank := rank // 2:
        lora.truncate(model, rank)
        found[str(rank)] = predict(model, tokenizer, rows)
    return found


def perplexity(model, tokenizer, passages: list[str]) -> float:
    """exp of the mean loss per token over plain passages, each read alone."""
    import torch

    causal = without_adapter(model)
    total = count = 0.0
    with torch.no_grad():
        for passage in passages:
            ids = tokenizer("<bos>" + passage, add_special_tokens=False, return_tensors="pt").input_ids.to(model.device)
            hidden = causal.model(input_ids=ids, use_cache=False).last_hidden_state[0, :-1]
            total += masking.summed_cross_entropy(causal.lm_head, hidden, ids[0, 1:]).item()
            count += ids.shape[1] - 1
    return math.exp(total / count)


def rates(rows: list[dict], texts: list[str]) -> dict[str, dict[str, list[int]]]:
    """split -> level -> [hits, n], for what was written to each row; a row needs the columns ``GOLD``."""
    table = {}
    for split in dict.fromkeys(row["split"] for row in rows):
        table[split] = report(rows, texts, split).counts(LEVELS)
    return table


def report(rows: list[dict], texts: list[str], split: str) -> scoring.Report:
    """What was written to the rows of one split, judged. How a text ended is not kept, so ``stop`` says nothing."""
    own = [(row, text) for row, text in zip(rows, texts, strict=True) if row["split"] == split]
    written = [generation.Generation(text, (), "<start_function_response>") for _, text in own]
    return scoring.score(written, [row for row, _ in own])


def texts_of(stored: reference.Reference) -> tuple[list[dict], dict[str, list[str]]]:
    """The rows of a result that ``keep`` wrote, and what each run wrote to them, by the run's name for files."""
    texts: dict[str, list[str]] = {}
    for line in stored.predictions:
        if line["run"] != "gold" and "rank_kept" not in line:
            texts.setdefault(line["run"], []).append(line["text"])
    return [line for line in stored.predictions if line["run"] == "gold"], texts


def line_of(told: dict) -> str:
    """One line for a finished run: its scores by split, perplexities, loss and time."""
    parts = [f"{told['file']}:"]
    for split, scores in told["scores"].items():
        shown = "/".join(f"{hits / n:.2f}" if n else "-" for hits, n in (scores[k] for k in LEVELS if k in scores))
        parts.append(f"{split} {shown}")
    parts.append(f"perplexity {told['perplexity_arabic']:.0f} {told['perplexity_english']:.0f}")
    last = told["loss"][-20:] or [math.nan]  # none for the base
    parts.append(f"loss {sum(last) / len(last):.3f}, held out {told['held_out_loss']:.3f}")
    parts.append(f"{told['seconds_per_step']:.3f} s a step")
    return " ".join([*parts, f"{told['train_seconds']:.0f} of {told['seconds']:.0f} s"])


def results(out: Path, group: str) -> Iterator[tuple[dict, list[str]]]:
    """The finished runs of a group under OUT, and what each wrote."""
    for path in sorted(out.glob(f"{group}-*.json")):
        texts = [line["text"] for line in lines.read(path.with_suffix(".jsonl.gz"))]
        yield json.loads(path.read_text(encoding="utf-8")), texts


def keep(out: Path, group: str, target: Path, join: bool = False) -> None:
    """Write what a group's runs gave to TARGET.json and TARGET.jsonl.gz (see the module).

    Each run says where it ran; the file's provenance is its last run's, with all seeds. With ``join``, the runs that
    TARGET holds and OUT does not stay; raises CourseError if they were judged on other rows.
    """
    rows = judged(group)
    gold = [{key: row.get(key, "[]") for key in GOLD} for row in rows]
    gold = [told | {"tools": scoring.declared_defaults(row)} for told, row in zip(gold, rows, strict=True)]
    found = {told["file"]: (told, texts) for told, texts in results(out, group)}
    if join and target.with_suffix(".json").exists():
        found = _stored(target, gold) | found
    predictions, kept = [{"run": "gold"} | told for told in gold], []
    for name, (told, texts) in sorted(found.items()):
        for rank, cut in told.pop("truncated", {}).items():
            predictions += [{"run": name, "rank_kept": int(rank), "text": text} for text in cut]
        kept.append(told | {"scores": rates(rows, texts)})
        predictions += [{"run": name, "text": text} for text in texts]
    sources = [told["provenance"] for told in kept if "provenance" in told] or [reference.provenance(())]
    source = max(sources, key=lambda told: told["date"]) | {"seeds": sorted({told["seed"] for told in kept})}
    lines.write(target.with_suffix(".jsonl.gz"), predictions)
    target.with_suffix(".json").write_text(json.dumps({"provenance": source, "results": kept}), encoding="utf-8")


def _stored(target: Path, gold: list[dict]) -> dict[str, tuple[dict, list[str]]]:
    """The runs that ``keep`` wrote to TARGET: name -> (what is told of it, its texts)."""
    stored = reference.load(target.name, target.parent)
    rows, texts = texts_of(stored)
    if [{key: row[key] for key in GOLD} for row in rows] != gold:
        raise CourseError(f"the runs in {target.name} were judged on other rows", "keep without --join")
    found = {told["file"]: (told, texts[told["file"]]) for told in stored.results}
    for line in stored.predictions:
        if "rank_kept" in line:
            cut = found[line["run"]][0].setdefault("truncated", {})
            cut.setdefault(line["rank_kept"], []).append(line["text"])
    return found
