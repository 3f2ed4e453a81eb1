"""Where an answer parts from the calls that its row asks for, and stored runs read again."""

import json
from types import SimpleNamespace

import pandas
import pytest

from helpers import calls, reference
from helpers.probes import misses, stored_runs


def a_row(*wanted) -> dict:
    told = [{"name": name, "arguments": arguments} for name, arguments in wanted]
    return {"calls": json.dumps(told), "kind": "single"}


def text(*made) -> str:
    return calls.serialize([calls.FunctionCall(name, arguments) for name, arguments in made])


ROW = a_row(("f", {"city": "فاس", "days": 3}))


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("لا أستطيع<end_of_turn>", misses.NO_CALL),
        ("<start_function_call>call:f{city:", misses.MALFORMED),
        (text(("g", {"city": "فاس"})), misses.FUNCTION),
        (text(("f", {"city": "فاس", "days": 3}), ("f", {"city": "فاس", "days": 3})), misses.FUNCTION),
        (text(("f", {"city": "فاس"})), misses.LEFT_OUT),
        (text(("f", {"city": "فاس", "days": 3, "unit": "c"})), misses.PUT_IN),
        (text(("f", {"city": "فاس", "unit": "c"})), misses.BOTH),
        (text(("f", {"city": "فا", "days": 3})), misses.VALUE),
    ],
)
def test_each_fate_is_told(written, wanted):
    assert misses.fate(ROW, written) == wanted


def test_a_nested_argument_that_is_missing_is_left_out():
    row = a_row(("f", {"where": {"street": "x", "number": 3}}))
    assert misses.fate(row, text(("f", {"where": {"street": "x"}}))) == misses.LEFT_OUT


def test_what_is_false_by_default_may_be_said_or_not():
    schema = {"urgent": {"type": "boolean", "description": "Urgent (default false)"}}
    tools = json.dumps([{"function": {"name": "f", "parameters": {"properties": schema}}}])
    row = a_row(("f", {"city": "فاس"})) | {"tools": tools}
    assert misses.fate(row, text(("f", {"city": "فا", "urgent": False}))) == misses.VALUE
    assert misses.fate(row, text(("f", {"city": "فا", "urgent": True}))) == misses.PUT_IN


def test_wrong_values_are_counted_and_calls_of_one_name_paired_by_likeness():
    assert misses.wrong_values(ROW, text(("f", {"city": "فا", "days": 3}))) == (1, 2)
    assert misses.wrong_values(ROW, text(("f", {"city": "فاس", "days": 3.0}))) == (0, 2)
    two = a_row(("f", {"x": 1}), ("f", {"x": 2}))
    assert misses.wrong_values(two, text(("f", {"x": 2}), ("f", {"x": 5}))) == (1, 2)
    assert misses.wrong_values(a_row(("f", {"x": True})), text(("f", {"x": 1}))) == (1, 1)


def test_only_rows_that_want_a_call_are_missed():
    rows, told = [ROW, ROW, {"kind": "none"}], [{"exact": False}, {"exact": True}, {"exact": None}]
    written = [SimpleNamespace(text="لا"), SimpleNamespace(text=""), SimpleNamespace(text="")]
    pairs = misses.missed(rows, written, SimpleNamespace(rows=told))
    assert len(pairs) == 1 and misses.told(misses.fates(pairs)) == "1 no call"
    assert misses.told(misses.fates([])) == "none"


def test_what_a_row_asks_for_is_said_in_english():
    tool = {"function": {"name": "f", "description": "Forecast."}}
    assert misses.in_english(ROW | {"tools": json.dumps([tool])}) == "Forecast. city: فاس, days: 3"
    assert misses.in_english({"calls": "[]", "tools": "[]"}) == "(nothing that a tool does)"


def test_an_interval_over_clusters_is_wider_than_one_over_rows():
    alike = pandas.Series([1.0] * 50 + [0.0] * 50, index=[f"p{i // 10}" for i in range(100)])
    apart = alike.set_axis(range(100))
    wide, narrow = stored_runs.clustered(alike), stored_runs.clustered(apart)
    assert wide.value == narrow.value == 50
    assert wide.high - wide.low > 2 * (narrow.high - narrow.low)
    gap = stored_runs.gap(alike, apart)
    assert gap.value == 0 and gap.low < 0 < gap.high
    assert stored_runs.change(apart, apart + 0.25).eq(0.25).all()


def test_the_noise_is_what_seeds_do_within_a_setting():
    one, two = ([SimpleNamespace(rate=lambda _, r=r: r) for r in rates] for rates in ((0.1, 0.2), (0.5, 0.5)))
    assert stored_runs.by_seed(one, two) == pytest.approx([40, 30])
    assert stored_runs.noise([one, two]) == pytest.approx(2 * (2 * 25 / 2) ** 0.5)  # variances 50 and 0, two seeds
    assert stored_runs.middle([[4, 4, 3, 3, 2, 2, 1, 1]] * 2) == (3, 2)


def test_english_requests_are_judged_as_when_they_were_stored():
    guide, requests = reference.load("guide"), stored_runs.english_requests()
    runs = [r for r in guide.results if r["name"] == "response only"]
    reports = guide.reports(requests, name="response only")
    stored = [r["scores"]["english"]["exact"][0] for r in sorted(runs, key=lambda r: r["seed"])]
    assert [sum(report.hits("exact")) for report in reports] == stored
    assert len(stored_runs.per_row(reports, requests)) == len(requests)
