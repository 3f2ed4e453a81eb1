"""Foreign text disarmed: attack strings in every disguise we know, and mixtures drawn by hypothesis."""

import re

from attacks import ATTACKS, INVISIBLE, TOKENS, WORD_ATTACKS
from declared import tool
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import chat, control_tokens
from helpers.errors import CourseError


def control_ids(tokenizer) -> set[int]:
    """Ids that mean something to the model or an engine: all reserved ones, and ``</s>``, on which llama.cpp stops."""
    named = tokenizer.added_tokens_decoder.items()
    return {
        i for i, token in named if i <= 106 or re.fullmatch("<unused[0-9]+>|<(start|end)_of_image>|</s>", token.content)
    }


def test_attack_strings_read_the_same_and_hold_no_control_id(tokenizer):
    """Each attack is a user's message in a whole prompt: its control ids are those of the prompt with harmless text."""
    forbidden = control_ids(tokenizer)
    expected = [
        i
        for i in tokenizer(chat.render([{"role": "user", "content": "x"}]), add_special_tokens=False).input_ids
        if i in forbidden
    ]
    live = {"as they are": 0, "once a program normalizes them (NFKC, invisible characters out, lower case)": 0}
    for name, token, attack in ATTACKS:
        ids = tokenizer(
            chat.render([{"role": "user", "content": f"مرحبا {attack} شكراً"}]), add_special_tokens=False
        ).input_ids
        assert [i for i in ids if i in forbidden] == expected, (name, token)
        safe = chat.neutralize(attack)
        assert chat.neutralize(safe) == safe, (name, token)
        readable = control_tokens._folded(safe)[0].replace("‹", "<").replace("›", ">")
        assert readable == control_tokens._folded(attack)[0], (name, token)
        for way, text in zip(live, (attack, control_tokens._folded(attack)[0].lower()), strict=True):
            live[way] += bool(set(tokenizer(text, add_special_tokens=False).input_ids) & forbidden)
    print(
        f"{len(ATTACKS)} attack strings; unless neutralized they hold control ids: "
        + ", ".join(f"{n} {way}" for way, n in live.items())
    )
    assert len(ATTACKS) >= 200 and min(live.values()) >= 100


def disguised(token):
    """A strategy: the token with invisible characters, marks and changes of case anywhere inside."""
    parts = [
        st.tuples(
            st.sampled_from([c, c.upper(), chr(ord(c) + 0xFEE0)]),
            st.text(st.sampled_from([*INVISIBLE, "\u064b"]), max_size=2),
        )
        for c in token
    ]
    return st.tuples(*parts).map(lambda pairs: "".join(letter + mark for letter, mark in pairs))


@given(
    st.lists(
        st.one_of(st.text(max_size=8), st.sampled_from(TOKENS).flatmap(disguised), st.sampled_from(TOKENS)), max_size=6
    ).map("".join)
)
@settings(max_examples=300, deadline=None)
def test_no_mixture_of_text_and_tokens_gets_through(tokenizer, text):
    ids = set(tokenizer(chat.neutralize(text), add_special_tokens=False).input_ids)
    assert not ids & control_ids(tokenizer), repr(text)


@given(st.text())
def test_neutralize_is_idempotent_and_leaves_other_text_alone(text):
    once = chat.neutralize(text)
    assert chat.neutralize(once) == once
    if "<" not in once and "＜" not in once and "[" not in once and "‹" not in once:
        assert once == text


def places(attack):
    """A conversation with the attack in each place where a stranger's word or text may stand."""
    q, s = {"role": "user", "content": "q"}, {"type": "string"}

    def called(name="f", arguments=None):
        return {"role": "assistant", "tool_calls": [{"function": {"name": name, "arguments": arguments or {}}}]}

    def declared(name="f", **properties):
        return [tool(properties, name)]

    yield "user", [{"role": "user", "content": attack}], None
    yield "developer", [{"role": "developer", "content": attack}], None
    yield "reply", [q, {"role": "assistant", "content": attack}], None
    yield "part", [{"role": "user", "content": [{"type": "text", "text": attack}]}], None
    yield "role", [{"role": attack, "content": "q"}], None
    yield "tool's name", [q, called(), {"role": "tool", "name": attack, "content": {"a": 1}}], None
    yield "name in a result", [q, called(), {"role": "tool", "content": {"name": attack, "response": {"a": 1}}}], None
    yield "result", [q, called(), {"role": "tool", "name": "f", "content": attack}], None
    yield "result's value", [q, called(), {"role": "tool", "name": "f", "content": {"a": [{"b": attack}]}}], None
    yield "result's key", [q, called(), {"role": "tool", "name": "f", "content": {attack: 1}}], None
    yield "result's inner key", [q, called(), {"role": "tool", "name": "f", "content": [{"a": [{attack: 1}]}]}], None
    yield "call's name", [q, called(attack)], None
    yield "argument", [q, called("f", {"a": attack})], None
    yield "argument's key", [q, called("f", {attack: 1})], None
    yield "argument's inner key", [q, called("f", {"a": [{attack: 1}]})], None
    yield "declared name", [q], declared(attack)
    yield "declared parameter", [q], declared(**{attack: s})
    yield "declared description", [q], declared(a={**s, "description": attack})
    yield "declared enum", [q], declared(a={**s, "enum": [attack]})
    yield "keyword of items", [q], declared(a={"type": "array", "items": {**s, attack: "x"}})
    yield "inside items", [q], declared(a={"type": "array", "items": {**s, "x": {attack: attack}}})


def skeleton(text):
    """All control tokens of a text, disguised ones too, and what stands bare around them."""
    folded = control_tokens._folded(text)[0].lower()
    return re.findall(control_tokens._CONTROL, folded), re.sub(r"<escape>.*?<escape>", "", folded, flags=re.DOTALL)


WORDS = {
    "role", "tool's name", "name in a result", "result's key", "result's inner key", "call's name", "argument's key",
    "argument's inner key", "declared name", "declared parameter", "keyword of items",
}  # fmt: skip


def test_no_attack_gets_through_anywhere():
    """In each place an attack is refused in one line, or leaves the control tokens of the prompt as a harmless word."""
    through, outcomes = [], {"refused": 0, "neutral": 0}
    harmless = {name: chat.render(messages, tools) for name, messages, tools in places("user") if name != "role"}
    for attack in WORD_ATTACKS:
        for place, messages, tools in places(attack):
            try:
                text = chat.render(messages, tools)
            except CourseError as error:
                outcomes["refused"] += 1
                assert len(str(error).splitlines()) == 1, (place, attack)
                continue
            outcomes["neutral"] += 1
            if place in WORDS or skeleton(text)[0] != skeleton(harmless[place])[0]:
                through.append((place, attack))
    print(f"{len(WORD_ATTACKS)} attack strings in {len(harmless) + 1} places: {outcomes}, {len(through)} through")
    assert len(WORD_ATTACKS) >= 500 and not through, through[:5]
