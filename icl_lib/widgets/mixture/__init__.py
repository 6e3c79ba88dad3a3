"""The setting's widget: prompts drawn from a mixture, as the reader moves the mixture weights."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
import torch
import traitlets
from IPython.display import HTML

from icl_lib.random import Draws
from icl_lib.samplers import (
    DenseLinear,
    FunctionClass,
    Mixture,
    ReluNetwork,
    Sinusoid,
    sample_prompts,
)
from icl_lib.widgets.kernel import LiveWidget
from icl_lib.widgets.source import source
from icl_lib.widgets.still import REACH, mixture_still

CLASSES: dict[str, FunctionClass] = {
    "line": DenseLinear(1),
    "sine": Sinusoid(),
    "ReLU network": ReluNetwork(1),
}
"""The classes that are mixed, in the order of the sliders."""

GRID = torch.linspace(-REACH, REACH, 61)


def draw_set(seed: int, n_prompts: int, n_examples: int) -> dict[str, Any]:
    """Everything that `sample_prompts` may draw at this seed from any mixture of `CLASSES`, whatever its weights.

    A mixture draws prompt i by comparing one uniform number u_i with its cumulative weights; the inputs, and each
    class's function, do not depend on the weights. So the front end, which knows them all, shows the very prompts
    that `sample_prompts(Mixture(classes, weights), ...)` gives, by comparing alone.

    Returns:
        `seed`; `u` (prompts,); `xs` (prompts, examples); `ys` (classes, prompts, examples); `curves`
        (classes, prompts, 61), the functions on a grid over [-3, 3]. Lists, to three decimals, `u` to six.
    """
    even = Mixture(tuple(CLASSES.values()), (1 / len(CLASSES),) * len(CLASSES))
    xs = sample_prompts(even, n_prompts, n_examples, seed=seed).xs
    node = Draws(seed=seed, step=0, batch_size=n_prompts).child(
        1
    )  # where sample_prompts takes its functions from
    functions = [c.sample_functions(node.child(k + 1))[0] for k, c in enumerate(CLASSES.values())]
    grid = GRID[None, :, None].expand(n_prompts, -1, -1)

    def rounded(values: torch.Tensor) -> Any:
        return torch.round(values.double(), decimals=3).tolist()

    return {
        "seed": seed,
        "u": torch.round(node.child(0).uniform(1)[:, 0], decimals=6).tolist(),
        "xs": rounded(xs[..., 0]),
        "ys": [rounded(f(xs)) for f in functions],
        "curves": [rounded(f(grid)) for f in functions],
    }


class MixtureDraws(LiveWidget):
    """Prompts drawn from a mixture of lines, sines and ReLU networks; sliders set the mixture weights.

    Args:
        weights: relative weight of each class, not negative, not all zero; the front end divides them by their sum.
        n_prompts: prompts in a set.
        n_examples: points in a prompt.
        n_sets: sets stored in the page, through which "New draw" goes; a running kernel draws new ones.
        seed: of the first set; the others follow.
        key: prefix of the view's keys in the address; needed where a page has several of these widgets.

    Raises:
        ValueError: weights of another number than the classes, negative, not finite, or all zero.
    """

    _esm = source("shared.js", "mixture/widget.js")
    _css = source("shared.css", "mixture/widget.css")

    classes = traitlets.List(traitlets.Unicode(), list(CLASSES), read_only=True).tag(sync=True)
    weights = traitlets.List(traitlets.Float(), [0.5, 0.5, 0.0]).tag(sync=True)
    sets = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)

    def __init__(
        self,
        weights: Sequence[float] = (0.5, 0.5, 0.0),
        *,
        n_prompts: int = 24,
        n_examples: int = 8,
        n_sets: int = 3,
        seed: int = 0,
        key: str = "",
    ) -> None:
        super().__init__(weights=list(weights), key=key)
        self._shape = (n_prompts, n_examples)
        self.set_trait("sets", [draw_set(seed + i, *self._shape) for i in range(n_sets)])
        self.on_msg(self._answer)

    @traitlets.validate("weights")
    def _accepted(self, proposal: Any) -> list[float]:
        weights: list[float] = proposal["value"]
        if (
            len(weights) != len(CLASSES)
            or not all(isfinite(w) and w >= 0 for w in weights)
            or sum(weights) == 0
        ):
            raise ValueError(
                f"weights must be {len(CLASSES)} numbers, none negative, not all zero, got {weights}"
            )
        return weights

    def _answer(self, _: Any, content: dict[str, Any], __: Sequence[memoryview]) -> None:
        """Draw the set that the front end asks for."""
        if content["kind"] == "draw":
            self.send({"kind": "set", "set": draw_set(int(content["seed"]) % 2**32, *self._shape)})

    def still(self) -> HTML:
        """The first view as a still figure, to be displayed before the widget: it needs no script."""
        first, total = self.sets[0], sum(self.weights)
        edges = torch.tensor(self.weights, dtype=torch.float64).cumsum(0) / total
        drawn = torch.bucketize(
            torch.tensor(first["u"], dtype=torch.float64), edges[:-1], right=True
        ).tolist()
        shares = ", ".join(
            f"{w / total:.0%} {name}" for name, w in zip(self.classes, self.weights, strict=True)
        )
        return mixture_still(
            css=self._css,
            prompts=[
                (
                    k,
                    GRID.numpy(),
                    np.array(first["curves"][k][i]),
                    np.array(first["xs"][i]),
                    np.array(first["ys"][k][i]),
                )
                for i, k in enumerate(drawn)
            ],
            said=f"{len(drawn)} prompts drawn from a mixture: {shares}",
        )
