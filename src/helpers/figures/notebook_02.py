"""Figures of notebook 02. Those that say what they show return it as a sentence beside the figure."""

from __future__ import annotations

import math
import statistics

from .. import plots, scoring
from ..probes import lora, ranks

BLUE, ORANGE, GREEN, PINK, SKY, RED, _, BLACK = plots.OKABE_ITO
ASKED = {  # colour, marker, and a factor that sets its marks beside the other's
    "tools of the training": (BLUE, "o", 0.94),
    "new tools": (RED, "^", 1.06),
}


def starting_values(drawn: dict, width: int):
    """How the entries of A are distributed for each way of drawing them: name -> values; ``width`` is A's input."""
    figure, axis = plots.subplots(figsize=(7.5, 3))
    for (name, values), line, colour in zip(drawn.items(), ("-", "--"), (BLUE, RED), strict=True):
        axis.hist(values.numpy(), bins=120, histtype="step", density=True, linestyle=line, color=colour, linewidth=1.6)
        axis.plot([], [], line, color=colour, label=name)
    bound = width**-0.5
    for edge, text in ((-bound, f"−1/√{width}"), (bound, f"1/√{width}")):
        axis.axvline(edge, color=BLACK, linewidth=0.8, linestyle=":")
        axis.annotate(
            text, (edge, 1), (0, 3), xycoords=("data", "axes fraction"), textcoords="offset points", ha="center"
        )
    axis.set(xlabel="entry of A", ylabel="density")
    axis.legend(loc="upper left", bbox_to_anchor=(0.0, 0.95))
    inside = drawn["default"].abs().max().item() <= bound
    told = "ends sharply at" if inside else "runs past"
    return figure, f"PEFT's default A {told} ±1/√{width}; asked for a Gaussian, PEFT draws a bell instead."


def alpha_runs(traces: dict):
    """‖ΔW‖ and loss step by step for several (α, η): name -> [(‖ΔW‖ after the step, loss before it), …].

    The first two have the same α·η; the third has half of it.
    """
    figure, axes = plots.subplots(1, 2, figsize=(9.5, 3.2))
    looks = ((BLUE, "o", "-", "full"), (RED, "s", "--", "none"), (GREEN, "^", "-", "full"))
    for (name, trace), (colour, marker, line, fill) in zip(traces.items(), looks, strict=True):
        for column, axis in enumerate(axes):
            values = [point[column] for point in trace]
            axis.plot(range(1, len(trace) + 1), values, line, color=colour, marker=marker, fillstyle=fill, label=name)
    axes[0].set(xlabel="step", ylabel="‖ΔW‖ after the step")
    axes[1].set(xlabel="step", ylabel="loss before the step, nats")
    plots.scale_log(axes[1])
    for axis in axes:
        axis.xaxis.get_major_locator().set_params(integer=True)
    axes[0].legend()
    one, two, half = traces.values()
    first, last = (one[step][0] / two[step][0] for step in (0, -1))
    told = f"With the same α·η, ‖ΔW‖ is {first:.2f} times the other's after one step and {last:.2f} after {len(one)}"
    return figure, f"{told}; half of α·η gives {half[0][0] / one[0][0]:.2f} after one."


def rank_cost(r: int, alpha: float, config, target_rank: int = 12):
    """What a rank costs, in parameters and in megabytes to train them, and how well it rebuilds a known matrix.

    Memory is weights, gradients and two Adam moments in float32. The matrix is 128 × 96 of rank ``target_rank`` with
    falling singular values and a little noise; fixed seed. α stands in the title alone: it costs nothing. Returns the
    figure.
    """
    import torch

    tried = [1, 2, 4, 8, 16, 32, 64, 128]
    draw = torch.Generator().manual_seed(0)
    left, right = (torch.linalg.qr(torch.randn(n, target_rank, generator=draw))[0] for n in (128, 96))
    target = (left * torch.linspace(10, 1, target_rank)) @ right.T + 0.01 * torch.randn(128, 96, generator=draw)
    errors = [((target - lora.best_of_rank(target, k)).norm() / target.norm()).item() for k in tried if k <= 96]
    figure, (cost, error) = plots.subplots(1, 2, figsize=(9.5, 3.2))
    cost.plot(tried, [lora.parameters(k, config) / 1e6 for k in tried], marker="o", color=BLUE)
    cost.set(ylabel="million parameters")
    cost.set_yscale("log")
    memory = cost.secondary_yaxis("right", functions=(lambda n: 16 * n, lambda megabytes: megabytes / 16))
    memory.set_ylabel("MB to train them (float32)")
    error.plot(tried[: len(errors)], errors, marker="s", color=BLUE)
    error.axvline(target_rank, color=BLACK, linestyle=":", linewidth=1)
    error.annotate(f"rank of the target: {target_rank}", (target_rank, errors[0]), (4, -2), textcoords="offset points")
    error.set(yscale="log", ylabel="relative error of rank r")
    for axis in (cost, error):
        axis.set_xscale("log")
        axis.axvline(r, color=RED, linestyle="--", linewidth=1)
        axis.set_xlabel("rank r (dashed: yours)")
        axis.set_xticks(tried, tried)
        axis.minorticks_off()
    scale = f"r = {r}, α = {alpha:g}: scaled by α/r = {alpha / r:.3g} (rsLoRA: α/√r = {alpha / math.sqrt(r):.3g})"
    figure.suptitle(scale, fontsize=10)
    return figure


