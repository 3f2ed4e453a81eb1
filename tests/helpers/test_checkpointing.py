"""The ways of checkpointing change bytes and calls and never a gradient."""

import pytest
import torch

from helpers.errors import CourseError
from helpers.probes import checkpointing, memory


@pytest.mark.slow
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


def test_every_way_of_checkpointing_gives_the_same_gradients(tiny_lora, few_ids):
    found = {mode: checkpointing.step(tiny_lora, few_ids, mode) for mode in checkpointing.MODES}
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
    assert not tiny_lora.get_base_model().is_gradient_checkpointing and "forward" not in vars(
        tiny_lora.get_base_model().model.layers[0].mlp
    )


def test_three_losses_are_one(tiny_lora, few_ids):
    for labelled in (4, None):
        values = {
            loss: checkpointing.loss_of(tiny_lora, few_ids, loss, labelled).item() for loss in checkpointing.LOSSES
        }
        assert max(values.values()) - min(values.values()) < 1e-3, values


@pytest.mark.parametrize(("call", "words"), [
    (lambda model, few_ids: checkpointing.loss_of(model, few_ids, "half"), "no loss 'half'"),
    (lambda model, few_ids: checkpointing.step(model, few_ids, "some"), "no checkpointing mode 'some'"),
])  # fmt: skip
def test_what_there_is_not_is_named(tiny_lora, few_ids, call, words):
    with pytest.raises(CourseError, match=words):
        call(tiny_lora, few_ids)


def test_the_loss_has_its_own_bytes_and_the_layers_theirs(tiny_lora, few_ids):
    """Each cure takes from its own owner: checkpointing from the layers, logits at the labels from the loss."""
    checkpointing.step(tiny_lora, few_ids)  # the first step of a process makes what others find
    moments = {
        (mode, loss): checkpointing.step(tiny_lora, few_ids, mode, loss, 2)["ledger"].marks["forward"]
        for mode in ("none", "layer")
        for loss in ("full", "response")
    }
    found = {ways: memory.owners(moment) for ways, moment in moments.items()}
    plain = found["none", "full"]
    assert found["layer", "full"]["layers"] < plain["layers"] and found["layer", "full"]["loss"] == plain["loss"] > 0
    assert found["none", "response"]["loss"] < plain["loss"]
    assert all(sum(found[ways].values()) == moment.total for ways, moment in moments.items())


@pytest.mark.parametrize("loss", checkpointing.LOSSES)
def test_a_step_is_marked_where_the_layers_end(tiny_lora, few_ids, loss):
    marks = checkpointing.step(tiny_lora, few_ids, loss=loss)["ledger"].marks
    assert list(marks) == ["start", "layers", "forward", "backward"]
    assert memory.owners(marks["start"])["layers"] == 0
    assert memory.owners(marks["layers"])["loss"] <= few_ids.nbytes  # nothing but the ids that the model was called on
    assert not tiny_lora.get_base_model().lm_head._forward_pre_hooks
