"""Figures of notebook 01."""

from __future__ import annotations

import itertools
import statistics

from .. import plots

NORMS = {"rms": "RMSNorm", "layer": "LayerNorm", "spread": "spread only, mean kept"}


def norm_twins(results: list[dict]):
    """Loss on text held out against the learning rate, for each norm; a point a seed, a line through their means.

    ``results``: a dict each run, with norm, rate, seed and validation (nats). Returns the figure and what it shows.
    """
    import matplotlib.pyplot as plt

    plots.style()
    rates = sorted({r["rate"] for r in results})
    figure, axis = plt.subplots(figsize=(7, 3.4))
    for (norm, name), colour, marker, shift in zip(
        NORMS.items(), plots.OKABE_ITO, plots.MARKERS, (0.93, 1.0, 1.07), strict=False
    ):
        own = [r for r in results if r["norm"] == norm]
        axis.plot([r["rate"] * shift for r in own], [r["validation"] for r in own], marker, color=colour, markersize=5)
        means = [statistics.mean(r["validation"] for r in own if r["rate"] == rate) for rate in rates]
        axis.plot([rate * shift for rate in rates], means, color=colour, linewidth=1.2, label=name)
    axis.set(xscale="log", xlabel="peak learning rate", ylabel="loss on held-out text, nats", xticks=rates)
    axis.set_xticklabels([f"{rate:g}" for rate in rates])
    axis.minorticks_off()
    axis.legend(fontsize=8)
    return figure, _finding(results, rates)


def _finding(results: list[dict], rates: list[float]) -> str:
    ends = {(r["norm"], r["rate"], r["seed"]): r["validation"] for r in results}
    seeds = sorted({seed for _, _, seed in ends})
    rms = {pair: ends["rms", *pair] for pair in itertools.product(rates, seeds)}
    worst = max(abs(loss - ends["layer", *pair]) for pair, loss in rms.items())
    spread = max(rms.values()) - min(rms.values())
    told = f"No pair of twins differs by more than {worst:.3f} nats"
    return f"{told}; the learning rate alone moves the loss by {spread:.2f}."
