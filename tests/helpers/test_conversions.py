"""Rows of public sets: decoded, converted where the meaning is certain, else refused with a reason to count by."""

import datetime
import json

import pytest

from helpers import chat, dataset, schemas
from helpers.conversions import public_data
from helpers.errors import CourseError

TOOL = {
    "type": "function",
    "function": {
        "name": "f",
        "description": "d",
        "parameters": {
            "type": "object",
            "properties": {"a": {"type": "integer", "description": "x"}, "b": {"type": "string", "description": "y"}},
            "required": ["a"],
        },
    },
}
OTHER_TOOL = {"type": "function", "function": {"name": "g", "description": "e"}}
PARAMETERS = TOOL["function"]["parameters"]
USER = {"role": "user", "content": "س؟"}
REPLY = {"role": "assistant", "content": "تم"}


def call(arguments=None, name="f", **more):
    return {
        "type": "function",
        "function": {"name": name, "arguments": {"a": 1} if arguments is None else arguments},
    } | more


def asks(*calls, **more):
    return {"role": "assistant", "tool_calls": list(calls or [call()])} | more


def result(content="ok", **more):
    return {"role": "tool", "name": "f", "content": content} | more


def row(*messages, **more):
    return {
        "id": "x",
        "dialect": "MSA",
        "tools": [TOOL, OTHER_TOOL],
        "messages": list(messages or (USER, asks())),
    } | more


def adapted(given, **more):
    made = public_data.from_hub_row(given, **more)
    return made | {column: json.loads(made[column]) for column in ("messages", "tools", "calls")}


def reason(given, **more):
    """Why a row is refused, found between two good ones that are kept."""
    kept, refused = public_data.from_hub_rows([row(), given, row()], **more)
    assert len(kept) == 2 and sum(refused.values()) == 1, refused
    with pytest.raises(CourseError) as caught:
        public_data.from_hub_row(given, **more)
    assert "\n" not in str(caught.value) and "→" in str(caught.value) and str(caught.value).startswith("row ")
    return next(iter(refused))


# --- JSON text --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", [1, 2, 3])
@pytest.mark.parametrize("columns", [("tools",), ("messages",), ("tools", "messages"), ()])
def test_columns_and_arguments_may_be_json_text(columns, layers):
    plain = row()
    told = row(USER, asks(call(json.dumps({"a": 1}))))
    for _ in range(layers):
        told |= {column: json.dumps(told[column]) for column in columns}
    assert public_data.from_hub_row(told) == public_data.from_hub_row(plain)


@pytest.mark.parametrize("arguments", ["", " ", "null", "{}", None, '"{}"'])
def test_no_arguments_are_empty_ones(arguments):
    assert adapted(row(USER, asks(call(name="g") | {"function": {"name": "g", "arguments": arguments}})))["calls"] == [
        {"name": "g", "arguments": {}}
    ]


@pytest.mark.parametrize("split", dataset.STORED)
def test_the_courses_own_rows_come_back_as_they_are(split):
    for own in dataset.joined(dataset._read(split)[:40], dataset.read_declarations()):
        assert public_data.from_hub_row(own, split=split) == own


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ("{'a': 1}", "arguments are not a JSON object"),
        ("{'a': True}", "arguments are not a JSON object"),
        ("{a: 1}", "arguments are not a JSON object"),
        ("[1]", "arguments are not a JSON object"),
        ([1], "arguments are not a JSON object"),
        (7, "arguments are not a JSON object"),
        ('{"a": NaN}', "a number is NaN or infinite"),
        ('{"a": 1e999}', "a number is NaN or infinite"),
        ({"a": float("nan")}, "a number is NaN or infinite"),
        ({"a": [{"c": float("-inf")}]}, "a number is NaN or infinite"),
        ({"a": datetime.date(2026, 1, 1)}, "a value is of type date, which JSON does not have"),
        ({"a": datetime.datetime(2026, 1, 1)}, "a value is of type datetime, which JSON does not have"),
        ({"a": b"x"}, "a value is of type bytes, which JSON does not have"),
        ({1: 2}, "a key is no text"),
        ({"a": 1, "b": "\ud800"}, "text holds a lone surrogate, half a character"),
        ({"a": "1"}, "an argument is of another type than its tool declares"),
        ({"a": True}, "an argument is of another type than its tool declares"),
        ({"a": 1, "c": 2}, "a call has an argument that its tool does not declare"),
        ({"b": "x"}, "a call lacks an argument that its tool requires"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, why):
    assert reason(row(USER, asks(call(arguments)))) == why


