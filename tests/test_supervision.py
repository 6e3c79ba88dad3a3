"""The second loss: whose truth is the prompt's own, and which leaves an ordinary model behind."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from icl_lib import (
    DenseLinear,
    Mixture,
    ReluNetwork,
    SparseLinear,
    Transformer,
    TransformerConfig,
    bayes,
    sample_prompts,
    weights,
)
from icl_lib.supervision import Probes, coefficients, targets
from icl_lib.training import Ramp, Run, Setting, fit, train_steps

CONFIG = TransformerConfig(dim=4, max_examples=9, layers=3, heads=2, width=16)
SETTING = Setting(
    SparseLinear(4, 2),
    CONFIG,
    steps=30,
    batch_size=20,
    dims=Ramp(2, 4, every=10),
    examples=Ramp(5, 9, by=2, every=10),
    warmup=5,
    deep_supervision=1.0,
)


def test_the_coefficients_of_a_prompt_predict_new_points_of_it():
    xs, ys, _ = sample_prompts(DenseLinear(6), 32, 12, seed=1)
    found = coefficients(xs[:, :7], ys[:, :7])
    torch.testing.assert_close(torch.einsum("bnd,bd->bn", xs, found), ys, atol=1e-3, rtol=1e-3)
    with pytest.raises(ValueError, match="5 points do not determine a linear function in 6"):
        coefficients(xs[:, :5], ys[:, :5])


def test_the_loss_is_the_error_of_the_function_that_is_read():
    probes = Probes(CONFIG)
    truth = torch.randn(3, 8, 4)
    streams = [torch.randn(3, 17, 16) for _ in range(3)]
    read = streams[1][:, 1::2] @ probes.heads[0].weight.T + probes.heads[0].bias
    torch.testing.assert_close(probes(streams, truth), (read - truth).square().sum())
    with torch.no_grad():
        probes.heads[0].weight.zero_()
        probes.heads[0].bias.copy_(truth[0, 0])
    assert probes([s[:1] for s in streams], truth[:1, :1].expand(1, 8, 4)) == 0


def test_asked_for_is_the_function_or_what_the_examples_so_far_say_of_it():
    mixture = Mixture((DenseLinear(4), SparseLinear(4, 2)), (0.5, 0.5))
    xs, ys, _ = sample_prompts(mixture, 8, 9, seed=2)
    function = targets("function", mixture, xs, ys)
    assert function.shape == (8, 8, 4)
    torch.testing.assert_close(
        torch.einsum("bnd,bd->bn", xs, function[:, 0]), ys, atol=1e-3, rtol=1e-3
    )
    assert bool((function == function[:, :1]).all())
    posterior = targets("posterior", mixture, xs, ys)
    # After example i the posterior's prediction at any input is that of its mean coefficients.
    for i in (1, 3, 6):
        expected = bayes.posterior_predictive(mixture, xs[:, : i + 1], ys[:, : i + 1]).mean[:, i]
        found = (posterior[:, i - 1] * xs[:, i]).sum(-1)
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match="'slope'"):
        targets("slope", mixture, xs, ys)


def test_the_second_loss_reaches_the_model_and_only_its_weight_counts():
    plain, helped = (
        Run.start(Setting(SparseLinear(4, 2), CONFIG, steps=3, deep_supervision=weight))
        for weight in (0.0, 1.0)
    )
    before = {k: v.clone() for k, v in plain.model.state_dict().items()}
    assert all(torch.equal(v, helped.model.state_dict()[k]) for k, v in before.items())
    first = [next(iter(train_steps(run))) for run in (plain, helped)]
    assert first[0] == first[1], "the loss that is reported is that of the predictions"
    assert not torch.equal(plain.model.read_in.weight, helped.model.read_in.weight)
    assert plain.probes is None


@pytest.mark.parametrize("target", ["function", "posterior"])
def test_a_resumed_run_ends_with_the_very_weights_and_ships_no_probes(tmp_path, target):
    setting = replace(SETTING, supervision_target=target)
    whole = fit(setting, tmp_path / "whole", progress=False)
    half = Run.start(setting)
    for _ in zip(range(14), train_steps(half), strict=False):
        pass
    half.save(tmp_path / "cut" / "checkpoint.safetensors")
    resumed = fit(setting, tmp_path / "cut", progress=False)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[name]), name
    assert whole.probes is not None
    shipped = load_file(weights.save(resumed, "helped", tmp_path))
    assert shipped.keys() == Transformer(CONFIG).state_dict().keys()
    truth = torch.zeros(1, 1, 4)
    streams = [torch.ones(1, 3, 16)] * 3
    assert torch.equal(whole.probes(streams, truth), resumed.probes(streams, truth))


def test_what_cannot_be_supervised_is_refused():
    with pytest.raises(ValueError, match="three layers or more, got 2"):
        Setting(DenseLinear(4), TransformerConfig(4, 9, 2, 2, 16), steps=1, deep_supervision=1.0)
    with pytest.raises(ValueError, match="3 points in 4 dimensions at step 0"):
        Setting(
            DenseLinear(4),
            CONFIG,
            steps=9,
            examples=Ramp(3, 9, every=1),
            deep_supervision=1.0,
        )
    for function_class in (ReluNetwork(4), Mixture((DenseLinear(4), ReluNetwork(4)), (0.5, 0.5))):
        with pytest.raises(ValueError, match=r"needs linear functions, got ReluNetwork"):
            Setting(function_class, CONFIG, steps=1, deep_supervision=1.0)
    with pytest.raises(ValueError, match="deep_supervision"):
        Setting(DenseLinear(4), CONFIG, steps=1, deep_supervision=-1.0)
    with pytest.raises(ValueError, match="one of function, posterior, got 'slope'"):
        Setting(DenseLinear(4), CONFIG, supervision_target="slope")
    # What the examples say so far can be asked for before they determine the function.
    Setting(
        DenseLinear(4),
        CONFIG,
        examples=Ramp(3, 9, every=1),
        deep_supervision=1.0,
        supervision_target="posterior",
    )


def test_a_noisy_setting_trains_on_noisy_values_and_asks_for_what_follows_from_them():
    noisy = replace(SETTING, noise=0.5, supervision_target="posterior")
    xs, ys = noisy.prompts(0)
    same_xs, plain = SETTING.prompts(0)
    assert torch.equal(xs, same_xs)
    assert 0.3 < (ys - plain).square().mean().sqrt() < 0.7
    told = targets("posterior", noisy.function_class, xs, ys, 0.5)
    untold = targets("posterior", noisy.function_class, xs, ys)
    assert (told - untold).abs().max() > 0.1
    with pytest.raises(ValueError, match="needs supervision_target='posterior' with a noise of"):
        replace(SETTING, noise=0.5, supervision_target="function")
