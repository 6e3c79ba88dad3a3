"""The Python side of the widgets: what the kernel answers, what still figures show, what front ends are made of."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ipywidgets.widgets.widget import _instances

from icl_lib import (
    DenseLinear,
    Mixture,
    Sinusoid,
    SparseLinear,
    Transformer,
    TransformerConfig,
    bayes,
    page,
    sample_prompts,
    weights,
)
from icl_lib.pretraining import CLASSES as MIXABLE
from icl_lib.pretraining import CONFIGS, ON_PAGE, Pretraining, shown_prompts
from icl_lib.recipes import SHARES
from icl_lib.training import Setting, fit
from icl_lib.widgets import (
    AttentionExplorer,
    ConvexExplorer,
    FrequencyExplorer,
    MixtureDraws,
    PretrainExplorer,
    SelectionExplorer,
    attention,
    combinations,
    frequency,
    selection,
    source,
)
from icl_lib.widgets.combinations import QUERIES, curves, draw_inputs, reading
from icl_lib.widgets.mixture import CLASSES, draw_set
from icl_lib.widgets.selection import ANSWERS, draw_batch, summary

FOLDER = Path(source.__file__).parent
MODEL, BAYES = "line+sine-0.5-tiny", "line+sine-0.5"


@pytest.fixture(autouse=True)
def few_frames(monkeypatch):
    """What is shown until an engine answers, cut short: it takes the most time of what a still computes."""
    monkeypatch.setattr(combinations, "FRAMES", (0.35, 1.0))
    monkeypatch.setattr(frequency, "FRAMES", (4.5, 20.0))
    monkeypatch.setattr(selection, "FRAMES", (3,))


@pytest.fixture(autouse=True)
def untrained(monkeypatch):
    """A model of random weights, so that no test here waits for a trained one."""
    torch.manual_seed(0)
    model = page.TransformerCurve(Transformer(TransformerConfig.tiny(1, 41))).eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)

    def curve(name):
        if name != MODEL:
            raise ValueError(f"no model {name!r}")
        return model

    monkeypatch.setattr(page, "transformer_curve", curve)


def replies(widget, content, buffers=()):
    """What the widget sends when its front end sends `content`."""
    sent = []
    widget.send = lambda content, buffers=None: sent.append((content, buffers or []))
    widget._handle_custom_msg(content, [memoryview(buffer) for buffer in buffers])
    return sent


def prompt(n, seed=0):
    generator = np.random.default_rng(seed)
    return generator.normal(size=n), generator.normal(size=n)


def test_kernel_answers_a_ping_with_its_models():
    assert replies(ConvexExplorer(), {"kind": "ping"}) == [
        ({"kind": "pong", "models": ConvexExplorer().models}, [])
    ]


@pytest.mark.parametrize("n", [0, 1, 7, 40])
def test_kernel_answers_with_the_numbers_of_the_exported_modules(n):
    xs, ys = prompt(n, seed=n)
    content = {"kind": "curve", "id": "view-1", "model": MODEL, "bayes": BAYES, "weight": 0.3}
    content |= {"doubt": 1e-6}
    [(reply, buffers)] = replies(
        ConvexExplorer(), content, [a.astype("<f8").tobytes() for a in (xs, ys, QUERIES)]
    )
    assert (reply["kind"], reply["id"]) == ("curve", "view-1")
    transformer, mixture, linear, oracle, probability = (np.frombuffer(b, "<f8") for b in buffers)

    x, y, q = (torch.tensor(a)[None] for a in (xs, ys, QUERIES))
    with torch.no_grad():
        mean = page.transformer_curve(MODEL)(x[..., None].float(), y.float(), q[..., None].float())
        exact = page.bayes_curve(BAYES)(
            x[..., None], y, q[..., None], *torch.tensor([0.3, 1e-6], dtype=torch.float64)
        )
    assert np.array_equal(transformer, mean[0].double().numpy())
    known = page.linear_curve(BAYES)(x[..., None], y, q[..., None])
    assert np.array_equal(linear, known[0].numpy())
    for ours, theirs in zip((mixture, oracle, probability), exact, strict=True):
        assert np.array_equal(ours, theirs[0].numpy())
    assert probability.sum() == pytest.approx(1)


def test_a_request_that_cannot_be_answered_is_refused_in_words():
    content = {"kind": "curve", "id": "a", "model": "no-such-model", "bayes": BAYES, "weight": 0.5}
    content |= {"doubt": 0.0}
    [(reply, buffers)] = replies(
        ConvexExplorer(), content, [np.zeros(0).tobytes()] * 2 + [QUERIES.tobytes()]
    )
    assert (reply["kind"], reply["id"], buffers) == ("failed", "a", [])
    assert "no-such-model" in reply["message"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight", 1.1),
        ("weight", float("nan")),
        ("slope", -4.0),
        ("frequency", 0.0),
        ("n_examples", 41),
        ("seed", -1),
    ],
)
def test_a_first_view_out_of_reach_is_refused(name, value):
    with pytest.raises(ValueError, match=rf"{name} must be in \[.*, got {value}"):
        ConvexExplorer(**{name: value})


@pytest.mark.parametrize("kind", [ConvexExplorer, FrequencyExplorer])
def test_a_doubt_is_one_that_the_slider_reaches(kind):
    assert kind(doubt=1e-30).doubt == 1e-30
    with pytest.raises(ValueError, match=r"doubt must be 0, a power of ten .*, got 0\.6"):
        kind(doubt=0.6)


EXPLORERS = (AttentionExplorer, ConvexExplorer, FrequencyExplorer, SelectionExplorer)


@pytest.mark.parametrize("kind", EXPLORERS)
def test_an_unknown_model_is_refused_with_what_is_accepted(kind):
    with pytest.raises(
        ValueError, match=r"no model 'line-tin'; did you mean line-tiny.*Accepted are a shipped"
    ):
        kind(model="line-tin")


@pytest.mark.parametrize("kind", [*EXPLORERS, MixtureDraws])
def test_an_argument_that_there_is_not_is_refused_with_the_nearest(kind):
    with pytest.raises(TypeError, match=r"'sed'(; did you mean seed|$)"):
        kind(sed=3)


def test_what_is_offered_is_known():
    with pytest.raises(ValueError, match="no model 'gpt'"):
        ConvexExplorer(models=["line+sine-0.5-tiny", "gpt"])
    with pytest.raises(ValueError, match=r"bayes must be one of line\+sine-0.5, got 'x'"):
        ConvexExplorer(bayes="x")
    with pytest.raises(ValueError, match=r"sizes must be among tiny, .*, got huge"):
        SelectionExplorer(sizes=("tiny", "huge"))


def test_a_refused_explorer_does_not_stop_the_page_that_ipywidgets_writes_of_all_widgets():
    with pytest.raises(ValueError, match="bayes must be"):
        ConvexExplorer(bayes="refused")
    (refused,) = [w for w in _instances.values() if getattr(w, "bayes", None) == "refused"]
    refused.bayes = BAYES
    assert refused._get_embed_state()["state"]["first"]


@pytest.fixture
def own(monkeypatch, tmp_path):
    """Makes a model of one's own: the folder of its run, and the model."""
    monkeypatch.undo()

    def make(function_class, points=41):
        setting = Setting(
            function_class,
            TransformerConfig(function_class.dim, points, 1, 2, 16),
            steps=1,
            batch_size=2,
        )
        run = fit(setting, tmp_path / "run", progress=False)
        weights.save(run, "mine", tmp_path / "run")
        return tmp_path / "run", run.model.eval()

    return make


