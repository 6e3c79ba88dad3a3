"""Which class is it: dense or sparse linear functions, unlike pairs, and classes that are rare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd
import torch

from icl_lib import bayes, claims, figures, recipes, weights
from icl_lib.claims import Measure
from icl_lib.evaluation import CurvePredictor, curve_predictions, largest_rise
from icl_lib.experiments import curves, linear
from icl_lib.experiments.curves import LINE, SINE
from icl_lib.experiments.experiment import (
    Experiment,
    less,
    rows_of,
    share_of,
    shares,
    trained,
)
from icl_lib.experiments.linear import (
    BAYES,
    EXPERTS,
    LASSO,
    NNZ,
    Setup,
    Tables,
    above,
    between,
    price,
    weight_of,
)
from icl_lib.figures import Picture
from icl_lib.samplers import FunctionClass, sample_prompts

DENSE, SPARSE, RELU = recipes.DENSE, recipes.SPARSE, recipes.RELU
MOST = 40
PLAIN = "dense+sparse-0.5-short-plain"
TWENTY = Setup(
    dim=20,
    mixed="dense+sparse-0.5-short",
    specialists={"dense": "dense-short", "sparse": "sparse-short"},
    others=(PLAIN,),
    table="selection",
    lengths=(0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, MOST),
    seeds=(21, 22),
    letter="a",
    sections=("selection-for-free", "between-sparse-and-dense"),
)
"""As many dimensions as the paper has."""
EIGHT = Setup(
    dim=8,
    mixed="dense8+sparse8-0.5-slim",
    specialists={"dense": "dense8-slim", "sparse": "sparse8-slim"},
    table="control",
    lengths=(0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 16),
    seeds=(26, 27),
    letter="b",
    sections=("in-eight-dimensions", "in-eight-dimensions"),
)
"""The control: few enough that a model can be trained here until it has learnt."""
AT = (10, 20, 40)
"""Examples at which unlike pairs are judged."""

_PAIRS: Mapping[str, tuple[str, Mapping[str, tuple[FunctionClass, str]]]] = {
    "line + sine": (
        "line+sine-0.5-tiny",
        {"line": (LINE, "line-tiny"), "sine": (SINE, "sine-tiny")},
    ),
    "dense + ReLU": (
        "dense+relu-0.5-tiny",
        {"dense": (DENSE, "dense-tiny"), "ReLU": (RELU, "relu-tiny")},
    ),
}
_RARE: dict[str, tuple[FunctionClass, str]] = {
    "dense": (DENSE, "dense+sparse-0.01-tiny"),
    "sparse": (SPARSE, "dense+sparse-0.99-tiny"),
    "line": (LINE, "line+sine-0.01-tiny"),
    "sine": (SINE, "line+sine-0.99-tiny"),
}
_COMMON = {
    f"common {kind}": (asked, _RARE[other][1])
    for kind, other in (
        ("dense", "sparse"),
        ("sparse", "dense"),
        ("line", "sine"),
        ("sine", "line"),
    )
    for asked in [_RARE[kind][0]]
}
"""The other class of each, which the same models should have learnt."""
ALONE = "Bayes of the class alone"
FEW = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 20, 25, 30, MOST)


# --- What is measured -----------------------------------------------------------------------------


def _curve(name: str) -> CurvePredictor:
    """A predictor of curves: exact Bayes with what a model was pretrained on, or of one class, or a model."""
    if name.startswith(curves.OF):
        prior = weights.trained_on(weights.read_card(name.removeprefix(curves.OF)))
        return _exact_curve(prior)
    return weights.load(name).predict_curve


def _exact_curve(prior: FunctionClass) -> CurvePredictor:
    return lambda xs, ys, queries: bayes.posterior_curve(
        prior, xs, ys, queries, resolution=bayes.COARSE
    )[0]


def _asked(
    answer: CurvePredictor,
    asked: FunctionClass,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    xs, ys, _ = sample_prompts(asked, max(prompts) + 1, MOST + n_queries, seed=seed)
    xs, ys = xs[list(prompts)], ys[list(prompts)]
    queries, truth = xs[:, MOST:], ys[:, MOST:].double()
    said = curve_predictions({"": answer}, xs[:, :n_examples], ys[:, :n_examples], queries)[""]
    missed = curves.mean_square(said - truth)
    return pd.DataFrame({"error": missed, "power": curves.mean_square(truth)})


def pairs(
    predictor: str,
    pair: str,
    kind: str,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far a predictor is from functions of one class of an unlike pair."""
    asked, _ = _PAIRS[pair][1][kind]
    return _asked(_curve(predictor), asked, n_examples, n_queries, seed, prompts)


