"""The book's experiments, pure functions to tidy tables; a chapter's figures stand beside them.

`icl_lib.results` stores what they measure.
"""

from icl_lib.experiments import combinations
from icl_lib.experiments.experiment import Experiment

CHAPTERS = (combinations,)
"""One module for each chapter: its EXPERIMENTS, its figures, and the `numbers` and `conditions` of its prose."""

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment for chapter in CHAPTERS for experiment in chapter.EXPERIMENTS
}

__all__ = ["CHAPTERS", "EXPERIMENTS", "Experiment"]
