"""Which class is it: dense or sparse linear functions, unlike pairs, and classes that are rare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from icl_lib import baselines, bayes, claims, figures, recipes, weights
from icl_lib.claims import Measure
from icl_lib.evaluation import (
    CurvePredictor,
    Predictor,
    curve_predictions,
    largest_rise,
    predictions,
)
from icl_lib.experiments import curves
from icl_lib.experiments.curves import LINE, SINE
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
from icl_lib.samplers import FunctionClass, Mixture, SparseLinear, sample_prompts

DENSE, SPARSE, RELU = recipes.DENSE, recipes.SPARSE, recipes.RELU
DIM, MOST = 20, 40
SIZE = "short"
"""The size whose models are judged."""
MIXED, PLAIN = f"dense+sparse-0.5-{SIZE}", f"dense+sparse-0.5-{SIZE}-plain"
CLASSES: Mapping[str, FunctionClass] = {"dense": DENSE, "sparse": SPARSE}
SPECIALISTS = {kind: f"{kind}-{SIZE}" for kind in CLASSES}
BAYES, SQUARES, LASSO = "Bayes", "least squares", "Lasso"
EXPERTS = {"dense": "dense expert", "sparse": "sparse expert"}
"""Exact Bayes that is certain of one class."""
LENGTHS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 30, MOST)
AT = (10, 20, 40)
NONZEROS = tuple(range(1, DIM + 1))

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


@cache
def _strengths(points: int) -> Tensor:
    """For each number of examples the Lasso's strength that is best on other prompts (points,)."""
    xs, ys, _ = sample_prompts(SPARSE, 256, points, seed=20)
    tried = torch.tensor((0.001, 0.003, 0.01, 0.03, 0.1, 0.3))
    missed = [(baselines.lasso(xs, ys, a.item()) - ys).double().square().mean(0) for a in tried]
    return tried[torch.stack(missed).argmin(0)]


def _lasso(xs: Tensor, ys: Tensor) -> Tensor:
    strengths = _strengths(ys.shape[1])
    answers = torch.zeros_like(ys)
    for strength in strengths.unique():
        chosen = strengths == strength
        answers[:, chosen] = baselines.lasso(xs, ys, strength.item())[:, chosen]
    return answers


def _exact(which: int, xs: Tensor, ys: Tensor) -> Tensor:
    """Exact Bayes of dense, of sparse functions, or of both by halves, at every prefix."""
    module = bayes.prefix_module(Mixture((DENSE, SPARSE), (0.5, 0.5)))
    half = torch.tensor(0.5, dtype=torch.float64)
    found: Tensor = module(xs.double(), ys.double(), half)[which]
    return found


def _predictor(name: str) -> Predictor:
    known: Mapping[str, Predictor] = {
        EXPERTS["dense"]: partial(_exact, 0),
        EXPERTS["sparse"]: partial(_exact, 1),
        BAYES: partial(_exact, 2),
        SQUARES: baselines.least_squares,
        LASSO: _lasso,
    }
    return known[name] if name in known else weights.load(name)


