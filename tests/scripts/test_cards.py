"""The cards of the data and of the reference adapter tell what is stored."""

from types import SimpleNamespace

import datasets
import pytest

from helpers import dataset, reference
from helpers.errors import CourseError
from scripts.publish import cards, generated


@pytest.mark.slow
def test_the_cards_counts_are_those_of_the_data(splits, rendered, lengths, monkeypatch):
    """The rows are rendered and tokenized once for all tests."""

    def tokenized(texts, add_special_tokens):
        assert add_special_tokens is False
        return SimpleNamespace(input_ids=[range(lengths[text]) for text in texts])

    monkeypatch.setattr(dataset, "texts", lambda rows: rendered[rows["split"][0]])
    loaded = {split: datasets.Dataset.from_list(rows) for split, rows in splits.items()}
    assert cards.block("counts") == cards.counts(loaded, tokenized).strip() + "\n", "run: make generate"


@pytest.mark.slow
def test_the_cards_baseline_is_what_the_retriever_scores():
    assert cards.block("baseline") == cards.baseline().strip() + "\n", "run: make generate"


def test_a_card_without_marks_is_refused():
    with pytest.raises(CourseError, match="0 blocks 'counts'.*put the marks back"):
        generated.replaced("# A card", "counts", "text")


def test_its_card_tells_the_stored_scores():
    told = cards.ADAPTER_CARD.read_text(encoding="utf-8")
    assert cards.adapter_card(told) == told, "run: make generate"
    assert "ai.google.dev/gemma/terms" in told and "Gemma Terms of Use" in (reference.ADAPTER / "NOTICE").read_text(
        encoding="utf-8"
    )
