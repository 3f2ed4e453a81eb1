"""Where am I, what can it do: one place that chooses every experiment's sizes, fixes seeds, loads libraries quietly."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import platform
import sys
import warnings
from dataclasses import dataclass, replace
from functools import cache
from importlib import metadata
from pathlib import Path

from .errors import CourseError
from .paths import cache_folder

SEED = 3407
NETWORK_TIMEOUT = 5  # seconds, for the one question whether the hub can be reached


@dataclass(frozen=True)
class Profile:
    """The sizes that differ by machine; the code that runs does not.

    ``dtype`` is the name of the torch dtype weights are loaded in (float32 where bfloat16 is emulated). ``max_steps``
    and ``batch_size`` are those of the course's training run, ``eval_rows`` how many rows are generated for one score,
    ``tools_per_row`` how many tools a prompt declares (None: all that the row has), ``rows_per_prompt`` how many
    training rows share one computation of their common prompt (see ``helpers.packing``), ``domains`` which domains of
    the data the run covers (None: all). The CPU's sizes were chosen on the validation split by
    ``scripts/experiments/tune_live_run.py``.
    """

    name: str
    device: str
    dtype: str
    batch_size: int
    max_steps: int
    eval_rows: int
    tools_per_row: int | None
    rows_per_prompt: int = 1
    domains: tuple[str, ...] | None = None


PROFILES = {
    "cpu": Profile("cpu", "cpu", "bfloat16", 1, 70, 50, 3, 8, ("weather",)),
    "t4": Profile("t4", "cuda", "float32", 8, 150, 200, None),
    "gpu": Profile("gpu", "cuda", "bfloat16", 16, 300, 400, None),
}


def profile() -> Profile:
    """The profile of this machine, or the one that ``COURSE_PROFILE`` names (cpu, t4, gpu).

    Raises CourseError for an unknown name, and for t4 or gpu where torch finds no GPU.
    """
    named = os.environ.get("COURSE_PROFILE", "").strip().lower()
    if named and named not in PROFILES:
        raise CourseError(f"COURSE_PROFILE={named} is no profile", f"use one of {', '.join(PROFILES)}")
    import torch

    if not torch.cuda.is_available():
        if named in ("t4", "gpu"):
            raise CourseError(
                f"COURSE_PROFILE={named} needs a GPU and torch sees none", "unset it, or use COURSE_PROFILE=cpu"
            )
        return PROFILES["cpu"] if multiplies_bf16() else replace(PROFILES["cpu"], dtype="float32")
    # is_bf16_supported() says True on a T4, by emulation
    native_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    chosen = PROFILES[named or ("gpu" if native_bf16 else "t4")]
    return chosen if native_bf16 or chosen.dtype != "bfloat16" else replace(chosen, dtype="float32")


def multiplies_bf16() -> bool:
    """Whether this CPU has fast matrix products in bfloat16: oneDNN has them from AVX-512 on.

    Without, torch falls back to a plain loop: the backward pass of one 640 x 2,048 layer over 300 tokens took 222 ms,
    in float32 4.
    """
    import torch

    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def cores() -> int:
    """Cores that this process may keep busy: ``OMP_NUM_THREADS`` where it is set, as torch has it, else all.

    llama.cpp's threads wait for each other by spinning: two of them on one free core are slower than one.
    """
    told = os.environ.get("OMP_NUM_THREADS", "")
    return int(told) if told.isdigit() and int(told) else os.cpu_count() or 1


def on_colab() -> bool:
    """Whether this kernel is Colab's."""
    return "google.colab" in sys.modules


def gpu_advice() -> str | None:
    """One line for a reader on Colab whose machine has no GPU though this notebook would use one; else None.

    Notebooks that measure on the processor hide the GPU themselves (``CUDA_VISIBLE_DEVICES`` is empty): there is
    nothing to advise.
    """
    import torch

    if not on_colab() or torch.cuda.is_available() or os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return None
    return (
        "no GPU here: Runtime → Change runtime type → T4 GPU gives one, free; "
        "without, the cells below run in smaller sizes"
    )


def seed_everything(seed: int = SEED) -> None:
    """Seed Python, numpy and torch (all devices), as transformers does it."""
    from transformers import set_seed

    set_seed(seed)