def spectra(energy, effective: dict):
    """What training wrote: the energy in the first k directions, and the effective rank of every ΔW.

    ``energy`` (weights, r): shares of ‖ΔW‖², cumulated; ``effective``: (projection, layer) -> effective rank.
    """
    import torch

    r = energy.shape[1]
    projections = list(dict.fromkeys(projection for projection, _ in effective))
    layers = sorted({layer for _, layer in effective})
    figure, (left, right) = plots.subplots(1, 2, figsize=(10.5, 3.4), width_ratios=[1, 1.5])
    low, middle, high = energy.quantile(torch.tensor([0.05, 0.5, 0.95]), dim=0)
    left.fill_between(range(1, r + 1), low, high, color=BLUE, alpha=0.2, label="5 % to 95 % of the weights")
    left.plot(range(1, r + 1), middle, color=BLUE, marker="o", markersize=3, label="median")
    left.set(xlabel="directions kept, k", ylabel="share of ‖ΔW‖²", ylim=(0, 1.02))
    left.legend(loc="lower right")
    grid = [[effective[projection, layer] for layer in layers] for projection in projections]
    image = right.imshow(grid, aspect="auto", cmap="cividis")
    right.set_yticks(range(len(projections)), projections)
    right.set_xticks(range(0, len(layers), 3), layers[::3])
    right.set(xlabel="layer")
    right.grid(False)
    figure.colorbar(image, label="effective rank")
    span = f"{min(effective.values()):.0f} to {max(effective.values()):.0f} of {r}"
    return figure, f"The first 8 of {r} directions hold {middle[7]:.0%} of the energy; effective ranks run from {span}."


def cuts(reports: dict):
    """Scores of an adapter whose ΔW were cut to their best k directions: k -> ``scoring.Report``; largest k: uncut."""
    figure, axis = plots.subplots(figsize=(7.5, 3.4))
    names = {"parse": "call parses", "name": "right function", "exact": "exact call"}
    looks = zip((BLUE, RED, GREEN), plots.MARKERS, (0.95, 1, 1.05), strict=False)
    for (level, name), (colour, marker, aside) in zip(names.items(), looks, strict=True):
        cells = [report.cell(level) for report in reports.values()]
        reach = plots.error_lengths([c["rate"] for c in cells], [(c["low"], c["high"]) for c in cells])
        at, rates = [k * aside for k in reports], [c["rate"] for c in cells]
        axis.errorbar(at, rates, yerr=reach, color=colour, marker=marker, capsize=3, label=name)
    _rank_axis(axis, list(reports), "directions kept, k")
    axis.set(ylabel="share of rows", ylim=(-0.03, 1.03))
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    whole = reports[max(reports)].rate("exact")
    told = ", ".join(
        f"{report.rate('exact') / whole:.0%} with {k}" for k, report in reports.items() if k < max(reports)
    )
    return figure, f"Of the exact calls with all {max(reports)} directions there are left: {told}."


