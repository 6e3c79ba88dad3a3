"""The debate: what kind of learner the transformer is, and how little coverage of the unseen repairs it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from icl_lib import claims, figures, recipes, weights
from icl_lib.claims import Measure
from icl_lib.experiments import combinations, curves, frequency
from icl_lib.experiments.curves import (
    BAYES,
    DOUBTING,
    LINE,
    LINEAR,
    MOST,
    OF,
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
from icl_lib.samplers import FunctionClass

ASKED: Mapping[str, FunctionClass] = {
    "line": LINE,
    "sine": SINE,
    "halfway": combinations.truth(0.5),
    "a quarter": combinations.truth(0.25),
    "three quarters": combinations.truth(0.75),
    "frequency 6": frequency.at(6.0),
    "frequency 10": frequency.at(10.0),
}
"""What is asked for, by the name that tables have for it."""

FAILURES = ("halfway", "frequency 6", "frequency 10")
REFERENCES = {"Bayes": BAYES, "doubting": DOUBTING, "linear": LINEAR}
"""From whose answers the distance is measured, by column."""

BRIEF = {
    prompts: tuple(f"{TINY}-{prompts}{seed}" for seed in ("", "-seed13", "-seed14"))
    for prompts in ("20k", "60k")
}
"""Short trainings of the tiny model, three seeds each."""
AFTER = {dose: f"half+line+sine-{dose}-tiny-after" for dose in recipes.DOSES}
"""The tiny model after a second training, by the share of it that was halfway between a line and a sine."""


def learners(
    predictor: str, asked: str, n_examples: int, n_queries: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How far a predictor is from the function, and from the answers of three others."""
    case = ASKED[asked], n_examples, n_queries, seed, tuple(prompts)
    found = curves.error(predictor, *case)
    for column, other in REFERENCES.items():
        found[column] = curves.distance(predictor, other, *case).distance
    return found


def coverage(
    predictor: str, asked: str, n_examples: int, n_queries: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How far a predictor is from the function."""
    return curves.error(predictor, ASKED[asked], n_examples, n_queries, seed, tuple(prompts))


_SETTINGS = {"n_queries": 32, "seed": 41}
_WHOLE = (*BRIEF["20k"], *BRIEF["60k"], TINY, SMALL, STANDARD)
_DOSED = ("line", "sine", "halfway", "a quarter", "three quarters")

EXPERIMENTS = (
    Experiment(
        name="debate_learners",
        version=1,
        about="one predictor on one prompt: how far it is from the function and from other predictors",
        columns=curves.ERROR
        | {
            column: f"mean squared difference from {curves.NAMES[other]}, in units of f squared"
            for column, other in REFERENCES.items()
        },
        cases=[
            {"predictor": name, "asked": asked, "n_examples": MOST}
            for name in (*_WHOLE, BAYES, DOUBTING, LINEAR, ORACLE)
            for asked in ("sine", *FAILURES)
        ],
        settings=_SETTINGS,
        n_prompts=128,
        measure=learners,
    ),
    Experiment(
        name="debate_coverage",
        version=1,
        about="one predictor on one prompt, after a second training some of whose prompts were halfway",
        columns=curves.ERROR,
        cases=[
            {"predictor": name, "asked": asked, "n_examples": MOST}
            for model in AFTER.values()
            for name in (model, OF + model)
            for asked in _DOSED
        ],
        settings=_SETTINGS,
        n_prompts=128,
        measure=coverage,
    ),
)


# --- Figures --------------------------------------------------------------------------------------

_TITLES = {
    "halfway": "halfway between a line and a sine",
    "frequency 6": "sines just outside the band",
    "frequency 10": "sines far outside",
}
_BANDS = "After 40 examples. Bands and bars are 90% intervals over 128 prompts"


@cache
def seen(model: str) -> int:
    """Prompts that a model was trained on."""
    card = weights.read_card(model)
    return int(card["steps"] * card["recipe"]["batch_size"])


def _over(table: pd.DataFrame, column: str) -> pd.DataFrame:
    found = shares(table[table.predictor.isin(_WHOLE)], ["predictor", "asked"], column)
    return found.assign(prompts=[seen(name) for name in found.predictor], of=column)


def draw_learners(table: pd.DataFrame) -> Picture:
    """Over training: the model's distance from the function, from exact Bayes, and from two others."""
    columns = {
        "error": ("the function", "truth"),
        "Bayes": ("exact Bayes", "Bayes"),
        "doubting": ("doubting Bayes", "doubting"),
    }
    found = pd.concat([_over(table, column) for column in columns])
    tiny = (*BRIEF["20k"], *BRIEF["60k"], TINY)
    with figures.drawing(1, 3, figsize=(9.5, 3.7), sharey=True) as (figure, panels):
        for axes, asked in zip(panels, FAILURES, strict=True):
            axes.set(xscale="log", xlim=(1.5e4, 1.6e6), ylim=(0, 1.75), title=_TITLES[asked])
            axes.set_xlabel("prompts in training")
            for column, (label, role) in columns.items():
                rows = found[(found.of == column) & (found.asked == asked)]
                _over_time(axes, rows, tiny, role, label)
        panels[0].set_ylabel("distance / mean square of f")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "Mean squared distance of the transformer from the function, from exact Bayes and from the doubting "
            "Bayesian, against the prompts of its training, on three kinds of functions.",
            f"{_BANDS}. Lines: the tiny model, three seeds at 20,000 and at 60,000 prompts, one at 160,000. "
            "Circles: the small model; squares: the standard one; hollow: the doubting Bayesian.",
            found,
        )


