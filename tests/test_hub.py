"""What runs on Colab, run here: the model and a public data set out of folders laid out like the hub's own cache.

``HF_HUB_CACHE`` is read when ``huggingface_hub`` is imported, so each program runs in a process of its own.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import chat, checkpoints

REVISION = "0123456789abcdef0123456789abcdef01234567"
DATA = "Sa74ll/arabic-mobile-actions"


def mirror(cache: Path, kind: str, name: str) -> Path:
    """An empty snapshot of a repository in a hub cache: ``models--owner--name/snapshots/REVISION``, and ``refs/main`` that names it."""
    folder = cache / f"{kind}--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(REVISION)
    (folder / "snapshots" / REVISION).mkdir(parents=True)
    return folder / "snapshots" / REVISION


def blob(snapshot: Path, source: Path) -> None:
    """A file as the hub's cache keeps it: the content under ``blobs``, a relative link to it in the snapshot."""
    blobs = snapshot.parents[1] / "blobs"
    blobs.mkdir(exist_ok=True)
    try:
        os.link(source, blobs / source.name)
    except OSError:  # another disk
        shutil.copy(source, blobs / source.name)
    (snapshot / source.name).symlink_to(Path("..", "..", "blobs", source.name))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub ذاكرة"


@pytest.fixture
def functiongemma(cache, checkpoint) -> Path:
    """A snapshot under FunctionGemma's name: its tokens, its template's file, and this machine's weights."""
    snapshot = mirror(cache, "models", checkpoints.HUB_MODEL)
    for name in ("config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        blob(snapshot, Path(checkpoint.path) / name)
    (snapshot / "chat_template.jinja").write_text(chat.CHAT_TEMPLATE, encoding="utf-8")
    return snapshot


def python(program: str, cache: Path, **settings) -> subprocess.CompletedProcess:
    environment = {key: value for key, value in os.environ.items() if key != "COURSE_MODEL"}
    environment |= {"HF_HUB_CACHE": str(cache), "HF_DATASETS_CACHE": str(cache / "datasets"), "HF_HUB_OFFLINE": "1", "PYTHONUTF8": "1"} | settings
    return subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=300)


AS_ON_COLAB = """
import json
from helpers import checkpoints
import torch
torch.cuda.is_available = lambda: True   # a GPU is there, and the hub answers: ensure() takes Colab's branch
checkpoints.hub_reachable = lambda: True
checkpoint = checkpoints.ensure()
torch.cuda.is_available = lambda: False
tokenizer = checkpoints.load_tokenizer(checkpoint)
model = checkpoints.load_model(checkpoint)
ids = tokenizer("<bos>عاصمة مصر هي", add_special_tokens=False, return_tensors="pt")
said = tokenizer.decode(model.generate(**ids, max_new_tokens=8, do_sample=False)[0])
print(json.dumps([checkpoint.name, checkpoint.source, checkpoint.path, said]))
"""


def test_the_course_model_comes_out_of_the_hubs_cache_and_speaks(cache, functiongemma):
    done = python(AS_ON_COLAB, cache)
    assert done.returncode == 0, done.stderr
    name, source, path, said = json.loads(done.stdout.splitlines()[-1])
    assert (name, source) == ("unsloth/functiongemma-270m-it", "Hugging Face hub")
    assert Path(path) == functiongemma and "القاهرة" in said


NAMED = """
from helpers import checkpoints
from helpers.errors import CourseError
try:
    print(checkpoints.ensure().path)
except CourseError as error:
    print("CourseError:", error)
"""


def test_a_named_hub_model_is_taken_from_the_cache_when_the_hub_is_out_of_reach(cache, functiongemma):
    done = python(NAMED, cache, COURSE_MODEL=checkpoints.HUB_MODEL)
    assert done.stdout.strip() == str(functiongemma), done.stderr


def test_a_template_that_renders_otherwise_is_refused(cache, functiongemma):
    """The hub's authors may change the template; the course's prompts would then no longer be the model's."""
    (functiongemma / "chat_template.jinja").write_text(chat.CHAT_TEMPLATE.replace("<escape>", "<escape> "), encoding="utf-8")
    done = python(NAMED, cache, COURSE_MODEL=checkpoints.HUB_MODEL)
    assert done.stdout.startswith("CourseError:") and "template" in done.stdout, done.stdout + done.stderr


def test_pickled_weights_in_a_snapshot_are_not_opened(cache, functiongemma):
    """A snapshot without safetensors and with a pickle that would write a file: it is refused, and nothing is written."""
    (functiongemma / "model.safetensors").unlink()
    hit = cache / "hit"
    program = f"import pathlib\nclass Evil:\n    def __reduce__(self):\n        return (pathlib.Path.touch, (pathlib.Path({str(hit)!r}),))\n"
    exec(program + f"import pickle\npathlib.Path({str(functiongemma / 'pytorch_model.bin')!r}).write_bytes(pickle.dumps(Evil()))", {})
    done = python("from helpers import checkpoints\ncheckpoints.load_model(checkpoints.ensure())", cache, COURSE_MODEL=checkpoints.HUB_MODEL)
    assert done.returncode and not hit.exists()


PUBLIC_SET = f"""
import json
from helpers import dataset
from helpers.errors import CourseError
try:
    rows, refused = dataset.from_hub({DATA!r})
    print(json.dumps([len(rows), sum(refused.values()), rows[0]["id"], sorted(rows.column_names)]))
except CourseError as error:
    print("CourseError:", error)
"""


@pytest.fixture
def public_set(cache, shared) -> Path:
    snapshot = mirror(cache, "datasets", DATA)
    sample = shared / "data" / "arabic_function_calling_sample.jsonl"
    shutil.copy(sample, cache / "train.jsonl")
    blob(snapshot, cache / "train.jsonl")
    (snapshot / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n    path: train.jsonl\n---\n", encoding="utf-8")
    return snapshot


def test_a_public_set_comes_out_of_the_hubs_cache(cache, public_set):
    from helpers import dataset

    done = python(PUBLIC_SET, cache)
    assert done.returncode == 0, done.stderr
    kept, refused, _, columns = json.loads(done.stdout.splitlines()[-1])
    assert (kept, refused) == (49, 51) and columns == sorted(dataset.COLUMNS)  # as tests/test_dataset.py finds in the same file


def test_a_script_in_a_public_set_is_not_run(cache, public_set):
    (public_set / "arabic-mobile-actions.py").write_text(f"open({str(cache / 'hit')!r}, 'w')\n")
    done = python(PUBLIC_SET, cache)
    assert done.returncode == 0 and not (cache / "hit").exists()


def test_a_split_or_a_set_that_is_not_there_is_named(cache, public_set):
    done = python(PUBLIC_SET.replace("from_hub(", "from_hub(split='dev', name="), cache)
    assert done.stdout.startswith(f"CourseError: {DATA} (dev) cannot be loaded"), done.stdout + done.stderr
    done = python(PUBLIC_SET.replace(DATA, "nobody/nothing"), cache)
    assert done.stdout.startswith("CourseError: nobody/nothing is on the Hugging Face hub, which cannot be reached from here →"), done.stdout + done.stderr
