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
    assert "gguf" not in glossary.prose("[05](05_gguf_export.ipynb) <!-- GGUF -->").lower()


def test_first_uses_in_the_text_twins_are_linked_and_no_others():
    twins = glossary.read_twins()
    assert glossary.linked(twins) == twins, "run: python -m scripts.publish.glossary"
    linked = [term for text in twins.values() for _, term in glossary.links(text)]
    assert len(linked) == len(set(linked)) >= 40


def test_every_linked_term_is_on_the_page_under_its_anchor():
    anchors = set(re.findall(r'<a id="([^"]+)"></a>', glossary.PAGE.read_text(encoding="utf-8")))
    for name, text in glossary.read_twins().items():
        page = glossary.address(text)
        assert f"]({page})" in text.split("# %%", 2)[1], f"{name} names the glossary in its first cell"
        assert not {term for _, term in glossary.links(text)} - anchors
        assert text.count("/docs/glossary.md") == text.count(f"]({page})") + text.count(f"]({page}#")


BADGE = "# [![Open in Colab](x.svg)](https://colab.research.google.com/github/me/course/blob/main/notebooks/09.ipynb)"


def test_a_first_use_is_linked_where_a_reader_sees_it_as_one():
    prose = (
        "# # A token title\n#\n# > a token, they say\n#\n"
        "# `token` and [token](x.md), <summary>token</summary> control\n# tokens, then a token, a token"
    )
    twin = (
        f"# %% [markdown]\n{BADGE}\n\n"
        "# %% [markdown]\n# <!-- exercise 9.1 -->\n# a token\n\n"
        "# %%\ntoken = 1  # a seed\n\n"
        f"# %% [markdown]\n{prose}\n"
    )
    page = "https://github.com/me/course/blob/main/docs/glossary.md"
    done = glossary.linked({"09.py": twin, "10.py": f"# %% [markdown]\n{BADGE}\n# one [token]({page}#token) more\n"})
    assert glossary.links(done["09.py"]) == [("control\n# tokens", "control-token"), ("token", "token")]
    assert f"then a [token]({page}#token), a token\n" in done["09.py"]
    assert glossary.unlinked(done["09.py"]) == twin
    assert not glossary.links(done["10.py"])
    assert glossary.linked(done) == done


def test_a_notebook_that_names_no_repository_is_refused():
    with pytest.raises(CourseError, match="Open-in-Colab badge"):
        glossary.linked({"09.py": "# %% [markdown]\n# no badge\n"})


@pytest.mark.parametrize("page", ["README.md", "README.ar.md", "docs/glossary.md", "docs/instructor.md"])
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
