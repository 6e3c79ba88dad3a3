"""The mixture's weight: what the share of lines in pretraining is worth, on functions in the mixture and out of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from icl_lib import claims, figures, sweeps
from icl_lib.claims import Measure
from icl_lib.experiments import curves
from icl_lib.experiments.curves import LINE, SINE
from icl_lib.experiments.experiment import Experiment, shares
from icl_lib.recipes import FAST, SHARES
from icl_lib.samplers import ConvexCombination, FunctionClass
from icl_lib.speed import training_flops
from icl_lib.sweeps.grid import FOLDER

MODELS: Mapping[str, float] = {
    "sine-tiny": 0.0,
    **{f"line+sine-{share}-tiny": share for share in SHARES},
    "line-tiny": 1.0,
}
"""The share of lines that each model was pretrained on; the rest were sines."""

TESTS: Mapping[str, FunctionClass] = {
    "lines": LINE,
    "three quarters line": ConvexCombination(LINE, SINE, 0.75),
    "halfway": ConvexCombination(LINE, SINE, 0.5),
    "a quarter line": ConvexCombination(LINE, SINE, 0.25),
    "sines": SINE,
    "sines above the band": FAST,
}
LENGTHS = (5, 10, 40)
OVER = {
    "oracle": "exact Bayes that knows the test's class",
    "own": "exact Bayes with the model's own mixture as prior",
}
"""Whose error is taken off the model's: columns, and what they are in words."""


def errors(
    model: str, test: str, n_examples: int, n_queries: int, seed: int, prompts: Sequence[int]
) -> pd.DataFrame:
    """How far a model, exact Bayes with its prior, and the oracle are from the function."""
    asked = TESTS[test]
    case = (asked, n_examples, n_queries, seed, tuple(prompts))
    found = curves.error(model, *case)
    for column, name in (("own", f"{curves.OF}{model}"), ("oracle", curves.ORACLE)):
        found[column] = curves.error(name, *case).error
    return found


EXPERIMENTS = (
    Experiment(
        name="weight_errors",
        version=1,
        about="one model on one prompt, beside exact Bayes with its prior and the oracle that knows the test's class",
        columns={
            **curves.ERROR,
            **{name: f"the same of {words}" for name, words in OVER.items()},
        },
        cases=[
            {"model": model, "test": test, "n_examples": n}
            for model in MODELS
            for test in TESTS
            for n in LENGTHS
        ],
        settings={"n_queries": 32, "seed": 9},
        n_prompts=128,
        measure=errors,
    ),
)


def excess(table: pd.DataFrame) -> pd.DataFrame:
    """How much more each model errs than the two Bayesians, as shares of the functions' mean square.

    Returns:
        One row for each model, test, number of examples and Bayesian, a key of `OVER`: model, test, n_examples, over,
        share, ci_low, ci_high (90%, paired).
    """
    found = [
        shares(
            table.assign(excess=table.error - table[over]),
            ["model", "test", "n_examples"],
            "excess",
        ).assign(over=over)
        for over in OVER
    ]
    return pd.concat(found, ignore_index=True)


def _late(table: pd.DataFrame, over: str) -> dict[tuple[str, str], Measure]:
    """The excess after 40 examples, by model and test."""
    found = excess(table[table.n_examples == curves.MOST])
    rows = found[found.over == over]
    columns = [rows[name].tolist() for name in ("model", "test", "share", "ci_low", "ci_high")]
    return {
        (model, test): (share, low, high)
        for model, test, share, low, high in zip(*columns, strict=True)
    }


_EVEN, _FEW_LINES, _FEW_SINES = (f"line+sine-{share}-tiny" for share in (0.5, 0.1, 0.9))
_MIXED = [f"line+sine-{share}-tiny" for share in SHARES]


def findings(tables: Mapping[str, pd.DataFrame]) -> list[claims.Finding]:
    """None: the grid judges no claim."""
    return []


def numbers(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The numbers of the page's prose, by name."""
    late = _late(tables["weight_errors"], "oracle")
    found = {
        "lines.few": late[_FEW_LINES, "lines"],
        "lines.even": late[_EVEN, "lines"],
        "sines.few": late[_FEW_SINES, "sines"],
        "sines.even": late[_EVEN, "sines"],
        "halfway.least": min(late[model, "halfway"] for model in _MIXED),
        "above.least": min(late[model, "sines above the band"] for model in _MIXED),
    }
    told = {f"weight.{name}": figures.estimate(*measure) for name, measure in found.items()}
    return told | {f"weight.cost.{name}": words for name, words in _costs().items()}


_GPU_RATE = 1e14
"""What one GPU is taken to reach on such models, in operations a second: an assumption, for none was measured."""
_CPU_RATE = 301.4e9 / 2.488
"""What two processors reached on a step of the standard model in the README's benchmark."""


def _costs() -> dict[str, str]:
    """What the book's grids and the paper's ask for: runs, operations, and how long these take, or took."""
    ours, *theirs = (
        sweeps.read(name) for name in ("line+sine-tiny", "paper-linear", "paper-sines")
    )
    members = [member for grid in theirs for member in grid.members]
    each = training_flops(members[0].setting)
    total = sum(training_flops(member.setting) for member in members)
    hours = total / _GPU_RATE / 3600
    tried = pd.read_csv(FOLDER / "first-try-costs.csv")
    rate = tried.operations.sum() / tried.seconds.sum()
    return {
        "try.each": f"{tried.operations[0] / 1e12:.1f}",
        **{
            f"try.{weight:g}": f"{seconds:.0f}"
            for weight, seconds in zip(tried.weight, tried.seconds, strict=True)
        },
        "ours.minutes": f"{training_flops(ours.members[0].setting) / rate / 60:.1f}",
        "ours.runs": f"{len(ours.members)}",
        "ours.each": f"{training_flops(ours.members[0].setting) / 1e12:.0f}",
        "runs": f"{len(members)}",
        "each": f"{each / 1e15:.0f}",
        "each.minutes": f"{each / _GPU_RATE / 60:.0f}",
        "each.days": f"{each / _CPU_RATE / 86400:.0f}",
        **{f"hours.{gpus}": f"{hours / gpus:.2g}" for gpus in (1, 8, 64)},
    }


def conditions(tables: Mapping[str, pd.DataFrame]) -> dict[str, bool]:
    """What the page's sentences hang on, by name."""
    table = tables["weight_errors"]
    late, own = _late(table, "oracle"), _late(table, "own")
    found = {
        "rare_costs": all(
            late[few, test][1] > late[_EVEN, test][2]
            for few, test in ((_FEW_LINES, "lines"), (_FEW_SINES, "sines"))
        ),
        "none_repairs": all(late[model, "halfway"][1] > claims.WORSE for model in _MIXED),
        "none_reaches_above": all(
            late[model, "sines above the band"][1] > 5 * claims.WORSE for model in _MIXED
        ),
        "own_bayesian_errs_more": all(
            own[f"line+sine-{share}-tiny", "halfway"][2] < 0 for share in (0.01, 0.05, 0.1, 0.25)
        ),
        "nearest_with_few_lines": min(_MIXED, key=lambda model: late[model, "halfway"][0])
        in _MIXED[:3],
    }
    return {f"weight.{name}": bool(holds) for name, holds in found.items()}
