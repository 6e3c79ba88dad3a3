"""The debate: whether many types of functions in training help with types that were never in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from icl_lib import claims, figures, recipes
from icl_lib.claims import Measure
from icl_lib.experiments import combinations, curves
from icl_lib.experiments.curves import LINE, LINEAR_OF, MOST, OF, SINE, TINY
from icl_lib.experiments.experiment import Experiment, ratio, rows_of, share_of, shares
from icl_lib.figures import Picture
from icl_lib.samplers import ConvexCombination, FunctionClass
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


EXPERIMENTS = (
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
        settings={"n_queries": 32, "seed": 41},
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
            axes.set(yscale="log", ylim=(1e-6, 30), title=title)
            axes.set_xticks(list(places.values()), [str(count) for count in COUNTS])
            for who, label in _LABELS.items():
                rows = found[(found.who == who) & (found.asked == asked)]
                rows = rows.assign(
                    place=rows["count"].map(places), share=rows.share.clip(lower=curves.FLOOR)
                )
                look = figures.LOOKS[who]
                means = rows.groupby("place").share.mean()
                axes.plot(means.index, means, label=label, **look.line())
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
            "160,000 prompts each; lines: their means. Predictors with the same types: where the seeds' types differ, "
            "one for each. Shares below 10⁻⁶ are drawn there.",
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
                "best linear": gains(table, LINEAR_OF),
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


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the section's prose, by name."""
    return {}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the section's sentences hang on, by name."""
    return {}
