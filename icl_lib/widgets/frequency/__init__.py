"""The frequency explorer: a sine whose frequency runs through a model's training band and out of it, answered live."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import pi
from typing import Any

import numpy as np
import torch
import traitlets
from IPython.display import HTML
from jaxtyping import Float

from icl_lib import page, recipes
from icl_lib.model import Transformer
from icl_lib.samplers import FunctionClass, Sinusoid
from icl_lib.widgets.kernel import Explorer, check_doubt, serve, within
from icl_lib.widgets.plot import as_prompt, draw_inputs, frames, mean_square, top_of
from icl_lib.widgets.prior import RARE, bands_of, classes_of, prior_of
from icl_lib.widgets.source import source
from icl_lib.widgets.still import REACH, curves_still
from icl_lib.widgets.tour import Place, offered

WHOLE = next(c for c in recipes.RIGHT_BAND.classes if isinstance(c, Sinusoid))
"""The band of every frequency that can be asked for."""

INTERVALS = 256
"""Into how many the plot is cut by the queries, as in widget.js: 13 queries to a period of the fastest sine."""

RANGES: dict[str, tuple[float, float]] = {
    "frequency": (WHOLE.low, WHOLE.high),
    "amplitude": (0.0, 10.0),
    "phase": (-1.0, 1.0),
    "scale": (0.33, 3.0),
    "n_examples": (0, 40),
    "seed": (0, 2**32 - 1),
}
"""What the sliders reach, as in widget.js."""

COMPUTED = ("transformer", "mixture", "linear", "right")
"""The lines beside the truth."""

FRAMES = (
    0.1,
    0.2,
    0.5,
    1.0,
    1.5,
    2.0,
    2.5,
    3.0,
    3.5,
    4.0,
    4.5,
    5.0,
    5.5,
    6.0,
    7.0,
    8.0,
    10.0,
    12.0,
    15.0,
    20.0,
)
"""The frequencies that the reader can slide through before anything has been fetched."""

USUAL = {
    "frequency": 2.5,
    "amplitude": 1.5,
    "phase": 0.0,
    "scale": 1.0,
    "n_examples": 20,
    "seed": 1,
    "doubt": 0.0,
    "model": "line+sine-0.5-tiny",
}
PLACES = (
    Place(
        "Inside the band",
        {},
        "Inside the band exact Bayes finds the sine, and the transformer comes close.",
    ),
    Place(
        "Just outside",
        {"frequency": 6.0},
        "Just outside, the transformer errs less than exact Bayes, which is certain that frequencies end at 5.",
        "Now step outside",
    ),
    Place(
        "Twice the band’s top",
        {"frequency": 10.0},
        "Far out the transformer and exact Bayes are worse than predicting zero; with the right band the task is easy.",
        "Now go far out",
    ),
    Place(
        "Far out, a grain of doubt",
        {"frequency": 10.0, "doubt": 1e-6},
        "With one chance in a million of something else exact Bayes errs far less.",
        "Let Bayes doubt",
    ),
    Place(
        "Far out, pretrained up to there",
        {"frequency": 10.0, "model": "line+wide-0.5-tiny"},
        "A transformer pretrained on frequencies up to 10 does better there: it needs to have met them.",
        "Give it a wider band",
    ),
    Place(
        "Too tall",
        {"amplitude": 10.0},
        "Inside the band but far taller than usual: exact Bayes finds this sine too, the transformer does not.",
        "Now a taller sine",
    ),
    Place("In a gap of the band", {"frequency": 3.0, "model": "line+gapped-0.5-tiny"}),
    Place("Met, but rarely", {"frequency": 7.0, "model": "fast+line+sine-0.01-tiny"}),
    Place("Inputs spread out", {"scale": 3.0}),
)
"""Where a reader can go at once, and the tour, whose sentences tests/test_tours.py holds to what is shown."""

_WORDS = {
    "line+sine-0.5": "narrow band",
    "line+gapped-0.5": "band with a gap",
    "line+wide-0.5": "wide band",
    "fast+line+sine-0.01": "rare fast sines",
    "sine": "sines only",
}


def describe(model: str, own: Transformer | None = None) -> dict[str, Any]:
    """What the explorer says of a model and shades for it, read off the function class that it was pretrained on.

    Args:
        model: its name.
        own: the model itself, if it is none of the page's; its card says what it was pretrained on.

    Returns:
        `name`; `prior`, the name of the exact posterior with its training prior; `word`, a short name, and `label`,
        which adds the bands; `covered`, the bands in words; `bands`, for each [low, high, rare] in radians per unit;
        `classes`, [name, look] of each component, in the order of that posterior's probabilities.

    Raises:
        ValueError: a model whose bands are not told apart here; one without a card.
    """
    if own is None and model not in page.BAND_MODELS:
        raise ValueError(
            f"the bands of {', '.join(page.BAND_MODELS)} are told apart here, got {model!r}"
        )
    prior = page.prior_of(model) if own is None else model
    components = page.bayes_bands(prior if own is None else prior_of(own)).components
    sines = sorted(
        ((share, sine) for share, sine in components if isinstance(sine, Sinusoid)),
        key=lambda part: part[1].low,
    )
    usual = [f"{sine.low:g} to {sine.high:g}" for share, sine in sines if share >= RARE]
    rare = [
        f", and {share:.0%} of prompts at {sine.low:g} to {sine.high:g}"
        for share, sine in sines
        if share < RARE
    ]
    covered = (" and ".join(usual) + "".join(rare)).removeprefix(", and ") or "no sines"
    word = model
    if own is None:
        _, size, differs = recipes.parts(model)
        word = ", ".join(filter(None, (_WORDS[prior], size if size != "tiny" else "", differs)))
    return {
        "name": model,
        "prior": prior,
        "word": word,
        "label": f"{word}: {covered}",
        "covered": covered,
        "bands": bands_of(components),
        "classes": classes_of(components, sine=""),
    }


def queries(scale: float) -> Float[np.ndarray, " queries"]:
    """Where the lines are computed when the examples' inputs are x ~ N(0, scale^2)."""
    reach = REACH * max(1.0, scale)
    return np.linspace(-reach, reach, INTERVALS + 1)


