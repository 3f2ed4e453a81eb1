"""The contract that every notebook keeps: its shape, its stored outputs, its text twin, one verdict for each claim."""

import ast
import json
import re
import string
from collections import Counter
from pathlib import Path

import jupytext
import nbformat
import pytest

from helpers import claims, exercises
from helpers.paths import ROOT
from scripts.publish import books, contract, spoilers
from scripts.publish import notebooks as script

STORED = sorted((ROOT / "notebooks").glob("*.ipynb"))
TEXT = ROOT / "notebooks" / "text"
MACHINE = re.compile(
    r"/(?:root|home/\w+|work|tmp|opt|usr)/"
    r"|https?://(?!colab\.research\.google\.com|ai\.google\.dev|github\.com|arxiv\.org)[\w.]+"
)


@pytest.fixture(params=STORED, ids=lambda path: path.stem)
def notebook(request):
    book = nbformat.read(request.param, as_version=4)
    book.metadata["name"] = request.param.stem
    return book


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks_and_each_has_a_twin():
    assert len(STORED) >= 2
    assert [p.stem for p in STORED] == [p.stem for p in sorted(TEXT.glob("*.py"))]


def test_the_text_twin_is_equal(notebook):
    twin = (TEXT / f"{notebook.metadata.pop('name')}.py").read_text(encoding="utf-8")
    assert jupytext.writes(notebook, fmt="py:percent") == twin


def test_building_from_the_twin_changes_no_source(notebook):
    built = script.read(TEXT / f"{notebook.metadata['name']}.py")
    assert [(c.cell_type, c.source, c.id) for c in built.cells] == [
        (c.cell_type, c.source, c.id) for c in notebook.cells
    ]


def test_what_is_compared_holds_no_address(notebook):
    """A styled table, or whatever prints its place in memory, is another text in every run."""
    for cell in code(notebook):
        told = "".join("".join(output.get("data", {}).get("text/plain", "")) for output in cell.outputs)
        assert "nbval-ignore-output" in cell.metadata.get("tags", ()) or " at 0x" not in told, cell.source


def test_the_core_runs_without_the_deeper_sections(notebook):
    assert contract.core_gaps(books.book(ROOT / "notebooks" / f"{notebook.metadata['name']}.ipynb")) == []


def test_title_badge_and_promises(notebook):
    head = notebook.cells[0].source
    assert head.startswith(f"# {notebook.metadata['name'][:2]} · ")
    assert (
        f"notebooks/{notebook.metadata['name']}.ipynb)" in head
        and "colab-badge.svg" in head
        and "![Open in Colab]" in head
    )
    for words in ("After this notebook you can", "You need", "Time", "Memory"):
        assert f"**{words}" in head


def test_the_setup_cell_is_the_same_everywhere():
    """Before it, at most the cell that hides the GPU.

    What Unsloth replaces depends on it, and Unsloth is imported here.
    """
    firsts = [[cell.source for cell in code(nbformat.read(path, as_version=4))[:2]] for path in STORED]
    setups = [next(source for source in first if "setup.prepare()" in source) for first in firsts]
    hidden = [first[0] for first, setup in zip(firsts, setups, strict=True) if first[0] != setup]
    assert len(set(setups)) == 1 and len(hidden) == 3
    assert len(set(hidden)) == 1 and hidden[0].endswith('os.environ["CUDA_VISIBLE_DEVICES"] = ""')


def test_colab_is_asked_for_a_gpu_where_one_helps(notebook):
    """*Run all* starts the machine that the metadata name; who measures on the processor says that a CPU will do."""
    hides = any('"CUDA_VISIBLE_DEVICES"] = ""' in cell.source for cell in code(notebook))
    if hides:
        assert "accelerator" not in notebook.metadata and "gpuType" not in notebook.metadata["colab"]
        assert "A CPU will do" in notebook.cells[0].source
    else:
        assert notebook.metadata["accelerator"] == "GPU" and notebook.metadata["colab"]["gpuType"] == "T4"
        assert "has not been measured on a T4" in notebook.cells[0].source
    assert {cell.metadata.get("cellView") for cell in code(notebook) if cell.source.startswith("# @title")} == {"form"}


@pytest.mark.parametrize("stored", books.books(), ids=lambda each: each.name)
def test_the_contract_is_kept(stored):
    """Sizes, widths, prose, order of bets and answers: the same function that judges the twins (``outline``)."""
    assert contract.gaps(stored, books.books(), spoilers.answers(books.books())) == []


