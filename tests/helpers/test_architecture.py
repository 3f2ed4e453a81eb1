"""First principles against transformers: attention, norm, RoPE and cache of the real model."""

import pytest
import torch

from helpers import checkpoints, scoring
from helpers.probes import architecture


@pytest.fixture(scope="module")
def exact(checkpoint):
    return checkpoints.load_model(checkpoint, dtype="float32")


@pytest.fixture(scope="module")
def ids(exact):
    torch.manual_seed(0)
    return torch.randint(1000, 200_000, (1, 640))  # longer than the window


@pytest.mark.slow
@pytest.mark.parametrize("index", [0, 5, 17])
def test_attention_is_that_of_the_module(index, exact, ids):
    seen = {}
    module = exact.model.layers[index].self_attn
    hook = module.register_forward_hook(
        lambda m, a, kw, out: seen.update(x=kw["hidden_states"], y=out[0]), with_kwargs=True
    )
    with torch.no_grad():
        exact(ids, logits_to_keep=1)
        hook.remove()
        ours, weights = architecture.attention(module, seen["x"], exact.config, index)
    assert (ours - seen["y"]).abs().max() < 1e-4 * seen["y"].abs().max().clamp(min=1)
    assert torch.allclose(weights.sum(-1), torch.ones(()), atol=1e-4)
    beyond = weights[0, 0, 600, : 600 - 511].max() == 0
    assert beyond == (exact.config.layer_types[index] == "sliding_attention")


@pytest.mark.slow
def test_the_whole_model_rebuilt_gives_the_same_logits_and_is_put_back(exact, ids):
    with torch.no_grad():
        before = exact(ids, logits_to_keep=8).logits
        with architecture.rebuilt(exact):
            ours = exact(ids, logits_to_keep=8).logits
        with architecture.rebuilt(exact, ("rope",)):
            without = exact(ids, logits_to_keep=8).logits
        after = exact(ids, logits_to_keep=8).logits
    assert (ours - before).abs().max() < 1e-3 and torch.equal(before, after)
    assert (without - before).abs().max() > 1


@pytest.mark.slow
def test_rms_norm_is_gemmas(exact):
    x = torch.randn(2, 7, 640) * 30
    module = exact.model.layers[3].input_layernorm
    assert torch.allclose(architecture.rms_norm(x, module.weight), module(x), atol=1e-5, rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("n", [64, 512, 700])
def test_cache_bytes_follow_the_formula(n, model):
    with torch.no_grad():
        cache = model(torch.full((1, n), 1000), use_cache=True, logits_to_keep=1).past_key_values
    assert architecture.cache_bytes(cache) == architecture.kv_bytes(
        n, model.config, bytes_per_value=model.dtype.itemsize
    )
    assert architecture.kv_bytes(4096, model.config) == 20_431_872
    assert architecture.kv_bytes(1024, model.config, kv_heads=4, windowed=False) == 72 * 2**20


@pytest.mark.slow
def test_the_budget_adds_up(model):
    budget = architecture.parameter_budget(model)
    assert sum(budget.values()) == 268_098_176 and budget["embedding"] == 167_772_160
    assert 0.0005 < architecture.norm_share_of_flops(model.config) < 0.0008


def test_masks_and_divergence():
    assert architecture.allowed(4, 2).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 1, 1, 0], [0, 0, 1, 1]]
    assert architecture.allowed(3, causal=False).all()
    logits = torch.randn(5, 11)
    assert (
        scoring.token_kl(logits, logits).mean() == pytest.approx(0, abs=1e-6)
        and scoring.token_kl(logits, torch.randn(5, 11)).mean() > 0
    )


def test_an_overflow_is_reported_as_infinite(tiny_lora, few_ids):
    found = architecture.largest_activations(tiny_lora, [few_ids])
    assert len(found["residual"]) == 2 and all(0 < v < 1e4 for v in found["residual"])
    layer = tiny_lora.get_base_model().model.layers[1]
    handle = layer.register_forward_hook(
        lambda m, a, out: out * float("nan") if isinstance(out, torch.Tensor) else (out[0] * float("nan"), *out[1:])
    )
    try:
        assert architecture.largest_activations(tiny_lora, [few_ids])["residual"][1] == float("inf")
    finally:
        handle.remove()


@pytest.fixture(scope="module")
def small():
    """A random model of four blocks, the third global, with a window of 8."""
    from tiny_gemma import tiny_config
    from transformers import Gemma3ForCausalLM

    torch.manual_seed(0)
    kinds = ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"]
    return Gemma3ForCausalLM(tiny_config(num_hidden_layers=4, layer_types=kinds)).eval()


def test_a_norm_that_returns_zeros_shows_where_the_exercise_says(small):
    from helpers.checks.notebook_01 import SHOWS

    ids = torch.randint(3, 128, (1, 6))
    before = [weight.clone() for weight in small.parameters()]
    for name in [name for name, _ in small.model.layers[0].named_modules() if name.endswith("norm")]:
        later, position = SHOWS[name.split(".")[-1]]
        assert architecture.first_change(small, ids, 1, name, least=1e-6) == (1 + later, position)
    assert architecture.first_change(small, ids, 3, "post_feedforward_layernorm") is None
    assert all(torch.equal(a, b) for a, b in zip(before, small.parameters(), strict=True))


def test_a_change_travels_a_window_a_block_until_a_global_one(small):
    ids = torch.randint(3, 128, (1, 40))
    with architecture.windowed(small, 5):
        assert architecture.reach(small, ids, other=(ids[0, 0].item() + 1) % 128) == [4, 8, 39, 39]
        with torch.no_grad():
            cache = small(ids, use_cache=True).past_key_values
        assert [layer.keys.shape[2] for layer in cache.layers] == [4, 4, 40, 4]
    assert small.config.sliding_window == 8


def test_ways_are_timed_in_turn(small):
    x = torch.randn(64, 64)
    times = architecture.timed_in_turn({"once": "x @ x", "more": "[x @ x for _ in range(40)]"}, {"x": x}, 5, 2)
    assert [len(values) for values in times.values()] == [5, 5] and sorted(times["once"])[2] < sorted(times["more"])[2]
    norms = [m for name, m in small.named_modules() if name.endswith("norm")]
    assert 0 < architecture.time_in_norms(small, norms, torch.randint(3, 128, (1, 6))) < 1
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in norms)
