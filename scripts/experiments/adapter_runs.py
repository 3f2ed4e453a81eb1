"""Training runs behind the reference adapter, on GPUs: which recipe makes a small model call tools it has never seen?

    python -m scripts.experiments.adapter_runs draw CHECKPOINT FOLDER [--seal SEAL] [--jobs 48]   rows to token ids
    python -m scripts.experiments.adapter_runs train CHECKPOINT FOLDER OUT --group recipe [--missing]   its runs
    python -m scripts.experiments.adapter_runs keep OUT TARGET --group recipe [--join]            to assets/reference

A run that is under OUT is not run again, and one that was interrupted goes on from its last checkpoint there, so that a
group can be finished on another host. joblib spreads the runs, a process each, over the GPUs there are; inside
``joblib.parallel_config(backend="ray")`` they go to a cluster. Recipes are judged on validation families alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import statistics
import subprocess
import time
from dataclasses import asdict
from pathlib import Path

from helpers import reference
from helpers.errors import CourseError
from helpers.paths import REFERENCE

from . import lines, run_scores, token_pools
from .run_groups import TARGETS, Run, runs_of

SAVE_EVERY = 60  # seconds between two checkpoints of a run

# --- one run ----------------------------------------------------------------------------------------------------------


def adapted(run: Run, base):
    """The base model with a fresh adapter, seeded."""
    import torch

    from helpers import training

    torch.manual_seed(run.seed)
    options = {"lora_dropout": run.dropout, "use_rslora": run.rslora}
    return training.add_adapter(base, run.rank, run.alpha, TARGETS[run.targets], **options)


def rate_at(run: Run, step: int) -> float:
    """The learning rate at a step: linear warm-up, then the schedule, down to 0 unless it is constant."""
    warmup = round(run.warmup * run.steps)
    if step < warmup:
        return run.learning_rate * (step + 1) / warmup
    done = (step - warmup) / max(1, run.steps - warmup)
    shares = {"cosine": 0.5 * (1 + math.cos(math.pi * done)), "linear": 1 - done, "constant": 1}
    return run.learning_rate * shares[run.schedule]


class Training:
    """A run under way: its steps, and a checkpoint from which they go on."""

    def __init__(self, run: Run, model, folder: Path, checkpoint: Path):
        import torch

        from . import packed_step, replay

        self.run, self.model, self.checkpoint = run, model, checkpoint
        self.pools = {name: token_pools.read(folder, name) for name in run.mixture}
        self.replay = (
            replay.Replay(run.replay, model, token_pools.read(folder, "plain"), run.seed) if run.replay else None
        )
        self.trained = [p for p in model.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.trained, lr=run.learning_rate, weight_decay=run.weight_decay, fused=packed_step.DEVICE == "cuda"
        )
        self.held = token_pools.read(folder, "held")
        self.told: dict[str, list] = {"loss": [], "grad_norm": [], "replay": [], "seconds": [], "watched": []}
        self.batches: list[list[tuple]] = []
        lengths = {name: pool.lengths for name, pool in self.pools.items()}
        replayed = replay.TOKENS if run.replay else 0
        self.width = packed_step.TOKENS
        if run.rows and run.steps:
            steps = packed_step.batches(lengths, run.mixture, 0, run.seed, run.rows)
            self.width = packed_step.widest(itertools.islice(steps, run.steps), lengths) + replayed
        tokens = self.width - replayed
        self.order = packed_step.batches(lengths, run.mixture, tokens, run.seed, run.rows)

    def go(self) -> dict:
        """Train to the end, from the checkpoint if there is one. Returns what ``told`` holds."""
        from . import packed_step

        self.model.train()
        self._restore()
        if not self.run.blind:  # hooks break what is compiled
            packed_step.compile_layers(self.model)
        saved = last = time.time()
        timed = len(self.told["loss"])  # steps before ``last``
        for step in range(len(self.told["loss"]), self.run.steps):
            self._step(step)
            if step % 50 == 49 or step == self.run.steps - 1:
                self._settle()
                self.told["seconds"].append(round((time.time() - last) / (step + 1 - timed), 4))
                if self.run.watched and (step + 1) % self.run.watched == 0:
                    self._watch(step + 1)
                last, timed = time.time(), step + 1
                if last - saved > SAVE_EVERY:
                    told = f"loss {statistics.mean(self.told['loss'][-50:]):.3f}, {self.told['seconds'][-1]} s a step"
                    print(f"{self.run.file}: step {step + 1} of {self.run.steps}, {told}", flush=True)
                    self._save()
                    saved = last = time.time()
        return self.told

    def _step(self, step: int) -> None:
        """One step: rows packed, both losses, gradient, update. Nothing waits for the GPU."""
        import torch
        from peft.helpers import disable_input_dtype_casting  # autocast casts; PEFT's own cast would keep copies

        from . import packed_step

        self.batches.append(next(self.order))
        rows = self.rows_of(self.batches[-1])
        packed = packed_step.pack([*rows, *(self.replay.rows() if self.replay else [])], self.width)
        hooks = packed_step.blindfold(self.model, packed) if self.run.blind else []
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.run, step)
        with packed_step.half_precision(), disable_input_dtype_casting(self.model):
            hidden = packed_step.hidden_states(self.model, packed)
            loss = packed_step.packed_loss(self.model, packed, hidden, self.run.normalization)
            term = self.replay.term(packed, hidden) if self.replay else None
            (loss if term is None else loss + self.run.weight * term).backward()
        for hook in hooks:
            hook.remove()
        self.told["grad_norm"].append(torch.nn.utils.clip_grad_norm_(self.trained, 1.0))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.told["loss"].append(loss.detach())
        self.told["replay"] += [] if term is None else [term.detach()]

    def rows_of(self, batch: list[tuple]) -> list[tuple]:
        """(ids, labels) of a step's rows."""
        return [self.pools[name].row(number) for name, number in batch]

    def replayed(self) -> dict:
        """The rows of every step, and their loss under the weights as they are now, layers plain."""
        from . import packed_step

        losses = [packed_step.held_out_loss(self.model, self.rows_of(batch), self.width) for batch in self.batches]
        return {"frozen_loss": losses, "batches": [[number for _, number in batch] for batch in self.batches]}

    def held_out_loss(self) -> float:
        """The loss of validation families' rows now, layers plain."""
        from . import packed_step

        return packed_step.held_out_loss(self.model, [self.held.row(number) for number in range(len(self.held))])

    def _watch(self, step: int) -> None:
        """Keep (step, held-out loss) and say it: learning by heart shows here and not in the training loss."""
        from . import packed_step

        with packed_step.uncompiled(self.model):
            self.told["watched"].append((step, round(self.held_out_loss(), 5)))
        self.model.train()
        print(f"{self.run.file}: step {step}, held out {self.told['watched'][-1][1]:.3f}", flush=True)

    def _settle(self) -> None:
        """Bring losses and norms over from the GPU."""
        for name in ("loss", "grad_norm", "replay"):
            self.told[name] = [each if isinstance(each, float) else round(each.item(), 5) for each in self.told[name]]

    def _save(self) -> None:
        import torch

        kept = {"told": self.told, "weights": [p.data for p in self.trained], "optimizer": self.optimizer.state_dict()}
        torch.save(kept, self.checkpoint.with_suffix(".tmp"))
        self.checkpoint.with_suffix(".tmp").replace(self.checkpoint)

    def _restore(self) -> None:
        import torch

        if not self.checkpoint.exists():
            return
        kept = torch.load(self.checkpoint, map_location=self.model.device)
        self.told = kept["told"]
        self.optimizer.load_state_dict(kept["optimizer"])
        for parameter, value in zip(self.trained, kept["weights"], strict=True):
            parameter.data.copy_(value)
        for _ in self.told["loss"]:  # the same rows are not drawn again
            self.batches.append(next(self.order))
            if self.replay:
                self.replay.rows()


