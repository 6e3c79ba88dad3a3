"""What the explorers of curves share, as in plot.js: how inputs are drawn, errors weighted and scales chosen."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from icl_lib.widgets.draws import normal, uniforms
from icl_lib.widgets.still import REACH


def draw_inputs(seed: int, count: int) -> list[float]:
    """The first `count` inputs of a seed, as plot.js draws them.

    Three decimals, within the plot.
    """
    uniform = uniforms(seed)
    inputs: list[float] = []
    while len(inputs) < count:
        x = round(normal(uniform), 3)
        if abs(x) <= REACH:
            inputs.append(x)
    return inputs


def mean_square(
    xs: Float[np.ndarray, " n"], values: Float[np.ndarray, " n"], spread: float = 1.0
) -> float:
    """Mean of values squared over evenly spaced `xs`, weighted as N(0, spread²) does."""
    density = np.exp(-((xs / spread) ** 2) / 2)
    return float(density @ values**2 / density.sum())


def top_of(most: float) -> float:
    """The plot shows y in [-top, top], where all of a curve that goes `most` from 0 is seen; `most` is at most 10."""
    return next(limit for limit in (2, 3, 4, 6, 8, 10) if limit >= most)


def as_prompt(
    xs: Float[np.ndarray, " n"], ys: Float[np.ndarray, " n"], queries: Float[np.ndarray, " q"]
) -> tuple[Float[Tensor, "1 n 1"], Float[Tensor, "1 n"], Float[Tensor, "1 q 1"]]:
    """One prompt and its queries as the exported modules take them, float64."""
    x, y, q = (torch.from_numpy(np.array(v, dtype=np.float64))[None] for v in (xs, ys, queries))
    return x[..., None], y, q[..., None]


def frames(pictures: Mapping[float, Mapping[str, Any]]) -> dict[str, Any]:
    """What the front end shows along a slider until an engine answers, for `pictureBook` in plot.js.

    Args:
        pictures: for each of some numbers that the slider takes the `lines`, {name: (Q,)}, their `errors`,
            {name: number}, and the `probability` of each class.

    Returns:
        `at`, the numbers; `lines`, {name: a list for each of them}, in hundredths: less than a pixel; `errors`,
        {name: as many numbers}; `probability`, as many lists.
    """

    def each(part: str, name: str) -> list[Any]:
        return [picture[part][name] for picture in pictures.values()]

    one = next(iter(pictures.values()))
    return {
        "at": list(pictures),
        "lines": {
            name: [
                np.rint(100 * np.array(line)).astype(int).tolist() for line in each("lines", name)
            ]
            for name in one["lines"]
        },
        "errors": {
            name: [float(f"{e:.3g}") for e in each("errors", name)] for name in one["errors"]
        },
        "probability": [
            [round(p, 4) for p in picture["probability"]] for picture in pictures.values()
        ],
    }