@torch.no_grad()
def answers(
    model: str | Transformer,
    bayes: str | FunctionClass,
    right: str,
    xs: Float[np.ndarray, " examples"],
    ys: Float[np.ndarray, " examples"],
    queries: Float[np.ndarray, " queries"],
    *,
    doubt: float = 0.0,
) -> dict[str, np.ndarray]:
    """Compute every line of the explorer, with the modules that are exported to the browser.

    Args:
        model: the transformer, or its name.
        bayes: the prior that it was pretrained with, or its name in `page.BAND_BAYES`.
        right: name of a prior whose band holds the frequency; on the page `page.RIGHT`.
        xs: inputs of the examples, shape (n,).
        ys: their values, shape (n,).
        queries: where to predict, shape (Q,).
        doubt: of exact Bayes with `bayes`, that it is none of its classes: see `bayes.with_doubt`.

    Returns:
        `transformer`, `mixture` (exact Bayes with `bayes`), `linear` (the best linear predictor by the covariance of
        `bayes`) and `right`, shape (Q,), and `probability` of each
        component of `bayes` and of none, shape (K + 1,); float64.

    Raises:
        ValueError: an unknown model or prior.
    """
    exact = as_prompt(xs, ys, queries)
    mixture, probability = page.bayes_bands(bayes)(*exact, torch.tensor(doubt, dtype=torch.float64))
    lines = {
        "transformer": page.transformer_curve(model)(*(values.float() for values in exact)),
        "mixture": mixture,
        "linear": page.linear_curve(bayes)(*exact),
        "right": page.bayes_bands(right)(*exact)[0],
        "probability": probability,
    }
    return {name: values[0].double().numpy() for name, values in lines.items()}


