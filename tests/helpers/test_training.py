"""The real run, briefly: Unsloth, TRL and the real model take a few steps, stop, and go on."""

import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_checkpoints import Bomb
from tiny_gemma import tiny_config

from helpers import dataset, environment, generation, masking, training
from helpers.errors import CourseError

# a constant rate: the later steps count as much as the first, so that what a resumed run has lost shows in the loss
BRIEF = training.Recipe(rank=4, alpha=8, max_steps=6, batch_size=1, warmup=0.0, rows_per_prompt=1, schedule="constant")
SAVED = 2  # the step at which the interrupted run saves


def load_rows():
    return dataset.load("train", tools_per_row=1).select(range(40))


@pytest.fixture(scope="module")
def rows():
    return load_rows()


@pytest.fixture(scope="module")
def whole(rows, checkpoint, tmp_path_factory):
    return training.train(BRIEF, rows, checkpoint, tmp_path_factory.mktemp("whole"))


def test_defaults_are_the_guides():
    recipe = training.Recipe()
    assert (recipe.rank, recipe.alpha, recipe.learning_rate, recipe.schedule) == (32, 64, 1e-3, "cosine")
    assert set(recipe.target_modules) == {"q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"}


@pytest.mark.slow
def test_a_run_learns_and_says_what_it_did(whole):
    losses = [step["loss"] for step in whole.history]
    assert len(losses) == 6 and sum(losses[-2:]) < 0.8 * sum(losses[:2])
    assert all(step["grad_norm"] > 0 for step in whole.history)
    assert whole.computed_in == environment.profile().dtype
    # on a processor it is not loaded: it would replace Gemma 3's modules for the whole process
    assert "unsloth.models.loader" not in sys.modules
    assert 0 < whole.audit.labelled < whole.audit.tokens and whole.peak_bytes > 1e9 and whole.seconds > 0


@pytest.mark.slow
def test_the_adapter_is_saved_as_safetensors(whole, tmp_path):
    names = {path.name for path in Path(whole.adapter).iterdir()}
    assert "adapter_model.safetensors" in names and not any(name.endswith((".bin", ".pt", ".pkl")) for name in names)


@pytest.mark.slow
def test_a_run_goes_on_from_an_adapter(whole, rows, checkpoint, tmp_path):
    """On the same first batch its loss is far below the one from which that adapter began; another shape is refused."""
    first = training.train(replace(BRIEF, start=whole.adapter, max_steps=1), rows, checkpoint, tmp_path).history[0]
    assert first["loss"] < 0.8 * whole.history[0]["loss"]
    with pytest.raises(CourseError, match="another shape than the recipe → train with rank=4, alpha=8"):
        training.load(replace(BRIEF, start=whole.adapter, rank=8), checkpoint)


