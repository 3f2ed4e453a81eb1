"""A sweep over ranks read row by row: which right calls two settings share, and how sure a difference is.

Rows that share a phrasing are no independent evidence: intervals here draw phrasings, with all their rows, again.
"""

from __future__ import annotations

from typing import NamedTuple


class Estimate(NamedTuple):
    """A number and its 95 % interval."""

    value: float
    low: float
    high: float


def mean_rate(reports, level: str, dialect: str = "all") -> float:
    """Share of rows that reach a level, averaged over the reports (one a seed)."""
    return sum(report.rate(level, dialect) for report in reports) / len(reports)


def repeated(setting, others, level: str = "exact"):
    """How much of what ``others`` got right ``setting`` got right as well, row by row.

    Both are lists of ``scoring.Report`` on the same rows; every pair of two different runs counts. Returns float64 (2,
    rows): in how many pairs both are right, and in how many the other is.
    """
    import numpy as np

    pairs = [(np.array(a.hits(level)), np.array(b.hits(level))) for a in setting for b in others if a is not b]
    return np.array([[a & b for a, b in pairs], [b for _, b in pairs]], dtype=float).sum(1)


def share(both, base):
    """The part of ``base`` that is in ``both``: totals of what ``repeated`` counts."""
    return both / base


def clustered(statistic, columns, groups, resamples: int = 5000) -> Estimate:
    """A statistic of column totals with its percentile interval, whole groups drawn again (seed 0).

    Parameters
    ----------
    statistic : of the totals, one argument a column; it must work on arrays of totals, too
    columns : (columns, rows)
    groups : a row's group, such as its phrasing (rows,)
    """
    import numpy as np

    columns = np.asarray(columns, dtype=float)
    names, member = np.unique(np.asarray(groups), return_inverse=True)
    sums = np.stack([np.bincount(member, weights=column, minlength=len(names)) for column in columns])
    drawn = np.random.default_rng(0).multinomial(len(names), np.full(len(names), 1 / len(names)), size=resamples)
    low, high = np.percentile(statistic(*(sums @ drawn.T)), [2.5, 97.5])
    return Estimate(float(statistic(*columns.sum(1))), float(low), float(high))
