"""Each level on cases decided by hand, and intervals against published values."""

import json

import pytest

from helpers import scoring
from helpers.errors import CourseError
from helpers.generation import Generation
from helpers.scoring import compare, score, wilson

STOP = "<start_function_response>"


def row(calls, kind="single", identity="r", dialect="gulf"):
    return {"id": identity, "dialect": dialect, "kind": kind, "calls": json.dumps(calls)}


def said(body, stopped_by=STOP):
    return Generation(body, (), stopped_by)


def call(text):
    return f"<start_function_call>call:{text}<end_function_call>"


GOLD = [{"name": "f", "arguments": {"city": "جدة", "days": 3}}]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (call("f{city:<escape>جدة<escape>,days:3}"), (True, True, True, True, True)),
        (call("f{city:<escape>جدة<escape>,days:3.0}"), (True, True, True, True, True)),
        (call("f{city:<escape>جدة<escape>,days:<escape>3<escape>}"), (True, True, True, True, False)),
        (call("f{city:<escape>جده<escape>,days:3}"), (True, True, True, True, False)),
        (call("f{city:<escape>جدة<escape>}"), (True, True, True, False, False)),
        (call("g{city:<escape>جدة<escape>,days:3}"), (True, True, False, False, False)),
        (call("f{city:<escape>جدة<escape>,days:3}") * 2, (True, True, False, False, False)),
        ("الطقس جميل", (False, False, False, False, False)),
        ("<start_function_call>call:f{city:", (False, False, False, False, False)),
    ],
)
def test_levels(text, expected):
    judged = score([said(text)], [row(GOLD)]).rows[0]
    assert tuple(judged[level] for level in ("parse", "stop", "name", "keys", "exact")) == expected
    assert judged["no_call"] is None


def test_booleans_are_not_numbers_and_order_of_parallel_calls_does_not_count():
    gold = [{"name": "f", "arguments": {"x": True}}, {"name": "g", "arguments": {}}]
    good = score([said(call("g{}") + call("f{x:true}"))], [row(gold, "parallel")])
    bad = score([said(call("g{}") + call("f{x:1}"))], [row(gold, "parallel")])
    assert good.rate("exact") == 1 and bad.rate("exact") == 0 and bad.rate("keys") == 1


DIGITS = "1" + "0" * 309  # 310 digits, more than a double holds


@pytest.mark.parametrize(
    ("gold", "written", "right"),
    [
        (1234567890123456789, "1234567890123456789", True),
        (1234567890123456789, "1234567890123456768", False),  # the same double
        (9007199254740993, "9007199254740992", False),
        (9007199254740993, "9007199254740992.0", False),
        (-1234567890123456789, "-1234567890123456788", False),
        (int(DIGITS), DIGITS, True),
        (int(DIGITS), DIGITS[:-1] + "1", False),
        (5, DIGITS, False),
        (0.5, "-" + DIGITS, False),
        (5, "5.0", True),
        (5.0, "5", True),
        (-3, "-3.00", True),
        (1000, "1e3", True),
        (0, "-0.0", True),
        (0.1, "0.1", True),
        (True, "1", False),
        (1, "true", False),
        (0, "false", False),
        (False, "0.0", False),
        (1, "<escape>1<escape>", False),
        ([1, [2.0]], "[1.0,[2]]", True),
        ([1], "[true]", False),
        ({"y": 2**60 + 1}, "{y:1152921504606846976}", False),
    ],
)
def test_numbers_are_compared_by_their_exact_value(gold, written, right):
    judged = score([said(call(f"f{{x:{written}}}"))], [row([{"name": "f", "arguments": {"x": gold}}])])
    assert judged.rate("keys") == 1 and judged.rate("exact") == right


