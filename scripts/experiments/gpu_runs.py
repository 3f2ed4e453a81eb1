"""What the notebooks draw and two cores cannot run: the reference adapter, learning rates, ablations, the rank sweep.

    python -m scripts.experiments.gpu_runs CHECKPOINT OUT [--seconds 1000] [--processes 4]

Every GPU gets ``--processes`` workers, since one alone leaves it half idle; a worker needs up to 18 GB, so six do not
fit on 80. All take the next job from one list, most wanted first, until the time is over; a job that would not fit any
more is left, one that is under OUT/parts from an earlier call is done. OUT then holds a file for each of ``GROUPS``
(provenance and results; predictions beside it) and ``adapter/``: of the candidates for the reference adapter, the one
with the most exact calls on *validation*. With CUDA's MPS daemon running, a step took 0.2 s instead of 0.36 s (H200,
four workers).

Plain transformers + PEFT: Unsloth compiles for every shape, which costs runs of half a minute more than it saves. The
loss is the course's own (``helpers.masking.label_loss``), the recipe the guide's unless a job says otherwise.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import random
import re
import shutil
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # asking for GPUs must not start CUDA before the fork
import torch  # noqa: E402

from helpers import dataset, environment, generation, masking, reference, scoring, training  # noqa: E402
from helpers.probes import lora  # noqa: E402
from scripts.dataset import augmentation  # noqa: E402
from scripts.experiments import lines  # noqa: E402
from scripts.experiments.run_scores import english_rows  # noqa: E402

SEEDS = (0, 1, 2)
RATES = (5e-5, 2e-4, 5e-4, 1e-3, 3e-3)
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)
COPIES = 5  # times the training rows are drawn anew for the reference adapter
HELD_OUT = 300  # rows scored for a short run, the same for all
GROUPS = ("learning_rate", "masking", "rank_sweep", "spike", "reference")
DEVICE = "cuda" if torch.cuda.device_count() else "cpu"
# for the tests, on a processor that would take fifty times as long
HALF = torch.bfloat16 if DEVICE == "cuda" or environment.multiplies_bf16() else torch.float32


@dataclass(frozen=True)
class Job:
    """One training run.

    ``labels``: response, full, no_stops or with_results; ``normalization``: window, means or sum (with ``accumulation``
    micro-batches); ``blind``: no gradient through the prompt's keys and values. ``augmented``: five of six rows are
    drawn anew, with tools renamed (``scripts.dataset.augmentation``). ``steps`` 0: the base model as it is.
    """

    group: str
    name: str
    seed: int = 0
    learning_rate: float = 1e-3
    schedule: str = "cosine"
    warmup: float = 0.1
    steps: int = 200
    batch: int = 16
    accumulation: int = 1
    rank: int = 32
    alpha: float = 64
    labels: str = "response"
    normalization: str = "window"
    blind: bool = False
    augmented: bool = False
    split: str = "validation"


def jobs() -> list[Job]:
    """All runs, most wanted first: seeds are the outer loop, so that a list cut short has all settings once."""
    spike = Job("spike", "4 rows a step", 0, 1e-3, "constant", steps=300, batch=4)
    first, second, third = ([*learning_rates(seed), *ablations(seed), *ranks(seed)] for seed in SEEDS)
    long = [
        Job("rank_sweep", "800 steps", seed, rank=r, alpha=2 * r, steps=800, split="test")
        for seed in SEEDS
        for r in (1, 8, 32)
    ]
    return [*candidates(), *first, spike, *second, *third, *scalings(), *long]


def candidates() -> list[Job]:
    """Runs that may become the reference adapter, each of 38,400 rows: every stored row and every row drawn anew once.

    And the model before them.
    """
    tried = [(rate, steps, 38400 // steps) for steps in (1200, 2400) for rate in (5e-4, 1e-3)]
    runs = [
        Job(
            "reference",
            f"{steps} steps of {batch} at {rate:g}",
            0,
            rate,
            warmup=0.05,
            steps=steps,
            batch=batch,
            accumulation=batch // 16,
            augmented=True,
        )
        for rate, steps, batch in tried
    ]
    return [*runs, Job("reference", "base", steps=0)]


def learning_rates(seed: int) -> list[Job]:
    """Runs over learning rates and schedules, for one seed."""
    rates = [Job("learning_rate", "cosine", seed, rate) for rate in RATES]
    schedules = [Job("learning_rate", schedule, seed, 1e-3, schedule) for schedule in ("linear", "constant")]
    return [*rates, *schedules, Job("learning_rate", "cosine, no warm-up", seed, 1e-3, warmup=0.0)]


def ablations(seed: int) -> list[Job]:
    """Runs that change which tokens carry loss or how it is normalized, for one seed."""
    test = Job("masking", "response only", seed, split="test")
    return [
        test,
        replace(test, name="full sequence", labels="full"),
        replace(test, name="stop tokens unlabelled", labels="no_stops"),
        replace(test, name="no gradient through the prompt", blind=True),
        replace(test, name="tool results labelled", labels="with_results"),
        *[
            replace(test, name=f"{kind} over 4 x 4 rows", normalization=kind, accumulation=4)
            for kind in ("window", "means", "sum")
        ],
    ]


def ranks(seed: int) -> list[Job]:
    """Every rank twice: α = 2r, and α = 64 whatever the rank (r = 32 is both)."""
    doubled = [Job("rank_sweep", "alpha = 2r", seed, rank=r, alpha=2 * r, split="test") for r in RANKS]
    return [*doubled, *[Job("rank_sweep", "alpha = 64", seed, rank=r, split="test") for r in RANKS if r != 32]]


def scalings() -> list[Job]:
    """α/r against the learning rate, at r = 32; on validation, since it is a choice of settings."""
    return [
        Job("rank_sweep", "alpha/r", 0, rate, alpha=32 * scale)
        for scale in (0.5, 1, 2, 4)
        for rate in (2.5e-4, 5e-4, 1e-3, 2e-3)
    ]


# --- data -------------------------------------------------------------------------------------------------------------


def tokenized(tokenizer, copies: int = COPIES) -> dict:
    """The training rows: ids, and their labels under each rule.

    First the ``plain`` rows, as they are stored, then ``copies`` times as many that are drawn anew and have other names
    for their tools; these only have the labels of the course.
    """
    plain = dataset.load("train").to_list()
    with multiprocessing.get_context("fork").Pool(max(1, min(copies, os.cpu_count()))) as pool:  # a minute of rendering
        drawn = pool.map(augmented_texts, range(copies))
    texts = [*dataset.texts(plain), *[text for copy in drawn for text in copy]]
    encoded, stored = masking.encode_texts(texts, tokenizer), texts[: len(plain)]
    return {
        "plain": len(plain),
        "ids": encoded.ids,
        "response": encoded.labels,
        "full": encoded.ids,
        "no_stops": masking.encode_texts(stored, tokenizer, label_stops=False).labels,
        "with_results": masking.encode_texts(stored, tokenizer, mask_tool_results=False).labels,
    }


def augmented_texts(seed: int) -> list[str]:
    """As many rows as there are to train on, drawn anew and with other names for their tools, rendered."""
    return dataset.texts([augmentation.renamed(row, seed) for row in augmentation.fresh(seed)])


def held_out(split: str, n: int) -> list[dict]:
    """The first ``n`` rows of a split."""
    return dataset.load(split).select(range(n)).to_list()


def fused_norms() -> None:
    """Gemma 3's norm by torch's fused kernel, float32 as before: eager norms are a quarter of a GPU step's time."""
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    def forward(self, x):
        gain = self.__dict__.setdefault("_gain", (1.0 + self.weight.detach().float()))  # frozen: the gain never changes
        return torch.nn.functional.rms_norm(x.float(), gain.shape, gain, self.eps).type_as(x)

    Gemma3RMSNorm.forward = forward


