"""The front ends' generator of random numbers, so that a still figure shows the very draws of the live one."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, log, pi, sqrt

Uniform = Callable[[], float]


def uniforms(seed: int) -> Uniform:
    """As `uniforms` in shared.js: mulberry32, uniform numbers in (0, 1) of a seed in [0, 2**32)."""
    state = seed

    def uniform() -> float:
        nonlocal state
        state = (state + 0x6D2B79F5) & 0xFFFFFFFF
        t = ((state ^ state >> 15) * (1 | state)) & 0xFFFFFFFF
        t = ((t + (((t ^ t >> 7) * (61 | t)) & 0xFFFFFFFF)) & 0xFFFFFFFF) ^ t
        return ((t ^ t >> 14) + 0.5) / 2**32

    return uniform


def normal(uniform: Uniform) -> float:
    """As `normal` in shared.js: a standard normal number from two uniform ones (Box and Muller)."""
    radius = sqrt(-2 * log(uniform()))
    return radius * cos(2 * pi * uniform())
