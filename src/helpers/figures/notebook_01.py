"""Figures of notebook 01. Each function takes what was measured and returns the figure and its finding, a sentence."""

from __future__ import annotations

import itertools
import statistics

from .. import plots

NORMS = {"rms": "RMSNorm", "layer": "LayerNorm", "spread": "spread only, mean kept"}
BLUE, ORANGE, GREEN, PINK, SKY, RED, _, BLACK = plots.OKABE_ITO
#: What the lens may say, in English.
ENGLISH = {"القاهرة": "Cairo", "مدينة": "city", "واحدة": "one", "まえ": "before", "主に": "mainly", "مصر": "Egypt"}


def _axes(height: float, columns: int = 1, width: float = 7.5):
    return plots.subplots(1, columns, figsize=(width, height))


def _rows(axis, values: dict[str, float], **look):
    """Horizontal bars, the first on top, with lines across only."""
    bars = axis.barh(list(values), list(values.values()), edgecolor="white", **look)
    axis.invert_yaxis()
    axis.grid(False, axis="y")
    return bars


def parameters(budget: dict[str, int]):
    """One bar of all parameters, cut into its parts; ``budget``: part -> parameters."""
    figure, axis = _axes(1.7)
    total, start = sum(budget.values()), 0.0
    for (part, count), colour, hatch in zip(
        budget.items(), (ORANGE, BLUE, GREEN, RED), ("//", "", "..", ""), strict=True
    ):
        share = count / total
        axis.barh([0], [share], left=[start], color=colour, hatch=hatch, edgecolor="white", label=f"{part} {share:.1%}")
        start += share
    axis.set(xlim=(0, 1), yticks=[], xlabel="share of the parameters")
    axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
    largest = max(budget, key=lambda part: budget[part])
    told = f"The largest part is the {largest}, {budget[largest] / total:.0%} of {total / 1e6:.0f} million"
    return figure, f"{told}; all norms together have {budget['norms']:,} parameters."


def fertility(rates: dict[str, tuple[float, float, float]]):
    """Tokens a word of each language with intervals; ``rates``: name -> (rate, low, high), English among them."""
    figure, axis = _axes(2.8)
    middle = {name: rate for name, (rate, _, _) in rates.items()}
    errors = [[rate - low for rate, low, _ in rates.values()], [high - rate for rate, _, high in rates.values()]]
    english = [name == "english" for name in rates]
    _rows(
        axis, middle, xerr=errors, capsize=3, ecolor="#333333",
        color=[ORANGE if e else BLUE for e in english], hatch=["//" if e else "" for e in english],
    )  # fmt: skip
    axis.set(xlabel="tokens per word")
    arabic = sorted((name for name in rates if name != "english"), key=lambda name: middle[name])
    low, high = arabic[0], arabic[-1]
    told = f"An English word takes {middle['english']:.2f} tokens, an Arabic one {middle[low]:.2f} ({low})"
    return figure, f"{told} to {middle[high]:.2f} ({high})."


def _nats(value: float) -> str:
    return f"{value:.1f}" if value >= 0.05 else f"{value:.0e}"


def ingredients(damages: dict[str, tuple[float, float]]):
    """How far predictions move without each ingredient; ``damages``: name -> (KL in nats, share of top tokens kept)."""
    damages = {name: (abs(kl), kept) for name, (kl, kept) in damages.items()}  # rounding may leave −1e-8
    figure, axis = _axes(3.3)
    names = list(damages)
    last = [name == names[-1] for name in names]
    _rows(
        axis, {name: kl for name, (kl, _) in damages.items()},
        color=[RED if e else BLUE for e in last], hatch=["//" if e else "" for e in last],
    )  # fmt: skip
    for row, (kl, kept) in enumerate(damages.values()):
        axis.text(kl, row, f"  {_nats(kl)} nats, {kept:.0%} of top tokens kept", va="center", fontsize=8)
    axis.set(xlabel="KL divergence from the real model (nats)", xlim=(0, 1.5 * max(kl for kl, _ in damages.values())))
    singles = names[1:-1]
    worst = max(singles, key=lambda name: damages[name][0])
    told = f"With {names[0]} the rebuilt model is {_nats(damages[names[0]][0])} nats from the real one"
    return (
        figure,
        f"{told}; it is furthest {worst}, and {names[-1]} keeps {damages[names[-1]][1]:.0%} of its top tokens.",
    )


