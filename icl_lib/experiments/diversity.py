"""The debate: whether many types of functions in training help with types that were never in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from icl_lib import bayes, claims, figures, recipes
from icl_lib.claims import Measure
from icl_lib.experiments import combinations, curves
from icl_lib.experiments.curves import LINE, LINEAR_OF, MOST, OF, SINE, TINY
from icl_lib.experiments.experiment import Experiment, less, ratio, rows_of, share_of, shares
from icl_lib.figures import Picture
from icl_lib.samplers import ConvexCombination, FunctionClass, sample_prompts
from icl_lib.shapes import Placed, Polynomial

UNSEEN: Mapping[str, FunctionClass] = {
    "box": Placed("box"),
    "quintic": Polynomial(5),
    "two sines": ConvexCombination(SINE, SINE, 0.5),
    "halfway": combinations.truth(0.5),
}
"""Types that no training has met."""

ASKED: Mapping[str, FunctionClass] = {"line": LINE, "sine": SINE, **UNSEEN}
"""What is asked for, by the name that tables have for it."""

COUNTS, SEEDS = recipes.TYPE_COUNTS, recipes.BRIEF_SEEDS
FEW, MANY = 2, 16


def model_of(count: int, seed: int) -> str:
    """The tiny model that was trained on `count` types with this seed, which also orders the types."""
    if seed == SEEDS[0] and count <= FEW:
        return {1: "sine-tiny", 2: TINY}[count]
    return f"types-{count}-tiny" + ("" if seed == SEEDS[0] else f"-seed{seed}")


MODELS = {(count, seed): model_of(count, seed) for count in COUNTS for seed in SEEDS}
"""By how many types a model has met, and its seed."""

MIXTURES = {
    (count, seed): name
    for (count, seed), name in MODELS.items()
    if count in (4, 8) or seed == SEEDS[0]
}
"""As MODELS, one model for each mixture: which types are 1, 2 or 16 of them does not depend on the seed."""


def error(
    predictor: str, asked: str, n_examples: int, n_queries: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How far a predictor is from the function."""
    return curves.error(predictor, ASKED[asked], n_examples, n_queries, seed, tuple(prompts))


