"""A training step of 32 rows on one GPU: stock libraries, Unsloth, padded halves, and packed steps.

    python -m scripts.experiments.benchmark_gpu_step CHECKPOINT FOLDER OUT.json [--steps 60]

FOLDER holds token ids (``adapter_runs draw``). Every way trains on the same rows in the same order at the same rates,
in a process of its own, so that its losses can be compared; the time of a step is the median of those after the 20th.
``gpu_runs`` was the course's trainer before ``adapter_runs``; its step, two padded halves, is kept here to be compared.
``agreement`` compares loss and gradient of one step, packed and padded, in float32, where rounding hides nothing.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROWS, RATE, WIDTH = 32, 2e-4, 26624
WAYS = ("packed", "packed, not compiled", "gpu_runs", "TRL + PEFT", "Unsloth", "packed, another seed", "agreement")


def rows_of(folder: Path, steps: int) -> list[tuple]:
    """(ids, labels) of the rows of all steps, in order."""
    from scripts.experiments import token_pools

    pool = token_pools.read(folder, "universe", 1)
    return [pool.row(number) for number in range(ROWS * steps)]


def timed(run, model, backward) -> dict:
    """Loss and seconds of every step; ``backward(step)`` returns its loss, whose gradient it has left."""
    import torch

    from scripts.experiments import adapter_runs, packed_step

    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0, fused=packed_step.DEVICE == "cuda")
    losses, seconds = [], []
    for step in range(run.steps):
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = adapter_runs.rate_at(run, step)
        loss = backward(step)
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    return {"loss": losses, "seconds": seconds}


def packed(checkpoint: Path, folder: Path, steps: int, compiled: bool = True, seed: int = 0) -> dict:
    """The way of ``adapter_runs``."""
    from peft.helpers import disable_input_dtype_casting

    from helpers import masking
    from scripts.experiments import adapter_runs, packed_step, run_groups

    masking.CHUNK = 1024
    run = run_groups.Run("step", "packed", learning_rate=RATE, steps=steps, seed=seed)
    model = adapter_runs.adapted(run, packed_step.load_base(checkpoint))
    if compiled:
        packed_step.compile_layers(model)
    rows = rows_of(folder, steps)

    def backward(step):
        batch = packed_step.pack(rows[ROWS * step : ROWS * (step + 1)], WIDTH)
        with packed_step.half_precision(), disable_input_dtype_casting(model):
            loss = packed_step.packed_loss(model, batch)
        loss.backward()
        return loss.detach()

    return timed(run, model, backward)


def fused_norms() -> None:
    """Gemma 3's norm by torch's fused kernel, float32 as before: eager norms are a quarter of a GPU step's time."""
    import torch
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    def forward(self, x):
        gain = self.__dict__.setdefault("_gain", (1.0 + self.weight.detach().float()))  # frozen: the gain never changes
        return torch.nn.functional.rms_norm(x.float(), gain.shape, gain, self.eps).type_as(x)

    Gemma3RMSNorm.forward = forward


def padded_batch(rows: list[tuple]) -> dict:
    """``masking.pad`` of rows, each (ids, labels) as lists, on the device."""
    from helpers import masking
    from scripts.experiments import packed_step

    batch = masking.pad(*map(list, zip(*rows, strict=True)))
    return {key: value.to(packed_step.DEVICE, non_blocking=True) for key, value in batch.items()}


def as_lists(rows: list[tuple]) -> list[tuple]:
    """Rows of a pool with their ids and labels as lists."""
    return [(ids.tolist(), labels.tolist()) for ids, labels in rows]


