"""Classical predictors: what a statistician who knows the function class would do with the same prompt.

Every predictor takes xs (B, n, d) and ys (B, n) and returns (B, n): entry i is the prediction at x_i from the i
examples before it, so entry 0, which has seen nothing, is 0. No intercept is fitted: every function class has mean
zero.

Prefixes share their work instead of being fitted one at a time. All computation is in float64, whatever the input, and
the answer is returned in the dtype of the input.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from icl_lib._validate import (
    check_count,
    check_not_negative,
    check_positive,
    check_prompts,
    check_queries,
)
from icl_lib.kernels import arc_cosine_kernel
from icl_lib.latents import Interval
from icl_lib.samplers import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    Mixture,
    ReluNetwork,
    Sinusoid,
    SparseLinear,
    feature_count,
)

# Beyond this condition number a recursive update loses more than about six of float64's sixteen digits, and rank
# becomes a matter of rounding: such prefixes are solved by their singular value decomposition instead.
CONDITION_LIMIT = 1e5

# A column whose part outside the span of the active ones is below this share of its squared norm adds nothing to them.
COLLINEAR = 1e-10

# Gram-matrix entries held at once by the Lasso: 64 MiB in float64.
LASSO_ENTRIES = 2**23

INTERIOR_POINT_STEPS = 100

# Of several sines that fit exactly, this picks the one of least amplitude; it is far below any misfit that matters.
SINE_RIDGE = 1e-6

# Radians per unit of x between the frequencies that are tried first. Inputs within ±4 hardly tell apart two frequencies
# that close, so that no valley of the misfit is stepped over.
SINE_STEP = 0.05

# Values at which the covariance of a class of one's own takes a latent that is uniform on an interval.
LATENT_CELLS = 512


class ConvergenceError(ValueError):
    """A Lasso problem did not reach the duality gap asked for."""


@torch.no_grad()
def least_squares(
    xs: Float[Tensor, "batch examples dim"], ys: Float[Tensor, "batch examples"]
) -> Float[Tensor, "batch examples"]:
    """Least squares on the examples before each point, of minimum norm where they do not determine the function.

    In the orthonormal basis Q of the first d inputs, X = L Qᵀ with L lower triangular, whose leading blocks belong to
    the shorter prefixes: with L z = y, the minimum-norm prediction of y_i is Σ_{j<i} L_ij z_j. Beyond d examples the
    solution is updated one example at a time. Prefixes with a condition number above `CONDITION_LIMIT`, among them
    those with repeated inputs, are solved by singular value decomposition, with the rank cutoff of
    `numpy.linalg.lstsq`.

    Raises:
        ValueError: if the prompts are refused by `check_prompts`.
    """
    check_prompts(xs, ys)
    inputs, labels = xs.double(), ys.double()
    batch, examples, dim = inputs.shape
    if examples < 2:
        return torch.zeros_like(ys)
    first = min(examples - 1, dim)

    basis, upper = torch.linalg.qr(inputs[:, :first].mT)
    lower = upper.mT
    inverse = torch.linalg.solve_triangular(
        lower, torch.eye(first, dtype=inputs.dtype, device=inputs.device), upper=False
    )
    # A repeated input divides by zero: the prefixes that hold it are solved below, and the others must not see it.
    standardised = torch.nan_to_num((inverse @ labels[:, :first, None])[:, :, 0])
    coordinates = inputs @ basis
    predictions = (coordinates.tril(-1) @ standardised[:, :, None])[:, :, 0]
    if examples - 1 > dim:
        predictions[:, dim:] = _recursive_predictions(
            coordinates[:, dim:], labels[:, dim:], standardised, inverse
        )

    # The inverse of a leading block of L is the leading block of its inverse, so this bounds every prefix's condition.
    condition = (lower.square().sum(-1).cumsum(-1) * inverse.square().sum(-1).cumsum(-1)).sqrt()
    ill = torch.zeros(batch, examples, dtype=torch.bool, device=inputs.device)
    ill[:, 1 : first + 1] = ~(condition <= CONDITION_LIMIT)
    ill[:, first + 1 :] = ill[:, first : first + 1]
    _predict_by_svd(inputs, labels, 0.0, ill, predictions)
    return predictions.to(ys.dtype)


@torch.no_grad()
def ridge(
    xs: Float[Tensor, "batch examples dim"], ys: Float[Tensor, "batch examples"], alpha: float
) -> Float[Tensor, "batch examples"]:
    """Ridge regression: minimises ‖y − Xw‖² + alpha ‖w‖², as scikit-learn's `Ridge` without an intercept.

    `alpha` is not divided by the number of examples: with w ~ N(0, I/d) and noise variance σ², alpha = d σ² is Bayes.
    alpha = 0 is the limit, minimum-norm least squares.

    Raises:
        ValueError: if the prompts are refused by `check_prompts`, or alpha is negative or not finite.
    """
    check_prompts(xs, ys)
    check_not_negative("alpha", alpha)
    if alpha == 0:
        return least_squares(xs, ys)
    inputs, labels = xs.double(), ys.double()
    batch, _, dim = inputs.shape
    prior = torch.eye(dim, dtype=inputs.dtype, device=inputs.device) / math.sqrt(alpha)
    predictions = _recursive_predictions(
        inputs, labels, inputs.new_zeros(batch, dim), prior.repeat(batch, 1, 1)
    )
    condition = (inputs.square().sum(-1).cumsum(-1) / alpha).sqrt()
    _predict_by_svd(inputs, labels, alpha, ~(condition <= CONDITION_LIMIT), predictions)
    return predictions.to(ys.dtype)


@torch.no_grad()
def lasso(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    alpha: float,
    tol: float = 1e-8,
) -> Float[Tensor, "batch examples"]:
    """The Lasso: minimises ‖y − Xw‖² / (2m) + alpha ‖w‖₁ over the m examples before each point.

    The objective is that of scikit-learn's `Lasso` without an intercept. See `lasso_coefficients` for the accuracy, the
    method and the errors.
    """
    coefficients = lasso_coefficients(xs, ys, alpha, tol)
    return (xs.double() * coefficients).sum(-1).to(ys.dtype)


@torch.no_grad()
def lasso_coefficients(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    alpha: float,
    tol: float = 1e-8,
) -> Float[Tensor, "batch examples dim"]:
    """The Lasso's coefficients for every prefix, in float64: entry i is fitted to the examples before i.

    Every problem is solved until its duality gap (`lasso_duality_gap`) is at most tol · ‖y‖²/m, the tolerance of
    scikit-learn. In practice the gap is near 1e-15 · ‖y‖²/m, unless examples or columns are nearly dependent.

    Method: the homotopy of Osborne, Presnell and Turlach (2000), also known as LARS (Efron et al. 2004), follows the
    solution exactly as the penalty falls; all prompts and prefixes take their steps together. Where columns or
    examples are so nearly dependent, or tied, that the path is lost, an interior-point method takes over. alpha = 0 has
    no unique solution and is refused: use `least_squares`.

    Raises:
        ValueError: if the prompts are refused by `check_prompts`, or alpha or tol is not positive and finite.
        ConvergenceError: if a problem does not reach the gap.
    """
    check_prompts(xs, ys)
    check_positive("alpha", alpha)
    check_positive("tol", tol)
    batch, examples, dim = xs.shape
    coefficients = torch.zeros_like(xs, dtype=torch.float64)
    if examples < 2:
        return coefficients
    prompts_at_once = max(1, LASSO_ENTRIES // (examples * dim * dim))
    for start in range(0, batch, prompts_at_once):
        part = slice(start, start + prompts_at_once)
        coefficients[part] = _lasso_part(xs[part].double(), ys[part].double(), alpha, tol)
    return coefficients


@torch.no_grad()
def lasso_duality_gap(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    coefficients: Float[Tensor, "batch examples dim"],
    alpha: float,
) -> Float[Tensor, "batch examples"]:
    """How far at most the Lasso objective at these coefficients is above its minimum, for every prefix, in float64.

    Entry i is the gap of ‖y − Xw‖² / (2m) + alpha ‖w‖₁ over the m = i examples before i, scikit-learn's `dual_gap_`;
    entry 0 is 0. The dual point is the residual r shrunk by s = min(1, m alpha / ‖Xᵀr‖∞), which makes m times the gap
    `(1 − s)² ‖r‖² / 2 + Σ_j (m alpha |w_j| − s w_j X_jᵀr)`, a sum of terms that are never negative: nothing cancels.

    Raises:
        ValueError: if the prompts are refused by `check_prompts`, the coefficients disagree with xs in shape, or
            alpha is not positive and finite.
    """
    check_prompts(xs, ys)
    check_positive("alpha", alpha)
    if coefficients.shape != xs.shape:
        raise ValueError(
            f"coefficients must have the shape of xs, {tuple(xs.shape)}; got {tuple(coefficients.shape)}"
        )
    inputs, labels, weights = xs.double(), ys.double(), coefficients.double()
    counts = torch.arange(xs.shape[1], dtype=inputs.dtype, device=inputs.device)
    residual = (labels[:, None] - weights @ inputs.mT).tril(-1)
    penalty = (alpha * counts)[:, None].expand(xs.shape)
    gap = _gap(weights, residual @ inputs, residual.square().sum(-1), penalty)
    return torch.where(counts > 0, gap / counts, 0.0)


@torch.no_grad()
def nearest_neighbours(
    xs: Float[Tensor, "batch examples dim"], ys: Float[Tensor, "batch examples"], k: int
) -> Float[Tensor, "batch examples"]:
    """The mean label of the k nearest examples in Euclidean distance, or of all there are while there are fewer than k.

    Of examples at the same distance, the earlier in the prompt counts as nearer.

    Raises:
        ValueError: if the prompts are refused by `check_prompts`, or k is not an integer of at least 1.
    """
    check_prompts(xs, ys)
    check_count("k", k)
    inputs, labels = xs.double(), ys.double()
    examples = inputs.shape[1]
    # Differences rather than |x|² + |x'|² − 2 x·x', which cancels between close points.
    distance = torch.cdist(inputs, inputs, compute_mode="donot_use_mm_for_euclid_dist")
    later = torch.ones(examples, examples, dtype=torch.bool, device=xs.device).triu()
    nearest = distance.masked_fill(later, torch.inf).argsort(dim=-1, stable=True)[:, :, :k]
    neighbours = labels[:, None].expand(-1, examples, -1).gather(-1, nearest)
    seen = torch.arange(examples, device=xs.device)[:, None]
    used = torch.arange(nearest.shape[-1], device=xs.device) < seen
    count = used.sum(-1).clamp_min(1)
    return (neighbours.where(used, 0.0).sum(-1) / count).to(ys.dtype)


@dataclass(frozen=True)
class SineFit:
    """The sines a sin(v x) + b cos(v x) nearest to B sets of points.

    Attributes:
        frequency: v, in radians per unit of x, shape (B,).
        sine: a, shape (B,).
        cosine: b, shape (B,).
        residual: mean squared difference from the points, shape (B,); 0 where there are none.
    """

    frequency: Float[Tensor, " batch"]
    sine: Float[Tensor, " batch"]
    cosine: Float[Tensor, " batch"]
    residual: Float[Tensor, " batch"]

    def at(self, queries: Float[Tensor, "batch queries dim"]) -> Float[Tensor, "batch queries"]:
        """The sines' values (B, Q) at `queries`, in float64."""
        angle = self.frequency[:, None] * queries[:, :, 0].double()
        return self.sine[:, None] * angle.sin() + self.cosine[:, None] * angle.cos()


