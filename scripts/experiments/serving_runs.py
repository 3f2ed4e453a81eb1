"""What an answer costs on two cores and on a GPU: transformers beside llama.cpp's server, one machine, one run.

    python -m scripts.experiments.serving_runs CHECKPOINT ADAPTER LLAMA_SERVER OUT.json --base-gguf FILE [--rows 12]

LLAMA_SERVER is the program ``llama-server``, built with CUDA where there is a GPU. The adapter is merged, written as a
folder for transformers and as Q8_0 and Q4_K_M for llama.cpp. Each engine runs in a process of its own, alone on the
machine, held to two cores; it reads the same test prompts, which share no cache, and writes 64 tokens to each,
greedily and without a stop. The first prompt is asked once before, unmeasured.

Measured at the client: seconds to the first token, and tokens a second after it. Memory is the process's peak of
resident bytes and, on a GPU, what the driver says that the process takes on the card.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import checkpoints, dataset, generation, gguf, llama_cpp, reference
from helpers.probes import serving

from . import clock

TOKENS = 64
FORMATS = ("Q8_0", "Q4_K_M")
CORES = 2


def write_files(checkpoint: str, adapter: str, base_gguf: str, folder: Path) -> dict[str, Path]:
    """The merged model as a folder for transformers, and in each format."""
    from safetensors.torch import save_file

    base = checkpoints.Checkpoint(checkpoint, checkpoints.GEMMA_NAME, "argument")
    state = checkpoints.merge_adapter(base, adapter)
    merged = folder / "merged"
    merged.mkdir(parents=True)
    for path in Path(checkpoint).iterdir():
        if path.suffix == ".json" or path.name.startswith("token"):
            (merged / path.name).write_bytes(path.read_bytes())
    save_file({name: tensor.bfloat16().contiguous() for name, tensor in state.items()}, merged / "model.safetensors")
    f16 = gguf.write_f16(state, Path(base_gguf), folder / "F16.gguf")
    return {"merged": merged} | llama_cpp.make(f16, folder, list(FORMATS), os.cpu_count())


# --- llama.cpp --------------------------------------------------------------------------------------------------------


def ask_server(address: str, ids: list[int]) -> tuple[float, float]:
    """(seconds to the first token, tokens a second after it) of one streamed completion."""
    import httpx

    asked = {"prompt": ids, "n_predict": TOKENS, "temperature": 0, "ignore_eos": True, "stream": True,
             "cache_prompt": False, "return_tokens": True}  # fmt: skip
    started, times = time.perf_counter(), []
    with httpx.stream("POST", f"{address}/completion", json=asked, timeout=300) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: ") and json.loads(line[6:]).get("tokens"):
                times.append(time.perf_counter())
    return times[0] - started, (len(times) - 1) / (times[-1] - times[0])


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def run_server(program: str, path: Path, prompts: list[list[int]], gpu: bool) -> dict:
    """Answers of llama-server, which starts and ends here."""
    import httpx

    address = f"http://127.0.0.1:{(port := free_port())}"
    asked = [program, "-m", path, "--port", port, "-t", CORES, "-c", 2048, "-np", 1, "-ngl", 99 if gpu else 0]
    asked += [] if gpu else ["--device", "none"]
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log, subprocess.Popen(held(map(str, asked)), stdout=log, stderr=log) as server:
        try:
            while True:
                try:
                    if httpx.get(f"{address}/health", timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                if server.poll() is not None:
                    log.seek(0)
                    raise RuntimeError(f"llama-server ended: {log.read()[-600:].decode(errors='replace')}")
                time.sleep(0.02)
            loaded = time.perf_counter() - started
            ask_server(address, prompts[0])
            told = [ask_server(address, ids) for ids in prompts]
            return {"load_seconds": loaded, "answers": told} | memory_of(server.pid, gpu)
        finally:
            server.terminate()


def memory_of(pid: int, gpu: bool) -> dict:
    """Peak resident bytes of a process, and its bytes on the card."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    peak = [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(("VmHWM", "VmRSS"))]
    return {"peak_bytes": max(peak), "gpu_bytes": gpu_bytes() if gpu else 0}


def gpu_bytes() -> int:
    """Bytes in use on the first card, whoever has them: nothing else may run there."""
    asked = ["nvidia-smi", "-i", "0", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(asked, capture_output=True, text=True, check=True).stdout) * 2**20


# --- transformers -----------------------------------------------------------------------------------------------------


def dtype_on(gpu: bool) -> str:
    """bfloat16 where it is multiplied as such; elsewhere float32 is faster."""
    return "bfloat16" if gpu else serving.dtype()


