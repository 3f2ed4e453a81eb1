"""Profiles, and that importing the package costs nothing."""

import dataclasses
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
    program = f"import helpers, helpers.calls, helpers.chat, helpers.scoring, sys; print([m for m in {heavy!r} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_missing_packages_say_so():
    assert environment.versions("no-such-package") == {"no-such-package": "missing"}