@pytest.mark.parametrize("kind", ["none", "followup"])
@pytest.mark.parametrize(
    ("text", "right"), [("العفو<end_of_turn>", True), (call("f{}"), False), ("<start_function_call>", False)]
)
def test_rows_that_want_text(kind, text, right):
    judged = score([said(text, "<end_of_turn>")], [row([] if kind == "none" else GOLD, kind)]).rows[0]
    assert judged["no_call"] is right and judged["exact"] is None


def test_stop_is_judged():
    assert score([said(call("f{city:<escape>جدة<escape>,days:3}"), "max_new_tokens")], [row(GOLD)]).rate("stop") == 0


def test_wilson_against_newcombe_1998():
    low, high = wilson(81, 263)  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


def test_table_has_every_level_and_dialect():
    table = score(
        [said(call("f{}")), said("x")], [row(GOLD, identity="a"), row(GOLD, identity="b", dialect="msa")]
    ).table()
    assert set(table.columns) == {"level", "dialect", "hits", "n", "rate", "low", "high"}
    assert table.query("level == 'parse' and dialect == 'all'")[["hits", "n"]].values.tolist() == [[1, 2]]


def test_compare_is_paired_and_exact():
    rows = [row(GOLD, identity=str(i)) for i in range(20)]
    right, wrong = call("f{city:<escape>جدة<escape>,days:3}"), "x"
    a = score([said(right if i < 5 else wrong) for i in range(20)], rows)
    b = score([said(right if i < 15 else wrong) for i in range(20)], rows)
    found = compare(a, b, "exact")
    assert found.difference == 0.5 and found.p == pytest.approx(2 / 2**10) and 0 < found.low < 0.5 < found.high < 1
    same = compare(a, a, "exact")
    assert same.difference == 0 and same.p == 1 and same.low < 0 < same.high


BOOLEAN = {"type": "boolean", "description": "Wrap it; default false"}
TOOL = {"function": {"name": "f", "parameters": {"properties": {"wrap": BOOLEAN, "x": {"type": "integer"}}}}}


@pytest.mark.parametrize(
    ("gold", "written", "right"),
    [
        ({"x": 1}, "x:1,wrap:false", True),
        ({"x": 1, "wrap": False}, "x:1", True),
        ({"x": 1, "wrap": False}, "wrap:false,x:1", True),
        ({"x": 1, "wrap": True}, "x:1", False),
        ({"x": 1}, "x:1,wrap:true", False),
        ({"x": 1}, "x:1,wrap:<escape>false<escape>", False),
        ({"x": 1}, "x:1,other:false", False),
    ],
)
def test_false_by_default_is_the_same_as_absent(gold, written, right):
    gold_row = row([{"name": "f", "arguments": gold}]) | {"tools": json.dumps([TOOL])}
    for tools in (gold_row["tools"], scoring.declared_defaults(gold_row)):
        judged = score([said(call(f"f{{{written}}}"))], [gold_row | {"tools": tools}])
        assert judged.rate("exact") == judged.rate("keys") * judged.rate("exact") == right
    required = json.loads(json.dumps(TOOL))
    required["function"]["parameters"]["required"] = ["wrap"]
    assert json.loads(scoring.declared_defaults({"tools": json.dumps([required])})) == []


@pytest.mark.parametrize(
    ("gold", "written", "right"),
    [
        ("جدة", "جده", True), ("مستشفى", "مستشفي", True), ("أحمد", "احمد", True), ("إيفورا", "ايفورا", True),
        ("الرياض", "رياض", True), ("شارع  السلام", "شارع السلام", True), ("جدة", "مكة", False),
        ("شارع السلام", "شارع سلام", False),
    ],
)  # fmt: skip
def test_folded_spelling_is_a_column_beside_exact(gold, written, right):
    judged = score([said(call(f"f{{x:<escape>{written}<escape>}}"))], [row([{"name": "f", "arguments": {"x": gold}}])])
    assert judged.rate("exact_folded") == right and judged.rate("exact") == 0
    assert set(judged.table()["level"]) == {*scoring.LEVELS, scoring.FOLDED}