class TestAModelOfOnesOwn:
    xs, ys = prompt(5)

    def test_is_shown_by_path_and_by_itself_between_the_classes(self, own):
        folder, model = own(DenseLinear(1))
        for way, name in (
            (folder, "yours: mine"),
            (str(folder / "mine.safetensors"), "yours: mine"),
            (model, "yours: untitled"),
        ):
            widget = ConvexExplorer(model=way)
            assert widget.model == name and widget.models[-1] == name
            content = {"kind": "curve", "id": "a", "model": name, "bayes": BAYES, "weight": 0.5}
            content |= {"doubt": 0.0}
            arrays = [a.astype("<f8").tobytes() for a in (self.xs, self.ys, QUERIES)]
            [(reply, buffers)] = replies(widget, content, arrays)
            assert reply["kind"] == "curve", reply
            x, y, q = (torch.tensor(a)[None] for a in (self.xs, self.ys, QUERIES))
            expected = model.predict_curve(x[..., None].float(), y.float(), q[..., None].float())
            assert np.allclose(np.frombuffer(buffers[0], "<f8"), expected[0].detach().numpy())
            assert name in widget.still().data

    def test_stands_beside_bayes_with_its_own_prior_out_of_the_band(self, own):
        prior = Mixture((DenseLinear(1), Sinusoid(2.0, 3.0)), (0.4, 0.6))
        folder, model = own(prior)
        widget = FrequencyExplorer(model=folder)
        about = widget.about[-1]
        assert (about["name"], about["covered"]) == ("yours: mine", "2 to 3")
        content = {
            "kind": "band",
            "id": "a",
            "model": about["name"],
            "bayes": about["prior"],
            "right": page.RIGHT,
            "doubt": 0.0,
        }
        arrays = [a.astype("<f8").tobytes() for a in (self.xs, self.ys, QUERIES)]
        [(reply, buffers)] = replies(widget, content, arrays)
        assert reply["kind"] == "band", reply
        x, y, q = (torch.tensor(a)[None, ..., None] for a in (self.xs, self.ys, QUERIES))
        exact, _ = bayes.posterior_curve(prior, x, y[..., 0], q)
        assert np.allclose(np.frombuffer(buffers[1], "<f8"), exact[0].numpy(), atol=1e-4)
        assert "2 to 3" in widget.still().data
        with pytest.raises(ValueError, match="without a card does not say which bands"):
            FrequencyExplorer(model=model)

    @pytest.mark.parametrize(
        ("function_class", "share"),
        [
            (Mixture((DenseLinear(20), SparseLinear(20, 2)), (0.3, 0.7)), 0.3),
            (DenseLinear(20), 1.0),
            (SparseLinear(20, 2), 0.0),
            (Mixture((DenseLinear(8), SparseLinear(8, 2)), (0.5, 0.5)), 0.5),
        ],
    )
    def test_is_shown_by_itself_among_the_sizes(self, own, function_class, share):
        folder, model = own(function_class)
        widget = SelectionExplorer(model=folder)
        assert (widget.size, widget.share) == ("yours", share)
        assert widget.models["yours"] == [[share, "yours: mine"]]
        assert (widget.dims["yours"], widget.n_examples) == (function_class.dim, function_class.dim)
        xs, ys = draw_batch(0, 2, 2, function_class.dim)
        content = {
            "kind": "prefixes",
            "id": "a",
            "model": "yours: mine",
            "bayes": widget.bayes["yours"],
            "weight": share,
            "prompts": 2,
        }
        [(reply, buffers)] = replies(widget, content, [xs.tobytes(), ys.tobytes()])
        assert reply["kind"] == "prefixes", reply
        expected = model(torch.tensor(xs).float(), torch.tensor(ys).float())
        found = np.frombuffer(buffers[0], "<f8").reshape(ys.shape)
        assert np.allclose(found, expected.detach().numpy(), atol=1e-5)
        assert "your model pretrained" in widget.still().data

    def test_a_shipped_one_that_the_page_does_not_show_is_taken_too(self):
        about = FrequencyExplorer(model="line-tiny").about[-1]
        assert (about["label"], about["bands"]) == ("line-tiny: no sines", [])

    def test_without_a_card_is_taken_for_what_it_is_said_to_be(self):
        model = Transformer(TransformerConfig(20, 41, 1, 2, 16))
        assert SelectionExplorer(model=model, share=0.2).models["yours"][0][0] == 0.2

    def test_of_other_inputs_or_functions_is_refused(self, own):
        for kind in (ConvexExplorer, FrequencyExplorer):
            with pytest.raises(
                ValueError, match=r"1-dimensional inputs .* got 'dense-tiny' with 20"
            ):
                kind(model="dense-tiny")
        with pytest.raises(
            ValueError, match=r"20-dimensional inputs and 41 points .* with 1 and 41"
        ):
            SelectionExplorer(model="line-tiny")
        with pytest.raises(ValueError, match="mixture, 'relu-tiny' was pretrained on ReluNetwork"):
            SelectionExplorer(model="relu-tiny")
        _, short = own(DenseLinear(1), points=9)
        with pytest.raises(
            ValueError, match="41 points or more, got 'yours: untitled' with 1 and 9"
        ):
            ConvexExplorer(model=short)


