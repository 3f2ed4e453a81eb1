"""LoRA from nn.Linear: the layer, what it writes into a weight, and what its rank costs.

Source: Hu et al., *LoRA* (arXiv 2106.09685), section 4; Kalajdzievski, *rank-stabilized LoRA* (arXiv 2312.03732).
PEFT's own layer is what the course trains; a test holds this one to it.
"""

from __future__ import annotations

import math


def layer_class():
    """The class ``LoRALinear`` (torch is imported only when it is asked for)."""
    import torch

    class LoRALinear(torch.nn.Module):
        """A frozen ``nn.Linear`` W (out, in) plus (α/r)·B·A with A (r, in) and B (out, r), both float32.

        A starts uniform, B at zero, so that the layer starts as W.
        """

        def __init__(self, linear, r: int, alpha: float):
            super().__init__()
            self.linear, self.scaling = linear.requires_grad_(False), alpha / r
            self.A = torch.nn.Parameter(torch.empty(r, linear.in_features))
            self.B = torch.nn.Parameter(torch.zeros(linear.out_features, r))
            torch.nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))  # U(−1/√in, 1/√in)

        def forward(self, x):
            return self.linear(x) + self.scaling * (x @ self.A.T @ self.B.T)

    return LoRALinear


def parameters(r: int, config, modules: tuple[str, ...] | None = None) -> int:
    """Trainable parameters of rank r over a Gemma 3 model: r · (in + out) for each adapted projection."""
    width, head = config.hidden_size, config.head_dim
    queries, keys, mlp = config.num_attention_heads * head, config.num_key_value_heads * head, config.intermediate_size
    shapes = {
        "q_proj": (width, queries), "k_proj": (width, keys), "v_proj": (width, keys), "o_proj": (queries, width),
        "gate_proj": (width, mlp), "up_proj": (width, mlp), "down_proj": (mlp, width),
    }  # fmt: skip
    return config.num_hidden_layers * r * sum(sum(shapes[name]) for name in modules or shapes)


def layers(model):
    """The LoRA layers of a PEFT model: name -> module with ``lora_A`` and ``lora_B``."""
    return {name: module for name, module in model.named_modules() if hasattr(module, "lora_A") and len(module.lora_A)}


def delta(module, adapter: str = "default"):
    """ΔW (out, in) of a PEFT LoRA layer: scaling · B · A, in float32."""
    return module.scaling[adapter] * module.lora_B[adapter].weight.float() @ module.lora_A[adapter].weight.float()


def delta_norm(model) -> float:
    """‖ΔW‖: the Frobenius norm over all adapted weights together."""
    squares = 0.0
    for module in layers(model).values():  # ‖BA‖² = ⟨BᵀB, AAᵀ⟩: of r × r matrices, and not of whole weights
        a, b = (half["default"].weight.detach().float() for half in (module.lora_A, module.lora_B))
        squares += module.scaling["default"] ** 2 * ((b.T @ b) * (a @ a.T)).sum().item()
    return math.sqrt(max(squares, 0.0))  # rounding may leave less than nothing


def _factors(module, adapter: str = "default"):
    """ΔW of a PEFT LoRA layer as ``left (out, r) · diag(s) · right (r, in)``.

    The factors are orthonormal; the singular values s (r,) fall. By QR of A and B, so that the decomposition is of an r
    × r matrix and not of the whole weight.
    """
    import torch

    a, b = module.lora_A[adapter].weight.detach().float(), module.lora_B[adapter].weight.detach().float()
    (left, upper), (right, lower) = torch.linalg.qr(b), torch.linalg.qr(a.T)
    u, s, vt = torch.linalg.svd(module.scaling[adapter] * upper @ lower.T, full_matrices=False)
    return left @ u, s, vt @ right.T


def singular_values(module, adapter: str = "default"):
    """The singular values (r,) of a PEFT LoRA layer's ΔW, largest first, float32."""
    return _factors(module, adapter)[1]


def effective_rank(values) -> float:
    """exp of the normalized singular values' entropy (Roy and Vetterli 2007): r if all are alike, 1 if one is all."""
    share = values / values.sum()
    return math.exp(-(share * share.clamp_min(1e-12).log()).sum().item())


def truncate(model, k: int, adapter: str = "default") -> None:
    """Replace every ΔW by the closest matrix of rank k (Eckart and Young 1936), in place.

    A and B keep their shapes, the rest is zero.
    """
    import torch

    with torch.no_grad():
        for module in layers(model).values():
            a, b = module.lora_A[adapter].weight, module.lora_B[adapter].weight  # (r, in), (out, r)
            left, s, right = _factors(module, adapter)
            root = (s[:k] / module.scaling[adapter]).sqrt()
            a.zero_()[: len(root)] = (root[:, None] * right[:k]).to(a.dtype)
            b.zero_()[:, : len(root)] = (left[:, :k] * root).to(b.dtype)


def best_of_rank(matrix, r: int):
    """The closest matrix of rank r (Eckart and Young, 1936): the first r singular triples."""
    import torch

    u, s, vt = torch.linalg.svd(matrix, full_matrices=False)
    return (u[:, :r] * s[:r]) @ vt[:r]
