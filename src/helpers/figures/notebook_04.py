"""Figures of notebook 04, each with the sentence that its numbers allow."""

from __future__ import annotations

from collections import Counter

from .. import plots
from ..probes import misses, stored_runs

RATES = "peak learning rate"


def gradient_by_position(norms, carries_loss):
    """The gradient's norm at each position of a row, (N,); ``carries_loss`` (N,) says which are the response.

    Returns the figure and its finding.
    """
    figure, axis = plots.subplots(figsize=(9, 2.8))
    marks = (("prompt", plots.OKABE_ITO[0], "o"), ("response", plots.OKABE_ITO[5], "s"))
    for chosen, (name, colour, marker) in zip((~carries_loss, carries_loss), marks, strict=True):
        at = chosen.nonzero()[:, 0].tolist()
        axis.plot(at, norms[chosen].tolist(), marker, color=colour, markersize=3, label=name)
    axis.set(xlabel="position in the row", ylabel="gradient norm", yscale="log")
    figure.legend(loc="outside lower right", ncols=2)
    reached, prompt = int((norms[~carries_loss] > 0).sum()), int((~carries_loss).sum())
    finding = f"{reached} of {prompt} prompt positions receive a gradient, though none of them carries loss."
    return figure, finding


def before_and_after(before, after, wanted: list[str], silent: list[str]):
    """Two reports at levels of rows that want a call, and of rows that want none, side by side.

    Returns the figure and its finding.
    """
    figure, axes = plots.subplots(1, 2, figsize=(9, 3.4), sharey=True, width_ratios=[len(wanted), 0.6 + len(silent)])
    for axis, levels, title in zip(axes, (wanted, silent), ("a call is wanted", "no call is wanted"), strict=True):
        for shift, (name, report) in enumerate((("before", before), ("after", after))):
            cells = [report.cell(level) for level in levels]
            at = [i + 0.4 * shift - 0.2 for i in range(len(levels))]
            rates = [cell["rate"] for cell in cells]
            reach = plots.error_lengths([c["rate"] for c in cells], [(c["low"], c["high"]) for c in cells])
            look = {"color": plots.OKABE_ITO[shift], "hatch": plots.HATCHES[shift], "edgecolor": "white"}
            axis.bar(at, rates, 0.4, label=name, yerr=reach, ecolor="#333333", capsize=3, **look)
        counted = [f"{level}\n{after.cell(level)['n']} rows" for level in levels]
        axis.set_xticks(range(len(levels)), counted)
        axis.set_title(title, fontsize=10)
    axes[0].set(ylim=(0, 1.05), ylabel="share of rows that are right")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure, f"{_gains(before, after)} {_price(before, after)}"


def _gains(before, after) -> str:
    names = {"parse": "a well-formed call", "name": "the right function", "exact": "the exact call"}
    told = [f"{what} {before.rate(level):.0%} → {after.rate(level):.0%}" for level, what in names.items()]
    return f"Of unseen requests: {', '.join(told)}."


def _price(before, after) -> str:
    one, two = before.cell("no_call"), after.cell("no_call")
    if not two["n"]:
        return "No row wanted silence."
    return f"Where no call is wanted, right {one['hits']} → {two['hits']} of {two['n']}."


def fates(groups: dict[str, Counter]):
    """Where missed rows first went wrong: a bar for each fate, one group of bars for each name. Returns the figure."""
    names = [name for name in reversed(misses.FATES) if any(counts[name] for counts in groups.values())]
    height = 0.8 / len(groups)
    figure, axis = plots.subplots(figsize=(7.5, 0.9 + 0.45 * len(names)))
    for number, (group, counts) in enumerate(groups.items()):
        at = [i + (number - (len(groups) - 1) / 2) * height for i in range(len(names))]
        look = {"color": plots.OKABE_ITO[number], "hatch": plots.HATCHES[number], "edgecolor": "white"}
        bars = axis.barh(at, [counts[name] for name in names], height, label=group, **look)
        axis.bar_label(bars, padding=3)
    axis.set_yticks(range(len(names)), names)
    axis.set(xlabel="rows without the exact call")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(axis="y", visible=False)
    if len(groups) > 1:
        axis.legend()
    return figure


def rates_and_perplexity(runs, untrained: dict):
    """Exact calls and both perplexities against the learning rate: a mark a run, a line through the means.

    ``runs``: a DataFrame with learning_rate, exact and both perplexities; ``untrained`` has the same without a rate.
    Returns the figure and its finding.
    """
    figure, axes = plots.subplots(1, 3, figsize=(10, 3))
    labels = {"exact": "exact calls", "perplexity_arabic": "perplexity, Arabic passages",
              "perplexity_english": "perplexity, English passages"}  # fmt: skip
    mean = runs.groupby("learning_rate")[list(labels)].mean()
    for axis, (key, label), colour, marker in zip(axes, labels.items(), plots.OKABE_ITO, plots.MARKERS, strict=False):
        axis.plot(runs["learning_rate"], runs[key], marker, color=colour, markersize=4, label="a run")
        axis.plot(mean.index, mean[key], color=colour, linewidth=1, label="mean")
        axis.axhline(untrained[key], color="black", linestyle="--", linewidth=1, label="before training")
        axis.set(xscale="log", xlabel=RATES, ylabel=label, yscale="linear" if key == "exact" else "log")
    axes[0].legend(fontsize=7, loc="upper left")
    axes[0].set_ylim(top=1.3 * runs["exact"].max())
    best, worst = mean["exact"].idxmax(), mean["exact"].idxmin()
    told = f"Exact calls are most at {best:g} ({mean['exact'].max():.0%}), fewest at {worst:g}"
    arabic, english = (mean[key].iloc[-1] / untrained[key] for key in list(labels)[1:])
    return figure, f"{told}; at the highest rate perplexity is ×{arabic:,.0f} in Arabic and ×{english:,.0f} in English."


