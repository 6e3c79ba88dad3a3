"""Functions between a line and a sine: who predicts them, how well, and as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from icl_lib import claims, figures
from icl_lib.claims import Measure
from icl_lib.experiments import curves
from icl_lib.experiments.curves import (
    BAYES,
    DOUBT,
    DOUBTING,
    LINE,
    LINEAR,
    MOST,
    ORACLE,
    SINE,
    SMALL,
    STANDARD,
    TINY,
)
from icl_lib.experiments.experiment import (
    Experiment,
    less,
    ratio,
    rows_of,
    share_of,
    shares,
    trained,
)
from icl_lib.figures import Picture
from icl_lib.samplers import ConvexCombination

MODELS = (STANDARD, SMALL, TINY, "line-tiny", "sine-tiny")
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
NOISES = (0.01, 0.1, 0.3)


def truth(weight: float) -> ConvexCombination:
    """The class that is asked for: weight on the line, the rest on the sine."""
    return ConvexCombination(LINE, SINE, weight)


def errors(
    predictor: str,
    weight: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far a predictor is from the function."""
    return curves.error(predictor, truth(weight), n_examples, n_queries, seed, tuple(prompts))


def distances(
    predictor: str,
    other: str,
    weight: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far two predictors are from each other."""
    return curves.distance(
        predictor, other, truth(weight), n_examples, n_queries, seed, tuple(prompts)
    )


def shapes(
    predictor: str,
    weight: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """What a predictor's curve is made of: what a line, a sine, and a line plus a sine leave of it."""
    return curves.shape(predictor, truth(weight), n_examples, n_queries, seed, tuple(prompts))


def _cases(names: Sequence[str], asked: Sequence[tuple[float, int]]) -> list[dict[str, object]]:
    return [{"predictor": name, "weight": a, "n_examples": n} for name in names for a, n in asked]


_SWEEP = [(a, n) for n in (10, MOST) for a in WEIGHTS]
_PAIRS = [(STANDARD, BAYES), (SMALL, BAYES), (TINY, BAYES), (STANDARD, LINEAR), (BAYES, LINEAR)]
_DOUBTS = [f"{DOUBT}{doubt}" for doubt in (1e-30, 0.01, 0.5)]
_PROMPTS = 256
_SETTINGS = {"n_queries": 32, "seed": 6}

EXPERIMENTS = (
    Experiment(
        name="combination_errors",
        version=1,
        about="one predictor on one prompt, whose function is weight * line + (1 - weight) * sine",
        columns=curves.ERROR,
        cases=[
            *_cases((*MODELS, BAYES, DOUBTING, LINEAR, ORACLE), _SWEEP),
            *_cases(_DOUBTS, [(a, MOST) for a in (0.0, 0.5, 1.0)]),
            *_cases([f"Bayes, noise {noise}" for noise in NOISES], [(0.5, 10), (0.5, MOST)]),
        ],
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=errors,
    ),
    Experiment(
        name="combination_distances",
        version=1,
        about="two predictors on one prompt: how far their answers are from each other",
        columns=curves.DISTANCE,
        cases=[
            {"predictor": one, "other": two, "weight": a, "n_examples": n}
            for one, two in _PAIRS
            for a, n in _SWEEP
        ]
        + [{"predictor": STANDARD, "other": DOUBTING, "weight": 0.5, "n_examples": MOST}],
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=distances,
    ),
    Experiment(
        name="combination_shapes",
        version=1,
        about="the curve that one predictor draws for one prompt, and what simple shapes leave of it",
        columns=curves.SHAPE,
        cases=_cases((STANDARD, SMALL, TINY, BAYES, LINEAR), [(a, MOST) for a in WEIGHTS]),
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=shapes,
    ),
)


# --- The figures ----------------------------------------------------------------------------------

BY = ["predictor", "weight", "n_examples"]
_BANDS = "Bands are 90% intervals over 256 prompts. Shares below 10⁻⁶ are drawn there."
_WEIGHT = "weight a of the line"


def draw_errors(table: pd.DataFrame) -> Picture:
    """Shares of the mean square that each predictor errs by, against the weight, after 10 and after 40 examples."""
    found = shares(
        table[table.predictor.isin(curves.LOOKS) & table.n_examples.isin((10, MOST))], BY
    )
    with figures.drawing(1, 2, figsize=(9.5, 3.6), sharey=True) as (figure, panels):
        for axes, n in zip(panels, (10, MOST), strict=True):
            axes.set(
                yscale="log",
                ylim=(curves.FLOOR / 2, 3),
                xlabel=_WEIGHT,
                title=f"after {n} examples",
            )
            axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            for name, role in curves.LOOKS.items():
                rows = found[(found.predictor == name) & (found.n_examples == n)]
                curves.draw_share(axes, rows, "weight", role, curves.NAMES[name])
        figures.name_lines(panels[1], list(curves.NAMES.values()))
        panels[0].set_ylabel(curves.SHARE)
        panels[0].annotate("predicting zero", (0.02, 1.2), fontsize=9)
        return figures.picture(
            figure,
            "Errors of the transformer, exact Bayes, the best linear predictor and the oracle against the weight of "
            "the line, after 10 and after 40 examples, on a log axis.",
            _BANDS,
            found,
        )


def draw_distances(errors: pd.DataFrame, distances: pd.DataFrame) -> Picture:
    """How far transformer and exact Bayes are from the function, and from each other."""
    apart = shares(
        distances[distances.n_examples == MOST], ["predictor", "other", "weight"], "distance"
    )
    own = shares(errors[errors.n_examples == MOST], ["predictor", "weight"])
    own = own[own.predictor.isin((STANDARD, BAYES))].assign(other="the function")
    found = pd.concat([own, apart])
    lines = {
        "transformer to function": (STANDARD, "the function", "transformer"),
        "Bayes to function": (BAYES, "the function", "Bayes"),
        "transformer to Bayes": (STANDARD, BAYES, "truth"),
        "transformer to best linear": (STANDARD, LINEAR, "best linear"),
    }
    with figures.drawing(figsize=(8.5, 3.4)) as (figure, axes):
        axes.set(xlabel=_WEIGHT, ylabel="mean squared distance, as a share")
        for label, (one, two, role) in lines.items():
            rows = found[(found.predictor == one) & (found.other == two)].sort_values("weight")
            figures.curve(axes, rows, "weight", "share", role, label)
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return figures.picture(
            figure,
            "Mean squared distances after 40 examples against the weight of the line: of the transformer and of exact "
            "Bayes from the function, of the transformer from exact Bayes and from the best linear predictor.",
            "After 40 examples. Bands are 90% intervals over 256 prompts.",
            found,
        )


def parts(table: pd.DataFrame) -> pd.DataFrame:
    """Of what each predictor's curves are made, as shares of their mean square: one shape, the sum of both, neither."""
    single = table[["off_line", "off_sine"]].min(axis=1)
    groups = table.assign(single=single).groupby(["predictor", "weight"])
    left = groups[["power", "single", "off_sum"]].mean()
    neither, single_left = left.off_sum / left.power, left.single / left.power
    made = {"one": 1 - single_left, "both": single_left - neither, "neither": neither}
    return pd.DataFrame(made).reset_index()


def draw_shapes(table: pd.DataFrame) -> Picture:
    """What the curves of transformer, exact Bayes and the best linear predictor are made of, after 40 examples."""
    found = parts(table)
    hues = {"one": "#0072b2", "both": "#cc79a7", "neither": "#e69f00"}
    names = {"one": "a line, or a sine", "both": "the sum of both", "neither": "neither"}
    shown = (STANDARD, BAYES, LINEAR)
    with figures.drawing(1, 3, figsize=(9.5, 3.4), sharey=True) as (figure, panels):
        for axes, name in zip(panels, shown, strict=True):
            rows = found[found.predictor == name].sort_values("weight")
            axes.stackplot(
                rows.weight,
                *(rows[part] for part in hues),
                colors=list(hues.values()),
                alpha=0.65,
                labels=list(names.values()),
            )
            axes.set(title=curves.NAMES[name], xlabel=_WEIGHT, ylim=(0.75, 1), xlim=(0, 1))
        panels[0].set_ylabel("share of the curve")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "Shares of the predicted curve that a line or a sine makes up, that it takes the sum of both for, and that "
            "neither reaches, against the weight of the line, for transformer, exact Bayes and best linear.",
            "After 40 examples, at 32 queries of 256 prompts. The axis begins at three quarters.",
            found[found.predictor.isin(shown)],
        )


