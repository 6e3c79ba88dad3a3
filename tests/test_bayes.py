"""The exact Bayes predictor against brute force, against the limits in which it is known, and against itself."""

from dataclasses import dataclass
from math import log, pi

import numpy as np
import pytest
import torch

from icl_lib import baselines, bayes
from icl_lib.latents import Grid, Interval
from icl_lib.random import Draws
from icl_lib.samplers import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    GaussianProcess,
    Mixture,
    ReluNetwork,
    Sinusoid,
    SparseLinear,
    sample_prompts,
)

LINE, SINE = DenseLinear(1), Sinusoid(1.0, 5.0)
LINE_SINE = Mixture((LINE, SINE), (0.5, 0.5))
HALVES = ConvexCombination(LINE, SINE, 0.5)
DENSE_SPARSE = Mixture((DenseLinear(8), SparseLinear(8, 2)), (0.5, 0.5))


def prompts(function_class, batch_size, n_examples, seed=0):
    drawn = sample_prompts(function_class, batch_size, n_examples, seed=seed)
    return drawn.xs.double(), drawn.ys.double(), drawn.component


# --- Against importance sampling from the prior ------------------------------------------------------------------


def importance(function_class, xs, ys, queries, jitter, draws=200_000):
    """Posterior mean at the queries and class posterior by weighting draws from the prior, with standard errors."""
    functions, component = function_class.sample_functions(
        Draws(seed=7, step=0, batch_size=draws, device="cpu")
    )
    points = torch.cat([xs, queries], dim=1).expand(draws, -1, -1)
    values = functions(points)
    log_weight = -0.5 * ((values[:, : xs.shape[1]] - ys) ** 2).sum(1) / jitter**2
    weight = log_weight.softmax(0)
    classes = torch.nn.functional.one_hot(component, int(component.max()) + 1).double()
    answers = torch.cat([values[:, xs.shape[1] :], classes], dim=1)
    mean = weight @ answers
    error = (weight**2 @ (answers - mean) ** 2).sqrt()
    q = queries.shape[1]
    return (mean[:q], error[:q]), (mean[q:], error[q:])


@pytest.mark.parametrize(
    "function_class",
    [
        DenseLinear(2),
        DenseLinear(6),
        SparseLinear(5, 2),
        SINE,
        LINE_SINE,
        Mixture((LINE, SINE), (0.9, 0.1)),
        ConvexCombination(LINE, SINE, 0.7),
        ConvexCombination(SINE, Sinusoid(2.0, 3.0), 0.4),
        ConvexCombination(DenseLinear(5), SparseLinear(5, 2), 0.3),
        ConvexCombination(SparseLinear(4, 1), SparseLinear(4, 2), 0.6),
        ConvexCombination(LINE_SINE, SINE, 0.5),
        Mixture((HALVES, Mixture((LINE, SINE), (0.2, 0.8))), (0.4, 0.6)),
    ],
    ids=repr,
)
@pytest.mark.parametrize("n", [1, 3])
def test_equals_importance_sampling(function_class, n):
    xs, ys, _ = prompts(function_class, 1, n + 4, seed=n)
    given, queries = xs[:, :n], xs[:, n:]
    mean, probability = bayes.posterior_curve(function_class, given, ys[:, :n], queries, jitter=0.4)
    (sampled, error), (classes, class_error) = importance(
        function_class, given, ys[:, :n], queries, jitter=0.4
    )
    assert error.max() < 0.03  # else the comparison says nothing
    assert ((mean[0] - sampled).abs() < 4.5 * error + 1e-6).all()
    assert ((probability[0, : len(classes)] - classes).abs() < 4.5 * class_error + 1e-6).all()


