"""How the exercises of notebook 03 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from ..masking import IGNORED
from . import CORRECT, returned

FIXED, ROW = 500, 137  # bytes of a pretended step: before the first row, and for each row


def check_largest_batch(largest_batch) -> str:
    """Judge ``largest_batch(peak, budget)``, the most rows whose step fits into ``budget`` bytes. Returns a str."""
    calls = []

    def peak(rows):
        calls.append(rows)
        return FIXED + ROW * rows

    between, exact = FIXED + 20 * ROW + ROW // 2, FIXED + 20 * ROW
    got, tried = returned(largest_batch, peak, between), len(calls)
    if got == between // (FIXED + ROW):
        return "the weights are there once, not for every row: only what a row adds grows"
    if got == between // ROW:
        return "something is there before the first row: take it off the budget"
    if got == 21:
        return "that step does not fit: round down"
    if got != 20:
        return f"with {FIXED} bytes before the first row and {ROW} a row, {between:,} bytes hold 20 rows, not {got}"
    if returned(largest_batch, peak, exact) != 20:
        return "a step that takes the budget to the last byte fits"
    if tried > 3:
        return f"right, but it took {tried} steps: memory is a straight line in the rows, and two points tell a line"
    return CORRECT


class _Head:
    """A language model's head that remembers for how many positions it was asked."""

    def __init__(self, weight) -> None:
        self.weight, self.positions = weight, 0

    def __call__(self, hidden):
        self.positions += hidden.shape[:-1].numel()
        return hidden @ self.weight


class _Model:
    """What a causal model is for a loss: ``model`` gives hidden states, ``lm_head`` logits."""

    def __init__(self, hidden, head) -> None:
        self._hidden, self.lm_head = hidden, head

    def model(self, input_ids):
        """An object with ``last_hidden_state``, (B, N, 4)."""
        from types import SimpleNamespace

        return SimpleNamespace(last_hidden_state=self._hidden)


def check_frugal_loss(frugal_loss) -> str:
    """Judge ``frugal_loss(model, ids, labels)``, whose head may see labelled positions only. Returns a str."""
    import torch
    from torch.nn.functional import cross_entropy

    draw = torch.Generator().manual_seed(0)
    hidden, weight = torch.randn(2, 6, 4, generator=draw), torch.randn(4, 11, generator=draw)
    ids = torch.randint(11, (2, 6), generator=draw)
    labels = ids.clone()
    labels[0, :4], labels[1, :3] = IGNORED, IGNORED  # five labels, five positions before them
    head = _Head(weight)
    got = float(returned(frugal_loss, _Model(hidden, head), ids, labels))
    logits = hidden @ weight

    def is_loss(positions, wanted, reduction="mean", by=1):
        value = cross_entropy(positions.flatten(0, 1), wanted.flatten(), reduction=reduction, ignore_index=IGNORED)
        return abs(got - float(value) / by) < 1e-4

    if is_loss(logits, labels):
        return "each position is judged by the token after it: shift, then choose"
    if is_loss(logits[:, :-1], ids[:, 1:]):
        return "that is the loss of all tokens: leave out where the label is -100"
    if is_loss(logits[:, :-1], labels[:, 1:], "sum"):
        return "that is the sum: divide by the number of labels"
    if any(is_loss(logits[:, :-1], labels[:, 1:], "sum", by) for by in (10, 12)):
        return "the mean is over the labels, not over all positions"
    if not is_loss(logits[:, :-1], labels[:, 1:]):
        return "another value than wasteful_loss: choose hidden states and labels with the same mask, after the shift"
    if head.positions > 5:
        return f"the right value, but the head still sees {head.positions} positions for 5 labels: choose before it"
    return CORRECT


def check_saved_bits(saved_bits) -> str:
    """Judge ``saved_bits(block, second_block)``, what double quantization saves of a weight's bits. Returns a str."""
    got = returned(saved_bits, 128, 512)
    plain, double = 32 / 128, 8 / 128 + 32 / (128 * 512)
    told = {
        plain - double: CORRECT,
        double: "that is what the scales still cost: subtract it from what they cost before",
        plain: "that is what the scales cost without double quantization: something of it is left",
        4 + double: "that is what a weight takes in all: the question is what is saved",
        plain - 8 / 128: "nearly: the scales of the scales take 32 bits as well",
        plain - 8 / 128 - 32 / 512: "a second-level scale serves 512 scales of 128 weights each: divide by both",
        double - plain: "the other way round: before minus after",
    }
    for value, words in told.items():
        if abs(got - value) < 1e-9:
            return words
    return "32 / block before, 8 / block + 32 / (block · second_block) after: subtract"


def check_best_every(best_every) -> str:
    """Judge ``best_every(layers, kept, inside)``, the k with the least memory. Returns a str."""
    cases = {(18, 1280, 70_000): 1, (100, 1, 1): 10, (10, 5, 2): 5}
    got = {case: returned(best_every, *case) for case in cases}
    if got == cases:
        return CORRECT
    if got[18, 1280, 70_000] in (4, 5):
        return "√layers is best where a kept input and a layer's inside take the same bytes; here they do not"
    if min(got.values()) < 1:
        return "k is at least 1: more often than at every layer there is nothing to keep"
    if got[10, 5, 2] == 6:
        return "ten layers in segments of six are two segments: round up, each keeps an input"
    if got[18, 1280, 70_000] == 18:
        return "that is the k with the fewest inputs: all 18 layers would be run again at once"
    return "⌈layers / k⌉ · kept + k · inside, for each k from 1 to layers: take the k of the smallest"
