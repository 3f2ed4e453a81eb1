"""What notebook 00 shows: no text becomes markup, control tokens stand out, counts are those of the ledger."""

import re

from helpers import claims
from helpers.control_tokens import CONTROL_TOKENS
from helpers.figures import notebook_00
from helpers.generation import Generation


def test_control_tokens_are_marked_and_nothing_becomes_markup():
    text = "<start_function_call>call:f{city:<escape>جدة<escape>}<end_function_call><b>bold</b>"
    drawn = notebook_00.marked(text)
    assert drawn.count("border-bottom") == sum(text.count(token) for token in CONTROL_TOKENS) == 4
    assert "&lt;b&gt;bold&lt;/b&gt;" in drawn and re.sub(r"<[^>]+>", "", drawn).count("جدة") == 1


def test_answers_are_cut_escaped_and_named():
    written = [Generation("<script>" + "x" * 300, (1,), "max_new_tokens")]
    drawn = notebook_00.answers({"msa": "ما الطقس؟"}, written, ["no call"]).data
    assert "<script>" not in drawn and "…" in drawn and "x" * 200 not in drawn
    assert "max_new_tokens" in drawn and 'dir="rtl">ما الطقس؟' in drawn


def test_the_figure_counts_the_ledger():
    figure, finding = notebook_00.claims_by_notebook(claims.agenda())
    numbers = list(map(int, re.findall(r"\d+", finding)))
    assert numbers[0] == len(claims.ledger()) == sum(numbers[2:])
    assert figure.legends and not figure.axes[0].get_legend()
