"""What counts as right: levels from "is a call at all" to "is exactly the call asked for", with intervals.

Rows that ask for a call (``single``, ``parallel``) are judged at five levels; ``exact`` includes ``keys``, ``keys``
includes ``name``, and ``name`` and ``stop`` include ``parse``:

    parse   well-formed, and at least one call
    stop    generation ended on ``<start_function_response>``
    name    the functions called are those of the gold calls (their order does not count)
    keys    with the same argument names
    exact   and the same values: strings are strings, booleans booleans, 5 equals 5.0, integers digit by digit

An optional boolean whose description says "default false" may be false or absent, which is the same. Beside ``exact``
stands ``exact_folded``, which forgives spelling in values: alif with or without hamza, ة for ه, ى for ي, the article of
a first word.

Rows in which the last turn is text (``none``, ``followup``, ``ask_back``) are judged at one: ``no_call``, well-formed
and no call; those of kind ``ask_back``, in which something required is missing, at ``asks`` besides: no call, and a
question for what is missing (a question word of the dialect, and one of the row's own word stems).

Rows that share a phrasing fail together, so they count as one cluster: every interval here is wider by the design
effect that the clusters show (Kish 1965, *Survey Sampling*, section 5.4).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass

from . import dataset, universe
from .calls import FunctionCall, ParseError, parse
from .errors import CourseError

LEVELS = ("parse", "stop", "name", "keys", "exact", "no_call")
FOLDED = "exact_folded"  # a level beside ``exact``
ASKS = "asks"  # a level of ask_back rows, in tables that have such rows
CONFIDENCE = 0.95
DEFAULT_FALSE = "default false"
RESAMPLES = 5000


@dataclass(frozen=True)
class Report:
    """Scores of generations: ``rows``, a dict each: id, dialect, kind, phrasing, a boolean or None for each level."""

    rows: list[dict]

    def table(self):
        """Per level and dialect ("all" too): hits, n, rate, and the 95 % interval low, high, clustered by phrasing.

        A pandas.DataFrame.
        """
        import pandas

        dialects = ["all", *sorted({row["dialect"] for row in self.rows})]
        asked = any(row["kind"] == "ask_back" for row in self.rows)
        levels = [*LEVELS[:-1], FOLDED, LEVELS[-1], *([ASKS] if asked else [])]
        return pandas.DataFrame([self.cell(level, dialect) for level in levels for dialect in dialects])

    def cell(self, level: str, dialect: str = "all") -> dict:
        """One line of the table."""
        chosen = self._chosen(level, dialect)
        hits = [row[level] for row in chosen]
        low, high = wilson(sum(hits), len(hits), design_effect(hits, _phrasings(chosen)))
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
        return [row[level] for row in self._chosen(level, dialect)]

    def _chosen(self, level: str, dialect: str = "all") -> list[dict]:
        """The rows of a dialect to which a level applies."""
        known = (*LEVELS, FOLDED, ASKS)
        if level not in known:
            raise CourseError(f"there is no level {level!r}", f"use one of {', '.join(known)}")
        return [row for row in self.rows if dialect in ("all", row["dialect"]) and row.get(level) is not None]

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


def wilson(hits: int, n: int, effect: float = 1.0) -> tuple[float, float]:
    """Wilson's 95 % score interval of a proportion, of ``n / effect`` rows that are independent; (0, 1) of none."""
    from statsmodels.stats.proportion import proportion_confint

    if not n:
        return 0.0, 1.0
    low, high = proportion_confint(hits / effect, n / effect, alpha=1 - CONFIDENCE, method="wilson")
    return float(low), float(high)


def design_effect(values, clusters) -> float:
    """How many rows count as one where rows of a cluster are alike, at least 1.

    The variance of the values' mean over clusters, divided by that over independent rows. Where all values are equal
    nothing is known of their likeness, and a cluster counts as one row.
    """
    import numpy as np

    values = np.asarray(values, dtype=float)
    _, cluster = np.unique(list(clusters), return_inverse=True)
    groups = cluster.max() + 1 if len(values) else 0
    if groups == len(values) or groups < 2:
        return 1.0  # each row is its own, or there is nothing to compare
    spread = values.var() / len(values)
    if not spread:
        return len(values) / groups
    sums = np.bincount(cluster, weights=values - values.mean())
    between = groups / (groups - 1) * (sums**2).sum() / len(values) ** 2
    return max(1.0, float(between / spread))


