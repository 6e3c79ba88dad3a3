"""Moments of every class, purity of the draws, and what is refused."""

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from icl_lib import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    Mixture,
    ReluNetwork,
    Sinusoid,
    SparseLinear,
    TransformerConfig,
    sample_prompts,
    samplers,
)
from icl_lib.random import SEEDS, Draws, philox
from icl_lib.samplers import describe, training_seed, undescribe
from icl_lib.training import Setting

LINE_AND_SINE = Mixture((DenseLinear(1), Sinusoid(1, 5)), (0.3, 0.7))
CLASSES = [
    DenseLinear(1),
    DenseLinear(20),
    SparseLinear(20, 2),
    ReluNetwork(5, 40),
    Sinusoid(1, 5),
    LINE_AND_SINE,
    ConvexCombination(DenseLinear(3), SparseLinear(3, 1), 0.25),
    ConvexCombination(LINE_AND_SINE, Sinusoid(0.5, 2), 0.8),
]


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_gives_the_known_answers_of_its_authors(counter, key, words):
    assert tuple(philox(tuple(torch.tensor(c) for c in counter), key).tolist()) == words


def test_normal_and_uniform_numbers_have_their_moments():
    draws = Draws(seed=7, step=0, batch_size=1000)
    normal, uniform = draws.normal(501), draws.child(0).uniform(501)
    error = 5 / math.sqrt(normal.numel())
    for power, moment, spread in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert abs(normal.pow(power).mean() - moment) < error * math.sqrt(spread)
    assert abs(uniform.mean() - 0.5) < error and abs(uniform.var() - 1 / 12) < error
    assert uniform.min() > 0 and uniform.max() < 1
    assert abs(np.corrcoef(normal[:, 0], normal[:, 1])[0, 1]) < 5 / math.sqrt(1000)


@pytest.mark.parametrize("function_class", CLASSES, ids=repr)
def test_second_moment_is_the_one_stated(function_class):
    xs, ys, _ = sample_prompts(function_class, 20_000, 6, seed=1)
    per_prompt = ys.double().square().mean(1)
    error = per_prompt.std() / math.sqrt(len(per_prompt))
    assert abs(per_prompt.mean() - function_class.second_moment) < 4 * error
    assert abs(xs.mean()) < 4 / math.sqrt(xs.numel()) and abs(xs.var() - 1) < 6 / math.sqrt(
        xs.numel()
    )
    assert abs(ys.mean()) < 5 * ys.std() / math.sqrt(20_000)


def test_sparse_functions_use_exactly_nnz_coordinates_all_equally_often():
    dim, nnz = 8, 2
    functions, _ = SparseLinear(dim, nnz).sample_functions(Draws(seed=3, step=0, batch_size=8000))
    w = functions(torch.eye(dim).expand(8000, dim, dim))
    used = w != 0
    assert (used.sum(1) == nnz).all()
    assert (used.float().mean(0) - nnz / dim).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 8000)
    assert abs(w[used].var() - 1 / nnz) < 0.03


def test_sinusoids_have_a_uniform_frequency_in_their_band():
    count, low, high = 4000, 2.0, 3.0
    functions, _ = Sinusoid(low, high).sample_functions(Draws(seed=3, step=0, batch_size=count))
    grid = torch.linspace(-1, 1, 5, dtype=torch.float64).expand(count, 5)[..., None]
    y = functions(grid)
    # f(x + h) + f(x - h) = 2 cos(w h) f(x), with h = 1/2
    frequency = 2 * torch.acos(((y[:, 3] + y[:, 1]) / (2 * y[:, 2])).clamp(-1, 1))
    assert low - 1e-6 <= frequency.min() and frequency.max() <= high + 1e-6
    quantiles = frequency.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    assert (quantiles - torch.tensor([2.25, 2.5, 2.75])).abs().max() < 5 * 0.5 / math.sqrt(count)


