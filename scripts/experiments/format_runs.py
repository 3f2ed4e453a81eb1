"""The experiment of notebook 05: one fine-tuned model in every format, the same test rows, free and constrained.

    python -m scripts.experiments.format_runs CHECKPOINT ADAPTER OUT [--seconds 780] [--rows 500] [--workers CORES]
    python -m scripts.experiments.format_runs CHECKPOINT ADAPTER OUT --decoded [--seconds 500] [--rows 1500]

Both take ``--base-gguf FILE``.

Merges the adapter, writes F16 and quantizes it with llama.cpp's own quantizer, then asks llama.cpp the same rows of
``test`` in every format: greedy, 128 tokens at most, once free and once constrained by ``calls.grammar``. Workers with
one thread each take the next task from one list; a task is one format on a block of rows, and the list goes through all
formats before it comes to the next block, so that when time runs out every format has the same rows. When the pace does
not allow both, rows are first asked free and the constrained ones fill the time that is left.

The main line is the *dithered* base: the packaged weights sit on the grid of Q4_K_M, so quantizing them to it again
would look better than it is; each weight is moved at random within its cell before the merge
(``quantization.dithered_state``, seeded). The same for two formats *as packaged* (free, half the rows) shows how large
that bias is. With ``--decoded`` llama.cpp writes the files, and their decoded weights run in transformers (float32, on
a GPU if there is one): a row takes a hundredth of the time, the weights are those of the file to the last bit, and only
llama.cpp's rounding of *activations* is left out; there is no grammar. ``engine`` in each prediction says which of the
two it was.

KL against F16 over the whole vocabulary: passages of assets/data/retention.yaml, and gold calls.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import queue
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # in the workers, which start anew; the parent sets its own for torch
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
from helpers import calls, checkpoints, dataset, generation, gguf, llama_cpp, llama_server, reference, scoring  # noqa: E402
from helpers.probes import quantization  # noqa: E402

from . import clock  # noqa: E402

SEED = 0  # of the dither
BLOCK = 10  # rows of a task
CALLS = 16  # gold calls for the KL
PACKAGED = ("F16", "Q4_K_M")  # on every other block


@dataclass(frozen=True)
class Run:
    """A file of the experiment: a format, and whether the base was dithered or left as packaged."""

    format: str
    base: str = "dithered"

    @property
    def name(self) -> str:
        """The format's name, with "as packaged" where the base was not dithered."""
        return self.format if self.base == "dithered" else f"{self.format} as packaged"


RUNS = [*(Run(name) for name in gguf.FORMATS), *(Run(name, "as packaged") for name in PACKAGED)]


# --- files ------------------------------------------------------------------------------------------------------------


def wanted_runs(formats: list[str] | None) -> list[Run]:
    """The runs with these names (None: all), and F16 of the same base, against which KL is measured."""
    chosen = [run for run in RUNS if formats is None or run.name in formats]
    truths = [Run("F16", run.base) for run in chosen]
    return [run for run in RUNS if run in chosen + truths]


def make_files(
    base_name: str, wanted: list[str], checkpoint: str, adapter: str, base_gguf: str, folder: str, threads: int
) -> dict[str, str]:
    """The wanted formats of one base: run name -> path. Runs in a process of its own."""
    import torch

    torch.set_num_threads(threads)
    base, folder = Path(base_gguf), Path(folder) / base_name.replace(" ", "-")
    folder.mkdir(parents=True)
    state = quantization.dithered_state(base, SEED) if base_name == "dithered" else None
    state = checkpoints.merge_adapter(
        checkpoints.Checkpoint(checkpoint, checkpoints.GEMMA_NAME, "argument"), adapter, state
    )
    f16 = gguf.write_f16(state, base, folder / "F16.gguf")
    made = llama_cpp.make(f16, folder, wanted, threads)
    return {Run(name, base_name).name: str(made[name]) for name in wanted}


# --- workers ----------------------------------------------------------------------------------------------------------


def worker(tasks, results) -> None:
    """Take tasks until None comes; what fails is told, not raised."""
    while (task := tasks.get()) is not None:
        results.put((task["id"], {"worker": os.getpid()}))
        try:
            results.put((task["id"], {"answers": ask, "kl": divergences}[task["kind"]](task)))
        except Exception as error:
            results.put((task["id"], {"error": f"{type(error).__name__}: {error}"}))


