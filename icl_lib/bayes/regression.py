"""Bayesian linear regression with a few features, at many nodes at once."""

from __future__ import annotations

from collections.abc import Callable
from math import log

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan

JITTER = 1e-3
"""Standard deviation of the noise that the predictor assumes besides what it is told of, in units of f."""


State = tuple[Tensor, ...]


class Noise:
    """Gaussian noise of covariance K + jitter^2 I, or of jitter^2 I alone."""

    def __init__(self, jitter: float, covariance: Tensor | None = None) -> None:
        self.jitter = jitter
        self.lower: Tensor | None = None
        if covariance is not None:
            identity = torch.eye(covariance.shape[-1], dtype=covariance.dtype).to(covariance.device)
            self.lower, failed = torch.linalg.cholesky_ex(covariance + jitter**2 * identity)
            if failed.any():
                raise ValueError(
                    f"jitter {jitter} is lost to rounding beside a covariance as large as "
                    f"{float(covariance.max()):.3g}; give a larger jitter or smaller xs"
                )

    @property
    def precision(self) -> float:
        """What remains to multiply products of whitened values with."""
        return 1.0 if self.lower is not None else self.jitter**-2

    def whiten(self, values: Tensor) -> Tensor:
        """L^-1 v for values (B or 1, N, n), but for the factor sqrt(precision)."""
        if self.lower is None:
            return values
        columns = values.expand(len(self.lower), -1, -1).mT
        return torch.linalg.solve_triangular(self.lower, columns, upper=False).mT

    def log_scale(self, n: int) -> Tensor | float:
        """Log-determinant of L for n examples."""
        if self.lower is None:
            return n * log(self.jitter)
        return self.lower.diagonal(dim1=1, dim2=2).log().sum(1)


def regress(features: list[Tensor], targets: Tensor, noise: Noise) -> tuple[Tensor, Tensor]:
    """Bayesian linear regression with weights w ~ N(0, I), at every node.

    In whitened units, with S = sum phi phi', b = sum phi y and M = I + S, the posterior mean is
    M^-1 b and the log evidence, but for constants, -1/2 (y'y - b' M^-1 b + log det M). The Cholesky
    factor M = L L' is written out entry by entry: its entries are few, each operation serves all
    nodes at once, and ONNX has no operator for it. In double precision the difference y'y - b' M^-1
    b keeps its meaning: y'y is at most 1e8, evidence is wanted to 1e-6.

    Args:
        features: one (B, N or 1, n) for each of F features.
        targets: whitened values, (B, 1, n).
        noise: whitens the features.

    Returns:
        Posterior mean (B, N, F) and log evidence (B, N).
    """
    size = len(features)
    nodes = max([feature.shape[1] for feature in features], default=1)
    columns = [noise.whiten(feature).expand(-1, nodes, -1) for feature in features]
    joint = torch.stack([*columns, targets.expand(-1, nodes, -1)], dim=2)
    # A column of zeros changes no product; without one, onnxruntime-web leaves those over no examples as it finds them.
    joint = nn.functional.pad(joint, (0, 1))
    products = joint.new_tensor(noise.precision) * (joint @ joint.mT)  # (B, N, F + 1, F + 1)
    gram = [row.unbind(-1) for row in products.unbind(-2)]
    lower: list[list[Tensor]] = []
    half: list[Tensor] = []  # L^-1 b
    misfit = gram[size][size]
    log_det = torch.zeros_like(misfit)
    for i in range(size):
        row: list[Tensor] = []
        for j in range(i):
            row.append((gram[i][j] - _dot(row, lower[j])) / lower[j][j])
        # What elimination leaves of 1 + S_ii is at least 1, but for rounding.
        pivot = (1.0 + gram[i][i] - _dot(row, row)).clamp_min(1.0)
        log_det = log_det + pivot.log()
        half.append((gram[i][size] - _dot(row, half)) / pivot.sqrt())
        misfit = misfit - half[i] * half[i]
        lower.append([*row, pivot.sqrt()])
    weights: list[Tensor] = []
    for i in reversed(range(size)):
        below = [lower[k][i] for k in range(i + 1, size)]
        weights.insert(0, (half[i] - _dot(below, weights)) / lower[i][i])
    mean = torch.stack(weights, dim=-1) if weights else products.new_zeros(len(products), nodes, 0)
    return mean, -0.5 * (misfit + log_det)


