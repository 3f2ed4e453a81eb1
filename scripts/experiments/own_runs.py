"""How are thirty requests of one's own best learned? Rate, rounds, and what stands between them?

    python -m scripts.experiments.own_runs CHECKPOINT OUT.json   (some minutes on a GPU; transformers + PEFT)

Every setting goes on from the reference adapter, or from ``--adapter``, and is trained three times, each time without
another third of the pottery studio's requests, which it is then judged by: so every request is judged once. Beside them
stand rows of the course's test and of the universe's validation families, which say what is forgotten. Of two steps one
is a pack of eight own requests, the other what the setting mixes in: nothing, a pack of eight rows of the course, or
one row of the universe.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
from functools import cache
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from helpers import dataset, generation, packing, reference, scoring, training
from helpers.paths import ASSETS
from helpers.yours import examples

from .tune_live_run import shard, train

STUDIO = ASSETS / "own_example"
FOLDS, PACK, OTHERS = 3, 8, 24
RATES, ROUNDS, MIXES = (1e-4, 3e-4, 1e-3), (3, 6), ("nothing", "course", "universe")
SETTINGS = list(itertools.product(RATES, ROUNDS, MIXES))


def fold(number: int) -> tuple[list[dict], list[dict]]:
    """The studio's requests as rows to train on and rows to be judged by: every third of each function's."""
    tools = json.loads((STUDIO / "tools.json").read_text(encoding="utf-8"))
    listed = examples.read(STUDIO / "requests.csv")
    listed.sort(key=lambda one: [call.name for call in one.calls])  # stable: in a function's rows the order is kept
    held = [one for place, one in enumerate(listed) if place % FOLDS == number]
    seen = [one for one in listed if one not in held]
    return examples.rows(seen, tools), examples.rows(held, tools, split="test")


@cache  # a split takes seconds to draw, and there are dozens of runs
def rows_of(split: str, *sizes: int) -> list[dict]:
    """A split's rows (``dataset.load``)."""
    return dataset.load(split, *sizes).to_list()


def sequences(tokenizer, own: list[dict], rounds: int, mix: str, seed: int) -> list[dict]:
    """What a run trains on, a sequence a step: own requests ``rounds`` times over, and as many steps mixed in."""
    draw = random.Random(seed)
    shown = [row for _ in range(rounds) for row in draw.sample(own, len(own))]
    steps = -(-len(shown) // PACK)
    if mix == "course":
        shown += rows_of("train", 3, PACK)[: PACK * steps]
    elif mix == "universe":
        shown += rows_of("universe_train")[:steps]  # no two of them declare the same, so each stands alone
    packed, _ = training.tokenize(shown, tokenizer, training.Recipe(rows_per_prompt=PACK))
    return packed.to_list()


def judged(lora, tokenizer, held: list[dict]) -> dict[str, dict]:
    """Scores of a model on the held requests, on tools that it knew, and on families that nobody trained on."""
    sets = {
        "own": held,
        "course": rows_of("test", 3)[:OTHERS],
        "universe": rows_of("universe_validation")[:OTHERS],
    }
    found = {}
    for name, rows in sets.items():
        written = generation.generate(lora, tokenizer, rows, max_new_tokens=96, batch_size=64)
        found[name] = scoring.score(written, rows).counts()
    return found


def run(checkpoint: str, adapter: Path, tokenizer, setting: tuple | None, number: int) -> dict:
    """Train and score a setting on a fold; without a setting, score the adapter as it is."""
    from peft import PeftModel

    base = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16).cuda()
    torch.manual_seed(number)
    lora = PeftModel.from_pretrained(base, adapter, is_trainable=True)
    own, held = fold(number)
    told = {"fold": number, "learning_rate": None, "rounds": 0, "mix": None, "steps": 0}
    if setting:
        rate, rounds, mix = setting
        made = sequences(tokenizer, own, rounds, mix, number)
        collate = packing.Collator(0, base.config.sliding_window, torch.bfloat16)
        train(lora, collate, made, rate, len(made), number)
        told |= {"learning_rate": rate, "rounds": rounds, "mix": mix, "steps": len(made)}
    return told | {"scores": judged(lora.eval(), tokenizer, held)}


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--adapter", type=Path, default=None, help="to go on from (default: the reference adapter)")
    parser.add_argument("--shard", default="0/1", help="I/N: every Nth run from the Ith on (processes side by side)")
    arguments = parser.parse_args()
    adapter = arguments.adapter or reference.adapter_folder()
    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    results = []
    for setting, number in shard([*itertools.product([None, *SETTINGS], range(FOLDS))], arguments.shard):
        results.append(run(arguments.checkpoint, adapter, tokenizer, setting, number))
        exact = {name: scores["exact"] for name, scores in results[-1]["scores"].items()}
        print(setting, number, exact, flush=True)
        told = {"provenance": reference.provenance(range(FOLDS)), "results": results}
        arguments.out.write_text(json.dumps(told, indent=1), encoding="utf-8")  # what is done is kept


if __name__ == "__main__":
    main()
