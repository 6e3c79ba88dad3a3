"""The setting: how fast lines and sines are learnt in context, and how soon a prompt tells which it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import torch

from icl_lib import bayes, claims, figures
from icl_lib.evaluation import bootstrap_interval, share_interval
from icl_lib.experiments import curves
from icl_lib.experiments.curves import (
    BAYES,
    LENGTHS,
    LINE,
    MOST,
    NEIGHBOURS,
    PRIOR,
    SINE,
    SQUARES,
    STANDARD,
)
from icl_lib.experiments.experiment import Experiment, shares
from icl_lib.figures import Picture
from icl_lib.samplers import FunctionClass, sample_prompts

CLASSES: Mapping[str, FunctionClass] = {"line": LINE, "sine": SINE}
CERTAIN = 0.99
"""Above this, exact Bayes is said to know the class."""


def errors(
    predictor: str, kind: str, n_examples: int, n_queries: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How far a predictor is from a line, or from a sine."""
    case = (CLASSES[kind], n_examples, n_queries, seed, tuple(prompts))
    return curves.error(predictor, *case)


def beliefs(n_examples: int, seed: int, prompts: Sequence[int]) -> pd.DataFrame:
    """What exact Bayes believes of the true class of a prompt of the mixture."""
    chosen = list(prompts)
    drawn = sample_prompts(PRIOR, max(chosen) + 1, n_examples + 1, seed=seed)
    xs, ys, component = (part[chosen] for part in drawn)
    believed = bayes.posterior_predictive(PRIOR, xs, ys).component_probability[:, -1]
    return pd.DataFrame({"probability": believed.gather(1, component[:, None])[:, 0]})


EXPERIMENTS = (
    Experiment(
        name="setting_errors",
        version=1,
        about="one predictor on one prompt, whose function is a line or a sine of the mixture",
        columns=curves.ERROR,
        cases=[
            {"predictor": name, "kind": kind, "n_examples": n}
            for name in (STANDARD, BAYES, SQUARES, NEIGHBOURS)
            for kind in CLASSES
            for n in LENGTHS
        ],
        settings={"n_queries": 32, "seed": 2},
        n_prompts=256,
        measure=errors,
    ),
    Experiment(
        name="setting_beliefs",
        version=1,
        about="what exact Bayes believes after some examples of one prompt of the mixture",
        columns={"probability": "posterior probability of the prompt's true class"},
        cases=[{"n_examples": n} for n in range(6)],
        settings={"seed": 3},
        n_prompts=256,
        measure=beliefs,
    ),
)

_LOOKS = {STANDARD: "transformer", BAYES: "Bayes", SQUARES: "classical", NEIGHBOURS: "oracle"}
_NAMES = {STANDARD: "transformer", BAYES: "exact Bayes"}


def draw_learning(table: pd.DataFrame) -> Picture:
    """Errors on lines and on sines against the number of examples."""
    found = shares(table, ["predictor", "kind", "n_examples"])
    names = [_NAMES.get(name, name) for name in _LOOKS]
    with figures.drawing(1, 2, figsize=(9.5, 3.6), sharey=True) as (figure, panels):
        for axes, kind in zip(panels, CLASSES, strict=True):
            axes.set(yscale="log", ylim=(curves.FLOOR / 2, 10), xlim=(0, MOST), title=f"on {kind}s")
            axes.set_xlabel("in-context examples")
            axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            for name, role in _LOOKS.items():
                rows = found[(found.predictor == name) & (found.kind == kind)]
                curves.draw_share(axes, rows, "n_examples", role, _NAMES.get(name, name))
        figures.name_lines(panels[1], names)
        panels[0].set_ylabel(curves.SHARE)
        panels[0].annotate("predicting zero", (25, 1.3), fontsize=9)
        return figures.picture(
            figure,
            "Errors of the transformer, exact Bayes, least squares and three nearest neighbours against the number of "
            "examples, on lines and on sines, on a log axis.",
            "Bands are 90% intervals over 256 prompts. Shares below 10⁻⁶ are drawn there.",
            found,
        )


def believed(table: pd.DataFrame) -> pd.DataFrame:
    """How soon exact Bayes knows the class, in words: by the number of examples."""
    wide = table.pivot_table(index="prompt", columns="n_examples", values="probability")
    right = torch.tensor(wide.to_numpy(float))

    def words(values: torch.Tensor, interval: tuple[torch.Tensor, torch.Tensor]) -> list[str]:
        ends = zip(values.double().mean(0), *interval, strict=True)
        return [figures.percentage(*(float(end) for end in each)) for each in ends]

    known = right > CERTAIN
    return pd.DataFrame(
        {
            "probability of the true class": words(right, bootstrap_interval(right)),
            "prompts in which it is above 0.99": words(known, share_interval(known)),
        },
        index=pd.Index(wide.columns, name="examples seen"),
    )


def _late(table: pd.DataFrame) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Shares after 20 examples by predictor and kind, with their intervals."""
    found = shares(table[table.n_examples == 20], ["predictor", "kind"])
    columns = ["predictor", "kind", "share", "ci_low", "ci_high"]
    rows = found[columns].itertuples(index=False)
    return {(who, kind): (share, low, high) for who, kind, share, low, high in rows}


def findings(tables: Mapping[str, pd.DataFrame]) -> list[claims.Finding]:
    """None: the setting judges no claim."""
    return []


def numbers(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    late = _late(tables["setting_errors"])
    told = believed(tables["setting_beliefs"]).iloc[:, 0]
    found = {
        f"{called}.{kind}s": figures.estimate(*late[name, kind])
        for name, called in ((STANDARD, "transformer"), (SQUARES, "squares"))
        for kind in CLASSES
    }
    found["early"], found["known"] = told[1], told[2]
    return {f"setting.{name}": words for name, words in found.items()}


def conditions(tables: Mapping[str, pd.DataFrame]) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name."""
    late, told = _late(tables["setting_errors"]), tables["setting_beliefs"]
    two = told[told.n_examples == 2].probability
    found = {
        "learns_both": all(late[STANDARD, kind][2] < claims.WORSE for kind in CLASSES),
        "squares_lose_sines": late[SQUARES, "sine"][1] > claims.COLLAPSE,
        "bayes_is_best": all(
            late[BAYES, kind][2] < late[other, kind][1]
            for kind in CLASSES
            for other in (STANDARD, NEIGHBOURS)
        ),
        "known_soon": two.mean() > CERTAIN,
    }
    return {f"setting.{name}": bool(holds) for name, holds in found.items()}
