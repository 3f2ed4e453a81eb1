"""The course's diagrams, each a function that returns a figure: its map, and the loop of a call; others by subject."""

from __future__ import annotations

from .canvas import BLUE, GREEN, GREY, ORANGE, PINK, SKY, arrow, box, sheet, write
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
# what stands in a turn, line by line; a line in quotation marks is the English of the one above it
TOOLS = """<start_of_turn>developer
<start_function_declaration>
declaration:get_weather{…}
<end_function_declaration>
<end_of_turn>"""
REQUEST = """<start_of_turn>user
ما حالة الطقس في جدة الآن؟
“What is the weather in Jeddah now?”
<end_of_turn>"""
CALL = """<start_function_call>
call:get_weather{
city:<escape>جدة<escape>}
<end_function_call>"""
RESULT = """response:get_weather{degrees:34}
<end_function_response>"""
REPLY = """الحرارة في جدة 34 درجة.
“It is 34 degrees in Jeddah.”"""


def course_map():
    """The six notebooks beside the five sections of the guide that they test. Returns the figure."""
    figure, axis = sheet(7.5, 4.6)
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
            write(axis, x + 0.1, y + 0.16 + 0.2 * number, line, 9.5, code=line[0] != "“")
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
