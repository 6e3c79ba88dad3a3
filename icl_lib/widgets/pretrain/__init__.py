"""The widget that pretrains a transformer on the page, on a mixture that the reader sets and may change on the way."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from time import perf_counter
from typing import Any

import numpy as np
import torch
import traitlets
from IPython.display import HTML

from icl_lib.model import Transformer
from icl_lib.page import shape_name
from icl_lib.pretraining import (
    CLASSES,
    CONFIGS,
    EXAMPLES,
    ON_PAGE,
    QUERIES,
    SHOWN,
    STEPS,
    InitialWeights,
    Look,
    Packing,
    Pretraining,
    card,
    file_metadata,
    shown_prompts,
)
from icl_lib.samplers import training_seed
from icl_lib.widgets.kernel import LiveWidget, serve, within
from icl_lib.widgets.source import source
from icl_lib.widgets.still import pretrain_still

_VIEWS = 4  # of one widget, each with a run of its own

ANSWERS = ("errors", "curves", "floor", "bayes")
"""What `Look` measures, in its order."""


class PretrainExplorer(LiveWidget):
    """A transformer, pretrained before the reader's eyes, beside exact Bayes for the mixture of the moment.

    Args:
        weights: relative weight of each of `icl_lib.pretraining.CLASSES`, in [0, 1], not all zero; the front end
            divides them by their sum.
        seed: of the first weights and of the prompts, in [0, 2**32).
        total: steps of a run, one of `icl_lib.pretraining.STEPS`.
        size: of the model, one of `icl_lib.pretraining.CONFIGS`; on the built page one of `ON_PAGE`.
        key: prefix of the view's keys in the address; needed where a page has several explorers.

    Raises:
        ValueError: weights of another number than the classes, outside [0, 1], or all zero; another number of steps or
            size; a seed outside its range.
        TypeError: an argument that it does not have.
    """

    _esm = source("shared.js", "own.js", "plot.js", "pretrain/widget.js")
    _css = source("shared.css", "pretrain/widget.css")

    classes = traitlets.List(traitlets.Unicode(), list(CLASSES), read_only=True).tag(sync=True)
    totals = traitlets.List(traitlets.Int(), list(STEPS), read_only=True).tag(sync=True)
    examples = traitlets.Int(EXAMPLES, read_only=True).tag(sync=True)
    shown = traitlets.List(traitlets.Dict(), read_only=True).tag(sync=True)
    weights = traitlets.List(traitlets.Float(), [0.5, 0.5, 0.0, 0.0]).tag(sync=True)
    seed = traitlets.Int(2).tag(sync=True)
    total = traitlets.Int(STEPS[1]).tag(sync=True)
    size = traitlets.Unicode(ON_PAGE[-1]).tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)
    first = traitlets.Dict(help="what the first view shows, from `still`").tag(sync=True)

    sizes = traitlets.Dict(
        help="by size: whether the page trains it too, and what a file of the model holds, where each parameter begins "
        "among all, and a card",
        read_only=True,
    ).tag(sync=True)

    def __init__(self, **traits: Any) -> None:
        super().__init__(**traits)
        self._runs: dict[str, Pretraining] = {}
        serve(self, "pretrain", list, self._compute)

    @traitlets.default("shown")
    def _prompts(self) -> list[dict[str, Any]]:
        return [
            {"title": kind.title, "xs": _short(xs[:, 0]), "ys": _short(ys), "truth": _short(truth)}
            for kind, xs, ys, truth in zip(SHOWN, *shown_prompts(), strict=True)
        ]

    @traitlets.default("sizes")
    def _layouts(self) -> dict[str, Any]:
        return {size: _layout(size) for size in CONFIGS}

    @traitlets.validate("weights")
    def _accepted(self, proposal: Any) -> list[float]:
        weights: list[float] = proposal["value"]
        if (
            len(weights) != len(CLASSES)
            or not all(0 <= w <= 1 for w in weights)
            or sum(weights) == 0
        ):
            raise ValueError(
                f"weights must be {len(CLASSES)} numbers in [0, 1], not all zero, got {weights}"
            )
        return weights

    @traitlets.validate("total", "size")
    def _offered(self, proposal: Any) -> Any:
        name, value = proposal["trait"].name, proposal["value"]
        known = {"total": STEPS, "size": CONFIGS}[name]
        if value not in known:
            raise ValueError(f"{name} must be one of {', '.join(map(str, known))}, got {value!r}")
        return value

    _in_range = within({"seed": (0, 2**32 - 1)})

    def _compute(self, content: dict[str, Any], arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Steps of the run that the front end names, for about as long as it says, and how the model then does."""
        begin = perf_counter()
        name = content["run"]
        config = CONFIGS[content["size"]]
        run = self._runs.pop(name, None) or Pretraining(content["seed"], content["total"], config)
        self._runs[name] = run  # the newest comes last
        run.total = content["total"]
        for old in list(self._runs)[:-_VIEWS]:
            del self._runs[old]
        spent = content["milliseconds"] / 1000
        while run.step < content["until"] and perf_counter() - begin < spent:
            run.advance(content["weights"])
        params = [p.flatten() for p in run.params] if content["whole"] else [torch.empty(0)]
        seen = _seen(content["size"], run.params, content["weights"])
        return [np.array([run.step]), *seen, torch.cat(params).double().numpy()]

    def model(self) -> Transformer:
        """The model that the running kernel has pretrained for this widget, as it stands, with its card.

        Raises:
            ValueError: none yet.
        """
        if not self._runs:
            raise ValueError("nothing has been pretrained yet: press Pretrain")
        return list(self._runs.values())[-1].model()

    def still(self) -> HTML:
        """The first view as a still figure, to be displayed before the widget: it needs no script."""
        shares = np.array(self.weights) / sum(self.weights)
        params = InitialWeights(CONFIGS[self.size])(torch.tensor(training_seed(self.seed)))
        seen = dict(zip(ANSWERS, _seen(self.size, params, shares.tolist()), strict=True))
        self.first = {name: values.ravel().round(5).tolist() for name, values in seen.items()}
        return pretrain_still(
            css=self._css,
            classes=self.classes,
            shares=shares,
            errors=seen["errors"],
            floor=seen["floor"],
            total=self.total,
            examples=EXAMPLES,
            queries=QUERIES.numpy(),
            shown=[
                (
                    kind["title"],
                    np.array(kind["xs"]),
                    np.array(kind["ys"]),
                    np.array(kind["truth"]),
                    bayes,
                    model,
                )
                for kind, bayes, model in zip(
                    self.shown, seen["bayes"], seen["curves"], strict=True
                )
            ],
        )


@cache
def _look(size: str) -> Look:
    return Look(CONFIGS[size])


@torch.no_grad()
def _seen(size: str, params: Sequence[torch.Tensor], weights: Sequence[float]) -> list[np.ndarray]:
    found = _look(size)(params, torch.tensor(weights, dtype=torch.float64))
    return [values.double().numpy() for values in found]


def _layout(size: str) -> dict[str, Any]:
    """What the front end has to know of a size."""
    config = CONFIGS[size]
    packing = Packing(config)
    lengths = [tensor.numel() for tensor in packing.pack(_nothing(packing))]
    begins = [sum(lengths[:k]) for k in range(len(lengths))]
    return {
        "page": size in ON_PAGE,
        "shape": shape_name(config, "float32"),
        "parameters": {
            name: {"shape": list(packing.shapes[name]), "begin": begins[k] + begin}
            for name, (k, begin) in packing.places().items()
        },
        "metadata": file_metadata(config),
        "card": card(config),
    }


def _nothing(packing: Packing) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in packing.shapes.items()}


def _short(values: torch.Tensor) -> list[float]:
    rounded: list[float] = torch.round(values, decimals=4).tolist()
    return rounded
