"""In-context learning curves: every predictor on the same prompts, with intervals, as tidy tables.

Evaluation is paired. All predictors meet the same prompts, so the interval of a difference between two of them is far
narrower than the intervals of their curves suggest; `excess_risk` makes use of that.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from icl_lib._validate import check_count, check_positive
from icl_lib.samplers import FunctionClass, check_seed, sample_prompts

Predictor = Callable[[Tensor, Tensor], Tensor]
"""Maps xs (B, n, d), ys (B, n) to predictions (B, n); entry i uses the i examples before it and x_i only."""

CurvePredictor = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Maps xs (B, n, d), ys (B, n), queries (B, Q, d) to predictions (B, Q)."""

RESAMPLES = 2000
COVERAGE = 0.90
_BATCH = 128
_CURVES = 16  # so few that what a transformer has in hand stays in a CPU's cache
_TAILS = torch.tensor([(1 - COVERAGE) / 2, (1 + COVERAGE) / 2], dtype=torch.float64)


@torch.no_grad()
def squared_errors(
    predictors: Mapping[str, Predictor],
    function_class: FunctionClass,
    *,
    n_examples: int,
    n_prompts: int = 1280,
    seed: int = 0,
    noise: float = 0.0,
) -> dict[str, Float[Tensor, "prompts examples"]]:
    """Squared error of each predictor, on each prompt, at each prefix.

    Args:
        predictors: by name.
        function_class: what the prompts' functions are drawn from.
        n_examples: points per prompt; the errors are those after 0, 1, ..., n_examples - 1 examples.
        n_prompts: number of prompts.
        seed: an evaluation seed, in [0, 2**32): training can never have seen its prompts.
        noise: standard deviation of the noise on the examples' values. The errors are those in f itself: the noise on
            the value to predict would add its variance to all alike.

    A model may be on any device: it is asked there.

    Returns:
        For each name a float64 tensor (n_prompts, n_examples).

    Raises:
        ValueError: a seed of training, no predictor, or predictions that are not finite or of another shape.
    """
    _check_evaluation(predictors, n_prompts, seed)
    check_count("n_examples", n_examples)
    xs, ys, truth = _prompts(function_class, n_prompts, n_examples, seed, noise)
    return {
        name: (found - truth).square() for name, found in predictions(predictors, xs, ys).items()
    }


