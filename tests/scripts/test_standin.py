"""What a reader sees for whom the hub gives FunctionGemma.

Played with a model that can call already and stands under its name.
"""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from helpers import checkpoints
from helpers.paths import ROOT
from scripts.rehearsal import standin


@pytest.fixture(scope="module")
def hub(tmp_path_factory) -> Path:
    """A folder laid out like the hub's cache, which holds the stand-in."""
    folder = tmp_path_factory.mktemp("hub")
    standin.build(folder)
    return folder


def played(name: str, hub: Path, monkeypatch) -> nbformat.NotebookNode:
    """A stored notebook, run in a kernel that finds the stand-in where FunctionGemma would be."""
    for key, value in {"COURSE_MODEL": checkpoints.HUB_MODEL, "HF_HUB_CACHE": str(hub), "HF_HUB_OFFLINE": "1"}.items():
        monkeypatch.setenv(key, value)
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    NotebookClient(
        book, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ROOT / "notebooks")}}
    ).execute()
    return book


def printed(book) -> str:
    return "\n".join("".join(o.get("text", "")) for cell in book.cells for o in cell.get("outputs", []))


@pytest.mark.slow
def test_notebook_00_tells_another_models_story_truly(hub, monkeypatch):
    """The stand-in calls in all five dialects.

    No assert speaks of the base model, and no sentence says that nothing was called.
    """
    book = played("00_start_here", hub, monkeypatch)
    said = printed(book)
    assert re.search(r"model +unsloth/functiongemma-270m-it \(Hugging Face hub, 0123456789ab\)", said)
    found, right = map(
        int,
        re.search(
            r"unsloth/functiongemma-270m-it: (\d) of 5 answers hold a valid call, (\d) the right one", said
        ).groups(),
    )
    assert found >= 4 and right >= 3
    assert "This model calls already." in said and "Nobody has trained this model" not in said
    assert re.search(rf"baseline-calls +your bet: none placed +measured: {found}", said)


# Sentences that are true of the base model alone; in prose they would be read by those who run another.
OF_THE_BASE_ALONE = (
    "none of five",
    "before, none did",
    "from no call at all",
    "For the base model the count is zero",
    "Why did the model write no call",
)


@pytest.mark.parametrize("name", ["00_start_here", "04_masked_training_run"])
def test_prose_tells_no_models_story_in_particular(name):
    book = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)
    text = "\n".join(cell.source for cell in book.cells)
    assert [words for words in OF_THE_BASE_ALONE if words in text] == []
