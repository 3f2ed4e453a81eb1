"""Batches change no answer; what stops a trained model is asked in test_training, where there is one."""

import pytest
from test_training import load_rows

from helpers import generation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows():
    return load_rows()


def test_batching_changes_no_ones_answer(rows, checkpoint, tokenizer):
    from helpers import checkpoints

    model, few = checkpoints.load_model(checkpoint, dtype="float32"), rows.select(range(4))
    one = generation.generate(model, tokenizer, few, max_new_tokens=8, batch_size=1)
    many = generation.generate(model, tokenizer, few, max_new_tokens=8, batch_size=4)
    assert [g.token_ids for g in one] == [g.token_ids for g in many]
