"""What notebook 03 cannot measure on a CPU: memory and time of a training step on a GPU, with and without Unsloth.

    python -m scripts.experiments.memory_runs CHECKPOINT OUT [--seconds 540] [--only KIND …] [--revision SHA]

Every measurement runs in a process of its own with a limit of its own; what it found joins OUT/memory.json as soon as
it has ended, a failure with its error. Results of measurements that are not run again stay in that file as they are,
each with the revision it was taken at. Plain runs never import Unsloth and say so when they end. All runs begin from
the same adapter, drawn by name, and see the same rows in the same order.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import time
import traceback
from pathlib import Path

SEED = 0
RANK, ALPHA, RATE = 32, 64, 2e-4
LENGTHS = (128, 256, 512, 1024, 2048, 4096)
LABELLED = 64  # tokens at the end of each row that carry the loss, about as many as a call and a reply have
SHAPES = ((1, 512), (4, 512), (2, 1024), (8, 512), (1, 4096))  # (B, N) of the ledgers
PASSES = ((1, 512), (1, 2048), (8, 1024))  # (B, N) of the timed passes: the first waits for launches, the last does not
EDGES = (512, 1024, 1536, 1638, 1639, 1700, 2048, 4096)  # tokens of a step: 2 MiB are 1638.4 tokens of 640 bf16 numbers
STEPS, ROWS = 30, 4
KINDS = {  # name: (arguments of the measurement, seconds it may take)
    "ledger": ("", 60),
    "modes eager": ("eager", 120),
    "modes sdpa": ("sdpa", 120),
    "losses": ("", 120),
    "range": ("", 40),
    "run plain": ("plain False", 80),
    "run plain, layers": ("plain True", 80),
    "run unsloth": ("unsloth False", 300),
    "run unsloth, layers": ("unsloth True", 300),
    "run unsloth, offload": ("unsloth unsloth", 300),
    "offload": ("", 150),
    "kernels plain": ("plain", 60),
    "kernels unsloth": ("unsloth", 150),
    "kernels llama": ("llama", 150),
    "held unsloth": ("False", 300),
    "held unsloth, layers": ("True", 300),
    "held unsloth, offload": ("unsloth", 300),
    "passes plain": ("plain", 90),
    "passes unsloth": ("unsloth", 200),
    "calls unsloth, offload": ("unsloth", 200),
    "norms": ("", 90),
}


def report(**told) -> None:
    """A finding, for the process that collects them."""
    print("RESULT" + json.dumps(told), flush=True)


def device() -> str:
    """ "cuda" if there is a GPU, else "cpu"."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def settle() -> int:
    """Free what can be freed, forget the peak. Returns the bytes that are allocated (0 on a CPU)."""
    import torch

    gc.collect()
    if device() == "cpu":
        return 0
    torch.cuda.synchronize()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    return torch.cuda.memory_allocated()


def peak() -> int:
    """Most bytes allocated on the GPU since the last ``settle``; 0 on a CPU."""
    import torch

    return torch.cuda.max_memory_allocated() if device() == "cuda" else 0


def timed(work, repeats: int = 5) -> float:
    """Median wall seconds of ``work()`` after one call that warms up."""
    import torch

    seconds = []
    for _ in range(repeats + 1):
        if device() == "cuda":
            torch.cuda.synchronize()
        started = time.perf_counter()
        work()
        if device() == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds[1:])


def plain_model(attention: str):
    """transformers + PEFT, the adapter drawn by name."""
    from helpers import checkpoints
    from helpers.probes import checkpointing

    model = checkpointing.adapted(checkpoints.ensure(), attention, device=device(), rank=RANK)
    draw_adapter(model)
    return model


def draw_adapter(model) -> None:
    """PEFT's initialization (A uniform within ±1/√fan-in, B zero) from a seed that the parameter's name gives.

    So every library starts alike.
    """
    import hashlib

    import torch

    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            short = name[name.index("layers.") :].encode()
            draw = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(short).digest()[:4], "big"))
            bound = parameter.shape[1] ** -0.5
            parameter.data.copy_((torch.rand(parameter.shape, generator=draw) * 2 - 1) * bound)
        elif "lora_B" in name:
            parameter.data.zero_()


