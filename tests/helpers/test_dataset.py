"""The data set: rebuilt byte for byte, valid to the last row, its splits apart, and bad rows refused by name."""

import json
import re
import shutil
from collections import Counter

import datasets
import jsonschema
import pytest

from helpers import chat, dataset, public_data
from helpers.calls import FunctionCall, parse
from helpers.dataset import DIALECTS
from helpers.errors import CourseError
from scripts.dataset import row_builder, sources
from scripts.dataset.__main__ import build
from scripts.dataset.sources import FORBIDDEN
from scripts.publish import cards, generated

TESTS = ("test", "test_unseen_tools")


@pytest.fixture(scope="module")
def splits():
    return {split: dataset.load(split).to_list() for split in dataset.SPLITS}


@pytest.fixture(scope="module")
def every(splits):
    return [row for rows in splits.values() for row in rows]


def test_the_sources_have_no_fault():
    read = sources.read()
    assert [line for tool in read.tools.values() for line in sources.faults(tool, read.vocabularies)] == []


def test_a_rebuild_gives_the_same_bytes(tmp_path):
    build(tmp_path)
    for name in ("tools.jsonl", dataset.CHECKSUMS, *(f"{split}.jsonl" for split in dataset.SPLITS)):
        assert (tmp_path / name).read_bytes() == (dataset.FOLDER / name).read_bytes(), (
            f"{name}: run make data and commit"
        )


def test_sizes_and_columns(splits):
    assert (
        len(splits["train"]) >= 6000 and len(splits["validation"]) >= 500 and sum(len(splits[s]) for s in TESTS) >= 1500
    )
    assert all(tuple(sorted(row)) == tuple(sorted(dataset.COLUMNS)) for rows in splits.values() for row in rows[:3])
    assert sum(path.stat().st_size for path in dataset.FOLDER.glob("*.jsonl")) <= 8 * 2**20


def test_every_row_is_valid(every):
    for row in every:
        dataset.validate(row)
    assert len({row["id"] for row in every}) == len(every)


def test_every_call_reads_back_from_its_rendered_row(every):
    for row in every:
        text = chat.render(json.loads(row["messages"]), json.loads(row["tools"]))
        turn = text.split("<start_of_turn>model\n")[-1]
        made = turn.split("response:")[0] if row["kind"] == "followup" else turn
        assert parse(made) == [FunctionCall(c["name"], c["arguments"]) for c in json.loads(row["calls"])], row["id"]
        assert text.count("<bos>") == 1


def test_every_row_fits_in_1024_tokens(every, tokenizer):
    texts = [chat.render(json.loads(row["messages"]), json.loads(row["tools"])) for row in every]
    longest = max(map(len, tokenizer(texts, add_special_tokens=False).input_ids))
    assert longest <= 1024, longest


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


def test_free_text_values_of_the_tests_are_new(splits):
    """No value of a free-text slot crosses from training into the tests."""
    builder, read = row_builder.Builder(sources.read()), sources.read()
    checked = 0
    for name in read.vocabularies:
        train, test = ({e["value"] for e in builder.entries(name, split)} for split in ("train", "test"))
        if train != test:
            checked += 1
            assert not train & test, name
    assert checked >= 10


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
    text = (ending or "\n").join(map(dataset.encode, rows)) + ending
    (tmp_path / "train.jsonl").write_bytes(text.encode())
    assert dataset._read("train", tmp_path) == rows
    tools = [{"domain": f"a\u2028{number}", **GOOD_TOOL} for number in range(2)]
    (tmp_path / "tools.jsonl").write_bytes("\n".join(map(dataset.encode, tools)).encode())
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


# --- the data card ----------------------------------------------------------------------------------------------------


def test_the_cards_counts_are_those_of_the_data(splits, tokenizer):
    loaded = {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    assert cards.block("counts") == cards.counts(loaded, tokenizer).strip() + "\n", "run: make generate"


def test_the_cards_baseline_is_what_the_retriever_scores():
    assert cards.block("baseline") == cards.baseline().strip() + "\n", "run: make generate"


def test_a_card_without_marks_is_refused():
    with pytest.raises(CourseError, match="0 blocks 'counts'.*put the marks back"):
        generated.replaced("# A card", "counts", "text")


# --- public sets ------------------------------------------------------------------------------------------------------


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
    monkeypatch.setattr("helpers.public_data.hub_reachable", lambda: True)
    rows, refused = public_data.from_hub("Sa74ll/arabic-mobile-actions")
    kept, expected = public_data.from_hub_rows(plain)
    assert refused == expected
    for row, same in zip(rows, kept, strict=True):  # Arrow orders a struct's fields its own way
        assert json.loads(row.pop("tools")) == json.loads(same.pop("tools")) and row == same
    table = public_data.declarations_of(arrow)
    assert table == public_data.declarations_of(plain) and "get_weather" in table


def test_a_hub_out_of_reach_is_said_at_once(monkeypatch):
    monkeypatch.setattr("helpers.public_data.hub_reachable", lambda: False)
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
    with pytest.raises(CourseError, match="unknown dialect 'klingon'"):
        public_data.from_hub_row(row | {"dialect": "Klingon"}, {"f": GOOD_TOOL})
