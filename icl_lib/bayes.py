r"""The exact Bayes predictor of a function class: the best answer anyone with its prior can give.

Every class is, given a *latent*, Bayesian linear regression, f(x) = w . phi(x) with w ~ N(0, I):

    class                        latent           features phi(x)
    DenseLinear(d)               none             x / sqrt(d)
    SparseLinear(d, k)           the support S    x_S / sqrt(k)
    Sinusoid(low, high)          frequency v      sin(v x), cos(v x)
    ConvexCombination(f, g, a)   those of both    a times those of f, (1 - a) times those of g
    Mixture                      the component    those of the component

Given the latent, the evidence (the probability density of the examples) and the posterior mean
are in closed form (`_regress`). Supports are summed one by one; frequencies are integrated over
cells that are cut finer where it matters (`_zoom`). The predictor is the average over latents,
each weighted by its prior probability times its evidence. For a mixture that is the
posterior-weighted blend of the components' own predictors (Panwar et al., arXiv 2306.04891).

Two things stand between this and exactness. The data carry no noise, yet the predictor assumes
noise of standard deviation `JITTER`; and the integral over frequencies is a sum, which the tests
compare with a far finer one.

ReluNetwork has no such form. In its place stands its limit at infinite width, the Gaussian process
with the first-order arc-cosine kernel (Cho and Saul 2009): **an approximation**, the only one here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, factorial, log, pi, prod

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl_lib._validate import check_positive, check_prompts, check_queries
from icl_lib.baselines import arc_cosine_kernel
from icl_lib.samplers import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    Mixture,
    ReluNetwork,
    Sinusoid,
    SparseLinear,
)

JITTER = 1e-3
"""Standard deviation of the noise that the predictor assumes, in units of f. The data have none."""

MAX_SUPPORTS = 50_000
"""The most supports summed one by one; a combination of two SparseLinear(20, 2) has 36,100."""

_FEW = 4
"""A dense function of more features than this enters by its covariance, not by its features."""

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


@dataclass(frozen=True)
class Resolution:
    """How finely frequencies are resolved.

    The band is cut into `cells` cells per unit of frequency; then, `levels` times, the `keep` cells
    that matter most are each cut into `split`. By default that ends at cells 1 / 65,536 wide;
    without noise, 40 examples pin a frequency down to about 1e-4. Predictions of a line, a
    sine or a combination of both at |x| < 3 are then right to 4e-4 (95% of prompts; the worst of 64:
    3e-3) with 2 or 3 examples, which leave many frequencies open, and to 1e-5 from 5 on.
    """

    cells: int = 64
    keep: int = 64
    split: int = 4
    levels: int = 5


FINE = Resolution()
"""What every function here uses unless told otherwise."""

COARSE = Resolution(cells=32, keep=32, split=4, levels=4)
"""What the page uses: less than half the work, and curves still right to about 1e-3."""

ZOOMED = Resolution(cells=32)
"""What the page uses for bands of any width: COARSE's equal cells, cut as often as FINE's.

A narrower posterior (large amplitudes, far-flung inputs) needs the last cut, a wide band many cells to cut: three
examples leave dozens of frequencies open in 0.1 to 20, and there curves may be off by 0.1."""


def posterior_predictive(
    function_class: FunctionClass,
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    *,
    jitter: float = JITTER,
    resolution: Resolution = FINE,
) -> Posterior:
    """Compute the posterior predictive at every prefix: from the examples before i, and x_i.

    Args:
        function_class: the prior. With a ReluNetwork in it the answer is an approximation.
        xs: inputs, shape (B, n, d).
        ys: values, shape (B, n), in units of f.
        jitter: standard deviation of the noise assumed, in units of f.
        resolution: how finely frequencies are resolved.

    Returns:
        mean (B, n) and component_probability (B, n, K), in the precision of `ys`; the computation
        is in double precision.

    Raises:
        ValueError: prompts of another shape, dimension or type than `function_class` takes, or not
            finite; a jitter that is not positive; more than MAX_SUPPORTS supports.
    """
    _check(function_class, xs, ys, jitter)
    means = [ys.new_empty(len(ys), 0)]
    probabilities = [ys.new_empty(len(ys), 0, len(_components(function_class)))]
    for i in range(xs.shape[1]):
        before, here = slice(0, i), slice(i, i + 1)
        mean, probability = _in_chunks(
            function_class, xs[:, before], ys[:, before], xs[:, here], jitter, resolution
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
    jitter: float = JITTER,
    resolution: Resolution = FINE,
) -> tuple[Float[Tensor, "batch queries"], Float[Tensor, "batch components"]]:
    """Compute the posterior mean at many queries, given all n examples (none, if n = 0).

    Args:
        function_class: the prior. With a ReluNetwork in it the answer is an approximation.
        xs: inputs, shape (B, n, d).
        ys: values, shape (B, n).
        queries: inputs, shape (B, Q, d).
        jitter: standard deviation of the noise assumed, in units of f.
        resolution: how finely frequencies are resolved.

    Returns:
        The posterior mean (B, Q) and the probability of each component (B, K), in the precision of
        `ys`.

    Raises:
        ValueError: as for `posterior_predictive`; or queries that do not fit `xs` or are not
            finite.
    """
    _check(function_class, xs, ys, jitter)
    check_queries(xs, queries)
    return _in_chunks(function_class, xs, ys, queries, jitter, resolution)


def predictor(
    function_class: FunctionClass, *, jitter: float = JITTER, resolution: Resolution = FINE
) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the exact Bayes predictor in the common form: (xs (B, n, d), ys (B, n)) -> (B, n)."""

    def predict(xs: Tensor, ys: Tensor) -> Tensor:
        return posterior_predictive(
            function_class, xs, ys, jitter=jitter, resolution=resolution
        ).mean

    return predict


