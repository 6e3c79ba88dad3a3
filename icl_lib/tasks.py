"""Finitely many linear functions: pretraining on tasks that one could learn by heart (Raventós et al., 2306.15063)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from icl_lib._validate import check_count
from icl_lib.random import SEEDS, Draws
from icl_lib.samplers import FunctionClass, Functions, check_seed


@dataclass(frozen=True)
class TaskSet(FunctionClass):
    """f(x) = w . x with w one of `count` vectors, each as likely: drawn once and for all from N(0, I / dim).

    The vectors of a smaller set are the first of a larger one with the same seed.

    Raises:
        ValueError: `dim` or `count` is not a positive integer, or `seed` no seed.
    """

    linear = True
    dim: int
    count: int
    seed: int = 0

    def __post_init__(self) -> None:
        check_count("dim", self.dim)
        check_count("count", self.count)
        check_seed(self.seed)

    @property
    def second_moment(self) -> float:
        return self.coefficients().square().sum(1).mean().item()

    def coefficients(self) -> Float[Tensor, "count dim"]:
        """The vectors w, float64."""
        return _drawn(self.dim, self.count, self.seed)

    def functions(self, draws: Draws) -> Functions:
        chosen = (self.count * draws.uniform(1)[:, 0]).long()
        w = self.coefficients().to(chosen.device)[chosen]
        return lambda xs: torch.einsum("bnd,bd->bn", xs.double(), w)


@lru_cache(maxsize=64)
def _drawn(dim: int, count: int, seed: int) -> Tensor:
    """Each vector is a function of its number and the seed; no prompt has its numbers, for their seeds end before."""
    return Draws(seed=2 * SEEDS + seed, step=0, batch_size=count).normal(dim) / dim**0.5
