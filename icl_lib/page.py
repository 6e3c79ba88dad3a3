"""What the page can show: the modules behind its graphs, by name.

A running notebook evaluates these modules, the built page runs the graphs that `icl_lib.browser` exports of them, so
that no mathematics is written twice. Nothing here needs onnx.
"""

from __future__ import annotations

import re
from functools import cache, partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from icl_lib import bayes, pretraining, recipes
from icl_lib.baselines import covariance
from icl_lib.bayes.graphs import krige_curve
from icl_lib.model import SIZES, Transformer, TransformerConfig, size_of
from icl_lib.samplers import FunctionClass, Mixture
from icl_lib.weights import available, load, read_card

BAYES = {"line+sine-0.5": recipes.line_and_sine(0.5)}
"""Mixtures of which the page draws exact posterior curves, by name."""

PREFIX_BAYES = {
    "dense+sparse": recipes.dense_and_sparse(0.5),
    "dense8+sparse8": recipes.DENSE_AND_SPARSE_8,
}
"""Mixtures whose exact posterior the page computes at every prefix, by name; their weight is an input of the graph."""

BAND_MODELS = (
    "line+sine-0.5-tiny",
    "line+gapped-0.5-tiny",
    "line+wide-0.5-tiny",
    "fast+line+sine-0.01-tiny",
    "line+sine-0.5-small",
    "line+sine-0.5-standard-brief",
    "sine-tiny",
)
"""Models whose training bands the page tells apart."""

ATTENDING = ("mini", "tiny", "small")
"""Sizes whose graphs also say how a query attends: the widget of attention has a picture for each of their heads."""

SMOOTH = "smooth"
"""So the page calls what a doubter allows for besides the classes: see `bayes.SmoothPosterior`."""

RIGHT = "right"
"""So the page calls `recipes.RIGHT_BAND`, whose band holds every frequency that it can ask for."""


def shape_name(config: TransformerConfig, dtype: str) -> str:
    """What the manifest calls the graph of all models of a shape whose weights have a type, such as "float16"."""
    return f"{size_of(config)}-{config.dim}-{config.max_examples}-{dtype}"


def prior_of(model: str) -> str:
    """The name of what a model was pretrained on: its own name up to the size."""
    return recipes.parts(model).mixture


BAND_BAYES: dict[str, FunctionClass] = {
    **{prior_of(name): recipes.RECIPES[name].function_class for name in BAND_MODELS},
    RIGHT: recipes.RIGHT_BAND,
}
"""Priors of lines and sines in any bands of which the page draws exact posterior curves, by name."""


LINEAR = {**BAYES, **{name: prior for name, prior in BAND_BAYES.items() if name != RIGHT}}
"""Mixtures of which the page draws the best linear predictor's curves, by name."""


MIXED = "mixed"
"""So the page calls `MIXABLE`, the weights of whose classes are an input of its graphs."""

MIXABLE = Mixture(
    tuple(pretraining.CLASSES.values()), (1 / len(pretraining.CLASSES),) * len(pretraining.CLASSES)
)
"""What a reader can pretrain on, on the page."""


class LinearCurve(nn.Module):
    """The best linear predictor of a whole curve, `baselines.best_linear_curve`, as a module that can be a graph.

    Args:
        function_class: whose covariance it knows; functions of one number.
        jitter: standard deviation of the noise that it assumes on the examples.
    """

    def __init__(self, function_class: FunctionClass, *, jitter: float = bayes.JITTER) -> None:
        super().__init__()
        self.function_class, self.jitter = function_class, jitter

    def forward(
        self,
        xs: Float[Tensor, "1 examples 1"],
        ys: Float[Tensor, "1 examples"],
        queries: Float[Tensor, "1 queries 1"],
        prior: Float[Tensor, " classes"] | None = None,
    ) -> Float[Tensor, "1 queries"]:
        """The prediction (1, Q) at the queries; everything is float64, and there may be no example.

        With a `prior`, the classes of the mixture have these probabilities instead of their own.
        """
        kernel = partial(covariance, self.function_class)
        if prior is not None:
            kernel = partial(_mixed_covariance, self.function_class, prior)
        return krige_curve([kernel], xs, ys, queries, self.jitter)[0]


def _mixed_covariance(
    mixture: FunctionClass, prior: Tensor, first: Tensor, second: Tensor
) -> Float[Tensor, "batch rows columns"]:
    """`covariance` of a mixture whose classes have other probabilities."""
    assert isinstance(mixture, Mixture)
    parts = [covariance(part, first, second) for part in mixture.classes]
    return (prior[:, None, None, None] * torch.stack(parts)).sum(0)