def test_the_infinite_network_has_the_networks_covariance():
    network = ReluNetwork(3, width=20)
    xs = torch.randn(1, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    functions, _ = network.sample_functions(Draws(seed=1, step=0, batch_size=50_000, device="cpu"))
    values = functions(xs.expand(50_000, -1, -1))
    products = values[:, :, None] * values[:, None, :]
    error = products.std(0) / len(values) ** 0.5
    expected = bayes.parts.covariance_of((bayes.parts.Part(network),), xs, xs)[0]
    assert ((products.mean(0) - expected).abs() < 4.5 * error).all()
    trace = (xs**2).sum(-1)[0] / 3
    torch.testing.assert_close(expected.diagonal(), trace, rtol=1e-12, atol=0)


# --- Classes of one's own ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parabola(FunctionClass):
    """f(x) = w x^2 with w ~ N(0, 1 / 3)."""

    dim = 1
    second_moment = 1.0

    def features(self, xs, latent):
        return [xs[..., 0] ** 2 / 3**0.5]


@dataclass(frozen=True)
class Power(FunctionClass):
    """f(x) = w |x|^p + v, p one of three numbers."""

    dim = 1
    second_moment = 1.0

    @property
    def latent(self):
        return Grid((0.3, 0.7, 1.1))

    def features(self, xs, latent):
        return [xs[..., 0].abs() ** latent[..., 0], torch.ones_like(xs[..., 0])]


@dataclass(frozen=True)
class Bump(FunctionClass):
    """f(x) = w exp(-(x - c)^2), the centre anywhere in an interval."""

    dim = 1
    second_moment = 1.0

    @property
    def latent(self):
        return Interval(-2.0, 2.0)

    def features(self, xs, latent):
        return [(-((xs[..., 0] - latent[..., 0]) ** 2)).exp()]


@dataclass(frozen=True)
class Powers(FunctionClass):
    """Six features, more than enter as features."""

    dim = 1
    second_moment = 1.0

    def features(self, xs, latent):
        return [xs[..., 0] ** k / 2**k for k in range(6)]


OWN = [
    Parabola(),
    Power(),
    Bump(),
    Powers(),
    Mixture((LINE, Parabola()), (0.4, 0.6)),
    Mixture((SINE, Bump(), Power()), (0.4, 0.3, 0.3)),
    ConvexCombination(Parabola(), SINE, 0.5),
    ConvexCombination(Powers(), Bump(), 0.5),
    ConvexCombination(Power(), Parabola(), 0.5),
]


@pytest.mark.parametrize("function_class", OWN, ids=repr)
@pytest.mark.parametrize("n", [1, 3])
def test_a_class_of_ones_own_has_exact_bayes(function_class, n):
    xs, ys, _ = prompts(function_class, 1, n + 4, seed=n)
    given, queries = xs[:, :n], xs[:, n:]
    mean, probability = bayes.posterior_curve(function_class, given, ys[:, :n], queries, jitter=0.4)
    (sampled, error), (classes, class_error) = importance(
        function_class, given, ys[:, :n], queries, jitter=0.4
    )
    assert error.max() < 0.03  # else the comparison says nothing
    assert ((mean[0] - sampled).abs() < 4.5 * error + 1e-6).all()
    assert ((probability[0, : len(classes)] - classes).abs() < 4.5 * class_error + 1e-6).all()


def test_a_parabola_is_told_from_a_line_and_learnt_from_one_example():
    mixture = Mixture((LINE, Parabola()), (0.5, 0.5))
    xs, ys, component = prompts(mixture, 64, 4, seed=2)
    posterior = bayes.posterior_predictive(mixture, xs, ys)
    found = posterior.component_probability[:, 3].gather(1, component[:, None])
    assert found.median() > 1 - 1e-6
    assert (posterior.mean - ys)[:, 3].square().median() < 1e-6
    # One parabola through the first point, w = y / x^2, in closed form.
    alone = bayes.posterior_predictive(Parabola(), xs, ys).mean[:, 1]
    phi, query = xs[:, 0, 0] ** 2, xs[:, 1, 0] ** 2
    expected = query * phi * ys[:, 0] / (phi**2 + 3 * bayes.JITTER**2)
    torch.testing.assert_close(alone, expected, rtol=1e-9, atol=1e-9)


# --- Noise ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function_class",
    [LINE_SINE, SparseLinear(5, 2), Mixture((Parabola(), Bump()), (0.5, 0.5))],
    ids=repr,
)
def test_with_noise_it_equals_importance_sampling(function_class):
    drawn = sample_prompts(function_class, 1, 9, seed=4, noise=0.5)
    xs, ys = drawn.xs.double(), drawn.ys.double()
    given, queries = xs[:, :5], xs[:, 5:]
    mean, probability = bayes.posterior_curve(function_class, given, ys[:, :5], queries, noise=0.5)
    (sampled, error), (classes, class_error) = importance(
        function_class, given, ys[:, :5], queries, jitter=0.5
    )
    assert error.max() < 0.03  # else the comparison says nothing
    assert ((mean[0] - sampled).abs() < 4.5 * error + 1e-5).all()
    assert ((probability[0, : len(classes)] - classes).abs() < 4.5 * class_error + 1e-5).all()


def test_with_noise_dense_functions_are_ridge_in_closed_form():
    dim, noise = 6, 0.3
    drawn = sample_prompts(DenseLinear(dim), 5, 15, seed=2, noise=noise)
    xs, ys = drawn.xs.double(), drawn.ys.double()
    mean = bayes.posterior_predictive(DenseLinear(dim), xs, ys, noise=noise).mean
    coefficients = bayes.posterior_coefficients(DenseLinear(dim), xs, ys, noise=noise)
    alpha = dim * (noise**2 + bayes.JITTER**2)
    for i in (0, 3, 14):
        x, y = xs[:, :i], ys[:, :i]
        gram = x.mT @ x + alpha * torch.eye(dim, dtype=torch.float64)
        ridge = torch.linalg.solve(gram, x.mT @ y[:, :, None])
        expected = (xs[:, i, None] @ ridge)[:, 0, 0]
        torch.testing.assert_close(mean[:, i], expected, rtol=1e-8, atol=1e-10)
        torch.testing.assert_close(coefficients[:, i], ridge[:, :, 0], rtol=1e-8, atol=1e-10)