def ask(task: dict) -> dict:
    """Answers to a block of prompts, free and/or constrained.

    The second question of a row starts from the first one's keys and values.
    One at a time: reading the prompt is most of the work, and two at once on one thread took 2.5 s a row instead of
    2.1.
    """
    found = []
    with llama_server.Server(task["path"], threads=1) as server:
        for row in task["rows"]:
            for grammar in [None] * task["free"] + [row["grammar"]] * task["constrained"]:
                a = server.complete(row["ids"], grammar)
                found.append(
                    {
                        "id": row["id"],
                        "grammar": grammar is not None,
                        "ids": a.token_ids,
                        "prompt_tokens": a.prompt_tokens,
                        "prompt_seconds": a.prompt_seconds,
                        "seconds": a.seconds,
                    }
                )
    return {"answers": found}


def divergences(task: dict) -> dict:
    """Mean KL(F16 || format) over positions and the share of those with the same first choice, for every task text."""
    import torch

    found = []
    with llama_cpp.Decoder(task["reference"], threads=1) as a, llama_cpp.Decoder(task["path"], threads=1) as b:
        for text in task["texts"]:
            p, q = (torch.from_numpy(decoder.logits(text["ids"], text["start"])) for decoder in (a, b))
            found.append(compared(text["kind"], p, q))
    return {"kl": found}


# --- tasks ------------------------------------------------------------------------------------------------------------


def kl_texts(tokenizer, rows: list[dict], passages: int) -> list[dict]:
    """Passages whole; of gold calls only what the model would write."""
    told = dataset.retention()
    texts = [
        {"kind": kind, "ids": tokenizer("<bos>" + t, add_special_tokens=False).input_ids, "start": 0}
        for kind in ("arabic", "english")
        for t in told[kind][:passages]
    ]
    for row in [row for row in rows if row["kind"] == "single"][: min(CALLS, passages)]:
        prompt = tokenizer(generation.prompt(row), add_special_tokens=False).input_ids
        gold = [calls.FunctionCall(c["name"], c["arguments"]) for c in json.loads(row["calls"])]
        answer = tokenizer(calls.serialize(gold) + "<start_function_response>", add_special_tokens=False).input_ids
        texts.append({"kind": "calls", "ids": prompt + answer[:-1], "start": len(prompt) - 1})
    return texts


def asked_rows(tokenizer, rows: list[dict]) -> list[dict]:
    """Data rows as requests: id, token ids of the prompt, and the grammar (GBNF) of the declared tools."""
    ids = [tokenizer(generation.prompt(row), add_special_tokens=False).input_ids for row in rows]
    return [
        {"id": row["id"], "ids": i, "grammar": calls.grammar(json.loads(row["tools"]))}
        for row, i in zip(rows, ids, strict=True)
    ]


def blocks(rows: list[dict]) -> list[list[dict]]:
    """The rows in lists of ``BLOCK``."""
    return [rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK)]


class Schedule:
    """Which task comes next: KL first, then block after block through all runs.

    The constrained question is put off when the pace asks for it.
    """

    def __init__(self, files: dict[str, str], rows: list[dict], texts: list[dict], workers: int, until: float):
        self.files, self.workers, self.until = files, workers, until
        self.blocks = blocks(rows)
        self.left = [self.kl(run, texts) for run in RUNS if run.format != "F16"]
        self.next_block, self.put_off, self.number, self.asked = 0, [], 0, 0
        self.seconds = {False: [], True: []}  # of a block, without and with the constrained question

    def kl(self, run: Run, texts: list[dict]) -> dict:
        """The task that compares one run's logits with those of F16 on the same base."""
        return {
            "kind": "kl",
            "run": run.name,
            "path": self.files[run.name],
            "reference": self.files[Run("F16", run.base).name],
            "texts": texts,
        }

    def __iter__(self):
        while task := self.following():
            self.number += 1
            yield task | {"id": self.number}

    def following(self) -> dict | None:
        """The next task, or None when all have been given out."""
        if not self.left and self.next_block < len(self.blocks):
            both = self.affords_both()
            self.left = [
                self.answers(run, self.next_block, True, both and run.base == "dithered")
                for run in RUNS
                if run.base == "dithered" or not self.next_block % 2
            ]
            if not both:
                self.put_off.append(self.next_block)
            self.next_block += 1
        elif not self.left and self.put_off:
            block = self.put_off.pop(0)
            self.left = [self.answers(run, block, False, True) for run in RUNS if run.base == "dithered"]
        return self.left.pop(0) if self.left else None

    def answers(self, run: Run, block: int, free: bool, constrained: bool) -> dict:
        """The task that generates answers to one block of rows in one format."""
        return {
            "kind": "answers",
            "run": run.name,
            "path": self.files[run.name],
            "rows": self.blocks[block],
            "block": block,
            "free": free,
            "constrained": constrained,
        }

    def affords_both(self) -> bool:
        """Whether asking this block twice leaves time to ask all later ones once."""
        both, free = self.seconds[True][-2 * len(RUNS) :], self.seconds[False][-2 * len(RUNS) :]
        if not both:
            return self.next_block < 1 + self.workers // len(RUNS)
        twice = sum(both) / len(both)
        once = sum(free) / len(free) if free else 0.6 * twice
        needed = (twice + once * (len(self.blocks) - self.next_block - 1)) * len(RUNS) / self.workers
        return time.time() + 1.1 * needed < self.until

    def done(self, task: dict, seconds: float) -> None:
        """Record the seconds that a finished task took."""
        if task["kind"] == "answers" and task["free"] and not task["run"].endswith("as packaged"):
            self.seconds[task["constrained"]].append(seconds)


