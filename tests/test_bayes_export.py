"""The page's graphs of lines and sines: equal to the library's posterior, and in onnxruntime to torch."""

from dataclasses import dataclass
from itertools import product

import onnx
import onnxruntime
import pytest
import torch

from icl_lib import bayes, browser, page, pretraining, recipes
from icl_lib.latents import Interval, Support
from icl_lib.samplers import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    Mixture,
    ReluNetwork,
    Sinusoid,
    sample_prompts,
)

LINE, SINE = DenseLinear(1), Sinusoid(1.0, 5.0)
MIXTURE = Mixture((LINE, SINE), (0.5, 0.5))
OUTPUTS = ["mixture", "oracle", "probability"]


def inputs(n, *, data_weight=0.5, weight=0.5, seed=0, n_queries=128):
    drawn = sample_prompts(ConvexCombination(LINE, SINE, data_weight), 1, 41, seed=seed)
    return (
        drawn.xs[:, :n].double(),
        drawn.ys[:, :n].double(),
        torch.linspace(-3, 3, n_queries, dtype=torch.float64)[None, :, None],
        torch.tensor(weight, dtype=torch.float64),
    )


@pytest.fixture
def path(site_graph):
    return site_graph("bayes", "line+sine-0.5")


@pytest.fixture(scope="module")
def session(site_graph):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(site_graph("bayes", "line+sine-0.5"), options)


DOUBTS = [0.0, 1e-30, 1e-6, 0.5]


def doubted(given, doubt):
    """With a doubt, and with what the smooth functions say of the same prompt."""
    return *given, torch.tensor(doubt, dtype=torch.float64), *bayes.SmoothPosterior()(*given[:3])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7, 20, 40])
@pytest.mark.parametrize("data_weight", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("doubt", DOUBTS)
def test_onnxruntime_equals_torch(session, n, data_weight, doubt):
    given = doubted(inputs(n, data_weight=data_weight, weight=0.3, seed=n), doubt)
    found = session.run(
        None, {i.name: v.numpy() for i, v in zip(session.get_inputs(), given, strict=True)}
    )
    for name, a, b in zip(OUTPUTS, found, bayes.curve_module(MIXTURE)(*given), strict=True):
        assert a.dtype == "float64" and a.shape == tuple(b.shape)
        assert abs(a - b.numpy()).max() < 1e-9, name


@pytest.mark.parametrize("n", [0, 1, 3, 40])
def test_the_graph_of_smooth_functions_equals_torch(site_graph, n):
    prompt = inputs(n, seed=n)[:3]
    graph = onnxruntime.InferenceSession(site_graph("bayes", "smooth"))
    names = ["xs", "ys", "queries"]
    found = graph.run(None, {k: v.numpy() for k, v in zip(names, prompt, strict=True)})
    for a, b in zip(found, bayes.SmoothPosterior()(*prompt), strict=True):
        assert a.shape == tuple(b.shape)
        assert abs(a - b.numpy()).max() < 1e-6 * (1 + b.abs().max())


def test_evidence_too_small_for_an_exponential_is_told_apart(session):
    xs, _, queries, weight = inputs(20)
    ys = 0.5 * xs[..., 0] + 0.75 * (2.5 * xs[..., 0]).sin()  # nearer to a sine than to a line
    given = doubted((xs, ys, queries, weight), 0.0)
    found = session.run(
        None,
        dict(zip([i.name for i in session.get_inputs()], (v.numpy() for v in given), strict=True)),
    )
    assert found[2][0, 1] == 1.0
    for name, a, b in zip(OUTPUTS, found, bayes.curve_module(MIXTURE)(*given), strict=True):
        assert abs(a - b.numpy()).max() < 1e-9, name


@pytest.mark.parametrize("n_queries", [1, 2, 500])
def test_the_number_of_queries_is_free(session, n_queries):
    given = doubted(inputs(5, n_queries=n_queries), 1e-6)
    found = session.run(
        None, {i.name: v.numpy() for i, v in zip(session.get_inputs(), given, strict=True)}
    )
    assert found[0].shape == found[1].shape == (1, n_queries) and found[2].shape == (1, 3)


def test_the_graph_has_standard_operators_only(path):
    graph = onnx.load(path)
    assert {node.domain for node in graph.graph.node} == {""} and not graph.functions
    assert path.stat().st_size < 1_000_000


@pytest.mark.parametrize("data_weight", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 8, 40])
def test_the_module_equals_the_library(n, data_weight):
    xs, ys, queries, weight = inputs(n, data_weight=data_weight, weight=0.4, seed=50 + n)
    mixture, oracle, probability = bayes.curve_module(MIXTURE)(xs, ys, queries, weight)
    mean, expected_probability = bayes.posterior_curve(MIXTURE, xs, ys, queries)
    known, _ = bayes.posterior_curve(ConvexCombination(LINE, SINE, 0.4), xs, ys, queries)
    # The page's cells are coarser, which shows while few examples leave many frequencies open.
    assert (mixture - mean).abs().max() < 2e-3
    assert (oracle - known).abs().max() < 2e-3
    assert (probability - expected_probability).abs().max() < 1e-3


