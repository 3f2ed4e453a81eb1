"""The figure of notebook 06, with the sentence that its numbers allow."""

from __future__ import annotations

from .. import plots


def own_recipes(recipes: dict[tuple, list[dict]], taken: tuple):
    """What recipes do for requests of one's own against what they cost of other tools: a point a recipe.

    ``recipes``: (rate, rounds, what is mixed in) -> the scores of its runs, each {set: {level: [hits, n]}} with the
    sets "own" and "course"; without a rate stands the adapter before. ``taken``: the recipe to be pointed at. Returns
    the figure and its finding.
    """

    def percent(runs: list[dict], name: str) -> float:
        hits, n = (sum(run[name]["exact"][place] for run in runs) for place in (0, 1))
        return 100 * hits / n

    figure, axis = plots.subplots(figsize=(7.5, 4))
    points = {named: (percent(runs, "course"), percent(runs, "own")) for named, runs in recipes.items()}
    rates = sorted({rate for rate, *_ in recipes if rate})
    for rate, colour, marker in zip((None, *rates), plots.OKABE_ITO, ("*", *plots.MARKERS), strict=False):
        x, y = zip(*(point for named, point in points.items() if named[0] == rate), strict=True)
        label = f"rate {rate:g}" if rate else "before"
        axis.scatter(x, y, 120 if rate is None else 45, marker=marker, color=colour, label=label)
    (before,) = (point for named, point in points.items() if named[0] is None)
    axis.annotate("taken below", points[taken], (75, 88), arrowprops={"arrowstyle": "->"})
    axis.set(xlabel="exact calls of the course's functions, %", xlim=(0, 100), ylim=(0, 100))
    axis.set_ylabel("exact calls of the studio's, %")
    axis.legend(loc="lower right")
    course, own = points[taken]
    return figure, (
        f"The recipe taken below: exact calls of the studio's functions go from {before[1]:.0f} to {own:.0f} %, "
        f"of the course's from {before[0]:.0f} to {course:.0f} %."
    )