@torch.no_grad()
def fit_sine(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    low: float,
    high: float,
) -> SineFit:
    """Least squares on a sine whose frequency is searched for.

    Given the frequency v, amplitude and phase are a regression on sin(v x) and cos(v x) in closed form; v is searched
    on a grid from `low` to `high`, which is then refined around the best. Up to three examples are fitted exactly by
    many sines; a ridge of `SINE_RIDGE` picks the one of least amplitude.

    Args:
        xs: inputs (B, n, 1).
        ys: values (B, n).
        low: lowest frequency, in radians per unit of x.
        high: highest frequency.

    Raises:
        ValueError: if the prompts are refused by `check_prompts`, the inputs have several dimensions, or not
            0 < low < high.
    """
    check_prompts(xs, ys)
    if xs.shape[2] != 1:
        raise ValueError(
            f"a sine is fitted in one dimension, got inputs of dimension {xs.shape[2]}"
        )
    check_positive("low", low)
    check_positive("high", high)
    if not low < high:
        raise ValueError(f"low must be below high, got low={low!r}, high={high!r}")
    x, y = xs[:, :, 0].double(), ys.double()
    count = max(2, math.ceil((high - low) / SINE_STEP) + 1)
    step = (high - low) / (count - 1)
    tried = torch.linspace(low, high, count, dtype=torch.float64, device=x.device)
    tried = tried.expand(len(x), -1)
    while True:
        misfit, a, b = _sine_misfit(x, y, tried)
        best = misfit.argmin(1, keepdim=True)
        frequency = tried.gather(1, best)
        if step < 1e-9:
            break
        around = torch.linspace(-step, step, 17, dtype=torch.float64, device=x.device)
        tried = (frequency + around).clamp(low, high)
        step /= 8
    sine, cosine = (values.gather(1, best)[:, 0] for values in (a, b))
    found = SineFit(frequency[:, 0], sine, cosine, torch.zeros_like(sine))
    if not y.shape[1]:
        return found
    residual = (found.at(xs) - y).square().mean(1)
    return SineFit(found.frequency, found.sine, found.cosine, residual)