RESUME = """
import sys
from helpers import environment
environment.import_libraries()
from helpers import checkpoints, dataset, training
from test_training import BRIEF, SAVED, load_rows
training.SAVE_EVERY = SAVED
training.train(BRIEF, load_rows(), checkpoints.ensure("gemma"), sys.argv[1])
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory) -> Path:
    """The folder of a run that SIGKILL ended after its first checkpoint; its path has a space and Arabic letters."""
    folder = tmp_path_factory.mktemp("تدريب with space") / "run"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])}
    process = subprocess.Popen(
        [sys.executable, "-c", RESUME, str(folder)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    state, limit = folder / f"checkpoint-{SAVED}" / "trainer_state.json", time.time() + 1200
    while not (state.exists() and state.stat().st_size) and process.poll() is None and time.time() < limit:
        time.sleep(0.02)
    process.kill()
    _, errors = process.communicate()
    assert process.returncode == -signal.SIGKILL, errors.decode()[-2000:]
    assert state.exists(), "no checkpoint within the time limit: this machine had other work"
    return folder


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_losses(killed, whole, rows, checkpoint, tmp_path):
    """Two thirds of the steps come after the checkpoint, with the optimizer's state out of it.

    Beside it lies half of a later one, as a kill while saving leaves it; it is set aside.
    """
    folder = tmp_path / "تشغيل two"
    shutil.copytree(killed, folder)
    shutil.copytree(folder / f"checkpoint-{SAVED}", folder / f"checkpoint-{SAVED + 1}")
    (folder / f"checkpoint-{SAVED + 1}" / "trainer_state.json").unlink()
    resumed = training.train(BRIEF, rows, checkpoint, folder)
    assert [step["step"] for step in resumed.history] == list(range(1, 7))
    for a, b in zip(resumed.history, whole.history, strict=True):
        assert a["loss"] == pytest.approx(b["loss"], rel=1e-3), a["step"]
    assert Path(resumed.adapter).is_dir() and not list(folder.glob("checkpoint-*"))
    assert (folder / f"damaged-checkpoint-{SAVED + 1}" / "optimizer.pt").exists()


@pytest.mark.slow
def test_a_hostile_checkpoint_is_refused_and_not_run(killed, rows, checkpoint, tmp_path):
    folder, mark = tmp_path / "run", tmp_path / "mark"
    shutil.copytree(killed, folder)
    (folder / f"checkpoint-{SAVED}" / "optimizer.pt").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CourseError, match=f"checkpoint-{SAVED} is damaged or holds more than tensors.*delete"):
        training.train(BRIEF, rows, checkpoint, folder)
    assert not mark.exists()


def test_half_a_checkpoint_is_no_checkpoint_and_is_kept_under_another_name(tmp_path, capsys):
    states = {9: "null", 10: json.dumps({"global_step": 10}), 20: '{"global_st', 30: None, 40: "[]", 100: ""}
    for step, content in states.items():
        (tmp_path / f"checkpoint-{step}").mkdir()
        if content is not None:
            (tmp_path / f"checkpoint-{step}" / "trainer_state.json").write_text(content, encoding="utf-8")
    (tmp_path / "checkpoint-best").mkdir()  # somebody else's: no step's
    for _ in range(2):
        assert training._last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-10")
    damaged = [f"damaged-checkpoint-{step}" for step in (100, 40, 30, 20)]
    assert capsys.readouterr().out.splitlines() == [
        f"{name.removeprefix('damaged-')} is damaged → kept as {name}" for name in damaged
    ]
    assert {p.name for p in tmp_path.iterdir()} == {"checkpoint-9", "checkpoint-10", "checkpoint-best", *damaged}
    assert training._last_checkpoint(tmp_path / "absent") is None


@pytest.mark.parametrize(
    "error", [PermissionError(13, "denied"), OSError(5, "Input/output error"), OSError(24, "many")]
)
def test_a_checkpoint_that_cannot_be_read_is_not_called_damaged(error, tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        raise error

    (tmp_path / "checkpoint-10").mkdir()
    monkeypatch.setattr(Path, "read_text", fail)
    with pytest.raises(CourseError, match=f"checkpoint-10 cannot be read: {error.strerror} → "):
        training._last_checkpoint(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint-10"]


@pytest.mark.slow
def test_loss_at_labels_only_equals_the_whole_computation(checkpoint, rows):
    model, tokenizer = training.load(BRIEF, checkpoint)
    data, _ = training.tokenize(rows.select(range(2)), tokenizer, BRIEF)
    width = max(map(len, data["input_ids"]))
    batch = {
        "input_ids": torch.tensor([r + [0] * (width - len(r)) for r in data["input_ids"]]),
        "labels": torch.tensor([r + [masking.IGNORED] * (width - len(r)) for r in data["labels"]]),
        "attention_mask": torch.tensor([[1] * len(r) + [0] * (width - len(r)) for r in data["input_ids"]]),
    }
    with torch.no_grad():
        ours = masking.label_loss(model, dict(batch)).item()
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        theirs = torch.nn.functional.cross_entropy(
            logits[:, :-1].float().flatten(0, 1), batch["labels"][:, 1:].flatten()
        ).item()
    assert ours == pytest.approx(theirs, abs=1e-3)


@pytest.mark.slow
def test_only_a_row_that_teaches_is_accepted(rows, checkpoint):
    from datasets import Dataset

    row = dict(rows[0])
    row["messages"] = json.dumps(json.loads(row["messages"])[:2])  # nobody answers
    with pytest.raises(CourseError, match="every label is -100"):
        training.train(BRIEF, Dataset.from_list([row]), checkpoint)


@pytest.mark.slow
def test_generation_says_what_stopped_it(whole, rows):
    from helpers.chat import STOP_IDS

    for limit in (1, 40):
        for written in generation.generate(whole.model, whole.tokenizer, rows.select(range(3)), max_new_tokens=limit):
            if written.stopped_by == generation.LIMIT:
                assert len(written.token_ids) == limit and not set(written.token_ids) & set(STOP_IDS)
            else:
                assert written.text.endswith(written.stopped_by) and written.token_ids[-1] in STOP_IDS


@pytest.mark.slow
def test_out_of_memory_becomes_advice(rows, checkpoint, monkeypatch, tmp_path):
    def exhausted(*args, **kwargs):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")

    monkeypatch.setattr(masking, "label_loss", exhausted)
    with pytest.raises(CourseError, match=r"out of memory.*halve batch_size \(now 2\)"):
        training.train(replace(BRIEF, batch_size=2), rows, checkpoint, tmp_path)


# --- a GPU without bfloat16 -------------------------------------------------------------------------------------------

WITHOUT_BF16 = """
import contextlib, json, os, sys
from collections import Counter
os.environ.update(UNSLOTH_ALLOW_CPU="1", COURSE_PROFILE="cpu", TORCHDYNAMO_DISABLE="1")  \
# Unsloth takes its GPU branches, and finds no bfloat16
from helpers import environment
environment.import_libraries()
import torch, transformers
import unsloth.models.vision
from unsloth.models import _utils
from helpers import checkpoints, environment, masking, training

