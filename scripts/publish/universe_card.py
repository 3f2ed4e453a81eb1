"""The card of the thousand tools: counts, the second writer's agreement, a retriever, and what training on it did."""

from __future__ import annotations

import json

from helpers import reference, universe
from helpers.probes import retrieval
from helpers.universe import families
from scripts.dataset import universe_report
from scripts.experiments import run_scores, token_pools

from . import generated

CARD = families.FOLDER.parent / "README.md"
AGREEMENT = families.FOLDER.parent / "agreement.json"
RINGS = universe.SPLITS[1:]
KIND_NAMES = {"number": "numbers", "enum": "enums", "boolean": "booleans", "array": "lists", "object": "nested objects"}


def counts() -> str:
    """Tools and what is said to them, shares of kinds, and rows a split."""
    told = universe_report.counts(universe.read())
    lines = [
        f"{told['tools']:,} tools in {told['families']} families, {told['parameter_names']:,} names of parameters, "
        f"{told['requests']:,} requests, {told['ask_back']:,} that lack something, {told['none']:,} that ask nothing. "
        f"{told['optional_unsaid']:.0%} of the requests leave an optional parameter unsaid; {told['relative']:,} of "
        f"{told['dated']:,} dated ones say a relative date.\n"
    ]
    shares = [f"{told['kinds'][kind]:.0%}" for kind in KIND_NAMES]
    lines.append(generated.markdown_table(["tools with", *KIND_NAMES.values()], [["", *shares]]))
    lines.append(generated.markdown_table(["requests in", *told["dialects"]], [["", *told["dialects"].values()]]))
    lines.append(generated.markdown_table(["country", *told["countries"]], [["", *told["countries"].values()]]))
    lines.append(generated.markdown_table(["style", *told["styles"]], [["", *told["styles"].values()]]))
    lines.append(generated.markdown_table(["a value is", *told["rules"]], [["", *told["rules"].values()]]))
    rows = universe_report.row_counts()
    kinds = ("single", "parallel", "ask_back", "none")
    lines.append(
        generated.markdown_table(
            ["rows", "all", *kinds, "tools a row"],
            [[split, n["rows"], *[n.get(kind, 0) for kind in kinds], n["tools"]] for split, n in rows.items()],
        )
    )
    return "\n".join(lines)


def agreement() -> str:
    """How often the blind second writer wrote the same."""
    told = json.loads(AGREEMENT.read_text(encoding="utf-8"))
    rows = [
        [group, one["n"], f"{one['agree'] / one['n']:.1%}", f"{one['low']:.1%} to {one['high']:.1%}"]
        for group, one in told.items()
    ]
    return generated.markdown_table(["rows", "n", "the same", "95 % interval"], rows)


def _percent(hits: int, n: int) -> str:
    return f"{hits / n:.1%}" if n else "–"


def bet() -> str:
    """What more tools did, at the same number of rows and steps; and the retriever, on the rows as they are now."""
    stored = reference.load("universe_bet")
    header = ["trained on", "seed", *[f"{split}: {level}" for split in RINGS for level in ("name", "exact")]]
    names = {"old_32": "the course's 32 tools", **{f"universe_{n}": f"{n} tools" for n in token_pools.COUNTS}}
    order = list(names)
    lines = [
        [names[run["data"]], run["seed"]]
        + [_percent(*run["scores"][split][level]) for split in RINGS for level in ("name", "exact")]
        for run in sorted(stored.results, key=lambda run: (order.index(run["data"]), run["seed"]))
    ]
    retrieved = {split: report.counts() for split, report in retrieval.reports("universe_train", RINGS).items()}
    found = [_percent(*retrieved[split][level]) for split in RINGS for level in ("name", "exact")]
    table = generated.markdown_table(header, [*lines, ["retriever, no model", "–", *found]])
    return f"{stored.source()}.\n\n{table}"


def baseline() -> str:
    """300 steps on the course's 32 tools against 300 on the universe, on the rings and on the course's own test."""
    stored = reference.load("universe_baseline")
    rows, texts = run_scores.texts_of(stored)
    splits = list(stored.results[0]["scores"])
    names = {"course": "the course's 32 tools", "universe": "the universe"}
    lines = []
    for told in sorted(stored.results, key=lambda told: (told["name"], told["seed"])):
        reports = [run_scores.report(rows, texts[told["file"]], split) for split in splits]
        shown = [generated.share(report.cell(level)) for report in reports for level in ("name", "exact")]
        lines.append([names[told["name"]], told["seed"], *shown])
    header = ["trained on", "seed", *[f"{split}: {level}" for split in splits for level in ("name", "exact")]]
    table = generated.markdown_table(header, lines)
    return f"{stored.source()}. Intervals: 95 %, Wilson, clustered by phrasing.\n\n{table}"


def written(text: str) -> str:
    """The card with its blocks as they are now."""
    blocks = (("counts", counts), ("agreement", agreement), ("bet", bet), ("against the old set", baseline))
    for name, block in blocks:
        text = generated.replaced(text, name, block())
    return text
