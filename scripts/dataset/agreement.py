"""A blind second writer: reads declarations and request of drawn rows, writes the call, and is compared with the gold.

    python -m scripts.dataset agreement draw FOLDER        FOLDER/part_1.jsonl …, rows without their gold
    python -m scripts.dataset agreement compare FOLDER     what FOLDER/answers_1.jsonl … say, beside the gold

An answer is a line ``{"n": number of the row, "calls": [{"name", "arguments"}], "say": text where nothing is called}``.
How often two writers agree is the ceiling that a model can be held to. Where they do not, one of them is wrong or the
request says two things: the row is mended or its utterance is listed in ``assets/data/universe/disputed.yaml``, which
keeps it out of validation and the rings.
"""

from __future__ import annotations

import json
import random
import sys
from collections import defaultdict
from pathlib import Path

from helpers import dataset, scoring, universe
from helpers.calls import FunctionCall, serialize
from helpers.errors import CourseError
from helpers.generation import Generation

PARTS = 8
#: How many rows of a split are drawn; ring 3 has ring 1's requests.
DRAWN = {"universe_train": 420, "universe_validation": 200, "ring_1_new_tool": 200, "ring_2_new_family": 260}
SEED = 7


def drawn() -> list[dict]:
    """The rows that a second writer reads, the same every time; each utterance once."""
    draw, found, seen = random.Random(SEED), [], set()
    for split, wanted in DRAWN.items():
        rows = universe.rows(split)
        draw.shuffle(rows)
        fresh = [row for row in rows if not (row["phrasing"] in seen or seen.add(row["phrasing"]))]
        found += fresh[:wanted]
    draw.shuffle(found)
    return found


def shown(number: int, row: dict) -> dict:
    """A row without its gold."""
    turns = [[message["role"], message["content"]] for message in json.loads(row["messages"])[:-1]]
    tools = [tool["function"] for tool in json.loads(row["tools"])]
    return {"n": number, "turns": turns, "tools": tools}


def write(folder: Path) -> None:
    """FOLDER/part_1.jsonl and so on."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = drawn()
    for part in range(PARTS):
        lines = [json.dumps(shown(n, row), ensure_ascii=False) for n, row in enumerate(rows) if n % PARTS == part]
        (folder / f"part_{part + 1}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "drawn.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def as_generation(answer: dict) -> Generation:
    """A second writer's answer in the form that a model's has."""
    if not answer["calls"]:
        return Generation(answer.get("say", ""), (), "<end_of_turn>")
    calls = [FunctionCall(call["name"], call["arguments"]) for call in answer["calls"]]
    return Generation(serialize(calls) + "<start_function_response>", (), "<start_function_response>")


def compare(folder: Path) -> tuple[dict, list[dict]]:
    """(the figures to publish, the rows on which the two differ: id, request, gold, answer)."""
    rows = [json.loads(line) for line in (folder / "drawn.jsonl").read_text(encoding="utf-8").splitlines()]
    answers: dict[int, dict] = {}
    for path in sorted(folder.glob("answers_*.jsonl")):
        for line in filter(None, path.read_text(encoding="utf-8").splitlines()):
            answer = json.loads(line)
            answers[answer["n"]] = answer
    if not answers:
        raise CourseError(f"there are no answers in {folder.name}", "write answers_1.jsonl and so on")
    numbers = sorted(answers)
    report = scoring.score([as_generation(answers[n]) for n in numbers], [rows[n] for n in numbers])
    groups: dict = defaultdict(lambda: [0, 0])
    different = []
    for n, told in zip(numbers, report.rows, strict=True):
        silent = told["kind"] in dataset.SILENT
        agree = told["no_call"] if silent else told["exact"]
        for group in ("all", f"kind: {told['kind']}", f"dialect: {told['dialect']}"):
            groups[group][0] += agree
            groups[group][1] += 1
        if not silent:
            groups["function named alike"][0] += told["name"]
            groups["function named alike"][1] += 1
        if not agree:
            different.append({"id": rows[n]["id"], "phrasing": rows[n]["phrasing"], "kind": told["kind"],
                              "turns": shown(n, rows[n])["turns"], "gold": json.loads(rows[n]["calls"]),
                              "answer": answers[n]})  # fmt: skip
    table = {}
    for group, (hits, n) in sorted(groups.items()):
        low, high = scoring.wilson(hits, n)
        table[group] = {"agree": hits, "n": n, "low": round(low, 4), "high": round(high, 4)}
    return table, different


def main(arguments: list[str]) -> int:
    """Run the command line (see the module)."""
    if len(arguments) != 2 or arguments[0] not in ("draw", "compare"):
        print("usage: python -m scripts.dataset agreement draw | compare FOLDER", file=sys.stderr)
        return 2
    folder = Path(arguments[1])
    if arguments[0] == "draw":
        write(folder)
        return 0
    table, different = compare(folder)
    for group, told in table.items():
        print(f"{group:<24} {told['agree']:4d} of {told['n']:4d}  {told['agree'] / told['n']:.1%}")
    (folder / "table.json").write_text(json.dumps(table, indent=1), encoding="utf-8")
    (folder / "different.jsonl").write_text(
        "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in different), "utf-8"
    )
    return 0