def test_who_is_not_told_of_the_noise_takes_noisy_lines_for_sines():
    xs, ys, _ = sample_prompts(LINE, 200, 12, seed=1, noise=0.3)
    untold = bayes.posterior_predictive(LINE_SINE, xs, ys)
    told = bayes.posterior_predictive(LINE_SINE, xs, ys, noise=0.3)
    # After three examples: some sine passes through any three points, a line through noisy ones does not.
    assert (untold.component_probability[:, 3, 1] > 0.999).double().mean() > 0.9
    assert told.component_probability[:, 3, 0].mean() > 0.7
    assert told.component_probability[:, 11, 0].mean() > 0.8
    truth = sample_prompts(LINE, 200, 12, seed=1).ys
    errors = [(p.mean - truth)[:, 4:].square().mean().item() for p in (untold, told)]
    assert errors[1] < 0.3 * errors[0]


# --- Against a fixed grid of frequencies, far finer than the evidence --------------------------------------------


def on_a_grid(a, x, y, queries, nodes=2**17, jitter=bayes.JITTER):
    """Sum over a fixed grid, in NumPy: mean at the queries and log evidence under a * line + (1 - a) * sine."""
    total, mean, peak = 0.0, np.zeros(len(queries)), -np.inf

    def features(frequency, at):
        waves = [
            (1 - a) * np.sin(np.outer(frequency, at)),
            (1 - a) * np.cos(np.outer(frequency, at)),
        ]
        line = [np.broadcast_to(a * at, waves[0].shape)] if a else []
        return np.stack([*line, *waves], axis=1)  # (N, F, n)

    step = (SINE.high - SINE.low) / nodes
    for part in np.array_split(SINE.low + step * (np.arange(nodes) + 0.5), 16):
        phi = features(part, x)
        precision = np.eye(phi.shape[1]) + phi @ phi.swapaxes(1, 2) / jitter**2
        weights = np.linalg.solve(precision, (phi @ y / jitter**2)[..., None])[..., 0]
        residual = y - np.einsum("kf,kfn->kn", weights, phi)
        # The same exponent as y'(K + s^2)^-1 y, written without cancellation.
        misfit = (residual**2).sum(1) / jitter**2 + (weights**2).sum(1)
        log_evidence = -0.5 * (misfit + np.linalg.slogdet(precision)[1])
        new_peak = max(peak, log_evidence.max())
        scale, mass = np.exp(peak - new_peak), np.exp(log_evidence - new_peak)
        curves = np.einsum("kf,kfq->kq", weights, features(part, queries))
        total, mean, peak = total * scale + mass.sum(), mean * scale + mass @ curves, new_peak
    constant = -len(x) * (log(jitter) + 0.5 * log(2 * pi)) - log(nodes)
    return mean / total, peak + log(total) + constant


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 20, 40])
@pytest.mark.parametrize(
    ("model", "data"), [(0.0, SINE), (0.0, LINE), (0.0, HALVES), (0.5, HALVES), (0.5, SINE)]
)
def test_the_integral_over_frequencies_has_converged(model, data, n):
    xs, ys, _ = prompts(data, 1, n, seed=23)
    queries = torch.linspace(-3, 3, 25, dtype=torch.float64)
    function_class = ConvexCombination(LINE, SINE, model)
    x, y = xs[0, :, 0].numpy(), ys[0].numpy()
    expected, log_evidence = on_a_grid(model, x, y, queries.numpy())
    mean, _ = bayes.posterior_curve(function_class, xs, ys, queries[None, :, None])
    assert np.abs(mean[0].numpy() - expected).max() < 5e-4

    # The class posterior, beside the evidence of a line.
    gram = np.outer(x, x) + bayes.JITTER**2 * np.eye(n)
    line = -0.5 * (y @ np.linalg.solve(gram, y) + np.linalg.slogdet(gram)[1] + n * log(2 * pi))
    _, probability = bayes.posterior_curve(
        Mixture((LINE, function_class), (0.5, 0.5)), xs, ys, queries[None, :1, None]
    )
    expected_line = 1 / (1 + np.exp(np.clip(log_evidence - line, -700, 700)))
    assert abs(probability[0, 0].item() - expected_line) < 5e-4


