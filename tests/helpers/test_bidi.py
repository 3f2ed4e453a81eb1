"""Text direction, and the characters that break a call."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers import calls, dataset
from helpers.probes import bidi

BROKEN = "<start_function_call>call:pay\u200e{amount:٤٩٥٠٠،city:<escape>جـــدة<escape>}<end_function_call>"


def test_a_call_with_every_hazard_is_mended_and_read():
    with pytest.raises(calls.ParseError):
        calls.parse(BROKEN)
    assert calls.parse(bidi.mend_call(BROKEN)) == [calls.FunctionCall("pay", {"amount": 49500, "city": "جدة"})]
    assert {h.kind for h in bidi.hazards(BROKEN)} == {"bidi control", "tatweel", "digit", "punctuation"}


def test_hazards_name_place_and_character():
    (found,) = bidi.hazards("5 ٣")
    assert (found.position, found.character, found.kind) == (2, "٣", "digit") and "THREE" in found.name


def test_a_comma_inside_a_string_stays_and_digits_become_ascii():
    text = "<start_function_call>call:note{text:<escape>خبز، ٣ بيضات<escape>}<end_function_call>"
    assert calls.parse(bidi.mend_call(text))[0].arguments == {"text": "خبز، 3 بيضات"}


@pytest.mark.parametrize(
    ("written", "arguments"),
    [
        ("amount:<escape>٣٫٥<escape>", {"amount": "3.5"}),
        ("amount:<escape>١٬٢٥٠٫٧٥ ريال<escape>", {"amount": "1250.75 ريال"}),
        ("amount:<escape>٣، ٥<escape>", {"amount": "3، 5"}),
        ("amount:٣٫٥", {"amount": 3.5}),
        ("amount:\u221249500", {"amount": -49500}),
        ("amount:\u00a05,\u00a0city:<escape>a\u00a0b<escape>", {"amount": 5, "city": "a\u00a0b"}),
        ("a\u200bmount:5\u200b", {"amount": 5}),
    ],
)
def test_numbers_and_what_looks_like_nothing_are_mended(written, arguments):
    text = f"<start_function_call>call:pay{{{written}}}<end_function_call>"
    assert calls.parse(bidi.mend_call(text))[0].arguments == arguments
    assert bidi.mend_call(bidi.mend_call(text)) == bidi.mend_call(text)


def test_diacritics_and_letters_stay():
    assert bidi.mend("مُحَمَّد إِلى ة ى") == "مُحَمَّد إِلى ة ى"


@given(st.text())
def test_mending_twice_changes_nothing_more(text):
    once = bidi.mend_call(text)
    assert bidi.mend_call(once) == once
    assert bidi.hazards(bidi.mend(text)) == []


@pytest.mark.parametrize("split", ["test", "validation"])
def test_gold_calls_have_no_hazards_outside_their_strings(split):
    for row in dataset.load(split):
        if row["kind"] in ("single", "parallel"):
            gold = calls.serialize([calls.FunctionCall(c["name"], c["arguments"]) for c in json.loads(row["calls"])])
            assert calls.parse(bidi.mend_call(gold)), gold


def test_display_reorders_and_mirrors_while_the_text_stays():
    text = "{مدينة:جدة}"
    assert bidi.displayed(text, base="R") == "{" + "جدة"[::-1] + ":" + "مدينة"[::-1] + "}"
    assert bidi.displayed("(ab)", base="L") == "(ab)"
    assert bidi.displayed(text, base="R")[0] == "{" and text[-1] == "}"  # the closing brace is drawn first, mirrored


@given(st.text(alphabet="{}[]()<>:ab 12٣٤مدينةجء،\u200f", max_size=30), st.sampled_from([None, "L", "R"]))
def test_drawing_order_is_the_order_that_is_displayed(text, base):
    from bidi.mirror import MIRRORED

    order = bidi.drawing_order(text, base)
    drawn = bidi.displayed(text, base)
    assert len(order) == len(set(order)) == len(drawn)
    assert all(c in (text[i], MIRRORED.get(text[i])) for i, c in zip(order, drawn, strict=True))


def test_letters_take_the_shape_of_their_neighbourhood():
    import unicodedata

    def kinds(text):
        return [unicodedata.decomposition(c).split(" ")[0].strip("<>") for c in bidi.joined(text)]

    assert kinds("مدينة") == ["initial", "final", "initial", "medial", "final"]
    assert kinds("جدة") == ["initial", "final", "isolated"]
    assert kinds("ء ا") == ["isolated", "", "isolated"]
    assert bidi.joined("{a:") == ["{", "a", ":"] and bidi.joined("") == []
    assert unicodedata.normalize("NFKC", "".join(bidi.joined("كيف الطقس"))) == "كيف الطقس"


def test_isolates_do_not_survive_mending():
    assert bidi.mend(bidi.isolate("جدة")) == "جدة"


@pytest.mark.parametrize(
    ("text", "base", "drawn"),
    [
        (bidi.isolate("abc"), None, "abc"),
        (bidi.isolate("جدة"), None, "ةدج"),
        (f"city = {bidi.isolate('جدة!')} ok", "L", "city = !ةدج ok"),
        (f"مدينة {bidi.isolate('call:f{a:1}')} نعم", None, "معن call:f{a:1} ةنيدم"),
        ("a \u2067(b\u2069 c", "L", "a b) c"),
        (f"x {bidi.isolate('ا ' + bidi.isolate('b{'))} y", "L", "x b{ ا y"),
        ("a \u2068جد", "L", "a دج"),
        ("a\u2069b", None, "ab"),
    ],
)
def test_isolates_are_drawn_as_lines_of_their_own(text, base, drawn):
    assert bidi.displayed(text, base) == drawn
    order = bidi.drawing_order(text, base)
    assert sorted(order) == [i for i, c in enumerate(text) if c not in "\u2066\u2067\u2068\u2069"]


@given(st.text(st.characters(exclude_categories=("Cs", "Zl", "Zp", "Cc"))))
def test_any_line_is_drawn_and_alone_or_isolated_it_looks_the_same(line):
    drawn = bidi.displayed(line)
    assert len(drawn) == len(bidi.drawing_order(line)) <= len(line)
    if not set(line) & set(bidi.BIDI_CONTROLS):
        assert bidi.displayed(bidi.isolate(line)) == drawn
