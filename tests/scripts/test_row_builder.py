"""The data set as it is made: sources without a fault, the same bytes again, splits apart by phrasing and value."""

import json
import re
from datetime import date

import pytest

from helpers import dataset, universe
from helpers.dataset import DIALECTS
from scripts.dataset import augmentation, countries, row_builder, sources
from scripts.dataset.__main__ import build, universe_sums


def test_the_sources_have_no_fault():
    read = sources.read()
    assert [line for tool in read.tools.values() for line in sources.faults(tool, read.vocabularies)] == []


@pytest.mark.slow
def test_a_rebuild_gives_the_same_bytes(tmp_path):
    build(tmp_path)
    for name in ("tools.jsonl", dataset.CHECKSUMS, *(f"{split}.jsonl" for split in dataset.STORED)):
        assert (tmp_path / name).read_bytes() == (dataset.FOLDER / name).read_bytes(), (
            f"{name}: run make data and commit"
        )


@pytest.mark.slow
def test_the_universe_gives_the_rows_whose_sums_are_stored():
    stored = (dataset.FOLDER / "universe" / dataset.CHECKSUMS).read_text(encoding="utf-8")
    assert universe_sums() == stored.splitlines(keepends=True), "run make data and commit"


def test_free_text_values_of_the_tests_are_new():
    """No value of a free-text slot crosses from training into the tests, and those have a hundred of each."""
    read = sources.read()
    builder = row_builder.Builder(read)
    for name in read.vocabularies:
        train, validation, test = (
            {e["value"] for e in builder.entries(name, split)} for split in ("train", "validation", "test")
        )
        if train == test:
            continue
        assert not test & (train | validation | set(augmentation.FreshBuilder(read, 0).training_values.get(name, [])))
        if name in read.test_values:
            assert len(test) >= (46 if name == "islamic_surah" else 100), (name, len(test))
    assert len(read.test_values) >= 15


def test_every_tool_and_dialect_has_six_test_wordings_and_each_has_one_row(splits):
    builder = row_builder.Builder(sources.read())
    wordings = {name for name, split in builder.phrasing_split.items() if split == "test"}
    for tool in builder.sources.tools.values():
        if not tool.unseen:
            assert {len(builder.phrasings(tool, dialect, "test")) for dialect in DIALECTS} == {6}
    single = [row["phrasing"] for row in splits["test"] if row["kind"] == "single"]
    assert len(single) == len(set(single)) == 960 and set(single) == wordings


def test_no_row_mixes_countries(splits):
    """The words around a request, and those of two requests in one, are of a country in which its wording is said."""
    builder = row_builder.Builder(sources.read())
    wordings = {p.id: p for tool in builder.sources.tools.values() for p in tool.phrasings}
    checked = 0
    for row in (row for rows in splits.values() for row in rows if row["kind"] in ("single", "parallel")):
        parts = [wordings[name] for name in row["phrasing"].split("+")]
        shared = set.intersection(*(set(p.countries) for p in parts))
        assert shared, row["id"]
        around = {
            country: countries.talk(row["dialect"], country, "openers")
            for country in countries.of_dialect(row["dialect"])
        }  # fmt: skip
        worn = {text for texts in around.values() for text in texts if row["query"].startswith(text)}
        for text in worn:
            own = any(p.text.startswith(text) for p in parts)
            assert own or any(text in around[country] for country in shared), row["query"]
            checked += 1
    assert checked > 500


def test_nothing_is_glued_and_no_courtesy_is_doubled(splits):
    talk = countries.known()["talk"]
    for row in (row for rows in splits.values() for row in rows if row["kind"] == "single"):
        closers = {c for country in talk[row["dialect"]].values() for c in country["closers"]}
        openers = {o for country in talk[row["dialect"]].values() for o in country["openers"]}
        before, _, last = row["query"].rpartition("، ")
        assert not (last in closers and any(row["query"].startswith(o) and countries.is_polite(o) for o in openers)), (
            row["query"]
        )
        assert not before or before[-1] not in "؟?!،", row["query"]


def test_questions_back_ask_for_what_is_missing():
    read = sources.read()
    for tool in read.tools.values():
        assert {one.dialect for one in tool.unclear} == set(DIALECTS), tool.name
        for one in tool.unclear:
            assert universe.asks(one.question, list(one.stems), one.dialect), one
            name = one.missing.split(".")[0]
            assert name in tool.parameters["required"] and f"{{{name}" not in one.text


def test_a_near_tool_that_is_wrong_stands_beside_a_missing_one(splits):
    domain = dataset.read_domains()
    near = either = missing = 0
    for row in splits["train"]:
        if not row["phrasing"].startswith("missing."):
            continue
        wanted = row["phrasing"].split(".")[1]
        names = {tool["function"]["name"] for tool in json.loads(row["tools"])}
        either += any(wanted in group and names & group for group in row_builder.EITHER_SERVES)
        near += any(domain[name] == domain[wanted] for name in names)
        missing += wanted in names
    assert not missing and not either and near > 80


def test_days_are_counted_from_the_day_that_is_said(splits):
    stored = {row["id"]: row for row in dataset._read("train")}
    counted = 0
    for row in splits["train"]:
        developer = json.loads(row["messages"])[0]["content"]
        today = date.fromisoformat(stored[row["id"]]["today"])
        assert developer.startswith(universe.today_line(today))
        for place, day in stored[row["id"]].get("relative", {}).items():
            number, name = place.split(".", 1)
            assert json.loads(row["calls"])[int(number)]["arguments"][name] == universe.resolve_date(day, today)
            counted += 1
    assert counted > 400


def test_rows_that_share_a_prompt_share_its_day():
    """Otherwise packing shares nothing, and the live run takes eight times as long."""
    rows = dataset.load("train", 3, 8, ("weather", "travel")).to_list()
    stored = {row["id"]: row for row in dataset._read("train")}
    moved = 0
    for start in range(0, len(rows), 8):
        run = rows[start : start + 8]
        developers = {json.loads(row["messages"])[0]["content"] for row in run}
        assert len(developers) == 1 == len({row["tools"] for row in run})
        for row in run:
            for place, day in stored[row["id"]].get("relative", {}).items():
                number, name = place.split(".", 1)
                said = date.fromisoformat(re.search(r"\d{4}-\d\d-\d\d(?=T)", next(iter(developers))).group())
                assert json.loads(row["calls"])[int(number)]["arguments"][name] == universe.resolve_date(day, said)
                assert json.loads(row["messages"])[-1]["content"] if row["kind"] == "followup" else True
                moved += stored[row["id"]]["today"] != said.isoformat()
    assert moved > 20


def test_no_near_copies_across_splits():
    """Phrasings of one tool that ended in different splits differ in wording, whatever their dialect."""
    builder = row_builder.Builder(sources.read())
    for tool in builder.sources.tools.values():
        for i, a in enumerate(tool.phrasings):
            for b in tool.phrasings[i + 1 :]:
                if builder.phrasing_split[a.id] != builder.phrasing_split[b.id]:
                    assert sources.similarity(a.text, b.text) <= row_builder._LEAK, (a, b)


def test_every_tool_and_dialect_is_in_every_split_it_belongs_to():
    builder = row_builder.Builder(sources.read())
    for tool in builder.sources.tools.values():
        for dialect in DIALECTS:
            for split, least in (("test_unseen_tools", 8),) if tool.unseen else (("train", 4), ("test", 1)):
                assert len(builder.phrasings(tool, dialect, split)) >= least, (tool.name, dialect, split)