@pytest.mark.parametrize("data", [LINE, SINE, HALVES, Sinusoid(6.0, 8.0)], ids=repr)
@pytest.mark.parametrize("function_class", [SINE, HALVES], ids=["sine", "halves"])
def test_a_finer_resolution_changes_nothing(function_class, data):
    queries = torch.linspace(-2, 2, 9, dtype=torch.float64)[None, :, None].expand(24, -1, -1)
    finer = bayes.Resolution(cells=200, keep=128, split=5, levels=4)
    for n in (2, 3, 4, 6, 12):
        xs, ys, _ = prompts(data, 24, n, seed=31)
        mean, _ = bayes.posterior_curve(function_class, xs, ys, queries)
        expected, _ = bayes.posterior_curve(function_class, xs, ys, queries, resolution=finer)
        error = (mean - expected).abs().amax(1)
        assert error.quantile(0.9) < 2e-4 and error.max() < 5e-3


# --- Against limits in which the answer is known ------------------------------------------------------------------


@pytest.mark.parametrize("dim", [3, 12])
def test_dense_alone_is_ridge_and_then_least_squares(dim):
    xs, ys, _ = prompts(DenseLinear(dim), 5, 20)
    posterior = bayes.posterior_predictive(DenseLinear(dim), xs, ys)
    assert (
        posterior.component_probability == 1
    ).all() and posterior.component_probability.shape == (5, 20, 1)
    alpha = dim * bayes.JITTER**2  # prior variance 1 / dim
    for i in range(20):
        x, y = xs[:, :i], ys[:, :i]
        gram = x.mT @ x + alpha * torch.eye(dim, dtype=torch.float64)
        ridge = torch.linalg.solve(gram, x.mT @ y[:, :, None])
        torch.testing.assert_close(
            posterior.mean[:, i], (xs[:, i, None] @ ridge)[:, 0, 0], rtol=1e-6, atol=1e-7
        )
    assert ((posterior.mean - ys)[:, dim + 4 :] ** 2).mean() < 1e-6


def test_features_and_covariance_agree(monkeypatch):
    """A dense function may enter by its features or by its covariance; so may the line beside a sine."""
    small = Mixture(
        (DenseLinear(4), ConvexCombination(DenseLinear(4), SparseLinear(4, 2), 0.5)), (0.5, 0.5)
    )
    for function_class in (small, HALVES):
        xs, ys, _ = prompts(function_class, 4, 9)
        by_features = bayes.posterior_predictive(function_class, xs, ys, jitter=0.05)
        monkeypatch.setattr(bayes.parts, "_FEW", 0)
        by_covariance = bayes.posterior_predictive(function_class, xs, ys, jitter=0.05)
        monkeypatch.undo()
        torch.testing.assert_close(by_features.mean, by_covariance.mean, rtol=1e-7, atol=1e-7)
        torch.testing.assert_close(
            by_features.component_probability,
            by_covariance.component_probability,
            rtol=1e-7,
            atol=1e-7,
        )


def test_equals_the_recursion_over_one_cholesky_factor():
    """K = L L', z = L^-1 y: the prediction of y_i is sum_{j<i} L_ij z_j; its evidence falls out of z_i and L_ii."""
    xs, ys, _ = prompts(DENSE_SPARSE, 6, 14)
    supports = [(i, j) for i in range(8) for j in range(i)]
    kernels = [xs @ xs.mT / 8] + [xs[:, :, s] @ xs[:, :, s].mT / 2 for s in map(list, supports)]
    prior = torch.tensor([0.5, *[0.5 / len(supports)] * len(supports)], dtype=torch.float64)
    means, logs = [], []
    for kernel in kernels:
        lower = torch.linalg.cholesky(kernel + bayes.JITTER**2 * torch.eye(14, dtype=torch.float64))
        z = torch.linalg.solve_triangular(lower, ys[:, :, None], upper=False)[:, :, 0]
        gain = -0.5 * z**2 - lower.diagonal(dim1=1, dim2=2).log() - 0.5 * log(2 * pi)
        means.append((lower.tril(-1) @ z[:, :, None])[:, :, 0])
        logs.append(gain.cumsum(1) - gain)
    weight = (torch.stack(logs, -1) + prior.log()).softmax(-1)
    posterior = bayes.posterior_predictive(DENSE_SPARSE, xs, ys)
    # Ill-conditioned by 1e6 / jitter: two routes agree to 1e-5, not to 1e-12.
    torch.testing.assert_close(
        posterior.mean, (weight * torch.stack(means, -1)).sum(-1), rtol=1e-4, atol=1e-5
    )
    torch.testing.assert_close(
        posterior.component_probability[:, :, 0], weight[:, :, 0], rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    "function_class",
    [
        DenseLinear(4),
        SparseLinear(5, 2),
        Mixture((DenseLinear(5), SparseLinear(5, 2)), (0.3, 0.7)),
        Mixture((SparseLinear(5, 1), SparseLinear(5, 2)), (0.5, 0.5)),
    ],
)
@pytest.mark.parametrize("n", [1, 3])
def test_mean_coefficients_equal_importance_sampling(function_class, n):
    jitter, dim = 0.3, function_class.dim
    xs, ys, _ = prompts(function_class, 1, n + 1, seed=4)
    found = bayes.posterior_coefficients(function_class, xs, ys, jitter=jitter)
    assert found.shape == (1, n + 1, dim) and found.dtype == torch.float64
    assert bool((found[:, 0] == 0).all())
    axes = torch.eye(dim, dtype=torch.float64)[
        None
    ]  # a linear function's values there are its coefficients
    (mean, error), _ = importance(function_class, xs[:, :n], ys[:, :n], axes, jitter)
    assert error.max() < 0.05, "too few draws to tell"
    assert bool(((found[0, n] - mean).abs() <= 4 * error + 1e-3).all())


