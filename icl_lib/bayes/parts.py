"""A function class as sums of regressions: what it unfolds into, its features and its latents."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor

from icl_lib.latents import Finite, Grid, Interval, Support
from icl_lib.samplers import FunctionClass, feature_count

MAX_SUPPORTS = 50_000
"""The most values of a latent summed one by one; a combination of two SparseLinear(20, 2) has 36,100."""

_FEW = 4
"""A class without a latent that has more features than this enters by its covariance, not by its features."""


@dataclass(frozen=True)
class Part:
    """A basic class times a number; one or several add up to a regression."""

    basic: FunctionClass
    scale: float | Tensor = 1.0

    @cached_property
    def n_features(self) -> int | None:
        """How many features there are; None if the class has no such form."""
        return feature_count(self.basic)

    @property
    def by_covariance(self) -> bool:
        """Whether it enters by its covariance: it has many features and no latent, or infinitely many."""
        return self.n_features is None or (self.basic.latent is None and self.n_features > _FEW)

    @property
    def interval(self) -> Interval | None:
        """The interval of the latent, if it has one."""
        return self.basic.latent if isinstance(self.basic.latent, Interval) else None

    @property
    def finite(self) -> Finite | None:
        """The latent whose values can be summed, if it has one."""
        return self.basic.latent if isinstance(self.basic.latent, (Support, Grid)) else None


Parts = tuple[Part, ...]


def expand(function_class: FunctionClass) -> list[tuple[float, Parts]]:
    """Write a class as regressions with their prior probabilities.

    Raises:
        ValueError: a part that says neither its features nor its covariance; or one whose latent can be summed beside
            one whose latent must be integrated over.
    """
    regressions = [
        (probability, tuple(Part(basic, scale) for scale, basic in terms))
        for probability, terms in function_class.unfold()
    ]
    for _, parts in regressions:
        for part in parts:
            point = torch.ones(1, 1, part.basic.dim, dtype=torch.float64)
            if part.n_features is None and part.basic.covariance(point, point) is None:
                raise ValueError(
                    f"no posterior is known here for a {type(part.basic).__name__}, which says neither its features "
                    f"nor its covariance, got {function_class!r}"
                )
        few = [part for part in parts if not part.by_covariance]
        if any(part.interval for part in few) and any(part.finite for part in few):
            raise ValueError(
                "a sum of a class with an interval and one with a support or a grid has no posterior here, "
                f"got {function_class!r}"
            )
    return regressions


def features_of(parts: Parts, xs: Tensor, latent: Tensor) -> list[Tensor]:
    """Evaluate the features of `parts` at every node of the latents.

    Args:
        parts: none that enters by its covariance.
        xs: inputs, (B, n, d).
        latent: (B or 1, N, D): for each node the values of the latents, in the order of the parts.

    Returns:
        One (B, N or 1, n) for each feature.
    """
    features: list[Tensor] = []
    at = 0
    for part in parts:
        size = 0 if part.basic.latent is None else part.basic.latent.size
        basic = part.basic.features(xs[:, None], latent[:, :, None, at : at + size]) or []
        at += size
        unscaled = isinstance(part.scale, float) and part.scale == 1.0
        features += basic if unscaled else [part.scale * feature for feature in basic]
    return features


def values_of(parts: Parts, like: Tensor) -> Tensor:
    """List every combination of values of the latents that can be summed, (1, N, D); N = 1 if there are none."""
    latents = [part.finite for part in parts if part.finite]
    count = prod(latent.count for latent in latents)
    if count > MAX_SUPPORTS:
        raise ValueError(
            f"at most {MAX_SUPPORTS:,} supports can be summed one by one, got {count:,} "
            f"from {' and '.join(repr(part.basic) for part in parts if part.finite)}"
        )
    chosen = torch.zeros(1, 0, dtype=torch.float64)
    for latent in latents:
        each = latent.values().double()
        chosen = torch.cat([chosen.repeat_interleave(len(each), 0), each.repeat(len(chosen), 1)], 1)
    return chosen[None].to(like.device)


def covariance_of(parts: Parts, xs: Tensor, zs: Tensor) -> Tensor:
    """Prior covariance of the sum of `parts` between xs (B, n, d) and zs (B, m, d): (B, n, m)."""
    total = torch.zeros_like(xs @ zs.mT)
    for part in parts:
        covariance = part.basic.covariance(xs, zs)
        assert covariance is not None  # else `expand` has refused it
        total = total + part.scale**2 * covariance
    return total
