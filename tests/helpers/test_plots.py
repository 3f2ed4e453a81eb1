"""Figures with their findings, and tables that notebooks draw."""

import importlib


def test_a_token_table_counts_positions_in_the_row(tokenizer):
    from helpers import plots

    html = plots.token_table(
        tokenizer, [2, 105, 48, 50], [-100, -100, 48, 50], last=2, loss=[float("nan"), 1.0, 2.0, 3.5]
    ).data
    assert html.count("<tr") == 3 and ">2</td>" in html and ">3</td>" in html and ">1</td>" not in html
    assert "&lt;start_function_call&gt;" in html and "3.50" in html


def test_a_finding_is_drawn_above_the_figure_and_is_its_alt_text(monkeypatch):
    import matplotlib.pyplot as plt
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    display = importlib.import_module("IPython.display")

    from helpers import plots

    shown = []
    monkeypatch.setattr(display, "display", lambda data, metadata, raw: shown.append((data, metadata)))
    figure, axis = plt.subplots(figsize=(4, 2))
    axis.plot([1, 2])
    finding = "The loss falls for $5 as it does for 6: the price is nothing that a model of this size would look at."
    plots.show(figure, finding)
    drawn = figure.texts[0]
    assert drawn.get_text().replace("\n", " ").replace(r"\$", "$") == finding
    box = drawn.get_window_extent(FigureCanvasAgg(figure).get_renderer())
    assert box.y0 >= figure.bbox.y1 and box.x1 <= figure.bbox.x1 * 1.05  # above the axes, not wider than they
    ((data, metadata),) = shown
    assert metadata["image/png"]["alt"] == finding and data["text/plain"] == f"Figure: {finding}"


def test_a_table_of_no_rows_says_so():
    """A reader's model may write no call at all."""
    from helpers import plots

    assert "nothing to show" in plots.text_table([]).data
    assert 'dir="auto"' in plots.text_table([{"request": "الطقس؟"}]).data