def _over_time(axes: Axes, rows: pd.DataFrame, tiny: Sequence[str], role: str, label: str) -> None:
    look = figures.LOOKS[role]
    lines = rows[rows.predictor.isin(tiny)]
    means = lines.groupby("prompts").share.mean()
    axes.plot(means.index, means, label=label, **look.line())
    face = "none" if role == "doubting" else look.colour
    dots: dict[str, Any] = {"color": look.colour, "markerfacecolor": face, "linestyle": "none"}
    axes.plot(lines.prompts, lines.share, marker="o", markersize=3, **dots)
    for name, marker in ((SMALL, "o"), (STANDARD, "s")):
        row = rows[rows.predictor == name]
        axes.vlines(row.prompts, row.ci_low, row.ci_high, color=look.colour, linewidth=1.2)
        axes.plot(row.prompts, row.share, marker=marker, markersize=6, **dots)


def draw_coverage(table: pd.DataFrame) -> Picture:
    """Errors against the dose, of the model and of exact Bayes with the same prior."""
    found = shares(table, ["predictor", "asked"])
    doses = {name: dose for dose, name in AFTER.items()}
    found = found.assign(
        dose=[doses[name.removeprefix(OF)] for name in found.predictor],
        who=["Bayes" if name.startswith(OF) else "transformer" for name in found.predictor],
    )
    places = {dose: i for i, dose in enumerate(AFTER)}
    panels_of = {
        "halfway": "halfway, a = 0.5: covered",
        "a quarter": "a = 0.25: never covered",
        "sine": "sines",
    }
    names = {"transformer": "tiny transformer", "Bayes": "exact Bayes, same prior"}
    with figures.drawing(1, 3, figsize=(9.5, 3.6), sharey=True) as (figure, panels):
        for axes, (asked, title) in zip(panels, panels_of.items(), strict=True):
            axes.set(yscale="log", ylim=(1e-6, 3), title=title, xlabel="share of halfway functions")
            axes.set_xticks(list(places.values()), ["0", "0.1%", "1%", "10%", "50%"])
            for who, label in names.items():
                rows = found[(found.who == who) & (found.asked == asked)]
                rows = rows.assign(place=[places[dose] for dose in rows.dose])
                curves.draw_share(axes, rows, "place", who, label, marker="o", markersize=4)
        panels[0].set_ylabel(curves.SHARE)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figures.picture(
            figure,
            "Errors on functions halfway between a line and a sine, on combinations never covered and on sines against "
            "the share of the second training that was halfway, of the tiny transformer and of exact Bayes.",
            f"{_BANDS}; shares below 10⁻⁶ are drawn there.",
            found,
        )