def updates(
    features: Float[Tensor, "batch nodes examples features"],
    ys: Float[Tensor, "batch examples"],
    jitter: float,
) -> tuple[Float[Tensor, "batch nodes examples features"], Float[Tensor, "batch nodes examples"]]:
    """Posterior mean of the weights, and the log evidence, from the examples before each: example by example."""
    flat = torch.zeros_like(features[:, :, 0])  # (B, N, F)
    identity = torch.eye(features.shape[3], dtype=ys.dtype, device=ys.device)

    def learn(state: State, example: State) -> tuple[State, State]:
        (mean, covariance, log_evidence), (phi, y) = state, example
        reach = (covariance * phi[:, :, None]).sum(-1)  # P phi
        variance = (phi * reach).sum(-1) + jitter**2
        surprise = y[:, None] - (mean * phi).sum(-1)
        gain = reach / variance[..., None]
        return (
            mean + gain * surprise[..., None],
            covariance - gain[..., :, None] * reach[..., None, :],
            log_evidence - 0.5 * (surprise.square() / variance + variance.log()),
        ), (mean.clone(), log_evidence.clone())

    state: State = (flat, identity + flat[..., None], flat[..., 0] * 0.0)
    means, evidences = _scan(learn, state, (features.permute(2, 0, 1, 3), ys.mT))[1]
    return means.permute(1, 2, 0, 3), evidences.permute(1, 2, 0)


def _scan(
    step: Callable[[State, State], tuple[State, State]], state: State, examples: State
) -> tuple[State, State]:
    """Go through examples, along the first axis: the last state, and what each step has told, stacked.

    In an exported graph this is one loop; else it is written out, which is faster.
    """
    if torch.compiler.is_exporting():
        found: tuple[State, State] = scan(step, state, examples)
        return found
    told = []
    for example in zip(*examples, strict=True):
        state, says = step(state, example)
        told.append(says)
    return state, tuple(torch.stack(column) for column in zip(*told, strict=True))


def krige(
    covariance: Float[Tensor, "rows examples examples"],
    reach: Float[Tensor, "rows examples queries"],
    ys: Float[Tensor, "1 examples"],
    jitter: float,
) -> tuple[Float[Tensor, "rows queries"], Float[Tensor, " rows"]]:
    """A Gaussian process's prediction at queries, and its log evidence, by elimination: an example at a time.

    With K = covariance + jitter^2 I the prediction is reach' K^-1 y. Eliminate the examples from [K | y | reach] one by
    one, and each pivot row holds what its example says beyond those before: its variance s, its surprise z, and its
    covariance c with each query. They add z c / s to the predictions and -(z^2 / s + log(s / jitter^2)) / 2 to the log
    evidence. That needs no factor, and as a scan one graph serves any number of examples.

    Args:
        covariance: between the examples, of which there is at least one, for each of R processes.
        reach: between examples and queries.
        ys: values of the examples.
        jitter: standard deviation of the noise on them.

    Returns:
        Predictions (R, Q) and log evidence (R,), but for the constants that `regress` leaves out too.
    """
    noise = covariance.new_tensor(jitter**2)
    values = ys[:, :, None].repeat(len(covariance), 1, 1)
    each = torch.arange(covariance.shape[1], device=ys.device)
    covariance = covariance + noise * (each[:, None] == each).to(ys.dtype)

    def eliminate(state: State, examples: State) -> tuple[State, State]:
        (covariance, values, reach, means, evidence), (example,) = state, examples
        row, surprise, queries = (part.index_select(1, example) for part in state[:3])
        variance = row.index_select(2, example)  # (R, 1, 1), as `surprise`
        share = covariance.index_select(2, example) / variance  # (R, n, 1)
        gain = 0.5 * (surprise.square() / variance + (variance / noise).log())
        return (
            covariance - share * row,
            values - share * surprise,
            reach - share * queries,
            means + queries * (surprise / variance),
            evidence - gain,
        ), (example.clone(),)

    state: State = (covariance, values, reach, torch.zeros_like(reach[:, :1]), values[:, :1] * 0.0)
    state, _ = _scan(eliminate, state, (each[:, None],))
    return state[3][:, 0], state[4][:, 0, 0]


def _dot(left: list[Tensor], right: list[Tensor]) -> Tensor | float:
    """Sum of products, over the shorter of two lists."""
    products = [a * b for a, b in zip(left, right, strict=False)]
    return sum(products[1:], start=products[0]) if products else 0.0
