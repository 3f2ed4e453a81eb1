"""Does training lose stability without the mean? Twins of a small Gemma 3, trained from scratch with three norms.

    python -m scripts.experiments.norm_twins prepare TOKENS.npz        (here: texts to ids, a minute)
    python -m scripts.experiments.norm_twins train TOKENS.npz OUT      (GPUs, some minutes; what OUT holds is done)

The norms differ in one thing each, and take the place of every norm of the model, those of queries and keys included:
``rms`` divides by the root mean square (Gemma's), ``layer`` subtracts the mean first (LayerNorm), ``spread`` divides
by the standard deviation and leaves the mean (which of LayerNorm's two halves matters?). Four learning rates, the
largest meant to be too large, three seeds; a seed fixes the weights and the order of the batches, so that runs are
pairs. Source of the question: Zhang and Sennrich, "Root Mean Square Layer Normalization" (2019).
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from pathlib import Path

NORMS = ("rms", "layer", "spread")
RATES = (1e-3, 4e-3, 1.6e-2, 6.4e-2)
SEEDS = (0, 1, 2)
STEPS, BATCH, LENGTH = 1000, 32, 256
VOCABULARY = 8192  # the most frequent tokens of the texts; all others are one
SIZES = {
    "hidden_size": 320,
    "intermediate_size": 1024,
    "num_hidden_layers": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 1,
    "head_dim": 80,
    "sliding_window": 128,
}


def prepare(target: Path) -> None:
    """The course's training and validation conversations as two rows of ids below ``VOCABULARY``, int16."""
    import numpy as np

    from helpers import checkpoints, dataset

    tokenizer = checkpoints.load_tokenizer(checkpoints.ensure("gemma"))
    ids = {}
    for split in ("train", "validation"):
        texts = dataset.texts(dataset.load(split).to_list())
        ids[split] = np.concatenate([np.array(row) for row in tokenizer(texts, add_special_tokens=False).input_ids])
    frequent = np.argsort(-np.bincount(ids["train"], minlength=262144), kind="stable")[: VOCABULARY - 1]
    number = np.full(262144, VOCABULARY - 1)
    number[frequent] = np.arange(VOCABULARY - 1)
    np.savez_compressed(target, **{split: number[row].astype("int16") for split, row in ids.items()})
    print(
        {split: len(row) for split, row in ids.items()}, f"{(number[ids['train']] == VOCABULARY - 1).mean():.2%} rare"
    )


def normed(x, norm: str, eps: float):
    """``x`` (…, D) by one of ``NORMS``, in float32, without its gain."""
    x = x.float()
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    spread = (x if norm == "rms" else centred).pow(2).mean(-1, keepdim=True)
    return (centred if norm == "layer" else x) * (spread + eps).rsqrt()


def twin(norm: str, seed: int, device: str, **sizes):
    """A Gemma 3 of ``SIZES`` with random weights and one of ``NORMS`` in the place of each of its norms."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(seed)
    model = Gemma3ForCausalLM(Gemma3TextConfig(**{"vocab_size": VOCABULARY, **SIZES, **sizes}))
    for module in model.modules():
        if type(module).__name__ == "Gemma3RMSNorm":
            module._norm = lambda x, eps=module.eps: normed(x, norm, eps)
    return model.to(device).train()


def batches(ids, seed: int, steps: int, batch: int, length: int):
    """Random windows of the ids, (batch, length) a step; the same for every norm and rate of a seed."""
    import numpy as np

    starts = np.random.default_rng(seed).integers(0, len(ids) - length, (steps, batch))
    for row in starts:
        yield np.stack([ids[start : start + length] for start in row]).astype("int64")


def rate_at(step: int, peak: float, steps: int) -> float:
    """Linear warm-up over a twentieth of the steps, then a cosine to zero."""
    import math

    warm = max(1, steps // 20)
    return peak * min((step + 1) / warm, 0.5 * (1 + math.cos(math.pi * max(0, step - warm) / (steps - warm))))


def held_out_loss(model, ids, device: str, batch: int, length: int) -> float:
    """Mean loss in nats over the first windows of the validation ids."""
    import torch

    count = min(len(ids) // length, 8 * batch)
    windows = torch.tensor(ids[: count * length].astype("int64")).view(count, length)
    with torch.no_grad():
        losses = [model(input_ids=part.to(device), labels=part.to(device)).loss.item() for part in windows.split(batch)]
    return sum(losses) / len(losses)


def train(
    norm: str,
    rate: float,
    seed: int,
    data,
    steps: int = STEPS,
    batch: int = BATCH,
    length: int = LENGTH,
    number: int = 0,
) -> dict:
    """One run: its losses and gradient norms step by step, and the loss on validation. ``number`` picks the GPU."""
    import torch

    kind = "cuda" if torch.cuda.is_available() else "cpu"
    device = f"cuda:{number % torch.cuda.device_count()}" if kind == "cuda" else kind
    model, started = twin(norm, seed, device), time.perf_counter()
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95), weight_decay=0.1)
    losses, gradients = [], []
    for step, window in enumerate(batches(data["train"], seed, steps, batch, length)):
        ids = torch.from_numpy(window).to(device)
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=kind == "cuda"):
            loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        gradients.append(torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).detach())
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, rate, steps)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.detach())
        if step % 50 == 49 and not torch.isfinite(loss):
            break
    told = {"norm": norm, "rate": rate, "seed": seed, "seconds": time.perf_counter() - started}
    told["loss"] = [round(value.item(), 4) for value in losses]
    told["grad_norm"] = [round(value.item(), 4) for value in gradients]
    return told | {"validation": held_out_loss(model.eval(), data["validation"], device, batch, length)}


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prepare", "train"))
    parser.add_argument("tokens", type=Path)
    parser.add_argument("out", type=Path, nargs="?")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--jobs", type=int, default=3, help="runs at a time")
    arguments = parser.parse_args()
    if arguments.what == "prepare":
        return prepare(arguments.tokens)
    import numpy as np
    from joblib import Parallel, delayed

    from helpers import reference

    with np.load(arguments.tokens) as stored:
        data = {split: stored[split] for split in stored.files}
    results = json.loads(arguments.out.read_text(encoding="utf-8"))["results"] if arguments.out.exists() else []
    done = {(told["seed"], told["rate"], told["norm"]) for told in results}
    # whole seeds first: what a lease cuts off leaves pairs
    asked = [one for one in itertools.product(SEEDS, RATES, NORMS) if one not in done]
    runs = Parallel(n_jobs=arguments.jobs, return_as="generator_unordered")(
        delayed(train)(norm, rate, seed, data, arguments.steps, number=number)
        for number, (seed, rate, norm) in enumerate(asked)
    )
    for told in runs:
        results.append(told)
        print({k: told[k] for k in ("norm", "rate", "seed", "seconds", "validation")}, told["loss"][-1], flush=True)
        source = reference.provenance(SEEDS)
        arguments.out.write_text(json.dumps({"provenance": source, "results": results}), encoding="utf-8")
    return None


if __name__ == "__main__":
    main()
