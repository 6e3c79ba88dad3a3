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


def _tiny(function_class: FunctionClass, steps: int, seed: int) -> Setting:
    """Few examples first: the steps are cheaper, and the start of the curve is what is slow to learn."""
    return Setting(
        function_class=function_class,
        model=TransformerConfig.tiny(dim=1, max_examples=POINTS),
        steps=steps,
        seed=seed,
        examples=Ramp(start=11, stop=POINTS, by=2, every=steps // 50),
        muon_rate=1e-2,
        muon_decay=0.2,
        decay=0.8,
    )


def _small(function_class: FunctionClass, steps: int, seed: int) -> Setting:
    """As `_tiny`; a deeper model wants a smaller rate, and few examples for longer, since its steps are dear."""
    return Setting(
        function_class=function_class,
        model=TransformerConfig.small(dim=1, max_examples=POINTS),
        steps=steps,
        seed=seed,
        examples=Ramp(start=11, stop=POINTS, by=2, every=steps // 30),
        muon_rate=2.5e-3,
        muon_decay=0.1,
        decay=0.6,
    )


RECIPES: dict[str, Setting] = {
    "line-tiny": _tiny(LINE, steps=2000, seed=1),
    "sine-tiny": _tiny(SINE, steps=4000, seed=2),
    "line+sine-0.5-tiny": _tiny(line_and_sine(0.5), steps=4000, seed=4),
    "line+sine-0.5-small": _small(line_and_sine(0.5), steps=8000, seed=4),
}
