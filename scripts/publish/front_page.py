"""README's first screen: one request with the call that it becomes, and the verdicts that surprise most."""

from __future__ import annotations

import html
import re

from helpers import calls, claims, reference
from helpers.errors import CourseError
from helpers.paths import ROOT

from .generated import plain, replaced

README = ROOT / "README.md"
#: A row of the test, and its request in English.
EXAMPLE = ("test-00921", "Could you set me an alarm for half past seven in the evening, and call it sport?")
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
    rows = reference.judged_rows("test")
    place = next(i for i, row in enumerate(rows) if row["id"] == identity)
    (call,) = calls.parse(reference.adapter_generations(rows, "test")[place].text)
    written = ", ".join(f'{key}="{value}"' for key, value in call.arguments.items())
    return (
        f'<p dir="rtl" lang="arz">{html.escape(rows[place]["query"])}</p>\n\n'
        f"*{english}*\n\n```\n{call.name}({written})\n```\n"
    )


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
    """README with both blocks as they are now."""
    return replaced(replaced(readme, "example", example()), "surprises", surprises())