def test_a_mixture_draws_one_class_per_prompt_with_its_weights():
    _, _, component = sample_prompts(LINE_AND_SINE, 20_000, 1, seed=5)
    assert abs((component == 0).double().mean() - 0.3) < 4 * math.sqrt(0.3 * 0.7 / 20_000)
    xs, ys, component = sample_prompts(LINE_AND_SINE, 500, 10, seed=5)
    slope = ys[:, :1] / xs[:, :1, 0]
    is_line = (ys - slope * xs[..., 0]).abs().amax(1) < 1e-3
    assert torch.equal(is_line, component == 0)


def test_a_component_of_weight_zero_is_never_drawn():
    mixture = Mixture((DenseLinear(1), Sinusoid(1, 5), DenseLinear(1)), (0.5, 0.0, 0.5))
    assert set(sample_prompts(mixture, 5000, 1, seed=0).component.tolist()) == {0, 2}


def test_a_combination_is_the_weighted_sum_of_two_independent_functions():
    first, second = DenseLinear(4), SparseLinear(4, 2)
    at = {
        w: sample_prompts(ConvexCombination(first, second, w), 3000, 5, seed=2).ys.double()
        for w in (0, 0.3, 1)
    }
    assert torch.allclose(at[0.3], 0.3 * at[1] + 0.7 * at[0], atol=1e-6)
    assert abs((at[0] * at[1]).mean()) < 4 / math.sqrt(3000)


@pytest.mark.parametrize("function_class", CLASSES, ids=repr)
@settings(max_examples=10, deadline=None)
@given(
    seed=st.integers(0, SEEDS - 1),
    step=st.integers(0, 2**32 - 1),
    rows=st.integers(1, 9),
    points=st.integers(1, 9),
)
def test_a_prompt_does_not_depend_on_its_batch_or_on_its_length(
    function_class, seed, step, rows, points
):
    small = sample_prompts(function_class, rows, points, seed=seed, step=step)
    large = sample_prompts(function_class, 11, 13, seed=seed, step=step)
    assert torch.equal(small.xs, large.xs[:rows, :points])
    assert torch.allclose(small.ys, large.ys[:rows, :points], atol=1e-6, rtol=1e-6)
    assert torch.equal(small.component, large.component[:rows])


def test_seed_and_step_each_change_every_prompt():
    base = sample_prompts(DenseLinear(2), 50, 3, seed=0, step=0)
    for other in ({"seed": 1, "step": 0}, {"seed": 0, "step": 1}):
        changed = sample_prompts(DenseLinear(2), 50, 3, **other)
        assert not (changed.xs == base.xs).any() and not (changed.ys == base.ys).any()


def test_inputs_are_shared_between_classes_so_that_comparisons_are_paired():
    one = sample_prompts(Sinusoid(1, 5), 5, 7, seed=4)
    other = sample_prompts(LINE_AND_SINE, 5, 7, seed=4)
    assert torch.equal(one.xs, other.xs)


def test_training_and_evaluation_seeds_never_coincide():
    assert training_seed(0) >= SEEDS  # the first seed of training lies past the last of evaluation
    with pytest.raises(ValueError, match=r"\[0, 4294967295\], got 4294967296"):
        training_seed(SEEDS)


