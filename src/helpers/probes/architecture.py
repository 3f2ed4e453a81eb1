"""Gemma 3 from first principles: attention, norm and cache in visible steps, and the arithmetic of what they cost.

Source: *Gemma 3 Technical Report* (arXiv 2503.19786); Shazeer, "Fast Transformer Decoding" (arXiv 1911.02150) for
multi-query attention; Zhang and Sennrich (arXiv 1910.07467) for RMSNorm; Su et al. (arXiv 2104.09864) for RoPE.
"""

from __future__ import annotations

import time
from contextlib import contextmanager

from ..checkpoints import without_adapter

#: What stands between the textbook's softmax(QKᵀ/√d)V and Gemma's attention; each can be left out to see what it does.
INGREDIENTS = ("qk_norm", "rope", "own_theta", "scale", "causal", "window")


def rms_norm(x, weight, eps: float = 1e-6):
    """x (..., D), weight (D,) -> (..., D): x / √(mean(x²) + ε) · (1 + w), in float32 as Gemma does it."""
    normed = x.float() * (x.float().pow(2).mean(-1, keepdim=True) + eps).rsqrt()
    return (normed * (1 + weight.float())).type_as(x)


def rope(x, theta: float):
    """Rotate x (B, H, N, D) by its position: the pair (i, i + D/2) turns by position · θ^(−2i/D)."""
    import torch

    half = x.shape[-1] // 2
    frequency = theta ** (-torch.arange(half, dtype=torch.float32, device=x.device) / half)  # (D/2,)
    angle = torch.arange(x.shape[-2], dtype=torch.float32, device=x.device)[:, None] * frequency  # (N, D/2)
    cos, sin = angle.cos(), angle.sin()
    left, right = x[..., :half].float(), x[..., half:].float()
    return torch.cat([left * cos - right * sin, right * cos + left * sin], dim=-1).type_as(x)


def allowed(n: int, window: int | None = None, causal: bool = True):
    """(N, N) booleans: whether query i may look at key j. A window of W lets it see itself and the W − 1 before it."""
    import torch

    distance = torch.arange(n)[:, None] - torch.arange(n)[None, :]  # (N, N): i − j
    mask = distance >= 0 if causal else torch.ones(n, n, dtype=torch.bool)
    return mask & (distance.abs() < window) if window else mask


def theta_of(config, layer: int, without: tuple = ()) -> float:
    """RoPE's base of a layer: its own, or the other kind's when ``own_theta`` is left out."""
    kinds = ("sliding_attention", "full_attention")
    kind = config.layer_types[layer]
    if "own_theta" in without:
        kind = kinds[1 - kinds.index(kind)]
    return float(config.rope_parameters[kind]["rope_theta"])


def attention(module, x, config, layer: int, without: tuple = ()):
    """One layer's attention. Returns its output (B, N, hidden) and weights (B, heads, N, N).

    ``module`` is the layer's ``self_attn`` (its weights are used, its code is not), ``without`` names ingredients to
    leave out.
    """
    batch, n, _ = x.shape
    heads, kv_heads, width = config.num_attention_heads, config.num_key_value_heads, config.head_dim
    q = module.q_proj(x).view(batch, n, heads, width).transpose(1, 2)  # (B, 4, N, 256)
    k = module.k_proj(x).view(batch, n, kv_heads, width).transpose(1, 2)  # (B, 1, N, 256)
    v = module.v_proj(x).view(batch, n, kv_heads, width).transpose(1, 2)  # (B, 1, N, 256)
    if "qk_norm" not in without:
        q, k = rms_norm(q, module.q_norm.weight), rms_norm(k, module.k_norm.weight)
    if "rope" not in without:
        theta = theta_of(config, layer, without)
        q, k = rope(q, theta), rope(k, theta)
    scale = 1.0 if "scale" in without else config.query_pre_attn_scalar**-0.5  # 1/16
    scores = q @ k.transpose(-1, -2) * scale  # (B, 4, N, N): the one key head is shared by four queries
    sliding = config.layer_types[layer] == "sliding_attention" and "window" not in without
    mask = allowed(n, config.sliding_window if sliding else None, "causal" not in without).to(x.device)
    weights = scores.float().masked_fill(~mask, float("-inf")).softmax(-1).type_as(x)
    mixed = (weights @ v).transpose(1, 2).reshape(batch, n, heads * width)  # (B, N, 1024)
    return module.o_proj(mixed), weights


@contextmanager
def rebuilt(model, without: tuple = ()):
    """Inside the block every layer's attention is ours, with ingredients left out."""
    changed = [layer.self_attn for layer in model.model.layers]
    for index, module in enumerate(changed):

        def forward(hidden_states, *args, module=module, index=index, **kwargs):
            return attention(module, hidden_states, model.config, index, without)

        module.forward = forward
    try:
        yield model
    finally:
        for module in changed:
            del module.forward


@contextmanager
def windowed(model, window: int):
    """Inside the block the sliding layers look back over another window, and their cache keeps another length."""
    config, before = model.config, model.config.sliding_window
    config.sliding_window = window
    try:
        yield model
    finally:
        config.sliding_window = before


@contextmanager
def silenced(norm):
    """Inside the block a norm returns zeros: a weight of −1 makes the gain 1 + w zero."""
    import torch

    before = norm.weight.detach().clone()
    try:
        with torch.no_grad():
            norm.weight.fill_(-1)
        yield norm
    finally:
        with torch.no_grad():
            norm.weight.copy_(before)