def test_mean_coefficients_predict_what_the_posterior_predicts():
    for seed, function_class in ((0, DENSE_SPARSE), (1, SparseLinear(8, 2)), (2, DenseLinear(8))):
        xs, ys, _ = prompts(DENSE_SPARSE, 6, 17, seed)
        found = bayes.posterior_coefficients(function_class, xs, ys)
        expected = bayes.posterior_predictive(function_class, xs, ys).mean
        torch.testing.assert_close((found * xs).sum(-1), expected, atol=1e-5, rtol=1e-5)
    single = bayes.posterior_coefficients(DenseLinear(8), xs.float(), ys.float())
    assert single.dtype == torch.float32


def test_only_linear_functions_have_coefficients():
    xs, ys, _ = prompts(LINE_SINE, 2, 3)
    with pytest.raises(ValueError, match="only linear functions have coefficients, got Sinusoid"):
        bayes.posterior_coefficients(LINE_SINE, xs, ys)


def test_one_example_determines_a_line():
    xs, ys, _ = prompts(LINE, 50, 6)
    far = xs[:, :1].abs().amax(1) > 0.1
    error = (bayes.posterior_predictive(LINE, xs, ys).mean - ys)[far[:, 0], 1:]
    assert error.abs().max() < 1e-3


def test_before_any_example_the_mean_is_zero_and_the_class_is_the_prior():
    weights = (0.2, 0.5, 0.3)
    mixture = Mixture((LINE, SINE, HALVES), weights)
    xs, ys, _ = prompts(mixture, 3, 4)
    posterior = bayes.posterior_predictive(mixture, xs, ys)
    assert posterior.mean[:, 0].abs().max() < 1e-12
    expected = torch.tensor(weights, dtype=torch.float64).expand(3, -1)
    torch.testing.assert_close(posterior.component_probability[:, 0], expected)
    mean, probability = bayes.posterior_curve(mixture, xs[:, :0], ys[:, :0], xs)
    assert mean.shape == (3, 4) and mean.abs().max() < 1e-12
    torch.testing.assert_close(probability, expected)


@pytest.mark.parametrize(
    ("mixture", "n"), [(LINE_SINE, 6), (DENSE_SPARSE, 12)], ids=["line+sine", "dense+sparse"]
)
def test_the_true_class_is_found(mixture, n):
    xs, ys, component = prompts(mixture, 64, n + 1)
    probability = bayes.posterior_predictive(mixture, xs, ys).component_probability[:, n]
    assert probability.gather(1, component[:, None]).median() > 1 - 1e-6
    assert (probability.argmax(1) == component).double().mean() > 0.95


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Mixture((LINE, SINE), (1.0, 0.0)), LINE),
        (Mixture((LINE, SINE), (0.0, 1.0)), SINE),
        (ConvexCombination(LINE, SINE, 1.0), LINE),
        (ConvexCombination(LINE, SINE, 0.0), SINE),
        (SparseLinear(3, 3), DenseLinear(3)),
        (
            Mixture((LINE, Mixture((SINE, HALVES), (0.25, 0.75))), (0.2, 0.8)),
            Mixture((LINE, SINE, HALVES), (0.2, 0.2, 0.6)),
        ),
        (
            ConvexCombination(Mixture((LINE, SINE), (0.3, 0.7)), LINE, 0.6),
            Mixture(
                (ConvexCombination(LINE, LINE, 0.6), ConvexCombination(SINE, LINE, 0.6)), (0.3, 0.7)
            ),
        ),
    ],
    ids=lambda function_class: repr(function_class),
)
def test_two_ways_to_say_the_same(one, other):
    xs, ys, _ = prompts(other, 4, 7)
    mean = bayes.posterior_predictive(one, xs, ys).mean
    torch.testing.assert_close(
        mean, bayes.posterior_predictive(other, xs, ys).mean, rtol=1e-9, atol=1e-9
    )


