"""The experiment on a reader's own requests: each is judged once, and every setting trains on what it says."""

import pytest

from helpers import dataset
from scripts.experiments import own_runs


def test_every_request_is_judged_once_and_never_trained_on_where_it_is_judged():
    folds = [own_runs.fold(number) for number in range(own_runs.FOLDS)]
    judged = [row["query"] for _, held in folds for row in held]
    assert len(judged) == len(set(judged)) == 36
    for own, held in folds:
        assert len(own) + len(held) == 36 and not {row["query"] for row in own} & {row["query"] for row in held}
        assert len({row["calls"].split('"')[3] for row in held if row["calls"] != "[]"}) == 3  # every function


@pytest.mark.parametrize("mix, steps", [("nothing", 6), ("course", 12), ("universe", 12)])
def test_half_of_the_steps_are_what_is_mixed_in(mix, steps, tokenizer, monkeypatch):
    load, small = dataset.load, {"universe_train": "universe_validation"}  # a tenth of the rows to draw
    monkeypatch.setattr(dataset, "load", lambda split, *sizes: load(small.get(split, split), *sizes))
    own, _ = own_runs.fold(0)
    made = own_runs.sequences(tokenizer, own, 2, mix, seed=0)
    assert len(made) == steps and all(max(sequence["branch"]) == 8 for sequence in made[:6])
    assert all(max(s["branch"]) == (8 if mix == "course" else 1) for s in made[6:])
