"""BFCL as rows: every kind of type has a form, names lead back, and its own checker takes our calls and refuses others.

The package comes from the index once, into the course's cache, as the script takes it.
"""

import gzip
import json

import pytest

from helpers import dataset, generation
from helpers.calls import FunctionCall, serialize
from helpers.errors import CourseError
from scripts.experiments import bfcl

#: Questions that BFCL's checker refuses every answer to: a required argument is accepted with no value, or has none
#: among the answers, or an answer has an argument that is not declared.
UNANSWERABLE = {"live_simple_106-63-0", "live_simple_112-68-0", "live_multiple_862-181-3", "live_multiple_964-207-0"}
ONLY_NULL = "live_multiple_1038-265-0"  # null is the one value accepted, which our data never hold
EVERY = 20  # one question in so many is tried where not all are

INVENTED = {
    "id": "simple_python_invented",
    "question": [[{"role": "system", "content": "It is May."}, {"role": "user", "content": "Book it."}]],
    "function": [
        {
            "name": "shop.book-it",
            "description": "Books.",
            "parameters": {
                "type": "dict",
                "properties": {
                    "type": {"type": "string", "description": "Which.", "enum": ["a", "b"], "default": "a"},
                    "size": {"type": "integer", "description": "How big.", "enum": [1, 2]},
                    "price": {"type": "float"},
                    "thing": {"type": "any", "description": "Whatever."},
                    "corner": {"type": "tuple", "description": "x, y", "items": {"type": "float"}},
                    "who": {
                        "type": "dict",
                        "description": "Who.",
                        "properties": {"first name": {"type": "string", "default": "Ali"}},
                        "required": ["first name", "unheard"],
                    },
                    "lines": {
                        "type": "array",
                        "description": "Lines.",
                        "items": {"type": "dict", "properties": {"description": {"type": "string"}}},
                    },
                },
                "required": ["type", "who"],
            },
        }
    ],
    "ground_truth": [
        {
            "shop.book-it": {
                "type": ["b"],
                "size": ["", 2],
                "price": [3.5],
                "thing": ["it"],
                "corner": [[1.0, 2.0]],
                "who": [{"first name": ["Ali", "ali"]}],
                "lines": [[{"description": ["x"]}]],
            }
        }
    ],
}


@pytest.fixture(scope="module")
def package():
    try:
        return bfcl.package()
    except CourseError as error:
        pytest.skip(str(error))


@pytest.fixture
def invented(monkeypatch):
    monkeypatch.setattr(bfcl, "questions", lambda category: {INVENTED["id"]: INVENTED})
    return bfcl.row_of(INVENTED, "simple_python")


def written(row: dict) -> str:
    """The gold of a row as a model writes it."""
    return serialize([FunctionCall(**call) for call in json.loads(row["calls"])]) + "<start_function_response>"


def sampled(category: str) -> list[dict]:
    entries = list(bfcl.questions(category).values())
    chosen = entries[::EVERY] + [one for one in entries if one["id"] in UNANSWERABLE | {ONLY_NULL}]
    return [bfcl.row_of(entry, category) for entry in chosen]


def test_every_kind_of_type_has_its_form(invented):
    function = json.loads(invented["tools"])[0]["function"]
    fields = function["parameters"]["properties"]
    assert function["name"] == "shop_book_it" and invented["refused"] == ""
    assert {name: one["type"] for name, one in fields.items()} == {
        "type_": "string", "size": "integer", "price": "number", "thing": "string", "corner": "array",
        "who": "object", "lines": "array",
    }  # fmt: skip
    assert fields["type_"] == {"type": "string", "description": "Which. Default is: a.", "enum": ["a", "b"]}
    assert fields["size"] == {"type": "integer", "description": "How big. Enum values: [1, 2]."}
    assert fields["corner"]["items"] == {"type": "number"}
    assert fields["who"]["required"] == ["first_name"]
    assert fields["lines"]["items"]["properties"] == {"description_": {"type": "string"}}


def test_a_row_holds_what_rows_hold_and_its_prompt_the_system_message(invented):
    assert set(dataset.COLUMNS) <= invented.keys() and invented["kind"] == "single"
    prompt = generation.prompt(invented)
    assert "It is May.\nYou are a model that can do" in prompt and prompt.endswith("<start_of_turn>model\n")


def test_gold_takes_the_first_value_and_leaves_out_what_it_may(invented):
    assert json.loads(invented["calls"])[0]["arguments"] == {
        "type_": "b", "price": 3.5, "thing": "it", "corner": [1.0, 2.0], "who": {"first_name": "Ali"},
        "lines": [{"description_": "x"}],
    }  # fmt: skip


