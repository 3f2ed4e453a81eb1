"""Stored runs read again: the rows that they answered, paired differences, and the gap between two languages."""

from __future__ import annotations

import json

from .. import dataset, scoring
from .ranks import Estimate, mean_rate


def english_requests() -> list[dict]:
    """The English requests of ``dataset.retention`` as rows that can be judged; each is a phrasing of its own.

    A row declares the tool that it asks for.
    """
    calls, declared = dataset.retention()["calls"], dataset.read_declarations()
    same = {"dialect": dataset.ENGLISH, "kind": "single"}
    return [
        same
        | {"id": f"english-{number}", "phrasing": f"english-{number}", "query": told["query"]}
        | {"calls": json.dumps([{key: told[key] for key in ("name", "arguments")}], ensure_ascii=False)}
        | {"tools": json.dumps([declared[told["name"]]])}
        for number, told in enumerate(calls)
    ]


def difference(a: list, b: list, level: str = "exact") -> dict:
    """Reports b minus reports a over the same rows and seeds, in points.

    rate (of b, a share), difference, low, high; and "seed 0", "seed 1" …, the difference of each.
    """
    compared = scoring.compare_seeds(a, b, level)
    points = {name: 100 * getattr(compared, name) for name in ("difference", "low", "high")}
    return {"rate": mean_rate(b, level)} | points | {f"seed {n}": d for n, d in enumerate(by_seed(a, b, level))}


def by_seed(a: list, b: list, level: str = "exact") -> list[float]:
    """Reports b minus reports a, seed by seed, in points."""
    return [100 * (two.rate(level) - one.rate(level)) for one, two in zip(a, b, strict=True)]


def noise(settings: list[list], level: str = "exact") -> float:
    """How many points apart the means of two settings may be when nothing but the seed differs: two standard errors.

    ``settings``: the reports of each, one a seed and as many in all. The variance between seeds is pooled over them.
    """
    import numpy as np

    rates = np.array([[100 * report.rate(level) for report in reports] for reports in settings])
    return float(2 * (2 * rates.var(axis=1, ddof=1).mean() / rates.shape[1]) ** 0.5)


def middle(losses) -> tuple[float, float]:
    """Mean loss in the fourth eighth of the steps and in the sixth, over runs: losses (runs, steps).

    The first descent is over by then, and the rate of a cosine is not low yet.
    """
    import numpy as np

    eighths = np.array_split(np.asarray(losses), 8, axis=1)
    return float(eighths[3].mean()), float(eighths[5].mean())


def per_row(reports: list, rows: list[dict], level: str = "exact"):
    """Each judged row's mean over the seeds, and its phrasing: a pandas.Series indexed by phrasing."""
    import numpy as np
    import pandas

    phrasing = {row["id"]: row["phrasing"] for row in rows}
    kept = [row["id"] for row in reports[0].rows if row[level] is not None]
    means = np.mean([report.hits(level) for report in reports], axis=0)
    return pandas.Series(means, index=[phrasing[identity] for identity in kept])


def _estimate(value: float, draws) -> Estimate:
    """A share and draws of it, as points."""
    import numpy as np

    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(100 * value, 100 * float(low), 100 * float(high))


def clustered(values) -> Estimate:
    """The mean of ``values`` (a Series indexed by cluster), in points, with an interval over whole clusters."""
    return _estimate(float(values.mean()), scoring.resampled_means(values, values.index))


def change(before, after):
    """``after`` minus ``before``, row by row, of two Series from ``per_row`` over the same rows."""
    import pandas

    return pandas.Series(after.to_numpy() - before.to_numpy(), index=after.index)


def gap(first, second) -> Estimate:
    """The mean of one Series minus that of another, of other rows, in points; clusters are drawn in each on its own."""
    one, other = (scoring.resampled_means(each, each.index, seed) for seed, each in enumerate((first, second), 1))
    draws = one - other
    return _estimate(float(first.mean() - second.mean()), draws)