def test_a_class_describes_itself_in_plain_values():
    assert describe(Mixture((DenseLinear(1), Sinusoid(1.0, 5.0)), (0.5, 0.5))) == {
        "class": "Mixture",
        "classes": [
            {"class": "DenseLinear", "dim": 1},
            {"class": "Sinusoid", "low": 1.0, "high": 5.0},
        ],
        "weights": [0.5, 0.5],
    }


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DenseLinear(0), "dim .* at least 1, got 0"),
        (lambda: DenseLinear(2.5), "got 2.5"),
        (lambda: SparseLinear(20, 21), "nnz must be at most dim = 20, got 21"),
        (lambda: ReluNetwork(3, -1), "width .* got -1"),
        (lambda: Sinusoid(5, 1), "0 < low < high.*low=5"),
        (lambda: Sinusoid(1, math.inf), "finite"),
        (lambda: Sinusoid("1", 5), "low='1'"),
        (
            lambda: Mixture((DenseLinear(1), DenseLinear(1)), (True, False)),
            r"weights\[0\].*got True",
        ),
        (lambda: Mixture(DenseLinear(1), (1.0,)), r"classes must be a tuple or a list, got Dense"),
        (
            lambda: sample_prompts(
                Mixture((Mixture((Mixture((DenseLinear(1),), (1,)),), (1,)),), (1,)), 1, 1, seed=0
            ),
            "nest at most two deep",
        ),
        (lambda: Mixture((), ()), "one weight per class"),
        (lambda: Mixture((DenseLinear(1),), (0.5, 0.5)), "1 classes and 2 weights"),
        (lambda: Mixture((DenseLinear(1), DenseLinear(1)), (0.5, 0.6)), "sum to 1"),
        (
            lambda: Mixture((DenseLinear(1), DenseLinear(1)), (-0.1, 1.1)),
            r"weights\[0\].* \[0, 1\], got -0.1",
        ),
        (lambda: Mixture((DenseLinear(1), DenseLinear(1)), (math.nan, 1.0)), "got nan"),
        (lambda: Mixture((DenseLinear(1), DenseLinear(2)), (0.5, 0.5)), r"\[1, 2\]"),
        (lambda: ConvexCombination(DenseLinear(1), DenseLinear(1), 1.5), r"\[0, 1\], got 1.5"),
        (lambda: ConvexCombination(DenseLinear(1), DenseLinear(2), 0.5), "1 and 2"),
        (lambda: sample_prompts(DenseLinear(1), 0, 5, seed=0), "batch_size .* got 0"),
        (lambda: sample_prompts(DenseLinear(1), 5, 0, seed=0), "n_examples .* got 0"),
        (lambda: sample_prompts(DenseLinear(1), 5, 5, seed=-1), "seed .* got -1"),
        (
            lambda: sample_prompts(DenseLinear(1), 5, 5, seed=0, step=2**32),
            "step .* got 4294967296",
        ),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_input_is_refused_with_what_was_given(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_noise_is_added_to_the_same_functions_at_the_same_inputs():
    plain = sample_prompts(LINE_AND_SINE, 4000, 6, seed=9)
    noisy = sample_prompts(LINE_AND_SINE, 4000, 6, seed=9, noise=0.3)
    assert torch.equal(plain.xs, noisy.xs) and torch.equal(plain.component, noisy.component)
    noise = (noisy.ys - plain.ys).double()
    count = noise.numel()
    assert abs(noise.mean()) < 5 * 0.3 / math.sqrt(count)
    assert abs(noise.square().mean() - 0.09) < 5 * 0.09 * math.sqrt(2 / count)
    assert abs((noise[:, 1:] * noise[:, :-1]).mean()) < 5 * 0.09 / math.sqrt(count)
    assert abs((noise * plain.ys).mean()) < 5 * 0.3 / math.sqrt(count)
    short = sample_prompts(LINE_AND_SINE, 7, 3, seed=9, noise=0.3)
    assert torch.equal(short.ys, noisy.ys[:7, :3])
    for wrong in (-0.1, math.nan, math.inf):
        with pytest.raises(ValueError, match="noise must be"):
            sample_prompts(DenseLinear(1), 1, 1, seed=0, noise=wrong)


# --- Classes of one's own -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Parabola(FunctionClass):
    """f(x) = w x^2 with w ~ N(0, 1 / 3)."""

    dim = 1
    second_moment = 1.0

    def features(self, xs, latent):
        return [xs[..., 0] ** 2 / 3**0.5]


@dataclass(frozen=True)
class Quadratic(Parabola):
    """f(x) = a x^2 + b x, drawn as one would at first."""

    def functions(self, draws):
        a, b = draws.normal(1), draws.normal(1)
        return lambda xs: a * xs[..., 0].double() ** 2 + b * xs[..., 0].double()


def test_a_class_that_says_its_features_can_be_drawn_mixed_and_combined():
    for function_class in (Parabola(), Mixture((DenseLinear(1), Parabola()), (0.5, 0.5))):
        xs, ys, component = sample_prompts(function_class, 20_000, 2, seed=3)
        square = ys.double().square().mean(1)
        assert abs(square.mean() - function_class.second_moment) < 4 * square.std() / math.sqrt(
            20_000
        )
        drawn = component == len(function_class.components()) - 1
        ratio = (ys / xs[..., 0] ** 2)[drawn]
        torch.testing.assert_close(ratio[:, 0], ratio[:, 1], rtol=1e-4, atol=0)
    assert describe(Parabola()) == {"class": "Parabola"}
    assert Parabola().at_dim(1) == Parabola()
    with pytest.raises(ValueError, match="a class in 1 dimensions only, got 2"):
        Parabola().at_dim(2)


def test_the_same_numbers_are_not_given_twice():
    with pytest.raises(ValueError, match="these random numbers have been drawn before"):
        sample_prompts(Quadratic(), 4, 3, seed=0)
    draws = Draws(seed=0, step=0, batch_size=2)
    draws.child(0).normal(1)
    for again in (lambda: draws.child(0).normal(3), lambda: draws.child(0).uniform(1)):
        with pytest.raises(ValueError, match="drawn before"):
            again()
    assert not (draws.normal(3) == draws.child(1).normal(3)).any()
    # Another tree of the same seed has the same numbers: they are a function of their address.
    assert torch.equal(
        Draws(seed=0, step=0, batch_size=2).normal(3), Draws(seed=0, step=0, batch_size=2).normal(3)
    )


def test_a_class_that_could_not_be_kept_or_drawn_is_refused_at_once():
    class Bare(Parabola):
        pass

    with pytest.raises(ValueError, match=r"write @dataclass\(frozen=True\) above class Bare"):
        Bare()

    @dataclass
    class Thawed(FunctionClass):
        dim = 1
        second_moment = 1.0

    with pytest.raises(ValueError, match="above class Thawed"):
        Thawed()

    @dataclass(frozen=True)
    class Flat(FunctionClass):
        second_moment = 1.0

    with pytest.raises(ValueError, match=r"write dim = 1 .* in Flat"):
        Flat()

    @dataclass(frozen=True)
    class Sinusoid(FunctionClass):
        dim = 1
        second_moment = 1.0

    with pytest.raises(ValueError, match="Sinusoid is a class of the library: a card could not"):
        Sinusoid()
    assert undescribe({"class": "Sinusoid", "low": 1.0, "high": 2.0}) == samplers.Sinusoid(1.0, 2.0)

    @dataclass(frozen=True)
    class Silent(FunctionClass):
        dim = 1
        second_moment = 1.0

    with pytest.raises(ValueError, match="Silent needs features, or functions of its own"):
        sample_prompts(Silent(), 2, 3, seed=0)

    @dataclass(frozen=True)
    class Tall(Silent):
        def functions(self, draws):
            return lambda xs: xs**2

    with pytest.raises(ValueError, match=r"must map \(2, 3, 1\) to \(2, 3\), got \(2, 3, 1\)"):
        sample_prompts(Tall(), 2, 3, seed=0)


def test_what_no_card_could_hold_is_refused():
    @dataclass(frozen=True)
    class Centred(Parabola):
        centre: object = None

    assert describe(Centred(0.5)) == {"class": "Centred", "centre": 0.5}
    setting = {"model": TransformerConfig.tiny(1, 5), "steps": 2}
    with pytest.raises(ValueError, match="what a card is to hold must be numbers"):
        Setting(Centred(torch.ones(1)), **setting)
    Setting(Centred(0.5), **setting)
