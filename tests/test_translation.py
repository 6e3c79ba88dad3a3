"""What is translated is what torch computes, and what is not is decomposed."""

import json

import onnx
import onnxruntime
import pytest
import torch

from icl_lib.browser import DECOMPOSED, MANIFEST, _export
from icl_lib.translation import TRANSLATIONS

from .conftest import LIVE

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


def says_decomposed(graph):
    """Whether a graph says of itself that it was decomposed, and so traced twice."""
    return DECOMPOSED.keys() <= {entry.key for entry in graph.metadata_props}


def check(functions):
    """Whether the graph of some functions gives what torch does; the graph."""
    module, dynamic = Module(functions), ({0: torch.export.Dim("batch", min=2, max=9)},)
    graph = _export(module, (X,), ["x"], list(functions), dynamic)
    session = onnxruntime.InferenceSession(graph.SerializeToString())
    for name, found in zip(functions, session.run(None, {"x": X.numpy()}), strict=True):
        torch.testing.assert_close(torch.from_numpy(found), functions[name](X), msg=name)
    return graph


def test_an_operation_is_translated_as_torch_computes_it():
    assert not says_decomposed(check(ours))


def test_every_translation_is_tried():
    asked = {name.split(".")[0] for name in ours}
    assert {operation.__name__.split(".")[0] for operation in TRANSLATIONS} == asked


@pytest.mark.parametrize("name", others)
def test_what_cannot_be_translated_is_decomposed(name):
    assert says_decomposed(check({name: others[name]}))


def test_no_graph_of_the_site_was_decomposed(site_graph):
    """They are exported where signatures are not checked, which torch would trace with the rest."""
    entries = json.loads((LIVE / MANIFEST).read_text())
    decomposed = [
        (group, name)
        for group in ("shapes", "bayes", "bands", "linear", "pretraining")
        for name in entries[group]
        if says_decomposed(onnx.load(site_graph(group, name), load_external_data=False))
    ]
    assert decomposed == []
