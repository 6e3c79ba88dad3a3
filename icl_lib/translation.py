"""Operations that torch.onnx does not translate but decomposes, translated.

To decompose a program the exporter traces it a second time, operation by operation, which takes as long as all else
that it does. With these translations nothing in our graphs is left to decompose, and the second trace is spared.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import onnx_ir as ir
import torch
from onnxscript import opset18 as op
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import GraphModule, Node

_ATEN = torch.ops.aten


def _same(x: Any) -> Any:
    return op.Identity(x)


def _square(x: Any) -> Any:
    return op.Mul(x, x)


def _rsub(x: Any, other: Any) -> Any:
    return op.Sub(op.CastLike(other, x), x)


def _squeeze(x: Any, dim: Sequence[int]) -> Any:
    single = [d for d in dim if x.shape[d] == 1]  # torch leaves the others as they are
    return op.Squeeze(x, op.Constant(value_ints=single))  # type: ignore[arg-type]


def _eye(n: int, dtype: int, device: str = "", pin_memory: bool = False) -> Any:
    one = op.Constant(value=ir.tensor(np.eye(n)))  # type: ignore[arg-type]
    return op.Cast(one, to=dtype)  # type: ignore[type-var]


def _to_dtype(x: Any, dtype: int) -> Any:
    return op.Cast(x, to=dtype)


def _to_device(x: Any, device: str, dtype: int) -> Any:
    return op.Cast(x, to=dtype)


def _to_layout(x: Any, dtype: int, layout: str = "", device: str = "") -> Any:
    return op.Cast(x, to=dtype)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {
    _ATEN.detach_.default: _same,
    _ATEN.square.default: _square,
    _ATEN.rsub.Scalar: _rsub,
    _ATEN.squeeze.dims: _squeeze,
    _ATEN.eye.default: _eye,
    _ATEN.to.dtype: _to_dtype,
    _ATEN.to.device: _to_device,
    _ATEN.to.dtype_layout: _to_layout,
}
"""By operation of torch, a function that gives it in operations of ONNX."""


def _writes(node: Node) -> bool:
    """Whether an operation writes into what it was given, as no operation of ONNX can."""
    return (
        isinstance(node.target, OpOverload)
        and node.target._schema.is_mutable
        and node.target not in TRANSLATIONS
    )


@contextmanager
def undecomposed() -> Iterator[list[ExportedProgram]]:
    """Have programs that write nothing in place stand as they were traced, though somebody wants them decomposed.

    Yields:
        A list, to which those are added that were decomposed nevertheless.
    """
    decompose, decomposed = ExportedProgram.run_decompositions, []

    def decompose_if_it_writes(program: ExportedProgram, table: dict[Any, Any]) -> ExportedProgram:
        parts = [part for part in program.graph_module.modules() if isinstance(part, GraphModule)]
        if any(_writes(node) for part in parts for node in part.graph.nodes):
            decomposed.append(program)
            return decompose(program, table)
        return program

    with patch.object(ExportedProgram, "run_decompositions", decompose_if_it_writes):
        yield decomposed
