"""What counts as right: six levels, from "is a call at all" to "is exactly the call asked for", with intervals.

Rows that ask for a call (``single``, ``parallel``) are judged at five levels; ``exact`` includes ``keys``, ``keys``
includes ``name``, and ``name`` and ``stop`` include ``parse``:

    parse   well-formed, and at least one call
    stop    generation ended on ``<start_function_response>``
    name    the functions called are those of the gold calls (their order does not count)
    keys    with the same argument names
    exact   and the same values: strings are strings, booleans booleans, 5 equals 5.0, integers digit by digit

Rows in which the last turn is text (``none``, ``followup``, ``ask_back``) are judged at one: ``no_call``, well-formed
and no call; those of kind ``ask_back``, in which something required is missing, at ``asks`` besides: no call, and a
question for what is missing (a question word of the dialect, and one of the row's own word stems).
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass

from . import dataset, universe
from .calls import FunctionCall, ParseError, parse, serialize
from .errors import CourseError
from .generation import Generation

LEVELS = ("parse", "stop", "name", "keys", "exact", "no_call")
ASKS = "asks"  # a level of ask_back rows, in tables that have such rows
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Report:
    """Scores of generations: ``rows``, a dict each (id, dialect, kind, and a boolean or None for each level)."""

    rows: list[dict]

    def table(self):
        """Per level and dialect ("all" too): hits, n, rate, and the Wilson 95 % interval low, high.

        A pandas.DataFrame.
        """
        import pandas

        dialects = ["all", *sorted({row["dialect"] for row in self.rows})]
        levels = (*LEVELS, ASKS) if any(row["kind"] == "ask_back" for row in self.rows) else LEVELS
        return pandas.DataFrame([self.cell(level, dialect) for level in levels for dialect in dialects])

    def cell(self, level: str, dialect: str = "all") -> dict:
        """One line of the table."""
        hits = self.hits(level, dialect)
        low, high = wilson(sum(hits), len(hits))
        rate = sum(hits) / len(hits) if hits else float("nan")
        return {
            "level": level,
            "dialect": dialect,
            "hits": sum(hits),
            "n": len(hits),
            "rate": rate,
            "low": low,
            "high": high,
        }

    def hits(self, level: str, dialect: str = "all") -> list[bool]:
        """The judgements (booleans) at a level, for the rows to which it applies.

        Raises CourseError for an unknown level.
        """
        if level not in (*LEVELS, ASKS):
            raise CourseError(f"there is no level {level!r}", f"use one of {', '.join((*LEVELS, ASKS))}")
        chosen = [row for row in self.rows if dialect in ("all", row["dialect"])]
        return [row[level] for row in chosen if row[level] is not None]

    def counts(self, levels=LEVELS) -> dict[str, list[int]]:
        """level -> [hits, n]."""
        return {level: [sum(hits), len(hits)] for level in levels for hits in [self.hits(level)]}

    def rate(self, level: str, dialect: str = "all") -> float:
        """Share of rows that reach a level, nan where it applies to none."""
        return self.cell(level, dialect)["rate"]


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two reports at a level, b minus a, with its 95 % interval and McNemar's exact p."""

    difference: float
    low: float
    high: float
    p: float
    n: int


def token_kl(reference, other):
    """KL(reference ‖ other) at every position, in nats: logits or log-probabilities (N, V) -> float32 (N,)."""
    p, q = reference.float().log_softmax(-1), other.float().log_softmax(-1)
    return (p.exp() * (p - q)).sum(-1)


