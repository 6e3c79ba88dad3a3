"""Many tasks: when a transformer knows the tasks of its pretraining by heart, and when it can learn others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import pandas as pd
from torch import Tensor

from icl_lib import claims, figures, recipes, weights
from icl_lib.claims import Measure
from icl_lib.evaluation import CurvePredictor, curve_predictions
from icl_lib.experiments.curves import OF, exact, mean_square
from icl_lib.experiments.experiment import (
    Experiment,
    less,
    ratio,
    ratio_of_ratios,
    rows_of,
    share_of,
    shares,
)
from icl_lib.figures import Picture
from icl_lib.samplers import DenseLinear, sample_prompts

ANY = DenseLinear(8)
"""What tasks are drawn from."""

COUNTS, SEEDS, NOISE = recipes.TASK_COUNTS, recipes.BRIEF_SEEDS, recipes.TASK_NOISE
FEW, MORE, SOME, MANY = 16, 64, 256, 1024
MOST = 16
"""Examples at most; what is asked for comes after them."""

RIDGE = "ridge"
"""Exact Bayes that expects any task: ridge regression."""


def model_of(count: int | None, seed: int, length: str = "160k") -> str:
    """The tiny model that was trained on `count` tasks of this seed, for so many prompts."""
    name = f"tasks-{count or 'unlimited'}-tiny" + ("" if length == "160k" else f"-{length}")
    return name + ("" if seed == SEEDS[0] else f"-seed{seed}")


MODELS = {
    (count, seed): model_of(count, seed)
    for count in COUNTS
    for seed in SEEDS
    if model_of(count, seed) in recipes.RECIPES
}
"""By how many tasks a model has met in 160,000 prompts, None for a new one in each, and its seed."""

LENGTHS = tuple(recipes.TASK_STEPS)
OVER_TIME = {(length, seed): model_of(MORE, seed, length) for length in LENGTHS for seed in SEEDS}
"""Models of 64 tasks, by how many prompts they have met, and the seed."""

ENDLESS = model_of(None, SEEDS[0], "640k")
"""As long, with a new task in each prompt: what length alone does."""

_ALL = tuple(dict.fromkeys([*MODELS.values(), *OVER_TIME.values(), ENDLESS]))


def predictor(name: str) -> CurvePredictor:
    """A predictor by its name: a model, the Bayesian of its tasks, or ridge regression."""
    if name != RIDGE and not name.startswith(OF):
        return weights.load(name).predict_curve
    prior = ANY if name == RIDGE else recipes.RECIPES[name.removeprefix(OF)].function_class
    return exact(prior, noise=NOISE)


@cache
def _asked(
    model: str, asked: str, n_examples: int, n_queries: int, seed: int, prompts: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Inputs and noisy values of the examples; inputs of the queries, and the function there."""
    function_class = recipes.RECIPES[model].function_class if asked == "met" else ANY
    count, points = max(prompts) + 1, MOST + n_queries
    xs, noisy, _ = sample_prompts(function_class, count, points, seed=seed, noise=NOISE)
    ys = sample_prompts(function_class, count, points, seed=seed).ys
    chosen, examples, queries = list(prompts), slice(0, n_examples), slice(MOST, None)
    return (
        xs[chosen, examples],
        noisy[chosen, examples],
        xs[chosen, queries],
        ys[chosen, queries].double(),
    )


