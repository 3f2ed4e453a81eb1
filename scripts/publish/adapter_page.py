"""The page that tells what was tried for the reference adapter: the step's benchmark, recipes, candidates, BFCL."""

from __future__ import annotations

import json
import statistics
from collections import Counter

from helpers import reference
from helpers.calls import ParseError, parse
from helpers.paths import ROOT
from scripts.experiments import run_scores

from . import generated

PAGE = ROOT / "docs" / "adapter.md"
CLUSTERED = "Intervals: 95 %, Wilson, rows that share a phrasing counted as one cluster."
SPLIT, COURSE = "universe_validation", "validation"


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
        shown = [generated.share(cell) for cell in cells]
        name = f"{told['name']}, seed {told['seed']}" if told["seed"] else told["name"]
        language = [f"{told[f'perplexity_{language}']:.0f}" for language in ("arabic", "english")]
        lines.append((cells[1]["rate"], [name, *shown, *language]))
    header = ["recipe", "function", "exact", "no call", "asks back", "exact, the course's own tools"]
    header += ["perplexity, Arabic", "English"]
    table = generated.markdown_table(header, [line for _, line in sorted(lines, key=lambda each: -each[0])])
    return f"{stored.source()}. Intervals: 95 %, Wilson.\n\n{table}"


def _misses(rows: list[dict], texts: list[str]) -> str:
    """What is wrong where one call was wanted and the right function was called, on validation families."""
    counts: Counter[str] = Counter()
    for row, text in zip(rows, texts, strict=True):
        if row["split"] != SPLIT or row["kind"] != "single":
            continue
        (gold,) = json.loads(row["calls"])
        try:
            made = parse(text)
        except ParseError:
            continue
        if len(made) != 1 or made[0].name != gold["name"] or made[0].arguments == gold["arguments"]:
            continue
        both = gold["arguments"].keys() & made[0].arguments.keys()
        counts["all"] += 1
        counts["value"] += any(gold["arguments"][key] != made[0].arguments[key] for key in both)
        counts["more"] += bool(made[0].arguments.keys() - both)
        counts["fewer"] += bool(gold["arguments"].keys() - both)
    return (
        f"Of its {counts['all']} single calls on {SPLIT} that name the right function and are not exact, "
        f"{counts['value'] / counts['all']:.0%} have a wrong value, {counts['more'] / counts['all']:.0%} a parameter "
        f"too many, {counts['fewer'] / counts['all']:.0%} one too few; some have more than one fault."
    )


def candidates() -> str:
    """A table a candidate: what it calls on every split that was held back, and its perplexities."""
    stored = reference.load("candidates")
    rows, texts = run_scores.texts_of(stored)
    levels = {"function": "name", "arguments": "keys", "exact": "exact", "no call": "no_call", "asks back": "asks"}
    parts = [f"{stored.source()}. {CLUSTERED}"]
    for told in stored.results:
        lines = []
        for split in told["scores"]:
            report = run_scores.report(rows, texts[told["file"]], split)
            lines.append([split, *(generated.share(report.cell(level)) for level in levels.values())])
        read = f"Perplexity {told['perplexity_arabic']:.0f} in Arabic, {told['perplexity_english']:.0f} in English."
        table = generated.markdown_table(["split", *levels], lines).rstrip()
        if not told["steps"]:
            parts += [f"**The base**, untrained: it calls nothing. {read}", table]
            continue
        mixture = ", ".join(f"{share:.0%} {pool}" for pool, share in told["mixture"].items())
        parts.append(
            f"**{told['name'].capitalize()}** ({mixture}; {told['steps']:,} steps, {told['seen']:,} rows, "
            f"{told['train_seconds'] / 60:.0f} minutes). {read}"
        )
        parts += [table, _misses(rows, texts[told["file"]])]
    return "\n\n".join(parts) + "\n"


def watched() -> str:
    """The loss of validation families while the longer recipes and the candidates trained, a column a run."""
    results = [told for name in ("recipe_search", "candidates") for told in reference.load(name).results]
    runs = {told["name"]: dict(told["watched"]) for told in results if told.get("watched")}
    steps = sorted({step for told in runs.values() for step in told})
    lines = [[f"{step:,}", *(f"{told[step]:.3f}" if step in told else "" for told in runs.values())] for step in steps]
    return generated.markdown_table(["step", *runs], lines)


