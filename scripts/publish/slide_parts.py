"""What a slide is put together from: prose, the guide's words, bets, figures and tables, each as a piece of HTML."""

from __future__ import annotations

import base64
import html
import re
import struct

from helpers import claims

LETTERS = 300  # of a paragraph
ROWS, TABLE = 12, 1300  # of a table that is shown at all, and how many letters of its rows
_DIRECTED = re.compile(r"<(p|li|blockquote|summary|h[12]|t[dh])(?=[ >])(?![^>]*\bdir=)")


def prose(text: str) -> str:
    """Markdown as HTML: links as bare words, formulas as letters, each paragraph in its own direction."""
    from nbconvert.filters import markdown2html

    text = re.sub(r"!?\[([^\]]*)\](?:\([^)]*\)|\[[^\]]*\])", r"\1", text)
    return directed(markdown2html(re.sub(r"\$[^$\n]+\$", lambda m: claims.plain(m[0]), text)).strip())


def inline(text: str) -> str:
    """One line of Markdown as HTML, without its paragraph."""
    return prose(text).removeprefix('<p dir="auto">').removesuffix("</p>")


def directed(text: str) -> str:
    """HTML whose paragraphs and cells run in the direction of their own first letter, where nothing else is said."""
    return _DIRECTED.sub(r'<\1 dir="auto"', text)


def quote(text: str) -> str:
    """The guide's words, with the place where the guide says them."""
    words = re.sub(r"^> ?", "", text, flags=re.M)
    place = next((f"the guide, section {c.heading}" for c in claims.ledger().values() if c.quote == words), "the guide")
    return f'<blockquote dir="auto">{prose(words)}<cite>{place}</cite></blockquote>'


def opening(text: str) -> str:
    """The first sentences of a paragraph, as many as a slide holds."""
    first, *others = re.split(r"(?<=[.?!]) +", " ".join(text.split()))
    for sentence in others:
        if len(first) + len(sentence) > LETTERS:
            break
        first += f" {sentence}"
    return first


def table(text: str) -> str:
    """An HTML output with as many of its table's rows as fit, and how many do not; all of it when it has no table."""
    rows = re.findall(r"<tr\b.*?</tr>", text, re.S)[1:]  # the first has the names of the columns
    if len(rows) > ROWS:
        return left(f"a table of {len(rows)} rows")
    letters = [len(html.unescape(re.sub(r"<[^>]+>|\s+", " ", row))) for row in rows]
    cut = [row for n, row in enumerate(rows) if sum(letters[: n + 1]) > TABLE]
    for row in cut:
        text = text.replace(row, "", 1)
    return f'<div class="output">{directed(text)}</div>' + (left(f"{len(cut)} more rows") if cut else "")


def left(what: str) -> str:
    """A line that says what stays in the notebook."""
    return f'<p class="left">{what}: in the notebook</p>'


def shown(output: dict) -> str:
    """A figure or HTML output as a part of a slide; empty for one that has no place there."""
    data = {kind: "".join(value) for kind, value in output.get("data", {}).items()}
    if "image/png" in data:
        alt, png = output.get("metadata", {}).get("image/png", {}).get("alt", ""), data["image/png"].strip()
        wide, high = struct.unpack(">II", base64.b64decode(png[:32])[16:24])
        kind = ' class="tall"' if high > 0.65 * wide else ""  # beside its text
        return f'<figure{kind}><img alt="{html.escape(alt)}" src="data:image/png;base64,{png}"></figure>'
    return table(data["text/html"]) if "text/html" in data else ""


def bet(question: str, choices: str) -> str:
    """A bet as its cell asks for it, and what may be answered."""
    answers = "".join(f'<li dir="auto">{html.escape(answer)}</li>' for answer in choices.split(" / "))
    return f'<div class="bet"><p dir="auto">{html.escape(question)}</p><ul>{answers}</ul></div>'