# --- decoded weights in transformers ----------------------------------------------------------------------------------


def decode(path: str) -> str:
    """Write a GGUF's decoded weights beside it, in float32.

    Runs in a process of its own: most of it is Python reading the tokenizer.
    """
    from safetensors.torch import save_file

    target = f"{path}.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in gguf.decoded(Path(path)).items()}, target)
    return target


def run_decoded(
    files: dict[str, str], checkpoint: str, tokenizer, rows: list[dict], texts: list[dict], findings: Findings, told
) -> None:
    """Every file's weights on every row, one file after the other, the most wanted first.

    What does not fit in time is left out whole, to be asked another time: what OUT holds already is not asked again.
    """
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(told.workers)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = checkpoints.load_model(
        checkpoints.Checkpoint(checkpoint, checkpoints.GEMMA_NAME, "argument"), dtype="float32", device=device
    )
    findings.restore()
    asked = [run for run in RUNS if run.name in (told.formats or files) and not findings.complete(run)]
    needed = wanted_runs([run.name for run in asked])
    longest, truth = 0.0, {}
    with multiprocessing.get_context("spawn").Pool(min(told.workers, len(needed) or 1)) as pool:
        decoded = {run.name: pool.apply_async(decode, (files[run.name],)) for run in needed}
        for run in needed:
            state, started = load_file(decoded[run.name].get()), time.time()
            if started + longest > told.until:
                print(f"no time left for {run.name}", flush=True)
                continue
            model.load_state_dict(state, strict=False)
            logp = [log_probabilities(model, text) for text in texts]
            if run.format == "F16":
                truth = {run.base: logp}
            if run not in asked:
                continue
            found = generation.generate(
                model, tokenizer, rows, max_new_tokens=128, batch_size=250 if device == "cuda" else None
            )
            if run.format != "F16":
                findings.kl[run.name] = [
                    compared(text["kind"], p, q) for text, p, q in zip(texts, truth[run.base], logp, strict=True)
                ]
            findings.add_generations(run, rows, found)
            longest = max(longest, time.time() - started)
            findings.write()
            print(f"{run.name}: {longest:.0f} s, {findings.scores(run, False, findings.complete(run))}", flush=True)


def log_probabilities(model, text: dict):
    """Log-probabilities over the vocabulary at positions that count: (positions, V), float32, in ordinary memory."""
    import torch

    with torch.inference_mode():
        logits = model(torch.tensor([text["ids"]], device=model.device)).logits[0, text["start"] :].float()
        return logits.log_softmax(-1).cpu()


def compared(kind: str, p, q) -> dict:
    """Mean KL in nats and the share of positions with one first choice, of two (positions, V) logits or log p."""
    kl, same = scoring.token_kl(p, q), p.argmax(1) == q.argmax(1)
    return {"kind": kind, "positions": len(kl), "kl": float(kl.mean()), "same_first": float(same.float().mean())}


# --- results ----------------------------------------------------------------------------------------------------------


