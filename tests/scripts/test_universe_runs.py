"""Runs over parts of the universe: ids travel unchanged, breadth is nested, stored scores are those of stored texts."""

import json

import pytest

from helpers import masking, reference, universe
from scripts.experiments import universe_runs


def test_ids_and_labels_travel_unchanged(tokenizer, tmp_path):
    rows = universe.rows("ring_3_no_neighbours")[:4]
    told = universe_runs.store(rows, tokenizer, tmp_path / "rows.npz.xz")
    encoded, restored = masking.encode(rows, tokenizer), universe_runs.restore(tmp_path / "rows.npz.xz")
    assert restored["ids"] == encoded.ids and restored["response"] == encoded.labels
    assert told["longest"] == max(map(len, encoded.ids))


def test_fewer_tools_are_a_part_of_more():
    few, more = universe_runs.first_tools(32), universe_runs.first_tools(130)
    assert set(map(id, few)) < set(map(id, more)) and 25 <= len(few) <= 40 and 115 <= len(more) <= 145
    assert {universe.split_of(tool.family, tool.name) for tool in more} == {"universe_train"}


def test_as_many_rows_as_the_steps_need_whatever_the_tools():
    rows = universe.training_rows(700, universe_runs.first_tools(32))
    assert len(rows) == 700 == len({row["id"] for row in rows})
    declared = {tool["function"]["name"] for row in rows for tool in json.loads(row["tools"])}
    assert len(declared) > 60  # other words every time


@pytest.mark.slow
def test_the_stored_scores_are_those_of_the_stored_texts():
    stored = reference.load("universe_bet")
    gold = [line for line in stored.predictions if line["run"] == "gold"]
    for result in stored.results:
        texts = [line["text"] for line in stored.predictions if line["run"] == result["name"]]
        assert universe_runs.rates(gold, texts) == result["scores"]


def test_breadth_raises_what_its_card_says():
    """The card's sentence, from the stored runs: names, parameters and exact calls, on validation and every ring."""
    by_data = {run["data"]: run["scores"] for run in reference.load("universe_bet").results if run["seed"] == 0}
    for split in universe.SPLITS[1:]:
        for level in ("name", "keys", "exact"):
            few, more = (by_data[name][split][level] for name in ("universe_32", "universe_230"))
            assert more[0] / more[1] > few[0] / few[1], (split, level)
