"""Figures and tables of notebook 05: what its cells measure, drawn; a finding is said where the figure is shown."""

from __future__ import annotations

import unicodedata

from .. import plots, scoring
from ..probes import bidi

BLUE, ORANGE, GREEN, PINK, SKY, RED, YELLOW, BLACK = plots.OKABE_ITO
PACKAGED = " as packaged"
#: Why an answer that should call holds no call that can be read, and how each is drawn.
FAULTS = {
    "no call": (SKY, ".."),
    "a key twice": (ORANGE, ""),
    "a string left open": (GREEN, "//"),
    "a call begun again": (BLACK, ""),
    "a bracket or end left open": (RED, "xx"),
    "other": (PINK, "++"),
}


# --- the file ---------------------------------------------------------------------------------------------------------


def block_rows(rows: dict[str, int], block: int = 256):
    """Rows of weights cut into blocks: label -> weights of a row. What is no whole block is hatched."""
    figure, axis = plots.subplots(figsize=(9, 0.9 + 0.4 * len(rows)))
    for place, width in enumerate(rows.values()):
        for start in range(0, width, block):
            whole = width - start >= block
            look = {"color": BLUE} if whole else {"color": RED, "hatch": "//"}
            axis.barh(place, min(block, width - start), left=start, edgecolor="white", **look)
    axis.set(yticks=range(len(rows)), yticklabels=list(rows), xlabel=f"weights of a row, cut into blocks of {block}")
    axis.set_xticks(range(0, max(rows.values()) + 1, block))
    return figure


def file_sizes(sizes: dict[str, float], bits: dict[str, float]):
    """Megabytes of each file as bars, with the bits that a weight takes beside them."""
    figure, axis = plots.subplots()
    axis.barh(list(sizes), list(sizes.values()), color=BLUE)
    for row, (kind, size) in enumerate(sizes.items()):
        axis.text(size + 5, row, f"{size:.0f} MB, {bits[kind]:.1f} bits a weight", va="center")
    axis.set(xlabel="MB on disk", xlim=(0, 1.4 * max(sizes.values())))
    axis.invert_yaxis()
    return figure


def context_growth(held, file: float):
    """What a process takes (MB) against the tokens of its context: a column of ``held`` a way; ``file`` is the GGUF."""
    figure, axis = plots.subplots(figsize=(7.5, 3))
    for way, marker, line, colour in zip(held, plots.MARKERS, ("-", "--"), (BLUE, RED), strict=False):
        axis.plot(held.index, held[way], line, marker=marker, color=colour, label=way)
    axis.axhline(file, color=BLACK, linestyle=":", linewidth=1)
    axis.text(held.index[-1], file, "the file alone", ha="right", va="bottom")
    axis.set(xlabel="tokens in the context", ylabel="MB of the process", xticks=held.index, ylim=(0, None))
    axis.legend(loc="lower right", bbox_to_anchor=(1, 0.05))
    return figure


# --- what formats cost ------------------------------------------------------------------------------------------------


def format_rates(reports: dict, levels=("parse", "exact")):
    """Rates of each format with their 95 % intervals, a panel for each level."""
    figure, axes = plots.subplots(1, len(levels), figsize=(9.5, 3.4), sharey=True)
    for axis, level, marker in zip(axes, levels, plots.MARKERS, strict=False):
        for row, report in enumerate(reports.values()):
            cell = report.cell(level)
            reach = [[100 * (cell["rate"] - cell["low"])], [100 * (cell["high"] - cell["rate"])]]
            axis.errorbar(100 * cell["rate"], row, xerr=reach, fmt=marker, color=BLUE, capsize=3)
        axis.set(xlabel=f"{level}, % of the rows that ask for a call")
        axis.set(yticks=range(len(reports)), yticklabels=list(reports))
    axes[0].invert_yaxis()
    return figure