# --- training ---------------------------------------------------------------------------------------------------------


def padded(ids: list[list[int]], labels: list[list[int]]) -> dict:
    """``masking.pad`` on the device."""
    return {key: value.to(DEVICE, non_blocking=True) for key, value in masking.pad(ids, labels).items()}


def blindfold(model):
    """Cut the gradient at the prompt's keys and values, the only way from the loss to the prompt.

    Returns (state, handles). ``state["response"]`` (B, N) says, batch by batch, which positions belong to the response.
    """
    state = {}

    def cut(module, arguments, output):
        return torch.where(state["response"][:, :, None], output, output.detach())

    projections = [m for name, m in model.named_modules() if name.endswith(("k_proj", "v_proj"))]
    return state, [m.register_forward_hook(cut) for m in projections]


def step_loss(model, batch: dict, normalization: str, window_labels: int, parts: int):
    """The loss of one micro-batch so that the sum over the window's micro-batches is normalized as asked."""
    if normalization == "means":
        return masking.label_loss(model, batch) / parts
    return masking.label_loss(model, batch, num_items_in_batch=1 if normalization == "sum" else window_labels)


def rate_at(job: Job, step: int) -> float:
    """Share of the peak learning rate at a step."""
    warmup = round(job.warmup * job.steps)
    if step < warmup:
        return step / warmup
    progress = (step - warmup) / max(1, job.steps - warmup)
    return {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "constant": 1.0}[job.schedule]


