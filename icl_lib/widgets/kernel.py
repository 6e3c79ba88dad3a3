"""The kernel's side of a live widget: in a running notebook it answers what engine.mjs answers on the built page."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from time import perf_counter
from typing import Any

import anywidget
import numpy as np
import traitlets


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