# --- declarations -----------------------------------------------------------------------------------------------------

FLAT = TOOL["function"]


@pytest.mark.parametrize(
    "tool",
    [
        FLAT,
        {"type": "function", **FLAT},
        {"function": FLAT},
        json.dumps(TOOL),
        {"type": "function", "function": json.dumps(FLAT)},
        FLAT | {"parameters": json.dumps(PARAMETERS)},
        FLAT | {"parameters": {key: item for key, item in PARAMETERS.items() if key != "type"}},
        {"name": "f", "description": "d", "inputSchema": PARAMETERS},
        {"name": "f", "description": "d", "input_schema": PARAMETERS},
        {"type": "custom", "name": "f", "description": "d", "input_schema": PARAMETERS},
    ],
)
def test_declarations_of_other_forms(tool):
    (made,) = adapted(row(tools=[tool]))["tools"]
    assert made == TOOL


def with_parameters(properties, required=()):
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": "f", "parameters": parameters}}


@pytest.mark.parametrize(
    ("schema", "plain", "required"),
    [
        ({"type": ["integer", "null"]}, {"type": "integer"}, []),
        ({"type": ["null", "integer"]}, {"type": "integer"}, []),
        ({"type": ["integer"]}, {"type": "integer"}, ["a"]),
        ({"type": ["string", "null"], "enum": ["x", None]}, {"type": "string", "enum": ["x"]}, []),
        ({"type": "string", "enum": ["x", None]}, {"type": "string", "enum": ["x"]}, []),
        (
            {"type": "object", "properties": {"c": {"type": ["string", "null"]}}, "required": ["c"]},
            {"type": "object", "properties": {"c": {"type": "string"}}, "required": []},
            ["a"],
        ),
        (
            {"type": "array", "items": {"type": ["string", "null"]}},
            {"type": "array", "items": {"type": "string"}},
            ["a"],
        ),
    ],
)
def test_null_in_a_type_list_means_optional(schema, plain, required):
    value = {"object": {}, "integer": 1, "string": "x", "array": ["x"]}[plain["type"]]
    made = adapted(row(USER, asks(call({"a": value})), tools=[with_parameters({"a": schema}, ["a"])]))
    assert made["tools"] == [with_parameters({"a": plain}, required)]
    if not required:
        nothing = adapted(row(USER, asks(call({"a": None})), tools=[with_parameters({"a": schema}, ["a"])]))
        assert nothing["calls"] == [{"name": "f", "arguments": {}}]


@pytest.mark.parametrize("name", sorted(schemas.DROPPED_NAMES))
@pytest.mark.parametrize("nested", [False, True])
def test_names_that_the_template_drops_are_counted_by_name(name, nested):
    properties = {name: {"type": "string"}}
    if nested:
        properties = {"a": {"type": "array", "items": {"type": "object", "properties": properties}}}
    told = row(USER, asks(call({})), tools=[with_parameters(properties)])
    assert reason(told) == f"the template drops a parameter named {name}"


def test_renamed_tools_are_called_by_their_new_names():
    tools = [with_parameters({"type": {"type": "string"}})]
    made = adapted(row(USER, asks(call({"type": "x"})), result(), REPLY, tools=tools), rename=True)
    assert made["calls"] == [{"name": "f", "arguments": {"type_": "x"}}] and made["kind"] == "followup"
    assert made["messages"][2]["tool_calls"][0]["function"] == made["calls"][0]
    assert made["tools"] == [with_parameters({"type_": {"type": "string"}})]