class Findings:
    """The results that the workers have returned so far, written to two files as they come."""

    def __init__(self, rows: list[dict], files: dict[str, str], tokenizer, out: Path):
        self.rows, self.files, self.tokenizer, self.out = {row["id"]: row for row in rows}, files, tokenizer, out
        self.predictions, self.kl, self.errors, self.decoded = [], {}, [], False
        self.bytes: dict[str, int] = {}  # of files that an earlier call made

    def restore(self) -> None:
        """Take up what an earlier call left under OUT."""
        if not (self.out / "quantization.json").exists():
            return
        earlier = reference.load("quantization", self.out)
        self.predictions = earlier.predictions
        self.kl = {result["name"]: result["kl"] for result in earlier.results if result["kl"]}
        self.bytes = {result["name"]: result["bytes"] for result in earlier.results}

    def add(self, task: dict, result: dict) -> None:
        """Add a task's result: predictions, KL, or its error."""
        if "error" in result:
            self.errors.append(f"{task['run']} {task['kind']}: {result['error']}")
            print(self.errors[-1], flush=True)
        self.kl |= {task["run"]: result["kl"]} if "kl" in result else {}
        for a in result.get("answers", []):
            answer = llama_server.Answer(tuple(a["ids"]), a["prompt_tokens"], a["prompt_seconds"], a["seconds"])
            g = answer.generation(self.tokenizer)
            self.predictions.append(
                {
                    "job": task["run"],
                    "engine": "llama.cpp",
                    "grammar": a["grammar"],
                    "id": a["id"],
                    "text": g.text,
                    "tokens": len(a["ids"]),
                    "stopped_by": g.stopped_by,
                    "prompt_tokens": a["prompt_tokens"],
                    "prompt_seconds": round(a["prompt_seconds"], 3),
                    "seconds": round(a["seconds"], 3),
                }
            )

    def add_generations(self, run: Run, rows: list[dict], generations: list) -> None:
        """Add the generations that transformers made for one run."""
        for row, g in zip(rows, generations, strict=True):
            self.predictions.append(
                {
                    "job": run.name,
                    "engine": "transformers",
                    "grammar": False,
                    "id": row["id"],
                    "text": g.text,
                    "tokens": len(g.token_ids),
                    "stopped_by": g.stopped_by,
                }
            )

    def complete(self, run: Run) -> list[str]:
        """Ids of the rows that one run has answered, free."""
        return [p["id"] for p in self.predictions if p["job"] == run.name and not p["grammar"]]

    def complete_rows(self, grammar: bool, base: str = "dithered") -> list[str]:
        """Ids of the rows that every run of a base has answered."""
        runs = [run for run in RUNS if run.base == base and (not self.decoded or self.complete(run))]
        each = [{p["id"] for p in self.predictions if p["job"] == run.name and p["grammar"] == grammar} for run in runs]
        return [i for i in self.rows if each and all(i in found for found in each)]

    def scores(self, run: Run, grammar: bool, ids: list[str]) -> dict:
        """level -> [hits, n] of one run on the rows with these ids."""
        found = {p["id"]: p for p in self.predictions if p["job"] == run.name and p["grammar"] == grammar}
        written = [generation.Generation(found[i]["text"], (), found[i]["stopped_by"]) for i in ids]
        return scoring.score(written, [self.rows[i] for i in ids]).counts()

    def write(self) -> None:
        """Write quantization.json and quantization.jsonl.gz, for the rows that every run has answered."""
        kept = {
            (base, grammar): self.complete_rows(grammar, base)
            for base in ("dithered", "as packaged")
            for grammar in (False, True)
        }
        results = []
        for run in [run for run in RUNS if not self.decoded or self.complete(run)]:
            free, constrained = kept[run.base, False], kept[run.base, True]
            results.append(
                {
                    "job": run.name,
                    "name": run.name,
                    "format": run.format,
                    "base": run.base,
                    "seed": SEED,
                    "bytes": self.bytes.get(run.name) or Path(self.files[run.name]).stat().st_size,
                    "rows": len(free),
                    "scores": self.scores(run, False, free),
                    "constrained_rows": len(constrained),
                    "constrained": self.scores(run, True, constrained),
                    "kl": self.kl.get(run.name),
                }
            )
        wanted, base_of = {key: set(ids) for key, ids in kept.items()}, {run.name: run.base for run in RUNS}
        told = {
            "provenance": reference.provenance([SEED], device=clock.processor()) | {"errors": self.errors},
            "results": results,
        }
        _replace(self.out / "quantization.json", json.dumps(told, ensure_ascii=False, indent=1).encode())
        lines = "".join(
            json.dumps(p, ensure_ascii=False) + "\n"
            for p in self.predictions
            if p["id"] in wanted[base_of[p["job"]], p["grammar"]]
        )
        _replace(self.out / "quantization.jsonl.gz", gzip.compress(lines.encode(), mtime=0))


