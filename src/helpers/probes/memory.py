"""Every byte of a training step: who holds it when the step needs most, and what checkpointing changes about it.

``Ledger`` follows each tensor's storage from the operation that makes it to the moment it is freed, on any device, and
on ``meta``, where nothing is computed and a long sequence costs nothing. ``saved`` asks autograd alone what it keeps,
which also works for compiled code.
Source: Chen et al., *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174), for checkpointing.
"""

from __future__ import annotations

import re
import weakref
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

CATEGORIES = ("weights", "adapters", "optimizer", "gradients", "saved", "recomputed", "in flight")
OWNERS = ("weights", "training state", "layers", "loss")
LOSS_MODULES = ("loss", "lm_head", "base_model.model")  # transformers computes its loss in the whole model's forward
CUDA_BLOCK = 512  # bytes: CUDA's caching allocator hands out multiples of it


def logits_bytes(tokens: int, vocabulary: int = 262_144, size: int = 4) -> int:
    """Bytes of the logits of so many tokens: 1 MiB each in float32."""
    return tokens * vocabulary * size


def score_bytes(tokens: int, heads: int = 4, size: int = 4) -> int:
    """Bytes of one layer's attention scores, a float32 (heads, N, N)."""
    return heads * tokens * tokens * size


def owners(moment) -> dict[str, int]:
    """A moment's bytes by whose they are: weights, training state, layers, loss.

    Training state: adapters, their gradients, the optimizer's numbers. The loss's: logits, what the softmax keeps of
    them, and their gradients. What is left is the layers'.
    """
    found = dict.fromkeys(OWNERS, 0)
    for (category, module, kind), size in moment.holdings.items():
        if category in ("adapters", "gradients", "optimizer"):
            found["training state"] += size
        elif category == "weights":
            found["weights"] += size
        else:
            of_the_loss = module in LOSS_MODULES or "log_softmax" in kind or "nll_loss" in kind
            found["loss" if of_the_loss else "layers"] += size
    return found


# --- the ledger -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Entry:
    """Live storage: its bytes, what it is for (of ``CATEGORIES``), the module whose forward made it, the operation."""

    bytes: int
    category: str
    module: str
    kind: str


@dataclass
class Moment:
    """The live bytes of one moment, by (category, module, kind). Layer numbers are left out of module names."""

    holdings: dict = field(default_factory=dict)

    @property
    def total(self) -> int:
        """Live bytes in all."""
        return sum(self.holdings.values())

    def by(self, *keys: str) -> dict:
        """Bytes grouped by any of category, module and kind, largest first; a single key gives plain names."""
        position = {"category": 0, "module": 1, "kind": 2}
        grouped: Counter = Counter()
        for holder, size in self.holdings.items():
            found = tuple(holder[position[key]] for key in keys)
            grouped[found if len(keys) > 1 else found[0]] += size
        return dict(grouped.most_common())