torch.cuda.get_device_capability = lambda *_: (7, 5)  # what it asks the device that is not there
unsloth.models.vision.get_device_stats = lambda: ("a T4", "", 14.7)
environment.PROFILES["cpu"] = environment.replace(environment.PROFILES["cpu"], dtype="float32")
folder, course = sys.argv[1:]
plain = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)  # made before ...
if not int(course):
    training.in_float32_throughout = lambda dtype: contextlib.nullcontext()
tiny = checkpoints.Checkpoint(folder, "tiny", "made here")
with environment.quiet():
    model, _ = training.load(training.Recipe(rank=2, alpha=4, max_length=64), tiny)
ids = torch.randint(5, 1000, (1, 12))
told = {
    "supports": _utils.SUPPORTS_BFLOAT16, "force": os.environ["UNSLOTH_FORCE_FLOAT32"], \
"forced": model._unsloth_forced_float32,
    "dtypes": sorted({str(p.dtype)[6:] for p in model.parameters()}), \
"list": [n for n in unsloth.models.loader.FORCE_FLOAT32 if "gemma3" in n],
    "user": model._unsloth_user_float32,
}
loss = masking.label_loss(model, {"input_ids": ids, "labels": ids, "attention_mask": torch.ones_like(ids)})
with contextlib.suppress(RuntimeError):
    loss.backward()
    told |= {"loss": str(loss.dtype)[6:], "gradients": \
all(p.grad is not None and p.grad.isfinite().all().item() for p in model.parameters() if p.requires_grad)}
after = checkpoints.load_model(tiny, "float32", "cpu")  # ... and after
for name, one in (("before", plain), ("after", after)):
    try:
        told[name] = one(input_ids=ids).logits.isfinite().all().item()
    except RuntimeError as error:
        told[name] = str(error)
told["same"] = torch.equal(plain(input_ids=ids).logits, after(input_ids=ids).logits) if told["before"] is True else None
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, checkpoint) -> Path:
    """A Gemma 3 of two layers with random weights, and the real tokenizer."""
    from transformers import Gemma3ForCausalLM

    folder = tmp_path_factory.mktemp("tiny")
    config = tiny_config(
        vocab_size=262144,
        layer_types=None,  # as Gemma 3's own pattern has them: both slide
        query_pre_attn_scalar=16,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=1,
    )
    Gemma3ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(checkpoint.path) / name, folder)
    return folder


@pytest.fixture(scope="module")
def without_bf16(tiny, tmp_path_factory) -> dict[bool, dict]:
    """What a process found that loaded the model as the course does (True), and one that left it to Unsloth (False).

    Both at once.
    """
    running = {}
    for course in (True, False):
        folder = tmp_path_factory.mktemp("process")
        settings = {"UNSLOTH_COMPILE_LOCATION": str(folder / "compiled"), "PYTHONPATH": "", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", WITHOUT_BF16, str(tiny), str(int(course))]
        running[course] = subprocess.Popen(
            command, env=os.environ | settings, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
    told = {course: process.communicate(timeout=300) for course, process in running.items()}
    assert all(process.returncode == 0 for process in running.values()), [error[-2000:] for _, error in told.values()]
    return {course: json.loads(said.splitlines()[-1]) for course, (said, _) in told.items()}


@pytest.mark.slow
def test_where_a_gpu_has_no_bf16_the_course_computes_in_float32(without_bf16):
    """The course's decision: float32 on purpose.

    Unsloth keeps to it, and plain models made before and after run beside it.
    """
    told = without_bf16[True]
    assert (told["supports"], told["force"], told["forced"], told["user"]) == (False, "0", False, True)
    assert told["dtypes"] == ["float32"] and told["loss"] == "float32" and told["gradients"]
    assert told["before"] is True and told["after"] is True and told["same"]
    assert told["list"] == ["gemma3,", "gemma3text", "gemma3n"]  # Unsloth's own list is as it was


@pytest.mark.slow
def test_left_to_itself_unsloth_mixes_float16_in_and_plain_models_break(without_bf16):
    """The other decision, which notebook 03 describes.

    When this fails, Unsloth has changed, and the reason for ours may be gone.
    """
    told = without_bf16[False]
    assert (told["supports"], told["force"], told["forced"]) == (False, "1", True)
    assert told["dtypes"] == ["float16", "float32"]
    assert "same dtype" in told["before"] and "same dtype" in told["after"]
