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


def _one_dimensional(
    function_class: FunctionClass,
    size: str,
    steps: int,
    seed: int,
    *,
    ramp: int,
    muon_rate: float,
    muon_decay: float,
    decay: float,
) -> Setting:
    """Few examples first: those steps are cheaper, and the start of the curve is what is slow to learn."""
    return Setting(
        function_class=function_class,
        model=TransformerConfig.of_size(size, dim=1, max_examples=POINTS),
        steps=steps,
        seed=seed,
        examples=Ramp(start=11, stop=POINTS, by=2, every=steps // ramp),
        muon_rate=muon_rate,
        muon_decay=muon_decay,
        decay=decay,
        initialisation="gpt2",  # as these models were trained, before "torch" was found to be the better start
    )


# Rates, weight decay and ramp are what came out best of the handful that was tried for each.
RECIPES: dict[str, Setting] = {
    "line-tiny": _one_dimensional(
        LINE, "tiny", 2000, seed=1, ramp=50, muon_rate=4e-3, muon_decay=0.0, decay=0.6
    ),
    "sine-tiny": _one_dimensional(
        SINE, "tiny", 6000, seed=2, ramp=50, muon_rate=4e-3, muon_decay=0.0, decay=0.6
    ),
    "line+sine-0.5-tiny": _one_dimensional(
        line_and_sine(0.5), "tiny", 4000, seed=4, ramp=50, muon_rate=1e-2, muon_decay=0.2, decay=0.8
    ),
    "line+sine-0.5-small": _one_dimensional(
        line_and_sine(0.5),
        "small",
        8000,
        seed=4,
        ramp=30,
        muon_rate=2.5e-3,
        muon_decay=0.1,
        decay=0.6,
    ),
}
