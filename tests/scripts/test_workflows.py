"""The workflows run what the Makefile has: every part of ``make test``, and nothing that is not there."""

import re

import pytest
import yaml

from helpers.paths import ROOT

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def test_every_part_of_make_test_is_a_job():
    told = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8"))
    parts = re.search(r"^TESTS\s*:= (.*)$", MAKEFILE, re.M)[1].split()
    matrix = told["jobs"]["run"]["strategy"]["matrix"]
    assert sorted(matrix["target"]) == sorted([*parts, "lint"])
    notebooks = sorted(path.name[:2] for path in (ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(part.removeprefix("test-") for part in parts if part != "test-units") == notebooks


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_only_what_is_there(path):
    text = path.read_text(encoding="utf-8")
    for target in re.findall(r"make ([\w-]+)", text):
        assert re.search(rf"^{target}:", MAKEFILE, re.M), target
    for used in re.findall(r"uses: \./(\S+)", text):
        assert (ROOT / used).exists()
    assert all("@v" in used for used in re.findall(r"uses: ([\w-]+/\S+)", text))


def test_a_workflow_may_only_read():
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text(encoding="utf-8"))["permissions"] == {"contents": "read"}
