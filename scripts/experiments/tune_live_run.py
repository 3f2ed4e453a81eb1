"""Choose the sizes of the CPU profile's training run: what to do with the tokens that two cores can afford.

    python -m scripts.experiments.tune_live_run CHECKPOINT OUT.json   (a few minutes on a GPU; transformers + PEFT)

A setting is how many rows share a prompt, the peak learning rate, and how many tokens may be computed: fewer rows a
prompt buy more steps. Each is scored on the weather rows of *validation*, by calls and by the loss of the labelled
tokens. The test is not read.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, get_cosine_schedule_with_warmup

from helpers import dataset, generation, masking, packing, reference, scoring, training

DOMAINS = ("weather",)
TOOLS = 3  # declared in a prompt
BUDGETS = (29_000, 58_000)  # tokens: 58,000 took 280 s on two cores with AVX-512, 710 s on two without
SETTINGS = [
    *itertools.product(BUDGETS, (8, 4, 2), (1e-3, 2e-3)),
    *itertools.product(BUDGETS[1:], (8, 4, 2), (5e-4,)),
    # half the time, more rows behind a prompt
    *itertools.product(BUDGETS[:1], (24, 16), (1e-3, 5e-4)),
    (BUDGETS[0], 8, 5e-4),
]


def shard(listed: list, told: str) -> list:
    """The part of a list that ``told``, as I/N, gives one of N processes: every Nth element from the Ith on."""
    first, step = map(int, told.split("/"))
    return listed[first::step]


def pack_rows(tokenizer, split: str, per_prompt: int) -> list[dict]:
    """Rows of a split, ``per_prompt`` to a sequence (see ``helpers.packing``)."""
    encoded = masking.encode(dataset.load(split, TOOLS, per_prompt, DOMAINS), tokenizer)
    starts = range(0, len(encoded.ids) - per_prompt + 1, per_prompt)
    return [packing.pack(encoded.ids[i : i + per_prompt], encoded.labels[i : i + per_prompt]) for i in starts]


def loss_of(lora, collate, packs: list[dict]):
    """The mean loss in nats over the labelled tokens of packed rows, as one step computes it."""
    inputs = collate(packs)
    inputs = {k: {n: m.cuda() for n, m in v.items()} if isinstance(v, dict) else v.cuda() for k, v in inputs.items()}
    with torch.autocast("cuda", dtype=torch.bfloat16):
        return masking.label_loss(lora, inputs)


def train(lora, collate, packs: list[dict], rate: float, steps: int, seed: int) -> None:
    """AdamW over packs in a drawn order, one a step, with the recipe's warm-up, cosine and clipping."""
    optimizer = torch.optim.AdamW([p for p in lora.parameters() if p.requires_grad], lr=rate, weight_decay=0)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    for pack in random.Random(seed).sample(packs, steps):  # no setting's budget goes through all of them
        loss_of(lora, collate, [pack]).backward()
        torch.nn.utils.clip_grad_norm_(lora.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()


def run(model, tokenizer, setting: tuple, seed: int) -> dict:
    """Train and score one of ``SETTINGS``. Returns its settings and scores; ``held_loss`` in nats a labelled token."""
    budget, per_prompt, rate = setting
    torch.manual_seed(seed)
    packs = pack_rows(tokenizer, "train", per_prompt)
    steps = round(budget * len(packs) / sum(len(pack["input_ids"]) for pack in packs))
    lora = training.add_adapter(model, 32)
    collate = packing.Collator(0, model.config.sliding_window, torch.bfloat16)
    train(lora, collate, packs, rate, steps, seed)
    lora.eval()
    with torch.no_grad():
        held_loss = loss_of(lora, collate, pack_rows(tokenizer, "validation", 1)).item()
    held = dataset.load("validation", TOOLS, 1, DOMAINS)
    report = scoring.score(generation.generate(lora, tokenizer, held, max_new_tokens=96, batch_size=100), held)
    lora.unload()
    hits = {level: report.hits(level) for level in scoring.LEVELS}
    told = {"budget": budget, "rows_per_prompt": per_prompt, "learning_rate": rate, "steps": steps, "seed": seed}
    scored = {level: round(sum(h) / max(1, len(h)), 3) for level, h in hits.items()}
    return {**told, "held_loss": held_loss, "n": len(hits["parse"]), **scored}


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--first", type=int, default=0, help="the first of SETTINGS to run: others are stored already")
    parser.add_argument(
        "--shard", default="0/1", help="I/N: every Nth setting from the Ith on (processes side by side)"
    )
    arguments = parser.parse_args()
    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    results = []
    for seed in range(arguments.seeds):
        for setting in shard(SETTINGS[arguments.first :], arguments.shard):
            started = time.time()
            base = AutoModelForCausalLM.from_pretrained(
                arguments.checkpoint, dtype=torch.bfloat16, attn_implementation="eager"
            ).cuda()
            results.append(run(base, tokenizer, setting, seed))
            print(results[-1], f"{time.time() - started:.0f} s", flush=True)
            arguments.out.write_text(
                json.dumps({"provenance": reference.provenance(range(arguments.seeds)), "results": results}, indent=1)
            )


if __name__ == "__main__":
    main()
