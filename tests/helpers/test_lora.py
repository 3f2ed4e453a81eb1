"""Our LoRA layer against PEFT's, its arithmetic, and its rank."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from helpers.figures import notebook_02
from helpers.probes import lora


def peft_layer(linear, r, alpha, **options):
    model = get_peft_model(
        torch.nn.Sequential(linear), LoraConfig(r=r, lora_alpha=alpha, target_modules=["0"], **options)
    )
    return model.base_model.model[0]


@pytest.mark.parametrize(("r", "alpha"), [(1, 2), (8, 16), (32, 64)])
def test_the_layer_is_pefts(r, alpha):
    torch.manual_seed(0)
    linear, x = torch.nn.Linear(64, 48, bias=False), torch.randn(5, 64)
    theirs = peft_layer(linear, r, alpha)
    ours = lora.layer_class()(theirs.base_layer, r, alpha)
    torch.nn.init.normal_(theirs.lora_B["default"].weight)
    with torch.no_grad():
        ours.A.copy_(theirs.lora_A["default"].weight)
        ours.B.copy_(theirs.lora_B["default"].weight)
    assert torch.allclose(ours(x), theirs(x), atol=1e-4)
    assert torch.allclose(lora.delta(theirs), ours.scaling * ours.B @ ours.A, atol=1e-5)
    assert torch.allclose(theirs.get_delta_weight("default"), lora.delta(theirs), atol=1e-5)


@pytest.mark.parametrize("scale", [1.0, 1e-6])
def test_the_norm_is_that_of_the_whole_updates(scale):
    net = torch.nn.Sequential(torch.nn.Linear(24, 16), torch.nn.Linear(16, 8))
    net = get_peft_model(net, LoraConfig(r=4, lora_alpha=12, target_modules=["0", "1"]))
    assert lora.delta_norm(net) == 0.0  # B is 0
    for module in lora.layers(net).values():
        torch.nn.init.normal_(module.lora_B["default"].weight, std=scale)
    whole = sum(lora.delta(module).pow(2).sum().item() for module in lora.layers(net).values()) ** 0.5
    assert lora.delta_norm(net) == pytest.approx(whole, rel=1e-5)


def test_it_starts_as_the_linear_layer_and_bounds_a():
    linear = torch.nn.Linear(640, 256, bias=False)
    ours, x = lora.layer_class()(linear, 32, 64), torch.randn(3, 640)
    assert torch.equal(ours(x), linear(x)) and ours.A.abs().max() <= 640**-0.5


@pytest.mark.slow
def test_parameters_are_counted_as_peft_counts_them(model):
    assert lora.parameters(32, model.config) == 7_593_984 and lora.parameters(1, model.config) == 237_312
    assert lora.parameters(8, model.config, ("q_proj", "v_proj")) == 18 * 8 * (640 + 1024 + 640 + 256)


def test_best_of_rank_is_the_closest():
    matrix = torch.randn(20, 12, generator=torch.Generator().manual_seed(1))
    singular = torch.linalg.svdvals(matrix)
    for r in (1, 5, 12):
        assert torch.linalg.matrix_rank(lora.best_of_rank(matrix, r), atol=1e-4) == r
        assert (matrix - lora.best_of_rank(matrix, r)).norm() == pytest.approx(singular[r:].norm().item(), abs=1e-4)


@pytest.mark.slow
def test_the_figure_names_its_settings(model):
    assert "α/r = 2 " in notebook_02.rank_cost(32, 64, model.config)._suptitle.get_text()


def test_singular_values_are_those_of_the_whole_update():
    theirs = peft_layer(torch.nn.Linear(64, 48, bias=False), 6, 12)
    torch.nn.init.normal_(theirs.lora_B["default"].weight, generator=torch.Generator().manual_seed(2))
    whole = torch.linalg.svdvals(lora.delta(theirs))
    assert torch.allclose(lora.singular_values(theirs), whole[:6], atol=1e-4) and whole[6:].max() < 1e-4


def test_effective_rank_counts_what_matters():
    assert lora.effective_rank(torch.ones(8)) == pytest.approx(8, abs=1e-4)
    assert lora.effective_rank(torch.tensor([5.0, 0, 0])) == pytest.approx(1, abs=1e-4)
    assert 1 < lora.effective_rank(torch.tensor([3.0, 1.0])) < 2


@pytest.mark.parametrize("k", [1, 2, 6, 20])
def test_a_truncated_update_is_the_closest_of_its_rank(k):
    model = get_peft_model(
        torch.nn.Sequential(torch.nn.Linear(40, 24), torch.nn.Linear(24, 30)),
        LoraConfig(r=6, lora_alpha=12, target_modules=["0", "1"]),
    )
    for module in lora.layers(model).values():
        torch.nn.init.normal_(module.lora_B["default"].weight, generator=torch.Generator().manual_seed(3))
    wanted = {name: lora.best_of_rank(lora.delta(module), k) for name, module in lora.layers(model).items()}
    lora.truncate(model, k)
    assert len(wanted) == 2
    for name, module in lora.layers(model).items():
        torch.testing.assert_close(lora.delta(module), wanted[name], atol=1e-4, rtol=1e-4)
