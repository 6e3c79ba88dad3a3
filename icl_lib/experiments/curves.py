"""Functions of one number: who predicts their curves, by the names that tables have for them, and what they answer."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from icl_lib import baselines, bayes, figures, recipes, weights
from icl_lib.evaluation import CurvePredictor, Predictor, curve_predictions
from icl_lib.figures import Picture
from icl_lib.samplers import FunctionClass, Mixture, sample_prompts

LINE, SINE = recipes.LINE, recipes.SINE
PRIOR = recipes.line_and_sine(0.5)

STANDARD, SMALL, TINY = (f"line+sine-0.5-{size}" for size in ("standard-brief", "small", "tiny"))
BAYES, ORACLE, LINEAR = "Bayes", "oracle", "best linear"
SQUARES, NEIGHBOURS = "least squares", "3 nearest neighbours"
RIGHT, NEAREST = "Bayes, right band", "nearest neighbour"
NO_EDGE = "Bayes, no edge"
NOISE, OF, DOUBT = "Bayes, noise ", "Bayes, prior of ", "Bayes, doubt "
"""So begins exact Bayes that assumes another noise, that with what another model was pretrained on, and that with a
doubt of its prior."""
LINEAR_OF = "best linear, prior of "
"""So begins the best linear predictor by the covariance of what another model was pretrained on."""
DOUBTING = f"{DOUBT}1e-06"
NAMES = {
    STANDARD: "transformer",
    BAYES: "exact Bayes",
    DOUBTING: "doubting Bayes",
    LINEAR: "best linear",
    ORACLE: "oracle",
}
"""What figures call them."""
LOOKS = {
    STANDARD: "transformer",
    BAYES: "Bayes",
    DOUBTING: "doubting",
    LINEAR: "best linear",
    ORACLE: "oracle",
}

MOST = 40
"""Examples at most; what is asked for comes after them, so that it is the same whatever the number of examples."""
LENGTHS = (0, 1, 2, 3, 5, 7, 10, 14, 20, 28, MOST)

FLOOR = 1e-6
"""Smaller shares are drawn there: they are zero but for the jitter and the arithmetic."""
SHARE = "error / mean square of f"


def exact(
    function_class: FunctionClass, *, noise: float = 0.0, jitter: float = bayes.JITTER
) -> CurvePredictor:
    """Exact Bayes with this prior, told of this noise."""
    return lambda xs, ys, queries: bayes.posterior_curve(
        function_class, xs, ys, queries, noise=noise, jitter=jitter
    )[0]


def _after_all(predictor: Predictor) -> CurvePredictor:
    """A predictor of prefixes, asked at each query by putting it after all examples."""

    def ask(xs: Tensor, ys: Tensor, queries: Tensor) -> Tensor:
        batch, n, dim = xs.shape
        count = queries.shape[1]
        xs = torch.cat([xs[:, None].expand(-1, count, -1, -1), queries[:, :, None]], 2)
        ys = torch.cat([ys[:, None].expand(-1, count, -1), ys.new_zeros(batch, count, 1)], 2)
        said = predictor(xs.reshape(-1, n + 1, dim), ys.reshape(-1, n + 1))
        return said[:, -1].reshape(batch, count)

    return ask


_PREDICTORS: dict[str, CurvePredictor] = {
    BAYES: exact(PRIOR),
    RIGHT: exact(recipes.RIGHT_BAND),
    NO_EDGE: exact(Mixture((LINE, recipes.INNER), (0.5, 0.5))),
    LINEAR: partial(baselines.best_linear_curve, function_class=PRIOR),
    SQUARES: _after_all(baselines.least_squares),
    NEAREST: _after_all(partial(baselines.nearest_neighbours, k=1)),
    NEIGHBOURS: _after_all(partial(baselines.nearest_neighbours, k=3)),
}


def predictor(name: str, asked: FunctionClass) -> CurvePredictor:
    """A predictor of curves by its name; only the oracle knows what class is asked for."""
    if name in _PREDICTORS:
        return _PREDICTORS[name]
    if name == ORACLE:
        return exact(asked)
    if name.startswith(NOISE):
        return exact(PRIOR, jitter=float(name.removeprefix(NOISE)))
    if name.startswith(DOUBT):
        return exact(bayes.with_doubt(PRIOR, float(name.removeprefix(DOUBT))))
    if name.startswith(OF):
        return exact(recipes.RECIPES[name.removeprefix(OF)].function_class)
    if name.startswith(LINEAR_OF):
        function_class = recipes.RECIPES[name.removeprefix(LINEAR_OF)].function_class
        return partial(baselines.best_linear_curve, function_class=function_class)
    return weights.load(name).predict_curve


@cache
def answers(
    name: str,
    asked: FunctionClass,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: tuple[int, ...],
) -> tuple[Tensor, Tensor, Tensor]:
    """Where these prompts are asked (P, Q, 1), the true values (P, Q), and what the predictor says (P, Q)."""
    xs, ys, _ = sample_prompts(asked, max(prompts) + 1, MOST + n_queries, seed=seed)
    xs, ys = xs[list(prompts)], ys[list(prompts)]
    examples, queries = slice(0, n_examples), slice(MOST, None)
    said = curve_predictions(
        {name: predictor(name, asked)}, xs[:, examples], ys[:, examples], xs[:, queries]
    )
    return xs[:, queries].double(), ys[:, queries].double(), said[name]


def error(name: str, asked: FunctionClass, *case: Any) -> pd.DataFrame:
    """How far a predictor is from the function; `case` as for `answers`."""
    _, ys, said = answers(name, asked, *case)
    return pd.DataFrame({"error": mean_square(said - ys), "power": mean_square(ys)})


def distance(name: str, other: str, asked: FunctionClass, *case: Any) -> pd.DataFrame:
    """How far two predictors are from each other; `case` as for `answers`."""
    (_, ys, one), (_, _, two) = answers(name, asked, *case), answers(other, asked, *case)
    return pd.DataFrame({"distance": mean_square(one - two), "power": mean_square(ys)})


def shape(name: str, asked: FunctionClass, *case: Any) -> pd.DataFrame:
    """What a predictor's curve is made of; `case` as for `answers`."""
    xs, _, said = answers(name, asked, *case)
    line, sine, both = remainders(xs[:, :, 0], said)
    return pd.DataFrame(
        {"power": mean_square(said), "off_line": line, "off_sine": sine, "off_sum": both}
    )