def padded(checkpoint: Path, folder: Path, steps: int) -> dict:
    """The way of ``gpu_runs``: two halves of 16 rows, padded, fused norms, autocast."""
    from peft.helpers import disable_input_dtype_casting  # autocast casts; PEFT's own cast would keep float32 copies
    from transformers import AutoModelForCausalLM

    from helpers import masking
    from scripts.experiments import adapter_runs, packed_step, run_groups

    masking.CHUNK = 1024
    fused_norms()
    run = run_groups.Run("step", "padded", learning_rate=RATE, steps=steps)
    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=packed_step.HALF, attn_implementation="sdpa")
    model = adapter_runs.adapted(run, base.to(packed_step.DEVICE))
    rows = as_lists(rows_of(folder, steps))

    def backward(step):
        chosen = rows[ROWS * step : ROWS * (step + 1)]
        labelled = sum(label != masking.IGNORED for _, labels in chosen for label in labels)
        total = 0.0
        for half in (chosen[: ROWS // 2], chosen[ROWS // 2 :]):
            batch = padded_batch(half)
            with packed_step.half_precision(), disable_input_dtype_casting(model):
                loss = masking.label_loss(model, batch, num_items_in_batch=labelled)
            loss.backward()
            total = total + loss.detach()
        return total

    return timed(run, model, backward)


def trainer(checkpoint: Path, folder: Path, steps: int, unsloth: bool) -> dict:
    """TRL's SFTTrainer, on a plain model with PEFT's adapter or on Unsloth's."""
    if unsloth:
        from unsloth import FastModel
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq
    from trl import SFTConfig, SFTTrainer

    from helpers import masking, training
    from scripts.experiments.clock import step_clock

    told, clock = rows_of(folder, steps), step_clock()
    data = Dataset.from_dict(
        {"input_ids": [ids.tolist() for ids, _ in told], "labels": [labels.tolist() for _, labels in told]}
    )
    if unsloth:
        model, tokenizer = FastModel.from_pretrained(str(checkpoint), max_seq_length=1024, dtype=torch.bfloat16)
        model, lora = training.add_unsloth_adapter(model, 32, 64, False), None
    else:
        model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)
        tokenizer, lora = AutoTokenizer.from_pretrained(checkpoint), training.lora_config(32, 64)
    tokenizer.padding_side = "right"
    arguments = SFTConfig(
        output_dir=str(folder / "trainer"), max_steps=steps, per_device_train_batch_size=ROWS, learning_rate=RATE,
        lr_scheduler_type="cosine", warmup_steps=max(1, round(0.05 * steps)), logging_steps=1, save_strategy="no",
        report_to="none", bf16=True, gradient_checkpointing=False, remove_unused_columns=False, disable_tqdm=True,
        train_sampling_strategy="sequential", max_length=1024, dataset_kwargs={"skip_prepare_dataset": True},
    )  # fmt: skip
    trained = SFTTrainer(
        model=model, args=arguments, peft_config=lora, processing_class=tokenizer, train_dataset=data,
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=masking.IGNORED),
        callbacks=[clock],
    )  # fmt: skip
    trained.train()
    losses = [float(row["loss"]) for row in trained.state.log_history if "loss" in row]
    return {"loss": losses, "seconds": list(clock.seconds)}


def agreement(checkpoint: Path, folder: Path) -> dict:
    """Loss and gradient of one step in float32, packed and padded: how far apart, relative to the padded ones."""
    import torch

    from helpers import masking
    from scripts.experiments import adapter_runs, packed_step, run_groups

    rows = rows_of(folder, 1)[:8]
    found = []
    for way in ("sdpa", "packed"):
        base = packed_step.load_base(checkpoint, torch.float32)
        model = adapter_runs.adapted(run_groups.Run("step", "agreement"), base)
        for name, parameter in model.named_parameters():
            if "lora_B" in name:  # at 0 half of the gradient would be
                torch.nn.init.normal_(parameter, std=0.01, generator=torch.Generator(parameter.device).manual_seed(1))
        if way == "packed":
            packed_step.compile_layers(model)
            loss = packed_step.packed_loss(model, packed_step.pack(rows, 8192))
        else:
            model.set_attn_implementation("sdpa")
            loss = masking.label_loss(model, padded_batch(as_lists(rows)))
        loss.backward()
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((loss.item(), gradient))
    (loss, gradient), (ours, our_gradient) = found
    return {
        "loss_difference": abs(ours - loss) / loss,
        "gradient_difference": ((our_gradient - gradient).norm() / gradient.norm()).item(),
    }


def one(way: str, checkpoint: Path, folder: Path, steps: int) -> dict:
    """What a way measured, in this process."""
    if way == "agreement":
        return agreement(checkpoint, folder)
    if way.startswith("packed"):
        return packed(checkpoint, folder, steps, "not compiled" not in way, int("seed" in way))
    return (
        padded(checkpoint, folder, steps) if way == "gpu_runs" else trainer(checkpoint, folder, steps, way == "Unsloth")
    )


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--way", choices=WAYS, help="this one only, in this process")
    arguments = parser.parse_args()
    if arguments.way:
        told = one(arguments.way, arguments.checkpoint, arguments.folder, arguments.steps)
        arguments.out.write_text(json.dumps({"way": arguments.way} | told), encoding="utf-8")
        return
    from helpers import reference

    results = []
    for way in WAYS:
        part = arguments.out.with_suffix(".part")
        command = [sys.executable, "-m", "scripts.experiments.benchmark_gpu_step", "--way", way]
        command += ["--steps", str(arguments.steps), *map(str, (arguments.checkpoint, arguments.folder, part))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            error = next((line for line in reversed(done.stderr.splitlines()) if line.strip()), "no output")
            results.append({"way": way, "error": error})
        else:
            results.append(json.loads(part.read_text(encoding="utf-8")))
            if "seconds" in results[-1]:
                results[-1]["median_seconds"] = statistics.median(results[-1]["seconds"][20:])
                results[-1]["loss_41_50"] = statistics.mean(results[-1]["loss"][40:50])
        print({key: value for key, value in results[-1].items() if key not in ("loss", "seconds")}, flush=True)
        if done.returncode:
            print(done.stderr[-1500:], flush=True)
        told = {"provenance": reference.provenance((0, 1)), "results": results}
        arguments.out.write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
