"""How the exercises of notebook 01 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from ..probes.architecture import rms_norm as truth
from . import CORRECT, returned


def check_rms_norm(rms_norm) -> str:
    """Judge ``rms_norm(x, w)``, (2, 4) and (4,) -> (2, 4), against ``architecture.rms_norm``. Returns a str."""
    import torch

    x = torch.tensor([[3.0, -4.0, 0.0, 1e-3], [2e-3, 0.0, 1e-3, -1e-3]])
    w = torch.tensor([0.5, -0.25, 0.0, 1.0])
    got = returned(rms_norm, x, w)
    if not isinstance(got, torch.Tensor) or got.shape != x.shape:
        return f"the output has the input's shape, {tuple(x.shape)}: mean over the last axis with keepdim=True"

    def same(value):
        return torch.allclose(got.float(), value, atol=1e-4)

    mean = x.pow(2).mean(-1, keepdim=True)
    if same(truth(x, w)):
        return CORRECT
    if same(x / (mean + 1e-6).sqrt() * w):
        return "the gain is w itself: Gemma stores w and multiplies by 1 + w"
    if same(x / (mean.sqrt() + 1e-6) * (1 + w)):
        return "ε stands outside the root: look at the second row, whose numbers are small"
    if same(torch.nn.functional.layer_norm(x, (4,), eps=1e-6) * (1 + w)):
        return "that is LayerNorm: RMSNorm does not subtract the mean"
    return "divide by the root of (mean of squares + 1e-6), then multiply by 1 + w"


def check_cache(cache_bytes) -> str:
    """Judge ``cache_bytes(n, window)``, the bytes of all 18 layers' keys and values in 16 bits. Returns a str."""
    got = returned(cache_bytes, 8192, 1024)
    want = (15 * 1023 + 3 * 8192) * 1024
    if got == want:
        return CORRECT
    if got == (15 * 1024 + 3 * 8192) * 1024:
        return "nearly: transformers keeps window - 1 tokens, the newest one is not stored yet when it looks back"
    if got == 18 * 8192 * 1024:
        return "that is without a window: 15 of the 18 layers keep no more than window - 1 tokens"
    if got == want // 2:
        return "half of it: keys and values are both kept"
    if got == want // 2**20:
        return "in bytes, please"
    if returned(cache_bytes, 100, 1024) == want:
        return "a short text does not fill the window: min(n, window - 1)"
    return f"at n = 8192 and window = 1024 expected {want:,}"


def check_block(block_parameters) -> str:
    """Judge ``block_parameters()``, the parameters of one decoder layer. Returns a str."""
    got = returned(block_parameters)
    attention, mlp, norms = 640 * 1024 + 2 * 640 * 256 + 1024 * 640, 3 * 640 * 2048, 4 * 640 + 2 * 256
    if got == attention + mlp + norms:
        return CORRECT
    if got == attention + mlp:
        return "the norms are missing: four of 640, and two of 256 on queries and keys"
    if got == 4 * 640 * 1024 + mlp + norms:
        return "keys and values have one head of 256, not four"
    if got == attention + mlp * 2 // 3 + norms:
        return "the MLP has three matrices: gate, up and down"
    return f"attention {attention:,}, MLP {mlp:,}, norms {norms:,}: yours is off by {got - attention - mlp - norms:+,}"


def check_visible(visible_keys) -> str:
    """Judge ``visible_keys(position, window)``, the positions a sliding-window query attends to. Returns a str."""
    got = returned(visible_keys, 600, 512)
    got, short = list(got), list(visible_keys(3, 512))
    if got == list(range(89, 601)) and short == [0, 1, 2, 3]:
        return CORRECT
    if got == list(range(88, 601)):
        return "that is 513 keys: a window of 512 counts the query itself"
    if got and max(got) < 600:
        return "a query sees itself, too"
    if got and max(got) > 600:
        return "no query looks ahead"
    if got == list(range(601)):
        return "that is a global layer: where is the window?"
    if short and min(short) < 0:
        return "there are no keys before position 0"
    return "position 600 sees 512 keys, 89 to 600; position 3 sees 0 to 3"