@pytest.mark.parametrize(
    ("tools", "why"),
    [
        ([None, TOOL], "a tool is not a JSON object"),
        ([7], "a tool is not a JSON object"),
        (["f"], "a tool is not a JSON object"),
        ("[{'name': 'f'}]", "tools are not a JSON list"),
        ({"name": "f"}, "tools are not a JSON list"),
        (7, "tools are not a JSON list"),
        ([{"type": "web_search"}], "a tool is no function"),
        ([with_parameters({"a": {"type": ["integer", "string"]}})], "a declaration that cannot be read"),
        ([with_parameters({"a": {"type": ["null"]}})], "a declaration that cannot be read"),
        ([with_parameters({"a": 7})], "a declaration that cannot be read"),
        ([FLAT | {"parameters": {"a": {"type": "integer"}}}], "a declaration that cannot be read"),
        ([FLAT | {"parameters": {"type": "file", "properties": {}}}], "a declaration that cannot be read"),
        ([FLAT | {"parameters": [PARAMETERS]}], "parameters are no object schema"),
        ([{"function": {"description": "d"}}], "a declaration that cannot be read"),
        ([TOOL, TOOL], "a declaration that the template cannot hold"),
        ([with_parameters({"a b": {"type": "string"}})], "a declaration that cannot be read"),
        ([OTHER_TOOL], "a call of a tool that the row does not declare"),
        ([], "a call of a tool that the row does not declare"),
        (None, "a call of a tool that the row does not declare"),
    ],
)
def test_tools_that_cannot_be_used(tools, why):
    assert reason(row(tools=tools)) == why


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"sampled_tools": ["f"]}, ["f"]),
        ({"sampled_tools": json.dumps(["g", "f"])}, ["g", "f"]),
        ({"sampled_tools": [TOOL], "tools": [OTHER_TOOL]}, ["f"]),
        ({"sampled_tools": [json.dumps(TOOL)], "tools": None}, ["f"]),
        ({"sampled_tools": None}, ["f", "g"]),
        ({"sampled_tools": []}, ["f", "g"]),
    ],
)
def test_a_column_of_sampled_tools_is_what_the_row_shows(columns, names):
    assert [tool["function"]["name"] for tool in adapted(row(**columns))["tools"]] == names


def test_sampled_names_are_looked_up_in_the_table_and_must_be_declared():
    table = {"f": TOOL, "g": OTHER_TOOL}
    assert len(adapted(row(tools=None, sampled_tools=["g", "f"]), declarations=table)["tools"]) == 2
    for sampled, why in (
        (["f", "h"], "a sampled tool is not declared"),
        (["f", TOOL], "sampled tools are partly names, partly declarations"),
        ("f, g", "tools are not a JSON list"),
    ):
        assert reason(row(sampled_tools=sampled)) == why


def test_a_table_of_declarations_passes_over_what_is_none():
    rows = [row(), None, row(tools="{'x'"), row(tools=[None, 7, OTHER_TOOL]), row(tools=json.dumps([FLAT]))]
    assert public_data.declarations_of(rows) == {"f": TOOL, "g": OTHER_TOOL}


