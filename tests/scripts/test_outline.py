"""What is counted in the stored notebooks, and the tables of docs/ledger.md and docs/instructor.md made from it."""

import json
import re

import pytest

from helpers import claims, exercises
from helpers.errors import CourseError
from scripts.publish import books, contract, generated, ledger, outline, spoilers


def stored(tmp_path, *cells):
    """A notebook file with these cells: ("markdown", source) or ("code", source, what it printed)."""
    raw = [
        {"cell_type": kind, "source": source, "outputs": [{"output_type": "stream", "text": text} for text in said]}
        for kind, source, *said in cells
    ]
    path = tmp_path / f"09_{len(list(tmp_path.iterdir()))}.ipynb"  # a name of its own: a book is read once
    path.write_text(json.dumps({"cells": raw}), encoding="utf-8")
    return books.book(path)


def test_the_ledger_is_that_of_claims_and_stored_notebooks():
    assert generated.block("ledger", ledger.PAGE) == ledger.markdown().strip() + "\n", "run: make generate"


def test_every_settled_claim_has_a_number_and_no_other_has():
    for claim in claims.ledger().values():
        assert bool(claims.measurements().get(claim.id)) == claim.settled, claim.id


def test_the_measurements_are_those_of_the_stored_cards():
    """``assets/measured.json`` is written when notebooks are stored; here it is held against what they show."""
    told = claims.measurements()
    for book in books.books():
        for cell in book.cells("code"):
            for claim_id in cell.claims:
                assert f"we measured:    {told[claim_id]}\n" in cell.text, claim_id


def test_the_ledgers_table_lets_no_text_become_markup():
    assert generated.plain("a | b <end_of_turn> *c*\nd") == "a \\| b &lt;end_of_turn&gt; \\*c\\* d"
    for line in ledger.markdown().splitlines()[2:]:
        assert line.replace("\\|", "").count("|") == 6, line


def test_the_ledger_of_notebook_00_links_to_the_notebooks_that_are_there():
    table = claims.table().style.format(escape="html").format(claims.link, subset=["notebook"]).to_html()
    targets = re.findall(r'<a href="([^"]+)">', table)
    assert len(targets) == sum((books.NOTEBOOKS / f"{c.notebook}.ipynb").exists() for c in claims.ledger().values()) > 0
    assert all((books.NOTEBOOKS / target).exists() for target in targets)
    assert claims.link("99_not_there") == "99_not_there" and "&lt;end_of_turn&gt;" in table


def test_the_instructors_table_is_that_of_the_stored_notebooks():
    assert generated.block("minutes", outline.GUIDE) == outline.minutes_table().strip() + "\n", "run: make generate"


def test_a_section_is_counted(tmp_path):
    bars = (
        "training: 100%|████| 12/12 [00:30<00:00,  2.54s/step]\n"
        "x:  50%|██ | 6/12 [00:10<00:10]\n"
        "y: 100%|█| 3/3 [1:01:05<00:00]\n"
    )
    book = stored(
        tmp_path,
        ("markdown", "# 09 · Example\n\n**Time**: 3 minutes on two CPU cores. **Memory**: 1 GB."),
        ("markdown", "## 9.1 · One\n\n<!-- exercise 4.1 -->"),
        ("code", 'b = exercises.bet("how-many", "…")\n# a comment\n\nverdict("01-x", measured=1)', bars),
        ("markdown", "**Quiz.** Why?"),
    )
    (_, section) = book.sections
    assert book.minutes == "3 minutes" and section.title == "9.1 · One"
    assert (section.bets, section.claims, section.exercises, section.quizzes) == (["how-many"], ["01-x"], ["4.1"], 1)
    assert section.seconds == 30 + 3665 and section.cells[1].lines == 2