def _check(function_class: FunctionClass, xs: Tensor, ys: Tensor, jitter: float) -> None:
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
    check_positive("jitter", jitter)


# --- A function class as a list of regressions ----------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A basic class times a number; one or several add up to a regression."""

    basic: FunctionClass
    scale: float | Tensor = 1.0

    @property
    def by_covariance(self) -> bool:
        """Whether it enters by its covariance: it has many features, or infinitely many."""
        dense = isinstance(self.basic, DenseLinear) and self.basic.dim > _FEW
        return dense or isinstance(self.basic, ReluNetwork)


_Parts = tuple[_Part, ...]


def _expand(function_class: FunctionClass) -> list[tuple[float, _Parts]]:
    """Write a class as regressions with their prior probabilities.

    A mixture unfolds into its components, a combination adds every part of one class to every part
    of the other. What has probability or weight zero is left out.
    """
    match function_class:
        case Mixture(classes=classes, weights=weights):
            return [
                (weight * probability, parts)
                for weight, component in zip(weights, classes, strict=True)
                for probability, parts in _expand(component)
                if weight > 0
            ]
        case ConvexCombination(first=first, second=second, weight=weight):
            return [
                (p * q, _times(weight, parts) + _times(1 - weight, others))
                for p, parts in _expand(first)
                for q, others in _expand(second)
            ]
        case SparseLinear(dim=dim, nnz=nnz) if nnz == dim:
            return [(1.0, (_Part(DenseLinear(dim)),))]
        case DenseLinear() | SparseLinear() | Sinusoid() | ReluNetwork():
            return [(1.0, (_Part(function_class),))]
    raise ValueError(
        f"no posterior is known here for a {type(function_class).__name__}, got {function_class!r}"
    )


def _times(weight: float, parts: _Parts) -> _Parts:
    return tuple(_Part(part.basic, weight * part.scale) for part in parts) if weight > 0 else ()


def _components(function_class: FunctionClass) -> list[tuple[float, FunctionClass]]:
    if isinstance(function_class, Mixture):
        return list(zip(function_class.weights, function_class.classes, strict=True))
    return [(1.0, function_class)]


