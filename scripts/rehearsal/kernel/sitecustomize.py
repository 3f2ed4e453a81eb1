"""Loaded by every Python that a rehearsal starts: kernels, and the processes that notebooks start.

With ``REHEARSAL_GPU_GIB`` the GPU has that much memory and, asked for bf16, answers as a T4 does: only by emulation.
Asked for its compute capability it answers Unsloth, which decides by it how to train, with a T4's 7.5, and everybody
else with the truth, since Triton compiles for it. With ``REHEARSAL_PEAKS`` each process leaves its peak memory in that
folder as it ends, with the model it ran on and the path that Unsloth took.
"""

import atexit
import contextlib
import faulthandler
import importlib.abc
import importlib.util
import json
import os
import signal
import sys

T4_CAPABILITY = (7, 5)
_peak = {"gpu_allocated_bytes": 0, "gpu_reserved_bytes": 0}
_told = {"model": "", "profile": "", "path": None}


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
    path = os.path.join(folder, f"{os.getpid()}.json")
    found = {"model": _model(), "profile": _profile(), "path": _path()}
    _told.update({key: value for key, value in found.items() if value})  # as it ends, a kernel's names are gone
    with open(path, "w", encoding="utf-8") as file:
        json.dump({**_peak, **_told, "host_bytes": host}, file)


def _model():
    """The name of the model that a notebook's setup cell chose."""
    return getattr(getattr(sys.modules["__main__"], "checkpoint", None), "name", "")


def _profile():
    """The profile by which this process chose its sizes: cpu, t4 or gpu."""
    environment = sys.modules.get("helpers.environment")
    with contextlib.suppress(Exception):  # a kernel that ends, or one in which no torch was loaded
        return environment.profile().name
    return ""


def _path():
    """How Unsloth trained here, from its own marks and the model that the notebook's run left; None without a run."""
    run, utils = getattr(sys.modules["__main__"], "run", None), sys.modules.get("unsloth.models._utils")
    if utils is None or not hasattr(run, "computed_in"):
        return None
    return {
        "SUPPORTS_BFLOAT16": utils.SUPPORTS_BFLOAT16,
        "UNSLOTH_FORCE_FLOAT32": os.environ.get("UNSLOTH_FORCE_FLOAT32"),
        "_unsloth_forced_float32": getattr(run.model, "_unsloth_forced_float32", None),
        "parameters": sorted({str(p.dtype).removeprefix("torch.") for p in run.model.parameters()}),
        "computed_in": run.computed_in,
    }


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
        truth = cuda.get_device_capability

        def get_device_capability(device=None):
            asks = sys._getframe(1).f_globals.get("__name__", "")
            return T4_CAPABILITY if asks.split(".")[0].startswith("unsloth") else truth(device)

        # or Unsloth caches its own answer and gives it to Triton, too
        get_device_capability._unsloth_per_device_cache = True
        cuda.get_device_capability = get_device_capability


class _WhenTorchLoads(importlib.abc.MetaPathFinder):
    """Shapes torch as it is loaded.

    Many libraries only ask whether there is a torch, before anybody loads it: asking must change nothing.
    """

    asking = False

    def find_spec(self, name, path=None, target=None):
        if name != "torch" or self.asking:
            return None
        self.asking = True
        try:
            spec = importlib.util.find_spec(name)
        finally:
            self.asking = False
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
        # open as long as the process
        file = open(os.path.join(folder, f"stack-{os.getpid()}.txt"), "w", encoding="utf-8")  # noqa: SIM115
        faulthandler.register(signal.SIGUSR1, file=file, all_threads=False)


_tell_where()
sys.meta_path.insert(0, _WhenTorchLoads())
atexit.register(write)
