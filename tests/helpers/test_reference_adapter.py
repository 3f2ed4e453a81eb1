"""The reference adapter: the stored weights are those of the stored scores, and a CPU writes what the GPU wrote."""

import json

import pytest

from helpers import generation, reference, scoring
from helpers.errors import CourseError

ROWS = 24


@pytest.fixture(scope="module")
def candidates():
    return reference.load("reference")


def test_it_is_the_best_candidate_on_validation(candidates):
    best = reference.chosen_adapter(candidates)
    config = json.loads((reference.ADAPTER / "adapter_config.json").read_text(encoding="utf-8"))
    assert (config["r"], config["lora_alpha"]) == (best["rank"], best["alpha"]) and config[
        "base_model_name_or_path"
    ] == "google/gemma-3-270m"
    assert (reference.ADAPTER / "adapter_model.safetensors").stat().st_size <= 16 * 2**20
    rows = reference.judged_rows("validation")
    scored = {
        r["name"]: scoring.score(candidates.generations(rows, job=r["job"], split="validation"), rows).rate("exact")
        for r in candidates.results
    }
    assert max(scored, key=scored.get) == best["name"]


@pytest.mark.parametrize("split", ["validation", "test", "test_unseen_tools"])
def test_stored_counts_are_those_of_the_stored_predictions(split, candidates):
    rows = reference.judged_rows(split)
    report = scoring.score(reference.adapter_generations(rows, split), rows)
    told = reference.chosen_adapter(candidates)[split]
    assert {level: [sum(report.hits(level)), len(report.hits(level))] for level in scoring.LEVELS} == told


@pytest.mark.slow
def test_a_cpu_writes_what_the_gpu_wrote():
    """Sums in another order flip a close choice of token now and then.

    A wrong adapter, scaling or template would change nearly all rows.
    """
    model, tokenizer = reference.load_adapter()
    rows = reference.judged_rows("test", ROWS)
    ours, theirs = generation.generate(model, tokenizer, rows), reference.adapter_generations(rows, "test")
    same = sum(a.text == b.text for a, b in zip(ours, theirs, strict=True))
    assert same >= ROWS - 3, f"{same} of {ROWS} generations are the stored ones"
    exact = [sum(scoring.score(g, rows).hits("exact")) for g in (ours, theirs)]
    assert abs(exact[0] - exact[1]) <= 2, exact


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
