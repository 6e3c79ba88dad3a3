"""Export predictors to ONNX for the page, so that no mathematics is written twice.

Each graph is one of the torch modules that a running notebook evaluates too. On the built page onnxruntime-web
runs them. `export_site` writes what the page fetches: one file per graph, named by its hash, and a manifest.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from icl_lib import bayes, recipes
from icl_lib.model import SIZES, Transformer, TransformerConfig
from icl_lib.page import (
    BAND_BAYES,
    BAYES,
    PREFIX_BAYES,
    SMOOTH,
    TransformerCurve,
    bayes_bands,
    bayes_curve,
    bayes_prefixes,
    page_models,
)
from icl_lib.training import write_whole
from icl_lib.weights import load

MANIFEST = "manifest.json"
_ENGINE = Path(__file__).parent / "widgets" / "engine.js"


def _example(dtype: torch.dtype, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs to trace with: sizes that no dimension shares by accident."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    return draw(1, 7, dim), draw(1, 7), draw(1, 11, dim)


def _curve() -> dict[str, Any]:
    """The free dimensions of a prompt of which a curve is asked, by input."""
    examples = torch.export.Dim("examples", min=0, max=4096)
    queries = torch.export.Dim("queries", min=1, max=65536)
    return {name: {1: examples} for name in ("xs", "ys")} | {
        name: {1: queries} for name in ("queries", "smooth")
    }


def _trace(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: list[str],
    outputs: list[str],
    dynamic: dict[str, Any] | None = None,
) -> onnx.ModelProto:
    """A module as a graph.

    Args:
        module: what to export.
        inputs: to trace with.
        names: of the inputs.
        outputs: names of the outputs.
        dynamic: by input, the dimensions that are free; not given, the number of examples and of queries.
    """
    if dynamic is None:
        dynamic = _curve()
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
    proto = program.model_proto
    for node in proto.graph.node:  # where it came from in the source, several times its own size
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    proto.graph.ClearField("value_info")
    return proto


@cache
def _template(config: TransformerConfig) -> tuple[onnx.ModelProto, dict[str, tuple[str, bool]]]:
    """The graph of some model of a shape, and what each of its tensors holds: a parameter, and whether transposed.

    To trace takes seconds, to put other weights into a graph does not. Of the positions a graph of prompts of one
    length holds the rows that it needs.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Transformer(config).eval()
        for parameter in model.parameters():  # no two alike: the exporter merges what is
            nn.init.normal_(parameter)
    if config.dim == 1:
        inputs = _example(torch.float32, 1)
        proto = _trace(TransformerCurve(model), inputs, ["xs", "ys", "queries"], ["mean"])
    else:
        dynamic, prompts = _prefixes(torch.float32, config.dim, config.max_examples)
        proto = _trace(model, prompts, ["xs", "ys"], ["mean"], dynamic)
    held = {}
    for tensor in proto.graph.initializer:
        values = torch.from_numpy(numpy_helper.to_array(tensor).copy())
        for name, parameter in model.named_parameters():
            if torch.equal(values, parameter[: len(values)] if values.ndim else parameter):
                held[tensor.name] = name, False
            elif values.ndim == 2 and torch.equal(values, parameter.t()):
                held[tensor.name] = name, True
    lost = set(dict(model.named_parameters())) - {name for name, _ in held.values()}
    if lost:
        raise RuntimeError(f"the exporter has altered parameters of the model: {sorted(lost)}")
    return proto, held


def _graph_of(model: Transformer) -> onnx.ModelProto:
    """The graph of a model: its shape's, with its weights."""
    template, held = _template(model.config)
    proto = onnx.ModelProto()
    proto.CopyFrom(template)
    weights = dict(model.named_parameters())
    for tensor in proto.graph.initializer:
        if tensor.name in held:
            name, transposed = held[tensor.name]
            values = weights[name].detach()
            rows = (values.T if transposed else values)[: tensor.dims[0]].contiguous()
            tensor.CopyFrom(numpy_helper.from_array(rows.numpy(), tensor.name))
    return proto


def _halve(proto: onnx.ModelProto) -> None:
    """Keep weights in half precision where that loses nothing: what was shipped so is not fetched at twice its size.

    A cast brings each back to single precision as the graph is loaded; all arithmetic stays in single precision.
    """
    casts = []
    for tensor in proto.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        single = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = single.astype(np.float16)
        if single.size < 64 or not np.array_equal(half.astype(np.float32), single):
            continue
        name = f"{tensor.name}.half"
        casts.append(
            onnx.helper.make_node("Cast", [name], [tensor.name], to=onnx.TensorProto.FLOAT)
        )
        tensor.CopyFrom(numpy_helper.from_array(half, name))
    nodes = [*casts, *proto.graph.node]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _publish(proto: onnx.ModelProto, folder: Path, name: str) -> dict[str, Any]:
    """Write a graph, whole or not at all, with its hash in its name, so that a browser may cache it for ever.

    Returns:
        The file's name and size.
    """
    _halve(proto)
    data = proto.SerializeToString()
    # Some hosts of static files take a plus sign in an address for a space.
    plain = re.sub(r"[^a-z0-9.-]", "-", name)
    path = folder / f"{plain}.{hashlib.sha256(data).hexdigest()[:12]}.onnx"
    write_whole(path, lambda part: part.write_bytes(data))
    return {"file": path.name, "bytes": len(data)}


