"""Rows that share a prompt have the loss and the gradients that they have alone."""

from types import SimpleNamespace

import pytest
import torch

from helpers import dataset, masking, packing, training
from helpers.errors import CourseError
from helpers.masking import IGNORED


def test_pack_shares_the_prefix_and_restarts_positions():
    packed = packing.pack(
        [[2, 5, 6, 7], [2, 5, 8, 9, 10]], [[IGNORED, IGNORED, IGNORED, 7], [IGNORED, IGNORED, IGNORED, 9, 10]]
    )
    assert packed["input_ids"] == [2, 5, 6, 7, 8, 9, 10]
    assert packed["position_ids"] == [0, 1, 2, 3, 2, 3, 4]
    assert packed["branch"] == [0, 0, 1, 1, 2, 2, 2]
    assert packed["labels"] == [IGNORED, IGNORED, IGNORED, 7, IGNORED, 9, 10]


def test_the_prefix_ends_before_a_labelled_token():
    row, labels = [2, 5, 6, 7], [IGNORED, IGNORED, 6, 7]
    packed = packing.pack([row, row], [labels, labels])
    assert packed["branch"] == [0, 1, 1, 1, 2, 2, 2]  # 5 predicts 6 in each branch
    assert packed["labels"] == [IGNORED, IGNORED, 6, 7, IGNORED, 6, 7]
    packed = packing.pack([row, row], [row, row])  # nothing is masked: nothing is shared
    assert packed["branch"] == [1, 1, 1, 1, 2, 2, 2, 2] and packed["labels"] == [IGNORED, 5, 6, 7] * 2


def test_branches_do_not_see_each_other_and_the_window_counts_positions():
    row = packing.pack([[2, 5, 6], [2, 7, 8]], [[IGNORED, IGNORED, 6], [IGNORED, IGNORED, 8]])
    masks = packing.Collator(0, 2, torch.float32, multiple=1)([row])["layer_masks"]
    full, sliding = (masks[k][0, 0] == 0 for k in ("full_attention", "sliding_attention"))
    assert full.int().tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0, 0, 1, 0], [1, 0, 0, 1, 1]]
    assert sliding.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [1, 0, 0, 1, 0],
        [0, 0, 0, 1, 1],
    ]


ALIKE = [[2, 5, 6, 7, 8], [2, 5, 6, 9]]  # one prompt and two answers: what predicts the first token of each is the same
ANSWERS = [[IGNORED] * 3 + [7, 8], [IGNORED] * 3 + [9]]


def test_rows_with_the_same_prompt_have_the_loss_they_have_alone(tiny_lora):
    window = tiny_lora.config.sliding_window
    batch = packing.Collator(0, window, torch.float32, multiple=1)([packing.pack(ALIKE, ANSWERS)])
    together = masking.label_loss(tiny_lora, batch, num_items_in_batch=3)
    pairs = zip(ALIKE, ANSWERS, strict=True)
    alone = sum(masking.label_loss(tiny_lora, masking.pad([i], [a]), num_items_in_batch=3) for i, a in pairs)
    assert together.item() == pytest.approx(alone.item(), abs=1e-3)  # the tiny model is in bfloat16


def test_unsloth_counts_the_labels_of_packed_rows(tiny_lora):
    import unsloth  # noqa: F401  (patches transformers before its zoo may be imported)
    from unsloth_zoo.loss_utils import _unsloth_get_batch_samples  # Trainer.get_batch_samples on a GPU

    batch = packing.Collator(0, 4, torch.float32)([packing.pack(ALIKE, ANSWERS)])
    arguments = SimpleNamespace(average_tokens_across_devices=False, n_gpu=1)
    trainer = SimpleNamespace(model=tiny_lora, args=arguments)
    samples, counted = _unsloth_get_batch_samples(trainer, iter([batch]), 1, torch.device("cpu"))
    assert len(samples) == 1 and counted.item() == 3


def test_loaded_rows_come_in_runs_that_share_their_tools():
    rows = dataset.load("train", tools_per_row=3, rows_per_prompt=8)
    assert len(rows) >= 1500 and len(rows) % 8 == 0 and len(set(rows["id"])) == len(rows)
    for i in range(0, len(rows), 8):
        assert len(set(rows["tools"][i : i + 8])) == 1
    for row in rows.select(range(0, len(rows), 7)):
        dataset.validate(row)
    assert 0.02 < rows["kind"].count("none") / len(rows) < 0.2


@pytest.mark.slow
def test_loss_and_gradient_are_those_of_the_rows_alone(checkpoint):
    recipe = training.Recipe(rank=4, alpha=8, dtype="float32", rows_per_prompt=4)
    model, tokenizer = training.load(recipe, checkpoint)
    torch.manual_seed(0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    rows = dataset.load("train", tools_per_row=2, rows_per_prompt=4).select(range(4))
    packed, found = training.tokenize(rows, tokenizer, recipe)
    assert len(packed) == 1 and len(packed[0]["input_ids"]) < 0.7 * found.tokens
    alone, _ = training.tokenize(rows, tokenizer, training.Recipe(rows_per_prompt=1))

    def total(batches):
        model.zero_grad()
        loss = sum(masking.label_loss(model, batch, num_items_in_batch=found.labelled) for batch in batches)
        loss.backward()
        return loss.item(), [p.grad.clone() for p in model.parameters() if p.grad is not None]

    together, gradients = total([packing.Collator(0, model.config.sliding_window, torch.float32)(packed.to_list())])
    each = [
        {k: torch.tensor([row[k]]) for k in row} | {"attention_mask": torch.ones(1, len(row["input_ids"]))}
        for row in alone.to_list()
    ]
    apart, others = total(each)
    assert together == pytest.approx(apart, abs=1e-4)
    for a, b in zip(gradients, others, strict=True):
        assert torch.allclose(a, b, atol=1e-4, rtol=1e-2)


def test_rows_without_a_common_prompt_are_refused(tokenizer):
    rows = dataset.load("train", tools_per_row=3).select(range(8))
    with pytest.raises(CourseError, match="declare different tools.*rows_per_prompt=8"):
        training.tokenize(rows, tokenizer, training.Recipe(rows_per_prompt=8))


def test_rows_are_cut_where_their_tools_change():
    assert packing.runs(list("aaabbc"), 2) == [slice(0, 2), slice(2, 3), slice(3, 5), slice(5, 6)]
    assert packing.runs(list("aaaa"), 8) == [slice(0, 4)] and packing.runs(["a"], 8) == [slice(0, 1)]
    with pytest.raises(CourseError, match="declare different tools"):
        packing.runs(list("abab"), 8)
