"""The data set as it is made: sources without a fault, the same bytes again, splits apart by phrasing and value."""

import pytest

from helpers import dataset
from helpers.dataset import DIALECTS
from scripts.dataset import row_builder, sources
from scripts.dataset.__main__ import build


def test_the_sources_have_no_fault():
    read = sources.read()
    assert [line for tool in read.tools.values() for line in sources.faults(tool, read.vocabularies)] == []


@pytest.mark.slow
def test_a_rebuild_gives_the_same_bytes(tmp_path):
    build(tmp_path)
    for name in ("tools.jsonl", dataset.CHECKSUMS, *(f"{split}.jsonl" for split in dataset.STORED)):
        assert (tmp_path / name).read_bytes() == (dataset.FOLDER / name).read_bytes(), (
            f"{name}: run make data and commit"
        )


def test_free_text_values_of_the_tests_are_new(splits):
    """No value of a free-text slot crosses from training into the tests."""
    builder, read = row_builder.Builder(sources.read()), sources.read()
    checked = 0
    for name in read.vocabularies:
        train, test = ({e["value"] for e in builder.entries(name, split)} for split in ("train", "test"))
        if train != test:
            checked += 1
            assert not train & test, name
    assert checked >= 10


def test_no_near_copies_across_splits():
    """Phrasings of one tool that ended in different splits differ in wording, whatever their dialect."""
    builder = row_builder.Builder(sources.read())
    for tool in builder.sources.tools.values():
        for i, a in enumerate(tool.phrasings):
            for b in tool.phrasings[i + 1 :]:
                if builder.phrasing_split[a.id] != builder.phrasing_split[b.id]:
                    assert sources.similarity(a.text, b.text) <= row_builder._LEAK, (a, b)


def test_every_tool_and_dialect_is_in_every_split_it_belongs_to():
    builder = row_builder.Builder(sources.read())
    for tool in builder.sources.tools.values():
        for dialect in DIALECTS:
            for split, least in (("test_unseen_tools", 8),) if tool.unseen else (("train", 4), ("test", 1)):
                assert len(builder.phrasings(tool, dialect, split)) >= least, (tool.name, dialect, split)
