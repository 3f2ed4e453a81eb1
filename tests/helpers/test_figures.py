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
    first = "No pair of twins differs by more than 0.010 nats"
    assert finding == f"{first}; over rates and seeds RMSNorm's loss ranges over 0.01."
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == list(notebook_01.NORMS.values())


def test_the_grid_of_alpha_and_rate_draws_its_diagonals():
    from helpers.figures import notebook_02

    exact = {(scale, rate): scale * rate for scale in (1, 2, 4) for rate in (0.1, 0.2, 0.4)}
    exact[4, 0.1] = 0.9
    assert notebook_02.along_diagonals(exact) == {0.2: [0.2, 0.2], 0.4: [0.4, 0.4, 0.9], 0.8: [0.8, 0.8]}
    figure, finding = notebook_02.alpha_and_rate(exact)
    assert finding.endswith("up to 50 points apart (product 0.4).")
    assert len(figure.axes[0].lines) == 2 * 5 and len(figure.axes[0].texts) == 9


def test_a_legend_of_ranks_has_the_markers_of_its_points():
    from helpers import scoring
    from helpers.figures import notebook_02

    row = {"id": "1", "dialect": "msa", "kind": "single"} | dict.fromkeys(scoring.LEVELS, True)
    reports = {(tools, rank): [scoring.Report([row])] for tools in notebook_02.ASKED for rank in (1, 2)}
    figure, finding = notebook_02.by_rank(reports)
    shown = [handle.get_marker() for handle in figure.axes[0].get_legend().legend_handles]
    assert shown == [marker for _, marker, _ in notebook_02.ASKED.values()]
    told = "100%, 100% (tools of the training); 100%, 100% (new tools)"
    assert finding == f"At every rank at least 100% of the calls parse. Exact, from the lowest rank up: {told}."


def test_a_rebuilt_model_has_its_row_though_its_bar_has_no_length():
    from helpers.figures import notebook_01

    damages = {"everything in place": (-2e-8, 1.0), "without rope": (2.9, 0.1), "without window": (2.3, 0.2)}
    figure, finding = notebook_01.ingredients(damages | {"the guide's formula": (8.1, 0.0)})
    rows = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert rows == [*damages, "the guide's formula"]
    assert figure.axes[0].texts[0].get_text().strip().startswith("2e-08 nats, 100%")
    assert "furthest without rope" in finding and "keeps 0%" in finding


def test_layers_are_counted_in_whole_numbers_and_maps_have_no_grid():
    import torch

    from helpers.figures import notebook_01

    figure, finding = notebook_01.lens([900, 20, 1, 1], [3.0, 10.0, 40.0])
    assert all(tick == int(tick) for axis in figure.axes for tick in axis.get_xticks())
    assert "1 for the first time after layer 2" in finding and "900 at worst" in finding
    whole = torch.ones(4, 4).tril()
    figure, finding = notebook_01.attention_maps({"layer 0, sliding": whole.triu(-1), "layer 5, global": whole}, 2)
    assert "layer 0 1 and layer 5 3" in finding
    assert not any(line.get_visible() for axis in figure.axes[:2] for line in axis.get_xgridlines())


def test_the_lines_of_the_cache_are_named_at_their_ends_and_what_outweighs_is_said():
    from helpers.figures import notebook_01

    ways = {"4 heads": [10.0, 40.0, 160.0], "1 head": [2.5, 10.0, 40.0], "window": [2.0, 5.0, 12.0]}
    figure, finding = notebook_01.cache([256, 512, 1024], ways, {512: 5.0}, weights=100.0)
    assert figure.axes[0].get_legend() is None and {*ways} <= {text.get_text() for text in figure.axes[0].texts}
    assert finding.startswith("The cache of 4 heads outweighs the weights at 1,024 tokens;") and "12 MiB" in finding
    assert "stays below" in notebook_01.cache([256, 512, 1024], ways, {512: 5.0}, weights=500.0)[1]


def test_the_table_of_formats_advises_by_rule():
    from helpers.figures import notebook_05

    told = ("F16", 540, 0.70, 0.0, 0.0), ("Q8", 290, 0.70, -1.0, 1.0), ("Q5", 260, 0.69, -2.0, 0.5)
    told += ("Q4", 250, 0.70, -1.5, 1.5), ("Q3", 240, 0.60, -13.0, -8.0), ("tiny", 170, 0.66, -6.0, -2.0)
    found = [dict(zip(("name", "mb", "exact", "low", "high"), each, strict=True)) for each in told]
    advice = notebook_05.decision_table(found)["use when"]
    assert advice["F16"].startswith("other formats") and advice["Q8"].startswith("you want room")
    assert advice["Q5"].startswith("no reason here: Q4") and advice["Q4"].startswith("every megabyte")
    assert advice["Q3"].startswith("never here: tiny") and advice["tiny"].startswith("170 MB is all there is")


def test_unreadable_calls_and_the_packaged_base_are_drawn():
    import numpy as np
    import pandas

    from helpers.figures import notebook_05

    counts = {"F16": {"no call": 3, "a key twice": 1}, "Q2_K": {"a bracket or end left open": 2}}
    axis = notebook_05.unreadable_calls(counts).axes[0]
    assert [text.get_text() for text in axis.get_legend().get_texts()] == list(notebook_05.FAULTS)
    names = ["Q8_0", "Q4_K_M", "Q4_K_M as packaged"]
    kl = pandas.DataFrame(np.full((3, 2), 0.1), index=names, columns=["english", "arabic"])
    axis = notebook_05.divergence(kl).axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == names[:2]
    assert sum(line.get_fillstyle() == "none" for line in axis.lines) == 2 + 1  # two texts, and the legend's
