"""Seconds and memory of a trainer's steps, and on which processor, for the scripts that measure how long one takes."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path


def step_clock(peak: Callable[[], int] | None = None):
    """A trainer's callback with the ``seconds`` of every step, and its ``peaks`` (bytes) where ``peak`` tells them.

    A GPU is waited for on both sides of a step, and its highest mark set back before it.
    """
    import torch
    from transformers import TrainerCallback

    class Clock(TrainerCallback):
        def __init__(self):
            self.begun, self.seconds, self.peaks = 0.0, [], []

        def on_step_begin(self, *args, **kwargs):
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            self.begun = time.perf_counter()

        def on_step_end(self, *args, **kwargs):
            if torch.cuda.is_initialized():
                torch.cuda.synchronize()
            self.seconds.append(time.perf_counter() - self.begun)
            if peak:
                self.peaks.append(peak())

    return Clock()


def processor() -> str:
    """The GPU's name if one is in use, else the processor's and the number of cores at hand."""
    if "torch" in sys.modules and sys.modules["torch"].cuda.is_initialized():
        return sys.modules["torch"].cuda.get_device_name()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = "CPU"
    return f"{name}, {len(os.sched_getaffinity(0))} cores"
