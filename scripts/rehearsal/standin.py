"""A model under FunctionGemma's name that can call already: Gemma 3 270M with the reference adapter merged into it.

    python -m scripts.rehearsal.standin FOLDER

FOLDER is laid out like the hub's cache: point HF_HUB_CACHE at it and set HF_HUB_OFFLINE=1.

FunctionGemma's own weights were never at hand where the course is made. What a reader with a GPU and the hub sees is
played with this model, whose prompts, tokens and file layout are the same and which, like FunctionGemma, answers a
request with a call before anything is trained.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from helpers import checkpoints, reference

REVISION = "0123456789abcdef0123456789abcdef01234567"  # any: the hub's cache names snapshots by their commit
COPIED = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def build(cache: Path) -> Path:
    """Write the stand-in into a hub cache and return its snapshot. The weights are bfloat16, as FunctionGemma's are."""
    import torch
    from safetensors.torch import save_file

    base = checkpoints.ensure("gemma")
    repository = cache / f"models--{checkpoints.HUB_MODEL.replace('/', '--')}"
    snapshot = repository / "snapshots" / REVISION
    snapshot.mkdir(parents=True, exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(REVISION, encoding="utf-8")
    for name in COPIED:
        shutil.copy(Path(base.path) / name, snapshot)
    state = {
        name: tensor.to(torch.bfloat16).contiguous()
        for name, tensor in checkpoints.merge_adapter(base, reference.adapter_folder()).items()
    }
    save_file(state, snapshot / "model.safetensors", metadata={"format": "pt"})
    return snapshot


def main() -> None:
    """Run the command line (see the module)."""
    from helpers import environment

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    environment.import_libraries()  # an old torchao must not stop the merge
    print(build(arguments.folder))


if __name__ == "__main__":
    main()