def moved(change, replaced: int):
    """The largest change of each position's last state when the last ``replaced`` tokens change; ``change``: (N,)."""
    figure, axis = _axes(2.4)
    first = len(change) - replaced
    axis.plot(range(len(change)), change.tolist(), ".", color=BLUE, markersize=3)
    axis.axvline(first - 0.5, color=BLACK, linestyle="--", linewidth=1)
    axis.text(first - 8, 0.9 * max(change).item(), "tokens kept", ha="right", fontsize=8)
    axis.text(first + 4, 1.04 * max(change).item(), "replaced", fontsize=8)
    axis.set(xlabel="position", ylabel="largest change", ylim=(None, 1.15 * max(change).item()))
    before, after = max(change[:first]).item(), max(change[first:]).item()
    return figure, f"Before the replaced tokens nothing moves by more than {before:g}; from there on up to {after:.0f}."


def cache(lengths: list[int], ways: dict[str, list[float]], measured: dict[int, float], weights: float):
    """MiB of cache against the number of tokens, each line named at its end; ``weights``: the model's own MiB."""
    figure, axis = _axes(3.8)
    for (name, values), colour, marker in zip(ways.items(), (RED, ORANGE, BLUE), plots.MARKERS, strict=False):
        axis.plot(lengths, values, marker=marker, color=colour, markersize=4)
        axis.annotate(
            name, (lengths[-1], values[-1]), (8, 0), textcoords="offset points", va="center", fontsize=8, color=colour
        )
    axis.plot(list(measured), list(measured.values()), "x", color=BLACK, markersize=9)
    at = min(measured)
    axis.annotate("measured: ×", (at, measured[at]), (4, -16), textcoords="offset points", fontsize=8)
    axis.plot([lengths[0], lengths[-1]], [weights, weights], "--", color=BLACK, linewidth=1)
    axis.annotate("the weights", (lengths[0], weights), (0, 4), textcoords="offset points", fontsize=8)
    axis.set(
        xscale="log", yscale="log", xlabel="tokens", ylabel="MiB (bfloat16)", xlim=(lengths[0] * 0.85, lengths[-1] * 6)
    )
    axis.set_xticks(lengths[::2], [f"{n:,}" for n in lengths[::2]])
    axis.minorticks_off()
    (whole, most), (kept, least) = list(ways.items())[0], list(ways.items())[-1]
    over = next((n for n, mib in zip(lengths, most, strict=True) if mib > weights), None)
    told = f"outweighs the weights at {over:,} tokens" if over else "stays below the weights"
    told = f"The cache of {whole} {told}; that of {kept} is {least[-1]:.0f} MiB at {lengths[-1]:,} tokens"
    return figure, f"{told}, and the weights are {weights:.0f}."


def norm_times(here: dict[str, list[float]], there: dict[str, float]):
    """Microseconds of each way to norm, on this processor (every round) and on a GPU; both: name -> time."""
    figure, axes = _axes(2.6, 2, 9)
    middle = {name: statistics.median(values) for name, values in here.items()}
    there = {name: there[name] for name in here}  # one list of names serves both
    for axis, values, place in zip(axes, (middle, there), ("this processor", "an H200"), strict=True):
        layer = ["LayerNorm" in name for name in values]
        _rows(axis, values, color=[ORANGE if e else BLUE for e in layer], hatch=["//" if e else "" for e in layer])
        axis.set(title=place, xlabel="µs a call")
    axes[0].set_xlabel("µs a call, median; black: the middle half of the rounds", loc="right")
    axes[1].set(yticks=range(len(there)), yticklabels=[""] * len(there))
    for row, rounds in enumerate(here.values()):
        quarter = statistics.quantiles(rounds, n=4)
        axes[0].plot([quarter[0], quarter[2]], [row, row], color=BLACK, linewidth=2)
    spread = max(middle.values()) / min(middle.values())
    slow, fast = max(there, key=lambda name: there[name]), min(there, key=lambda name: there[name])
    told = f"On the GPU {slow}, takes {there[slow] / there[fast]:.1f} times as long as {fast}"
    return figure, f"{told}; on this processor the slowest way takes {spread:.1f} times as long as the fastest."


