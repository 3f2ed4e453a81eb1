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