# --- dialects ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "dialect"),
    [
        ("MSA", "msa"), ("Modern Standard Arabic (MSA)", "msa"), ("فصحى", "msa"), (" Egyptian Arabic ", "egyptian"),
        ("مصري", "egyptian"), ("Khaleeji", "gulf"), ("اللهجة الخليجية", "gulf"), ("saudi dialect", "gulf"),
        ("LEVANTINE", "levantine"), ("Shami", "levantine"), ("Moroccan Darija", "maghrebi"), ("maghrebi", "maghrebi"),
        ("Klingon", "other"), ("Sudanese", "other"), ("Iraqi Arabic", "other"), ("non-MSA", "other"), ("", "other"),
        ("Gulf/Egyptian", "other"), ("Arabic", "other"), (None, "other"), (3, "other"), (float("nan"), "other"),
        (["msa"], "other"),
    ],
)  # fmt: skip
def test_any_label_of_a_dialect(label, dialect):
    made = public_data.from_hub_row(row(dialect=label))
    assert made["dialect"] == dialect
    dataset.validate(made)


# --- conversations ----------------------------------------------------------------------------------------------------


def turns(made):
    return [(m["role"], m.get("content"), len(m.get("tool_calls", []))) for m in made["messages"]]


DEVELOPER = ("developer", chat.DEVELOPER_PROMPT, 0)
ASKED = ("user", "س؟", 0)


@pytest.mark.parametrize(
    ("messages", "kind", "calls", "told"),
    [
        ((USER, asks()), "single", 1, [ASKED, ("assistant", None, 1)]),
        ((USER, asks(call(), call({"a": 2}))), "parallel", 2, [ASKED, ("assistant", None, 2)]),
        ((USER, REPLY), "none", 0, [ASKED, ("assistant", "تم", 0)]),
        ((USER, REPLY, USER, asks()), "single", 1, [ASKED, ("assistant", "تم", 0), ASKED, ("assistant", None, 1)]),
        (
            (USER, asks(), result(), REPLY), "followup", 1,
            [ASKED, ("assistant", None, 1), ("tool", "ok", 0), ("assistant", "تم", 0)],
        ),
        (
            (USER, asks(), result(), REPLY, USER, asks(call({"a": 2}), call({"a": 3}))), "parallel", 2,
            [ASKED, ("assistant", None, 1), ("tool", "ok", 0), ("assistant", "تم", 0), ASKED, ("assistant", None, 2)],
        ),
        ((USER, asks(content="لحظة")), "single", 1, [ASKED, ("assistant", "لحظة", 1)]),
        ((USER, asks(), result({"n": 3}), asks(call({"a": 2}))), "single", 1,
         [ASKED, ("assistant", None, 1), ("tool", {"n": 3}, 0), ("assistant", None, 1)]),
    ],
)  # fmt: skip
def test_conversations_are_kept_whole(messages, kind, calls, told):
    made = adapted(row(*messages))
    assert (made["kind"], len(made["calls"])) == (kind, calls) and turns(made) == [DEVELOPER, *told]
    if kind in ("single", "parallel"):  # what is judged is the last turn
        assert made["calls"] == [c["function"] for c in made["messages"][-1]["tool_calls"]]
    assert made["reply"] == (messages[-1].get("content", "") if kind in ("none", "followup") else "")
    assert made["query"] == "س؟"  # the last request: earlier turns are in the messages, as in the course's own rows


@pytest.mark.parametrize("role", ["system", "developer"])
@pytest.mark.parametrize(
    ("prompt", "head"),
    [
        ("التاريخ 2026", f"التاريخ 2026\n{chat.DEVELOPER_PROMPT}"),
        (chat.DEVELOPER_PROMPT, chat.DEVELOPER_PROMPT),
        (f"x\n{chat.DEVELOPER_PROMPT}", f"x\n{chat.DEVELOPER_PROMPT}"),
        ("", chat.DEVELOPER_PROMPT),
        (None, chat.DEVELOPER_PROMPT),
    ],
)
def test_a_system_prompt_is_kept_before_the_developers(role, prompt, head):
    made = adapted(row({"role": role, "content": prompt}, USER, asks()))
    assert turns(made) == [("developer", head, 0), ASKED, ("assistant", None, 1)]