class FrequencyExplorer(Explorer):
    """f(x) = amplitude * sin(frequency * x + phase): a transformer and exact Bayes, in and out of the training band.

    Traits set the first view; set later, they move the reader's view to theirs. The reader's own moves stay in the
    front end, where the page's address keeps them.

    Args:
        frequency: radians per unit of x, in [0.1, 20].
        amplitude: in [0, 10]; pretraining's is about 1.4 (two coefficients from N(0, 1)).
        phase: in units of pi, in [-1, 1].
        scale: of the examples' inputs, x ~ N(0, scale^2), in [0.33, 3]; pretraining's is 1.
        n_examples: in-context examples, 0 to 40.
        seed: of the inputs, in [0, 2**32).
        doubt: of exact Bayes, that the function is none of its classes but some other smooth one: 0, a power of ten
            from 1e-30 to 0.1, or 0.5.
        model: the transformer shown first: one of `models`, or, in a running notebook, what `icl_lib.load` takes.
        models: names of the transformers that the reader can choose, among `page.BAND_MODELS`.
        strip: for each model whose error against frequency is drawn {"frequencies": (F,) in radians per unit,
            increasing, "n_examples": (N,) in 0 to 40, increasing, and for each of transformer, mixture, linear and
            right (Bayes with `recipes.RIGHT_BAND`) the mean squared error as a share of the mean square, (N, F)}; the
            others' strip is empty.
        key: prefix of the view's keys in the address; needed where a page has several of these.

    Raises:
        ValueError: a number outside its range; an unknown model, or one whose bands are not told apart; a `strip` of
            another shape, with numbers that are no errors, or for a model that is not offered.
        TypeError: an argument that it does not have.
    """

    _esm = source("shared.js", "own.js", "plot.js", "guide.js", "frequency/widget.js")
    _css = source("shared.css", "plot.css", "frequency/widget.css")

    frequency = traitlets.Float(2.5).tag(sync=True)
    amplitude = traitlets.Float(1.5).tag(sync=True)
    phase = traitlets.Float(0.0).tag(sync=True)
    scale = traitlets.Float(1.0).tag(sync=True)
    n_examples = traitlets.Int(20).tag(sync=True)
    seed = traitlets.Int(1).tag(sync=True)
    doubt = traitlets.Float(0.0).tag(sync=True)
    models = traitlets.List(traitlets.Unicode(), list(page.BAND_MODELS[:4])).tag(sync=True)
    model = traitlets.Unicode(page.BAND_MODELS[0]).tag(sync=True)
    strip = traitlets.Dict().tag(sync=True)
    about = traitlets.List(
        traitlets.Dict(), help="what `describe` says of each model", read_only=True
    ).tag(sync=True)
    right = traitlets.Unicode(page.RIGHT, read_only=True).tag(sync=True)
    whole = traitlets.List([WHOLE.low, WHOLE.high], read_only=True).tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)
    places = traitlets.List(
        traitlets.Dict(), help="where the reader can go at once, and the tour", read_only=True
    ).tag(sync=True)
    first = traitlets.Dict(help="lines and numbers of the first view, from `still`").tag(sync=True)
    frames = traitlets.Dict(help="the same, rounded, at FRAMES").tag(sync=True)

    def __init__(
        self, *, model: str | os.PathLike[str] | Transformer | None = None, **traits: Any
    ) -> None:
        super().__init__(**traits)
        if model is not None:
            self.model = self.take(model, dim=1, known=page.BAND_MODELS)
        if self.model not in self.models:
            self.models = [*self.models, self.model]
        self.set_trait("about", [describe(name, self.own.get(name)) for name in self.models])
        places = offered(PLACES, USUAL, shown=lambda view: view["model"] in self.models)
        self.set_trait("places", places)
        serve(self, "band", lambda: self.models, self._compute)

    _in_range = within(RANGES)
    _is_doubt = traitlets.validate("doubt")(check_doubt)

    @traitlets.validate("strip")
    def _is_strip(self, proposal: Any) -> dict[str, Any]:
        unknown = set(proposal["value"]) - set(self.models)
        if unknown:
            raise ValueError(
                f"strip has curves of {', '.join(sorted(unknown))}; models are {self.models}"
            )
        return {name: _curves(name, curves) for name, curves in proposal["value"].items()}

    def _compute(self, content: dict[str, Any], arrays: list[np.ndarray]) -> list[np.ndarray]:
        asked = *self._asked(content["model"], content["bayes"]), content["right"]
        lines = answers(*asked, *arrays, doubt=content["doubt"])
        return [lines[name] for name in (*COMPUTED, "probability")]

    def _asked(self, model: str, prior: str) -> tuple[str | Transformer, str | FunctionClass]:
        """The model and the prior that the front end calls by these names."""
        own = self.own.get(model)
        return (model, prior) if own is None else (own, prior_of(own))

    def truth(self, xs: np.ndarray, frequency: float | None = None) -> np.ndarray:
        """The function of the first view at `xs`, or that of another frequency."""
        omega = self.frequency if frequency is None else frequency
        return self.amplitude * np.sin(omega * xs + self.phase * pi)

    def _inputs(self) -> np.ndarray:
        """The examples' inputs in the first view."""
        return np.array([round(self.scale * x, 6) for x in draw_inputs(self.seed, self.n_examples)])

    def _picture(self, frequency: float) -> dict[str, Any]:
        """Lines and numbers of the first view at a frequency."""
        xs, at = self._inputs(), queries(self.scale)
        prior = describe(self.model, self.own.get(self.model))["prior"]
        asked = *self._asked(self.model, prior), self.right
        lines = answers(*asked, xs, self.truth(xs, frequency), at, doubt=self.doubt)
        apart = {name: lines[name] - self.truth(at, frequency) for name in COMPUTED}
        return {
            "lines": {name: lines[name].round(6).tolist() for name in COMPUTED},
            "errors": {name: mean_square(at, apart[name], self.scale) for name in COMPUTED},
            "probability": lines["probability"].tolist(),
        }

    def still(self) -> HTML:
        """The first view as a still figure, to be displayed before the widget: it needs no script.

        The live picture takes its place, of the same size and with the same lines. These and the numbers go to the
        widget, which shows them until it has computed its own; and so do those of the frequencies in FRAMES.
        """
        about = describe(self.model, self.own.get(self.model))
        xs, at = self._inputs(), queries(self.scale)
        ys, truth = self.truth(xs), self.truth(at)
        self.first = self._picture(self.frequency)
        self.frames = frames({frequency: self._picture(frequency) for frequency in FRAMES})
        fine = np.linspace(at[0], at[-1], 769)
        return curves_still(
            css=self._css,
            kind="icl-frequency",
            reach=at[-1],
            top=top_of(self.amplitude),
            names={
                "truth": ("Truth", "the sine f"),
                "transformer": ("Transformer", about["word"]),
                "mixture": ("Exact Bayes", "its training prior"),
                "linear": ("Best linear", "knows the covariance"),
                "right": ("Bayes, right band", f"prior: {WHOLE.low:g} to {WHOLE.high:g}"),
            },
            looks={
                "right": "oracle",
                "linear": "linear",
                "truth": "truth",
                "mixture": "mixture",
                "transformer": "transformer",
            },
            lines={"truth": (fine, self.truth(fine))}
            | {name: (at, np.array(line)) for name, line in self.first["lines"].items()},
            points=(xs, ys),
            errors=self.first["errors"],
            zero=mean_square(at, truth, self.scale),
            spread=self.scale,
            said=f"a sine of {self.frequency:g} radians per unit and a transformer trained on {about['covered']}",
        )


