"""Pretraining in steps that are functions of tensors: the same mathematics as the trainer's, and the page's."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from icl_lib import Transformer, bayes, sample_prompts
from icl_lib.model import KIND
from icl_lib.muon import Muon
from icl_lib.pretraining import (
    ADAMW_RATE,
    CLASSES,
    CONFIG,
    CONFIGS,
    EXAMPLES,
    MUON_RATE,
    PHASES,
    QUERIES,
    SHOWN,
    STEPS,
    InitialWeights,
    Look,
    Packing,
    Pretraining,
    PromptsOfStep,
    TrainingStep,
    phase_at,
    rate_at,
    shown_prompts,
)
from icl_lib.samplers import Mixture, training_seed
from icl_lib.weights import trained_on

WEIGHTS = (0.4, 0.3, 0.2, 0.1)
SEED = torch.tensor(training_seed(3))


def whole(number: int) -> Tensor:
    return torch.tensor(number)


def test_packed_parameters_come_out_as_they_went_in() -> None:
    packing = Packing(CONFIG)
    generator = torch.Generator().manual_seed(0)
    named = {
        name: torch.randn(shape, generator=generator) for name, shape in packing.shapes.items()
    }
    packed = packing.pack(named)
    found = packing.unpack(packed)
    assert found.keys() == named.keys()
    assert all(torch.equal(found[name], named[name]) for name in named)
    for name, (k, begin) in packing.places().items():
        there = packed[k].flatten()[begin : begin + named[name].numel()]
        assert torch.equal(there, named[name].flatten()), name


def test_first_weights_are_distributed_as_a_transformer_s_and_follow_from_the_seed() -> None:
    packing, initial = Packing(CONFIG), InitialWeights(CONFIG)
    params = initial(SEED)
    named = packing.unpack(params)
    torch.manual_seed(0)
    usual = dict(Transformer(CONFIG).named_parameters())
    assert named.keys() == usual.keys()
    for name, value in named.items():
        like = usual[name].detach()
        assert value.shape == like.shape and value.dtype == torch.float32
        if value.numel() > 1000:
            assert value.std() == pytest.approx(like.std().item(), rel=0.15), name
        elif "norm" in name:
            assert torch.equal(value, like), name
    assert all(torch.equal(a, b) for a, b in zip(params, initial(SEED), strict=True))
    assert not torch.equal(params[0], initial(SEED + 1)[0])


@pytest.mark.parametrize("step", [0, 7])
def test_prompts_are_the_sampler_s(step: int) -> None:
    mixture = Mixture(tuple(CLASSES.values()), WEIGHTS)
    wanted = sample_prompts(mixture, 32, 41, seed=int(SEED), step=step)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    for found, there in zip(PromptsOfStep(32, 41)(SEED, whole(step), weights), wanted, strict=True):
        assert torch.equal(found, there)
    fewer = PromptsOfStep(8, 11)(SEED, whole(step), weights)
    assert torch.equal(fewer[1], wanted.ys[:8, :11])


def test_the_first_weights_have_random_numbers_of_their_own() -> None:
    """Not those of the first prompts, as they would have at the same address."""
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    positions = Packing(CONFIG).unpack(InitialWeights(CONFIG)(SEED))["positions.weight"]
    kind = (
        positions[::2] - positions[1::2]
    )  # what a point's two tokens do not share: a difference of two draws
    xs, _, _ = PromptsOfStep(1, 128)(SEED, whole(0), weights)
    assert not torch.allclose(kind[0] / KIND, (xs[0, :64] - xs[0, 64:])[:, 0], atol=1e-3)


def test_the_chapter_s_steps_lower_the_loss() -> None:
    run = Pretraining(seed=1, total=STEPS[1])
    losses = torch.tensor([run.advance([0.5, 0.5, 0.0, 0.0]) for _ in range(150)])
    assert losses[-25:].mean() < 0.8 * losses[:25].mean()


def test_a_class_of_weight_zero_is_never_drawn() -> None:
    weights = torch.tensor([0.5, 0.0, 0.0, 0.5], dtype=torch.float64)
    _, _, which = PromptsOfStep(512, 2)(SEED, whole(0), weights)
    assert set(which.tolist()) == {0, 3}


def test_a_step_is_that_of_the_trainer_s_optimisers() -> None:
    """Twenty steps, beside the model itself under `Muon` and torch's own AdamW."""
    run, total = Pretraining(seed=3, total=500), 500
    model = run.model().train()
    matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
    rest = [p for p in model.parameters() if all(p is not m for m in matrices)]
    muon = Muon(matrices, lr=MUON_RATE, weight_decay=0.1)
    adamw = torch.optim.AdamW(rest, lr=ADAMW_RATE, weight_decay=0.0)
    mixture = Mixture(tuple(CLASSES.values()), WEIGHTS)
    for step in range(20):
        phase, rate = phase_at(step, total), float(rate_at(whole(step), whole(total)))
        xs, ys, _ = sample_prompts(mixture, phase.prompts, phase.points, seed=int(SEED), step=step)
        loss = (model(xs, ys) - ys).square().mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser, peak in ((muon, MUON_RATE), (adamw, ADAMW_RATE)):
            optimiser.param_groups[0]["lr"] = peak * rate
            optimiser.step()
            optimiser.zero_grad()
        assert run.advance(WEIGHTS) == pytest.approx(loss.item(), abs=1e-4)
    for (name, mine), wanted in zip(
        run.model().named_parameters(), model.parameters(), strict=True
    ):
        torch.testing.assert_close(mine, wanted, atol=1e-4, rtol=0, msg=name)


