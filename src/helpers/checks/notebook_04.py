"""How the exercises of notebook 04 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from ..chat import neutralize
from . import CORRECT, returned


def check_masked(labels_of) -> str:
    """Judge ``labels_of(ids)``, (N,) -> (N,) with -100 outside the model's turns. Returns a str."""
    ids = [2, 105, 2364, 107, 11, 106, 107, 105, 4368, 107, 48, 7, 49, 50]
    got = returned(labels_of, ids)
    want = [-100] * 10 + [48, 7, 49, 50]
    if list(got) == want:
        return CORRECT
    if len(got) != len(ids):
        return f"there are {len(ids)} ids and {len(got)} labels: every position needs one"
    if list(got) == [-100] * 10 + [48, 7, 49, -100]:
        return "the last token, id 50, is masked: then the model never learns to stop"
    if list(got) == [-100] * 7 + ids[7:]:
        return "the header <start_of_turn>model\\n is labelled: the prompt supplies it, the model never writes it"
    if list(got) == ids:
        return "nothing is masked: the user's words carry loss too"
    return "some label is not the id at its own place (the shift by one is the loss function's work)"


def check_window(mean) -> str:
    """Judge ``mean([(tokens, mean loss), …])``, the mean loss per token in nats. Returns a str."""
    got = returned(mean, [(10, 2.0), (90, 1.0)])
    if abs(got - 1.1) < 1e-6:
        return CORRECT
    if abs(got - 1.5) < 1e-6:
        return "that is the mean of the two batch means: the 10-token batch weighs as much as the 90-token one"
    if abs(got - 110) < 1e-6:
        return "that is the sum: divide by the number of tokens in the whole window"
    return "add up the losses of all tokens, then divide by how many tokens there are"


def check_cosine(lr) -> str:
    """Judge ``lr(step)``, a cosine schedule of 100 steps with 10 of warm-up, peak 1e-3. Returns a str."""
    got = [returned(lr, step) for step in (0, 5, 10, 55, 100)]
    want = [0.0, 0.0005, 0.001, 0.0005, 0.0]
    if all(abs(a - b) < 1e-9 for a, b in zip(got, want, strict=True)):
        return CORRECT
    if abs(got[0] - 0.001) < 1e-9:
        return "at step 0 the rate is already full: where is the warm-up?"
    if abs(got[3] - 0.0005) > 1e-9 and abs(got[2] - 0.001) < 1e-9:
        return "the cosine must run over the steps after the warm-up: at step 55 it is half-way"
    return f"at steps 0, 5, 10, 55 and 100 expected {want}"


def _filtered(text: str) -> str:
    """The colleague's filter of exercise 4.4."""
    return text.replace("<end_of_turn>", "")


def check_bypass(bypass) -> str:
    """Judge ``bypass()``, a text that holds <end_of_turn> after the exercise's filter. Returns a str."""
    text = returned(bypass)
    if not isinstance(text, str):
        return "return the text that a user would type"
    passed = _filtered(text)
    if "<end_of_turn>" in passed:
        return (
            CORRECT if "<end_of_turn>" not in neutralize(text) else "that gets past neutralize, too: please report it"
        )
    if text == passed and any(ord(c) > 127 for c in text) and "<end" in text:
        return (
            "the filter does not see a disguised token, but neither does the tokenizer: "
            "what remains must be <end_of_turn> itself"
        )
    if "<end_of_turn>" in text:
        return "the filter removes the token, and nothing is left: what could stand around the part that is removed?"
    return "after the filter the text must hold <end_of_turn>"
