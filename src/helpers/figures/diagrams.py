"""The course's diagrams, each a function that returns a figure: its map, and the loop of a call; others by subject."""

from __future__ import annotations

from .canvas import BLUE, GREEN, GREY, INK, ORANGE, PINK, SIZE, SKY, arrow, box, sheet, write
from .diagrams_model import gemma_block, lora_shapes, quantized_blocks, shared_key_value_head
from .diagrams_training import checkpointing, label_mask, step_bytes

__all__ = [
    "call_loop",
    "checkpointing",
    "course_map",
    "gemma_block",
    "label_mask",
    "lora_shapes",
    "quantized_blocks",
    "shared_key_value_head",
    "step_bytes",
]

SECTIONS = (
    ("1. Architectural Foundations:", "Gemma-270M"),
    ("2. LoRA: The Mathematics of", "Low-Rank Adaptation"),
    ("3. Unsloth & Triton:", "Memory Surgery"),
    ("4. The Training Workflow:", "Step-by-Step"),
    ("5. Final Recommendations", "for Fine-Tuning"),
)
NOTEBOOKS = (
    ("00 · Start here", "the model as it is, the list of claims"),
    ("01 · Architecture probes", "attention, norms and the cache"),
    ("02 · LoRA mathematics", "shapes, start values, rank, α"),
    ("03 · Memory surgery", "every byte of a training step"),
    ("04 · Masked training run", "labels, training, before and after"),
    ("05 · GGUF export", "formats, llama.cpp, Arabic in calls"),
)


def course_map():
    """The six notebooks beside the five sections of the guide that they test. Returns the figure."""
    figure, axis = sheet(7.5, 4.7)
    write(axis, 0.05, 0.55, "What the guide says", 12, fontweight="bold", color=GREY)
    write(axis, 3.75, 0.15, "Where it is tested", 12, fontweight="bold", color=BLUE)
    for row, (name, what) in enumerate(NOTEBOOKS):
        y = 0.33 + 0.73 * row
        box(axis, 3.75, y, 3.7, 0.55, name, what, BLUE if row else GREEN)
        if row:
            arrow(axis, (5.6, y - 0.18), (5.6, y), colour=BLUE)
            first, second = SECTIONS[row - 1]
            box(axis, 0.05, y, 2.95, 0.55, f"{first}\n{second}", colour=GREY, share=0.12)
            arrow(axis, (3.0, y + 0.275), (3.75, y + 0.275), colour=GREY)
    return figure


def call_loop():
    """Request, call, result and reply in FunctionGemma's turns and tokens, and where generation stops.

    Source: the model's chat template (``helpers.chat``). Returns the figure.
    """
    figure, axis = sheet(8, 6.75)
    left, right, wide = 1.0, 4.5, 3.3
    for y, height, name in ((0.35, 1.12, "developer's\nturn"), (1.57, 1.32, "user's\nturn"), (2.99, 3.7, "model's\nturn")):
        box(axis, 0.02, y, 7.96, height, colour=GREY, share=0.06)
        write(axis, 0.1, y + 0.25, name, fontweight="bold", color=GREY)
    write(axis, left + wide / 2, 0.17, "the program puts in", 12, ha="center", fontweight="bold")
    write(axis, right + wide / 2, 0.17, "the model writes", 12, ha="center", fontweight="bold", color=BLUE)

    def part(x, y, height, title, lines, colour, stop=""):
        box(axis, x, y, wide, height, colour=colour)
        write(axis, x + 0.1, y + 0.15, title, fontweight="bold")
        for number, line in enumerate(lines):
            write(axis, x + 0.1, y + 0.37 + 0.2 * number, line, 9.5, code=not line.startswith("“"))
        if stop:
            box(axis, x, y + height, wide, 0.46, colour=ORANGE, hatch="//")
            token, told = stop.split(" ", 1)
            look = {"bbox": {"facecolor": "white", "edgecolor": "none", "pad": 1.5}, "ha": "center"}
            write(axis, x + wide / 2, y + height + 0.13, token, 9.5, code=True, **look)
            write(axis, x + wide / 2, y + height + 0.34, told, 9.5, fontweight="bold", **look)

    declared = ("<start_of_turn>developer", "<start_function_declaration>", "declaration:get_weather{…}")
    part(left, 0.42, 0.98, "tools", (*declared[:2], declared[2]), SKY)
    asked = ("<start_of_turn>user", "ما حالة الطقس في جدة الآن؟", "“What is the weather in Jeddah now?”", "<end_of_turn>")
    part(left, 1.65, 1.16, "1 · request", asked, SKY)
    box(axis, left, 3.1, wide, 0.32, colour=SKY)
    write(axis, left + 0.1, 3.26, "<start_of_turn>model", 9.5, code=True)
    call = ("<start_function_call>call:get_weather{", "city:<escape>جدة<escape>}", "<end_function_call>")
    part(right, 3.1, 0.92, "2 · call", call, BLUE, "<start_function_response> id 50: generation stops")
    result = ("response:get_weather{degrees:34}", "<end_function_response>")
    part(left, 4.55, 0.75, "3 · result of running it", result, GREEN)
    reply = ("الحرارة في جدة 34 درجة.", "“It is 34 degrees in Jeddah.”")
    part(right, 5.35, 0.75, "4 · reply", reply, PINK, "<end_of_turn> id 106: generation stops")
    centre, end = left + wide / 2, left + wide
    arrow(axis, (centre, 1.4), (centre, 1.65))
    arrow(axis, (centre, 2.81), (centre, 3.1))
    arrow(axis, (end, 3.26), (right, 3.26))
    arrow(axis, (right + wide / 2, 4.48), (right + wide / 2, 4.92), (end, 4.92))
    arrow(axis, (centre, 5.3), (centre, 5.72), (right, 5.72))
    arrow(axis, (7.89, 6.3), (7.89, 2.2), (end, 2.2), dashed=True)
    return figure
