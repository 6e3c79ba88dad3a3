"""The explorer of attention: to which of the reader's examples the query attends, head by head, live."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from IPython.display import HTML
from jaxtyping import Float

from icl_lib import page
from icl_lib.model import Transformer
from icl_lib.widgets.combinations import QUERIES
from icl_lib.widgets.kernel import Explorer, serve, within
from icl_lib.widgets.plot import as_prompt, draw_inputs, top_of
from icl_lib.widgets.source import source
from icl_lib.widgets.still import REACH, attention_still, model_label

SLOPE, AMPLITUDE = 1.0, 1.5
"""Of the line and of the sine, as in widget.js."""

NEAREST = 3
"""Of how many nearest examples the share is told, as in widget.js."""

RANGES: dict[str, tuple[float, float]] = {
    "query": (-REACH, REACH),
    "weight": (0.0, 1.0),
    "frequency": (0.2, 10.0),
    "n_examples": (0, 40),
    "seed": (0, 2**32 - 1),
}
"""What the sliders reach, as in widget.js."""

MODELS = ("line+sine-0.5-tiny", "line+sine-0.5-small")
"""The transformers that the reader can choose."""

Weights = Float[np.ndarray, "layers heads seen"]
"""How much the query attends to x_1, y_1, ..., x_n, y_n and to itself."""


@torch.no_grad()
def answers(
    model: str | Transformer,
    xs: Float[np.ndarray, " examples"],
    ys: Float[np.ndarray, " examples"],
    queries: Float[np.ndarray, " queries"],
) -> tuple[Float[np.ndarray, " queries"], Weights]:
    """Compute what the explorer draws, with the module that is exported to the browser.

    Args:
        model: the transformer, or its name.
        xs: inputs of the examples, shape (n,).
        ys: their values, shape (n,).
        queries: where to predict, shape (Q,).

    Returns:
        The predictions (Q,), and how the first query attends, (layers, heads, 2n + 1); float64.
    """
    asked = (values.float() for values in as_prompt(xs, ys, queries))
    mean, attention = page.curve_and_attention(model)(*asked)
    return mean[0].double().numpy(), attention[0, :, :, 0].double().numpy()


def shares(
    weights: Float[np.ndarray, "... seen"], xs: Float[np.ndarray, " examples"], query: float
) -> dict[str, Float[np.ndarray, ...]]:
    """Where attention goes: to inputs, to values, to the query itself, and to the NEAREST examples; as in widget.js."""
    near = np.argsort(np.abs(xs - query), kind="stable")[:NEAREST]
    inputs, values = weights[..., :-1:2], weights[..., 1::2]
    return {
        "inputs": inputs.sum(-1),
        "values": values.sum(-1),
        "itself": weights[..., -1],
        "nearest": (inputs + values)[..., near].sum(-1),
    }


def reading(
    layer: int, head: int, weights: Weights, xs: Float[np.ndarray, " examples"], query: float
) -> str:
    """What one sees of a head, in words; as in widget.js."""
    of = weights[layer - 1, head - 1]
    each = of[:-1:2] + of[1::2]
    begin = f"Block {layer}, head {head}"
    if not len(xs):
        return f"{begin}: without an example, the query can attend to itself alone."
    most = int(each.argmax())
    if of[-1] > each[most]:
        return f"{begin}: {of[-1]:.2f} of its attention is on the query itself, more than on any example."
    nearer = int((np.abs(xs - query) < abs(xs[most] - query)).sum())
    where = "the nearest to the query"
    if nearer:
        where = f"and {nearer} other{'s are' if nearer > 1 else ' is'} nearer to the query"
    at = f"{xs[most]:.2f}".replace("-", "−")
    return f"{begin}: {each[most]:.2f} of its attention is on the example at x = {at}, {where}."


class AttentionExplorer(Explorer):
    """A prompt on a * line + (1 - a) * sine, and how much the query attends to each of its examples, head by head.

    Traits set the first view; set later, they move the reader's view to theirs. The reader's own moves stay in the
    front end, where the page's address keeps them.

    Args:
        query: where the model is asked, in [-3, 3].
        weight: convex-combination weight a of the line, of slope 1, in [0, 1].
        frequency: of the sine, of amplitude 1.5, in radians per unit of x, in [0.2, 10].
        n_examples: in-context examples, 0 to 40.
        seed: of the inputs, in [0, 2**32).
        layer: the block of the head that is looked at, from 1.
        head: which of its heads, from 1.
        model: the transformer shown first: one of `models`, or, in a running notebook, what `icl_lib.load` takes.
        models: names of the transformers that the reader can choose.
        key: prefix of the view's keys in the address; needed where a page has several explorers.

    Raises:
        ValueError: a number outside its range, an unknown model, a model of other inputs, or a head that it lacks.
        TypeError: an argument that it does not have.
    """

    _esm = source("shared.js", "own.js", "plot.js", "attention/widget.js")
    _css = source("shared.css", "plot.css", "attention/widget.css")

    query = traitlets.Float(-1.5).tag(sync=True)
    weight = traitlets.Float(0.0).tag(sync=True)
    frequency = traitlets.Float(2.5).tag(sync=True)
    n_examples = traitlets.Int(20).tag(sync=True)
    seed = traitlets.Int(2).tag(sync=True)
    layer = traitlets.Int(2).tag(sync=True)
    head = traitlets.Int(1).tag(sync=True)
    models = traitlets.List(traitlets.Unicode(), list(MODELS)).tag(sync=True)
    model = traitlets.Unicode(MODELS[0]).tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)
    first = traitlets.Dict(help="the numbers of the first view, from `still`").tag(sync=True)

    def __init__(
        self, *, model: str | os.PathLike[str] | Transformer | None = None, **traits: Any
    ) -> None:
        super().__init__(**traits)
        for name in self.models:
            self.take(name, dim=1)
        if model is not None:
            self.model = self.take(model, dim=1)
        if self.model not in self.models:
            self.models = [*self.models, self.model]
        self._check_head()
        serve(self, "attention", lambda: self.models, self._compute)

    _in_range = within(RANGES)

    def _check_head(self) -> None:
        config = page.curve_and_attention(self.model_of(self.model)).model.config
        for name, most in (("layer", config.layers), ("head", config.heads)):
            if not 1 <= getattr(self, name) <= most:
                raise ValueError(
                    f"{name} must be in [1, {most}] for {self.model}, got {getattr(self, name)}"
                )

    def _compute(
        self, content: dict[str, Any], arrays: Sequence[np.ndarray]
    ) -> Sequence[np.ndarray]:
        mean, weights = answers(self.model_of(content["model"]), *arrays)
        return [mean, weights.ravel(), np.array(weights.shape[:2], dtype=float)]

    def truth(self, xs: np.ndarray) -> np.ndarray:
        """The function of the first view at `xs`."""
        sine = AMPLITUDE * np.sin(self.frequency * xs)
        return self.weight * SLOPE * xs + (1 - self.weight) * sine

    def still(self) -> HTML:
        """The first view as a still figure, to be displayed before the widget: it needs no script.

        The live picture takes its place. Its numbers go to the widget, which shows them until it has computed its own.
        """
        self._check_head()
        xs = np.array(draw_inputs(self.seed, self.n_examples))
        ys = self.truth(xs)
        mean, weights = answers(self.model_of(self.model), xs, ys, np.array([self.query, *QUERIES]))
        self.first = {
            "mean": mean.round(6).tolist(),
            "attention": weights.ravel().round(6).tolist(),
            "shape": list(weights.shape[:2]),
        }
        return attention_still(
            css=self._css,
            top=top_of(self.weight * SLOPE * REACH + (1 - self.weight) * AMPLITUDE),
            truth=(QUERIES, self.truth(QUERIES)),
            predicted=(QUERIES, mean[1:]),
            points=(xs, ys),
            query=(self.query, float(mean[0])),
            weights=weights,
            chosen=(self.layer, self.head),
            shares=[
                shares(of, xs, self.query)
                for of in (weights[self.layer - 1, self.head - 1], weights.mean((0, 1)))
            ],
            said=reading(self.layer, self.head, weights, xs, self.query),
            model=model_label(self.model),
        )
