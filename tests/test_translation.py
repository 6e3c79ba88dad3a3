"""What is translated is what torch computes, and what is not is decomposed."""

import subprocess
import sys
from unittest.mock import patch

import onnxruntime
import pytest
import torch
from torch.export import ExportedProgram

from icl_lib.browser import _export, export_shape
from icl_lib.model import TransformerConfig
from icl_lib.translation import TRANSLATIONS

X = torch.linspace(-2, 3, 12, dtype=torch.float64).view(3, 1, 4)

ours = {
    "detach_": lambda x: (x * 2).detach_() + 1,
    "square": lambda x: x.square(),
    "rsub": lambda x: (1 - x) / (0.1 - x),
    "rsub.int": lambda x: 3 - (x > 0).long(),
    "squeeze.dims": lambda x: torch.squeeze(x[None], (0, 2, 3)) * 2,
    "eye": lambda x: x @ torch.eye(4, dtype=torch.float64, device=x.device),
    "to.dtype": lambda x: (x > 0).to(torch.float64) + x.to(torch.int64),
    "to.device": lambda x: (x > 0).to("cpu", torch.float64) * x,
    "to.dtype_layout": lambda x: x.new_tensor([1.0, 2.0, 3.0, 4.0]) * x,
}
others = {
    "nothing translates it": lambda x: torch.stack(torch.meshgrid(x[0, 0], x[1, 0], indexing="ij")),
    "it writes in place": lambda x: x.clone().add_(1).mul_(x),
}


class Module(torch.nn.Module):
    def __init__(self, functions):
        super().__init__()
        self.functions = functions

    def forward(self, x):
        return [function(x) for function in self.functions.values()]


def check(functions):
    """Whether the graph of some functions gives what torch does."""
    module, dynamic = Module(functions), ({0: torch.export.Dim("batch", min=2, max=9)},)
    graph = _export(module, (X,), ["x"], list(functions), dynamic)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for name, found in zip(functions, session.run(None, {"x": X.numpy()}), strict=True):
        torch.testing.assert_close(torch.from_numpy(found), functions[name](X), msg=name)


@pytest.fixture
def once():
    """No program may be traced again."""

    def refuse(*_):
        pytest.fail("it was traced again")

    with patch.object(ExportedProgram, "run_decompositions", refuse):
        yield


def test_an_operation_is_translated_as_torch_computes_it(once):
    check(ours)


def test_every_translation_is_tried():
    asked = {name.split(".")[0] for name in ours}
    assert {operation.__name__.split(".")[0] for operation in TRANSLATIONS} == asked


@pytest.mark.parametrize("name", others)
def test_what_cannot_be_translated_is_decomposed(name):
    check({name: others[name]})


ONCE = """
import sys
from pathlib import Path
from torch.export import ExportedProgram
from icl_lib import browser
ExportedProgram.run_decompositions = lambda *_: sys.exit("it was traced again")
export, folder = browser.torch.onnx.export, Path(sys.argv[1])
calls = []
browser.torch.onnx.export = lambda *given, **how: (calls.append(1), export(*given, **how))[1]
browser.publish_linear("mixed", folder)
browser.publish_bands("sine", folder)
browser.publish_bayes("dense8+sparse8", folder)
browser.publish_pretraining("look", folder)
assert len(calls) == 4, "an operation has no translation"
"""


def test_graphs_of_each_kind_are_traced_once(tmp_path):
    """In a process whose signatures are not checked, which what torch scans must not be."""
    subprocess.run([sys.executable, "-c", ONCE, str(tmp_path)], check=True)


def test_the_graph_of_a_shape_is_traced_once(once):
    export_shape(
        TransformerConfig(dim=1, max_examples=21, width=8, layers=1, heads=1), torch.float32
    )
