"""Round trips for any arguments, and a reason with a position for everything that is no call."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import dataset, schemas
from helpers.calls import FunctionCall, ParseError, grammar, parse, serialize
from helpers.chat import CONTROL_TOKENS
from helpers.errors import CourseError

plain = st.text().filter(lambda s: not any(token in s for token in CONTROL_TOKENS))
keys = st.from_regex(r"[^\W\d]\w{0,8}", fullmatch=True)
scalars = (
    plain
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4), max_leaves=12
)
many = st.lists(st.builds(FunctionCall, keys, st.dictionaries(keys, values, max_size=5)), min_size=1, max_size=3)


@given(many)
@settings(max_examples=300)
def test_round_trip(calls):
    text = serialize(calls)
    assert parse(text) == calls
    assert parse(text + "<start_function_response>") == calls
    assert parse("حسناً، " + text + "<end_of_turn>\n") == calls


def test_types_stay_apart():
    (call,) = parse(
        "<start_function_call>call:f{a:<escape>0501234567<escape>,b:5,c:5.0,d:true,e:null,g:None,"
        "h:<escape><escape>}<end_function_call>"
    )
    assert call.arguments == {"a": "0501234567", "b": 5, "c": 5.0, "d": True, "e": None, "g": None, "h": ""}
    assert (
        isinstance(call.arguments["b"], int) and isinstance(call.arguments["c"], float) and call.arguments["d"] is True
    )


def test_serialize_writes_what_the_template_writes(shared):
    for line in (shared / "golden" / "functiongemma_rendering.jsonl").read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        for message in case["messages"]:
            if message.get("tool_calls"):
                calls = [FunctionCall(c["function"]["name"], c["function"]["arguments"]) for c in message["tool_calls"]]
                assert serialize(calls) in case["rendered"], case["name"]
                assert parse(serialize(calls)) == calls


@pytest.mark.parametrize("text", ["", "مرحبا", "no call {a:1}", "reply<end_of_turn>\n", "call:f{}", "text<eos>"])
def test_text_without_control_tokens_is_no_call(text):
    assert parse(text) == []


C, E = "<start_function_call>", "<end_function_call>"


@pytest.mark.parametrize(
    "end",
    [
        "<start_function_response><start_function_response>",
        "<start_function_response><eos><pad><pad>",
        "<end_of_turn>\n<pad> <pad>\n",
        "<pad>",
        " <eos> <end_of_turn> ",
    ],
)
def test_several_stops_and_padding_end_a_turn(end):
    assert parse(f"{C}call:f{{a:1}}{E}{end}") == [FunctionCall("f", {"a": 1})]
    assert parse(f"مرحبا{end}") == [] and parse(end) == []
    with pytest.raises(ParseError, match="text after a call|stray control token"):
        parse(f"{C}call:f{{a:1}}{E}{end}x")


def test_a_million_stops_take_no_time():
    assert parse(f"{C}call:f{{}}{E}" + "<eos> <pad>" * 100_000) == [FunctionCall("f", {})]


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        (f"{C}call:f{{a:1,a:2}}{E}", 32, "stands twice"),
        (f"{C}call:f{{a:جدة}}{E}", 30, "expected a value"),
        (f"{C}call:f{{a:<escape>x}}{E}", 40, "inside a string"),
        (f"{C}call:f{{a:<escape>x", 30, "never closed"),
        (f"{C}call:f{{a:1 b:2}}{E}", 31, "expected ,"),
        (f"{C}call:f{{a:1,}}{E}", 32, "expected a key"),
        (f"{C}call:f{{a}}{E}", 29, "expected :"),
        (f"{C}call:f{{}}", 29, "the end"),
        (f"{C}call:f{{}}{E}{E}", 48, "stray control token"),
        (f"{E}", 0, "stray control token"),
        (f"{C}call:f{{}}{E} text", 49, "text after a call"),
        (f"{C}f{{}}{E}", 21, "expected call:"),
        (f"{C}call:{{}}{E}", 26, "function name"),
        (f"{C}call:f{{a:007}}{E}", 30, "expected a value"),
        (f"{C}call:f{{a:1e999}}{E}", 30, "out of range"),
        (f"{C}call:f{{a:{'9' * 5000}}}{E}", 30, "more than"),
        (f"{C}call:f{{a:{'[' * 5000}", 93, "nested deeper"),
        ("x<start_of_turn>user", 1, "stray control token"),
    ],
)
def test_a_fault_has_a_position_and_a_reason(text, position, reason):
    with pytest.raises(ParseError) as caught:
        parse(text)
    assert (caught.value.position, reason in caught.value.reason) == (position, True), caught.value


tokens = st.sampled_from(
    [*CONTROL_TOKENS, "call:", "f", "{", "}", "[", "]", ",", ":", "a", "1", "-", ".5", "true", "None", " ", "\n", "جدة"]
)


@given(st.lists(tokens, max_size=40).map("".join))
@settings(max_examples=500)
def test_any_text_gives_calls_or_a_parse_error(text):
    try:
        found = parse(text)
    except ParseError as error:
        assert 0 <= error.position <= len(text) and error.reason
    else:
        assert parse(serialize(found)) == found


@pytest.mark.parametrize("token", sorted(CONTROL_TOKENS))
def test_a_string_with_a_control_token_is_refused(token):
    with pytest.raises(ParseError, match="control token"):
        serialize([FunctionCall("f", {"a": f"x{token}y"})])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"bad key": 1}, object(), 10**500])
def test_what_cannot_be_read_back_is_refused(value):
    with pytest.raises(ParseError):
        serialize([FunctionCall("f", {"a": value})])


def test_a_parse_error_is_a_course_error():
    assert issubclass(ParseError, CourseError)


# --- grammar ----------------------------------------------------------------------------------------------------------


def as_regex(gbnf: str) -> re.Pattern:
    """A grammar without recursion as a regular expression, so that membership can be asked without llama.cpp."""
    rules = dict(line.split(" ::= ", 1) for line in gbnf.strip().splitlines())
    token = re.compile(r'"(?:[^"\\]|\\.)*"|<\w+>|\[\^?[^\]]+\]|\{[\d,]+\}|[a-z][a-z0-9-]*|[()|?*+]')

    def expand(rule: str) -> str:
        out = ""
        for piece in token.findall(rule):
            if piece.startswith('"'):
                text = re.sub(r"\\U([0-9a-f]{8})", lambda m: chr(int(m.group(1), 16)), piece[1:-1])
                out += f"(?:{re.escape(text)})"
            elif piece.startswith("<"):
                out += f"(?:{re.escape(piece)})"
            elif piece[0].isalpha():
                out += f"(?:{expand(rules[piece])})"
            else:
                out += "(?:" if piece == "(" else piece
        return out

    return re.compile(expand(rules["root"]), re.DOTALL)


@pytest.mark.parametrize("split", ["test", "test_unseen_tools"])
def test_the_grammar_holds_every_gold_call(split):
    for row in dataset.load(split).select(range(300)):
        gold = [FunctionCall(c["name"], c["arguments"]) for c in json.loads(row["calls"])]
        text = serialize(gold) if gold else row["reply"]
        assert as_regex(grammar(json.loads(row["tools"]))).fullmatch(text), text


TOOL = {
    "type": "function",
    "function": {
        "name": "pay",
        "description": "",
        "parameters": {
            "type": "object",
            "required": ["city"],
            "properties": {
                "city": {"type": "string"},
                "amount": {"type": "integer"},
                "kind": {"type": "string", "enum": ["water", "غاز"]},
                "tags": {"type": "array", "items": {"type": "string"}},
            },
        },
    },
}


@pytest.mark.parametrize("body, holds", [
    ("call:pay{city:<escape>جدة<escape>}", True),
    ("call:pay{amount:5,city:<escape><escape>}", True),
    ("call:pay{city:<escape>a<escape>,kind:<escape>غاز<escape>,tags:[<escape>a<escape>,<escape>b<escape>]}", True),
    ("call:pay{city:<escape>a<escape>,tags:[]}", True),
    ("call:pay{}", False),
    ("call:pay{amount:5}", False),
    ("call:pay{city:<escape>a<escape>,amount:5}", False),
    ("call:pay{city:<escape>a<escape>,kind:<escape>gas<escape>}", False),
    ("call:pay{amount:<escape>5<escape>,city:<escape>a<escape>}", False),
    ("call:pay{amount:05,city:<escape>a<escape>}", False),
    ("call:pay{city:a}", False),
    ("call:sell{city:<escape>a<escape>}", False),
])  # fmt: skip
def test_the_grammar_asks_for_what_the_declaration_asks_for(body, holds):
    text = f"<start_function_call>{body}<end_function_call>"
    found = as_regex(grammar([TOOL])).fullmatch(text) is not None
    assert found == holds
    if holds:
        assert parse(text)


@pytest.mark.parametrize(
    ("schema", "holding", "refused"),
    [
        ({"type": "integer", "enum": [1, 20]}, ["1", "20"], ["2", "12", "<escape>1<escape>"]),
        ({"type": "integer", "enum": [-3, None]}, ["-3"], ["3", "null", "None"]),
        ({"type": "number", "enum": [0.5, 2]}, ["0.5", "2"], ["0.52", "5"]),
        ({"type": "boolean", "enum": [True]}, ["true"], ["false", "True"]),
        ({"type": "array", "items": {"type": "integer", "enum": [1, 2]}}, ["[]", "[1,2,1]"], ["[3]", "[1,]"]),
        ({"type": ["string", "null"]}, ["<escape>x<escape>"], ["null", "5"]),
        ({"type": "object"}, ["{}"], ["{a:1}"]),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, ["{}", "{a:1,مدينة:2}"],
         ["{a:<escape>x<escape>}", "{1:1}", "{a:1,}"]),
        ({"type": "object", "additionalProperties": True}, ["{}", "{a:1,b:<escape>x<escape>,c:true}"],
         ["{a:{}}", "{,}"]),
        ({"type": "object", "additionalProperties": {"type": "array", "items": {"type": "string", "enum": ["x"]}}},
         ["{k_1:[<escape>x<escape>]}"], ["{k:[<escape>y<escape>]}", "{k:<escape>x<escape>}"]),
        ({"type": "object", "additionalProperties": {"type": "object", "properties": {"n": {"type": "integer"}}}},
         ["{k:{n:1},l:{}}"], ["{k:{m:1}}", "{k:1}"]),
    ],
)  # fmt: skip
def test_the_grammar_writes_enums_and_maps_as_declared(schema, holding, refused):
    """And what it allows fits the schema, what it refuses does not (or cannot be read)."""
    parameters = {"type": "object", "properties": {"a": schema}}
    pattern = as_regex(grammar([{"function": {"name": "f", "parameters": parameters}}]))
    for value in (*holding, *refused):
        text = f"{C}call:f{{a:{value}}}{E}"
        assert (pattern.fullmatch(text) is not None) == (value in holding), value
    for value in holding:
        assert schemas.schema_fault("f", parse(f"{C}call:f{{a:{value}}}{E}")[0].arguments, parameters) is None


@pytest.mark.parametrize("word", ["anyOf", "oneOf", "$ref", "const"])
def test_the_grammar_names_what_it_has_no_form_for(word):
    inner = {"$ref": "#/$defs/A"} if word == "$ref" else {word: [{"type": "string"}]}
    parameters = {"$defs": {"A": {"type": "string"}}, "properties": {"a": inner}}
    with pytest.raises(CourseError, match=re.escape(f"no form for a value declared by {word}")):
        grammar([{"function": {"name": "f", "parameters": parameters}}])


def test_the_grammar_of_no_tools_is_text():
    assert as_regex(grammar([])).fullmatch("أهلا") and not as_regex(grammar([])).fullmatch("")


def test_an_unknown_schema_type_is_named():
    with pytest.raises(CourseError, match="'date'"):
        grammar([{"function": {"name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "date"}}}}}])


def test_nested_objects_and_optional_keys():
    tool = {
        "function": {
            "name": "f",
            "parameters": {
                "type": "object",
                "properties": {
                    "a": {
                        "type": "object",
                        "required": ["x"],
                        "properties": {"x": {"type": "number"}, "y": {"type": "boolean"}},
                    },
                    "b": {"type": "integer"},
                },
            },
        }
    }
    pattern = as_regex(grammar([tool]))
    for body in ("{}", "{a:{x:-1.5}}", "{a:{x:0,y:true},b:3}", "{b:3}"):
        assert pattern.fullmatch(f"<start_function_call>call:f{body}<end_function_call>"), body
    assert not pattern.fullmatch("<start_function_call>call:f{b:3,a:{x:1}}<end_function_call>")
