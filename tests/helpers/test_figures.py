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