def test_every_cell_was_executed_in_order_without_error_or_warning(notebook):
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    for cell in code(notebook):
        for output in cell.outputs:
            assert output.output_type != "error"
            assert not (output.output_type == "stream" and output.name == "stderr"), output.text
            text = json.dumps(output, ensure_ascii=False)
            assert "Warning" not in text and "widget-view" not in text
            assert not MACHINE.search(re.sub(r'"image/png": "[^"]*"', "", text)), MACHINE.search(text).group()


def test_no_cell_is_skipped_or_switched_off(notebook):
    for cell in code(notebook):
        assert "nbval-skip" not in cell.metadata.get("tags", [])
        assert "if False" not in cell.source


def test_figures_have_alt_text_that_says_something(notebook):
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                assert len(output.metadata["image/png"]["alt"]) >= 40
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[\]\(|<img(?![^>]*alt=)", cell.source)


def test_no_widget_state_and_a_size_that_github_draws(notebook):
    """GitHub refuses widget metadata that lacks state, and draws a widget's view as nothing: none is stored."""
    assert "widgets" not in notebook.metadata
    for cell in code(notebook):
        assert not any(
            kind.startswith("application/vnd.jupyter.widget")
            for output in cell.outputs
            for kind in output.get("data", {})
        )
    assert (ROOT / "notebooks" / f"{notebook.metadata['name']}.ipynb").stat().st_size <= 3 * 2**20


def test_all_notebooks_together_stay_small():
    assert sum(path.stat().st_size for path in STORED) <= 8 * 2**20


def test_exercises_are_those_of_the_bank(notebook):
    for cell in notebook.cells:
        if marked := script.EXERCISE.match(cell.source):
            identity = marked.group(1)
            assert cell.source == f"{marked.group()}\n{exercises.markdown(identity)}"
            stub = notebook.cells[notebook.cells.index(cell) + 1].source
            assert exercises.bank()[identity].stub in stub and f'check("{identity}"' in stub


def test_each_settled_claim_has_exactly_one_verdict_in_its_own_notebook():
    found = Counter((name, each.name) for each in books.books() for cell in each.cells("code") for name in cell.claims)
    assert found == Counter({(c.id, c.notebook): 1 for c in claims.ledger().values() if c.settled})


def test_a_verdict_cell_hands_over_every_figure_of_its_sentence(notebook):
    for cell in code(notebook):
        for call in ast.walk(ast.parse(cell.source)) if "verdict(" in cell.source else ():
            if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "verdict":
                sentence = claims.ledger()[call.args[0].value].sentence
                needed = {re.split(r"[\[.]", name)[0] for _, name, _, _ in string.Formatter().parse(sentence) if name}
                given = {keyword.arg for keyword in call.keywords} | {"m"}
                assert needed <= given or None in given, call.args[0].value  # None: handed over as a mapping


def test_block_quotes_are_the_guides_words_out_of_the_ledger(notebook):
    quotes = {claim.quote for claim in claims.ledger().values() if claim.notebook == notebook.metadata["name"]}
    found = {
        line[2:]
        for cell in notebook.cells
        if cell.cell_type == "markdown"
        for line in cell.source.split("\n")
        if line.startswith("> ")
    }
    assert found <= quotes, found - quotes


def test_a_percentage_in_prose_is_printed_by_a_cell_or_cited(notebook):
    shown = ""
    for cell in code(notebook):
        for output in cell.outputs:
            texts = {kind: text for kind, text in output.get("data", {}).items() if kind != "image/png"}
            shown += f"{output.get('text', '')} {texts} {output.get('metadata', '')}"
    printed = set(re.findall(r"(\d+(?:\.\d+)?)\s*%", shown)) | {"95", "100"}  # an interval's level, and all
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and not script.EXERCISE.match(cell.source) and "arXiv" not in cell.source:
            told = re.sub(r"<details>.*?</details>|\]\([^)]*\)", "", cell.source, flags=re.DOTALL)
            assert set(re.findall(r"(\d+(?:\.\d+)?)\s*%", told)) <= printed, cell.source[:200]


def test_links_between_notebooks_lead_somewhere(notebook):
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            for target in re.findall(r"\]\(([\w./-]+\.ipynb)\)", cell.source):
                assert (Path(ROOT) / "notebooks" / target).exists(), target