def adapted(job: Job, base):
    """The base model with a fresh adapter, seeded."""
    torch.manual_seed(job.seed)
    return training.add_adapter(base, job.rank, job.alpha)


def train(job: Job, model, data: dict) -> tuple:
    """(facts about the run, the row numbers of every step)."""
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=job.learning_rate, weight_decay=0, fused=DEVICE == "cuda")
    state, handles = blindfold(model) if job.blind else ({}, [])
    lengths = [len(row) for row in data["ids"][: None if job.augmented else data["plain"]]]
    order, history, seen, started = batches(job, lengths), [], [], time.time()
    for step in range(job.steps):
        chosen = next(order)
        seen.append(chosen)
        for group in optimizer.param_groups:
            group["lr"] = job.learning_rate * rate_at(job, step)
        history.append(one_step(job, model, data, chosen, trained, optimizer, state))
        if step in (19, 99, 299):
            print(
                f"  {name_of(job)}: step {step + 1}, loss {history[-1]['loss'].item():.3f}, "
                f"{(time.time() - started) / (step + 1):.2f} s a step",
                flush=True,
            )
    for handle in handles:
        handle.remove()
    losses = [h["loss"].item() for h in history]
    norms = [h["grad_norm"].item() for h in history]
    return {"train_seconds": round(time.time() - started, 1), "loss": losses, "grad_norm": norms}, seen


def batches(job: Job, lengths: list[int]):
    """Row numbers of each step, every row once before any comes again.

    Rows of like length stand together, so that little is padding.
    """
    draw, rows, window = random.Random(job.seed), len(lengths), 8 * job.batch
    while True:
        order = draw.sample(range(rows), rows)
        for first in range(0, rows - job.batch + 1, window):
            near = sorted(order[first : first + window], key=lengths.__getitem__)
            cut = [near[start : start + job.batch] for start in range(0, len(near) - job.batch + 1, job.batch)]
            yield from draw.sample(cut, len(cut))


def one_step(job: Job, model, data: dict, chosen: list[int], trained: list, optimizer, state: dict) -> dict:
    """One optimizer step over the chosen rows; loss and gradient norm stay on the GPU, so that the next can start."""
    from peft.helpers import disable_input_dtype_casting  # autocast casts; PEFT's own cast would keep float32 copies

    labels, size = data[job.labels], job.batch // job.accumulation
    count = sum(label != masking.IGNORED for i in chosen for label in labels[i])
    total = 0.0
    for start in range(0, job.batch, size):
        part = chosen[start : start + size]
        batch = padded([data["ids"][i] for i in part], [labels[i] for i in part])
        state["response"] = batch["labels"] != masking.IGNORED
        with (
            torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=HALF is torch.bfloat16),
            disable_input_dtype_casting(model),
        ):
            loss = step_loss(model, batch, job.normalization, count, job.accumulation)
        loss.backward()
        total = total + loss.detach()
    norm = torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad()
    return {"loss": total, "grad_norm": norm}


# --- measuring --------------------------------------------------------------------------------------------------------


@torch.no_grad()
def perplexity(model, tokenizer, passages: list[str]) -> float:
    """exp of the mean loss per token over plain passages."""
    ids = [tokenizer("<bos>" + text, add_special_tokens=False).input_ids for text in passages]
    batch = padded(ids, ids)
    with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=HALF is torch.bfloat16):
        return math.exp(masking.label_loss(model, batch).item())


def predict(model, tokenizer, rows: list[dict], tokens: int = 128) -> list[dict]:
    """What the model writes for each row: id, text, number of tokens, and what stopped it."""
    model.eval()
    generations = generation.generate(model, tokenizer, rows, max_new_tokens=tokens, batch_size=380)
    return [
        {"id": r["id"], "text": g.text, "tokens": len(g.token_ids), "stopped_by": g.stopped_by}
        for r, g in zip(rows, generations, strict=True)
    ]


def scores_of(predictions: list[dict], rows: list[dict]) -> dict:
    """level -> [hits, n]."""
    generations = [generation.Generation(p["text"], (), p["stopped_by"]) for p in predictions]
    return scoring.score(generations, rows).counts()