def test_gaps_are_named(tmp_path):
    answers = "<details><summary>A · Yes.</summary>\n\nNo.\n\n</details>"
    book = stored(
        tmp_path,
        ("markdown", "# 09 · Example"),
        ("markdown", "## 9.1 · One"),
        ("code", "\n".join("x = 1" for _ in range(31)) + f"\n# {'x' * 100}"),
        ("code", 'verdict("01-x", measured=1)'),
        ("code", "x"),
        ("markdown", "## 9.2 · Two"),
        ("code", 'exercises.bet("never-settled", "…")'),
        ("markdown", f"**Quiz.** Why?\n\n{answers}"),
    )
    found = "\n".join(contract.gaps(book, books.books(), {}))
    for words in (
        "code cell 1 has 31 lines, 30 at most: x = 1",
        "code cell 1 has a line of 102 characters",
        "words of prose a code line, 8 at least",
        "3 code cells in a row",
        "0 exercises",
        "settles 01-x without a bet",
        "'never-settled'",
        "quiz of 1 answers",
        "answer A is not explained",
    ):
        assert words in found


def test_a_core_cell_that_needs_a_deeper_section_is_named(tmp_path):
    book = stored(
        tmp_path,
        ("markdown", "# 09 · Nine"),
        ("markdown", "## 9.1 · A (deeper)"),
        ("code", "import bnb\nkept, both = 1, 2"),
        ("markdown", "## 9.2 · B"),
        ("code", "both = 3\nprint([kept for kept in range(2)], both)"),
        ("code", "exercises.recap({'a': lambda: kept})"),
        ("code", 'if "kept" in globals():\n    print(kept)'),
        ("code", "print(kept, bnb)"),
        ("markdown", "### More (deeper)"),
        ("code", "print(kept)"),
    )
    assert contract.core_gaps(book) == [
        f"a core cell reads {name!r}, which only a deeper section binds" for name in ("bnb", "kept")
    ]


def test_a_recap_that_would_show_another_number_than_the_bets_is_named(tmp_path):
    book = stored(
        tmp_path,
        ("code", "ratio, kept = 0.2, 1\nfor _ in range(2):\n    pass"),
        ("code", "def late():\n    return 3"),
        ("code", "ratio = 8.2; [kept for kept in ()]"),
        (
            "code",
            'inside = 1\nexercises.recap({"a": ratio, "b": kept, "c": gone, "d": inside, "e": late(), '
            '"f": max(2 * x for x in (1,))})',
        ),
    )
    assert contract.recap_gaps(book) == [
        "the recap reads 'exercises', which no cells bind",
        "the recap reads 'gone', which no cells bind",
        "the recap reads 'ratio', which 2 cells bind",
    ]


def test_a_folded_cell_may_be_longer(tmp_path):
    folded = "# @title Setup: find the course\n" + "\n".join("x = 1" for _ in range(36))
    prose = ("markdown", "word " * 8 * 74)
    assert contract.cell_gaps(stored(tmp_path, prose, ("code", folded), *[prose, ("code", "x = 1")] * 2)) == []
    (found,) = contract.cell_gaps(
        stored(tmp_path, prose, ("code", folded + "\nx = 1"), *[prose, ("code", "x = 1")] * 2)
    )
    assert "37 lines, 36 at most" in found


SHARE = 'b = exercises.bet("share", "share of parameters in the embedding", low=0, high=90, step=1, unit="%")'
STOP = 'b = exercises.bet("stop", "which token ends a call turn?", options=["<end_of_turn>", "<other>"])'
ORDER = 'b = exercises.bet("order", "the product that fits the stored weight", options=["A @ B", "B @ A"])'
KNOWN = {"share": "62.6%", "stop": "<other>", "order": "B @ A", "none": "3"}


