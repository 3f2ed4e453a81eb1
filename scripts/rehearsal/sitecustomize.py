"""Loaded by every Python that a rehearsal starts: kernels, and the processes that notebooks start.

With ``REHEARSAL_GPU_GIB`` the GPU has that much memory and, asked for bf16, answers as a T4 does: only by emulation. The compute capability
stays the real one, since Triton compiles for it. With ``REHEARSAL_PEAKS`` each process leaves its peak memory in that folder as it ends.
"""

import atexit
import faulthandler
import importlib.abc
import importlib.util
import json
import os
import signal
import sys

_peak = {"gpu_allocated_bytes": 0, "gpu_reserved_bytes": 0}


def _note():
    """Keep the GPU's highest marks so far; called before a notebook sets them back, and at the end."""
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda and cuda.is_initialized():
        for device in range(cuda.device_count()):
            _peak["gpu_allocated_bytes"] = max(_peak["gpu_allocated_bytes"], cuda.max_memory_allocated(device))
            _peak["gpu_reserved_bytes"] = max(_peak["gpu_reserved_bytes"], cuda.max_memory_reserved(device))


def write():
    """Leave this process's peaks; a kernel is asked to before it is shut down, other processes do so as they end."""
    import resource

    if not (folder := os.environ.get("REHEARSAL_PEAKS")):
        return
    _note()
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    with open(os.path.join(folder, f"{os.getpid()}.json"), "w", encoding="utf-8") as file:
        json.dump({**_peak, "host_bytes": host}, file)


def _shape(torch):
    cuda = torch.cuda
    original = cuda.reset_peak_memory_stats

    def reset_peak_memory_stats(device=None):
        _note()
        return original(device)

    cuda.reset_peak_memory_stats = cuda.memory.reset_peak_memory_stats = reset_peak_memory_stats
    if wanted := os.environ.get("REHEARSAL_GPU_GIB"):

        def cap():
            for device in range(cuda.device_count()):
                total = cuda.get_device_properties(device).total_memory
                cuda.set_per_process_memory_fraction(min(1.0, float(wanted) * 2**30 / total), device)

        cuda._lazy_call(cap)  # when CUDA starts, not now: a process may still fork
        cuda.is_bf16_supported = lambda including_emulation=True: including_emulation


class _WhenTorchLoads(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name != "torch":
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None:
            run = spec.loader.exec_module

            def exec_module(module):
                run(module)
                _shape(module)

            spec.loader.exec_module = exec_module
        return spec


def _tell_where():
    """On SIGUSR1 write the main thread's Python frames, also while it is inside a library's own code."""
    if (folder := os.environ.get("REHEARSAL_PEAKS")) and hasattr(signal, "SIGUSR1"):
        file = open(os.path.join(folder, f"stack-{os.getpid()}.txt"), "w", encoding="utf-8")  # noqa: SIM115  (open as long as the process)
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)


_tell_where()
sys.meta_path.insert(0, _WhenTorchLoads())
atexit.register(write)
