"""Function classes of one number by their shape: polynomials, steps, bumps, waves. Our choice, to have many of them.

All are sums of features with normal weights, given a latent that is one of finitely many numbers, so that exact Bayes
sums over it without an approximation.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from math import factorial, pi
from typing import Any

import torch
from torch import Tensor

from icl_lib._validate import check_count
from icl_lib.latents import Grid
from icl_lib.samplers import FunctionClass

_CELLS = 48  # values that a place, a rate or a frequency can have


def _spread(low: float, high: float) -> Grid:
    """The midpoints of `_CELLS` equal cells between two numbers."""
    width = (high - low) / _CELLS
    return Grid(tuple(low + (i + 0.5) * width for i in range(_CELLS)))


def _turns(angle: Tensor) -> Tensor:
    """How far in its period an angle is, from 0 to 1."""
    return (angle / (2 * pi)) % 1.0


PLACED: Mapping[str, Callable[[Tensor], Tensor]] = {
    "step": lambda u: 2.0 * (u > 0).to(u) - 1.0,
    "hinge": lambda u: u.relu(),
    "vee": lambda u: u.abs(),
    "bump": lambda u: (-2.0 * u.square()).exp(),
    "sigmoid": lambda u: (3.0 * u).tanh(),
    "ripple": lambda u: (4.0 * u).sin() * (-0.5 * u.square()).exp(),
    "box": lambda u: (u.abs() < 0.7).to(u),
}
"""Shapes that stand somewhere: functions of the distance to their place."""

WAVES: Mapping[str, Callable[[Tensor], Tensor]] = {
    "square": lambda angle: 2.0 * (_turns(angle) < 0.5).to(angle) - 1.0,
    "sawtooth": lambda angle: 2.0 * _turns(angle) - 1.0,
    "triangle": lambda angle: 4.0 * (_turns(angle) - 0.5).abs() - 1.0,
}
"""Shapes of period 2 pi."""


@cache
def _mean_square(function_class: type[FunctionClass], shape: str, grid: Grid) -> float:
    """E of the sum of the squared features over the latent and x ~ N(0, 1), on a fine grid."""
    xs = torch.linspace(-6, 6, 24_001, dtype=torch.float64)
    density = (-0.5 * xs.square()).exp()
    density = density / density.sum()
    shapes: Any = function_class
    features = shapes.raw(shape, xs[None], grid.values())
    return sum((phi.square() @ density).mean().item() for phi in features)


def _check_shape(shape: object, known: Mapping[str, object]) -> None:
    if shape not in known:
        raise ValueError(f"shape must be one of {', '.join(known)}, got {shape!r}")


class _Shaped(FunctionClass):
    """w . phi, the features scaled to unit second moment."""

    dim = 1
    second_moment = 1.0
    shape: str

    @staticmethod
    @abstractmethod
    def raw(shape: str, x: Tensor, latent: Tensor) -> list[Tensor]:
        """The features before they are scaled."""

    def features(self, xs: Tensor, latent: Tensor) -> list[Tensor]:
        assert isinstance(self.latent, Grid)
        scale = _mean_square(type(self), self.shape, self.latent) ** -0.5
        return [scale * phi for phi in self.raw(self.shape, xs[..., 0], latent[..., 0])]


@dataclass(frozen=True)
class Placed(_Shaped):
    """f(x) = w g(x - t), g one of `PLACED`, t one of 48 places from -1.5 to 1.5, w normal.

    Raises:
        ValueError: an unknown shape.
    """

    shape: str

    def __post_init__(self) -> None:
        _check_shape(self.shape, PLACED)

    @property
    def latent(self) -> Grid:
        return _spread(-1.5, 1.5)

    @staticmethod
    def raw(shape: str, x: Tensor, latent: Tensor) -> list[Tensor]:
        return [PLACED[shape](x - latent)]


@dataclass(frozen=True)
class Wave(_Shaped):
    """f(x) = a g(w x) + b g(w x + pi / 2), g one of `WAVES`, w one of 48 frequencies from 1 to 5, a and b normal.

    Raises:
        ValueError: an unknown shape.
    """

    shape: str

    def __post_init__(self) -> None:
        _check_shape(self.shape, WAVES)

    @property
    def latent(self) -> Grid:
        return _spread(1.0, 5.0)

    @staticmethod
    def raw(shape: str, x: Tensor, latent: Tensor) -> list[Tensor]:
        return [WAVES[shape](latent * x + turn) for turn in (0.0, pi / 2)]


@dataclass(frozen=True)
class Exponential(FunctionClass):
    """f(x) = w exp(r x - r^2), r one of 48 rates from -1 to 1, w ~ N(0, 1)."""

    dim = 1
    second_moment = 1.0

    @property
    def latent(self) -> Grid:
        return _spread(-1.0, 1.0)

    def features(self, xs: Tensor, latent: Tensor) -> list[Tensor]:
        rate = latent[..., 0]
        return [(rate * xs[..., 0] - rate.square()).exp()]


@dataclass(frozen=True)
class Polynomial(FunctionClass):
    """f = sum of w_k h_k / sqrt(degree + 1), k = 0..degree, h_k Hermite's polynomials of unit mean square, w normal.

    Raises:
        ValueError: `degree` is not a positive integer.
    """

    dim = 1
    second_moment = 1.0
    degree: int

    def __post_init__(self) -> None:
        check_count("degree", self.degree)

    def features(self, xs: Tensor, latent: Tensor) -> list[Tensor]:
        x = xs[..., 0]
        hermite = [torch.ones_like(x), x]
        for k in range(1, self.degree):
            hermite.append(x * hermite[k] - k * hermite[k - 1])
        return [
            h / (factorial(k) * (self.degree + 1)) ** 0.5
            for k, h in enumerate(hermite[: self.degree + 1])
        ]
