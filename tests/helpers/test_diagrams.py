"""Diagrams: every label legible, inside its box and the figure, struck by no line; what they say is so."""

import itertools
import json
from pathlib import Path

import pytest
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text

from helpers import chat, masking
from helpers.figures import diagrams

HELD = {
    "saved": 1_174_302_720,
    "in flight": 1_073_742_848,
    "weights": 536_217_600,
    "optimizer": 60_751_872,
    "adapters": 30_375_936,
}
MUCH = dict.fromkeys(diagrams.HOLDS, 4 * 2**30)  # more than a T4 has
NAMES = "course_map call_loop gemma_block shared_key_value_head lora_shapes checkpointing label_mask quantized_blocks"
DRAWN = {name: getattr(diagrams, name) for name in NAMES.split()}
DRAWN |= {"step_bytes": lambda: diagrams.step_bytes(HELD), "too many bytes": lambda: diagrams.step_bytes(MUCH)}


@pytest.fixture(params=DRAWN)
def figure(request):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    made = DRAWN[request.param]()
    made.canvas.draw()
    yield made
    plt.close(made)


def written(figure) -> list[Text]:
    return [text for text in figure.findobj(Text) if text.get_text().strip() and text.get_visible()]


def test_a_label_can_be_read_on_a_narrow_page(figure):
    assert figure.get_figwidth() <= 9 and figure.get_facecolor() == (1, 1, 1, 1)
    assert min(text.get_fontsize() for text in written(figure)) >= 9


def test_labels_leave_neither_the_figure_nor_their_box_and_do_not_overlap(figure):
    extents = [(text, text.get_window_extent()) for text in written(figure)]
    for (one, a), (other, b) in itertools.combinations(extents, 2):
        assert not a.overlaps(b), f"{one.get_text()!r} and {other.get_text()!r}"
    boxes = [patch.get_window_extent() for patch in figure.findobj(Rectangle) if patch is not figure.patch]
    for text, own in extents:
        assert own.x0 >= 0 and own.y0 >= 0 and own.x1 <= figure.bbox.x1 and own.y1 <= figure.bbox.y1, text
        for around in boxes:  # a label lies in a box or beside it
            inside = around.x0 <= own.x0 and own.x1 <= around.x1 and around.y0 <= own.y0 and own.y1 <= around.y1
            assert inside or not around.overlaps(own), f"{text.get_text()!r} across an edge"


def test_no_line_strikes_a_label(figure):
    arrows = [p.get_transform().transform_path(p._path_original) for p in figure.findobj(FancyArrowPatch)]  # no heads
    lines = [line.get_transform().transform_path(line.get_path()) for axis in figure.axes for line in axis.lines]
    for text in written(figure):
        own = text.get_window_extent()
        assert not any(path.intersects_bbox(own, filled=False) for path in arrows + lines), text.get_text()


def test_arabic_is_joined_and_ordered_where_matplotlib_does_not(monkeypatch):
    from matplotlib import ft2font

    monkeypatch.delattr(ft2font, "__libraqm_version__", raising=False)
    drawn = [text.get_text() for text in written(diagrams.call_loop())]
    assert "city:<escape>\ufe93\ufeaa\ufe9f<escape>}" in drawn and "<start_function_call>" in drawn  # جدة
    monkeypatch.setattr(ft2font, "__libraqm_version__", "0.10", raising=False)
    assert "city:<escape>جدة<escape>}" in [text.get_text() for text in written(diagrams.call_loop())]


def conversation() -> str:
    """The conversation of the loop and of the mask, as the template renders it."""
    weather = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    called = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "جدة"}}}
    messages = [
        {"role": "developer", "content": chat.DEVELOPER_PROMPT},
        {"role": "user", "content": "ما حالة الطقس في جدة الآن؟"},
        {"role": "assistant", "tool_calls": [called]},
        {"role": "tool", "name": "get_weather", "content": {"degrees": 34}},
        {"role": "assistant", "content": "الحرارة في جدة 34 درجة."},
    ]
    return chat.render(messages, tools=[{"type": "function", "function": weather}])


def test_the_loop_is_what_the_template_renders():
    said = [diagrams.TOOLS, diagrams.REQUEST, "<start_of_turn>model", diagrams.CALL, "<start_function_response>"]
    said += [diagrams.RESULT, diagrams.REPLY, "<end_of_turn>"]
    lines = [line for part in said for line in part.split("\n") if line[0] != "“"]
    rest = conversation()
    for line in lines:
        before, line_found, rest = rest.partition(line.removesuffix("…}"))
        assert line_found and (before.strip() in ("", "<bos>") or line in diagrams.TOOLS), (line, before)
    assert not rest.strip()
    assert {chat.CONTROL_TOKENS[t] for t in ("<start_function_response>", "<end_of_turn>")} == {50, 106}


def test_the_mask_is_the_tokenizers_and_the_courses(tokenizer):
    encoded = masking.encode_texts([conversation()], tokenizer)
    names = {"\n": r"\n", " ": "␣"}
    pieces = [tokenizer.decode([i]) for i in encoded.ids[0]]
    found = [
        (names.get(p, p.strip()), label != masking.IGNORED) for p, label in zip(pieces, encoded.labels[0], strict=True)
    ]
    drawn = [(piece, kept) for _, kept, text in diagrams.CONVERSATION for piece in text.split()]
    gap = drawn.index(("…", False))
    assert drawn[:gap] == found[:gap] and drawn[gap + 1 :] == found[-(len(drawn) - gap - 1) :]


def test_a_step_is_drawn_in_proportion():
    figure = diagrams.step_bytes(HELD)
    said = [text.get_text() for text in written(figure)]
    assert "2.7 GiB at the peak; a T4 has 14.7" in said and "1,120 MiB" in said
    widths = {round(p.get_width(), 6) for p in figure.findobj(Rectangle) if abs(p.get_height() - 0.36) < 1e-9}
    assert max(widths) / min(widths) == pytest.approx(HELD["saved"] / HELD["adapters"], rel=1e-3)


def test_the_models_numbers_are_its_configurations(checkpoint):
    config = json.loads(Path(checkpoint.path, "config.json").read_text(encoding="utf-8"))
    keys = ("hidden_size", "num_attention_heads", "head_dim", "intermediate_size", "num_hidden_layers")
    drawn = [getattr(diagrams, name) for name in ("HIDDEN", "HEADS", "HEAD", "INNER", "LAYERS")]
    assert drawn == [config[key] for key in keys] and config["num_key_value_heads"] == 1


def test_a_quantized_block_has_the_bytes_that_gguf_says():
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    said = " ".join(text.get_text() for text in written(diagrams.quantized_blocks()))
    for kind in ("Q8_0", "Q4_K"):
        weights, size = GGML_QUANT_SIZES[GGMLQuantizationType[kind]]
        assert f"{kind}: {weights} weights in {size} bytes, {8 * size / weights:g} bits each" in said