def by_rank(reports: dict):
    """Syntax, function and exact call against the rank: (tools, rank) -> reports, one a seed; lines through means.

    ``tools``: a key of ``ASKED``.
    """
    tried = sorted({rank for _, rank in reports})
    figure, axes = plots.subplots(1, 3, figsize=(10.5, 3.4), sharey=True)
    panels = {"parse": "syntax: the call parses", "name": "the right function", "exact": "the exact call"}
    for axis, (level, title) in zip(axes, panels.items(), strict=True):
        for tools, (colour, marker, aside) in ASKED.items():
            means = [ranks.mean_rate(reports[tools, rank], level) for rank in tried]
            axis.plot([rank * aside for rank in tried], means, color=colour, linewidth=1.2)
            seeds = [(rank * aside, report.rate(level)) for rank in tried for report in reports[tools, rank]]
            axis.plot(*zip(*seeds, strict=True), marker, color=colour, fillstyle="none", markersize=5)
            axis.plot([], [], marker=marker, color=colour, fillstyle="none", label=tools)
        _rank_axis(axis, tried, "rank r")
        axis.set(title=title, ylim=(0, 1.03))
    axes[0].set(ylabel="share of rows")
    axes[0].legend(loc="lower right")
    syntax = min(ranks.mean_rate(runs, "parse") for runs in reports.values())
    exact = {
        tools: ", ".join(f"{ranks.mean_rate(reports[tools, rank], 'exact'):.0%}" for rank in tried) for tools in ASKED
    }
    told = "; ".join(f"{own} ({tools})" for tools, own in exact.items())
    return figure, f"At every rank at least {syntax:.0%} of the calls parse. Exact, from the lowest rank up: {told}."


def against(differences: dict, shares: dict):
    """Every rank beside rank 32: points of exact calls, and the share of rank 32's exact calls made as well.

    ``differences``: (tools, rank) -> a comparison with rank 32; ``shares``: (tools, rank) -> ``ranks.Estimate``, at
    rank 32 of one seed with another.
    """
    figure, (points, calls) = plots.subplots(1, 2, figsize=(10.5, 3.4))
    for tools, (colour, marker, aside) in ASKED.items():
        tried = [rank for name, rank in shares if name == tools]
        at = [rank * aside for rank in tried]
        gaps, own = [differences[tools, rank] for rank in tried], [shares[tools, rank] for rank in tried]
        look = {"color": colour, "marker": marker, "fillstyle": "none", "capsize": 3, "linewidth": 1.2, "label": tools}
        middle = [100 * g.difference for g in gaps]
        points.errorbar(
            at, middle, yerr=plots.error_lengths(middle, [(100 * g.low, 100 * g.high) for g in gaps]), **look
        )
        middle = [100 * s.value for s in own]
        calls.errorbar(at, middle, yerr=plots.error_lengths(middle, [(100 * s.low, 100 * s.high) for s in own]), **look)
        calls.axhline(100 * shares[tools, 32].value, color=colour, linewidth=0.8, linestyle="--")
    points.axhline(0, color=BLACK, linewidth=0.8)
    points.set(ylabel="exact calls, points from r = 32")
    calls.set(ylabel="% of r = 32's exact calls, made too", ylim=(0, 100))
    calls.plot([], [], color=BLACK, linewidth=0.8, linestyle="--", label="another seed of 32")
    for axis in (points, calls):
        _rank_axis(axis, tried, "rank r")
        axis.legend(loc="lower right")
    told = "; ".join(f"{shares[tools, 8].value:.0%} and {shares[tools, 32].value:.0%} ({tools})" for tools in ASKED)
    return figure, f"Of r = 32's exact calls r = 8 makes, and another seed of r = 32: {told}."


def dialect_gaps(gaps: dict):
    """What r = 32 gains on r = 8, dialect by dialect: (level, dialect) -> ``ranks.Estimate`` in points."""
    dialects = list(dict.fromkeys(dialect for _, dialect in gaps))
    figure, axis = plots.subplots(figsize=(7.5, 3.2))
    names = {"name": ("right function", BLUE, "o", -0.12), "exact": ("exact call", RED, "^", 0.12)}
    for level, (name, colour, marker, aside) in names.items():
        own = [gaps[level, dialect] for dialect in dialects]
        middle = [estimate.value for estimate in own]
        reach = plots.error_lengths(middle, [(estimate.low, estimate.high) for estimate in own])
        at = [i + aside for i in range(len(dialects))]
        axis.errorbar(middle, at, xerr=reach, linestyle="none", marker=marker, color=colour, capsize=3, label=name)
    axis.axvline(0, color=BLACK, linewidth=0.8)
    axis.set_yticks(range(len(dialects)), dialects)
    axis.invert_yaxis()
    axis.set(xlabel="points that r = 32 is ahead of r = 8 (95 % interval)")
    axis.legend(loc="upper left", bbox_to_anchor=(1, 1))
    told = ", ".join(f"{dialect} {gaps['name', dialect].value:+.0f}" for dialect in dialects)
    return figure, f"Points of right functions that r = 32 is ahead of r = 8: {told}."