def norm_twins(results: list[dict]):
    """Loss on text held out against the learning rate, for each norm; a point a seed, a line through their means.

    ``results``: a dict each run, with norm, rate, seed and validation (nats).
    """
    figure, axis = _axes(3.4, width=7)
    rates = sorted({r["rate"] for r in results})
    for (norm, name), colour, marker, shift in zip(
        NORMS.items(), plots.OKABE_ITO, plots.MARKERS, (0.93, 1.0, 1.07), strict=False
    ):
        own = [r for r in results if r["norm"] == norm]
        axis.plot([r["rate"] * shift for r in own], [r["validation"] for r in own], marker, color=colour, markersize=5)
        means = [statistics.mean(r["validation"] for r in own if r["rate"] == rate) for rate in rates]
        axis.plot(
            [rate * shift for rate in rates],
            means,
            color=colour,
            linewidth=1.2,
            label=name,
            marker=marker,
            markevery=[],
        )
    axis.set(xscale="log", xlabel="peak learning rate", ylabel="loss on held-out text, nats", xticks=rates)
    axis.set_xticklabels([f"{rate:g}" for rate in rates])
    axis.minorticks_off()
    axis.legend(fontsize=8)
    return figure, _apart(results, rates)


def _apart(results: list[dict], rates: list[float]) -> str:
    ends = {(r["norm"], r["rate"], r["seed"]): r["validation"] for r in results}
    seeds = sorted({seed for _, _, seed in ends})
    rms = {pair: ends["rms", *pair] for pair in itertools.product(rates, seeds)}
    worst = max(abs(loss - ends["layer", *pair]) for pair, loss in rms.items())
    spread = max(rms.values()) - min(rms.values())
    told = f"No pair of twins differs by more than {worst:.3f} nats"
    return f"{told}; over rates and seeds RMSNorm's loss ranges over {spread:.2f}."


def lens(ranks: list[int], sizes: list[float]):
    """The answer's rank after each layer, and the length of the residual stream there: lists by layer."""
    figure, (left, right) = _axes(3, 2, 9)
    left.plot(range(len(ranks)), ranks, marker="o", color=BLUE)
    left.set(yscale="log", xlabel="after layer", ylabel="rank of the answer’s first token")
    left.invert_yaxis()
    right.plot(range(len(sizes)), sizes, marker="s", color=RED)
    right.set(yscale="log", xlabel="after layer", ylabel="length of the residual stream")
    for axis in (left, right):
        axis.set_xticks(range(0, len(ranks), 3))
    first = next((layer for layer, rank in enumerate(ranks) if rank == 1), None)
    hit = f", and 1 for the first time after layer {first}" if first is not None else ""
    told = f"The answer’s rank is {max(ranks):,} at worst and {ranks[-1]:,} at the end{hit}"
    return figure, f"{told}; the residual stream grows from {sizes[0]:.0f} to {max(sizes):,.0f}."


def lens_table(ranks: list[int], tokens: list[str], layers):
    """What the model would say after some layers: HTML with layer, the answer's rank, the top token and its English."""
    rows = [
        {
            "after layer": layer,
            "rank of Cairo": f"{ranks[layer]:,}",
            "likeliest token": tokens[layer].strip(),
            "in English": ENGLISH.get(tokens[layer].strip(), "–"),
        }
        for layer in layers
    ]
    return plots.text_table(rows)


def attention_maps(weights: dict, window: int):
    """Attention weights (N, N) on a logarithmic scale side by side; ``weights``: name -> tensor."""
    figure, axes = _axes(4, 2, 9)
    for axis, (name, w) in zip(axes, weights.items(), strict=True):
        image = axis.imshow(w.clamp(min=1e-6).log10(), cmap="cividis", vmin=-6, vmax=0)
        axis.set(title=name, xlabel="key position", ylabel="query position")
        axis.grid(False)
    figure.colorbar(image, ax=axes, label="log10 of the attention weight")
    back = []
    for w in weights.values():
        queries, keys = (w > 0).nonzero(as_tuple=True)
        back.append((queries - keys).max().item())
    names = [name.split(",")[0] for name in weights]
    told = " and ".join(f"{name} {far}" for name, far in zip(names, back, strict=True))
    return figure, f"Farthest back that a token looks: {told} tokens; the window is {window}."