@pytest.mark.parametrize("doubt", DOUBTS)
@pytest.mark.parametrize("n", [0, 1, 2, 5, 12, 40])
def test_a_doubt_is_the_librarys(n, doubt):
    given = inputs(n, data_weight=0.5, seed=60 + n)
    prior = bayes.with_doubt(MIXTURE, doubt)
    module = bayes.CurvePosterior(resolution=bayes.FINE)
    mean, _, probability = module(*doubted(given, doubt))
    expected, expected_probability = bayes.posterior_curve(prior, *given[:3])
    assert (mean - expected).abs().max() < 1e-7
    assert (probability - expected_probability).abs().max() < 1e-7


@pytest.mark.parametrize("n", [2, 3, 6, 40])
def test_at_equal_resolution_only_the_taylor_series_is_left(n):
    xs, ys, queries, weight = inputs(n, weight=0.4, seed=n)
    module = bayes.CurvePosterior(resolution=bayes.FINE)
    mixture, oracle, probability = module(xs, ys, queries, weight)
    mean, expected_probability = bayes.posterior_curve(MIXTURE, xs, ys, queries)
    known, _ = bayes.posterior_curve(ConvexCombination(LINE, SINE, 0.4), xs, ys, queries)
    assert (mixture - mean).abs().max() < 1e-8
    assert (oracle - known).abs().max() < 1e-8
    assert (probability - expected_probability).abs().max() < 1e-9


@pytest.mark.parametrize(
    ("weight", "function_class"), [(1.0, LINE), (0.0, SINE)], ids=["line", "sine"]
)
def test_the_oracle_of_an_end_is_that_class(weight, function_class):
    xs, ys, queries, at = inputs(6, data_weight=weight, weight=weight)
    _, oracle, _ = bayes.curve_module(MIXTURE)(xs, ys, queries, at)
    expected, _ = bayes.posterior_curve(function_class, xs, ys, queries)
    assert (oracle - expected).abs().max() < 1e-4


def test_an_uneven_mixture():
    mixture = Mixture((LINE, Sinusoid(2.0, 3.0)), (0.9, 0.1))
    xs, ys, queries, at = inputs(2, data_weight=0.8)
    mean, _, probability = bayes.curve_module(mixture)(xs, ys, queries, at)
    expected, expected_probability = bayes.posterior_curve(mixture, xs, ys, queries)
    assert (mean - expected).abs().max() < 1e-3 and (
        probability - expected_probability
    ).abs().max() < 1e-3


@pytest.mark.parametrize(
    "function_class",
    [LINE, Mixture((SINE, LINE), (0.5, 0.5)), Mixture((DenseLinear(2),), (1.0,))],
    ids=repr,
)
def test_other_classes_have_no_graph(function_class):
    with pytest.raises(ValueError, match=r"curves are exported for Mixture\(\(DenseLinear\(1\)"):
        bayes.curve_module(function_class)


def test_a_mixture_of_one_has_no_graph():
    with pytest.raises(ValueError, match=r"strictly between 0 and 1, got 1\.0"):
        bayes.curve_module(Mixture((LINE, SINE), (1.0, 0.0)))


# --- any number of bands --------------------------------------------------------------------------

BANDS = {
    "narrow": MIXTURE,
    "gapped": Mixture((LINE, recipes.GAPPED), (0.5, 0.5)),
    "rare": recipes.with_rare(recipes.FAST, 0.01, SINE),
    "right": recipes.RIGHT_BAND,
    "sine": SINE,
}