# --- measurements -----------------------------------------------------------------------------------------------------


def ledger(sizes) -> None:
    """Bytes that the ledger counts at the peak of an eager step, against the allocator's own peak."""
    import torch

    from helpers.probes import checkpointing

    model = plain_model("eager")
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
    for batch, tokens in sizes:
        ids = checkpointing.random_ids(model, batch, tokens)
        checkpointing.step(model, ids, optimizer=optimizer)  # the optimizer's state exists from here on
        settle()
        checkpointing.loss_of(model, ids).backward()
        optimizer.step()
        without = peak()
        model.zero_grad(set_to_none=True)
        settle()
        found = checkpointing.step(model, ids, optimizer=optimizer)["ledger"]
        report(
            kind="ledger",
            batch=batch,
            tokens=tokens,
            measured_bytes=without,
            measured_beside_ledger=peak(),
            ledger_bytes=found.peak.total,
            categories=found.peak.by("category"),
            holders=[
                [*holder, size] for holder, size in list(found.peak.by("category", "module", "kind").items())[:12]
            ],
        )
        memory_free(model)


def memory_free(model) -> None:
    """Drop the model's gradients and free what can be freed."""
    model.zero_grad(set_to_none=True)
    settle()


def modes(attention: str, lengths) -> None:
    """Every way of checkpointing against the sequence length, one row a step."""
    from helpers.probes import checkpointing, memory

    model = plain_model(attention)
    for tokens in lengths:
        ids, first = checkpointing.random_ids(model, 1, tokens), None
        for mode in checkpointing.MODES:
            try:
                found = one_mode(model, ids, mode)
                gradients = found.pop("gradients")
                first = first or gradients
                found["gradient_difference"] = max((gradients[n] - first[n]).abs().max().item() for n in first)
                found["gradient_scale"] = max(g.abs().max().item() for g in first.values())
                with checkpointing.checkpointing(model, mode), memory.saved(model) as kept:
                    checkpointing.loss_of(model, ids, "response", LABELLED)
                found["saved_bytes"] = {kind: kept.bytes(kind) for kind in sorted({t["device"] for t in kept.tensors})}
            except Exception as error:  # one length may not fit; the others still count
                found = {"error": f"{type(error).__name__}: {str(error).splitlines()[0][:200]}"}
            report(kind="modes", attention=attention, tokens=tokens, mode=mode, **found)
            memory_free(model)


