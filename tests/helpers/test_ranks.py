"""What two settings share row by row, and intervals that draw whole groups."""

import numpy as np
import pytest

from helpers import scoring
from helpers.probes import ranks


def report(*right):
    return scoring.Report(
        [
            {"id": str(i), "dialect": "msa", "kind": "single"} | dict.fromkeys(scoring.LEVELS, hit)
            for i, hit in enumerate(right)
        ]
    )


def test_only_pairs_of_different_runs_count():
    first, second = report(True, True, False, False), report(True, False, True, False)
    both, base = ranks.repeated([first, second], [first, second])
    assert both.tolist() == [2, 0, 0, 0] and base.tolist() == [2, 1, 1, 0]
    assert ranks.share(both.sum(), base.sum()) == 0.5
    assert ranks.mean_rate([first, report(True, True, True, True)], "exact") == 0.75


def test_whole_groups_are_drawn_again():
    values = np.random.default_rng(1).normal(size=50)
    columns = [np.repeat(values, 4), np.ones(200)]
    mean = lambda total, n: total / n  # noqa: E731
    apart = ranks.clustered(mean, columns, range(200))
    together = ranks.clustered(mean, columns, np.repeat(np.arange(50), 4))
    assert apart.value == together.value == pytest.approx(values.mean())
    assert together.high - together.low == pytest.approx(2 * (apart.high - apart.low), rel=0.1)