def test_an_impossible_component_has_probability_zero():
    xs, ys, _ = prompts(SINE, 3, 5)
    probability = bayes.posterior_predictive(
        Mixture((LINE, SINE), (0.0, 1.0)), xs, ys
    ).component_probability
    assert (probability == torch.tensor([0.0, 1.0], dtype=torch.float64)).all()


def test_two_sines_are_told_apart_once_there_are_enough_examples():
    both = ConvexCombination(Sinusoid(1.0, 2.0), Sinusoid(4.0, 5.0), 0.5)
    xs, ys, _ = prompts(both, 4, 12)
    mean = bayes.posterior_predictive(both, xs, ys).mean
    assert ((mean - ys)[:, 9:] ** 2).median() < 1e-4


# --- What any posterior predictive does ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "function_class", [LINE_SINE, HALVES, DENSE_SPARSE, ReluNetwork(3)], ids=repr
)
def test_each_entry_uses_the_examples_before_it(function_class):
    xs, ys, _ = prompts(function_class, 3, 8)
    posterior = bayes.posterior_predictive(function_class, xs, ys)
    changed_xs, changed_ys = xs.clone(), ys.clone()
    changed_xs[:, 5:], changed_ys[:, 4:] = 1.7, -2.0
    changed = bayes.posterior_predictive(function_class, changed_xs, changed_ys)
    assert torch.equal(posterior.mean[:, :5], changed.mean[:, :5])
    assert torch.equal(posterior.component_probability[:, :5], changed.component_probability[:, :5])
    assert (posterior.mean[:, 5:] - changed.mean[:, 5:]).abs().min() > 1e-6
    mean, probability = bayes.posterior_curve(function_class, xs[:, :6], ys[:, :6], xs[:, 6:7])
    torch.testing.assert_close(mean, posterior.mean[:, 6:7], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(
        probability, posterior.component_probability[:, 6], rtol=1e-10, atol=1e-12
    )
    torch.testing.assert_close(bayes.predictor(function_class)(xs, ys), posterior.mean)


@pytest.mark.parametrize(
    "function_class", [LINE_SINE, HALVES, DENSE_SPARSE, ReluNetwork(3)], ids=repr
)
def test_the_order_of_the_examples_does_not_matter(function_class):
    xs, ys, _ = prompts(function_class, 3, 9)
    order = torch.tensor([4, 1, 6, 0, 5, 3, 2])
    queries = xs[:, 7:]
    one = bayes.posterior_curve(function_class, xs[:, :7], ys[:, :7], queries)
    other = bayes.posterior_curve(function_class, xs[:, order], ys[:, order], queries)
    for a, b in zip(one, other, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-6)


def test_prompts_do_not_depend_on_their_batch(monkeypatch):
    xs, ys, _ = prompts(LINE_SINE, 5, 6)
    together = bayes.posterior_predictive(LINE_SINE, xs, ys)
    _, belief = bayes.latent_posterior(SINE, xs, ys)
    monkeypatch.setattr(bayes.posterior, "_CHUNK", 1)  # one prompt at a time
    apart = bayes.posterior_predictive(LINE_SINE, xs, ys)
    torch.testing.assert_close(together.mean, apart.mean, rtol=1e-9, atol=1e-9)
    _, one_by_one = bayes.latent_posterior(SINE, xs, ys)
    torch.testing.assert_close(belief, one_by_one, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("mixture", "n"),
    [
        (Mixture((LINE, SINE), (0.3, 0.7)), 3),
        (Mixture((DenseLinear(4), SparseLinear(4, 1)), (0.3, 0.7)), 4),
    ],
    ids=["line+sine", "dense+sparse"],
)
def test_class_probabilities_are_calibrated(mixture, n):
    """E[1{class 0} g(p)] = E[p g(p)] for any g, if p is the probability of class 0 given the examples."""
    xs, ys, component = prompts(mixture, 1500, n, seed=3)
    # Noise as assumed, so that the statement is exact.
    noise = torch.randn(ys.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    jitter, coarse = 0.2, bayes.COARSE
    posterior = bayes.posterior_predictive(
        mixture, xs, ys + jitter * noise, jitter=jitter, resolution=coarse
    )
    first = (component == 0).double()[:, None]
    probability = posterior.component_probability[:, :, 0]
    assert probability[:, -1].std() > 0.1  # else there is nothing to calibrate
    for g in (torch.ones_like(probability), probability, (probability > 0.5).double()):
        gap = (first - probability) * g
        assert (gap.mean(0).abs() < 4.5 * gap.std(0) / len(gap) ** 0.5 + 1e-9).all()


def test_nothing_beats_it_on_its_own_prior():
    xs, ys, component = prompts(DENSE_SPARSE, 400, 12)
    error = (bayes.posterior_predictive(DENSE_SPARSE, xs, ys).mean - ys) ** 2
    rivals = {
        "least squares": baselines.least_squares(xs, ys),
        "ridge": baselines.ridge(xs, ys, 0.1),
        "lasso": baselines.lasso(xs, ys, 0.1),
        "dense alone": bayes.posterior_predictive(DenseLinear(8), xs, ys).mean,
        "sparse alone": bayes.posterior_predictive(SparseLinear(8, 2), xs, ys, jitter=0.1).mean,
    }
    for name, rival in rivals.items():
        excess = ((rival - ys) ** 2 - error)[:, 1:8].mean(1)
        assert excess.mean() > -3 * excess.std() / 20, name
    # And knowing the class is better still.
    dense = component == 0
    knows = (bayes.posterior_predictive(DenseLinear(8), xs[dense], ys[dense]).mean - ys[dense]) ** 2
    assert knows.mean() < error[dense].mean()


@pytest.mark.parametrize("function_class", [LINE_SINE, HALVES], ids=["line+sine", "halves"])
def test_data_outside_the_class_get_finite_sensible_answers(function_class):
    x = torch.linspace(-2, 2, 12, dtype=torch.float64)
    cases = {
        "a higher frequency": (x, (9 * x).sin()),
        "a step": (x, x.sign()),
        "huge values": (x, 1e4 * x**2),
        "huge inputs": (100 * x, (100 * x).cos()),
        "one input, one value": (torch.ones_like(x), torch.ones_like(x)),
        "one input, many values": (torch.ones_like(x), x),
        "zeros": (torch.zeros_like(x), torch.zeros_like(x)),
    }
    for name, (inputs, values) in cases.items():
        posterior = bayes.posterior_predictive(function_class, inputs[None, :, None], values[None])
        assert torch.isfinite(posterior.mean).all(), name
        total = posterior.component_probability.sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total), msg=name)
    curve, _ = bayes.posterior_curve(
        function_class, x[None, :, None], (9 * x).sin()[None], x[None, :, None]
    )
    assert curve.abs().max() < 10


