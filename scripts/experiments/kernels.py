"""Attribute a training step's work: autograd functions of its graph, authors of its kernels, holders of its memory."""

from __future__ import annotations

import re
from collections import Counter

from helpers.probes.memory import Moment


def graph_nodes(loss) -> dict:
    """The autograd graph behind a loss: how many nodes of each kind.

    A ``torch.autograd.Function`` shows as its name + "Backward".
    """
    seen, waiting, found = set(), [loss.grad_fn], Counter()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        found[node.name().rpartition("::")[2]] += 1
        waiting += [following for following, _ in node.next_functions]
    return dict(found.most_common())


def handwritten_kernels(packages: tuple[str, ...] = ("unsloth", "unsloth_zoo", "cut_cross_entropy")) -> set[str]:
    """Names of the functions that packages' files give to ``triton.jit``, as a decorator or in a call.

    Read from the sources without importing them.
    """
    import ast
    import importlib.util
    from pathlib import Path

    names = set()
    for package in packages:
        if (spec := importlib.util.find_spec(package)) is None:
            continue
        for path in Path(spec.origin).parent.rglob("*.py"):
            text = path.read_text(encoding="utf-8", errors="replace")
            if "triton" in text and "jit" in text:
                names |= _jitted(ast.parse(text))
    return names


def _jitted(tree) -> set[str]:
    import ast

    def jit(node) -> bool:
        return "jit" in ast.unparse(node).split("(")[0].split(".")

    names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and any(jit(d) for d in n.decorator_list)}
    calls = [
        n
        for n in ast.walk(tree)
        if isinstance(n, ast.Call) and jit(n.func) and n.args and isinstance(n.args[0], ast.Name)
    ]
    return names | {call.args[0].id for call in calls}


def kernel_origin(name: str, handwritten: set[str]) -> str:
    """The author of a GPU kernel, by its name: a package (in Triton), torch.compile's Inductor, a copy, a library."""
    if name.startswith(("Memcpy", "Memset")):
        return "copy"
    if name.startswith("triton_"):
        return "torch.compile"
    bare = re.sub(r"_\d+(d\d+)*(de)*\d*$", "", name)
    return "Triton by hand" if {name, bare} & handwritten else "library"


def peak_of_history(snapshot: dict, baseline: int = 0, device: int = 0) -> Moment:
    """The peak in a recording by ``torch.cuda.memory._record_memory_history``, by who allocated what was alive then.

    ``baseline``: bytes allocated when the recording began. Each holder is named after the innermost Python frame
    outside of torch and of compiled code's wrappers; memory taken by autograd's own thread has no such frame. Category
    "before" is what the recording did not see allocated.
    """
    live, now, most, best = {}, baseline, -1, {}
    held = Counter({("before", "", ""): baseline})
    for event in snapshot["device_traces"][device]:
        address, size = event.get("addr"), event.get("size", 0)
        if event["action"] == "alloc":
            live[address] = (("recorded", *_holder(event.get("frames") or [])), size)
        elif event["action"] != "free_completed":
            continue
        holder, size = live[address] if event["action"] == "alloc" else live.pop(address, (("before", "", ""), size))
        sign = 1 if event["action"] == "alloc" else -1
        held[holder] += sign * size
        now += sign * size
        if now > most:
            most, best = now, {h: s for h, s in held.items() if s}
    return Moment(best)


def _holder(frames: list[dict]) -> tuple[str, str]:
    """(file, function) of the innermost frame that tells something."""
    for frame in frames:
        name = frame["filename"].replace("\\", "/")
        if "torchinductor" in name:
            return "compiled code", "buffers of torch.compile"
        if not re.search(r"/torch/|^<|/contextlib\.py$", name):
            return "/".join(name.split("/")[-2:]), frame["name"]
    return ("autograd", "backward") if not frames else ("torch", frames[0]["name"])