@torch.no_grad()
def replay(model, data: dict, seen: list[list[int]]) -> list[float]:
    """The loss of every batch of the run under its final, frozen weights."""
    model.eval()
    losses = []
    for chosen in seen:
        batch = padded([data["ids"][i] for i in chosen], [data["response"][i] for i in chosen])
        with torch.autocast(DEVICE, dtype=torch.bfloat16, enabled=HALF is torch.bfloat16):
            losses.append(masking.label_loss(model, batch))
    return [loss.item() for loss in losses]


def run(job: Job, base, tokenizer, data: dict, out: Path) -> dict:
    """Train and measure one job; writes its result and its predictions. The base model is left as it was."""
    started, model = time.time(), adapted(job, base)
    try:
        facts, seen = train(job, model, data)
        result = asdict(job) | facts
        predictions = measure(job, model, tokenizer, data, seen, out, result)
    finally:
        model.unload()
    result["seconds"] = round(time.time() - started, 1)
    keep(out, job, result, predictions)
    return result


def measure(job: Job, model, tokenizer, data: dict, seen: list, out: Path, result: dict) -> list[dict]:
    """What the job's group asks for goes into ``result``; returns the predictions."""
    if job.group == "spike":
        result["frozen_loss"], result["batches"] = replay(model, data, seen), seen
        return []
    if job.group in ("learning_rate", "reference"):
        texts = dataset.retention()
        result |= {f"perplexity_{name}": perplexity(model, tokenizer, texts[name]) for name in ("arabic", "english")}
    if job.group == "reference":
        return measure_candidate(job, model, tokenizer, out, result)
    english = english_rows() if job.group == "learning_rate" else []
    rows = held_out(job.split, HELD_OUT)
    predictions = predict(model, tokenizer, [*rows, *english])
    result["scores"] = scores_of(predictions[: len(rows)], rows)
    result["english"] = scores_of(predictions[len(rows) :], english) if english else None
    return predictions


def measure_candidate(job: Job, model, tokenizer, out: Path, result: dict) -> list[dict]:
    """All held-out rows, then the test rows with every ΔW cut down to fewer singular values."""
    for parameter in (p for p in model.parameters() if p.requires_grad):
        parameter.data = parameter.data.to(torch.bfloat16)  # what is stored is what is scored
    if job.steps:
        model.save_pretrained(out / f"adapter-{name_of(job)}")
    predictions = []
    for split, n in (("validation", 500), ("test_unseen_tools", 500), ("test", 1500)):
        rows = held_out(split, n)
        found = predict(model, tokenizer, rows)
        result[split] = scores_of(found, rows)
        predictions += [{"split": split} | p for p in found]
        keep(out, job, result, predictions)
        print(job.name, split, result[split], flush=True)
    rows, result["truncated"] = held_out("test", HELD_OUT), {}
    for k in (16, 8, 4, 2, 1) if job.steps else ():
        lora.truncate(model, k)
        found = predict(model, tokenizer, rows)
        result["truncated"][k] = scores_of(found, rows)
        predictions += [{"split": "test", "rank_kept": k} | p for p in found]
    return predictions


def name_of(job: Job) -> str:
    """A job's name for files: its group, name, learning rate, rank, alpha and seed."""
    told = (job.group, job.name, f"{job.learning_rate:g}", f"r{job.rank}", f"a{job.alpha:g}", str(job.seed))
    return re.sub("[^a-z0-9.=-]+", "_", "-".join(told))


def keep(out: Path, job: Job, result: dict, predictions: list[dict]) -> None:
    """Write a job's result and predictions to OUT/parts, atomically."""
    name = name_of(job)
    (out / "parts").mkdir(exist_ok=True)
    told = [{"job": name} | p for p in predictions]
    temporary = out / "parts" / f".{name}.tmp"
    temporary.write_text(
        json.dumps({"name": name, "result": {"job": name} | result, "predictions": told}, ensure_ascii=False),
        encoding="utf-8",
    )
    os.replace(temporary, out / "parts" / f"{name}.json")


# --- workers ----------------------------------------------------------------------------------------------------------