def _sine_misfit(
    x: Float[Tensor, "batch examples"],
    y: Float[Tensor, "batch examples"],
    frequency: Float[Tensor, "batch tried"],
) -> tuple[Tensor, Tensor, Tensor]:
    """Ridge regression on sine and cosine at each frequency: the objective's minimum, and where it is, each (B, F)."""
    angle = x[:, :, None] * frequency[:, None, :]
    sine, cosine = angle.sin(), angle.cos()
    ss = sine.square().sum(1) + SINE_RIDGE
    cc = cosine.square().sum(1) + SINE_RIDGE
    sc = (sine * cosine).sum(1)
    sy, cy = (torch.einsum("bnf,bn->bf", part, y) for part in (sine, cosine))
    determinant = ss * cc - sc.square()
    a, b = (cc * sy - sc * cy) / determinant, (ss * cy - sc * sy) / determinant
    return y.square().sum(1, keepdim=True) - a * sy - b * cy, a, b


def sine_curve(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    queries: Float[Tensor, "batch queries dim"],
    low: float,
    high: float,
) -> Float[Tensor, "batch queries"]:
    """The sine that `fit_sine` finds, at `queries` (B, Q, 1) -> (B, Q).

    Raises:
        ValueError: as for `fit_sine`, or queries that do not fit the prompts.
    """
    check_queries(xs, queries)
    return fit_sine(xs, ys, low, high).at(queries).to(ys.dtype)


