"""Figures of notebook 03: whose bytes a step's are, how they grow, and what four bits change."""

from __future__ import annotations

from collections.abc import Mapping

from .. import plots
from ..probes.memory import OWNERS

GIB = 2**30
LARGEST_HALF = 65_504  # float16's largest number


def held(moments: Mapping[str, dict], limit: float | None = None):
    """Bars of bytes by owner: ``moments`` maps a row's name to what ``memory.owners`` says of it. Returns the figure.

    ``limit``: bytes of a GPU, a dashed line.
    """
    figure, axis = plots.subplots(figsize=(8.5, 0.9 + 0.5 * len(moments)))
    left = [0.0] * len(moments)
    for owner, colour, hatch in zip(OWNERS, plots.OKABE_ITO, plots.HATCHES, strict=False):
        sizes = [parts[owner] / GIB for parts in moments.values()]
        axis.barh(list(moments), sizes, left=left, color=colour, hatch=hatch, edgecolor="white", label=owner)
        left = [a + b for a, b in zip(left, sizes, strict=True)]
    for row, total in enumerate(left):
        axis.text(total, row, f" {total:.1f}", va="center")
    if limit:
        axis.axvline(limit / GIB, color="black", linestyle="--", linewidth=1, label=f"a T4: {limit / GIB:.1f}")
    axis.set(xlabel="GiB", xlim=(0, 1.08 * max(*left, (limit or 0) / GIB)))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8.5)
    return figure


def _token_axis(axis, lengths) -> None:
    """Lengths on a log axis: a tick at each, a number at every other one, so that they do not touch."""
    axis.set(xscale="log", xlabel="tokens N")
    axis.set_xticks(lengths, [f"{n:,}" if i % 2 else "" for i, n in enumerate(lengths)])
    axis.minorticks_off()


def loss_curves(losses, lengths):
    """Memory above the model for three ways to one loss: few labels on the left, labels everywhere on the right.

    ``losses``: a table with tokens, labelled, loss and above (MiB). Returns the figure.
    """
    figure, axes = plots.subplots(1, 2, figsize=(9.5, 3.6), sharey=True)
    looks = {"full": ("o", "-", 3), "chunked": ("s", "-", 3), "response": ("^", "--", 1)}  # the last lies on others
    for axis, few in zip(axes, (True, False), strict=True):
        shown = losses[(losses["labelled"] == 64) == few]
        for (loss, (marker, line, width)), colour in zip(looks.items(), (*plots.OKABE_ITO[:2], "black"), strict=True):
            own = shown[shown["loss"] == loss]
            look = {"marker": marker, "markersize": 4 + width, "linewidth": width, "color": colour}
            axis.plot(own["tokens"], own["above"], line, label=loss, **look)
        _token_axis(axis, lengths)
        axis.set(yscale="log", title="loss on 64 tokens" if few else "loss on all tokens")
    axes[0].set(ylabel="MiB above the model")
    axes[0].legend(title="logits")
    return figure


def growth_curves(eager: Mapping[str, list], modes, lengths):
    """Memory above the model against N: lines of the ledger (eager), marks of the GPU (eager and SDPA).

    ``eager``: bytes at each length, by mode; ``modes``: the GPU's table with attention, mode, tokens and above (MiB).
    Returns the figure.
    """
    figure, axes = plots.subplots(1, 2, figsize=(9.5, 3.8), sharey=True)
    names = {"none": "no checkpointing", "layer": "every layer"}
    for axis, (mode, name) in zip(axes, names.items(), strict=True):
        axis.plot(lengths, [b / 2**20 for b in eager[mode]], "-", color=plots.OKABE_ITO[0], label="eager, ledger")
        looks = (("eager", "o", plots.OKABE_ITO[0]), ("sdpa", "s", plots.OKABE_ITO[1]))
        for attention, marker, colour in looks:
            seen = modes[(modes["attention"] == attention) & (modes["mode"] == mode)]
            line = "--" if attention == "sdpa" else ""
            label = f"{attention if attention == 'eager' else 'SDPA'}, GPU"
            axis.plot(seen["tokens"], seen["above"], marker + line, color=colour, markersize=5, label=label)
        _token_axis(axis, lengths)
        axis.set(yscale="log", title=name)
    axes[0].set(ylabel="MiB above the model")
    axes[0].legend(fontsize=8.5)
    return figure