def resampled_means(values, clusters, seed: int = 0):
    """Means of ``values`` (rows,) over RESAMPLES samples of whole clusters, drawn with replacement: (RESAMPLES,).

    The bootstrap over clusters (Efron and Tibshirani 1993, chapter 8); ``clusters`` names each row's, (rows,).
    """
    import numpy as np

    cluster = np.unique(list(clusters), return_inverse=True)[1]
    sums, sizes = np.bincount(cluster, weights=values), np.bincount(cluster)  # (clusters,)
    drawn = np.random.default_rng(seed).integers(len(sums), size=(RESAMPLES, len(sums)))
    return sums[drawn].sum(1) / sizes[drawn].sum(1)


def _phrasings(rows: list[dict]) -> list:
    """The cluster of each judged row: its phrasing."""
    return [str(row.get("phrasing", row["id"])) for row in rows]


def score(generations, rows) -> Report:
    """Judge generations against their data rows, in the same order. Raises CourseError when their numbers differ."""
    generations, rows = list(generations), list(rows)
    if len(generations) != len(rows):
        raise CourseError(
            f"{len(generations)} generations for {len(rows)} rows", "generate for the same rows, in the same order"
        )
    return Report([_judged(generation, row) for generation, row in zip(generations, rows, strict=True)])


def _judged(generation, row) -> dict:
    told = {"id": row["id"], "dialect": row["dialect"], "kind": row["kind"], "phrasing": row.get("phrasing", row["id"])}
    told |= dict.fromkeys((*LEVELS, FOLDED, ASKS))
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
    right = {"parse": bool(found)} | dict.fromkeys(("stop", "name", "keys", "exact", FOLDED), False)
    if found:
        defaults = default_false(row)
        gold, found = ([without_defaults(call, defaults) for call in calls] for calls in (gold, found))
        right["stop"] = generation.stopped_by == "<start_function_response>"
        right["name"] = Counter(c.name for c in found) == Counter(c.name for c in gold)
        right["keys"] = right["name"] and Counter(map(_keys, found)) == Counter(map(_keys, gold))
        right["exact"] = right["keys"] and Counter(map(_frozen_call, found)) == Counter(map(_frozen_call, gold))
        right[FOLDED] = right["keys"] and Counter(map(_folded_call, found)) == Counter(map(_folded_call, gold))
    return told | right


def default_false(row) -> dict[str, set[str]]:
    """Tool -> its optional booleans that are false unless said otherwise."""
    found = {}
    for tool in json.loads(row.get("tools", "[]")):
        parameters = tool["function"].get("parameters") or {}
        required = parameters.get("required", [])
        found[tool["function"]["name"]] = {
            name
            for name, schema in parameters.get("properties", {}).items()
            if name not in required and DEFAULT_FALSE in str(schema.get("description", "")).lower()
        }
    return found


def declared_defaults(row) -> str:
    """A row's ``tools`` cut down to what scoring reads of them, for whoever stores judged rows."""
    schema = {"description": DEFAULT_FALSE}
    return json.dumps(
        [
            {"function": {"name": name, "parameters": {"properties": dict.fromkeys(sorted(own), schema)}}}
            for name, own in default_false(row).items()
            if own
        ]
    )


def without_defaults(call: FunctionCall, defaults: dict[str, set[str]]) -> FunctionCall:
    """A call without what is false by default."""
    own = defaults.get(call.name, set())
    kept = {key: value for key, value in call.arguments.items() if not (key in own and value is False)}
    return FunctionCall(call.name, kept)


def folded(text: str) -> str:
    """A value without spelling that people vary: hamza on alif, ة or ه, ى or ي at a word's end, the first article."""
    text = " ".join(text.split()).translate(str.maketrans("أإآ", "ااا"))
    text = re.sub(r"ة(?!\w)", "ه", re.sub(r"ى(?!\w)", "ي", text))
    return text.removeprefix("ال")


