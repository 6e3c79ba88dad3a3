"""The kernel's side of a live widget: in a running notebook it answers what engine.js answers on the built page.

There it can also show what the page has no graph of: a model that one trained oneself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from time import perf_counter
from typing import Any

import anywidget
import numpy as np
import traitlets
from IPython.display import HTML

from icl_lib._validate import nearest
from icl_lib.model import Transformer
from icl_lib.recipes import POINTS
from icl_lib.weights import available, load, read_card


class LiveWidget(anywidget.AnyWidget):
    """A widget that takes the arguments it has, and no others.

    Raises:
        TypeError: an argument that it does not have.
    """

    def __init__(self, **traits: Any) -> None:
        kind = type(self)
        for name in traits:
            if name not in kind.class_trait_names():
                raise TypeError(
                    f"{kind.__name__} has no argument {name!r}{nearest(name, _settable(kind))}"
                )
        super().__init__(**traits)

    def still(self) -> HTML:
        """The first view as a still figure, which needs no script; its numbers go to the widget."""
        raise NotImplementedError

    def _get_embed_state(self, drop_defaults: bool = False) -> dict[str, Any]:
        """What a page without a kernel needs to draw the first view: its numbers, and the front end itself.

        ipywidgets would leave out all traits at their defaults, and the front end is one.
        """
        self.still()
        state: dict[str, Any] = super()._get_embed_state(drop_defaults=False)
        return state


def _settable(kind: type[anywidget.AnyWidget]) -> list[str]:
    return [name for name, trait in kind.class_own_traits().items() if not trait.read_only]


class Explorer(LiveWidget):
    """A widget that shows transformers: shipped ones by their names, others by what it calls them.

    Attributes:
        own: the models that are not shipped, by what the front end calls them.
    """

    own: dict[str, Transformer]

    def __init__(self, **traits: Any) -> None:
        self.own = {}
        super().__init__(**traits)

    def take(
        self,
        model: str | os.PathLike[str] | Transformer,
        dim: int,
        known: Sequence[str] | None = None,
        *,
        points: int = POINTS,
    ) -> str:
        """What the front end calls `model`: a shipped name, or a name for one of the reader's own.

        Args:
            model: as for `load`.
            dim: dimension of the inputs that the widget draws.
            known: names that say all there is to know of a model; by default those of all shipped ones.
            points: in the prompts that the widget draws.

        Raises:
            WeightsError: as for `load`.
            ValueError: a model of other inputs, or of fewer points.
        """
        shipped = isinstance(model, str) and model in available()
        if isinstance(model, str) and model in (available() if known is None else known):
            config, name = read_card(model)["recipe"]["model"], model
        else:
            found = load(model)
            config = asdict(found.config)
            name = str(model) if shipped else f"yours: {(found.card or {}).get('name', 'untitled')}"
            self.own[name] = found.cpu().eval()
        if config["dim"] != dim or config["max_examples"] < points:
            raise ValueError(
                f"{type(self).__name__} needs a model of {dim}-dimensional inputs and {points} points or more, got "
                f"{name!r} with {config['dim']} and {config['max_examples']}"
            )
        return name

    def model_of(self, name: str) -> str | Transformer:
        """By what the front end calls it, a model: the reader's own itself, a shipped one by its name."""
        return self.own.get(name, name)


def serve(
    widget: anywidget.AnyWidget,
    kind: str,
    models: Callable[[], list[str]],
    compute: Callable[[dict[str, Any], list[np.ndarray]], Sequence[np.ndarray]],
) -> None:
    """Answer a widget's front end from now on.

    Args:
        widget: whose messages are answered.
        kind: of its requests.
        models: the names of its transformers, with which a ping is answered.
        compute: from a request and its arrays of float64 to the arrays of the answer. What it raises is told to the
            reader; a trace in the kernel's log would reach nobody.
    """

    def answer(_: Any, content: dict[str, Any], buffers: Sequence[memoryview]) -> None:
        if content["kind"] == "ping":
            widget.send({"kind": "pong", "models": models()})
        elif content["kind"] == kind:
            begin = perf_counter()
            try:
                found = compute(content, [np.frombuffer(buffer, dtype="<f8") for buffer in buffers])
            except Exception as error:
                message = f"The kernel could not answer: {error}"
                widget.send({"kind": "failed", "id": content["id"], "message": message})
                return
            milliseconds = 1000 * (perf_counter() - begin)
            reply = {"kind": kind, "id": content["id"], "milliseconds": milliseconds}
            widget.send(reply, [values.astype("<f8").tobytes() for values in found])

    widget.on_msg(answer)


def within(ranges: Mapping[str, tuple[float, float]]) -> Any:
    """A validator of traits that are numbers: ValueError for one outside its range, ends included."""

    def check(_: Any, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = ranges[name]
        if not (isfinite(value) and low <= value <= high):
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value!r}")
        return value

    return traitlets.validate(*ranges)(check)


DOUBTS = (0.0, *(float(f"1e{exponent}") for exponent in range(-30, 0)), 0.5)
"""The doubts that a slider reaches, as in plot.js."""


def check_doubt(_: Any, proposal: Any) -> float:
    """A validator of doubts: ValueError for one that no slider reaches."""
    doubt: float = proposal["value"]
    if doubt not in DOUBTS:
        raise ValueError(
            f"doubt must be 0, a power of ten from 1e-30 to 0.1, or 0.5, got {doubt!r}"
        )
    return doubt
