"""Posteriors as graphs of elementary operations, which the page runs in the browser."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from math import factorial, log

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl_lib.bayes.bands import COARSE, ZOOMED, Resolution, equal_cells, zoom
from icl_lib.bayes.doubt import smooth_functions
from icl_lib.bayes.parts import Part, expand, features_of, values_of
from icl_lib.bayes.regression import JITTER, Noise, krige, regress, updates
from icl_lib.latents import Grid
from icl_lib.samplers import DenseLinear, FunctionClass, Mixture, Sinusoid, SparseLinear


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
    cells that `zoom` starts from, not over all that it ends with: a cell at a distance t from the
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
        self.line_weight, self.noise, self.resolution = line_weight, Noise(jitter), resolution

    def forward(
        self,
        xs: Float[Tensor, "1 examples 1"],
        ys: Float[Tensor, "1 examples"],
        queries: Float[Tensor, "1 queries 1"],
        weight: Float[Tensor, ""],
        doubt: Float[Tensor, ""] | None = None,
        smooth: Float[Tensor, "1 queries"] | None = None,
        smooth_evidence: Float[Tensor, "1 1"] | None = None,
    ) -> tuple[
        Float[Tensor, "1 queries"], Float[Tensor, "1 queries"], Float[Tensor, "1 components"]
    ]:
        """Predict a curve. Everything is float64.

        Args:
            xs: the in-context examples, of which there may be none.
            ys: their values.
            queries: where to predict.
            weight: the combination's weight on the line, which the oracle knows.
            doubt: prior probability of some other smooth function (see `with_doubt`); None is certainty.
            smooth: what `SmoothPosterior` predicts for the same prompt; where it is not given, it is asked.
            smooth_evidence: the log evidence that comes with it.

        Returns:
            The mixture's prediction (1, Q), the oracle's (1, Q), and the probability (1, 2) of line
            and sine; (1, 3) with a doubt, which comes last.
        """
        x, targets = queries[0, :, 0], ys[:, None]
        line = features_of((Part(self.line),), xs, xs.new_zeros(1, 1, 0))
        slope, line_evidence = regress(line, targets, self.noise)

        on_line = torch.stack([torch.zeros_like(weight), weight])[:, None, None]  # sine, oracle
        parts = (Part(self.line, on_line), Part(self.sine, 1 - on_line))
        frequency, weights, log_mass = zoom(
            parts, xs, targets.expand(2, -1, -1), self.noise, self.resolution
        )
        weighted = log_mass.softmax(1)[:, :, None] * weights
        straight = on_line[:, 0] * weighted[:, :, 0].sum(1, keepdim=True) * x
        wave = (1 - on_line[:, 0]) * _wave(
            self.sine, self.resolution, frequency[:, :, 0], weighted[:, :, 1:], x
        )
        sine, oracle = (straight + wave).split(1)  # (1, Q) each

        prior = xs.new_tensor([self.line_weight, 1 - self.line_weight])
        mixture, probability = _weigh(
            prior,
            [slope[:, 0] * x, sine],
            [line_evidence, _log_sum(log_mass[:1])],
            (xs, ys, queries),
            self.noise.jitter,
            (doubt, smooth, smooth_evidence),
        )
        return mixture, oracle, probability


Doubt = tuple[Tensor | None, Tensor | None, Tensor | None]
"""The prior probability of a smooth function, what it predicts, and its log evidence."""


def _weigh(
    prior: Float[Tensor, " classes"],
    means: Sequence[Float[Tensor, "1 queries"]],
    evidences: Sequence[Float[Tensor, "1 1"]],
    prompt: tuple[Tensor, Tensor, Tensor],
    jitter: float,
    other: Doubt,
) -> tuple[Float[Tensor, "1 queries"], Float[Tensor, "1 components"]]:
    """The predictions of the classes, and of a doubt, weighted by prior times evidence; and these weights."""
    doubt, mean, evidence = other
    if doubt is not None:
        if mean is None or evidence is None:
            mean, evidence = SmoothPosterior(jitter=jitter)(*prompt)
        means, evidences = [*means, mean], [*evidences, evidence]
        prior = torch.cat([(1 - doubt) * prior, doubt[None]])
    probability = (prior.log() + torch.cat(list(evidences), dim=1)).softmax(1)
    return (probability[:, :, None] * torch.stack(list(means), dim=1)).sum(1), probability


class SmoothPosterior(nn.Module):
    """The smooth functions that a doubter allows for, as a graph that all priors of functions of one number share.

    Args:
        jitter: as for `posterior_predictive`.
    """

    def __init__(self, *, jitter: float = JITTER) -> None:
        super().__init__()
        self.jitter = jitter

    def forward(
        self,
        xs: Float[Tensor, "1 examples 1"],
        ys: Float[Tensor, "1 examples"],
        queries: Float[Tensor, "1 queries 1"],
    ) -> tuple[Float[Tensor, "1 queries"], Float[Tensor, "1 1"]]:
        """Predict a curve. Everything is float64.

        Args:
            xs: the in-context examples, of which there may be none.
            ys: their values.
            queries: where to predict.

        Returns:
            The prediction (1, Q), and the log evidence (1, 1) in the units of `regress`.
        """
        priors, functions = zip(*smooth_functions(1), strict=True)
        kernels = [one.covariance for one in functions]
        means, evidence = krige_curve(kernels, xs, ys, queries, self.jitter)
        log_mass = (xs.new_tensor(priors).log() + evidence)[None]  # (1, lengths)
        return log_mass.softmax(1) @ means, _log_sum(log_mass)


def krige_curve(
    kernels: Sequence[Callable[[Tensor, Tensor], Tensor]],
    xs: Float[Tensor, "1 examples dim"],
    ys: Float[Tensor, "1 examples"],
    queries: Float[Tensor, "1 queries dim"],
    jitter: float,
) -> tuple[Float[Tensor, "kernels queries"], Float[Tensor, " kernels"]]:
    """`krige` with some covariances, as a graph that may be given no examples.

    Args:
        kernels: each from points (1, n, d) and (1, m, d) to their covariance (1, n, m).
        xs: the in-context examples, of which there may be none.
        ys: their values.
        queries: where to predict.
        jitter: standard deviation of the noise on the examples.

    Returns:
        Predictions and log evidence by each, as of `krige`.
    """
    # One more example, which says nothing: over none at all a scan, and in onnxruntime-web a sum, has no shape.
    says = nn.functional.pad(torch.ones_like(ys), (0, 1))
    points, values = nn.functional.pad(xs, (0, 0, 0, 1)), nn.functional.pad(ys, (0, 1))
    among = torch.cat([kernel(points, points) for kernel in kernels])
    at = torch.cat([kernel(points, queries) for kernel in kernels])
    return krige(among * says[:, :, None] * says[:, None], at * says[:, :, None], values, jitter)


def band_module(function_class: FunctionClass) -> BandPosterior:
    """Return the module that predicts curves for a mixture of functions of one number.

    Raises:
        ValueError: a component that is a sum, that has no features, or whose latent is neither an interval nor a grid.
    """
    components = [(weight, parts[0]) for weight, parts in expand(function_class) if len(parts) == 1]
    if len(components) < len(function_class.unfold()) or not all(
        part.basic.dim == 1
        and part.n_features
        and (part.interval or part.basic.latent is None or isinstance(part.basic.latent, Grid))
        for _, part in components
    ):
        raise ValueError(
            "bands are exported for mixtures of functions of one number that have features and no latent, as "
            f"DenseLinear(1), or as their latent an interval, as Sinusoid(low, high), or a grid, got {function_class!r}"
        )
    return BandPosterior([(weight, part.basic) for weight, part in components])


class BandPosterior(nn.Module):
    """Lines, sines of several bands and other functions of one number as one graph of elementary operations.

    As `CurvePosterior`, but with any number of classes, each band zoomed into on its own, and without an oracle.

    Args:
        components: prior probability and class of each, with features and no latent, or an interval or a grid as its
            latent; `expand` makes them of a nested mixture.
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
        self.components, self.noise, self.resolution = components, Noise(jitter), resolution

    def forward(
        self,
        xs: Float[Tensor, "1 examples 1"],
        ys: Float[Tensor, "1 examples"],
        queries: Float[Tensor, "1 queries 1"],
        doubt: Float[Tensor, ""] | None = None,
        smooth: Float[Tensor, "1 queries"] | None = None,
        smooth_evidence: Float[Tensor, "1 1"] | None = None,
        prior: Float[Tensor, " classes"] | None = None,
    ) -> tuple[Float[Tensor, "1 queries"], Float[Tensor, "1 components"]]:
        """Predict a curve. Everything is float64.

        Args:
            xs: the in-context examples, of which there may be none.
            ys: their values.
            queries: where to predict.
            doubt: prior probability of some other smooth function (see `with_doubt`); None is certainty.
            smooth: what `SmoothPosterior` predicts for the same prompt; where it is not given, it is asked.
            smooth_evidence: the log evidence that comes with it.
            prior: other probabilities of the components than their own.

        Returns:
            The prediction (1, Q) and the probability (1, K) of each component; (1, K + 1) with a doubt, which comes
            last.
        """
        targets = ys[:, None]
        means, evidences = [], []
        for _, basic in self.components:
            part = Part(basic)
            if part.interval is None:
                latent = values_of((part,), xs)
                weights, log_mass = regress(features_of((part,), xs, latent), targets, self.noise)
                log_mass = log_mass - xs.new_tensor(log(latent.shape[1]))
            else:
                latent, weights, log_mass = zoom((part,), xs, targets, self.noise, self.resolution)
            weights = log_mass.softmax(1)[:, :, None] * weights
            means.append(_curve(part, self.resolution, latent, weights, queries))
            evidences.append(_log_sum(log_mass))
        if prior is None:
            prior = xs.new_tensor([weight for weight, _ in self.components])
        other = doubt, smooth, smooth_evidence
        return _weigh(prior, means, evidences, (xs, ys, queries), self.noise.jitter, other)


