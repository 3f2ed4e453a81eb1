"""Text in, calls out: batched greedy generation that says which token stopped it."""

from __future__ import annotations

import json
import sys
from contextlib import contextmanager
from dataclasses import dataclass

from . import chat

#: ``stopped_by`` of a generation that ran into the token limit.
LIMIT = "max_new_tokens"


@dataclass(frozen=True)
class Generation:
    """What the model wrote: its text (control tokens included), its ids, and the stop token or ``LIMIT``."""

    text: str
    token_ids: tuple[int, ...]
    stopped_by: str


def prompt(row) -> str:
    """The prompt of a data row: its conversation up to the last turn of the model, which is what is to be written."""
    messages = json.loads(row["messages"])
    if messages and messages[-1]["role"] == "assistant":
        messages = messages[:-1]
    return chat.render(messages, json.loads(row["tools"]), add_generation_prompt=True)


def generate(
    model, tokenizer, rows, max_new_tokens: int = 128, batch_size: int | None = None, stop_ids=chat.STOP_IDS
) -> list[Generation]:
    """Greedy generation for data rows, in their order; rows of like length share a batch.

    ``stop_ids`` is there for the experiment that leaves one out. A bar shows the rows done.
    """
    return generate_texts(model, tokenizer, [prompt(row) for row in rows], max_new_tokens, batch_size, stop_ids)


def generate_texts(
    model, tokenizer, prompts: list[str], max_new_tokens=128, batch_size=None, stop_ids=chat.STOP_IDS
) -> list[Generation]:
    """As ``generate``, for prompts that are rendered already (``<bos>`` included)."""
    from tqdm import tqdm

    ids = tokenizer(prompts, add_special_tokens=False).input_ids if prompts else []
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    size = batch_size or (64 if model.device.type == "cuda" else 12)
    found: dict[int, Generation] = {}
    with (
        _contiguous_head(model),
        tqdm(total=len(ids), desc="generating", unit="row", file=sys.stdout, leave=False) as bar,
    ):
        for start in range(0, len(order), size):
            batch = order[start : start + size]
            for i, new in zip(
                batch, _batch(model, tokenizer, [ids[i] for i in batch], max_new_tokens, stop_ids), strict=True
            ):
                found[i] = _generation(new, tokenizer, stop_ids)
            bar.update(len(batch))
    return [found[i] for i in range(len(ids))]


def _batch(model, tokenizer, ids: list[list[int]], max_new_tokens: int, stop_ids) -> list[list[int]]:
    """New ids for a batch of prompts, left-padded so that all of them end at the same column."""
    import torch

    width = max(map(len, ids))
    pad = tokenizer.pad_token_id
    padded = torch.tensor([[pad] * (width - len(row)) + row for row in ids], device=model.device)  # (B, width)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in ids], device=model.device)
    with torch.inference_mode():
        out = model.generate(
            input_ids=padded,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            do_sample=False,
            top_p=None,
            top_k=None,
            eos_token_id=list(stop_ids),
            pad_token_id=pad,
        )
    return out[:, width:].tolist()


def _generation(new: list[int], tokenizer, stop_ids) -> Generation:
    """Cut at the first stop token: what follows in a batch is padding."""
    end = next((i for i, token in enumerate(new) if token in stop_ids), None)
    kept = new if end is None else new[: end + 1]
    return Generation(
        tokenizer.decode(kept), tuple(kept), LIMIT if end is None else tokenizer.convert_ids_to_tokens(new[end])
    )


@contextmanager
def _contiguous_head(model):
    """Hand the head contiguous rows: of a strided slice, torch on a CPU copies the 335 MB head for every batch."""
    head = model.get_output_embeddings()
    hook = head.register_forward_pre_hook(lambda module, arguments: (arguments[0].contiguous(), *arguments[1:]))
    try:
        yield
    finally:
        hook.remove()
