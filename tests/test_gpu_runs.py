"""The script for the GPU, rehearsed: every kind of job on a tiny random model, and what is kept of a list cut short."""

import importlib.util
import json
from argparse import Namespace
from dataclasses import replace

import pytest
import torch

from helpers import dataset, reference
from helpers.paths import ROOT

_spec = importlib.util.spec_from_file_location("gpu_runs", ROOT / "scripts" / "gpu_runs.py")
gpu = importlib.util.module_from_spec(_spec)
__import__("sys").modules["gpu_runs"] = gpu  # dataclasses look their module up
_spec.loader.exec_module(gpu)


@pytest.fixture(scope="module")
def tiny():
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    torch.manual_seed(0)
    return Gemma3ForCausalLM(Gemma3TextConfig(
        vocab_size=262144, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1, head_dim=8,
        layer_types=["sliding_attention", "full_attention"], pad_token_id=0,
    ))  # fmt: skip


@pytest.fixture(scope="module")
def data(tokenizer):
    original = dataset.load
    try:
        dataset.load = lambda split: original(split, 1).select(range(48))  # one tool a row: short
        return gpu.tokenized(tokenizer)
    finally:
        dataset.load = original


def test_the_list_has_every_setting_once_before_a_second_seed():
    listed = gpu.jobs()
    keys = [replace(job, seed=0) for job in listed]
    half = len(set(keys))
    assert len(set(keys[:half])) == half and len(set(listed)) == len(listed)
    assert {job.learning_rate for job in listed if job.group == "learning_rate"} == set(gpu.RATES)


def test_labels_of_tool_results_are_the_difference(data, tokenizer):
    rows = [i for i in range(48) if data["with_results"][i] != data["response"][i]]
    assert rows and all(data["full"][i] == data["ids"][i] for i in range(48))
    extra = [t for t, a, b in zip(data["ids"][rows[0]], data["with_results"][rows[0]], data["response"][rows[0]], strict=True) if a != b]
    assert tokenizer.decode(extra).startswith("response:")


@pytest.mark.parametrize("schedule, halfway", [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_schedules(schedule, halfway):
    job = gpu.Job("learning_rate", "x", schedule=schedule, warmup=0.1)
    assert [gpu.rate_at(job, step, 100) for step in (0, 5, 10, 55)] == pytest.approx([0, 0.5, 1, halfway])


def test_every_kind_of_job_runs_and_is_collected(tiny, tokenizer, data, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "held_out", lambda split, n: dataset.load(split, 1).select(range(3)).to_list())
    english = gpu.english_rows()[:2]
    monkeypatch.setattr(gpu, "english_rows", lambda: english)
    predict = gpu.predict
    monkeypatch.setattr(gpu, "predict", lambda model, tokenizer, rows: predict(model, tokenizer, rows, tokens=3))
    kinds = {(job.group, job.name.split()[0], job.labels, job.normalization, job.blind): job for job in gpu.jobs()}
    brief = [replace(job, steps=1, batch=4) for job in kinds.values()]
    for job in [gpu.Job("reference", "lr 0.001", steps=1, batch=2), *brief]:
        result = gpu.run(job, tiny, tokenizer, data, tmp_path, until=0)
        assert len(result["loss"]) == result["steps"] and all(norm > 0 for norm in result["grad_norm"]), job
    assert not any("lora" in name for name, _ in tiny.named_parameters())  # the base is left as it was
    gpu.collect(tmp_path, Namespace(processes=1, revision="x"))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter", "learning_rate.json", "masking.json", "predictions.jsonl.gz", "reference.json", "spike.json",
    ]  # fmt: skip
    stored = reference.load("masking", tmp_path)
    assert stored.provenance["revision"] == "x" and all("scores" in result for result in stored.results)
    spike = json.loads((tmp_path / "spike.json").read_text(encoding="utf-8"))["results"][0]
    assert len(spike["frozen_loss"]) == len(spike["batches"]) == 1


def test_a_job_is_claimed_once(tmp_path):
    assert gpu.claimed(tmp_path, 3) and not gpu.claimed(tmp_path, 3) and gpu.claimed(tmp_path, 4)
