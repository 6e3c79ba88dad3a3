"""Every shipped model: its name and the complete setting that trains it.

Names are `<classes>[-<weight of the first>]-<size>`. `python -m icl_lib train NAME` retrains any of them.
"""

from __future__ import annotations

from icl_lib.model import TransformerConfig
from icl_lib.samplers import DenseLinear, FunctionClass, Mixture, Sinusoid
from icl_lib.training import Ramp, Setting

POINTS = 41
"""Points in a prompt of training: up to 40 in-context examples and a query."""

LINE = DenseLinear(1)
SINE = Sinusoid(low=1.0, high=5.0)


def line_and_sine(weight: float) -> Mixture:
    """The mixture in which a prompt is a line with probability `weight`, else a sine."""
    return Mixture((LINE, SINE), (weight, 1.0 - weight))


MUON_RATE = {"tiny": 1e-2, "small": 2.5e-3}
"""The best of the rates tried, half an hour of training each; deeper models want smaller ones."""


def _one_dimensional(function_class: FunctionClass, size: str, steps: int, seed: int) -> Setting:
    """Few examples first: the steps are cheaper, and the start of the curve is what is slow to learn."""
    return Setting(
        function_class=function_class,
        model=TransformerConfig.of_size(size, dim=1, max_examples=POINTS),
        steps=steps,
        seed=seed,
        examples=Ramp(start=11, stop=POINTS, by=2, every=steps // 30),
        muon_rate=MUON_RATE[size],
    )


RECIPES: dict[str, Setting] = {
    "line-tiny": _one_dimensional(LINE, "tiny", steps=2000, seed=1),
    "sine-tiny": _one_dimensional(SINE, "tiny", steps=6000, seed=2),
    "line+sine-0.5-tiny": _one_dimensional(line_and_sine(0.5), "tiny", steps=8000, seed=3),
    "line+sine-0.5-small": _one_dimensional(line_and_sine(0.5), "small", steps=8000, seed=4),
}
