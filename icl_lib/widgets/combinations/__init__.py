"""The explorer: a convex combination of a line and a sine, answered live."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from math import pi
from typing import Any

import numpy as np
import torch
import traitlets
from IPython.display import HTML
from jaxtyping import Float
from torch import Tensor

from icl_lib import page
from icl_lib.baselines import covariance
from icl_lib.model import Transformer
from icl_lib.samplers import FunctionClass
from icl_lib.widgets.kernel import Explorer, check_doubt, serve, within
from icl_lib.widgets.plot import as_prompt, draw_inputs, frames, mean_square, top_of
from icl_lib.widgets.prior import bands_of, classes_of, prior_of
from icl_lib.widgets.source import source
from icl_lib.widgets.still import REACH, curves_still, model_label, pretty
from icl_lib.widgets.tour import Place, offered

QUERIES = np.linspace(-REACH, REACH, 97)
"""Where the lines are computed: steps of 1/16. Twice as many would cost the small model its 33 milliseconds."""

NAMES = {
    "truth": ("Truth", "the function f"),
    "transformer": ("Transformer", ""),  # which one, said in words
    "mixture": ("Exact Bayes", "prior: line or sine"),
    "linear": ("Best linear", "knows the covariance"),
    "oracle": ("Oracle", "knows the blend"),
}
"""The lines and what the legend says of each, as in widget.js."""

COMPUTED = ("transformer", "mixture", "linear", "oracle")
"""The lines beside the truth."""

FRAMES = tuple(round(k / 20, 2) for k in range(21))
"""The weights that the reader can slide through before anything has been fetched."""

RANGES: dict[str, tuple[float, float]] = {
    "weight": (0.0, 1.0),
    "slope": (-3.0, 3.0),
    "frequency": (0.2, 10.0),
    "amplitude": (0.0, 3.0),
    "phase": (-1.0, 1.0),
    "n_examples": (0, 40),
    "seed": (0, 2**32 - 1),
}
"""What the sliders reach, as in widget.js."""

USUAL = {
    "weight": 0.5,
    "slope": 1.0,
    "frequency": 2.5,
    "amplitude": 1.5,
    "phase": 0.0,
    "n_examples": 20,
    "seed": 1,
    "doubt": 0.0,
}
PLACES = (
    Place(
        "A sine",
        {"weight": 0.0},
        "A sine, as in pretraining: from 20 points the transformer nearly finds it.",
    ),
    Place(
        "A line",
        {"weight": 1.0},
        "A line, as in pretraining too: every predictor finds it.",
        "Now a line",
    ),
    Place(
        "Halfway",
        {},
        "Halfway between, the transformer fails; so does exact Bayes, which is certain of a sine.",
        "Now let it leave the mixture",
    ),
    Place(
        "Halfway, more examples",
        {"n_examples": 40},
        "Twice as many examples help the transformer little; the best linear predictor shows what they allow.",
        "Give it more examples",
    ),
    Place(
        "Halfway, with a grain of doubt",
        {"doubt": 1e-6},
        "Given one chance in a million of something else, exact Bayes nearly finds the function: it was too certain.",
        "Let Bayes doubt",
    ),
    Place(
        "A sine too fast",
        {"weight": 0.0, "frequency": 8.0},
        "A sine faster than any in pretraining: here every predictor is worse than predicting zero.",
        "Now a faster sine",
    ),
    Place("Nearly a line", {"weight": 0.9}),
    Place("Five examples", {"n_examples": 5}),
)
"""Where a reader can go at once, and the tour, whose sentences tests/test_tours.py holds to what is shown."""

TOURED = ("line+sine-0.5-small", "line+sine-0.5-standard-brief")
"""The models that the tour's sentences are true of."""


def reading(
    weight: float,
    probability: Sequence[float],
    errors: Mapping[str, float],
    classes: Sequence[str] = ("line", "sine"),
) -> str:
    """What one sees, in words; as in widget.js."""
    where = {0.0: "On the sine", 1.0: "On the line"}.get(weight, f"At a = {weight:.2f}")
    most = max(probability)
    name = [*(f"a {name}" for name in classes), "something else"][list(probability).index(most)]
    if most > 0.99:
        sure = f"is certain of {name}"
    elif most > 0.9:
        sure = f"is nearly certain of {name}"
    else:
        sure = "is undecided"
    bayes, model = (
        pretty(errors[who]).replace("<", "less than") for who in ("mixture", "transformer")
    )
    return f"{where} exact Bayes {sure} and errs by {bayes}, the transformer by {model}."