def _prompts(
    function_class: FunctionClass, n_prompts: int, points: int, seed: int, noise: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, noisy values, and the values without their noise."""
    xs, ys, _ = sample_prompts(function_class, n_prompts, points, seed=seed, noise=noise)
    if noise == 0:
        return xs, ys, ys
    return xs, ys, sample_prompts(function_class, n_prompts, points, seed=seed).ys


def curve_errors(
    predictors: Mapping[str, CurvePredictor],
    function_class: FunctionClass,
    *,
    n_examples: int,
    n_queries: int = 16,
    n_prompts: int = 1280,
    seed: int = 0,
    noise: float = 0.0,
) -> dict[str, Float[Tensor, "prompts 1"]]:
    """Squared error after a fixed number of examples, averaged over several fresh queries of each prompt.

    Averaging over queries leaves the mean what it is and narrows its interval. Prompts and functions are those that
    `squared_errors` draws at the same seed.

    Args:
        predictors: by name, each `(xs (B, n, d), ys (B, n), queries (B, Q, d)) -> (B, Q)`.
        function_class: what the prompts' functions are drawn from.
        n_examples: in-context examples n before the queries.
        n_queries: queries Q per prompt.
        n_prompts: number of prompts.
        seed: an evaluation seed, in [0, 2**32).
        noise: as for `squared_errors`.

    Returns:
        For each name a float64 tensor (n_prompts, 1), ready for `learning_curves`.

    Raises:
        ValueError: as for `squared_errors`.
    """
    return same_query_errors(
        predictors,
        function_class,
        n_examples=(n_examples,),
        n_queries=n_queries,
        n_prompts=n_prompts,
        seed=seed,
        noise=noise,
    )


@torch.no_grad()
def same_query_errors(
    predictors: Mapping[str, CurvePredictor],
    function_class: FunctionClass,
    *,
    n_examples: Sequence[int],
    n_queries: int = 16,
    n_prompts: int = 1280,
    seed: int = 0,
    noise: float = 0.0,
) -> dict[str, Float[Tensor, "prompts lengths"]]:
    """Squared error at several numbers of examples, on the same queries of the same prompts at each.

    Only the examples grew between two columns, so that their difference is known far better than from
    `squared_errors`, where every number of examples has a query of its own.

    Args:
        predictors: by name, each `(xs (B, n, d), ys (B, n), queries (B, Q, d)) -> (B, Q)`.
        function_class: what the prompts' functions are drawn from.
        n_examples: numbers of examples, one for each column.
        n_queries: queries Q per prompt.
        n_prompts: number of prompts.
        seed: an evaluation seed, in [0, 2**32).
        noise: as for `squared_errors`.

    Returns:
        For each name a float64 tensor (n_prompts, len(n_examples)).

    Raises:
        ValueError: as for `squared_errors`; no number of examples.
    """
    _check_evaluation(predictors, n_prompts, seed)
    if not n_examples:
        raise ValueError("n_examples needs at least one number of examples, got none")
    for n in n_examples:
        check_count("n_examples", n, least=0)
    check_count("n_queries", n_queries)
    most = max(n_examples)
    xs, ys, truth = _prompts(function_class, n_prompts, most + n_queries, seed, noise)
    columns = [
        curve_predictions(predictors, xs[:, :n], ys[:, :n], xs[:, most:]) for n in n_examples
    ]
    return {
        name: torch.stack([(c[name] - truth[:, most:]).square().mean(1) for c in columns], dim=1)
        for name in predictors
    }


def _check_evaluation(predictors: Mapping[str, object], n_prompts: int, seed: int) -> None:
    if not predictors:
        raise ValueError("evaluation needs at least one predictor, got none")
    check_count("n_prompts", n_prompts)
    check_seed(seed)


def _in_parts(
    predictors: Mapping[str, Callable[..., Tensor]],
    size: int,
    shape: torch.Size,
    *inputs: Tensor,
) -> dict[str, Tensor]:
    """What each predictor says, `size` prompts at a time, float64, once it is known to be predictions of `shape`."""
    if not predictors:
        raise ValueError("predictions need at least one predictor, got none")
    prompts = list(zip(*(values.split(size) for values in inputs), strict=True))
    return {
        name: _checked(name, [_answer(predictor, part) for part in prompts], shape)
        for name, predictor in predictors.items()
    }


def _answer(predictor: Callable[..., Tensor], part: tuple[Tensor, ...]) -> Tensor:
    """What a predictor says; a model is asked on the device where it is, for prompts and answers lie on the CPU."""
    owner = getattr(predictor, "__self__", predictor)  # model.predict_curve is the model's
    weight = next(owner.parameters(), None) if isinstance(owner, nn.Module) else None
    if weight is None:
        return predictor(*part)
    return predictor(*(values.to(weight.device) for values in part)).cpu()


def _checked(name: str, parts: list[Tensor], shape: torch.Size) -> Tensor:
    for part in parts:
        if not isinstance(part, Tensor):
            raise ValueError(
                f"predictor {name!r} must return a torch.Tensor, got {type(part).__name__}"
            )
    predictions = torch.cat(parts).double()
    if predictions.shape != shape:
        raise ValueError(
            f"predictor {name!r} must return shape {tuple(shape)}, got {tuple(predictions.shape)}"
        )
    if not bool(torch.isfinite(predictions).all()):
        raise ValueError(f"predictor {name!r} must return finite predictions, got NaN or infinity")
    return predictions


def bootstrap_interval(
    values: Float[Tensor, "prompts columns"], *, seed: int = 0
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
    """The 90% percentile-bootstrap interval of each column's mean over prompts.

    Args:
        values: one row per prompt.
        seed: of the resampling; the same seed resamples the same prompts, which keeps comparisons paired.

    Returns:
        Lower and upper ends, one per column.
    """
    return interval_of(resampled_means(values, seed))


def share_interval(
    hits: Bool[Tensor, "prompts columns"],
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
    """Wilson's 90% interval of the share of prompts that are True, in each column.

    Unlike the bootstrap's it keeps a width where all are, or none.

    Args:
        hits: one row per prompt.

    Returns:
        Lower and upper ends, one per column.
    """
    prompts, share = hits.shape[0], hits.double().mean(0)
    squared = torch.special.ndtri(_TAILS[1]).square() / prompts
    centre = share + squared / 2
    reach = (squared * (share * (1 - share) + squared / 4)).sqrt()
    return (centre - reach) / (1 + squared), (centre + reach) / (1 + squared)


@lru_cache(maxsize=4)
def _resamples(prompts: int, seed: int) -> Float[Tensor, "resamples prompts"]:
    """Weights with which each resample takes the prompts; a matrix product with them gives its means."""
    counts = np.random.default_rng(seed).multinomial(
        prompts, np.full(prompts, 1 / prompts), size=RESAMPLES
    )
    return torch.from_numpy(counts / prompts)


def learning_curves(
    errors: Mapping[str, Float[Tensor, "prompts columns"]], n_examples: Sequence[int] | None = None
) -> pd.DataFrame:
    """Mean and median squared error against the number of examples, with the mean's 90% interval.

    Args:
        errors: as `squared_errors` or `curve_errors` returns them.
        n_examples: number of in-context examples behind each column; 0, 1, 2, ... if not given.

    Returns:
        One row per predictor and number of in-context examples: predictor, n_examples, mse, median, ci_low, ci_high.

    Raises:
        ValueError: no errors.
    """
    if not errors:
        raise ValueError("a learning curve needs the errors of at least one predictor, got none")
    tables = []
    for name, error in errors.items():
        low, high = bootstrap_interval(error)
        tables.append(
            pd.DataFrame(
                {
                    "predictor": name,
                    "n_examples": range(error.shape[1]) if n_examples is None else n_examples,
                    "mse": error.mean(0).numpy(),
                    "median": error.quantile(0.5, dim=0).numpy(),
                    "ci_low": low.numpy(),
                    "ci_high": high.numpy(),
                }
            )
        )
    return pd.concat(tables, ignore_index=True)


def evaluate(
    predictors: Mapping[str, Predictor],
    function_class: FunctionClass,
    *,
    n_examples: int,
    n_prompts: int = 1280,
    seed: int = 0,
    noise: float = 0.0,
) -> pd.DataFrame:
    """In-context learning curves of several predictors on the same prompts.

    Args:
        predictors: by name, each `(xs, ys) -> predictions`.
        function_class: what the prompts' functions are drawn from.
        n_examples: points per prompt; the table's `n_examples` runs over 0, 1, ..., n_examples - 1 examples seen.
        n_prompts: number of prompts; 1,280 as in Garg et al. (arXiv 2208.01066).
        seed: an evaluation seed, in [0, 2**32).
        noise: as for `squared_errors`.

    Returns:
        A tidy table: predictor, n_examples, mse, median, ci_low, ci_high (90% bootstrap interval of the mean).

    Raises:
        ValueError: see `squared_errors`.
    """
    return learning_curves(
        squared_errors(
            predictors,
            function_class,
            n_examples=n_examples,
            n_prompts=n_prompts,
            seed=seed,
            noise=noise,
        )
    )


def excess_risk(
    errors: Mapping[str, Float[Tensor, "prompts columns"]],
    reference: str,
    n_examples: Sequence[int] | None = None,
) -> pd.DataFrame:
    """How much larger each predictor's mean squared error is than the reference's, prompt by prompt.

    Args:
        errors: as `squared_errors` or `curve_errors` returns them.
        reference: the name of the predictor to compare with, usually exact Bayes.
        n_examples: as for `learning_curves`.

    Returns:
        One row per other predictor and number of examples: predictor, n_examples, excess, ci_low, ci_high
        (90%, paired).

    Raises:
        ValueError: a reference that is not among the errors, or stands there alone.
    """
    if reference not in errors or len(errors) < 2:
        raise ValueError(
            f"reference must be one of at least two predictors, {', '.join(errors)}; got {reference!r}"
        )
    differences = {
        name: error - errors[reference] for name, error in errors.items() if name != reference
    }
    table = learning_curves(differences, n_examples)
    return table.rename(columns={"mse": "excess"}).drop(columns="median")


@torch.no_grad()
def predictions(
    predictors: Mapping[str, Predictor],
    xs: Float[Tensor, "batch n d"],
    ys: Float[Tensor, "batch n"],
) -> dict[str, Float[Tensor, "batch n"]]:
    """What each predictor says of the same prompts, a part of them at a time.

    Args:
        predictors: by name.
        xs: inputs (B, n, d).
        ys: values (B, n).

    Returns:
        For each name a float64 tensor (B, n).

    Raises:
        ValueError: no predictor, or predictions that are not finite or of another shape.
    """
    return _in_parts(predictors, _BATCH, ys.shape, xs, ys)


@torch.no_grad()
def curve_predictions(
    predictors: Mapping[str, CurvePredictor],
    xs: Float[Tensor, "batch n d"],
    ys: Float[Tensor, "batch n"],
    queries: Float[Tensor, "batch queries d"],
) -> dict[str, Float[Tensor, "batch queries"]]:
    """What each predictor says at the same queries of the same prompts, a part of the prompts at a time.

    Args:
        predictors: by name, each `(xs, ys, queries) -> predictions`.
        xs: inputs of the examples (B, n, d).
        ys: their values (B, n).
        queries: where to predict (B, Q, d).

    Returns:
        For each name a float64 tensor (B, Q).

    Raises:
        ValueError: no predictor, or predictions that are not finite or of another shape.
    """
    return _in_parts(predictors, _CURVES, queries.shape[:2], xs, ys, queries)


def blend_weight(
    blended: Float[Tensor, "prompts examples"],
    first: Float[Tensor, "prompts examples"],
    second: Float[Tensor, "prompts examples"],
) -> pd.DataFrame:
    """With which weight a predictor's answers blend those of two experts: blended ~ w first + (1 - w) second.

    At each number of examples, the least-squares w over the prompts. Nothing holds it between 0 and 1. Where the
    experts agree it is not defined, and NaN.

    Args:
        blended: predictions to explain (B, n).
        first: the first expert's predictions (B, n).
        second: the second's (B, n).

    Returns:
        One row per number of examples: n_examples; weight, ci_low, ci_high (90%, over prompts); apart, the mean squared
        difference of the experts: where that is small, the weight means little; and left, what the blend does not
        explain, the mean squared difference between the predictions and their best blend.

    Raises:
        ValueError: shapes that disagree.
    """
    if not blended.shape == first.shape == second.shape:
        raise ValueError(
            "predictions must share one shape, "
            f"got {tuple(blended.shape)}, {tuple(first.shape)} and {tuple(second.shape)}"
        )
    apart = (first - second).double()
    over, under = (blended - second).double() * apart, apart.square()
    weight = over.sum(0) / under.sum(0)
    low, high = bootstrap_ratio(over, under)
    left = (blended - second).double() - torch.where(under.sum(0) > 0, weight, 0) * apart
    return pd.DataFrame(
        {
            "n_examples": range(blended.shape[1]),
            "weight": weight.numpy(),
            "ci_low": low.numpy(),
            "ci_high": high.numpy(),
            "apart": under.mean(0).numpy(),
            "left": left.square().mean(0).numpy(),
        }
    )


def bootstrap_ratio(
    over: Float[Tensor, "prompts columns"], under: Float[Tensor, "prompts columns"], seed: int = 0
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
    """90% percentile-bootstrap interval of mean(over) / mean(under), column by column, both resampled together.

    Args:
        over: (prompts, columns).
        under: (prompts, columns).
        seed: of the resampling.

    Returns:
        Lower and upper ends, one per column.
    """
    above, below = resampled_means(torch.cat((over, under), 1), seed).tensor_split(2, dim=1)
    return interval_of(above / below)


def resampled_means(
    values: Float[Tensor, "prompts columns"], seed: int = 0
) -> Float[Tensor, "resamples columns"]:
    """Each column's mean over bootstrap resamples of the prompts, the same ones for the same seed.

    Whatever is computed of such means, row by row, has its interval by `interval_of`.
    """
    return _resamples(values.shape[0], seed) @ values.double()


def interval_of(
    samples: Float[Tensor, "resamples columns"],
) -> tuple[Float[Tensor, " columns"], Float[Tensor, " columns"]]:
    """The 90% interval of each column: its 5% and 95% quantiles."""
    low, high = samples.quantile(_TAILS, dim=0)
    return low, high


@dataclass(frozen=True)
class Rise:
    """Where a learning curve rises most, and by how much.

    Attributes:
        fewer: the smaller number of examples.
        more: the larger one, at which the error is higher.
        rise: mean error at `more`, less that at `fewer`.
        low: lower end of its 90% interval.
        high: upper end.
    """

    fewer: int
    more: int
    rise: float
    low: float
    high: float


def largest_rise(errors: Float[Tensor, "prompts examples"]) -> Rise:
    """Find how far from monotonic a learning curve is: its largest rise from fewer examples to more.

    Where it rises most is found on one half of the prompts, and how much on the other: a maximum taken and measured on
    the same numbers would be above zero for any curve.

    Args:
        errors: squared errors (prompts, examples).

    Raises:
        ValueError: fewer than four prompts or two columns.
    """
    if errors.ndim != 2 or errors.shape[0] < 4 or errors.shape[1] < 2:
        raise ValueError(
            f"a rise needs errors (prompts, examples), at least 4 and 2 of them; got {tuple(errors.shape)}"
        )
    find, measure = errors[0::2].double(), errors[1::2].double()
    curve = find.mean(0)
    rises = (curve[None, :] - curve[:, None]).triu(1)
    rises[torch.ones_like(rises, dtype=torch.bool).tril()] = -torch.inf
    fewer, more = divmod(int(rises.argmax()), len(curve))
    difference = measure[:, more] - measure[:, fewer]
    low, high = bootstrap_interval(difference[:, None])
    return Rise(fewer, more, difference.mean().item(), low.item(), high.item())


def examples_to_reach(
    errors: Float[Tensor, "prompts examples"], level: float
) -> tuple[float, float, float]:
    """How many examples it takes until the mean squared error stays at or below `level`.

    Args:
        errors: squared errors (prompts, examples).
        level: in units of the error.

    Returns:
        The number of examples, and the ends of its 90% bootstrap interval over prompts; infinity where the last column
        is above the level.
    """
    check_positive("level", level)

    def first(curves: Tensor) -> Tensor:
        """Of each curve the first column from which on none is above."""
        above = (curves > level).double()
        last = (above * torch.arange(1, curves.shape[1] + 1)).amax(1)
        return torch.where(last == curves.shape[1], torch.inf, last)

    values = errors.double()
    resampled = first(_resamples(len(values), 0) @ values)
    low, high = resampled.quantile(_TAILS, dim=0, interpolation="nearest").tolist()
    return first(values.mean(0, keepdim=True)).item(), low, high
