"""The figure of notebook 06 says what the stored runs say."""

from helpers import reference
from helpers.figures import notebook_06 as figures


def test_every_recipe_is_a_point_and_the_sentence_tells_the_one_that_is_taken():
    recipes: dict[tuple, list[dict]] = {}
    for told in reference.load("own_runs").results:
        recipes.setdefault((told["learning_rate"], told["rounds"], told["mix"]), []).append(told["scores"])
    assert {len(runs) for runs in recipes.values()} == {3} and len(recipes) == 19
    figure, finding = figures.own_recipes(recipes, (1e-4, 3, "course"))
    (axis,) = figure.axes
    assert sum(len(marks.get_offsets()) for marks in axis.collections) == len(recipes)
    hits, n = (sum(run["own"]["exact"][place] for run in recipes[1e-4, 3, "course"]) for place in (0, 1))
    assert f"to {100 * hits / n:.0f} %" in finding
