"""The selection explorer: which class does a model believe in, as function and pretraining mixture move."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import traitlets
from IPython.display import HTML
from jaxtyping import Float

from icl_lib import page
from icl_lib.model import Transformer
from icl_lib.recipes import DENSE, DENSE_8, RECIPES, SHARES, SPARSE, SPARSE_8, points_of
from icl_lib.samplers import Mixture
from icl_lib.weights import available, load, read_card, trained_on
from icl_lib.widgets.draws import normal, uniforms
from icl_lib.widgets.kernel import Explorer, serve
from icl_lib.widgets.source import source
from icl_lib.widgets.still import selection_still
from icl_lib.widgets.tour import Place, offered

PROMPTS = 64
"""Prompts in a batch, as in widget.js."""

ANSWERS = ("transformer", "dense", "sparse", "mixture", "probability")
"""What is computed at every prefix of every prompt: four predictions, and exact Bayes' P(dense)."""

FRAMES = (1, 2, 3, 4, 6, 10)
"""The numbers of nonzeros that the reader can slide through before anything has been fetched; and all."""

APART = 1e-3
"""Mean squared difference of the experts below which no blend of them is told, as in widget.js."""

LINES = ("transformer", "mixture", "dense", "sparse")
"""The predictors whose errors are drawn."""


CLASSES = {DENSE.dim: (DENSE, SPARSE), DENSE_8.dim: (DENSE_8, SPARSE_8)}
"""The two classes, by their dimension."""

_BAYES = {prior.dim: name for name, prior in page.PREFIX_BAYES.items()}

USUAL = {"share": 0.5, "nnz": 2, "n_examples": 10, "seed": 1, "size": "short"}
PLACES = (
    Place(
        "Sparse, two examples",
        {"n_examples": 2},
        "After two examples of sparse functions exact Bayes cannot tell: it gives each class about half.",
    ),
    Place(
        "Sparse, five examples",
        {"n_examples": 5},
        "After five exact Bayes is certain that they are sparse; the transformer still follows the dense expert.",
        "Three examples more",
    ),
    Place(
        "Sparse, fifteen examples",
        {"n_examples": 15},
        "After fifteen the transformer stands between the experts, and errs; exact Bayes does not.",
        "Ten examples more",
    ),
    Place(
        "Three nonzeros",
        {"nnz": 3},
        "With a third coefficient the functions are no longer sparse, and exact Bayes takes most for dense.",
        "Add a coefficient",
    ),
    Place(
        "Dense, twenty examples",
        {"nnz": 20, "n_examples": 20},
        "Twenty examples determine a dense function of twenty numbers, and the transformer still errs.",
        "Let all twenty count",
    ),
    Place(
        "Eight dimensions",
        {"size": "slim", "n_examples": 6},
        "In eight dimensions, trained for longer, it glides too: after six examples it stands between the experts.",
        "Now in eight dimensions",
    ),
    Place("The sparse specialist", {"share": 0.0}),
    Place("The sparse specialist, lost", {"share": 0.0, "nnz": 20, "n_examples": 30}),
    Place("Sparse functions are rare", {"size": "tiny", "share": 0.99}),
)
"""Where a reader can go at once, and the tour, whose sentences tests/test_tours.py holds to what is shown."""

DIMS = {"tiny": 20, "short": 20, "standard": 20, "slim": 8}
"""The sizes on offer, and how many numbers the functions have that their models have met."""

YOURS = "yours"
"""What stands for a size where the reader's own model is chosen."""


def _share_of(card: Mapping[str, Any]) -> float:
    """The share of dense functions that a card's model was pretrained with.

    Raises:
        ValueError: it was pretrained on other functions.
    """
    function_class = trained_on(card)
    dense, sparse = CLASSES.get(function_class.dim, CLASSES[DENSE.dim])
    parts = {dense: 1.0, sparse: 0.0}
    if isinstance(function_class, Mixture) and function_class.classes == (dense, sparse):
        return function_class.weights[0]
    if function_class not in parts:
        raise ValueError(
            f"SelectionExplorer shows models of {dense}, {sparse} and their mixture, "
            f"{card['name']!r} was pretrained on {function_class}"
        )
    return parts[function_class]


