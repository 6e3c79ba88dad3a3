"""What an explorer says of the functions that a model was pretrained on, read off their class."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from icl_lib.model import Transformer
from icl_lib.pretraining import CLASSES
from icl_lib.samplers import FunctionClass, Mixture, Sinusoid
from icl_lib.weights import trained_on

LOOKS = {"line": "line", "sine": "sine", "quadratic": "relu", "step": "step"}
"""How the page draws a class, as in own.js."""

RARE = 0.05
"""A band that a smaller share of the prompts comes from is shaded faintly."""

Components = Sequence[tuple[float, FunctionClass]]
"""Basic classes with the share of the prompts that come from each."""


def prior_of(model: Transformer) -> FunctionClass:
    """What a model was pretrained on, by its card; a class of a mixture that it has not met is none of its own.

    Raises:
        ValueError: it has no card, or one that names an unknown class.
    """
    if model.card is None:
        raise ValueError(
            "a model without a card does not say which bands it was pretrained on; save it by `weights.save` and give "
            "the path"
        )
    prior = trained_on(model.card)
    if not isinstance(prior, Mixture):
        return prior
    met = [(w, c) for w, c in zip(prior.weights, prior.classes, strict=True) if w > 0]
    weights, classes = zip(*met, strict=True)
    return Mixture(classes, weights) if len(classes) > 1 else classes[0]


def kind_of(basic: FunctionClass) -> str:
    """What the page calls a class of functions of one number: as it does what a reader can mix, or by its type."""
    if isinstance(basic, Sinusoid):
        return "sine"
    usual = next((name for name, known in CLASSES.items() if known == basic), None)
    return usual or re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(basic).__name__).lower()


def bands_of(components: Components) -> list[list[Any]]:
    """Bands of the sines among them, from the lowest: [low, high, rare], in radians per unit of x."""
    sines = [(share, sine) for share, sine in components if isinstance(sine, Sinusoid)]
    return sorted([sine.low, sine.high, share < RARE] for share, sine in sines)


def classes_of(components: Components, *, sine: str | None = None) -> list[list[str]]:
    """[name, look] of each.

    Args:
        components: the classes.
        sine: what stands before the band of a sine. Not given, a sine is told by its band only where there are several.
    """
    several = sum(isinstance(basic, Sinusoid) for _, basic in components) > 1
    if sine is None and several:
        sine = "sine of "
    found = []
    for _, basic in components:
        kind = name = kind_of(basic)
        if isinstance(basic, Sinusoid) and sine is not None:
            name = f"{sine}{basic.low:g} to {basic.high:g}"
        found.append([name, LOOKS.get(kind, "other")])
    return found
