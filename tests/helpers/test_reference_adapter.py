"""The reference adapter: the stored weights are those of the stored scores, and a CPU writes what the GPU wrote."""

import json

import pytest

from helpers import dataset, generation, reference, scoring
from helpers.errors import CourseError

RINGS = ("ring_1_new_tool", "ring_2_new_family", "ring_3_no_neighbours")
ROWS = 15  # of a split: sixty in all


SPLITS = ("universe_validation", *RINGS, "validation", "test", "test_unseen_tools")


@pytest.fixture(scope="module")
def candidates():
    return reference.load("candidates")


def exact(candidates, run: str) -> float:
    reports = []
    for split in reference.CHOSEN_ON:
        rows = dataset.load(split).to_list()
        reports.append(scoring.score(candidates.answers(rows, run), rows))
    return sum(report.rate("exact") for report in reports)


def test_it_is_the_best_candidate_on_validation(candidates):
    best = reference.chosen_adapter(candidates)
    config = json.loads((reference.ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"]) == (best["rank"], best["alpha"]) and config[
        "base_model_name_or_path"
    ] == "google/gemma-3-270m"
    assert (reference.ADAPTER / "adapter_model.safetensors").stat().st_size <= 16 * 2**20
    scored = {told["file"]: exact(candidates, told["file"]) for told in candidates.results}
    assert max(scored, key=scored.get) == best["file"]


@pytest.mark.parametrize("split", SPLITS)
def test_stored_counts_are_those_of_the_stored_predictions(split, candidates):
    rows = dataset.load(split).to_list()
    report = scoring.score(reference.adapter_generations(rows), rows)
    told = reference.chosen_adapter(candidates)["scores"][split]
    levels = [level for level in told if level != "stop"]  # keep() does not say how a text ended
    assert report.counts(levels) == {level: told[level] for level in levels}


def test_an_answer_to_a_row_that_has_changed_is_refused():
    row = dict(dataset.load("test")[0])
    assert len(reference.adapter_generations([row])) == 1
    changed = row | {"calls": '[{"name": "f", "arguments": {}}]'}
    with pytest.raises(CourseError, match=f"no answer of candidate-.* to row {row['id']} as it is now"):
        reference.adapter_generations([changed])
    with pytest.raises(CourseError, match="no answer"):
        reference.adapter_generations([dataset.load("train")[0]])


@pytest.mark.slow
def test_a_cpu_writes_what_the_gpu_wrote():
    """Sums in another order flip a close choice of token now and then.

    A wrong adapter, scaling or template would change nearly all rows.
    """
    model, tokenizer = reference.load_adapter()
    rows = []
    for split in ("ring_1_new_tool", "ring_2_new_family", "test", "test_unseen_tools"):
        called = dataset.load(split).filter(lambda row: row["kind"] == "single").to_list()
        # the shortest: reading a prompt is what takes time
        rows += sorted(called, key=lambda row: len(row["tools"]) + len(row["messages"]))[:ROWS]
    ours, theirs = generation.generate(model, tokenizer, rows), reference.adapter_generations(rows)
    same = sum(a.text == b.text for a, b in zip(ours, theirs, strict=True))
    assert same >= 7 / 8 * len(rows), f"{same} of {len(rows)} generations are the stored ones"
    hits = [sum(scoring.score(g, rows).hits("exact")) for g in (ours, theirs)]
    assert abs(hits[0] - hits[1]) <= 2, hits


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["missing", "cut short"])
def test_a_missing_or_damaged_adapter_is_named(damage, tmp_path, monkeypatch):
    import shutil

    folder = tmp_path / "adapter"
    if damage == "cut short":
        shutil.copytree(reference.ADAPTER, folder)
        weights = folder / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    monkeypatch.setattr(reference, "ADAPTER", folder)
    with pytest.raises(CourseError, match="the reference adapter cannot be read.*restore assets/reference/adapter"):
        reference.load_adapter()
