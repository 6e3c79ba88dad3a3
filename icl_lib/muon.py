"""Muon (Jordan et al., 2024): momentum, made orthogonal.

`torch.optim.Muon` does the same matrix by matrix, in bfloat16. On a CPU without instructions for that type the
optimiser then costs more than the model; on a GPU it launches hundreds of small products. Here matrices of one shape
are taken together, and the type is the caller's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

_QUINTIC = (3.4445, -4.7750, 2.0315)
_ITERATIONS = 5
_SMALLEST = 1e-7


def orthogonalise(
    matrices: Float[Tensor, "count rows columns"], dtype: torch.dtype = torch.float32
) -> Float[Tensor, "count rows columns"]:
    """Bring the singular values of each matrix near to one: five quintic Newton-Schulz iterations.

    Their coefficients are Jordan et al.'s, which rise steeply at zero and do not converge. In exact arithmetic a
    singular value of 0.002 of the matrix's Frobenius norm or more ends between 0.68 and 1.21, a smaller one anywhere
    below that. Zeros stay zeros.

    Args:
        matrices: (K, n, m).
        dtype: what is computed in; the result has it too.
    """
    wide = matrices.shape[1] <= matrices.shape[2]
    x = (matrices if wide else matrices.mT).to(dtype)
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=_SMALLEST)
    first, third, fifth = _QUINTIC
    for _ in range(_ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(
            x, torch.baddbmm(gram, gram, gram, beta=third, alpha=fifth), x, beta=first
        )
    return x if wide else x.mT


class Muon(torch.optim.Optimizer):
    """Nesterov momentum, made orthogonal, with decoupled weight decay.

    The update of an (n, m) matrix is scaled by 0.2 sqrt(max(n, m)), so that its entries are as large as AdamW's (Liu et
    al., arXiv 2502.16982) and a rate means the same to both.

    Args:
        params: matrices.
        lr: learning rate.
        momentum: of the gradient's running mean, in [0, 1).
        weight_decay: in units of the learning rate.
        dtype: of the orthogonalisation.

    Raises:
        ValueError: a parameter that is no matrix.
    """

    def __init__(
        self,
        params: Iterable[Tensor],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.dtype = dtype
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        f"Muon takes matrices, got a parameter of shape {tuple(p.shape)}"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[tuple[Tensor, Tensor, Tensor]]] = {}
            for p in group["params"]:
                if p.grad is None:
                    continue
                state = self.state[p]
                if not state:
                    state["momentum_buffer"] = torch.zeros_like(p)
                by_shape.setdefault(p.shape, []).append((p, p.grad, state["momentum_buffer"]))
            for triples in by_shape.values():
                self._update(triples, group)
        return loss

    def _update(self, triples: list[tuple[Tensor, Tensor, Tensor]], group: dict[str, Any]) -> None:
        """Update parameters of one shape, each beside its gradient and the running mean of its gradients."""
        params, gradients, means = ([triple[i] for triple in triples] for i in range(3))
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        ahead = torch._foreach_lerp(gradients, means, group["momentum"])
        updates = orthogonalise(torch.stack(ahead), self.dtype).to(params[0].dtype)
        torch._foreach_mul_(params, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(
            params, list(updates.unbind()), alpha=-0.2 * max(params[0].shape) ** 0.5 * group["lr"]
        )
