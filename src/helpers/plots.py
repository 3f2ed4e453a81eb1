"""One house style for every figure: the Okabe-Ito colours, never colour alone, and alt text that states the finding."""

from __future__ import annotations

import io
import textwrap
from itertools import cycle

from .masking import IGNORED
from .paths import ASSETS

# Okabe and Ito (2008), "Color Universal Design"; black last, for references.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
HATCHES = ("", "//", "..", "xx", "\\\\", "++", "oo", "--")


def style() -> None:
    """Set matplotlib's defaults for the course."""
    import matplotlib.pyplot as plt

    plt.rcParams.update(
        {
            "figure.figsize": (7.5, 3.6),
            "figure.dpi": 110,
            "savefig.bbox": "tight",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "axes.axisbelow": True,
            "legend.frameon": False,
            "axes.prop_cycle": plt.cycler(color=OKABE_ITO),
            "figure.constrained_layout.use": True,
        }
    )


def subplots(*shape, **options):
    """matplotlib's ``subplots`` in the course's style: the figure and its axes."""
    import matplotlib.pyplot as plt

    style()
    return plt.subplots(*shape, **options)


def show(figure, finding: str) -> None:
    """Display a figure as a PNG with its finding, a sentence, drawn above it and as its alt text; close it."""
    import matplotlib.pyplot as plt
    from IPython.display import display

    _headline(figure, finding)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor="white", bbox_inches="tight")
    plt.close(figure)
    display(
        {"image/png": stream.getvalue(), "text/plain": f"Figure: {finding}"},
        metadata={"image/png": {"alt": finding}},
        raw=True,
    )


def _headline(figure, finding: str) -> None:
    """A sentence above the figure, broken to its width: outside its own area, so that no layout has to give way."""
    size, letter = 11, 0.6  # points; a letter's mean width in them
    wide = int(figure.get_figwidth() * 72 / (size * letter))
    text = "\n".join(textwrap.wrap(finding, wide)).replace("$", r"\$")
    figure.text(0.01, 1.02, text, ha="left", va="bottom", fontsize=size, fontweight="bold", color="#222222")


def training_curve(history: list[dict]):
    """Loss, learning rate and gradient norm of a run, step by step. Returns the figure."""
    figure, axes = subplots(1, 3, figsize=(10, 3))
    steps = [row["step"] for row in history]
    panels = (
        ("loss", "loss per labelled token (nats)"),
        ("learning_rate", "learning rate"),
        ("grad_norm", "gradient norm"),
    )
    for axis, (key, label), colour, marker in zip(axes, panels, OKABE_ITO, MARKERS, strict=False):
        axis.plot(steps, [row[key] for row in history], color=colour, marker=marker, markersize=3, linewidth=1)
        axis.set(xlabel="step", ylabel=label)
    scale_log(axes[0])
    return figure


def scale_log(axis) -> None:
    """Make the y axis logarithmic, with plain numbers at 1, 2 and 5 times the powers of ten and no other tick."""
    axis.set_yscale("log")
    axis.yaxis.get_major_locator().set_params(subs=(1, 2, 5))
    axis.yaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()


def error_lengths(middle, bounds) -> list[list[float]]:
    """Error bars from values and their (low, high), as matplotlib wants them: lengths down and up."""
    ends = list(zip(middle, bounds, strict=True))
    return [[max(0.0, m - low) for m, (low, _) in ends], [max(0.0, high - m) for m, (_, high) in ends]]


