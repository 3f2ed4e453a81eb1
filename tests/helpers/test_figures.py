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
