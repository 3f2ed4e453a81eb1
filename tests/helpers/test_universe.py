"""Marks become calls, declarations change their words and gold follows, and the thousand tools stay apart."""

import json
import random
from collections import Counter
from datetime import date

import pytest

from helpers import dataset, scoring, universe
from helpers.errors import CourseError
from helpers.generation import Generation
from helpers.schemas.validation import schema_fault
from helpers.universe import declaring, drawing, families, spans

TODAY = date(2026, 11, 26)  # a Thursday
SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "weeks": {"type": "integer"},
        "weight": {"type": "number"},
        "locker": {"type": "boolean"},
        "day": {"type": "string"},
        "items": {"type": "array", "items": {"type": "string"}},
        "where": {"type": "object", "properties": {"street": {"type": "string"}, "floor": {"type": "integer"}}},
        "lines": {
            "type": "array",
            "items": {"type": "object", "properties": {"what": {"type": "string"}, "n": {"type": "integer"}}},
        },
    },
}


def said(marked: str, call: int = 1) -> dict:
    return spans.arguments([span for span in spans.parse(marked)[1] if span.call == call], SCHEMA, TODAY)


@pytest.mark.parametrize(
    "marked, told",
    [
        ("في [الدوحة|city]", {"city": "الدوحة"}),
        ("[NO|city] [0501|day]", {"city": "NO", "day": "0501"}),
        ("[تلات أسابيع|weeks=3] و[نص كيلو|weight=0.5]", {"weeks": 3, "weight": 0.5}),
        ("[خلوا اللوكر|locker=true]", {"locker": True}),
        ("[خبز|items+] و[حليب|items+]", {"items": ["خبز", "حليب"]}),
        ("[النيل|where.street] [الرابع|where.floor=4]", {"where": {"street": "النيل", "floor": 4}}),
        (
            "[لبن|lines#1.what] و[اتنين|lines#2.n=2] [عيش|lines#2.what]",
            {"lines": [{"what": "لبن"}, {"n": 2, "what": "عيش"}]},
        ),
        ("[بالليل بالدوحة|day=21:00;city=الدوحة]", {"day": "21:00", "city": "الدوحة"}),
    ],
)
def test_marks_become_arguments(marked, told):
    assert said(marked) == told
    assert not set("[]|") & set(spans.parse(marked)[0])


def test_a_mark_can_belong_to_the_second_call():
    assert (said("[الدمام|city;2:city]", 1), said("[الدمام|city;2:city]", 2)) == ({"city": "الدمام"},) * 2


@pytest.mark.parametrize(
    "written, day",
    [
        ("@+0d", "2026-11-26"),
        ("@-1w", "2026-11-19"),
        ("@next-thu", "2026-12-03"),
        ("@last-thu", "2026-11-19"),
        ("@next-fri", "2026-11-27"),
        ("@11-26", "2026-11-26"),
        ("@11-25", "2027-11-25"),
        ("@last-12-01", "2025-12-01"),
        ("@+1dT17:30", "2026-11-27T17:30"),
    ],
)
def test_relative_dates(written, day):
    assert spans.resolve_date(written, TODAY) == day


@pytest.mark.parametrize(
    "marked, fault",
    [
        ("literal [ bracket", "stands outside of marks"),
        ("[|city]", "has no words"),
        ("[x|9bad=]", "is no mark"),
        ("[x|unknown]", "marked and not declared"),
        ("[x|weeks=many]", "is no integer"),
        ("[x|locker=maybe]", "is no boolean"),
        ("[x|city] [y|city]", "marked twice"),
        ("[x|city+]", "is no list"),
        ("[x|items]", "mark its elements"),
        ("[x|lines#2.n=1]", "before object 1"),
        ("[x|day=@next-xyz]", "no day of a calendar"),
        ("[x|day=@02-31]", "no day of a calendar"),
        ("[x|day=@tomorrow]", "is no date"),
    ],
)
def test_a_wrong_mark_is_named(marked, fault):
    with pytest.raises(CourseError, match=fault):
        said(marked)


def test_gold_follows_the_words_of_the_declaration():
    """Every reworded declaration accepts the translated gold, and says the same under other names."""
    from helpers.schemas import schema_fault

    changed = Counter()
    for tool in universe.read()[:120]:
        for one in tool.requests[:2]:
            marked = [span for span in one.marked if span.call == 1]
            gold = spans.arguments(marked, tool.schema, TODAY)
            declaration, names = declaring.declare(
                tool, random.Random(one.id), frozenset(gold), stranger=universe.read()[0]
            )
            function, told = declaration["function"], names.arguments(gold)
            assert schema_fault(function["name"], told, function["parameters"]) is None, (one.id, told)
            assert len(told) == len(gold)
            changed["name"] += function["name"] != tool.name
            changed["keys"] += told.keys() != gold.keys()
            changed["labels"] += bool(names.labels)
    assert min(changed["name"], changed["keys"], changed["labels"]) > 20


def test_canonical_declarations_are_the_writers_own():
    tool = universe.read()[0]
    declaration, names = declaring.declare(tool)
    assert declaration["function"]["parameters"] == tool.schema and not names.parameters


@pytest.mark.slow
def test_every_row_is_valid(drawn):
    for rows in drawn.values():
        for row in rows:
            dataset.validate(row)


