"""The exported graphs give torch's numbers, in Python's onnxruntime; the browser's own are tested on the page."""

import numpy as np
import onnxruntime
import pytest
import torch

from icl_lib import browser

NAME = "line+sine-0.5-tiny"


@pytest.fixture(scope="module")
def graphs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("live")
    files = {
        "model": browser.export_model(NAME, folder)["file"],
        "bayes": browser.export_bayes("line+sine-0.5", folder)["file"],
    }
    return {kind: onnxruntime.InferenceSession(folder / file) for kind, file in files.items()}


def draw(n, q, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, dtype=dtype, generator=generator)
        for shape in ((1, n, 1), (1, n), (1, q, 1))
    ]


@pytest.mark.parametrize("n", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("q", [1, 97])
def test_the_transformers_graph_equals_torch(graphs, n, q):
    xs, ys, queries = draw(n, q, torch.float32, seed=n)
    (mean,) = graphs["model"].run(
        None, {"xs": xs.numpy(), "ys": ys.numpy(), "queries": queries.numpy()}
    )
    expected = browser.transformer_curve(NAME)(xs, ys, queries).numpy()
    # Noise for values is far from anything trained on: there single precision itself is worth
    # some 1e-5 of outputs near 1.
    assert mean.shape == (1, q) and np.abs(mean - expected).max() < 1e-4


@pytest.mark.parametrize("n", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_posteriors_graph_equals_torch(graphs, n, weight):
    xs, ys, queries = draw(n, 33, torch.float64, seed=n)
    at = torch.tensor(weight, dtype=torch.float64)
    values = {"xs": xs, "ys": ys, "queries": queries, "weight": at}
    found = graphs["bayes"].run(None, {name: value.numpy() for name, value in values.items()})
    for one, other in zip(
        found, browser.bayes_curve("line+sine-0.5")(xs, ys, queries, at), strict=True
    ):
        assert np.abs(one - other.numpy()).max() < 1e-6


def test_an_unknown_posterior_is_refused():
    with pytest.raises(ValueError, match=r"line\+sine-0.5, got 'nosuch'"):
        browser.bayes_curve("nosuch")