def languages_by_rate(english: dict, arabic: dict, gaps: dict):
    """Exact calls in two languages at each rate with their intervals, and the gap between them.

    Each maps a rate to a ``stored_runs.Estimate`` in points. Returns the figure and its finding.
    """
    figure, axes = plots.subplots(1, 2, figsize=(9, 3.2), sharex=True)
    for axis, lines in zip(axes, ({"English": english, "Arabic": arabic}, {"English minus Arabic": gaps}), strict=True):
        for number, (name, told) in enumerate(lines.items()):
            rates = [rate * (0.96, 1.04)[number] for rate in told]
            values = [one.value for one in told.values()]
            reach = plots.error_lengths(values, [(one.low, one.high) for one in told.values()])
            look = {"color": plots.OKABE_ITO[number if len(lines) > 1 else 2], "marker": plots.MARKERS[number]}
            axis.errorbar(rates, values, yerr=reach, capsize=3, linewidth=1, label=name, **look)
        axis.set(xscale="log", xlabel=RATES)
        axis.legend()
    axes[0].set(ylabel="exact calls, %")
    axes[1].set(ylabel="gap, points")
    axes[1].axhline(0, color="black", linestyle="--", linewidth=1)
    leads = ", ".join(f"{round(one.value)} at {rate:g}" for rate, one in gaps.items())
    clear = [f"{rate:g}" for rate, one in gaps.items() if one.low > 0 or one.high < 0]
    beyond = f"the 95 % interval excludes zero at {', '.join(clear) or 'no rate'}"
    return figure, f"English minus Arabic, in points of exact calls: {leads}; {beyond}."


def losses_by_rate(curves):
    """The loss of every run, smoothed over 20 steps: ``curves`` maps a rate to its runs' losses (runs, steps).

    Returns the figure and its finding.
    """
    import numpy as np

    figure, axis = plots.subplots(figsize=(8, 3.2))
    for number, (rate, runs) in enumerate(curves.items()):
        for losses in runs:
            smooth = np.convolve(losses, np.full(20, 1 / 20), mode="valid")
            axis.plot(np.arange(20, len(losses) + 1), smooth, color=plots.OKABE_ITO[number], linewidth=1)
        marked = {"color": plots.OKABE_ITO[number], "marker": plots.MARKERS[number], "markersize": 5}
        axis.plot(len(losses), smooth[-1], linewidth=1, label=f"{rate:g}", **marked)
    for quarter in (1, 2, 3):
        axis.axvline(quarter * len(losses) / 4, color="black", linestyle=":", linewidth=1)
    axis.set(xlabel="step (dotted: quarters of the run)", ylabel="loss, mean of 20 steps")
    plots.scale_log(axis)
    axis.legend(title=RATES, fontsize=7, ncols=2)
    told = ", ".join(
        "{1:.2f} → {2:.2f} at {0:g}".format(rate, *stored_runs.middle(runs)) for rate, runs in curves.items()
    )
    return figure, f"Mean loss from the fourth eighth of the steps to the sixth: {told}."


def changes(table):
    """Points of exact calls that each change brings or costs, a change a row, and a small mark for each seed.

    ``table`` has difference, low and high, and a column for each seed (``stored_runs.difference``). Returns the figure
    and its finding.
    """
    figure, axis = plots.subplots(figsize=(8, 0.9 + 0.38 * len(table)))
    reach = plots.error_lengths(table["difference"], zip(table["low"], table["high"], strict=True))
    look = {"fmt": "o", "color": plots.OKABE_ITO[0], "capsize": 3}
    axis.errorbar(table["difference"], range(len(table)), xerr=reach, label="mean, 95 % interval", **look)
    for number, seed in enumerate(name for name in table if name.startswith("seed ")):
        mark = {"color": plots.OKABE_ITO[1], "markersize": 4, "label": None if number else "a seed"}
        axis.plot(table[seed], [place + 0.25 for place in range(len(table))], "|", markeredgewidth=1.5, **mark)
    axis.axvline(0, color="black", linestyle="--", linewidth=1)
    axis.set_yticks(range(len(table)), table.index)
    axis.set(xlabel="points of exact calls, against the guide's recipe")
    axis.legend(fontsize=7, loc="upper left", bbox_to_anchor=(1.01, 1))
    clear = table.index[table["high"] < 0]
    told = f"{len(clear)} of {len(table)} changes cost exact calls by more than their interval"
    costs = "; ".join(f"{name}, {-table.loc[name, 'difference']:.0f} points" for name in clear)
    return figure, f"{told}: {costs}." if costs else f"{told}."
