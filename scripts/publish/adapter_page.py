"""The page that tells what was tried for the reference adapter: the step's benchmark, and recipes with intervals."""

from __future__ import annotations

import statistics

from helpers import reference
from helpers.paths import ROOT
from scripts.experiments import run_scores

from . import generated

PAGE = ROOT / "docs" / "adapter.md"
SPLIT, COURSE = "universe_validation", "validation"


def _share(told: dict, digits: int = 0) -> str:
    """A rate and its interval, in percent."""
    rate, low, high = (f"{told[key]:.{digits}%}" for key in ("rate", "low", "high"))
    return f"{rate} ({low}–{high})"


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
    """A line a recipe: scores on validation families and on the course's own, perplexities; best exact first."""
    stored = reference.load("recipe_search")
    rows, texts = run_scores.texts_of(stored)
    lines = []
    for told in stored.results:
        report, of_course = (run_scores.report(rows, texts[told["file"]], split) for split in (SPLIT, COURSE))
        cells = [report.cell(level) for level in ("name", "exact", "no_call", "asks")] + [of_course.cell("exact")]
        shown = [_share(cell) for cell in cells]
        name = f"{told['name']}, seed {told['seed']}" if told["seed"] else told["name"]
        language = [f"{told[f'perplexity_{language}']:.0f}" for language in ("arabic", "english")]
        lines.append((cells[1]["rate"], [name, *shown, *language]))
    header = ["recipe", "function", "exact", "no call", "asks back", "exact, the course's own tools"]
    header += ["perplexity, Arabic", "English"]
    table = generated.markdown_table(header, [line for _, line in sorted(lines, key=lambda each: -each[0])])
    return f"{stored.source()}. Intervals: 95 %, Wilson.\n\n{table}"


def watched() -> str:
    """The loss of validation families while the longer recipes trained, a column a run."""
    stored = reference.load("recipe_search")
    runs = {told["name"]: dict(told["watched"]) for told in stored.results if told.get("watched")}
    steps = sorted({step for told in runs.values() for step in told})
    lines = [[f"{step:,}", *(f"{told[step]:.3f}" for told in runs.values())] for step in steps]
    return generated.markdown_table(["step", *runs], lines)


def long_run() -> str:
    """The training loss of the run that ended with its lease."""
    stored = reference.load("long_run")
    lines = [[f"{told['step']:,}", f"{told['loss']:.3f}"] for told in stored.results]
    return f"{stored.source()}.\n\n{generated.markdown_table(['step', 'loss, the last 50 steps'], lines)}"


def yardstick() -> str:
    """The base on BFCL: right answers by category, beside what FunctionGemma's makers published."""
    stored, lines = reference.load("bfcl_base"), []
    for told in stored.results:
        published = f"{told['published']:.1f}%" if told["published"] else "—"
        lines.append([told["category"], f"{told['n']:,}", _share(told, digits=1), published])
    table = generated.markdown_table(["category", "questions", "Gemma 3 270M, untrained", "FunctionGemma 270M"], lines)
    return f"{stored.source()}, bfcl-eval {stored.provenance['bfcl']}. Intervals: 95 %, Wilson.\n\n{table}"


def written(text: str) -> str:
    """The page with its blocks as they are now."""
    blocks = {"step": step, "recipes": recipes, "watched": watched, "long run": long_run, "yardstick": yardstick}
    for name, block in blocks.items():
        text = generated.replaced(text, name, block())
    return text
