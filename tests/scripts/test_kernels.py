"""Kernels are told by their names and have authors; the peak of a recording is found with its holders."""

import pytest
import torch

from scripts.experiments import kernels


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


@pytest.mark.slow
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
