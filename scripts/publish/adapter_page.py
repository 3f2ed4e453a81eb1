"""The page that tells what was tried for the reference adapter: the step's benchmark, and recipes with intervals."""

from __future__ import annotations

import statistics

from helpers import generation, reference, scoring
from helpers.paths import ROOT

from . import generated

PAGE = ROOT / "docs" / "adapter.md"
SPLIT = "universe_validation"


def step() -> str:
    """Seconds a step and the loss of steps 41 to 50, of each way; how far packed and padded are apart in float32."""
    stored = reference.load("gpu_step")
    ways = {told["way"]: told for told in stored.results}
    packed = ways["packed"]["median_seconds"]
    lines = []
    for way, told in ways.items():
        if "median_seconds" in told:
            loss = statistics.mean(told["loss"][40:50])
            lines.append(
                [way, f"{told['median_seconds']:.3f}", f"{told['median_seconds'] / packed:.1f}", f"{loss:.3f}"]
            )
    table = generated.markdown_table(["way", "seconds a step", "times packed", "loss, steps 41–50"], lines)
    exact = ways["agreement"]
    return (
        f"{stored.source()}.\n\n{table}\n"
        f"In float32 packed and padded differ by {exact['loss_difference']:.0e} of the loss and "
        f"{exact['gradient_difference']:.0e} of the gradient's length.\n"
    )


def recipes() -> str:
    """A line a recipe: function and exact on validation families, calls not made, perplexities; best exact first."""
    stored = reference.load("recipe_search")
    rows = [line for line in stored.predictions if line["run"] == "gold" and line["split"] == SPLIT]
    lines = []
    for told in stored.results:
        texts = [line["text"] for line in stored.predictions if line["run"] == told["file"]][: len(rows)]
        written = [generation.Generation(text, (), "<start_function_response>") for text in texts]
        report = scoring.score(written, rows)
        cells = [report.cell(level) for level in ("name", "exact", "no_call", "asks")]
        shown = [f"{cell['rate']:.0%} ({cell['low']:.0%}–{cell['high']:.0%})" for cell in cells]
        name = f"{told['name']}, seed {told['seed']}" if told["seed"] else told["name"]
        language = [f"{told[f'perplexity_{language}']:.0f}" for language in ("arabic", "english")]
        lines.append((cells[1]["rate"], [name, *shown, *language]))
    header = ["recipe", "function", "exact", "no call", "asks back", "perplexity, Arabic", "English"]
    table = generated.markdown_table(header, [line for _, line in sorted(lines, key=lambda each: -each[0])])
    return f"{stored.source()}. Intervals: 95 %, Wilson.\n\n{table}"


def written(text: str) -> str:
    """The page with its blocks as they are now."""
    for name, block in (("step", step), ("recipes", recipes)):
        text = generated.replaced(text, name, block())
    return text