def run_transformers(folder: str, prompts: list[list[int]], gpu: bool, tokens: int) -> dict:
    """Answers of transformers in this process; the first token's time comes from a streamer."""
    import torch
    from transformers.generation.streamers import BaseStreamer

    class Clock(BaseStreamer):
        """When each token came; the first call hands over the prompt."""

        def __init__(self):
            self.times: list[float] = []

        def put(self, _) -> None:
            self.times.append(time.perf_counter())

        def end(self) -> None:
            """Nothing is kept back."""

    torch.set_num_threads(CORES)
    device = "cuda" if gpu else "cpu"
    started = time.perf_counter()
    found = checkpoints.Checkpoint(folder, "", "")
    model = checkpoints.load_model(found, dtype=dtype_on(gpu), device=device).eval()
    loaded, told = time.perf_counter() - started, []
    for ids in [prompts[0], *prompts]:
        clock, asked = Clock(), torch.tensor([ids], device=device)
        started = time.perf_counter()
        model.generate(input_ids=asked, attention_mask=torch.ones_like(asked), min_new_tokens=tokens,
                       max_new_tokens=tokens, do_sample=False, pad_token_id=0, streamer=clock)  # fmt: skip
        first = clock.times[1]
        told.append((first - started, (len(clock.times) - 2) / (clock.times[-1] - first)))
    return {"load_seconds": loaded, "answers": told[1:]} | memory_of(os.getpid(), gpu)


# --- command line -----------------------------------------------------------------------------------------------------


def held(command) -> list[str]:
    """The command, held to two cores."""
    return ["taskset", "-c", f"0-{CORES - 1}", *command]


def in_own_process(folder: Path, prompts: list[list[int]], gpu: bool) -> dict:
    """``run_transformers`` in a fresh process."""
    asked = json.dumps({"folder": str(folder), "prompts": prompts, "gpu": gpu, "tokens": TOKENS})
    command = held([sys.executable, "-m", "scripts.experiments.serving_runs", "--child"])
    done = subprocess.run(command, input=asked, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-800:])
    return json.loads(done.stdout.strip().splitlines()[-1])


def run_all(arguments) -> list[dict]:
    """Every engine on two cores and, where there is one, on the GPU."""
    import torch
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(arguments.checkpoint)
    rows = dataset.load("test").to_list()[: arguments.rows]
    prompts = [tokenizer(generation.prompt(row), add_special_tokens=False).input_ids for row in rows]
    gpus = (True, False) if torch.cuda.device_count() else (False,)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        files = write_files(arguments.checkpoint, arguments.adapter, arguments.base_gguf, Path(folder))
        for gpu in gpus:
            ways = {f"transformers, {dtype_on(gpu)}": lambda gpu=gpu: in_own_process(files["merged"], prompts, gpu)}
            for kind in FORMATS:
                ways[f"llama.cpp, {kind}"] = lambda kind=kind, gpu=gpu: run_server(
                    arguments.server, files[kind], prompts, gpu
                )
            for engine, run in ways.items():
                try:
                    told = run()
                except Exception as error:  # one engine's failure leaves the others' numbers
                    print(f"{engine}, gpu {gpu}: {error}", flush=True)
                    continue
                found.append({"engine": engine, "gpu": gpu} | told)
                first, speed = (sorted(values)[len(prompts) // 2] for values in zip(*told["answers"], strict=True))
                print(f"{engine}, gpu {gpu}: {first:.3f} s to the first token, {speed:.0f} tokens a second", flush=True)
    return found


def main() -> None:
    """Run the command line (see the module)."""
    if sys.argv[1:] == ["--child"]:
        print(json.dumps(run_transformers(**json.load(sys.stdin))))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("checkpoint", "adapter", "server", "out"):
        parser.add_argument(name)
    parser.add_argument("--base-gguf", required=True, help="where the tokenizer and the shape are taken from")
    parser.add_argument("--rows", type=int, default=12, help="test rows whose prompts are read")
    arguments = parser.parse_args()
    version = subprocess.run([arguments.server, "--version"], capture_output=True, text=True, check=False)
    lines = (version.stdout + version.stderr).splitlines()  # those of CUDA's start come first
    told = {
        "llama_cpp": next((line for line in lines if line.startswith("version")), ""), "cores": CORES, "tokens": TOKENS,
        "processor": clock.processor(),  # asked first: once CUDA has begun, it is the GPU
    }  # fmt: skip
    told = {"provenance": reference.provenance((0,)) | told, "results": run_all(arguments)}
    Path(arguments.out).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
