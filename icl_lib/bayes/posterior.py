"""What the examples say: the posterior mean, at every prefix or along a curve, and the class probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, log, pi, prod

import torch
from jaxtyping import Float
from torch import Tensor

from icl_lib._validate import check_not_negative, check_positive, check_prompts, check_queries
from icl_lib.bayes import tasks
from icl_lib.bayes.bands import FINE, Resolution, equal_cells, n_cells, zoom
from icl_lib.bayes.parts import Parts, covariance_of, expand, features_of, values_of
from icl_lib.bayes.regression import JITTER, Noise, regress
from icl_lib.latents import Interval
from icl_lib.samplers import FunctionClass
from icl_lib.tasks import TaskSet

_CHUNK = 6_000_000
"""Prompts are taken together while the largest tensor has fewer numbers than this (48 MB)."""


@dataclass(frozen=True)
class Posterior:
    """What the examples before each one say.

    Attributes:
        mean: E[f(x_i) | the i examples before], shape (B, n).
        component_probability: entry (b, i, k) is the probability, given the i examples before, that
            prompt b comes from component k of the mixture; shape (B, n, K), with K = 1 if the class
            is not a mixture.
    """

    mean: Float[Tensor, "batch examples"]
    component_probability: Float[Tensor, "batch examples components"]


def posterior_predictive(
    function_class: FunctionClass,
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    *,
    noise: float = 0.0,
    jitter: float = JITTER,
    resolution: Resolution = FINE,
) -> Posterior:
    """Compute the posterior predictive at every prefix: from the examples before i, and x_i.

    Args:
        function_class: the prior. With a ReluNetwork in it the answer is an approximation.
        xs: inputs, shape (B, n, d).
        ys: values, shape (B, n), in units of f.
        noise: standard deviation of the noise on `ys`, in units of f.
        jitter: standard deviation of the noise assumed besides, in units of f.
        resolution: how finely frequencies are resolved.

    Returns:
        mean (B, n) and component_probability (B, n, K), in the precision of `ys`; the computation
        is in double precision.

    Raises:
        ValueError: prompts of another shape, dimension or type than `function_class` takes, or not
            finite; a jitter that is not positive, a negative noise; more than MAX_SUPPORTS supports.
    """
    assumed = check(function_class, xs, ys, noise, jitter)
    if isinstance(function_class, TaskSet):
        mean = tasks.prefix_means(function_class, xs, ys, assumed).to(ys.dtype)
        return Posterior(mean, torch.ones_like(mean)[:, :, None])
    means = [ys.new_empty(len(ys), 0)]
    probabilities = [ys.new_empty(len(ys), 0, len(function_class.components()))]
    for i in range(xs.shape[1]):
        before, here = slice(0, i), slice(i, i + 1)
        mean, probability = _in_chunks(
            function_class, xs[:, before], ys[:, before], xs[:, here], assumed, resolution
        )
        means.append(mean)
        probabilities.append(probability[:, None])
    return Posterior(torch.cat(means, dim=1), torch.cat(probabilities, dim=1))


def posterior_curve(
    function_class: FunctionClass,
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    queries: Float[Tensor, "batch queries dim"],
    *,
    noise: float = 0.0,
    jitter: float = JITTER,
    resolution: Resolution = FINE,
) -> tuple[Float[Tensor, "batch queries"], Float[Tensor, "batch components"]]:
    """Compute the posterior mean at many queries, given all n examples (none, if n = 0).

    Args:
        function_class: the prior. With a ReluNetwork in it the answer is an approximation.
        xs: inputs, shape (B, n, d).
        ys: values, shape (B, n).
        queries: inputs, shape (B, Q, d).
        noise: standard deviation of the noise on `ys`, in units of f.
        jitter: standard deviation of the noise assumed besides, in units of f.
        resolution: how finely frequencies are resolved.

    Returns:
        The posterior mean (B, Q) and the probability of each component (B, K), in the precision of
        `ys`.

    Raises:
        ValueError: as for `posterior_predictive`; or queries that do not fit `xs` or are not
            finite.
    """
    assumed = check(function_class, xs, ys, noise, jitter)
    check_queries(xs, queries)
    if isinstance(function_class, TaskSet):
        mean = tasks.curve_means(function_class, xs, ys, queries, assumed).to(ys.dtype)
        return mean, mean.new_ones(len(mean), 1)
    return _in_chunks(function_class, xs, ys, queries, assumed, resolution)


def latent_posterior(
    function_class: FunctionClass,
    xs: Float[Tensor, "batch examples 1"],
    ys: Float[Tensor, "batch examples"],
    *,
    noise: float = 0.0,
    jitter: float = JITTER,
    resolution: Resolution = FINE,
) -> tuple[Float[Tensor, " cells"], Float[Tensor, "batch cells"]]:
    """What the examples say of a class's latent number, such as the frequency of a Sinusoid.

    Args:
        function_class: a class whose latent is an interval.
        xs: inputs, shape (B, n, 1); n may be 0.
        ys: values, shape (B, n), in units of f.
        noise: standard deviation of the noise on `ys`, in units of f.
        jitter: standard deviation of the noise assumed besides, in units of f.
        resolution: how finely the interval is resolved.

    Returns:
        The centres (C,) of equal cells of the interval, and the probability (B, C) of each; float64.

    Raises:
        ValueError: as for `posterior_predictive`; or a class whose latent is no interval.
    """
    assumed = check(function_class, xs, ys, noise, jitter)
    band = function_class.latent
    if not isinstance(band, Interval):
        raise ValueError(
            f"function_class must have a latent that is an interval, as Sinusoid(1, 5), got {function_class!r}"
        )
    ((_, parts),) = expand(function_class)
    masses = []
    for chunk in _chunks(xs, [parts], xs.shape[1], resolution):
        values, _, log_mass = zoom(
            parts, xs[chunk].double(), ys[chunk].double()[:, None], Noise(assumed), resolution
        )
        middles, cell = equal_cells(band, resolution, values[:, :, 0])
        mass = log_mass.new_zeros(len(chunk), len(middles))
        masses.append(mass.scatter_add(1, cell, log_mass.softmax(1)))
    return middles, torch.cat(masses)


def predictor(
    function_class: FunctionClass,
    *,
    noise: float = 0.0,
    jitter: float = JITTER,
    resolution: Resolution = FINE,
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the exact Bayes predictor in the common form: (xs (B, n, d), ys (B, n)) -> (B, n)."""

    def predict(xs: Tensor, ys: Tensor) -> Tensor:
        return posterior_predictive(
            function_class, xs, ys, noise=noise, jitter=jitter, resolution=resolution
        ).mean

    return predict


