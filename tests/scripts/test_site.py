"""The site's sources: links, the badge, Arabic pages, alt texts, on small inputs.

Sphinx itself builds a small site where it is installed, which ``make site`` does and ``make test`` does not.
"""

import nbformat
import pytest
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from helpers.errors import CourseError
from helpers.paths import ROOT
from scripts.publish import check_pages, check_site, repository, site

GITHUB = "https://github.com/somebody/course"
ARABIC = """<div dir="rtl" lang="ar">

# دورة

<a href="README.md#of-readme-md">الصفحة</a>

</div>

```
make run
```

<div dir="rtl" lang="ar">

نهاية

</div>
"""
GLOSSARY = '# Glossary\n\n<a id="bet"></a>\n\n## bet · <bdi lang="ar">الرهان</bdi>\n'
PYTHON = {"language_info": {"name": "python"}}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="  # one pixel


def figure(alt, count=1):
    data = [new_output("display_data", {"image/png": PNG}, metadata={"image/png": {"alt": alt}}) for _ in range(count)]
    return new_code_cell("x", outputs=data, execution_count=1)


def book():
    form = new_code_cell("# @title Setup", metadata={"cellView": "form", "tags": ["kept"]})
    cells = [
        "# 00 · Start\n\n" + repository.badge("00_start", "somebody/course"),
        f"A [term][g-bet] costs $2 \\cdot h$.\n\n[g-bet]: {GITHUB}/blob/main/docs/glossary.md#bet",
        "<details><summary>Hint 1</summary>\n\nIt *stays* folded.\n\n</details>",
    ]
    table = new_output("execute_result", {"text/html": '<a href="00_start.ipynb#x">00</a>'}, execution_count=1)
    form.outputs = [table]
    return new_notebook(
        cells=[*map(new_markdown_cell, cells), form, figure("What\nit shows, in a sentence.")], metadata=PYTHON
    )


@pytest.fixture
def small(tmp_path):
    """A course with every page that the site wants, one notebook, and files that are no pages."""
    root = tmp_path / "نسخة of the course"
    for page in site.PAGES:
        (root / page).parent.mkdir(parents=True, exist_ok=True)
        (root / page).write_text(f"# Of {page}\n", encoding="utf-8")
    (root / "README.ar.md").write_text(ARABIC, encoding="utf-8")
    (root / "docs" / "glossary.md").write_text(GLOSSARY, encoding="utf-8")
    (root / "LICENSE").write_text("text")
    (root / "notebooks").mkdir()
    nbformat.write(book(), root / "notebooks" / "00_start.ipynb")
    return site.site(root, "somebody/course")


@pytest.mark.parametrize(
    ("link", "page", "leads"),
    [
        ("docs/glossary.md#bet", "README.md", "docs/glossary.md#bet"),
        ("../notebooks/00_start.ipynb", "docs/glossary.md", "../notebooks/00_start.ipynb"),
        ("LICENSE", "README.md", f"{GITHUB}/blob/main/LICENSE"),
        ("../assets", "docs/adapter.md", f"{GITHUB}/tree/main/assets"),
        (f"{GITHUB}/blob/main/docs/glossary.md#bet", "notebooks/00_start.ipynb", "../docs/glossary.md#bet"),
        (f"{GITHUB}/blob/main/LICENSE", "README.md", f"{GITHUB}/blob/main/LICENSE"),
        ("https://example.org/README.md", "README.md", "https://example.org/README.md"),
        ("#the-ledger", "README.md", "#the-ledger"),
        ("mailto:a@example.org", "README.md", "mailto:a@example.org"),
    ],
)
def test_a_link_leads_to_a_page_of_the_site_or_to_github(small, link, page, leads):
    assert small.address(link, page) == leads


def test_a_link_to_what_is_not_there_is_one_line_with_the_remedy(small):
    with pytest.raises(CourseError, match=r"README.md links to gone.md, which is not there → mend the link"):
        small.address("gone.md", "README.md")


def test_links_are_rewritten_in_markdown_and_html_and_not_in_code(small):
    text = (
        '[a](LICENSE) `[b](LICENSE)` <a href="docs/glossary.md#bet">c</a>\n\n```\n[d](gone.md)\n```\n\n[e]: LICENSE\n'
    )
    assert site.markdown(text, "README.md", small) == (
        f'[a]({GITHUB}/blob/main/LICENSE) `[b](LICENSE)` <a href="docs/glossary.html#bet">c</a>\n\n'
        f"```\n[d](gone.md)\n```\n\n[e]: {GITHUB}/blob/main/LICENSE\n"
    )


def test_pages_are_staged_with_their_language_and_anchors(small, tmp_path):
    site.stage(small, tmp_path / "staged")
    arabic = (tmp_path / "staged" / "README.ar.md").read_text(encoding="utf-8")
    assert arabic.startswith("---\nlang: ar\n---\n\n# دورة") and "<div" not in arabic and "</div>" not in arabic
    assert 'href="README.html#of-readme-md"' in arabic
    assert "(bet)=\n## bet" in (tmp_path / "staged" / "docs" / "glossary.md").read_text(encoding="utf-8")
    assert (tmp_path / "staged" / "conf.py").exists() and (tmp_path / "staged" / "index.md").exists()


