"""What an engine costs: seconds to load, tokens a second and memory of transformers and llama.cpp, each in a process of
its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from .. import checkpoints, environment
from ..errors import CourseError
from ..llama_server import Server


def benchmark(engine: str, path: Path | str, ids: list[int], tokens: int = 32) -> dict:
    """Load a model in a process of its own and generate ``tokens`` tokens greedily after a prompt, without a stop.

    ``engine``: "llama.cpp" with a GGUF, "transformers" with a folder. Returns load_seconds, prompt_seconds (prompt and
    first token for transformers), tokens_per_second and peak_bytes (resident, libraries included). Raises CourseError
    when the process fails.
    """
    return _in_own_process({"engine": engine, "path": str(path), "prompt": list(ids), "tokens": tokens})


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
    model = checkpoints.load_model(checkpoints.Checkpoint(asked["path"], "", ""), dtype="bfloat16", device="cpu")
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
