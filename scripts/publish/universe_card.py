"""The card of the thousand tools: its counts, the second writer's agreement, the retriever, and what breadth did."""

from __future__ import annotations

import json

from helpers import reference, universe
from helpers.probes import retrieval
from helpers.universe import families
from scripts.dataset import universe_report
from scripts.experiments import token_pools

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


def written(text: str) -> str:
    """The card with its blocks as they are now."""
    for name, block in (("counts", counts), ("agreement", agreement), ("bet", bet)):
        text = generated.replaced(text, name, block())
    return text
