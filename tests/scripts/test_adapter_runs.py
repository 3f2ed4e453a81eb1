"""Runs behind the adapter: pools hold what masking.encode gives, interrupted runs go on, scores are recomputed."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tiny_gemma import tiny_config

from helpers import dataset, masking, reference, universe
from helpers.errors import CourseError
from scripts.experiments import (
    adapter_runs,
    benchmark_gpu_step,
    bfcl,
    lines,
    packed_step,
    replay,
    run_groups,
    run_scores,
    token_pools,
)

SCORES = {"scores": {"universe_validation": {"exact": [3, 9]}}}


@pytest.fixture(scope="module")
def tiny_checkpoint(tmp_path_factory, tokenizer):
    from transformers import Gemma3ForCausalLM

    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny")
    sizes = {"vocab_size": 262144, "hidden_size": 16, "intermediate_size": 32, "head_dim": 8, "pad_token_id": 0}
    Gemma3ForCausalLM(tiny_config(**sizes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pools(tmp_path_factory, tokenizer):
    folder = tmp_path_factory.mktemp("pools")
    rows = dataset.load("train", 1).select(range(24)).to_list()  # one tool a row: short
    encoded = masking.encode(rows, tokenizer)
    token_pools.Pool.of(encoded.ids[:12], encoded.labels[:12]).save(folder / "universe-000.npz")
    token_pools.Pool.of(encoded.ids[12:], encoded.labels[12:]).save(folder / "universe-001.npz")
    token_pools.Pool.of(encoded.ids[:3], encoded.labels[:3]).save(folder / "held-000.npz")
    plain = [row[:60] for row in encoded.ids[:8]]
    token_pools.Pool.of(plain, plain).save(folder / "plain-000.npz")
    return folder


@pytest.fixture
def small(monkeypatch, tokenizer):
    import transformers

    # reading the vocabulary of 262,144 tokens takes longer than a tiny run
    monkeypatch.setattr(transformers.AutoTokenizer, "from_pretrained", lambda folder: tokenizer)
    monkeypatch.setattr(packed_step, "TOKENS", 640)
    monkeypatch.setattr(replay, "TOKENS", 128)
    monkeypatch.setattr(packed_step, "compile_layers", lambda model: None)
    monkeypatch.setenv("COURSE_WORKER", "0")
    monkeypatch.setattr(run_scores, "NEW_TOKENS", 3)
    few = dataset.load("validation", 1).select(range(4)).to_list()
    monkeypatch.setattr(run_scores, "judged", lambda group: few)
    texts = dataset.retention()
    short = texts | {language: texts[language][:2] for language in ("arabic", "english")}
    monkeypatch.setattr(dataset, "retention", lambda: short)


def test_a_pool_gives_back_ids_and_labels(pools, tokenizer):
    encoded = masking.encode(dataset.load("train", 1).select(range(24)).to_list(), tokenizer)
    pool = token_pools.read(pools, "universe")
    assert [pool.row(i)[0].tolist() for i in range(24)] == encoded.ids
    assert [pool.row(i)[1].tolist() for i in range(24)] == encoded.labels
    assert token_pools.read(pools, "universe", 1).lengths == pool.lengths[:12] == list(map(len, encoded.ids[:12]))


def test_every_recipe_has_a_name_of_its_own(tmp_path):
    (tmp_path / "rates-x.json").write_text(json.dumps({"rank": 4, "learning_rate": 5e-4} | SCORES), encoding="utf-8")
    for group in run_groups.GROUPS:
        listed = run_groups.runs_of(group, tmp_path)
        assert len({run.file for run in listed}) == len(listed)
        assert {run.group for run in listed} <= run_scores.JUDGED.keys()
    assert not {"test", "test_unseen_tools", *run_scores.RINGS} & set(run_scores.JUDGED["recipe"])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["", "kl", "tokens"])
def test_a_run_is_trained_measured_and_kept(kind, tiny_checkpoint, pools, small, tmp_path):
    run = run_groups.Run("recipe", f"x {kind}", steps=2, rank=2, replay=kind, weight=1.0, watched=2)
    line = adapter_runs.run_one(run, tiny_checkpoint, pools, tmp_path)
    assert line.startswith(run.file) and "perplexity" in line
    told = json.loads((tmp_path / f"{run.file}.json").read_text(encoding="utf-8"))
    assert len(told["loss"]) == 2 == len(told["grad_norm"]) and len(told["replay"]) == (2 if kind else 0)
    assert kind != "kl" or told["replay"][0] == pytest.approx(0, abs=1e-4)  # before a step nothing is forgotten
    assert told["watched"] == [[2, pytest.approx(told["held_out_loss"], abs=0.02)]]
    assert 10 < told["held_out_loss"] < 14  # a random model: the logarithm of the vocabulary
    assert (tmp_path / run.file / "adapter_model.safetensors").exists()
    assert adapter_runs.run_one(run, tiny_checkpoint, pools, tmp_path).endswith("done before")
    run_scores.keep(tmp_path, "recipe", tmp_path / "kept")
    kept = reference.load("kept", tmp_path)
    assert [line["run"] for line in kept.predictions] == ["gold"] * 4 + [run.file] * 4
    assert kept.results[0]["scores"] == told["scores"]
    assert kept.provenance["seeds"] == [0] and kept.provenance["torch"] == told["provenance"]["torch"]


@pytest.mark.slow
def test_a_candidate_is_asked_again_with_fewer_singular_values(tiny_checkpoint, pools, small, tmp_path, monkeypatch):
    monkeypatch.setattr(run_scores, "TRUNCATED", 2)
    run = run_groups.Run("candidate", "x", steps=1, rank=4, replay="kl", weight=1.0)
    adapter_runs.run_one(run, tiny_checkpoint, pools, tmp_path)
    run_scores.keep(tmp_path, "candidate", tmp_path / "kept")
    kept = reference.load("kept", tmp_path)
    cut = [line["rank_kept"] for line in kept.predictions if "rank_kept" in line]
    assert cut == [2, 2, 1, 1] and "truncated" not in kept.results[0]
    rows, texts = run_scores.texts_of(kept)
    assert len(rows) == 4 and list(map(len, texts.values())) == [4]


def test_runs_of_two_hosts_are_kept_together(tmp_path, monkeypatch):
    rows = dataset.load("validation", 1).select(range(2)).to_list()
    monkeypatch.setattr(run_scores, "judged", lambda group: rows)
    for seed in (0, 1):
        (tmp_path / str(seed)).mkdir()
        told = {"file": f"scaling-x-{seed}", "seed": seed, "provenance": reference.provenance((seed,))}
        told["truncated"] = {"2": ["cut", f"at {seed}"]}
        (tmp_path / str(seed) / f"scaling-x-{seed}.json").write_text(json.dumps(told), encoding="utf-8")
        lines.write(tmp_path / str(seed) / f"scaling-x-{seed}.jsonl.gz", [{"text": f"{seed}{n}"} for n in (0, 1)])
        run_scores.keep(tmp_path / str(seed), "scaling", tmp_path / "kept", join=True)
    kept = reference.load("kept", tmp_path)
    assert [told["seed"] for told in kept.results] == kept.provenance["seeds"] == [0, 1]
    assert run_scores.texts_of(kept)[1] == {"scaling-x-0": ["00", "01"], "scaling-x-1": ["10", "11"]}
    cut = [(line["run"], line["text"]) for line in kept.predictions if "rank_kept" in line]
    assert cut == [(f"scaling-x-{seed}", text) for seed in (0, 1) for text in ("cut", f"at {seed}")]
    rows.pop()
    with pytest.raises(CourseError, match="judged on other rows → keep without --join"):
        run_scores.keep(tmp_path / "1", "scaling", tmp_path / "kept", join=True)


def test_what_another_host_stored_is_not_run_again(tmp_path):
    runs = [run_groups.Run("scaling", "x", seed=seed) for seed in (0, 1, 2)]
    assert adapter_runs.lacking(runs, tmp_path) == runs
    kept = {"provenance": reference.provenance((1,)), "results": [{"file": runs[1].file, "seed": 1}]}
    (tmp_path / "scaling.json").write_text(json.dumps(kept), encoding="utf-8")
    assert adapter_runs.lacking(runs, tmp_path) == [runs[0], runs[2]]


@pytest.mark.slow
def test_bfcl_is_answered_and_says_where(tiny_checkpoint, tmp_path, monkeypatch):
    rows = dataset.load("validation", 1).select(range(2)).to_list()
    lines.write(tmp_path / bfcl.ROWS, rows)
    monkeypatch.setattr(bfcl, "NEW_TOKENS", 3)
    bfcl.write(tmp_path, tiny_checkpoint, tmp_path / "tiny.jsonl.gz")
    source, *answers = lines.read(tmp_path / "tiny.jsonl.gz")
    assert source["provenance"]["torch"] and [answer["id"] for answer in answers] == [row["id"] for row in rows]
    assert all(answer["text"] for answer in answers)


@pytest.mark.slow
def test_the_base_is_a_run_of_no_steps(tiny_checkpoint, pools, small, tmp_path):
    run = next(run for run in run_groups.candidates() if not run.steps)
    adapter_runs.run_one(replace(run, rank=2), tiny_checkpoint, pools, tmp_path)
    kept = json.loads((tmp_path / f"{run.file}.json").read_text(encoding="utf-8"))
    assert kept["loss"] == [] and kept["seen"] == 0 and 10 < kept["held_out_loss"] < 14


@pytest.mark.slow
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tiny_checkpoint, pools, small, tmp_path, monkeypatch):
    run = run_groups.Run("recipe", "whole", steps=4, rank=2, replay="kl", weight=1.0)
    adapter_runs.run_one(run, tiny_checkpoint, pools, tmp_path)
    whole = json.loads((tmp_path / f"{run.file}.json").read_text(encoding="utf-8"))
    broken = replace(run, name="broken")
    step = adapter_runs.Training._step

    def until_two(self, number):
        if number == 2:
            self._settle()
            self._save()
            raise KeyboardInterrupt
        step(self, number)

    with monkeypatch.context() as patch:
        patch.setattr(adapter_runs.Training, "_step", until_two)
        with pytest.raises(KeyboardInterrupt):
            adapter_runs.run_one(broken, tiny_checkpoint, pools, tmp_path)
    adapter_runs.run_one(broken, tiny_checkpoint, pools, tmp_path)
    told = json.loads((tmp_path / f"{broken.file}.json").read_text(encoding="utf-8"))
    assert told["loss"] == pytest.approx(whole["loss"], abs=2e-5) and told["seen"] == whole["seen"]
    assert not list(tmp_path.glob("*.pt"))


def test_ranks_take_the_rate_that_was_best_on_validation(tmp_path):
    for rank, rate, exact in ((4, 2e-4, 3), (4, 5e-4, 5), (8, 2e-4, 7), (8, 5e-4, 6)):
        scores = {"universe_validation": {"exact": [exact, 9]}}
        told = {"rank": rank, "learning_rate": rate, "scores": scores}
        (tmp_path / f"rates-{rank}-{rate}.json").write_text(json.dumps(told), encoding="utf-8")
    chosen = {(run.rank, run.learning_rate) for run in run_groups.ranks(tmp_path)}
    assert chosen == {(4, 5e-4), (8, 2e-4)} and len(run_groups.ranks(tmp_path)) == 2 * len(run_groups.SEEDS)


@pytest.mark.parametrize("schedule, halfway", [("cosine", 0.5), ("linear", 0.5), ("constant", 1.0)])
def test_schedules(schedule, halfway):
    run = run_groups.Run("x", "x", schedule=schedule, warmup=0.1, steps=100, learning_rate=1.0)
    found = [adapter_runs.rate_at(run, step) for step in (0, 4, 9, 55)]
    assert found == pytest.approx([0.1, 0.5, 1, halfway])


@pytest.mark.slow
@pytest.mark.parametrize(
    "change", [{"blind": True}, {"normalization": "means"}, {"replayed": True}, {"schedule": "linear"}]
)
def test_every_change_of_the_guides_recipe_runs(change, tiny_checkpoint, pools, small, tmp_path):
    run = run_groups.Run("guide", "x", steps=2, rows=4, rank=2, **change)
    adapter_runs.run_one(run, tiny_checkpoint, pools, tmp_path)
    told = json.loads((tmp_path / f"{run.file}.json").read_text(encoding="utf-8"))
    assert told["seen"] == 8 and min(told["grad_norm"]) > 0
    assert not run.replayed or (len(told["frozen_loss"]) == 2 == len(told["batches"]) and len(told["batches"][0]) == 4)


@pytest.mark.slow
def test_the_benchmark_trains_both_ways_on_the_same_rows(tiny_checkpoint, pools, monkeypatch):
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    monkeypatch.setattr(Gemma3RMSNorm, "forward", Gemma3RMSNorm.forward)  # ``fused_norms`` is put back afterwards
    monkeypatch.setattr(masking, "CHUNK", masking.CHUNK)
    monkeypatch.setattr(benchmark_gpu_step, "ROWS", 4)
    monkeypatch.setattr(benchmark_gpu_step, "WIDTH", 1536)
    ways = ("packed, not compiled", "gpu_runs")
    packed, padded = (benchmark_gpu_step.one(way, tiny_checkpoint, pools, 2) for way in ways)
    assert packed["loss"] == pytest.approx(padded["loss"], abs=0.02) and len(packed["seconds"]) == 2


@pytest.mark.slow
def test_fused_norms_are_the_model_s_own(monkeypatch):
    from transformers.models.gemma3.modeling_gemma3 import Gemma3RMSNorm

    norm = Gemma3RMSNorm(640)
    torch.nn.init.normal_(norm.weight)
    x = (torch.randn(3, 640) * 20).bfloat16()
    expected = norm(x)
    monkeypatch.setattr(Gemma3RMSNorm, "forward", Gemma3RMSNorm.forward)  # put back afterwards
    benchmark_gpu_step.fused_norms()
    torch.testing.assert_close(norm(x), expected, rtol=2**-7, atol=0)  # one step of bfloat16


def test_divergence_is_that_of_the_whole_distributions():
    torch.manual_seed(0)
    head = torch.nn.Linear(8, 50, bias=False)
    before, after = torch.randn(9, 8), torch.randn(9, 8)
    p, q = (torch.log_softmax(head(each), -1) for each in (before, after))
    expected = (p.exp() * (p - q)).sum(-1).mean()
    torch.testing.assert_close(replay.held_to(head, before, after), expected)


def test_seal_rows_declare_their_own_tools_and_others(tmp_path):
    import gzip

    def tool(name):
        return {"type": "function", "function": {"name": name, "description": name, "parameters": {}}}

    with gzip.open(tmp_path / "declarations.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"tool": tool(f"other_{i}")}) + "\n" for i in range(20))
    with gzip.open(tmp_path / "requests.jsonl.gz", "wt") as file:
        file.write(json.dumps({"id": "a", "tools": json.dumps([tool("own")])}) + "\n")
    drawn = [token_pools.seal_rows(tmp_path, seed)[0] for seed in range(20)]
    names = [[each["function"]["name"] for each in json.loads(row["tools"])] for row in drawn]
    assert all("own" in each and len(each) <= 1 + token_pools.BESIDE for each in names)
    assert len({tuple(each) for each in names}) > 10 and drawn == [
        token_pools.seal_rows(tmp_path, seed)[0] for seed in range(20)
    ]


def test_fewer_tools_are_a_part_of_more():
    few, more = token_pools.first_tools(32), token_pools.first_tools(130)
    assert set(map(id, few)) < set(map(id, more)) and 25 <= len(few) <= 40 and 115 <= len(more) <= 145
    assert {universe.split_of(tool.family, tool.name) for tool in more} == {"universe_train"}


def test_as_many_rows_as_the_steps_need_whatever_the_tools():
    rows = universe.training_rows(700, token_pools.first_tools(32))
    assert len(rows) == 700 == len({row["id"] for row in rows})
    declared = {tool["function"]["name"] for row in rows for tool in json.loads(row["tools"])}
    assert len(declared) > 60  # other words every time


@pytest.mark.slow
@pytest.mark.parametrize("name", ["universe_bet", "recipe_search", "universe_baseline", "candidates", "rates", "ranks"])
def test_the_stored_scores_are_those_of_the_stored_texts(name):
    stored = reference.load(name)
    gold, texts = run_scores.texts_of(stored)
    for result in stored.results:
        found = run_scores.rates(gold, texts[result.get("file", result["name"])])
        for split, scores in result["scores"].items():
            assert {level: found[split][level] for level in scores} == scores


def test_breadth_raises_what_its_card_says():
    """The card's sentence, from the stored runs: names, parameters and exact calls, on validation and every ring."""
    by_data = {run["data"]: run["scores"] for run in reference.load("universe_bet").results if run["seed"] == 0}
    for split in universe.SPLITS[1:]:
        for level in ("name", "keys", "exact"):
            few, more = (by_data[name][split][level] for name in ("universe_32", "universe_230"))
            assert more[0] / more[1] > few[0] / few[1], (split, level)


def test_the_packed_step_is_three_times_as_fast_and_agrees():
    """The stored benchmark: against the way before it, in one run; float32 agreement; the same loss in bf16."""
    ways = {result["way"]: result for result in reference.load("gpu_step").results}
    seconds = {way: told["median_seconds"] for way, told in ways.items() if "median_seconds" in told}
    assert seconds["gpu_runs"] / seconds["packed"] > 3 < seconds["TRL + PEFT"] / seconds["packed"]
    assert ways["agreement"]["loss_difference"] < 1e-3 > ways["agreement"]["gradient_difference"]
    mean = {way: np.mean(told["loss"][40:50]) for way, told in ways.items() if "loss" in told}
    noise = abs(mean["packed"] - mean["packed, another seed"])
    assert abs(mean["packed"] - mean["gpu_runs"]) < max(2 * noise, 0.01)