def a_sine(n, frequency, *, seed=0, n_queries=65, amplitude=1.2, scale=1.0):
    """Examples of one sine, and queries."""
    generator = torch.Generator().manual_seed(seed)
    xs = scale * torch.randn(1, n, 1, dtype=torch.float64, generator=generator)
    queries = torch.linspace(-3, 3, n_queries, dtype=torch.float64)[None, :, None]
    return xs, amplitude * (frequency * xs[..., 0] + 0.7).sin(), queries


def flattened(function_class):
    """A nested mixture as one of basic classes, each a component."""
    components = bayes.band_module(function_class).components
    weights, classes = zip(*components, strict=True)
    return Mixture(classes, weights)


@pytest.mark.parametrize("n", [0, 1, 2, 4, 5, 8, 40])
@pytest.mark.parametrize("frequency", [1.5, 4.5, 7.0])
@pytest.mark.parametrize("name", BANDS)
def test_the_module_of_bands_equals_the_library(name, n, frequency):
    given = a_sine(n, frequency, seed=n)
    mean, probability = bayes.band_module(BANDS[name])(*given)
    expected, expected_probability = bayes.posterior_curve(flattened(BANDS[name]), *given)
    assert (mean - expected).abs().max() < 2e-3
    assert (probability - expected_probability).abs().max() < 1e-3


@pytest.mark.parametrize("n", [2, 3, 6, 40])
@pytest.mark.parametrize("name", ["gapped", "rare"])
def test_bands_at_equal_resolution_differ_by_the_taylor_series_alone(name, n):
    given = a_sine(n, 4.2, seed=n)
    components = bayes.band_module(BANDS[name]).components
    mean, probability = bayes.BandPosterior(components, resolution=bayes.FINE)(*given)
    expected, expected_probability = bayes.posterior_curve(flattened(BANDS[name]), *given)
    assert (mean - expected).abs().max() < 1e-8
    assert (probability - expected_probability).abs().max() < 1e-9


def test_without_examples_bands_have_their_prior_and_a_mean_of_zero():
    mean, probability = bayes.band_module(BANDS["rare"])(*a_sine(0, 2.0))
    assert mean.abs().max() == 0
    assert probability[0].tolist() == pytest.approx([0.01, 0.495, 0.495])


@pytest.mark.parametrize(
    ("amplitude", "scale", "frequency"), [(10.0, 1.0, 18.0), (1.5, 3.0, 12.0), (10.0, 3.0, 0.1)]
)
def test_far_from_its_prior_the_right_band_still_finds_the_sine(amplitude, scale, frequency):
    xs, ys, queries = a_sine(20, frequency, amplitude=amplitude, scale=scale)
    mean, _ = bayes.band_module(recipes.RIGHT_BAND)(xs, ys, queries)
    truth = amplitude * (frequency * queries[..., 0] + 0.7).sin()
    assert (mean - truth).abs().max() < 1e-3 * amplitude


@pytest.fixture(scope="module", params=sorted(page.BAND_BAYES))
def bands(request, site_graph):
    """A module of bands, and its graph."""
    path = site_graph("bands", request.param)
    assert path.stat().st_size < 200_000
    assert {node.domain for node in onnx.load(path).graph.node} == {""}
    return page.bayes_bands(request.param), onnxruntime.InferenceSession(path)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 7, 40])
@pytest.mark.parametrize(("frequency", "doubt"), [(0.3, 0.0), (3.0, 0.5), (17.0, 1e-6)])
def test_onnxruntime_equals_torch_on_bands(bands, n, frequency, doubt):
    module, session = bands
    given = doubted(a_sine(n, frequency, seed=n, amplitude=3.0), doubt)
    names = ["xs", "ys", "queries", "doubt", "smooth", "smooth_evidence"]
    found = session.run(None, {k: v.numpy() for k, v in zip(names, given, strict=True)})
    for name, a, b in zip(["mean", "probability"], found, module(*given), strict=True):
        assert a.dtype == "float64" and a.shape == tuple(b.shape)
        assert abs(a - b.numpy()).max() < 1e-7, name


@dataclass(frozen=True)
class Parabola(FunctionClass):
    dim = 1
    second_moment = 1.0

    def features(self, xs, latent):
        return [xs[..., 0] ** 2 / 3**0.5]


