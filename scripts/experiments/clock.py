"""Seconds and memory of a trainer's steps, for the scripts that measure how long one takes."""

from __future__ import annotations

import time
from collections.abc import Callable


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