def run_one(run: Run, checkpoint: Path, folder: Path, out: Path, until: float = math.inf) -> str:
    """Train, measure and keep one run, in a process of its own. Returns a line that says what came out."""
    if (out / f"{run.file}.json").exists():
        return f"{run.file}: done before"
    started = time.time()
    if started > until:
        return f"{run.file}: no time left"
    choose_gpu(out)
    import torch
    from transformers import AutoTokenizer

    from helpers import dataset, masking

    from . import packed_step

    torch.set_num_threads(4)
    torch._dynamo.reset()  # a process trains several runs
    if packed_step.DEVICE == "cuda":
        torch.cuda.empty_cache()
        masking.CHUNK = 1024  # a GPU has room for the logits of so many positions
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = adapted(run, packed_step.load_base(checkpoint))
    training = Training(run, model, folder, out / f"{run.file}.pt")
    told = asdict(run) | training.go()
    told |= {"file": run.file, "seen": sum(map(len, training.batches)), "provenance": reference.provenance((run.seed,))}
    told["seconds_per_step"] = statistics.median(told.pop("seconds") or [0.0])
    told["train_seconds"] = round(time.time() - started, 1)
    packed_step.plain_layers(model)
    told |= training.replayed() if run.replayed else {}
    told["held_out_loss"] = training.held_out_loss()
    packed_step.prepare_generation(model)
    for parameter in (p for p in model.parameters() if p.requires_grad):
        parameter.data = parameter.data.to(packed_step.HALF)  # what is stored is what is scored
    texts = dataset.retention()
    for language in ("arabic", "english"):
        told[f"perplexity_{language}"] = run_scores.perplexity(model, tokenizer, texts[language])
    rows = run_scores.judged(run.group)
    written = run_scores.predict(model, tokenizer, rows)
    told |= {"scores": run_scores.rates(rows, written), "seconds": round(time.time() - started, 1)}
    model.save_pretrained(out / run.file)
    lines.write(out / f"{run.file}.jsonl.gz", ({"text": text} for text in written))
    if run.group == "candidate" and run.steps:
        told["truncated"] = run_scores.truncated(model, tokenizer, run.rank)
    (out / f"{run.file}.json").write_text(json.dumps(told), encoding="utf-8")
    (out / f"{run.file}.pt").unlink(missing_ok=True)
    return run_scores.line_of(told)


