"""What README names exists: files, and a test for every promise."""

import re

import pytest

from helpers.paths import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
PROMISES = README.split("## What is promised")[1].split("\n## ")[0]


def test_every_promise_names_a_test_that_exists():
    rows = [line for line in PROMISES.split("\n") if line.startswith("| ")][1:]
    assert len(rows) >= 15
    for row in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)`", row)
        assert named and all((ROOT / path).exists() for path in named), row


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`((?:src|scripts|assets|docs|tests)/[\w./-]+)`", README))))
def test_a_file_that_is_named_exists(path):
    assert (ROOT / path).exists()
