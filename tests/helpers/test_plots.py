"""Tables that notebooks draw."""


def test_a_token_table_counts_positions_in_the_row(tokenizer):
    from helpers import plots

    html = plots.token_table(
        tokenizer, [2, 105, 48, 50], [-100, -100, 48, 50], last=2, loss=[float("nan"), 1.0, 2.0, 3.5]
    ).data
    assert html.count("<tr") == 3 and ">2</td>" in html and ">3</td>" in html and ">1</td>" not in html
    assert "&lt;start_function_call&gt;" in html and "3.50" in html
