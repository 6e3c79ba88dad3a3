"""Export predictors to ONNX for the page, so that no mathematics is written twice.

Each graph is one of the torch modules that a running notebook evaluates too. On the built page onnxruntime-web
runs them. `export_site` writes what the page fetches, each file named by its hash, and a manifest. A model's weights
are the very file that the library loads; models of one shape share a graph.
"""

from __future__ import annotations

import gc
import hashlib
import json
import logging
import os
import re
import shutil
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import partial
from math import prod
from multiprocessing import get_context
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import onnx
import torch
from onnx import numpy_helper
from onnx_ir.passes import PassManager
from onnx_ir.passes import common as tidying
from onnxscript.optimizer import fold_constants_ir
from safetensors.torch import save as dump_safetensors
from torch import Tensor, nn
from torch._decomp import core_aten_decompositions
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.fx.experimental.symbolic_shapes import (
    DimDynamic,
    ShapeEnv,
    StatelessSymbolicContext,
)
from torch.utils._pytree import tree_flatten, tree_unflatten

from icl_lib import bayes, pretraining
from icl_lib.model import Transformer, TransformerConfig, size_of
from icl_lib.page import (
    ATTENDING,
    BAND_BAYES,
    BAYES,
    LINEAR,
    MIXABLE,
    MIXED,
    PREFIX_BAYES,
    SMOOTH,
    CurveAndAttention,
    TransformerCurve,
    bayes_bands,
    bayes_curve,
    bayes_prefixes,
    linear_curve,
    page_models,
    shape_name,
)
from icl_lib.recipes import points_of
from icl_lib.samplers import training_seed
from icl_lib.training import write_whole
from icl_lib.translation import TRANSLATIONS, undecomposed
from icl_lib.weights import load, locate, read_card

MANIFEST = "manifest.json"
WEIGHTS = "weights"
"""What the graph of a shape calls the file that holds a model's weights."""
POSTERIORS = (*PREFIX_BAYES, *BAYES, SMOOTH)
"""What the page computes exactly, but for BANDS."""
BANDS = (*BAND_BAYES, MIXED)
"""Priors of lines and sines in any bands, and what a reader can pretrain on."""
LINEARS = (*LINEAR, MIXED)
"""What the page has the best linear predictor of."""
PRETRAINING = (
    *(
        f"{part}-{size}"
        for size in reversed(pretraining.ON_PAGE)
        for part in ("step", "initial", "look")
    ),
    "prompts",
)
"""The graphs by which the page pretrains models."""
DECOMPOSED = {
    "decomposed": "some operation has no translation: the program was traced a second time"
}
"""What a graph says of itself that took twice as long to export as it might."""
_FOLDED = 2048
"""The most numbers of a constant that is worked out beforehand; larger ones are cheaper to compute than to fetch."""
_TIDY = PassManager(
    [
        tidying.CommonSubexpressionEliminationPass(),
        tidying.IdentityEliminationPass(),
        tidying.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        tidying.RemoveUnusedNodesPass(),
        tidying.RemoveUnusedFunctionsPass(),
    ]
)
_ENGINE = Path(__file__).parent / "widgets" / "engine.js"


