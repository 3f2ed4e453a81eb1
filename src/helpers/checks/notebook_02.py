"""How the exercises of notebook 02 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from . import CORRECT, returned


def check_lora_parameters(count) -> str:
    """Judge ``count(r)``, the trainable parameters of LoRA on seven projections in 18 layers. Returns a str."""
    got = returned(count, 4)
    want = 4 * 237_312
    if got == want:
        return CORRECT
    if got == 4 * 18 * (640 * 1024 + 2 * 640 * 256 + 1024 * 640 + 3 * 640 * 2048):
        return "A and B have r·in and r·out entries: add in and out, do not multiply them"
    if got * 18 == want:
        return "that is one layer; there are 18"
    if got * 2 == want:
        return "half of it: count A and B"
    return f"for r = 4 expected {want:,}: r · (in + out), summed over seven projections and 18 layers"


def check_merged(merge) -> str:
    """Judge ``merge(W, A, B, alpha)``, (6, 6), (2, 6), (6, 2) -> W + (α/r)·B·A, (6, 6). Returns a str."""
    import torch

    draw = torch.Generator().manual_seed(0)
    weight, a, b = (torch.randn(*shape, generator=draw) for shape in ((6, 6), (2, 6), (6, 2)))
    got = returned(merge, weight, a, b, 8)
    if not isinstance(got, torch.Tensor) or got.shape != weight.shape:
        return "the merged weight has W's shape, (out, in): which product of B (out, r) and A (r, in) has it?"
    for wrong, words in (
        (weight + 4 * (b @ a).T, "that is the transpose: PyTorch's weights are (out, in), so B @ A goes in as it is"),
        (weight + 8 * b @ a, "the factor is α/r, and r is A's number of rows"),
        (weight + b @ a, "the factor α/r is missing"),
    ):
        if torch.allclose(got, wrong, atol=1e-5):
            return words
    return CORRECT if torch.allclose(got, weight + 4 * b @ a, atol=1e-5) else "W + (α/r)·B·A"


def check_same_step(rate) -> str:
    """Judge ``rate(alpha)``, the learning rate that keeps Adam's first step on ΔW as it was. Returns a str."""
    got = [returned(rate, alpha) for alpha in (64, 32, 128)]
    want = [1e-3, 2e-3, 5e-4]
    if all(abs(g - w) < 1e-9 for g, w in zip(got, want, strict=True)):
        return CORRECT
    if abs(got[1] - 5e-4) < 1e-9:
        return "the other way round: half of α needs twice the learning rate"
    if abs(got[1] - 4e-3) < 1e-9:
        return "that would be SGD, whose gradient grows with α too; Adam's first step does not"
    return "keep α · learning rate as it was: 64 · 1e-3"


def check_bound(bound) -> str:
    """Judge ``bound(fan_in)``, the bound of kaiming_uniform_ with a = √5. Returns a str."""
    got = returned(bound, 640)
    if abs(got - 640**-0.5) < 1e-6:
        return CORRECT
    if abs(got - (6 / 640) ** 0.5) < 1e-6:
        return "that is kaiming with a = 0: the gain is √(2 / (1 + a²)), and a = √5"
    if abs(got - (3 * 640) ** -0.5) < 1e-6:
        return "that is the standard deviation: a uniform on ±b has the deviation b/√3"
    return "bound = √3 · gain / √in with gain = √(2 / (1 + 5))"
