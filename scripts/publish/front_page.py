"""README's first screen: a request with its call, scores before and after, the verdicts that surprise most."""

from __future__ import annotations

import html
import re

from helpers import calls, claims, dataset, environment, reference, scoring, training
from helpers.errors import CourseError
from helpers.paths import ROOT

from . import generated

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
    30: "At the guide's learning rate English leads Arabic no more; on average it is English that moves.",
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
    after = reference.chosen_adapter(candidates)
    base = next(told for told in candidates.results if not told["steps"])
    as_in_04 = (sizes.rows_per_prompt, sizes.max_steps, training.Recipe.learning_rate)
    run = [
        told
        for told in reference.load("live_run").results
        if (told["rows_per_prompt"], told["steps"], told["learning_rate"]) == as_in_04
    ]
    live = {level: sum(told[level] for told in run) / len(run) for level in ("name", "exact")}

    asked = [dataset.load(split).to_list() for split in ("test", "ring_2_new_family")]
    simple = {name: reference.load(f"bfcl_{name}").results[0] for name in ("base", "candidate")}

    def line(name: str, told: dict, bfcl: str) -> list[str]:
        reports = [scoring.score(candidates.answers(rows, told["file"]), rows) for rows in asked]
        shares = [generated.share(report.cell(level)) for report in reports for level in ("name", "exact")]
        return [name, *shares, generated.share(simple[bfcl]), f"{told['perplexity_arabic']:.0f}"]

    narrow = f"{run[0]['n']} {' and '.join(sizes.domains)} requests of *validation* only"
    lines = [
        line("Gemma 3 270M, untrained", base, "base"),
        [f"notebook 04's settings for two cores, {sizes.max_steps} steps; {narrow}"]
        + [f"{live[level]:.0%}" for level in ("name", "exact")]
        + ["—"] * 4,
        line("the reference adapter", after, "candidate"),
        ["FunctionGemma 270M, as its makers report", *["—"] * 4, f"{simple['base']['published']:.0f}%", "—"],
    ]
    own, new = (f"{after['scores'][split]['name'][1]:,} requests" for split in ("test", "ring_2_new_family"))
    header = ["", f"the course's tools ({own}): right function", "the course's tools: exact call"]
    header += [f"families never seen ({new}): right function", "families never seen: exact call"]
    header += ["BFCL *simple*, English: right call", "perplexity of Arabic text"]
    return generated.markdown_table(header, lines)


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
        lines.append(
            f"- **{headline}** {generated.plain(sentence)}. ({claim.verdict}: claim {number}, notebook {link})"
        )
    return "\n".join(lines) + "\n"


def written(readme: str) -> str:
    """README with its blocks as they are now."""
    for name, block in (("example", example), ("scores", scores), ("surprises", surprises)):
        readme = generated.replaced(readme, name, block())
    return readme