def _log_sum(log_mass: Tensor) -> Tensor:
    """Log of the sum of exp(log_mass), (R, N) -> (R, 1).

    onnxruntime's own underflows to -inf where examples outside the class make the log evidence about -1e6.
    """
    peak = log_mass.amax(1, keepdim=True)
    return peak + (log_mass - peak).exp().sum(1, keepdim=True).log()


def _curve(
    part: Part, resolution: Resolution, latent: Tensor, weights: Tensor, queries: Tensor
) -> Float[Tensor, "1 queries"]:
    """Sum weights times features over nodes, at the queries."""
    if isinstance(part.basic, Sinusoid):  # of which the page draws most, and they can be pooled
        return _wave(part.basic, resolution, latent[:, :, 0], weights, queries[0, :, 0])
    features = features_of((part,), queries, latent)
    terms = [(w[:, :, None] * f).sum(1) for w, f in zip(weights.unbind(-1), features, strict=True)]
    return torch.stack(terms).sum(0)


def _wave(
    band: Sinusoid,
    resolution: Resolution,
    frequency: Float[Tensor, "rows nodes"],
    amplitude: Float[Tensor, "rows nodes 2"],
    x: Float[Tensor, " queries"],
    order: int = 4,
) -> Float[Tensor, "rows queries"]:
    """Sum a sin(v x) + b cos(v x) over nodes v, each by its Taylor series about the centre of its equal cell."""
    middles, cell = equal_cells(band.latent, resolution, frequency)
    distance = frequency - middles[cell]
    # Each derivative of a sin(v x) + b cos(v x) in v brings a factor x and turns (a, b) to (-b, a).
    a, b = amplitude.unbind(-1)
    terms = []
    for k in range(order + 1):
        terms += [a * distance**k / factorial(k), b * distance**k / factorial(k)]
        a, b = -b, a
    moments = torch.stack(terms, dim=1)  # (R, 2 (order + 1), N)
    pooled = moments.new_zeros(len(moments), len(terms), len(middles)).scatter_add(
        2, cell[:, None].expand(-1, len(terms), -1), moments
    )
    angle = middles[:, None] * x  # (C, Q)
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
    where the functions above make one for each.

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
        means, log_evidence = updates(features, ys, self.jitter)
        return (means * features).sum(-1), log_evidence