def sinusoid(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    low: float,
    high: float,
) -> Float[Tensor, "batch examples"]:
    """The sine that `fit_sine` finds for the examples before each point, at that point.

    Raises:
        ValueError: as for `fit_sine`.
    """
    check_prompts(xs, ys)
    columns = [
        sine_curve(xs[:, :i], ys[:, :i], xs[:, i : i + 1], low, high) for i in range(ys.shape[1])
    ]
    return torch.cat(columns, dim=1) if columns else torch.zeros_like(ys)


@torch.no_grad()
def gaussian_process(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    noise_variance: float = 1e-6,
) -> Float[Tensor, "batch examples"]:
    """Gaussian-process regression with the kernel of `arc_cosine_kernel`: the reference for `ReluNetwork`.

    An approximation: the kernel is the covariance of ReluNetwork at any width, but only at infinite width is the
    function a Gaussian process. `noise_variance` keeps the kernel matrix invertible. With K + noise_variance I = L Lᵀ
    and L z = y, the prediction of y_i is Σ_{j<i} L_ij z_j, so that one Cholesky factor serves all prefixes.

    Raises:
        ValueError: if the prompts are refused by `check_prompts`, noise_variance is not positive and finite, or it is
            lost to rounding beside a kernel of this scale.
    """
    check_prompts(xs, ys)
    check_positive("noise_variance", noise_variance)
    inputs, labels = xs.double(), ys.double()
    factor, standardised = _whitened(arc_cosine_kernel(inputs, inputs), labels, noise_variance)
    return (factor.tril(-1) @ standardised)[:, :, 0].to(ys.dtype)


def _whitened(
    kernel: Float[Tensor, "batch examples examples"],
    labels: Float[Tensor, "batch examples"],
    noise_variance: float,
) -> tuple[Float[Tensor, "batch examples examples"], Float[Tensor, "batch examples 1"]]:
    """L with L Lᵀ = kernel + noise_variance I, and z with L z = labels."""
    largest = float(kernel.max()) if kernel.numel() else 0.0
    factor, failed = torch.linalg.cholesky_ex(
        kernel + noise_variance * torch.eye(kernel.shape[-1]).to(kernel)
    )
    if failed.any():
        raise ValueError(
            f"noise_variance {noise_variance} is lost to rounding beside a kernel as large as {largest:.3g}; "
            "give a larger noise_variance or smaller xs"
        )
    return factor, torch.linalg.solve_triangular(factor, labels[:, :, None], upper=False)


@torch.no_grad()
def best_linear(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    function_class: FunctionClass,
    noise_variance: float = 1e-6,
) -> Float[Tensor, "batch examples"]:
    """The linear predictor of least mean squared error: it knows the class's `covariance`, and nothing else of it.

    The prediction is a weighted sum of the values seen, with weights that depend on the inputs alone. No such predictor
    has a smaller mean squared error over functions of this class, whatever their distribution beyond mean zero and this
    covariance. It is also what Gaussian-process regression with this covariance predicts.

    Args:
        xs: inputs (B, n, d).
        ys: values (B, n).
        function_class: whose covariance; any mixture or combination of the shipped classes.
        noise_variance: keeps the kernel matrix invertible; the default is the square of `bayes.JITTER`.

    Raises:
        ValueError: prompts that `check_prompts` refuses or of another dimension than the class; a class whose
            covariance is not known; a noise_variance that is not positive and finite, or is lost to rounding.
    """
    check_prompts(xs, ys)
    check_positive("noise_variance", noise_variance)
    inputs, labels = xs.double(), ys.double()
    kernel = covariance(function_class, inputs, inputs)
    factor, standardised = _whitened(kernel, labels, noise_variance)
    return (factor.tril(-1) @ standardised)[:, :, 0].to(ys.dtype)


