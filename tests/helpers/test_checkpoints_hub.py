"""helpers.checkpoints as on Colab, run here: the model out of a folder laid out like the hub's own cache.

Without the hub: test_checkpoints. A public data set out of such a folder: test_public_data.
"""

import json
from pathlib import Path

import pytest
from hub_cache import REVISION, blob, mirror, python

from helpers import chat, checkpoints

pytestmark = pytest.mark.slow


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "hub ذاكرة"


@pytest.fixture
def functiongemma(cache, checkpoint) -> Path:
    """A snapshot under FunctionGemma's name: its tokens, its template's file, and this machine's weights."""
    snapshot = mirror(cache, "models", checkpoints.HUB_MODEL)
    for name in (
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ):
        blob(snapshot, Path(checkpoint.path) / name)
    (snapshot / "chat_template.jinja").write_text(chat.CHAT_TEMPLATE, encoding="utf-8")
    return snapshot


AS_ON_COLAB = f"""
import json
from datetime import datetime, timezone
import huggingface_hub, torch
from huggingface_hub.errors import HfHubHTTPError
from helpers import checkpoints
torch.cuda.is_available = lambda: True   # a GPU is there, and the hub answers: ensure() takes Colab's branch
checkpoints.hub_reachable = lambda: True

class Commit:
    def __init__(self, day, commit_id): self.created_at, self.commit_id = \
datetime.fromisoformat(day + "T12:00:00+00:00"), commit_id

def commits(self, name):
    assert name == checkpoints.HUB_MODEL
    return [Commit("2199-01-01", "f" * 40), Commit(checkpoints.HUB_DATE, {REVISION!r}), Commit("2025-12-18", "e" * 40)]

huggingface_hub.HfApi.list_repo_commits = commits
download = huggingface_hub.snapshot_download
huggingface_hub.snapshot_download = lambda *names, **how: download(*names, **how | {{"local_files_only": True}})  \
# its files are on this disk
"""
SPEAKS = (
    AS_ON_COLAB
    + """
checkpoint = checkpoints.ensure()
torch.cuda.is_available = lambda: False
tokenizer = checkpoints.load_tokenizer(checkpoint)
model = checkpoints.load_model(checkpoint)
ids = tokenizer("<bos>عاصمة مصر هي", add_special_tokens=False, return_tensors="pt")
said = tokenizer.decode(model.generate(**ids, max_new_tokens=8, do_sample=False)[0])
print(json.dumps([checkpoint.name, checkpoint.source, checkpoint.path, said]))
"""
)


def test_the_course_model_comes_out_of_the_hubs_cache_and_speaks(cache, functiongemma, tmp_path, checkpoint):
    """At the newest commit up to the course's date: a later one changes nothing.

    Asked again without the hub, the same is taken.
    """
    settings = {"COURSE_CACHE": str(tmp_path / "course")}
    done = python(SPEAKS, cache, **settings)
    assert done.returncode == 0, done.stderr
    name, source, path, said = json.loads(done.stdout.splitlines()[-1])
    assert (name, source) == ("unsloth/functiongemma-270m-it", f"Hugging Face hub, {REVISION[:12]}")
    assert Path(path) == functiongemma and "القاهرة" in said
    (functiongemma.parents[1] / "refs" / "main").write_text("f" * 40)  # the hub has moved on
    done = python(NAMED, cache, COURSE_MODEL=checkpoints.HUB_MODEL, **settings)
    assert done.stdout.strip() == str(functiongemma), done.stdout + done.stderr


FALLS_BACK = (
    AS_ON_COLAB
    + """
HOW
checkpoint = checkpoints.ensure()
print(checkpoint.name)
"""
)
LIMITED = """
import httpx
def commits(self, name):
    raise HfHubHTTPError("429 Client Error: Too Many Requests for url", \
response=httpx.Response(429, request=httpx.Request("GET", "http://x")))
huggingface_hub.HfApi.list_repo_commits = commits
"""
GONE = """
def commits(self, name):
    raise ConnectionError("the connection broke off")
huggingface_hub.HfApi.list_repo_commits = commits
"""
YOUNG = "huggingface_hub.HfApi.list_repo_commits = lambda self, name: [Commit('2199-01-01', 'f' * 40)]"


