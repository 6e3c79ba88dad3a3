"""What a function can depend on besides x and its weights: a prior over some of the coordinates, or over a number."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import comb

import torch
from jaxtyping import Float, Int
from torch import Tensor

from icl_lib.random import Draws


@dataclass(frozen=True)
class Interval:
    """A number, uniform between `low` and `high`. Exact Bayes integrates over it."""

    low: float
    high: float

    @property
    def size(self) -> int:
        return 1

    def sample(self, draws: Draws) -> Float[Tensor, "batch 1"]:
        """One for each prompt."""
        return self.low + (self.high - self.low) * draws.uniform(1)


@dataclass(frozen=True)
class Support:
    """`size` of the coordinates 0 to `dim` - 1, every choice as likely. Exact Bayes sums over all."""

    dim: int
    size: int

    @property
    def count(self) -> int:
        return comb(self.dim, self.size)

    def values(self) -> Int[Tensor, "count size"]:
        """Every choice."""
        return torch.tensor(list(combinations(range(self.dim), self.size)))

    def sample(self, draws: Draws) -> Int[Tensor, "batch size"]:
        """One for each prompt."""
        return draws.uniform(self.dim).topk(self.size, dim=-1).indices


@dataclass(frozen=True)
class Grid:
    """One of several numbers, each as likely. Exact Bayes sums over all."""

    numbers: tuple[float, ...]

    @property
    def size(self) -> int:
        return 1

    @property
    def count(self) -> int:
        return len(self.numbers)

    def values(self) -> Float[Tensor, "count 1"]:
        """Every number."""
        return torch.tensor(self.numbers, dtype=torch.float64)[:, None]

    def sample(self, draws: Draws) -> Float[Tensor, "batch 1"]:
        """One for each prompt."""
        index = (self.count * draws.uniform(1)).long()
        return self.values().to(index.device)[index[:, 0]]


Finite = Support | Grid
"""A latent whose values can be summed one by one."""

Latent = Interval | Support | Grid
