"""Where a training step's time goes, for ``memory_runs``: forward and backward, what runs again, and the norms."""

from __future__ import annotations

import statistics
import time


def seconds(work, repeats: int = 20) -> float:
    """Median seconds of ``work()``, by events on a GPU and by the clock on a CPU, after three calls that warm up."""
    import torch

    for _ in range(3):
        work()
    found = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            work()
            end.record()
            torch.cuda.synchronize()
            found.append(start.elapsed_time(end) / 1000)
        else:
            started = time.perf_counter()
            work()
            found.append(time.perf_counter() - started)
    return statistics.median(found)


def passes(model, inputs: dict) -> dict:
    """Seconds of a step's two passes, one row, nothing checkpointed: forward, and both."""

    def forward():
        return model(**inputs).loss

    def both():
        forward().backward()
        model.zero_grad(set_to_none=True)

    return {"forward_seconds": seconds(forward), "step_seconds": seconds(both)}


def query_products(model, step, tokens: int) -> dict:
    """How often the query projections of all layers run in a step's forward direction, and the activations.

    Counted twice: ``products`` are matrix products of (tokens, hidden) by (hidden, rows of q_proj) that the profiler
    saw, whoever called them, one a layer for the gradient through o_proj, which has these shapes, among them;
    ``calls`` are calls of the modules, which compiled code may pass by.
    """
    from torch.profiler import ProfilerActivity, profile

    from helpers.probes import memory

    query = next(module for name, module in model.named_modules() if name.endswith("q_proj"))
    rows, hidden = getattr(query, "base_layer", query).weight.shape
    with memory.counted(model, "q_proj", "act_fn") as calls:
        step()
    with profile(activities=[ProfilerActivity.CPU], record_shapes=True) as seen:
        step()
    shapes = [e.input_shapes for e in seen.events() if e.name in ("aten::mm", "aten::addmm")]
    products = sum([tokens, hidden] in shape and [hidden, rows] in shape for shape in shapes)
    return {"products": products, "calls": dict(calls)}


def norm_share(model, ids) -> dict:
    """Seconds of a forward pass with its norms and with nothing in their places, and how many norms there are."""
    import torch

    norms = [module for name, module in model.named_modules() if name.endswith("norm")]
    with torch.inference_mode():
        whole = seconds(lambda: model(input_ids=ids, logits_to_keep=1))
        for module in norms:
            module.forward = lambda x: x  # on the module itself, in front of its class's
        without = seconds(lambda: model(input_ids=ids, logits_to_keep=1))
        for module in norms:
            del module.forward
    return {"norms": len(norms), "forward_seconds": whole, "without_norms_seconds": without}


def norm_kernels(norm, tokens: int) -> dict[str, float]:
    """Seconds of five ways to norm (tokens, hidden) numbers in the model's dtype; ``norm`` is a module of the model."""
    import torch

    weight = norm.weight
    x, size = torch.randn(tokens, len(weight), device=weight.device, dtype=weight.dtype), (len(weight),)

    def layer_norm_by_hand():
        centred = x - x.mean(-1, True)
        return centred * (centred.pow(2).mean(-1, True) + 1e-6).rsqrt() * weight

    ways = {
        "RMSNorm, the model's module": lambda: norm(x),
        "RMSNorm, fused": lambda: torch.nn.functional.rms_norm(x, size, weight),
        "LayerNorm, fused": lambda: torch.nn.functional.layer_norm(x, size, weight),
        "RMSNorm, by hand": lambda: x * (x.pow(2).mean(-1, True) + 1e-6).rsqrt() * weight,
        "LayerNorm, by hand": layer_norm_by_hand,
    }
    with torch.inference_mode():
        return {name: seconds(way) for name, way in ways.items()}