# --- What the prose says --------------------------------------------------------------------------

Tables = Mapping[str, pd.DataFrame]


def becomes(table: pd.DataFrame, name: str = STANDARD) -> dict[str, Measure]:
    """D1: how far a predictor is from exact Bayes, over how far exact Bayes is from the function."""
    found = {}
    for asked in FAILURES:
        own, exact = (rows_of(table, predictor=who, asked=asked) for who in (name, BAYES))
        found[asked] = ratio(own.Bayes, exact.error)
    return found


def cures(table: pd.DataFrame, doses: Mapping[float, str] = AFTER) -> dict[str, Measure]:
    """D2: the error halfway after a second training with some of it, over that without."""
    none = rows_of(table, predictor=doses[0.0], asked="halfway")
    return {
        words: ratio(rows_of(table, predictor=doses[dose], asked="halfway").error, none.error)
        for words, dose in (("1% covered", 0.01), ("10% covered", 0.1))
    }


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: D1 and D2."""
    learnt, dosed = tables["debate_learners"], tables["debate_coverage"]
    priors = {dose: OF + name for dose, name in AFTER.items()}
    return [
        claims.find(
            "D1",
            becomes(learnt),
            where="notebooks/debate#what-kind-of-learner-is-it",
            note=f"{trained(STANDARD)}; 128 prompts of each kind",
            beside={
                claims.BAYES: becomes(learnt, BAYES),
                "null: the best linear predictor": becomes(learnt, LINEAR),
            },
            gate={f"{STANDARD} on sines": _above_bayes(learnt, STANDARD)},
        ),
        claims.find(
            "D2",
            cures(dosed),
            where="notebooks/debate#how-much-coverage-does-it-take",
            note=f"{trained(TINY)}, and again on 20,000; 128 prompts",
            beside={
                claims.BAYES: cures(dosed, priors),
                "null: no coverage": cures(dosed, dict.fromkeys(AFTER, AFTER[0.0])),
            },
            gate={f"{AFTER[0.0]} on lines": share_of(dosed, predictor=AFTER[0.0], asked="line")},
        ),
    ]


def _above_bayes(table: pd.DataFrame, name: str) -> Measure:
    own, exact = (rows_of(table, predictor=who, asked="sine") for who in (name, BAYES))
    return ratio(own.error - exact.error.to_numpy(), own.power)


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    learnt, dosed = tables["debate_learners"], tables["debate_coverage"]
    found: dict[str, Measure] = {}
    called: dict[str, str] = {"standard": STANDARD, "tiny": TINY, "bayes": BAYES}
    called |= {"doubting": DOUBTING, "linear": LINEAR, "oracle": ORACLE}
    for word, name in called.items():
        for asked in FAILURES:
            case: dict[str, Any] = {"predictor": name, "asked": asked}
            found[f"{word}.{asked.replace(' ', '')}"] = share_of(learnt, **case)
            for column in REFERENCES:
                found[f"{word}.{asked.replace(' ', '')}.from.{column}"] = share_of(
                    learnt, column, **case
                )
    for dose, name in AFTER.items():
        for asked in _DOSED:
            for who, model in (("after", name), ("prior", OF + name)):
                found[f"{who}.{dose:g}.{asked.replace(' ', '')}".replace("0.", "0_")] = share_of(
                    dosed, predictor=model, asked=asked
                )
    for words, measure in cures(dosed).items():
        found[f"cured.{words.split('%')[0]}"] = measure
    told = {name: figures.estimate(*measure) for name, measure in found.items()}
    for prompts, models in BRIEF.items():
        for asked in ("halfway", "sine"):
            each = [share_of(learnt, predictor=m, asked=asked)[0] for m in models]
            told[f"brief.{prompts}.{asked}.least"] = f"{min(each):.2f}"
            told[f"brief.{prompts}.{asked}.most"] = f"{max(each):.2f}"
    return {f"debate.{name}": words for name, words in told.items()}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name."""
    learnt, dosed = tables["debate_learners"], tables["debate_coverage"]

    def share(name: str, asked: str, column: str = "error") -> Measure:
        return share_of(learnt, column, predictor=name, asked=asked)

    def dose(amount: float, asked: str, of: str = "") -> Measure:
        return share_of(dosed, predictor=of + AFTER[amount], asked=asked)

    brief = [share_of(learnt, predictor=m, asked="halfway") for m in BRIEF["60k"]]
    found = {
        "not_that_bayesian": all(becomes(learnt)[asked][1] > claims.NEAR for asked in FAILURES),
        "halfway_as_far_as_the_truth": becomes(learnt)["halfway"][1] > 0.5,
        "near_to_doubt": all(
            share(STANDARD, asked, "doubting")[2] < share(STANDARD, asked, "Bayes")[1]
            for asked in ("halfway", "frequency 6")
        ),
        "far_out_like_certainty": share(STANDARD, "frequency 10", "Bayes")[2]
        < share(STANDARD, "frequency 10", "doubting")[1],
        "linear_saves_halfway": share(LINEAR, "halfway")[2] < 0.1 * share(STANDARD, "halfway")[1],
        "linear_explodes": share(LINEAR, "frequency 6")[1] > 1,
        "doubt_saves": all(
            share(DOUBTING, asked)[2] < share(STANDARD, asked)[1] for asked in FAILURES
        ),
        "oracle_is_right": all(share(ORACLE, asked)[2] < 1e-3 for asked in FAILURES),
        "far_is_hopeless": share(STANDARD, "frequency 10")[1] > claims.COLLAPSE,
        "seeds_have_not_learnt": max(
            share_of(learnt, predictor=m, asked="sine")[1] for m in BRIEF["60k"]
        )
        > 2 * claims.WORSE,
        "seeds_differ": max(low for _, low, _ in brief) > 2 * min(high for *_, high in brief),
        "training_helps_halfway": share(TINY, "halfway")[2]
        < min(share_of(learnt, predictor=m, asked="halfway")[1] for m in BRIEF["20k"]),
        "one_percent_is_little": cures(dosed)["1% covered"][1] > claims.CURED
        and cures(dosed)["1% covered"][2] < 1,
        "ten_percent_more": cures(dosed)["10% covered"][2] < cures(dosed)["1% covered"][1],
        "ten_percent_halves": cures(dosed)["10% covered"][1] > 0.35
        and cures(dosed)["10% covered"][2] < 0.6,
        "half_more_still": less(
            rows_of(dosed, predictor=AFTER[0.5], asked="halfway").error,
            rows_of(dosed, predictor=AFTER[0.1], asked="halfway").error,
        ),
        "prior_of_any_dose": dose(0.001, "halfway", OF)[2] < 1e-3 < dose(0.0, "halfway", OF)[1],
        "quarter_gains_too": all(
            less(
                rows_of(dosed, predictor=AFTER[0.1], asked=asked).error,
                rows_of(dosed, predictor=AFTER[0.0], asked=asked).error,
            )
            for asked in ("a quarter", "three quarters")
        ),
        "half_costs_sines": less(
            rows_of(dosed, predictor=AFTER[0.1], asked="sine").error,
            rows_of(dosed, predictor=AFTER[0.5], asked="sine").error,
        ),
    }
    return {f"debate.{name}": bool(holds) for name, holds in found.items()}