def models_of(size: str) -> list[list[Any]]:
    """The shipped models of one size, with the share of dense functions in the pretraining of each: [share, name]."""
    said = "" if DIMS[size] == DENSE.dim else f"{DIMS[size]}"
    names = [
        (0.0, f"sparse{said}-{size}"),
        *((share, f"dense{said}+sparse{said}-{share}-{size}") for share in SHARES),
        (1.0, f"dense{said}-{size}"),
    ]
    return [[share, name] for share, name in names if name in available()]


def label_of(size: str) -> str:
    """What the reader is told of a size: how many models it has, or its dimensions, and what is unusual in training."""
    names = [name for _, name in models_of(size)]
    dim = DIMS[size]
    count = f"{len(names)} model{'s' * (len(names) != 1)}"
    helped = any(RECIPES[name].deep_supervision for name in names)
    told = (size, count if dim == DENSE.dim else f"{dim} dimensions", *["second loss"] * helped)
    return ", ".join(told)


@torch.no_grad()
def answers(
    model: str | Transformer,
    bayes: str,
    weight: float,
    xs: Float[np.ndarray, "prompts points dim"],
    ys: Float[np.ndarray, "prompts points"],
) -> dict[str, Float[np.ndarray, "prompts points"]]:
    """Compute everything that the explorer draws, with the modules that are exported to the browser.

    Args:
        model: the transformer, or its name.
        bayes: name of the mixture whose exact posterior is drawn, such as dense+sparse.
        weight: prior probability of the mixture's first class.
        xs: inputs, shape (B, n, d).
        ys: values, shape (B, n).

    Returns:
        For each of ANSWERS an array (B, n), float64.
    """
    inputs, values = torch.from_numpy(np.array(xs)), torch.from_numpy(np.array(ys))
    dense, sparse, mixture, probability = page.bayes_prefixes(bayes)(
        inputs, values, torch.tensor(weight, dtype=torch.float64)
    )
    transformer = page.transformer_prefixes(model)(inputs.float(), values.float())
    found = (transformer, dense, sparse, mixture, probability)
    return {name: value.double().numpy() for name, value in zip(ANSWERS, found, strict=True)}


def draw_batch(
    seed: int, nnz: int, n_prompts: int = PROMPTS, dim: int = DENSE.dim
) -> tuple[Float[np.ndarray, "prompts points dim"], Float[np.ndarray, "prompts points"]]:
    """The prompts of a seed, as widget.js draws them: the functions of k + 1 nonzeros continue those of k."""
    xs, values = draw_batches(seed, (nnz,), n_prompts, dim)
    return xs, values[0]


def draw_batches(
    seed: int, nnzs: Sequence[int], n_prompts: int = PROMPTS, dim: int = DENSE.dim
) -> tuple[Float[np.ndarray, "prompts points dim"], list[Float[np.ndarray, "prompts points"]]]:
    """The same for several numbers of nonzeros, which share their inputs: those, and for each number the values."""
    uniform = uniforms(seed)
    points = points_of(dim)
    xs = np.empty((n_prompts, points, dim))
    ys = [np.empty((n_prompts, points)) for _ in nnzs]
    for b in range(n_prompts):
        xs[b] = [[normal(uniform) for _ in range(dim)] for _ in range(points)]
        coefficients = [normal(uniform) for _ in range(dim)]
        keys = [uniform() for _ in range(dim)]
        order = sorted(range(dim), key=keys.__getitem__)
        for values, nnz in zip(ys, nnzs, strict=True):
            values[b] = xs[b][:, order[:nnz]] @ np.array(coefficients)[:nnz] / nnz**0.5
    return xs, ys


