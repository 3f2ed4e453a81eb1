"""README's first screen: a request with its call, scores before and after, the verdicts that surprise most."""

from __future__ import annotations

import html
import re

from helpers import calls, claims, dataset, environment, reference, scoring
from helpers.errors import CourseError
from helpers.paths import ROOT

from .generated import markdown_table, plain, replaced

README = ROOT / "README.md"
#: A row of the test, and its request in English.
EXAMPLE = ("test/00723", "I want to see a heart doctor in Nazareth in six days. (It is 3 July 2025.)")
#: Claims whose verdict a reader of the guide would not expect: number -> what came out, in words.
SURPRISING = {
    33: "No tokenizer turns a brace round; the screen does.",
    24: "What the model writes is not JSON.",
    23: "A stop that was not learned is never written; it is another token than the one that the guide names.",
    35: "A 4-bit file holds far more than four bits a weight.",
    36: "Four bits do not rot the syntax.",
    15: "Selective checkpointing runs the whole layer again.",
    17: "Checkpointing does not make memory linear in the length; the attention kernel does.",
    18: "Most of what a step holds is the vocabulary.",
    30: "No learning rate brings Arabic nearer to English but one that breaks both.",
    45: "A low rank costs standard Arabic as much as the dialects.",
}


def example() -> str:
    """The request, its English, and what the reference adapter wrote for it on the GPU, read as a call."""
    identity, english = EXAMPLE
    row = next(row for row in dataset.load("test") if row["id"] == identity)
    (call,) = calls.parse(reference.adapter_generations([row])[0].text)
    written = ", ".join(f'{key}="{value}"' for key, value in call.arguments.items())
    return (
        f'<p dir="rtl" lang="arz">{html.escape(row["query"])}</p>\n\n*{english}*\n\n```\n{call.name}({written})\n```\n'
    )


def scores() -> str:
    """The model before and after: its own tools, families that nobody trained on, BFCL, and how it reads Arabic."""
    candidates, sizes = reference.load("candidates"), environment.PROFILES["cpu"]
    base = next(told for told in reference.load("earlier_adapters").results if told["name"] == "base")
    after = reference.chosen_adapter(candidates)
    run = [
        told
        for told in reference.load("live_run").results
        if (told["rows_per_prompt"], told["steps"]) == (sizes.rows_per_prompt, sizes.max_steps)
    ]
    simple = {name: reference.load(f"bfcl_{name}").results[0] for name in ("base", "candidate")}
    reports = {}
    for split in ("test", "ring_2_new_family"):
        rows = dataset.load(split).to_list()
        reports[split] = scoring.score(candidates.answers(rows, after["file"]), rows)
    hits, n = base["test"]["exact"]
    low, high = scoring.wilson(hits, n)
    nothing = _percent({"rate": hits / n, "low": low, "high": high})
    live = {level: sum(told[level] for told in run) / len(run) for level in ("name", "exact")}
    lines = [
        ["Gemma 3 270M, untrained", nothing, nothing, "—", "—", _percent(simple["base"])]
        + [f"{base['perplexity_arabic']:.0f}"],
        [f"notebook 04's own run: {sizes.max_steps} steps, {' and '.join(sizes.domains)} alone"]
        + [f"{live[level]:.0%}" for level in ("name", "exact")]
        + ["—"] * 4,
        ["the reference adapter"]
        + [_percent(report.cell(level)) for report in reports.values() for level in ("name", "exact")]
        + [_percent(simple["candidate"]), f"{after['perplexity_arabic']:.0f}"],
    ]
    header = ["", "the course's tools: right function", "exact call", "families never seen: right function"]
    header += ["exact call", "BFCL *simple*, English", "perplexity of Arabic text"]
    return markdown_table(header, lines)


def _percent(told: dict) -> str:
    return f"{told['rate']:.0%} ({told['low']:.0%}–{told['high']:.0%})"


def surprises() -> str:
    """Ten claims, a line each: what came out in words, the first sentence of its card, and where it is measured."""
    known = {claim.number: claim for claim in claims.ledger().values()}
    measured, lines = claims.measurements(), []
    for number, headline in SURPRISING.items():
        claim = known[number]
        if not measured.get(claim.id):
            raise CourseError(f"claim {number} is not settled", "put another into SURPRISING")
        sentence = re.split(r"\.\s(?=[A-Z])", measured[claim.id])[0].rstrip(".")
        link = f"[{claim.notebook[:2]}](notebooks/{claim.notebook}.ipynb)"
        lines.append(f"- **{headline}** {plain(sentence)}. ({claim.verdict}: claim {number}, notebook {link})")
    return "\n".join(lines) + "\n"


def written(readme: str) -> str:
    """README with its blocks as they are now."""
    for name, block in (("example", example), ("scores", scores), ("surprises", surprises)):
        readme = replaced(readme, name, block())
    return readme
