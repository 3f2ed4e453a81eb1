"""Figures of notebook 05."""

from __future__ import annotations

import unicodedata

from .. import plots
from ..probes import bidi


def logical_and_drawn(text: str, marked: str = "{}"):
    """One line of right-to-left text twice, a box for each code point: as memory holds it, and as a screen draws it.

    Small numbers are places in memory; lines follow the ``marked`` characters from one row to the other. Returns the
    figure.
    """
    import matplotlib.pyplot as plt

    plots.style()
    order, drawn = bidi.drawing_order(text, base="R"), bidi.displayed(text, base="R")
    shapes = bidi.joined(text)
    family = plots.naskh()
    rows = (
        (1.6, range(len(text)), text),
        (0, order, [shapes[i] if text[i] == c else c for i, c in zip(order, drawn, strict=True)]),
    )
    figure, axis = plt.subplots(figsize=(9.5, 2.6))
    for height, places, glyphs in rows:
        for column, (place, glyph) in enumerate(zip(places, glyphs, strict=True)):
            letter = unicodedata.bidirectional(text[place]) == "AL"  # an Arabic letter
            colour = plots.OKABE_ITO[1] if text[place] in marked else plots.OKABE_ITO[4] if letter else "white"
            axis.add_patch(
                plt.Rectangle(
                    (column - 0.5, height - 0.36),
                    1,
                    0.72,
                    facecolor=colour,
                    edgecolor="#555555",
                    linewidth=0.6,
                    alpha=0.55,
                )
            )
            axis.text(column, height, glyph, ha="center", va="center", fontsize=20 if letter else 14, fontfamily=family)
            axis.text(column, height + 0.4, str(place), ha="center", va="bottom", fontsize=6.5)
    for column, place in enumerate(order):
        if text[place] in marked:
            axis.plot([place, column], [1.6 - 0.38, 0.62], color=plots.OKABE_ITO[5], linewidth=1.2)
    axis.set(
        xlim=(-0.8, len(text) - 0.2), ylim=(-0.5, 2.4), xticks=[], yticks=[0, 1.6], yticklabels=["drawn", "memory"]
    )
    axis.grid(False)
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    return figure