def choose_gpu(out: Path) -> None:
    """Give this process one GPU, before CUDA starts: processes are numbered as they come, and so are the cards."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if "COURSE_WORKER" in os.environ:
        return
    cards = os.environ.get("COURSE_CARDS", "0").split(",")
    for number in range(1000):
        try:
            (out / f".worker-{'-'.join(cards)}-{number}").mkdir()
        except FileExistsError:
            continue
        os.environ["COURSE_WORKER"], os.environ["CUDA_VISIBLE_DEVICES"] = str(number), cards[number % len(cards)]
        return


# --- command line -----------------------------------------------------------------------------------------------------


def spread(runs: list[Run], checkpoint: Path, folder: Path, out: Path, arguments) -> None:
    """Train the runs, ``--jobs`` at a time over the cards."""
    from joblib import Parallel, delayed

    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    os.environ["COURSE_CARDS"] = arguments.cards or ",".join(map(str, range(max(1, listed.count("GPU ")))))
    out.mkdir(parents=True, exist_ok=True)
    until = time.time() + arguments.seconds
    tasks = (delayed(run_one)(run, checkpoint, folder, out, until) for run in runs)
    for told in Parallel(n_jobs=arguments.jobs, return_as="generator_unordered", pre_dispatch=arguments.jobs)(tasks):
        print(told, flush=True)


def lacking(runs: list[Run], folder: Path = REFERENCE) -> list[Run]:
    """The runs that FOLDER/GROUP.json does not hold: a group that another host began is finished here."""
    groups = {run.group for run in runs if (folder / f"{run.group}.json").exists()}
    kept = {told["file"] for group in groups for told in reference.load(group, folder).results if "file" in told}
    return [run for run in runs if run.file not in kept]


def draw(checkpoint: Path, folder: Path, arguments) -> None:
    """Every pool's rounds, and what the base writes by itself."""
    from transformers import AutoTokenizer

    from . import packed_step, replay

    known = {name: n for name, n in token_pools.ROUNDS.items() if name != "seal" or arguments.seal}
    wanted = arguments.pools.split(",") if arguments.pools else [*known, "plain"]
    if unknown := set(wanted) - {*known, "plain"}:
        raise CourseError(f"no pool {min(unknown)!r} can be drawn", f"choose from {', '.join([*known, 'plain'])}")
    rounds = {name: min(n, arguments.rounds or n) for name, n in known.items() if name in wanted}
    token_pools.draw(checkpoint, arguments.seal, folder, rounds, arguments.jobs)
    if "plain" in wanted and not (folder / "plain-000.npz").exists():
        model = packed_step.load_base(checkpoint)
        packed_step.prepare_generation(model)
        replay.write(model, AutoTokenizer.from_pretrained(checkpoint), folder)


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("draw", "train", "keep"))
    parser.add_argument("paths", type=Path, nargs="+")
    parser.add_argument("--group", default="recipe", choices=run_scores.JUDGED)
    parser.add_argument("--runs", default="", help="instead of a group's: a JSON list of runs, fields as Run has them")
    parser.add_argument("--seal", type=Path, default=None, help="the folder with Seal-Tools' converted files")
    parser.add_argument("--pools", default="", help="those to draw, as universe,plain (default: all)")
    parser.add_argument("--rounds", type=int, default=None, help="of every pool, at most")
    parser.add_argument("--cards", default="", help="the GPUs to use, as 0,1,2 (default: all)")
    parser.add_argument("--jobs", type=int, default=4, help="processes at a time; one a card is nearly as fast as two")
    parser.add_argument("--missing", action="store_true", help="train: what assets/reference/GROUP.json lacks")
    parser.add_argument("--join", action="store_true", help="keep: the runs that TARGET holds already stay")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no run after this long")
    arguments = parser.parse_args()
    if arguments.what == "draw":
        draw(*arguments.paths, arguments)
    elif arguments.what == "keep":
        out, target = arguments.paths
        run_scores.keep(out, arguments.group, target, arguments.join)
    else:
        told = json.loads(arguments.runs) if arguments.runs else None
        runs = runs_of(arguments.group, arguments.paths[2]) if told is None else [Run(**each) for each in told]
        spread(lacking(runs) if arguments.missing else runs, *arguments.paths, arguments)


if __name__ == "__main__":
    main()