def _example(dtype: torch.dtype, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs to trace with: sizes that no dimension shares by accident."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=dtype, generator=generator)

    return draw(1, 7, dim), draw(1, 7), draw(1, 11, dim)


def _curve(most: int = 4096) -> dict[str, Any]:
    """The free dimensions of a prompt, of this many examples at most, of which a curve is asked, by input."""
    examples = torch.export.Dim("examples", min=0, max=most)
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
    with torch.no_grad():
        module(*inputs)  # what is computed once and kept is not for the graph
    return _export(module, inputs, names, outputs, {name: dynamic.get(name) for name in names})


def _export(
    module: nn.Module,
    inputs: tuple[Tensor, ...],
    names: list[str],
    outputs: list[str],
    dynamic: Any,
) -> onnx.ModelProto:
    """A module as a graph, without what the exporter notes down about it.

    Constants are folded, and no more: the exporter's own simplifier takes longer than all the rest together, and takes
    AdamW's epsilon for nothing. What is left to simplify the runtime simplifies. Nor is a program traced twice where
    once will do (see `translation`).
    """
    export = partial(
        torch.onnx.export,
        module,
        inputs,
        dynamo=True,
        external_data=False,
        verbose=False,
        optimize=False,
        custom_translation_table=TRANSLATIONS,
        input_names=names,
        output_names=outputs,
        dynamic_shapes=dynamic,
    )
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns of its own internals
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        try:
            with undecomposed() as taken_apart:
                program = export()
            decomposed = bool(taken_apart)
        except torch.onnx.OnnxExporterError:
            # There are operations, of a class of one's own, that only torch can take apart.
            decomposed, program = True, export()
    assert program is not None
    fold_constants_ir(program.model, output_size_limit=_FOLDED)
    _TIDY(program.model)
    proto = program.model_proto
    for node in proto.graph.node:  # where it came from in the source, several times its own size
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    proto.graph.ClearField("value_info")
    if decomposed:
        onnx.helper.set_model_props(proto, DECOMPOSED)
    return proto


def _fresh(config: TransformerConfig) -> Transformer:
    """A model of a shape, no two of whose parameters are alike: the exporter merges what is."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Transformer(config).eval()
        for parameter in model.parameters():
            nn.init.normal_(parameter)
    return model


def _places(model: Transformer, dtype: torch.dtype) -> dict[str, tuple[int, int]]:
    """Where a safetensors file has each parameter of a model: its first byte after the header, and its end."""
    data = dump_safetensors({name: value.to(dtype) for name, value in model.state_dict().items()})
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    return {name: tuple(entry["data_offsets"]) for name, entry in header.items()}


def export_shape(config: TransformerConfig, dtype: torch.dtype) -> onnx.ModelProto:
    """The graph of all models of a shape, whose weights are in a file of their own: what `weights.save` writes.

    In one dimension it predicts a curve (see `TransformerCurve`; of the sizes of `ATTENDING` `CurveAndAttention`), in
    several it predicts at every prefix of a batch of prompts of `max_examples` points. Its weights are external data at
    `WEIGHTS`, counted from the end of the safetensors header, so that every file of the shape fits; all arithmetic is
    in single precision.

    Args:
        config: the shape.
        dtype: of the weights in the file, float16 or float32.
    """
    model = _fresh(config)
    if config.dim == 1:
        inputs = _example(torch.float32, 1)
        attends = size_of(config) in ATTENDING
        module = CurveAndAttention(model) if attends else TransformerCurve(model)
        outputs = ["mean", "attention"] if attends else ["mean"]
        # Were more allowed than the model takes, the exporter would find out, and trace it again.
        dynamic = _curve(config.max_examples - 1)
        proto = _trace(module, inputs, ["xs", "ys", "queries"], outputs, dynamic)
    else:
        dynamic, prompts = _prefixes(torch.float32, config.dim, config.max_examples)
        proto = _trace(model, prompts, ["xs", "ys"], ["mean"], dynamic)
    places, parameters = _places(model, dtype), dict(model.named_parameters())
    kept, held, nodes = [], {}, []
    for tensor in proto.graph.initializer:
        found = _held(tensor, parameters)
        if found is None:
            kept.append(tensor)
            continue
        name, transposed = found
        rows = parameters[name].shape[0] if transposed else tensor.dims[0]
        held[name] = _external(
            f"{name}.stored", [rows, *parameters[name].shape[1:]], places[name][0], dtype
        )
        single = f"{name}.single" if transposed else tensor.name
        nodes.append(
            onnx.helper.make_node("Cast", [f"{name}.stored"], [single], to=onnx.TensorProto.FLOAT)
        )
        if transposed:
            nodes.append(onnx.helper.make_node("Transpose", [single], [tensor.name], perm=[1, 0]))
    lost = set(parameters) - set(held)
    if lost:
        raise RuntimeError(f"the exporter has altered parameters of the model: {sorted(lost)}")
    _replace(proto.graph.initializer, [*kept, *held.values()])
    _replace(proto.graph.node, [*nodes, *proto.graph.node])
    return proto


def _held(tensor: onnx.TensorProto, parameters: dict[str, nn.Parameter]) -> tuple[str, bool] | None:
    """Which parameter a tensor of a graph holds, or the first rows of which, and whether transposed."""
    values = torch.from_numpy(numpy_helper.to_array(tensor).copy())
    for name, parameter in parameters.items():
        if torch.equal(values, parameter[: len(values)] if values.ndim else parameter):
            return name, False
        if values.ndim == 2 and torch.equal(values, parameter.t()):
            return name, True
    return None


def _external(name: str, shape: list[int], offset: int, dtype: torch.dtype) -> onnx.TensorProto:
    """A tensor whose values lie in the file of weights."""
    kinds = {torch.float16: onnx.TensorProto.FLOAT16, torch.float32: onnx.TensorProto.FLOAT}
    tensor = onnx.TensorProto(name=name, data_type=kinds[dtype], dims=shape)
    tensor.data_location = onnx.TensorProto.EXTERNAL
    length = prod(shape) * dtype.itemsize
    for key, value in (("location", WEIGHTS), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def _trace_operations(
    module: Callable[..., Any],
    arguments: tuple[Any, ...],
    names: list[str],
    outputs: list[str],
    free: Mapping[str, Mapping[int, Any]] = MappingProxyType({}),
) -> onnx.ModelProto:
    """A function of tensors, gradients and all, as a graph of the operations that it does.

    Args:
        module: what to trace; its arguments and what it returns may be lists of tensors.
        arguments: to trace with.
        names: of the inputs, one for each tensor.
        outputs: names of the outputs, likewise.
        free: by input, the dimensions that are free.
    """
    flat, spec = tree_flatten(arguments)
    module(*arguments)  # what is computed once and kept is not for the graph

    def function(*tensors: Tensor) -> list[Any]:
        found: list[Any] = tree_flatten(module(*tree_unflatten(list(tensors), spec)))[0]
        return found

    dynamic = [free.get(name) for name in names]
    mode = FakeTensorMode(shape_env=ShapeEnv(), allow_non_fake_inputs=True)
    shaped = [
        mode.from_tensor(
            tensor,
            symbolic_context=StatelessSymbolicContext(
                dynamic_sizes=[
                    DimDynamic.DYNAMIC if axis in (dims or {}) else DimDynamic.STATIC
                    for axis in range(tensor.ndim)
                ]
            ),
        )
        for tensor, dims in zip(flat, dynamic, strict=True)
    ]
    kind: Literal["real", "symbolic"] = "symbolic" if free else "real"
    table = dict(core_aten_decompositions())
    traced = make_fx(function, table, kind)(*(shaped if free else flat))
    traced.graph.eliminate_dead_code()
    traced.recompile()
    return _export(traced, tuple(flat), names, outputs, tuple(dynamic))


def _replace(field: Any, items: list[Any]) -> None:
    """Give a repeated field of a message other items."""
    copies = list(items)
    del field[:]
    field.extend(copies)


def _publish(data: bytes, folder: Path, name: str, kind: str = "onnx") -> dict[str, Any]:
    """Write a file, whole or not at all, with its hash in its name, so that a browser may cache it for ever.

    Returns:
        The file's name and size.
    """
    # Some hosts of static files take a plus sign in an address for a space.
    plain = re.sub(r"[^a-z0-9.-]", "-", name)
    path = folder / f"{plain}.{hashlib.sha256(data).hexdigest()[:12]}.{kind}"
    write_whole(path, lambda part: part.write_bytes(data))
    return {"file": path.name, "bytes": len(data)}


def _prefixes(dtype: torch.dtype, dim: int, n: int) -> tuple[dict[str, Any], tuple[Tensor, Tensor]]:
    """For graphs of prompts of one length n: the free dimension, and inputs to trace with."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    generator = torch.Generator().manual_seed(0)
    xs = torch.randn(3, n, dim, dtype=dtype, generator=generator)
    return {"xs": {0: batch}, "ys": {0: batch}}, (xs, xs[..., 0])


def shape_of(name: str) -> tuple[str, TransformerConfig, torch.dtype]:
    """What the graph of a shipped model's shape is called in the manifest, and what it depends on."""
    config, kind = load(name).config, read_card(name)["dtype"]
    return shape_name(config, kind), config, getattr(torch, kind)


def publish_shape(called: str, folder: Path, config: TransformerConfig, dtype: torch.dtype) -> Any:
    """Write the graph of a shape into `folder`; returns its entry in the manifest."""
    places = _places(_fresh(config), dtype)
    return _publish(export_shape(config, dtype).SerializeToString(), folder, f"shape-{called}") | {
        "model": asdict(config),
        "dtype": str(dtype).removeprefix("torch."),
        "parameters": {
            name: {"shape": list(value.shape), "begin": places[name][0]}
            for name, value in _fresh(config).state_dict().items()
        },
    }


def publish_model(name: str, folder: Path) -> dict[str, Any]:
    """Write the weights of a shipped model into `folder`, as they are; returns its entry in the manifest."""
    shape, config, _ = shape_of(name)
    return _publish(locate(name).read_bytes(), folder, name, "safetensors") | {
        "shape": shape,
        "size": size_of(config),
        "dim": config.dim,
        "max_examples": config.max_examples,
    }


def publish_bayes(name: str, folder: Path) -> dict[str, Any]:
    """Write the graph of the exact posterior of the mixture `name` into `folder`; returns its entry in the manifest."""
    weight = torch.tensor(0.5, dtype=torch.float64)
    if name == SMOOTH:
        names, outputs = ["xs", "ys", "queries"], ["mean", "evidence"]
        proto = _trace(bayes.SmoothPosterior(), _example(torch.float64, 1), names, outputs)
    elif name in PREFIX_BAYES:
        dim = PREFIX_BAYES[name].dim
        dynamic, inputs = _prefixes(torch.float64, dim, points_of(dim))
        names, outputs = ["xs", "ys", "weight"], ["dense", "sparse", "mixture", "probability"]
        proto = _trace(bayes_prefixes(name), (*inputs, weight), names, outputs, dynamic)
    else:
        other = _doubt()
        names = ["xs", "ys", "queries", "weight", *other]
        outputs = ["mixture", "oracle", "probability"]
        given = (*_example(torch.float64, 1), weight, *other.values())
        proto = _trace(bayes_curve(name), given, names, outputs)
    return _publish(proto.SerializeToString(), folder, f"bayes-{name}")


def publish_bands(name: str, folder: Path) -> dict[str, Any]:
    """Write the graph of exact Bayes with a prior of BANDS; returns its entry in the manifest."""
    other = _doubt() | (_prior() if name == MIXED else {})
    names, outputs = ["xs", "ys", "queries", *other], ["mean", "probability"]
    given = (*_example(torch.float64, 1), *other.values())
    module = bayes_bands(MIXABLE if name == MIXED else name)
    proto = _trace(module, given, names, outputs)
    return _publish(proto.SerializeToString(), folder, f"bands-{name}")


def publish_linear(name: str, folder: Path) -> dict[str, Any]:
    """Write the graph of the best linear predictor with a prior of LINEARS; returns its entry in the manifest."""
    other = _prior() if name == MIXED else {}
    names, given = ["xs", "ys", "queries", *other], (*_example(torch.float64, 1), *other.values())
    proto = _trace(linear_curve(MIXABLE if name == MIXED else name), given, names, ["mean"])
    return _publish(proto.SerializeToString(), folder, f"linear-{name}")


def publish_pretraining(part: str, folder: Path) -> dict[str, Any]:
    """Write a graph of `PRETRAINING` into `folder`; returns its entry in the manifest.

    Numbers are called as the arguments of the module in `icl_lib.pretraining`, with a place where one is a list; what
    a step makes of `params.0` is `next.params.0`.
    """
    part, _, size = part.partition("-")
    config, seed = pretraining.CONFIGS[size or "tiny"], torch.tensor(training_seed(0))
    step, total = torch.tensor(5), torch.tensor(pretraining.STEPS[0])
    weights = torch.full((len(pretraining.CLASSES),), 0.25, dtype=torch.float64)
    params = pretraining.InitialWeights(config)(seed)
    train = pretraining.TrainingStep(config)
    state = train.at_rest(params)
    learnt = [f"params.{k}" for k in range(len(params))]
    kept = [*learnt, *(f"muon.{k}" for k in range(len(state[0]))), "adamw.mean", "adamw.square"]
    more: dict[str, Any] = {}
    if part == "initial":
        initial = pretraining.InitialWeights(config)

        def begin(seed: Tensor) -> tuple[Any, ...]:
            params = initial(seed)
            return (params, *train.at_rest(params))

        proto = _trace_operations(begin, (seed,), ["seed"], kept)
    elif part == "prompts":
        prompts = max(phase.prompts for phase in pretraining.PHASES)
        points = max(phase.points for phase in pretraining.PHASES)
        given = (seed, step, weights)
        module: nn.Module = pretraining.PromptsOfStep(prompts, points)
        names, outputs = ["seed", "step", "weights"], ["xs", "ys", "class"]
        more["phases"] = [list(phase) for phase in pretraining.PHASES]
        proto = _trace_operations(module, given, names, outputs)
    elif part == "step":
        xs, ys, _ = pretraining.PromptsOfStep(13, 9)(seed, step, weights)
        batch = torch.export.Dim("batch", min=2, max=4096)
        length = torch.export.Dim("points", min=2, max=config.max_examples)
        free = {name: {0: batch, 1: length} for name in ("xs", "ys")}
        names = [*kept, "xs", "ys", "step", "total"]
        outputs = ["loss", *(f"next.{name}" for name in kept)]
        proto = _trace_operations(
            train, (params, *state, xs, ys, step, total), names, outputs, free
        )
    else:
        module = pretraining.Look(config)
        outputs = ["errors", "curves", "floor", "bayes"]
        proto = _trace_operations(module, (params, weights), [*learnt, "weights"], outputs)
    called = "-".join(filter(None, ("pretraining", part, size)))
    return _publish(proto.SerializeToString(), folder, called) | more


def _doubt() -> dict[str, Tensor]:
    """The inputs by which a graph takes a doubt, to trace with."""
    generator = torch.Generator().manual_seed(1)
    return {
        "doubt": torch.tensor(1e-6, dtype=torch.float64),
        "smooth": torch.randn(1, 11, dtype=torch.float64, generator=generator),
        "smooth_evidence": torch.randn(1, 1, dtype=torch.float64, generator=generator),
    }


def _prior() -> dict[str, Tensor]:
    """The input by which a graph of MIXABLE takes the weights of its classes, to trace with."""
    return {"prior": torch.tensor(MIXABLE.weights, dtype=torch.float64)}


def export_site(
    folder: str | os.PathLike[str],
    *,
    jobs: int = 1,
    told: Callable[[dict[str, Any]], object] = lambda entry: None,
) -> dict[str, Any]:
    """Write what the page's widgets fetch into `folder`: graphs, weights, worker, manifest; returns the manifest.

    What an earlier export has written there gives way; no other file in `folder` is touched.

    Args:
        folder: where to.
        jobs: processes that trace graphs; each takes seconds to a minute.
        told: called with the manifest's entry of each file that has been written.

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
    names = page_models()
    shapes = {called: kind for called, *kind in map(shape_of, names)}
    for size in pretraining.ON_PAGE:  # what the reader pretrains on the page is not halved
        config = pretraining.CONFIGS[size]
        shapes[shape_name(config, "float32")] = [config, torch.float32]
    calls: dict[str, dict[str, tuple[Any, ...]]] = {  # what takes long first
        "pretraining": {part: (publish_pretraining, part, folder) for part in PRETRAINING},
        "shapes": {
            called: (publish_shape, called, folder, *kind) for called, kind in shapes.items()
        },
        "models": {name: (publish_model, name, folder) for name in names},
        "bayes": {name: (publish_bayes, name, folder) for name in POSTERIORS},
        "bands": {name: (publish_bands, name, folder) for name in BANDS},
        "linear": {name: (publish_linear, name, folder) for name in LINEARS},
    }
    entries = _side_by_side([call for group in calls.values() for call in group.values()], jobs)
    manifest: dict[str, dict[str, Any]] = {group: {} for group in calls}
    for group, name in [(group, name) for group, named in calls.items() for name in named]:
        manifest[group][name] = next(entries)
        told(manifest[group][name])
    shutil.copyfile(_ENGINE, folder / _ENGINE.name)
    text = json.dumps(manifest, indent=2) + "\n"
    write_whole(folder / MANIFEST, lambda part: part.write_text(text))
    for name in before - _listed(folder / MANIFEST):
        (folder / name).unlink(missing_ok=True)
    return manifest


def _side_by_side(calls: list[tuple[Any, ...]], jobs: int) -> Iterator[dict[str, Any]]:
    """What functions return, each with the arguments that follow it, in their order, in that many processes."""
    if jobs == 1:
        yield from (function(*arguments) for function, *arguments in calls)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), _lean) as pool:
        yield from (future.result() for future in [pool.submit(*call) for call in calls])


def _lean() -> None:
    """Let a process that only traces leave out what takes an eighth of its time.

    That is the search for cycles among millions of small objects, and the note at each operation of where it came from.
    """
    gc.freeze()
    gc.set_threshold(1_000_000, 50, 100)
    torch.fx.config.do_not_emit_stack_traces = True


def _listed(path: Path) -> set[str]:
    """The files that a manifest lists; none if there is no manifest."""
    if not path.exists():
        return set()
    try:
        manifest = json.loads(path.read_text())
        names = {entry["file"] for group in manifest.values() for entry in group.values()}
        if not all(
            re.fullmatch(r"[\w.+-]+\.[0-9a-f]{12}\.(onnx|safetensors)", name) for name in names
        ):
            raise ValueError("it lists what no export writes")
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} was not written by an export; give another folder: {error}"
        ) from error
    return names