def test_more_inputs_append_to_fewer_and_are_normal():
    assert draw_inputs(5, 40)[:7] == draw_inputs(5, 7)
    assert draw_inputs(5, 7) != draw_inputs(6, 7)
    xs = np.array(draw_inputs(1, 20_000))
    # N(0, 1) cut at three standard deviations has a variance of 0.9733; four standard errors either way.
    assert abs(xs.mean()) < 4 / np.sqrt(len(xs))
    assert xs.var() == pytest.approx(0.9733, abs=4 * np.sqrt(2 / len(xs)))


def test_the_still_figure_shows_the_first_view_without_any_script():
    explorer = ConvexExplorer(weight=0.5, n_examples=12, model=MODEL)
    html = explorer.still().data
    assert html.startswith('<figure class="icl-still')
    assert "<script" not in html
    assert html.count("<circle") == 12
    for name in ("truth", "transformer", "mixture", "linear", "oracle"):
        assert f'class="icl-line icl-{name}" d="M0.0 ' in html

    xs = np.array(draw_inputs(explorer.seed, 12))
    lines = curves(MODEL, BAYES, 0.5, xs, explorer.truth(xs), QUERIES)
    drawn = re.search(r'icl-line icl-transformer" d="M([^"]+)"', html)
    heights = np.array([float(pair.split()[1]) for pair in drawn[1].split("L")])
    assert np.allclose(
        (1 - heights / 200) * 3, np.clip(lines["transformer"], -60, 60), atol=1e-3
    )  # top is 3
    density = np.exp(-(QUERIES**2) / 2) / np.exp(-(QUERIES**2) / 2).sum()
    error = density @ (lines["transformer"] - explorer.truth(QUERIES)) ** 2
    assert explorer.first["errors"]["transformer"] == pytest.approx(error)


@pytest.mark.parametrize(
    ("explorer", "dial", "value"),
    [
        (ConvexExplorer(n_examples=5, slope=-1.0), "weight", 0.35),
        (frequency.FrequencyExplorer(n_examples=5, scale=2.0), "frequency", 4.5),
    ],
)
def test_what_is_shown_until_an_engine_answers_are_other_first_views(explorer, dial, value):
    explorer.still()
    frames = explorer.frames
    k = frames["at"].index(value)
    setattr(explorer, dial, value)
    explorer.still()
    for name, line in explorer.first["lines"].items():
        assert np.abs(np.array(frames["lines"][name][k]) / 100 - line).max() <= 0.00501
        assert frames["errors"][name][k] == pytest.approx(explorer.first["errors"][name], rel=0.006)
    assert frames["probability"][k] == pytest.approx(explorer.first["probability"], abs=1e-4)


def test_a_line_can_be_left_out_of_the_first_view_and_only_a_line():
    html = ConvexExplorer(model=MODEL, hidden=["oracle"]).still().data
    assert 'class="icl-line icl-oracle" d="M0.0 ' not in html  # its row in the legend stays
    assert 'class="icl-line icl-linear" d="M0.0 ' in html
    assert ">Oracle<" in html
    with pytest.raises(ValueError, match=r"hidden must be of truth, .*, oracle, got lasso"):
        ConvexExplorer(model=MODEL, hidden=["lasso"])


@pytest.mark.parametrize(
    ("weight", "probability", "bayes", "words"),
    [
        (
            0.5,
            [0.001, 0.999],
            0.1612,
            "At a = 0.50 exact Bayes is certain of a sine and errs by 0.16",
        ),
        (
            1.0,
            [0.95, 0.05],
            1e-9,
            "On the line exact Bayes is nearly certain of a line and errs by less",
        ),
        (0.0, [0.5, 0.5], 2.0, "On the sine exact Bayes is undecided and errs by 2,"),
        (0.25, [0.0, 0.0, 1.0], 0.02, "At a = 0.25 exact Bayes is certain of something else"),
    ],
)
def test_a_sentence_says_what_one_sees(weight, probability, bayes, words):
    said = reading(weight, probability, {"mixture": bayes, "transformer": 0.18})
    assert said.startswith(words)
    assert said.endswith(", the transformer by 0.18.")


@pytest.mark.parametrize(
    "widget",
    [
        AttentionExplorer,
        ConvexExplorer,
        FrequencyExplorer,
        MixtureDraws,
        PretrainExplorer,
        SelectionExplorer,
    ],
)
def test_a_front_end_is_one_module_that_needs_nothing_from_elsewhere(widget):
    assert widget._esm.count("export default") == 1
    code = re.sub(r"/\*.*?\*/|^\s*//.*$", "", widget._esm, flags=re.DOTALL | re.MULTILINE)
    assert "http://www.w3.org/2000/svg" in code
    assert (
        re.findall(r"\bimport\b|\beval\b|\bnew Function\b|https?://(?!www\.w3\.org/2000/svg)", code)
        == []
    )
    assert not re.search(r"@import|url\(", widget._css)