def worker(
    number: int, gpus: int, share: float, base, tokenizer, data: dict, out: Path, until: float, groups: list[str]
) -> None:
    """Run jobs of these groups on one GPU, as a process of its own, until the time is over."""
    # its threads do not survive the fork: the first batch would wait for ever
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(2)
    masking.CHUNK = 1024  # 1 GiB of logits at a time
    fused_norms()
    if DEVICE == "cuda":
        torch.cuda.set_device(number % gpus)
        torch.cuda.set_per_process_memory_fraction(share)
    base, pace = base.to(DEVICE), 0.1  # seconds a step, scoring included
    for index, job in enumerate(jobs()):
        done = (out / "parts" / f"{name_of(job)}.json").exists()
        if job.group not in groups or done or time.time() + pace * work(job) > until or not claimed(out, index):
            continue
        started = time.time()
        try:
            result = run(job, base, tokenizer, data, out)
        except torch.OutOfMemoryError as error:
            print(f"{name_of(job)}: out of memory, left out. {str(error).splitlines()[0][:80]}", flush=True)
            torch.cuda.empty_cache()
            continue
        pace = max(pace, (time.time() - started) / work(job))
        peak = f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB" if DEVICE == "cuda" else ""
        print(
            name_of(job),
            result.get("scores"),
            f"{result['train_seconds']} of {time.time() - started:.0f} s",
            peak,
            flush=True,
        )


def work(job: Job) -> float:
    """How long a job takes, in steps of 16 rows; scoring takes about as long as 50."""
    return job.steps * job.batch / 16 + 50


def forks_well() -> bool:
    """Whether a forked child can use the GPU: not if some import has started CUDA already."""
    child = os.fork()
    if not child:
        try:
            torch.zeros(1, device=DEVICE)
        except BaseException:
            os._exit(1)
        os._exit(0)
    return os.waitpid(child, 0)[1] == 0


def claimed(out: Path, index: int) -> bool:
    """Whether this worker has taken the job: the first to make its folder has."""
    try:
        (out / f".claim-{index}").mkdir()
    except FileExistsError:
        return False
    return True


def collect(out: Path, arguments) -> None:
    """One file a group, its predictions beside it, and the adapter that was best on validation. Temporary files go."""
    told = reference.provenance(
        SEEDS,
        device=f"{max(1, torch.cuda.device_count())} x {environment.device_name()}, "
        f"{arguments.processes} processes each",
    )
    told |= {"revision": arguments.revision} if arguments.revision else {}
    parts = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((out / "parts").glob("*.json"))]
    for group in arguments.groups:
        found = [part for part in parts if part["result"]["group"] == group]
        (out / f"{group}.json").write_text(
            json.dumps({"provenance": told, "results": [part["result"] for part in found]}, indent=1), encoding="utf-8"
        )
        if predictions := [p for part in found for p in part["predictions"]]:
            lines.write(out / f"{group}.jsonl.gz", predictions)
    trained = [
        part["result"]
        for part in parts
        if part["result"]["group"] == "reference" and part["result"]["steps"] and "validation" in part["result"]
    ]
    if trained:
        best = max(trained, key=lambda result: result["validation"]["exact"][0])
        shutil.move(out / f"adapter-{best['job']}", out / "adapter")
    for rest in [*out.glob(".claim-*"), *out.glob("adapter-*"), out / "parts"]:
        shutil.rmtree(rest, ignore_errors=True)


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--seconds", type=float, default=1000, help="stop taking jobs after this long (default %(default)s)"
    )
    parser.add_argument("--processes", type=int, default=4, help="workers on each GPU (default %(default)s)")
    parser.add_argument("--groups", nargs="+", choices=GROUPS, default=GROUPS, help="only these")
    parser.add_argument("--revision", default="", help="git revision, where the host has no repository")
    arguments = parser.parse_args()
    until = time.time() + arguments.seconds
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    data = tokenized(tokenizer, COPIES if "reference" in arguments.groups else 0)
    base = AutoModelForCausalLM.from_pretrained(arguments.checkpoint, dtype=HALF, attn_implementation="sdpa")
    arguments.out.mkdir(parents=True, exist_ok=True)
    gpus = max(1, torch.cuda.device_count())
    context = torch.multiprocessing.get_context("fork" if forks_well() else "spawn")
    print(f"{gpus} devices, workers by {context.get_start_method()}, {until - time.time():.0f} s left", flush=True)
    workers = [
        context.Process(
            target=worker,
            args=(n, gpus, 0.95 / arguments.processes, base, tokenizer, data, arguments.out, until, arguments.groups),
        )
        for n in range(gpus * arguments.processes)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join(max(1, until + 15 - time.time()))
        process.kill()
    collect(arguments.out, arguments)


if __name__ == "__main__":
    main()