# --- What the prose says --------------------------------------------------------------------------

CLAIMED = {"a = 0": 0.0, "a = 0.1": 0.1, "a = 0.5": 0.5, "a = 0.9": 0.9, "a = 1": 1.0}


def measures(table: pd.DataFrame, name: str = STANDARD) -> dict[str, Measure]:
    """What the claim on combinations is judged by, of one predictor: shares after 40 examples."""
    found = shares(table[(table.predictor == name) & (table.n_examples == MOST)], ["weight"])
    rows = found.set_index("weight")[["share", "ci_low", "ci_high"]].T.to_dict("list")
    return {key: (rows[a][0], rows[a][1], rows[a][2]) for key, a in CLAIMED.items()}


def _halfway(shapes: pd.DataFrame) -> dict[Any, Any]:
    """What each predictor's curves are made of at a = 0.5."""
    found = parts(shapes)
    return found[found.weight == 0.5].set_index("predictor").to_dict("index")


def numbers(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    errors, distances = tables["combination_errors"], tables["combination_distances"]
    late, early = (errors[errors.n_examples == n] for n in (MOST, 10))
    short = {
        STANDARD: "standard",
        SMALL: "small",
        TINY: "tiny",
        BAYES: "bayes",
        DOUBTING: "doubting",
        LINEAR: "linear",
    }
    found = {}
    for name, called in short.items():
        for where, a in (("sines", 0.0), ("half", 0.5), ("lines", 1.0)):
            found[f"{called}.{where}"] = figures.estimate(*share_of(late, predictor=name, weight=a))
        found[f"{called}.early"] = figures.estimate(*share_of(early, predictor=name, weight=0.5))
    found["oracle.half"] = figures.estimate(*share_of(late, predictor=ORACLE, weight=0.5))
    for n in (10, MOST):
        noisy = errors[errors.n_examples == n]
        noise = share_of(noisy, predictor="Bayes, noise 0.3", weight=0.5)
        found[f"noise.{n}"] = figures.estimate(*noise)
    apart = distances[(distances.n_examples == MOST) & (distances.weight == 0.5)]
    for one, two in _PAIRS:
        share = share_of(apart, "distance", predictor=one, other=two)
        found[f"{short[one]}.from.{short[two]}"] = figures.estimate(*share)
    for called, doubt in zip(("least", "most"), (_DOUBTS[0], _DOUBTS[-1]), strict=True):
        share = share_of(late, predictor=doubt, weight=0.5)
        found[f"doubt.{called}"] = figures.estimate(*share)
    share = share_of(apart, "distance", predictor=STANDARD, other=DOUBTING)
    found["standard.from.doubting"] = figures.estimate(*share)
    for called, gain in _gains(errors).items():
        found[f"{called}.gain"] = figures.estimate(*gain)
    made = _halfway(tables["combination_shapes"])
    for name in (STANDARD, BAYES, LINEAR):
        for part in ("one", "both", "neither"):
            found[f"{short[name]}.{part}"] = f"{100 * made[name][part]:.0f}%"
    return {f"combinations.{name}": words for name, words in found.items()}


def findings(tables: Mapping[str, pd.DataFrame]) -> list[claims.Finding]:
    """What the chapter found: C6."""
    errors = tables["combination_errors"]
    late = errors[errors.n_examples == MOST]
    return [
        claims.find(
            "C6",
            measures(errors),
            where="notebooks/convex_combinations#who-fails-between-the-classes",
            note=f"{trained(STANDARD)}; 256 prompts at each weight",
            beside={
                claims.BAYES: measures(errors, BAYES),
                "null: best linear": measures(errors, LINEAR),
            },
            gate={
                "lines": share_of(late, predictor=STANDARD, weight=1.0),
                "sines": share_of(late, predictor=STANDARD, weight=0.0),
            },
        )
    ]


def _gains(errors: pd.DataFrame) -> dict[str, Measure]:
    """Error at 40 examples over that at 10, halfway and on sines."""
    asked = {
        "standard": (STANDARD, 0.5),
        "bayes": (BAYES, 0.5),
        "linear": (LINEAR, 0.5),
        "sines": (STANDARD, 0.0),
    }
    gains = {}
    for called, (name, a) in asked.items():
        late, early = (
            rows_of(errors, predictor=name, weight=a, n_examples=n).error for n in (MOST, 10)
        )
        gains[called] = ratio(late, early)
    return gains


def conditions(tables: Mapping[str, pd.DataFrame]) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name: each must hold with its whole interval."""
    errors, distances = tables["combination_errors"], tables["combination_distances"]
    late = errors[errors.n_examples == MOST]

    def error(name: str, weight: float = 0.5) -> pd.Series:
        return rows_of(late, predictor=name, weight=weight).error

    def early(name: str) -> pd.Series:
        return rows_of(errors, predictor=name, weight=0.9, n_examples=10).error

    to_bayes = rows_of(
        distances, predictor=STANDARD, other=BAYES, weight=0.5, n_examples=MOST
    ).distance
    to_doubting = rows_of(
        distances, predictor=STANDARD, other=DOUBTING, weight=0.5, n_examples=MOST
    ).distance
    power = rows_of(late, predictor=STANDARD, weight=0.5).power
    shared = {
        name: share_of(late, predictor=name, weight=0.5)
        for name in (STANDARD, "line-tiny", "sine-tiny", "Bayes, noise 0.3")
    }
    gains, made = _gains(errors), _halfway(tables["combination_shapes"])
    judge, ours = claims.CLAIMS["C6"].judge, measures(errors)
    found = {
        "learns_both": all(ours[end][2] < claims.WORSE for end in ("a = 0", "a = 1")),
        "fails_between": judge(ours) == "supported",
        "bayes_fails_between": judge(measures(errors, BAYES)) == "supported",
        "bayes_errs_more": less(error(STANDARD), error(BAYES)),
        "small_err_more": all(less(error(BAYES), error(name)) for name in (SMALL, TINY)),
        "not_that_bayesian": less(power * claims.WORSE, to_bayes),
        "farther_from_bayes": less(error(STANDARD), to_bayes),
        "data_suffice": all(less(error(LINEAR), error(name), 0.05) for name in (BAYES, STANDARD)),
        "doubt_saves": all(less(error(name), error(BAYES), 0.2) for name in (DOUBTING, *_DOUBTS)),
        "doubt_is_free": all(
            share_of(late, predictor=name, weight=end)[2] < 1e-6
            for name in (DOUBTING, *_DOUBTS)
            for end in (0.0, 1.0)
        ),
        "doubt_costs_near_ends": less(early(BAYES), early(DOUBTING)),
        "between_the_two": less(error(DOUBTING), error(STANDARD))
        and less(error(STANDARD), error(BAYES))
        and less(to_doubting, to_bayes),
        "best_linear_pays": less(error(BAYES, 0.0), error(LINEAR, 0.0)),
        "bayes_has_one_shape": made[BAYES]["one"] > 0.99 > made[STANDARD]["one"],
        "adds_half": made[LINEAR]["both"]
        > made[STANDARD]["both"]
        > made[STANDARD]["neither"]
        > 0.01,
        "helped_not_repaired": gains["standard"][2] < 1 and shared[STANDARD][1] > claims.WORSE,
        "helped_less_than_sines": gains["sines"][2] < gains["standard"][1],
        "noise_is_no_remedy": shared["Bayes, noise 0.3"][1] > claims.WORSE,
        "single_classes_fail": all(
            shared[name][1] > claims.WORSE for name in ("line-tiny", "sine-tiny")
        ),
    }
    return {f"combinations.{name}": bool(holds) for name, holds in found.items()}
