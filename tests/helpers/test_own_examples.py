"""A reader's own examples: read in every form, faults named with their row, split by function, rows to train on."""

import csv
import json

import pytest

from helpers import calls, dataset, generation, masking, universe
from helpers.errors import CourseError
from helpers.paths import ASSETS, ROOT
from helpers.schemas import as_tools
from helpers.yours import examples

STUDIO = ASSETS / "own_example"


def book_table(people: int, day: str, smoking: bool = False):
    """Book a table.

    Args:
        people: How many people
        day: The day
        smoking: Whether to smoke
    """


def add_dishes(dishes: list[str]):
    """Add dishes to the order.

    Args:
        dishes: Their names
    """


TOOLS = as_tools([book_table, add_dishes]).declarations
BOOK = calls.FunctionCall("book_table", {"people": 4, "day": "الجمعة"})
TWELVE = [(f"طاولة لأربعة يوم الجمعة رقم {n}", "book_table(people=4, day='الجمعة')") for n in range(8)]
TWELVE += [(f"زيد كشري وعصير {n}", "add_dishes(dishes=['كشري', 'عصير'])") for n in range(3)] + [("شكرا", "", "عفوا")]


@pytest.mark.parametrize(
    "written",
    [
        "book_table(people=4, day='الجمعة')",
        ' book_table( people = 4 , day = "الجمعة" ) ',
        '{"name": "book_table", "arguments": {"people": 4, "day": "الجمعة"}}',
        '[{"function": {"name": "book_table", "arguments": {"day": "الجمعة", "people": 4}}}]',
        {"name": "book_table", "arguments": {"people": 4, "day": "الجمعة"}},
        {"id": "1", "function": {"name": "book_table", "arguments": '{"people": 4, "day": "الجمعة"}'}},
        [BOOK],
        BOOK,
    ],
)
def test_a_call_is_read_in_every_form(written):
    assert examples.read_calls(written) == (BOOK,)


def test_values_of_every_kind_several_calls_and_none():
    read = examples.read_calls("f(a=-1.5, b=[1, 'x'], c={'k': True}, d=true)؛ ns.g()")
    assert [(c.name, c.arguments) for c in read] == [
        ("f", {"a": -1.5, "b": [1, "x"], "c": {"k": True}, "d": True}),
        ("ns.g", {}),
    ]
    assert all(examples.read_calls(nothing) == () for nothing in ("", "-", "none", None, [], "[]"))


@pytest.mark.parametrize(
    "written, words",
    [
        ("book_table(4)", "has no name"),
        ("book_table(people=n)", "no plain value"),
        ("book_table(people=__import__('os').getpid())", "no plain value"),
        ("book a table", "no call"),
        ("x = 1", "no call"),
        ("book_table(people=4", "no call"),
        ("{name: 1}", "not JSON"),
        ('{"arguments": {}}', "names no function"),
        ('{"name": "f", "arguments": [1]}', "arguments of f"),
        ({"name": "f", "arguments": "a=1"}, "not JSON"),
        ({"name": "f", "arguments": "[1]"}, "arguments of f"),
        (7, "names no function"),
    ],
)
def test_what_is_no_call_is_named(written, words):
    with pytest.raises(CourseError, match=words):
        examples.read_calls(written)