class TestAttention:
    xs = np.array([-1.0, 0.0, 2.0])

    @pytest.mark.parametrize(
        ("weights", "query", "words"),
        [
            (
                [0.1, 0.5, 0.1, 0.1, 0.1, 0.0, 0.1],
                -0.8,
                "0.60 of its attention is on the example at x = −1.00, the nearest",
            ),
            (
                [0.1, 0.5, 0.1, 0.1, 0.1, 0.0, 0.1],
                0.1,
                "x = −1.00, and 1 other is nearer to the query.",
            ),
            (
                [0.1, 0.5, 0.1, 0.1, 0.1, 0.0, 0.1],
                1.5,
                "x = −1.00, and 2 others are nearer to the query.",
            ),
            (
                [0.1, 0.1, 0.1, 0.1, 0.1, 0.1, 0.4],
                0.0,
                "0.40 of its attention is on the query itself, more than",
            ),
        ],
    )
    def test_a_sentence_says_what_one_sees(self, weights, query, words):
        said = attention.reading(1, 2, np.array([[[0.0] * 7, weights]]), self.xs, query)
        assert said.startswith("Block 1, head 2: ") and words in said

    def test_without_examples_there_is_the_query_alone(self):
        said = attention.reading(1, 1, np.ones((1, 1, 1)), np.empty(0), 0.0)
        assert said == "Block 1, head 1: without an example, the query can attend to itself alone."

    def test_the_shares_are_sums(self):
        found = attention.shares(np.arange(9.0), np.array([1.0, -2.0, 0.5, 3.0]), 0.6)
        assert found == {"inputs": 12, "values": 16, "itself": 8, "nearest": 0 + 1 + 4 + 5 + 6 + 7}

    @pytest.mark.parametrize("n", [0, 7])
    def test_the_kernel_answers_with_how_the_first_query_attends(self, n):
        xs, ys = prompt(n, seed=n)
        queries = np.array([0.3, *QUERIES])
        arrays = [a.astype("<f8").tobytes() for a in (xs, ys, queries)]
        content = {"kind": "attention", "id": "a", "model": MODEL}
        [(reply, buffers)] = replies(AttentionExplorer(), content, arrays)
        assert reply["kind"] == "attention", reply
        mean, found, shape = (np.frombuffer(b, "<f8") for b in buffers)
        x, y, q = (torch.tensor(a, dtype=torch.float32)[None] for a in (xs, ys, queries))
        model = weights.load(MODEL)
        assert shape.tolist() == [3, 2]
        expected = model.attention(x[..., None], y, q[:, :1, None])[0, :, :, 0]
        assert np.allclose(found.reshape(3, 2, 2 * n + 1), expected, atol=1e-6)
        assert np.allclose(mean, model.predict_curve(x[..., None], y, q[..., None])[0], atol=1e-6)

    def test_the_still_has_every_head_and_gives_the_widget_its_numbers(self):
        explorer = AttentionExplorer(n_examples=5, query=1.0)
        html = explorer.still().data
        assert html.count('class="icl-head-plot"') == 6 and html.count(" is-chosen") == 1
        assert html.count('class="icl-stem"') == 6 * 2 * 5
        assert html.count(" on x</text>") == html.count(">on y</text>") == 6
        assert "<script" not in html
        found = np.array(explorer.first["attention"]).reshape(3, 2, 11)
        assert np.allclose(found.sum(-1), 1, atol=1e-5)
        assert attention.reading(2, 1, found, np.array(draw_inputs(2, 5)), 1.0) in html

    def test_a_head_that_there_is_not_is_refused(self):
        with pytest.raises(ValueError, match=r"head must be in \[1, 2\] for line.*tiny, got 3"):
            AttentionExplorer(head=3)
        with pytest.raises(ValueError, match=r"layer must be in \[1, 3\] for line.*tiny, got 4"):
            AttentionExplorer(layer=4)

    def test_what_the_chapter_says_of_the_heads(self):
        """Inside, "Where do the heads look?": of 20 examples, on lines and on sines."""
        for function_class in (DenseLinear(1), Sinusoid()):
            xs, ys, _ = sample_prompts(function_class, 256, 21, seed=3)
            near = (xs[:, :20, 0] - xs[:, 20:, 0]).abs().argsort(dim=1)[:, None, None, :3]

            def looked(name, xs=xs, ys=ys, near=near):
                found = weights.load(name).attention(xs[:, :20], ys[:, :20], xs[:, 20:])[:, :, :, 0]
                each = found[..., :-1:2] + found[..., 1::2]
                return found[..., 1::2].sum(-1).mean(0), each.take_along_dim(near, 3).sum(-1).mean(
                    0
                )

            values, nearest = looked("line+sine-0.5-tiny")
            assert nearest[1, 0] > 0.75 and values[1, 0] > 0.99
            assert nearest.flatten().sort().values[-2] < 0.5
            _, nearest = looked("line+sine-0.5-small")
            assert min(nearest[3, 1], nearest[4, 1]) > 0.6


