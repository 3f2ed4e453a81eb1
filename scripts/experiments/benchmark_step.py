"""A training step on this machine's CPU: unmodified libraries against the course's three savings, a process each.

    python -m scripts.experiments.benchmark_step [--steps 6] [--out assets/reference/cpu_step.json]

Every step covers the same eight rows of one prompt, at a learning rate of zero, so that all ways must report the same
loss; in bfloat16 where the processor multiplies it, else in float32, which the provenance says. The first step warms up
and does not count; the time is the median of the others. A way that fails is stored with its error: TRL 1.15 computes
its loss in a Triton kernel, which needs a GPU, so that the peer here is transformers' own Trainer.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

PEER = "Trainer + PEFT"
EXACT = "float32 forward"  # no training: what the loss should be
WAYS = {
    EXACT: "float32",
    "TRL + PEFT": "SFTTrainer",
    PEER: "Trainer",
    "Unsloth": {"label_logits_only": False, "batch_size": 2, "accumulation": 4},
    "+ logits at labels only": {"rows_per_prompt": 1, "batch_size": 2, "accumulation": 4},
    "+ one prompt for eight rows": {"rows_per_prompt": 8, "batch_size": 1},
}


def rows():
    """Eight rows that declare the same tools, as the CPU profile's run takes them."""
    from helpers import dataset

    return dataset.load("train", 3, 8, ("weather",)).select(range(8))


def encoded(tokenizer) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids and labels of the eight rows; only the model's own turns have labels."""
    from helpers import masking

    found = masking.encode(rows(), tokenizer)
    return found.ids, found.labels


def _stock_arguments(steps: int) -> dict:
    """What both stock trainers are told, as far as they share it; ``steps`` steps at a rate of 0."""
    from helpers import environment, paths

    return {
        "output_dir": str(paths.cache_folder() / "runs" / "stock"),
        "max_steps": steps,
        "per_device_train_batch_size": 2,
        "gradient_accumulation_steps": 4,
        "learning_rate": 0.0,
        "lr_scheduler_type": "constant",
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "bf16": environment.multiplies_bf16(),
        "optim": "adamw_torch",
        "gradient_checkpointing": False,
        "remove_unused_columns": False,
        "dataloader_pin_memory": False,
        "disable_tqdm": True,
        "use_cpu": True,
    }


def stock(trainer_name: str, steps: int) -> list[dict]:
    """Train with plain transformers and PEFT, by TRL's trainer or transformers' own.

    Returns for each step its ``loss`` (nats) and ``seconds``. Raises SystemExit when Unsloth was imported.
    """
    import torch
    from datasets import Dataset
    from peft import get_peft_model
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        DataCollatorForSeq2Seq,
        Trainer,
        TrainingArguments,
    )

    from helpers import checkpoints, environment, masking, training
    from scripts.experiments.clock import step_clock

    path = checkpoints.ensure("gemma").path
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="right")
    ids, labels = encoded(tokenizer)
    data = Dataset.from_dict({"input_ids": ids, "labels": labels})
    recipe, clock = training.Recipe(), step_clock()
    arguments = _stock_arguments(steps)
    dtype = torch.bfloat16 if environment.multiplies_bf16() else torch.float32
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype)
    lora = training.lora_config(recipe.rank, recipe.alpha, recipe.target_modules)
    common = {
        "processing_class": tokenizer, "train_dataset": data, "callbacks": [clock],
        "data_collator": DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=masking.IGNORED),
    }  # fmt: skip
    if trainer_name == "SFTTrainer":
        from trl import SFTConfig, SFTTrainer

        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(dataset_kwargs={"skip_prepare_dataset": True}, max_length=1024, **arguments),
            peft_config=lora,
            **common,
        )
    else:
        trainer = Trainer(model=get_peft_model(model, lora), args=TrainingArguments(**arguments), **common)
    trainer.train()
    if "unsloth" in sys.modules:
        raise SystemExit("unsloth was imported: this is not the unmodified way")
    losses = [float(row["loss"]) for row in trainer.state.log_history if "loss" in row]
    return [{"loss": loss, "seconds": s} for loss, s in zip(losses, clock.seconds, strict=True)]


def exact_loss() -> list[dict]:
    """The loss of the same rows by transformers in float32, one row at a time."""
    import torch

    from helpers import checkpoints, masking

    checkpoint = checkpoints.ensure("gemma")
    tokenizer, model = checkpoints.load_tokenizer(checkpoint), checkpoints.load_model(checkpoint, dtype="float32")
    total, count, started = 0.0, 0, time.perf_counter()
    for ids, labels in zip(*encoded(tokenizer), strict=True):
        targets = torch.tensor(labels[1:])
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([ids])).logits[0, :-1]  # (N-1, V)
        total += torch.nn.functional.cross_entropy(
            logits, targets, ignore_index=masking.IGNORED, reduction="sum"
        ).item()
        count += int((targets != masking.IGNORED).sum())
    return [{"loss": total / count, "seconds": time.perf_counter() - started}]


def ours(options: dict, steps: int) -> list[dict]:
    """Train by the course's own path with these recipe options: each step's ``loss`` (nats) and ``seconds``."""
    from helpers import environment

    environment.import_libraries()
    from helpers import checkpoints, paths, training

    recipe = training.Recipe(max_steps=steps, learning_rate=0.0, warmup=0.0, schedule="constant", **options)
    folder = paths.cache_folder() / "runs" / f"benchmark-{time.time():.0f}"
    history = training.train(recipe, rows(), checkpoints.ensure("gemma"), folder).history
    return [{"loss": step["loss"], "seconds": step["seconds"]} for step in history]


def one(way: str, steps: int) -> None:
    """Measure one of ``WAYS`` in this process and print its result as a line that starts with RESULT."""
    options = WAYS[way]
    history = (
        exact_loss() if way == EXACT else stock(options, steps) if isinstance(options, str) else ours(options, steps)
    )
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("RESULT" + json.dumps({"way": way, "steps": history, "peak_bytes": peak}), flush=True)


def main() -> int:
    """Run the command line (see the module). Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--way", choices=WAYS, help="run this one only, in this process")
    arguments = parser.parse_args()
    if arguments.way:
        one(arguments.way, arguments.steps)
        return 0
    from helpers import environment, reference

    results = []
    for way in WAYS:
        command = [
            sys.executable,
            "-m",
            "scripts.experiments.benchmark_step",
            "--way",
            way,
            "--steps",
            str(arguments.steps),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
        if line is None:
            error = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no output")
            results.append({"way": way, "error": error})
            print(f"{way:<28} {error}", flush=True)
            continue
        result = json.loads(line.removeprefix("RESULT"))
        result["median_seconds"] = statistics.median(step["seconds"] for step in result["steps"][1:] or result["steps"])
        results.append(result)
        peer = next((r["median_seconds"] for r in results if r["way"] == PEER), float("nan"))
        ratio = peer / result["median_seconds"]
        print(
            f"{way:<28} {result['median_seconds']:6.2f} s a step, x{ratio:.2f}, "
            f"loss {result['steps'][-1]['loss']:.4f}, peak {result['peak_bytes'] / 1e9:.1f} GB",
            flush=True,
        )
    if arguments.out:
        arguments.out.write_text(
            json.dumps(
                {
                    "provenance": reference.provenance((environment.SEED,))
                    | environment.versions("unsloth")
                    | {"dtype": environment.profile().dtype},
                    "results": results,
                },
                indent=1,
            ),
            encoding="utf-8",
        )
    return 0 if any(result["way"] == PEER and "steps" in result for result in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
