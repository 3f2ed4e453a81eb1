"""Which runs there are: a recipe each, in groups that answer one question.

recipe    what makes a small model call tools of families it has never seen?      judged on validation families
candidate the base as it is, and long runs of the recipe that was chosen            judged on everything
form      the course's 32 tools against the universe, 300 steps                   the data card's baseline
bet       as many rows of 32, 130, 230 or all tools                               does breadth help?
rates     every rank at three rates, one seed                                     judged on validation families
ranks     every rank at the best of its rates, three seeds                        does r buy dialects, or memory?
guide     the guide's recipe on the course's stored rows, and one change each: learning rate, schedule, which tokens
          carry loss, how it is normalized
scaling   the same, α/r against the rate; α = 64 and α = 2r at rank 128; and long
          runs at three ranks                                                     judged on validation
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

from helpers import reference
from helpers.training import PROJECTIONS

from . import token_pools

TARGETS = {
    "all": PROJECTIONS,
    "attention": ("q_proj", "k_proj", "v_proj", "o_proj"),
    "mlp": ("gate_proj", "up_proj", "down_proj"),
}
SEEDS = (0, 1, 2)
RATES = (5e-5, 2e-4, 5e-4, 1e-3, 3e-3)
RANKS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class Run:
    """One training run.

    ``mixture``: pool -> share of the rows (``token_pools``); ``rows`` a step, or 0 for as many as fit; ``targets``: a
    key of ``TARGETS``; ``warmup``: a share of the steps; ``schedule``: cosine, linear or constant.

    ``replay``: "" for none, "tokens" or "kl" (``replay``), with the ``weight`` of its mean beside the mean loss of
    calls. ``normalization``: "window", one mean over the step's labels; "means", the mean of four quarters' means;
    "sum". ``blind``: no gradient through the prompt's keys and values. ``replayed``: which rows each step had is kept,
    and their loss under the final weights. ``watched``: validation families are asked every so many steps.
    """

    group: str
    name: str
    mixture: dict[str, float] = field(default_factory=lambda: {"universe": 1.0})
    learning_rate: float = 2e-4
    steps: int = 500
    rows: int = 0
    rank: int = 32
    alpha: float = 64
    dropout: float = 0.0
    targets: str = "all"
    rslora: bool = False
    weight_decay: float = 0.0
    schedule: str = "cosine"
    warmup: float = 0.05
    replay: str = ""
    weight: float = 0.0
    normalization: str = "window"
    blind: bool = False
    replayed: bool = False
    watched: int = 0
    seed: int = 0

    @property
    def file(self) -> str:
        """Its name for files."""
        return f"{self.group}-{self.name}-{self.seed}".replace(" ", "_").replace(",", "").replace("/", "_")


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
        replace(fast, name="1500 steps at 5e-4", steps=1500, watched=250),
        replace(fast, name="kl 1 at 5e-4, 1500 steps", replay="kl", weight=1.0, steps=1500, watched=250),
        replace(
            fast,
            name="kl 1 at 5e-4, dropout, 1500 steps",
            replay="kl",
            weight=1.0,
            dropout=0.1,
            steps=1500,
            watched=250,
        ),
        replace(
            fast,
            name="kl 1 at 5e-4, refilled, 1500 steps",
            mixture={"refilled": 1.0},
            replay="kl",
            weight=1.0,
            steps=1500,
            watched=250,
        ),
        replace(fast, name="r 128 at 5e-4", rank=128, alpha=256),
        replace(base, seed=2),
    ]


def candidates() -> list[Run]:
    """The recipe that keeps the base's language, half and three quarters universe; and the base, which takes no step.

    Values are refilled; some of the course's rows stand as they are stored, the others are renamed.
    """
    mixtures = {
        "half universe": {"refilled": 0.5, "course": 0.4, "train": 0.1},
        "three quarters universe": {"refilled": 0.75, "course": 0.2, "train": 0.05},
    }
    runs = [
        Run("candidate", name, mixture, 5e-4, 2500, replay="kl", weight=1.0, watched=250)
        for name, mixture in mixtures.items()
    ]
    return [*runs, Run("candidate", "base", {}, steps=0)]


def forms() -> list[Run]:
    """The data card's baseline: the course's 32 tools against the universe, 300 steps each."""
    pools = ("course", "universe")
    return [Run("form", name, mixture={name: 1.0}, steps=300, seed=seed) for seed in (0, 1) for name in pools]


def bets() -> list[Run]:
    """Does breadth help? As many rows of few tools of the universe as of many, and of the course's own."""
    pools = ("course", *[f"universe_{count}" for count in token_pools.COUNTS], "universe")
    return [Run("bet", name, mixture={name: 1.0}, seed=seed) for seed in (0, 1) for name in pools]


