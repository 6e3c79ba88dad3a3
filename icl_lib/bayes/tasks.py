"""Exact Bayes of finitely many linear functions: their average, each weighted by how well it fits."""

from __future__ import annotations

import torch
from torch import Tensor

from icl_lib.tasks import TaskSet

_CHUNK = 4_000_000
"""Prompts are taken together while there are fewer numbers than this, one for each task and number of examples."""


def prefix_means(tasks: TaskSet, xs: Tensor, ys: Tensor, jitter: float) -> Tensor:
    """Posterior mean of f(x_i) from the i examples before, (B, n), in double precision."""
    w = tasks.coefficients().to(xs.device)
    rows = max(1, _CHUNK // (len(w) * xs.shape[1]))
    return torch.cat(
        [
            torch.einsum("bnm,md,bnd->bn", _posterior(w, x, y, jitter)[:, :-1], w, x)
            for x, y in zip(xs.double().split(rows), ys.double().split(rows), strict=True)
        ]
    )


def curve_means(tasks: TaskSet, xs: Tensor, ys: Tensor, queries: Tensor, jitter: float) -> Tensor:
    """Posterior mean at the queries from all examples, (B, Q), in double precision."""
    w = tasks.coefficients().to(xs.device)
    rows = max(1, _CHUNK // (len(w) * (xs.shape[1] + 1)))
    mean = torch.cat(
        [
            _posterior(w, x, y, jitter)[:, -1] @ w
            for x, y in zip(xs.double().split(rows), ys.double().split(rows), strict=True)
        ]
    )
    return torch.einsum("bd,bqd->bq", mean, queries.double())


def _posterior(w: Tensor, xs: Tensor, ys: Tensor, jitter: float) -> Tensor:
    """Probability of each of M tasks after 0, 1, ..., n examples, (B, n + 1, M)."""
    misfit = (ys[:, :, None] - xs @ w.T).square().cumsum(1)  # (B, n, M)
    none = misfit.new_zeros(len(xs), 1, len(w))
    return (-0.5 * torch.cat((none, misfit), 1) / jitter**2).softmax(2)
