"""Foreign text disarmed: attack strings in every disguise we know, and mixtures drawn by hypothesis."""

import re

from attacks import ATTACKS, INVISIBLE, TOKENS
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers import chat, control_tokens


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