class Ledger:
    """Follow all tensors of ``model``'s device inside a ``with`` block.

    ``peak`` is the moment with most live bytes; ``mark(name)`` keeps others in ``marks``; ``timeline`` has the bytes of
    each category after every operation that changed them. Tensors that nobody told it of before (a batch) count from
    the first operation that returns them.

    What no ledger of tensors sees: scratch memory inside a kernel (cuBLAS holds some for good), and what compiled code
    allocates for itself.
    """

    def __init__(self, model, optimizer=None) -> None:
        self.model, self.optimizer = model, optimizer
        self.device = next(model.parameters()).device.type
        self.peak = Moment()
        self.marks: dict = {}
        self.timeline: list = []
        self._live: dict[int, Entry] = {}
        self._references: dict[int, weakref.ref] = {}
        self._totals: Counter = Counter()
        self._holdings: Counter = Counter()
        self._modules: list[str] = []
        self._sum = self._most = 0

    def __enter__(self):
        import torch

        self._stack = ExitStack()
        for name, parameter in self.model.named_parameters():
            self._meet(
                parameter,
                "parameter",
                "adapters" if parameter.requires_grad else "weights",
                _general(name.rpartition(".")[0]),
            )
            if parameter.grad is not None:
                self._meet(parameter.grad, "gradient", "gradients")
            if parameter.requires_grad:
                self._until_exit(
                    parameter.register_post_accumulate_grad_hook(lambda p: self._relabel(p.grad, "gradients"))
                )
        for name, buffer in self.model.named_buffers():
            self._meet(buffer, "buffer", "weights", _general(name.rpartition(".")[0]))
        if self.optimizer is not None:
            self._optimizer_state()
            self._until_exit(self.optimizer.register_step_post_hook(lambda *told: self._optimizer_state()))
        self._follow_modules()
        self._stack.enter_context(torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor))
        self._stack.enter_context(_dispatch_mode(self._operation))
        return self

    def __exit__(self, *error):
        self._stack.close()
        self._live.clear()
        self._references.clear()
        return False

    def mark(self, name: str) -> None:
        """Keep this moment under a name."""
        self.marks[name] = Moment({holder: size for holder, size in self._holdings.items() if size})

    def _until_exit(self, handle) -> None:
        self._stack.callback(handle.remove)

    def _follow_modules(self) -> None:
        for name, module in self.model.named_modules():
            told = _general(name)
            self._until_exit(module.register_forward_pre_hook(lambda m, a, told=told: self._modules.append(told)))
            # a checkpoint stops its second forward early, by an exception: the hook has to run then, too
            self._until_exit(
                module.register_forward_hook(lambda m, a, out: self._modules.pop() and None, always_call=True)
            )

    def _operation(self, name: str, tensors) -> None:
        import torch

        where = self._modules[-1] if self._modules else ""
        backward = torch._C._current_graph_task_id() != -1
        category = "recomputed" if backward and where else "in flight"
        for tensor in tensors:
            self._meet(tensor, name, category, where or ("backward" if backward else "loss"))

    def _meet(self, tensor, kind: str, category: str = "in flight", module: str = "") -> None:
        if tensor.device.type != self.device:
            return
        storage = tensor.untyped_storage()
        key, size = storage._cdata, storage.nbytes()
        if key in self._live or not size:
            return
        if self.device == "cuda":
            size = -(-size // CUDA_BLOCK) * CUDA_BLOCK
        self._references[key] = weakref.ref(storage, lambda _: self._forget(key))
        self._live[key] = Entry(size, category, module, kind)
        self._count(self._live[key], +1)

    def _forget(self, key: int) -> None:
        self._references.pop(key, None)
        if entry := self._live.pop(key, None):
            self._count(entry, -1)

    def _relabel(self, tensor, category: str) -> None:
        key = tensor.untyped_storage()._cdata
        if (entry := self._live.get(key)) is None or entry.category == category:
            return
        self._count(entry, -1)
        self._live[key] = Entry(entry.bytes, category, entry.module, entry.kind)
        self._count(self._live[key], +1)

    def _count(self, entry: Entry, sign: int) -> None:
        self._sum += sign * entry.bytes
        self._totals[entry.category] += sign * entry.bytes
        self._holdings[entry.category, entry.module, entry.kind] += sign * entry.bytes
        self.timeline.append(tuple(self._totals[c] for c in CATEGORIES))
        if self._sum > self._most:
            self._most = self._sum
            self.peak = Moment({holder: size for holder, size in self._holdings.items() if size})

    def _pack(self, tensor):
        entry = self._live.get(tensor.untyped_storage()._cdata)
        if entry is not None and entry.category == "in flight":
            self._relabel(tensor, "saved")
        return tensor.detach()  # autograd would hold the tensor, the tensor its graph, and nobody could free either

    def _optimizer_state(self) -> None:
        import torch

        for state in self.optimizer.state.values():
            for tensor in state.values():
                if isinstance(tensor, torch.Tensor):
                    self._meet(tensor, "state", "optimizer")
                    self._relabel(tensor, "optimizer")


def _general(name: str) -> str:
    """A module's name without PEFT's prefixes and layer numbers."""
    name = re.sub(r"^base_model\.model\.|\.base_layer\b|\.default\b", "", name)
    return re.sub(r"\.\d+\b", ".*", name).removeprefix("model.") or "model"


def _dispatch_mode(told: Callable):
    """A mode that calls ``told(operation, tensors)`` with what every ATen operation returns."""
    import torch
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_leaves

    class Following(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            told(function._opname, [leaf for leaf in tree_leaves(out) if isinstance(leaf, torch.Tensor)])
            return out

    return Following()


# --- saved tensors ----------------------------------------------------------------------------------------------------


@dataclass
class Saved:
    """What autograd kept: each storage's bytes, shape, dtype, the device it waits on, the module that was running."""

    tensors: list[dict] = field(default_factory=list)

    def bytes(self, device: str | None = None) -> int:
        """Bytes on a kind of device, or on all."""
        return sum(t["bytes"] for t in self.tensors if device in (None, t["device"]))


@contextmanager
def saved(model):
    """Collect every tensor that autograd saves in the block, once for each storage, parameters and buffers left out.

    Yields a ``Saved``.
    """
    import torch

    known = {t.untyped_storage()._cdata for t in (*model.parameters(), *model.buffers())}
    found, modules = Saved(), []
    references = []  # a storage that is freed inside the block must not lend its address to another

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage._cdata not in known and storage.nbytes():
            known.add(storage._cdata)
            references.append(weakref.ref(storage, lambda _, key=storage._cdata: known.discard(key)))
            where = modules[-1] if modules else "loss"
            found.tensors.append(
                {
                    "bytes": storage.nbytes(),
                    "shape": tuple(tensor.shape),
                    "dtype": str(tensor.dtype).removeprefix("torch."),
                    "device": tensor.device.type,
                    "module": where,
                }
            )
        return tensor.detach()  # see Ledger._pack

    with ExitStack() as stack:
        for name, module in model.named_modules():
            told = _general(name)
            stack.callback(module.register_forward_pre_hook(lambda m, a, told=told: modules.append(told)).remove)
            stack.callback(
                module.register_forward_hook(lambda m, a, out: modules.pop() and None, always_call=True).remove
            )
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor))
        yield found


@contextmanager
def counted(model, *names: str):
    """Count the forward calls of all modules whose last name is one of ``names``. Yields a Counter."""
    calls: Counter = Counter()
    handles = [
        module.register_forward_pre_hook(lambda m, a, last=last: calls.update([last]))
        for name, module in model.named_modules()
        if (last := name.rpartition(".")[2]) in names
    ]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()