def device_name() -> str:
    """The processor's own name: the GPU's, or the CPU's with its core count."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    return f"{platform.machine()} CPU, {os.cpu_count()} cores"


def peak_bytes() -> int:
    """Most bytes that were allocated on the GPU since its marks were last reset.

    Without a GPU, most that this process has held resident.
    """
    import torch

    return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else peak_host_bytes()


def peak_host_bytes() -> int:
    """Largest resident size of this process so far, in bytes, libraries included.

    On Linux it is read from /proc: ``getrusage`` there begins with the size of the process that started this one.
    """
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    if sys.platform == "win32":
        import psutil

        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS counts bytes


def versions(*packages: str) -> dict[str, str]:
    """Installed versions of the named packages, ``"missing"`` where one is not installed."""
    found = {}
    for package in packages:
        try:
            # None, KeyError or ValueError: its folder is there, its METADATA is absent or unreadable
            found[package] = metadata.version(package) or "missing"
        except (metadata.PackageNotFoundError, KeyError, ValueError):
            found[package] = "missing"
    return found


def show(checkpoint=None) -> None:
    """Print what the cells below run on: profile, device, versions, model."""
    chosen = profile()
    rows = {
        "python": platform.python_version(),
        **versions("torch", "unsloth", "transformers", "trl", "peft", "datasets"),
    }
    rows |= {"profile": f"{chosen.name} ({device_name()}, {chosen.dtype})"}
    if checkpoint is not None:
        rows["model"] = f"{checkpoint.name} ({checkpoint.source})"
    width = max(map(len, rows))
    sys.stdout.write("".join(f"{key:<{width}}  {value}\n" for key, value in rows.items()))


# --- the network ------------------------------------------------------------------------------------------------------


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


# --- quietly: third parties' banners and progress stay out of a notebook's stored outputs, their errors do not --------


@contextlib.contextmanager
def quiet():
    """Hold back what libraries print inside the block; if the block fails, print it all, then raise."""
    held, previous = io.StringIO(), logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(held), contextlib.redirect_stderr(held), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except BaseException:
        sys.stderr.write(held.getvalue())
        raise
    finally:
        logging.disable(previous)


def set_variables() -> None:
    """Environment variables that must be set before the heavy libraries load. Values that are set already stay."""
    defaults = {
        "UNSLOTH_DISABLE_STATISTICS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_folder() / "unsloth_compiled"))


def import_libraries() -> None:
    """Import Unsloth before trl and transformers, as it asks, and turn third-party progress bars off."""
    set_variables()
    # torch.compile's own, some twenty times in a generation on a GPU, and its advice to multiply less exactly
    warnings.filterwarnings("ignore", message="inductor::|TensorFloat32")
    if not hub_reachable():
        os.environ["HF_HUB_OFFLINE"] = "1"  # a blocked hub otherwise costs minutes
    with quiet():
        import datasets
        import unsloth  # noqa: F401  (first: it patches trl and transformers)
        from transformers.utils import logging as transformers_logging

        _accept_old_torchao()
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
        datasets.disable_progress_bars()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _accept_old_torchao() -> None:
    """Let PEFT build LoRA layers beside a torchao that it refuses.

    Colab has 0.10.0, PEFT 0.21 wants 0.16 and raises for every layer. Unsloth mends that where it finds a GPU
    (unsloth/_gpu_init.py); its mend is called here, so that notebooks that hide the GPU have it too. It warns once, at
    the first question, which is asked here, where nobody reads it: the course uses nothing of torchao.
    """
    from unsloth.import_fixes import fix_peft_stale_torchao_import_error

    fix_peft_stale_torchao_import_error()
    from peft.import_utils import is_torchao_available

    is_torchao_available()


@contextlib.contextmanager
def in_float32_throughout(dtype: str):
    """While a model is loaded that was asked for in float32: Unsloth does as told, also on a GPU without bfloat16.

    There, for a family on its list ``FORCE_FLOAT32``, Unsloth overrules float32 by a mixture: weights and matrix
    products in float16, norms and the stream between layers in float32 (unsloth/models/loader.py,
    unsloth_zoo/temporary_patches/gemma.py, 2026.10.9). The mixture is made by replacing Gemma 3's classes for the whole
    process, so that the plain models which the course holds beside the trained one would no longer run. In float32 both
    do, a T4 has the memory for it (notebook 03, 3.8), and what is measured is what two cores measure.
    """
    # not there on a processor, where Unsloth decides elsewhere; importing it would patch Gemma 3
    loader = sys.modules.get("unsloth.models.loader")
    if loader is None or dtype != "float32":
        yield
        return
    listed = list(loader.FORCE_FLOAT32)
    loader.FORCE_FLOAT32[:] = [
        name for name in listed if name.rstrip(",").replace("_", "") not in ("gemma3", "gemma3text")
    ]
    try:
        yield
    finally:
        loader.FORCE_FLOAT32[:] = listed
