"""Several rows, one prompt: rows that begin alike share the computation of what they have in common.

Nine tenths of a row are its tool declarations. Rows that declare the same tools can stand in one sequence behind a
single copy of them::

    prefix | branch 1 | branch 2 | ...          position ids: 0 ... p-1 | p ... | p ... | ...

A branch attends to the prefix and to itself, never to another branch, and its positions go on from the prefix. Each
row's loss is then exactly what it is alone; ``tests/helpers/test_packing.py`` compares them. The idea is tree
attention, as in speculative decoding (Miao et al., "SpecInfer", 2023, section 4), turned to training.
"""

from __future__ import annotations

from dataclasses import dataclass

from .errors import CourseError
from .masking import IGNORED


def pack(ids: list[list[int]], labels: list[list[int]]) -> dict:
    """Rows as one sequence: ``input_ids``, ``labels``, ``position_ids`` and ``branch`` (0 is the prefix), all (N,).

    The prefix ends where the rows part, and a token before the first that carries loss: what predicts that one belongs
    to its branch. The first token of a branch follows another branch's last, so it carries none.
    """
    unlabelled = min(next((i for i, label in enumerate(row) if label != IGNORED), len(row)) for row in labels)
    limit = max(0, unlabelled - 1)
    start = next((i for i in range(limit) if len({row[i] for row in ids}) > 1), limit)
    packed = {
        "input_ids": list(ids[0][:start]),
        "labels": [IGNORED] * start,
        "position_ids": list(range(start)),
        "branch": [0] * start,
    }
    for number, (row, row_labels) in enumerate(zip(ids, labels, strict=True), 1):
        packed["input_ids"] += row[start:]
        packed["labels"] += [IGNORED, *row_labels[start + 1 :]]
        packed["position_ids"] += range(start, len(row))
        packed["branch"] += [number] * (len(row) - start)
    return packed


def runs(tools: list[str], size: int) -> list[slice]:
    """Where to cut rows so that those of a piece declare the same tools (a JSON string per row), ``size`` at most.

    Rows without a common prompt would be packed into one sequence as long as all of them. Raises CourseError where no
    two rows in a row declare the same.
    """
    cuts, start = [], 0
    for end in range(1, len(tools) + 1):
        if end == len(tools) or end - start == size or tools[end] != tools[start]:
            cuts.append(slice(start, end))
            start = end
    if 1 < len(tools) == len(cuts):
        raise CourseError(
            "rows that follow each other declare different tools and share no prompt",
            f"load them with dataset.load(..., rows_per_prompt={size}), or train with Recipe(rows_per_prompt=1)",
        )
    return cuts


@dataclass
class Collator:
    """Packed sequences -> a batch with additive masks (B, 1, N, N) for full and for sliding-window layers.

    They come as ``layer_masks``. ``attention_mask`` is (B, N) and says what is no padding, as everywhere: on a GPU
    Unsloth counts a batch's labels with it.
    """

    pad_id: int
    window: int
    dtype: object
    multiple: int = 64  # of the padded length: a CPU's kernels are prepared, and kept, once for each shape

    def __call__(self, rows: list[dict]) -> dict:
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        width = -(-longest // self.multiple) * self.multiple
        padding = {"input_ids": self.pad_id, "labels": IGNORED, "position_ids": 0, "branch": -1}
        batch = {
            k: torch.tensor([list(row[k]) + [fill] * (width - len(row[k])) for row in rows])
            for k, fill in padding.items()
        }
        branch, position = batch.pop("branch"), batch["position_ids"]  # (B, N)
        mine = branch[:, :, None] == branch[:, None, :]
        distance = position[:, :, None] - position[:, None, :]
        allowed = (mine | (branch[:, None, :] == 0)) & (distance >= 0)  # query i, key j
        # padding attends to itself, so that no row of the softmax is empty
        allowed |= torch.eye(width, dtype=torch.bool)
        masks = {
            "full_attention": self._additive(allowed),
            "sliding_attention": self._additive(allowed & (distance < self.window)),
        }
        return {**batch, "attention_mask": (branch >= 0).long(), "layer_masks": masks}

    def _additive(self, allowed):
        import torch

        mask = torch.zeros(allowed.shape, dtype=self.dtype).masked_fill(~allowed, torch.finfo(self.dtype).min)
        return mask[:, None]
