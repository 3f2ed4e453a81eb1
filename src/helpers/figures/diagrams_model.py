"""Diagrams of the model and its weights: a block, shared heads, LoRA's shapes, quantized blocks."""

from __future__ import annotations

from .canvas import BLUE, GREEN, GREY, ORANGE, RED, SKY, arrow, box, byte_strip, knot, sheet, write

HIDDEN, HEADS, HEAD, INNER, LAYERS = 640, 4, 256, 2048, 18  # Gemma 3 270M


def gemma_block():
    """One block of Gemma 3 with its six norms, its two residual sums and the gated MLP. Returns the figure.

    Source: ``Gemma3DecoderLayer`` of transformers; numbers are those of the 270M model.
    """
    figure, axis = sheet(7.5, 6.4)

    def norm(x, y, width, number, name):
        box(axis, x, y, width, 0.36, f"{number} · {name}", colour=ORANGE, hatch="//")

    def chain(x, *heights):
        for start, end in zip(heights[::2], heights[1::2], strict=True):
            arrow(axis, (x, start), (x, end))

    for x, name in ((0.55, "x  (N, 640)"), (4.6, "x + attention  (N, 640)")):
        box(axis, x, 0.05, 2.85, 0.36, name, share=0.12)
        arrow(axis, (x, 0.23), (x - 0.3, 0.23), (x - 0.3, 5.68))  # the residual stream goes around
        arrow(axis, (x + 1.425, 5.45), (x + 1.425, 5.83), (x - 0.15, 5.83))
        chain(x + 1.425, 0.41, 0.72, 4.78, 5.09)
        knot(axis, x - 0.3, 5.83, "+")
    # attention
    norm(0.55, 0.72, 2.85, 1, "input_layernorm")
    for x, name, heads in ((0.55, "q_proj", HEADS), (1.525, "k_proj", 1), (2.5, "v_proj", 1)):
        box(axis, x, 1.4, 0.9, 0.48, name, f"{heads} × {HEAD}", BLUE)
        arrow(axis, (1.975, 1.24), (x + 0.45, 1.24), (x + 0.45, 1.4))
    chain(1.975, 1.08, 1.4)
    norm(0.55, 2.12, 0.9, 2, "q_norm")
    norm(1.525, 2.12, 0.9, 3, "k_norm")
    box(axis, 0.55, 2.72, 1.875, 0.36, "RoPE", colour=GREY)
    for x in (1.0, 1.975):
        chain(x, 1.88, 2.12, 2.48, 2.72, 3.08, 3.32)
    chain(2.95, 1.88, 3.32)
    seen = "15 layers: the last 512 tokens\n3 layers: all tokens before"
    box(axis, 0.55, 3.32, 2.85, 0.82, "softmax(QKᵀ / 16) · V", seen, SKY)
    chain(1.975, 4.14, 4.42)
    box(axis, 0.55, 4.42, 2.85, 0.36, f"o_proj   {HEADS * HEAD:,} → {HIDDEN}", colour=BLUE)
    norm(0.55, 5.09, 2.85, 4, "post_attention_layernorm")
    arrow(axis, (0.25, 5.98), (0.25, 6.22), (3.85, 6.22), (3.85, 0.23), (4.6, 0.23))
    # the MLP
    norm(4.6, 0.72, 2.85, 5, "pre_feedforward_layernorm")
    for x, name in ((4.6, "gate_proj"), (6.1, "up_proj")):
        box(axis, x, 1.4, 1.35, 0.48, name, f"{HIDDEN} → {INNER:,}", BLUE)
        arrow(axis, (6.025, 1.08), (6.025, 1.24), (x + 0.675, 1.24), (x + 0.675, 1.4))
    box(axis, 4.6, 2.12, 1.35, 0.36, "GELU", colour=GREY)
    chain(5.275, 1.88, 2.12)
    arrow(axis, (5.275, 2.48), (5.275, 2.9), (5.875, 2.9))
    arrow(axis, (6.775, 1.88), (6.775, 2.9), (6.175, 2.9))
    knot(axis, 6.025, 2.9, "×")
    chain(6.025, 3.05, 4.42)
    write(axis, 6.15, 3.55, "GeGLU:\nGELU(gate) · up")
    box(axis, 4.6, 4.42, 2.85, 0.36, f"down_proj   {INNER:,} → {HIDDEN}", colour=BLUE)
    norm(4.6, 5.09, 2.85, 6, "post_feedforward_layernorm")
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
    rows = (
        (
            0.5,
            "W + α/r · B · A, as PyTorch and PEFT store it: (out, in)",
            (out, into),
            ("B", out, rank),
            ("A", rank, into),
        ),
        (3.2, "W + α/r · A · B, as the guide writes it: (in, out)", (into, out), ("A", into, rank), ("B", rank, out)),
    )
    for y, title, (tall, wide), *factors in rows:
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
    told = f"A · B of these shapes:\n(…, {into}) · ({out:,}, …)\ndoes not exist"
    write(axis, 5.7, 1.5, told)
    return figure


def quantized_blocks():
    """The bytes of a Q8_0 block and of a Q4_K superblock, a square a byte. Returns the figure.

    Source: ``block_q8_0`` and ``block_q4_K`` in llama.cpp's ggml-common.h.
    """
    figure, axis = sheet(7.5, 3.6)
    side, left = 0.165, 0.05

    def title(y, name, weights, count):
        told = f"{name}: {weights} weights in {count} bytes, {8 * count / weights:g} bits each"
        write(axis, left, y, told, 12, fontweight="bold")

    title(0.15, "Q8_0", 32, 2 + 32)
    end = byte_strip(axis, left, 0.4, 2, side, ORANGE, "//")
    byte_strip(axis, end, 0.4, 32, side, BLUE)
    write(axis, left, 0.75, "d, a float16")
    write(axis, 3.3, 0.75, "q, 32 signed bytes", ha="center")
    write(axis, 5.85, 0.48, "weight = d · q")
    title(1.35, "Q4_K", 256, 2 + 2 + 12 + 128)
    end = left
    for count, colour, hatch in ((2, ORANGE, "//"), (2, RED, "xx"), (12, GREEN, "..")):
        end = byte_strip(axis, end, 1.6, count, side, colour, hatch)
    write(axis, end + 0.12, 1.685, "d and dmin, float16; 8 s and 8 m of 6 bits, 12 bytes")
    for row in range(4):
        y = 1.95 + 0.27 * row
        byte_strip(axis, left, y, 32, side, BLUE, halves=True)
        write(axis, 5.5, y + side / 2, f"groups {2 * row} (low), {2 * row + 1} (high)", 10)
    write(axis, left, 3.15, "q: a byte holds two weights of 4 bits, one of each group")
    write(axis, left, 3.4, "weight = d · s · q − dmin · m,  with one s and one m for each group of 32")
    return figure