@cache
def _answers(
    name: str, nonzeros: int, seed: int, prompts: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The true values (P, n), and what a predictor says at every prefix (P, n)."""
    asked = DENSE if nonzeros == DIM else SparseLinear(DIM, nonzeros)
    xs, ys, _ = sample_prompts(asked, max(prompts) + 1, MOST + 1, seed=seed)
    xs, ys = xs[list(prompts)], ys[list(prompts)]
    return ys.double(), predictions({name: _predictor(name)}, xs, ys)[name]


def errors(
    predictor: str, nonzeros: int, n_examples: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How far a predictor is from a linear function, and whom of two experts it follows."""
    case = nonzeros, seed, tuple(prompts)
    ys, said = (part[:, n_examples] for part in _answers(predictor, *case))
    dense, sparse = (_answers(EXPERTS[kind], *case)[1][:, n_examples] for kind in CLASSES)
    return pd.DataFrame(
        {
            "error": (said - ys).square(),
            "power": ys.square(),
            "along": (said - sparse) * (dense - sparse),
            "apart": (dense - sparse).square(),
        }
    )


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


_LINEAR = {
    "error": "squared error, in units of f squared",
    "power": "squared value of the function at the query",
    "along": "(prediction - sparse expert's) * (dense expert's - sparse expert's)",
    "apart": "(dense expert's - sparse expert's prediction) squared",
}
_NONZEROS_OF = {"dense": DIM, "sparse": 2}

EXPERIMENTS = (
    Experiment(
        name="selection_errors",
        version=1,
        about="one predictor on one prompt of a linear function of twenty numbers, some of them with coefficient zero",
        columns=_LINEAR,
        cases=[
            {"predictor": name, "nonzeros": nonzeros, "n_examples": n}
            for name in (MIXED, PLAIN, *SPECIALISTS.values(), BAYES, *EXPERTS.values(), LASSO)
            for nonzeros in _NONZEROS_OF.values()
            for n in LENGTHS
        ],
        settings={"seed": 21},
        n_prompts=512,
        measure=errors,
    ),
    Experiment(
        name="selection_between",
        version=1,
        about="one predictor on one prompt of a linear function with 1 to 20 nonzero coefficients, after 10 examples",
        columns=_LINEAR,
        cases=[
            {"predictor": name, "nonzeros": nonzeros, "n_examples": 10}
            for name in (MIXED, *SPECIALISTS.values(), BAYES, *EXPERTS.values())
            for nonzeros in NONZEROS
        ],
        settings={"seed": 22},
        n_prompts=256,
        measure=errors,
    ),
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
_BANDS = "Bands are 90% intervals over 512 prompts. Shares below 10⁻⁴ are drawn there."
_FLOOR = 1e-4


def _draw(axes: Axes, rows: pd.DataFrame, x: str, role: str, label: str, **line: Any) -> None:
    drawn = rows.sort_values(x)
    drawn = drawn.assign(**drawn[["share", "ci_low", "ci_high"]].clip(lower=_FLOOR))
    figures.curve(axes, drawn, x, "share", role, label, **line)


_DOTTED = {"linestyle": (0, (1, 1.8)), "linewidth": 1.6}


def draw_errors(table: pd.DataFrame) -> Picture:
    """Errors on dense and on sparse functions against the number of examples."""
    found = shares(table, ["predictor", "nonzeros", "n_examples"])
    with figures.drawing(1, 2, figsize=(9.5, 3.8), sharey=True) as (figure, panels):
        for axes, (kind, nonzeros) in zip(panels, _NONZEROS_OF.items(), strict=True):
            axes.set(
                yscale="log", ylim=(_FLOOR / 2, 3), xlim=(0, MOST), title=f"on {kind} functions"
            )
            axes.set_xlabel("in-context examples")
            lines: dict[str, tuple[str, str, dict[str, Any]]] = {
                "mixture model": (MIXED, "transformer", {}),
                "specialist": (SPECIALISTS[kind], "transformer", _DOTTED),
                "exact Bayes": (BAYES, "Bayes", {}),
                "least squares": (EXPERTS["dense"], "classical", {}),
                "Lasso": (LASSO, "oracle", {}),
            }
            for label, (name, role, style) in lines.items():
                rows = found[(found.predictor == name) & (found.nonzeros == nonzeros)]
                _draw(axes, rows, "n_examples", role, label, **style)
        panels[0].set_ylabel(curves.SHARE)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=5)
        return figures.picture(
            figure,
            "Errors of the mixture model, the specialist, exact Bayes, least squares and the Lasso against the number "
            "of examples, on dense and on sparse functions, on a log axis.",
            _BANDS,
            found,
        )


def _weights(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The dense expert's weight in predictions, where the experts are apart by more than a hundredth."""
    found = shares(table[table.n_examples > 0], by, "along", "apart")
    apart = table.groupby(list(by)).apart.mean()
    keys = found[list(by)].itertuples(index=False, name=None)
    return found[[apart[key] > 0.01 for key in keys]]


def draw_weights(table: pd.DataFrame) -> Picture:
    """Whom the models follow: the dense expert's weight against the number of examples."""
    found = _weights(table, ["predictor", "nonzeros", "n_examples"])
    lines: dict[str, tuple[str, str, dict[str, Any]]] = {
        "with the second loss": (MIXED, "transformer", {}),
        "without it": (PLAIN, "transformer", _DOTTED),
        "exact Bayes": (BAYES, "Bayes", {}),
    }
    with figures.drawing(1, 2, figsize=(9.5, 3.6), sharey=True) as (figure, panels):
        for axes, (kind, nonzeros) in zip(panels, _NONZEROS_OF.items(), strict=True):
            axes.set(ylim=(-0.15, 1.25), xlim=(0, 30), title=f"on {kind} functions")
            axes.set_xlabel("in-context examples")
            for height in (0, 1):
                axes.axhline(height, color=figures.LOOKS["truth"].colour, linewidth=0.6, alpha=0.5)
            for label, (name, role, style) in lines.items():
                rows = found[(found.predictor == name) & (found.nonzeros == nonzeros)]
                rows = rows.sort_values("n_examples")
                figures.curve(axes, rows, "n_examples", "share", role, label, **style)
        panels[0].set_ylabel("weight of the dense expert")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "The weight of the dense expert in the predictions of the mixture model, with and without the second loss, "
            "and of exact Bayes, against the number of examples, on dense and on sparse functions.",
            "1: least squares; 0: the sparse expert. Drawn where the two experts differ. Bands are 90% intervals.",
            found,
        )


def draw_between(table: pd.DataFrame) -> Picture:
    """Errors and weights after 10 examples against the number of nonzero coefficients."""
    found = shares(table, ["predictor", "nonzeros"])
    followed = _weights(table, ["predictor", "nonzeros", "n_examples"])
    with figures.drawing(1, 2, figsize=(9.5, 3.8)) as (figure, (left, right)):
        lines: dict[str, tuple[str, str, dict[str, Any]]] = {
            "mixture model": (MIXED, "transformer", {}),
            "dense specialist": (SPECIALISTS["dense"], "transformer", {"linestyle": (0, (5, 2))}),
            "sparse specialist": (SPECIALISTS["sparse"], "transformer", _DOTTED),
            "exact Bayes": (BAYES, "Bayes", {}),
        }
        for label, (name, role, style) in lines.items():
            rows = found[found.predictor == name].sort_values("nonzeros")
            figures.curve(left, rows, "nonzeros", "share", role, label, **style)
        for name, role in ((MIXED, "transformer"), (BAYES, "Bayes")):
            rows = followed[followed.predictor == name].sort_values("nonzeros")
            figures.curve(right, rows, "nonzeros", "share", role, "")
        left.set(xlabel="nonzero coefficients", ylabel=curves.SHARE, ylim=(0, 1.4), title="error")
        right.set(
            xlabel="nonzero coefficients", ylim=(-0.15, 1.25), title="weight of the dense expert"
        )
        for axes in (left, right):
            axes.set_xticks((1, 2, 5, 10, 15, 20))
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return figures.picture(
            figure,
            "Error of the mixture model, the specialists and exact Bayes, and the dense expert's weight in the "
            "predictions of the mixture model and of exact Bayes, against the nonzero coefficients, after 10 examples.",
            "After 10 examples. Bands are 90% intervals over 256 prompts.",
            found,
        )


def draw_rare(table: pd.DataFrame) -> Picture:
    """Errors on a class of one in a hundred, of a tiny transformer and of exact Bayes."""
    found = shares(table[table.kind.isin(_RARE)], ["predictor", "kind", "n_examples"])
    with figures.drawing(1, 4, figsize=(9.5, 3.2), sharey=True) as (figure, panels):
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

Tables = Mapping[str, pd.DataFrame]


def _above(table: pd.DataFrame, name: str, reference: str, **values: object) -> Measure:
    """How much more one predictor errs than another, as a share of the mean square."""
    ours, theirs = (rows_of(table, predictor=each, **values) for each in (name, reference))
    return ratio(ours.error - theirs.error.to_numpy(), ours.power)


def as_good(tables: Tables, own: Mapping[str, str] = SPECIALISTS) -> dict[str, Measure]:
    """C1: above the classical method for each class."""
    classical = {"dense": EXPERTS["dense"], "sparse": LASSO}  # the dense expert is least squares
    return {
        f"{kind}, {n} examples": _above(
            tables["selection_errors"], own[kind], classical[kind], nonzeros=nonzeros, n_examples=n
        )
        for kind, nonzeros in _NONZEROS_OF.items()
        for n in AT
    }


def price(
    tables: Tables, name: str = MIXED, own: Mapping[str, str] = SPECIALISTS
) -> dict[str, Measure]:
    """C2: above the specialists, above exact Bayes, and whom it follows."""
    table = tables["selection_errors"]
    found = {
        f"{over}: {kind}, {n} examples": _above(
            table, name, reference, nonzeros=nonzeros, n_examples=n
        )
        for over, references in (
            ("above the specialist", own),
            ("above exact Bayes", dict.fromkeys(own, BAYES)),
        )
        for (kind, reference), nonzeros in zip(
            references.items(), _NONZEROS_OF.values(), strict=True
        )
        for n in AT
    }
    rows = rows_of(table, predictor=name, nonzeros=2, n_examples=10)
    return found | {"dense weight on sparse functions, 10 examples": ratio(rows.along, rows.apart)}


def between(tables: Tables, name: str = MIXED) -> dict[str, Measure]:
    """C3: the dense expert's weight at both ends."""
    table = tables["selection_between"]
    found = {}
    for k in (2, DIM):
        rows = rows_of(table, predictor=name, nonzeros=k)
        found[f"{k} nonzeros"] = ratio(rows.along, rows.apart)
    return found


def unlike(tables: Tables, pair: str, name: str | None = None) -> dict[str, Measure]:
    """C4: above the specialists and above exact Bayes, on each class of a pair."""
    mixture, members = _PAIRS[pair]
    table = tables["selection_pairs"]
    return {
        f"{over}: {kind}, {n} examples": _above(
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


def _learnt(tables: Tables, *names: str) -> dict[str, Measure]:
    """How far models of dense and sparse functions are above exact Bayes of the class, on their own classes."""
    found = {}
    for name in names:
        for kind, nonzeros in _NONZEROS_OF.items():
            if name in (MIXED, SPECIALISTS[kind]):
                reference = BAYES if name == MIXED else EXPERTS[kind]
                for n in (20, MOST):
                    found[f"{name} on {kind}, {n} examples"] = _above(
                        tables["selection_errors"], name, reference, nonzeros=nonzeros, n_examples=n
                    )
    return found


def _learnt_pair(tables: Tables, pair: str) -> dict[str, Measure]:
    mixture, members = _PAIRS[pair]
    return {
        f"{name} on {kind}, {n} examples": _above(
            tables["selection_pairs"], name, curves.OF + mixture, pair=pair, kind=kind, n_examples=n
        )
        for kind, (_, own) in members.items()
        for name in (mixture, own)
        for n in (20, MOST)
    }


def _learnt_common(tables: Tables, *kinds: str) -> dict[str, Measure]:
    return {
        f"{model} on its common {kind}, {n} examples": _above(
            tables["selection_rare"], model, curves.OF + model, kind=f"common {kind}", n_examples=n
        )
        for kind in kinds
        for model in [_COMMON[f"common {kind}"][1]]
        for n in (20, MOST)
    }


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: C1 to C5b."""
    swapped = {"dense": EXPERTS["sparse"], "sparse": EXPERTS["dense"]}
    both = _learnt(tables, MIXED, *SPECIALISTS.values())
    alone = _learnt(tables, *SPECIALISTS.values())

    def unlike_pair(key: str, pair: str, null: str) -> claims.Finding:
        mixture, _ = _PAIRS[pair]
        return claims.find(
            key,
            unlike(tables, pair),
            where=f"{_PAGE}#unlike-pairs",
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
        claims.find(
            "C1",
            as_good(tables),
            where=f"{_PAGE}#selection-for-free",
            note="; ".join(trained(name) for name in SPECIALISTS.values())
            + "; 512 prompts of each class",
            beside={
                claims.BAYES: as_good(tables, EXPERTS),
                "null: the expert of the other class": as_good(tables, swapped),
            },
            gate=alone,
        ),
        claims.find(
            "C2",
            price(tables),
            where=f"{_PAGE}#selection-for-free",
            note=f"{trained(MIXED)}; 512 prompts of each class",
            beside={
                claims.BAYES: price(tables, BAYES, EXPERTS),
                "null: least squares on everything": price(tables, EXPERTS["dense"], EXPERTS),
            },
            gate=both,
        ),
        claims.find(
            "C3",
            between(tables),
            where=f"{_PAGE}#between-sparse-and-dense",
            note=f"{trained(MIXED)}; 256 prompts at each number of nonzeros",
            beside={
                claims.BAYES: between(tables, BAYES),
                "null: least squares on everything": between(tables, EXPERTS["dense"]),
            },
            gate=both,
        ),
        unlike_pair("C4a", "line + sine", "line-tiny"),
        unlike_pair("C4b", "dense + ReLU", "dense-tiny"),
        odd("C5a", "dense", "sparse"),
        odd("C5b", "line", "sine"),
    ]


def _weight_at(table: pd.DataFrame, nonzeros: int) -> Measure:
    rows = rows_of(table, predictor=MIXED, nonzeros=nonzeros)
    return ratio(rows.along, rows.apart)


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    table, nonzeros = tables["selection_errors"], tables["selection_between"]
    found: dict[str, Measure] = {}
    for called, name in (("mixed", MIXED), ("bayes", BAYES), ("lasso", LASSO), ("plain", PLAIN)):
        for kind, count in _NONZEROS_OF.items():
            for n in AT:
                found[f"{called}.{kind}.{n}"] = share_of(
                    table, predictor=name, nonzeros=count, n_examples=n
                )
    for kind, name in SPECIALISTS.items():
        found[f"own.{kind}.20"] = share_of(
            table, predictor=name, nonzeros=_NONZEROS_OF[kind], n_examples=20
        )
    for called, name in (("mixed", MIXED), ("plain", PLAIN), ("bayes", BAYES)):
        for n in (4, 10, 15):
            rows = rows_of(table, predictor=name, nonzeros=2, n_examples=n)
            found[f"{called}.weight.{n}"] = ratio(rows.along, rows.apart)
    for k in (2, 3, DIM):
        rows = rows_of(nonzeros, predictor=MIXED, nonzeros=k)
        found[f"mixed.weight.of{k}"] = ratio(rows.along, rows.apart)
    costs = price(tables)
    for kind in CLASSES:
        found[f"price.{kind}"] = costs[f"above the specialist: {kind}, 10 examples"]
    found["three"] = _above(nonzeros, BAYES, EXPERTS["sparse"], nonzeros=3)
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
    return {f"selection.{name}": figures.estimate(*measure) for name, measure in found.items()}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name: each must hold with its whole interval."""
    table, nonzeros = tables["selection_errors"], tables["selection_between"]

    def weight(name: str, n: int) -> Measure:
        rows = rows_of(table, predictor=name, nonzeros=2, n_examples=n)
        return ratio(rows.along, rows.apart)

    def at(name: str, count: int, n: int) -> pd.Series:
        return rows_of(table, predictor=name, nonzeros=count, n_examples=n).error

    costs = price(tables)
    own = _learnt(tables, *SPECIALISTS.values())
    sines = rises(tables, ["sine"])["rare sine"], rises(tables, ["sine"], curves.OF)["rare sine"]
    tiny = unlike(tables, "line + sine")
    found = {
        "bayes_jumps": weight(BAYES, 3)[0] > 0.05 > weight(BAYES, 4)[2],
        "blends": weight(MIXED, 4)[1] > 0.75
        and 0.25 < weight(MIXED, 10)[1] < weight(MIXED, 10)[2] < 0.75,
        "moves_on": weight(MIXED, 15)[2] < weight(MIXED, 10)[1],
        "plain_selects_nothing": all(weight(PLAIN, n)[1] > 0.9 for n in (4, 10, 15)),
        "lasso_is_better": less(at(LASSO, 2, 10), at(MIXED, 2, 10), 0.25),
        "late": less(at(MIXED, 2, 10), at(PLAIN, 2, 10)) and at(BAYES, 2, 4).mean() < 1e-3,
        "price_is_small_beside_what_is_missing": all(
            costs[f"above the specialist: {kind}, 20 examples"][2]
            < costs[f"above exact Bayes: {kind}, 20 examples"][1]
            for kind in CLASSES
        ),
        "undertrained": own[f"{SPECIALISTS['dense']} on dense, 20 examples"][1] > claims.WORSE,
        "gradual": between(tables)["2 nonzeros"][2] < _weight_at(nonzeros, 8)[1]
        and _weight_at(nonzeros, 3)[2] < 0.9,
        "bayes_is_certain_at_three": _above(nonzeros, BAYES, EXPERTS["sparse"], nonzeros=3)[1]
        > 0.1,
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
    }
    return {f"selection.{name}": bool(holds) for name, holds in found.items()}
