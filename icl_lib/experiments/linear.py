"""Dense against sparse linear functions, in twenty dimensions or in eight: errors, whom one follows, claims C1 to C3.

The chapter asks the same of two sets of models, in twenty dimensions and in eight. A `Setup` says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from icl_lib import baselines, bayes, claims, figures, weights
from icl_lib.claims import Measure
from icl_lib.evaluation import Predictor, predictions
from icl_lib.experiments import curves
from icl_lib.experiments.experiment import Experiment, ratio, rows_of, shares, trained
from icl_lib.figures import Picture
from icl_lib.recipes import points_of
from icl_lib.samplers import DenseLinear, FunctionClass, Mixture, SparseLinear, sample_prompts

NNZ = 2
"""Nonzero coefficients of the sparse functions of pretraining."""
BAYES, LASSO = "Bayes", "Lasso"
EXPERTS = {"dense": "dense expert", "sparse": "sparse expert"}
"""Exact Bayes that is certain of one class."""

Tables = Mapping[str, pd.DataFrame]


@dataclass(frozen=True)
class Setup:
    """Dense and sparse functions of so many numbers, and the models that are judged on them.

    Attributes:
        dim: dimensions of the inputs; prompts have up to twice as many examples.
        mixed: the model pretrained on both by halves.
        specialists: the models pretrained on one class, by class.
        others: further models of both, measured beside it.
        table: the name of the tables, before "_errors" and "_between".
        lengths: numbers of examples at which errors are measured.
        seeds: of the prompts of either table.
        letter: what follows the number of the claims that are judged.
        sections: of the chapter, where C1 and C2, and where C3 is told.
    """

    dim: int
    mixed: str
    specialists: Mapping[str, str]
    table: str
    lengths: Sequence[int]
    seeds: tuple[int, int]
    letter: str
    sections: tuple[str, str]
    others: Sequence[str] = ()

    @property
    def most(self) -> int:
        """The most examples of a prompt."""
        return points_of(self.dim) - 1

    @property
    def asked(self) -> tuple[int, int, int]:
        """The numbers of examples at which claims are judged: half as many as dimensions, as many, and twice."""
        return self.dim // 2, self.dim, self.most

    @property
    def nonzeros(self) -> dict[str, int]:
        """Nonzero coefficients, by class."""
        return {"dense": self.dim, "sparse": NNZ}


# --- What is measured -----------------------------------------------------------------------------


@cache
def _strengths(dim: int, points: int) -> Tensor:
    """For each number of examples the Lasso's strength that is best on other prompts (points,)."""
    xs, ys, _ = sample_prompts(SparseLinear(dim, NNZ), 256, points, seed=20)
    tried = torch.tensor((0.001, 0.003, 0.01, 0.03, 0.1, 0.3))
    missed = [(baselines.lasso(xs, ys, a.item()) - ys).double().square().mean(0) for a in tried]
    return tried[torch.stack(missed).argmin(0)]


def _lasso(xs: Tensor, ys: Tensor) -> Tensor:
    strengths = _strengths(xs.shape[2], ys.shape[1])
    answers = torch.zeros_like(ys)
    for strength in strengths.unique():
        chosen = strengths == strength
        answers[:, chosen] = baselines.lasso(xs, ys, strength.item())[:, chosen]
    return answers


def _exact(which: int, xs: Tensor, ys: Tensor) -> Tensor:
    """Exact Bayes of dense, of sparse functions, or of both by halves, at every prefix."""
    dim = xs.shape[2]
    module = bayes.prefix_module(Mixture((DenseLinear(dim), SparseLinear(dim, NNZ)), (0.5, 0.5)))
    half = torch.tensor(0.5, dtype=torch.float64)
    found: Tensor = module(xs.double(), ys.double(), half)[which]
    return found


_KNOWN: Mapping[str, Predictor] = {
    EXPERTS["dense"]: partial(_exact, 0),
    EXPERTS["sparse"]: partial(_exact, 1),
    BAYES: partial(_exact, 2),
    LASSO: _lasso,
}


