"""The ledger counts what is alive, once."""

import gc
import weakref

import pytest
import torch

from helpers.probes import checkpointing, memory


def test_a_saved_storage_counts_once_and_parameters_not_at_all():
    layer = torch.nn.Linear(8, 8, bias=False)
    x = torch.randn(4, 8)
    with memory.saved(layer) as found:
        y = layer(x)
        loss = (y.view(2, 16).pow(2).sum() + y.pow(2).sum()).sqrt()
    # x for the weight's gradient, y once though two views are saved
    assert [t["shape"] for t in found.tensors][:2] == [(4, 8), (2, 16)]
    assert found.bytes() == x.nbytes + y.nbytes + loss.nbytes == found.bytes("cpu")
    assert found.bytes("cuda") == 0


def test_saved_tensors_do_not_keep_their_graph():
    with memory.saved(torch.nn.Softmax(-1)):
        y = torch.randn(4, 8, requires_grad=True).softmax(-1)  # softmax saves its own output
        seen = weakref.ref(y.untyped_storage())
    del y
    gc.collect()
    assert seen() is None


def test_the_ledger_sees_a_tensor_come_go_and_change_its_purpose(tiny_lora, few_ids):
    optimizer = torch.optim.AdamW([p for p in tiny_lora.parameters() if p.requires_grad])
    checkpointing.step(tiny_lora, few_ids, optimizer=optimizer)
    found = checkpointing.step(tiny_lora, few_ids, optimizer=optimizer)
    ledger = found["ledger"]
    kinds = ledger.marks["backward"].by("category")
    adapters = sum(p.nbytes for p in tiny_lora.parameters() if p.requires_grad)
    assert kinds["adapters"] == kinds["gradients"] == adapters
    assert kinds["optimizer"] == pytest.approx(2 * adapters, rel=0.01)  # two moments, and a step counter each
    assert kinds["weights"] >= sum(p.nbytes for p in tiny_lora.parameters() if not p.requires_grad)
    assert ledger.marks["forward"].by("category")["saved"] > kinds.get("saved", 0)
    assert ledger.peak.total == max(map(sum, ledger.timeline)) >= ledger.marks["forward"].total
    assert (
        sum(ledger.peak.by("module").values()) == sum(ledger.peak.by("category", "kind").values()) == ledger.peak.total
    )


def test_sizes_by_formula():
    assert memory.logits_bytes(1) == 2**20
    assert memory.score_bytes(1024) == 16 * 1024**2
