"""What a run costs: counted by PyTorch's own counter, and told in words."""

from dataclasses import replace

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from icl_lib import DenseLinear, Transformer, TransformerConfig
from icl_lib.speed import (
    duration,
    matrix_product_rate,
    model_flops,
    step_seconds,
    training_flops,
    training_seconds,
)
from icl_lib.training import Parent, Ramp, Setting

SETTING = Setting(
    DenseLinear(20),
    TransformerConfig.tiny(20, 41),
    steps=40,
    batch_size=8,
    examples=Ramp(11, 41, by=10, every=10),
)


def test_the_count_is_pytorchs_less_what_a_causal_mask_makes_needless():
    config = TransformerConfig(dim=20, max_examples=41, layers=3, heads=2, width=64)
    model = Transformer(config)
    xs, ys = torch.randn(4, 41, 20), torch.randn(4, 41)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        (model(xs, ys) - ys).square().sum().backward()
    masked = (
        3 * 4 * 3 * 2 * 64 * 81**2
    )  # half of attention's two products, forward and twice backward
    read_in = 2 * 4 * 81 * 20 * 64  # of which no gradient by the inputs is taken
    assert model_flops(config, 4, 41) == pytest.approx(
        counter.get_total_flops() - masked + read_in, rel=1e-4
    )


def test_a_run_is_the_sum_of_its_steps():
    at = [model_flops(SETTING.model, 8, n) for n in (11, 21, 31, 41)]
    assert training_flops(SETTING) == pytest.approx(10 * sum(at))
    assert training_flops(SETTING, 15) == pytest.approx(5 * at[1] + 10 * at[2] + 10 * at[3])
    assert training_flops(replace(SETTING, examples=None)) == pytest.approx(40 * at[-1])


def test_a_run_without_an_end_needs_one_to_be_counted():
    endless = replace(SETTING, steps=None)
    assert training_flops(endless, 5, 40) == training_flops(SETTING, 5)
    assert step_seconds(endless, 3) > 0
    with pytest.raises(ValueError, match="needs an end to count to"):
        training_flops(endless)
    with pytest.raises(ValueError, match="as long as it is let"):
        training_seconds(endless)


def test_a_run_that_starts_from_a_model_is_timed_without_it():
    assert step_seconds(replace(SETTING, parent=Parent("0" * 64, 1, 64)), 39) > 0


def test_the_time_foretold_lies_between_all_short_and_all_long(monkeypatch):
    monkeypatch.setattr(
        "icl_lib.speed.step_seconds", lambda setting, step: setting.points_at(step) / 10
    )
    assert training_seconds(SETTING) == pytest.approx(11 + 21 + 31 + 41)
    assert training_seconds(SETTING, done=35) == pytest.approx(5 * 4.1)
    assert training_seconds(SETTING, done=40) == 0


def test_a_step_takes_longer_with_a_larger_batch_and_products_finish(monkeypatch):
    monkeypatch.setattr("icl_lib.speed._PRODUCT_SECONDS", 0.01)
    assert matrix_product_rate() > 0
    assert step_seconds(replace(SETTING, batch_size=256), 39) > 2 * step_seconds(SETTING, 0)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (4.4, "4 s"),
        (120, "2 min"),
        (5399, "90 min"),
        (5400, "90 min"),
        (12000, "3 h 20 min"),
        (432000, "5 days"),
    ],
)
def test_durations_in_words(seconds, words):
    assert duration(seconds) == words