def clustered(pattern: str, copies: int) -> scoring.Report:
    """A report in which each judgement of the pattern stands for one phrasing with so many rows."""
    return scoring.Report(
        [
            {"id": f"{i}.{k}", "dialect": "msa", "kind": "single", "phrasing": f"p{i}", "exact": hit == "1"}
            for i, hit in enumerate(pattern)
            for k in range(copies)
        ]
    )


def test_rows_of_one_phrasing_count_as_one():
    pattern, other = "0110" * 10, "0111" * 10
    few, many = clustered(pattern, 1), clustered(pattern, 9)
    one, nine = (report.cell("exact") for report in (few, many))
    assert (one["n"], nine["n"]) == (40, 360) and nine["rate"] == one["rate"]
    assert (nine["low"], nine["high"]) == pytest.approx((one["low"], one["high"]), abs=0.01)
    a, b = (compare(clustered(pattern, n), clustered(other, n), "exact") for n in (1, 9))
    assert (b.low, b.high) == pytest.approx((a.low, a.high), abs=0.01)
    a, b = (scoring.compare_seeds([clustered(pattern, n)], [clustered(other, n)], "exact") for n in (1, 9))
    assert (b.low, b.high, b.p) == pytest.approx((a.low, a.high, a.p))


def test_the_design_effect_of_known_clusters():
    assert scoring.design_effect([1, 0, 1, 1], "abcd") == 1.0
    assert scoring.design_effect([1, 0] * 20, [i // 2 for i in range(40)]) == 1.0  # clusters are no more alike
    assert scoring.design_effect([1] * 6, "aabbcc") == 2.0  # nothing varies: a cluster is one row
    whole = [i // 4 % 2 for i in range(80)]  # 20 clusters of 4, each all right or all wrong
    assert scoring.design_effect(whole, [i // 4 for i in range(80)]) == pytest.approx(4 * 20 / 19)
    assert scoring.design_effect([], []) == 1.0


def test_misuse_is_named():
    report = score([said("x")], [row(GOLD)])
    with pytest.raises(CourseError, match="no level"):
        report.rate("perfect")
    with pytest.raises(CourseError, match="generations for"):
        score([], [row(GOLD)])
    with pytest.raises(CourseError, match="different rows"):
        compare(report, score([said("x")], [row(GOLD, identity="other")]), "parse")


def seeded(*columns: str) -> list[scoring.Report]:
    """A report a seed; each column says row by row whether the call was exact."""
    return [
        scoring.Report(
            [{"id": i, "dialect": "msa", "kind": "single", "exact": hit == "1"} for i, hit in enumerate(column)]
        )
        for column in columns
    ]


def test_seeds_do_not_multiply_rows():
    one = scoring.compare_seeds(seeded("0101" * 20), seeded("0111" * 20), "exact")
    three = scoring.compare_seeds(seeded(*["0101" * 20] * 3), seeded(*["0111" * 20] * 3), "exact")
    assert one == three and one.n == 80 and one.difference == pytest.approx(0.25)
    assert one.low < 0.25 < one.high and one.high - one.low == pytest.approx(
        2 * 1.96 * (0.25 * 0.75 / 80) ** 0.5, rel=0.1
    )


def test_equal_settings_and_unequal_rows():
    same = scoring.compare_seeds(seeded("0101"), seeded("0101"), "exact")
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    with pytest.raises(CourseError, match="different rows"):
        scoring.compare_seeds(seeded("0101"), seeded("010"), "exact")


def test_token_kl_is_zero_for_a_twin_and_right_for_a_known_pair():
    import torch

    logits = torch.randn(3, 7, generator=torch.Generator().manual_seed(0))
    assert scoring.token_kl(logits, logits).abs().max() < 1e-6
    p, q = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.1]])
    want = (p * (p / q).log()).sum()
    assert scoring.token_kl(p.log(), q.log()).item() == pytest.approx(want.item(), abs=1e-6)