def distances(
    model: str,
    who: str,
    asked: str,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far a predictor is from the function, from the Bayesian of a model's tasks, and from ridge regression."""
    xs, ys, queries, truth = _asked(model, asked, n_examples, n_queries, seed, tuple(prompts))
    names = {"model": model, "by heart": OF + model, RIDGE: RIDGE}
    said = curve_predictions(
        {name: predictor(names[name]) for name in {who, "by heart", RIDGE}}, xs, ys, queries
    )
    return pd.DataFrame(
        {
            "error": mean_square(said[who] - truth),
            "by_heart": mean_square(said[who] - said["by heart"]),
            "ridge": mean_square(said[who] - said[RIDGE]),
            "power": mean_square(truth),
        }
    )


EXPERIMENTS = (
    Experiment(
        name="many_tasks",
        version=1,
        about="one predictor on one noisy linear function, met in pretraining or not",
        columns={
            "error": "mean squared error over the queries, in units of f squared",
            "by_heart": "mean squared difference from the Bayesian who expects only the model's tasks",
            "ridge": "mean squared difference from the Bayesian who expects any task",
            "power": "mean square of the function's values at the same queries",
        },
        cases=[
            {"model": model, "who": who, "asked": asked, "n_examples": MOST}
            for model in _ALL
            for who in ("model", "by heart", RIDGE)
            for asked in ("met", "new")
        ],
        settings={"n_queries": 32, "seed": 43},
        n_prompts=256,
        measure=distances,
    ),
)


# --- Figures --------------------------------------------------------------------------------------

_LABELS = {
    "model": ("tiny transformer", "transformer"),
    "by heart": ("Bayes, those tasks only", "Bayes"),
    RIDGE: ("Bayes, any task (ridge)", "classical"),
}
_TITLES = {"met": "tasks of pretraining", "new": "tasks never met"}


def by_count(table: pd.DataFrame) -> pd.DataFrame:
    """Shares of error with their intervals, by `who`, `asked`, the number of tasks `count` and the `seed`."""
    found = shares(table[table.model.isin(MODELS.values())], ["model", "who", "asked"])
    keys = pd.DataFrame(
        [
            {"model": name, "count": "∞" if count is None else str(count), "seed": seed}
            for (count, seed), name in MODELS.items()
        ]
    )
    return found.merge(keys, on="model", validate="many_to_one")


def draw_counts(table: pd.DataFrame) -> Picture:
    """Errors on tasks of pretraining and on new ones against the number of tasks."""
    found = by_count(table)
    order = ["∞" if count is None else str(count) for count in COUNTS]
    found = found.assign(place=[order.index(count) for count in found["count"]])
    with figures.drawing(1, 2, figsize=(9.5, 3.9), sharey=True) as (figure, panels):
        for axes, (asked, title) in zip(panels, _TITLES.items(), strict=True):
            axes.set(ylim=(0, 1), title=title, xlabel="tasks in pretraining")
            axes.set_xticks(range(len(order)), ["2⁴", "2⁶", "2⁸", "2¹⁰", "2¹²", "2¹⁶", "∞"])
            for who, (label, role) in _LABELS.items():
                rows = found[(found.who == who) & (found.asked == asked)]
                look = figures.LOOKS[role]
                middle = rows.groupby("place").share.median()
                axes.plot(middle.index, middle, label=label, **look.line())
                axes.plot(rows.place, rows.share, "o", color=look.colour, markersize=3.5)
        panels[0].set_ylabel("error / mean square of f")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "Errors after 16 noisy examples against the number of tasks in pretraining, on tasks of pretraining and on "
            "new ones, of the tiny transformer, the Bayesian of those tasks and ridge regression.",
            "After 16 examples of 256 functions. Dots: trainings, each on tasks of its own, 160,000 prompts; lines: "
            "the middle one. Each Bayesian knows the noise.",
            found,
        )


def by_heart(table: pd.DataFrame, model: str, who: str = "model") -> tuple[pd.Series, pd.Series]:
    """On new tasks, by prompt: the distance from the Bayesian of the model's tasks, and the sum of both distances."""
    rows = rows_of(table, model=model, who=who, asked="new")
    return rows.by_heart, rows.by_heart + rows.ridge


