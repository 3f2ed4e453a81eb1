"""Keep banners and progress of third parties out of a notebook's stored outputs, without losing their errors."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings


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


def settings() -> None:
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
    from .checkpoints import cache_folder

    os.environ.setdefault("UNSLOTH_COMPILE_LOCATION", str(cache_folder() / "unsloth_compiled"))


def libraries() -> None:
    """Import Unsloth before trl and transformers, as it asks, and turn third-party progress bars off."""
    settings()
    warnings.filterwarnings("ignore", message="inductor::")  # torch.compile's own, some twenty times in a generation on a GPU
    from .checkpoints import hub_reachable

    if not hub_reachable():
        os.environ["HF_HUB_OFFLINE"] = "1"  # a blocked hub otherwise costs minutes
    with quiet():
        import datasets
        import unsloth  # noqa: F401  (first: it patches trl and transformers)
        from transformers.utils import logging as transformers_logging

        _pass_over_an_old_torchao()
        transformers_logging.disable_progress_bar()
        transformers_logging.set_verbosity_error()
        datasets.disable_progress_bars()
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def _pass_over_an_old_torchao() -> None:
    """Let PEFT build LoRA layers beside a torchao that it refuses: Colab has 0.10.0, PEFT 0.21 wants 0.16 and raises for every layer.

    Unsloth mends that where it finds a GPU (unsloth/_gpu_init.py); its mend is called here, so that notebooks that hide the GPU have it too. It warns
    once, at the first question, which is asked here, where nobody reads it: the course uses nothing of torchao.
    """
    from unsloth.import_fixes import fix_peft_stale_torchao_import_error

    fix_peft_stale_torchao_import_error()
    from peft.import_utils import is_torchao_available

    is_torchao_available()
