"""What is counted and timed of a step, on a small random Gemma 3."""

import pytest
import torch
from tiny_gemma import tiny_config

from scripts.experiments import step_costs


@pytest.fixture
def model():
    from transformers import Gemma3ForCausalLM

    torch.manual_seed(0)
    return Gemma3ForCausalLM(tiny_config(head_dim=8)).train()


@pytest.mark.parametrize(("checkpointing", "times"), [(False, 1), (True, 2)])
def test_a_projection_that_runs_again_is_counted_again(checkpointing, times, model):
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    ids = torch.randint(2, 100, (1, 24))
    found = step_costs.query_products(model, lambda: model(input_ids=ids, labels=ids).loss.backward(), 24)
    layers = model.config.num_hidden_layers
    assert found["calls"]["q_proj"] == times * layers
    assert found["products"] == (times + 1) * layers  # with those of o_proj's backward pass


def operations(work) -> int:
    """How many operations reach PyTorch's dispatcher: a clock that other work on the machine cannot disturb."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Counter(TorchDispatchMode):
        count = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.count += 1
            return func(*args, **(kwargs or {}))

    with Counter() as counter:
        work()
    return counter.count


def test_a_step_takes_longer_than_its_forward_pass_and_norms_take_time(model, monkeypatch):
    assert step_costs.seconds(lambda: None, 3) >= 0
    monkeypatch.setattr(step_costs, "seconds", operations)
    ids = torch.randint(2, 100, (1, 64))
    told = step_costs.passes(model, {"input_ids": ids, "labels": ids})
    assert told["step_seconds"] > told["forward_seconds"] > 0
    share = step_costs.norm_share(model.eval(), ids)
    assert share["norms"] == 6 * 2 + 1 and share["forward_seconds"] > share["without_norms_seconds"] > 0
    before = model(input_ids=ids).logits
    step_costs.norm_share(model, ids)
    assert torch.equal(before, model(input_ids=ids).logits)  # the norms are back in their places
    assert len(step_costs.norm_kernels(model.model.norm, 16)) == 5
