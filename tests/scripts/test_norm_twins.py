"""The twins differ in their norms and in nothing else, and learn."""

import numpy as np
import pytest
import torch

from scripts.experiments import norm_twins

SMALL = {"vocab_size": 64, "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "head_dim": 8}


def test_each_norm_does_what_it_is_called():
    x = torch.randn(3, 5, 64) + 2
    centred = x - x.mean(-1, keepdim=True)
    rms, layer, spread = (norm_twins.normed(x, norm, 0.0) for norm in norm_twins.NORMS)
    assert torch.allclose(rms.pow(2).mean(-1), torch.ones(3, 5)) and rms.mean() > 0.5
    assert torch.allclose(layer, torch.nn.functional.layer_norm(x, (64,), eps=0.0), atol=1e-5)
    assert torch.allclose(spread, x / centred.pow(2).mean(-1, keepdim=True).sqrt(), atol=1e-5)


def test_twins_start_from_the_same_weights_and_see_the_same_batches():
    models = [norm_twins.twin(norm, 7, "cpu", **SMALL) for norm in norm_twins.NORMS]
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)
    ids = torch.arange(12)[None]
    logits = [model(input_ids=ids).logits for model in models]
    assert not torch.allclose(logits[0], logits[1]) and not torch.allclose(logits[0], logits[2])
    data = np.arange(500, dtype="int16")
    one, other = (list(norm_twins.batches(data, 3, 4, 2, 16)) for _ in range(2))
    assert all((a == b).all() and a.shape == (2, 16) for a, b in zip(one, other, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("norm", norm_twins.NORMS)
def test_a_run_learns_and_a_rate_that_is_too_large_is_told(norm, monkeypatch):
    monkeypatch.setattr(norm_twins, "VOCABULARY", 64)
    monkeypatch.setattr(norm_twins, "SIZES", {k: v for k, v in SMALL.items() if k != "vocab_size"})
    pattern = np.tile(np.arange(40, dtype="int16"), 60)
    data = {"train": pattern, "validation": pattern[:800]}
    told = norm_twins.train(norm, 3e-3, 0, data, steps=60, batch=4, length=32)
    assert len(told["loss"]) == len(told["grad_norm"]) == 60
    assert told["loss"][-1] < 0.7 * told["loss"][0] and told["validation"] < told["loss"][0]


def test_the_rate_warms_up_and_falls_to_zero():
    rates = [norm_twins.rate_at(step, 1.0, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.2) and max(rates) == 1.0 and rates[-1] < 0.01
    assert rates[5:] == sorted(rates[5:], reverse=True)