def one_mode(model, ids, mode: str) -> dict:
    """Peak bytes, seconds, forward calls and gradients of a step in one checkpointing mode."""
    from helpers.probes import checkpointing, memory

    def step():
        checkpointing.loss_of(model, ids, "response", LABELLED).backward()

    static = settle()
    with checkpointing.checkpointing(model, mode), memory.counted(model, "q_proj", "act_fn") as calls:
        step()
    found = {"peak_bytes": peak(), "static_bytes": static, "calls": dict(calls)}
    found["gradients"] = {name: p.grad.detach().clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    with checkpointing.checkpointing(model, mode):
        found["seconds"] = timed(step)
    return found


def losses(lengths) -> None:
    """Three ways to the same loss: logits everywhere, in chunks, at labels only."""
    from helpers.probes import checkpointing

    model = plain_model("sdpa")
    for tokens in lengths:
        ids = checkpointing.random_ids(model, 1, tokens)
        for loss in checkpointing.LOSSES:
            for labelled in (LABELLED, None):
                static = settle()

                def step(loss=loss, labelled=labelled, ids=ids):
                    value = checkpointing.loss_of(model, ids, loss, labelled)
                    value.backward()
                    return value.item()

                value = step()
                most = peak()
                model.zero_grad(set_to_none=True)
                report(
                    kind="losses",
                    tokens=tokens,
                    loss=loss,
                    labelled=labelled or tokens - 1,
                    value=value,
                    peak_bytes=most,
                    static_bytes=static,
                    seconds=timed(step, 3),
                )
                memory_free(model)


def activation_range() -> None:
    """The largest number in each layer over Arabic and English passages, in three dtypes."""
    from helpers import checkpoints, dataset
    from helpers.probes import architecture

    checkpoint = checkpoints.ensure()
    tokenizer = checkpoints.load_tokenizer(checkpoint)
    told = dataset.retention()
    for dtype in ("float32", "bfloat16", "float16"):
        model = checkpoints.load_model(checkpoint, dtype=dtype, device=device())
        for language in ("arabic", "english"):
            texts = told[language]
            batches = [tokenizer(text, return_tensors="pt").input_ids.to(device()) for text in texts]
            report(
                kind="range",
                dtype=dtype,
                language=language,
                passages=len(texts),
                largest=architecture.largest_activations(model, batches),
            )
        del model


def loaded(library: str, checkpointing_mode):
    """Model with adapter and tokenizer, by Unsloth or without it."""
    import torch

    from helpers import checkpoints

    checkpoint = checkpoints.ensure()
    if library == "unsloth":
        from unsloth import FastModel

        from helpers import training

        model, tokenizer = FastModel.from_pretrained(
            checkpoint.path, max_seq_length=max(LENGTHS), dtype=torch.bfloat16, load_in_4bit=False
        )
        model = training.add_unsloth_adapter(model, RANK, ALPHA, checkpointing_mode, seed=SEED)
        draw_adapter(model)
    else:
        tokenizer, model = checkpoints.load_tokenizer(checkpoint), plain_model("sdpa")
        if checkpointing_mode:
            model.get_base_model().gradient_checkpointing_enable({"use_reentrant": False})
    tokenizer.padding_side = "right"
    return model.train(), tokenizer


def rows(tokenizer, number: int) -> dict:
    """Ids and labels of the first training rows; only the model's own turns carry loss."""
    from helpers import dataset, masking

    found = masking.encode(dataset.load("train").select(range(number)).to_list(), tokenizer)
    return {"input_ids": found.ids, "labels": found.labels}


def _arguments():
    """What TRL's trainer is told for a run of ``STEPS`` steps at a constant rate."""
    from trl import SFTConfig

    return SFTConfig(
        output_dir="/tmp/memory_runs",
        max_steps=STEPS,
        per_device_train_batch_size=ROWS,
        gradient_accumulation_steps=1,
        learning_rate=RATE,
        lr_scheduler_type="constant",
        warmup_steps=0,
        weight_decay=0.0,
        optim="adamw_torch",
        bf16=True,
        fp16=False,
        seed=SEED,
        data_seed=SEED,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        max_length=max(LENGTHS),
        dataset_num_proc=1,
        dataset_kwargs={"skip_prepare_dataset": True},
        gradient_checkpointing=False,
        disable_tqdm=True,
        dataloader_pin_memory=False,
        remove_unused_columns=False,
        use_cpu=device() == "cpu",
    )


def run(library: str, checkpointing_mode) -> None:
    """Train ``STEPS`` steps by TRL's trainer and report seconds, losses and bytes of each.

    Raises SystemExit when a plain run has imported Unsloth.
    """
    import torch

    model, tokenizer = loaded(library, checkpointing_mode)
    from datasets import Dataset
    from transformers import DataCollatorForSeq2Seq, set_seed
    from trl import SFTTrainer

    from scripts.experiments.clock import step_clock

    clock = step_clock(peak)
    data = Dataset.from_dict(rows(tokenizer, STEPS * ROWS))
    set_seed(SEED)
    trainer = SFTTrainer(
        model=model, args=_arguments(), train_dataset=data, processing_class=tokenizer, callbacks=[clock],
        data_collator=DataCollatorForSeq2Seq(tokenizer, padding=True, label_pad_token_id=-100),
    )  # fmt: skip
    static = settle()
    trainer.train()
    if library == "plain" and "unsloth" in sys.modules:
        raise SystemExit("unsloth was imported: this is not the plain run")
    history = [row for row in trainer.state.log_history if "loss" in row]
    report(
        kind="run",
        library=library,
        checkpointing=str(checkpointing_mode),
        rows=ROWS,
        tokens=[len(r) for r in data["input_ids"]],
        seconds=clock.seconds,
        first_step_seconds=clock.seconds[0],
        median_seconds=statistics.median(clock.seconds[len(clock.seconds) // 3 :]),
        peaks=clock.peaks,
        static_bytes=static,
        reserved_bytes=torch.cuda.max_memory_reserved() if device() == "cuda" else 0,
        losses=[row["loss"] for row in history],
        grad_norms=[row["grad_norm"] for row in history],
        lengths_seen=len({len(r) for r in data["input_ids"]}),
        unsloth_imported="unsloth" in sys.modules,
    )


def random_batch(model, tokens: int, rows: int = 1) -> dict:
    """Rows of random ids (B, N) with ``LABELLED`` labels at the end of each and their attention mask."""
    from helpers.probes import checkpointing

    ids = checkpointing.random_ids(model, rows, tokens)
    labels = ids.clone()
    labels[:, :-LABELLED] = -100
    return {"input_ids": ids, "labels": labels, "attention_mask": ids.new_ones(ids.shape)}


def warm_step(model, tokens: int) -> tuple:
    """One step's forward and backward pass on a random row, as a function; and its inputs.

    Three that warm up come before it (Unsloth compiles in the first).
    """
    inputs = random_batch(model, tokens)

    def step():
        model(**inputs).loss.backward()

    for _ in range(3):
        step()
        model.zero_grad(set_to_none=True)
    return step, inputs


def copies(names) -> dict[str, int]:
    """Copies between GPU and host among the names of what ran."""
    names = list(names)
    return {way: sum(name.startswith(f"Memcpy {way}") for name in names) for way in ("DtoH", "HtoD")}


def profiled(work) -> list:
    """Kernels and copies that ``work()`` starts on the device: (name, microseconds) each."""
    from torch.profiler import ProfilerActivity, profile

    with profile(
        activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU] if device() == "cuda" else [ProfilerActivity.CPU]
    ) as seen:
        work()
    return [(e.name, e.device_time_total) for e in seen.events() if str(e.device_type).endswith("CUDA")]


def offload(edges) -> None:
    """Copies from GPU to host when Unsloth checkpoints four layers of 640 bf16 numbers a token, by number of tokens."""
    import torch
    from unsloth_zoo import gradient_checkpointing as unsloth_checkpointing

    unsloth_checkpointing.patch_unsloth_smart_gradient_checkpointing(dtype=torch.bfloat16)
    layers = [torch.nn.Linear(640, 640, bias=False, device=device(), dtype=torch.bfloat16) for _ in range(4)]
    for tokens in edges:
        inputs = torch.randn(1, tokens, 640, device=device(), dtype=torch.bfloat16, requires_grad=True)

        def step(inputs=inputs):
            hidden = inputs
            for layer in layers:
                hidden = unsloth_checkpointing.unsloth_checkpoint(layer, hidden, use_reentrant=True)
            hidden.float().pow(2).mean().backward()

        step(), step()
        names = [name for name, _ in profiled(step)]
        report(
            kind="offload",
            layers=len(layers),
            tokens=tokens,
            activation_bytes=tokens * 640 * 2,
            copies=copies(names),
            names=sorted({n for n in names if "Memcpy" in n}),
        )


def kernels(library: str) -> None:
    """Count and time the kernels of one training step by their author, for one library.

    Reported with it: the autograd functions in its graph, and the holders of memory at its peak.
    """

    from scripts.experiments import kernels as sources

    tokens = 1024
    if library == "llama":
        model = tiny_llama()
    else:
        model, _ = loaded(library, False)
    step, inputs = warm_step(model, tokens)
    loss = model(**inputs).loss
    nodes = sources.graph_nodes(loss)
    del loss
    told, by_hand = {}, sources.handwritten_kernels()
    for name, microseconds in profiled(step):
        origin = sources.kernel_origin(name, by_hand)
        entry = told.setdefault(origin, {"count": 0, "microseconds": 0.0, "names": {}})
        entry["count"] += 1
        entry["microseconds"] += microseconds
        entry["names"][name[:80]] = entry["names"].get(name[:80], 0) + 1
    model.zero_grad(set_to_none=True)
    found = {
        "kind": "kernels",
        "library": library,
        "tokens": tokens,
        "origins": told,
        "nodes": {k: v for k, v in nodes.items() if not k.endswith("Backward0")},
        "graph_size": sum(nodes.values()),
    }
    report(**found | holders_at_peak(step))


def holders_at_peak(step) -> dict:
    """Bytes at the peak of one more ``step()`` by holder, from the allocator's own recording; empty on a CPU."""
    import torch

    from scripts.experiments import kernels as sources

    if device() == "cpu":
        return {}
    static = settle()
    torch.cuda.memory._record_memory_history(stacks="python", context="alloc")
    step()
    most = peak()
    snapshot = torch.cuda.memory._snapshot()
    torch.cuda.memory._record_memory_history(enabled=None)
    at_peak = sources.peak_of_history(snapshot, static)
    return {
        "peak_bytes": most,
        "static_bytes": static,
        "history_bytes": at_peak.total,
        "holders": [[*holder, size] for holder, size in list(at_peak.by("category", "module", "kind").items())[:15]],
    }


def held(checkpointing_mode, tokens: int) -> None:
    """What is alive at the peak of Unsloth's step on one long row, and how much it copies to the host and back.

    The row is long enough for ``"unsloth"`` to offload.
    """
    model, _ = loaded("unsloth", checkpointing_mode)
    step, _ = warm_step(model, tokens)
    copied = copies(name for name, _ in profiled(step))
    model.zero_grad(set_to_none=True)
    report(
        kind="held",
        library="unsloth",
        checkpointing=str(checkpointing_mode),
        tokens=tokens,
        layers=model.config.num_hidden_layers,
        copies=copied,
        **holders_at_peak(step),
    )


def tiny_llama():
    """A Llama of random weights under Unsloth: the path that Triton kernels were written for.

    So a count of none means something.
    """
    import tempfile

    import torch
    from transformers import LlamaConfig, LlamaForCausalLM
    from unsloth import FastLanguageModel

    from helpers import checkpoints, training

    folder = tempfile.mkdtemp()
    torch.manual_seed(SEED)
    LlamaForCausalLM(
        LlamaConfig(
            vocab_size=262_144,
            hidden_size=256,
            intermediate_size=512,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=4096,
        )
    ).to(torch.bfloat16).save_pretrained(folder)
    checkpoints.load_tokenizer(checkpoints.ensure()).save_pretrained(folder)
    model, _ = FastLanguageModel.from_pretrained(folder, max_seq_length=2048, dtype=torch.bfloat16, load_in_4bit=False)
    return FastLanguageModel.get_peft_model(
        model,
        r=RANK,
        lora_alpha=ALPHA,
        lora_dropout=0,
        bias="none",
        target_modules=list(training.PROJECTIONS),
        use_gradient_checkpointing=False,
        random_state=SEED,
    ).train()


def passes(library: str, shapes) -> None:
    """Time of the forward pass and of a whole step, nothing checkpointed. ``shapes``: (B, N) each."""
    from scripts.experiments import step_costs

    model, _ = loaded(library, False)
    for batch, tokens in shapes:
        inputs = random_batch(model, tokens, batch)
        report(kind="passes", library=library, batch=batch, tokens=tokens, **step_costs.passes(model, inputs))


def calls(checkpointing_mode, lengths) -> None:
    """How often a layer's query projection runs in a step under Unsloth's own checkpointing."""
    from scripts.experiments import step_costs

    model, _ = loaded("unsloth", checkpointing_mode)
    layers = len(model.get_base_model().model.layers)
    for tokens in lengths:
        step, _ = warm_step(model, tokens)
        report(kind="calls", tokens=tokens, layers=layers, **step_costs.query_products(model, step, tokens))
        memory_free(model)


def norms(lengths) -> None:
    """What the norms of a forward pass cost, and RMSNorm beside LayerNorm."""
    from helpers import checkpoints
    from helpers.probes import checkpointing
    from scripts.experiments import step_costs

    model = checkpoints.load_model(checkpoints.ensure(), dtype="bfloat16", device=device())
    for tokens in lengths:
        ids = checkpointing.random_ids(model, 1, tokens)
        kernels_of = step_costs.norm_kernels(model.model.norm, tokens)
        report(kind="norms", tokens=tokens, kernels=kernels_of, **step_costs.norm_share(model, ids))


# --- one process each -------------------------------------------------------------------------------------------------


def way(word: str) -> bool | str:
    """``use_gradient_checkpointing`` as Unsloth takes it, from a word of ``KINDS``."""
    return {"False": False, "True": True}.get(word, word)


def measure(name: str, small: bool) -> None:
    """Take one measurement of ``KINDS`` in this process; ``small`` takes the smallest sizes only."""
    if "unsloth" in name or name in ("offload", "kernels llama"):
        import unsloth  # noqa: F401  before transformers, as it asks
    given = KINDS[name][0].split()
    lengths = LENGTHS[:1] if small else LENGTHS
    kind = name.split()[0].rstrip(",")
    if kind == "ledger":
        ledger(((1, 128),) if small else SHAPES)
    elif kind == "modes":
        modes(given[0], lengths)
    elif kind == "losses":
        losses(lengths)
    elif kind == "range":
        activation_range()
    elif kind == "run":
        run(given[0], way(given[1]))
    elif kind == "held":
        held(way(given[0]), LENGTHS[0] if small else LENGTHS[-1])
    elif kind == "offload":
        offload(EDGES[:1] if small else EDGES)
    elif kind == "passes":
        passes(given[0], ((1, 128),) if small else PASSES)
    elif kind == "calls":
        calls(way(given[0]), lengths[:1] if small else (1024, 2048))
    elif kind == "norms":
        norms(lengths[:1] if small else (512, 2048))
    else:
        kernels(given[0])


def collect(name: str, checkpoint: Path, small: bool, limit: float, told: list) -> None:
    """Run one measurement in a process and add what it reports; its last words if it fails."""
    import os

    command = [
        sys.executable,
        "-m",
        "scripts.experiments.memory_runs",
        str(checkpoint),
        ".",
        "--measure",
        name,
        *(["--small"] if small else []),
    ]
    started = time.perf_counter()
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=limit,
            env=os.environ | {"COURSE_MODEL": str(checkpoint.resolve())},
        )
        output, failed = (
            done.stdout,
            done.returncode
            and next((line for line in reversed(done.stderr.splitlines()) if line.strip()), f"exit {done.returncode}"),
        )
    except subprocess.TimeoutExpired as stopped:
        output, failed = (stopped.stdout or b"").decode(errors="replace"), f"stopped after {limit:.0f} s"
        done = None
    found = [
        json.loads(line.removeprefix("RESULT")) | {"measurement": name}
        for line in output.splitlines()
        if line.startswith("RESULT")
    ]
    told += found
    if failed:
        told.append({"kind": "error", "measurement": name, "error": failed[:400]})
        if done:
            print("\n".join(done.stderr.splitlines()[-6:]), flush=True)
    print(f"{name:<22} {len(found):3d} results in {time.perf_counter() - started:5.1f} s {failed or ''}", flush=True)


def main() -> int:
    """Run the command line (see the module). Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seconds", type=float, default=540)
    parser.add_argument("--only", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--small", action="store_true", help="the smallest sizes only, for a rehearsal")
    parser.add_argument("--revision", default="", help="the git revision, where the tree has no .git")
    parser.add_argument("--measure", choices=KINDS, help="run this one only, in this process")
    arguments = parser.parse_args()
    if arguments.measure:
        try:
            measure(arguments.measure, arguments.small)
        except Exception as error:
            traceback.print_exc()
            print(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}", file=sys.stderr)
            return 1
        return 0
    from helpers import environment, reference

    arguments.out.mkdir(parents=True, exist_ok=True)
    target = arguments.out / "memory.json"
    kept = json.loads(target.read_text(encoding="utf-8"))["results"] if target.exists() else []
    kept = [result for result in kept if result.get("measurement") not in arguments.only]
    started, told = time.perf_counter(), []
    source = reference.provenance((SEED,)) | environment.versions("unsloth", "unsloth_zoo", "triton", "bitsandbytes")
    source["revision"] = arguments.revision or source["revision"]
    for name in arguments.only:
        left = arguments.seconds - (time.perf_counter() - started)
        if left < 10:
            told.append({"kind": "error", "measurement": name, "error": "no time was left"})
            continue
        collect(name, arguments.checkpoint, arguments.small, min(left, KINDS[name][1]), told)
        dated = [{"revision": source["revision"]} | result for result in told]
        target.write_text(json.dumps({"provenance": source, "results": kept + dated}, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
