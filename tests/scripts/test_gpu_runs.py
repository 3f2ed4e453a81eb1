"""The script for the GPU, rehearsed: every kind of job on a tiny random model, and what is kept of a list cut short."""

import json
from argparse import Namespace
from dataclasses import replace

import pytest
import torch
from tiny_gemma import tiny_config

from helpers import dataset, reference
from scripts.experiments import gpu_runs as gpu

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tiny():
    from transformers import Gemma3ForCausalLM

    torch.manual_seed(0)
    sizes = {"vocab_size": 262144, "hidden_size": 16, "intermediate_size": 32, "head_dim": 8, "sliding_window": 4096}
    return Gemma3ForCausalLM(tiny_config(**sizes, pad_token_id=0))


@pytest.fixture(scope="module")
def data(tokenizer):
    few = dataset.load("train", 1).select(range(48))  # one tool a row: short
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dataset, "load", lambda split: few)
        patch.setattr(gpu.augmentation, "fresh", lambda seed: few.to_list())
        return gpu.tokenized(tokenizer)


def test_the_list_has_every_setting_once_before_a_second_seed():
    listed = gpu.jobs()
    assert len(set(listed)) == len(listed) == len({gpu.name_of(job) for job in listed})
    short = [job for job in listed if job.steps < 800 and job.group != "reference" and job.name != "alpha/r"]
    half = len({replace(job, seed=0) for job in short})
    assert len({replace(job, seed=0) for job in short[:half]}) == half and {job.seed for job in short[:half]} == {0}
    assert {job.learning_rate for job in listed if job.group == "learning_rate"} == set(gpu.RATES)
    assert {job.rank for job in listed if job.group == "rank_sweep"} == set(gpu.RANKS)


def test_labels_of_tool_results_are_the_difference(data, tokenizer):
    rows = [i for i in range(48) if data["with_results"][i] != data["response"][i]]
    assert rows and all(data["full"][i] == data["ids"][i] for i in range(48))
    assert data["plain"] == 48 and len(data["ids"]) == 48 * (1 + gpu.COPIES) and data["ids"][48] != data["ids"][0]
    extra = [
        t
        for t, a, b in zip(data["ids"][rows[0]], data["with_results"][rows[0]], data["response"][rows[0]], strict=True)
        if a != b
    ]
    assert tokenizer.decode(extra).startswith("response:")


@pytest.mark.parametrize("schedule, halfway", [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_schedules(schedule, halfway):
    job = gpu.Job("learning_rate", "x", schedule=schedule, warmup=0.1, steps=100)
    assert [gpu.rate_at(job, step) for step in (0, 5, 10, 55)] == pytest.approx([0, 0.5, 1, halfway])


def test_every_kind_of_job_runs_and_is_collected(tiny, tokenizer, data, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "held_out", lambda split, n: dataset.load(split, 1).select(range(3)).to_list())
    english = gpu.english_rows()[:2]
    monkeypatch.setattr(gpu, "english_rows", lambda: english)
    predict = gpu.predict
    monkeypatch.setattr(gpu, "predict", lambda model, tokenizer, rows: predict(model, tokenizer, rows, tokens=3))
    kinds = {(job.group, job.name.split()[0], job.labels, job.normalization, job.blind): job for job in gpu.jobs()}
    brief = [replace(job, steps=min(1, job.steps), batch=4) for job in kinds.values()]
    for job in brief:
        result = gpu.run(job, tiny, tokenizer, data, tmp_path)
        assert len(result["loss"]) == job.steps and all(norm > 0 for norm in result["grad_norm"]), job
    assert not any("lora" in name for name, _ in tiny.named_parameters())  # the base is left as it was
    gpu.collect(tmp_path, Namespace(processes=1, revision="x", groups=gpu.GROUPS))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "adapter",
        "learning_rate.json",
        "learning_rate.jsonl.gz",
        "masking.json",
        "masking.jsonl.gz",
        "rank_sweep.json",
        "rank_sweep.jsonl.gz",
        "reference.json",
        "reference.jsonl.gz",
        "spike.json",
    ]
    stored = reference.load("masking", tmp_path)
    assert stored.provenance["revision"] == "x" and all("scores" in result for result in stored.results)
    spike = json.loads((tmp_path / "spike.json").read_text(encoding="utf-8"))["results"][0]
    assert len(spike["frozen_loss"]) == len(spike["batches"]) == 1


def test_fused_norms_are_the_model_s_own(tiny, monkeypatch):
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    norm = Gemma3RMSNorm(640)
    torch.nn.init.normal_(norm.weight)
    x = (torch.randn(3, 640) * 20).bfloat16()
    expected = norm(x)
    monkeypatch.setattr(Gemma3RMSNorm, "forward", Gemma3RMSNorm.forward)  # put back afterwards
    gpu.fused_norms()
    torch.testing.assert_close(norm(x), expected, rtol=2**-7, atol=0)  # one step of bfloat16


def test_every_row_comes_once_an_epoch():
    order = gpu.batches(gpu.Job("masking", "x", batch=4), [7 * n % 90 for n in range(96)])
    epoch = [next(order) for _ in range(24)]
    assert sorted(i for batch in epoch for i in batch) == list(range(96)) and sorted(next(order)) != sorted(epoch[0])


def test_a_job_that_fails_leaves_the_base_model(tiny, tokenizer, data, tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "held_out", lambda split, n: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gpu.run(gpu.Job("masking", "x", steps=1, batch=2), tiny, tokenizer, data, tmp_path)
    assert not any("lora" in name for name, _ in tiny.named_parameters())


def test_a_job_is_claimed_once(tmp_path):
    assert gpu.claimed(tmp_path, 3) and not gpu.claimed(tmp_path, 3) and gpu.claimed(tmp_path, 4)
