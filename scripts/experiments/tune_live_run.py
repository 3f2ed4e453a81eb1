"""Choose the sizes of the CPU profile's training run: what to do with the 400 rows that two cores can afford.

    python -m scripts.experiments.tune_live_run CHECKPOINT OUT.json   (a few minutes on a GPU; transformers + PEFT)

Every setting sees what about BUDGET seconds on two cores allow (a row costs 1.25 s alone, 0.75 s four to a prompt, 0.5
s eight to a prompt: measured) and is scored on rows of *validation*. The test is not read.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, get_cosine_schedule_with_warmup

from helpers import dataset, generation, masking, packing, reference, scoring, training

SECONDS_PER_ROW = {1: 1.25, 4: 0.75, 8: 0.5}
BUDGET = 220  # seconds
ONE, TWO = ("weather",), ("islamic_services", "weather")
SETTINGS = [
    # domains, rows per prompt, prompts per step, learning rate, rank
    *[(ONE, 8, b, 1e-3, 32) for b in (1, 2, 4)],
    *[(ONE, 4, b, 1e-3, 32) for b in (2, 4)],
    (ONE, 1, 4, 1e-3, 32), (ONE, 8, 2, 5e-4, 32),
    *[(TWO, 8, b, 1e-3, 32) for b in (1, 2, 4)],
    *[(TWO, 4, b, 1e-3, 32) for b in (2, 4)],
    (TWO, 8, 2, 5e-4, 32), (("utilities", "weather"), 8, 4, 1e-3, 32),
    *[(None, 8, b, 1e-3, 32) for b in (2, 4)],
]  # fmt: skip


def run(model, tokenizer, setting, budget: float, seed: int) -> dict:
    """Train and score one of ``SETTINGS`` within ``budget`` seconds of two cores. Returns its settings and scores."""
    domains, per_prompt, batch, rate, rank = setting
    steps = round(budget / SECONDS_PER_ROW[per_prompt] / per_prompt / batch)
    torch.manual_seed(seed)
    lora = training.add_adapter(model, rank)
    optimizer = torch.optim.AdamW([p for p in lora.parameters() if p.requires_grad], lr=rate, weight_decay=0)
    schedule = get_cosine_schedule_with_warmup(optimizer, round(0.1 * steps), steps)
    rows = dataset.load("train", 3, per_prompt, domains)
    starts = list(range(0, len(rows) - per_prompt, per_prompt))
    random.Random(seed).shuffle(starts)
    collate = packing.Collator(0, model.config.sliding_window, torch.bfloat16)
    losses = []
    for step in range(steps):
        chosen = starts[step * batch : (step + 1) * batch]
        encoded = masking.encode([rows[i + j] for i in chosen for j in range(per_prompt)], tokenizer)
        ids, labels = encoded.ids, encoded.labels
        packs = [
            packing.pack(ids[i : i + per_prompt], labels[i : i + per_prompt]) for i in range(0, len(ids), per_prompt)
        ]
        inputs = collate(packs)
        inputs = {
            k: {n: m.cuda() for n, m in v.items()} if isinstance(v, dict) else v.cuda() for k, v in inputs.items()
        }
        with torch.autocast("cuda", dtype=torch.bfloat16):
            loss = masking.label_loss(lora, inputs)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(lora.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    lora.eval()
    held = dataset.load("validation", 3, 1, domains)
    held = held.select(range(min(200, len(held))))
    report = scoring.score(generation.generate(lora, tokenizer, held, max_new_tokens=96, batch_size=100), held)
    lora.unload()
    hits = {level: report.hits(level) for level in scoring.LEVELS}
    return {
        "domains": domains,
        "rows_per_prompt": per_prompt,
        "prompts_per_step": batch,
        "learning_rate": rate,
        "rank": rank,
        "steps": steps,
        "seed": seed,
        "last_losses": sum(losses[-5:]) / 5,
        "n": len(hits["parse"]),
        **{level: round(sum(h) / max(1, len(h)), 3) for level, h in hits.items()},
    }


def main() -> None:
    """Run the command line (see the module)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("out", type=Path)
    parser.add_argument("--budget", type=float, default=BUDGET, help="seconds of two CPU cores (default %(default)s)")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument(
        "--shard", default="0/1", help="I/N: every Nth setting from the Ith on (processes side by side)"
    )
    arguments = parser.parse_args()
    shard, shards = map(int, arguments.shard.split("/"))
    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    results = []
    for seed in range(arguments.seeds):
        for setting in SETTINGS[shard::shards]:
            started = time.time()
            base = AutoModelForCausalLM.from_pretrained(
                arguments.checkpoint, dtype=torch.bfloat16, attn_implementation="eager"
            ).cuda()
            results.append(run(base, tokenizer, setting, arguments.budget, seed))
            print({k: v for k, v in results[-1].items() if k != "rank"}, f"{time.time() - started:.0f} s", flush=True)
            arguments.out.write_text(
                json.dumps({"provenance": reference.provenance(range(arguments.seeds)), "results": results}, indent=1)
            )


if __name__ == "__main__":
    main()
