"""The explorer: a convex combination of a line and a sine, answered live."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, pi
from time import perf_counter
from typing import Any

import anywidget
import numpy as np
import torch
import traitlets
from IPython.display import HTML
from jaxtyping import Float
from torch import Tensor

from icl_lib import browser
from icl_lib.widgets.draws import normal, uniforms
from icl_lib.widgets.source import source
from icl_lib.widgets.still import COMPUTED, REACH, explorer_still

QUERIES = np.linspace(-REACH, REACH, 97)
"""Where the lines are computed: steps of 1/16. Twice as many would cost the small model its 33 milliseconds."""

RANGES: dict[str, tuple[float, float]] = {
    "weight": (0.0, 1.0),
    "slope": (-3.0, 3.0),
    "frequency": (0.2, 10.0),
    "amplitude": (0.0, 3.0),
    "phase": (-1.0, 1.0),
    "n_examples": (0, 40),
    "seed": (0, 2**32 - 1),
}
"""What the sliders reach, as in explorer.js."""


@torch.no_grad()
def curves(
    model: str,
    bayes: str,
    weight: float,
    xs: Float[np.ndarray, " examples"],
    ys: Float[np.ndarray, " examples"],
    queries: Float[np.ndarray, " queries"],
) -> dict[str, np.ndarray]:
    """Compute every line of the explorer, with the modules that are exported to the browser.

    Args:
        model: name of the transformer.
        bayes: name of the mixture whose exact predictor is drawn, such as line+sine-0.5.
        weight: convex-combination weight of the line, which the oracle knows.
        xs: inputs of the examples, shape (n,).
        ys: their values, shape (n,).
        queries: where to predict, shape (Q,).

    Returns:
        `transformer`, `mixture` and `oracle`, shape (Q,), and `probability` of line and sine, shape (2,); float64.
    """
    columns = [
        torch.from_numpy(np.array(values, dtype=np.float64))[None] for values in (xs, ys, queries)
    ]
    exact = (columns[0][..., None], columns[1], columns[2][..., None])
    mixture, oracle, probability = browser.bayes_curve(bayes)(
        *exact, torch.tensor(weight, dtype=torch.float64)
    )
    lines: dict[str, Tensor] = {
        "transformer": browser.transformer_curve(model)(*(values.float() for values in exact)),
        "mixture": mixture,
        "oracle": oracle,
        "probability": probability,
    }
    return {name: values[0].double().numpy() for name, values in lines.items()}


def draw_inputs(seed: int, count: int) -> list[float]:
    """The first `count` inputs of a seed, as explorer.js draws them.

    Three decimals, within the plot.
    """
    uniform = uniforms(seed)
    inputs: list[float] = []
    while len(inputs) < count:
        x = round(normal(uniform), 3)
        if abs(x) <= REACH:
            inputs.append(x)
    return inputs


class ConvexExplorer(anywidget.AnyWidget):
    """f = weight * line + (1 - weight) * sine: a transformer, exact Bayes and the oracle, as the reader moves f.

    Traits set the first view; set later, they move the reader's view to theirs. The reader's own moves stay in the
    front end, where the page's address keeps them.

    Args:
        weight: convex-combination weight a of the line, in [0, 1].
        slope: slope of the line, in [-3, 3].
        frequency: of the sine, in radians per unit of x, in [0.2, 10]; pretraining covered 1 to 5.
        amplitude: of the sine, in [0, 3].
        phase: of the sine, in units of pi, in [-1, 1].
        n_examples: in-context examples, 0 to 40.
        seed: of the inputs, in [0, 2**32).
        model: the transformer shown first, one of `models`.
        models: names of the transformers that the reader can choose.
        bayes: the mixture whose exact predictor is drawn.
        compact: keep all controls but the weight behind "More controls".
        key: prefix of the view's keys in the address; needed where a page has several explorers.

    Raises:
        ValueError: a number outside its range, or a `model` that is not among `models`.
    """

    _esm = source("shared.js", "explorer.js")
    _css = source("shared.css", "explorer.css")

    weight = traitlets.Float(0.5).tag(sync=True)
    slope = traitlets.Float(1.0).tag(sync=True)
    frequency = traitlets.Float(2.5).tag(sync=True)
    amplitude = traitlets.Float(1.5).tag(sync=True)
    phase = traitlets.Float(0.0).tag(sync=True)
    n_examples = traitlets.Int(20).tag(sync=True)
    seed = traitlets.Int(1).tag(sync=True)
    models = traitlets.List(traitlets.Unicode(), ["line+sine-0.5-tiny", "line+sine-0.5-small"]).tag(
        sync=True
    )
    model = traitlets.Unicode("line+sine-0.5-tiny").tag(sync=True)
    bayes = traitlets.Unicode("line+sine-0.5").tag(sync=True)
    compact = traitlets.Bool(False).tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)
    first = traitlets.Dict(help="the numbers of the first view, from `still`").tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        if self.model not in self.models:
            raise ValueError(f"model must be one of models {self.models}, got {self.model!r}")
        self.on_msg(self._answer)

    @traitlets.validate(*RANGES)
    def _in_range(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        low, high = RANGES[name]
        if not (isfinite(value) and low <= value <= high):
            raise ValueError(f"{name} must be in [{low:g}, {high:g}], got {value!r}")
        return value

    def _answer(self, _: Any, content: dict[str, Any], buffers: Sequence[memoryview]) -> None:
        """Answer the front end: a ping, or the lines for one prompt."""
        if content["kind"] == "ping":
            self.send({"kind": "pong", "models": self.models})
        elif content["kind"] == "curve":
            begin = perf_counter()
            try:
                xs, ys, queries = (np.frombuffer(buffer, dtype="<f8") for buffer in buffers)
                lines = curves(
                    content["model"], content["bayes"], content["weight"], xs, ys, queries
                )
            except (
                Exception
            ) as error:  # the reader is told; a trace in the kernel's log would reach nobody
                self.send(
                    {
                        "kind": "failed",
                        "id": content["id"],
                        "message": f"The kernel could not answer: {error}",
                    }
                )
                return
            milliseconds = 1000 * (perf_counter() - begin)
            reply = {"kind": "curve", "id": content["id"], "milliseconds": milliseconds}
            self.send(
                reply, [lines[name].astype("<f8").tobytes() for name in (*COMPUTED, "probability")]
            )

    def truth(self, xs: np.ndarray) -> np.ndarray:
        """The function of the first view at `xs`."""
        sine = self.amplitude * np.sin(self.frequency * xs + self.phase * pi)
        return self.weight * self.slope * xs + (1 - self.weight) * sine

    def still(self) -> HTML:
        """The first view as a still figure, to be displayed before the widget: it needs no script.

        The live picture takes its place, of the same size and with the same lines. Its numbers go into the widget's
        legend.
        """
        xs = np.array(draw_inputs(self.seed, self.n_examples))
        ys, truth = self.truth(xs), self.truth(QUERIES)
        lines = curves(self.model, self.bayes, self.weight, xs, ys, QUERIES)
        density = np.exp(-(QUERIES**2) / 2)
        density /= density.sum()
        errors = {name: float(density @ (lines[name] - truth) ** 2) for name in COMPUTED}
        self.first = {"errors": errors, "probability": lines["probability"].tolist()}
        fine = np.linspace(-REACH, REACH, 385)
        most = max(abs(self.slope) * REACH, self.amplitude, *np.abs(ys), 0.0)
        return explorer_still(
            css=self._css,
            compact=self.compact,
            top=next(limit for limit in (2, 3, 4, 6, 8, 10) if limit >= most),
            lines={"truth": (fine, self.truth(fine))}
            | {name: (QUERIES, lines[name]) for name in COMPUTED},
            points=(xs, ys),
            errors=errors,
            zero=float(density @ truth**2),
            said=f"{self.weight:g} times a line plus {1 - self.weight:g} times a sine",
            model=self.model,
        )
