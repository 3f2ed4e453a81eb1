"""Renamed rows: valid, rendered alike but for the names, and calls that mean what they meant."""

import json
import re

import pytest

from helpers import augmentation, dataset


@pytest.fixture(scope="module")
def rows():
    return dataset.load("train").select(range(400)).to_list()


def test_renamed_rows_are_valid_and_keep_request_values_and_reply(rows):
    for row in rows:
        new = augmentation.renamed(row)
        dataset.validate(new)
        assert {k: new[k] for k in row if k not in ("tools", "calls", "messages")} == {k: row[k] for k in row if k not in ("tools", "calls", "messages")}
        assert [sorted(values(c["arguments"])) for c in json.loads(new["calls"])] == [sorted(values(c["arguments"])) for c in json.loads(row["calls"])]


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
    assert all(re.fullmatch("[a-z]+(_[a-z]+)*", other) and other != word for word, others in augmentation.synonyms().items() for other in others)
    reserved = {"type", "description", "properties", "required", "nullable"}  # names the template drops
    assert not reserved & {other for others in augmentation.synonyms().values() for other in others}