def check(
    function_class: FunctionClass, xs: Tensor, ys: Tensor, noise: float, jitter: float
) -> float:
    """The standard deviation of noise and jitter together.

    Raises:
        ValueError: prompts that `function_class` does not take, a negative noise, a jitter that is not positive.
    """
    check_prompts(xs, ys)
    if not isinstance(function_class, FunctionClass):
        raise ValueError(
            f"function_class must be a function class such as DenseLinear(20), "
            f"got {function_class!r}"
        )
    if xs.shape[-1] != function_class.dim:
        raise ValueError(
            f"{function_class!r} takes inputs of dimension {function_class.dim}, "
            f"got xs {tuple(xs.shape)}"
        )
    check_not_negative("noise", noise)
    check_positive("jitter", jitter)
    return hypot(noise, jitter)


def _in_chunks(
    function_class: FunctionClass,
    xs: Tensor,
    ys: Tensor,
    queries: Tensor,
    jitter: float,
    resolution: Resolution,
) -> tuple[Tensor, Tensor]:
    """Posterior mean (B, Q) and component probability (B, K), as many prompts at a time as fit."""
    components = function_class.components()
    regressions = [
        (k, weight * probability, parts)
        for k, (weight, component) in enumerate(components)
        for probability, parts in expand(component)
        if weight > 0
    ]
    points = max(xs.shape[1], queries.shape[1])
    means, probabilities = [], []
    for chunk in _chunks(xs, [parts for _, _, parts in regressions], points, resolution):
        mean, probability = _blend(
            regressions,
            len(components),
            xs[chunk].double(),
            ys[chunk].double(),
            queries[chunk].double(),
            jitter,
            resolution,
        )
        means.append(mean.to(ys.dtype))
        probabilities.append(probability.to(ys.dtype))
    return torch.cat(means), torch.cat(probabilities)