class TestMixtureDraws:
    @settings(max_examples=20, deadline=None)
    @given(st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda w: sum(w) > 0.01))
    def test_comparing_the_stored_numbers_gives_what_sample_prompts_draws(self, weights):
        shares = np.array(weights) / sum(weights)
        stored = draw_set(7, 24, 8)
        drawn = sample_prompts(
            Mixture(tuple(CLASSES.values()), tuple(shares.tolist())), 24, 8, seed=7
        )
        component = [
            int(np.searchsorted(np.cumsum(shares)[:-1], u, side="right")) for u in stored["u"]
        ]
        assert component == drawn.component.tolist()
        assert np.allclose(stored["xs"], drawn.xs[..., 0], atol=6e-4)
        ys = [stored["ys"][k][i] for i, k in enumerate(component)]
        assert np.allclose(ys, drawn.ys, atol=6e-4)

    def test_the_curves_pass_through_the_points(self):
        stored = draw_set(3, 24, 8)
        grid = np.linspace(-3, 3, 61)
        for k in range(3):
            for xs, ys, curve in zip(
                stored["xs"], stored["ys"][k], stored["curves"][k], strict=True
            ):
                inside = np.abs(xs) < 3
                between = np.interp(np.array(xs)[inside], grid, curve)
                assert np.allclose(
                    between, np.array(ys)[inside], atol=0.1
                )  # a sine of frequency 5 bends between

    def test_a_kernel_draws_the_set_that_is_asked_for(self):
        [(reply, _)] = replies(
            MixtureDraws(n_prompts=4, n_examples=3), {"kind": "draw", "seed": 11}
        )
        assert reply == {"kind": "set", "set": draw_set(11, 4, 3)}

    @pytest.mark.parametrize("weights", [(1, 1), (0, 0, 0), (1, -1, 1), (1, float("inf"), 0)])
    def test_weights_that_make_no_mixture_are_refused(self, weights):
        with pytest.raises(ValueError, match="weights must be 3 numbers"):
            MixtureDraws(weights)

    def test_the_still_figure_shows_every_prompt(self):
        html = MixtureDraws((0.5, 0.5, 0)).still().data
        assert html.count("<path") == 24
        assert "<script" not in html


# --- the selection explorer -----------------------------------------------------------------------


@pytest.fixture
def untrained_prefixes(monkeypatch):
    """A model of random weights behind every name, and every share on offer."""
    torch.manual_seed(0)
    model = Transformer(TransformerConfig(20, 41, 1, 2, 16)).eval()
    monkeypatch.setattr(page, "transformer_prefixes", lambda _: model)
    names = ["sparse-tiny", "dense-tiny", *(f"dense+sparse-{share}-tiny" for share in SHARES)]
    monkeypatch.setattr(selection, "available", lambda: names)
    return model


@pytest.mark.usefixtures("untrained_prefixes")
def test_each_share_has_its_model():
    models = SelectionExplorer(sizes=("tiny", "short")).models
    assert [share for share, _ in models["tiny"]] == [0.0, *SHARES, 1.0]
    assert models["tiny"][0][1] == "sparse-tiny" and models["tiny"][-1][1] == "dense-tiny"
    assert models["short"] == []


def test_a_second_loss_is_told(monkeypatch):
    monkeypatch.setattr(
        selection, "available", lambda: ["dense-tiny", "sparse-tiny", "dense-short"]
    )
    labels = SelectionExplorer(share=1.0, sizes=("tiny", "short")).labels
    assert labels == {"tiny": "tiny, 2 models", "short": "short, 1 model, second loss"}


@pytest.mark.usefixtures("untrained_prefixes")
@pytest.mark.parametrize(
    ("traits", "message"),
    [
        ({"share": 0.3}, r"no model of size 'tiny' .* share of 0\.3; 'tiny' has 0, 0\.01"),
        ({"size": "huge"}, "no model of size 'huge'"),
        ({"nnz": 0}, r"nnz must be in \[1, 20\], got 0"),
        ({"nnz": 21}, r"nnz must be in \[1, 20\], got 21"),
        ({"n_examples": 41}, r"n_examples must be in \[0, 40\], got 41"),
        ({"seed": -1}, r"seed must be in \[0, .*\], got -1"),
    ],
)
def test_the_selection_explorer_refuses_what_it_cannot_show(traits, message):
    with pytest.raises(ValueError, match=message):
        SelectionExplorer(**traits)


@pytest.mark.usefixtures("untrained_prefixes")
def test_a_size_has_its_dimensions():
    widget = SelectionExplorer()
    assert widget.dims == {"tiny": 20, "short": 20, "standard": 20, "slim": 8}
    assert set(widget.bayes.values()) == set(page.PREFIX_BAYES)
    assert all(
        page.PREFIX_BAYES[widget.bayes[size]].dim == dim for size, dim in widget.dims.items()
    )


@pytest.mark.usefixtures("untrained_prefixes")
def test_a_view_that_was_set_beyond_its_bounds_has_no_still():
    widget = SelectionExplorer()
    widget.n_examples = 41
    with pytest.raises(ValueError, match=r"n_examples must be in \[0, 40\], got 41"):
        widget.still()


def test_a_size_is_told_with_its_dimensions():
    assert selection.label_of("slim") == "slim, 8 dimensions, second loss"


@pytest.mark.parametrize("dim", [20, 8])
def test_a_batch_continues_from_one_number_of_nonzeros_to_the_next(dim):
    batches = {k: draw_batch(7, k, n_prompts=3, dim=dim) for k in (1, 2, dim)}
    for k, (xs, ys) in batches.items():
        assert np.array_equal(xs, batches[1][0])
        for x, y in zip(xs, ys, strict=True):
            solved, _, rank, _ = np.linalg.lstsq(x, y, rcond=None)
            assert rank == dim
            assert (np.abs(solved) > 1e-9).sum() == k
    scaled = batches[2][1] * 2**0.5 - batches[1][1]  # what the second coefficient adds
    for x, y in zip(batches[2][0], scaled, strict=True):
        assert (np.abs(np.linalg.lstsq(x, y, rcond=None)[0]) > 1e-9).sum() == 1


def test_a_batch_has_unit_variance():
    xs, ys = draw_batch(1, 5)
    assert xs.std() == pytest.approx(1, abs=0.01)
    assert (ys**2).mean() == pytest.approx(1, abs=0.3)  # 64 functions: 3 standard errors