def test_the_precision_of_the_prompts_is_kept():
    drawn = sample_prompts(LINE_SINE, 2, 5, seed=0)
    single = bayes.posterior_predictive(LINE_SINE, drawn.xs, drawn.ys)
    double = bayes.posterior_predictive(LINE_SINE, drawn.xs.double(), drawn.ys.double())
    assert single.mean.dtype == single.component_probability.dtype == torch.float32
    assert torch.equal(single.mean, double.mean.float())


# --- Bad input ----------------------------------------------------------------------------------------------------


def test_bad_input_is_refused_by_name(unchecked):
    xs, ys, _ = prompts(LINE_SINE, 2, 4)
    cases = [
        (
            lambda: bayes.posterior_predictive(DenseLinear(3), xs, ys),
            r"DenseLinear\(dim=3\) takes .* dimension 3",
        ),
        (lambda: bayes.posterior_predictive(LINE, xs, ys[:, :3]), r"\(2, 3\)"),
        (lambda: bayes.posterior_predictive(LINE, xs, ys * float("nan")), "finite"),
        (
            lambda: bayes.posterior_predictive(LINE, xs, ys, jitter=0.0),
            "jitter must be a positive, finite number, got 0.0",
        ),
        (
            lambda: bayes.posterior_predictive(LINE, xs, ys, noise=-0.1),
            r"noise must be .*, got -0\.1",
        ),
        (lambda: bayes.posterior_predictive("line", xs, ys), "function class .* got 'line'"),
        (
            lambda: bayes.posterior_curve(LINE, xs, ys, xs[:1]),
            r"queries must have shape \(2, queries, 1\)",
        ),
        (lambda: bayes.posterior_curve(LINE, xs, ys, xs * float("inf")), "queries must be finite"),
    ]
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_too_many_supports_are_refused():
    xs, ys = torch.randn(1, 2, 40), torch.randn(1, 2)
    with pytest.raises(
        ValueError, match=r"at most 50,000 supports .* got 847,660,528 from SparseLinear"
    ):
        bayes.posterior_predictive(SparseLinear(40, 10), xs, ys)


@dataclass(frozen=True)
class Untold(FunctionClass):
    """A class that says nothing of itself but its functions."""

    dim = 1
    second_moment = 1.0

    def functions(self, draws):
        return lambda xs: xs[..., 0].double().sign()


def test_a_class_that_says_nothing_is_refused():
    with pytest.raises(
        ValueError, match="no posterior is known here for a Untold, which says neither"
    ):
        bayes.posterior_predictive(Untold(), torch.randn(1, 2, 1), torch.randn(1, 2))


