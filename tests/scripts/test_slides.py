"""The slides of the half-day plan: what of the stored notebooks is on them, in which order, and that all of it fits."""

import html
import json
import re

import pytest

from helpers import claims
from helpers.errors import CourseError
from scripts.publish import check_pages, check_site, outline, slide_parts, slides

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="  # one pixel
PLAN = """
## Half a day: one hour

| minutes | what | notebook |
|---:|---|---|
| 40 | Look at [it](it.md) | 09, core, 9.1 to 9.3 |
| 20 | Break | |

## Another plan

| 5 | Not this | 09, 9.4 |
"""


@pytest.fixture(scope="module")
def guide():
    return outline.GUIDE.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def deck(guide):
    return slides.deck(guide)


@pytest.fixture(scope="module")
def stored():
    """Number -> section of every stored notebook."""
    found = {}
    for path in sorted(slides.NOTEBOOKS.glob("*.ipynb")):
        found |= slides.sections(path)
    return found


def bare(text):
    """The words of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", text)).split())


def pictures(section):
    outputs = [o for cell in section.cells if isinstance(cell, dict) for o in cell["outputs"]]
    return {"".join(o["data"]["image/png"]).strip() for o in outputs if "image/png" in o.get("data", {})}


# --- the course's own deck --------------------------------------------------------------------------------------------


def test_the_plan_takes_what_it_says_and_names_sections_that_are_there(guide, stored):
    lines = slides.plan(guide)
    assert sum(int(line.minutes) for line in lines) == 240
    assert all(number in stored for line in lines for number in line.numbers)
    assert all(line.numbers or line.what == "Break" for line in lines)


def test_every_core_section_of_the_plans_notebooks_has_a_slide(deck, guide, stored):
    named = {number for line in slides.plan(guide) for number in line.numbers}
    core = {number for number, section in stored.items() if number[0] in "04" and section.core}
    assert core <= named and "2.1" in named
    for number in core | {"2.1"}:
        assert f'<h2 dir="auto">{slide_parts.inline(stored[number].title)}</h2>' in deck, number


def test_what_is_deeper_is_not_on_the_slides(deck, stored):
    core = {png for section in stored.values() if section.core for png in pictures(section)}
    deeper = [section for section in stored.values() if not section.core]
    assert len(deeper) > 10
    for section in deeper:
        assert section.title.removesuffix(" (deeper)") not in deck
        assert not any(png in deck for png in pictures(section) - core), section.title
        for cell in section.cells:
            for number in re.findall(r'verdict\("(\d+)-', cell["source"]) if isinstance(cell, dict) else []:
                assert f"Claim {int(number)} ·" not in deck
    assert "(deeper)" not in deck


def test_the_guide_is_quoted_word_for_word(deck):
    known = {bare(slide_parts.prose(claim.quote)): claim.heading for claim in claims.ledger().values() if claim.quote}
    quoted = re.findall(r"<blockquote[^>]*>(.*?)<cite>(.*?)</cite></blockquote>", deck, re.S)
    assert len(quoted) >= 7
    for words, place in quoted:
        assert place == f"the guide, section {known[bare(words)]}"


def test_the_verdicts_of_the_core_are_on_the_slides_as_they_are_stored(deck, stored):
    measured = claims.measurements()
    for number in ("4.2", "4.4", "4.8", "4.11"):
        for cell in stored[number].cells:
            for claim in re.findall(r'verdict\("([^"]+)"', cell["source"]) if isinstance(cell, dict) else []:
                assert html.escape(measured[claim]) in deck, claim


def test_nothing_is_loaded_and_every_picture_says_what_it_shows(deck):
    assert set(re.findall(r'\bsrc="([^,]{,40})', deck)) == {"data:image/png;base64"}
    assert not re.search(r"<link|<iframe|\bhref=|@import|url\(|\bfetch\(|\bimport\b", re.sub(r'src="[^"]*"', "", deck))
    assert all(len(alt) > 40 for alt in re.findall(r'<img alt="([^"]*)"', deck))


def test_no_mark_of_markdown_or_formula_is_left(deck):
    page = re.sub(r"<style>.*?</style>|<script>.*?</script>|<pre>.*?</pre>|src=\"[^\"]*\"", "", deck, flags=re.S)
    assert not re.search(r"\$[^$]+\$|\\[a-z]+|\*\*|\]\(", bare(page))


# --- a small notebook -------------------------------------------------------------------------------------------------


def markdown(text):
    return {"cell_type": "markdown", "source": text}


def code(source, *outputs):
    return {"cell_type": "code", "source": source, "outputs": list(outputs)}


def printed(text):
    return {"output_type": "stream", "name": "stdout", "text": text}


def data(kind, value):
    return {"output_type": "display_data", "data": {kind: value}, "metadata": {kind: {"alt": 'a "figure"'}}}


ROWS = "".join(f"<tr><td>row {n}</td><td>{'x' * 500}</td></tr>" for n in range(4))
CELLS = [
    markdown("# 09 · Small: a course\n\nhead"),
    markdown("## 9.1 · One\n\nThe lead.\n\n> quoted <bdi>جدة</bdi>\n\n**Your bet:** how [many][g]?\n\n[g]: https://x.org/y"),
    code('exercises.bet("b")', printed("Your bet: how many?\n  none / all <x>\n  Choose below\n")),
    markdown("And we look."),
    code("x", printed("run: 100%|██| 1/1\n3 of 4\n")),
    code("y", data("image/png", PNG)),
    markdown("### More (deeper)\n\nnot this"),
    code("z", printed("nor this\n")),
    markdown("The end of it.\n\n## 9.2 · Two (deeper)\n\nnor that"),
    markdown("## 9.3 · Three\n\n**What to do.**\n\n| a | b |\n|---|---|\n| c | d |\n\n**Quiz 1.** Why?\n\n"
             "<details><summary>A · So.</summary>\n\nNo.\n\n</details>"),
    code("t", data("text/html", f"<table><tr><th>name</th></tr>{ROWS}</table>")),
    code("t", data("text/html", f"<table><tr><th>name</th></tr>{'<tr><td>1</td></tr>' * 40}</table>")),
]  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("books")
    (folder / "09_small.ipynb").write_text(json.dumps({"cells": CELLS}), encoding="utf-8")
    return re.findall(r"<section>(.*?)</section>", slides.deck(PLAN, folder), re.S)


def test_a_bet_stands_before_its_result_and_what_was_printed_beside_its_figure(small):
    title, plan, line, bet, figure, *_ = map(bare, small)
    assert title.startswith("The Arabic FunctionGemma course Half a day: one hour 09 · Small")
    assert "40 Look at it 09, core, 9.1 to 9.3" in plan and line.startswith("40 minutes Look at it Notebooks: 09")
    assert (
        bet == "9.1 · One The lead. quoted جدة the guide Your bet: how many? how many? none all <x> 09 · Small 4 / 10"
    )
    assert figure == "9.1 · One And we look. 3 of 4 09 · Small 5 / 10"
    assert 'class="tall"><img alt="a &quot;figure&quot;"' in small[4]


def test_deeper_parts_are_left_out_and_quizzes_stay_folded(small):
    assert not any(
        "nor this" in slide or "not this" in slide or "Not this" in slide or "Two" in slide for slide in small
    )
    table, quiz = small[5:7]
    assert bare(table).startswith("9.3 · Three What to do. a b c d")
    assert '<details name="quiz"><summary dir="auto">A · So.</summary>' in quiz


def test_a_table_keeps_the_rows_that_fit_and_says_what_it_left(small):
    assert "row 1" in small[7] and "row 2" not in small[7] and "</table>" in small[7]
    assert "2 more rows: in the notebook" in small[7]
    assert "a table of 40 rows: in the notebook" in small[8] and "<table" not in small[8]
    assert bare(small[9]).startswith("20 minutes Break") and "Notebooks" not in small[9]


def test_a_section_that_is_not_stored_is_left_out(tmp_path):
    assert slides.deck(PLAN, tmp_path).count("<section>") == 4  # title, plan, and its two lines


def test_a_guide_without_the_plan_is_one_line_with_the_remedy():
    with pytest.raises(CourseError, match="docs/instructor.md has no plan '## Half a day' → put its table back"):
        slides.plan("# Guide\n")


def test_arabic_runs_from_right_to_left_by_its_own_paragraph():
    assert slide_parts.prose("ما حالة الطقس؟\n\n- one") == (
        '<p dir="auto">ما حالة الطقس؟</p>\n<ul>\n<li dir="auto">one</li>\n</ul>'
    )
    assert (
        slide_parts.directed('<td dir="ltr"><td class="a"><table>') == '<td dir="ltr"><td dir="auto" class="a"><table>'
    )


# --- in Chromium ------------------------------------------------------------------------------------------------------

CUT = """(number) => {
  show(number);
  const box = slides[number].querySelector(".fit"), edge = box.getBoundingClientRect();
  const out = [...box.querySelectorAll("*")].filter((e) => e.getBoundingClientRect().bottom > innerHeight - 20 || e.getBoundingClientRect().right > innerWidth);
  return box.scrollHeight > box.clientHeight || box.scrollWidth > box.clientWidth || out.length > 0;
}"""  # noqa: E501


@pytest.mark.slow
def test_no_slide_is_cut_off_and_keys_turn_them(deck, tmp_path):
    pytest.importorskip("playwright")
    if not check_pages.browser():
        pytest.skip("there is no Chromium on this machine")
    path = tmp_path / "deck.html"
    path.write_text(deck, encoding="utf-8")
    asked = check_site.ASKED | {"links": "a", "prose": "p, li, h1, h2, blockquote, summary"}
    with check_pages.Pages((1280,)) as page_of:
        for theme in check_pages.THEMES:
            page = page_of(theme, 1280)
            page.set_viewport_size({"width": 1280, "height": 720})
            page.goto(path.as_uri(), wait_until="load")
            count = page.evaluate("slides.length")
            assert [n + 1 for n in range(count) if page.evaluate(CUT, n)] == []
            assert page.evaluate(check_pages.LOOK, asked)["problems"] == []
        page.evaluate("document.querySelectorAll('details').forEach((e) => e.open = true)")
        page.wait_for_timeout(300)
        assert [n + 1 for n in range(count) if page.evaluate(CUT, n)] == []
        for key, number in (("Home", 0), ("ArrowRight", 1), ("PageDown", 2), ("ArrowUp", 1), ("End", count - 1)):
            page.keyboard.press(key)
            assert page.evaluate("here()") == number, key