def test_the_kernel_answers_a_batch_with_the_exported_modules(untrained_prefixes):
    xs, ys = draw_batch(3, 2, n_prompts=4)
    content = {
        "kind": "prefixes",
        "id": "v",
        "model": "dense-tiny",
        "bayes": "dense+sparse",
        "weight": 0.25,
        "prompts": 4,
    }
    [(reply, buffers)] = replies(SelectionExplorer(), content, [xs.tobytes(), ys.tobytes()])
    assert (reply["kind"], reply["id"]) == ("prefixes", "v")
    found = {
        name: np.frombuffer(b, "<f8").reshape(4, 41)
        for name, b in zip(ANSWERS, buffers, strict=True)
    }
    x, y = torch.tensor(xs), torch.tensor(ys)
    with torch.no_grad():
        assert np.array_equal(
            found["transformer"], untrained_prefixes(x.float(), y.float()).double().numpy()
        )
    prior = Mixture((DenseLinear(20), SparseLinear(20, 2)), (0.25, 0.75))
    exact = bayes.posterior_predictive(prior, x, y)
    assert np.abs(found["mixture"] - exact.mean.numpy()).max() < 1e-7
    assert np.abs(found["probability"] - exact.component_probability[..., 0].numpy()).max() < 1e-7

    content["prompts"] = 3
    [(reply, _)] = replies(SelectionExplorer(), content, [xs.tobytes(), ys.tobytes()])
    assert reply["kind"] == "failed" and "could not answer" in reply["message"]


def test_the_summary_takes_a_blend_apart():
    xs, ys = draw_batch(2, 2, n_prompts=16)
    found = dict(zip(ANSWERS, np.zeros((5, 16, 41)), strict=True))
    found["dense"] = np.random.default_rng(0).normal(size=(16, 41))
    found["dense"][:, 0] = 0.0
    found["transformer"] = 0.3 * found["dense"]
    table = summary(ys, found)
    assert table["blend"][0] is None
    assert table["blend"][1:] == pytest.approx([0.3] * 40)
    assert table["errors"]["sparse"] == pytest.approx((ys**2).mean(0).tolist())
    assert len(xs) == 16


@pytest.mark.usefixtures("untrained_prefixes")
def test_the_still_of_the_selection_explorer_has_its_lines_and_gives_its_numbers():
    widget = SelectionExplorer(n_examples=10)
    html = widget.still().data
    assert html.count('class="icl-line') == 6
    assert "Learning curves: 64 linear functions with 2 of 20 coefficients nonzero" in html
    assert "nan" not in html
    assert set(widget.first["errors"]) == {"transformer", "mixture", "dense", "sparse"}
    assert list(widget.frames) == ["2", "3", "20"]
    xs, ys = draw_batch(widget.seed, 3)
    expected = summary(ys, selection.answers("dense+sparse-0.5-tiny", "dense+sparse", 0.5, xs, ys))
    for name, errors in widget.frames["3"]["errors"].items():
        assert errors == pytest.approx(expected["errors"][name], rel=0.006)
    assert widget.frames["3"]["belief"] == pytest.approx(expected["belief"], rel=0.006)


# --- the frequency explorer -----------------------------------------------------------------------

STRIP = {
    "frequencies": [0.1, 1.0, 20.0],
    "n_examples": [5, 40],
    "transformer": [[0.5, 0.01, 0.9], [0.4, 0.001, 0.8]],
    "mixture": [[0.5, 0.0, 0.9], [0.4, 0.0, 0.8]],
    "linear": [[0.6, 0.1, 5.0], [0.5, 0.0, 50.0]],
    "right": [[0.1, 0.01, 0.1], [0.0, 0.0, 0.0]],
}


