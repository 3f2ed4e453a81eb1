"""Profiles, and that importing the package costs nothing."""

import dataclasses
import os
import subprocess
import sys

import pytest

from helpers import environment
from helpers.errors import CourseError


def test_the_cpu_profile_here(monkeypatch):
    assert environment.profile().name == "cpu"
    monkeypatch.delenv("COURSE_PROFILE")
    assert environment.profile().name == "cpu"


@pytest.mark.parametrize(("capability", "dtype"), [("AVX512", "bfloat16"), ("AVX2", "float32"), ("DEFAULT", "float32")])
def test_a_cpu_without_bf16_products_gets_float32(capability, dtype, monkeypatch):
    """Some of Colab's processors end at AVX2, where a backward pass in bfloat16 takes up to fifty times as long."""
    import torch

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert environment.profile() == dataclasses.replace(environment.PROFILES["cpu"], dtype=dtype)


@pytest.mark.parametrize(("named", "words"), [("tpu", "no profile"), ("t4", "needs a GPU")])
def test_a_profile_that_cannot_be_had_is_named(named, words, monkeypatch):
    monkeypatch.setenv("COURSE_PROFILE", named)
    with pytest.raises(CourseError, match=words):
        environment.profile()


def test_a_gpu_without_bf16_gets_float32(monkeypatch):
    """A T4 emulates bf16 and says that it supports it; the question is asked without emulation."""
    import torch

    monkeypatch.delenv("COURSE_PROFILE")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    assert (environment.profile().name, environment.profile().dtype) == ("t4", "float32")
    monkeypatch.setenv("COURSE_PROFILE", "gpu")
    assert environment.profile().dtype == "float32"


def test_import_is_cheap():
    heavy = "torch transformers unsloth datasets pandas matplotlib trl".split()
    program = (
        "import helpers, helpers.calls, helpers.chat, helpers.scoring, sys; "
        f"print([m for m in {heavy!r} if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()
        == "[]"
    )


def test_missing_packages_say_so():
    assert environment.versions("no-such-package") == {"no-such-package": "missing"}


def test_a_gpu_is_asked_for_where_one_helps_and_nowhere_else(monkeypatch):
    import torch

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert environment.gpu_advice() is None  # not on Colab
    monkeypatch.setitem(sys.modules, "google.colab", sys)
    assert "Change runtime type → T4 GPU" in environment.gpu_advice() and "\n" not in environment.gpu_advice()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # notebooks 01 to 03: the processor, on purpose
    assert environment.gpu_advice() is None
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert environment.gpu_advice() is None


OLD_TORCHAO = """
import os, sys
sys.path.insert(0, {folder!r})
from helpers import environment
environment.import_libraries()
import torchao, torch
from peft import LoraConfig, get_peft_model
from importlib.metadata import version
assert version("torchao") == torchao.__version__ == "0.10.0"
model = get_peft_model(torch.nn.Sequential(torch.nn.Linear(4, 4)), LoraConfig(r=2, target_modules=["0"]))
print(type(model.base_model.model[0]).__name__)
"""


@pytest.mark.slow
@pytest.mark.parametrize("seen", ["", "0"])
def test_an_old_torchao_is_in_nobodys_way(tmp_path, seen):
    """Colab has torchao 0.10.0, and PEFT 0.21 refuses any below 0.16 for every LoRA layer.

    With a visible GPU and without, and without a word.
    """
    about = tmp_path / "torchao-0.10.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: torchao\nVersion: 0.10.0\n")
    (tmp_path / "torchao").mkdir()
    (tmp_path / "torchao" / "__init__.py").write_text('__version__ = "0.10.0"\n')
    environment = os.environ | {"CUDA_VISIBLE_DEVICES": seen}
    done = subprocess.run(
        [sys.executable, "-c", OLD_TORCHAO.format(folder=str(tmp_path))],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "Linear\n" and "torchao" not in done.stderr


def test_the_peak_of_a_process_is_what_it_held():
    program = """
from helpers import environment
before = environment.peak_host_bytes()
held = b"x" * 300 * 2**20
del held
print((environment.peak_host_bytes() - before) / 2**20)
"""
    assert (
        290
        < float(subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout)
        < 330
    )


def test_no_module_of_unix_alone_is_imported_elsewhere(monkeypatch):
    """Windows has no ``resource``: a training run must not end in an ImportError when it is over."""
    import psutil  # it, too, asks for the platform

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setitem(sys.modules, "resource", None)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda *_: type("pmem", (), {"peak_wset": 7}))
    assert environment.peak_host_bytes() == 7
