"""A function class as sums of regressions: what it unfolds into, its features and its latents."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb, prod

import torch
from torch import Tensor

from icl_lib.baselines import arc_cosine_kernel
from icl_lib.samplers import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    Mixture,
    ReluNetwork,
    Sinusoid,
    SparseLinear,
)

MAX_SUPPORTS = 50_000
"""The most supports summed one by one; a combination of two SparseLinear(20, 2) has 36,100."""


_FEW = 4
"""A dense function of more features than this enters by its covariance, not by its features."""


@dataclass(frozen=True)
class Part:
    """A basic class times a number; one or several add up to a regression."""

    basic: FunctionClass
    scale: float | Tensor = 1.0

    @property
    def by_covariance(self) -> bool:
        """Whether it enters by its covariance: it has many features, or infinitely many."""
        dense = isinstance(self.basic, DenseLinear) and self.basic.dim > _FEW
        return dense or isinstance(self.basic, ReluNetwork)


Parts = tuple[Part, ...]


def expand(function_class: FunctionClass) -> list[tuple[float, Parts]]:
    """Write a class as regressions with their prior probabilities.

    A mixture unfolds into its components, a combination adds every part of one class to every part
    of the other. What has probability or weight zero is left out.
    """
    match function_class:
        case Mixture(classes=classes, weights=weights):
            return [
                (weight * probability, parts)
                for weight, component in zip(weights, classes, strict=True)
                for probability, parts in expand(component)
                if weight > 0
            ]
        case ConvexCombination(first=first, second=second, weight=weight):
            return [
                (p * q, _times(weight, parts) + _times(1 - weight, others))
                for p, parts in expand(first)
                for q, others in expand(second)
            ]
        case SparseLinear(dim=dim, nnz=nnz) if nnz == dim:
            return [(1.0, (Part(DenseLinear(dim)),))]
        case DenseLinear() | SparseLinear() | Sinusoid() | ReluNetwork():
            return [(1.0, (Part(function_class),))]
    raise ValueError(
        f"no posterior is known here for a {type(function_class).__name__}, got {function_class!r}"
    )


def _times(weight: float, parts: Parts) -> Parts:
    return tuple(Part(part.basic, weight * part.scale) for part in parts) if weight > 0 else ()


def features_of(parts: Parts, xs: Tensor, latent: Tensor) -> list[Tensor]:
    """Evaluate the features of `parts` at every node of the latents.

    Args:
        parts: none that enters by its covariance.
        xs: inputs, (B, n, d).
        latent: (B or 1, N, D): for each node, in the order of the parts, the coordinates of a
            support or a frequency.

    Returns:
        One (B, N or 1, n) for each feature.
    """
    features: list[Tensor] = []
    at = 0
    for part in parts:
        match part.basic:
            case DenseLinear(dim=dim):
                basic = [xs[:, None, :, c] / dim**0.5 for c in range(dim)]
            case SparseLinear(nnz=nnz):
                support = latent[0, :, at : at + nnz]  # the same for every prompt
                basic = [xs[:, :, support[:, c]].mT / nnz**0.5 for c in range(nnz)]
                at += nnz
            case Sinusoid():
                angle = latent[:, :, at, None] * xs[:, None, :, 0]
                basic = [angle.sin(), angle.cos()]
                at += 1
        unscaled = isinstance(part.scale, float) and part.scale == 1.0
        features += basic if unscaled else [part.scale * feature for feature in basic]
    return features


def supports_of(parts: Parts, device: torch.device) -> Tensor:
    """List every choice of supports for the sparse parts, (1, N, sum of nnz); N = 1 if none."""
    sparse = [part.basic for part in parts if isinstance(part.basic, SparseLinear)]
    count = prod(comb(basic.dim, basic.nnz) for basic in sparse)
    if count > MAX_SUPPORTS:
        raise ValueError(
            f"at most {MAX_SUPPORTS:,} supports can be summed one by one, got {count:,} "
            f"from {' and '.join(map(repr, sparse))}"
        )
    chosen = torch.zeros(1, 0, dtype=torch.int64)
    for basic in sparse:
        each = torch.tensor(list(combinations(range(basic.dim), basic.nnz)))
        chosen = torch.cat([chosen.repeat_interleave(len(each), 0), each.repeat(len(chosen), 1)], 1)
    return chosen[None].to(device)


def covariance_of(parts: Parts, xs: Tensor, zs: Tensor) -> Tensor:
    """Prior covariance of the sum of `parts` between xs (B, n, d) and zs (B, m, d): (B, n, m)."""
    linear = xs @ zs.mT / xs.shape[-1]
    total = torch.zeros_like(linear)
    for part in parts:
        relu = isinstance(part.basic, ReluNetwork)
        total = total + part.scale**2 * (arc_cosine_kernel(xs, zs) if relu else linear)
    return total
