"""The course's diagrams, each a function that returns a figure: its map, calls, the model, its training, its files."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle

from .. import plots
from .canvas import BLUE, GREEN, GREY, INK, ORANGE, PINK, RED, RING, SIZE, SKY, arrow, box, byte_strip, sheet, write

HIDDEN, HEADS, HEAD, INNER, LAYERS = 640, 4, 256, 2048, 18  # Gemma 3 270M
T4 = 14.7 * 2**30  # bytes that torch finds on Colab's T4
#: A notebook, what it is about, and the guide's section that it tests.
NOTEBOOKS = (
    ("00 · Start here", "the model as it is, the list of claims", ""),
    ("01 · Architecture probes", "attention, norms and the cache", "1. Architectural Foundations:\nGemma-270M"),
    ("02 · LoRA mathematics", "shapes, start values, rank, α", "2. LoRA: The Mathematics of\nLow-Rank Adaptation"),
    ("03 · Memory surgery", "every byte of a training step", "3. Unsloth & Triton:\nMemory Surgery"),
    ("04 · Masked training run", "labels, training, before and after", "4. The Training Workflow:\nStep-by-Step"),
    ("05 · GGUF export", "formats, llama.cpp, Arabic in calls", "5. Final Recommendations\nfor Fine-Tuning"),
    ("06 · Now yours", "your functions, your requests, your file", ""),
)
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
# what stands in a turn, line by line; a line in quotation marks is the English of the one above it
TOOLS = """<start_of_turn>developer
<start_function_declaration>
declaration:get_weather{…}
<end_function_declaration>
<end_of_turn>"""
REQUEST = "<start_of_turn>user\nما حالة الطقس في جدة الآن؟\n“What is the weather in Jeddah now?”\n<end_of_turn>"
CALL = "<start_function_call>\ncall:get_weather{\ncity:<escape>جدة<escape>}\n<end_function_call>"
RESULT = "response:get_weather{degrees:34}\n<end_function_response>"
REPLY = "الحرارة في جدة 34 درجة.\n“It is 34 degrees in Jeddah.”"
#: A conversation token by token: what it is, whether it carries labels, its tokens (… for many).
CONVERSATION = (
    ("developer", False, r"<bos> <start_of_turn> developer \n … <end_function_declaration> <end_of_turn> \n"),
    ("user", False, r"<start_of_turn> user \n ما حالة الط ق س في جد ة الآن ؟ <end_of_turn> \n"),
    ("header", False, r"<start_of_turn> model \n"),
    ("call", True, "<start_function_call> call : get _ weather { city : <escape> جد ة <escape> } <end_function_call>"),
    ("its stop", True, "<start_function_response>"),
    ("tool’s result", False, "response : get _ weather { degrees : 3 4 } <end_function_response>"),
    ("reply", True, "الح ر ارة في جد ة ␣ 3 4 درجة . <end_of_turn>"),
    ("line break", False, r"\n"),
)


def course_map():
    """The notebooks beside the five sections of the guide that they test. Returns the figure."""
    figure, axis = sheet(7.5, 5.33)
    write(axis, 0.05, 0.55, "What the guide says", 12, fontweight="bold", color=GREY)
    write(axis, 3.75, 0.15, "Where it is tested", 12, fontweight="bold", color=BLUE)
    for row, (name, what, section) in enumerate(NOTEBOOKS):
        y = 0.33 + 0.73 * row
        box(axis, 3.75, y, 3.7, 0.55, name, what, BLUE if section else GREEN)
        if row:
            arrow(axis, (5.6, y - 0.18), (5.6, y), colour=BLUE)
        if section:
            box(axis, 0.05, y, 2.95, 0.55, section, share=0.12)
            arrow(axis, (3.0, y + 0.275), (3.75, y + 0.275), colour=GREY)
    return figure


def call_loop():
    """Request, call, result and reply in FunctionGemma's turns and tokens, and where generation stops.

    Source: the model's chat template (``helpers.chat``). Returns the figure.
    """
    figure, axis = sheet(8, 7.15)
    left, right, wide = 1.15, 4.6, 3.2
    for y, height, who in ((0.35, 1.52, "developer’s"), (1.97, 1.32, "user’s"), (3.39, 3.73, "model’s")):
        box(axis, 0.03, y, 7.94, height, share=0.06)
        write(axis, 0.1, y + 0.27, f"{who}\nturn", fontweight="bold", color=GREY)
    write(axis, left + wide / 2, 0.17, "the program puts in", 12, ha="center", fontweight="bold")
    write(axis, right + wide / 2, 0.17, "the model writes", 12, ha="center", fontweight="bold", color=BLUE)

    def part(x, y, height, colour, title, text, *stop):
        box(axis, x, y, wide, height, colour=colour)
        write(axis, x + 0.1, y + 0.16, title, fontweight="bold")
        for number, line in enumerate(text.split("\n"), 1):
            write(axis, x + 0.1, y + 0.16 + 0.21 * number, line, 9.5, code=line[0] != "“")
        if stop:
            box(axis, x, y + height, wide, 0.46, *stop, colour=ORANGE, hatch="//", size=10)

    part(left, 0.43, 1.36, SKY, "tools", TOOLS)
    part(left, 2.05, 1.16, SKY, "1 · request", REQUEST)
    box(axis, left, 3.48, wide, 0.32, "<start_of_turn>model", colour=SKY, size=9.5, code=True)
    part(right, 3.48, 1.15, BLUE, "2 · call", CALL, "<start_function_response>", "id 50: generation stops")
    part(left, 4.95, 0.76, GREEN, "3 · result of running it", RESULT)
    part(right, 5.8, 0.76, PINK, "4 · reply", REPLY, "<end_of_turn>", "id 106: generation stops")
    centre, end = left + wide / 2, left + wide
    arrow(axis, (centre, 1.79), (centre, 2.05))
    arrow(axis, (centre, 3.21), (centre, 3.48))
    arrow(axis, (end, 3.64), (right, 3.64))
    arrow(axis, (right + wide / 2, 5.09), (right + wide / 2, 5.33), (end, 5.33))
    arrow(axis, (centre, 5.71), (centre, 6.18), (right, 6.18))
    arrow(axis, (right + wide, 6.79), (7.89, 6.79), (7.89, 2.63), (end, 2.63), dashed=True)
    write(axis, 6.1, 2.48, "the next request", ha="center", color=GREY)
    return figure


def gemma_block():
    """One block of Gemma 3 with its six norms, its two residual sums and the gated MLP. Returns the figure.

    Source: ``Gemma3DecoderLayer`` of transformers; numbers are those of the 270M model.
    """
    figure, axis = sheet(7.5, 6.4)

    def norm(x, y, width, name):
        box(axis, x, y, width, 0.36, name, colour=ORANGE, hatch="//")

    def chain(x, *heights):
        for start, end in zip(heights[::2], heights[1::2], strict=True):
            arrow(axis, (x, start), (x, end))

    for x, name in ((0.55, "x  (N, 640)"), (4.6, "x + attention  (N, 640)")):
        box(axis, x, 0.05, 2.85, 0.36, name, share=0.12)
        arrow(axis, (x, 0.23), (x - 0.3, 0.23), (x - 0.3, 5.68))  # the residual stream goes around
        arrow(axis, (x + 1.425, 5.45), (x + 1.425, 5.83), (x - 0.15, 5.83))
        chain(x + 1.425, 0.41, 0.72, 4.78, 5.09)
        write(axis, x - 0.3, 5.83, "+", 13, ha="center", bbox=RING)
    # attention
    norm(0.55, 0.72, 2.85, "1 · input_layernorm")
    for x, name, heads in ((0.55, "q_proj", HEADS), (1.525, "k_proj", 1), (2.5, "v_proj", 1)):
        box(axis, x, 1.4, 0.9, 0.48, name, f"{heads} × {HEAD}", BLUE)
        arrow(axis, (1.975, 1.24), (x + 0.45, 1.24), (x + 0.45, 1.4))
    chain(1.975, 1.08, 1.4)
    box(axis, 0.55, 2.72, 1.875, 0.36, "RoPE")
    for x, name in ((0.55, "2 · q_norm"), (1.525, "3 · k_norm")):
        norm(x, 2.12, 0.9, name)
        chain(x + 0.45, 1.88, 2.12, 2.48, 2.72, 3.08, 3.32)
    chain(2.95, 1.88, 3.32)
    told = "15 layers: the last 512 tokens\n3 layers: all tokens before"
    box(axis, 0.55, 3.32, 2.85, 0.82, "softmax(QKᵀ / 16) · V", told, SKY)
    chain(1.975, 4.14, 4.42)
    box(axis, 0.55, 4.42, 2.85, 0.36, f"o_proj   {HEADS * HEAD:,} → {HIDDEN}", colour=BLUE)
    norm(0.55, 5.09, 2.85, "4 · post_attention_layernorm")
    arrow(axis, (0.25, 5.98), (0.25, 6.22), (3.85, 6.22), (3.85, 0.23), (4.6, 0.23))
    # the MLP
    norm(4.6, 0.72, 2.85, "5 · pre_feedforward_layernorm")
    for x, name in ((4.6, "gate_proj"), (6.1, "up_proj")):
        box(axis, x, 1.4, 1.35, 0.48, name, f"{HIDDEN} → {INNER:,}", BLUE)
        arrow(axis, (6.025, 1.08), (6.025, 1.24), (x + 0.675, 1.24), (x + 0.675, 1.4))
    box(axis, 4.6, 2.12, 1.35, 0.36, "GELU")
    chain(5.275, 1.88, 2.12)
    arrow(axis, (5.275, 2.48), (5.275, 2.9), (5.875, 2.9))
    arrow(axis, (6.775, 1.88), (6.775, 2.9), (6.175, 2.9))
    write(axis, 6.025, 2.9, "×", 13, ha="center", bbox=RING)
    chain(6.025, 3.05, 4.42)
    write(axis, 6.15, 3.55, "GeGLU:\nGELU(gate) · up")
    box(axis, 4.6, 4.42, 2.85, 0.36, f"down_proj   {INNER:,} → {HIDDEN}", colour=BLUE)
    norm(4.6, 5.09, 2.85, "6 · post_feedforward_layernorm")
    arrow(axis, (4.3, 5.98), (4.3, 6.22), (4.75, 6.22))
    write(axis, 4.8, 6.22, f"to the next of {LAYERS} blocks")
    return figure


def shared_key_value_head():
    """Four query heads on four, two and one key/value heads: MHA, GQA and MQA. Returns the figure."""
    figure, axis = sheet(7.5, 2.55)
    for panel, (name, shared) in enumerate((("MHA", HEADS), ("GQA", 2), ("MQA: Gemma 3 270M", 1))):
        left, wide = 0.05 + 2.55 * panel, 2.3
        write(axis, left + wide / 2, 0.15, name, 12, ha="center", fontweight="bold")
        for query in range(HEADS):
            x, group = left + (query + 0.5) * wide / HEADS, query * shared // HEADS
            box(axis, x - 0.22, 0.4, 0.44, 0.36, f"Q{query + 1}", colour=BLUE)
            arrow(axis, (x, 0.76), (left + (group + 0.5) * wide / shared, 1.2))
        for head in range(shared):
            x = left + (head + 0.5) * wide / shared - 0.22
            box(axis, x, 1.2, 0.44, 0.36, "K", colour=ORANGE)
            box(axis, x, 1.56, 0.44, 0.36, "V", colour=GREEN)
        write(axis, left + wide / 2, 2.25, f"{2 * shared} vectors kept\nfor a token in a layer", ha="center")
    return figure


def lora_shapes(out: int = HEADS * HEAD, into: int = HIDDEN, rank: int = 32):
    """W, A and B of a projection to scale, multiplied as PyTorch stores them and as x · W is written.

    The defaults are q_proj's shape in Gemma 3 270M and the guide's rank. Returns the figure.
    """
    figure, axis = sheet(7.5, 4.95)
    scale = 2.0 / out  # inches a number
    stored, written = (("B", out, rank), ("A", rank, into)), (("A", into, rank), ("B", rank, out))
    rows = (
        (0.5, "W + α/r · B · A, as PyTorch and PEFT store it: (out, in)", out, into, stored),
        (3.2, "W + α/r · A · B, as the guide writes it: (in, out)", into, out, written),
    )
    for y, title, tall, wide, factors in rows:
        write(axis, 0.05, y - 0.3, title, 12, fontweight="bold")
        middle, x = y + tall * scale / 2, 0.05 + wide * scale
        box(axis, 0.05, y, wide * scale, tall * scale, "W", f"{tall:,} × {wide:,}", share=0.15)
        write(axis, x + 0.45, middle, "+  α/r  ·", 12, ha="center")
        x += 0.95
        for number, (name, high, long) in enumerate(factors):
            colour, hatch = (BLUE, "////") if name == "A" else (ORANGE, "")
            box(axis, x, middle - high * scale / 2, long * scale, high * scale, colour=colour, hatch=hatch, share=0.7)
            write(axis, x + (0 if number else 0.15), middle - 0.3, f"{name}  {high:,} × {long:,}", fontweight="bold")
            write(axis, x + 0.75, middle, "" if number else "·", 16)
            x += long * scale + 1.4
    few, many = rank * (out + into), out * into
    write(axis, 0.05, 4.8, f"A and B together: {few:,} numbers, {few / many:.1%} of W’s {many:,}")
    write(axis, 5.7, 1.5, f"A · B of these shapes:\n(…, {into}) · ({out:,}, …)\ndoes not exist")
    return figure


def quantized_blocks():
    """The bytes of a Q8_0 block and of a Q4_K superblock, a square a byte. Returns the figure.

    Source: ``block_q8_0`` and ``block_q4_K`` in llama.cpp's ggml-common.h.
    """
    figure, axis = sheet(7.5, 3.6)
    side, left = 0.165, 0.05

    for y, name, weights, count in ((0.15, "Q8_0", 32, 2 + 32), (1.35, "Q4_K", 256, 2 + 2 + 12 + 128)):
        told = f"{name}: {weights} weights in {count} bytes, {8 * count / weights:g} bits each"
        write(axis, left, y, told, 12, fontweight="bold")
    end = byte_strip(axis, left, 0.4, 2, side, ORANGE, "//")
    byte_strip(axis, end, 0.4, 32, side, BLUE)
    write(axis, left, 0.75, "d, a float16")
    write(axis, 3.3, 0.75, "q, 32 signed bytes", ha="center")
    write(axis, 5.85, 0.48, "weight = d · q")
    end = left
    for count, colour, hatch in ((2, ORANGE, "//"), (2, RED, "xx"), (12, GREEN, "..")):
        end = byte_strip(axis, end, 1.6, count, side, colour, hatch)
    write(axis, end + 0.12, 1.685, "d and dmin, float16; 8 s and 8 m of 6 bits, 12 bytes")
    for row in range(4):
        byte_strip(axis, left, 1.95 + 0.27 * row, 32, side, BLUE, halves=True)
        write(axis, 5.5, 2.03 + 0.27 * row, f"groups {2 * row} (low), {2 * row + 1} (high)", 10)
    write(axis, left, 3.15, "q: a byte holds two weights of 4 bits, one of each group")
    write(axis, left, 3.4, "weight = d · s · q − dmin · m,  with one s and one m for each group of 32")
    return figure


def checkpointing(width: int = HIDDEN, layers: int = LAYERS):
    """What three ways of checkpointing keep of a model's layers, and what they run again. Returns the figure.

    ``width``: bfloat16 numbers of a layer's input, for each token.
    """
    figure, axis = sheet(8, 5.0)
    on_gpu, on_host = {"colour": BLUE, "share": 0.5}, {"colour": ORANGE, "hatch": "//", "share": 0.5}
    dropped = {"hatch": "..", "share": 0.05, "line": "--"}
    places = [(0.25, "1"), (1.2, "2"), (2.15, "3"), (3.65, f"{layers - 1}"), (4.6, f"{layers}")]
    ways = (
        (0.1, "no checkpointing", "all that a layer makes is kept", "once"),
        (1.15, "standard checkpointing", f"a layer’s input is kept,\n{2 * width:,} bytes a token", "twice"),
        (2.2, "Unsloth’s checkpointing", "inputs wait in the host’s memory,\nthe last one stays", "twice"),
    )
    for y, name, told, runs in ways:
        write(axis, 0.05, y + 0.05, name, 12, fontweight="bold")
        write(axis, 5.55, y + 0.5, f"{told}\neach layer runs {runs}")
        write(axis, 3.28, y + 0.5, "…", 14, ha="center")
        for x, number in places:
            box(axis, x, y + 0.25, 0.75, 0.5, number, **(dropped if runs == "twice" else on_gpu))
            if runs == "twice" and (y < 2 or number == f"{layers}"):
                box(axis, x - 0.16, y + 0.25, 0.16, 0.5, **on_gpu)
            elif runs == "twice":
                box(axis, x - 0.16, y + 1.15, 0.16, 0.4, **on_host)
                arrow(axis, (x - 0.12, y + 0.3), (x - 0.12, y + 1.15))
                arrow(axis, (x - 0.04, y + 1.15), (x - 0.04, y + 0.3), dashed=True)
    write(axis, 5.55, 3.55, "small inputs stay: then it is\nthe standard way")
    keys = (
        (0.1, "kept on the GPU", on_gpu),
        (2.2, "dropped, run again", dropped),
        (4.5, "in the host’s memory", on_host),
    )
    for x, told, look in keys:
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
    axis.plot([0.05 + T4 * whole] * 2, [0.31, 0.75], color=INK, linewidth=2.5)
    before, y = 0, 1.1
    looks = cycle(zip(plots.OKABE_ITO[:7], plots.HATCHES, strict=False))
    for (name, size), (colour, hatch) in zip(held.items(), looks, strict=False):
        look = {"colour": colour, "hatch": hatch, "share": 0.5}
        box(axis, 0.05 + before * whole, 0.38, size * whole, 0.3, **look)
        box(axis, left + before * near, y, size * near, 0.36, **look)
        write(axis, 0.05, y + 0.08, name, fontweight="bold")
        write(axis, 0.05, y + 0.28, HOLDS.get(name, ""), SIZE - 0.5, color=GREY)
        write(axis, 7.45, y + 0.18, f"{size / 2**20:,.0f} MiB", ha="right")
        before, y = before + size, y + 0.47
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
        colour, look = (BLUE, {"share": 0.4}) if labelled else (GREY, {"share": 0, "line": ":", "color": GREY})
        if wide:
            box(axis, x, y, wide, 0.27, text, colour=colour, size=9.5, code=True, **look)
        else:
            write(axis, x, y + 0.13, text, fontweight="bold")
            write(axis, x, y + 0.34, "label: its id" if labelled else "label: −100", color=colour)
    return figure
