"""Which tokens of a conversation carry loss, and the loss over just those: labels are -100 for all that the model does
not have to write.

Our own reading of response-only training, to stand beside Unsloth's ``train_on_responses_only``: it starts after
``<start_of_turn>model\\n``, ends with the token that ends the turn, and leaves out what a *tool* wrote inside the turn.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import dataset
from .calls import ParseError, parse
from .checkpoints import without_adapter
from .control_tokens import CONTROL_TOKENS, STOP_IDS
from .errors import CourseError

CHUNK = 128  # labelled positions whose logits exist at the same time
IGNORED = -100  # torch.nn.functional.cross_entropy's ignore_index
INSTRUCTION_PART = "<start_of_turn>user\n"
RESPONSE_PART = "<start_of_turn>model\n"
_TURN, _END_TURN = CONTROL_TOKENS["<start_of_turn>"], CONTROL_TOKENS["<end_of_turn>"]
_RESULT, _END_RESULT = CONTROL_TOKENS["<start_function_response>"], CONTROL_TOKENS["<end_function_response>"]
_BOS = CONTROL_TOKENS["<bos>"]


@dataclass(frozen=True)
class Encoded:
    """Conversations as text, token ids and labels, row by row; ids and labels of a row have the same length (N,)."""

    texts: list[str]
    ids: list[list[int]]
    labels: list[list[int]]


def encode(rows, tokenizer, mask_prompt: bool = True, mask_tool_results: bool = True, label_stops: bool = True):
    """Data rows -> ``Encoded``: the one way from rows to labels, for the reader's run and for every stored one.

    By default the labels are what the model has to write and nothing else. The options put tokens back or take them
    out, for the ablations: the prompt, what a tool wrote inside the model's turn, the stop tokens.
    """
    return encode_texts(dataset.texts(rows), tokenizer, mask_prompt, mask_tool_results, label_stops)


def encode_texts(texts: list[str], tokenizer, mask_prompt=True, mask_tool_results=True, label_stops=True) -> Encoded:
    """As ``encode``, for conversations that are rendered already (``<bos>`` included)."""
    ids = tokenizer(texts, add_special_tokens=False).input_ids if texts else []
    labels = [list(row) for row in ids]
    if mask_prompt:
        header = tokenizer(RESPONSE_PART, add_special_tokens=False).input_ids
        labels = [turn_labels(row, header) for row in ids]
    if mask_tool_results:
        labels = [without_tool_results(row, own) for row, own in zip(ids, labels, strict=True)]
    if not label_stops:
        labels = [without_stops(row, own) for row, own in zip(ids, labels, strict=True)]
    return Encoded(texts, ids, labels)


def unsloth_labels(ids: list[list[int]], tokenizer) -> list[list[int]]:
    """Labels of whole conversations by Unsloth's ``train_on_responses_only``, to stand beside our own.

    Unsloth labels from the model's header to the next user's: the line break after a closed turn, whatever stands
    between two turns of the model, and what a tool wrote inside one.
    """
    from unsloth.chat_templates import train_on_responses_only

    parts = {"instruction_part": INSTRUCTION_PART, "response_part": RESPONSE_PART}
    mask = train_on_responses_only(None, **parts, tokenizer=tokenizer, return_function=True)
    return [[int(label) for label in row] for row in mask({"input_ids": ids})["labels"]]


def differences(input_ids: list[int], ours: list[int], theirs: list[int]) -> dict[str, list[int]]:
    """Positions that one mask labels and the other does not, by what stands there: kind -> positions, all (N,) lists.

    ``tool result`` is what a program wrote, from a second result's opening to each result's end; ``after the turn`` the
    line break behind ``<end_of_turn>``; ``other`` all else.
    """
    found: dict[str, list[int]] = {"tool result": [], "after the turn": [], "other": []}
    in_result = False
    for i, token in enumerate(input_ids):
        before = input_ids[i - 1] if i else None
        if (ours[i] == IGNORED) != (theirs[i] == IGNORED):
            written_by_tool = in_result or (token == _RESULT and before == _END_RESULT)
            found["tool result" if written_by_tool else "after the turn" if before == _END_TURN else "other"].append(i)
        in_result = token == _RESULT or (in_result and token != _END_RESULT)
    return found


def pad(ids: list[list[int]], labels: list[list[int]], pad_id: int = 0) -> dict:
    """Rows as one right-padded batch of tensors (B, N): input_ids, labels (padded ``IGNORED``), attention_mask."""
    import torch

    width = max(map(len, ids))
    batch = {
        "input_ids": [[*row, *[pad_id] * (width - len(row))] for row in ids],
        "labels": [[*row, *[IGNORED] * (width - len(row))] for row in labels],
        "attention_mask": [[1] * len(row) + [0] * (width - len(row)) for row in ids],
    }
    return {key: torch.tensor(value) for key, value in batch.items()}


def response_labels(input_ids: list[int], header: list[int]) -> list[int]:
    """Labels of one conversation, (N,) -> (N,): its own ids where the model writes, ``IGNORED`` elsewhere.

    ``header`` holds the ids of ``RESPONSE_PART``. Tool results inside a turn are ignored, the token that asks for them
    is not.
    """
    return without_tool_results(input_ids, turn_labels(input_ids, header))


def turn_labels(input_ids: list[int], header: list[int]) -> list[int]:
    """As ``response_labels``, for whole turns of the model: what a tool wrote inside one is labelled too."""
    labels, inside = [IGNORED] * len(input_ids), False
    for i, token in enumerate(input_ids):
        if token == _TURN:
            inside = False
        if inside:
            labels[i] = token
        if token == _END_TURN:
            inside = False
        elif input_ids[max(0, i + 1 - len(header)) : i + 1] == header:
            inside = True
    return labels


def without_tool_results(input_ids: list[int], labels: list[int]) -> list[int]:
    """The same labels with all that a program wrote ignored: tool results, and the opening of a second one.

    The first ``<start_function_response>`` after a call is the model's, its request; the next ones open results that
    the program appends, and follow an ``<end_function_response>``.
    """
    labels, in_result = list(labels), False
    for i, token in enumerate(input_ids):
        if in_result or (token == _RESULT and i and input_ids[i - 1] == _END_RESULT):
            labels[i] = IGNORED
        if token == _RESULT:
            in_result = True
        elif token == _END_RESULT:
            in_result = False
    return labels


def without_stops(input_ids: list[int], labels: list[int]) -> list[int]:
    """The same labels with every stop token ignored (and the line break after it): an ablation, not advice."""
    labels, after = list(labels), False
    for i, token in enumerate(input_ids):
        if token in STOP_IDS or after:
            labels[i] = IGNORED
        after = token in STOP_IDS
    return labels


@dataclass(frozen=True)
class Audit:
    """What a look at every label found: rows, tokens, tokens that carry loss, the longest row in tokens."""

    rows: int
    tokens: int
    labelled: int
    longest: int

    @property
    def share(self) -> float:
        """Fraction of tokens that carry loss."""
        return self.labelled / self.tokens


def audit(ids: list[list[int]], labels: list[list[int]], texts: list[str], max_length: int) -> Audit:
    """Look at every row before any time is spent on training.

    Raises CourseError for a row whose labels are all ignored, one with two ``<bos>``, one longer than ``max_length``
    tokens, or one in which a missing argument was written as ``None``.
    """
    if not ids:
        raise CourseError("there is no row to train on", "choose a split that holds some")
    for i, (row, row_labels, text) in enumerate(zip(ids, labels, texts, strict=True)):
        if all(label == IGNORED for label in row_labels):
            raise CourseError(
                f"row {i}: every label is -100, so nothing would be learned", f"is {RESPONSE_PART!r} in its text?"
            )
        if row.count(_BOS) != 1:
            raise CourseError(f"row {i} has {row.count(_BOS)} <bos> tokens", "tokenize with add_special_tokens=False")
        if len(row) > max_length:
            raise CourseError(
                f"row {i} has {len(row)} tokens, more than max_length={max_length}", "raise max_length or drop tools"
            )
        if none_in_call(text):
            raise CourseError(f"row {i}: a call holds the bare word None", "leave a missing argument out of the call")
    labelled = sum(label != IGNORED for row in labels for label in row)
    return Audit(len(ids), sum(map(len, ids)), labelled, max(map(len, ids)))


def none_in_call(text: str) -> bool:
    """Whether any call in a rendered text has an argument that is the bare word None or null.

    Raises CourseError when a call cannot be parsed.
    """
    for piece in text.split("<start_function_call>")[1:]:
        body, closed, _ = piece.partition("<end_function_call>")
        try:
            found = parse(f"<start_function_call>{body}{closed}")
        except ParseError as error:
            raise CourseError(f"a call cannot be read back: {error}", "mend the row") from None
        if _holds_none(found[0].arguments):
            return True
    return False


def _holds_none(value) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_none, value.values()))
    return any(map(_holds_none, value)) if isinstance(value, list) else value is None


# --- the loss of labelled tokens -----------------------------------------------------------------------------------


def label_loss(model, inputs: dict, num_items_in_batch=None):
    """Cross-entropy summed over the tokens that carry a label, divided by their number (in the whole window if given).

    Only the hidden states that predict a label meet the language-model head, and ``CHUNK`` of them at a time: their
    float32 logits take 1 MiB each. The loss is that of the full computation. Rows that share a prompt bring a mask for
    each kind of layer (``packing.Collator``).
    """
    labels = inputs["labels"][:, 1:]  # (B, N-1): position i predicts token i+1
    causal = without_adapter(model)
    shared = {"position_ids": inputs["position_ids"]} if "position_ids" in inputs else {}
    mask = inputs.get("layer_masks", inputs["attention_mask"])
    hidden = causal.model(input_ids=inputs["input_ids"], attention_mask=mask, **shared).last_hidden_state
    kept = labels != IGNORED
    total = summed_cross_entropy(causal.lm_head, hidden[:, :-1][kept], labels[kept])  # of (n, 640) and (n,)
    return total / (kept.sum() if num_items_in_batch is None else num_items_in_batch)


def summed_cross_entropy(head, hidden, targets):
    """Σ −log p over positions, in chunks whose logits are computed again for the gradient instead of being kept."""
    from torch.nn.functional import cross_entropy
    from torch.utils.checkpoint import checkpoint

    def part(hidden, targets):
        return cross_entropy(head(hidden).float(), targets, reduction="sum")

    pieces = zip(hidden.split(CHUNK), targets.split(CHUNK), strict=True)
    return sum(checkpoint(part, h, t, use_reentrant=False) for h, t in pieces)