def test_a_notebook_keeps_its_alt_texts_and_folds_its_forms(small):
    staged = site.notebook(book(), "notebooks/00_start.ipynb", small)
    assert staged.cells[-1].metadata["mystnb"] == {"image": {"alt": "What it shows, in a sentence."}}
    assert staged.cells[3].metadata["tags"] == ["kept", "hide-input"]
    assert (
        "](../docs/glossary.md" not in staged.cells[1].source
        and "[g-bet]: ../docs/glossary.md#bet" in staged.cells[1].source
    )
    assert "<img" not in staged.cells[0].source and "![" not in staged.cells[0].source
    assert '<a class="colab" href="https://colab.research.google.com/github/somebody/course' in staged.cells[0].source


def test_links_in_outputs_lead_to_pages_that_come_out(small):
    staged = site.notebook(book(), "notebooks/00_start.ipynb", small)
    assert staged.cells[3].outputs[0].data["text/html"] == '<a href="00_start.html#x">00</a>'


def test_two_figures_in_a_cell_are_refused(small):
    with pytest.raises(CourseError, match="cell 0 of x.ipynb has 2 figures → give each a cell of its own"):
        site.notebook(new_notebook(cells=[figure("so", 2)]), "x.ipynb", small)


def test_every_page_of_the_course_can_be_staged_and_stands_in_a_list(tmp_path):
    course = site.site()
    site.stage(course, tmp_path / "staged")
    listed = (tmp_path / "staged" / "index.md").read_text(encoding="utf-8")
    assert "notebooks/*" in listed
    assert all(page.removesuffix(".md") in listed for page in site.PAGES)


def test_a_lost_link_or_anchor_is_seen(tmp_path):
    for name in ("a.html", "b.html"):
        (tmp_path / name).write_text("")
    base, ids = "http://127.0.0.1:1/", {"a.html": {"here"}}
    links = [
        f"{base}a.html#here",
        f"{base}b.html#any",
        "https://example.org/gone",
        f"{base}a.html#gone",
        f"{base}c.html",
    ]
    assert check_site.lost_links(links, ids, base, tmp_path) == [
        "link leads nowhere: a.html#gone",
        "link leads nowhere: c.html",
    ]


def test_only_the_publishing_job_may_publish():
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text(encoding="utf-8"))["jobs"]
    assert {name: job.get("permissions") for name, job in jobs.items()} == {
        "build": None,
        "publish": {"pages": "write", "id-token": "write"},
    }


# --- in Chromium and in Sphinx ----------------------------------------------------------------------------------------

GOOD = """<!doctype html><html lang="en"><title>t</title><body><a href="#main">Skip to main content</a>
<nav><a href="a.html">A page</a></nav>
<article id="main"><h1 id="t">A title</h1><p>Prose with <a href="#t">a link</a>.</p>
<details><summary>Hint 1</summary><p>It stays folded.</p></details></article></body></html>"""
FAULTS = {
    "the first Tab leads to a A page": ('<a href="#main">Skip to main content</a>', ""),
    "focus does not show: a a link": ("<h1", "<style>article a { outline: none }</style><h1"),
    "Tab does not reach: button": (
        "</article>",
        "<a href='#t' onfocus='this.blur()'>trap</a><button>Press</button></article>",
    ),
    "stands open: Hint 1": ("<details>", "<details open>"),
    "a formula is not set": ("Prose with", "Prose with $x + 1$ and $\\alpha$ and"),
    "two elements have the id t": ("<p>", "<p id='t'>"),
    "asks another machine for https://example.org/x.js": ("<h1", "<script src='https://example.org/x.js'></script><h1"),
    "text is too faint": ("<p>", "<p style='color:#888'>"),
    "cut off: table": ("<p>", "<div style='overflow:hidden'><table style='width:3000px'><tr><td>wide</table></div><p>"),
    "link leads nowhere: #gone": ("#t", "#gone"),
}


@pytest.mark.slow
def test_the_check_sees_what_it_is_there_to_see(tmp_path):
    pytest.importorskip("playwright")
    if not check_pages.browser():
        pytest.skip("there is no Chromium on this machine")
    with check_pages.Pages(check_site.WIDTHS) as page_of, check_site.served(tmp_path) as base:

        def problems(text: str) -> list[str]:
            name = f"{len(list(tmp_path.iterdir()))}.html"  # a new one each time, because a browser keeps pages
            (tmp_path / name).write_text(text, encoding="utf-8")
            page = page_of("light", 400)
            return check_site.open_page(page, base + name)[1] + check_site.walk(page, base + name)

        assert problems(GOOD) == []
        for words, (old, new) in FAULTS.items():
            found = problems(GOOD.replace(old, new))
            assert old in GOOD and any(words in problem for problem in found), (words, found)


@pytest.mark.slow
def test_sphinx_builds_a_small_site_without_a_warning(small, tmp_path):
    pytest.importorskip("sphinx", reason="make site installs it")
    for name in site.NEEDED:
        pytest.importorskip(name)
    site.stage(small, tmp_path / "staged")
    site.build(small, tmp_path / "staged", tmp_path / "built")
    page = (tmp_path / "built" / "notebooks" / "00_start.html").read_text(encoding="utf-8")
    for words in (
        'alt="What it shows, in a sentence."',
        "<math",
        "<details><summary>Hint 1</summary>",
        "docs/glossary.html#bet",
    ):
        assert words in page, words
    assert '<div dir="rtl" lang="ar">' in (tmp_path / "built" / "README.ar.html").read_text(encoding="utf-8")
    (tmp_path / "staged" / "README.md").write_text("# Of\n\n[a](gone.md)\n", encoding="utf-8")
    with pytest.raises(CourseError, match="Sphinx found"):
        site.build(small, tmp_path / "staged", tmp_path / "built")