def scores(reports: dict, levels: list[str], dialects: list[str] | None = None):
    """Rates with Wilson 95 % intervals, one group per level (or per dialect), one bar per report.

    Returns the figure.
    """
    groups = [(level, "all") for level in levels] if dialects is None else [(levels[0], d) for d in dialects]
    figure, axis = subplots(figsize=(max(7.0, 0.3 * len(groups) * len(reports)), 4.2))
    width = 0.8 / len(reports)
    for number, ((name, report), colour, hatch) in enumerate(
        zip(reports.items(), cycle(OKABE_ITO), cycle(HATCHES), strict=False)
    ):
        cells = [report.cell(level, dialect) for level, dialect in groups]
        at = [i + (number - (len(reports) - 1) / 2) * width for i in range(len(groups))]
        rates = [c["rate"] for c in cells]
        errors = error_lengths(rates, [(c["low"], c["high"]) for c in cells])
        axis.bar(
            at,
            rates,
            width,
            color=colour,
            hatch=hatch,
            edgecolor="white",
            label=name,
            yerr=errors,
            ecolor="#333333",
            capsize=3,
        )
    axis.set_xticks(range(len(groups)), [level if dialects is None else dialect for level, dialect in groups])
    axis.set(ylim=(0, 1.05), ylabel="share of rows" if dialects is None else f"share of rows, level {levels[0]}")
    columns = min(3, len(reports))  # a legend that is wider than the axes would squeeze them
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=columns)
    return figure


def naskh() -> list[str]:
    """The bundled Naskh font for Arabic in figures, and matplotlib's own for what it lacks: the list of families."""
    from matplotlib import font_manager

    file = ASSETS / "fonts" / "NotoNaskhArabic-Regular.ttf"
    name = font_manager.FontProperties(fname=file).get_name()
    if name not in {font.name for font in font_manager.fontManager.ttflist if font.fname == str(file)}:
        font_manager.fontManager.addfont(file)
    return [name, "DejaVu Sans"]


def masked_tokens(pieces: list[str], labelled: list[bool]):
    """A row of tokens as HTML: labelled ones boxed and bold, masked grey; each isolated, so that Arabic reads right."""
    import html

    from IPython.display import HTML

    spans = []
    for piece, kept in zip(pieces, labelled, strict=True):
        text = html.escape(piece.replace("\n", "⏎").replace(" ", "␣"))
        look = "border:1px solid #0072B2;font-weight:bold" if kept else "opacity:.55;border:1px dotted currentColor"
        spans.append(f'<bdi style="{look};padding:0 .25em;margin:.1em;display:inline-block">{text}</bdi>')
    return HTML(f'<div dir="ltr" style="line-height:1.9">{" ".join(spans)}</div>')


def text_table(rows: list[dict]):
    """Rows of text as an HTML table, every cell in its own direction, so that Arabic and calls stand side by side."""
    import html

    from IPython.display import HTML

    if not rows:
        return HTML("<em>nothing to show</em>")
    head = "".join(f'<th scope="col" style="text-align:left">{html.escape(name)}</th>' for name in rows[0])
    cell = (
        '<td dir="auto" style="text-align:start;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere">{}</td>'
    )
    body = "".join(
        f"<tr>{''.join(cell.format(html.escape(str(value))) for value in row.values())}</tr>" for row in rows
    )
    return HTML(f'<table style="width:100%"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>')


def token_table(tokenizer, ids: list[int], labels: list[int], last: int, **losses):
    """The last tokens of a row, one to a line: position, id, piece, label, and losses (N,) by name.

    Returns HTML that reads right in Arabic. ``losses``: for each position the loss of predicting that token, in nats;
    shown for every token, bold where it counts.
    """
    import html

    from IPython.display import HTML

    names = [name.replace("_", " ") for name in losses]
    head = "".join(
        f'<th scope="col" style="text-align:right">{html.escape(name)}</th>'
        for name in ["position", "id", "token", "label", *names]
    )
    lines = []
    for position, (token, label) in list(enumerate(zip(ids, labels, strict=True)))[-last:]:
        piece = html.escape(tokenizer.convert_ids_to_tokens(token).replace("▁", "␣").replace("\n", "⏎"))
        weight = "opacity:.6" if label == IGNORED else "font-weight:bold"
        cells = [str(position), str(token), f"<bdi>{piece}</bdi>", "−100" if label == IGNORED else str(label)]
        cells += [f"{float(column[position]):.2f}" for column in losses.values()]
        lines.append(
            f'<tr style="{weight}">' + "".join(f'<td style="text-align:right">{cell}</td>' for cell in cells) + "</tr>"
        )
    return HTML(f'<table dir="ltr"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>')
