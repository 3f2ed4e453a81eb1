"""Stored results: every one has the contract's shape, and a damaged one is refused by name."""

import gzip
import json

import pytest

from helpers import dataset, reference, scoring
from helpers.errors import CourseError
from helpers.paths import REFERENCE

NAMES = sorted(path.stem for path in REFERENCE.glob("*.json"))
GOOD = {"provenance": dict.fromkeys(reference.PROVENANCE, "x"), "results": [{"seed": 0}]}


@pytest.mark.parametrize("name", NAMES)
def test_every_stored_result_has_its_provenance(name):
    stored = reference.load(name)
    assert stored.results and stored.provenance["device"] and stored.provenance["device"] in stored.source()


@pytest.mark.parametrize(
    "content, words",
    [
        ("not json", "is no stored result"),
        (json.dumps({"results": []}), "is no stored result"),
        (json.dumps(GOOD | {"results": []}), "holds no list of results"),
        (json.dumps(GOOD | {"provenance": {"device": "x"}}), "does not say torch"),
    ],
)
def test_malformed_results_are_refused(content, words, tmp_path):
    (tmp_path / "a.json").write_text(content, encoding="utf-8")
    with pytest.raises(CourseError, match=f"a.json {words}|provenance of a.json {words}"):
        reference.load("a", tmp_path)


def test_missing_results_and_damaged_predictions_are_named(tmp_path):
    with pytest.raises(CourseError, match="no stored result 'b'.*stored: none"):
        reference.load("b", tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(GOOD), encoding="utf-8")
    assert reference.load("a", tmp_path).predictions == []
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(b'{"id": 1}\n{"id": 2}\n')[:-9])
    with pytest.raises(CourseError, match="a.jsonl.gz is damaged"):
        reference.load("a", tmp_path)


def test_generations_come_in_the_order_of_the_rows(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(GOOD), encoding="utf-8")
    lines = [{"job": job, "id": i, "text": f"{job}{i}", "stopped_by": "x"} for job in "pq" for i in range(3)]
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    stored = reference.load("a", tmp_path)
    assert [g.text for g in stored.generations([{"id": 2}, {"id": 0}], job="q")] == ["q2", "q0"]
    with pytest.raises(CourseError, match="no prediction of row 7 for {'job': 'p'}"):
        stored.generations([{"id": 7}], job="p")


def test_a_setting_is_scored_from_its_predictions_seed_by_seed(tmp_path):
    results = [{"name": "p", "rate": r, "seed": seed, "file": f"p{r}{seed}"} for r in (1, 2) for seed in (1, 0)]
    (tmp_path / "a.json").write_text(json.dumps(GOOD | {"results": results}), encoding="utf-8")
    right = "<start_function_call>call:f{a:1}<end_function_call><start_function_response>"
    row = {"id": "x", "dialect": "msa", "kind": "single", "calls": '[{"name": "f", "arguments": {"a": 1}}]'}
    lines = [{"run": "gold"} | row, *({"run": r["file"], "text": right if r["seed"] else "لا"} for r in results)]
    with gzip.open(tmp_path / "a.jsonl.gz", "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    stored = reference.load("a", tmp_path)
    assert [r.rate("exact") for r in stored.reports([row], name="p", rate=2)] == [0.0, 1.0]
    with pytest.raises(CourseError, match="has no run with {'name': 'q'}.*'p'"):
        stored.reports([row], name="q")


def test_stored_scores_are_those_of_the_stored_predictions():
    stored = reference.load("guide")
    for split in ("validation", "test"):
        rows = stored.judged(split)
        assert len(rows) == 300
        for told in stored.results[::5]:
            report = scoring.score(stored.answers(rows, told["file"]), rows)
            assert report.counts(list(told["scores"][split])) == told["scores"][split]


def test_runs_are_scored_on_the_rows_that_they_list():
    stored = reference.load("rates")
    rows = stored.judged("universe_validation")
    assert len(rows) == len(dataset.load("universe_validation")) and stored.judged("test") == []
    (report,) = stored.reports(rows, rank=8, learning_rate=1e-3)
    (told,) = (run for run in stored.results if (run["rank"], run["learning_rate"]) == (8, 1e-3))
    levels = list(told["scores"]["universe_validation"])
    assert report.counts(levels) == told["scores"]["universe_validation"]
