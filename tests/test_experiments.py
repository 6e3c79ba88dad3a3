"""What the chapters ask for, the predictors behind their tables' names, the statistics of their rows."""

import numpy as np
import pandas as pd
import pytest
import torch

from icl_lib import baselines, bayes, recipes, results, sample_prompts
from icl_lib.experiments import curves, frequency, question
from icl_lib.experiments.experiment import less, ratio, ratio_of_ratios, rows_of, share_of
from icl_lib.widgets import FrequencyExplorer


@pytest.mark.parametrize("slope", [1.0, 6.0])
def test_lines_of_a_slope_go_up_or_down_by_it(slope):
    asked = frequency.LineOfSlope(slope)
    xs, ys, _ = sample_prompts(asked, 200, 30, seed=1)
    up = ys[:, :1] * xs[:, :1, 0] > 0
    torch.testing.assert_close(ys, torch.where(up, slope, -slope) * xs[:, :, 0])
    assert 60 < up.sum() < 140
    assert ys.square().mean().item() == pytest.approx(asked.second_moment, rel=0.05)


@pytest.mark.parametrize("amplitude", [1.0, 6.0])
def test_sines_of_an_amplitude_have_it_at_every_frequency_of_the_band(amplitude):
    asked = frequency.SineOfAmplitude(amplitude)
    xs, ys, _ = sample_prompts(asked, 100, 30, seed=1)
    fit = baselines.fit_sine(xs, ys, 1.0, 5.0)
    found = torch.hypot(fit.sine, fit.cosine)
    assert (found / amplitude - 1).abs().median() < 1e-4
    assert 1 < fit.frequency.min() < 1.3 and 4.7 < fit.frequency.max() < 5
    assert ys.square().mean().item() == pytest.approx(asked.second_moment, rel=0.1)


def test_the_sweep_asks_the_same_sines_at_every_frequency():
    slow, fast = (sample_prompts(frequency.at(f), 8, 30, seed=31) for f in (3.0, 6.0))
    torch.testing.assert_close(fast.xs, slow.xs)
    one, other = (
        baselines.fit_sine(drawn.xs, drawn.ys, f - 0.5, f + 0.5)
        for drawn, f in ((slow, 3.0), (fast, 6.0))
    )
    torch.testing.assert_close(one.sine, other.sine, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(one.cosine, other.cosine, rtol=1e-3, atol=1e-3)


def test_a_name_in_a_table_is_its_predictor():
    xs, ys, _ = sample_prompts(frequency.at(10.0), 4, 30, seed=3)
    known, queries, truth = (xs[:, :20], ys[:, :20]), xs[:, 20:], ys[:, 20:]

    def answer(name):
        return curves.predictor(name, recipes.SINE)(*known, queries)

    torch.testing.assert_close(answer(curves.RIGHT), truth, rtol=0, atol=1e-3)
    wide = recipes.RECIPES[frequency.WIDE].function_class
    expected = bayes.posterior_curve(wide, *known, queries)[0]
    torch.testing.assert_close(answer(curves.OF + frequency.WIDE), expected)
    assert (answer(curves.BAYES) - truth).square().mean() > 0.3
    nearest = answer(curves.NEAREST)
    for prompt in range(4):
        for query in range(10):
            apart = (xs[prompt, :20, 0] - queries[prompt, query, 0]).abs()
            assert nearest[prompt, query] == ys[prompt, apart.argmin()]


def test_what_a_curve_in_the_band_is_made_of():
    case = (recipes.SINE, 40, 16, 7, (0, 1, 2))
    found = curves.shape(curves.BAYES, *case)
    assert (found.off_sine < 1e-3 * found.power).all()
    assert (found.off_line > 0.05 * found.power).all()
    assert (curves.distance(curves.BAYES, curves.BAYES, *case).distance == 0).all()


def test_a_ratio_of_ratios_is_that_of_the_means_and_its_interval_holds_the_truth():
    rng = np.random.default_rng(0)
    truth, held = (3.0 / 2.0) / (1.0 / 4.0), 0
    for _ in range(40):
        parts = [pd.Series(scale * rng.exponential(size=400)) for scale in (3.0, 2.0, 1.0, 4.0)]
        value, low, high = ratio_of_ratios((parts[0], parts[1]), (parts[2], parts[3]))
        one, other = ratio(parts[0], parts[1])[0], ratio(parts[2], parts[3])[0]
        assert value == pytest.approx(one / other)
        held += low < truth < high
    assert held >= 30  # of 40, where 36 are expected


def test_rows_are_taken_by_prompt_whatever_their_order():
    table = pd.DataFrame(
        {
            "predictor": ["one"] * 3 + ["two"] * 3,
            "prompt": [0, 1, 2, 2, 1, 0],
            "error": [1.0, 2.0, 3.0, 60.0, 40.0, 20.0],
            "power": 10.0,
        }
    )
    one, two = (rows_of(table, predictor=name).error for name in ("one", "two"))
    assert (two.to_numpy() == 20 * one.to_numpy()).all()
    assert less(one, two, 0.0501) and not less(one, two, 0.0499)
    assert share_of(table, predictor="two")[0] == pytest.approx(4.0)


def test_the_explorer_draws_the_stored_errors():
    table = results.read("frequency_errors")
    strips = frequency.strips(table)
    explorer = FrequencyExplorer(models=list(strips), strip=strips)
    drawn = explorer.strip[frequency.STANDARD]
    where = drawn["frequencies"].index(6.0)
    for line, name in (
        ("transformer", frequency.STANDARD),
        ("mixture", frequency.BAYES),
        ("linear", frequency.LINEAR),
    ):
        stored = share_of(table, predictor=name, frequency=6.0, n_examples=40)[0]
        assert drawn[line][drawn["n_examples"].index(40)][where] == pytest.approx(stored)


@pytest.mark.parametrize("kind", question.KINDS)
def test_prompts_of_a_choice_are_those_of_the_sampler(kind):
    choice = question.Choice("with intercept", noise=0.3)
    asked = choice.asked(kind)
    xs, ys, queries, truth = question.draw_prompts(choice, kind, 3, 5, seed=7)
    clean, noisy = (sample_prompts(asked, 3, 45, seed=7, noise=noise) for noise in (0.0, 0.3))
    torch.testing.assert_close(torch.cat([xs, queries], 1), clean.xs)
    torch.testing.assert_close(ys, noisy.ys[:, :40])
    torch.testing.assert_close(truth.float(), clean.ys[:, 40:])


def test_uniform_inputs_are_uniform_and_the_functions_the_same():
    uniform = question.draw_prompts(question.Choice(inputs="uniform"), "line", 200, 60, seed=7)
    normal = question.draw_prompts(question.Choice(), "line", 200, 60, seed=7)
    edge = 3**0.5
    quantiles = uniform[0].flatten().quantile(torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0]))
    expected = torch.tensor([-edge, -edge / 2, 0.0, edge / 2, edge])
    torch.testing.assert_close(quantiles, expected, atol=0.05, rtol=0)
    slopes = [(ys / xs[:, :, 0])[:, 0] for xs, ys, _, _ in (uniform, normal)]
    torch.testing.assert_close(*slopes)