class TestFrequencyExplorer:
    def test_bands_are_read_off_the_function_class(self):
        about = {name: frequency.describe(name) for name in page.BAND_MODELS}
        assert about["line+gapped-0.5-tiny"]["bands"] == [[1, 2, False], [4, 5, False]]
        assert about["line+gapped-0.5-tiny"]["classes"] == [
            ["line", "line"],
            ["1 to 2", "sine"],
            ["4 to 5", "sine"],
        ]
        rare = about["fast+line+sine-0.01-tiny"]
        assert rare["bands"] == [[1, 5, False], [5, 10, True]]
        assert rare["covered"] == "1 to 5, and 1% of prompts at 5 to 10"
        assert about["line+wide-0.5-tiny"]["label"] == "wide band: 1 to 10"
        assert len({one["label"] for one in about.values()}) == len(about)

    def test_a_model_without_bands_is_refused(self):
        with pytest.raises(ValueError, match="are told apart here, got 'relu-tiny'"):
            FrequencyExplorer(models=["relu-tiny"])

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("frequency", 0.05),
            ("frequency", 20.1),
            ("amplitude", 11.0),
            ("scale", 0.0),
            ("scale", float("inf")),
            ("n_examples", 41),
        ],
    )
    def test_a_first_view_out_of_reach_is_refused(self, name, value):
        with pytest.raises(ValueError, match=rf"{name} must be in \[.*, got {value}"):
            FrequencyExplorer(**{name: value})

    @pytest.mark.parametrize("n", [0, 3, 40])
    def test_the_kernel_answers_with_the_exported_modules(self, n):
        xs, ys = prompt(n, seed=n)
        at = frequency.queries(2.0)
        settings = {"model": MODEL, "bayes": "line+gapped-0.5", "right": "right", "doubt": 0.5}
        [(reply, buffers)] = replies(
            FrequencyExplorer(),
            {"kind": "band", "id": "v"} | settings,
            [a.astype("<f8").tobytes() for a in (xs, ys, at)],
        )
        assert (reply["kind"], reply["id"]) == ("band", "v")
        transformer, mixture, linear, right, probability = (
            np.frombuffer(b, "<f8") for b in buffers
        )
        given = (
            torch.tensor(xs)[None, :, None],
            torch.tensor(ys)[None],
            torch.tensor(at)[None, :, None],
        )
        doubt = torch.tensor(0.5, dtype=torch.float64)
        mean, expected = page.bayes_bands("line+gapped-0.5")(*given, doubt)
        assert np.array_equal(mixture, mean[0].numpy())
        assert np.array_equal(probability, expected[0].numpy()) and len(probability) == 4
        assert np.array_equal(linear, page.linear_curve("line+gapped-0.5")(*given)[0].numpy())
        assert np.array_equal(right, page.bayes_bands("right")(*given)[0][0].numpy())
        assert transformer.shape == at.shape == (frequency.INTERVALS + 1,)

    def test_a_request_that_cannot_be_answered_is_refused_in_words(self):
        content = {"kind": "band", "id": "a", "model": MODEL, "bayes": "nosuch", "right": "right"}
        content |= {"doubt": 0.0}
        empty = np.zeros(0).tobytes()
        [(reply, _)] = replies(FrequencyExplorer(), content, [empty, empty, np.ones(1).tobytes()])
        assert reply["kind"] == "failed" and "got 'nosuch'" in reply["message"]

    def test_the_still_figure_shows_the_first_view_without_any_script(self):
        explorer = FrequencyExplorer(frequency=3.0, scale=2.0, n_examples=12, model=MODEL)
        html = explorer.still().data
        assert html.startswith('<figure class="icl-still icl-widget icl-explorer icl-frequency">')
        assert "<script" not in html and "nan" not in html
        assert html.count("<circle") == 12
        for look in ("truth", "transformer", "mixture", "linear", "oracle"):
            assert f'class="icl-line icl-{look}" d="M0.0 ' in html
        assert "from -6 to 6 of a sine of 3 radians per unit" in html
        assert explorer.first["errors"]["right"] < 1e-4
        assert "N(0, 2²)" in html
        xs = np.array(draw_inputs(explorer.seed, 12)) * 2
        at = np.linspace(-6, 6, 257)
        model = page.transformer_curve(MODEL)
        with torch.no_grad():
            x, y, q = (
                torch.tensor(v, dtype=torch.float32)[None] for v in (xs, explorer.truth(xs), at)
            )
            found = model(x[..., None], y, q[..., None])[0].numpy()
        density = np.exp(-((at / 2) ** 2) / 2)
        error = density @ (found - explorer.truth(at)) ** 2 / density.sum()
        assert explorer.first["errors"]["transformer"] == pytest.approx(error, rel=1e-4)
        assert sum(explorer.first["probability"]) == pytest.approx(1)

    def test_a_strip_travels_as_plain_numbers(self):
        arrays = {name: np.array(values) for name, values in STRIP.items()}
        assert FrequencyExplorer(strip={MODEL: arrays}).strip == {MODEL: STRIP}

    @pytest.mark.parametrize(
        ("part", "message"),
        [
            (
                {"frequencies": [1.0, 0.5, 2.0]},
                "'frequencies'.* must be increasing and positive, got",
            ),
            (
                {"frequencies": [0.0, 0.5, 2.0]},
                "'frequencies'.* must be increasing and positive, got",
            ),
            ({"n_examples": [5, 41]}, "'n_examples'.* must be increasing"),
            ({"transformer": [[1.0, 2.0, 3.0]]}, r"'transformer'.*, \(2, 3\), got \(1, 3\)"),
            ({"right": [[1, 2, np.nan], [1, 2, 3]]}, "'right'.* must be finite and not negative"),
            ({"mixture": [[1, 2, -1], [1, 2, 3]]}, "must be finite .*, got -1 to 3"),
            ({"more": []}, "must have frequencies, linear, mixture, .*, got .*more"),
        ],
    )
    def test_a_strip_that_cannot_be_drawn_is_refused(self, part, message):
        with pytest.raises(ValueError, match=message):
            FrequencyExplorer(strip={MODEL: STRIP | part})

    def test_a_strip_of_a_model_that_is_not_offered_is_refused(self):
        with pytest.raises(ValueError, match="strip has curves of sine-tiny; models are"):
            FrequencyExplorer(strip={"sine-tiny": STRIP})

    def test_front_end_and_kernel_agree_on_what_the_sliders_reach(self):
        for name, (low, high) in frequency.RANGES.items():
            if name != "seed":
                assert re.search(
                    rf"{name}: {{ key: '\w+', low: {low:g}, high: ({high:g}|MOST),",
                    FrequencyExplorer._esm,
                )
        assert f"const INTERVALS = {frequency.INTERVALS};" in FrequencyExplorer._esm


ASKED = {
    "kind": "pretrain",
    "id": "1",
    "run": "a",
    "size": "tiny",
    "seed": 3,
    "total": 500,
    "until": 2,
    "weights": [0.5, 0.5, 0.0, 0.0],
    "milliseconds": 1e9,
    "whole": False,
}