def _replace(path: Path, data: bytes) -> None:
    partial = path.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def main() -> int:
    """Run the command line (see the module). Returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("adapter")
    parser.add_argument("out", type=Path)
    parser.add_argument(
        "--base-gguf", type=Path, help="the packaged GGUF, joined (default: joined from the installed packages)"
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=780,
        help="no task starts after this many seconds; the last ones take half a minute more",
    )
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument(
        "--decoded", action="store_true", help="run the files' decoded weights in transformers instead of llama.cpp"
    )
    parser.add_argument(
        "--formats", action="append", choices=[run.name for run in RUNS], help="with --decoded: this one, or several"
    )
    parser.add_argument("--passages", type=int, default=40, help="of each language, for the KL")
    parser.add_argument("--workers", type=int, default=len(os.sched_getaffinity(0)))
    told = parser.parse_args()
    if told.formats and not told.decoded:
        parser.error("--formats goes with --decoded: llama.cpp is asked all formats, block by block")
    told.out.mkdir(parents=True, exist_ok=True)
    told.until = time.time() + told.seconds
    started, spawn = time.time(), multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        files = prepare(told, spawn, folder)
        print(
            f"{len(files)} files after {time.time() - started:.0f} s: "
            + ", ".join(f"{n} {Path(p).stat().st_size / 1e6:.0f} MB" for n, p in files.items()),
            flush=True,
        )
        tokenizer = checkpoints.load_tokenizer(checkpoints.Checkpoint(told.checkpoint, "gemma", "argument"))
        rows = dataset.load("test").select(range(told.rows)).to_list()
        findings, texts = Findings(rows, files, tokenizer, told.out), kl_texts(tokenizer, rows, told.passages)
        if told.decoded:
            findings.decoded = True
            run_decoded(files, told.checkpoint, tokenizer, rows, texts, findings, told)
            return 0
        asked = asked_rows(tokenizer, rows)
        schedule = Schedule(files, asked, texts, told.workers, told.until)
        work(schedule, findings, told.workers, spawn, started)
        findings.write()
    print(
        f"{len(findings.complete_rows(False))} rows free, {len(findings.complete_rows(True))} constrained, "
        f"{time.time() - started:.0f} s, {len(findings.errors)} errors",
        flush=True,
    )
    return 0


def prepare(told, spawn, folder: str) -> dict[str, str]:
    """Both bases at once if both are wanted, each in a process with half the workers as threads."""
    base = told.base_gguf or gguf.base_gguf()
    threads = max(1, told.workers // 2)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    wanted: dict[str, list[str]] = {}
    for run in wanted_runs(told.formats):
        wanted.setdefault(run.base, []).append(run.format)
    with spawn.Pool(2) as pool:
        made = [
            pool.apply_async(make_files, (name, formats, told.checkpoint, told.adapter, str(base), folder, threads))
            for name, formats in wanted.items()
        ]
        files = {name: path for part in made for name, path in part.get().items()}
    os.environ["OMP_NUM_THREADS"] = "1"
    return files


def work(schedule: Schedule, findings: Findings, workers: int, spawn, started: float) -> None:
    """Hand out tasks as workers become free; stop handing out when time is up, and wait for what is under way.

    A worker that dies is replaced.
    """
    tasks, results = spawn.Queue(), spawn.Queue()
    pool = [_worker(spawn, tasks, results) for _ in range(workers)]
    following, under_way, taken, written = iter(schedule), {}, {}, time.time()
    while True:
        while len(under_way) < workers and time.time() < schedule.until and (task := next(following, None)):
            under_way[task["id"]] = (task, time.time())
            tasks.put(task)
        if not under_way or time.time() > schedule.until + 90:
            break
        try:
            number, result = results.get(timeout=5)
        except queue.Empty:
            number, result = _bury(pool, taken, under_way, spawn, tasks, results)
        if "worker" in result:
            taken[result["worker"]] = number
        elif number in under_way:
            task, since = under_way.pop(number)
            schedule.done(task, time.time() - since)
            findings.add(task, result)
        if time.time() - written > 20:
            findings.write()
            written = time.time()
            free, constrained = len(findings.complete_rows(False)), len(findings.complete_rows(True))
            print(
                f"{time.time() - started:.0f} s: {free} rows free, {constrained} constrained in every format; "
                f"block {schedule.next_block} of {len(schedule.blocks)}",
                flush=True,
            )
    for _ in pool:
        tasks.put(None)
    for process in pool:
        process.join(5)
        if process.is_alive():
            process.terminate()


def _worker(spawn, tasks, results):
    process = spawn.Process(target=worker, args=(tasks, results), daemon=True)
    process.start()
    return process


def _bury(pool: list, taken: dict, under_way: dict, spawn, tasks, results) -> tuple:
    """The task of a worker that died, as an error; another worker in its place. ``(None, {})`` when all are alive."""
    for index, process in enumerate(pool):
        if not process.is_alive():
            pool[index] = _worker(spawn, tasks, results)
            number = taken.pop(process.pid, None)
            if number in under_way:
                return number, {"error": f"its worker died with exit code {process.exitcode}"}
    return None, {}


if __name__ == "__main__":
    raise SystemExit(main())
