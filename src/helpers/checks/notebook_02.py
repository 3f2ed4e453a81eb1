"""How the exercises of notebook 02 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from . import CORRECT, returned

OF_RANK_1 = 237_312  # numbers of rank 1 over seven projections in 18 layers


def check_frozen(freeze) -> str:
    """Judge ``freeze(W, A, B, scaling)``, (5, 6), (2, 6), (5, 2) -> the weight (5, 6) that B·A completes to W."""
    import torch

    draw = torch.Generator().manual_seed(0)
    weight, a, b = (torch.randn(*shape, generator=draw) for shape in ((5, 6), (2, 6), (5, 2)))
    kept = weight.clone()
    got = returned(freeze, weight, a, b, 3.0)
    if not torch.equal(weight, kept):
        return "W itself was changed: return a new weight and leave the one you were given"
    if not isinstance(got, torch.Tensor) or got.shape != weight.shape:
        return "it has W's shape, (out, in): which product of B (out, r) and A (r, in) has it?"
    for wrong, words in (
        (weight, "the layer then starts as W + ΔW: what the adapter adds has to be taken away first"),
        (weight + 3 * b @ a, "the other way: now ΔW is in the layer twice"),
        (weight - b @ a, "the adapter adds scaling · B·A, and scaling is not 1"),
        (-3 * b @ a, "that cancels the adapter, and W is gone with it"),
    ):
        if torch.allclose(got, wrong, atol=1e-5):
            return words
    return CORRECT if torch.allclose(got, weight - 3 * b @ a, atol=1e-5) else "frozen weight + scaling · B·A must be W"


def check_repaired(make) -> str:
    """Judge ``make(linear, r, alpha)``, a LoRA layer around an ``nn.Linear`` (12 -> 8): how it starts and learns."""
    import torch

    torch.manual_seed(0)
    linear, x, wanted = torch.nn.Linear(12, 8, bias=False), torch.randn(16, 12), torch.randn(16, 8)
    before, weight = linear(x).detach(), linear.weight.detach().clone()
    layer = returned(make, linear, 4, 8)
    if not isinstance(layer, torch.nn.Module):
        return "return the layer, a torch.nn.Module"
    if not torch.allclose(layer(x), before, atol=1e-6):
        return "it does not start as the linear layer: one of A and B has to be zero"
    trained = {name: p for name, p in layer.named_parameters() if p.requires_grad}
    if any(p.shape == weight.shape for p in trained.values()):
        return "W is trained as well: freeze it"
    if {p.shape for p in trained.values()} != {(4, 12), (8, 4)}:
        return "an optimizer asks for parameters(): A (r, in) and B (out, r) have to be among them, as nn.Parameter"
    steps = [_gradients(layer, trained, x, wanted) for _ in range(2)]
    if not any(steps[0]):
        return "still silent: no gradient arrives at the first step. Do both matrices start at zero?"
    if not all(steps[1]):
        return "half of it is silent: after a step one matrix still gets no gradient. Is it cut off in forward?"
    return _scaled(layer, trained, x, before)


def _gradients(layer, trained: dict, x, wanted) -> list[bool]:
    """Take one step of plain descent; for each parameter, whether a gradient arrived."""
    import torch

    loss = (layer(x) - wanted).pow(2).mean()
    found = torch.autograd.grad(loss, list(trained.values()), allow_unused=True) if loss.requires_grad else []
    found = list(found) or [None] * len(trained)
    with torch.no_grad():
        for parameter, gradient in zip(trained.values(), found, strict=True):
            parameter -= 0.1 * gradient if gradient is not None else 0
    return [gradient is not None and bool(gradient.abs().max() > 0) for gradient in found]


def _scaled(layer, trained: dict, x, before) -> str:
    """Whether what the layer adds is (α/r)·B·A, with α = 8 and r = 4."""
    import torch

    by_shape = {tuple(p.shape): p.detach() for p in trained.values()}
    product = x @ (by_shape[8, 4] @ by_shape[4, 12]).T
    added = layer(x).detach() - before
    if torch.allclose(added, 2 * product, atol=1e-5):
        return CORRECT
    return "it learns, but the factor α/r is missing or another one: it adds (α/r)·B·A"


def check_largest_rank(choose) -> str:
    """Judge ``choose(budget, bytes_each)``, the largest rank whose numbers fit into so many bytes."""
    cases = ((16_000_000, 4), (16_000_000, 2), (100_000_000, 16), (500_000, 4))
    got = [returned(choose, *case) for case in cases]
    want = [budget // (each * OF_RANK_1) for budget, each in cases]
    if got == want:
        return CORRECT
    for wrong, words in (
        ([n + 1 for n in want], "one too many: the last one does not fit whole, round down"),
        ([budget / (each * OF_RANK_1) for budget, each in cases], "a rank is a whole number: round down"),
        ([18 * budget // (each * OF_RANK_1) for budget, each in cases], "that is one layer; there are 18"),
        ([budget // OF_RANK_1 for budget, _ in cases], "those are numbers: each takes bytes_each bytes"),
        ([2**20 * budget // (10**6 * each * OF_RANK_1) for budget, each in cases], "the budget is in bytes already"),
        (
            [budget // (each * 100_270_080) for budget, each in cases],
            "A and B have r·in and r·out: add, do not multiply",
        ),
    ):
        if got == wrong:
            return words
    return f"for 16,000,000 bytes at 4 each expected {want[0]}: budget ÷ (bytes_each · 18 · sum of in + out)"