def rank_rates() -> str:
    """Exact calls and the right function on validation families, a line a rank, a column a rate; the best is bold."""
    stored = reference.load("rates")
    rows, texts = run_scores.texts_of(stored)
    rates = sorted({told["learning_rate"] for told in stored.results})
    lines = []
    for rank in sorted({told["rank"] for told in stored.results}):
        runs = {told["learning_rate"]: told for told in stored.results if told["rank"] == rank}
        reports = {rate: run_scores.report(rows, texts[told["file"]], SPLIT) for rate, told in runs.items()}
        exact = {rate: report.cell("exact") for rate, report in reports.items()}
        best = max(exact, key=lambda rate: exact[rate]["rate"])
        shown = [generated.share(exact[rate], digits=1) for rate in rates]
        shown = [f"**{cell}**" if rate == best else cell for rate, cell in zip(rates, shown, strict=True)]
        named = [f"{reports[rate].rate('name'):.0%}" for rate in rates]
        read = [f"{runs[rate]['perplexity_arabic']:.0f}" for rate in rates]
        lines.append([rank, *shown, " / ".join(named), " / ".join(read)])
    header = ["rank", *(f"exact at {rate:g}" for rate in rates), "function, in this order", "perplexity of Arabic"]
    told = generated.markdown_table(header, lines)
    return f"{stored.source()}. {CLUSTERED}\n\n{told}"


def ranks() -> str:
    """Every rank at its rate, a line each: on rows about tools of the training and about new ones, seed by seed."""
    stored = reference.load("ranks")
    asked = [("test",), run_scores.RINGS]
    lines = []
    for rank in sorted({told["rank"] for told in stored.results}):
        runs = [told for told in stored.results if told["rank"] == rank]
        cells = []
        for splits in asked:
            for level in ("name", "exact"):
                counts = [[told["scores"][split][level] for split in splits] for told in runs]
                each = [sum(hits for hits, _ in own) / sum(n for _, n in own) for own in counts]
                cells.append(f"{sum(each) / len(each):.0%} ({', '.join(f'{100 * rate:.0f}' for rate in each)})")
        read = ", ".join(f"{told['perplexity_arabic']:.0f}" for told in runs)
        lines.append([rank, f"{runs[0]['learning_rate']:g}", *cells, read])
    header = ["rank", "rate", "function", "exact", "function, new tools", "exact, new tools", "perplexity of Arabic"]
    tested, rings = (sum(line.get("split") in splits for line in stored.predictions) for splits in asked)
    source = f"{stored.source()}. {tested} rows of *test* and {rings} of the three rings; in brackets each seed."
    return f"{source}\n\n{generated.markdown_table(header, lines)}"


def live_run() -> str:
    """The settings tried for the run on two cores: tokens, rows a prompt, rate; means over the seeds, best first."""
    stored = reference.load("live_run")
    settings: dict[tuple, list[dict]] = {}
    for told in stored.results:
        settings.setdefault((told["budget"], told["rows_per_prompt"], told["learning_rate"]), []).append(told)

    def mean(runs: list[dict], level: str) -> float:
        return sum(told[level] for told in runs) / len(runs)

    lines = []
    for (tokens, together, rate), runs in sorted(settings.items(), key=lambda each: -mean(each[1], "exact")):
        each = ", ".join(f"{told['exact']:.0%}" for told in runs)
        shown = [f"{mean(runs, level):.0%}" for level in ("name", "exact")]
        lines.append([f"{tokens:,}", together, f"{rate:g}", runs[0]["steps"], *shown, each])
    header = ["tokens", "rows a prompt", "rate", "steps", "function", "exact", "exact, seed by seed"]
    asked = stored.results[0]["n"]
    return f"{stored.source()}. {asked} rows that call.\n\n{generated.markdown_table(header, lines)}"


def long_run() -> str:
    """The training loss of the run that ended with its lease."""
    stored = reference.load("long_run")
    lines = [[f"{told['step']:,}", f"{told['loss']:.3f}"] for told in stored.results]
    return f"{stored.source()}.\n\n{generated.markdown_table(['step', 'loss, the last 50 steps'], lines)}"


def yardstick() -> str:
    """The base and the chosen candidate on BFCL, beside what FunctionGemma's makers published."""
    stored, candidate = (reference.load(f"bfcl_{name}") for name in ("base", "candidate"))
    lines = []
    for base, told in zip(stored.results, candidate.results, strict=True):
        published = f"{base['published']:.1f}%" if base["published"] else "—"
        shown = [generated.share(each, digits=1) for each in (base, told)]
        lines.append([base["category"], f"{base['n']:,}", *shown, published])
    header = ["category", "questions", "Gemma 3 270M, untrained", "half universe", "FunctionGemma 270M"]
    source = f"{candidate.source()}, bfcl-eval {candidate.provenance['bfcl']}"
    return f"{source}. Intervals: 95 %, Wilson.\n\n{generated.markdown_table(header, lines)}"


def written(text: str) -> str:
    """The page with its blocks as they are now."""
    blocks = {
        "step": step, "recipes": recipes, "candidates": candidates, "watched": watched, "rank rates": rank_rates,
        "ranks": ranks, "live run": live_run, "long run": long_run, "yardstick": yardstick,
    }  # fmt: skip
    for name, block in blocks.items():
        text = generated.replaced(text, name, block())
    return text
