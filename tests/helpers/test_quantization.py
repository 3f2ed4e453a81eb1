"""NF4 built from nothing is bitsandbytes' NF4, to the bit; its bytes are counted right."""

import numpy as np
import pytest
import torch
from tiny_gemma import tiny_config

from helpers import gguf
from helpers.errors import CourseError
from helpers.probes import quantization

LEVELS = quantization.nf4_levels()


@pytest.fixture(scope="module")
def bnb():
    return pytest.importorskip("bitsandbytes.functional")


@pytest.fixture(scope="module")
def table(bnb):
    return bnb.get_4bit_type("nf4", device="cpu")


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_levels_are_those_of_bitsandbytes(table):
    assert (LEVELS - table).abs().max() < 1e-6
    assert ((LEVELS < 0).sum(), (LEVELS == 0).sum(), (LEVELS > 0).sum()) == (7, 1, 8)
    assert LEVELS.tolist() == sorted(LEVELS.tolist()) and LEVELS[0] == -1 and LEVELS[-1] == 1


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_codes_scales_and_the_way_back_are_those_of_bitsandbytes(bnb, table, dtype):
    x = drawn(64, 192).to(dtype)
    packed, state = bnb.quantize_4bit(x, blocksize=64, quant_type="nf4", compress_statistics=False)
    codes, scales = quantization.quantize(x, table)
    two_a_byte = codes.flatten()[0::2] << 4 | codes.flatten()[1::2]
    assert torch.equal(two_a_byte, packed.flatten()) and torch.equal(scales, state.absmax)
    back = quantization.dequantize(codes, scales, table)
    assert torch.equal(back.to(dtype), bnb.dequantize_4bit(packed, state)) and torch.equal(
        back, quantization.round_trip(x, table)
    )


def test_a_block_of_zeros_stays_zero_and_the_largest_weight_is_kept():
    x = torch.cat([torch.zeros(64), drawn(64)])
    back = quantization.round_trip(x, LEVELS)
    assert (back[:64] == 0).all()
    largest = x.abs().argmax()
    assert back[largest] == x[largest]


def test_what_cannot_be_cut_is_named():
    with pytest.raises(CourseError, match="blocks of 64"):
        quantization.quantize(torch.zeros(100), LEVELS)


def test_each_grid_is_best_where_it_should_be():
    normal, uniform = drawn(2**16), 2 * torch.rand(2**16, generator=torch.Generator().manual_seed(1)) - 1
    ahead = {
        n: quantization.snr(x, quantization.round_trip(x, LEVELS))
        - quantization.snr(x, quantization.round_trip(x, quantization.uniform_levels()))
        for n, x in (("normal", normal), ("uniform", uniform))
    }
    assert 0.6 < ahead["normal"] < 1.0 and -3.2 < ahead["uniform"] < -2.7
    fitted = quantization.fitted_levels(normal)
    other = drawn(2**16, seed=2)
    assert (
        quantization.snr(other, quantization.round_trip(other, fitted))
        > quantization.snr(other, quantization.round_trip(other, LEVELS)) + 0.2
    )


def test_snr_of_a_known_error():
    x = torch.ones(10)
    assert quantization.snr(x, 0.9 * x) == pytest.approx(20, abs=1e-5)


def test_q5_0_cells_are_found_and_dithering_stays_inside_them():
    integers = torch.randint(-15, 16, (8, 64), generator=torch.Generator().manual_seed(0)).float()
    integers[:, ::32] = -16
    scale = torch.rand(8, 1, generator=torch.Generator().manual_seed(1)) + 0.1
    weight = integers * scale
    cells = quantization.q5_0_cells(weight)
    assert torch.allclose(cells, scale.expand(8, 2))
    moved = quantization.dithered(weight, cells, seed=0)
    assert ((moved - weight).abs() <= 0.5001 * scale).all() and torch.equal(
        moved, quantization.dithered(weight, cells, seed=0)
    )
    assert quantization.q5_0_cells(drawn(8, 64)) is None and quantization.q5_0_cells(moved) is None


def test_the_bytes_of_a_state_and_the_bits_of_a_scheme(bnb):
    x = drawn(512, 640)
    states = {
        double: bnb.quantize_4bit(x, blocksize=64, quant_type="nf4", compress_statistics=double)[1]
        for double in (False, True)
    }
    plain, double = (quantization.state_bytes(states[d]) for d in (False, True))
    assert plain == {"scales": 5120 * 4, "second level": 0, "tables": 64}
    assert double == {"scales": 5120, "second level": 20 * 4 + 4, "tables": 64 + 1024}
    for parts, asked in ((plain, {}), (double, {"scale_bits": 8, "second_block": 256})):
        counted = 4 + 8 * (parts["scales"] + parts["second level"]) / x.numel()
        assert counted == pytest.approx(quantization.bits_per_parameter(**asked), abs=2e-4)
    assert quantization.bits_per_parameter() == 4.5
    assert quantization.bits_per_parameter(scale_bits=8, second_block=256) == pytest.approx(4.127, abs=1e-3)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A random two-layer Gemma on disk, as a checkpoint."""
    from transformers import Gemma3ForCausalLM

    from helpers.checkpoints import Checkpoint

    torch.manual_seed(0)
    config = tiny_config(hidden_size=64, intermediate_size=128, head_dim=64)
    folder = tmp_path_factory.mktemp("tiny")
    Gemma3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    return Checkpoint(str(folder), "tiny", "test")


def test_a_4bit_model_weighs_what_its_parts_weigh_and_keeps_its_layout(bnb, tiny):
    models = {double: quantization.load_4bit(tiny, double) for double in (False, True)}
    for double, model in models.items():
        quantized = quantization.linears(model)
        assert len(quantized) == 14
        before = quantization.model_bytes(model)
        assert before["packed"] == sum(m.in_features * m.out_features for m in quantized.values()) // 2
        assert (
            before["embedding"] == 128 * 64 * 2
            and sum(before.values()) - before["scales"] <= model.get_memory_footprint()
        )
        with torch.no_grad():
            model(torch.tensor([[1, 2, 3]]))
        assert quantization.model_bytes(model) == before
        assert all(m.weight.quant_state.nested is double for m in quantized.values())
    assert quantization.model_bytes(models[True])["scales"] < quantization.model_bytes(models[False])["scales"] / 3


@pytest.mark.slow
def test_dither_stays_within_the_cell_and_is_seeded():
    base = gguf.base_gguf()
    tensor = next(t for t in gguf.reader(base).tensors if t.name == "blk.0.attn_q.weight")
    moved, again = (
        quantization.dithered_state(base, seed=1)["model.layers.0.self_attn.q_proj.weight"].numpy() for _ in range(2)
    )
    from gguf import quants

    noise = moved - quants.dequantize(tensor.data, tensor.tensor_type)
    assert np.array_equal(moved, again) and np.all(np.abs(noise) <= 0.501 * gguf.steps(tensor) + 1e-7)
    assert np.std(noise / gguf.steps(tensor).clip(1e-9)) == pytest.approx(12**-0.5, rel=0.02)
