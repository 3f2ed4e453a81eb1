"""NF4 from nothing: its 16 levels, blockwise quantization, and what its scales cost in bytes.

Source: Dettmers, Pagnoni, Holtzman, Zettlemoyer, *QLoRA* (arXiv 2305.14314), section 3. What is built here is checked
against bitsandbytes, which does the same in compiled code.
"""

from __future__ import annotations

from pathlib import Path

from .. import gguf
from ..errors import CourseError

#: Weights that share one scale, and scales that share one scale of their own (QLoRA, section 3).
BLOCK, SECOND_BLOCK = 64, 256


def nf4_levels():
    """The 16 levels of NF4, ascending in [-1, 1]: 7 negative, 0, 8 positive (float32, (16,)).

    Quantiles of a normal distribution at evenly spaced probabilities, taken apart for the two sides so that 0 is a
    level, then divided by the largest. The outermost probability is 1 - δ, where δ is the mean of 1/32 and 1/30: the
    middle of the outermost of 16, and of 15, cells of equal probability.
    """
    import torch
    from scipy.stats import norm

    outermost = 1 - (1 / 32 + 1 / 30) / 2
    positive = norm.ppf(torch.linspace(0.5, outermost, 9))[1:]  # 8 of them; the first of nine is 0
    negative = -norm.ppf(torch.linspace(0.5, outermost, 8))[:0:-1]  # 7, ascending
    levels = torch.tensor([*negative, 0.0, *positive])
    return (levels / levels.max()).float()


def uniform_levels(n: int = 16):
    """``n`` evenly spaced levels from -1 to 1, the baseline (float32, (n,)); an even n has no level at 0."""
    import torch

    return torch.linspace(-1, 1, n)


def fitted_levels(x, n: int = 16, block: int = BLOCK, rounds: int = 40):
    """The ``n`` levels of least squared error for x cut into blocks, by Lloyd's iterations from the uniform grid.

    Returns float32 (n,). Lloyd, *Least squares quantization in PCM* (1982); a number counts by its block's squared
    scale, as its error does after scaling back.
    """
    import torch

    blocks = x.reshape(-1, block)
    scales = blocks.abs().amax(1, keepdim=True)
    scaled, weight, levels = (blocks / scales).flatten(), scales.square().expand_as(blocks).flatten(), uniform_levels(n)
    for _ in range(rounds):
        cell = torch.bucketize(scaled, (levels[:-1] + levels[1:]) / 2)
        levels = torch.bincount(cell, weight * scaled, n) / torch.bincount(cell, weight, n)
    return levels


def quantize(x, levels, block: int = BLOCK):
    """Blockwise absmax quantization of x (any shape, a multiple of ``block`` numbers).

    Returns
    -------
    codes : uint8 of x's shape, the index of the nearest level
    scales : float32 (blocks,), the largest absolute value of each block

    Raises CourseError when x cannot be cut into whole blocks.
    """
    import torch

    if x.numel() % block:
        raise CourseError(f"{x.numel()} numbers cannot be cut into blocks of {block}", "use a block that divides them")
    blocks = x.detach().float().reshape(-1, block)
    scales = blocks.abs().amax(1)
    scaled = blocks / scales.clamp_min(torch.finfo(torch.float32).tiny)[:, None]  # a block of zeros stays zero
    between = (levels[:-1] + levels[1:]) / 2  # where one level's cell ends and the next begins
    return torch.bucketize(scaled, between).to(torch.uint8).reshape(x.shape), scales


def dequantize(codes, scales, levels):
    """What codes and scales stand for: float32 of the codes' shape."""
    return (levels[codes.long()].reshape(len(scales), -1) * scales[:, None]).reshape(codes.shape)


def round_trip(x, levels, block: int = BLOCK):
    """x after quantization and back (float32, x's shape)."""
    codes, scales = quantize(x, levels, block)
    return dequantize(codes, scales, levels)


def snr(x, approximation) -> float:
    """Signal-to-noise ratio in dB: 10·log10(Σx² / Σ(x − approximation)²)."""
    import math

    x = x.detach().double()
    return 10 * math.log10(x.pow(2).sum().item() / (x - approximation.double()).pow(2).sum().item())


def q5_0_cells(weight):
    """Cell widths of a weight (out, in) decoded from GGUF's Q5_0: float32 (out, in / 32), one for 32 weights in a row.

    None if it was not. Q5_0 keeps integers from -16 to 15 and one scale, chosen so that the largest in size becomes
    -16. The scale is the cell's width, so it is that weight's size over 16, and all weights are whole multiples of it.
    """
    blocks = weight.detach().float().reshape(len(weight), -1, 32)
    width = (blocks.abs().amax(2) / 16).clamp_min(1e-12)
    steps = blocks / width[..., None]
    # 0.25 off the grid; bfloat16's rounding leaves 0.005
    return width if (steps - steps.round()).abs().mean() < 0.05 else None


