"""The glossary: every term is used by a notebook, explained in two sentences in both languages, and has its anchor."""

import re

import pytest

from helpers.errors import CourseError
from helpers.paths import ROOT
from scripts.publish import books, glossary

ARABIC = re.compile(r"[\u0621-\u064a]")
HAZARDS = re.compile(
    r"[\u0640\u0660-\u0669\u06f0-\u06f9\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb50-\ufdff\ufe70-\ufeff]"
)


def sentences(text: str) -> int:
    return len(re.findall(r"[.!?؟](?=\s|$)", text.strip()))


def test_the_page_is_up_to_date():
    assert glossary.PAGE.read_text(encoding="utf-8") == glossary.page(), "run: make generate"


def test_every_listed_term_occurs_in_the_notebook_it_names():
    listed = glossary.listed()
    assert len(listed) >= 40
    for term, use in listed:
        text = " ".join(
            cell.source for cell in books.book(ROOT / "notebooks" / f"{use.notebook}.ipynb").cells("markdown")
        )
        assert term.pattern.search(" ".join(text.split())), term.id


def test_anchors_are_unique_and_plain():
    anchors = re.findall(r'<a id="([^"]+)"></a>', glossary.PAGE.read_text(encoding="utf-8"))
    assert len(anchors) == len(set(anchors)) == len(glossary.listed())
    assert all(re.fullmatch(r"[a-z0-9-]+", anchor) for anchor in anchors)
    assert len({term.arabic for term in glossary.terms()}) == len(glossary.terms())


@pytest.mark.parametrize("term", glossary.terms(), ids=lambda term: term.id)
def test_a_term_is_explained_in_two_sentences_in_each_language(term):
    assert sentences(term.en) == 2, term.en
    assert sentences(term.ar) == 2, term.ar
    assert ARABIC.search(term.arabic) and len(ARABIC.findall(term.ar)) > 40
    assert not HAZARDS.search(term.ar + term.arabic), (
        "presentation forms, tatweel, Arabic-Indic digits and bidi controls do not belong in the source"
    )


def test_latin_words_in_arabic_are_isolated():
    assert (
        glossary.isolated("أنواعها، مثل Q8_0 وQ4_K_M، تدلّ")
        == 'أنواعها، مثل <bdi dir="ltr">Q8_0</bdi> و<bdi dir="ltr">Q4_K_M</bdi>، تدلّ'
    )
    assert glossary.isolated("في Gemma 3، وليست") == 'في <bdi dir="ltr">Gemma 3</bdi>، وليست'


def test_links_in_prose_do_not_count_as_a_use():
    assert (
        "gguf" not in glossary.prose("[05](05_gguf_export.ipynb) <!-- GGUF --> [x][g-gguf]\n\n[g-gguf]: a#gguf").lower()
    )


@pytest.mark.parametrize("name", sorted(glossary.read_twins()))
def test_a_twins_links_to_the_glossary_are_references_that_hold(name):
    assert glossary.faults(glossary.read_twins()[name]) == []


def test_the_course_links_its_hard_terms_and_not_all():
    linked = [term for text in glossary.read_twins().values() for _, term in glossary.links(text)]
    assert 15 <= len(set(linked)) <= len(linked) <= 45


def test_every_linked_term_is_on_the_page_under_its_anchor():
    anchors = set(re.findall(r'<a id="([^"]+)"></a>', glossary.PAGE.read_text(encoding="utf-8")))
    for name, text in glossary.read_twins().items():
        assert f"]({glossary.address(text)})" in text.split("# %%", 2)[1], (
            f"{name} names the glossary in its first cell"
        )
        assert not {term for _, term in glossary.links(text)} - anchors


BADGE = "# [![Open in Colab](x.svg)](https://colab.research.google.com/github/me/course/blob/main/notebooks/09.ipynb)"
PAGE = "https://github.com/me/course/blob/main/docs/glossary.md"


@pytest.mark.parametrize(("cells", "fault"), [
    (["A [token][g-t].\n#\n# [g-t]: PAGE#token"], ""),
    (["A [token](PAGE#token)."], "#token is linked inline"),
    (["A [token][g-t].", "More.\n#\n# [g-t]: PAGE#token"], "[g-t] is used in a cell that does not define it"),
    (["A token.\n#\n# [g-t]: PAGE#token"], "[g-t] is defined in a cell that does not use it"),
    (["A [token][g-t].\n#\n# [g-t]: PAGE#tokken"], "[g-t] leads to #tokken, which is no term"),
    (["A [token][g-t].\n#\n# [g-t]: https://github.com/you/x.md#token"], "[g-t] leads to https://github.com/you/x.md"),
    (["A [token][g-t].\n#\n# [g-t]: PAGE#token"] * 2, "#token is linked more than once"),
])  # fmt: skip
def test_a_faulty_link_is_named(cells, fault):
    twin = f"# %% [markdown]\n{BADGE}\n" + "".join(f"\n# %% [markdown]\n# {cell}\n" for cell in cells)
    found = glossary.faults(twin.replace("PAGE", PAGE))
    assert found[0].startswith(fault) if fault else found == []


def test_a_notebook_that_names_no_repository_is_refused():
    with pytest.raises(CourseError, match="Open-in-Colab badge"):
        glossary.faults("# %% [markdown]\n# no badge\n")


@pytest.mark.parametrize(
    "page", ["README.md", "README.ar.md", *(f"docs/{n}.md" for n in "glossary instructor ledger machines".split())]
)
def test_links_of_the_pages_lead_somewhere(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:|#)([^)#]+)", text) + re.findall(r'href="(?!https?:|#)([^"#]+)', text)
    assert targets
    assert not [target for target in targets if not (ROOT / page).parent.joinpath(target).exists()]


def test_the_arabic_introduction_names_every_notebook_and_has_no_hazards():
    text = (ROOT / "README.ar.md").read_text(encoding="utf-8")
    assert not HAZARDS.search(text)
    assert text.count('<div dir="rtl"') == text.count("</div>")
    assert not [path.name for path in (ROOT / "notebooks").glob("*.ipynb") if path.name not in text]