def test_rates_rise_and_fall_to_nothing_and_prompts_grow() -> None:
    for total in STEPS:
        rates = [float(rate_at(whole(step), whole(total))) for step in range(total + 1)]
        assert rates[0] < 0.05 and max(rates) > 0.9 and rates[total] == 0.0
        assert rates[total // 2 :] == sorted(rates[total // 2 :], reverse=True)
        points = [phase_at(step, total).points for step in range(total)]
        assert points == sorted(points) and set(points) == {phase.points for phase in PHASES}
    assert len({phase.points * phase.prompts for phase in PHASES}) <= 3
    assert max(phase.points for phase in PHASES) == CONFIG.max_examples


def test_the_chapter_says_how_many_prompts_a_run_meets() -> None:
    total = STEPS[1]
    met = sum(phase_at(step, total).prompts for step in range(total))
    chapter = Path(__file__).parents[1] / "notebooks" / "pretrain.ipynb"
    assert f"A thousand steps meet {met:,} prompts." in chapter.read_text(encoding="utf-8")


def test_a_look_beside_exact_bayes_for_any_weights() -> None:
    look = Look(CONFIG)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    mixture = Mixture(tuple(CLASSES.values()), WEIGHTS)
    run = Pretraining(seed=3)
    errors, curves, floor, best = look(run.params, weights)
    model = run.model()
    with torch.no_grad():
        wanted = (
            (model(look.xs, look.ys) - look.ys).square().unflatten(0, (len(CLASSES), -1)).mean(1)
        )
    torch.testing.assert_close(errors, wanted)
    exact = bayes.posterior_predictive(mixture, look.xs, look.ys).mean
    wanted = (exact - look.ys).double().square().unflatten(0, (len(CLASSES), -1)).mean(1)
    torch.testing.assert_close(floor, wanted, atol=1e-5, rtol=1e-3)
    xs, ys, _ = shown_prompts()
    queries = QUERIES[None, :, None].expand(len(SHOWN), -1, -1)
    with torch.no_grad():
        torch.testing.assert_close(curves, model.predict_curve(xs.float(), ys.float(), queries))
    wanted, _ = bayes.posterior_curve(mixture, xs, ys, queries.double())
    torch.testing.assert_close(best, wanted, atol=1e-5, rtol=1e-3)
    assert xs.shape[1] == EXAMPLES


def test_exact_bayes_of_one_class_does_not_know_the_others() -> None:
    lines = torch.tensor([1.0, 0.0, 0.0, 0.0], dtype=torch.float64)
    _, _, floor, _ = Look(CONFIG)(Pretraining(seed=3).params, lines)
    assert floor[0, -1] < 1e-6
    assert floor[1:, -1].min() > 0.05


def test_the_model_s_card_says_what_the_run_has_met() -> None:
    run = Pretraining(seed=3, total=500, config=CONFIGS["mini"])
    assert run.model().card is None
    with pytest.raises(ValueError, match="met nothing yet"):
        run.met()
    run.advance([0.5, 0.5, 0.0, 0.0])
    run.total = 1000
    for _ in range(3):
        run.advance([0.0, 1.0, 0.0, 0.0])
    assert run.met() == [0.125, 0.875, 0.0, 0.0]
    card = run.model().card
    assert card is not None
    assert trained_on(card) == Mixture(tuple(CLASSES.values()), (0.125, 0.875, 0.0, 0.0))
    assert (card["name"], card["seed"], card["steps"]) == ("pretrained-mini-3-4", 3, 4)
    recipe = card["recipe"]
    assert recipe["mixtures"] == [[0, [0.5, 0.5, 0.0, 0.0]], [1, [0.0, 1.0, 0.0, 0.0]]]
    assert recipe["lengths"] == [[0, 500], [1, 1000]] and recipe["steps"] == 1000


def test_what_is_no_run_is_refused() -> None:
    run = Pretraining(seed=1, total=1)
    with pytest.raises(ValueError, match="weight"):
        run.advance([0.5, 0.6, 0.0, 0.0])
    with pytest.raises(ValueError, match="one weight per class"):
        run.advance([1.0])
    run.advance([1.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="ended after 1 steps"):
        run.advance([1.0, 0.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="total"):
        Pretraining(seed=1, total=0)
    with pytest.raises(ValueError, match="seed"):
        Pretraining(seed=-1)


def test_a_step_s_own_arguments_suffice() -> None:
    """Nothing is kept between steps but what is handed on: two runs that share a step do not meet."""
    train, prompts = TrainingStep(CONFIG), PromptsOfStep(4, 5)
    weights = torch.tensor(WEIGHTS, dtype=torch.float64)
    xs, ys, _ = prompts(SEED, whole(0), weights)
    params = InitialWeights(CONFIG)(SEED)
    once = train(params, *train.at_rest(params), xs, ys, whole(0), whole(10))
    twice = train(params, *train.at_rest(params), xs, ys, whole(0), whole(10))
    assert torch.equal(once[0], twice[0])
    assert all(torch.equal(a, b) for a, b in zip(once[1], twice[1], strict=True))