@pytest.mark.parametrize(
    "messages",
    [
        (USER, {"role": "assistant", "function_call": {"name": "f", "arguments": '{"a": 1}'}}),
        (
            USER,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": None,
                "function_call": {"name": "f", "arguments": {"a": 1}},
            },
        ),
        (USER, {"role": "model", "tool_calls": [{"name": "f", "arguments": '{"a": 1, "b": null}'}]}),
        (USER, {"role": "assistant", "tool_calls": json.dumps([call()])}),
        (USER, asks(call(id="c1", index=0))),
        ({"role": "user", "content": [{"type": "text", "text": "س"}, {"type": "text", "text": "؟"}]}, asks()),
        ({"role": "user", "content": [{"text": "س؟"}]}, asks()),
        ({"role": "user", "content": ["س", "؟"]}, asks()),
        (
            {"role": "user", "content": [{"type": "text", "text": "س؟", "image_url": None}], "name": None},
            asks(content=[]),
        ),
    ],
)
def test_messages_of_other_clients(messages):  # fmt: skip
    assert public_data.from_hub_row(row(*messages)) == public_data.from_hub_row(row())


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (result({"degrees": 31, "sky": {"is": ["clear"]}}), {"degrees": 31, "sky": {"is": ["clear"]}}),
        (result('{"degrees": 31}'), '{"degrees": 31}'),
        (result(31), 31),
        (result(False), False),
        (result([{"type": "text", "text": "o"}, {"type": "text", "text": "k"}]), "ok"),
        (result({"name": "f", "response": {"n": 1}}), {"n": 1}),
        ({"role": "tool", "content": {"name": "f", "response": "ok"}}, "ok"),
        ({"role": "tool", "tool_call_id": "c1", "content": "ok"}, "ok"),
        ({"role": "tool", "name": None, "content": "ok"}, "ok"),
        ({"role": "function", "name": "f", "content": "ok"}, "ok"),
    ],
)
def test_results_are_kept_under_the_name_of_the_call(message, content):
    made = adapted(row(USER, asks(call(id="c1")), message, REPLY))
    assert made["messages"][3] == {"role": "tool", "name": "f", "content": content} and made["kind"] == "followup"
    if isinstance(message["content"], dict | list):
        texts = json.dumps([USER, asks(call(id="c1")), message, REPLY])
        assert adapted(row(messages=texts))["messages"] == made["messages"]