@torch.no_grad()
def curves(
    model: str | Transformer,
    bayes: str,
    weight: float,
    xs: Float[np.ndarray, " examples"],
    ys: Float[np.ndarray, " examples"],
    queries: Float[np.ndarray, " queries"],
    *,
    doubt: float = 0.0,
    prior: FunctionClass | None = None,
) -> dict[str, np.ndarray]:
    """Compute every line of the explorer, with the modules that are exported to the browser.

    Args:
        model: the transformer, or its name.
        bayes: name of the mixture whose exact predictor is drawn, such as line+sine-0.5.
        weight: convex-combination weight of the line, which the oracle knows.
        xs: inputs of the examples, shape (n,).
        ys: their values, shape (n,).
        queries: where to predict, shape (Q,).
        doubt: of exact Bayes, that it is neither: see `bayes.with_doubt`.
        prior: what exact Bayes and the best linear predictor take for granted instead of that mixture.

    Returns:
        `transformer`, `mixture`, `linear` and `oracle`, shape (Q,), and `probability` of line, sine and neither, shape
        (3,), or of each component of `prior` and none; float64.
    """
    exact = as_prompt(xs, ys, queries)
    mixture, oracle, probability = page.bayes_curve(bayes)(
        *exact, *(torch.tensor(number, dtype=torch.float64) for number in (weight, doubt))
    )
    if prior is not None:
        mixture, probability = page.bayes_bands(prior)(
            *exact, torch.tensor(doubt, dtype=torch.float64)
        )
    lines: dict[str, Tensor] = {
        "transformer": page.transformer_curve(model)(*(values.float() for values in exact)),
        "mixture": mixture,
        "linear": page.linear_curve(bayes if prior is None else prior)(*exact),
        "oracle": oracle,
        "probability": probability,
    }
    return {name: values[0].double().numpy() for name, values in lines.items()}


def _known_prior(model: Transformer) -> FunctionClass | None:
    """What a model was pretrained on, if its card says that and exact Bayes and its covariance are known."""
    at = torch.zeros(1, 1, 1, dtype=torch.float64)
    try:
        prior = prior_of(model)
        page.bayes_bands(prior)
        covariance(prior, at, at)
    except ValueError:
        return None
    return prior


def _about(prior: FunctionClass | None) -> dict[str, Any]:
    """What the front end says of a model of the reader's own."""
    if prior is None:
        return {"classes": None, "bands": None}
    components = page.bayes_bands(prior).components
    return {"classes": classes_of(components), "bands": bands_of(components)}