def _folded_call(call: FunctionCall) -> tuple:
    return call.name, _frozen(call.arguments, folded)


def _keys(call: FunctionCall) -> tuple:
    return call.name, tuple(sorted(argument_paths(call.arguments)))


def argument_paths(value: dict, path: str = ""):
    """The names of a call's arguments, those inside objects behind a dot, one after the other."""
    for key, item in value.items():
        yield f"{path}{key}"
        if isinstance(item, dict):
            yield from argument_paths(item, f"{path}{key}.")


def _frozen_call(call: FunctionCall) -> tuple:
    return call.name, _frozen(call.arguments)


def _frozen(value, spelling=str):
    """A hashable twin that keeps types apart: True is not 1, "5" is not 5, 5 is 5.0 (JSON has one kind of number).

    Numbers stay as they are: Python compares and hashes int and float by their exact value, of whatever length.
    """
    if isinstance(value, dict):
        return ("object", tuple(sorted((key, _frozen(item, spelling)) for key, item in value.items())))
    if isinstance(value, list | tuple):
        return ("list", tuple(_frozen(item, spelling) for item in value))
    if isinstance(value, bool) or value is None:
        return ("word", str(value))
    return ("text", spelling(value)) if isinstance(value, str) else ("number", value)


def compare(a: Report, b: Report, level: str) -> Comparison:
    """Paired comparison on the same rows: b minus a. Raises CourseError for other rows or a level that applies to none.

    Interval: Bonett and Price's adjusted Wald (2012, *J. Educ. Behav. Stat.* 37, 479-488), of as many rows as the
    phrasings leave independent. p: McNemar's exact test, which takes every row as independent.
    """
    from scipy.stats import norm
    from statsmodels.stats.contingency_tables import mcnemar

    if [row["id"] for row in a.rows] != [row["id"] for row in b.rows]:
        raise CourseError("the two reports are of different rows", "score both on the same rows, in the same order")
    pairs = list(zip(a.hits(level), b.hits(level), strict=True))
    if not pairs:
        raise CourseError(f"level {level} applies to none of these rows", "choose rows of another kind")
    n, lost, won = len(pairs), sum(x and not y for x, y in pairs), sum(y and not x for x, y in pairs)
    effect = design_effect([int(y) - int(x) for x, y in pairs], _phrasings(a._chosen(level)))
    size = n / effect + 2
    p_won, p_lost = (won / effect + 1) / size, (lost / effect + 1) / size
    reach = norm.ppf(0.5 + CONFIDENCE / 2) * ((p_won + p_lost - (p_won - p_lost) ** 2) / size) ** 0.5
    p = float(mcnemar([[0, lost], [won, 0]], exact=True).pvalue) if lost + won else 1.0
    centre = p_won - p_lost
    return Comparison((won - lost) / n, max(-1.0, centre - reach), min(1.0, centre + reach), p, n)


def compare_seeds(a: list[Report], b: list[Report], level: str) -> Comparison:
    """Paired comparison of two settings trained with several seeds, on the same rows: b minus a.

    A row's difference is averaged over the seeds, then phrasings are resampled with all their rows (percentile
    bootstrap, Efron and Tibshirani 1993, chapter 13), so that neither one row judged three times counts as three nor
    ten rows of one phrasing as ten. ``p`` is Wilcoxon's signed-rank test over phrasings. Raises CourseError when the
    reports are of different rows.
    """
    import numpy as np
    from scipy.stats import wilcoxon

    if len({tuple(row["id"] for row in report.rows) for report in [*a, *b]}) != 1:
        raise CourseError("the reports are of different rows", "score all on the same rows, in the same order")
    mean = [np.mean([report.hits(level) for report in reports], axis=0) for reports in (a, b)]
    each = mean[1] - mean[0]  # (rows,)
    if not each.any():
        return Comparison(0.0, 0.0, 0.0, 1.0, len(each))
    phrasings = _phrasings(a[0]._chosen(level))
    low, high = np.quantile(resampled_means(each, phrasings), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    sums = np.bincount(np.unique(phrasings, return_inverse=True)[1], weights=each)  # (phrasings,)
    return Comparison(float(each.mean()), float(low), float(high), float(wilcoxon(sums).pvalue), len(each))
