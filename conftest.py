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


#: Fixtures that load the 270M model, train, convert or fill an environment; what asks for one is ``slow``.
SLOW_FIXTURES = frozenset(
    "model exact conversion_seconds f16 small server whole killed without_bf16 machine functiongemma hub data".split()
)
#: Files whose tests start processes, GPU scripts, browsers or rehearsals.
SLOW_FILES = frozenset(
    f"test_{name}"
    for name in "training faults reference_adapter gpu_runs format_runs rehearse standin pages hub".split()
)


def pytest_collection_modifyitems(items):
    """Unit tests first: when one fails there is no need to wait for the notebooks; ``slow`` is left to make test."""
    items.sort(key=lambda item: item.path.suffix == ".ipynb")
    for item in items:
        if item.path.stem in SLOW_FILES or SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("slow")


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