@pytest.mark.parametrize(
    ("how", "words"),
    [
        (LIMITED, "cannot be fetched: 429"),
        (GONE, "cannot be fetched: the connection broke off"),
        (YOUNG, "is younger than"),
    ],
)
def test_a_hub_that_does_not_give_the_model_ends_nobodys_course(cache, functiongemma, how, words):
    """A rate limit, an outage: one line, and the packaged model takes its place.

    Who named a model gets an error instead.
    """
    done = python(FALLS_BACK.replace("HOW", how), cache)
    assert done.returncode == 0, done.stderr
    line, name = done.stdout.splitlines()
    assert line.startswith(f"{checkpoints.HUB_MODEL} {words}") and line.endswith(
        "→ gemma-3-270m from the package index takes its place"
    )
    assert name == "gemma-3-270m"
    named = python(FALLS_BACK.replace("HOW", how), cache, COURSE_MODEL=checkpoints.HUB_MODEL)
    assert named.returncode and f"CourseError: {checkpoints.HUB_MODEL} {words}" in named.stderr.splitlines()[-1]


def test_without_a_file_of_the_tokenizer_the_packaged_model_takes_its_place(cache, functiongemma):
    """A tokenizer that reads the control tokens otherwise would make every prompt of the course another one."""
    path = functiongemma / "tokenizer.json"
    told = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    for token in told["added_tokens"]:
        token["content"] = token["content"].replace("<escape>", "<unused46>")
    told["model"]["vocab"] = {k.replace("<escape>", "<unused46>"): v for k, v in told["model"]["vocab"].items()}
    path.write_text(json.dumps(told), encoding="utf-8")
    done = python(FALLS_BACK.replace("HOW", ""), cache)
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout.startswith("this tokenizer reads <escape> as ids")
        and done.stdout.splitlines()[-1] == "gemma-3-270m"
    )


NAMED = """
from helpers import checkpoints
from helpers.errors import CourseError
try:
    print(checkpoints.ensure().path)
except CourseError as error:
    print("CourseError:", error)
"""


def test_a_named_hub_model_is_taken_from_the_cache_when_the_hub_is_out_of_reach(cache, functiongemma, tmp_path):
    settings = {"COURSE_CACHE": str(tmp_path / "course")}
    done = python(NAMED, cache, COURSE_MODEL=checkpoints.HUB_MODEL, **settings)
    assert done.stdout.strip() == str(functiongemma), done.stderr
    done = python(NAMED, cache, COURSE_MODEL=f"{checkpoints.HUB_MODEL}@{REVISION}", **settings)
    assert done.stdout.strip() == str(functiongemma), done.stderr
    done = python(NAMED, cache, COURSE_MODEL=f"{checkpoints.HUB_MODEL}@{'f' * 40}", **settings)
    assert done.stdout.startswith("CourseError:") and "not in the hub cache" in done.stdout


def test_a_template_that_renders_otherwise_is_said_and_stops_nobody(cache, functiongemma, tmp_path):
    """The hub's authors may change the template; the course makes its prompts itself, and says what differs."""
    (functiongemma / "chat_template.jinja").write_text(
        chat.CHAT_TEMPLATE.replace("<escape>", "<escape> "), encoding="utf-8"
    )
    done = python(NAMED, cache, COURSE_MODEL=checkpoints.HUB_MODEL, COURSE_CACHE=str(tmp_path / "course"))
    line, path = done.stdout.splitlines()
    assert (
        path == str(functiongemma)
        and "its own chat template writes ' Weather<escape>," in line
        and "where the course writes 'Weather<escape>," in line
    )


def test_pickled_weights_in_a_snapshot_are_not_opened(cache, functiongemma):
    """A snapshot without safetensors, with a pickle that would write a file: it is refused, and nothing is written."""
    (functiongemma / "model.safetensors").unlink()
    hit = cache / "hit"
    program = (
        "import pathlib\n"
        "class Evil:\n"
        "    def __reduce__(self):\n"
        f"        return (pathlib.Path.touch, (pathlib.Path({str(hit)!r}),))\n"
    )
    exec(
        program + "import pickle\n"
        f"pathlib.Path({str(functiongemma / 'pytorch_model.bin')!r}).write_bytes(pickle.dumps(Evil()))",
        {},
    )
    done = python(
        "from helpers import checkpoints\ncheckpoints.load_model(checkpoints.ensure())",
        cache,
        COURSE_MODEL=checkpoints.HUB_MODEL,
    )
    assert done.returncode and not hit.exists()
