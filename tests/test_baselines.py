"""The classical predictors, against scikit-learn, closed forms and the symmetries that each must have."""

import math
import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Lasso, Ridge
from sklearn.neighbors import KNeighborsRegressor

from icl_lib import baselines, bayes
from icl_lib.latents import Interval, Support
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
from icl_lib.shapes import Exponential, Placed, Polynomial, Wave


def _dense_and_networks(xs):
    dim = max(1, xs.shape[-1])
    return Mixture((DenseLinear(dim), ReluNetwork(dim)), (0.5, 0.5))


PREDICTORS = {
    "least_squares": baselines.least_squares,
    "ridge": lambda xs, ys: baselines.ridge(xs, ys, 0.1),
    "lasso": lambda xs, ys: baselines.lasso(xs, ys, 0.05, 1e-10),
    "nearest_neighbours": lambda xs, ys: baselines.nearest_neighbours(xs, ys, 3),
    "gaussian_process": lambda xs, ys: baselines.gaussian_process(xs, ys, 1e-3),
    "best_linear": lambda xs, ys: baselines.best_linear(xs, ys, _dense_and_networks(xs), 1e-3),
}
every_predictor = pytest.mark.parametrize("predict", PREDICTORS.values(), ids=PREDICTORS.keys())


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _with(xs, change):
    xs = xs.clone()
    change(xs)
    return xs


def _same_column(xs):
    xs[:, :, 1] = xs[:, :, 0]


