"""Training runs behind the reference adapter, on GPUs: which recipe makes a small model call tools it has never seen?

    python -m scripts.experiments.adapter_runs draw CHECKPOINT FOLDER [--seal SEAL] [--jobs 48]   rows to token ids
    python -m scripts.experiments.adapter_runs train CHECKPOINT FOLDER OUT --group recipe         the group's runs
    python -m scripts.experiments.adapter_runs keep OUT TARGET --group recipe                     to assets/reference

A run that is under OUT is not run again, and one that was interrupted goes on from its last checkpoint there, so that a
group can be finished on another host. joblib spreads the runs, a process each, over the GPUs there are; inside
``joblib.parallel_config(backend="ray")`` they go to a cluster. Recipes are judged on validation families alone.
"""

from __future__ import annotations

import argparse
import gzip
import json
import math
import os
import statistics
import subprocess
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from helpers import reference
from helpers.training import PROJECTIONS

from . import run_scores, token_pools

SAVE_EVERY = 60  # seconds between two checkpoints of a run
TARGETS = {
    "all": PROJECTIONS,
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}


@dataclass(frozen=True)
class Run:
    """One training run.

    ``mixture``: pool -> share of the rows (``token_pools``); ``targets``: a key of ``TARGETS``; ``replay``: "" for
    none, "tokens" or "kl" (``replay``), with the ``weight`` of its mean beside the mean loss of calls; ``warmup`` is a
    share of the steps.
    """

    group: str
    name: str
    mixture: dict[str, float] = field(default_factory=lambda: {"universe": 1.0})
    learning_rate: float = 2e-4
    steps: int = 500
    rank: int = 32
    alpha: float = 64
    dropout: float = 0.0
    targets: str = "all"
    rslora: bool = False
    weight_decay: float = 0.0
    replay: str = ""
    weight: float = 0.0
    warmup: float = 0.05
    seed: int = 0

    @property
    def file(self) -> str:
        """Its name for files."""
        return f"{self.group}-{self.name}-{self.seed}".replace(" ", "_").replace(",", "")


def recipes() -> list[Run]:
    """The search over recipes, most wanted first; each differs from the first in what its name says."""
    base = Run("recipe", "universe")
    fast = replace(base, learning_rate=5e-4)
    return [
        base,
        *[replace(base, name=f"rate {rate:g}", learning_rate=rate) for rate in (5e-4, 1e-3, 1e-4, 5e-5)],
        replace(base, name="half course", mixture={"universe": 0.5, "course": 0.5}),
        replace(fast, name="attention 5e-4", targets="attention"),
        replace(base, name="attention 1e-3", targets="attention", learning_rate=1e-3),
        replace(base, name="kl 1", replay="kl", weight=1.0),
        replace(fast, name="kl 1 at 5e-4", replay="kl", weight=1.0),
        replace(base, name="tokens 1", replay="tokens", weight=1.0),
        replace(base, seed=1),
        replace(base, name="quarter course", mixture={"universe": 0.75, "course": 0.25}),
        replace(base, name="quarter seal", mixture={"universe": 0.75, "seal": 0.25}),
        replace(base, name="fifth course, fifth seal", mixture={"universe": 0.6, "course": 0.2, "seal": 0.2}),
        replace(base, name="dropout", dropout=0.1),
        replace(fast, name="dropout 5e-4", dropout=0.1),
        replace(base, name="r 8", rank=8, alpha=16),
        replace(fast, name="r 8 at 5e-4", rank=8, alpha=16),
        replace(base, name="rsLoRA", rslora=True),
        replace(base, name="attention 2e-4", targets="attention"),
        replace(fast, name="mlp 5e-4", targets="mlp"),
        replace(base, name="alpha r", alpha=32),
        replace(base, name="weight decay", weight_decay=0.1),
        replace(fast, name="kl 0.3 at 5e-4", replay="kl", weight=0.3),
        replace(fast, name="kl 3 at 5e-4", replay="kl", weight=3.0),
        replace(fast, name="tokens 0.1 at 5e-4", replay="tokens", weight=0.1),
        replace(base, name="1500 steps", steps=1500),
        replace(fast, name="1500 steps at 5e-4", steps=1500),
        replace(base, seed=2),
    ]


def forms() -> list[Run]:
    """The data card's baseline: the course's 32 tools against the universe, 300 steps each."""
    pools = ("course", "universe")
    return [Run("form", name, mixture={name: 1.0}, steps=300, seed=seed) for seed in (0, 1) for name in pools]


def bets() -> list[Run]:
    """Does breadth help? As many rows of few tools of the universe as of many, and of the course's own."""
    pools = ("course", *[f"universe_{count}" for count in token_pools.COUNTS], "universe")
    return [Run("bet", name, mixture={name: 1.0}, seed=seed) for seed in (0, 1) for name in pools]


GROUPS = {"recipe": recipes, "form": forms, "bet": bets}  # and whatever --runs names


