"""The reference adapter: LoRA weights for Gemma 3 270M that the other notebooks use, and what they scored.

Trained by ``scripts/gpu_runs.py``; of its candidates the one with the most exact calls on *validation* is stored. It belongs to the base model
(``checkpoints.ensure("gemma")``), whichever model the rest of a notebook runs on.
"""

from __future__ import annotations

from . import reference
from .errors import CourseError
from .inference import Generation
from .paths import REFERENCE

FOLDER = REFERENCE / "adapter"


def load(dtype: str | None = None, device: str | None = None):
    """The base model with the adapter on it, in evaluation mode, and its tokenizer: ``(peft.PeftModel, tokenizer)``.

    dtype and device are the profile's unless given. Raises CourseError when the adapter is missing or damaged.
    """
    from peft import PeftModel

    from . import checkpoints

    base = checkpoints.ensure("gemma")
    try:
        model = PeftModel.from_pretrained(checkpoints.load_model(base, dtype, device), str(FOLDER))
    except Exception as error:  # PEFT takes a folder that is not there for a name on the hub; safetensors has its own errors
        reason = str(error).splitlines()[0][:100]
        raise CourseError(f"the reference adapter cannot be read: {reason}", "restore assets/reference/adapter with git checkout") from None
    return model.eval(), checkpoints.load_tokenizer(base)


def chosen(candidates: reference.Reference | None = None) -> dict:
    """Of the stored candidates the one with the most exact calls on validation: its settings and scores."""
    candidates = candidates or reference.load("reference")
    return max((r for r in candidates.results if r["steps"]), key=lambda r: r["validation"]["exact"][0])


def generations(rows, split: str, rank_kept: int | None = None) -> list[Generation]:
    """What the adapter wrote for rows of a split on the GPU; with ``rank_kept``, what it wrote with every ΔW cut to that rank."""
    candidates = reference.load("reference")
    return candidates.generations(rows, job=chosen(candidates)["job"], split=split, rank_kept=rank_kept)