def test_a_feature_of_a_wrong_shape_is_refused():
    @dataclass(frozen=True)
    class Wrong(Untold):
        def features(self, xs, latent):
            return [xs**2]

    with pytest.raises(
        ValueError,
        match=r"a feature of Wrong at inputs \(3, 1\) must have shape \(3,\), got \(3, 1\)",
    ):
        bayes.posterior_predictive(Wrong(), torch.randn(1, 2, 1), torch.randn(1, 2))


def test_an_interval_beside_a_grid_is_refused():
    with pytest.raises(
        ValueError, match="a sum of a class with an interval and one with a support or a grid"
    ):
        bayes.posterior_predictive(
            ConvexCombination(SINE, Power(), 0.5), torch.randn(1, 2, 1), torch.randn(1, 2)
        )


def test_prompts_may_be_empty():
    assert bayes.posterior_predictive(
        LINE_SINE, torch.zeros(0, 4, 1), torch.zeros(0, 4)
    ).mean.shape == (0, 4)
    posterior = bayes.posterior_predictive(LINE_SINE, torch.zeros(3, 0, 1), torch.zeros(3, 0))
    assert posterior.mean.shape == (3, 0) and posterior.component_probability.shape == (3, 0, 2)


# --- Doubt ---------------------------------------------------------------------------------------------------------


def _smooth(rows, columns, length):
    return np.exp(-((rows[:, None] - columns[None]) ** 2) / (2 * length**2))


@pytest.mark.parametrize("doubt", [1e-30, 1e-6, 0.5])
def test_a_doubter_blends_what_explicit_covariances_give(doubt):
    """Lines, and smooth functions of four lengths, by their covariance matrices and nothing of this library."""
    drawn = sample_prompts(GaussianProcess(1, 0.7), 4, 12, seed=3)
    xs, ys = drawn.xs.double(), drawn.ys.double()
    prior = bayes.with_doubt(DenseLinear(1), doubt)
    mean, probability = bayes.posterior_curve(prior, xs[:, :8], ys[:, :8], xs[:, 8:])
    for b in range(4):
        x, z, y = (part.numpy() for part in (xs[b, :8, 0], xs[b, 8:, 0], ys[b, :8]))
        kernels = [(1 - doubt, np.outer(x, x), np.outer(z, x))]
        kernels += [
            (doubt / 4, _smooth(x, x, length), _smooth(z, x, length))
            for length in (0.25, 0.5, 1.0, 2.0)
        ]
        logs, means = [], []
        for weight, gram, across in kernels:
            gram = gram + bayes.JITTER**2 * np.eye(8)
            solved = np.linalg.solve(gram, y)
            logs.append(np.log(weight) - 0.5 * (y @ solved + np.linalg.slogdet(gram)[1]))
            means.append(across @ solved)
        shares = np.exp(np.array(logs) - max(logs))
        shares /= shares.sum()
        np.testing.assert_allclose(mean[b].numpy(), shares @ np.array(means), rtol=1e-5, atol=1e-6)
        assert probability[b, 1].item() == pytest.approx(shares[1:].sum(), abs=1e-6)


def test_doubt_costs_nothing_inside_and_saves_much_between():
    between = sample_prompts(ConvexCombination(LINE, Sinusoid(1.0, 5.0), 0.5), 64, 56, seed=5)
    inside = sample_prompts(LINE_SINE, 64, 56, seed=5)

    def error(prompts, prior):
        xs, ys = prompts.xs.double(), prompts.ys.double()
        said, _ = bayes.posterior_curve(prior, xs[:, :40], ys[:, :40], xs[:, 40:])
        return ((said - ys[:, 40:]).square().mean() / ys[:, 40:].square().mean()).item()

    for doubt in (1e-30, 1e-6):
        doubting = bayes.with_doubt(LINE_SINE, doubt)
        assert error(inside, doubting) < 1e-6
        assert error(between, doubting) < 0.3 * error(between, LINE_SINE)
    certain = bayes.with_doubt(LINE_SINE, 0.0)
    assert error(between, certain) == pytest.approx(error(between, LINE_SINE), rel=1e-9)


def test_smooth_functions_have_the_kernel_they_say():
    process = GaussianProcess(1, 0.5)
    ys = []
    for seed in range(3):
        xs = torch.tensor([[[0.0], [0.3], [1.0]]]).expand(20_000, 3, 1)
        functions, _ = process.sample_functions(Draws(seed=seed, step=0, batch_size=20_000))
        ys.append(functions(xs))
    drawn = torch.cat(ys)
    found = drawn.T @ drawn / len(drawn)
    expected = process.covariance(xs[:1].double(), xs[:1].double())[0]
    assert (found - expected).abs().max() < 5 * 2**0.5 / len(drawn) ** 0.5
    with pytest.raises(ValueError, match="length"):
        GaussianProcess(1, 0.0)
    with pytest.raises(ValueError, match="doubt"):
        bayes.with_doubt(LINE, 1.5)
