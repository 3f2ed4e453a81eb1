"""Labels on conversations small enough to check by eye, and Unsloth's masking beside ours."""

from collections import Counter

import pytest

from helpers import chat, dataset, masking
from helpers.errors import CourseError

CALL = {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": {"a": "x"}}}]}
RESULT = {"role": "tool", "name": "f", "content": {"v": 7}}
USER, REPLY = {"role": "user", "content": "سؤال"}, {"role": "assistant", "content": "جواب"}


def ids_of(messages, tokenizer):
    return tokenizer(chat.render(messages), add_special_tokens=False).input_ids


def labelled(messages, tokenizer):
    ids = ids_of(messages, tokenizer)
    labels = masking.response_labels(ids, tokenizer(masking.RESPONSE_PART, add_special_tokens=False).input_ids)
    assert all(label in (-100, i) for label, i in zip(labels, ids, strict=True))
    return tokenizer.decode([label for label in labels if label != -100])


@pytest.mark.parametrize(
    ("messages", "wanted"),
    [
        ([USER, CALL], "<start_function_call>call:f{a:<escape>x<escape>}<end_function_call><start_function_response>"),
        ([USER, REPLY], "جواب<end_of_turn>"),
        (
            [USER, CALL, RESULT, REPLY],
            "<start_function_call>call:f{a:<escape>x<escape>}<end_function_call>"
            "<start_function_response>جواب<end_of_turn>",
        ),
        ([USER, REPLY, USER, REPLY], "جواب<end_of_turn>" * 2),
    ],
)
def test_exactly_the_models_words_carry_loss(messages, wanted, tokenizer):
    assert labelled(messages, tokenizer) == wanted


def test_of_two_results_only_the_models_own_request_carries_loss(tokenizer):
    twice = [*CALL["tool_calls"], *CALL["tool_calls"]]
    messages = [USER, {**CALL, "tool_calls": twice}, RESULT, RESULT, REPLY]
    call = "<start_function_call>call:f{a:<escape>x<escape>}<end_function_call>"
    assert labelled(messages, tokenizer) == f"{call * 2}<start_function_response>جواب<end_of_turn>"


def test_where_unsloths_mask_and_ours_part_over_all_of_train(checkpoint, tokenizer):
    """They part on what a tool wrote, on a second result's opening, and on the line break after a closed turn."""
    found = masking.encode(dataset.load("train"), tokenizer)
    theirs = masking.unsloth_labels(found.ids, tokenizer)
    kinds = Counter()
    for row in zip(found.ids, found.labels, theirs, strict=True):
        kinds.update({kind: len(positions) for kind, positions in masking.differences(*row).items()})
        ids, ours, other = row
        assert all(
            o in (masking.IGNORED, t) and t in (masking.IGNORED, i) for i, o, t in zip(ids, ours, other, strict=True)
        )
    assert kinds["tool result"] > 1000 and kinds["after the turn"] > 100 and not kinds["other"], kinds


def test_without_stops(tokenizer):
    ids = ids_of([USER, CALL], tokenizer)
    assert masking.without_stops(ids, list(ids))[-1] == -100
    assert masking.without_stops(ids, list(ids))[-2] == ids[-2]


@pytest.mark.slow
def test_unsloth_leaves_tool_results_in_the_loss_and_we_do_not(checkpoint, tokenizer):
    ids = ids_of([USER, CALL, RESULT, REPLY], tokenizer)
    (theirs,) = masking.unsloth_labels([ids], tokenizer)
    assert "response:f{v:7}" in tokenizer.decode([x for x in theirs if x != -100])
    assert "response:f" not in tokenizer.decode([x for x in masking.without_tool_results(ids, theirs) if x != -100])


def test_audit_refuses_what_teaches_nothing_or_the_wrong_thing():
    good, text = [2, 5, 6], "x"
    assert masking.audit([good], [[-100, 5, 6]], [text], 10).labelled == 2
    for ids, labels, words, why in [
        ([good], [[-100] * 3], text, "every label is -100"),
        ([[2, 2, 5]], [[-100, -100, 5]], text, "2 <bos>"),
        ([[2] + [5] * 20], [[5] * 21], text, "max_length"),
        ([good], [good], "<start_function_call>call:f{a:None}<end_function_call>", "bare word None"),
        ([good], [good], "<start_function_call>call:f{a:[{b:null}]}<end_function_call>", "bare word None"),
    ]:
        with pytest.raises(CourseError, match=why):
            masking.audit(ids, labels, [words], 10)
    with pytest.raises(CourseError, match="no row"):
        masking.audit([], [], [], 10)
