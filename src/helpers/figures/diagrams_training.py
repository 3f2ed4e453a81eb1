"""Diagrams of training: what checkpointing keeps, where a step's bytes are, which tokens carry labels."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

from .. import plots
from .canvas import BLUE, GREY, ORANGE, SIZE, arrow, box, sheet, write

T4 = 14.7 * 2**30  # bytes that torch finds on Colab's T4
#: What the ledger's categories (``probes.memory``) hold.
HOLDS = {
    "weights": "the frozen model",
    "adapters": "A and B",
    "optimizer": "AdamW’s two moments",
    "gradients": "of A and B",
    "saved": "for the backward pass",
    "recomputed": "made again by checkpointing",
    "in flight": "while an operation runs",
}
#: A conversation token by token: what it is, whether it carries labels, its tokens (… for many).
CONVERSATION = (
    (
        "developer",
        False,
        r"<bos> <start_of_turn> developer \n You are a model … <end_function_declaration> <end_of_turn> \n",
    ),
    ("user", False, r"<start_of_turn> user \n ما حالة الط ق س في جد ة الآن ؟ <end_of_turn> \n"),
    ("header", False, r"<start_of_turn> model \n"),
    (
        "call",
        True,
        "<start_function_call> call : get _ weather { city : <escape> جد ة <escape> } <end_function_call> "
        "<start_function_response>",
    ),
    ("tool’s result", False, "response : get _ weather { degrees : 3 4 } <end_function_response>"),
    ("reply", True, "الح ر ارة في جد ة ␣ 3 4 درجة . <end_of_turn>"),
    ("line break", False, r"\n"),
)


def checkpointing(width: int = 640, layers: int = 18):
    """What three ways of checkpointing keep of a model's layers, and what they run again. Returns the figure.

    ``width``: bfloat16 numbers of a layer's input, for each token.
    """
    figure, axis = sheet(8, 5.0)
    places = [(0.25, "1"), (1.2, "2"), (2.15, "3"), (3.65, f"{layers - 1}"), (4.6, f"{layers}")]
    ways = (
        (0.1, "no checkpointing", "all that a layer makes is kept\neach layer runs once"),
        (
            1.15,
            "standard checkpointing",
            f"a layer’s input is kept,\n{2 * width:,} bytes a token\neach layer runs twice",
        ),
        (
            2.2,
            "Unsloth’s checkpointing",
            "inputs wait in the host’s memory,\nthe last one stays\neach layer runs twice",
        ),
    )
    for y, name, told in ways:
        write(axis, 0.05, y + 0.05, name, 12, fontweight="bold")
        write(axis, 5.55, y + 0.5, told)
        write(axis, 3.28, y + 0.5, "…", 14, ha="center")
        for x, number in places:
            if y < 1:
                box(axis, x, y + 0.25, 0.75, 0.5, number, colour=BLUE, share=0.5)
                continue
            box(axis, x, y + 0.25, 0.75, 0.5, number, hatch="..", share=0.05, line="--")
            if y < 2 or number == f"{layers}":
                box(axis, x - 0.16, y + 0.25, 0.16, 0.5, colour=BLUE, share=0.5)
            else:
                box(axis, x - 0.16, y + 1.15, 0.16, 0.4, colour=ORANGE, hatch="//", share=0.5)
                arrow(axis, (x - 0.12, y + 0.3), (x - 0.12, y + 1.15))
                arrow(axis, (x - 0.04, y + 1.15), (x - 0.04, y + 0.3), dashed=True)
    write(axis, 5.55, 3.55, "small inputs stay: then it is\nthe standard way")
    keys = (
        ("kept on the GPU", {"colour": BLUE, "share": 0.5}),
        ("dropped, run again", {"hatch": "..", "share": 0.05, "line": "--"}),
        ("in the host’s memory", {"colour": ORANGE, "hatch": "//", "share": 0.5}),
    )
    for x, (told, look) in zip((0.1, 2.2, 4.5), keys, strict=True):
        box(axis, x, 4.32, 0.3, 0.22, **look)
        write(axis, x + 0.4, 4.43, told)
    for x, told, dashed in ((0.1, "out, in the forward pass", False), (2.65, "back, in the backward pass", True)):
        arrow(axis, (x, 4.78), (x + 0.3, 4.78), dashed=dashed)
        write(axis, x + 0.4, 4.78, told)
    return figure


def step_bytes(held: Mapping[str, int]):
    """Where the bytes of a training step are at its peak, beside all that a T4 has.

    ``held``: what for -> bytes, as ``Ledger.peak.by("category")`` counts them. Returns the figure.
    """
    total, left, right = sum(held.values()), 2.35, 6.2
    figure, axis = sheet(7.5, 1.1 + 0.47 * len(held))
    whole = 7.4 / max(T4, total)  # inches a byte above, and in the rows below
    near = (right - left) / total
    told = f"{total / 2**30:.1f} GiB at the peak; a T4 has {T4 / 2**30:.1f}"
    write(axis, 0.05, 0.17, told, 12, fontweight="bold")
    box(axis, 0.05, 0.38, T4 * whole, 0.3, share=0.06)
    for x, down in ((0.05, left), (0.05 + total * whole, right)):
        axis.plot([x, down, down], [0.68, 1.05, 1.05 + 0.47 * len(held)], color=GREY, linewidth=0.9, linestyle=":")
    before = 0
    for row, ((name, size), colour, hatch) in enumerate(
        zip(held.items(), cycle(plots.OKABE_ITO[:7]), cycle(plots.HATCHES), strict=False)
    ):
        y = 1.1 + 0.47 * row
        look = {"colour": colour, "hatch": hatch, "share": 0.5}
        box(axis, 0.05 + before * whole, 0.38, size * whole, 0.3, **look)
        box(axis, left + before * near, y, size * near, 0.36, **look)
        write(axis, 0.05, y + 0.08, name, fontweight="bold")
        write(axis, 0.05, y + 0.28, HOLDS.get(name, ""), SIZE - 0.5, color=GREY)
        write(axis, 7.45, y + 0.18, f"{size / 2**20:,.0f} MiB", ha="right")
        before += size
    return figure


def label_mask():
    """A conversation's tokens and which of them carry labels: what the model has to write, and nothing else.

    The tokens are FunctionGemma's own, drawn without the spaces before them. Returns the figure.
    """
    chips, y = [], 0.05
    for who, labelled, text in CONVERSATION:
        x, top = 1.45, y
        for piece in text.split():
            wide = 0.12 + 0.6 * 9.5 / 72 * max(len(piece), 1.5)
            if x + wide > 7.95:
                x, y = 1.45, y + 0.32
            chips.append((x, y, wide, piece, labelled))
            x += wide + 0.05
        chips.append((0.05, top, 0, who, labelled))
        y = max(y + 0.32, top + 0.46) + 0.12
    figure, axis = sheet(8, y)
    for x, y, wide, text, labelled in chips:
        if wide and labelled:
            box(axis, x, y, wide, 0.27, text, colour=BLUE, share=0.4, size=9.5, code=True)
        elif wide:
            box(axis, x, y, wide, 0.27, text, share=0, line=":", size=9.5, code=True, color=GREY)
        else:
            write(axis, x, y + 0.13, text, fontweight="bold")
            write(axis, x, y + 0.34, "label: its id" if labelled else "label: −100", color=BLUE if labelled else GREY)
    return figure