def copies(tokens, to_host, limit: float):
    """Copies to the host in a step of four layers, against the tokens of its batch. Returns the figure.

    ``limit``: tokens of an activation of 2 MiB.
    """
    figure, axis = plots.subplots(figsize=(7.5, 2.6))
    axis.plot(tokens, to_host, "o", color=plots.OKABE_ITO[0])
    axis.axvline(limit, color="black", linestyle="--", linewidth=1)
    axis.text(limit - 40, 1.4, "2 MiB an activation", fontsize=9, ha="right")
    axis.set(xlabel="tokens in the batch", ylabel="copies to the host", ylim=(-0.3, 3.6), xlim=(0, None))
    return figure


def ways(runs):
    """Milliseconds a step and the peak of each way to train, as bars.

    ``runs``: a table by way, with ms and GiB. Returns the figure.
    """
    figure, axes = plots.subplots(1, 2, figsize=(9.5, 2.6), sharey=True)
    for axis, what, words in zip(axes, ("ms", "GiB"), ("ms a step, median", "peak, GiB"), strict=True):
        for row, (way, value) in enumerate(runs[what].items()):
            ours = way.startswith("plain")
            look = {"color": plots.OKABE_ITO[ours], "hatch": plots.HATCHES[ours], "edgecolor": "white"}
            axis.barh(way, value, **look)
            axis.text(value, row, f" {value:,.0f}" if what == "ms" else f" {value:.2f}", va="center")
        axis.set(xlabel=words, xlim=(0, 1.15 * runs[what].max()))
        axis.grid(axis="y", visible=False)
    axes[0].invert_yaxis()
    return figure


def backward_shares(passes):
    """The backward pass's share of a step's time, by size, without and with Unsloth, beside a half.

    ``passes``: a table by (library, batch, tokens) with backward, a share. Returns the figure.
    """
    figure, axis = plots.subplots(figsize=(7.5, 2.6))
    sizes = sorted({index[1:] for index in passes.index}, key=lambda size: size[0] * size[1])
    for library, marker, colour in zip(("plain", "unsloth"), plots.MARKERS, plots.OKABE_ITO, strict=False):
        own = [(row, passes.loc[(library, *size), "backward"]) for row, size in enumerate(sizes)
               if (library, *size) in passes.index]  # fmt: skip
        axis.plot([100 * share for _, share in own], [row for row, _ in own], marker, color=colour, label=library)
    axis.axvline(50, color="black", linestyle="--", linewidth=1)
    axis.set(xlabel="backward pass, % of a step's time", xlim=(30, 75), ylim=(len(sizes) - 0.5, -0.5))
    axis.set_yticks(range(len(sizes)), [f"{batch} × {tokens:,} tokens" for batch, tokens in sizes])
    axis.legend(loc="upper right")
    return figure


def activations(largest: Mapping[str, list]):
    """The largest number each layer hands on, a line for each passage, beside float16's largest. Returns the figure.

    ``largest``: 18 numbers by passage; names begin with their language.
    """
    figure, axis = plots.subplots(figsize=(7.5, 3.2))
    for name, values in largest.items():
        arabic = name.startswith("arabic")
        look = {"color": plots.OKABE_ITO[not arabic], "marker": plots.MARKERS[not arabic]}
        label = name.split()[0] if name.endswith("1") else None
        axis.plot(range(1, len(values) + 1), values, markersize=4, linewidth=1, label=label, **look)
    axis.axhline(LARGEST_HALF, color="black", linestyle="--", linewidth=1, label="largest float16 number")
    axis.set(xlabel="layer", ylabel="largest |activation|", yscale="log")
    axis.set_xticks(range(1, 19, 2))
    axis.legend(fontsize=8.5)
    return figure