class TransformerCurve(nn.Module):
    """A model's prediction of a whole curve: `Transformer.predict_curve` as a module."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> Float[Tensor, "batch queries"]:
        """See `Transformer.predict_curve`."""
        return self.model.predict_curve(xs, ys, queries)


class CurveAndAttention(nn.Module):
    """A model's prediction of a whole curve, and how its queries attend, as a module."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        xs: Float[Tensor, "batch examples dim"],
        ys: Float[Tensor, "batch examples"],
        queries: Float[Tensor, "batch queries dim"],
    ) -> tuple[Float[Tensor, "batch queries"], Float[Tensor, "batch layers heads queries seen"]]:
        """See `Transformer.predict_curve` and `Transformer.attention`; prompts are not checked."""
        return self.model.attending_curve(xs, ys, queries)


@cache
def transformer_curve(model: str | Transformer) -> TransformerCurve:
    """The module behind the page's graph of a shipped model, or of any other; ValueError for an unknown name."""
    return TransformerCurve(load(model)).eval()


@cache
def curve_and_attention(model: str | Transformer) -> CurveAndAttention:
    """As `transformer_curve`, and with attention, which the page's graphs of the sizes of `ATTENDING` tell too."""
    return CurveAndAttention(load(model)).eval()


@cache
def bayes_curve(name: str) -> nn.Module:
    """The module behind the page's graph of the exact posterior of the mixture `name`.

    Maps (xs (1, n, 1), ys (1, n), queries (1, Q, 1), weight ()), all float64, to the mixture's mean (1, Q), the mean of
    the oracle that knows the combination weight (1, Q), and the class posterior (1, 2).

    Raises:
        ValueError: an unknown name.
    """
    if name not in BAYES:
        raise ValueError(f"the page has the exact posterior of {', '.join(BAYES)}, got {name!r}")
    return bayes.curve_module(BAYES[name]).eval()


@cache
def bayes_bands(prior: str | FunctionClass) -> bayes.BandPosterior:
    """The module behind the page's graph of exact Bayes with a prior, by name or itself; see `bayes.BandPosterior`.

    Raises:
        ValueError: an unknown name; a prior of other than lines and sines.
    """
    if isinstance(prior, FunctionClass):
        return bayes.band_module(prior).eval()
    name = prior
    if name not in BAND_BAYES:
        raise ValueError(
            f"the page has the exact posterior of {', '.join(BAND_BAYES)} with its bands, got {name!r}"
        )
    return bayes.band_module(BAND_BAYES[name]).eval()


@cache
def linear_curve(prior: str | FunctionClass) -> LinearCurve:
    """The module behind the page's graph of the best linear predictor, by the prior's name or itself.

    Raises:
        ValueError: an unknown name.
    """
    if isinstance(prior, str):
        if prior not in LINEAR:
            raise ValueError(
                f"the page has the best linear predictor of {', '.join(LINEAR)}, got {prior!r}"
            )
        prior = LINEAR[prior]
    return LinearCurve(prior).eval()


@cache
def transformer_prefixes(model: str | Transformer) -> Transformer:
    """The module behind the page's graph of a model of several dimensions; ValueError for an unknown name."""
    return load(model)


@cache
def bayes_prefixes(name: str) -> nn.Module:
    """The module behind the page's graph of the exact posterior of the mixture `name` at every prefix.

    See `bayes.PrefixPosterior` for what it maps to what.

    Raises:
        ValueError: an unknown name.
    """
    if name not in PREFIX_BAYES:
        raise ValueError(
            f"the page has the exact posterior of {', '.join(PREFIX_BAYES)} at every prefix, got {name!r}"
        )
    return bayes.prefix_module(PREFIX_BAYES[name]).eval()


def combination_models() -> list[str]:
    """The shipped models of lines and sines in equal parts, no names, no noise: of each size the longest trained."""
    longest: dict[str, str] = {}
    for name in available():
        size, setting = recipes.parts(name).size, recipes.RECIPES[name]
        if prior_of(name) == "line+sine-0.5" and not (setting.named or setting.noise):
            longest[size] = max(longest.get(size, name), name, key=_steps)
    return sorted(longest.values(), key=lambda name: list(SIZES).index(recipes.parts(name).size))


def _steps(model: str) -> int:
    steps: int = read_card(model)["steps"]
    return steps


def page_models() -> list[str]:
    """The shipped models that the page's widgets offer."""
    selection = r"(dense|sparse|dense\+sparse-[\d.]+)-(tiny|short|standard)|(dense8|sparse8|dense8\+sparse8-0.5)-slim"
    named = "|".join(map(re.escape, (*combination_models(), *BAND_MODELS)))
    pattern = re.compile(f"{selection}|{named}")
    return [name for name in available() if pattern.fullmatch(name)]
