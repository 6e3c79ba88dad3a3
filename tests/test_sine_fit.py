"""The classical fit of a sine, against truth, scipy's search and its own limits; prompts with stretched inputs."""

import numpy as np
import pytest
import torch
from scipy.optimize import brute

from icl_lib import DenseLinear, Sinusoid, baselines, sample_prompts

BAND = (0.1, 20.0)


def of_frequency(frequency, n_examples, batch=32, **more):
    return sample_prompts(
        Sinusoid(frequency, frequency * (1 + 1e-9)), batch, n_examples, seed=5, **more
    )


@pytest.mark.parametrize("frequency", [0.3, 3.0, 7.0, 18.0])
def test_without_noise_five_examples_give_the_sine_away(frequency):
    xs, ys, _ = of_frequency(frequency, 25)
    fit = baselines.fit_sine(xs[:, :5], ys[:, :5], *BAND)
    error = (fit.at(xs[:, 5:]) - ys[:, 5:]).square().mean(1)
    assert error.median() < 1e-9
    assert fit.residual.max() < 1e-7  # the ridge shortens the slowest sines
    assert (fit.frequency - frequency).abs().median() < 1e-4


def test_what_is_no_sine_is_met_as_nearly_as_a_search_can():
    xs, _, _ = of_frequency(1.0, 30, batch=3)
    ys = xs[:, :, 0] ** 2
    fit = baselines.fit_sine(xs, ys, 0.5, 6.0)
    for b in range(3):
        x, y = xs[b, :, 0].double().numpy(), ys[b].double().numpy()

        def misfit(frequency, x=x, y=y):
            design = np.stack([np.sin(frequency[0] * x), np.cos(frequency[0] * x)], 1)
            return np.mean((design @ np.linalg.lstsq(design, y, rcond=None)[0] - y) ** 2)

        found = misfit(np.atleast_1d(brute(misfit, [(0.5, 6.0)], Ns=3000, finish=None)))
        assert fit.residual[b].item() == pytest.approx(found, rel=1e-3)


def test_of_many_exact_sines_the_smallest_is_taken():
    xs = torch.tensor([[[1.0], [-1.0]]])
    fit = baselines.fit_sine(xs, torch.tensor([[1.0, -1.0]]), *BAND)
    assert fit.residual.item() < 1e-9
    assert torch.hypot(fit.sine, fit.cosine).item() == pytest.approx(1.0, abs=1e-4)


def test_every_prefix_is_the_fit_of_the_examples_before():
    xs, ys, _ = of_frequency(4.0, 9, batch=4)
    every = baselines.sinusoid(xs, ys, *BAND)
    assert every.dtype == ys.dtype
    assert torch.equal(every[:, 0], torch.zeros(4))
    for i in (1, 4, 8):
        here = baselines.sine_curve(xs[:, :i], ys[:, :i], xs[:, i : i + 1], *BAND)
        torch.testing.assert_close(every[:, i : i + 1], here)


def test_a_fit_scales_with_the_values():
    xs, ys, _ = of_frequency(4.0, 12, batch=4)
    one = baselines.sine_curve(xs[:, :10], ys[:, :10], xs[:, 10:], *BAND)
    ten = baselines.sine_curve(xs[:, :10], 10 * ys[:, :10], xs[:, 10:], *BAND)
    torch.testing.assert_close(ten, 10 * one)


def test_bad_bands_and_inputs_are_refused():
    xs, ys, _ = of_frequency(4.0, 5, batch=2)
    with pytest.raises(ValueError, match="low must be below high, got low=3, high=3"):
        baselines.fit_sine(xs, ys, 3, 3)
    with pytest.raises(ValueError, match="low must be"):
        baselines.fit_sine(xs, ys, 0.0, 3)
    with pytest.raises(ValueError, match="inputs of dimension 2"):
        baselines.fit_sine(xs.expand(-1, -1, 2), ys, 1, 3)


def test_stretched_and_shifted_inputs_ask_the_same_functions():
    plain = sample_prompts(DenseLinear(3), 4, 6, seed=2)
    moved = sample_prompts(DenseLinear(3), 4, 6, seed=2, scale=2.0, shift=1.5)
    torch.testing.assert_close(moved.xs, 1.5 + 2.0 * plain.xs)
    w = torch.linalg.lstsq(plain.xs, plain.ys[..., None]).solution
    torch.testing.assert_close(moved.ys, (moved.xs @ w)[..., 0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "value"), [("scale", 0.0), ("scale", float("inf")), ("shift", float("nan"))]
)
def test_inputs_that_cannot_be_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        sample_prompts(DenseLinear(3), 4, 6, seed=2, **{name: value})