def wilson(hits: int, n: int) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion; (0, 1) when nothing was counted."""
    from statsmodels.stats.proportion import proportion_confint

    if not n:
        return 0.0, 1.0
    low, high = proportion_confint(hits, n, alpha=1 - CONFIDENCE, method="wilson")
    return float(low), float(high)


def score(generations, rows) -> Report:
    """Judge generations against their data rows, in the same order. Raises CourseError when their numbers differ."""
    generations, rows = list(generations), list(rows)
    if len(generations) != len(rows):
        raise CourseError(
            f"{len(generations)} generations for {len(rows)} rows", "generate for the same rows, in the same order"
        )
    return Report([_judged(generation, row) for generation, row in zip(generations, rows, strict=True)])


def _judged(generation, row) -> dict:
    told = {"id": row["id"], "dialect": row["dialect"], "kind": row["kind"]} | dict.fromkeys((*LEVELS, ASKS))
    try:
        found = parse(generation.text)
    except ParseError:
        found = None
    if row["kind"] in (*dataset.SILENT, "followup"):
        told["no_call"] = found == []
        if row["kind"] == "ask_back":
            stems = json.loads(row["asks"])
            told[ASKS] = told["no_call"] and universe.asks(generation.text, stems, row["dialect"])
        return told
    gold = [FunctionCall(call["name"], call["arguments"]) for call in json.loads(row["calls"])]
    right = {"parse": bool(found), "stop": False, "name": False, "keys": False, "exact": False}
    if found:
        right["stop"] = generation.stopped_by == "<start_function_response>"
        right["name"] = Counter(c.name for c in found) == Counter(c.name for c in gold)
        right["keys"] = right["name"] and Counter(map(_keys, found)) == Counter(map(_keys, gold))
        right["exact"] = right["keys"] and Counter(map(_frozen_call, found)) == Counter(map(_frozen_call, gold))
    return told | right


def _keys(call: FunctionCall) -> tuple:
    return call.name, tuple(sorted(_paths(call.arguments)))


def _paths(value: dict, path: str = ""):
    for key, item in value.items():
        yield f"{path}{key}"
        if isinstance(item, dict):
            yield from _paths(item, f"{path}{key}.")


def _frozen_call(call: FunctionCall) -> tuple:
    return call.name, _frozen(call.arguments)


def _frozen(value):
    """A hashable twin that keeps types apart: True is not 1, "5" is not 5, 5 is 5.0 (JSON has one kind of number).

    Numbers stay as they are: Python compares and hashes int and float by their exact value, of whatever length.
    """
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, _frozen(item)) for key, item in value.items())))
    if isinstance(value, list | tuple):
        return ("list", tuple(_frozen(item) for item in value))
    if isinstance(value, bool) or value is None:
        return ("word", str(value))
    return ("text", value) if isinstance(value, str) else ("number", value)


def compare(a: Report, b: Report, level: str) -> Comparison:
    """Paired comparison on the same rows: b minus a. Raises CourseError for other rows or a level that applies to none.

    Interval: Bonett and Price's adjusted Wald (2012, *J. Educ. Behav. Stat.* 37, 479-488). p: McNemar's exact test.
    """
    from scipy.stats import norm
    from statsmodels.stats.contingency_tables import mcnemar

    if [row["id"] for row in a.rows] != [row["id"] for row in b.rows]:
        raise CourseError("the two reports are of different rows", "score both on the same rows, in the same order")
    pairs = list(zip(a.hits(level), b.hits(level), strict=True))
    if not pairs:
        raise CourseError(f"level {level} applies to none of these rows", "choose rows of another kind")
    n, lost, won = len(pairs), sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
    p_won, p_lost = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    reach = norm.ppf(0.5 + CONFIDENCE / 2) * ((p_won + p_lost - (p_won - p_lost) ** 2) / (n + 2)) ** 0.5
    p = float(mcnemar([[0, lost], [won, 0]], exact=True).pvalue) if lost + won else 1.0
    centre = p_won - p_lost
    return Comparison((won - lost) / n, max(-1.0, centre - reach), min(1.0, centre + reach), p, n)


def compare_seeds(a: list[Report], b: list[Report], level: str) -> Comparison:
    """Paired comparison of two settings trained with several seeds, on the same rows: b minus a.

    A row's difference is averaged over the seeds, then rows are resampled (percentile bootstrap, Efron and Tibshirani
    1993, chapter 13), so that one row judged three times does not count as three. ``p`` is Wilcoxon's signed-rank test
    over rows. Raises CourseError when the reports are of different rows.
    """
    import numpy as np
    from scipy.stats import bootstrap, wilcoxon

    if len({tuple(row["id"] for row in report.rows) for report in [*a, *b]}) != 1:
        raise CourseError("the reports are of different rows", "score all on the same rows, in the same order")
    mean = [np.mean([report.hits(level) for report in reports], axis=0) for reports in (a, b)]
    each = mean[1] - mean[0]  # (rows,)
    if not each.any():
        return Comparison(0.0, 0.0, 0.0, 1.0, len(each))
    interval = bootstrap((each,), np.mean, method="percentile", n_resamples=5000, rng=0).confidence_interval
    return Comparison(
        float(each.mean()), float(interval.low), float(interval.high), float(wilcoxon(each).pvalue), len(each)
    )


# --- a baseline without a model ---------------------------------------------------------------------------------------


class NearestPhrasing:
    """A retriever without a model: TF-IDF over character 2- to 4-grams.

    It answers with the calls (or the reply) of the most similar training row whose calls use declared tools only.
    """

    def __init__(self, rows):
        from sklearn.feature_extraction.text import TfidfVectorizer

        self.rows = [row for row in rows if row["kind"] != "followup"]
        self.vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        self.matrix = self.vectorizer.fit_transform(row["query"] for row in self.rows)
        self.needs = [{call["name"] for call in json.loads(row["calls"])} for row in self.rows]

    def generate(self, rows) -> list[Generation]:
        """An answer for each row, in the form that a model's generations have."""
        rows = list(rows)
        # (rows, training rows), sparse
        similar = self.vectorizer.transform(row["query"] for row in rows) @ self.matrix.T
        return [self._answer(row, similar[i].toarray()[0]) for i, row in enumerate(rows)]

    def _answer(self, row, similarity) -> Generation:
        declared = {tool["function"]["name"] for tool in json.loads(row["tools"])}
        for index in similarity.argsort()[::-1]:
            if self.needs[index] <= declared:
                break
        nearest = self.rows[index]
        calls = [FunctionCall(call["name"], call["arguments"]) for call in json.loads(nearest["calls"])]
        if not calls:
            return Generation(nearest["reply"] + "<end_of_turn>", (), "<end_of_turn>")
        return Generation(serialize(calls) + "<start_function_response>", (), "<start_function_response>")


def retrieval_reports(train: str = "train", held_out=("test", "test_unseen_tools")) -> dict:
    """Held-out split -> ``scoring.Report`` of the retriever that knows ``train``."""
    retriever = NearestPhrasing(dataset.load(train))
    tests = {split: dataset.load(split) for split in held_out}
    return {split: score(retriever.generate(rows), rows) for split, rows in tests.items()}
