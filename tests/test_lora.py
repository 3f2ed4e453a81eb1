"""Our LoRA layer against PEFT's, its arithmetic, and its rank."""

import pytest
import torch
from peft import LoraConfig, get_peft_model

from helpers import lora


def peft_layer(linear, r, alpha, **options):
    model = get_peft_model(torch.nn.Sequential(linear), LoraConfig(r=r, lora_alpha=alpha, target_modules=["0"], **options))
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


def test_it_starts_as_the_linear_layer_and_bounds_a():
    linear = torch.nn.Linear(640, 256, bias=False)
    ours, x = lora.layer_class()(linear, 32, 64), torch.randn(3, 640)
    assert torch.equal(ours(x), linear(x)) and ours.A.abs().max() <= 640**-0.5


def test_parameters_are_counted_as_peft_counts_them(model):
    assert lora.parameters(32, model.config) == 7_593_984 and lora.parameters(1, model.config) == 237_312
    assert lora.parameters(8, model.config, ("q_proj", "v_proj")) == 18 * 8 * (640 + 1024 + 640 + 256)


def test_best_of_rank_is_the_closest():
    matrix = torch.randn(20, 12, generator=torch.Generator().manual_seed(1))
    singular = torch.linalg.svdvals(matrix)
    for r in (1, 5, 12):
        assert torch.linalg.matrix_rank(lora.best_of_rank(matrix, r), atol=1e-4) == r
        assert (matrix - lora.best_of_rank(matrix, r)).norm() == pytest.approx(singular[r:].norm().item(), abs=1e-4)


def test_the_figure_names_its_settings(model):
    assert "α/r = 2 " in lora.rank_figure(32, 64, model.config)._suptitle.get_text()