def _prefixes(dtype: torch.dtype, dim: int, n: int) -> tuple[dict[str, Any], tuple[Tensor, Tensor]]:
    """For graphs of prompts of one length n: the free dimension, and inputs to trace with."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    generator = torch.Generator().manual_seed(0)
    xs = torch.randn(3, n, dim, dtype=dtype, generator=generator)
    return {"xs": {0: batch}, "ys": {0: batch}}, (xs, xs[..., 0])


def export_model(name: str, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Export the shipped model `name` into `folder`; returns its entry in the manifest.

    In one dimension it predicts a curve (see `TransformerCurve`), in several it predicts at every prefix of a batch of
    prompts of `max_examples` points.
    """
    model = load(name)
    entry = _publish(_graph_of(model), Path(folder), name)
    config = model.config
    size = next(
        (s for s, shape in SIZES.items() if shape == (config.layers, config.heads, config.width)),
        "other",
    )
    return entry | {"size": size, "dim": config.dim, "max_examples": config.max_examples}


def export_bayes(name: str, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Export the exact posterior of the mixture `name` into `folder`; returns its entry in the manifest."""
    weight = torch.tensor(0.5, dtype=torch.float64)
    if name == SMOOTH:
        names, outputs = ["xs", "ys", "queries"], ["mean", "evidence"]
        proto = _trace(bayes.SmoothPosterior(), _example(torch.float64, 1), names, outputs)
    elif name in PREFIX_BAYES:
        dynamic, inputs = _prefixes(torch.float64, PREFIX_BAYES[name].dim, recipes.POINTS)
        names, outputs = ["xs", "ys", "weight"], ["dense", "sparse", "mixture", "probability"]
        proto = _trace(bayes_prefixes(name), (*inputs, weight), names, outputs, dynamic)
    else:
        other = _doubt()
        names = ["xs", "ys", "queries", "weight", *other]
        outputs = ["mixture", "oracle", "probability"]
        given = (*_example(torch.float64, 1), weight, *other.values())
        proto = _trace(bayes_curve(name), given, names, outputs)
    return _publish(proto, Path(folder), f"bayes-{name}")


def export_bands(name: str, folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Export the exact posterior of the prior `name` of BAND_BAYES into `folder`; returns its entry in the manifest."""
    other = _doubt()
    names, outputs = ["xs", "ys", "queries", *other], ["mean", "probability"]
    given = (*_example(torch.float64, 1), *other.values())
    proto = _trace(bayes_bands(name), given, names, outputs)
    return _publish(proto, Path(folder), f"bands-{name}")


def _doubt() -> dict[str, Tensor]:
    """The inputs by which a graph takes a doubt, to trace with."""
    generator = torch.Generator().manual_seed(1)
    return {
        "doubt": torch.tensor(1e-6, dtype=torch.float64),
        "smooth": torch.randn(1, 11, dtype=torch.float64, generator=generator),
        "smooth_evidence": torch.randn(1, 1, dtype=torch.float64, generator=generator),
    }


def export_site(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Write what the page's widgets fetch into `folder`: graphs, worker, manifest; returns the manifest.

    What an earlier export has written there gives way; no other file in `folder` is touched.

    Raises:
        ValueError: `folder` holds a file of the worker's or the manifest's name that no export wrote.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    before = _listed(folder / MANIFEST)
    if (folder / _ENGINE.name).exists() and not (folder / MANIFEST).exists():
        raise ValueError(
            f"{folder / _ENGINE.name} was not written by an export; give another folder"
        )
    manifest = {
        "models": {name: export_model(name, folder) for name in page_models()},
        "bayes": {name: export_bayes(name, folder) for name in (SMOOTH, *BAYES, *PREFIX_BAYES)},
        "bands": {name: export_bands(name, folder) for name in BAND_BAYES},
    }
    shutil.copyfile(_ENGINE, folder / _ENGINE.name)
    text = json.dumps(manifest, indent=2) + "\n"
    write_whole(folder / MANIFEST, lambda part: part.write_text(text))
    for name in before - _listed(folder / MANIFEST):
        (folder / name).unlink(missing_ok=True)
    return manifest


def _listed(path: Path) -> set[str]:
    """The graphs that a manifest lists; none if there is no manifest."""
    if not path.exists():
        return set()
    try:
        manifest = json.loads(path.read_text())
        names = {entry["file"] for group in manifest.values() for entry in group.values()}
        if not all(re.fullmatch(r"[\w.+-]+\.[0-9a-f]{12}\.onnx", name) for name in names):
            raise ValueError("it lists what is no graph")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} was not written by an export; give another folder: {error}"
        ) from error
    return names