# --- one run ----------------------------------------------------------------------------------------------------------


def adapted(run: Run, base):
    """The base model with a fresh adapter, seeded."""
    import torch
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(run.seed)
    config = LoraConfig(
        r=run.rank, lora_alpha=run.alpha, lora_dropout=run.dropout, use_rslora=run.rslora,
        target_modules=list(TARGETS[run.targets]),
    )  # fmt: skip
    return get_peft_model(base, config)


def rate_at(run: Run, step: int) -> float:
    """The learning rate at a step: linear warm-up, then a cosine to 0."""
    warmup = max(1, round(run.warmup * run.steps))
    if step < warmup:
        return run.learning_rate * (step + 1) / warmup
    return run.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, run.steps - warmup)))


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
        self.told: dict[str, list] = {"loss": [], "grad_norm": [], "replay": [], "rows": [], "seconds": []}
        tokens = packed_step.TOKENS - (replay.TOKENS if run.replay else 0)
        lengths = {name: pool.lengths for name, pool in self.pools.items()}
        self.order = packed_step.batches(lengths, run.mixture, tokens, run.seed)

    def go(self) -> dict:
        """Train to the end, from the checkpoint if there is one. Returns what ``told`` holds."""
        from . import packed_step

        self.model.train()
        self._restore()
        packed_step.compile_layers(self.model)
        saved = last = time.time()
        for step in range(len(self.told["loss"]), self.run.steps):
            self._step(step)
            if step % 50 == 49 or step == self.run.steps - 1:
                self._settle()
                self.told["seconds"].append(round((time.time() - last) / 50, 4))
                last = time.time()
                if last - saved > SAVE_EVERY:
                    self._save()
                    saved = last = time.time()
        self._settle()
        return self.told

    def _step(self, step: int) -> None:
        """One step: rows packed, both losses, gradient, update. Nothing waits for the GPU."""
        import torch
        from peft.helpers import disable_input_dtype_casting  # autocast casts; PEFT's own cast would keep copies

        from . import packed_step

        rows = [self.pools[name].row(number) for name, number in next(self.order)]
        self.told["rows"].append(len(rows))
        packed = packed_step.pack([*rows, *(self.replay.rows() if self.replay else [])], packed_step.TOKENS)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.run, step)
        with packed_step.half_precision(self.model), disable_input_dtype_casting(self.model):
            hidden = packed_step.hidden_states(self.model, packed)
            loss = packed_step.packed_loss(self.model, packed, hidden)
            term = self.replay.term(packed, hidden) if self.replay else None
            (loss if term is None else loss + self.run.weight * term).backward()
        self.told["grad_norm"].append(torch.nn.utils.clip_grad_norm_(self.trained, 1.0))
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.told["loss"].append(loss.detach())
        self.told["replay"] += [] if term is None else [term.detach()]

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
            next(self.order)
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
    told = asdict(run) | {"file": run.file} | Training(run, model, folder, out / f"{run.file}.pt").go()
    told |= {
        "seconds_per_step": statistics.median(told.pop("seconds")), "rows": sum(told["rows"]),
        "train_seconds": round(time.time() - started, 1),
    }  # fmt: skip
    packed_step.plain_layers(model)
    held = token_pools.read(folder, "held")
    told["held_out_loss"] = packed_step.held_out_loss(model, [held.row(i) for i in range(len(held.lengths))])
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
    with gzip.open(out / f"{run.file}.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in written)
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


def draw(checkpoint: Path, folder: Path, arguments) -> None:
    """Every pool's rounds, and what the base writes by itself."""
    from transformers import AutoTokenizer

    from . import packed_step, replay

    known = {name: n for name, n in token_pools.ROUNDS.items() if name != "seal" or arguments.seal}
    rounds = {name: min(n, arguments.rounds or n) for name, n in known.items()}
    token_pools.draw(checkpoint, arguments.seal, folder, rounds, arguments.jobs)
    if not (folder / "plain-000.npz").exists():
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
    parser.add_argument("--rounds", type=int, default=None, help="of every pool, at most")
    parser.add_argument("--cards", default="", help="the GPUs to use, as 0,1,2 (default: all)")
    parser.add_argument("--jobs", type=int, default=4, help="processes at a time; one a card is nearly as fast as two")
    parser.add_argument("--seconds", type=float, default=math.inf, help="begin no run after this long")
    arguments = parser.parse_args()
    if arguments.what == "draw":
        draw(*arguments.paths, arguments)
    elif arguments.what == "keep":
        run_scores.keep(*arguments.paths[:1], arguments.group, arguments.paths[1], reference.provenance((0, 1, 2)))
    else:
        told = json.loads(arguments.runs) if arguments.runs else []
        spread([Run(**each) for each in told] or GROUPS[arguments.group](), *arguments.paths, arguments)


if __name__ == "__main__":
    main()