def belief(
    asked: str, n_examples: int, n_queries: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How sure exact Bayes of all the types is that a function is a smooth one, of the Gaussian process."""
    xs, ys, _ = sample_prompts(ASKED[asked], max(prompts) + 1, MOST + n_queries, seed=seed)
    xs, ys = xs[list(prompts), :n_examples].double(), ys[list(prompts), :n_examples].double()
    prior = recipes.many_types(MANY, SEEDS[0])
    _, probability = bayes.posterior_curve(prior, xs, ys, xs[:, :1])
    smooth = prior.classes.index(recipes.TYPES["smooth"])
    return pd.DataFrame({"smooth": probability[:, smooth].numpy()})


_SETTINGS = {"n_queries": 32, "seed": 41}

EXPERIMENTS = (
    Experiment(
        name="debate_beliefs",
        version=1,
        about="exact Bayes with the prior of sixteen types, on one prompt of a type never met",
        columns={"smooth": "probability that the function is of the Gaussian process"},
        cases=[{"asked": asked, "n_examples": MOST} for asked in UNSEEN],
        settings=_SETTINGS,
        n_prompts=128,
        measure=belief,
    ),
    Experiment(
        name="debate_diversity",
        version=1,
        about="one predictor on one prompt, after training on 1 to 16 types of functions",
        columns=curves.ERROR,
        cases=[
            {"predictor": name, "asked": asked, "n_examples": MOST}
            for name in (
                *MODELS.values(),
                *(of + model for of in (OF, LINEAR_OF) for model in MIXTURES.values()),
            )
            for asked in ASKED
        ],
        settings=_SETTINGS,
        n_prompts=128,
        measure=error,
    ),
)


# --- The figure -----------------------------------------------------------------------------------

_TITLES = {
    "box": "box: never met",
    "quintic": "quintic: never met",
    "two sines": "two sines: never met",
    "halfway": "halfway: never met",
    "line": "line: met from two types on",
    "sine": "sine: always met",
}
_DRAWN = (1e-3, 100)
_WHO = {"": "transformer", OF: "Bayes", LINEAR_OF: "best linear"}
_LABELS = {
    "transformer": "tiny transformer",
    "Bayes": "exact Bayes, same types",
    "best linear": "best linear, same types",
}


def by_count(table: pd.DataFrame) -> pd.DataFrame:
    """Shares with their intervals, by `who` predicts, the number of types `count`, the `seed`, and what is `asked`."""
    found = shares(table, ["predictor", "asked"])
    keys = pd.DataFrame(
        [
            {"predictor": of + name, "who": who, "count": count, "seed": seed}
            for of, who in _WHO.items()
            for (count, seed), name in (MODELS if who == "transformer" else MIXTURES).items()
        ]
    )
    return found.merge(keys, on="predictor", validate="many_to_one")


def draw(table: pd.DataFrame) -> Picture:
    """Errors against the number of types, a dot for each training, beside exact Bayes and the best linear predictor."""
    found = by_count(table)
    places = {count: i for i, count in enumerate(COUNTS)}
    with figures.drawing(2, 3, figsize=(9.5, 5.6), sharex=True, sharey=True) as (figure, panels):
        for axes, (asked, title) in zip(panels.flat, _TITLES.items(), strict=True):
            axes.set(yscale="log", ylim=_DRAWN, title=title)
            axes.set_xticks(list(places.values()), [str(count) for count in COUNTS])
            for who, label in _LABELS.items():
                rows = found[(found.who == who) & (found.asked == asked)]
                rows = rows.assign(place=rows["count"].map(places), share=rows.share.clip(*_DRAWN))
                look = figures.LOOKS[who]
                middle = rows.groupby("place").share.median()
                axes.plot(middle.index, middle, label=label, **look.line())
                axes.plot(rows.place, rows.share, "o", color=look.colour, markersize=3.5)
        for axes in panels[:, 0]:
            axes.set_ylabel(curves.SHARE)
        for axes in panels[-1]:
            axes.set_xlabel("types in training")
        figure.legend(
            *panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3
        )
        return figures.picture(
            figure,
            "Errors after 40 examples against the number of types in training, on four types never met, on lines and "
            "on sines, of the tiny transformer, exact Bayes and the best linear predictor.",
            "After 40 examples of 128 functions of each kind. Dots: trainings, three seeds for each number of types, "
            "160,000 prompts each; lines: the middle one. Predictors with the same types: where the seeds' types "
            "differ, one for each. Shares beyond the frame are drawn at its edge.",
            found,
        )


# --- What the prose says --------------------------------------------------------------------------

Tables = Mapping[str, pd.DataFrame]


def unseen_error(table: pd.DataFrame, predictor: str) -> pd.Series:
    """Per prompt number: the sum over UNSEEN of the error, each as a share of its kind's mean square."""
    kinds = [rows_of(table, predictor=predictor, asked=asked) for asked in UNSEEN]
    return (
        pd.concat([kind.set_index("prompt").error / kind.power.mean() for kind in kinds])
        .groupby(level=0)
        .sum()
    )


def gains(table: pd.DataFrame, of: str = "", many: int = MANY) -> dict[str, Measure]:
    """D3: the error on types never met after `many` types, over that after two, for each seed.

    Args:
        table: debate_diversity.
        of: "" for the models, or how the name of a predictor of the same types begins.
        many: how many types are compared with two.
    """
    models = MIXTURES if of else MODELS
    found = {}
    for seed in SEEDS:
        pair = [models.get((count, seed), models[count, SEEDS[0]]) for count in (many, FEW)]
        found[f"seed {seed}"] = ratio(*(unseen_error(table, of + name) for name in pair))
    return found


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: D3."""
    table = tables["debate_diversity"]
    return [
        claims.find(
            "D3",
            gains(table),
            where="notebooks/debate#would-more-types-of-functions-help",
            note="six tiny models, 160,000 prompts each; 128 prompts of each of four types never met",
            beside={
                claims.BAYES: gains(table, OF),
                "null: two types again": gains(table, many=FEW),
            },
            gate={
                f"{MODELS[MANY, seed]} on lines": share_of(
                    table, predictor=MODELS[MANY, seed], asked="line"
                )
                for seed in SEEDS
            },
        )
    ]


def _each(table: pd.DataFrame, count: int, asked: str) -> list[Measure]:
    """A share for each of the three trainings on so many types."""
    return [share_of(table, predictor=MODELS[count, seed], asked=asked) for seed in SEEDS]


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the section's prose, by name."""
    table = tables["debate_diversity"]
    found = {}
    for count in COUNTS:
        for asked in ASKED:
            name = f"{count}.{asked.replace(' ', '')}"
            each = [share for share, _, _ in _each(table, count, asked)]
            found[f"{name}.least"] = f"{min(each):.2f}"
            found[f"{name}.most"] = f"{max(each):.2f}"
            for word, of in (("bayes", OF), ("linear", LINEAR_OF)):
                measure = share_of(table, predictor=of + MODELS[count, SEEDS[0]], asked=asked)
                found[f"{word}.{name}"] = figures.estimate(*measure)
    left = [share for share, _, _ in gains(table).values()]
    found |= {"left.least": f"{min(left):.2f}", "left.most": f"{max(left):.2f}"}
    return {f"diversity.{name}": words for name, words in found.items()}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the section's sentences hang on, by name."""
    table, beliefs = tables["debate_diversity"], tables["debate_beliefs"]

    def errors(count: int, seed: int, asked: str) -> pd.Series:
        return rows_of(table, predictor=MODELS[count, seed], asked=asked).error

    def beside(of: str, count: int, asked: str) -> Measure:
        return share_of(table, predictor=of + MODELS[count, SEEDS[0]], asked=asked)

    falls = {
        asked: [less(errors(MANY, seed, asked), errors(FEW, seed, asked)) for seed in SEEDS]
        for asked in ASKED
    }
    rises = [less(errors(FEW, seed, "sine"), errors(MANY, seed, "sine")) for seed in SEEDS]
    by_eight = [
        ratio(unseen_error(table, MODELS[MANY, s]), unseen_error(table, MODELS[8, s]))
        for s in SEEDS
    ]
    found = {
        "most_falls": all(all(falls[asked]) for asked in ("box", "quintic", "halfway")),
        "two_sines_stay": not any(falls["two sines"]),
        "sines_pay": all(rises),
        "a_third_goes": all(0.5 < share < 0.7 for share, _, _ in gains(table).values()),
        "half_is_not_shown": all(high > claims.CURED for _, _, high in gains(table).values()),
        "eight_do_as_well": all(low < 1.05 and high > 0.85 for _, low, high in by_eight),
        "bayes_loses_boxes": beside(OF, MANY, "box")[1] > 10 * beside(OF, FEW, "box")[2],
        "bayes_gains_the_rest": all(
            beside(OF, MANY, asked)[2] < 0.5 * beside(OF, FEW, asked)[1]
            for asked in ("quintic", "two sines", "halfway")
        ),
        "bayes_is_sure_of_smooth": (beliefs.smooth > 0.99).groupby(beliefs.asked).mean().min()
        > 0.98,
        "linear_gains_boxes": beside(LINEAR_OF, MANY, "box")[2]
        < 0.1 * beside(LINEAR_OF, FEW, "box")[1],
        "linear_pays": all(
            beside(LINEAR_OF, MANY, asked)[1] > beside(LINEAR_OF, FEW, asked)[2]
            for asked in ("two sines", "halfway", "sine")
        ),
    }
    return {f"diversity.{name}": bool(holds) for name, holds in found.items()}