class TestPretraining:
    """The widget that pretrains a model, as a running kernel answers it."""

    def answer(self, widget, **asked):
        ((content, buffers),) = replies(widget, ASKED | asked)
        assert content["kind"] == "pretrain", content
        return [np.frombuffer(buffer) for buffer in buffers]

    def test_the_kernel_takes_the_steps_of_a_run(self):
        widget = PretrainExplorer()
        step, errors, curves, floor, bayes, whole = self.answer(widget, whole=True)
        run = Pretraining(seed=3, total=500)
        run.advance(ASKED["weights"])
        run.advance(ASKED["weights"])
        assert step == [2]
        np.testing.assert_allclose(whole, torch.cat([p.flatten() for p in run.params]).double())
        files = widget.sizes["tiny"]["parameters"]
        for name, value in widget.model().state_dict().items():
            begin = files[name]["begin"]
            told = whole[begin : begin + value.numel()].reshape(files[name]["shape"])
            np.testing.assert_array_equal(told, value.numpy(), err_msg=name)
        assert [len(part) for part in (errors, curves, floor, bayes)] == [84, 582, 84, 582]

    def test_it_goes_on_where_it_is_and_another_run_begins_anew(self):
        widget = PretrainExplorer()
        assert self.answer(widget)[0] == [2]
        assert self.answer(widget, milliseconds=0)[0] == [2]
        assert self.answer(widget, until=3)[0] == [3]
        step, *_, whole = self.answer(widget, run="b", milliseconds=0)
        assert step == [0] and not whole.size

    def test_a_run_that_is_none_is_refused_in_words(self):
        ((content, _),) = replies(PretrainExplorer(), ASKED | {"weights": [1.0]})
        assert content["kind"] == "failed" and "one weight per class" in content["message"]

    @pytest.mark.parametrize(
        ("traits", "message"),
        [
            ({"weights": [1.0]}, "4 numbers"),
            ({"weights": [0.0] * 4}, "not all zero"),
            ({"weights": [1.0, -0.1, 0.0, 0.0]}, r"in \[0, 1\]"),
            ({"weights": [3.0, 1.0, 0.0, 0.0]}, r"in \[0, 1\]"),
            ({"total": 7}, "one of 500, 1000, 3000"),
            ({"size": "huge"}, "one of mini, tiny, slim, small"),
            ({"seed": -1}, "seed"),
        ],
    )
    def test_a_first_view_that_there_is_not_is_refused(self, traits, message):
        with pytest.raises(ValueError, match=message):
            PretrainExplorer(**traits)

    def test_the_model_is_taken_by_the_explorer_of_combinations(self):
        widget = PretrainExplorer()
        with pytest.raises(ValueError, match="press Pretrain"):
            widget.model()
        self.answer(widget)
        assert ConvexExplorer(model=widget.model()).model.startswith("yours")

    def test_the_still_figure_shows_the_first_view_without_any_script(self):
        widget = PretrainExplorer(weights=[0.5, 0.0, 0.5, 0.0])
        html = widget.still().data
        assert html.count('class="icl-card"') == 6 and "<script" not in html
        assert html.count("is-floor is-class-1 is-absent") == 1
        assert html.count("is-floor is-class-2 is-absent") == 0
        assert len(widget.first["errors"]) == 84
        assert len(widget.shown) == 6
        assert widget.shown[0]["xs"] == pytest.approx(
            shown_prompts()[0][0, :, 0].tolist(), abs=1e-3
        )

    @pytest.mark.parametrize("size", CONFIGS)
    def test_the_kernel_trains_every_size_and_the_front_end_knows_its_file(self, size):
        widget = PretrainExplorer(size=size)
        *_, whole = self.answer(widget, size=size, until=1, whole=True)
        model = widget.model()
        assert model.config == CONFIGS[size]
        told = widget.sizes[size]
        assert told["shape"] == f"{size}-1-41-float32" and told["page"] == (size in ON_PAGE)
        assert (
            told["card"]["parameters"] == len(whole) == sum(p.numel() for p in model.parameters())
        )
        for name, value in model.state_dict().items():
            begin = told["parameters"][name]["begin"]
            np.testing.assert_array_equal(whole[begin:][: value.numel()], value.flatten())

    def test_exact_bayes_has_the_mixture_that_the_kernel_s_model_has_met(self, monkeypatch):
        monkeypatch.undo()  # this one has weights
        pretrained, mixture = PretrainExplorer(), [0.25, 0.25, 0.5, 0.0]
        self.answer(pretrained, weights=mixture)
        widget = ConvexExplorer(model=pretrained.model())
        name = widget.model
        classes = [["line", "line"], ["sine", "sine"], ["quadratic", "relu"]]
        assert widget.about == {name: {"classes": classes, "bands": [[1.0, 3.0, False]]}}
        xs, ys = prompt(5)
        arrays = [a.astype("<f8").tobytes() for a in (xs, ys, QUERIES)]
        content = {"kind": "curve", "id": "a", "model": name, "bayes": BAYES, "weight": 0.5}
        [(reply, buffers)] = replies(widget, content | {"doubt": 0.0}, arrays)
        assert reply["kind"] == "curve", reply
        prior = Mixture(tuple(MIXABLE.values())[:3], tuple(mixture[:3]))
        x, y, q = (torch.tensor(a)[None, ..., None] for a in (xs, ys, QUERIES))
        exact, believed = bayes.posterior_curve(prior, x, y[..., 0], q)
        _, found, linear, _, probability = (np.frombuffer(buffer) for buffer in buffers)
        np.testing.assert_allclose(found, exact[0], atol=1e-4)
        np.testing.assert_allclose(probability[:3], believed[0], atol=1e-4)
        best = page.linear_curve(prior)(x, y[..., 0], q)
        np.testing.assert_allclose(linear, best[0], atol=1e-9)
        names, errors = [name for name, _ in classes], {"mixture": 0.1, "transformer": 0.2}
        assert "certain of a quadratic" in reading(0.5, [0.0, 0.0, 1.0, 0.0], errors, names)
        assert FrequencyExplorer(model=pretrained.model()).about[-1]["classes"] == [
            ["line", "line"],
            ["1 to 3", "sine"],
            ["quadratic", "relu"],
        ]

    def test_page_and_worker_keep_models_in_one_place(self):
        """The worker is a file of its own: it cannot share the lines that open the place."""
        own, engine = (
            (FOLDER / name).read_text(encoding="utf-8") for name in ("own.js", "engine.js")
        )
        for pattern in (
            r"indexedDB\.open\((.*?)\)",
            r"createObjectStore\((.*?)\)",
            "const OWN = (.*?);",
        ):
            assert re.search(pattern, own)[1] == re.search(pattern, engine)[1]