def rare(
    predictor: str, kind: str, n_examples: int, n_queries: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How far a predictor is from functions of a class that was one in a hundred of pretraining."""
    asked, _ = (_RARE | _COMMON)[kind]
    answer = _exact_curve(asked) if predictor == ALONE else _curve(predictor)
    return _asked(answer, asked, n_examples, n_queries, seed, prompts)


EXPERIMENTS = (
    *linear.experiments(TWENTY),
    *linear.experiments(EIGHT),
    Experiment(
        name="selection_pairs",
        version=1,
        about="one predictor on one prompt of a class of an unlike pair",
        columns=curves.ERROR,
        cases=[
            {"predictor": name, "pair": pair, "kind": kind, "n_examples": n}
            for pair, (mixture, members) in _PAIRS.items()
            for kind in members
            for name in (mixture, curves.OF + mixture, *(own for _, own in members.values()))
            for n in AT
        ],
        settings={"n_queries": 8, "seed": 23},
        n_prompts=256,
        measure=pairs,
    ),
    Experiment(
        name="selection_rare",
        version=1,
        about="one predictor on one prompt of a class that was one in a hundred of pretraining, or all the rest of it",
        columns=curves.ERROR,
        cases=[
            {"predictor": name, "kind": kind, "n_examples": n}
            for kind, (_, model) in _RARE.items()
            for name in (model, curves.OF + model, ALONE)
            for n in FEW
        ]
        + [
            {"predictor": name, "kind": kind, "n_examples": n}
            for kind, (_, model) in _COMMON.items()
            for name in (model, curves.OF + model)
            for n in (20, MOST)
        ],
        settings={"n_queries": 8, "seed": 25},
        n_prompts=256,
        measure=rare,
    ),
)


# --- Figures --------------------------------------------------------------------------------------

_PAGE = "notebooks/model_selection"


def draw_errors(table: pd.DataFrame, setup: Setup = TWENTY) -> Picture:
    """Errors on dense and on sparse functions against the number of examples."""
    return linear.draw_errors(setup, table)


def draw_between(table: pd.DataFrame) -> Picture:
    """Errors and weights after 10 examples against the number of nonzero coefficients."""
    return linear.draw_between(TWENTY, table)


def draw_weights(table: pd.DataFrame) -> Picture:
    """Whom the models follow: the dense expert's weight against the number of examples."""
    found = linear.followed(table, ["predictor", "nonzeros", "n_examples"])
    lines: dict[str, tuple[str, str, dict[str, Any]]] = {
        "with the second loss": (TWENTY.mixed, "transformer", {}),
        "without it": (PLAIN, "transformer", linear.DOTTED),
        "sparse specialist": (TWENTY.specialists["sparse"], "transformer", linear.DASHED),
        "exact Bayes": (BAYES, "Bayes", {}),
    }
    with figures.drawing(1, 2, figsize=(9.5, 2.9), sharey=True) as (figure, panels):
        for axes, (kind, nonzeros) in zip(panels, TWENTY.nonzeros.items(), strict=True):
            axes.set(ylim=(-0.15, 1.25), xlim=(0, 30), title=f"on {kind} functions")
            axes.set_xlabel("in-context examples")
            for height in (0, 1):
                axes.axhline(height, color=figures.LOOKS["truth"].colour, linewidth=0.6, alpha=0.5)
            for label, (name, role, style) in lines.items():
                if name == TWENTY.specialists["sparse"] and kind != "sparse":
                    continue
                rows = found[(found.predictor == name) & (found.nonzeros == nonzeros)]
                rows = rows.sort_values("n_examples")
                figures.curve(axes, rows, "n_examples", "share", role, label, **style)
        panels[0].set_ylabel("weight of the dense expert")
        figure.legend(*panels[1].get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return figures.picture(
            figure,
            "The weight of the dense expert in the predictions of the mixture model, with and without the second loss, "
            "of the sparse specialist and of exact Bayes, against the number of examples, on dense and on sparse "
            "functions.",
            "1: least squares; 0: the sparse expert. Drawn where the two experts differ. Bands are 90% intervals.",
            found,
        )


def draw_rare(table: pd.DataFrame) -> Picture:
    """Errors on a class of one in a hundred, of a tiny transformer and of exact Bayes."""
    found = shares(table[table.kind.isin(_RARE)], ["predictor", "kind", "n_examples"])
    with figures.drawing(1, 4, figsize=(9.5, 2.9), sharey=True) as (figure, panels):
        for axes, (kind, (_, model)) in zip(panels, _RARE.items(), strict=True):
            axes.set(xlim=(0, MOST), ylim=(0, 2.6), title=f"rare {kind}", xlabel="examples")
            axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            lines = {
                "tiny transformer": (model, "transformer"),
                "exact Bayes": (curves.OF + model, "Bayes"),
            }
            for label, (name, role) in lines.items():
                rows = found[(found.predictor == name) & (found.kind == kind)]
                figures.curve(
                    axes, rows.sort_values("n_examples"), "n_examples", "share", role, label
                )
        panels[0].set_ylabel(curves.SHARE)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figures.picture(
            figure,
            "Errors of tiny transformers and of exact Bayes against the number of examples, on classes that were one "
            "in a hundred of pretraining: dense, sparse, lines and sines.",
            "Bands are 90% intervals over 256 prompts; the same queries at every number of examples.",
            found,
        )


# --- What the prose says --------------------------------------------------------------------------


def unlike(tables: Tables, pair: str, name: str | None = None) -> dict[str, Measure]:
    """C4: above the specialists and above exact Bayes, on each class of a pair."""
    mixture, members = _PAIRS[pair]
    table = tables["selection_pairs"]
    return {
        f"{over}: {kind}, {n} examples": above(
            table, name or mixture, reference, pair=pair, kind=kind, n_examples=n
        )
        for over in ("above the specialist", "above exact Bayes")
        for kind, (_, own) in members.items()
        for reference in [own if "specialist" in over else curves.OF + mixture]
        for n in AT
    }


def rises(tables: Tables, kinds: Sequence[str], who: str = "") -> dict[str, Measure]:
    """C5: the largest rise of the error on rare classes; of the models, or of `curves.OF` them, or ALONE."""
    table, found = tables["selection_rare"], {}
    for kind in kinds:
        model = _RARE[kind][1]
        name = who + model if who == curves.OF else who or model
        rows = rows_of(table, predictor=name, kind=kind)
        wide = rows.pivot_table(index="prompt", columns="n_examples", values="error")
        rise = largest_rise(torch.tensor(wide[list(FEW)].to_numpy(float)))
        power = float(rows.power.mean())
        found[f"rare {kind}"] = (rise.rise / power, rise.low / power, rise.high / power)
    return found


def _learnt_pair(tables: Tables, pair: str) -> dict[str, Measure]:
    mixture, members = _PAIRS[pair]
    return {
        f"{name} on {kind}, {n} examples": above(
            tables["selection_pairs"], name, curves.OF + mixture, pair=pair, kind=kind, n_examples=n
        )
        for kind, (_, own) in members.items()
        for name in (mixture, own)
        for n in (20, MOST)
    }


def _learnt_common(tables: Tables, *kinds: str) -> dict[str, Measure]:
    return {
        f"{model} on its common {kind}, {n} examples": above(
            tables["selection_rare"], model, curves.OF + model, kind=f"common {kind}", n_examples=n
        )
        for kind in kinds
        for model in [_COMMON[f"common {kind}"][1]]
        for n in (20, MOST)
    }


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: C1a to C5b."""

    def unlike_pair(key: str, pair: str, null: str) -> claims.Finding:
        mixture, _ = _PAIRS[pair]
        return claims.find(
            key,
            unlike(tables, pair),
            where="book/supplement_selection#unlike-pairs",
            note=f"{trained(mixture)}; 256 prompts of each class",
            beside={
                claims.BAYES: unlike(tables, pair, curves.OF + mixture),
                f"null: {null} for both": unlike(tables, pair, null),
            },
            gate=_learnt_pair(tables, pair),
        )

    def odd(key: str, *kinds: str) -> claims.Finding:
        return claims.find(
            key,
            rises(tables, kinds),
            where=f"{_PAGE}#rare-classes",
            note="; ".join(trained(_RARE[kind][1]) for kind in kinds) + "; 256 prompts of each",
            beside={
                claims.BAYES: rises(tables, kinds, curves.OF),
                "null: exact Bayes of the class alone": rises(tables, kinds, ALONE),
            },
            gate=_learnt_common(tables, *reversed(kinds)),
        )

    return [
        *linear.findings(TWENTY, tables, _PAGE),
        *linear.findings(EIGHT, tables, _PAGE),
        unlike_pair("C4a", "line + sine", "line-tiny"),
        unlike_pair("C4b", "dense + ReLU", "dense-tiny"),
        odd("C5a", "dense", "sparse"),
        odd("C5b", "line", "sine"),
    ]


def _numbers_of(setup: Setup, tables: Tables, called: Mapping[str, str]) -> dict[str, Measure]:
    """Errors, weights and costs at a setup's numbers of examples; of predictors, by what they are called here."""
    table = tables[f"{setup.table}_errors"]
    found: dict[str, Measure] = {}
    for word, name in called.items():
        for kind, count in setup.nonzeros.items():
            for n in setup.asked:
                found[f"{word}.{kind}.{n}"] = share_of(
                    table, predictor=name, nonzeros=count, n_examples=n
                )
    for kind, name in setup.specialists.items():
        for n in setup.asked:
            found[f"own.{kind}.{n}"] = share_of(
                table, predictor=name, nonzeros=setup.nonzeros[kind], n_examples=n
            )
    for name, cost in price(setup, tables).items():
        over, _, asked = name.partition(": ")
        if over == "above the specialist":
            found[f"price.{asked.replace(', ', '.').removesuffix(' examples')}"] = cost
    return found


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    table, nonzeros = tables["selection_errors"], tables["selection_between"]
    called = {"mixed": TWENTY.mixed, "bayes": BAYES, "plain": PLAIN}
    found = _numbers_of(TWENTY, tables, called | {"lasso": LASSO})
    for word, name in called.items():
        for n in (4, 10, 15):
            found[f"{word}.weight.{n}"] = weight_of(table, name, nonzeros=NNZ, n_examples=n)
    found["sparse.weight.10"] = weight_of(
        table, TWENTY.specialists["sparse"], nonzeros=NNZ, n_examples=10
    )
    for k in (2, 3, TWENTY.dim):
        found[f"mixed.weight.of{k}"] = weight_of(nonzeros, TWENTY.mixed, nonzeros=k)
    found["three"] = above(nonzeros, BAYES, EXPERTS["sparse"], nonzeros=3)
    found["rare.sine"] = rises(tables, ["sine"])["rare sine"]
    found["rare.sine.bayes"] = rises(tables, ["sine"], curves.OF)["rare sine"]
    found["pair.sine"] = unlike(tables, "line + sine")["above the specialist: sine, 20 examples"]
    found["pair.dense"] = share_of(
        tables["selection_pairs"],
        predictor="dense-tiny",
        pair="dense + ReLU",
        kind="dense",
        n_examples=MOST,
    )
    called = {"mixed": EIGHT.mixed, "bayes": BAYES}
    found |= {
        f"eight.{name}": measure for name, measure in _numbers_of(EIGHT, tables, called).items()
    }
    for word, name in (("mixed", EIGHT.mixed), ("sparse", EIGHT.specialists["sparse"])):
        for n in (4, 6):
            found[f"eight.{word}.weight.{n}"] = weight_of(
                tables["control_errors"], name, nonzeros=NNZ, n_examples=n
            )
    told = {name: figures.estimate(*measure) for name, measure in found.items()}
    told["eight.prompts"] = f"{_met(EIGHT.mixed) / 1e6:.1f}"
    return {f"selection.{name}": number for name, number in told.items()}


def _met(model: str) -> int:
    return weights.prompts_met(weights.read_card(model))


def conditions(tables: Tables) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name: each must hold with its whole interval."""
    table, nonzeros = tables["selection_errors"], tables["selection_between"]

    def weight(name: str, n: int) -> Measure:
        return weight_of(table, name, nonzeros=NNZ, n_examples=n)

    def at(name: str, count: int, n: int) -> pd.Series:
        return rows_of(table, predictor=name, nonzeros=count, n_examples=n).error

    mixed, costs = TWENTY.mixed, price(TWENTY, tables)
    few, cheap = tables["control_errors"], price(EIGHT, tables)

    def eight(name: str, count: int, n: int) -> Measure:
        return share_of(few, predictor=name, nonzeros=count, n_examples=n)

    own_sparse = EIGHT.specialists["sparse"]
    slope = {
        name: [weight_of(few, name, nonzeros=NNZ, n_examples=n) for n in (4, 6)]
        for name in (EIGHT.mixed, own_sparse)
    }

    gap = above(few, EIGHT.mixed, LASSO, nonzeros=NNZ, n_examples=4)
    lasso_later, mixed_later = (
        rows_of(few, predictor=name, nonzeros=NNZ, n_examples=6).error
        for name in (LASSO, EIGHT.mixed)
    )
    own = linear.learnt(TWENTY, tables, *TWENTY.specialists.values())
    sines = rises(tables, ["sine"])["rare sine"], rises(tables, ["sine"], curves.OF)["rare sine"]
    tiny = unlike(tables, "line + sine")
    found = {
        "bayes_jumps": weight(BAYES, 3)[0] > 0.05 > weight(BAYES, 4)[2],
        "blends": weight(mixed, 4)[1] > 0.75
        and 0.25 < weight(mixed, 10)[1] < weight(mixed, 10)[2] < 0.75,
        "moves_on": weight(mixed, 15)[2] < weight(mixed, 10)[1],
        "plain_selects_nothing": all(weight(PLAIN, n)[1] > 0.9 for n in (4, 10, 15)),
        "lasso_is_better": less(at(LASSO, 2, 10), at(mixed, 2, 10), 0.25),
        "late": less(at(mixed, 2, 10), at(PLAIN, 2, 10)) and at(BAYES, 2, 4).mean() < 1e-3,
        "price_is_small_beside_what_is_missing": all(
            costs[f"above the specialist: {kind}, {n} examples"][2]
            < costs[f"above exact Bayes: {kind}, {n} examples"][1]
            for kind, n in (("dense", 20), ("sparse", 10), ("sparse", 20))
        ),
        "undertrained": own[f"{TWENTY.specialists['dense']} on dense, 20 examples"][1]
        > claims.WORSE,
        "gradual": between(TWENTY, tables)["2 nonzeros"][2]
        < weight_of(nonzeros, mixed, nonzeros=8)[1]
        and weight_of(nonzeros, mixed, nonzeros=3)[2] < 0.9,
        "bayes_is_certain_at_three": above(nonzeros, BAYES, EXPERTS["sparse"], nonzeros=3)[1] > 0.1,
        "optimal_oddity": sines[0][1] > claims.RISE
        and sines[1][1] > claims.RISE
        and sines[0][1] < sines[1][2],
        "lines_and_sines_cost_little": all(
            tiny[f"above the specialist: {kind}, {n} examples"][2] < claims.WORSE
            for kind in ("line", "sine")
            for n in AT
        ),
        "relu_specialists_know_nothing": _learnt_pair(tables, "dense + ReLU")[
            "dense-tiny on dense, 40 examples"
        ][1]
        > claims.WORSE,
        "eight_is_longer": _met(EIGHT.mixed) > 5 * _met(TWENTY.mixed)
        and len({_met(name) for name in (EIGHT.mixed, *EIGHT.specialists.values())}) == 1,
        "eight_learns": all(
            eight(EIGHT.mixed, count, 16)[2] < 0.01 for count in EIGHT.nonzeros.values()
        ),
        "eight_is_cheap": all(
            cheap[f"above the specialist: {kind}, {n} examples"][2] < claims.WORSE
            for kind in EIGHT.nonzeros
            for n in (8, 16)
        ),
        "eight_is_far_at_first": above(few, EIGHT.mixed, BAYES, nonzeros=NNZ, n_examples=4)[1] > 0.2
        and eight(BAYES, NNZ, 4)[2] < 1e-4,
        "eight_lasso_is_faster": gap[1] > -0.1
        and gap[2] < 0.15
        and less(lasso_later, mixed_later, 0.5),
        "eight_glides": slope[EIGHT.mixed][1][2] < slope[EIGHT.mixed][0][1]
        and slope[EIGHT.mixed][1][1] > 0.25
        and weight_of(few, BAYES, nonzeros=NNZ, n_examples=4)[2] < 1e-3,
        "eight_slope_is_no_choice": slope[own_sparse][0][1] > 0.5 * slope[EIGHT.mixed][0][2]
        and above(few, own_sparse, BAYES, nonzeros=NNZ, n_examples=4)[1] > 0.1,
        "slope_is_no_choice": weight_of(
            table, TWENTY.specialists["sparse"], nonzeros=NNZ, n_examples=10
        )[1]
        > 0.4 * weight(mixed, 10)[2],
        "eight_gate_is_shut": eight(EIGHT.specialists["dense"], EIGHT.dim, 8)[1] > claims.WORSE,
    }
    return {f"selection.{name}": bool(holds) for name, holds in found.items()}
