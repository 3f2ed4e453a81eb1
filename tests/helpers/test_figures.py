"""Figures of the notebooks: helpers.figures."""


def test_the_figure_of_both_orders_shows_every_code_point_twice():
    from matplotlib import font_manager

    from helpers import plots
    from helpers.figures import notebook_05

    text = "{مدينة:جدة}"
    figure = notebook_05.logical_and_drawn(text)
    written = [t.get_text() for t in figure.axes[0].texts]
    glyphs, numbers = written[0::2], written[1::2]
    assert (
        "".join(glyphs[: len(text)]) == text
        and glyphs[len(text)] == "{"
        and numbers[len(text) :][0] == str(len(text) - 1)
    )
    assert font_manager.findfont(plots.naskh()[0]).endswith("NotoNaskhArabic-Regular.ttf")
    assert [t.get_fontfamily() for t in figure.axes[0].texts[:1]] == [plots.naskh()]


def test_twins_are_drawn_with_what_they_show():
    from helpers.figures import notebook_01

    results = [
        {"norm": norm, "rate": rate, "seed": seed, "validation": 0.3 + rate + (norm == "layer") * 0.01}
        for norm in notebook_01.NORMS
        for rate in (0.001, 0.01)
        for seed in (0, 1)
    ]
    figure, finding = notebook_01.norm_twins(results)
    assert (
        finding == "No pair of twins differs by more than 0.010 nats; the learning rate alone moves the loss by 0.01."
    )
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == list(notebook_01.NORMS.values())


def test_the_grid_of_alpha_and_rate_draws_its_diagonals():
    from helpers.figures import notebook_02

    exact = {(scale, rate): scale * rate for scale in (1, 2, 4) for rate in (0.1, 0.2, 0.4)}
    exact[4, 0.1] = 0.9
    assert notebook_02.along_diagonals(exact) == {0.2: [0.2, 0.2], 0.4: [0.4, 0.4, 0.9], 0.8: [0.8, 0.8]}
    figure, finding = notebook_02.alpha_and_rate(exact)
    assert finding.endswith("between 0 points (product 0.2) and 50 (product 0.4) apart.")
    assert len(figure.axes[0].lines) == 2 * 5 and len(figure.axes[0].texts) == 9


def test_a_legend_of_ranks_has_the_markers_of_its_points():
    from helpers import scoring
    from helpers.figures import notebook_02

    row = {"id": "1", "dialect": "msa", "kind": "single"} | dict.fromkeys(scoring.LEVELS, True)
    reports = {(family, rank): [scoring.Report([row])] for family in notebook_02.FAMILIES for rank in (1, 2)}
    figure, finding = notebook_02.by_rank(reports)
    shown = [handle.get_marker() for handle in figure.axes[0].get_legend().legend_handles]
    assert shown == [marker for _, marker, _ in notebook_02.FAMILIES.values()]
    assert finding == "At every rank at least 100% of the calls parse; exact with α = 2r: 100% at 1, 100% at 2."
