"""The book's experiments, pure functions to tidy tables; a chapter's figures stand beside them.

`icl_lib.results` stores what they measure.
"""

from collections.abc import Mapping

import pandas as pd

from icl_lib.claims import CLAIMS, Finding
from icl_lib.experiments import (
    combinations,
    debate,
    diversity,
    frequency,
    inside,
    many_tasks,
    named,
    question,
    selection,
    setting,
    weight,
)
from icl_lib.experiments.experiment import Experiment

CHAPTERS = (
    setting,
    combinations,
    frequency,
    selection,
    named,
    debate,
    diversity,
    question,
    many_tasks,
    inside,
    weight,
)
"""A module for each chapter, three for the debate's first: EXPERIMENTS, figures, `findings`, and the `numbers` and
`conditions` of its prose."""

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment for chapter in CHAPTERS for experiment in chapter.EXPERIMENTS
}


def findings(tables: Mapping[str, pd.DataFrame]) -> dict[str, Finding]:
    """What the chapters found about the claims, by key and in the ledger's order; claims not tested are left out.

    Args:
        tables: of all experiments, by name.

    Raises:
        ValueError: two chapters judge the same claim.
    """
    found: dict[str, Finding] = {}
    for chapter in CHAPTERS:
        for finding in chapter.findings(tables):
            if finding.claim.key in found:
                raise ValueError(f"{finding.claim.key} is judged by two chapters")
            found[finding.claim.key] = finding
    return {key: found[key] for key in CLAIMS if key in found}


__all__ = ["CHAPTERS", "EXPERIMENTS", "Experiment", "findings"]
