"""The cards of the data and of the reference adapter: that they tell what is stored is asked by ``make lint``."""

import pytest

from helpers import reference
from helpers.errors import CourseError
from scripts.publish import cards, generated


def test_a_card_without_marks_is_refused():
    with pytest.raises(CourseError, match="0 blocks 'counts'.*put the marks back"):
        generated.replaced("# A card", "counts", "text")


def test_its_card_tells_the_stored_scores():
    told = cards.ADAPTER_CARD.read_text(encoding="utf-8")
    assert cards.adapter_card(told) == told, "run: make generate"
    assert "ai.google.dev/gemma/terms" in told and "Gemma Terms of Use" in (reference.ADAPTER / "NOTICE").read_text(
        encoding="utf-8"
    )
