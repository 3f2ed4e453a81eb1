"""What the model may not forget: text that the base wrote by itself, to be trained on beside calls or to be held to.

The base is given the first words of a sentence, Arabic or English, and goes on by sampling at temperature 1; so the
text stands for what it knows, and nobody's corpus is needed. Two terms can hold an adapter to it: cross-entropy on
these tokens, or the divergence KL(base || adapted) of the next token's distribution at each of them (Li and Hoiem,
"Learning without Forgetting", 2016, section 3, with a language model's own text for the old task's data).
"""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch

from helpers import masking
from helpers.checkpoints import without_adapter

from . import packed_step
from .token_pools import Pool

LENGTH, EACH = 192, 24  # tokens of a text; texts that begin alike
TOKENS = 2048  # of a step
OPENINGS = {
    "arabic": [
        "في صباح يوم", "تقع المدينة على", "كان الرجل العجوز", "أعلنت الوزارة أن", "يعتبر الماء من", "قال الطبيب إن",
        "من أهم فوائد", "تأسست الشركة في", "عندما وصل القطار", "يحتفل الناس كل", "كتب الشاعر في", "تشير الدراسات إلى",
        "لعب الفريق مباراة", "طريقة تحضير الأرز", "هو عالم ولد", "بدأت الحرب عندما", "سألت المعلمة الطلاب",
        "يمكن استخدام الحاسوب", "ارتفعت أسعار النفط", "تعيش الطيور في", "ذهبت أنا وأخي", "السؤال الأول هو",
        "القانون الجديد ينص", "في نهاية القصة",
    ],
    "english": [
        "On the morning of", "The city lies on", "The old man was", "The ministry announced that", "Water is one of",
        "The doctor said that", "One of the main benefits", "The company was founded", "When the train arrived",
        "Every year people celebrate", "The poet wrote in", "Studies suggest that", "The team played a match",
        "How to cook rice", "He is a scientist born", "The war began when", "The teacher asked her",
        "A computer can be used", "Oil prices rose", "Birds live in", "My brother and I went", "The first question is",
        "The new law says", "At the end of the story",
    ],
}  # fmt: skip


@torch.no_grad()
def write(model, tokenizer, folder: Path, seed: int = 0) -> None:
    """Let the base model write, and keep it as FOLDER/plain-000.npz: rows of ids, all labelled."""
    torch.manual_seed(seed)
    starts = ["<bos>" + opening for openings in OPENINGS.values() for opening in openings for _ in range(EACH)]
    batch = tokenizer(starts, add_special_tokens=False, padding=True, padding_side="left", return_tensors="pt")
    written = model.generate(
        **batch.to(model.device), do_sample=True, temperature=1.0, top_k=0, top_p=1.0, max_length=LENGTH,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    rows = [[token for token in row if token != tokenizer.pad_token_id] for row in written.tolist()]
    Pool.of(rows, rows).save(folder / "plain-000.npz")


def held_to(head, base_hidden, hidden) -> torch.Tensor:
    """Mean KL(base || adapted) over positions, in nats; ``base_hidden`` and ``hidden`` are (n, d)."""
    from torch.utils.checkpoint import checkpoint

    def part(before, after):
        before, after = (torch.log_softmax(head(each).float(), -1) for each in (before, after))
        return torch.nn.functional.kl_div(after, before, reduction="sum", log_target=True)

    pieces = zip(base_hidden.split(masking.CHUNK), hidden.split(masking.CHUNK), strict=True)
    return sum(checkpoint(part, *piece, use_reentrant=False) for piece in pieces) / len(hidden)


class Replay:
    """Base-written texts beside the calls of a step, and the term that holds the adapter to them."""

    def __init__(self, kind: str, model, pool: Pool, seed: int):
        """``kind``: "tokens" or "kl"; ``model``: the base with its adapter."""
        self.kind, self.model, self.pool = kind, model, pool
        self.draw = random.Random(f"replay|{seed}")
        self.chosen: list[tuple] = []

    def rows(self) -> list[tuple]:
        """Rows for one step, at most ``TOKENS`` tokens together, labelled for nobody: their loss is ``term``."""
        self.chosen, room = [], TOKENS
        while True:
            ids, _ = self.pool.row(self.draw.randrange(len(self.pool)))
            room -= len(ids)
            if room < 0:
                return self.chosen
            self.chosen.append((ids, np.full(len(ids), masking.IGNORED)))

    def term(self, packed: dict, hidden) -> torch.Tensor:
        """Mean over the tokens of the rows drawn last, which are the last ones of the packed step, in nats."""
        head, n = without_adapter(self.model).lm_head, len(self.chosen)
        place = _followed(packed["row"], packed["rows"] - n, packed["rows"])
        if self.kind == "tokens":
            return masking.summed_cross_entropy(head, hidden[place], packed["input_ids"][place + 1]) / len(place)
        alone = packed_step.pack(self.chosen, TOKENS)
        with torch.no_grad(), self.model.disable_adapter():
            before = packed_step.hidden_states(self.model, alone)[_followed(alone["row"], 0, n)]
        return held_to(head, before, hidden[place])


def _followed(row: torch.Tensor, first: int, end: int) -> torch.Tensor:
    """Positions in rows ``first`` to ``end`` (excluded) whose next token belongs to the same row."""
    return torch.nonzero((row[:-1] >= first) & (row[:-1] < end) & (row[:-1] == row[1:])).squeeze(1)