def first_change(model, ids, layer: int, norm: str, least: float = 1e-3) -> tuple[int, int] | None:
    """Where the cached keys first differ when a norm of block ``layer`` returns zeros: (layer, position).

    ``ids`` (1, N) with N below the window, ``norm`` its name inside the block, such as ``self_attn.q_norm``;
    differences below ``least`` are rounding. None when no key changes: after the last attention nothing is cached.
    """
    import torch

    def keys():
        with torch.no_grad():
            cache = model.model(ids, use_cache=True).past_key_values
        return [kept.keys[0, 0] for kept in cache.layers]  # 18 of (N, 256)

    whole = keys()
    with silenced(model.model.layers[layer].get_submodule(norm)):
        broken = keys()
    for number, (a, b) in enumerate(zip(whole, broken, strict=True)):
        moved = ((a - b).abs().amax(-1) > least).nonzero()
        if len(moved):
            return number, moved[0].item()
    return None


def reach(model, ids, other: int, least: float = 0.0) -> list[int]:
    """The furthest position that moves, after each block, when the first token is replaced by ``other``.

    ``ids`` (1, N). Returns a number for each of the blocks, the first block first.
    """
    import torch

    changed = ids.clone()
    changed[0, 0] = other
    with torch.no_grad():
        states = zip(
            *(model.model(x, output_hidden_states=True).hidden_states[1:] for x in (ids, changed)), strict=True
        )
    return [((a - b).abs().amax(-1)[0] > least).nonzero()[-1].item() for a, b in states]


def timed_in_turn(ways: dict[str, str], scope: dict, rounds: int = 40, calls: int = 10) -> dict[str, list[float]]:
    """Seconds of a call of each way, ``rounds`` times, the ways in turn: what else the machine does meets them all.

    ``ways``: name -> a line of code that runs in ``scope``, on one thread.
    """
    from torch.utils import benchmark

    timers = {name: benchmark.Timer(code, globals=scope, num_threads=1) for name, code in ways.items()}
    for timer in timers.values():
        timer.timeit(calls)  # the first calls allocate
    spent: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, timer in timers.items():
            spent[name].append(timer.timeit(calls).mean)
    return spent


def time_in_norms(model, norms, ids) -> float:
    """Share of one forward pass over ids (1, N) that is spent inside the modules ``norms``."""
    import torch

    spent: list[float] = []
    hooks = [m.register_forward_pre_hook(lambda *_: spent.append(-time.perf_counter())) for m in norms]
    hooks += [m.register_forward_hook(lambda *_: spent.append(time.perf_counter())) for m in norms]
    try:
        with torch.no_grad():
            started = time.perf_counter()
            model(ids)
            return sum(spent) / (time.perf_counter() - started)
    finally:
        for hook in hooks:
            hook.remove()


def kv_bytes(n: int, config, kv_heads: int = 1, windowed: bool = True, bytes_per_value: int = 2) -> int:
    """Bytes of keys and values for n tokens, as transformers keeps them: a windowed layer holds window − 1 tokens."""
    per_token = 2 * kv_heads * config.head_dim * bytes_per_value
    total = 0
    for kind in config.layer_types:
        kept = min(n, config.sliding_window - 1) if windowed and kind == "sliding_attention" else n
        total += kept * per_token
    return total


def cache_bytes(cache) -> int:
    """Bytes that a transformers cache object really holds."""
    return sum(t.numel() * t.element_size() for layer in cache.layers for t in (layer.keys, layer.values))


def parameter_budget(model) -> dict[str, int]:
    """Parameters by part: embedding, attention, MLP, norms. The output head is the embedding again and counts once."""
    parts = {"embedding": 0, "attention": 0, "MLP": 0, "norms": 0}
    for name, parameter in model.named_parameters():
        kind = (
            "embedding"
            if "embed" in name
            else "norms"
            if "norm" in name
            else "attention"
            if "self_attn" in name
            else "MLP"
        )
        parts[kind] += parameter.numel()
    return parts


def norm_share_of_flops(config) -> float:
    """Share of a token's forward pass that the norms take, counting 5 operations an element and 2 a weight."""
    width, head = config.hidden_size, config.head_dim
    per_block = 4 * width + (config.num_attention_heads + config.num_key_value_heads) * head
    norms = 5 * (config.num_hidden_layers * per_block + width)
    projections = (
        width * head * (2 * config.num_attention_heads + 2 * config.num_key_value_heads)
        + 3 * width * config.intermediate_size
    )
    return norms / (2 * (config.num_hidden_layers * projections + config.vocab_size * width))


def largest_activations(model, batches) -> dict:
    """Largest absolute value of each layer's tensors over ids (1, N): module name -> list over layers.

    Infinities and NaN give ``inf``. "residual" is what a layer hands to the next; the others are what a module inside
    the layer returns.
    """
    import torch

    causal = without_adapter(model)
    layers, handles = causal.model.layers, []
    found: dict[str, list[float]] = {}

    def note(key: str, layer: int):
        def hook(module, arguments, output):
            value = (output[0] if isinstance(output, tuple) else output).detach().abs().amax().float().item()
            kept = found.setdefault(key, [0.0] * len(layers))
            kept[layer] = max(kept[layer], value if value == value else float("inf"))

        return hook

    for number, layer in enumerate(layers):
        handles.append(layer.register_forward_hook(note("residual", number)))
        handles += [m.register_forward_hook(note(name, number)) for name, m in layer.named_modules() if name]
    try:
        with torch.no_grad():
            for ids in batches:
                causal.model(input_ids=ids)
    finally:
        for handle in handles:
            handle.remove()
    return found