def _in_chunks(
    function_class: FunctionClass,
    xs: Tensor,
    ys: Tensor,
    queries: Tensor,
    jitter: float,
    resolution: Resolution,
) -> tuple[Tensor, Tensor]:
    """Posterior mean (B, Q) and component probability (B, K), as many prompts at a time as fit."""
    components = _components(function_class)
    regressions = [
        (k, weight * probability, parts)
        for k, (weight, component) in enumerate(components)
        for probability, parts in _expand(component)
        if weight > 0
    ]
    points = max(xs.shape[1], queries.shape[1], 1)
    rows = max(1, _CHUNK // max(points * _size(parts, resolution) for _, _, parts in regressions))
    means, probabilities = [], []
    for chunk in torch.arange(len(xs), device=xs.device).split(rows):
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


def _size(parts: _Parts, resolution: Resolution) -> int:
    """Numbers that one example takes in one prompt: nodes times (features and the value)."""
    bands = [part.basic for part in parts if isinstance(part.basic, Sinusoid)]
    sparse = [part.basic for part in parts if isinstance(part.basic, SparseLinear)]
    nodes = prod(comb(basic.dim, basic.nnz) for basic in sparse)
    if bands:
        leaves = resolution.levels * resolution.keep * resolution.split ** len(bands)
        nodes *= prod(_n_cells(band, resolution, len(bands)) for band in bands) + leaves
    return nodes * (2 + sum(basic.nnz for basic in sparse) + 2 * len(bands))


def _blend(
    regressions: list[tuple[int, float, _Parts]],
    n_components: int,
    xs: Tensor,
    ys: Tensor,
    queries: Tensor,
    jitter: float,
    resolution: Resolution,
) -> tuple[Tensor, Tensor]:
    """Average the regressions' predictions by prior probability times evidence."""
    predictions = [
        _predict(parts, xs, ys, queries, jitter, resolution) for _, _, parts in regressions
    ]
    prior = xs.new_tensor([probability for _, probability, _ in regressions])
    log_evidence = torch.stack([log_evidence for _, log_evidence in predictions], dim=1)
    posterior = (prior.log() + log_evidence).softmax(dim=1)  # (B, R)
    mean = torch.stack([mean for mean, _ in predictions], dim=1)  # (B, R, Q)
    component = torch.tensor([k for k, _, _ in regressions], device=xs.device)
    probability = xs.new_zeros(len(xs), n_components).index_add(1, component, posterior)
    return (posterior[:, :, None] * mean).sum(1), probability


# --- One regression -------------------------------------------------------------------------------


def _predict(
    parts: _Parts,
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
    noise = _Noise(jitter, _covariance(many, xs, xs) if many else None)
    targets = noise.whiten(ys[:, None])
    if any(isinstance(part.basic, Sinusoid) for part in few):
        latent, weights, log_mass = _zoom(few, xs, targets, noise, resolution)
    else:
        latent = _supports(few, xs.device)
        weights, log_evidence = _regress(_features(few, xs, latent), targets, noise)
        log_mass = log_evidence - log(latent.shape[1])
    weighted = log_mass.softmax(1)[:, :, None] * weights  # (B, N, F)
    features = _features(few, queries, latent)
    mean = torch.zeros_like(queries[:, :, 0])
    if many:
        known = noise.whiten(_covariance(many, queries, xs))  # (B, Q, n)
        mean = (known @ targets.mT)[:, :, 0]
        features = [
            here - noise.whiten(there) @ known.mT
            for here, there in zip(features, _features(few, xs, latent), strict=True)
        ]
    for weight, feature in zip(weighted.unbind(-1), features, strict=True):
        mean = mean + (weight[:, None] @ feature.expand(-1, weight.shape[1], -1))[:, 0]
    return mean, log_mass.logsumexp(1) - noise.log_scale(n) - n / 2 * log(2 * pi)


class _Noise:
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


def _regress(features: list[Tensor], targets: Tensor, noise: _Noise) -> tuple[Tensor, Tensor]:
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


def _dot(left: list[Tensor], right: list[Tensor]) -> Tensor | float:
    """Sum of products, over the shorter of two lists."""
    products = [a * b for a, b in zip(left, right, strict=False)]
    return sum(products[1:], start=products[0]) if products else 0.0


# --- Features and latents -------------------------------------------------------------------------


def _features(parts: _Parts, xs: Tensor, latent: Tensor) -> list[Tensor]:
    """Evaluate the features of `parts` at every node of the latents.

    Args:
        parts: none that enters by its covariance.
        xs: inputs, (B, n, d).
        latent: (B or 1, N, D): for each node, in the order of the parts, the coordinates of a
            support or a frequency.

    Returns:
        One (B, N or 1, n) for each feature.
    """
    features: list[Tensor] = []
    at = 0
    for part in parts:
        match part.basic:
            case DenseLinear(dim=dim):
                basic = [xs[:, None, :, c] / dim**0.5 for c in range(dim)]
            case SparseLinear(nnz=nnz):
                support = latent[0, :, at : at + nnz]  # the same for every prompt
                basic = [xs[:, :, support[:, c]].mT / nnz**0.5 for c in range(nnz)]
                at += nnz
            case Sinusoid():
                angle = latent[:, :, at, None] * xs[:, None, :, 0]
                basic = [angle.sin(), angle.cos()]
                at += 1
        unscaled = isinstance(part.scale, float) and part.scale == 1.0
        features += basic if unscaled else [part.scale * feature for feature in basic]
    return features


def _supports(parts: _Parts, device: torch.device) -> Tensor:
    """List every choice of supports for the sparse parts, (1, N, sum of nnz); N = 1 if none."""
    sparse = [part.basic for part in parts if isinstance(part.basic, SparseLinear)]
    count = prod(comb(basic.dim, basic.nnz) for basic in sparse)
    if count > MAX_SUPPORTS:
        raise ValueError(
            f"at most {MAX_SUPPORTS:,} supports can be summed one by one, got {count:,} "
            f"from {' and '.join(map(repr, sparse))}"
        )
    chosen = torch.zeros(1, 0, dtype=torch.int64)
    for basic in sparse:
        each = torch.tensor(list(combinations(range(basic.dim), basic.nnz)))
        chosen = torch.cat([chosen.repeat_interleave(len(each), 0), each.repeat(len(chosen), 1)], 1)
    return chosen[None].to(device)


def _covariance(parts: _Parts, xs: Tensor, zs: Tensor) -> Tensor:
    """Prior covariance of the sum of `parts` between xs (B, n, d) and zs (B, m, d): (B, n, m)."""
    linear = xs @ zs.mT / xs.shape[-1]
    total = torch.zeros_like(linear)
    for part in parts:
        relu = isinstance(part.basic, ReluNetwork)
        total = total + part.scale**2 * (arc_cosine_kernel(xs, zs) if relu else linear)
    return total


# --- The integral over frequencies ----------------------------------------------------------------


def _zoom(
    parts: _Parts, xs: Tensor, targets: Tensor, noise: _Noise, resolution: Resolution
) -> tuple[Tensor, Tensor, Tensor]:
    """Cut the frequency band into cells that are small where the evidence is.

    Two examples leave most frequencies of a sine open, three leave a handful of isolated ones, four
    leave one, and more pin it down to about 1e-4. No fixed grid serves them all. So: start from
    equal cells; cut those between which the mass (prior probability times evidence) changes most;
    repeat. A cell left whole counts with the evidence at its centre, so that at every stage the
    cells cover the whole band.

    With D sinusoids among the parts, the band is a box of D dimensions and its cells are boxes. Two
    sinusoids are less well served by it: at 5 to 8 examples, where whole curves of frequency pairs
    stay open, predictions are off by 3e-3 (median) to 7e-2, elsewhere by less than 1e-3.

    Args:
        parts: at least one of them a Sinusoid.
        xs: inputs, (B, n, 1); n may be 0.
        targets: whitened values, (B, 1, n).
        noise: whitens the features.
        resolution: how many cells, and how often they are cut.

    Returns:
        For each of N cells: its central frequencies (B, N, D), the posterior mean of the weights
        (B, N, F), and the log of its mass (B, N), which is -inf for a cell that was cut.
    """
    bands = [part.basic for part in parts if isinstance(part.basic, Sinusoid)]
    shape = [_n_cells(band, resolution, len(bands)) for band in bands]
    width = [(band.high - band.low) / count for band, count in zip(bands, shape, strict=True)]
    frequency = _centres([band.low for band in bands], width, shape, xs)
    log_volume = xs.new_tensor(-log(prod(shape)))
    cells: list[tuple[Tensor, Tensor, Tensor]] = []
    for level in range(resolution.levels + 1):
        weights, log_evidence = _regress(_features(parts, xs, frequency), targets, noise)
        log_mass = log_evidence + log_volume
        frequency = frequency.expand(len(log_mass), -1, -1)
        if level == resolution.levels:
            cells.append((frequency, weights, log_mass))
            break
        change = _steepest(log_mass.unflatten(1, (-1, *shape)))
        cut = change.topk(min(resolution.keep, change.shape[1]), dim=1).indices
        cells.append((frequency, weights, log_mass.scatter(1, cut, -torch.inf)))
        parent = frequency.gather(1, cut[:, :, None].expand(-1, -1, len(bands)))
        corner = [-step / 2 for step in width]
        shape = [resolution.split] * len(bands)
        width = [step / resolution.split for step in width]
        frequency = (parent[:, :, None] + _centres(corner, width, shape, xs)).flatten(1, 2)
        log_volume = log_volume - xs.new_tensor(log(prod(shape)))
    frequencies, all_weights, log_masses = zip(*cells, strict=True)
    return torch.cat(frequencies, 1), torch.cat(all_weights, 1), torch.cat(log_masses, 1)


def _n_cells(band: Sinusoid, resolution: Resolution, dimensions: int) -> int:
    """Cells along one band: the fewer, the more bands there are, for their product counts."""
    return max(2, round(resolution.cells * (band.high - band.low) / dimensions**2))


def _centres(corner: list[float], width: list[float], shape: list[int], like: Tensor) -> Tensor:
    """Centres of the cells of a box, (1, N, D), the last dimension running fastest."""
    # As a tensor: on its way to ONNX a Python number is rounded to single precision.
    axes = [
        like.new_tensor([low + step * (i + 0.5) for i in range(count)])
        for low, step, count in zip(corner, width, shape, strict=True)
    ]
    return torch.stack([axis.flatten() for axis in torch.meshgrid(*axes, indexing="ij")], -1)[None]


def _steepest(log_mass: Tensor) -> Tensor:
    """Log of the largest change of mass to a neighbour: (B, boxes, m_1, .., m_D) -> (B, N).

    Neighbours share a change, and a flat stretch has none but rounding. Such ties go to the lower
    index, so that every runtime cuts the same cells.
    """
    steepest = torch.full_like(log_mass, -torch.inf)
    for axis in range(2, log_mass.ndim):
        count = log_mass.shape[axis]
        here, there = log_mass.narrow(axis, 0, count - 1), log_mass.narrow(axis, 1, count - 1)
        gap = (here - there).abs().clamp_min(1e-7)
        change = torch.maximum(here, there) + (-torch.expm1(-gap)).log()
        edge = torch.full_like(log_mass.narrow(axis, 0, 1), -torch.inf)
        for sides in ((change, edge), (edge, change)):
            steepest = torch.maximum(steepest, torch.cat(sides, dim=axis))
    flat = steepest.flatten(1)
    return flat - 1e-6 * torch.arange(flat.shape[1], dtype=flat.dtype, device=flat.device)


# --- For the page ---------------------------------------------------------------------------------


def curve_module(function_class: FunctionClass) -> CurvePosterior:
    """Return the module that predicts curves for a mixture of line and sine.

    Raises:
        ValueError: any other class.
    """
    match function_class:
        case Mixture(
            classes=(DenseLinear(dim=1), Sinusoid(low=low, high=high)), weights=(weight, _)
        ):
            return CurvePosterior(low, high, weight)
    raise ValueError(
        "curves are exported for Mixture((DenseLinear(1), Sinusoid(low, high)), weights), "
        f"got {function_class!r}"
    )


class CurvePosterior(nn.Module):
    """Line and sine as one graph of elementary operations, for the browser.

    The functions above, arranged to be cheap. A combination with weight 0 on the line *is* the
    sine, so the sine and the oracle are two rows of one batch. And a curve is summed over the equal
    cells that `_zoom` starts from, not over all that it ends with: a cell at a distance t from the
    centre v of the one it was cut from counts through the Taylor series of sin((v + t) x) in t, to
    order 4. With cells 1/32 wide the error is below 1e-8 for |x| < 4.

    Args:
        low, high: the sine's band, in radians per unit of x.
        line_weight: the mixture weight of the line, strictly between 0 and 1.
        jitter, resolution: as for `posterior_predictive`, but coarser.

    Raises:
        ValueError: `line_weight` is not strictly between 0 and 1.
    """

    def __init__(
        self,
        low: float = 1.0,
        high: float = 5.0,
        line_weight: float = 0.5,
        *,
        jitter: float = JITTER,
        resolution: Resolution = COARSE,
    ) -> None:
        super().__init__()
        if not 0 < line_weight < 1:
            raise ValueError(f"line_weight must be strictly between 0 and 1, got {line_weight!r}")
        self.line, self.sine = DenseLinear(1), Sinusoid(low, high)
        self.line_weight, self.noise, self.resolution = line_weight, _Noise(jitter), resolution

    def forward(
        self,
        xs: Float[Tensor, "1 examples 1"],
        ys: Float[Tensor, "1 examples"],
        queries: Float[Tensor, "1 queries 1"],
        weight: Float[Tensor, ""],
    ) -> tuple[
        Float[Tensor, "1 queries"], Float[Tensor, "1 queries"], Float[Tensor, "1 components"]
    ]:
        """Predict a curve. Everything is float64.

        Args:
            xs: the in-context examples, of which there may be none.
            ys: their values.
            queries: where to predict.
            weight: the combination's weight on the line, which the oracle knows.

        Returns:
            The mixture's prediction (1, Q), the oracle's (1, Q), and the probability (1, 2) of line
            and sine.
        """
        x, targets = queries[0, :, 0], ys[:, None]
        line = _features((_Part(self.line),), xs, xs.new_zeros(1, 1, 0))
        slope, line_evidence = _regress(line, targets, self.noise)

        on_line = torch.stack([torch.zeros_like(weight), weight])[:, None, None]  # sine, oracle
        parts = (_Part(self.line, on_line), _Part(self.sine, 1 - on_line))
        frequency, weights, log_mass = _zoom(
            parts, xs, targets.expand(2, -1, -1), self.noise, self.resolution
        )
        weighted = log_mass.softmax(1)[:, :, None] * weights
        straight = on_line[:, 0] * weighted[:, :, 0].sum(1, keepdim=True) * x
        wave = (1 - on_line[:, 0]) * _wave(
            self.sine, self.resolution, frequency[:, :, 0], weighted[:, :, 1:], x
        )
        sine, oracle = (straight + wave).split(1)  # (1, Q) each

        prior = xs.new_tensor([self.line_weight, 1 - self.line_weight]).log()
        evidence = torch.cat([line_evidence, _log_sum(log_mass[:1])], dim=1)
        probability = (prior + evidence).softmax(1)
        mixture = probability[:, :1] * slope[:, 0] * x + probability[:, 1:] * sine
        return mixture, oracle, probability


def band_module(function_class: FunctionClass) -> BandPosterior:
    """Return the module that predicts curves for a line and sines of any bands, or for one of them alone.

    Raises:
        ValueError: a class that does not unfold into at most one DenseLinear(1) and sinusoids.
    """
    components = _expand(function_class)
    basic = [parts[0].basic for _, parts in components if len(parts) == 1]
    lines = basic.count(DenseLinear(1))
    sines = sum(isinstance(one, Sinusoid) for one in basic)
    if lines > 1 or lines + sines < len(components):
        raise ValueError(
            "bands are exported for mixtures of at most one DenseLinear(1) and any Sinusoid(low, high), "
            f"got {function_class!r}"
        )
    return BandPosterior([(weight, parts[0].basic) for weight, parts in components])


class BandPosterior(nn.Module):
    """A line and sines of several bands as one graph of elementary operations, for the browser.

    As `CurvePosterior`, but with any number of bands, each zoomed into on its own, and without an oracle.

    Args:
        components: prior probability and class of each, a DenseLinear(1) or a Sinusoid; `_expand` makes them of a
            nested mixture.
        jitter, resolution: as for `posterior_predictive`, but with fewer cells to start from.
    """

    def __init__(
        self,
        components: Sequence[tuple[float, FunctionClass]],
        *,
        jitter: float = JITTER,
        resolution: Resolution = ZOOMED,
    ) -> None:
        super().__init__()
        self.components, self.noise, self.resolution = components, _Noise(jitter), resolution

    def forward(
        self,
        xs: Float[Tensor, "1 examples 1"],
        ys: Float[Tensor, "1 examples"],
        queries: Float[Tensor, "1 queries 1"],
    ) -> tuple[Float[Tensor, "1 queries"], Float[Tensor, "1 components"]]:
        """Predict a curve. Everything is float64.

        Args:
            xs: the in-context examples, of which there may be none.
            ys: their values.
            queries: where to predict.

        Returns:
            The prediction (1, Q) and the probability (1, K) of each component.
        """
        x, targets = queries[0, :, 0], ys[:, None]
        means, evidences = [], []
        for _, basic in self.components:
            parts = (_Part(basic),)
            if isinstance(basic, Sinusoid):
                frequency, weights, log_mass = _zoom(
                    parts, xs, targets, self.noise, self.resolution
                )
                amplitudes = log_mass.softmax(1)[:, :, None] * weights
                means.append(_wave(basic, self.resolution, frequency[:, :, 0], amplitudes, x))
                evidences.append(_log_sum(log_mass))
            else:
                line = _features(parts, xs, xs.new_zeros(1, 1, 0))
                slope, log_evidence = _regress(line, targets, self.noise)
                means.append(slope[:, 0] * x)
                evidences.append(log_evidence)
        prior = xs.new_tensor([weight for weight, _ in self.components]).log()
        probability = (prior + torch.cat(evidences, dim=1)).softmax(1)
        return (probability[:, :, None] * torch.stack(means, dim=1)).sum(1), probability


def _log_sum(log_mass: Tensor) -> Tensor:
    """Log of the sum of exp(log_mass), (R, N) -> (R, 1).

    onnxruntime's own underflows to -inf where examples outside the class make the log evidence about -1e6.
    """
    peak = log_mass.amax(1, keepdim=True)
    return peak + (log_mass - peak).exp().sum(1, keepdim=True).log()


def _wave(
    band: Sinusoid,
    resolution: Resolution,
    frequency: Float[Tensor, "rows nodes"],
    amplitude: Float[Tensor, "rows nodes 2"],
    x: Float[Tensor, " queries"],
    order: int = 4,
) -> Float[Tensor, "rows queries"]:
    """Sum a sin(v x) + b cos(v x) over nodes v, each by its Taylor series about the centre of its equal cell."""
    count = _n_cells(band, resolution, 1)
    width = (band.high - band.low) / count
    centres = _centres([band.low], [width], [count], x)[0]  # (C, 1)
    cell = ((frequency - band.low) / width).long().clamp(0, count - 1)
    distance = frequency - centres[:, 0][cell]
    # Each derivative of a sin(v x) + b cos(v x) in v brings a factor x and turns (a, b) to (-b, a).
    a, b = amplitude.unbind(-1)
    terms = []
    for k in range(order + 1):
        terms += [a * distance**k / factorial(k), b * distance**k / factorial(k)]
        a, b = -b, a
    moments = torch.stack(terms, dim=1)  # (R, 2 (order + 1), N)
    pooled = moments.new_zeros(len(moments), len(terms), count).scatter_add(
        2, cell[:, None].expand(-1, len(terms), -1), moments
    )
    angle = centres * x  # (C, Q)
    wave = pooled[:, 0::2] @ angle.sin() + pooled[:, 1::2] @ angle.cos()
    powers = torch.stack([x**k for k in range(order + 1)])
    return (powers * wave).sum(1)


def prefix_module(function_class: FunctionClass) -> PrefixPosterior:
    """Return the module that predicts at every prefix of a prompt, for a mixture of dense and sparse linear functions.

    Raises:
        ValueError: any other class.
    """
    match function_class:
        case Mixture(classes=(DenseLinear(dim=dim), SparseLinear(nnz=nnz)), weights=(_, _)):
            return PrefixPosterior(dim, nnz)
    raise ValueError(
        "prefixes are exported for Mixture((DenseLinear(dim), SparseLinear(dim, nnz)), weights), "
        f"got {function_class!r}"
    )


class PrefixPosterior(nn.Module):
    """Dense and sparse linear functions at every prefix, as one graph of elementary operations, for the browser.

    Each regression is updated example by example: with posterior mean m and covariance P of its weights, the example
    (phi, y) is predicted as m . phi with variance s = phi' P phi + jitter^2, and then adds the gain P phi / s times the
    surprise y - m . phi to m. The densities of the surprises multiply to the evidence. One pass serves all prefixes,
    where the functions above make one for each. The loop is written out when the graph is made, which is therefore for
    prompts of one length, as the page has them.

    Args:
        dim: dimension d of the inputs.
        nnz: nonzero coefficients of the sparse functions.
        jitter: as for `posterior_predictive`.
    """

    supports: Tensor

    def __init__(self, dim: int, nnz: int, *, jitter: float = JITTER) -> None:
        super().__init__()
        self.dim, self.nnz, self.jitter = dim, nnz, jitter
        self.register_buffer("supports", torch.tensor(list(combinations(range(dim), nnz))))

    def forward(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        weight: Float[Tensor, ""],
    ) -> tuple[
        Float[Tensor, "batch examples"],
        Float[Tensor, "batch examples"],
        Float[Tensor, "batch examples"],
        Float[Tensor, "batch examples"],
    ]:
        """Predict y_i from the examples before it and x_i. Everything is float64.

        Args:
            xs: inputs (B, n, d).
            ys: values (B, n).
            weight: prior probability of the dense class, from 0 to 1.

        Returns:
            The dense class's prediction, the sparse one's, the mixture's, and the probability of the dense class given
            the examples before; each (B, n).
        """
        dense, dense_log = self._update(xs[:, None] / self.dim**0.5, ys)
        parts = xs[:, :, self.supports] / self.nnz**0.5  # (B, n, S, k)
        each, each_log = self._update(parts.transpose(1, 2), ys)  # (B, S, n)
        peak = each_log.amax(1, keepdim=True)
        mass = (each_log - peak).exp()
        sparse = (mass * each).sum(1) / mass.sum(1)
        sparse_log = peak[:, 0] + (mass.sum(1) / len(self.supports)).log()
        # The logistic function by a bounded exponential: evidence may differ by a factor of e to the millions.
        margin = (sparse_log - dense_log[:, 0]).clamp(-600.0, 600.0).exp() * (1 - weight)
        probability = weight / (weight + margin)
        blend = probability * dense[:, 0] + (1 - probability) * sparse
        return dense[:, 0], sparse, blend, probability

    def _update(self, features: Tensor, ys: Tensor) -> tuple[Tensor, Tensor]:
        """Predictions, and the log evidence of the examples before, at every prefix: each (B, N, n)."""
        means, log_evidence = _updates(features, ys, self.jitter)
        return (means * features).sum(-1), log_evidence


def _updates(
    features: Float[Tensor, "batch nodes examples features"],
    ys: Float[Tensor, "batch examples"],
    jitter: float,
) -> tuple[Float[Tensor, "batch nodes examples features"], Float[Tensor, "batch nodes examples"]]:
    """Posterior mean of the weights, and the log evidence, from the examples before each: example by example."""
    examples, size = features.shape[2:]
    mean = torch.zeros_like(features[:, :, 0])  # (B, N, F)
    covariance = torch.eye(size, dtype=ys.dtype, device=ys.device) + torch.zeros_like(
        features[:, :, 0, :, None]
    )
    log_evidence = torch.zeros_like(features[:, :, 0, 0])
    means, evidences = [], []
    for i in range(examples):
        means.append(mean)
        evidences.append(log_evidence)
        phi = features[:, :, i]
        reach = (covariance * phi[:, :, None]).sum(-1)  # P phi
        variance = (phi * reach).sum(-1) + jitter**2
        surprise = ys[:, None, i] - (mean * phi).sum(-1)
        log_evidence = log_evidence - 0.5 * (surprise.square() / variance + variance.log())
        gain = reach / variance[..., None]
        mean = mean + gain * surprise[..., None]
        covariance = covariance - gain[..., :, None] * reach[..., None, :]
    return torch.stack(means, -2), torch.stack(evidences, -1)


def posterior_coefficients(
    function_class: FunctionClass,
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    *,
    jitter: float = JITTER,
) -> Float[Tensor, "batch examples dim"]:
    """Posterior mean of the coefficients of a linear function, from the examples before each.

    Args:
        function_class: a DenseLinear, a SparseLinear, or a mixture of such.
        xs: inputs (B, n, d).
        ys: values (B, n).
        jitter: as for `posterior_predictive`.

    Returns:
        Coefficients (B, n, d), in the precision of `ys`; entry i uses the i examples before it.

    Raises:
        ValueError: as for `posterior_predictive`; a class of other than linear functions.
    """
    _check(function_class, xs, ys, jitter)
    means, log_masses = [], []
    for prior, parts in _expand(function_class):
        basic = parts[0].basic
        match basic:
            case DenseLinear(dim=dim):
                supports = torch.arange(dim)[None]
            case SparseLinear():
                supports = _supports(parts, torch.device("cpu"))[0]
            case _:
                raise ValueError(f"only linear functions have coefficients, got {basic!r}")
        supports = supports.to(xs.device)
        scale = supports.shape[1] ** -0.5
        features = xs.double()[:, :, supports].transpose(1, 2) * scale  # (B, S, n, k)
        weights, log_evidence = _updates(features, ys.double(), jitter)
        log_mass = log_evidence + log(prior / len(supports))  # (B, S, n)
        peak = log_mass.amax(1, keepdim=True)
        mass = (log_mass - peak).exp()
        share = (mass / mass.sum(1, keepdim=True))[..., None] * weights * scale
        where = supports.flatten()[None, None].expand(*ys.shape, -1)
        found = torch.zeros_like(xs, dtype=torch.float64)
        means.append(found.scatter_add(2, where, share.transpose(1, 2).flatten(2)))
        log_masses.append(peak[:, 0] + mass.sum(1).log())
    probability = torch.stack(log_masses).softmax(0)
    return (probability[..., None] * torch.stack(means)).sum(0).to(ys.dtype)
