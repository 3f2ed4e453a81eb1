"""Settings for every test: the CPU profile, strict verdicts, no widgets, bets in a folder of their own."""

import os
import tempfile
from pathlib import Path

os.environ.update(
    COURSE_PROFILE="cpu",
    COURSE_STRICT="1",
    COURSE_WIDGETS="0",
    COURSE_BETS=str(Path(tempfile.mkdtemp(prefix="course-")) / "bets.json"),
    CUDA_VISIBLE_DEVICES="",
)

import pytest  # noqa: E402

from helpers import environment  # noqa: E402

environment.set_variables()
# test material that is not ours to commit; beside the clone in CI
SHARED = Path(__file__).resolve().parents[1] / "shared"


def pytest_collection_modifyitems(items):
    """Unit tests first: when one fails there is no need to wait for the notebooks."""
    items.sort(key=lambda item: item.path.suffix == ".ipynb")


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip("shared/ is not beside this clone")
    return SHARED


@pytest.fixture(scope="session")
def checkpoint():
    environment.import_libraries()
    from helpers import checkpoints

    return checkpoints.ensure("gemma")


@pytest.fixture(scope="session")
def tokenizer(checkpoint):
    from helpers import checkpoints

    return checkpoints.load_tokenizer(checkpoint)


@pytest.fixture(scope="session")
def model(checkpoint):
    from helpers import checkpoints

    return checkpoints.load_model(checkpoint)


@pytest.fixture(scope="session")
def splits() -> dict[str, list[dict]]:
    """Every row of the data set, by split."""
    from helpers import dataset

    return {split: dataset.load(split).to_list() for split in dataset.STORED}


@pytest.fixture(scope="session")
def drawn() -> dict[str, list[dict]]:
    """Every row of the universe as it is loaded, by split."""
    from helpers import universe

    return {split: universe.rows(split) for split in universe.SPLITS}


@pytest.fixture(scope="session")
def rendered(splits) -> dict[str, list[str]]:
    """Every row of the data set as text, by split: rendering them all takes long enough to be done once."""
    from helpers import dataset

    return {split: dataset.texts(rows) for split, rows in splits.items()}


@pytest.fixture(scope="session")
def lengths(rendered, tokenizer) -> dict[str, int]:
    """The tokens in each rendered row, by its text."""
    return {
        text: len(ids)
        for texts in rendered.values()
        for text, ids in zip(texts, tokenizer(texts, add_special_tokens=False).input_ids, strict=True)
    }
