"""Public data sets as rows of the course: adapted, refused by name, and loaded out of the hub's cache."""

import json
import shutil
from pathlib import Path

import datasets
import pytest
from hub_cache import blob, mirror, python
from test_dataset import GOOD_TOOL

from helpers import dataset
from helpers.conversions import public_data
from helpers.dataset import DIALECTS
from helpers.errors import CourseError


def test_the_public_sample_is_adapted(shared):
    lines = (shared / "data" / "arabic_function_calling_sample.jsonl").read_text(encoding="utf-8").splitlines()
    kept, refused = public_data.from_hub_rows(map(json.loads, lines))
    assert len(kept) + sum(refused.values()) == len(lines) == 100
    assert len(kept) == 49  # the others call with arguments that their own declarations do not have
    assert refused["a call has an argument that its tool does not declare"] == 41
    assert refused["neither a call nor a reply"] == 6 and len(refused) == 4
    for row in kept:
        assert all(isinstance(c["arguments"], dict) for c in json.loads(row["calls"]))
        assert row["dialect"] in DIALECTS


def test_a_public_set_out_of_arrow_gives_the_same_rows(shared, monkeypatch):
    """In a nested column Arrow unites all rows' fields: each tool gets every other tool's parameters, as nulls."""
    lines = (shared / "data" / "arabic_function_calling_sample.jsonl").read_text(encoding="utf-8").splitlines()
    plain = [json.loads(line) for line in lines]
    arrow = datasets.Dataset.from_list(plain)
    assert any(value is None for value in arrow[0]["tools"][0]["function"]["parameters"]["properties"].values())
    monkeypatch.setattr(datasets, "load_dataset", lambda folder, split: arrow)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **how: name)
    monkeypatch.setattr("helpers.conversions.public_data.hub_reachable", lambda: True)
    rows, refused = public_data.from_hub("Sa74ll/arabic-mobile-actions")
    kept, expected = public_data.from_hub_rows(plain)
    assert refused == expected
    for row, same in zip(rows, kept, strict=True):  # Arrow orders a struct's fields its own way
        assert json.loads(row.pop("tools")) == json.loads(same.pop("tools")) and row == same
    table = public_data.declarations_of(arrow)
    assert table == public_data.declarations_of(plain) and "get_weather" in table


def test_a_hub_out_of_reach_is_said_at_once(monkeypatch):
    monkeypatch.setattr("helpers.conversions.public_data.hub_reachable", lambda: False)
    with pytest.raises(CourseError, match="cannot be reached from here.*dataset.load"):
        public_data.from_hub("Sa74ll/arabic-mobile-actions")


def test_rows_without_declarations_need_a_table():
    row = {
        "id": 7,
        "query_ar": "كم سعر الذهب؟",
        "function_name": "f",
        "arguments": '{"a": 1, "b": null}',
        "dialect": "MSA",
        "requires_function": True,
    }
    adapted = public_data.from_hub_row(row, {"f": GOOD_TOOL})
    assert json.loads(adapted["calls"]) == [{"name": "f", "arguments": {"a": 1}}] and adapted["dialect"] == "msa"
    with pytest.raises(CourseError, match="no declaration of f"):
        public_data.from_hub_row(row)
    assert public_data.from_hub_row(row | {"dialect": "Klingon"}, {"f": GOOD_TOOL})["dialect"] == "other"


DATA = "Sa74ll/arabic-mobile-actions"


# --- out of the hub's cache -------------------------------------------------------------------------------------------


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub ذاكرة"


PUBLIC_SET = f"""
import json
from helpers import dataset
from helpers.conversions import public_data
from helpers.errors import CourseError
try:
    rows, refused = public_data.from_hub({DATA!r})
    print(json.dumps([len(rows), sum(refused.values()), rows[0]["id"], sorted(rows.column_names)]))
except CourseError as error:
    print("CourseError:", error)
"""


@pytest.fixture
def public_set(cache, shared) -> Path:
    snapshot = mirror(cache, "datasets", DATA)
    sample = shared / "data" / "arabic_function_calling_sample.jsonl"
    shutil.copy(sample, cache / "train.jsonl")
    blob(snapshot, cache / "train.jsonl")
    (snapshot / "README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train.jsonl\n---\n",
        encoding="utf-8",
    )
    return snapshot


@pytest.mark.slow
def test_a_public_set_comes_out_of_the_hubs_cache(cache, public_set):

    done = python(PUBLIC_SET, cache)
    assert done.returncode == 0, done.stderr
    kept, refused, _, columns = json.loads(done.stdout.splitlines()[-1])
    # as test_the_public_sample_is_adapted finds in the same file
    assert (kept, refused) == (49, 51) and columns == sorted(dataset.COLUMNS)


@pytest.mark.slow
def test_a_script_in_a_public_set_is_not_run(cache, public_set):
    (public_set / "arabic-mobile-actions.py").write_text(f"open({str(cache / 'hit')!r}, 'w')\n")
    done = python(PUBLIC_SET, cache)
    assert done.returncode == 0 and not (cache / "hit").exists()


@pytest.mark.slow
def test_a_split_or_a_set_that_is_not_there_is_named(cache, public_set):
    done = python(PUBLIC_SET.replace("from_hub(", "from_hub(split='dev', name="), cache)
    assert done.stdout.startswith(f"CourseError: {DATA} (dev) cannot be loaded"), done.stdout + done.stderr
    done = python(PUBLIC_SET.replace(DATA, "nobody/nothing"), cache)
    assert done.stdout.startswith(
        "CourseError: nobody/nothing is on the Hugging Face hub, which cannot be reached from here →"
    ), done.stdout + done.stderr
