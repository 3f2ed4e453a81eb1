"""How the exercises of notebook 03 are judged: each check returns ``CORRECT`` or says what is wrong."""

from __future__ import annotations

from ..probes.quantization import nf4_levels
from . import CORRECT, returned


def check_block_by_hand(nf4_block) -> str:
    """Judge ``nf4_block(x, levels)``, (6,) and (16,) -> x quantized and dequantized, (6,). Returns a str."""
    import torch

    levels, x = nf4_levels(), torch.tensor([0.03, -0.2, 0.0, 0.11, -0.045, 0.07])
    got = returned(nf4_block, x, levels)
    if not isinstance(got, torch.Tensor) or got.shape != x.shape:
        return f"return the block after four bits and back: a tensor of shape {tuple(x.shape)}"

    def nearest(scaled):
        return levels[(scaled[:, None] - levels).abs().argmin(1)]

    def same(value):
        return torch.allclose(got.float(), value, atol=1e-5)

    scale = x.abs().max()
    if same(nearest(x / scale) * scale):
        return CORRECT
    if same(nearest(x / scale)):
        return "those are levels, between -1 and 1: multiply by the scale again"
    if same(nearest(x / x.max()) * x.max()):
        return "the scale is the largest absolute value: here the largest in size is negative"
    if same(nearest(x)):
        return "the block was not divided by its scale: the levels reach from -1 to 1, the weights do not"
    if same(levels[(x[:, None] / scale >= levels).sum(1) - 1] * scale):
        return "that is the next level below: take the nearest one"
    return "divide by the largest absolute value, take the nearest level, multiply back"


def check_scheme(bits) -> str:
    """Judge ``bits(block, second_block)``, bits per weight under double quantization. Returns a str."""
    got = returned(bits, 128, 512)
    want = 4 + 8 / 128 + 32 / (128 * 512)
    if abs(got - want) < 1e-9:
        return CORRECT
    if abs(got - (want - 4)) < 1e-9:
        return "that is the overhead: each weight takes 4 bits of its own as well"
    if abs(got - (4 + 8 / 128 + 32 / 512)) < 1e-9:
        return "a second-level scale serves 512 scales, and each of those 128 weights: divide by both"
    if abs(got - (4 + 32 / 128)) < 1e-9:
        return "that is one level: the first scales are 8 bits wide here, not 32"
    if abs(got - (4 + 32 / 128 + 8 / (128 * 512))) < 1e-9:
        return "the wrong way round: the first level has 8 bits, the second 32"
    return "4 + 8 / block + 32 / (block · second_block)"


def check_held_bytes(answer) -> str:
    """Judge ``answer(tensors)``, the bytes of their distinct storages. Returns a str."""
    import torch

    base = torch.zeros(64, dtype=torch.float32)  # 256 bytes
    other = torch.zeros(10, dtype=torch.bfloat16)  # 20 bytes
    given = returned(answer, [base, base[:8], base.view(8, 8), other])
    if given == 276 and returned(answer, [base[:8], other]) == 276:
        return CORRECT
    if given == 3 * 256 + 20:
        return "Counted each view: the three float32 tensors share one storage of 256 bytes."
    if given == 64 + 10:
        return "Those are numbers. A float32 takes four bytes and a bfloat16 two."
    if given == 276 or given < 276:
        return "A view keeps its whole storage alive: ask the storage for its bytes, not the view for its elements."
    return f"For three views of 256 bytes and a tensor of 20 the answer is 276, and {given:g} was given."


def check_offloaded(answer) -> str:
    """Judge ``answer(tokens, width)``, whether a bfloat16 activation is larger than 2 MiB. Returns a str."""
    cases = {(1638, 640): False, (1639, 640): True, (1024, 1024): False, (1025, 1024): True, (205, 5120): True}
    wrong = {case: returned(answer, *case) for case, truth in cases.items() if bool(answer(*case)) is not truth}
    if not wrong:
        return CORRECT
    if set(wrong) == {(1024, 1024)}:
        return "At exactly 2 MiB nothing moves: it has to be more."
    if bool(answer(1600, 640)):
        return (
            "2 MB is 2,000,000 bytes; the limit is 2 MiB, which is 2²¹."
            if not answer(1500, 640)
            else "The stored numbers are bfloat16, two bytes each."
        )
    return "Count bytes, not numbers: each bfloat16 takes two."
