"""A training step on this machine's CPU: unmodified TRL + PEFT against the course's three savings, a process each.

    python scripts/benchmark_step.py [--steps 6] [--out assets/reference/cpu_step.json]

Every step covers the same eight rows of one prompt, at a learning rate of zero, so that all ways must report the same loss. The first step
warms up and does not count; the time is the median of the others.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

WAYS = {
    "TRL + PEFT": "stock",
    "Unsloth": {"label_logits_only": False, "batch_size": 2, "accumulation": 4},
    "+ logits at labels only": {"rows_per_prompt": 1, "batch_size": 2, "accumulation": 4},
    "+ one prompt for eight rows": {"rows_per_prompt": 8, "batch_size": 1},
}


def rows():
    """Eight rows that declare the same tools, as the CPU profile's run takes them."""
    from helpers import dataset

    return dataset.load("train", 3, 8, ("weather",)).select(range(8))


def stock(steps: int) -> list[dict]:
    """Plain transformers, PEFT and TRL, their defaults but for what the recipe says. Unsloth is not imported."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    from helpers import checkpoints, masking, training

    path = checkpoints.ensure("gemma").path
    tokenizer = AutoTokenizer.from_pretrained(path, padding_side="right")
    header = tokenizer(masking.RESPONSE_PART, add_special_tokens=False).input_ids
    ids = tokenizer(training.texts(rows()), add_special_tokens=False).input_ids
    data = Dataset.from_dict({"input_ids": ids, "labels": [masking.response_labels(row, header) for row in ids]})
    recipe, begun, seconds = training.Recipe(), [0.0], []

    class Clock(TrainerCallback):
        def on_step_begin(self, *args, **kwargs):
            begun[0] = time.perf_counter()

        def on_step_end(self, *args, **kwargs):
            seconds.append(time.perf_counter() - begun[0])

    arguments = SFTConfig(
        output_dir=str(checkpoints.cache_folder() / "runs" / "stock"), max_steps=steps, per_device_train_batch_size=2, gradient_accumulation_steps=4,
        learning_rate=0.0, lr_scheduler_type="constant", logging_steps=1, save_strategy="no", report_to="none", bf16=True, optim="adamw_torch",
        dataset_kwargs={"skip_prepare_dataset": True}, gradient_checkpointing=False, remove_unused_columns=False, dataloader_pin_memory=False,
        disable_tqdm=True, max_length=1024,
    )  # fmt: skip
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(path, dtype=torch.bfloat16), processing_class=tokenizer, train_dataset=data, args=arguments,
        peft_config=LoraConfig(r=recipe.rank, lora_alpha=recipe.alpha, target_modules=list(recipe.target_modules)),
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=masking.IGNORED), callbacks=[Clock()],
    )  # fmt: skip
    trainer.train()
    if "unsloth" in sys.modules:
        raise SystemExit("unsloth was imported: this is not the unmodified way")
    losses = [float(row["loss"]) for row in trainer.state.log_history if "loss" in row]
    return [{"loss": loss, "seconds": s} for loss, s in zip(losses, seconds, strict=True)]


def ours(options: dict, steps: int) -> list[dict]:
    from helpers import quiet

    quiet.libraries()
    from helpers import checkpoints, training

    recipe = training.Recipe(max_steps=steps, learning_rate=0.0, warmup=0.0, schedule="constant", **options)
    folder = checkpoints.cache_folder() / "runs" / f"benchmark-{time.time():.0f}"
    history = training.train(recipe, rows(), checkpoints.ensure("gemma"), folder).history
    return [{"loss": step["loss"], "seconds": step["seconds"]} for step in history]


def one(way: str, steps: int) -> None:
    options = WAYS[way]
    history = stock(steps) if options == "stock" else ours(options, steps)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("RESULT" + json.dumps({"way": way, "steps": history, "peak_bytes": peak}), flush=True)


def main() -> int:
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
        command = [sys.executable, __file__, "--way", way, "--steps", str(arguments.steps)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        line = next((line for line in done.stdout.splitlines() if line.startswith("RESULT")), None)
        if line is None:
            print(f"error: {way!r} failed\n{done.stderr[-2000:]}", file=sys.stderr)
            return 1
        result = json.loads(line.removeprefix("RESULT"))
        result["median_seconds"] = statistics.median(step["seconds"] for step in result["steps"][1:])
        results.append(result)
        ratio = results[0]["median_seconds"] / result["median_seconds"]
        print(f"{way:<28} {result['median_seconds']:6.2f} s a step, x{ratio:.2f}, loss {result['steps'][-1]['loss']:.4f}, peak {result['peak_bytes'] / 1e9:.1f} GB", flush=True)
    if arguments.out:
        arguments.out.write_text(json.dumps({"provenance": reference.provenance((environment.SEED,)) | environment.versions("unsloth"), "results": results}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
