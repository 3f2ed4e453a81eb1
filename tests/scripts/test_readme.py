"""What README and the pages beside it name exists: files, and a test for every promise."""

import re

import pytest

from helpers.paths import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PROMISES = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8")
NAMED = {
    (page.name, path)
    for page in PAGES
    for path in re.findall(r"`((?:src|scripts|assets|docs|tests)/[\w./-]+)`", page.read_text(encoding="utf-8"))
}


def test_every_promise_names_a_test_that_exists():
    rows = [line for line in PROMISES.split("\n") if line.startswith("| ")][1:]
    assert len(rows) >= 15
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert named and all((ROOT / path).exists() for path in named), row


@pytest.mark.parametrize(("page", "path"), sorted(NAMED))
def test_a_file_that_is_named_exists(page, path):
    assert (ROOT / path).exists()