@torch.no_grad()
def best_linear_curve(
    xs: Float[Tensor, "batch examples dim"],
    ys: Float[Tensor, "batch examples"],
    queries: Float[Tensor, "batch queries dim"],
    function_class: FunctionClass,
    noise_variance: float = 1e-6,
) -> Float[Tensor, "batch queries"]:
    """`best_linear` at many queries, given all n examples: (B, n, d), (B, n), (B, Q, d) -> (B, Q).

    Raises:
        ValueError: as for `best_linear`, or queries that do not fit the prompts.
    """
    check_prompts(xs, ys)
    check_queries(xs, queries)
    check_positive("noise_variance", noise_variance)
    inputs, labels, points = xs.double(), ys.double(), queries.double()
    kernel = covariance(function_class, inputs, inputs)
    factor, standardised = _whitened(kernel, labels, noise_variance)
    known = torch.linalg.solve_triangular(
        factor, covariance(function_class, inputs, points), upper=False
    )
    return (known.mT @ standardised)[:, :, 0].to(ys.dtype)


def covariance(
    function_class: FunctionClass,
    first: Float[Tensor, "batch rows dim"],
    second: Float[Tensor, "batch columns dim"],
) -> Float[Tensor, "batch rows columns"]:
    """E f(x) f(x') over the functions of a class, for x in `first` and x' in `second`.

    Dense and sparse linear functions: x·x' / d. ReLU networks: `arc_cosine_kernel`. Sines of frequency v, uniform from
    low to high: E cos v(x − x') = cos(m t) sin(h t) / (h t), with t = x − x', m the middle of the band and h half its
    width. A mixture: Σ_k p_k k_k. A combination of two independent functions of mean zero: a² k_1 + (1 − a)² k_2. Any
    other class: the covariance that it says; else φ(x)·φ(x') of its features, averaged over every value of its latent,
    or, where that is an interval, over the midpoints of `LATENT_CELLS` equal cells of it, which is no longer exact.

    Raises:
        ValueError: a class that says neither its covariance nor its features; inputs of another dimension.
    """
    if not isinstance(function_class, FunctionClass):
        raise ValueError(
            f"function_class must be a function class such as DenseLinear(20), got {function_class!r}"
        )
    if not first.shape[-1] == second.shape[-1] == function_class.dim:
        raise ValueError(
            f"{function_class!r} takes inputs of dimension {function_class.dim}, "
            f"got {first.shape[-1]} and {second.shape[-1]}"
        )
    match function_class:
        case DenseLinear(dim=dim) | SparseLinear(dim=dim):
            return first @ second.mT / dim
        case ReluNetwork():
            return arc_cosine_kernel(first, second)
        case Sinusoid(low=low, high=high):
            apart = first - second.mT
            middle, half = (high + low) / 2, (high - low) / 2
            turn = half * apart
            still = turn == 0
            # Not `torch.sinc`: its graph has pi in single precision.
            sinc = torch.where(still, 1.0, turn.sin() / torch.where(still, 1.0, turn))
            return (middle * apart).cos() * sinc
        case Mixture(classes=classes, weights=weights):
            parts = [covariance(part, first, second) for part in classes]
            # A tensor: a number would be of single precision in a graph.
            return (first.new_tensor(weights)[:, None, None, None] * torch.stack(parts)).sum(0)
        case ConvexCombination(first=one, second=other, weight=weight):
            return weight**2 * covariance(one, first, second) + (1 - weight) ** 2 * covariance(
                other, first, second
            )
    known = function_class.covariance(first, second)
    if known is None:
        known = _mean_over_latent(function_class, first, second)
    if known is None:
        raise ValueError(
            f"a {type(function_class).__name__} says neither its covariance nor its features, got {function_class!r}"
        )
    return known


def _mean_over_latent(
    function_class: FunctionClass,
    first: Float[Tensor, "batch rows dim"],
    second: Float[Tensor, "batch columns dim"],
) -> Float[Tensor, "batch rows columns"] | None:
    """φ(x)·φ(x') averaged over the values of a latent; None for a class without features or latent."""
    latent = function_class.latent
    if latent is None or not feature_count(function_class):
        return None
    if isinstance(latent, Interval):
        middles = (torch.arange(LATENT_CELLS, dtype=torch.float64) + 0.5) / LATENT_CELLS
        values = (latent.low + (latent.high - latent.low) * middles)[:, None]
    else:
        values = latent.values()
    values = values.to(first.device)
    sides = []
    for points in (first, second):
        features = function_class.features(points[:, :, None], values) or []
        # A feature that does not depend on the latent has no axis for its values.
        full = points.new_zeros(*points.shape[:2], len(values))
        sides.append(
            torch.stack([full + phi.reshape(*points.shape[:2], -1) for phi in features], -1)
        )
    left, right = (side.flatten(2) for side in sides)  # (B, points, values x features)
    return left @ right.mT / len(values)