class ConvexExplorer(Explorer):
    """f = weight * line + (1 - weight) * sine: a transformer, exact Bayes and the oracle, as the reader moves f.

    Traits set the first view; set later, they move the reader's view to theirs. The reader's own moves stay in the
    front end, where the page's address keeps them.

    Args:
        weight: convex-combination weight a of the line, in [0, 1].
        slope: slope of the line, in [-3, 3].
        frequency: of the sine, in radians per unit of x, in [0.2, 10]; pretraining covered 1 to 5.
        amplitude: of the sine, in [0, 3].
        phase: of the sine, in units of pi, in [-1, 1].
        n_examples: in-context examples, 0 to 40.
        seed: of the inputs, in [0, 2**32).
        doubt: of exact Bayes, that the function is neither line nor sine but some other smooth one: 0, a power of ten
            from 1e-30 to 0.1, or 0.5.
        model: the transformer shown first: one of `models`, or, in a running notebook, what `icl_lib.load` takes.
        models: names of the transformers that the reader can choose, by default every size that is shipped.
        bayes: the mixture whose exact predictor is drawn; beside a model of one's own, whose card says what it was
            pretrained on, that is the prior.
        compact: keep all controls but the weight behind "More controls".
        hidden: the lines that are not drawn at first: of truth, transformer, mixture, linear, oracle.
        key: prefix of the view's keys in the address; needed where a page has several explorers.

    Raises:
        ValueError: a number outside its range, an unknown model, mixture or line, a model of other inputs.
        TypeError: an argument that it does not have.
    """

    _esm = source("shared.js", "own.js", "plot.js", "guide.js", "combinations/widget.js")
    _css = source("shared.css", "plot.css", "combinations/widget.css")

    weight = traitlets.Float(0.5).tag(sync=True)
    slope = traitlets.Float(1.0).tag(sync=True)
    frequency = traitlets.Float(2.5).tag(sync=True)
    amplitude = traitlets.Float(1.5).tag(sync=True)
    phase = traitlets.Float(0.0).tag(sync=True)
    n_examples = traitlets.Int(20).tag(sync=True)
    seed = traitlets.Int(1).tag(sync=True)
    doubt = traitlets.Float(0.0).tag(sync=True)
    models = traitlets.List(traitlets.Unicode()).tag(sync=True)
    model = traitlets.Unicode("line+sine-0.5-tiny").tag(sync=True)
    bayes = traitlets.Unicode("line+sine-0.5").tag(sync=True)
    compact = traitlets.Bool(False).tag(sync=True)
    hidden = traitlets.List(traitlets.Unicode()).tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)
    about = traitlets.Dict(
        help="of each of the reader's own models what it was pretrained on: `classes`, [name, look], and `bands` of "
        "the sines; None where that is not known",
        read_only=True,
    ).tag(sync=True)
    places = traitlets.List(
        traitlets.Dict(), help="where the reader can go at once, and the tour", read_only=True
    ).tag(sync=True)
    first = traitlets.Dict(help="lines and numbers of the first view, from `still`").tag(sync=True)
    frames = traitlets.Dict(help="the same, rounded, at FRAMES").tag(sync=True)

    @traitlets.default("models")
    def _shipped(self) -> list[str]:
        return page.combination_models()

    def __init__(
        self, *, model: str | os.PathLike[str] | Transformer | None = None, **traits: Any
    ) -> None:
        self._priors: dict[str, FunctionClass | None] = {}
        super().__init__(**traits)
        for name in self.models:
            self.take(name, dim=1)
        if model is not None:
            self.model = self.take(model, dim=1)
        if self.model not in self.models:
            self.models = [*self.models, self.model]
        if self.bayes not in page.BAYES:
            raise ValueError(f"bayes must be one of {', '.join(page.BAYES)}, got {self.bayes!r}")
        if not set(self.hidden) <= set(NAMES):
            raise ValueError(f"hidden must be of {', '.join(NAMES)}, got {', '.join(self.hidden)}")
        self._priors = {name: _known_prior(model) for name, model in self.own.items()}
        self.set_trait("about", {name: _about(prior) for name, prior in self._priors.items()})
        usual = {**USUAL, "model": self.model}
        self.set_trait("places", offered(PLACES, usual, true=self.model in TOURED))
        serve(self, "curve", lambda: self.models, self._compute)

    _in_range = within(RANGES)
    _is_doubt = traitlets.validate("doubt")(check_doubt)

    def _compute(self, content: dict[str, Any], arrays: list[np.ndarray]) -> list[np.ndarray]:
        model = self.model_of(content["model"])
        asked = model, content["bayes"], content["weight"]
        prior = self._priors.get(content["model"])
        lines = curves(*asked, *arrays, doubt=content["doubt"], prior=prior)
        return [lines[name] for name in (*COMPUTED, "probability")]

    def truth(self, xs: np.ndarray, weight: float | None = None) -> np.ndarray:
        """The function of the first view at `xs`, or that of another weight."""
        a = self.weight if weight is None else weight
        sine = self.amplitude * np.sin(self.frequency * xs + self.phase * pi)
        return a * self.slope * xs + (1 - a) * sine

    def _picture(self, weight: float) -> dict[str, Any]:
        """Lines and numbers of the first view at a weight."""
        xs = np.array(draw_inputs(self.seed, self.n_examples))
        model = self.model_of(self.model)
        ys, truth = self.truth(xs, weight), self.truth(QUERIES, weight)
        prior = self._priors.get(self.model)
        lines = curves(model, self.bayes, weight, xs, ys, QUERIES, doubt=self.doubt, prior=prior)
        return {
            "lines": {name: lines[name].round(6).tolist() for name in COMPUTED},
            "errors": {name: mean_square(QUERIES, lines[name] - truth) for name in COMPUTED},
            "probability": lines["probability"].tolist(),
        }

    def still(self) -> HTML:
        """The first view as a still figure, to be displayed before the widget: it needs no script.

        The live picture takes its place, of the same size and with the same lines. These and the numbers go to the
        widget, which shows them until it has computed its own; and so do those of the weights in FRAMES.
        """
        xs = np.array(draw_inputs(self.seed, self.n_examples))
        ys, truth = self.truth(xs), self.truth(QUERIES)
        self.first = self._picture(self.weight)
        self.frames = frames({weight: self._picture(weight) for weight in FRAMES})
        fine = np.linspace(-REACH, REACH, 385)
        told = (self.about.get(self.model) or {}).get("classes")
        names = [name for name, _ in told] if told else ["line", "sine"]
        return curves_still(
            css=self._css,
            kind="is-compact" if self.compact else "",
            reach=REACH,
            top=top_of(max(abs(self.slope) * REACH, self.amplitude, *np.abs(ys), 0.0)),
            names=NAMES | {"transformer": ("Transformer", model_label(self.model))},
            looks={name: name for name in ("oracle", "linear", "truth", "mixture", "transformer")},
            lines={"truth": (fine, self.truth(fine))}
            | {name: (QUERIES, np.array(line)) for name, line in self.first["lines"].items()},
            points=(xs, ys),
            errors=self.first["errors"],
            zero=mean_square(QUERIES, truth),
            said=f"{self.weight:g} times a line plus {1 - self.weight:g} times a sine",
            hidden=self.hidden,
            below=reading(self.weight, self.first["probability"], self.first["errors"], names),
        )
