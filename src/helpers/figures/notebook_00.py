"""What notebook 00 shows: text in which control tokens stand out, answers side by side, and who settles which claim."""

from __future__ import annotations

import html
import re
import unicodedata

from .. import plots
from ..control_tokens import CONTROL_TOKENS

_CONTROL = re.compile("(" + "|".join(map(re.escape, CONTROL_TOKENS)) + ")")
_TOKEN = '<bdi dir="ltr" style="border-bottom:2px solid #0072B2;font-weight:bold">{}</bdi>'
_LINE = '<div dir="{}" style="white-space:pre-wrap;overflow-wrap:anywhere;text-align:left">{}</div>'


def marked(text: str) -> str:
    """Text as HTML: control tokens bold and underlined, every piece between them in its own direction."""
    pieces = _CONTROL.split(text)
    return "".join(
        _TOKEN.format(html.escape(piece)) if piece in CONTROL_TOKENS else f"<bdi>{html.escape(piece)}</bdi>"
        for piece in pieces
        if piece
    )


def _lines(text: str) -> str:
    """Each line of a text in the direction of its first letter; control tokens are passed over."""
    lines = []
    for line in text.split("\n"):
        letter = next(filter(str.isalpha, _CONTROL.sub("", line)), "")
        direction = "rtl" if unicodedata.bidirectional(letter or " ") in ("R", "AL") else "ltr"
        lines.append(_LINE.format(direction, marked(line) or "&nbsp;"))
    return "".join(lines)


def shown(text: str):
    """A prompt or an answer as the tokenizer gets it, its lines in order, control tokens marked. Returns HTML."""
    from IPython.display import HTML

    return HTML(_lines(text))


def answers(requests: dict[str, str], generations: list, outcomes: list[str], longest: int = 160):
    """What a model wrote for each request: dialect, request, the text up to ``longest`` characters, stop, outcome.

    Returns HTML.
    """
    from IPython.display import HTML

    names = ("dialect", "request", "the model writes", "stopped by", "outcome")
    rows = []
    for (dialect, request), written, outcome in zip(requests.items(), generations, outcomes, strict=True):
        cut = written.text[:longest] + ("…" if len(written.text) > longest else "")
        asked = f'<div dir="rtl">{html.escape(request)}</div>'
        rows.append([dialect, asked, _lines(cut), html.escape(written.stopped_by), html.escape(outcome)])
    head = "".join(f'<th scope="col" style="text-align:left">{name}</th>' for name in names)
    cell = '<td style="text-align:left;vertical-align:top">{}</td>'
    body = "".join(f"<tr>{''.join(map(cell.format, row))}</tr>" for row in rows)
    return HTML(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")


def agenda_table(agenda, link):
    """``claims.agenda()`` as a styled table; ``link`` makes HTML of a notebook's name. Returns a pandas Styler."""
    styled = agenda.style.format(escape="html").format(link, subset=["notebook"])
    head = [{"selector": "th", "props": [("text-align", "left")]}]
    return styled.set_properties(**{"text-align": "left"}).set_table_styles(head).set_uuid("agenda")


def claims_by_notebook(agenda):
    """How many claims each notebook settles, by where their number comes from. Returns the figure and its finding."""
    counts = agenda.groupby(["notebook", "settled by"]).size().unstack(fill_value=0)
    counts = counts[sorted(counts, key=lambda kind: -counts[kind].sum())]
    figure, axis = plots.subplots(figsize=(7.5, 2.8))
    left = [0] * len(counts)
    for kind, colour, hatch in zip(counts, plots.OKABE_ITO, plots.HATCHES, strict=False):
        axis.barh(counts.index, counts[kind], left=left, color=colour, hatch=hatch, edgecolor="white", label=kind)
        left = [a + b for a, b in zip(left, counts[kind], strict=True)]
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.set(xlabel="claims", xticks=range(0, max(left) + 1, 2))
    figure.legend(loc="outside lower center", ncols=len(counts.columns))
    told = ", ".join(f"{counts[kind].sum()} by {NAMES[kind]}" for kind in counts)
    return figure, f"{len(agenda)} claims are settled in {len(counts)} notebooks: {told}."


NAMES = {
    "measured by you": "what you measure",
    "stored result": "stored results that you recompute",
    "identity": "arithmetic, which is evidence neither way",
}
