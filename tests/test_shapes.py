"""Function classes of one number by their shape."""

import numpy as np
import pytest
import torch

from icl_lib import Mixture, bayes, sample_prompts
from icl_lib.shapes import PLACED, WAVES, Exponential, Placed, Polynomial, Wave

CLASSES = [
    *map(Placed, PLACED),
    *map(Wave, WAVES),
    Exponential(),
    Polynomial(1),
    Polynomial(3),
]


@pytest.mark.parametrize("function_class", CLASSES, ids=repr)
def test_second_moment_is_one(function_class):
    ys = sample_prompts(function_class, 40_000, 2, seed=5).ys.double()
    assert ys.square().mean() == pytest.approx(1, abs=0.1)
    assert ys.mean() == pytest.approx(0, abs=0.03)


@pytest.mark.parametrize("function_class", CLASSES, ids=repr)
def test_exact_bayes_is_a_sum_over_the_latents_values(function_class):
    """Against regressions on the features written out here, one for each value, weighted by their evidence."""
    xs, ys, _ = sample_prompts(function_class, 3, 6, seed=7)
    found = bayes.posterior_predictive(function_class, xs, ys).mean[:, 5]
    latent = torch.zeros(1, 0) if function_class.latent is None else function_class.latent.values()
    for x, y, mean in zip(xs.double(), ys.double(), found, strict=True):
        answers, evidence = [], []
        for value in latent:
            phi = torch.stack(function_class.features(x, value.double()), -1).numpy()
            covariance = phi @ phi.T + 1e-6 * np.eye(6)
            known, targets = covariance[:5, :5], y[:5].numpy()
            solved = np.linalg.solve(known, targets)
            answers.append(covariance[5, :5] @ solved)
            evidence.append(-0.5 * (targets @ solved + np.linalg.slogdet(known)[1]))
        weights = np.exp(np.array(evidence) - max(evidence))
        assert mean.item() == pytest.approx((weights @ answers) / weights.sum(), abs=1e-4)


def test_the_posterior_tells_shapes_apart():
    classes = (Placed("step"), Wave("square"), Polynomial(3))
    for index, function_class in enumerate(classes):
        xs, ys, _ = sample_prompts(function_class, 50, 30, seed=9)
        posterior = bayes.posterior_predictive(Mixture(classes, (1 / 3,) * 3), xs, ys)
        assert posterior.component_probability[:, -1, index].mean() > 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Placed("cube"), "shape must be one of step, hinge, .*, got 'cube'"),
        (lambda: Wave("step"), "shape must be one of square, sawtooth, triangle, got 'step'"),
        (lambda: Polynomial(0), "degree must be .* got 0"),
    ],
)
def test_an_unknown_shape_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
