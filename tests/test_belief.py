"""What the page on exact Bayes says of its figure, and the posterior of a latent number that it draws."""

import sys
from pathlib import Path

import pytest
import torch

from icl_lib import DenseLinear, Sinusoid, bayes, sample_prompts
from icl_lib.bayes.bands import zoom
from icl_lib.bayes.parts import Part
from icl_lib.bayes.regression import Noise

from .test_documented import run_python

sys.path.append(str(Path(__file__).parents[1] / "book" / "_ext"))

import belief


def by_brute_force(band, xs, ys, count=256 * 600):
    """The belief in each of 256 cells, by a sum over far smaller ones, each a Gaussian's density."""
    v = torch.linspace(band.low, band.high, 2 * count + 1, dtype=torch.float64)[1::2]
    features = torch.stack([torch.sin(v[:, None] * xs), torch.cos(v[:, None] * xs)], -1)
    identity = torch.eye(len(xs), dtype=torch.float64)
    covariance = features @ features.mT + bayes.JITTER**2 * identity
    density = torch.distributions.MultivariateNormal(torch.zeros_like(xs), covariance)
    mass = density.log_prob(ys).softmax(0)
    return mass.reshape(256, -1).sum(1)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 5])
def test_the_belief_in_each_frequency_is_that_of_a_finer_sum(n):
    band = Sinusoid(1.0, 5.0)
    xs, ys, _ = sample_prompts(band, 1, max(n, 1), seed=3)
    xs, ys = xs[:, :n].double(), ys[:, :n].double()
    cells, found = bayes.latent_posterior(band, xs, ys)
    assert cells.shape == (256,) and found.shape == (1, 256)
    assert torch.allclose(cells, 1 + (torch.arange(256, dtype=torch.float64) + 0.5) / 64)
    expected = (
        by_brute_force(band, xs[0, :, 0], ys[0])
        if n
        else torch.full((256,), 1 / 256, dtype=torch.float64)
    )
    assert (found[0] - expected).abs().sum() < 0.02


def test_a_class_without_such_a_number_is_refused():
    xs, ys, _ = sample_prompts(DenseLinear(1), 1, 3, seed=0)
    with pytest.raises(ValueError, match=r"a latent that is an interval, .* got DenseLinear"):
        bayes.latent_posterior(DenseLinear(1), xs, ys)


def test_the_page_s_code_finds_a_frequency():
    found = run_python(Path(__file__).parents[1] / "book" / "exact_bayes.md")
    assert found["belief"].max() > 0.5 and len(found["frequencies"]) == 256


def test_what_the_page_says_of_a_sine():
    def cells(n):
        told = belief.belief("a sine", n)["told"]
        return int(told.split(" lies in ")[1].split(" of 256")[0])

    assert cells(0) == 128
    assert cells(1) > 100 and cells(2) > 64  # most are still open
    assert cells(3) < 12  # isolated ones are left
    assert cells(4) <= 2  # one


def test_what_the_page_says_of_a_function_in_between():
    for n in range(6, belief.MOST + 1):
        found = belief.belief("halfway between", n)
        assert found["line"] < 0.01 and " lies in 1 of 256 cells" in found["told"]
        assert float(found["told"].split("errs by ")[1].split(". ")[0]) > 0.05


def test_forty_examples_leave_a_frequency_open_by_one_part_in_ten_thousand():
    band = Sinusoid(1.0, 5.0)
    xs, ys, _ = sample_prompts(band, 64, 40, seed=0)
    values, _, log_mass = zoom(
        (Part(band),), xs.double(), ys.double()[:, None], Noise(bayes.JITTER), bayes.FINE
    )
    mass, values = log_mass.softmax(1), values[:, :, 0]
    mean = (mass * values).sum(1, keepdim=True)
    spread = (mass * (values - mean).square()).sum(1).sqrt() / mean[:, 0]
    assert 2e-5 < spread.median() < 2e-4
