"""Renamed rows: valid, rendered alike but for the names, and calls that mean what they meant.

Fresh rows: valid, new, and free of held-out values.
"""

import json
import random
import re

import pytest

from helpers import dataset
from scripts.dataset import augmentation


@pytest.fixture(scope="module")
def rows():
    return dataset.load("train").select(range(400)).to_list()


def test_renamed_rows_are_valid_and_keep_request_values_and_reply(rows):
    for row in rows:
        new = augmentation.renamed(row)
        dataset.validate(new)
        assert {k: new[k] for k in row if k not in ("tools", "calls", "messages")} == {
            k: row[k] for k in row if k not in ("tools", "calls", "messages")
        }
        assert [sorted(values(c["arguments"])) for c in json.loads(new["calls"])] == [
            sorted(values(c["arguments"])) for c in json.loads(row["calls"])
        ]


def values(arguments: dict) -> list[str]:
    """The values of a call, nested ones too, without their keys."""
    return [text for v in arguments.values() for text in (values(v) if isinstance(v, dict) else [json.dumps(v)])]


def test_a_name_is_the_same_everywhere_in_a_row(rows):
    for row in (r for r in rows if r["calls"] != "[]"):
        new = augmentation.renamed(row)
        messages = json.loads(new["messages"])
        called = [part["function"] for message in messages for part in message.get("tool_calls", [])]
        assert called == json.loads(new["calls"])
        assert {m["name"] for m in messages if m["role"] == "tool"} <= {c["name"] for c in called}


def test_most_names_change_and_none_collide(rows):
    changed = total = 0
    for row in rows:
        old, new = ([t["function"] for t in json.loads(r["tools"])] for r in (row, augmentation.renamed(row)))
        assert len({f["name"] for f in new}) == len(new)
        assert [f["description"] for f in old] == [f["description"] for f in new]
        assert [len(f["parameters"]["properties"]) for f in old] == [len(f["parameters"]["properties"]) for f in new]
        changed += sum(a["name"] != b["name"] for a, b in zip(old, new, strict=True))
        total += len(old)
    assert changed / total > 0.8


def test_the_same_seed_gives_the_same_names_and_another_gives_others(rows):
    assert augmentation.renamed(rows[0], 1) == augmentation.renamed(rows[0], 1)
    assert len({augmentation.renamed(rows[0], seed)["tools"] for seed in range(5)}) > 1


def test_every_word_of_the_course_s_names_is_known_and_well_formed():
    words = {word for tool in dataset.read_declarations().values() for word in tool["function"]["name"].split("_")}
    assert len(words - set(augmentation.synonyms())) <= 3
    assert all(
        re.fullmatch("[a-z]+(_[a-z]+)*", other) and other != word
        for word, others in augmentation.synonyms().items()
        for other in others
    )
    reserved = {"type", "description", "properties", "required", "nullable"}  # names the template drops
    assert not reserved & {other for others in augmentation.synonyms().values() for other in others}


@pytest.fixture(scope="module")
def fresh():
    return augmentation.fresh(0)


@pytest.mark.slow
def test_fresh_rows_are_valid_new_and_repeatable(fresh, rows):
    for row in fresh[::8]:
        dataset.validate(row)
        dataset.validate(augmentation.renamed(row, 0))
    assert (
        len({row["query"] for row in fresh})
        == len({row["id"] for row in fresh})
        == len(fresh)
        == len(dataset.load("train"))
    )
    stored = set(dataset.load("train")["query"])
    assert sum(row["query"] in stored for row in fresh) < 0.05 * len(fresh)  # talk, which has no slots
    assert augmentation.fresh(0)[:50] == fresh[:50] and augmentation.fresh(1)[:50] != fresh[:50]


@pytest.mark.slow
def test_fresh_rows_keep_to_the_phrasings_of_training(fresh):
    held_out = {
        name for split in ("validation", "test", "test_unseen_tools") for name in phrasings(dataset.load(split))
    }
    assert not phrasings(fresh) & (held_out - phrasings(dataset.load("train")))


def phrasings(rows) -> set[str]:
    """The phrasings that rows are made of."""
    return {name for row in rows for name in row["phrasing"].removeprefix("missing.").split("+")}


@pytest.mark.parametrize("seed", range(5))
def test_no_value_of_a_held_out_part_comes_in(seed):
    read = augmentation.sources.read()
    builder = augmentation.FreshBuilder(read, seed)
    for vocabulary in builder.training_values:
        held_out = {
            augmentation.folded(e["value"])
            for split in ("validation", "test")
            for e in builder.entries(vocabulary, split)
        }
        values = [augmentation.folded(e["value"]) for e in builder.entries(vocabulary, "train")]
        assert len(held_out) >= 8 and not held_out & set(values) and len(values) > 80
        written = {augmentation.folded(v) for v in builder.training_values[vocabulary]}
        invented = [
            v
            for v in values
            if v not in written | {augmentation.folded(e["value"]) for e in read.vocabularies[vocabulary]}
        ]
        assert 0.15 < len(invented) / len(values) < 0.35, vocabulary


def test_held_out_rows_are_never_drawn_with_the_further_values():
    builder = augmentation.FreshBuilder(augmentation.sources.read(), 0)
    plain = augmentation.row_builder.Builder(builder.sources)
    assert builder.entries("city", "test") == plain.entries("city", "test") and len(
        builder.entries("city", "train")
    ) > 3 * len(plain.entries("city", "train"))


def test_invented_words_are_made_of_the_pieces_of_values():
    words = augmentation.invented_like(["abc", "abd"], random.Random(0), 50)
    assert set(words) == {"abc", "abd"}
