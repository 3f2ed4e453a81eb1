"""The notebooks as pages: rendered as `make run` does it, looked at in headless Chromium, light and dark.

Skipped where there is no Chromium. The page of faults shows that the check sees what it is there to see.
"""

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from scripts.publish import check_pages as pages

pytestmark = pytest.mark.slow

pytest.importorskip("playwright")
STORED = sorted(pages.STORED.glob("*.ipynb"))
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="  # one pixel


@pytest.fixture(scope="module")
def page_of():
    if not pages.browser():
        pytest.skip("there is no Chromium on this machine")
    with pages.Pages() as opened:
        yield opened


def checked(tmp_path, page_of, *cells):
    """theme -> problems of a notebook of these cells."""
    path = tmp_path / "example.ipynb"
    nbformat.write(new_notebook(cells=list(cells)), path)
    return pages.check(path, page_of)


def figure(alt=None):
    output = new_output("display_data", {"image/png": PNG}, metadata={"image/png": {"alt": alt}} if alt else {})
    return new_code_cell("x", outputs=[output], execution_count=1)


GOOD = [
    "# A title\n\n[to the next](#Next) and [00](00_start_here.ipynb)\n\n## Next",
    '<div dir="rtl" lang="ar">\n\nهذا نص عربي قصير يجري من اليمين إلى اليسار.\n\n</div>',
    "<details><summary>Hint 1</summary>\n\nA hint stays folded.\n\n</details>",
]
FAULTS = {
    "link leads nowhere: #Nothing": "[gone](#Nothing)",
    "link leads nowhere: 99_not_there.ipynb": "[gone](99_not_there.ipynb)",
    "prose overflows": "A word of prose: " + "longlonglong" * 40,
    "Arabic with letter spacing": '<p dir="rtl" style="letter-spacing:3px">هذا نص عربي متباعد الحروف قليلا</p>',
    "Arabic prose runs from left to right": '<div lang="ar">\n\nهذا نص عربي نسي كاتبه أن يجري من اليمين\n\n</div>',
    "nothing is folded under: Hint 1": "<details><summary>Hint 1</summary></details>\n\nA hint that stands open.",
    "text is too faint": '<p style="color:#888;background:#999">hardly to be read</p>',
    "image without alt text": f'<img src="data:image/png;base64,{PNG}" alt="">',
    "console error: Error: told": '<script>console.error("Error: told")</script>',
}


def test_a_good_page_has_no_problem(tmp_path, page_of):
    cells = [*map(new_markdown_cell, GOOD), figure("A figure whose alt text states its finding, in a full sentence.")]
    assert checked(tmp_path, page_of, *cells) == {"light": [], "dark": []}


@pytest.mark.parametrize("words", FAULTS)
def test_a_fault_is_seen(words, tmp_path, page_of):
    for problems in checked(tmp_path, page_of, new_markdown_cell(FAULTS[words])).values():
        assert any(words in problem for problem in problems), problems


def test_a_figure_without_alt_text_is_seen_and_one_with_it_keeps_it(tmp_path, page_of):
    assert all("image without alt text" in "".join(p) for p in checked(tmp_path, page_of, figure()).values())
    path = tmp_path / "page.html"
    pages.notebooks.write_html(new_notebook(cells=[figure('r < 8 & "so on", said in the alt text')]), path)
    assert """<img alt='r &lt; 8 &amp; "so on", said in the alt text'""" in path.read_text(encoding="utf-8")


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_a_stored_notebook_reads_as_a_page(path, page_of):
    assert pages.check(path, page_of) == {"light": [], "dark": []}
