"""Prompts that name their class: where the name stands, who has one, and that a model reads it."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from icl_lib import naming, sample_prompts
from icl_lib.experiments.experiment import over_seeds, ratio
from icl_lib.model import Transformer, TransformerConfig
from icl_lib.recipes import LINE, RECIPES, SINE, TOLD_POINTS, line_and_sine
from icl_lib.training import Ramp, Setting
from icl_lib.weights import read_card

TOLD = RECIPES["line+sine-0.5-tiny-told"]
ALWAYS = RECIPES["line+sine-0.5-tiny-always-told"]


def test_a_name_is_a_point_of_its_own_before_the_examples():
    xs, ys, _ = sample_prompts(LINE, 3, 4, seed=1)
    points, values = naming.with_name(xs, ys, torch.tensor([1.0, -1.0, 0.0]))
    assert points.shape == (3, 5, 2) and values.shape == (3, 5)
    assert points[:, 0].tolist() == [[0.0, 1.0], [0.0, -1.0], [0.0, 0.0]]
    torch.testing.assert_close(points[:, 1:, :1], xs)
    torch.testing.assert_close(values[:, 1:], ys)
    assert not points[:, 1:, 1].any() and not values[:, 0].any()


def test_half_of_the_prompts_of_either_class_have_their_name_and_the_rest_none():
    component = torch.arange(4000) % 2
    found = naming.names_of(component, 0.5, seed=3, step=7)
    for index, name in enumerate(naming.NAMES):
        of = found[component == index]
        assert set(of.tolist()) == {name, naming.NO_NAME}
        assert (of == name).double().mean().item() == pytest.approx(0.5, abs=0.05)
    assert torch.equal(found, naming.names_of(component, 0.5, seed=3, step=7))
    assert not torch.equal(found, naming.names_of(component, 0.5, seed=3, step=8))
    assert (naming.names_of(component, 1.0, seed=3, step=7) != naming.NO_NAME).all()


def test_named_prompts_are_those_without_names_but_for_the_names():
    plain = Setting(line_and_sine(0.5), TransformerConfig(1, TOLD_POINTS - 1, 1, 1, 4), seed=12)
    (told, values), (xs, ys) = TOLD.prompts(5), plain.prompts(5)
    assert torch.equal(told[:, 1:, :1], xs) and torch.equal(values[:, 1:], ys)
    flat = (ys[:, 1:] / xs[:, 1:, 0] - ys[:, :1] / xs[:, :1, 0]).abs().amax(1) < 1e-3
    always, _ = ALWAYS.prompts(5)
    assert torch.equal(
        always[:, 0, 1] == naming.NAMES[0], flat
    )  # the lines are those that are called so
    assert set(told[:, 0, 1].tolist()) == {*naming.NAMES, naming.NO_NAME}


def test_a_model_is_told_at_every_prefix_what_it_is_told_of_a_curve():
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(dim=2, max_examples=6, layers=1, heads=1, width=8)).eval()
    xs, ys, _ = sample_prompts(SINE, 3, 5, seed=2)
    for name in (*naming.NAMES, naming.NO_NAME):
        prefixes = naming.told_at_every_prefix(model, name)(xs, ys)
        curve = naming.told(model, name)(xs[:, :4], ys[:, :4], xs[:, 4:])
        torch.testing.assert_close(prefixes[:, 4:], curve)
    one, other = (naming.told_at_every_prefix(model, name)(xs, ys) for name in naming.NAMES)
    assert (one - other).abs().min() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"named": 1.5}, r"named must be a number in \[0, 1\], got 1.5"),
        ({"function_class": LINE}, "for a mixture of two classes, got DenseLinear"),
        ({"dims": Ramp(2, 2)}, "neither a curriculum over dims"),
        ({"model": TransformerConfig.tiny(1, 12)}, "has 1 and the name one more"),
        ({"named": 0.0}, "the model takes dimension 2, the function class has 1$"),
    ],
)
def test_names_are_refused_where_they_mean_nothing(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TOLD, **change)


def test_a_card_says_how_many_prompts_had_a_name():
    for model, share in (("told", 0.5), ("always-told", 1.0)):
        assert read_card(f"line+sine-0.5-tiny-{model}")["recipe"]["named"] == share


def test_an_interval_over_seeds_is_that_over_prompts_and_wider_where_seeds_differ():
    rng = torch.Generator().manual_seed(0)
    noise = [pd.Series(torch.rand(200, generator=rng).double().numpy()) for _ in range(3)]
    ones = [pd.Series([1.0] * 200)] * 3
    assert over_seeds(noise[:1], ones[:1]) == pytest.approx(ratio(noise[0], ones[0]))
    value, low, high = over_seeds([noise[0] + shift for shift in (0.0, 1.0, 2.0)], ones)
    assert value == pytest.approx(noise[0].mean() + 1)
    assert low < noise[0].mean() + 0.5 and high > noise[0].mean() + 1.5
