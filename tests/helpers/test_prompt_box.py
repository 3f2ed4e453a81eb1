"""A request, its call, the probability of every token: right numbers, no markup of a model, static without widgets."""

import re

import pytest
from tiny_gemma import tiny_config

from helpers import calls, chat
from helpers.yours import prompt_box

WEIGHT = {"type": "object", "properties": {"kilos": {"type": "number"}}, "required": ["kilos"]}
TOOLS = [{"type": "function", "function": {"name": "order_clay", "description": "Order.", "parameters": WEIGHT}}]
CALL = calls.serialize([calls.FunctionCall("order_clay", {"kilos": 4})])
SURE = prompt_box.Answer(CALL, ("call", "4", "<b>"), (0.999, 0.31, 0.9))


@pytest.mark.slow
def test_probabilities_are_those_of_the_tokens_chosen(tokenizer):
    import torch
    from transformers import Gemma3ForCausalLM

    torch.manual_seed(0)
    model = Gemma3ForCausalLM(tiny_config(vocab_size=len(tokenizer))).eval()
    one = prompt_box.answer(model, tokenizer, "أربعة كيلو طين", TOOLS, max_new_tokens=4)
    asked = [{"role": "developer", "content": chat.DEVELOPER_PROMPT}, {"role": "user", "content": "أربعة كيلو طين"}]
    ids = tokenizer(chat.render(asked, TOOLS, add_generation_prompt=True), add_special_tokens=False).input_ids
    for piece, probability in zip(one.pieces, one.probabilities, strict=True):
        with torch.inference_mode():
            spread = model(torch.tensor([ids])).logits[0, -1].float().softmax(-1)
        chosen = int(spread.argmax())  # greedy
        assert probability == pytest.approx(spread[chosen].item(), rel=1e-3)
        assert piece == tokenizer.convert_ids_to_tokens(chosen).replace("▁", " ")
        ids.append(chosen)
    assert 0 < len(one.pieces) <= 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (CALL, "order_clay(kilos=4)"),
        (CALL + CALL, "order_clay(kilos=4); order_clay(kilos=4)"),
        ("كم كيلو؟<end_of_turn>", "nothing is called"),
        (calls.serialize([calls.FunctionCall("rm", {})]), "not to be run: .*not declared"),
        (
            calls.serialize([calls.FunctionCall("order_clay", {"kilos": "x"})]),
            "not to be run: call of order_clay, kilos",
        ),
        ("<start_function_call>call:order_clay{", "not to be run: at character"),
    ],
)
def test_one_line_says_what_may_run(text, told):
    assert re.match(told.replace("(", r"\(").replace(")", r"\)"), prompt_box.verdict(text, TOOLS))


def test_an_answer_is_drawn_with_its_doubts_and_without_its_markup():
    html = prompt_box.shown(SURE, TOOLS).data
    assert html.count("3px solid") == 1 and "31%" in html and "&lt;b&gt;" in html and "<b>" not in html
    assert SURE.least == 1 and "order_clay(kilos=4)" in html


def test_a_table_names_the_token_of_least_certainty(monkeypatch):
    answers = {"أ": SURE, "ب": prompt_box.Answer("", (), ())}
    monkeypatch.setattr(prompt_box, "answer", lambda model, tokenizer, request, tools: answers[request])
    first, second = prompt_box.table(None, None, list(answers), TOOLS)
    assert first == {"request": "أ", "called": "order_clay(kilos=4)", "least sure of": "4 (31%)"}
    assert second["called"] == "nothing is called" and second["least sure of"] == ""


def test_the_box_asks_again_and_a_page_shows_the_first_answer(monkeypatch):
    asked = []

    def answer(model, tokenizer, request, tools):
        asked.append(request)
        return SURE

    monkeypatch.setattr(prompt_box, "answer", answer)
    monkeypatch.setenv("COURSE_WIDGETS", "0")
    assert "order_clay" in prompt_box.box(None, None, TOOLS, "أول").data
    monkeypatch.setenv("COURSE_WIDGETS", "1")
    field, button, _ = prompt_box.box(None, None, TOOLS, "أول").children
    field.value = "ثان"
    button.click()
    field.value = "  "
    button.click()
    assert asked == ["أول", "أول", "ثان", "أول"]