def _curves(model: str, curves: Mapping[str, Any]) -> dict[str, list[Any]]:
    """A model's part of `strip` as plain numbers; ValueError where it cannot be drawn."""
    wanted = {"frequencies", "n_examples", *COMPUTED}
    if set(curves) != wanted:
        raise ValueError(
            f"strip[{model!r}] must have {', '.join(sorted(wanted))}, got {', '.join(sorted(curves))}"
        )
    found = {name: np.asarray(values, dtype=float) for name, values in curves.items()}
    frequencies, counts = found["frequencies"], found["n_examples"]
    for name, axis, fits, words in (
        ("frequencies", frequencies, frequencies > 0, "positive"),
        ("n_examples", counts, (counts >= 0) & (counts <= RANGES["n_examples"][1]), "in 0 to 40"),
    ):
        if axis.ndim != 1 or len(axis) < 1 or not fits.all() or not (np.diff(axis) > 0).all():
            raise ValueError(
                f"strip[{model!r}][{name!r}] must be increasing and {words}, got {curves[name]}"
            )
    shape = (len(found["n_examples"]), len(found["frequencies"]))
    for name in COMPUTED:
        errors = found[name]
        if errors.shape != shape:
            raise ValueError(
                f"strip[{model!r}][{name!r}] must have a row for each of n_examples and a column for each frequency, "
                f"{shape}, got {errors.shape}"
            )
        if not (np.isfinite(errors).all() and (errors >= 0).all()):
            raise ValueError(
                f"strip[{model!r}][{name!r}] must be finite and not negative, got {errors.min():g} to {errors.max():g}"
            )
    return {name: values.tolist() for name, values in found.items()}