def test_the_rings_are_large_and_balanced(drawn):
    for split in universe.SPLITS[2:]:
        dialects = Counter(row["dialect"] for row in drawn[split])
        assert len(drawn[split]) >= 600 and set(dialects) == set(families.DIALECTS)
        assert max(dialects.values()) <= 1.1 * min(dialects.values())


def test_ids_are_unique_and_rows_the_same_every_time(drawn):
    ids = [row["id"] for rows in drawn.values() for row in rows]
    assert len(ids) == len(set(ids))
    assert universe.rows("ring_2_new_family") == drawn["ring_2_new_family"]
    assert universe.rows("universe_train", seed=1)[:5] != drawn["universe_train"][:5]


def test_the_third_ring_declares_no_known_neighbour(drawn):
    known = {name for tool in universe.by_split(universe.read())["universe_train"] for name in tool.names}
    for row in drawn["ring_3_no_neighbours"]:
        assert not known & {tool["function"]["name"] for tool in json.loads(row["tools"])}, row["id"]


def test_training_declares_no_tool_that_is_held_out(drawn):
    places = universe.by_split(universe.read())
    held = {name for split, own in places.items() if split != "universe_train" for tool in own for name in tool.names}
    for row in drawn["universe_train"]:
        assert not held & {tool["function"]["name"] for tool in json.loads(row["tools"])}, row["id"]


def test_rows_that_call_nothing_say_why(drawn):
    for row in (row for rows in drawn.values() for row in rows if row["kind"] in dataset.SILENT):
        assert row["calls"] == "[]" and row["reply"] and (row["kind"] == "ask_back") == bool(json.loads(row["asks"]))


def test_the_gold_question_asks(drawn):
    """An ask_back row's own question passes the rule by which a model's is judged."""
    rows = [row for row in drawn["ring_2_new_family"] if row["kind"] == "ask_back"]
    report = scoring.score([Generation(row["reply"] + "<end_of_turn>", (), "<end_of_turn>") for row in rows], rows)
    assert report.rate("asks") == 1 and report.rate("no_call") == 1
    silent = scoring.score([Generation("تمام<end_of_turn>", (), "<end_of_turn>") for row in rows], rows)
    assert silent.rate("asks") == 0 and silent.rate("no_call") == 1


def test_a_dated_request_has_its_day_in_the_developer_turn(drawn):
    told = json.loads(next(row for row in drawn["ring_2_new_family"] if "Day of week" in row["messages"])["messages"])
    day = date.fromisoformat(told[0]["content"].split("format: ")[1][:10])
    assert universe.today_line(day).endswith(f"Day of week is {day:%A}")


def test_the_universe_is_loaded_as_other_splits_are():
    rows = dataset.load("ring_1_new_tool")
    assert set(rows.column_names) == set(dataset.COLUMNS)
    with pytest.raises(CourseError, match="comes with its tools"):
        dataset.load("ring_1_new_tool", tools_per_row=2)
    with pytest.raises(CourseError, match="no split"):
        universe.rows("ring_9")


def test_a_missing_or_damaged_family_is_named(tmp_path):
    with pytest.raises(CourseError, match="no families"):
        families.read(tmp_path)
    (tmp_path / "shop.yaml").write_text("tools: [", encoding="utf-8")
    with pytest.raises(CourseError, match=r"shop\.yaml is not valid YAML"):
        families.read_family(tmp_path / "shop.yaml")
    (tmp_path / "shop.yaml").write_text("tools: [{names: [x]}]", encoding="utf-8")
    with pytest.raises(CourseError, match="shop, .*KeyError"):
        families.read_family(tmp_path / "shop.yaml")


def test_the_day_of_a_week_is_never_today():
    assert drawing.FIRST_DAY < TODAY
    for name in spans.WEEKDAYS:
        assert (
            spans.resolve_date(f"@next-{name}", TODAY) > TODAY.isoformat() > spans.resolve_date(f"@last-{name}", TODAY)
        )


def test_refilled_rows_say_other_values_and_their_gold_follows():
    """Same rows, same tools; what a changed request quotes stands in its call, and every call still fits."""
    tools = tuple(families.by_split(families.read())["universe_train"][:30])
    plain = {row["id"]: row for row in universe.rows("universe_train", tools=tools)}
    other = universe.rows("universe_train", tools=tools, refill=1.0)
    assert set(plain) == {row["id"] for row in other}
    changed = [row for row in other if row["messages"] != plain[row["id"]]["messages"]]
    assert len(changed) > len(other) / 4
    for row in changed:
        for call in json.loads(row["calls"]):
            declared = {tool["function"]["name"]: tool["function"] for tool in json.loads(row["tools"])}
            assert schema_fault(call["name"], call["arguments"], declared[call["name"]]["parameters"]) is None
    again = universe.rows("universe_train", tools=tools, refill=1.0)
    assert again == other


def test_only_words_that_are_their_own_value_are_replaced():
    marked = "[3|n] kilos, [two|m=2], [Amman|city], [soon|when=@+1d], [Ali|a;b]"
    assert spans.reworded(marked, lambda span: "X") == "[X|n] kilos, [X|m=X], [X|city], [X|when=X], [Ali|a;b]"
    assert spans.reworded(marked, lambda span: None) == marked