def _recursive_predictions(
    inputs: Float[Tensor, "batch examples dim"],
    labels: Float[Tensor, "batch examples"],
    weights: Float[Tensor, "batch dim"],
    root: Float[Tensor, "batch dim dim"],
) -> Float[Tensor, "batch examples"]:
    """Predict each label, then learn from it: recursive least squares from `weights` with covariance root rootᵀ.

    Potter's square-root form (Bierman 1977, section II.5), whose rounding error grows with the condition number of the
    inputs and not with its square.
    """
    root, predictions = root.clone(), torch.empty_like(labels)
    for i in range(inputs.shape[1]):
        predictions[:, i] = (inputs[:, i] * weights).sum(-1)
        if i == inputs.shape[1] - 1:
            break
        seen = (inputs[:, i, None] @ root)[:, 0]
        variance = 1.0 + seen.square().sum(-1, keepdim=True)
        direction = (root @ seen[:, :, None])[:, :, 0]
        error = (labels[:, i] - predictions[:, i])[:, None]
        weights = torch.addcmul(weights, direction, error / variance)
        shrink = seen / (variance + variance.sqrt())
        root.addcmul_(direction[:, :, None], shrink[:, None], value=-1.0)
    return predictions


def _predict_by_svd(
    inputs: Float[Tensor, "batch examples dim"],
    labels: Float[Tensor, "batch examples"],
    alpha: float,
    wanted: Bool[Tensor, "batch examples"],
    predictions: Float[Tensor, "batch examples"],
) -> None:
    """Overwrite the wanted predictions (never of point 0) with ridge regression by singular value decomposition."""
    for i in wanted[:, 1:].any(0).nonzero()[:, 0].add(1).tolist():
        rows = wanted[:, i]
        left, values, right = torch.linalg.svd(inputs[rows, :i], full_matrices=False)
        cutoff = max(i, inputs.shape[-1]) * torch.finfo(values.dtype).eps * values[:, :1]
        kept = (values > cutoff) | ((alpha > 0) & (values > 0))
        filtered = torch.where(kept, values / (values.square() + alpha), 0.0)
        weights = right.mT @ (filtered[:, :, None] * (left.mT @ labels[rows, :i, None]))
        predictions[rows, i] = (inputs[rows, i] * weights[:, :, 0]).sum(-1)


def _lasso_part(
    inputs: Float[Tensor, "batch examples dim"],
    labels: Float[Tensor, "batch examples"],
    alpha: float,
    tol: float,
) -> Float[Tensor, "batch examples dim"]:
    """The coefficients of as many prompts as are solved at once: one problem for each prompt and prefix."""
    batch, examples, dim = inputs.shape
    prefixes = examples - 1
    gram = inputs.new_empty(batch, prefixes, dim, dim)
    so_far = inputs.new_zeros(batch, dim, dim)
    for i in range(prefixes):
        so_far.baddbmm_(inputs[:, i, :, None], inputs[:, i, None])
        gram[:, i] = so_far
    correlation = (inputs * labels[:, :, None]).cumsum(1)[:, :-1]
    energy = labels.square().cumsum(1)[:, :-1]
    counts = torch.arange(1, examples, dtype=inputs.dtype, device=inputs.device)
    penalty = (alpha * counts).repeat(batch, 1)

    coefficients = torch.zeros_like(inputs)
    coefficients[:, 1:] = _homotopy(
        gram.flatten(0, 1), correlation.flatten(0, 1), penalty.flatten()
    ).unflatten(0, (batch, prefixes))

    limit = tol * energy / counts
    gap = lasso_duality_gap(inputs, labels, coefficients, alpha)[:, 1:]
    missed = ~(gap <= limit)
    if missed.any():
        prompt, prefix = missed.nonzero().unbind(-1)
        seen = torch.arange(prefixes, device=inputs.device) <= prefix[:, None]
        coefficients[:, 1:][missed] = _interior_point(
            inputs[prompt, :-1] * seen[:, :, None], labels[prompt, :-1] * seen, penalty[missed], tol
        )
        gap = lasso_duality_gap(inputs, labels, coefficients, alpha)[:, 1:]
        missed = ~(gap <= limit)
    if missed.any():
        worst = float((gap * counts / energy)[missed].max())
        raise ConvergenceError(
            f"{int(missed.sum())} of {missed.numel()} Lasso problems at alpha {alpha} did not reach the duality gap "
            f"tol · ‖y‖²/m with tol {tol}: the worst has {worst:.2g} · ‖y‖²/m; give a larger tol or alpha"
        )
    return coefficients


