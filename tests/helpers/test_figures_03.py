"""Figures of notebook 03 say what they were given: bars by owner, ticks that do not touch, totals as text."""

import pandas
import pytest

from helpers.figures import notebook_03 as figures
from helpers.probes import memory

GIB = 2**30


def test_bars_stand_on_each_other_and_the_limit_is_drawn():
    moments = {"start": dict.fromkeys(memory.OWNERS, 0) | {"weights": GIB}}
    moments["peak"] = dict(zip(memory.OWNERS, (GIB, 0, 2 * GIB, 3 * GIB), strict=True))
    axis = figures.held(moments, limit=4 * GIB).axes[0]
    assert [text.get_text().strip() for text in axis.texts] == ["1.0", "6.0"]
    lefts = [[patch.get_x() for patch in bars] for bars in axis.containers]
    assert lefts == [[0, 0], [1, 1], [1, 1], [1, 3]]
    assert axis.lines[0].get_xdata()[0] == 4


def test_every_other_length_has_its_number_and_equal_curves_are_both_seen():
    lengths = (128, 256, 512, 1024)
    losses = pandas.DataFrame(
        [
            {"tokens": n, "labelled": labelled, "loss": loss, "above": n / 2}
            for n in lengths
            for labelled in (64, n - 1)
            for loss in ("full", "chunked", "response")
        ]
    )
    axis = figures.loss_curves(losses, lengths).axes[0]
    assert [tick.get_text() for tick in axis.get_xticklabels()] == ["", "256", "", "1,024"]
    assert [line.get_linewidth() for line in axis.lines] == [3, 3, 1]


def test_shares_are_drawn_for_the_sizes_that_were_measured():
    index = pandas.MultiIndex.from_tuples([("plain", 1, 512), ("plain", 8, 1024), ("unsloth", 1, 512)])
    passes = pandas.DataFrame({"backward": [0.6, 0.52, 0.45]}, index=index)
    axis = figures.backward_shares(passes).axes[0]
    assert [list(line.get_xdata()) for line in axis.lines[:2]] == [[60, 52], [45]]
    assert [tick.get_text() for tick in axis.get_yticklabels()] == ["1 × 512 tokens", "8 × 1,024 tokens"]


@pytest.mark.parametrize("points", [None, {"english": {"NF4": [0.1, 0.4]}}])
def test_a_mean_lies_within_its_interval(points):
    axis = figures.intervals({"english": {"NF4": (0.2, 0.1, 0.5)}}, "KL", log=True, points=points).axes[0]
    low, high = axis.containers[0].lines[2][0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((0.1, 0.5)) and len(axis.lines) >= (3 if points is None else 4)
