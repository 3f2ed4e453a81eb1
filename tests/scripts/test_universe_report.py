"""The gates of the thousand tools: shares, splits apart, rows that fit, and faults that are named."""

import json

import pytest

from helpers import dataset, universe
from helpers.universe import families
from scripts.dataset import agreement, export, family_faults, universe_report


@pytest.fixture(scope="module")
def tools() -> tuple:
    return universe.read()


@pytest.fixture(scope="module")
def counts(tools) -> dict:
    return universe_report.counts(tools)


@pytest.mark.parametrize("path", sorted(families.FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_family_has_no_fault(path):
    assert family_faults.faults(path) == []


def test_there_are_a_thousand_tools(counts):
    assert counts["tools"] >= 1000 and counts["families"] >= 110 and counts["parameter_names"] >= 500
    assert counts["fewest_requests"] >= 7
    assert all(counts["kinds"][kind] >= share for kind, share in universe_report.WANTED_KINDS.items())
    assert counts["optional_unsaid"] >= 0.4
    assert counts["ask_back"] >= 600 and counts["none"] >= 1000
    assert counts["styles"]["arabizi"] >= 0.03 * counts["requests"]
    assert counts["relative"] >= 0.1 * counts["dated"]
    assert counts["rules"].get("normalized", 0) < 0.02 * sum(counts["rules"].values())
    assert {"SA", "SY", "MA", "EG", "PS", "JO", "KW", "AE", "DZ", "TN"} <= counts["countries"].keys()


def test_no_name_and_no_near_copy_crosses_splits(tools):
    assert universe_report.shared_names(tools) == []
    assert universe_report.near_copies(tools) == []
    assert universe_report.like_parameters(tools) == []


def test_an_overlap_is_found(tools):
    """What the gates look for, planted: a tool of a training family copied into another split's."""
    from dataclasses import replace

    places = universe.by_split(tools)
    known, stranger = places["universe_train"][0], places["ring_2_new_family"][0]
    copied = replace(known, family=stranger.family, names=(stranger.name, known.name))
    assert universe_report.shared_names([known, copied])
    assert universe_report.near_copies([known, copied]) and universe_report.like_parameters([known, copied])


@pytest.mark.slow
def test_rows_fit_in_1024_tokens(drawn, tokenizer):
    rows = [row for split in drawn.values() for row in split]
    longest = sorted(rows, key=lambda row: len(row["tools"]) + len(row["messages"]))[-400:]
    lengths = [len(ids) for ids in tokenizer(dataset.texts(longest), add_special_tokens=False).input_ids]
    assert max(lengths) <= 1024


def test_faults_are_named(tmp_path):
    source = (families.FOLDER / "coffee_bar.yaml").read_text(encoding="utf-8")
    path = tmp_path / "coffee_bar.yaml"
    path.write_text(source.replace("egyptian:", "klingon:", 1), encoding="utf-8")
    assert any("no request in egyptian" in fault for fault in family_faults.faults(path))
    path.write_text(source.replace("country: EG", "country: SA", 1), encoding="utf-8")
    assert any("country 'SA' in a egyptian request" in fault for fault in family_faults.faults(path))
    path.write_text(source.replace('text: "', 'text: "\u200f', 1), encoding="utf-8")
    assert any("hidden character" in fault for fault in family_faults.faults(path))


def test_the_size_on_disk():
    folder = families.FOLDER.parent
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 9e6


def test_the_second_writers_figures_are_published():
    table = json.loads((families.FOLDER.parent / "agreement.json").read_text(encoding="utf-8"))
    assert table["all"]["n"] >= 800 and table["all"]["agree"] <= table["all"]["n"]
    assert {f"dialect: {name}" for name in families.DIALECTS} <= table.keys()


def test_an_answer_is_compared_as_a_models_is(tmp_path):
    rows = universe.rows("ring_2_new_family")[:6]
    (tmp_path / "drawn.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    lines = [{"n": n, "calls": json.loads(row["calls"]), "say": row["reply"]} for n, row in enumerate(rows)]
    lines[0] = {"n": 0, "calls": [{"name": "other", "arguments": {}}], "say": ""}
    (tmp_path / "answers_1.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    table, different = agreement.compare(tmp_path)
    assert table["all"]["agree"] == 5 and [one["id"] for one in different] == [rows[0]["id"]]


def test_the_export_opens_with_datasets_alone(tmp_path):
    from datasets import load_dataset

    written = export.export(tmp_path, rows=50)
    opened = load_dataset(str(tmp_path), cache_dir=str(tmp_path / "cache"))
    assert {split: len(rows) for split, rows in opened.items()} == written and written["universe_train"] == 50
    row = opened["ring_2_new_family"][0]
    assert json.loads(row["tools"])[0]["type"] == "function"