def test_results_of_parallel_calls_are_told_apart_by_their_ids():
    both = asks(call(id="c1"), call({}, "g", id="c2"))
    made = adapted(row(USER, both, *({"role": "tool", "tool_call_id": c, "content": c} for c in ("c2", "c1")), REPLY))
    assert [(m["name"], m["content"]) for m in made["messages"][3:5]] == [("g", "c2"), ("f", "c1")]
    assert reason(row(USER, both, {"role": "tool", "content": "?"}, REPLY)) == (
        "a result does not say whose call it answers"
    )


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ((USER,), "neither a call nor a reply"),
        ((USER, {"role": "assistant", "content": None}), "neither a call nor a reply"),
        ((USER, {"role": "assistant", "content": " "}), "neither a call nor a reply"),
        ((USER, asks(), result(), REPLY, USER), "neither a call nor a reply"),
        (({"role": "user", "content": None}, asks()), "no query"),
        (({"role": "user"}, asks()), "no query"),
        ((asks(),), "no query"),
        ((USER, asks(), result()), "the conversation ends with a result"),
        ((USER, asks(), REPLY), "a call has no result before the next turn"),
        ((USER, asks(), USER, REPLY), "a call has no result before the next turn"),
        ((USER, result(), REPLY), "a result without a call"),
        ((USER, asks(), result(), REPLY, result(), REPLY), "a result without a call"),
        ((USER, asks(), result(name="g"), REPLY), "a result of a function that was not called"),
        ((USER, asks(), result(None), REPLY), "a result is empty"),
        ((USER, asks(), result({}), REPLY), "a result is empty"),
        ((USER, asks(), result([1, 2]), REPLY), "a result is a list"),
        ((USER, asks(), result(float("nan")), REPLY), "a number is NaN or infinite"),
        ((USER, asks(), result(datetime.date(2026, 1, 1)), REPLY), "a value is of type date, which JSON does not have"),
        ((USER, {"role": "system", "content": "x"}, REPLY), "a system prompt after the first turn"),
        (({"content": "x"}, REPLY), "a message has no known role"),
        (({"role": None, "content": "x"}, REPLY), "a message has no known role"),
        (({"role": "critic", "content": "x"}, REPLY), "a message has no known role"),
        (({"role": ["user"], "content": "x"}, REPLY), "a message has no known role"),
        (({"role": "user", "content": "x", "tool_calls": [call()]}, REPLY), "a call in a turn that is not the model's"),
        ((None, REPLY), "a message is not a JSON object"),
        (("hello", REPLY), "a message is not a JSON object"),
        (({"role": "user", "content": 7}, REPLY), "a content is neither text nor parts"),
        (({"role": "user", "content": [7]}, REPLY), "a content holds a part that is no text"),
        (({"role": "user", "content": [{"type": "text", "text": 7}]}, REPLY), "a content holds a part that is no text"),
        (
            ({"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "image_url"}]}, REPLY),
            "a content holds a part of type image_url",
        ),
        (({"role": "user", "content": [{"type": "image"}]}, REPLY), "a content holds a part of type image"),
        (
            (USER, {"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"a": 1}}]}),
            "a content holds a part of type tool_use",
        ),
        (({"role": "user", "content": [{"type": "tool_result", "content": "x"}]}, REPLY),
         "a content holds a part of type tool_result"),
        ((USER, REPLY | {"reasoning_content": "because"}), "a message holds reasoning_content"),
        ((USER | {"images": ["x.png"]}, REPLY), "a message holds images"),
        ((USER, REPLY | {"refusal": "no"}), "a message holds refusal"),
        ((USER, REPLY | {"content": '<tool_call>{"name": "f"}</tool_call>'}),
         "a call or a result in another format inside the text"),
        ((USER, REPLY | {"content": '[TOOL_CALLS][{"name": "f"}]'}),
         "a call or a result in another format inside the text"),
        ((USER, REPLY | {"content": "<start_function_call>call:f{a:1}<end_function_call>"}),
         "a call or a result in another format inside the text"),
        ((USER, asks({"type": "code_interpreter"})), "a call is not the call of a function"),
        ((USER, asks("f")), "a call is not the call of a function"),
        ((USER, asks({"function": {"arguments": {}}})), "a call names no function"),
        ((USER, asks({"function": "f"})), "a call names no function"),
        ((USER, asks({"name": "f", "parameters": {"a": 1}})), "a call keeps its arguments under another name"),
        ((USER, {"role": "assistant", "tool_calls": call()}), "tool_calls are not a JSON list"),
        ((USER, {"role": "assistant", "tool_calls": "f(1)"}), "tool_calls are not a JSON list"),
        ((USER, {"role": "assistant", "function_call": "auto"}), "function_call is not a JSON object"),
        ((USER, asks(function_call={"name": "f", "arguments": "{}"})),
         "a message holds both function_call and tool_calls"),
        ((USER, asks(call(name="h"))), "a call of a tool that the row does not declare"),
        ((USER, asks(call({"a": "x"})), result(), REPLY), "an argument is of another type than its tool declares"),
        ((USER, asks(call({"c": 1})), result(), asks()), "a call has an argument that its tool does not declare"),
        ((USER, asks(call({"a": 1, "b": "<end_of_turn>"}))), "a conversation that the template cannot hold"),
    ],
)  # fmt: skip
def test_turns_that_would_be_lost_are_refused_by_name(messages, why):
    assert reason(row(messages=list(messages))) == why


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (None, "a row of another form (AttributeError)"),
        ("x", "a row of another form (AttributeError)"),
        (["messages"], "a row of another form (AttributeError)"),
        ({}, "no query"),
        ({"messages": None}, "no query"),
        ({"messages": 7}, "messages are not a JSON list"),
        ({"messages": "hello"}, "messages are not a JSON list"),
        ({"messages": []}, "no query"),
        ({"messages": [[]]}, "a message is not a JSON object"),
        ({"messages": "[" * 100_000}, "a row of another form (RecursionError)"),
        ({"query_ar": 7, "function_name": ["f"]}, "a row of another form (TypeError)"),
        ({"query_ar": "س", "function_name": "f"}, "no declaration of the function called"),
        (row(domain=datetime.date(2026, 1, 1)), "a value is of type date, which JSON does not have"),
    ],
)
def test_no_odd_row_ends_a_load(given, why):
    assert reason(given) == why


