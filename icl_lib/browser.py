"""Export predictors to ONNX for the page, so that no mathematics is written twice.

Each graph is one of the torch modules that a running notebook evaluates too. On the built page onnxruntime-web
runs them. `export_site` writes what the page fetches: one file per graph, named by its hash, and a manifest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl_lib import bayes, recipes
from icl_lib.model import SIZES, Transformer
from icl_lib.training import write_whole
from icl_lib.weights import available, load

MANIFEST = "manifest.json"
BAYES = {"line+sine-0.5": recipes.line_and_sine(0.5)}
"""Mixtures whose exact posterior the page computes, by name."""

_ENGINE = Path(__file__).parent / "widgets" / "engine.mjs"


class TransformerCurve(nn.Module):
    """A model's prediction of a whole curve: `Transformer.predict_curve` as a module."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> Float[Tensor, "batch queries"]:
        """See `Transformer.predict_curve`."""
        return self.model.predict_curve(xs, ys, queries)


@cache
def transformer_curve(name: str) -> TransformerCurve:
    """The module behind the page's graph of the shipped model `name`; ValueError for an unknown name."""
    return TransformerCurve(load(name)).eval()


@cache
def bayes_curve(name: str) -> nn.Module:
    """The module behind the page's graph of the exact posterior of the mixture `name`.

    Maps (xs (1, n, 1), ys (1, n), queries (1, Q, 1), weight ()), all float64, to the mixture's mean (1, Q), the mean of
    the oracle that knows the combination weight (1, Q), and the class posterior (1, 2).

    Raises:
        ValueError: an unknown name.
    """
    if name not in BAYES:
        raise ValueError(f"the page has the exact posterior of {', '.join(BAYES)}, got {name!r}")
    return bayes.curve_module(BAYES[name]).eval()


def _example(dtype: torch.dtype, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs to trace with: sizes that no dimension shares by accident."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    return draw(1, 7, dim), draw(1, 7), draw(1, 11, dim)


def to_onnx(
    module: nn.Module, inputs: tuple[Tensor, ...], names: list[str], outputs: list[str], path: Path
) -> None:
    """Write `module` as ONNX with a dynamic number of examples and of queries, whole or not at all."""
    examples = torch.export.Dim("examples", min=0, max=4096)
    queries = torch.export.Dim("queries", min=1, max=65536)
    dynamic: dict[str, Any] = {"xs": {1: examples}, "ys": {1: examples}, "queries": {1: queries}}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            module,
            inputs,
            dynamo=True,
            external_data=False,
            verbose=False,
            input_names=names,
            output_names=outputs,
            dynamic_shapes={name: dynamic.get(name) for name in names},
        )
    assert program is not None
    write_whole(path, lambda part: program.save(part, external_data=False))


def _publish(path: Path) -> dict[str, Any]:
    """Put the hash of a graph into its name, so that a browser may cache it for ever."""
    data = path.read_bytes()
    named = path.with_name(f"{path.stem}.{hashlib.sha256(data).hexdigest()[:12]}.onnx")
    os.replace(path, named)
    return {"file": named.name, "bytes": len(data)}


def export_model(name: str, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Export the shipped model `name` into `folder`; returns its entry in the manifest."""
    module = transformer_curve(name)
    path = Path(folder) / f"{name}.onnx"
    config = module.model.config
    to_onnx(module, _example(torch.float32, config.dim), ["xs", "ys", "queries"], ["mean"], path)
    size = next(
        (s for s, shape in SIZES.items() if shape == (config.layers, config.heads, config.width)),
        "other",
    )
    return _publish(path) | {"size": size, "dim": config.dim, "max_examples": config.max_examples}


def export_bayes(name: str, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Export the exact posterior of the mixture `name` into `folder`; returns its entry in the manifest."""
    path = Path(folder) / f"bayes-{name}.onnx"
    weight = torch.tensor(0.5, dtype=torch.float64)
    to_onnx(
        bayes_curve(name),
        (*_example(torch.float64, 1), weight),
        ["xs", "ys", "queries", "weight"],
        ["mixture", "oracle", "probability"],
        path,
    )
    return _publish(path)


def export_site(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Write what the page's widgets fetch into `folder`: graphs, worker, manifest; returns the manifest."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.onnx"):
        stale.unlink()
    manifest = {
        "models": {name: export_model(name, folder) for name in available()},
        "bayes": {name: export_bayes(name, folder) for name in BAYES},
    }
    shutil.copyfile(_ENGINE, folder / _ENGINE.name)
    text = json.dumps(manifest, indent=2) + "\n"
    write_whole(folder / MANIFEST, lambda part: part.write_text(text))
    return manifest
