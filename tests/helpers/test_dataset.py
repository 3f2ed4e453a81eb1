"""The data set: valid to the last row, its splits apart, and bad rows refused by name; its making: test_row_builder."""

import json
import re
import shutil
from collections import Counter

import jsonschema
import pytest

from helpers import dataset, paths
from helpers.calls import FunctionCall, parse
from helpers.dataset import DIALECTS
from helpers.errors import CourseError
from scripts.dataset import sources
from scripts.dataset.sources import FORBIDDEN

TESTS = ("test", "test_unseen_tools")


def test_sizes_and_columns(splits):
    assert (
        len(splits["train"]) >= 6000 and len(splits["validation"]) >= 500 and sum(len(splits[s]) for s in TESTS) >= 1500
    )
    assert all(tuple(sorted(row)) == tuple(sorted(dataset.COLUMNS)) for rows in splits.values() for row in rows[:3])
    assert sum(path.stat().st_size for path in dataset.FOLDER.glob("*.jsonl")) <= 8 * 2**20


@pytest.fixture(scope="module")
def every(splits):
    return [row for rows in splits.values() for row in rows]


@pytest.mark.slow
def test_every_row_is_valid(every):
    for row in every:
        dataset.validate(row)
    assert len({row["id"] for row in every}) == len(every)


@pytest.mark.slow
def test_every_call_reads_back_from_its_rendered_row(every, rendered):
    texts = [text for split in rendered.values() for text in split]
    for row, text in zip(every, texts, strict=True):
        turn = text.split("<start_of_turn>model\n")[-1]
        made = turn.split("response:")[0] if row["kind"] == "followup" else turn
        assert parse(made) == [FunctionCall(c["name"], c["arguments"]) for c in json.loads(row["calls"])], row["id"]
        assert text.count("<bos>") == 1


@pytest.mark.slow
def test_every_row_fits_in_1024_tokens(lengths):
    assert max(lengths.values()) <= 1024, max(lengths.values())


def test_dialects_are_balanced_within_ten_percent(splits):
    for split, rows in splits.items():
        counts = Counter(row["dialect"] for row in rows)
        assert set(counts) == set(DIALECTS)
        assert max(counts.values()) <= 1.1 * min(counts.values()), (split, counts)


def test_kinds_have_their_shares(splits):
    for split, rows in splits.items():
        share = {kind: count / len(rows) for kind, count in Counter(row["kind"] for row in rows).items()}
        assert (
            0.10 <= share["none"] <= 0.15 and 0.10 <= share["parallel"] <= 0.15 and 0.05 <= share["followup"] <= 0.10
        ), (split, share)
        assert 0.02 <= share["ask_back"] <= 0.03 and all(
            json.loads(row["asks"]) for row in rows if row["kind"] == "ask_back"
        )
    assert all(json.loads(row["tools"]) for rows in splits.values() for row in rows if row["kind"] == "none")


def test_the_gold_tools_position_is_uniform(splits):
    from scipy.stats import chisquare

    for size in (4, 5, 6):
        places = Counter()
        for row in splits["train"] + splits["test"]:
            names = [tool["function"]["name"] for tool in json.loads(row["tools"])]
            if row["kind"] == "single" and len(names) == size:
                places[names.index(json.loads(row["calls"])[0]["name"])] += 1
        assert sum(places.values()) > 200 and chisquare([places[i] for i in range(size)]).pvalue > 0.001, (size, places)


def test_splits_share_no_query_and_no_phrasing(splits):
    def phrasings(split):
        return {part for row in splits[split] for part in row["phrasing"].split("+")}

    names = list(splits)
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            assert not {r["query"] for r in splits[a]} & {r["query"] for r in splits[b]}, (a, b)
            assert not phrasings(a) & phrasings(b), (a, b)


def test_unseen_tools_never_occur_elsewhere(splits):
    unseen = {tool.name for tool in sources.read().tools.values() if tool.unseen}
    assert len(unseen) >= 6
    for split in ("train", "validation", "test"):
        for row in splits[split]:
            assert not unseen & {tool["function"]["name"] for tool in json.loads(row["tools"])}
    called = {c["name"] for row in splits["test_unseen_tools"] for c in json.loads(row["calls"])}
    assert called == unseen


def test_texts_hold_nothing_invisible(every):
    for row in every:
        assert not FORBIDDEN.search(row["query"] + row["reply"] + row["calls"]), row["id"]
        assert not re.search(r"[{}]", row["query"] + row["reply"]), row["id"]


def test_gold_digits_are_western(every):
    assert not any(re.search(r"[٠-٩]", row["calls"]) for row in every)
    assert any(re.search(r"[٠-٩]", row["query"]) for row in every)


def test_fewer_tools_keep_the_called_ones(splits):
    for row in dataset.load("test", tools_per_row=3):
        names = {tool["function"]["name"] for tool in json.loads(row["tools"])}
        assert {c["name"] for c in json.loads(row["calls"])} <= names and len(names) <= 3


# --- what is refused --------------------------------------------------------------------------------------------------


