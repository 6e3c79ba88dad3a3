"""Prompts that say which class of a mixture their function is from, by a point of their own before the examples.

Such a prompt has one more coordinate and one more point. The point stands first: its last coordinate is the name, all
else in it is zero. The examples have zero in that coordinate. A prompt without a name has zero there in the first point
too, so that all prompts of a model are of one shape.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import pad

from icl_lib.model import Transformer
from icl_lib.random import Draws

NAMES = (1.0, -1.0)
"""Of the first and of the second class of a mixture."""

NO_NAME = 0.0

_STREAM = 3
"""Of the numbers that decide which prompts have a name; inputs, functions and noise have those before it."""


def with_name(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    name: Float[Tensor, " batch"],
) -> tuple[Float[Tensor, "batch points coordinates"], Float[Tensor, "batch points"]]:
    """Put the point that names each prompt's class before its examples.

    Args:
        xs: inputs (B, n, d).
        ys: values (B, n).
        name: of each prompt's class, one of NAMES, or NO_NAME; shape (B,).

    Returns:
        Inputs (B, n + 1, d + 1) and values (B, n + 1).
    """
    first = pad(name.to(xs)[:, None, None], (xs.shape[2], 0))
    return torch.cat([first, pad(xs, (0, 1))], dim=1), pad(ys, (1, 0))


def names_of(
    component: Int[Tensor, " batch"], share: float, seed: int, step: int
) -> Float[Tensor, " batch"]:
    """The names of the classes of a batch's prompts, each with probability `share`, else NO_NAME.

    Args:
        component: index of each prompt's class, 0 or 1; shape (B,).
        share: probability that a prompt has its name.
        seed: of the prompts.
        step: batch number.
    """
    draws = Draws(seed=seed, step=step, batch_size=len(component), device=component.device)
    given = draws.child(_STREAM).uniform(1)[:, 0] < share
    names = torch.tensor(NAMES, device=component.device)[component]
    return torch.where(given, names, NO_NAME)


def told(model: Transformer, name: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """A model that was trained on such prompts, as a predictor of curves that is told this name in every prompt."""

    def curve(xs: Tensor, ys: Tensor, queries: Tensor) -> Tensor:
        points = with_name(xs, ys, xs.new_full((len(xs),), name))
        return model.predict_curve(*points, pad(queries, (0, 1)))

    return curve


def told_at_every_prefix(model: Transformer, name: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A model that was trained on such prompts, as a predictor at every prefix; see `told`."""

    def prefixes(xs: Tensor, ys: Tensor) -> Tensor:
        found: Tensor = model(*with_name(xs, ys, xs.new_full((len(xs),), name)))
        return found[:, 1:]

    return prefixes