@dataclass(frozen=True)
class Bump(FunctionClass):
    dim = 1
    second_moment = 1.0

    @property
    def latent(self):
        return Interval(-2.0, 2.0)

    def features(self, xs, latent):
        return [(-((xs[..., 0] - latent[..., 0]) ** 2)).exp()]


OWN = Mixture((LINE, SINE, Parabola(), Bump()), (0.3, 0.3, 0.2, 0.2))


@pytest.mark.parametrize("n", [0, 1, 3, 8, 40])
@pytest.mark.parametrize("data", [Parabola(), Bump(), SINE], ids=repr)
def test_a_class_of_ones_own_has_a_module_of_bands(n, data):
    drawn = sample_prompts(data, 1, max(n, 1), seed=n)
    given = drawn.xs[:, :n].double(), drawn.ys[:, :n].double(), inputs(0)[2]
    mean, probability = bayes.band_module(OWN)(*given)
    expected, expected_probability = bayes.posterior_curve(OWN, *given)
    assert (mean - expected).abs().max() < 2e-3
    assert (probability - expected_probability).abs().max() < 1e-3


def test_a_class_of_ones_own_has_a_graph(tmp_path):
    components = bayes.band_module(OWN).components
    coarse = bayes.Resolution(cells=8, keep=8, split=2, levels=1)  # traced in a third of the time
    module = bayes.BandPosterior(components, resolution=coarse).eval()
    drawn = sample_prompts(Bump(), 1, 5, seed=1)
    given = drawn.xs.double(), drawn.ys.double(), inputs(0)[2]
    names = ["xs", "ys", "queries"]
    graph = browser._trace(module, given, names, ["mean", "probability"])
    onnx.save(graph, tmp_path / "own.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "own.onnx")
    found = session.run(None, {k: v.numpy() for k, v in zip(names, given, strict=True)})
    for a, b in zip(found, module(*given), strict=True):
        assert abs(a - b.numpy()).max() < 1e-9


def test_a_readers_own_mixture_has_exact_bayes_and_the_best_linear_predictor(site_graph):
    posterior, linear = (
        onnxruntime.InferenceSession(site_graph(group, page.MIXED)) for group in ("bands", "linear")
    )
    names = ["xs", "ys", "queries", "doubt", "smooth", "smooth_evidence", "prior"]
    classes = tuple(pretraining.CLASSES.values())
    mixtures = ((0.5, 0.5, 0, 0), (0.1, 0.2, 0.3, 0.4), (0, 0, 0, 1))
    for data, weights, n in product(("sine", "step"), mixtures, (0, 3, 20)):
        drawn = sample_prompts(pretraining.CLASSES[data], 1, max(n, 1), seed=n)
        prompt = drawn.xs[:, :n].double(), drawn.ys[:, :n].double(), inputs(0)[2]
        given = (*doubted(prompt, 0.0), torch.tensor(weights, dtype=torch.float64))
        feeds = {k: v.numpy() for k, v in zip(names, given, strict=True)}
        mean, probability = posterior.run(None, feeds)
        kept = [k for k, weight in enumerate(weights) if weight]
        mixture = Mixture(tuple(classes[k] for k in kept), tuple(weights[k] for k in kept))
        exact, believed = bayes.posterior_curve(mixture, *prompt)
        assert abs(mean - exact.numpy()).max() < 2e-3
        assert abs(probability[:, kept] - believed.numpy()).max() < 1e-3
        (found,) = linear.run(None, {k: feeds[k] for k in ("xs", "ys", "queries", "prior")})
        best = page.linear_curve(mixture)(*prompt)
        assert abs(found - best.numpy()).max() < 1e-6 * max(1.0, float(best.abs().max()))


@dataclass(frozen=True)
class Chosen(FunctionClass):
    dim = 1
    second_moment = 1.0

    @property
    def latent(self):
        return Support(2, 1)

    def features(self, xs, latent):
        return [xs[..., 0]]


@pytest.mark.parametrize(
    "function_class",
    [
        Chosen(),
        Mixture((LINE, ReluNetwork(1)), (0.5, 0.5)),
        Mixture((DenseLinear(2),), (1.0,)),
        ConvexCombination(LINE, SINE, 0.5),
    ],
    ids=repr,
)
def test_other_classes_have_no_graph_of_bands(function_class):
    with pytest.raises(
        ValueError, match="bands are exported for mixtures of functions of one number"
    ):
        bayes.band_module(function_class)
