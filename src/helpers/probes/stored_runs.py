"""Stored runs read again: the rows that they answered, paired differences, and the gap between two languages."""

from __future__ import annotations

import json
from dataclasses import dataclass

from .. import dataset, reference, scoring

DRAWS = 5000  # of whole clusters, for an interval


def answered(stored, split: str) -> list[dict]:
    """The rows of a split that stored predictions answered, as they were then, in the split's order."""
    known = {prediction["id"] for prediction in stored.predictions}
    return [row for row in reference.judged_rows(split) if row["id"] in known]


def english_requests() -> list[dict]:
    """The English requests of ``dataset.retention`` as rows that can be judged; each is a phrasing of its own."""
    calls = dataset.retention()["calls"]
    same = {"dialect": dataset.ENGLISH, "kind": "single"}
    return [
        same
        | {"id": f"english-{number}", "phrasing": f"english-{number}", "query": told["query"]}
        | {"calls": json.dumps([{key: told[key] for key in ("name", "arguments")}], ensure_ascii=False)}
        for number, told in enumerate(calls)
    ]


def difference(a: list, b: list, level: str = "exact") -> dict:
    """Reports b minus reports a over the same rows and seeds, in points: rate (of b), difference, low, high."""
    compared = scoring.compare_seeds(a, b, level)
    rate = sum(report.rate(level) for report in b) / len(b)
    points = {name: 100 * getattr(compared, name) for name in ("difference", "low", "high")}
    return {"rate": rate} | points


@dataclass(frozen=True)
class Estimate:
    """A number in points with its 95 % interval."""

    value: float
    low: float
    high: float


def per_row(reports: list, rows: list[dict], level: str = "exact"):
    """Each judged row's mean over the seeds, and its phrasing: a pandas.Series indexed by phrasing."""
    import numpy as np
    import pandas

    phrasing = {row["id"]: row["phrasing"] for row in rows}
    kept = [row["id"] for row in reports[0].rows if row[level] is not None]
    means = np.mean([report.hits(level) for report in reports], axis=0)
    return pandas.Series(means, index=[phrasing[identity] for identity in kept])


def drawn_means(values, seed: int = 0):
    """Means of ``values`` (a Series indexed by cluster) over DRAWS samples of whole clusters: an array (DRAWS,).

    A percentile bootstrap over clusters (Efron and Tibshirani 1993, chapter 8), from a fixed seed.
    """
    import numpy as np

    grouped = values.groupby(level=0).agg(["sum", "size"])
    chosen = np.random.default_rng(seed).integers(len(grouped), size=(DRAWS, len(grouped)))
    sums, sizes = (grouped[column].to_numpy()[chosen].sum(axis=1) for column in ("sum", "size"))
    return sums / sizes


def _estimate(value: float, draws) -> Estimate:
    import numpy as np

    low, high = np.percentile(draws, [2.5, 97.5])
    return Estimate(100 * value, 100 * float(low), 100 * float(high))


def clustered(values) -> Estimate:
    """The mean of ``values`` (a Series indexed by cluster), in points, with an interval over whole clusters."""
    return _estimate(float(values.mean()), drawn_means(values))


def change(before, after):
    """``after`` minus ``before``, row by row, of two Series from ``per_row`` over the same rows."""
    import pandas

    return pandas.Series(after.to_numpy() - before.to_numpy(), index=after.index)


def gap(first, second) -> Estimate:
    """The mean of one Series minus that of another, of other rows, in points; clusters are drawn in each on its own."""
    draws = drawn_means(first, seed=1) - drawn_means(second, seed=2)
    return _estimate(float(first.mean() - second.mean()), draws)
