"""The exported graphs give torch's numbers, in Python's onnxruntime; the browser's own are tested on the page."""

import hashlib
import json
import shutil
from dataclasses import asdict
from itertools import product
from unittest.mock import patch

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import save as dump_safetensors

from icl_lib import (
    DenseLinear,
    Mixture,
    SparseLinear,
    Transformer,
    TransformerConfig,
    baselines,
    bayes,
    browser,
    page,
    pretraining,
    recipes,
    sample_prompts,
    weights,
)
from icl_lib.shapes import Placed

from .conftest import LIVE

PAGE = page.page_models()
CURVES = [name for name in PAGE if recipes.RECIPES[name].model.dim == 1]
LINEAR = [name for name in PAGE if name not in CURVES]


@pytest.fixture
def model_session(site_graph, tmp_path):
    """Opens a model as the page does: the graph of its shape, and its weights' file from the end of its header on."""
    entries = json.loads((LIVE / browser.MANIFEST).read_text())["models"]

    def open_model(name):
        data = site_graph("models", name).read_bytes()
        (tmp_path / browser.WEIGHTS).write_bytes(data[8 + int.from_bytes(data[:8], "little") :])
        graph = site_graph("shapes", entries[name]["shape"])
        return onnxruntime.InferenceSession(shutil.copy(graph, tmp_path))

    return open_model


def draw(n, q, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(*shape, dtype=dtype, generator=generator)
        for shape in ((1, n, 1), (1, n), (1, q, 1))
    ]


@pytest.mark.parametrize("name", CURVES)
def test_every_curves_graph_equals_torch(model_session, name):
    session = model_session(name)
    for n, q in product((0, 1, 2, 7, 40), (1, 97)):
        xs, ys, queries = draw(n, q, torch.float32, seed=n)
        given = {"xs": xs.numpy(), "ys": ys.numpy(), "queries": queries.numpy()}
        mean, *attention = session.run(None, given)
        expected = page.transformer_curve(name)(xs, ys, queries).detach().numpy()
        # Noise for values is far from anything trained on: there single precision itself is worth
        # some 1e-5 of outputs near 1.
        assert mean.shape == (1, q) and np.abs(mean - expected).max() < 1e-4
        assert len(attention) == (recipes.parts(name).size in page.ATTENDING)
        for weights_found in attention:
            _, weights_here = page.curve_and_attention(name)(xs, ys, queries)
            assert np.abs(weights_found - weights_here.detach().numpy()).max() < 1e-4
            assert np.abs(weights_found.sum(-1) - 1).max() < 1e-5