def _gap(
    weights: Float[Tensor, "*problems dim"],
    gradient: Float[Tensor, "*problems dim"],
    residual_energy: Float[Tensor, "*problems"],
    penalty: Float[Tensor, "*problems dim"],
) -> Float[Tensor, "*problems"]:
    """The duality gap of ‖r‖²/2 + Σ_j penalty_j |w_j|, r = y − Xw of gradient Xᵀr: see `lasso_duality_gap`."""
    shrink = (penalty / gradient.abs()).amin(-1).clamp_max(1.0)
    slack = penalty * weights.abs() - shrink[..., None] * weights * gradient
    return 0.5 * (1.0 - shrink).square() * residual_energy + slack.sum(-1)


def _homotopy(
    tableau: Float[Tensor, "problems dim dim"],
    correlation: Float[Tensor, "problems dim"],
    penalty: Float[Tensor, " problems"],
) -> Float[Tensor, "problems dim"]:
    """Follow each Lasso solution from the level where it is zero down to its penalty; a lost path gives wrong weights.

    Between two events the solution is linear in the level. The tableau is given as the Gram matrix, is used up, and
    is pivoted in place (Gauss-Jordan) whenever a coordinate enters or leaves: it then holds the inverse of the active
    block, its product with the block beside it, minus the transpose of that below, and the Schur complement. `value`
    is the weight of an active coordinate, and X_jᵀr of an inactive one, which the level bounds; `slope` is how fast
    it grows as the level falls; `diagonal` is the tableau's, kept apart because it is read at every step.
    """
    problem = torch.arange(len(correlation), device=correlation.device)
    solution, sign, slope = (torch.zeros_like(correlation) for _ in range(3))
    value, level = correlation.clone(), correlation.abs().amax(-1)
    diagonal = tableau.diagonal(dim1=1, dim2=2).clone()
    floor = COLLINEAR * diagonal
    live = level > penalty

    # A path has about as many events as coordinates at its end; one with ten times as many is lost.
    for _ in range(10 * correlation.shape[-1] + 10):
        count = int(live.sum())
        if count == 0:
            break
        # Copying has its price, so finished problems are dropped only when they are a quarter of those held.
        if 4 * count < 3 * len(live):
            kept = live.nonzero()[:, 0]
            problem, tableau, diagonal, floor, sign, value, slope, level, penalty = (
                held.index_select(0, kept)
                for held in (problem, tableau, diagonal, floor, sign, value, slope, level, penalty)
            )
            live = torch.ones_like(problem, dtype=torch.bool)

        # The next event is the one of largest rate, the inverse of how far the level falls until it: an inactive value
        # meets the level, or an active one zero. What moves away from its bound has a negative rate, and what has just
        # left it, minus infinity.
        entry = torch.maximum(
            (1.0 + slope) / (level[:, None] - value), (1.0 - slope) / (level[:, None] + value)
        )
        entry.masked_fill_(diagonal <= floor, -torch.inf)
        active = sign != 0
        fastest, pivot = torch.where(active, -slope / value, entry).max(-1)

        remaining = level - penalty
        going = fastest * remaining > 1.0
        fall = torch.where(going, 1.0 / fastest, remaining)
        value.addcmul_(fall[:, None], slope)
        level = level - fall
        arrived = (live & ~going).nonzero()[:, 0]
        solution[problem[arrived]] = value[arrived].where(active[arrived], 0.0)
        live &= going

        # Finished problems are pivoted along with the others: what becomes of them no longer matters.
        each = torch.arange(len(problem), device=problem.device)
        leaving = sign[each, pivot]
        entering = torch.where(leaving == 0, value[each, pivot].sign(), 0.0)
        row = tableau[each, pivot]
        column = torch.where(active == (leaving != 0)[:, None], row, -row)
        scale = row[each, pivot, None]
        row = row / scale
        turn = (slope[each, pivot] + entering)[:, None] / scale
        tableau.addcmul_(column[:, :, None], row[:, None], value=-1.0)
        diagonal.addcmul_(column, row, value=-1.0)
        slope.addcmul_(column, turn, value=-1.0)
        column[each, pivot] = -1.0
        tableau[each, pivot] = row
        tableau[each, :, pivot] = column / -scale
        diagonal[each, pivot] = 1.0 / scale[:, 0]
        slope[each, pivot] = turn[:, 0] - leaving
        sign[each, pivot] = entering
        # A weight that enters is zero, but with the sign that it will have.
        value[each, pivot] = leaving * level + entering * torch.finfo(value.dtype).tiny
    return solution


