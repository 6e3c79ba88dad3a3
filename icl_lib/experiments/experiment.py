"""What an experiment is, and the statistics that every chapter takes of its rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from icl_lib import weights
from icl_lib.claims import Measure
from icl_lib.evaluation import bootstrap_ratio, interval_of, resampled_means

Case = Mapping[str, Any]
"""Parameters by name: numbers and words. Where one is the name of a model, the rows depend on that model's weights."""


@dataclass(frozen=True)
class Experiment:
    """A table to be measured, one row for each case and prompt.

    Attributes:
        name: of the table.
        version: to be raised whenever `measure` comes to mean something else.
        about: what a row is.
        columns: what is measured, with its unit, by column.
        cases: the parameters in which the rows differ; all have the same names.
        settings: the parameters that all rows share.
        n_prompts: prompts of each case.
        measure: `measure(prompts=[0, 7], **case, **settings)` returns the columns, one row for each of these prompts. A
            prompt's row must not depend on which others are asked for.
    """

    name: str
    version: int
    about: str
    columns: Mapping[str, str]
    cases: Sequence[Case]
    settings: Case
    n_prompts: int
    measure: Callable[..., pd.DataFrame]


def shares(
    table: pd.DataFrame, by: Sequence[str], over: str = "error", under: str = "power"
) -> pd.DataFrame:
    """The mean of one column over the mean of another, on the same prompts, with its 90% interval.

    Args:
        table: with a column `prompt`.
        by: the columns that tell the groups apart.
        over: the column above the line.
        under: the column below it.

    Returns:
        One row for each group: the columns `by`, share, ci_low, ci_high (bootstrap over prompts).
    """
    above, below = (
        table.pivot_table(index="prompt", columns=list(by), values=column)
        for column in (over, under)
    )
    parts = [torch.tensor(wide.to_numpy(float)) for wide in (above, below)]
    low, high = bootstrap_ratio(parts[0], parts[1])
    share = parts[0].mean(0) / parts[1].mean(0)
    groups = above.columns.to_frame(index=False)
    return groups.assign(share=share.numpy(), ci_low=low.numpy(), ci_high=high.numpy())


def ratio(over: pd.Series, under: pd.Series) -> Measure:
    """The ratio of two means over the same prompts, in the same order, with its 90% bootstrap interval."""
    parts = [torch.tensor(part.to_numpy(float))[:, None] for part in (over, under)]
    low, high = bootstrap_ratio(parts[0], parts[1])
    return (parts[0].mean() / parts[1].mean()).item(), low.item(), high.item()


def ratio_of_ratios(
    first: tuple[pd.Series, pd.Series], second: tuple[pd.Series, pd.Series]
) -> Measure:
    """(mean / mean) / (mean / mean), over the same prompts in the same order, with its 90% bootstrap interval."""
    columns = torch.from_numpy(np.column_stack([*first, *second]).astype(float))
    means = torch.cat([columns.mean(0, keepdim=True), resampled_means(columns)])
    found = means[:, :1] * means[:, 3:] / (means[:, 1:2] * means[:, 2:3])
    low, high = interval_of(found[1:])
    return found[0].item(), low.item(), high.item()


def over_seeds(over: Sequence[pd.Series], under: Sequence[pd.Series]) -> Measure:
    """The ratio of two means over the same prompts and over seeds, with its 90% bootstrap interval over both.

    Args:
        over: what is above the line, by prompt, one for each seed.
        under: what is below it, likewise.
    """
    columns = torch.from_numpy(np.column_stack([*over, *under]).astype(float))
    seeds = len(over)

    def ratios(means: Tensor, drawn: Tensor) -> Tensor:
        above, below = (part.gather(1, drawn).mean(1) for part in means.split(seeds, dim=1))
        return (above / below)[:, None]

    resampled = resampled_means(columns)
    drawn = np.random.default_rng(1).integers(seeds, size=(len(resampled), seeds))
    value = ratios(columns.mean(0, keepdim=True), torch.arange(seeds)[None])
    low, high = interval_of(ratios(resampled, torch.from_numpy(drawn)))
    return value.item(), low.item(), high.item()


def less(one: pd.Series, other: pd.Series, factor: float = 1.0) -> bool:
    """Whether one mean is demonstrably below a multiple of another, prompt by prompt."""
    return ratio(one, other)[2] < factor


def rows_of(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows that have these values, by prompt."""
    meant = np.ones(len(table), bool)
    for column, value in values.items():
        meant &= np.asarray(table[column].array == value, bool)
    rows = table[meant]
    return rows if rows["prompt"].is_monotonic_increasing else rows.sort_values("prompt")


def share_of(table: pd.DataFrame, over: str = "error", **values: object) -> Measure:
    """The share of `power` that a column has in the rows that have these values, with its interval."""
    found = rows_of(table, **values)
    return ratio(found[over], found["power"])


def trained(model: str) -> str:
    """What a verdict rests on, in words: the model's size, and on how many prompts it was trained."""
    card = weights.read_card(model)
    seen = weights.prompts_met(card)
    return f"{model}: {card['parameters']:,} parameters, trained once, on {seen:,} prompts"
