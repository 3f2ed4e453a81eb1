"""What an engine costs: seconds to load, tokens a second and memory of transformers and llama.cpp, each in a process of
its own.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from .. import checkpoints, environment
from ..errors import CourseError
from ..llama_server import Server


def dtype() -> str:
    """In which dtype ``benchmark`` loads transformers' model: bfloat16, or float32 where that is faster on this CPU."""
    return "bfloat16" if environment.multiplies_bf16() else "float32"


def benchmark(engine: str, path: Path | str, ids: list[int], tokens: int = 32) -> dict:
    """Load a model in a process of its own and generate ``tokens`` tokens greedily after a prompt, without a stop.

    ``engine``: "llama.cpp" with a GGUF, "transformers" with a folder. Returns load_seconds, prompt_seconds (prompt and
    first token for transformers), tokens_per_second and peak_bytes (resident, libraries included). Raises CourseError
    when the process fails.
    """
    return _in_own_process({"engine": engine, "path": str(path), "prompt": list(ids), "tokens": tokens})


def stored_table(results: list[dict]):
    """What ``scripts.experiments.serving_runs`` stored, a line each place and engine: a pandas.DataFrame.

    Seconds to the first token and tokens a second after it are medians over the prompts.
    """
    import pandas

    lines = {}
    for told in results:
        first, pace = (statistics.median(each) for each in zip(*told["answers"], strict=True))
        lines["on the GPU" if told["gpu"] else "on two cores", told["engine"]] = {
            "to load, s": told["load_seconds"],
            "to the first token, s": first,
            "tokens a second": pace,
            "peak, MB": told["peak_bytes"] / 1e6,
            "on the card, MB": told["gpu_bytes"] / 1e6,
        }
    return pandas.DataFrame(lines).T


def context_bytes(path: Path | str, context: int, keep_all: bool = False) -> int:
    """Bytes that a process takes for llama.cpp, a GGUF and a context of ``context`` tokens, filled; Python aside.

    ``keep_all``: without the saving of the sliding window. Raises CourseError when the process fails.
    """
    asked = {"engine": "context", "path": str(path), "context": context, "keep_all": keep_all}
    return _in_own_process(asked)["bytes"]


def _in_own_process(asked: dict) -> dict:
    own = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    }
    done = subprocess.run(
        [sys.executable, "-m", "helpers.probes.serving"],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        env=own,
        check=False,
    )
    if done.returncode:
        raise CourseError(
            f"the benchmark of {asked['engine']} failed: {done.stderr.strip().splitlines()[-1][:200]}",
            "does the model run in the cells above?",
        )
    return json.loads(done.stdout.strip().split("\n")[-1])


def _bench_llama(asked: dict) -> dict:
    started = time.perf_counter()
    with Server(asked["path"]) as server:
        loaded = time.perf_counter() - started
        answer = server.complete(asked["prompt"], max_new_tokens=asked["tokens"], ignore_eos=True)
    return {
        "load_seconds": loaded,
        "prompt_seconds": answer.prompt_seconds,
        "tokens_per_second": len(answer.token_ids) / answer.seconds,
    }


def _fill_context(asked: dict) -> dict:
    before = environment.peak_host_bytes()
    with Server(asked["path"], context=asked["context"], keep_all=asked["keep_all"]) as server:
        # ordinary tokens, no two in a row alike
        server.complete([2, *(5000 + i % 1000 for i in range(asked["context"] - 16))], max_new_tokens=8)
        return {"bytes": environment.peak_host_bytes() - before}


def _bench_transformers(asked: dict) -> dict:
    import torch

    started = time.perf_counter()
    model = checkpoints.load_model(checkpoints.Checkpoint(asked["path"], "", ""), dtype=dtype(), device="cpu")
    loaded, ids = time.perf_counter() - started, torch.tensor([asked["prompt"]])
    spent = []
    for tokens in (1, asked["tokens"] + 1):
        started = time.perf_counter()
        model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
        )
        spent.append(time.perf_counter() - started)
    return {
        "load_seconds": loaded,
        "prompt_seconds": spent[0],
        "tokens_per_second": asked["tokens"] / (spent[1] - spent[0]),
    }


def main() -> int:
    """The process that ``benchmark`` starts: what is asked on stdin, what was found on the last line of stdout."""
    asked = json.load(sys.stdin)
    ways = {"llama.cpp": _bench_llama, "transformers": _bench_transformers, "context": _fill_context}
    found = ways[asked["engine"]](asked)
    print(json.dumps(found | {"peak_bytes": environment.peak_host_bytes()}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