def test_a_list_a_csv_a_jsonl_and_a_json_say_the_same(tmp_path):
    (tmp_path / "a.csv").write_text(
        "\ufeffRequest,call,reply\n" + "".join(f'"{r}","{c}",{"".join(x)}\n' for r, c, *x in TWELVE), encoding="utf-8"
    )
    named = [dict(zip(("request", "call", "reply"), one, strict=False)) for one in TWELVE]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, named)) + "\n\n", encoding="utf-8")
    (tmp_path / "a.json").write_text(json.dumps(named), encoding="utf-8")
    wanted = examples.read(TWELVE)
    assert len(wanted) == 12 and wanted[0].calls == (BOOK,) and wanted[-1].reply == "عفوا"
    for name, delimiter in (("b.csv", ";"), ("c.csv", "\t")):  # as Excel writes it in French, and a copied table
        with (tmp_path / name).open("w", encoding="utf-8", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([("request", "call", "reply"), *TWELVE])
    for source in ("a.csv", "b.csv", "c.csv", "a.jsonl", "a.json"):
        assert examples.read(tmp_path / source) == wanted


def test_a_google_sheet_is_asked_for_as_csv(monkeypatch):
    import requests

    asked = []

    class Answer:
        headers = {"content-type": "text/csv; charset=utf-8"}
        content = "request,call\nطاولة,book_table()\n".encode()

        def raise_for_status(self):
            pass

    monkeypatch.setattr(requests, "get", lambda address, **_: asked.append(address) or Answer())
    (found,) = examples.read("https://docs.google.com/spreadsheets/d/1a-B_c/edit?usp=sharing#gid=42")
    assert found.request == "طاولة" and asked == [
        "https://docs.google.com/spreadsheets/d/1a-B_c/export?format=csv&gid=42"
    ]
    Answer.headers = {"content-type": "text/html"}
    with pytest.raises(CourseError, match="share it"):
        examples.read("https://docs.google.com/spreadsheets/d/1a-B_c/edit")


@pytest.mark.parametrize(
    "name, content, words",
    [
        ("a.xlsx", b"PK", "export the table as CSV"),
        ("a.csv", b"text,call\nx,y\n", "no column request; its columns: text, call"),
        ("a.csv", "طاولة".encode("cp1256"), "not UTF-8"),
        ("a.jsonl", b"{", "not JSONL"),
        ("a.json", b"{}", "holds a dict"),
        ("a.json", b'[{"call": "f()"}]', "request 1: nothing is said"),
        ("a.json", b'[7, {"request": "x", "call": "f(1)"}]', "request 1: .*\n?request 2: "),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CourseError, match=words):
        examples.read(tmp_path / name)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CourseError, match="there is no file"):
        examples.read(tmp_path / "gone.csv")


@pytest.mark.parametrize(
    "spoiled, words",
    [
        (("x", "rm(path='/')"), "request 13: it calls 'rm', which was not declared"),
        (("x", "book_table(people='four', day='x')"), "request 13: call of book_table, people"),
        (("x", "book_table(people=4)"), "request 13: .*'day' is a required"),
        (("x", "book_table(people=4, day='x', hour=3)"), "request 13: .*hour"),
        (("x", ""), "request 13: nothing is called and nothing replied"),
        (("شكرا", "", "عفوا"), "request 13: says the same as request 12"),
    ],
)
def test_a_faulty_example_is_named_with_its_number(spoiled, words):
    examples.check(examples.read(TWELVE), TOOLS)
    with pytest.raises(CourseError, match=words):
        examples.check(examples.read([*TWELVE, spoiled]), TOOLS)


def test_five_faults_are_told_and_the_rest_counted():
    with pytest.raises(CourseError, match="and 4 more") as told:
        examples.check(examples.read([(f"x{n}", "") for n in range(9)]), TOOLS)
    assert str(told.value).count("nothing replied") == 5


def test_few_examples_and_idle_tools_are_refused():
    with pytest.raises(CourseError, match="9 requests are too few"):
        examples.check(examples.read(TWELVE[:9]), TOOLS)
    with pytest.raises(CourseError, match="no request calls add_dishes"):
        examples.check(examples.read(TWELVE[:8] + [(f"شكرا {n}", "", "عفوا") for n in range(4)]), TOOLS)


def test_a_function_without_docstring_or_types_is_named():
    def bare(x):
        return x

    with pytest.raises(CourseError, match="function bare: .*docstring"):
        as_tools([bare])


def test_a_split_holds_some_of_each_function_and_is_repeated():
    listed = examples.read(TWELVE)
    train, held = examples.split(listed, 1 / 3)
    assert sorted(e.request for e in (*train, *held)) == sorted(e.request for e in listed)
    assert (
        {c.name for e in held for c in e.calls}
        == {c.name for e in train for c in e.calls}
        == {"book_table", "add_dishes"}
    )
    assert (train, held) == examples.split(listed, 1 / 3) != examples.split(listed, 1 / 3, seed=1)
    with pytest.raises(CourseError, match="held=1"):
        examples.split(listed, 1)
    with pytest.raises(CourseError, match="no request can be held"):
        examples.split([listed[0]], 1 / 3)


def test_rows_can_be_trained_on_and_asked(tokenizer):
    made = examples.rows(examples.read(TWELVE), TOOLS)
    assert [row["kind"] for row in made] == ["single"] * 11 + ["none"]
    encoded = masking.encode(made, tokenizer)
    written = tokenizer.decode([i for i, label in zip(encoded.ids[0], encoded.labels[0], strict=True) if label != -100])
    assert calls.parse(written) == [BOOK]
    assert generation.prompt(made[0]).endswith("<start_of_turn>model\n")


# --- the example that is shipped --------------------------------------------------------------------------------------


def test_the_studios_declarations_are_those_of_notebook_06s_functions():
    text = (ROOT / "notebooks" / "text" / "06_now_yours.py").read_text(encoding="utf-8")
    made: dict = {}
    exec(text[text.index("def book_wheel") :].split("\n# %%")[0], made)
    functions = [made[name] for name in ("book_wheel", "order_clay", "fire_kiln")]
    assert as_tools(functions).declarations == json.loads((STUDIO / "tools.json").read_text(encoding="utf-8"))


def test_the_shipped_example_is_whole_and_no_tool_of_it_is_known():
    tools = json.loads((STUDIO / "tools.json").read_text(encoding="utf-8"))
    listed = examples.read(STUDIO / "requests.csv")
    examples.check(listed, tools)
    assert len(listed) >= 30 and sum(not e.calls for e in listed) >= 4
    known = {name for tool in universe.read() for name in tool.names} | set(dataset.read_declarations())
    assert not known & {tool["function"]["name"] for tool in tools}
    said = {row["query"] for split in dataset.STORED for row in dataset.load(split)}
    assert not said & {e.request for e in listed}