def _chunks(
    xs: Tensor, regressions: list[Parts], points: int, resolution: Resolution
) -> tuple[Tensor, ...]:
    """The prompts' numbers, as many at a time as fit."""
    largest = max(_size(parts, resolution) for parts in regressions)
    rows = max(1, _CHUNK // (max(points, 1) * largest))
    return torch.arange(len(xs), device=xs.device).split(rows)


def _size(parts: Parts, resolution: Resolution) -> int:
    """Numbers that one example takes in one prompt: nodes times (features and the value)."""
    few = [part for part in parts if not part.by_covariance]
    nodes = prod(part.finite.count for part in few if part.finite)
    bands = [part.interval for part in few if part.interval]
    if bands:
        leaves = resolution.levels * resolution.keep * resolution.split ** len(bands)
        nodes *= prod(n_cells(band, resolution, len(bands)) for band in bands) + leaves
    return nodes * (2 + sum(part.n_features or 0 for part in few))


def _blend(
    regressions: list[tuple[int, float, Parts]],
    n_components: int,
    xs: Tensor,
    ys: Tensor,
    queries: Tensor,
    jitter: float,
    resolution: Resolution,
) -> tuple[Tensor, Tensor]:
    """Average the regressions' predictions by prior probability times evidence."""
    predictions = [
        predict_one(parts, xs, ys, queries, jitter, resolution) for _, _, parts in regressions
    ]
    prior = xs.new_tensor([probability for _, probability, _ in regressions])
    log_evidence = torch.stack([log_evidence for _, log_evidence in predictions], dim=1)
    posterior = (prior.log() + log_evidence).softmax(dim=1)  # (B, R)
    mean = torch.stack([mean for mean, _ in predictions], dim=1)  # (B, R, Q)
    component = torch.tensor([k for k, _, _ in regressions], device=xs.device)
    probability = xs.new_zeros(len(xs), n_components).index_add(1, component, posterior)
    return (posterior[:, :, None] * mean).sum(1), probability


def predict_one(
    parts: Parts,
    xs: Tensor,
    ys: Tensor,
    queries: Tensor,
    jitter: float,
    resolution: Resolution,
) -> tuple[Tensor, Tensor]:
    """Posterior mean at the queries (B, Q) and log evidence (B,), averaged over the latents.

    Parts of many features are treated as noise of covariance K. With L L' = K + jitter^2 I, the
    whitened values L^-1 y are a regression on the whitened features L^-1 phi, with unit noise. What
    the noise itself then says of a query, L^-1 k(x, query), is added back.
    """
    few = tuple(part for part in parts if not part.by_covariance)
    many = tuple(part for part in parts if part.by_covariance)
    n = xs.shape[1]
    noise = Noise(jitter, covariance_of(many, xs, xs) if many else None)
    targets = noise.whiten(ys[:, None])
    if any(part.interval for part in few):
        latent, weights, log_mass = zoom(few, xs, targets, noise, resolution)
    else:
        latent = values_of(few, xs)
        weights, log_evidence = regress(features_of(few, xs, latent), targets, noise)
        log_mass = log_evidence - log(latent.shape[1])
    weighted = log_mass.softmax(1)[:, :, None] * weights  # (B, N, F)
    features = features_of(few, queries, latent)
    mean = torch.zeros_like(queries[:, :, 0])
    if many:
        known = noise.whiten(covariance_of(many, queries, xs))  # (B, Q, n)
        mean = (known @ targets.mT)[:, :, 0]
        features = [
            here - noise.whiten(there) @ known.mT
            for here, there in zip(features, features_of(few, xs, latent), strict=True)
        ]
    for weight, feature in zip(weighted.unbind(-1), features, strict=True):
        mean = mean + (weight[:, None] @ feature.expand(-1, weight.shape[1], -1))[:, 0]
    return mean, log_mass.logsumexp(1) - noise.log_scale(n) - n / 2 * log(2 * pi)