def summary(
    ys: Float[np.ndarray, "prompts points"], found: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    """Means over a batch at each number of examples, as widget.js takes them.

    Returns:
        `errors`, for each of LINES the mean squared error; `spread`, half the transformer's 90% interval (normal
        approximation); `belief`, exact Bayes' mean P(dense); `blend`, the share of the dense expert in the
        transformer's predictions, by regression on the two experts over the prompts; None where they differ by
        less than APART.
    """
    squares = {name: (found[name] - ys) ** 2 for name in LINES}
    apart = found["dense"] - found["sparse"]
    over, under = ((found["transformer"] - found["sparse"]) * apart).sum(0), (apart**2).sum(0)
    blend = np.where(under / len(ys) > APART, over / np.maximum(under, 1e-300), np.nan)
    return {
        "errors": {name: square.mean(0).tolist() for name, square in squares.items()},
        "spread": (1.645 * squares["transformer"].std(0) / len(ys) ** 0.5).tolist(),
        "belief": found["probability"].mean(0).tolist(),
        "blend": [None if np.isnan(part) else float(part) for part in blend],
    }


class SelectionExplorer(Explorer):
    """Linear functions of 20 or 8 numbers, some of which count: for which of its classes does a model take them?

    Traits set the first view; the reader's moves stay in the front end, where the page's address keeps them.

    Args:
        share: share of dense functions in the pretraining of the model shown first.
        nnz: nonzero coefficients of the functions, from 1 to as many as dimensions.
        n_examples: examples at which the numbers are read, from 0 to twice as many as dimensions; by default as many.
        seed: of the prompts, in [0, 2**32).
        size: size of the models shown first; it decides the dimensions.
        sizes: sizes that the reader can choose, of DIMS.
        model: a model of one's own to show first, in a running notebook: what `icl_lib.load` takes. Its share of dense
            functions is that of its card, or, if it has none, `share`.
        key: prefix of the view's keys in the address; needed where a page has several of these.

    Raises:
        ValueError: a number outside its range, a size that is not among `sizes`, or no model of that size and share; a
            model of other inputs, or pretrained on other than dense and sparse functions.
        TypeError: an argument that it does not have.
    """

    _esm = source("shared.js", "own.js", "guide.js", "selection/widget.js")
    _css = source("shared.css", "plot.css", "selection/widget.css")

    share = traitlets.Float(0.5).tag(sync=True)
    nnz = traitlets.Int(2).tag(sync=True)
    n_examples = traitlets.Int(20).tag(sync=True)
    seed = traitlets.Int(1).tag(sync=True)
    size = traitlets.Unicode("tiny").tag(sync=True)
    models = traitlets.Dict(help="for each size, [share, name] of each model", read_only=True).tag(
        sync=True
    )
    labels = traitlets.Dict(help="for each size, what the reader is told", read_only=True).tag(
        sync=True
    )
    dims = traitlets.Dict(help="for each size, the dimensions", read_only=True).tag(sync=True)
    bayes = traitlets.Dict(help="for each size, which exact Bayes", read_only=True).tag(sync=True)
    key = traitlets.Unicode("").tag(sync=True)
    places = traitlets.List(
        traitlets.Dict(), help="where the reader can go at once, and the tour", read_only=True
    ).tag(sync=True)
    first = traitlets.Dict(help="the numbers of the first view, from `still`").tag(sync=True)
    frames = traitlets.Dict(help="the same, rounded, by number of nonzeros").tag(sync=True)

    def __init__(
        self,
        *,
        sizes: Sequence[str] = tuple(DIMS),
        model: str | os.PathLike[str] | Transformer | None = None,
        **traits: Any,
    ) -> None:
        super().__init__(**traits)
        unknown = [size for size in sizes if size not in DIMS]
        if unknown:
            raise ValueError(f"sizes must be among {', '.join(DIMS)}, got {', '.join(unknown)}")
        models = {size: models_of(size) for size in sizes}
        labels = {size: label_of(size) for size in sizes}
        dims = {size: DIMS[size] for size in sizes}
        if model is not None:
            asked = load(model).config.dim
            dims[YOURS] = asked if asked in CLASSES else DENSE.dim
            name = self.take(model, dims[YOURS], points=points_of(dims[YOURS]))
            card = self.own[name].card if name in self.own else read_card(name)
            self.share = self.share if card is None else _share_of(card)
            self.size = YOURS
            models[YOURS], labels[YOURS] = [[self.share, name]], name
        self.set_trait("dims", dims)
        self.set_trait("bayes", {size: _BAYES[dim] for size, dim in dims.items()})
        self.set_trait("models", models)
        self.set_trait("labels", labels)
        if "n_examples" not in traits and self.size in dims:
            self.n_examples = dims[self.size]
        self._check()
        self.set_trait("places", offered(PLACES, USUAL, shown=self._shows))
        serve(self, "prefixes", self._names, self._compute)

    def _check(self) -> None:
        """Refuse a view that there is not."""
        self._name()
        dim = self.dims[self.size]
        for name, low, high in (
            ("nnz", 1, dim),
            ("n_examples", 0, 2 * dim),
            ("seed", 0, 2**32 - 1),
        ):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be in [{low}, {high}], got {getattr(self, name)}")

    def _name(self) -> str:
        """The model of the first view."""
        found = dict(self.models.get(self.size, []))
        if self.share not in found:
            raise ValueError(
                f"no model of size {self.size!r} was pretrained with a share of {self.share:g}; "
                f"{self.size!r} has {', '.join(f'{share:g}' for share in found) or 'none'}"
            )
        return str(found[self.share])

    def _shows(self, view: Mapping[str, Any]) -> bool:
        """Whether there is a model for a view."""
        return view["share"] in dict(self.models.get(view["size"], []))

    def _names(self) -> list[str]:
        return [name for models in self.models.values() for _, name in models]

    def _compute(self, content: dict[str, Any], arrays: list[np.ndarray]) -> list[np.ndarray]:
        inputs, values = arrays
        ys = values.reshape(content["prompts"], -1)
        xs = inputs.reshape(*ys.shape, -1)
        model = self.model_of(content["model"])
        found = answers(model, content["bayes"], content["weight"], xs, ys)
        return [found[name] for name in ANSWERS]

    def still(self) -> HTML:
        """The first view as a still figure, to be displayed before the widget: it needs no script.

        Its numbers go to the widget, which shows them until it has computed its own; and so do those of other numbers
        of nonzeros.
        """
        self._check()
        dim, name = self.dims[self.size], self._name()
        counts = sorted({*(nnz for nnz in FRAMES if nnz < dim), self.nnz, dim})
        xs, batches = draw_batches(self.seed, counts, dim=dim)
        model = self.model_of(name)
        pictures = {
            nnz: summary(ys, answers(model, self.bayes[self.size], self.share, xs, ys))
            for nnz, ys in zip(counts, batches, strict=True)
        }
        self.first = found = pictures[self.nnz]
        self.frames = {str(nnz): _rounded(picture) for nnz, picture in pictures.items()}
        return selection_still(
            css=self._css,
            errors={name: np.array(values) for name, values in found["errors"].items()},
            spread=np.array(found["spread"]),
            belief=np.array(found["belief"]),
            blend=np.array(found["blend"], dtype=float),
            n_examples=self.n_examples,
            said=f"{PROMPTS} linear functions with {self.nnz} of {dim} coefficients nonzero, "
            f"and {'your' if self.size == YOURS else f'a {self.size}'} model pretrained with "
            f"{self.share:.0%} dense functions",
        )


def _rounded(numbers: Any) -> Any:
    """Three digits of each number, in whatever lists and tables they stand."""
    if isinstance(numbers, Mapping):
        return {name: _rounded(part) for name, part in numbers.items()}
    if isinstance(numbers, list):
        return [_rounded(part) for part in numbers]
    return None if numbers is None else float(f"{numbers:.3g}")