def unreadable_calls(counts: dict[str, dict[str, int]]):
    """For each file, how many answers hold no call that can be read, by the reason: file -> reason -> answers."""
    figure, axis = plots.subplots(figsize=(9, 0.9 + 0.34 * len(counts)))
    for row, found in enumerate(counts.values()):
        start = 0
        for reason, (colour, hatch) in FAULTS.items():
            axis.barh(row, found.get(reason, 0), left=start, color=colour, hatch=hatch, edgecolor="white")
            start += found.get(reason, 0)
    for reason, (colour, hatch) in FAULTS.items():
        axis.barh(0, 0, color=colour, hatch=hatch, edgecolor="white", label=reason)
    axis.set(yticks=range(len(counts)), yticklabels=list(counts), xlabel="answers without a call that can be read")
    axis.invert_yaxis()
    axis.legend(loc="upper right")  # the longest bars are the coarse formats', further down
    return figure


def divergence(kl):
    """KL of each file from F16 by text (columns), a line a file; the base as packaged as hollow marks on its line."""
    lines = [name for name in kl.index if not name.endswith(PACKAGED)]
    figure, axis = plots.subplots()
    for column, marker, colour in zip(kl, plots.MARKERS, plots.OKABE_ITO, strict=False):
        axis.plot(kl.loc[lines, column], range(len(lines)), marker, color=colour, label=column)
        for row, name in enumerate(lines):
            if name + PACKAGED in kl.index:
                place = kl.loc[name + PACKAGED, column]
                axis.plot(place, row, marker, color=colour, fillstyle="none", markersize=10)
    axis.plot([], [], "o", color=BLACK, fillstyle="none", markersize=10, label="the base as packaged")
    axis.set(xscale="log", xlabel="KL(F16 ‖ format), nats a token", yticks=range(len(lines)), yticklabels=lines)
    axis.invert_yaxis()
    axis.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def difference(first, second, level: str) -> str:
    """'-1.2 [-2.5, +0.1]': how many points the second report has more at a level, and its 95 % interval."""
    told = scoring.compare(first, second, level)
    return f"{100 * told.difference:+.1f} [{100 * told.low:+.1f}, {100 * told.high:+.1f}]"


def formats(reports: dict, megabytes: dict) -> list[dict]:
    """What a choice needs of every format: name, mb, exact, and the interval low, high of F16's difference, in points.

    ``reports``: format -> ``scoring.Report`` of the same rows, F16 among them; ``megabytes``: format -> its file's.
    """
    found = []
    for name, report in reports.items():
        told = scoring.compare(reports["F16"], report, "exact")
        low, high = (100 * told.low, 100 * told.high) if name != "F16" else (0.0, 0.0)
        found.append({"name": name, "mb": megabytes[name], "exact": report.rate("exact"), "low": low, "high": high})
    return found


def decision_table(found: list[dict]):
    """Format → bytes, exact, use when: a pandas.DataFrame of what ``formats`` gives, each line's advice by rule.

    A format whose interval reaches 0 cannot be told from F16. Of these the smallest and the largest quantized one have
    a use; of the others each that no smaller and more exact format makes superfluous.
    """
    import pandas

    quantized = [f for f in found if f["name"] != "F16"]
    safe = sorted((f for f in quantized if f["high"] >= 0), key=lambda f: f["mb"])
    lines = {}
    for each in found:
        better = [f for f in quantized if f["mb"] < each["mb"] and f["exact"] >= each["exact"]]
        if each["name"] == "F16":
            use = "other formats are to be made from it"
        elif each in safe[:1]:
            use = "every megabyte counts: the smallest that cannot be told from F16 here"
        elif each in safe[-1:]:
            use = "you want room for what this test did not ask"
        elif each in safe:
            use = f"no reason here: {safe[0]['name']} is smaller and cannot be told from F16 either"
        elif better:
            use = f"never here: {min(better, key=lambda f: f['mb'])['name']} is smaller and more exact"
        else:
            use = f"{each['mb']:.0f} MB is all there is: it costs exact calls"
        interval = "" if each["name"] == "F16" else f"{each['low']:+.1f} to {each['high']:+.1f}"
        lines[each["name"]] = {"MB": f"{each['mb']:.0f}", "exact": f"{each['exact']:.1%}"} | {
            "points against F16, 95 %": interval,
            "use when": use,
        }
    return pandas.DataFrame(lines).T


# --- spikes -----------------------------------------------------------------------------------------------------------