def _interior_point(
    inputs: Float[Tensor, "problems examples dim"],
    labels: Float[Tensor, "problems examples"],
    penalty: Float[Tensor, " problems"],
    tol: float,
) -> Float[Tensor, "problems dim"]:
    """Solve Lasso problems by Mehrotra's predictor-corrector method (1992) on w = p − q with p, q ≥ 0.

    Slower than the homotopy, but it takes ten to thirty Newton steps whatever depends on what: no eigenvalue of their
    matrix is below 1. Returns the best weights met, which the caller checks.
    """
    # In units in which the labels and every column, zero ones apart, have norm 1.
    strength = labels.norm(dim=-1, keepdim=True)
    size = inputs.norm(dim=1)
    size = size.where(size > 0, 1.0)
    inputs, labels = inputs / size[:, None], labels / strength
    penalty = penalty[:, None] / (size * strength)

    # p and q side by side, and their multipliers, which at the solution are penalty ∓ Xᵀr.
    correlation = (labels[:, None] @ inputs)[:, 0]
    multipliers = penalty[:, None] + torch.stack([correlation, -correlation], 1).abs()
    parts = torch.ones_like(multipliers)
    best, best_gap = torch.zeros_like(penalty), torch.full_like(penalty[:, 0], torch.inf)
    identity = torch.eye(inputs.shape[-1], dtype=inputs.dtype, device=inputs.device)

    for _ in range(INTERIOR_POINT_STEPS):
        weights = parts[:, 0] - parts[:, 1]
        residual = labels - (inputs @ weights[:, :, None])[:, :, 0]
        gradient = (residual[:, None] @ inputs)[:, 0]
        gap = _gap(weights, gradient, residual.square().sum(-1), penalty)
        better = gap < best_gap
        best[better], best_gap[better] = weights[better], gap[better]
        # A tenth of what is asked leaves room for the rounding of the caller's check.
        if (best_gap <= 0.1 * tol).all():
            break

        infeasibility = penalty[:, None] - torch.stack([gradient, -gradient], 1) - multipliers
        root = (parts / multipliers).sum(1).sqrt()
        scaled = inputs * root[:, None]
        factor, _ = torch.linalg.cholesky_ex(identity + scaled.mT @ scaled)
        system = inputs, parts, multipliers, infeasibility, root, factor

        products = parts * multipliers
        mean = products.mean((1, 2), keepdim=True)
        move, change = _newton_move(*system, torch.zeros_like(products))
        length = _longest_step(parts, move, multipliers, change)
        ahead = (parts + length * move) * (multipliers + length * change)
        centring = (ahead.mean((1, 2), keepdim=True) / mean) ** 3
        move, change = _newton_move(*system, centring * mean - move * change)
        length = 0.995 * _longest_step(parts, move, multipliers, change)
        parts = parts + length * move
        multipliers = multipliers + length * change
    return best * strength / size


def _newton_move(
    inputs: Float[Tensor, "problems examples dim"],
    parts: Float[Tensor, "problems 2 dim"],
    multipliers: Float[Tensor, "problems 2 dim"],
    infeasibility: Float[Tensor, "problems 2 dim"],
    root: Float[Tensor, "problems dim"],
    factor: Float[Tensor, "problems dim dim"],
    products: Float[Tensor, "problems 2 dim"],
) -> tuple[Float[Tensor, "problems 2 dim"], Float[Tensor, "problems 2 dim"]]:
    """The moves of parts and multipliers towards feasibility and parts · multipliers = products."""
    reach = (products - parts * infeasibility) / multipliers - parts
    pull = (reach[:, 0] - reach[:, 1]) / root
    solved = torch.cholesky_solve(pull[:, :, None], factor)
    # One step of iterative refinement: with nearly dependent columns the matrix is ill-conditioned.
    scaled = inputs * root[:, None]
    error = pull[:, :, None] - solved - scaled.mT @ (scaled @ solved)
    step = root * (solved + torch.cholesky_solve(error, factor))[:, :, 0]
    bend = ((inputs @ step[:, :, None]).mT @ inputs)[:, 0]
    change = torch.stack([bend, -bend], 1)

    ratio = parts / multipliers
    positive, negative = (reach - ratio * change).unbind(1)
    # Where a ratio is large its product cancels, and Xᵀr would drift from the multipliers; but p moves by as much
    # more than q as w does.
    by_negative = ratio[:, 0] >= ratio[:, 1]
    move = torch.stack(
        [
            torch.where(by_negative, negative + step, positive),
            torch.where(by_negative, negative, positive - step),
        ],
        1,
    )
    return move, change + infeasibility


def _longest_step(
    parts: Float[Tensor, "problems 2 dim"],
    move: Float[Tensor, "problems 2 dim"],
    multipliers: Float[Tensor, "problems 2 dim"],
    change: Float[Tensor, "problems 2 dim"],
) -> Float[Tensor, "problems 1 1"]:
    """The longest step, at most 1, that leaves parts and multipliers non-negative."""
    shrink = torch.maximum(-move / parts, -change / multipliers).amax((1, 2), keepdim=True)
    return 1.0 / shrink.clamp_min(1.0)