def draw_time(table: pd.DataFrame) -> Picture:
    """How near to knowing by heart: against the number of tasks, and over training."""
    counted = [
        {"panel": "tasks", "at": count, "seed": seed, "measure": ratio(*by_heart(table, name))}
        for (count, seed), name in MODELS.items()
        if count is not None and count <= MANY
    ]
    timed = [
        {
            "panel": "prompts",
            "at": recipes.TASK_STEPS[length] * 64,
            "seed": seed,
            "measure": ratio(*by_heart(table, name)),
        }
        for (length, seed), name in OVER_TIME.items()
    ]
    found = pd.DataFrame([*counted, *timed])
    found[["share", "ci_low", "ci_high"]] = found.pop("measure").tolist()
    look = figures.LOOKS["transformer"]
    with figures.drawing(1, 2, figsize=(9.5, 3.6), sharey=True) as (figure, panels):
        for axes, (panel, title, label, ticks) in zip(
            panels,
            (
                ("tasks", "after 160,000 prompts", "tasks in pretraining", (16, 64, 256, 1024)),
                ("prompts", "64 tasks", "prompts in training", (60_032, 160_000, 640_000)),
            ),
            strict=True,
        ):
            rows = found[found.panel == panel]
            axes.set(xscale="log", ylim=(0, 1), title=title, xlabel=label)
            axes.minorticks_off()
            axes.set_xticks(
                ticks, [f"{tick:,}" if tick < 10_000 else f"{tick // 1000}k" for tick in ticks]
            )
            axes.axhline(claims.HALF, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            middle = rows.groupby("at").share.median()
            axes.plot(middle.index, middle, **look.line())
            axes.vlines(rows["at"], rows.ci_low, rows.ci_high, color=look.colour, linewidth=1.2)
            axes.plot(rows["at"], rows.share, "o", color=look.colour, markersize=4)
        panels[0].set_ylabel("0: knows its tasks by heart\n1: expects any task")
        return figures.picture(
            figure,
            "How near the tiny transformer's answers are to those of the Bayesian of its tasks, on tasks never met, "
            "against the number of tasks and against the prompts of training.",
            "Distance from the Bayesian of the model's tasks, over the sum of this and the distance from ridge "
            "regression; 256 new tasks, 16 examples. Dots: trainings, with 90% intervals; lines: the middle one.",
            found,
        )


# --- What the prose says --------------------------------------------------------------------------

Tables = Mapping[str, pd.DataFrame]


def places(table: pd.DataFrame, who: str = "model") -> dict[str, Measure]:
    """D4: between the two Bayesians, on new tasks, by the number of tasks and the seed."""
    return {
        f"{count:,} tasks, seed {seed}": ratio(*by_heart(table, MODELS[count, seed], who))
        for count in (FEW, MANY)
        for seed in SEEDS
    }


def later(table: pd.DataFrame, who: str = "model") -> dict[str, Measure]:
    """D5: the same as ratios, between numbers of tasks and between lengths of training."""
    pairs = {
        "16 tasks over 64": lambda seed: (MODELS[FEW, seed], MODELS[MORE, seed]),
        "64 tasks over 256": lambda seed: (MODELS[MORE, seed], MODELS[SOME, seed]),
        "long over short": lambda seed: (OVER_TIME["640k", seed], OVER_TIME["60k", seed]),
    }
    return {
        f"{what}, seed {seed}": ratio_of_ratios(
            *(by_heart(table, model, who) for model in pair(seed))
        )
        for what, pair in pairs.items()
        for seed in SEEDS
    }


def _excess(table: pd.DataFrame, model: str, asked: str, who: str) -> Measure:
    """A model's error above that of a Bayesian, as a share of the mean square."""
    ours, theirs = (rows_of(table, model=model, who=one, asked=asked) for one in ("model", who))
    return ratio(ours.error - theirs.error.to_numpy(), ours.power)


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: D4 and D5."""
    table = tables["many_tasks"]
    gate = {
        f"{MODELS[count, seed]} on {what}": _excess(table, MODELS[count, seed], asked, who)
        for count, what, asked, who in (
            (FEW, "its own tasks", "met", "by heart"),
            (None, "new tasks", "new", RIDGE),
        )
        for seed in SEEDS
    }
    where = "notebooks/many_tasks"
    return [
        claims.find(
            "D4",
            places(table),
            where=f"{where}#few-tasks-or-many",
            note="tiny models, 160,000 prompts each, three seeds; 256 tasks never met",
            beside={
                claims.BAYES: places(table, "by heart"),
                "null: ridge regression": places(table, RIDGE),
            },
            gate=gate,
        ),
        claims.find(
            "D5",
            later(table),
            where=f"{where}#does-it-come-to-know-them-by-heart",
            note="tiny models of 16, 64 and 256 tasks, three seeds; 256 tasks never met",
            beside={"null: ridge regression": later(table, RIDGE)},
            gate=gate,
        ),
    ]


def _each(table: pd.DataFrame, count: int | None, asked: str, who: str = "model") -> list[float]:
    """Errors as shares, one for each training on so many tasks."""
    names = [name for (number, _), name in MODELS.items() if number == count]
    return [share_of(table, model=name, who=who, asked=asked)[0] for name in names]


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    table = tables["many_tasks"]
    found = {}

    def span(name: str, values: list[float]) -> None:
        found[f"{name}.least"], found[f"{name}.most"] = f"{min(values):.2f}", f"{max(values):.2f}"

    for count in COUNTS:
        for asked in ("met", "new"):
            for who, word in (("model", ""), ("by heart", "heart."), (RIDGE, "ridge.")):
                span(f"{word}{count or 'any'}.{asked}", _each(table, count, asked, who))
        if count is not None:
            named = [name for (number, _), name in MODELS.items() if number == count]
            span(f"place.{count}", [ratio(*by_heart(table, name))[0] for name in named])
    for length in LENGTHS:
        named = [OVER_TIME[length, seed] for seed in SEEDS]
        span(f"place.64.{length}", [ratio(*by_heart(table, name))[0] for name in named])
        for asked in ("met", "new"):
            each = [share_of(table, model=name, who="model", asked=asked)[0] for name in named]
            span(f"64.{length}.{asked}", each)
    found["any.640k.new"] = figures.estimate(
        *share_of(table, model=ENDLESS, who="model", asked="new")
    )
    for word, column in (("from_heart", "by_heart"), ("from_ridge", "ridge")):
        few = [rows_of(table, model=MODELS[FEW, s], who="model", asked="new") for s in SEEDS]
        span(f"{FEW}.{word}", [ratio(rows[column], rows.power)[0] for rows in few])
    found["above_ridge"] = figures.estimate(*_excess(table, MODELS[None, SEEDS[0]], "new", RIDGE))
    return {f"tasks.{name}": words for name, words in found.items()}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name."""
    table = tables["many_tasks"]

    def errors(model: str, asked: str, who: str = "model") -> pd.Series:
        return rows_of(table, model=model, who=who, asked=asked).error

    def share(model: str, asked: str, who: str = "model") -> Measure:
        return share_of(table, model=model, who=who, asked=asked)

    def nearer(one: str, other: str) -> bool:
        """Whether a model is nearer to knowing its tasks by heart than another."""
        return ratio_of_ratios(by_heart(table, one), by_heart(table, other))[2] < 1

    few, more, some, many, endless = (
        [MODELS[count, seed] for seed in SEEDS] for count in (FEW, MORE, SOME, MANY, None)
    )
    brief, middle, long = ([OVER_TIME[length, seed] for seed in SEEDS] for length in LENGTHS)
    places = [ratio(*by_heart(table, name)) for name in few]
    between = [low < claims.HALF < high for _, low, high in places]
    found = {
        "few_fail_on_new": all(share(name, "new")[1] > 0.45 for name in few),
        "few_do_well_on_their_own": all(share(name, "met")[2] < 0.03 for name in few),
        "few_beat_ridge_on_their_own": all(
            less(errors(name, "met"), errors(name, "met", RIDGE)) for name in few
        ),
        "few_beat_their_bayesian_on_new": all(
            less(errors(name, "new"), errors(name, "new", "by heart")) for name in few
        ),
        "one_of_few_is_between": sum(between) == 1
        and sum(high < claims.HALF for _, _, high in places) == len(SEEDS) - 1,
        "more_nearly_do": all(share(name, "new")[2] < 0.15 for name in more),
        "some_do_as_any": all(
            less(errors(one, "new"), errors(other, "new"), 1.15)
            for one, other in zip(some, endless, strict=True)
        ),
        "many_do_as_any": all(
            less(errors(one, "new"), errors(other, "new"), 1.1)
            for one, other in zip(many, endless, strict=True)
        ),
        "many_beat_their_bayesian_on_new": all(
            less(errors(name, "new"), errors(name, "new", "by heart"), 0.3) for name in many
        ),
        "many_lose_to_their_bayesian_on_met": all(
            less(errors(name, "met", "by heart"), errors(name, "met"), 0.1) for name in many
        ),
        "any_is_undertrained": all(
            less(errors(name, "new", RIDGE), errors(name, "new"), 0.5) for name in endless
        ),
        "sixteen_sooner_than_more": all(
            nearer(one, other) for one, other in zip(few, more, strict=True)
        ),
        "brief_has_learnt_less": all(
            less(errors(one, asked), errors(other, asked))
            for asked in ("met", "new")
            for one, other in zip(middle, brief, strict=True)
        ),
        "long_is_nearer": all(nearer(one, other) for one, other in zip(long, middle, strict=True)),
        "long_gains_on_met": all(
            less(errors(one, "met"), errors(other, "met"))
            for one, other in zip(long, middle, strict=True)
        ),
        "long_loses_on_new": all(
            less(errors(one, "new"), errors(other, "new"), 0.8)
            for one, other in zip(middle, long, strict=True)
        ),
        "length_alone_helps": less(errors(ENDLESS, "new"), errors(endless[0], "new")),
        "long_loses_to_ridge": all(
            less(errors(name, "met", RIDGE), errors(name, "met")) for name in long
        ),
        "one_of_long_is_no_nearer": sum(
            low < 1 < high for name, (_, low, high) in later(table).items() if "long" in name
        )
        == 1,
        "sixteen_is_sooner_per_task": all(
            nearer(one, other) for one, other in zip(few, long, strict=True)
        ),
    }
    return {f"tasks.{name}": bool(holds) for name, holds in found.items()}
