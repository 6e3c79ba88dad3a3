"""Finitely many linear functions, and exact Bayes of them."""

import math

import pytest
import torch

from icl_lib import DenseLinear, bayes, sample_prompts
from icl_lib.recipes import RECIPES
from icl_lib.samplers import describe, undescribe
from icl_lib.tasks import TaskSet
from icl_lib.training import Setting

TASKS = TaskSet(3, 5, seed=7)


def test_every_function_is_one_of_the_tasks():
    xs, ys, _ = sample_prompts(TASKS, 400, 3, seed=1)
    values = torch.einsum("bnd,kd->bkn", xs.double(), TASKS.coefficients())
    nearest, which = (values - ys[:, None]).square().sum(2).min(1)
    assert nearest.max() < 1e-10
    counts = which.bincount(minlength=5)
    assert (counts > 50).all()  # 80 are expected of each


def test_the_tasks_belong_to_the_set_and_not_to_the_prompts():
    first, again = (sample_prompts(TASKS, 64, 2, seed=seed).ys for seed in (1, 2))
    assert not torch.equal(first, again)
    assert torch.equal(TaskSet(3, 9, seed=7).coefficients()[:5], TASKS.coefficients())
    assert not torch.equal(TaskSet(3, 5, seed=8).coefficients(), TASKS.coefficients())


def test_coefficients_are_normal():
    w = TaskSet(8, 20_000).coefficients()
    assert w.mean().item() == pytest.approx(0, abs=0.005)
    assert (8 * w.square()).mean().item() == pytest.approx(1, abs=0.02)
    assert torch.corrcoef(w.T).fill_diagonal_(0).abs().max() < 0.03


def test_second_moment_is_that_of_the_tasks():
    ys = sample_prompts(TASKS, 40_000, 1, seed=3).ys.double()
    assert ys.square().mean().item() == pytest.approx(TASKS.second_moment, rel=0.05)


def test_exact_bayes_weighs_the_tasks_by_their_likelihood():
    """Against sums over the tasks written out, in plain numbers."""
    noise = 0.3
    xs, ys, _ = sample_prompts(TASKS, 6, 5, seed=4, noise=noise)
    variance = noise**2 + bayes.JITTER**2
    posterior = bayes.posterior_predictive(TASKS, xs, ys, noise=noise)
    curve, certain = bayes.posterior_curve(TASKS, xs[:, :3], ys[:, :3], xs[:, 3:], noise=noise)
    w = TASKS.coefficients().tolist()

    def said(prompt: int, n: int, query: int) -> float:
        def f(task: list[float], at: int) -> float:
            return sum(a * b for a, b in zip(task, xs[prompt, at].tolist(), strict=True))

        likely = [
            math.exp(
                -sum((ys[prompt, i].item() - f(task, i)) ** 2 for i in range(n)) / (2 * variance)
            )
            for task in w
        ]
        return sum(p * f(task, query) for p, task in zip(likely, w, strict=True)) / sum(likely)

    for prompt in range(6):
        for n in range(5):
            assert posterior.mean[prompt, n].item() == pytest.approx(said(prompt, n, n), abs=1e-5)
        for query in (3, 4):
            expected = said(prompt, 3, query)
            assert curve[prompt, query - 3].item() == pytest.approx(expected, abs=1e-5)
    assert (posterior.component_probability == 1).all() and (certain == 1).all()


def test_prompts_are_taken_a_few_at_a_time_without_a_difference(monkeypatch):
    xs, ys, _ = sample_prompts(TASKS, 9, 6, seed=4, noise=0.1)

    def answers() -> tuple[torch.Tensor, torch.Tensor]:
        mean = bayes.posterior_predictive(TASKS, xs, ys, noise=0.1).mean
        return mean, bayes.posterior_curve(TASKS, xs[:, :4], ys[:, :4], xs[:, 4:], noise=0.1)[0]

    together = answers()
    monkeypatch.setattr("icl_lib.bayes.tasks._CHUNK", 1)
    for one, other in zip(together, answers(), strict=True):
        torch.testing.assert_close(one, other)


def test_many_tasks_are_as_good_as_all():
    """Where examples say little, the Bayesian of very many tasks answers as the one who expects any."""
    noise, tasks = 2.0, TaskSet(2, 40_000)
    xs, ys, _ = sample_prompts(DenseLinear(2), 20, 6, seed=5, noise=noise)
    of_tasks, of_all = (
        bayes.posterior_predictive(prior, xs, ys, noise=noise).mean
        for prior in (tasks, DenseLinear(2))
    )
    torch.testing.assert_close(of_tasks, of_all, atol=0.05, rtol=0)


def test_without_examples_the_mean_task_answers():
    xs, ys, _ = sample_prompts(TASKS, 2, 3, seed=4)
    mean, _ = bayes.posterior_curve(TASKS, xs[:, :0], ys[:, :0], xs)
    torch.testing.assert_close(mean.double(), xs.double() @ TASKS.coefficients().mean(0))


def test_a_set_of_tasks_survives_its_description():
    assert undescribe(describe(TASKS)) == TASKS


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TaskSet(0, 5), "dim must be .* got 0"),
        (lambda: TaskSet(2, 0), "count must be .* got 0"),
        (lambda: TaskSet(2, 3, -1), "seed must be .* got -1"),
        (lambda: TaskSet(2, 3).at_dim(1), "2 dimensions only, got 1"),
    ],
)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_recipes_tasks_are_named_by_their_number():
    for name in ("tasks-16-tiny", "tasks-64-tiny-640k-seed13", "tasks-unlimited-tiny"):
        setting: Setting = RECIPES[name]
        count = getattr(setting.function_class, "count", "unlimited")
        assert name.startswith(f"tasks-{count}-")
        assert setting.noise == pytest.approx(0.5 / 8**0.5)