def _opposite_columns(xs):
    xs[:, :, 1::2] = -xs[:, :, 0 : 2 * (xs.shape[2] // 2) : 2]


def _sum_of_columns(xs):
    xs[:, :, 2] = xs[:, :, 0] + xs[:, :, 1]


def _nearly_the_same_column(xs):
    xs[:, :, 1] = xs[:, :, 0] + 1e-6 * xs[:, :, 1]


def _zero_columns(xs):
    xs[:, :, 1:3] = 0


def _same_example_twice(xs):
    xs[:, 1::2] = xs[:, 0 : 2 * (xs.shape[1] // 2) : 2]


def _zero_first_example(xs):
    xs[:, 0] = 0


SHAPES = {
    "tall": draw(4, 15, 5),
    "short": draw(4, 7, 12),
    "square": draw(4, 7, 6),
    "scalar": draw(4, 12, 1),
    "two points": draw(4, 2, 3),
    "same column": _with(draw(4, 14, 5), _same_column),
    "opposite columns": _with(draw(4, 14, 6), _opposite_columns),
    "sum of columns": _with(draw(4, 14, 5), _sum_of_columns),
    "nearly the same column": _with(draw(4, 14, 5), _nearly_the_same_column),
    "zero columns": _with(draw(4, 14, 5), _zero_columns),
    "same example twice": _with(draw(4, 15, 5), _same_example_twice),
    "zero first example": _with(draw(4, 9, 4), _zero_first_example),
    "rank two": draw(4, 14, 2) @ draw(4, 2, 6, seed=1),
    "signs": draw(4, 16, 6).sign(),
    "zeros and ones": (draw(4, 16, 6) > 0.5).double(),
    "all ones": torch.ones(4, 9, 3, dtype=torch.float64),
    "far from the origin": draw(4, 14, 5) + 100.0,
    "unlike scales": draw(4, 14, 5) * torch.logspace(-3, 3, 5, dtype=torch.float64),
}
every_shape = pytest.mark.parametrize("xs", SHAPES.values(), ids=SHAPES.keys())
LABELS = {
    "linear": lambda xs: (xs @ draw(xs.shape[0], xs.shape[2], 1, seed=2))[:, :, 0],
    "noise": lambda xs: draw(*xs.shape[:2], seed=3),
    "constant": lambda xs: torch.ones(xs.shape[:2], dtype=torch.float64),
    "zero": lambda xs: torch.zeros(xs.shape[:2], dtype=torch.float64),
}
every_label = pytest.mark.parametrize("label", LABELS.values(), ids=LABELS.keys())


def one_at_a_time(xs, ys, fit_predict):
    """Fit every prompt and prefix on its own: the definition that the batched predictors must agree with."""
    predictions = np.zeros(ys.shape)
    for prompt, (x, y) in enumerate(zip(xs.numpy(), ys.numpy(), strict=True)):
        for i in range(1, len(y)):
            predictions[prompt, i] = fit_predict(x[:i], y[:i], x[i])
    return torch.from_numpy(predictions)


def assert_near(predictions, expected, tolerance):
    # Relative to the largest prediction: a near-singular prefix makes large weights, and rounding in proportion.
    scale = expected.abs().max().clamp_min(1.0)
    assert ((predictions - expected).abs() <= tolerance * scale).all()


# What all predictors share.


@every_predictor
@given(changed=st.integers(0, 9), seed=st.integers(0, 1000), dim=st.integers(1, 7))
@settings(max_examples=15, deadline=None)
def test_a_prediction_depends_on_the_examples_before_it_and_its_own_input_only(
    predict, changed, seed, dim
):
    xs, ys = draw(3, 10, dim, seed=seed), draw(3, 10, seed=seed + 1)
    other_xs, other_ys = xs.clone(), ys.clone()
    other_xs[:, changed + 1 :] = 7.0
    other_ys[:, changed:] += 100.0
    before = predict(xs, ys)[:, : changed + 1]
    assert_near(predict(other_xs, other_ys)[:, : changed + 1], before, 1e-9)


@every_predictor
def test_examples_are_used(predict):
    xs, ys = draw(3, 10, 4), draw(3, 10, seed=1)
    other = ys.clone()
    other[:, 4] += 1.0
    assert ((predict(xs, other) - predict(xs, ys))[:, 5:].abs().amax(1) > 1e-3).all()


@every_predictor
@given(seed=st.integers(0, 1000), dim=st.integers(1, 12))
@settings(max_examples=15, deadline=None)
def test_the_order_of_the_context_does_not_matter(predict, seed, dim):
    xs, ys = draw(3, 10, dim, seed=seed), draw(3, 10, seed=seed + 1)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    order = torch.cat([order, torch.tensor([9])])
    assert_near(predict(xs[:, order], ys[:, order])[:, -1], predict(xs, ys)[:, -1], 1e-6)


@every_predictor
def test_a_prompt_does_not_depend_on_its_batch_nor_a_prefix_on_the_rest(predict):
    xs, ys = draw(5, 12, 4), draw(5, 12, seed=1)
    assert_near(predict(xs[2:3, :7], ys[2:3, :7]), predict(xs, ys)[2:3, :7], 1e-9)


@pytest.mark.parametrize("name", [name for name in PREDICTORS if name != "lasso"])
def test_predictions_scale_with_the_labels(name):
    xs, ys = draw(3, 12, 4), draw(3, 12, seed=1)
    assert_near(PREDICTORS[name](xs, -3.0 * ys), -3.0 * PREDICTORS[name](xs, ys), 1e-9)


@every_predictor
@pytest.mark.parametrize("shape", [(0, 5, 2), (3, 0, 2), (3, 1, 2)])
def test_nothing_seen_predicts_zero(predict, shape):
    predictions = predict(torch.ones(shape), torch.ones(shape[:2]))
    assert predictions.shape == shape[:2]
    assert (predictions == 0).all()


@every_predictor
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_answer_has_the_dtype_of_the_input_and_float64_accuracy_inside(predict, dtype):
    xs, ys = draw(3, 12, 4).to(dtype), draw(3, 12, seed=1).to(dtype)
    predictions = predict(xs, ys)
    assert predictions.dtype == dtype
    assert torch.equal(predictions, predict(xs.double(), ys.double()).to(dtype))


@pytest.mark.usefixtures("unchecked")
@every_predictor
@pytest.mark.parametrize(
    ("xs", "ys", "said"),
    [
        (draw(2, 5, 3), draw(2, 4), r"\(2, 5, 3\).*\(2, 4\)"),
        (draw(5, 3), draw(5), r"\(5, 3\).*\(5,\)"),
        (draw(2, 5, 0), draw(2, 5), "dim at least 1"),
        (draw(2, 5, 3), draw(2, 5).float(), "float64.*float32"),
        (torch.ones(2, 5, 3, dtype=torch.int64), torch.ones(2, 5, dtype=torch.int64), "int64"),
        (draw(2, 5, 3), draw(2, 5).log(), "ys must be finite.*NaN"),
        (draw(2, 5, 3) / 0.0, draw(2, 5), "xs must be finite; got 30"),
        (draw(2, 5, 3).numpy(), draw(2, 5), "ndarray"),
    ],
)
def test_bad_prompts_are_refused_with_what_was_given(predict, xs, ys, said):
    with pytest.raises(ValueError, match=said):
        predict(xs, ys)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda xs, ys: baselines.ridge(xs, ys, -0.5), "alpha.*at least 0.*-0.5"),
        (lambda xs, ys: baselines.ridge(xs, ys, math.nan), "alpha.*nan"),
        (lambda xs, ys: baselines.lasso(xs, ys, -0.5), "alpha.*positive.*-0.5"),
        (lambda xs, ys: baselines.lasso(xs, ys, 0.0), "alpha.*positive.*0.0"),
        (lambda xs, ys: baselines.lasso(xs, ys, math.inf), "alpha.*inf"),
        (lambda xs, ys: baselines.lasso(xs, ys, 0.1, 0.0), "tol.*positive"),
        (lambda xs, ys: baselines.nearest_neighbours(xs, ys, 0), "k must be.*0"),
        (lambda xs, ys: baselines.nearest_neighbours(xs, ys, -2), "k must be.*-2"),
        (lambda xs, ys: baselines.gaussian_process(xs, ys, 0.0), "noise_variance.*0.0"),
        (lambda xs, ys: baselines.gaussian_process(1e9 * xs, ys), "noise_variance 1e-06.*rounding"),
    ],
)
def test_bad_parameters_are_refused_with_what_was_given(call, said):
    xs = torch.cat([draw(2, 5, 3), draw(2, 5, 3)], 1)
    with pytest.raises(ValueError, match=said):
        call(xs, draw(2, 10))


# Least squares and ridge.


@every_shape
@every_label
def test_least_squares_is_the_minimum_norm_solution_of_numpy(xs, label):
    ys = label(xs)
    expected = one_at_a_time(
        xs, ys, lambda x, y, query: query @ np.linalg.lstsq(x, y, rcond=None)[0]
    )
    # Where columns differ by one in a million, weights are a million, and two good algorithms differ in proportion.
    tolerance = 1e-6 if xs is SHAPES["nearly the same column"] else 1e-8
    assert_near(baselines.least_squares(xs, ys), expected, tolerance)


def test_least_squares_recovers_a_linear_function_from_as_many_examples_as_dimensions():
    xs = draw(1000, 41, 20)
    ys = LABELS["linear"](xs)
    error = (baselines.least_squares(xs, ys) - ys).square().mean(0)
    assert (error[20:] < 1e-16 * ys.square().mean()).all()
    # Below d examples, what is left is the part of w orthogonal to the examples: (1 - m/d) of it on average.
    expected = ys.square().mean() * (1.0 - torch.arange(20, dtype=torch.float64) / 20)
    assert torch.allclose(error[:20], expected, rtol=0.25)


@given(seed=st.integers(0, 1000), log_condition=st.floats(0.0, 9.0))
@settings(max_examples=25, deadline=None)
def test_least_squares_survives_ill_conditioning(seed, log_condition):
    xs, ys = draw(2, 12, 4, seed=seed), draw(2, 12, seed=seed + 1)
    xs[:, :8, 1] = xs[:, :8, 0] + 10.0**-log_condition * xs[:, :8, 1]
    expected = one_at_a_time(
        xs, ys, lambda x, y, query: query @ np.linalg.lstsq(x, y, rcond=None)[0]
    )
    assert_near(baselines.least_squares(xs, ys), expected, 1e-5)
    assert_near(baselines.least_squares(xs, ys)[:, 9:], expected[:, 9:], 1e-8)


@every_shape
@every_label
@pytest.mark.parametrize("alpha", [1e-3, 1.0, 100.0])
def test_ridge_is_that_of_scikit_learn(xs, label, alpha):
    ys = label(xs)

    def fit_predict(x, y, query):
        return Ridge(alpha, fit_intercept=False, solver="svd").fit(x, y).predict(query[None])[0]

    assert_near(baselines.ridge(xs, ys, alpha), one_at_a_time(xs, ys, fit_predict), 1e-8)


@pytest.mark.parametrize("alpha", [0.0, 1e-300, 1e-22, 1e-16])
@pytest.mark.parametrize("dim", [3, 20])
def test_ridge_tends_to_least_squares_and_to_zero(alpha, dim):
    xs, ys = draw(4, 12, dim), draw(4, 12, seed=1)
    assert_near(baselines.ridge(xs, ys, alpha), baselines.least_squares(xs, ys), 1e-8)
    assert_near(baselines.ridge(xs, ys, 1e12), torch.zeros_like(ys), 1e-8)


# The Lasso.


def lasso_objective(x, y, w, alpha):
    return ((y - x @ w) ** 2).sum() / (2 * len(y)) + alpha * np.abs(w).sum()


@every_shape
@every_label
@pytest.mark.parametrize("alpha", [1.0, 0.1, 0.01, 1e-3])
def test_every_lasso_problem_reaches_its_duality_gap(xs, label, alpha):
    ys = label(xs)
    coefficients = baselines.lasso_coefficients(xs, ys, alpha)
    energy = ys.square().cumsum(1)[:, :-1] / torch.arange(1, ys.shape[1])
    gap = baselines.lasso_duality_gap(xs, ys, coefficients, alpha)
    assert (gap[:, 0] == 0).all()
    assert (gap[:, 1:] <= 1e-8 * energy).all()
    # The gap recomputed from its definition, problem by problem: the primal minus a feasible dual.
    for i in range(1, ys.shape[1]):
        x, y, w = xs[-1, :i].numpy(), ys[-1, :i].numpy(), coefficients[-1, i].numpy()
        residual = y - x @ w
        correlation = np.abs(x.T @ residual).max()
        dual = residual * min(1.0, alpha * i / correlation) if correlation > 0 else residual
        assert np.abs(x.T @ dual).max() <= alpha * i * (1 + 1e-9)
        dual_objective = (y @ y - (y - dual) @ (y - dual)) / (2 * i)
        gap_by_definition = lasso_objective(x, y, w, alpha) - dual_objective
        assert gap_by_definition == pytest.approx(gap[-1, i].item(), abs=1e-11 * (1 + y @ y / i))
    assert torch.equal(baselines.lasso(xs, ys, alpha), (xs * coefficients).sum(-1))


@pytest.mark.parametrize("name", ["tall", "short", "square", "scalar", "same example twice"])
@every_label
@pytest.mark.parametrize("alpha", [0.3, 0.03, 3e-3])
def test_lasso_is_that_of_scikit_learn(name, label, alpha):
    xs = SHAPES[name]
    ys = label(xs)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # scikit-learn's own, where coordinate descent does not reach so small a gap

        def fit(x, y):
            return Lasso(alpha, fit_intercept=False, tol=1e-12, max_iter=100_000).fit(x, y).coef_

        coefficients = baselines.lasso_coefficients(xs, ys, alpha, 1e-12)
        for prompt in range(2):
            for i in range(1, ys.shape[1]):
                x, y = xs[prompt, :i].numpy(), ys[prompt, :i].numpy()
                ours, theirs = coefficients[prompt, i].numpy(), fit(x, y)
                excess = lasso_objective(x, y, ours, alpha) - lasso_objective(x, y, theirs, alpha)
                assert excess <= 1e-12 * (1 + y @ y / i)
                assert np.allclose(x @ ours, x @ theirs, atol=2e-5 * (1 + np.abs(y).max()))
                if name == "tall" and i > 5:
                    assert np.allclose(ours, theirs, atol=1e-4)


def test_the_gap_is_that_of_scikit_learn_for_any_coefficients():
    xs, ys = draw(1, 12, 4), draw(1, 12, seed=1)
    model = Lasso(0.05, fit_intercept=False, tol=1e-2).fit(xs[0, :11].numpy(), ys[0, :11].numpy())
    coefficients = torch.zeros_like(xs)
    coefficients[0, 11] = torch.from_numpy(model.coef_)
    gap = baselines.lasso_duality_gap(xs, ys, coefficients, 0.05)
    assert gap[0, 11].item() == pytest.approx(model.dual_gap_, rel=1e-9)
    assert model.dual_gap_ > 1e-8


def test_lasso_thresholds_an_orthonormal_design_softly():
    # With XᵀX = m I the solution is least squares shrunk by alpha.
    design = torch.linalg.qr(draw(6, 8, 8))[0] * 8**0.5
    w = draw(6, 8, seed=1)
    xs = torch.cat([design, draw(6, 1, 8, seed=2)], 1)
    ys = (xs @ w[:, :, None])[:, :, 0]
    expected = w.sign() * (w.abs() - 0.4).clamp_min(0.0)
    assert torch.allclose(baselines.lasso_coefficients(xs, ys, 0.4)[:, 8], expected, atol=1e-12)


def test_lasso_is_zero_exactly_from_the_largest_correlation_on():
    xs, ys = draw(3, 9, 4), draw(3, 9, seed=1)
    largest = ((xs * ys[:, :, None])[:, :8].mean(1)).abs().amax(-1)
    for prompt in range(3):
        above = baselines.lasso_coefficients(xs, ys, 1.000001 * largest[prompt].item())[prompt, 8]
        below = baselines.lasso_coefficients(xs, ys, 0.999 * largest[prompt].item())[prompt, 8]
        assert (above == 0).all()
        assert (below != 0).sum() == 1


def test_lasso_scales_with_the_labels_and_the_inputs():
    xs, ys = draw(3, 12, 5), draw(3, 12, seed=1)
    coefficients = baselines.lasso_coefficients(xs, ys, 0.1)
    assert torch.allclose(baselines.lasso_coefficients(xs, 1e6 * ys, 1e5), 1e6 * coefficients)
    assert torch.allclose(baselines.lasso_coefficients(1e-6 * xs, ys, 1e-7), 1e6 * coefficients)


def test_lasso_does_not_depend_on_how_many_prompts_are_solved_at_once(monkeypatch):
    xs, ys = draw(7, 12, 5), draw(7, 12, seed=1)
    together = baselines.lasso(xs, ys, 0.01)
    monkeypatch.setattr(baselines, "LASSO_ENTRIES", 2 * 12 * 25)
    assert torch.allclose(baselines.lasso(xs, ys, 0.01), together, atol=1e-12)


@every_shape
def test_the_interior_point_alone_reaches_the_gap_too(xs, monkeypatch):
    monkeypatch.setattr(
        baselines, "_homotopy", lambda gram, correlation, penalty: correlation * torch.nan
    )
    ys = LABELS["noise"](xs)
    coefficients = baselines.lasso_coefficients(xs, ys, 0.03)
    energy = ys.square().cumsum(1)[:, :-1] / torch.arange(1, ys.shape[1])
    assert (baselines.lasso_duality_gap(xs, ys, coefficients, 0.03)[:, 1:] <= 1e-8 * energy).all()


def test_the_homotopy_alone_solves_general_prompts(monkeypatch):
    monkeypatch.setattr(baselines, "_interior_point", lambda *_: pytest.fail("the path was lost"))
    for alpha in (0.3, 0.01, 1e-4):
        for dim in (1, 5, 20):
            xs = draw(16, 30, dim)
            for label in LABELS.values():
                baselines.lasso_coefficients(xs, label(xs), alpha, 1e-9)


def test_a_gap_out_of_reach_is_an_error_that_says_how_near_it_came():
    xs, ys = draw(3, 12, 5), draw(3, 12, seed=1)
    with pytest.raises(baselines.ConvergenceError, match=r"of 33 .* tol 1e-30: the worst has"):
        baselines.lasso(xs, ys, 0.01, 1e-30)


# Nearest neighbours and the Gaussian process.


@pytest.mark.parametrize("k", [1, 3, 50])
@pytest.mark.parametrize("dim", [1, 6])
def test_nearest_neighbours_is_that_of_scikit_learn(k, dim):
    xs, ys = draw(4, 20, dim), draw(4, 20, seed=1)

    def fit_predict(x, y, query):
        return KNeighborsRegressor(min(k, len(y))).fit(x, y).predict(query[None])[0]

    assert_near(baselines.nearest_neighbours(xs, ys, k), one_at_a_time(xs, ys, fit_predict), 1e-12)


def test_of_equally_near_examples_the_earlier_counts():
    xs = torch.tensor([[[1.0], [-1.0], [1.0], [0.0]]])
    ys = torch.tensor([[5.0, 7.0, 9.0, 0.0]])
    assert baselines.nearest_neighbours(xs, ys, 1)[0].tolist() == [0.0, 5.0, 5.0, 5.0]


@every_shape
def test_the_gaussian_process_solves_its_normal_equations(xs):
    ys = LABELS["noise"](xs)
    kernel = baselines.arc_cosine_kernel(xs, xs)
    expected = torch.zeros_like(ys)
    for i in range(1, ys.shape[1]):
        noisy = kernel[:, :i, :i] + 1e-2 * torch.eye(i)
        expected[:, i] = (kernel[:, i, :i] * torch.linalg.solve(noisy, ys[:, :i])).sum(-1)
    assert_near(baselines.gaussian_process(xs, ys, 1e-2), expected, 1e-6)


@pytest.mark.parametrize("dim", [1, 2, 5])
def test_the_kernel_is_the_covariance_of_relu_networks(dim):
    xs = draw(1, 4, dim)
    networks, width = 20_000, 5
    inner = draw(networks, width, dim, seed=1)
    outer = draw(networks, width, seed=2) * (2.0 / width) ** 0.5
    values = torch.einsum("fw,fwn->fn", outer, (inner @ xs[0].mT).relu()) / dim**0.5
    products = values[:, :, None] * values[:, None]
    kernel = baselines.arc_cosine_kernel(xs, xs)[0]
    standard_error = products.std(0) / networks**0.5
    assert ((products.mean(0) - kernel).abs() < 4.5 * standard_error).all()
    assert torch.allclose(kernel.diagonal(), xs[0].square().sum(-1) / dim)


def test_the_kernel_in_closed_form():
    # Angles 0, 90 and 180 degrees: π, 1 and 0 times ‖x‖ ‖x'‖ / (π d); and nothing at the origin.
    first = torch.tensor([[[2.0, 0.0]]], dtype=torch.float64)
    second = torch.tensor([[[3.0, 0.0], [0.0, 3.0], [-3.0, 0.0], [0.0, 0.0]]], dtype=torch.float64)
    expected = torch.tensor([3.0, 3.0 / math.pi, 0.0, 0.0], dtype=torch.float64)
    assert torch.allclose(baselines.arc_cosine_kernel(first, second)[0, 0], expected, atol=1e-12)


def test_the_gaussian_process_beats_least_squares_on_relu_networks():
    xs = draw(300, 60, 3)
    inner, outer = draw(300, 100, 3, seed=1), draw(300, 100, seed=2) * (2.0 / 100) ** 0.5
    ys = torch.einsum("bw,bwn->bn", outer, (inner @ xs.mT).relu()) / 3**0.5
    ours = (baselines.gaussian_process(xs, ys) - ys)[:, 40:].square().mean()
    linear = (baselines.least_squares(xs, ys) - ys)[:, 40:].square().mean()
    assert ours < 0.2 * linear


# The best linear predictor.

HALVES = (0.5, 0.5)


@dataclass(frozen=True)
class Hill(FunctionClass):
    """f(x) = v exp(-(x - c)^2) + w, the centre anywhere in an interval."""

    dim = 1
    second_moment = 1.3

    @property
    def latent(self):
        return Interval(-2.0, 2.0)

    def features(self, xs, latent):
        return [(-((xs[..., 0] - latent[..., 0]) ** 2)).exp(), torch.ones_like(xs[..., 0])]


@dataclass(frozen=True)
class Product(FunctionClass):
    """f(x) = w x_i x_j, for any two of three coordinates."""

    dim = 3
    second_moment = 1.0

    @property
    def latent(self):
        return Support(3, 2)

    def features(self, xs, latent):
        shape = torch.broadcast_shapes(xs.shape[:-1], latent.shape[:-1])
        wide = xs.expand(*shape, 3).gather(-1, latent.long().expand(*shape, 2))
        return [wide[..., 0] * wide[..., 1]]


COVARIANCES = {
    "dense": DenseLinear(3),
    "sparse": SparseLinear(3, 2),
    "network": ReluNetwork(3),
    "sines": Sinusoid(1.0, 5.0),
    "narrow band": Sinusoid(2.0, 2.001),
    "mixture": Mixture((DenseLinear(1), Sinusoid(1.0, 5.0)), (0.3, 0.7)),
    "combination": ConvexCombination(DenseLinear(1), Sinusoid(0.5, 2.0), 0.3),
    "nested": ConvexCombination(
        Mixture((DenseLinear(3), ReluNetwork(3)), HALVES), SparseLinear(3, 1), 0.6
    ),
    "steps": Placed("step"),
    "sawtooth": Wave("sawtooth"),
    "exponential": Exponential(),
    "cubic": Polynomial(3),
    "smooth": GaussianProcess(1),
    "one's own, an interval": Hill(),
    "one's own, a support": Product(),
    "one's own, mixed": Mixture((Hill(), Sinusoid(1.0, 5.0)), (0.01, 0.99)),
}


@pytest.mark.parametrize("function_class", COVARIANCES.values(), ids=COVARIANCES.keys())
def test_the_covariance_is_that_of_the_functions_drawn(function_class):
    # The same inputs for every function: those of the first prompt.
    count = 40_000
    xs = sample_prompts(function_class, 1, 6, seed=5).xs.double()
    functions, _ = function_class.sample_functions(Draws(seed=3, step=0, batch_size=count))
    values = functions(xs.expand(count, -1, -1))
    products = values[:, :, None] * values[:, None, :]
    error = products.std(0) / count**0.5
    found = baselines.covariance(function_class, xs, xs)[0]
    assert ((products.mean(0) - found).abs() < 5 * error).all()


def test_the_mean_square_of_a_class_is_its_variance_at_random_inputs():
    xs = draw(1, 200_000, 1)
    for function_class in (COVARIANCES["mixture"], COVARIANCES["combination"]):
        variance = torch.stack(
            [baselines.covariance(function_class, x, x)[0, 0, 0] for x in xs[:, :2000].split(1, 1)]
        )
        error = variance.std() / len(variance) ** 0.5
        assert abs(variance.mean() - function_class.second_moment) < 5 * error + 1e-9


def test_of_a_gaussian_class_the_best_linear_predictor_is_exact_bayes():
    function_class = DenseLinear(4)
    xs, ys, _ = sample_prompts(function_class, 8, 9, seed=1)
    expected = bayes.predictor(function_class, jitter=1e-3)(xs.double(), ys.double())
    found = baselines.best_linear(xs.double(), ys.double(), function_class, 1e-6)
    assert_near(found, expected, 1e-6)


def test_the_best_linear_predictor_is_the_gaussian_process_of_scikit_learn():
    function_class = COVARIANCES["mixture"]
    xs, ys, _ = sample_prompts(function_class, 5, 12, seed=2)
    xs, ys = xs.double(), ys.double()

    def fit_predict(x, y, query):
        inputs, point = torch.from_numpy(x)[None], torch.from_numpy(query)[None, None]
        kernel = baselines.covariance(function_class, inputs, inputs)[0].numpy()
        known = baselines.covariance(function_class, inputs, point)[0, :, 0].numpy()
        return known @ np.linalg.solve(kernel + 1e-4 * np.eye(len(y)), y)

    expected = one_at_a_time(xs, ys, fit_predict)
    assert_near(baselines.best_linear(xs, ys, function_class, 1e-4), expected, 1e-9)


def test_no_linear_predictor_errs_less_on_the_class_whose_covariance_it_has():
    prior = COVARIANCES["mixture"]
    xs, ys, _ = sample_prompts(prior, 4000, 9, seed=3)
    own = baselines.best_linear(xs, ys, prior)[:, -1] - ys[:, -1]
    for other in (
        DenseLinear(1),
        Sinusoid(1.0, 5.0),
        Sinusoid(1.0, 3.0),
        COVARIANCES["combination"],
    ):
        theirs = baselines.best_linear(xs, ys, other)[:, -1] - ys[:, -1]
        assert own.square().mean() < theirs.square().mean()


def test_its_curve_is_its_predictions_at_many_queries():
    prior = COVARIANCES["mixture"]
    xs, ys, _ = sample_prompts(prior, 3, 11, seed=4)
    for n in (0, 1, 10):
        here = xs[:, : n + 1], ys[:, : n + 1]
        curve = baselines.best_linear_curve(xs[:, :n], ys[:, :n], xs[:, n : n + 1], prior)
        torch.testing.assert_close(curve[:, 0], baselines.best_linear(*here, prior)[:, n])


@pytest.mark.usefixtures("unchecked")
def test_a_class_without_a_covariance_is_refused():
    xs, ys = draw(1, 3, 2), draw(1, 3)

    @dataclass(frozen=True)
    class Own(DenseLinear):
        """A subclass means what it is a subclass of."""

    @dataclass(frozen=True)
    class Untold(FunctionClass):
        dim = 2
        second_moment = 1.0

        def functions(self, draws):
            return lambda xs: xs[..., 0].sign()

    assert baselines.best_linear(xs, ys, Own(2)).shape == (1, 3)
    with pytest.raises(ValueError, match="a Untold says neither its covariance nor its features"):
        baselines.best_linear(xs, ys, Untold())
    with pytest.raises(ValueError, match=r"must be a function class .* got 'lines'"):
        baselines.best_linear(xs, ys, "lines")
    with pytest.raises(ValueError, match=r"takes inputs of dimension 1, got 2"):
        baselines.best_linear(xs, ys, DenseLinear(1))
    with pytest.raises(ValueError, match="noise_variance must be a positive"):
        baselines.best_linear(xs, ys, DenseLinear(2), 0.0)
