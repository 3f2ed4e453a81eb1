"""A training step to measure: ways of checkpointing, ways to the same loss, one step under the ledger.

Source: Chen et al., *Training Deep Nets with Sublinear Memory Cost* (arXiv 1604.06174), for recomputation; Hsu et al.,
*Liger Kernel* (arXiv 2410.10989), section 3.2, for a cross-entropy whose logits never exist at once.
"""

from __future__ import annotations

from contextlib import ExitStack, contextmanager

from .. import masking, training
from ..checkpoints import load_model, without_adapter
from ..errors import CourseError
from .memory import Ledger, counted

MODES = ("none", "layer", "nonlinearity", "offload")
LOSSES = ("full", "chunked", "response")


def adapted(
    checkpoint,
    attention: str = "eager",
    dtype: str = "bfloat16",
    device: str | None = None,
    rank: int = 32,
    seed: int = 0,
):
    """Plain transformers + PEFT: the frozen model in ``dtype`` with a LoRA adapter on all seven projections.

    The adapter is in float32, PEFT's default. ``device`` ``"meta"`` gives shapes without numbers: nothing is loaded,
    and no step takes memory.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    if device == "meta":
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(
                AutoConfig.from_pretrained(checkpoint.path), dtype=getattr(torch, dtype), attn_implementation=attention
            )
            model.tie_weights()
    else:
        model = load_model(checkpoint, dtype=dtype, device=device)
        model.set_attn_implementation(attention)
    model.config.use_cache = False
    torch.manual_seed(seed)
    with torch.device(next(model.parameters()).device):
        return training.add_adapter(model, rank).train()


def random_ids(model, batch: int, tokens: int, seed: int = 0):
    """Token ids (B, N), drawn from the middle of the vocabulary: for bytes and seconds any ids will do."""
    import torch

    vocabulary = model.config.vocab_size
    draw = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocabulary // 4, vocabulary // 2, (batch, tokens), generator=draw)
    return ids.to(next(model.parameters()).device)


def loss_of(model, ids, loss: str = "full", labelled: int | None = None):
    """Mean cross-entropy in nats over the last ``labelled`` tokens of each row of ids (B, N): a scalar tensor.

    Without ``labelled``: over all tokens that have a predecessor. Three implementations with the same value:
    ``full``: transformers' own, float32 logits at every position. ``chunked``: logits of 128 positions at a time,
    recomputed for the gradient. ``response``: logits of the labelled positions only.
    Raises CourseError for another name.
    """
    import torch

    if loss not in LOSSES:
        raise CourseError(f"there is no loss {loss!r}", f"use one of {', '.join(LOSSES)}")
    labelled = labelled or ids.shape[1] - 1
    if loss == "full":
        labels = ids.clone()
        labels[:, : ids.shape[1] - labelled] = masking.IGNORED
        return model(input_ids=ids, labels=labels, **_masks(model, ids)).loss
    causal = without_adapter(model)
    # (B * labelled, 640)
    hidden = (
        causal.model(input_ids=ids, **_masks(model, ids))
        .last_hidden_state[:, -labelled - 1 : -1]
        .flatten(0, 1)
        .contiguous()
    )
    targets = ids[:, -labelled:].flatten()
    if loss == "chunked":
        return masking.summed_cross_entropy(causal.lm_head, hidden, targets) / len(targets)
    return torch.nn.functional.cross_entropy(causal.lm_head(hidden).float(), targets)


def _masks(model, ids) -> dict:
    """On ``meta`` the masks (1, 1, N, N) have to be given.

    transformers looks into the positions to make them, and there are no numbers to see.
    """
    import torch

    if ids.device.type != "meta":
        return {}
    length = ids.shape[1]
    return {
        "attention_mask": {
            kind: torch.empty(1, 1, length, length, dtype=model.dtype, device="meta")
            for kind in ("full_attention", "sliding_attention")
        }
    }


@contextmanager
def checkpointing(model, mode: str):
    """Context manager that applies one checkpointing mode to a model (torch.utils.checkpoint without reentry).

    ``none`` · ``layer``: store each decoder layer's input, recompute the layer · ``offload``: the same, with the
    inputs in host memory · ``nonlinearity``: recompute only GeGLU's act(gate)·up. Raises CourseError for another mode.
    """
    import torch

    if mode not in MODES:
        raise CourseError(f"there is no checkpointing mode {mode!r}", f"use one of {', '.join(MODES)}")
    with ExitStack() as stack:
        if mode == "nonlinearity":
            for module in model.modules():
                if hasattr(module, "act_fn") and hasattr(module, "gate_proj"):
                    module.forward = recomputing_geglu(module)
                    stack.callback(module.__dict__.pop, "forward")
        if mode in ("layer", "offload"):
            causal = without_adapter(model)
            causal.gradient_checkpointing_enable({"use_reentrant": False})
            stack.callback(causal.gradient_checkpointing_disable)
        if mode == "offload":
            stack.enter_context(torch.autograd.graph.save_on_cpu(pin_memory=torch.cuda.is_available()))
        yield


def recomputing_geglu(mlp):
    """A forward for a Gemma MLP that keeps gate and up, (B, N, 2048) each.

    It computes act(gate)·up again in the backward pass.
    """
    from torch.utils.checkpoint import checkpoint

    def forward(x):
        inner = checkpoint(
            lambda gate, up: mlp.act_fn(gate) * up, mlp.gate_proj(x), mlp.up_proj(x), use_reentrant=False
        )
        return mlp.down_proj(inner)

    return forward


def step(model, ids, mode: str = "none", loss: str = "full", labelled: int | None = None, optimizer=None) -> dict:
    """One training step under the ledger.

    Returns ``ledger`` (marks "start", "layers" when the first logits are asked for, "forward" and "backward"),
    ``loss``, ``calls`` and ``gradients``. ``calls`` counts forwards of q_proj and of act_fn, each once a layer without
    recomputation. Gradients are detached and removed from the model.
    """
    with checkpointing(model, mode), counted(model, "q_proj", "act_fn") as calls, Ledger(model, optimizer) as ledger:
        ledger.mark("start")
        with _marked_at_the_head(model, ledger):
            value = loss_of(model, ids, loss, labelled)
        ledger.mark("forward")
        value.backward()
        ledger.mark("backward")
        if optimizer is not None:
            optimizer.step()
    gradients = {name: p.grad.detach() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad(set_to_none=True)
    return {"ledger": ledger, "loss": value.detach(), "calls": dict(calls), "gradients": gradients}


@contextmanager
def _marked_at_the_head(model, ledger):
    """Keep the moment when all layers have run and the head is about to: a loss in chunks calls the head again."""

    def mark(module, arguments):
        if "layers" not in ledger.marks:
            ledger.mark("layers")

    handle = without_adapter(model).lm_head.register_forward_pre_hook(mark)
    try:
        yield
    finally:
        handle.remove()