@cache
def _answers(
    dim: int, name: str, nonzeros: int, seed: int, prompts: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """The true values (P, n), and what a predictor says at every prefix (P, n)."""
    asked: FunctionClass = DenseLinear(dim) if nonzeros == dim else SparseLinear(dim, nonzeros)
    xs, ys, _ = sample_prompts(asked, max(prompts) + 1, points_of(dim), seed=seed)
    xs, ys = xs[list(prompts)], ys[list(prompts)]
    predictor = _KNOWN[name] if name in _KNOWN else weights.load(name)
    return ys.double(), predictions({name: predictor}, xs, ys)[name]


def errors(
    predictor: str, nonzeros: int, n_examples: int, seed: int, prompts: Sequence[int], *, dim: int
) -> pd.DataFrame:
    """How far a predictor is from a linear function, and whom of two experts it follows."""
    case = nonzeros, seed, tuple(prompts)
    ys, said = (part[:, n_examples] for part in _answers(dim, predictor, *case))
    dense, sparse = (_answers(dim, name, *case)[1][:, n_examples] for name in EXPERTS.values())
    return pd.DataFrame(
        {
            "error": (said - ys).square(),
            "power": ys.square(),
            "along": (said - sparse) * (dense - sparse),
            "apart": (dense - sparse).square(),
        }
    )


_COLUMNS = {
    "error": "squared error, in units of f squared",
    "power": "squared value of the function at the query",
    "along": "(prediction - sparse expert's) * (dense expert's - sparse expert's)",
    "apart": "(dense expert's - sparse expert's prediction) squared",
}
_NUMBERS = {8: "eight", 20: "twenty"}


def experiments(setup: Setup) -> tuple[Experiment, Experiment]:
    """The tables of errors on both classes, and on functions with any number of nonzeros after few examples."""
    measure, (few, _, _) = partial(errors, dim=setup.dim), setup.asked
    models = (setup.mixed, *setup.others, *setup.specialists.values())
    exact = (BAYES, *EXPERTS.values())
    return (
        Experiment(
            name=f"{setup.table}_errors",
            version=1,
            about=f"one predictor on one prompt of a linear function of {_NUMBERS[setup.dim]} numbers, some of them "
            "with coefficient zero",
            columns=_COLUMNS,
            cases=[
                {"predictor": name, "nonzeros": nonzeros, "n_examples": n}
                for name in (*models, *exact, LASSO)
                for nonzeros in setup.nonzeros.values()
                for n in setup.lengths
            ],
            settings={"seed": setup.seeds[0]},
            n_prompts=512,
            measure=measure,
        ),
        Experiment(
            name=f"{setup.table}_between",
            version=1,
            about=f"one predictor on one prompt of a linear function with 1 to {setup.dim} nonzero coefficients, after "
            f"{few} examples",
            columns=_COLUMNS,
            cases=[
                {"predictor": name, "nonzeros": nonzeros, "n_examples": few}
                for name in (setup.mixed, *setup.specialists.values(), *exact)
                for nonzeros in range(1, setup.dim + 1)
            ],
            settings={"seed": setup.seeds[1]},
            n_prompts=256,
            measure=measure,
        ),
    )


# --- Figures --------------------------------------------------------------------------------------

_FLOOR = 1e-4
DOTTED = {"linestyle": (0, (1, 1.8)), "linewidth": 1.6}
DASHED = {"linestyle": (0, (5, 2)), "linewidth": 1.2}


def _draw(axes: Axes, rows: pd.DataFrame, x: str, role: str, label: str, **line: Any) -> None:
    drawn = rows.sort_values(x)
    drawn = drawn.assign(**drawn[["share", "ci_low", "ci_high"]].clip(lower=_FLOOR))
    figures.curve(axes, drawn, x, "share", role, label, **line)


def draw_errors(setup: Setup, table: pd.DataFrame) -> Picture:
    """Errors on dense and on sparse functions against the number of examples."""
    found = shares(table, ["predictor", "nonzeros", "n_examples"])
    with figures.drawing(1, 2, figsize=(9.5, 3.0), sharey=True) as (figure, panels):
        for axes, (kind, nonzeros) in zip(panels, setup.nonzeros.items(), strict=True):
            axes.set(
                yscale="log",
                ylim=(_FLOOR / 2, 3),
                xlim=(0, setup.most),
                title=f"on {kind} functions",
            )
            axes.set_xlabel("in-context examples")
            lines: dict[str, tuple[str, str, dict[str, Any]]] = {
                "mixture model": (setup.mixed, "transformer", {}),
                "specialist": (setup.specialists[kind], "transformer", DOTTED),
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
            f"of examples, on dense and on sparse functions of {_NUMBERS[setup.dim]} numbers, on a log axis.",
            "Bands are 90% intervals over 512 prompts. Shares below 10⁻⁴ are drawn there.",
            found,
        )


def followed(table: pd.DataFrame, by: Sequence[str]) -> pd.DataFrame:
    """The dense expert's weight in predictions, where the experts are apart by more than a hundredth."""
    found = shares(table[table.n_examples > 0], by, "along", "apart")
    apart = table.groupby(list(by)).apart.mean()
    keys = found[list(by)].itertuples(index=False, name=None)
    return found[[apart[key] > 0.01 for key in keys]]


def draw_between(setup: Setup, table: pd.DataFrame) -> Picture:
    """Errors and weights after few examples against the number of nonzero coefficients."""
    found = shares(table, ["predictor", "nonzeros"])
    weight = followed(table, ["predictor", "nonzeros", "n_examples"])
    with figures.drawing(1, 2, figsize=(9.5, 3.0)) as (figure, (left, right)):
        lines: dict[str, tuple[str, str, dict[str, Any]]] = {
            "mixture model": (setup.mixed, "transformer", {}),
            "dense specialist": (
                setup.specialists["dense"],
                "transformer",
                {"linestyle": (0, (5, 2))},
            ),
            "sparse specialist": (setup.specialists["sparse"], "transformer", DOTTED),
            "exact Bayes": (BAYES, "Bayes", {}),
        }
        for label, (name, role, style) in lines.items():
            rows = found[found.predictor == name].sort_values("nonzeros")
            figures.curve(left, rows, "nonzeros", "share", role, label, **style)
        for name, role in ((setup.mixed, "transformer"), (BAYES, "Bayes")):
            rows = weight[weight.predictor == name].sort_values("nonzeros")
            figures.curve(right, rows, "nonzeros", "share", role, "")
        left.set(xlabel="nonzero coefficients", ylabel=curves.SHARE, ylim=(0, 1.4), title="error")
        right.set(
            xlabel="nonzero coefficients", ylim=(-0.15, 1.25), title="weight of the dense expert"
        )
        for axes in (left, right):
            axes.set_xticks((1, *range(setup.dim // 4, setup.dim + 1, setup.dim // 4)))
        figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
        return figures.picture(
            figure,
            "Error of the mixture model, the specialists and exact Bayes, and the dense expert's weight in the "
            "predictions of the mixture model and of exact Bayes, against the nonzero coefficients, after "
            f"{setup.asked[0]} examples.",
            f"After {setup.asked[0]} examples. Bands are 90% intervals over 256 prompts.",
            found,
        )


# --- The measures of the claims -------------------------------------------------------------------


def above(table: pd.DataFrame, name: str, reference: str, **values: object) -> Measure:
    """How much more one predictor errs than another, as a share of the mean square."""
    ours, theirs = (rows_of(table, predictor=each, **values) for each in (name, reference))
    return ratio(ours.error - theirs.error.to_numpy(), ours.power)


def weight_of(table: pd.DataFrame, name: str, **values: object) -> Measure:
    """The dense expert's weight in a predictor's answers."""
    rows = rows_of(table, predictor=name, **values)
    return ratio(rows.along, rows.apart)


def as_good(
    setup: Setup, tables: Tables, own: Mapping[str, str] | None = None
) -> dict[str, Measure]:
    """C1: above the classical method for each class."""
    classical = {"dense": EXPERTS["dense"], "sparse": LASSO}  # the dense expert is least squares
    return {
        f"{kind}, {n} examples": above(
            tables[f"{setup.table}_errors"],
            (own or setup.specialists)[kind],
            classical[kind],
            nonzeros=nonzeros,
            n_examples=n,
        )
        for kind, nonzeros in setup.nonzeros.items()
        for n in setup.asked
    }


def price(
    setup: Setup, tables: Tables, name: str | None = None, own: Mapping[str, str] | None = None
) -> dict[str, Measure]:
    """C2: above the specialists, above exact Bayes, and whom it follows."""
    table, name, (few, _, _) = tables[f"{setup.table}_errors"], name or setup.mixed, setup.asked
    found = {
        f"{over}: {kind}, {n} examples": above(
            table, name, references[kind], nonzeros=nonzeros, n_examples=n
        )
        for over, references in (
            ("above the specialist", own or setup.specialists),
            ("above exact Bayes", dict.fromkeys(setup.nonzeros, BAYES)),
        )
        for kind, nonzeros in setup.nonzeros.items()
        for n in setup.asked
    }
    weight = weight_of(table, name, nonzeros=NNZ, n_examples=few)
    return found | {f"dense weight on sparse functions, {few} examples": weight}


def between(setup: Setup, tables: Tables, name: str | None = None) -> dict[str, Measure]:
    """C3: the dense expert's weight at both ends."""
    table = tables[f"{setup.table}_between"]
    return {
        f"{k} nonzeros": weight_of(table, name or setup.mixed, nonzeros=k) for k in (NNZ, setup.dim)
    }


def learnt(setup: Setup, tables: Tables, *names: str) -> dict[str, Measure]:
    """How far models are above exact Bayes of what they were pretrained on, on their own classes."""
    found = {}
    for name in names:
        for kind, nonzeros in setup.nonzeros.items():
            if name in (setup.mixed, setup.specialists[kind]):
                reference = BAYES if name == setup.mixed else EXPERTS[kind]
                for n in setup.asked[1:]:
                    found[f"{name} on {kind}, {n} examples"] = above(
                        tables[f"{setup.table}_errors"],
                        name,
                        reference,
                        nonzeros=nonzeros,
                        n_examples=n,
                    )
    return found


def findings(setup: Setup, tables: Tables, page: str) -> list[claims.Finding]:
    """What was found of C1 to C3."""
    swapped = {"dense": EXPERTS["sparse"], "sparse": EXPERTS["dense"]}
    both = learnt(setup, tables, setup.mixed, *setup.specialists.values())
    alone = learnt(setup, tables, *setup.specialists.values())
    first, second = (f"{page}#{section}" for section in setup.sections)
    squares = EXPERTS["dense"]
    return [
        claims.find(
            f"C1{setup.letter}",
            as_good(setup, tables),
            where=first,
            note="; ".join(trained(name) for name in setup.specialists.values())
            + ", with a second loss; 512 prompts of each class",
            beside={
                claims.BAYES: as_good(setup, tables, EXPERTS),
                "null: the expert of the other class": as_good(setup, tables, swapped),
            },
            gate=alone,
        ),
        claims.find(
            f"C2{setup.letter}",
            price(setup, tables),
            where=first,
            note=f"{trained(setup.mixed)}, with a second loss; 512 prompts of each class",
            beside={
                claims.BAYES: price(setup, tables, BAYES, EXPERTS),
                "null: least squares on everything": price(setup, tables, squares, EXPERTS),
            },
            gate=both,
        ),
        claims.find(
            f"C3{setup.letter}",
            between(setup, tables),
            where=second,
            note=f"{trained(setup.mixed)}, with a second loss; 256 prompts at each number of nonzeros",
            beside={
                claims.BAYES: between(setup, tables, BAYES),
                "null: least squares on everything": between(setup, tables, squares),
            },
            gate=both,
        ),
    ]