def remainders(xs: Tensor, values: Tensor, frequencies: int = 401) -> tuple[Tensor, Tensor, Tensor]:
    """What the nearest line, sine of the band, and sum of both leave of curves (B, Q), mean squared: each (B,).

    The frequency is searched on an even grid; neighbours are 0.01 apart, which at |x| < 3 turns a phase by 0.03.
    """
    angle = torch.linspace(SINE.low, SINE.high, frequencies, dtype=xs.dtype)[:, None] * xs[:, None]
    wave = torch.stack([angle.sin(), angle.cos()], -1)  # (B, F, Q, 2)
    straight = xs[:, None, :, None]
    summed = torch.cat([straight.expand(-1, frequencies, -1, -1), wave], -1)
    line, sine, both = (
        _least_rest(features, values).amin(1) for features in (straight, wave, summed)
    )
    return line, sine, both


def _least_rest(features: Tensor, values: Tensor) -> Tensor:
    """Mean squared rest of least squares on features (B, F, Q, K): (B, F)."""
    gram = features.mT @ features  # (B, F, K, K)
    # Not to divide by zero where a frequency's two features are as good as one.
    gram = gram + 1e-9 * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * torch.eye(
        gram.shape[-1], dtype=gram.dtype
    )
    fitted = torch.linalg.solve(gram, features.mT @ values[:, None, :, None])
    return (values[:, None] - (features @ fitted)[..., 0]).square().mean(-1)


def mean_square(values: Tensor) -> Tensor:
    """Over the queries."""
    return values.square().mean(1)


POWER = {"power": "mean square of the function's values at the same queries"}
ERROR = {"error": "mean squared error over the queries, in units of f squared", **POWER}
DISTANCE = {"distance": "mean squared difference over the queries, in units of f squared", **POWER}
SHAPE = {
    "power": "mean square of the predicted curve, in units of f squared",
    "off_line": "what the nearest line leaves, mean squared",
    "off_sine": "what the nearest sine of the band leaves, mean squared",
    "off_sum": "what the nearest sum of a line and a sine of the band leaves, mean squared",
}
"""What `error`, `distance` and `shape` measure, by column."""


def draw_share(axes: Axes, table: pd.DataFrame, x: str, role: str, label: str, **line: Any) -> None:
    """One line of shares with its band, kept above the floor."""
    drawn = table.sort_values(x)
    drawn = drawn.assign(**drawn[["share", "ci_low", "ci_high"]].clip(lower=FLOOR))
    figures.curve(axes, drawn, x, "share", role, label, **line)


def draw_answers(xs: Tensor, ys: Tensor, n_examples: int, answers: Mapping[str, Tensor]) -> Picture:
    """One prompt: its first examples, the function at the other inputs, and what predictors say of it there.

    Args:
        xs: inputs (1, n, 1).
        ys: values (1, n).
        n_examples: how many of them are examples.
        answers: by role, a key of `figures.LOOKS`, at the other inputs (1, n - n_examples).
    """
    at = xs[0, n_examples:, 0]
    order = at.argsort()
    with figures.drawing(figsize=(8, 2.7)) as (figure, axes):
        for name, values in {"truth": ys[:, n_examples:], **answers}.items():
            axes.plot(at[order], values[0, order], label=name, **figures.LOOKS[name].line())
        axes.plot(xs[0, :n_examples, 0], ys[0, :n_examples], "o", color="0.5", markersize=5)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        axes.set(xlabel="x", ylabel="f(x)")
        return figures.picture(
            figure, f"One function, and what predictors make of {n_examples} examples of it."
        )
