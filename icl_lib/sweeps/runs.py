"""One run of a sweep: its recipe trained in a folder of its own, then measured; whoever is killed is gone on from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from torch import Tensor

from icl_lib import bayes, weights
from icl_lib.evaluation import CurvePredictor, excess_risk, learning_curves, same_query_errors
from icl_lib.model import Transformer
from icl_lib.samplers import FunctionClass
from icl_lib.speed import training_flops
from icl_lib.sweeps.grid import Tests, recipe_hash
from icl_lib.training import CHECKPOINT, Run, Setting, alone, fitting, write_whole

PATIENCE = 60.0
"""Seconds that a run waits for a process which was told to stop, but has yet to leave its folder."""

QUERIES = 32
"""Where each prompt's function is asked for, after the same examples."""


class Told(NamedTuple):
    """How far a run is.

    Args:
        step: steps done.
        loss: of the last of them; NaN before the first.
        left: seconds to its end at the pace since it began here; NaN where none has been done here.
    """

    step: int
    loss: float
    left: float


def measured_file(tests: Tests) -> str:
    """The file in a run's folder that holds what `tests` have measured."""
    return f"errors-{tests.digest()}.csv"


def is_trained(folder: Path) -> bool:
    """Whether the run of this folder has left its model there; the card is written last."""
    return (folder / f"{folder.name}.json").is_file()


def is_done(folder: Path, tests: Tests) -> bool:
    """Whether the run of this folder is trained and measured."""
    return is_trained(folder) and (folder / measured_file(tests)).is_file()


def cost(setting: Setting, folder: Path) -> dict[str, float]:
    """What the run of this folder has cost: steps, prompts, operations, and the seconds that its card tells."""
    card = weights.read_card(folder / f"{folder.name}.safetensors")
    steps = _length(setting)
    return {
        "steps": steps,
        "prompts": steps * setting.batch_size,
        "operations": training_flops(setting),
        "seconds": card["evaluation"]["training_seconds"],
    }


def carry_out(
    setting: Setting,
    tests: Tests,
    folder: Path,
    *,
    device: str = "cpu",
    save_every: int = 250,
    every: float = 1.0,
) -> Iterator[Told]:
    """Train and measure one recipe, as far as that is not done yet.

    The folder is named by the recipe's hash. While it is trained the folder holds its checkpoint, then the losses, the
    weights in half precision and their card, and last of all the table of errors.

    Args:
        setting: the recipe.
        tests: what the model is measured on.
        folder: of this run alone.
        device: where to train.
        save_every: steps between checkpoints.
        every: seconds between two reports.

    Yields:
        How far the run is: at its start, then every so many seconds, and at its end.

    Raises:
        ValueError: the folder is not this recipe's, or what is in it is damaged.
        OSError, FolderInUse, TrainingDiverged, KeyboardInterrupt: as for `fit`.
    """
    name = recipe_hash(setting)
    if folder.name != name:
        raise ValueError(f"the folder of this run must be called {name}, got {folder}")
    if not is_trained(folder):
        yield from _train(setting, folder, device, save_every, every)
    if not is_done(folder, tests):
        with alone(folder, "measuring", PATIENCE):
            path = folder / f"{name}.safetensors"
            table = measure(weights.load(path).to(device), setting, tests)
            write_whole(folder / measured_file(tests), partial(table.to_csv, index=False))


def _train(
    setting: Setting, folder: Path, device: str, save_every: int, every: float
) -> Iterator[Told]:
    """Train to the end, and leave losses, weights and card instead of the checkpoint."""
    steps = fitting(setting, folder, device=device, save_every=save_every, patience=PATIENCE)
    began = next(steps)
    done, since = began.step, time.monotonic()
    yield Told(done, began.losses[-1] if began.losses else float("nan"), float("nan"))
    told = since
    run = began
    for run in steps:
        now = time.monotonic()
        if now - told > every or run.step == setting.steps:
            told = now
            left = (now - since) / (run.step - done) * (_length(setting) - run.step)
            yield Told(run.step, run.losses[-1], left)
    with alone(folder, "training", PATIENCE):
        _keep(run, folder)


def _length(setting: Setting) -> int:
    assert setting.steps is not None, "a grid's recipes have a number of steps"
    return setting.steps


def _keep(run: Run, folder: Path) -> None:
    losses = pd.DataFrame({"step": range(run.step), "loss": run.losses})
    write_whole(folder / "losses.csv", partial(losses.to_csv, index=False))
    about = {"training_seconds": round(run.seconds, 3)}
    weights.save(run, folder.name, folder, dtype=torch.float16, evaluation=about)
    (folder / CHECKPOINT).unlink(missing_ok=True)


def measure(model: Transformer, setting: Setting, tests: Tests) -> pd.DataFrame:
    """Errors of a model, of exact Bayes with its own mixture as prior, and of the oracle that knows the test's class.

    Args:
        model: trained by `setting`.
        setting: its recipe.
        tests: what to measure on.

    Returns:
        One row for each test, number of examples and predictor: test, n_examples, predictor (transformer, Bayes or
        oracle), mse, ci_low, ci_high, and how much larger than each of the two the model's error is, on the same
        prompts: over_bayes, over_oracle with their 90% intervals. Where a posterior is not known, it is left out.
    """
    tables = []
    for name, function_class in tests.functions.items():
        priors = {"Bayes": setting.function_class, "oracle": function_class}
        references: dict[str, CurvePredictor] = {
            who: partial(_posterior_mean, prior, setting.noise)
            for who, prior in priors.items()
            if _is_known(prior)
        }
        errors = same_query_errors(
            {"transformer": model.predict_curve, **references},
            function_class,
            n_examples=tests.examples,
            n_queries=QUERIES,
            n_prompts=tests.n_prompts,
            seed=tests.seed,
            noise=setting.noise,
        )
        table = learning_curves(errors, tests.examples).drop(columns="median")
        for who in references:
            two = {one: errors[one] for one in ("transformer", who)}
            over = excess_risk(two, who, tests.examples)
            called = f"over_{who.lower()}"
            over.columns = [*over.columns[:2], called, f"{called}_low", f"{called}_high"]
            table = table.merge(over, on=["predictor", "n_examples"], how="left")
        table.insert(0, "test", name)
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _posterior_mean(
    prior: FunctionClass, noise: float, xs: Tensor, ys: Tensor, queries: Tensor
) -> Tensor:
    return bayes.posterior_curve(prior, xs, ys, queries, noise=noise)[0]


def _is_known(function_class: FunctionClass) -> bool:
    """Whether `bayes` has the posterior of a class."""
    xs = torch.zeros(1, 1, function_class.dim)
    try:
        bayes.posterior_curve(function_class, xs, xs[..., 0], xs)
    except ValueError:
        return False
    return True