def of_rank(group: str, rank: int, rate: float, seed: int = 0) -> Run:
    """A run of the rank study: 600 steps of 16 rows, the universe's and the course's, α = 2r.

    Nothing holds it to the base: the question is what a rank learns, and that term doubles a step's time.
    """
    mixture = {"refilled": 0.5, "course": 0.5}
    return Run(
        group, f"r {rank} at {rate:g}", mixture, rate, 600, rows=16, rank=rank, alpha=2 * rank, seed=seed,
    )  # fmt: skip


def rank_rates() -> list[Run]:
    """Three rates for every rank."""
    return [of_rank("rates", rank, rate) for rate in (5e-4, 2e-4, 1e-3) for rank in RANKS]


def ranks(out: Path) -> list[Run]:
    """Every rank at the rate with which it made most exact calls on validation families: under OUT, else as stored."""
    found = [json.loads(path.read_text(encoding="utf-8")) for path in out.glob("rates-*.json")]
    best: dict[int, tuple[int, float]] = {}
    for told in found or reference.load("rates").results:
        exact = told["scores"]["universe_validation"]["exact"][0]
        best[told["rank"]] = max(best.get(told["rank"], (-1, 0.0)), (exact, told["learning_rate"]))
    return [of_rank("ranks", rank, rate, seed) for seed in SEEDS for rank, (_, rate) in sorted(best.items())]


def of_guide(seed: int) -> Run:
    """The guide's recipe on the stored rows: r = 32, α = 64, 1e-3, cosine, 200 steps of 16 rows."""
    return Run("guide", "response only", {"train": 1.0}, 1e-3, 200, rows=16, warmup=0.1, seed=seed)


def changes(seed: int) -> list[Run]:
    """One change at a time to the guide's recipe."""
    base = of_guide(seed)
    labels = {"full sequence": "full", "stop tokens unlabelled": "no_stops", "tool results labelled": "with_results"}
    return [
        base,
        *[replace(base, name=f"rate {rate:g}", learning_rate=rate) for rate in RATES if rate != base.learning_rate],
        *[replace(base, name=schedule, schedule=schedule) for schedule in ("linear", "constant")],
        replace(base, name="no warm-up", warmup=0.0),
        *[replace(base, name=name, mixture={f"train_{pool}": 1.0}) for name, pool in labels.items()],
        replace(base, name="no gradient through the prompt", blind=True),
        *[replace(base, name=name, normalization=name) for name in ("means", "sum")],
    ]


def guide() -> list[Run]:
    """All changes, seed by seed; and small batches, whose losses spike."""
    spike = replace(of_guide(0), name="4 rows a step", schedule="constant", steps=300, rows=4, replayed=True)
    return [*changes(0), spike, *changes(1), *changes(2)]


def scalings() -> list[Run]:
    """α/r against the learning rate at r = 32, two α at r = 128, and long runs at three ranks; seed by seed."""
    runs = []
    for seed in SEEDS:
        base = replace(of_guide(seed), group="scaling")
        for scale in (0.5, 1, 2, 4):
            for rate in (2.5e-4, 5e-4, 1e-3, 2e-3):
                runs.append(replace(base, name=f"alpha/r {scale:g} at {rate:g}", alpha=32 * scale, learning_rate=rate))
        runs += [replace(base, name=f"r 128, alpha {alpha}", rank=128, alpha=alpha) for alpha in (64, 256)]
        runs += [replace(base, name=f"800 steps, r {r}", rank=r, alpha=2 * r, steps=800) for r in (1, 8, 32)]
    return runs


#: group -> its runs; ``ranks`` looks at what ``rates`` gave.
GROUPS = {
    "recipe": recipes, "candidate": candidates, "form": forms, "bet": bets, "rates": rank_rates, "ranks": ranks,
    "guide": guide, "scaling": scalings,
}  # fmt: skip


def runs_of(group: str, out: Path) -> list[Run]:
    """The runs of a group; OUT holds what came out so far."""
    return ranks(out) if group == "ranks" else GROUPS[group]()  # type: ignore[operator]
