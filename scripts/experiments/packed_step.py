"""A training step near the card's speed: rows packed behind each other, layers compiled, logits only where labels are.

Rows of a step stand in one sequence of a fixed number of tokens, so that nothing is padded and kernels are compiled
once. A row attends to itself alone and its positions begin at 0, so that its loss is what it is alone
(``tests/scripts/test_packed_step.py``). On a GPU attention is PyTorch's FlexAttention (Dong et al. 2024), which skips
the blocks between rows; elsewhere, scaled dot products under a dense mask.

The idea of packing without cross-attention: Krell et al., "Efficient Sequence Packing without Cross-contamination",
2021, section 3.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext

import numpy as np
import torch

from helpers import masking
from helpers.checkpoints import without_adapter
from helpers.environment import multiplies_bf16

TOKENS = 24576  # of a step: some 35 rows
BLOCK = 128  # FlexAttention's; TOKENS and GRAIN are multiples
GRAIN = 10 * BLOCK
DEVICE = "cuda" if torch.cuda.device_count() else "cpu"
FLEX = DEVICE == "cuda"  # it has no backward pass on a CPU
HALF = torch.bfloat16 if DEVICE == "cuda" or multiplies_bf16() else torch.float32


def pack(rows: list[tuple], width: int) -> dict[str, torch.Tensor]:
    """Rows, each (ids, labels), behind each other: input_ids, position_ids and row, all (width,), on the device.

    And ``predicting``, the positions whose next token carries a label, with these ``targets``, both (n,). ``row``
    numbers the ``rows``; the rest is padding, a row of its own; ``edges`` are the row numbers at each block's ends.
    Raises ValueError for rows that are too long together.
    """
    lengths = [len(ids) for ids, _ in rows]
    if sum(lengths) > width:
        raise ValueError(f"{sum(lengths)} tokens do not fit into {width}")
    lengths.append(width - sum(lengths))
    padding = np.zeros(lengths[-1], "int64"), np.full(lengths[-1], masking.IGNORED)
    ids, labels = (np.concatenate(each).astype("int64") for each in zip(*rows, padding, strict=True))
    position = np.concatenate([np.arange(length) for length in lengths])
    labelled = np.flatnonzero((labels != masking.IGNORED) & (position > 0))
    row = np.repeat(np.arange(len(lengths)), lengths)
    told = {
        "input_ids": ids, "position_ids": position, "row": row,
        "predicting": labelled - 1, "targets": labels[labelled],
    }  # fmt: skip
    tensors = {key: torch.from_numpy(value).to(DEVICE, non_blocking=True) for key, value in told.items()}
    return tensors | {"rows": len(rows), "edges": np.stack([row[::BLOCK], row[BLOCK - 1 :: BLOCK]])}


def attention_masks(packed: dict, window: int) -> dict:
    """Masks of full and of sliding-window layers for the rows of a packed sequence, as Gemma 3 takes them."""
    row = packed["row"]

    def full(_batch, _head, query, key):
        return (query >= key) & (row[query] == row[key])

    def sliding(batch, head, query, key):
        return full(batch, head, query, key) & (query - key < window)

    rules = {"full_attention": (full, len(row)), "sliding_attention": (sliding, window)}
    if FLEX:
        return {kind: block_mask(packed["edges"], *rule) for kind, rule in rules.items()}
    place = torch.arange(len(row), device=row.device)
    return {kind: rule(0, 0, place[:, None], place[None, :])[None, None] for kind, (rule, _) in rules.items()}


def block_mask(edges: np.ndarray, rule, window: int):
    """FlexAttention's mask for ``rule``, from the first and last row number of each block: ``edges`` (2, T / BLOCK).

    A block of queries meets a block of keys when they share a row and are near enough; where nothing in it is masked,
    the rule is not asked.
    """
    from torch.nn.attention.flex_attention import BlockMask

    first, last = edges
    block = np.arange(len(first))
    back = (block[:, None] - block[None, :]) * BLOCK  # tokens from a key's block to a query's
    meets = (back >= 0) & (last[None, :] >= first[:, None]) & (back - BLOCK + 1 < window)
    whole = (back > 0) & (first[None, :] == last[:, None]) & (back + BLOCK - 1 < window)
    told = []
    for chosen in (meets & ~whole, whole):
        order = np.argsort(~chosen, axis=1, kind="stable")  # the chosen blocks first
        told += [chosen.sum(1), order]
    tensors = [torch.from_numpy(each.astype("int32"))[None, None].to(DEVICE, non_blocking=True) for each in told]
    return BlockMask.from_kv_blocks(*tensors, BLOCK_SIZE=BLOCK, mask_mod=rule)


def load_base(checkpoint, dtype: torch.dtype = HALF):
    """The frozen base model for packed steps, on the device, without a cache of keys and values."""
    from transformers import AutoModelForCausalLM

    attention = "flex_attention" if FLEX else "sdpa"
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=dtype, attn_implementation=attention)
    model.config.use_cache = False
    return model.to(DEVICE)


def compile_layers(model) -> None:
    """Compile every decoder layer, for training steps of one shape; layers alike share what was compiled.

    Call it after the adapter was added. Generation goes another way: ``prepare_generation``.
    """
    torch._dynamo.config.automatic_dynamic_shapes = False  # a second shape is another model's, not another length
    torch._dynamo.config.recompile_limit = 64  # beyond it a layer would silently run as it is
    for layer in without_adapter(model).model.layers:
        layer.compile(dynamic=False)


def plain_layers(model) -> None:
    """Undo ``compile_layers``."""
    for layer in without_adapter(model).model.layers:
        layer._compiled_call_impl = None


@contextmanager
def uncompiled(model):
    """Plain layers for a while, in the midst of training; what was compiled is kept and comes back."""
    layers = list(without_adapter(model).model.layers)
    kept = [layer._compiled_call_impl for layer in layers]
    plain_layers(model)
    try:
        yield
    finally:
        for layer, compiled in zip(layers, kept, strict=True):
            layer._compiled_call_impl = compiled


def prepare_generation(model) -> None:
    """Plain layers, keys and values kept, an attention for rows that are padded: the model is ready to generate."""
    plain_layers(model)
    model.config.use_cache = True
    model.set_attn_implementation("sdpa")


def hidden_states(model, packed: dict) -> torch.Tensor:
    """The last layer's output for every position of a packed sequence, (width, d)."""
    causal = without_adapter(model)
    masks = attention_masks(packed, causal.config.sliding_window)
    return causal.model(
        input_ids=packed["input_ids"][None], position_ids=packed["position_ids"][None], attention_mask=masks
    ).last_hidden_state[0]


