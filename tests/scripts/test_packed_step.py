"""Packed steps: a row's loss is what it is alone, masks are the dense ones, every row comes once before any again."""

import random

import numpy as np
import pytest
import torch
from tiny_gemma import tiny_config

from helpers import masking, training
from scripts.experiments import packed_step


@pytest.fixture(scope="module")
def model():
    from transformers import Gemma3ForCausalLM

    torch.manual_seed(0)
    found = training.add_adapter(Gemma3ForCausalLM(tiny_config(use_cache=False)).eval(), 4)
    for name, parameter in found.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return found


def rows(seed: int, count: int = 6, longest: int = 40) -> list[tuple]:
    draw = random.Random(seed)
    ids = [[draw.randrange(1, 128) for _ in range(draw.randrange(10, longest))] for _ in range(count)]
    return [
        (row, [token if i > 5 and draw.random() < 0.4 else masking.IGNORED for i, token in enumerate(row)])
        for row in ids
    ]


def gradients(model, loss) -> torch.Tensor:
    model.zero_grad()
    loss.backward()
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("seed", range(3))
def test_loss_and_gradient_are_those_of_the_padded_batch(model, seed):
    told = rows(seed)
    padded = masking.label_loss(model, masking.pad(*map(list, zip(*told, strict=True))))
    packed = packed_step.packed_loss(model, packed_step.pack(told, 256))
    assert packed.item() == pytest.approx(padded.item(), rel=1e-5)
    ours, theirs = gradients(model, packed), gradients(model, padded)
    assert (ours - theirs).norm() / theirs.norm() < 1e-5


def test_a_row_that_sees_its_neighbour_would_be_noticed(model):
    told = rows(3)
    batch = packed_step.pack(told, 256)
    alone = packed_step.packed_loss(model, batch).item()
    merged = batch | {"row": torch.zeros_like(batch["row"])}
    assert packed_step.packed_loss(model, merged).item() != pytest.approx(alone, rel=1e-4)


def test_the_loss_of_rows_held_out_is_the_mean_over_their_labels(model, monkeypatch):
    monkeypatch.setattr(packed_step, "TOKENS", 128)  # the rows need several sequences
    told = rows(4, 12)
    padded = masking.label_loss(model, masking.pad(*map(list, zip(*told, strict=True)))).item()
    exact = packed_step.HALF is torch.float32
    assert packed_step.held_out_loss(model, told) == pytest.approx(padded, rel=1e-5 if exact else 1e-2)


def test_normalizations(model):
    told = rows(6, 8)
    batch = packed_step.pack(told, 512)
    mean, total, means = (packed_step.packed_loss(model, batch, normalization=n) for n in ("window", "sum", "means"))
    assert total.item() == pytest.approx(mean.item() * len(batch["targets"]), rel=1e-5)
    quarters = [packed_step.packed_loss(model, packed_step.pack(told[i : i + 2], 256)).item() for i in range(0, 8, 2)]
    assert means.item() == pytest.approx(np.mean(quarters), rel=1e-5) and means.item() != pytest.approx(mean.item())


def test_a_blindfold_leaves_the_loss_and_takes_the_prompt_from_the_gradient(model):
    batch = packed_step.pack(rows(7), 256)
    whole = packed_step.packed_loss(model, batch)
    through = gradients(model, whole)
    hooks = packed_step.blindfold(model, batch)
    cut = packed_step.packed_loss(model, batch)
    without = gradients(model, cut)
    for hook in hooks:
        hook.remove()
    assert cut.item() == pytest.approx(whole.item(), rel=1e-6) and (through - without).norm() > 0.01 * through.norm()


def test_steps_of_a_number_of_rows():
    order = packed_step.batches({"a": [50] * 20}, {"a": 1.0}, 10**6, 0, rows=4)
    steps = [next(order) for _ in range(5)]
    assert {len(step) for step in steps} == {4} and len({number for step in steps for _, number in step}) == 20


def test_a_sequence_is_as_wide_as_the_longest_step_needs():
    pools = {"a": [50, 1000, 281]}
    assert packed_step.widest([[("a", 0)], [("a", 1), ("a", 2)]], pools) == 2 * packed_step.GRAIN  # 1,281 tokens
    assert packed_step.widest([[("a", 1), ("a", 2)], [("a", 0)] * 2][1:], pools) == packed_step.GRAIN


def test_too_many_rows_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        packed_step.pack(rows(0), 32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("window", [100, 300, 10**6])
def test_blocks_hold_every_pair_that_attends(seed, window, monkeypatch):
    """FlexAttention asks the rule in blocks named partial, never in those named full, and skips the rest."""
    batch = packed_step.pack(rows(seed, 5, 700), 4096)
    monkeypatch.setattr(packed_step, "FLEX", False)
    masks = packed_step.attention_masks(batch, window)
    kind = "sliding_attention" if window < 10**6 else "full_attention"
    dense = masks[kind][0, 0].numpy().reshape(32, 128, 32, 128).swapaxes(1, 2)  # (query block, key block, 128, 128)
    found = packed_step.block_mask(batch["edges"], lambda *a: True, window)
    listed = np.zeros((2, 32, 32), bool)
    pairs = ((found.kv_num_blocks, found.kv_indices), (found.full_kv_num_blocks, found.full_kv_indices))
    for kind_of_block, (numbers, places) in zip(listed, pairs, strict=True):
        for query in range(32):
            kind_of_block[query, places[0, 0, query, : numbers[0, 0, query]]] = True
    partial, full = listed
    assert not (partial & full).any()
    assert dense[full].all()  # nothing masked where the rule is not asked
    assert not dense[~(partial | full)].any()  # nothing lost where nobody looks


def test_every_row_comes_once_before_any_again_and_steps_are_full():
    draw = random.Random(0)
    pools = {"a": [draw.randrange(50, 300) for _ in range(90)], "b": [draw.randrange(50, 300) for _ in range(30)]}
    order, seen = packed_step.batches(pools, {"a": 0.75, "b": 0.25}, 2000, 0), []
    for step in (next(order) for _ in range(12)):
        used = sum(pools[name][number] for name, number in step)
        assert 2000 - 300 < used <= 2000
        seen += step
    shares = [name for name, _ in seen].count("a") / len(seen)
    assert shares == pytest.approx(0.75, abs=0.02)
    first = [number for name, number in seen if name == "a"][:90]
    assert sorted(first) == list(range(90))


@pytest.mark.slow
def test_compiled_layers_give_the_same_loss(model):
    told = rows(5)
    plain = packed_step.packed_loss(model, packed_step.pack(told, 256)).item()
    packed_step.compile_layers(model)
    try:
        assert packed_step.packed_loss(model, packed_step.pack(told, 256)).item() == pytest.approx(plain, rel=1e-4)
    finally:
        packed_step.plain_layers(model)