def alpha_and_rate(exact: dict):
    """Exact calls for (α/r, rate): as a grid with its diagonals of equal product, and against the product.

    ``exact``: (α/r, rate) -> share.
    """
    scales, rates = (sorted({key[place] for key in exact}) for place in (0, 1))
    figure, (grid, line) = plots.subplots(1, 2, figsize=(10.5, 3.8))
    values = [[exact[scale, rate] for rate in rates] for scale in scales]
    grid.imshow(values, cmap="cividis", aspect="auto")
    for total in range(len(scales) + len(rates) - 1):  # i + j is the same where the product is
        ends = [(total - i, i) for i in range(len(scales)) if 0 <= total - i < len(rates)]
        for colour, wide in (("black", 2.6), ("white", 1.2)):  # seen on dark and on light cells
            grid.plot(*zip(ends[0], ends[-1], strict=True), color=colour, linewidth=wide)
    middle = statistics.mean(exact.values())
    for i, row in enumerate(values):
        for j, value in enumerate(row):
            ink, fill = ("white", "#222222") if value < middle else ("black", "#eeeeee")
            look = {"boxstyle": "round,pad=0.15", "facecolor": fill, "edgecolor": "none", "alpha": 0.75}
            grid.text(j, i, f"{value:.0%}", ha="center", va="center", color=ink, bbox=look)
    grid.set_xticks(range(len(rates)), [f"{rate:g}" for rate in rates])
    grid.set_yticks(range(len(scales)), [f"{scale:g}" for scale in scales])
    grid.set(xlabel="learning rate", ylabel="α / r", title="exact calls; a line: the same product")
    grid.grid(False)
    for scale, colour, marker in zip(scales, (BLUE, RED, GREEN, PINK), plots.MARKERS, strict=False):
        own = [100 * exact[scale, rate] for rate in rates]
        line.plot([scale * rate for rate in rates], own, color=colour, marker=marker, label=f"α/r = {scale:g}")
    line.set(xscale="log", xlabel="α/r × learning rate, thousandths", ylabel="exact calls, %", ylim=(0, None))
    products = sorted({round(scale * rate, 9) for scale, rate in exact})
    line.set_xticks(products, [f"{1000 * product:g}" for product in products])
    line.minorticks_off()
    line.legend(loc="lower center", ncols=2)
    best = max(exact, key=lambda place: exact[place])
    return figure, f"The best of the sixteen is α/r = {best[0]:g} at a rate of {best[1]:g}. {_diagonals(exact)}"


def new_tools(scores: dict):
    """Right functions and exact calls of runs with Wilson 95 % intervals: name -> level -> [hits, n]."""
    figure, axis = plots.subplots(figsize=(7.5, 2.9))
    looks = {"name": ("right function", BLUE, "o"), "exact": ("exact call", RED, "^")}
    rates = {}
    for level, (label, colour, marker) in looks.items():
        counts = [levels[level] for levels in scores.values()]
        rates[level] = [hits / n for hits, n in counts]
        reach = plots.error_lengths(rates[level], [scoring.wilson(hits, n) for hits, n in counts])
        look = {"linestyle": "none", "color": colour, "marker": marker, "capsize": 3, "label": label}
        axis.errorbar(rates[level], range(len(scores)), xerr=reach, **look)
    axis.set_yticks(range(len(scores)), list(scores))
    axis.invert_yaxis()
    axis.set(xlabel="share of requests (95 % interval)", xlim=(0, 1))
    axis.legend(loc="upper center")
    told = "; ".join(f"{name} {rate:.0%}" for name, rate in zip(scores, rates["name"], strict=True))
    return figure, f"New tools, right function: {told}."


def along_diagonals(exact: dict) -> dict[float, list[float]]:
    """Product of α/r and rate -> the shares that have it, lowest first; products that one cell has are left out."""
    found: dict[float, list[float]] = {}
    for (scale, rate), value in exact.items():
        found.setdefault(round(scale * rate, 9), []).append(value)
    return {product: sorted(values) for product, values in sorted(found.items()) if len(values) > 1}


def _diagonals(exact: dict) -> str:
    spread = {product: 100 * (own[-1] - own[0]) for product, own in along_diagonals(exact).items()}
    most = max(spread, key=lambda product: spread[product])
    return f"Settings of one product are up to {spread[most]:.0f} points apart (product {most:g})."


def _rank_axis(axis, tried, label: str) -> None:
    axis.set(xscale="log", xlabel=label)
    axis.set_xticks(tried, tried)
    axis.minorticks_off()