def packed_loss(model, packed: dict, hidden: torch.Tensor | None = None, normalization="window") -> torch.Tensor:
    """Cross-entropy of the labels of a packed sequence, in nats.

    ``normalization``: their mean ("window"), their "sum", or the mean over four quarters of the rows of each one's mean
    ("means"), which is what averaging over micro-batches gives.
    """
    hidden = hidden_states(model, packed) if hidden is None else hidden
    head, place, targets = without_adapter(model).lm_head, packed["predicting"], packed["targets"]
    if normalization == "means":
        quarter = packed["row"][place] * 4 // packed["rows"]
        parts = [quarter == number for number in range(4)]
        means = [masking.summed_cross_entropy(head, hidden[place[p]], targets[p]) / p.sum() for p in parts]
        return torch.stack(means).mean()
    total = masking.summed_cross_entropy(head, hidden[place], targets)
    return total if normalization == "sum" else total / len(targets)


def blindfold(model, packed: dict) -> list:
    """Cut the gradient at the prompt's keys and values, the only way from the loss to the prompt. Returns the hooks."""
    written = torch.zeros_like(packed["row"], dtype=torch.bool)
    written[packed["predicting"] + 1] = True

    def cut(_module, _arguments, output):
        return torch.where(written[None, :, None], output, output.detach())

    projections = [module for name, module in model.named_modules() if name.endswith(("k_proj", "v_proj"))]
    return [module.register_forward_hook(cut) for module in projections]


def half_precision():
    """Products in bfloat16 where that is fast; the adapter's weights stay in float32."""
    if HALF is not torch.bfloat16:
        return nullcontext()
    return torch.autocast(DEVICE, dtype=torch.bfloat16)


def batches(
    pools: dict[str, list[int]], shares: dict[str, float], tokens: int, seed: int, rows: int = 0
) -> Iterator[list[tuple]]:
    """Steps without end: (pool, row number) pairs, ``rows`` of them or as many as ``tokens`` hold.

    ``pools`` holds the length of every row of each pool, ``shares`` how many of the rows come from it. Every row of a
    pool comes once before any comes again; a row that does not fit any more begins the next step.
    """
    streams = {name: _endless(len(pools[name]), f"{seed}|{name}") for name in shares}
    owed = dict.fromkeys(shares, 0.0)
    step: list[tuple] = []
    room = tokens
    while True:
        for name, share in shares.items():
            owed[name] += share
        name = max(owed, key=owed.__getitem__)
        owed[name] -= sum(shares.values())
        number = next(streams[name])
        if len(step) == rows if rows else pools[name][number] > room:
            yield step
            step, room = [], tokens
        step.append((name, number))
        room -= pools[name][number]


def widest(steps: Iterable[list[tuple]], pools: dict[str, list[int]]) -> int:
    """Tokens of the longest of these steps, rounded up to ``GRAIN``: runs alike then share what was compiled."""
    longest = max(sum(pools[name][number] for name, number in step) for step in steps)
    return -(-longest // GRAIN) * GRAIN


def _endless(rows: int, seed: str) -> Iterator[int]:
    draw = random.Random(seed)
    while True:
        yield from draw.sample(range(rows), rows)


@torch.no_grad()
def held_out_loss(model, rows: list[tuple], width: int | None = None) -> float:
    """Mean cross-entropy of rows, in nats a label, in sequences of ``width`` tokens (``TOKENS`` unless given)."""
    model.eval()
    total = count = 0.0
    width = width or TOKENS
    while rows:
        fitting = int(np.searchsorted(np.cumsum([len(ids) for ids, _ in rows]), width, side="right"))
        packed = pack(rows[: max(1, fitting)], width)
        with half_precision():
            total += packed_loss(model, packed).item() * len(packed["targets"])
        count += len(packed["targets"])
        rows = rows[packed["rows"] :]
    return total / count
