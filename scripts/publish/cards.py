"""The figures in the data card and in the reference adapter's card: counted, never typed.

``make generate`` counts again, scores the baseline (a minute) and rewrites what stands between the cards' marks.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from helpers import checkpoints, dataset, environment, reference, scoring
from helpers.dataset import DIALECTS
from helpers.probes import retrieval
from scripts.experiments import packed_step, replay

from . import generated
from .generated import markdown_table

CARD = dataset.FOLDER / "README.md"
ADAPTER_CARD = reference.ADAPTER / "README.md"


def counts(splits: dict, tokenizer) -> str:
    """Rows by split, kind and dialect, tokens of a rendered row, and calls by tool, as Markdown."""
    met = {kind for rows in splits.values() for kind in rows["kind"]}
    kinds = [kind for kind in dataset.KINDS if kind in met]
    return "\n".join(
        [
            markdown_table(
                ["rows", "all", *kinds, *DIALECTS], [_shares(name, rows, kinds) for name, rows in splits.items()]
            ),
            markdown_table(
                ["tokens of a row", "shortest", "median", "95th percentile", "longest"],
                [_lengths(n, rows, tokenizer) for n, rows in splits.items()],
            ),
            markdown_table(
                ["tools declared in a row", *map(str, range(2, 8))],
                [_declared(name, rows) for name, rows in splits.items()],
            ),
            markdown_table(["calls of", "domain", *splits], _by_tool(splits)),
        ]
    )


def _shares(name: str, rows, kinds: list[str]) -> list:
    of_kind, of_dialect = Counter(rows["kind"]), Counter(rows["dialect"])
    return [name, len(rows), *(of_kind[k] for k in kinds), *(of_dialect[d] for d in DIALECTS)]


def _lengths(name: str, rows, tokenizer) -> list:
    lengths = sorted(map(len, tokenizer(dataset.texts(rows), add_special_tokens=False).input_ids))
    return [name, lengths[0], lengths[len(lengths) // 2], lengths[int(len(lengths) * 0.95)], lengths[-1]]


def _declared(name: str, rows) -> list:
    found = Counter(len(json.loads(tools)) for tools in rows["tools"])
    return [name, *(found[n] for n in range(2, 8))]


def _by_tool(splits: dict) -> list[list]:
    found = {
        name: Counter(call["name"] for calls in rows["calls"] for call in json.loads(calls))
        for name, rows in splits.items()
    }
    tools = sorted((domain, name) for name, domain in dataset.read_domains().items())
    return [[f"`{tool}`", domain, *(found[name][tool] or "–" for name in splits)] for domain, tool in tools]


def baseline() -> str:
    """Scores of the nearest-phrasing retriever on both test splits, with Wilson 95 % intervals, as Markdown."""
    scored = retrieval.reports()
    levels = ("parse", "name", "keys", "exact", "no_call")
    return markdown_table(
        ["TF-IDF retriever", *scored], [[level, *(_cell(r, level) for r in scored.values())] for level in levels]
    )


def _cell(report, level: str, dialect: str = "all") -> str:
    cell = report.cell(level, dialect)
    return f"{cell['rate']:.1%} ({cell['low']:.1%} to {cell['high']:.1%}, n={cell['n']})"


def adapter_recipe() -> str:
    """Settings of the reference adapter's run and where it ran, as Markdown."""
    run = reference.chosen_adapter()
    told = run["provenance"]
    names = {"refilled": "the universe, values replaced", "course": "the course's requests, tools renamed"}
    names["train"] = "the course's stored rows"
    settings = {
        "rank, alpha": f"{run['rank']}, {run['alpha']:g} (all seven projections of every layer)",
        "learning rate": f"{run['learning_rate']:g}, {run['schedule']}, warm-up {run['warmup']:.0%}",
        "rows": ", ".join(f"{share:.0%} {names[pool]}" for pool, share in run["mixture"].items()),
        "steps": f"{run['steps']:,}, {run['seen']:,} rows packed to {packed_step.TOKENS:,} tokens a step",
        "held to the base": f"KL at {run['weight']:g} on {replay.TOKENS:,} tokens a step that the base wrote",
        "optimizer": "AdamW, no weight decay, gradient norm clipped at 1",
        "seed": run["seed"],
        "device": told["device"],
        "time": f"{run['train_seconds'] / 60:.0f} minutes",
        "versions": f"torch {told['torch']}, transformers {told['transformers']}, peft {told['peft']}",
        "command": f"`{told['command']}`",
        "date": told["date"],
    }
    return markdown_table(["setting", ""], [list(pair) for pair in settings.items()])


def adapter_scores() -> str:
    """The reference adapter's scores on the held-out splits, and per dialect on test, as Markdown, with 95 % intervals.

    Rows that share a phrasing are one cluster (``scoring.Report``).
    """
    splits = list(reference.chosen_adapter()["scores"])
    reports = {
        split: scoring.score(reference.adapter_generations(rows), rows)
        for split in splits
        for rows in [dataset.load(split).to_list()]
    }
    levels = (*scoring.LEVELS, "asks")
    by_split = [[split, *(_cell(report, level) for level in levels)] for split, report in reports.items()]
    by_dialect = [
        [dialect, *(_cell(reports["test"], level, dialect) for level in ("parse", "name", "exact"))]
        for dialect in DIALECTS
    ]
    return "\n".join(
        [
            markdown_table(["split", *levels], by_split),
            markdown_table(["test, by dialect", "parse", "name", "exact"], by_dialect),
        ]
    )


def block(name: str, card: Path = CARD) -> str:
    """The present text of a generated block of the card."""
    return generated.block(name, card)


def adapter_card(card: str) -> str:
    """The reference adapter's card with its recipe and its scores as they are now."""
    return generated.replaced(generated.replaced(card, "recipe", adapter_recipe()), "scores", adapter_scores())


def data_card(card: str) -> str:
    """The data card with its counts and its baseline as they are now.

    Loads the tokenizer and scores the retriever: a minute.
    """
    environment.import_libraries()
    tokenizer = checkpoints.load_tokenizer(checkpoints.ensure("gemma"))
    counted = counts({split: dataset.load(split) for split in dataset.STORED}, tokenizer)
    return generated.replaced(generated.replaced(card, "counts", counted), "baseline", baseline())