def parts(rows: Mapping[str, Mapping[str, float]], xlabel: str, reference: float | None = None):
    """Stacked bars, one for each row, of named parts, with the totals written. Returns the figure.

    ``reference``: a value marked by a dashed line.
    """
    figure, axis = plots.subplots(figsize=(8, 0.9 + 0.45 * len(rows)))
    left = [0.0] * len(rows)
    for kind, colour, hatch in zip(next(iter(rows.values())), plots.OKABE_ITO, plots.HATCHES, strict=False):
        sizes = [row[kind] for row in rows.values()]
        axis.barh(list(rows), sizes, left=left, color=colour, hatch=hatch, edgecolor="white", label=kind)
        left = [a + b for a, b in zip(left, sizes, strict=True)]
    for row, total in enumerate(left):
        axis.text(total, row, f" {total:.3g}", va="center")
    if reference is not None:
        axis.axvline(reference, color="black", linestyle="--", linewidth=1)
    axis.set(xlabel=xlabel, xlim=(0, 1.1 * max(left)))
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0), fontsize=8.5)
    return figure


def comb_and_bell(inside: Mapping, used: Mapping, grids: Mapping):
    """Weights divided by their blocks' scales, before and after dithering, and how often each level is used.

    ``inside``: two arrays by name; ``used``: shares of 16 levels by grid; ``grids``: the levels. Returns the figure.
    """
    figure, (left, right) = plots.subplots(1, 2, figsize=(10.5, 3.2))
    looks = ((plots.OKABE_ITO[4], "stepfilled"), ("black", "step"))
    for (name, values), (colour, filled) in zip(inside.items(), looks, strict=True):
        left.hist(values, bins=200, density=True, histtype=filled, color=colour, alpha=0.7, label=name)
    for row, ((name, grid), marker, colour) in enumerate(
        zip(grids.items(), plots.MARKERS, plots.OKABE_ITO, strict=False)
    ):
        left.plot(grid, [-0.25 - 0.35 * row] * len(grid), marker, color=colour, markersize=5)
        right.plot(range(16), used[name], marker=marker, markersize=4, color=colour, label=name)
    left.set(xlabel="weight / scale of its block (marks: the levels)", ylabel="density")
    right.axhline(1 / 16, color="black", linewidth=0.8, linestyle="--", label="equal shares")
    right.set(xlabel="number of the level", ylabel="share of the weights", ylim=(0, None))
    left.legend(fontsize=8)
    right.legend(fontsize=8)
    return figure


def intervals(found: Mapping[str, Mapping[str, tuple]], xlabel: str, log: bool = False, points: Mapping | None = None):
    """Means with their intervals: ``found`` maps a series to (mean, low, high) by row; ``points`` adds faint marks.

    Returns the figure.
    """
    rows = list(next(iter(found.values())))
    figure, axis = plots.subplots(figsize=(8, 1.1 + 0.45 * len(rows)))
    shifts = (-0.15, 0.15)
    for (series, own), shift, marker, colour in zip(
        found.items(), shifts, plots.MARKERS, plots.OKABE_ITO, strict=False
    ):
        for row, name in enumerate(rows):
            mean, low, high = own[name]
            if points:
                each = points[series][name]
                axis.plot(each, [row + shift] * len(each), marker, color=colour, alpha=0.2, markersize=4)
            look = {"fmt": marker, "color": colour, "capsize": 3, "label": None if row else series}
            axis.errorbar(mean, row + shift, xerr=[[mean - low], [high - mean]], **look)
    axis.set(xscale="log" if log else "linear", xlabel=xlabel, ylim=(len(rows) - 0.5, -0.5))
    axis.set_yticks(range(len(rows)), rows)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2)
    return figure
