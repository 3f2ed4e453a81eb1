"""What diagrams are drawn with: a sheet measured in inches from its upper left corner, boxes, arrows, bytes, text.

Without a title: ``plots.show`` draws a sentence above. Whatever a colour says, a hatch or a word says too.
"""

from __future__ import annotations

from .. import plots
from ..probes import bidi

INK, GREY = "#222222", "#666666"
BLUE, ORANGE, GREEN, PINK, SKY, RED, *_ = plots.OKABE_ITO
RING = {"boxstyle": "circle,pad=0.25", "facecolor": "white", "edgecolor": INK}  # around a sign where two streams meet
SIZE = 10.5  # points; a diagram of 7.5 inches is then still legible at 400 pixels


def sheet(width: float, height: float):
    """A white figure of so many inches with one bare axis all over it, y downwards: returns figure and axis."""
    import matplotlib.pyplot as plt

    plots.style()
    figure = plt.figure(figsize=(width, height), facecolor="white", layout="none")
    bare: dict = {"frame_on": False, "xticks": [], "yticks": []}
    return figure, figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0), **bare)


def pale(colour: str, share: float = 0.25) -> tuple:
    """A colour thinned with white: its ``share`` is what is left of it."""
    from matplotlib.colors import to_rgb

    return tuple(1 - share + share * part for part in to_rgb(colour))


def write(axis, x: float, y: float, text: str, size: float = SIZE, code: bool = False, **font):
    """One piece of text, its left middle at (x, y) unless ``font`` says otherwise; ``code`` in a fixed width."""
    arabic = any("\u0600" <= letter <= "\u06ff" for letter in text)
    families = [*(plots.naskh()[:1] if arabic else ()), "DejaVu Sans Mono" if code else "DejaVu Sans"]
    look = {"ha": "left", "va": "center", "color": INK, "fontfamily": families} | font
    size *= 1.2 if arabic else 1  # Naskh is a small hand
    return axis.text(x, y, "\n".join(map(_drawable, text.split("\n"))), fontsize=size, **look)


def _drawable(line: str) -> str:
    """A line that matplotlib draws rightly: from 3.11 on it orders and joins Arabic itself, before that nobody does."""
    from matplotlib import ft2font

    if hasattr(ft2font, "__libraqm_version__") or line.isascii():
        return line
    return bidi.displayed("".join(bidi.joined(line)))


def box(axis, x, y, width, height, text="", note="", colour=GREY, hatch="", share=0.25, line="-", size=SIZE, **font):
    """A rectangle with its upper left corner at (x, y); ``text`` in its middle, bold if a ``note`` stands below it."""
    from matplotlib.patches import Rectangle

    fill, edge = pale(colour, share), pale(colour, share + 0.3)
    axis.add_patch(Rectangle((x, y), width, height, facecolor=fill, edgecolor=edge, hatch=hatch, linewidth=0))
    axis.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=colour, linestyle=line, linewidth=1.1))
    look = {"ha": "center"} | font
    if hatch and text:  # letters on lines are hard to read
        look["bbox"] = {"facecolor": fill, "edgecolor": "none", "pad": 1.5}
    middle, centre, weight = x + width / 2, y + height / 2, "bold" if note else "normal"
    up = 0.1 + 0.08 * note.count("\n") if note else 0
    write(axis, middle, centre - up, text, size, fontweight=weight, **look)
    write(axis, middle, centre + 0.1, note, size - 0.5, **look)


def arrow(axis, *points: tuple[float, float], colour: str = INK, dashed: bool = False) -> None:
    """A line through points, with a head at the last one."""
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    look: dict = {"mutation_scale": 11, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0, "joinstyle": "miter"}
    line = "--" if dashed else "-"
    axis.add_patch(FancyArrowPatch(path=Path(points), arrowstyle="-|>", color=colour, linestyle=line, **look))


def byte_strip(axis, x, y, count, side, colour, hatch="", halves=False) -> float:
    """A row of square bytes, each cut in two nibbles if ``halves``; returns where it ends."""
    from matplotlib.patches import Rectangle

    look = {"facecolor": pale(colour, 0.35), "edgecolor": pale(colour, 0.9), "linewidth": 0.7, "hatch": hatch}
    for number in range(count):
        axis.add_patch(Rectangle((x + number * side, y), side, side, **look))
    if halves:
        axis.plot([x, x + count * side], [y + side / 2] * 2, color=pale(colour, 0.9), linewidth=0.7)
    return x + count * side