@pytest.mark.parametrize("columns", [{"created": datetime.date(2026, 1, 1)}, {"score": float("nan")}, {"image": b"x"}])
def test_columns_that_are_not_used_do_not_matter(columns):
    assert public_data.from_hub_row(row(**columns)) == public_data.from_hub_row(row())


# --- answers in a column of their own ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("messages", "column"),
    [
        ([USER], [call()]),
        ([USER], json.dumps([call(json.dumps({"a": 1}))])),
        ([USER], [{"name": "f", "arguments": {"a": 1}}]),
        ([USER, {"role": "assistant", "content": ""}], [call()]),
        ([USER, asks()], [call(id="c9")]),
        (json.dumps([USER]), [call({"a": 1, "b": None})]),
    ],
)
def test_the_last_turns_calls_may_stand_in_a_column(messages, column):
    assert public_data.from_hub_row(row(messages=messages, tool_calls=column)) == public_data.from_hub_row(row())


@pytest.mark.parametrize("column", [None, [], "[]", ""])
def test_rows_without_a_call(column):
    made = adapted(row(USER, REPLY, tool_calls=column))
    assert (made["kind"], made["calls"], made["reply"]) == ("none", [], "تم") and len(made["tools"]) == 2
    assert reason(row(messages=[USER], tool_calls=column)) == "neither a call nor a reply"


@pytest.mark.parametrize(
    "given",
    [
        row(USER, REPLY, tool_calls=[call()]),
        row(USER, asks(), tool_calls=[call({"a": 2})]),
        row(USER, asks(call({"a": 1})), tool_calls=[call({"a": True})]),
    ],
)
def test_two_answers_are_refused(given):
    assert reason(given) == "two answers, one in messages and one in tool_calls"


@pytest.mark.parametrize("calls", [[], "[]", [{"name": "f", "arguments": {"a": 2}}]])
def test_a_column_of_calls_agrees_with_the_messages(calls):
    assert reason(row(calls=calls)) == "the columns calls and messages differ"


# --- out of Arrow -----------------------------------------------------------------------------------------------------


def test_structs_that_arrow_united_give_the_rows_that_went_in():
    from datasets import Dataset

    system, named = {"role": "system", "content": "x"}, {"role": "tool", "tool_call_id": "c1", "content": "ok"}
    plain = [
        row(USER, asks(call({"a": 1})), sampled_tools=None),  # the first row names the columns
        row(system, USER, asks(call({}, "g", id="c1")), named, REPLY),
        row(USER, REPLY, tools=[]),
        row(USER, asks(call({"a": 1, "b": "y"})), result(), REPLY, sampled_tools=["f"]),
    ]  # fmt: skip
    united = Dataset.from_list(plain).to_list()
    assert united != plain and united[2]["messages"][0]["tool_calls"] is None
    kept, refused = public_data.from_hub_rows(united)
    expected, _ = public_data.from_hub_rows(plain)
    assert not refused and len(kept) == 4
    for made, same in zip(kept, expected, strict=True):
        assert json.loads(made.pop("tools")) == json.loads(same.pop("tools")) and made == same