def test_unknown_names_are_refused(splits):
    for words, act in {
        "no split 'dev'": lambda: dataset.load("dev"),
        "leaves no tool": lambda: dataset.load("test", tools_per_row=0),
        "no dialect 'sudanese'": lambda: dataset.of_dialect(dataset.load("validation"), "sudanese"),
    }.items():
        with pytest.raises(CourseError, match=words):
            act()


GOOD_TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
    },
}


def a_row(**changes):
    calls = changes.pop("made", [{"name": "f", "arguments": {"a": 1}}])
    tools = changes.pop("declared", [GOOD_TOOL])
    row = {
        "id": "x",
        "split": "train",
        "kind": "single",
        "domain": "d",
        "dialect": "msa",
        "query": "q",
        "reply": "",
        "phrasing": "p",
        "messages": json.dumps(dataset.conversation("q", calls)),
        "tools": json.dumps(tools),
        "calls": json.dumps(calls),
        "asks": "[]",
    }
    return row | changes


def named(name):
    return {
        "type": "function",
        "function": {"name": "f", "parameters": {"type": "object", "properties": {name: {"type": "string"}}}},
    }


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (a_row(dialect="sudanese"), "unknown dialect 'sudanese'"),
        (a_row(split="dev"), "unknown split 'dev'"),
        (a_row(kind="triple"), "unknown kind"),
        (a_row(made=[{"name": "g", "arguments": {}}]), "calls g, which it does not declare"),
        (a_row(made=[{"name": "f", "arguments": {"a": "1"}}]), "not of type 'integer'"),
        (a_row(made=[{"name": "f", "arguments": {}}]), "'a' is a required property"),
        (a_row(made=[{"name": "f", "arguments": {"a": 1, "b": 2}}]), "unexpected"),
        (a_row(declared=[named("type")]), "drops a parameter named type"),
        (a_row(tools="{"), "not a JSON string"),
        (a_row(kind="none"), "is of kind none and has 1 calls"),
        ({"id": "x"}, "has no split"),
    ],
)
def test_bad_rows_are_refused_with_one_line(row, words):
    with pytest.raises(CourseError, match=words) as caught:
        dataset.validate(row)
    assert "\n" not in str(caught.value) and "→" in str(caught.value)


def test_a_good_row_passes():
    dataset.validate(a_row())


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda p: p.write_text("{", encoding="utf-8"), "does not match its checksum"),
        (lambda p: p.unlink(), "is missing"),
    ],
)
def test_damaged_files_are_named(damage, words, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(dataset.FOLDER, folder, ignore=shutil.ignore_patterns("sources"))
    damage(folder / "validation.jsonl")
    with pytest.raises(CourseError, match=f"validation.jsonl {words}"):
        dataset._read("validation", folder)


SEPARATORS = "سطر\u2028سطر", "فقرة\u2029فقرة", "a\u0085b", "\u2028\u2029\u0085"


@pytest.mark.parametrize("ending", ["\n", "", "\r\n"])
def test_lines_end_at_line_feeds_only(ending, tmp_path):
    """JSON strings may hold U+2028, U+2029 and U+0085, at which str.splitlines tears a row."""
    rows = [{"id": str(number), "query": text} for number, text in enumerate(SEPARATORS)]
    text = (ending or "\n").join(map(paths.encode, rows)) + ending
    (tmp_path / "train.jsonl").write_bytes(text.encode())
    assert dataset._read("train", tmp_path) == rows
    tools = [{"domain": f"a\u2028{number}", **GOOD_TOOL} for number in range(2)]
    (tmp_path / "tools.jsonl").write_bytes("\n".join(map(paths.encode, tools)).encode())
    assert [tool["domain"] for tool in dataset._tools(tmp_path)] == ["a\u20280", "a\u20281"]
    (tmp_path / "train.jsonl").write_bytes(b"")
    assert dataset._read("train", tmp_path) == []


@pytest.mark.parametrize("arguments", [{"a": "1"}, {"a": True}, {"b": 1}, {}])
def test_calls_of_earlier_turns_are_validated_too(arguments):
    earlier = [
        {"role": "assistant", "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": arguments}}]},
        {"role": "tool", "name": "f", "content": "x"},
        {"role": "user", "content": "q"},
    ]
    first, asked, last = dataset.conversation("q", [{"name": "f", "arguments": {"a": 1}}])
    with pytest.raises(CourseError, match="call of f"):
        dataset.validate(a_row(messages=json.dumps([first, asked, *earlier, last])))


def test_the_texts_that_measure_forgetting_are_whole(tmp_path, every):
    texts, declared = dataset.retention(), dataset.read_declarations()
    assert {name: len(set(map(str, entries))) for name, entries in texts.items()} == {
        "english": 40,
        "arabic": 40,
        "calls": 60,
    }
    for entry in texts["calls"]:
        jsonschema.validate(entry["arguments"], declared[entry["name"]]["function"]["parameters"])
    assert not {entry["query"] for entry in texts["calls"]} & {row["query"] for row in every}
    with pytest.raises(CourseError, match="retention.yaml is missing"):
        dataset.retention(tmp_path)
