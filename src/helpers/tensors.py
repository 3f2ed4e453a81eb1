"""Tensors before they are loaded or written: names, shapes and values held against those of the model."""

from __future__ import annotations

from pathlib import Path

from .errors import CourseError


def tensor_shapes(file: Path, remedy: str) -> dict[str, tuple[int, ...]]:
    """Name -> shape of what a safetensors file holds, from its header. Raises CourseError for one that is none."""
    from safetensors import SafetensorError, safe_open

    try:
        with file.open("rb") as stream:
            if stream.read(24) == b"version https://git-lfs.":
                raise CourseError(f"{file.name} of {file.parent.name} is a Git LFS pointer, not the weights", remedy)
        with safe_open(file, "pt") as tensors:
            return {key: tuple(tensors.get_slice(key).get_shape()) for key in tensors.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise CourseError(f"{file.name} of {file.parent.name} is cut or damaged: {reason}", remedy) from None


def refuse_tensors(thing: str, missing, unexpected, shapes, remedy: str) -> None:
    """Raise CourseError, which names the first, for tensors that are missing, unexpected, or of another shape.

    ``missing`` and ``unexpected`` are names; ``shapes`` are (name, shape here, shape wanted); ``thing`` is a plural.
    """
    for keys, words in ((missing, "lack"), (unexpected, "hold, though the model has no such tensor,")):
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise CourseError(f"{thing} {words} {min(keys)}{more}", remedy)
    for name, here, wanted in shapes:
        raise CourseError(f"{thing} hold {name} of shape {tuple(here)}, the model's is {tuple(wanted)}", remedy)


def check_state(state: dict, shapes: dict[str, tuple[int, ...]]) -> None:
    """Raise CourseError for the first tensor of ``state`` that a GGUF of these names and shapes cannot take."""
    import torch

    remedy = "write the base's own weights with an adapter merged into them (checkpoints.merge_adapter)"
    head = state.get("lm_head.weight", torch.empty(0))
    embedding = state.get("model.embed_tokens.weight", torch.empty(1))
    tied = {"lm_head.weight"} if head.shape == embedding.shape and bool((head == embedding).all()) else set()
    both = sorted(shapes.keys() & state)
    wrong = [(name, state[name].shape, shapes[name]) for name in both if tuple(state[name].shape) != shapes[name]]
    refuse_tensors("the weights", shapes.keys() - state, state.keys() - shapes - tied, wrong, remedy)
    for name in shapes:
        low, high = (float(x) for x in torch.aminmax(state[name].float()))  # NaN in one place is NaN in both
        if not -65504 <= low <= high <= 65504:
            raise CourseError(f"{name} holds values that float16 does not: {low:.3g} to {high:.3g}", remedy)