@pytest.mark.parametrize("n", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_the_posteriors_graph_equals_torch(site_graph, n, weight):
    xs, ys, queries = draw(n, 33, torch.float64, seed=n)
    at, doubt = torch.tensor([weight, 1e-6], dtype=torch.float64)
    values = {"xs": xs, "ys": ys, "queries": queries, "weight": at, "doubt": doubt}
    smooth = bayes.SmoothPosterior()(xs, ys, queries)
    values |= dict(zip(("smooth", "smooth_evidence"), smooth, strict=True))
    session = onnxruntime.InferenceSession(site_graph("bayes", "line+sine-0.5"))
    found = session.run(None, {name: value.numpy() for name, value in values.items()})
    for one, other in zip(
        found, page.bayes_curve("line+sine-0.5")(xs, ys, queries, at, doubt), strict=True
    ):
        assert np.abs(one - other.numpy()).max() < 1e-6


def test_an_unknown_posterior_is_refused():
    with pytest.raises(ValueError, match=r"line\+sine-0.5, got 'nosuch'"):
        page.bayes_curve("nosuch")


@pytest.mark.parametrize("name", LINEAR)
def test_every_linear_models_graph_equals_torch_at_every_prefix(model_session, name):
    session, config = model_session(name), weights.load(name).config
    n = config.max_examples
    for batch in (1, 5, 16):
        xs, ys, _ = sample_prompts(SparseLinear(config.dim, 3), batch, n, seed=batch)
        (mean,) = session.run(None, {"xs": xs.numpy(), "ys": ys.numpy()})
        with torch.no_grad():
            expected = page.transformer_prefixes(name)(xs, ys).numpy()
        assert mean.shape == (batch, n) and np.abs(mean - expected).max() < 1e-5


@pytest.mark.parametrize("weight", [0.0, 0.01, 0.5, 1.0])
@pytest.mark.parametrize(
    ("name", "nnz"),
    [("dense+sparse", 2), ("dense+sparse", 3), ("dense+sparse", 20), ("dense8+sparse8", 2)],
)
def test_the_linear_posteriors_graph_equals_the_library(site_graph, weight, name, nnz):
    dim = page.PREFIX_BAYES[name].dim
    xs, ys, _ = sample_prompts(SparseLinear(dim, nnz), 4, recipes.points_of(dim), seed=nnz)
    xs, ys = xs.double(), ys.double()
    session = onnxruntime.InferenceSession(site_graph("bayes", name))
    given = {"xs": xs.numpy(), "ys": ys.numpy(), "weight": np.array(weight)}
    dense, sparse, mixture, probability = (torch.tensor(v) for v in session.run(None, given))
    classes = DenseLinear(dim), SparseLinear(dim, 2)
    exact = bayes.posterior_predictive(Mixture(classes, (weight, 1 - weight)), xs, ys)
    assert (mixture - exact.mean).abs().max() < 1e-6
    assert (probability - exact.component_probability[..., 0]).abs().max() < 1e-6
    for one, function_class in zip((dense, sparse), classes, strict=True):
        expected = bayes.posterior_predictive(function_class, xs, ys).mean
        assert (one - expected).abs().max() < 1e-6


def test_a_model_is_on_the_site_once_in_the_file_that_the_library_loads(site_graph):
    for name in PAGE:
        shipped = (weights.FOLDER / f"{name}.safetensors").read_bytes()
        assert site_graph("models", name).read_bytes() == shipped
    entries = json.loads((LIVE / browser.MANIFEST).read_text())
    shown = {entry["shape"] for entry in entries["models"].values()}
    trained = {"mini-1-41-float32", "tiny-1-41-float32"}  # by the reader
    assert shown | trained == set(entries["shapes"])
    for group in ("shapes", "bayes", "bands", "linear", "pretraining"):
        for name in entries[group]:
            assert site_graph(group, name).stat().st_size < 400_000, name


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
@pytest.mark.parametrize("dim", [1, 3])
def test_any_weights_of_a_shape_fit_its_graph(tmp_path, dtype, dim):
    config = TransformerConfig(dim, 9, 1, 2, 8)
    with patch.object(torch.export, "export", wraps=torch.export.export) as traced:
        onnx.save(browser.export_shape(config, dtype), tmp_path / "graph.onnx")
    assert traced.call_count == 1
    torch.manual_seed(5)
    model = Transformer(config).eval()
    half = {name: value.to(dtype) for name, value in model.state_dict().items()}
    model.load_state_dict(half)
    data = dump_safetensors(half, metadata={"a longer header": "moves nothing" * 9})
    (tmp_path / browser.WEIGHTS).write_bytes(data[8 + int.from_bytes(data[:8], "little") :])
    session = onnxruntime.InferenceSession(tmp_path / "graph.onnx")
    prompts = sample_prompts(DenseLinear(dim), 1 if dim == 1 else 4, 9, seed=2)
    given, module = {"xs": prompts.xs, "ys": prompts.ys}, model
    if dim == 1:
        given |= {"xs": prompts.xs[:, :6], "ys": prompts.ys[:, :6], "queries": prompts.xs}
        module = page.TransformerCurve(model)
    (mean,) = session.run(None, {name: value.numpy() for name, value in given.items()})
    with torch.no_grad():
        assert np.abs(mean - module(*given.values()).numpy()).max() < 1e-5


def test_every_graph_is_listed_and_named_by_its_hash(site_graph):
    manifest = json.loads((LIVE / browser.MANIFEST).read_text())
    assert set(manifest["models"]) == set(PAGE)
    assert set(manifest) == {"shapes", "models", "bayes", "bands", "linear", "pretraining"}
    assert set(manifest["pretraining"]) == set(browser.PRETRAINING)
    assert set(manifest["bayes"]) == {page.SMOOTH, *page.BAYES, *page.PREFIX_BAYES}
    assert set(manifest["bands"]) == {*page.BAND_BAYES, page.MIXED}
    assert set(manifest["linear"]) == {*page.LINEAR, page.MIXED}
    for group, entries in manifest.items():
        for name, entry in entries.items():
            data = site_graph(group, name).read_bytes()
            assert len(data) == entry["bytes"]
            assert hashlib.sha256(data).hexdigest()[:12] in entry["file"]


def test_other_classes_have_no_graph_of_prefixes():
    with pytest.raises(ValueError, match="prefixes are exported for Mixture"):
        bayes.prefix_module(Mixture((SparseLinear(20, 2), DenseLinear(20)), (0.5, 0.5)))
    with pytest.raises(ValueError, match=r"dense\+sparse, .* at every prefix, got 'nosuch'"):
        page.bayes_prefixes("nosuch")


def test_every_model_of_bands_has_the_posterior_of_its_own_prior():
    for name in page.BAND_MODELS:
        prior = page.BAND_BAYES[page.prior_of(name)]
        assert prior == recipes.RECIPES[name].function_class
    assert set(page.BAND_MODELS) & set(weights.available()) <= set(page.page_models())


def test_every_model_of_the_page_has_the_best_linear_predictor_of_its_own_prior():
    for name in page.BAND_MODELS:
        assert page.LINEAR[page.prior_of(name)] == recipes.RECIPES[name].function_class


@pytest.mark.parametrize("n", [0, 1, 2, 7, 40])
@pytest.mark.parametrize("name", sorted(page.LINEAR))
def test_the_best_linear_predictors_graph_equals_the_library(site_graph, name, n):
    session = onnxruntime.InferenceSession(site_graph("linear", name))
    prompts = sample_prompts(recipes.RIGHT_BAND, 1, 64, seed=n)
    xs, ys = prompts.xs.double(), prompts.ys.double()
    given = {"xs": xs[:, :n].numpy(), "ys": ys[:, :n].numpy(), "queries": xs.numpy()}
    (found,) = session.run(None, given)
    expected = baselines.best_linear_curve(xs[:, :n], ys[:, :n], xs, page.LINEAR[name])
    largest = max(1.0, float(expected.abs().max()))
    assert found.dtype == "float64" and np.abs(found - expected.numpy()).max() < 1e-6 * largest


def test_a_class_of_ones_own_has_a_best_linear_predictor_for_the_page():
    own = Mixture((Placed("step"), DenseLinear(1)), (0.5, 0.5))
    xs, ys, _ = sample_prompts(own, 1, 20, seed=1)
    xs, ys = xs.double(), ys.double()
    found = page.linear_curve(own)(xs[:, :9], ys[:, :9], xs)
    expected = baselines.best_linear_curve(xs[:, :9], ys[:, :9], xs, own)
    assert (found - expected).abs().max() < 1e-6 * max(1.0, float(expected.abs().max()))
    with pytest.raises(
        ValueError, match=r"the best linear predictor of line\+sine-0.5, .* got 'nosuch'"
    ):
        page.linear_curve("nosuch")


def test_an_unknown_prior_of_bands_is_refused():
    with pytest.raises(ValueError, match=r"right with its bands, got 'nosuch'"):
        page.bayes_bands("nosuch")


@pytest.fixture
def pretraining_graphs(site_graph):
    """Runs a graph of pretraining by name; its numbers come by name too."""

    def run(part, **given):
        session = onnxruntime.InferenceSession(site_graph("pretraining", part))
        outputs = [output.name for output in session.get_outputs()]
        return dict(zip(outputs, session.run(None, given), strict=True))

    return run


@pytest.mark.parametrize("size", pretraining.ON_PAGE)
def test_the_graphs_of_pretraining_take_torch_s_steps(pretraining_graphs, size):
    seed, total, weights = 3, 500, [0.4, 0.3, 0.2, 0.1]
    config = pretraining.CONFIGS[size]
    run = pretraining.Pretraining(seed, total, config)
    given = {"seed": np.array(seed + 2**32), "weights": np.array(weights)}
    state = pretraining_graphs(f"initial-{size}", seed=given["seed"])
    for step in range(3):
        # The lengths of all phases: one graph serves every one.
        phase = pretraining.PHASES[step]
        drawn = pretraining_graphs("prompts", step=np.array(step), **given)
        mixture = Mixture(tuple(pretraining.CLASSES.values()), tuple(weights))
        wanted = sample_prompts(mixture, *drawn["ys"].shape, seed=int(given["seed"]), step=step)
        np.testing.assert_allclose(drawn["xs"], wanted.xs, atol=1e-5)
        np.testing.assert_allclose(drawn["ys"], wanted.ys, atol=1e-4)
        np.testing.assert_array_equal(drawn["class"], wanted.component)
        part = np.s_[: phase.prompts, : phase.points]
        xs, ys = drawn["xs"][part], drawn["ys"][part]
        moved = pretraining_graphs(
            f"step-{size}", xs=xs, ys=ys, step=np.array(step), total=np.array(total), **state
        )
        arguments = (torch.from_numpy(xs), torch.from_numpy(ys), torch.tensor(step))
        train = pretraining.TrainingStep(config)
        loss, run.params, *run._state = train(
            run.params, *run._state, *arguments, torch.tensor(total)
        )
        assert moved["loss"] == pytest.approx(loss.item(), abs=1e-5)
        state = {name: moved[f"next.{name}"] for name in state}
    for k, value in enumerate(run.params):
        np.testing.assert_allclose(state[f"params.{k}"], value, atol=1e-5)
    learnt = {name: value for name, value in state.items() if name.startswith("params")}
    seen = pretraining_graphs(f"look-{size}", weights=given["weights"], **learnt)
    look = pretraining.Look(config)
    for found, wanted in zip(
        seen.values(), look(run.params, torch.tensor(weights, dtype=torch.float64)), strict=True
    ):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_the_manifest_says_what_a_file_of_each_shape_holds():
    shapes = json.loads((LIVE / browser.MANIFEST).read_text())["shapes"]
    for name in PAGE:
        called, config, dtype = browser.shape_of(name)
        data = weights.locate(name).read_bytes()
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        entry = shapes[called]
        assert entry["model"] == asdict(config) and f"torch.{entry['dtype']}" == str(dtype)
        del header["__metadata__"]
        told = {name: (held["shape"], held["begin"]) for name, held in entry["parameters"].items()}
        assert told == {
            name: (held["shape"], held["data_offsets"][0]) for name, held in header.items()
        }