def test_names_lead_back_and_a_wrong_call_is_refused(package, invented):
    right = written(invented)
    assert bfcl.judged(invented, right) == {
        "id": INVENTED["id"], "category": "simple_python", "right": True, "name": True, "malformed": False, "fault": "",
    }  # fmt: skip
    for old, new, name in (
        ("<escape>b<escape>", "<escape>a<escape>", True),
        ("price:3.5,", "", True),
        ("call:shop_book_it", "call:shop_book", False),
        ("{", "", False),
        ("lines:[{description_:<escape>x<escape>}]", "lines:[3]", True),
    ):
        assert old in right
        told = bfcl.judged(invented, right.replace(old, new))
        assert not told["right"] and told["name"] == name and told["fault"], old
    assert not bfcl.judged(invented, right.replace("<start_function_response>", "") + right)["right"]


def test_what_cannot_be_asked_stays_a_row_and_counts_as_wrong(package, monkeypatch):
    odd = {"name": "odd", "description": "", "parameters": {"type": "dict", "properties": {"x": {"type": "set"}},
                                                            "required": []}}  # fmt: skip
    entry = INVENTED | {"function": [odd], "ground_truth": [{"odd": {"x": [1]}}]}
    monkeypatch.setattr(bfcl, "questions", lambda category: {entry["id"]: entry})
    row = bfcl.row_of(entry, "simple_python")
    assert "no known type" in row["refused"] and generation.prompt(row)
    table, _ = bfcl.score([row], ["<start_function_call>call:odd{x:1}<end_function_call>"])
    assert (table[0]["hits"], table[0]["n"]) == (0, 1)
    silent = bfcl.row_of(entry | {"ground_truth": []}, "irrelevance")
    assert not bfcl.judged(silent, "No.")["right"]


@pytest.mark.parametrize("category", bfcl.CATEGORIES)
def test_gold_is_accepted_by_the_checker(package, category):
    rows = sampled(category)
    table, lines = bfcl.score(rows, [written(row) if row["kind"] != "none" else "I cannot." for row in rows])
    assert {line["id"] for line in lines if not line["right"]} <= UNANSWERABLE | {ONLY_NULL}
    assert not any(row["refused"] for row in rows) and all(line["name"] is not False for line in lines)
    assert {one["category"]: one["n"] for one in table}[category] == len(rows)


def test_what_the_checker_refuses_of_gold_is_refused_in_its_own_names_too(package):
    for category in ("live_simple", "live_multiple"):
        for identity in UNANSWERABLE & bfcl.questions(category).keys():
            entry = bfcl.questions(category)[identity]
            calls = [{name: arguments} for name, arguments in bfcl.gold(entry)]
            found = bfcl._checker()(entry["function"], calls, entry["ground_truth"], test_category=category)
            assert not found["valid"], identity
    row = bfcl.row_of(bfcl.questions("live_multiple")[ONLY_NULL], "live_multiple")
    assert bfcl.judged(row, written(row).replace("}", ",start_date:null}"))["right"]


def test_where_nothing_is_to_be_called_a_call_is_wrong_and_malformed_text_is_told_apart(package):
    row = bfcl.row_of(next(iter(bfcl.questions("irrelevance").values())), "irrelevance")
    name = json.loads(row["tools"])[0]["function"]["name"]
    call = serialize([FunctionCall(name, {})])
    texts = ["I have no tool for it.<end_of_turn>", call, call[:-4]]
    _, lines = bfcl.score([row] * 3, texts)
    assert [line["right"] for line in lines] == [True, False, False]
    assert [line["malformed"] for line in lines] == [False, False, True]


def test_predictions_are_stored_beside_their_judgements(package, tmp_path):
    rows = sampled("parallel")[:3]
    for name, lines in (
        (bfcl.ROWS, rows),
        ("run.jsonl.gz", [{"provenance": {"device": "x"}}, *({"id": row["id"], "text": written(row)} for row in rows)]),
    ):
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    bfcl.kept(tmp_path / "run.jsonl.gz", tmp_path)
    stored = json.loads((tmp_path / "bfcl_run.json").read_text(encoding="utf-8"))
    assert stored["provenance"] == {"device": "x", "bfcl": bfcl.VERSION}
    line = next(one for one in stored["results"] if one["category"] == "parallel")
    assert (line["hits"], line["n"], line["name"], line["published"]) == (3, 3, [3, 3], 39.0)
    with gzip.open(tmp_path / "bfcl_run.jsonl.gz", "rt", encoding="utf-8") as file:
        assert [json.loads(one)["id"] for one in file] == [row["id"] for row in rows]
    with gzip.open(tmp_path / "few.jsonl.gz", "wt", encoding="utf-8") as file:
        file.write(json.dumps({"id": rows[0]["id"], "text": ""}) + "\n")
    with pytest.raises(CourseError, match="has no text"):
        bfcl.kept(tmp_path / "few.jsonl.gz", tmp_path)


def test_a_damaged_package_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    (tmp_path / bfcl.WHEEL).write_bytes(b"no wheel")
    with pytest.raises(CourseError, match="checksum"):
        bfcl.package()