def dithered(weight, cells, seed: int):
    """The weight (out, in) moved at random within its cells (out, in / 32), where the unrounded one lay: float32."""
    import torch

    noise = torch.rand(weight.shape, generator=torch.Generator().manual_seed(seed)) - 0.5
    return moved_in_cells(weight.detach().float(), cells.repeat_interleave(32, dim=1), noise)


def moved_in_cells(weight, widths, noise):
    """weight + widths · noise, all (out, in), with noise in [-½, ½): what a weight on a grid may have been before."""
    return weight + widths * noise


def dithered_state(base: Path, seed: int = 0) -> dict:
    """The base's weights, each moved at random in the cell of its quantization grid: transformers' names -> float32.

    The packaged weights were quantized once, so they sit exactly on the grid of Q4_K_M, and quantizing them to Q4_K_M
    again costs nothing. The weights they were made from lay anywhere in the cell: uniform noise of one step's width
    puts them back there, seeded. ``base`` is the packaged GGUF; norms, which were never quantized, stay.
    """
    import numpy as np
    import torch

    draw, state = np.random.default_rng(seed), {}
    for tensor in gguf.reader(base).tensors:
        value = gguf.decoded_tensor(tensor)
        if "norm" not in tensor.name:
            noise = draw.uniform(-0.5, 0.5, value.shape).astype(np.float32)
            value = moved_in_cells(value, gguf.steps(tensor), noise)
        state[gguf.tensor_key(tensor.name)] = torch.from_numpy(value)
    return state


def state_bytes(state) -> dict[str, int]:
    """Bytes of a bitsandbytes ``QuantState`` by part: first-level scales, second-level scales and offset, tables.

    A first forward pass on a CPU with AVX512-BF16 rewrites the state in another layout: weigh it before, or call
    ``keep_layout``.
    """
    second = [state.state2.absmax, state.offset] if state.nested else []
    tables = [state.code, *([state.state2.code] if state.nested else [])]
    return {
        "scales": _bytes(state.absmax),
        "second level": sum(map(_bytes, second)),
        "tables": sum(map(_bytes, tables)),
    }


def _bytes(tensor) -> int:
    return tensor.numel() * tensor.element_size()


def bits_per_parameter(
    block: int = BLOCK, scale_bits: int = 32, second_block: int | None = None, bits: int = 4
) -> float:
    """Bits of a weight: its own, its share of a scale, and of a scale's scale (float32) if there is a second level."""
    second = 32 / (block * second_block) if second_block else 0
    return bits + scale_bits / block + second


def linears(model) -> dict:
    """The modules that bitsandbytes quantized, by name."""
    from bitsandbytes.nn import Linear4bit

    return {name: module for name, module in model.named_modules() if isinstance(module, Linear4bit)}


def load_4bit(checkpoint, double: bool, dtype: str = "bfloat16"):
    """The model in NF4 on the CPU through transformers and bitsandbytes.

    ``double``: double quantization. ``dtype``: of all that stays as it is, and of the computation.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    asked = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )
    model = AutoModelForCausalLM.from_pretrained(
        checkpoint.path, quantization_config=asked, dtype=getattr(torch, dtype), device_map={"": "cpu"}
    )
    return keep_layout(model.eval())


def keep_layout(model):
    """Keep a 4-bit model as it was loaded. Returns the model.

    On a CPU with AVX512-BF16, bitsandbytes 0.50 repacks each weight at the first forward pass without gradients: scales
    become bfloat16 and double quantization is undone. Other machines do not, so figures would differ with the machine.
    """
    for module in linears(model).values():
        module.support_avx512bf16_for_cpu = False
    return model


def model_bytes(model) -> dict[str, int]:
    """Bytes of a model by part: embedding, other parameters, packed 4-bit weights, and the scales.

    ``get_memory_footprint`` leaves the scales out.
    """
    quantized = linears(model)
    packed = {id(module.weight) for module in quantized.values()}
    found = {"embedding": _bytes(model.get_input_embeddings().weight), "packed": 0, "scales": 0, "other": 0}
    for name, parameter in model.named_parameters():  # the tied head is the embedding again and counts once
        if "embed_tokens" not in name:
            found["packed" if id(parameter) in packed else "other"] += _bytes(parameter)
    for module in quantized.values():
        parts = state_bytes(module.weight.quant_state)
        found["scales"] += parts["scales"] + parts["second level"]
    return found
