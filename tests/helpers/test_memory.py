"""The ledger counts what is alive, once.

The ways of checkpointing change bytes and calls and never a gradient; kernels are told by their names.
"""

import gc
import weakref

import pytest
import torch

from helpers.errors import CourseError
from helpers.probes import architecture, checkpointing, memory
from scripts.experiments import kernels


@pytest.fixture(scope="module")
def tiny():
    """A random two-layer Gemma with a LoRA adapter, on the CPU."""
    from peft import LoraConfig, get_peft_model
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=128,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,
        sliding_window=8,
        layer_types=["sliding_attention", "full_attention"],
        attn_implementation="eager",
        use_cache=False,
    )
    model = get_peft_model(
        Gemma3ForCausalLM(config).to(torch.bfloat16), LoraConfig(r=4, target_modules=["q_proj", "down_proj"])
    ).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)  # at zero half of the gradients would be zero
    return model


@pytest.fixture
def ids():
    return torch.arange(16)[None] * 3 + 40  # (1, 16)


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


def test_the_ledger_sees_a_tensor_come_go_and_change_its_purpose(tiny, ids):
    optimizer = torch.optim.AdamW([p for p in tiny.parameters() if p.requires_grad])
    checkpointing.step(tiny, ids, optimizer=optimizer)
    found = checkpointing.step(tiny, ids, optimizer=optimizer)
    ledger = found["ledger"]
    kinds = ledger.marks["backward"].by("category")
    adapters = sum(p.nbytes for p in tiny.parameters() if p.requires_grad)
    assert kinds["adapters"] == kinds["gradients"] == adapters
    assert kinds["optimizer"] == pytest.approx(2 * adapters, rel=0.01)  # two moments, and a step counter each
    assert kinds["weights"] >= sum(p.nbytes for p in tiny.parameters() if not p.requires_grad)
    assert ledger.marks["forward"].by("category")["saved"] > kinds.get("saved", 0)
    assert ledger.peak.total == max(map(sum, ledger.timeline)) >= ledger.marks["forward"].total
    assert (
        sum(ledger.peak.by("module").values()) == sum(ledger.peak.by("category", "kind").values()) == ledger.peak.total
    )


def test_a_ghost_on_meta_has_the_bytes_of_the_real_model():
    """On ``meta`` nothing is computed; the ledger must come to the same peak, up to what the CPU's kernels keep."""
    from helpers import checkpoints

    checkpoint = checkpoints.ensure("gemma")
    real, ghost = checkpointing.adapted(checkpoint, device="cpu"), checkpointing.adapted(checkpoint, device="meta")
    peaks = [
        checkpointing.step(model, checkpointing.random_ids(model, 1, 32), loss="response", labelled=8)[
            "ledger"
        ].peak.total
        for model in (real, ghost)
    ]
    assert peaks[0] == pytest.approx(peaks[1], rel=0.02)


def test_every_way_of_checkpointing_gives_the_same_gradients(tiny, ids):
    found = {mode: checkpointing.step(tiny, ids, mode) for mode in checkpointing.MODES}
    for mode, step in found.items():
        assert step["loss"] == found["none"]["loss"], mode
        for name, gradient in step["gradients"].items():
            assert torch.equal(gradient, found["none"]["gradients"][name]), (mode, name)
    assert {mode: (step["calls"]["q_proj"], step["calls"]["act_fn"]) for mode, step in found.items()} == {
        "none": (2, 2),
        "layer": (4, 4),
        "nonlinearity": (2, 4),
        "offload": (4, 4),
    }
    saved = {mode: step["ledger"].marks["forward"].by("category")["saved"] for mode, step in found.items()}
    assert saved["layer"] < saved["none"] / 2
    # all is switched off again
    assert not tiny.get_base_model().is_gradient_checkpointing and "forward" not in vars(
        tiny.get_base_model().model.layers[0].mlp
    )


def test_three_losses_are_one(tiny, ids):
    for labelled in (4, None):
        values = {loss: checkpointing.loss_of(tiny, ids, loss, labelled).item() for loss in checkpointing.LOSSES}
        assert max(values.values()) - min(values.values()) < 1e-3, values


@pytest.mark.parametrize(("call", "words"), [
    (lambda model, ids: checkpointing.loss_of(model, ids, "half"), "no loss 'half'"),
    (lambda model, ids: checkpointing.step(model, ids, "some"), "no checkpointing mode 'some'"),
])  # fmt: skip
def test_what_there_is_not_is_named(tiny, ids, call, words):
    with pytest.raises(CourseError, match=words):
        call(tiny, ids)


def test_sizes_by_formula():
    assert memory.logits_bytes(1) == 2**20
    assert memory.score_bytes(1024) == 16 * 1024**2


def test_a_function_of_our_own_shows_in_the_graph():
    class Twice(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, gradient):
            return 2 * gradient

    nodes = kernels.graph_nodes(Twice.apply(torch.ones(3, requires_grad=True)).sum())
    assert nodes["TwiceBackward"] == 1 and nodes["SumBackward0"] == 1 and nodes["AccumulateGrad"] == 1


def test_kernels_have_authors():
    by_hand = kernels.handwritten_kernels()
    # the last by decorator, the others in a call
    assert {"_rms_layernorm_backward", "_rope_embedding_QK", "_fl_backward_kernel"} <= by_hand
    told = {
        name: kernels.kernel_origin(name, by_hand)
        for name in (
            "Memcpy DtoH (Device -> Pinned)",
            "triton_poi_fused_mul_1",
            "_rope_embedding_QK",
            "_fg_kernel",
            "nvjet_sm90_tst_64x80",
        )
    }
    assert list(told.values()) == ["copy", "torch.compile", "Triton by hand", "Triton by hand", "library"]


def test_the_peak_of_a_recording_is_found_with_its_holders():
    def event(action, address, size, name=""):
        return {
            "action": action,
            "addr": address,
            "size": size,
            "frames": [{"filename": f"/x/{name}.py", "name": name}],
        }

    events = [
        event("alloc", 1, 10, "a"),
        event("alloc", 2, 30, "b"),
        event("free_completed", 1, 10),
        event("alloc", 3, 5, "c"),
        event("free_completed", 9, 100),
    ]
    moment = kernels.peak_of_history({"device_traces": [events]}, baseline=100)
    assert moment.total == 140 and moment.by("kind") == {"": 100, "b": 30, "a": 10}


def test_an_overflow_is_reported_as_infinite(tiny, ids):
    found = architecture.largest_activations(tiny, [ids])
    assert len(found["residual"]) == 2 and all(0 < v < 1e4 for v in found["residual"])
    layer = tiny.get_base_model().model.layers[1]
    handle = layer.register_forward_hook(
        lambda m, a, out: out * float("nan") if isinstance(out, torch.Tensor) else (out[0] * float("nan"), *out[1:])
    )
    try:
        assert architecture.largest_activations(tiny, [ids])["residual"][1] == float("inf")
    finally:
        handle.remove()