def spike_losses(loss, frozen, spikes):
    """A run's loss by step, and that of the same batches under frozen weights: arrays (steps,). Spikes are marked."""
    figure, axes = plots.subplots(2, 1, figsize=(9, 4.4), sharex=True)
    steps = spikes.nonzero()[0]
    for axis, values, label in zip(axes, (loss, frozen), ("loss in training", "loss, frozen weights"), strict=True):
        axis.plot(values, color=BLUE, linewidth=0.8)
        axis.plot(steps, values[steps], "v", color=RED, label="steps that spiked in training")
        axis.set_ylabel(f"{label}, nats")
        plots.scale_log(axis)
    axes[1].set(xlabel="step")
    axes[0].legend()
    return figure


def spike_raster(runs: list[dict]):
    """Which steps of each run spiked, a line a run: dicts of factor (α/r), learning_rate and spiked (booleans, steps).

    Runs are sorted by factor; one marker and colour for each.
    """
    ordered = sorted(runs, key=lambda run: (run["factor"], run["learning_rate"]))
    factors = sorted({run["factor"] for run in ordered})
    figure, axis = plots.subplots(figsize=(9, 4.2))
    for row, run in enumerate(ordered):
        which = factors.index(run["factor"])
        steps = run["spiked"].nonzero()[0]
        axis.plot(steps, [row] * len(steps), plots.MARKERS[which], color=plots.OKABE_ITO[which], markersize=6)
    labels = [f"α/r = {run['factor']:g}, η = {run['learning_rate']:g}" for run in ordered]
    axis.set(yticks=range(len(ordered)), yticklabels=labels, xlabel="step; in every run the same batch")
    axis.set(xlim=(0, len(ordered[0]["spiked"])), ylim=(-0.7, len(ordered) - 0.3))  # a run without a spike, too
    return figure


# --- right to left ----------------------------------------------------------------------------------------------------


def logical_and_drawn(text: str, marked: str = "{}", also: str = "<>"):
    """One line of right-to-left text twice, a box for each code point: as memory holds it, and as a screen draws it.

    Small numbers are places in memory. Full lines follow the ``marked`` characters from one row to the other, dashed
    ones those of ``also``. Returns the figure.
    """
    order, drawn = bidi.drawing_order(text, base="R"), bidi.displayed(text, base="R")
    shapes = bidi.joined(text)
    rows = (
        (1.6, range(len(text)), text),
        (0, order, [shapes[i] if text[i] == c else c for i, c in zip(order, drawn, strict=True)]),
    )
    figure, axis = plots.subplots(figsize=(9.5, 2.6))
    for height, places, glyphs in rows:
        for column, (place, glyph) in enumerate(zip(places, glyphs, strict=True)):
            _code_point(axis, column, height, place, glyph, text[place], marked, also)
    for column, place in enumerate(order):
        if text[place] in marked + also:
            full = text[place] in marked
            look = {"color": RED, "linewidth": 1.4} if full else {"color": PINK, "linewidth": 0.9, "linestyle": "--"}
            axis.plot([place, column], [1.6 - 0.38, 0.62], **look)
    axis.set(
        xlim=(-0.8, len(text) - 0.2), ylim=(-0.5, 2.4), xticks=[], yticks=[0, 1.6], yticklabels=["drawn", "memory"]
    )
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure


def _code_point(axis, column, height, place, glyph, character, marked, also) -> None:
    """One box: what is drawn there, and above it its place in memory."""
    from matplotlib.patches import Rectangle

    letter = unicodedata.bidirectional(character) == "AL"  # an Arabic letter
    colour = ORANGE if character in marked else PINK if character in also else SKY if letter else "white"
    box = Rectangle((column - 0.5, height - 0.36), 1, 0.72, facecolor=colour, edgecolor="#555555", linewidth=0.6)
    box.set_alpha(0.55)
    axis.add_patch(box)
    size = 20 if letter else 14
    axis.text(column, height, glyph, ha="center", va="center", fontsize=size, fontfamily=plots.naskh())
    axis.text(column, height + 0.4, str(place), ha="center", va="bottom", fontsize=6.5)