@pytest.mark.parametrize(("bet", "earlier", "told"), [
    (SHARE, ("markdown", "Most of it is vocabulary: the embedding holds 62.6 % of it."), True),
    (SHARE, ("markdown", "A loss of 62.6 was seen once."), False),
    (SHARE, ("code", "x", "embedding 167,772,160  62.6%"), True),
    (SHARE, ("markdown", "<details><summary>Hint</summary>the embedding: 62.6 %</details>"), False),
    (STOP, ("code", "print(turn)", "call:get_weather{}<other>"), True),
    (STOP, ("code", "print(turn)", "<end_of_turn> or <other>"), False),
    (STOP, ("markdown", "Each call turn ends with <other>, a token of its own."), True),
    (ORDER, ("markdown", "Of the two it is B @ A: that product fits."), True),
    (ORDER, ("markdown", "Is it A @ B or B @ A, which product fits?"), False),
    (ORDER, ("markdown", "We shall meet B @ A again."), False),
])  # fmt: skip
def test_an_answer_before_its_bet_is_found(tmp_path, bet, earlier, told):
    assert bool(spoilers.spoiled(stored(tmp_path, earlier, ("code", bet)), KNOWN)) is told
    assert not spoilers.spoiled(stored(tmp_path, ("code", bet), earlier), KNOWN)


@pytest.mark.parametrize(("control", "said"), [
    ("low=0, high=62.6", "at an end"), ("low=70, high=90, step=1", "or past it"), ("low=0, high=100, step=30", "near"),
    ("low=0, high=100, step=50", "do not come near"), ('options=["a half", "a third"]', "none of its options"),
    ("low=0, high=100, step=1", ""), ('options=["62.6%", "a third"]', ""),
])  # fmt: skip
def test_a_control_that_suggests_the_answer_is_named(tmp_path, control, said):
    book = stored(tmp_path, ("code", f'exercises.bet("share", "which share?", {control})'))
    found = spoilers.suggested(book, KNOWN)
    assert said in found[0] if said else found == []


def test_answers_are_read_from_what_a_recap_printed(tmp_path):
    printed = (
        "share                    your bet: none placed      measured: 62.6%\n"
        "order                    your bet: A @ B            measured: B @ A  (not as you bet)\n"
    )
    book = stored(tmp_path, ("code", 'exercises.recap({"share": 1})', printed))
    assert spoilers.answers([book]) == {"share": "62.6%", "order": "B @ A"}


@pytest.mark.parametrize("twin", books.twins(), ids=lambda twin: twin.name)
def test_no_notebook_lacks_what_the_course_asks_for(twin):
    assert contract.gaps(twin, books.twins(), spoilers.answers(books.books())) == []


def test_every_exercise_of_the_bank_stands_once_in_its_notebook():
    shown = [e for twin in books.twins() for section in twin.sections for e in section.exercises]
    assert sorted(shown) == sorted(
        {e for e in exercises.bank() if any(twin.name.startswith(f"0{e[0]}") for twin in books.twins())}
    )


def test_a_file_without_marks_is_refused():
    with pytest.raises(CourseError, match="0 blocks 'ledger'.*put the marks back"):
        generated.replaced("# Read me", "ledger", "text")


@pytest.mark.parametrize(
    ("plan", "minutes"),
    [("Half a day", 240), ("A full day", 420), ("A second half day", 260), ("Two hours", 120)],
)
def test_a_plans_minutes_add_up_to_what_is_said_below_it(plan, minutes):
    part = outline.GUIDE.read_text(encoding="utf-8").split(f"## {plan}")[1].split("\n## ")[0]
    assert sum(map(int, re.findall(r"^\| (\d+) \|", part, re.M))) == minutes
    assert f"That is {minutes} minutes" in part


def test_the_guide_names_sections_that_exist():
    titles = {section.title.split(" ")[0] for book in books.books() for section in book.sections if section.title}
    plans = outline.GUIDE.read_text(encoding="utf-8").split("## Half a day")[1]
    named = set(re.findall(r"(?<![\d.,-])0?([0-6]\.\d{1,2})(?![\d-])", plans))
    exercises = {e for book in books.books() for section in book.sections for e in section.exercises}
    assert named and not named - titles - exercises
