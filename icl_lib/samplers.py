"""Function classes, their mixtures and combinations, and the prompts drawn from them.

A *prompt* is a sequence (x_1, f(x_1), x_2, f(x_2), ...) with x ~ N(0, I) and f drawn from a *function class*: a
distribution over functions. Each basic class here has E f(x)^2 = 1, so that scale alone never gives a class
away. There is no observation noise unless asked for. These settings are our choice; where the paper's are known, the
book says so.

Classes are frozen dataclasses that compose: a mixture of combinations of mixtures is a function class again.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from inspect import isabstract
from math import isclose
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from icl_lib._validate import (
    check_count,
    check_fraction,
    check_not_negative,
    check_positive,
    is_number,
)
from icl_lib.kernels import arc_cosine_kernel, squared_exponential_kernel
from icl_lib.latents import Interval, Latent, Support
from icl_lib.random import SEEDS, Draws

Functions = Callable[[Tensor], Tensor]
"""A batch of functions: maps inputs (B, n, d) to values (B, n), function b applied to row b."""


class Prompts(NamedTuple):
    """A batch of prompts.

    Attributes:
        xs: inputs, shape (B, n, d), float32.
        ys: values f(x), with noise if there is any, shape (B, n), float32.
        component: index of the mixture component that each prompt's function came from, shape (B,); 0 if not a mixture.
    """

    xs: Float[Tensor, "batch examples dim"]
    ys: Float[Tensor, "batch examples"]
    component: Int[Tensor, " batch"]


Sum = tuple[tuple[float, "FunctionClass"], ...]
"""Independent functions, each times a number, added up."""


class FunctionClass(ABC):
    """A distribution over functions from R^dim to R.

    A class of one's own is a frozen dataclass with `dim`, `second_moment` and either `features`, from which follow its
    functions and exact Bayes, or `functions`, and `covariance` if exact Bayes may take it for a Gaussian process.
    """

    # A field in some classes, a property in others, which one abstract property cannot be.
    if TYPE_CHECKING:

        @property
        def dim(self) -> int:
            """Dimension of the inputs."""

    linear: ClassVar[bool] = False
    """Whether every function is w . x for some w, its coefficients."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """Refuse a class that could not be described, or told from others, or that has no dimension.

        Raises:
            ValueError: a class that is no frozen dataclass, has no `dim`, or is called as one of the library is.
        """
        decorated = cls.__dict__.get("__dataclass_params__")
        if decorated is None or not decorated.frozen:
            raise ValueError(
                f"a function class is a frozen dataclass: write @dataclass(frozen=True) above class {cls.__name__}"
            )
        if not hasattr(cls, "dim") and "dim" not in cls.__dict__["__dataclass_fields__"]:
            raise ValueError(
                f"a function class says the dimension of its inputs: write dim = 1 (or a field dim) in {cls.__name__}"
            )
        if not _of_library(cls) and cls.__name__ in map(_name_of, _shipped()):
            raise ValueError(
                f"{cls.__name__} is a class of the library: a card could not tell yours from it; give it another name"
            )
        return super().__new__(cls)

    @property
    @abstractmethod
    def second_moment(self) -> float:
        """E f(x)^2 over functions and x ~ N(0, I), which is the error of predicting zero, the line of ignorance."""

    def at_dim(self, dim: int) -> FunctionClass:
        """The same class in `dim` dimensions, for a curriculum; ValueError where there is none."""
        if dim != self.dim:
            raise ValueError(f"{self!r} is a class in {self.dim} dimensions only, got {dim}")
        return self

    @property
    def latent(self) -> Latent | None:
        """What the features depend on besides x, with its prior; None if on nothing."""
        return None

    def features(
        self, xs: Float[Tensor, "*points dim"], latent: Shaped[Tensor, "*nodes size"]
    ) -> list[Float[Tensor, ...]] | None:
        """The features phi of x, where f(x) = w . phi(x), w ~ N(0, I), given the latent; None if f is of no such form.

        Args:
            xs: inputs, float64; only the last axis is coordinates.
            latent: values of the latent; all axes but the last broadcast against those of `xs`.

        Returns:
            One tensor for each feature, of the shape that the axes of `xs` and `latent` but the last broadcast to, or
            of that of `xs` alone.
        """
        return None

    def covariance(
        self, xs: Float[Tensor, "batch n dim"], zs: Float[Tensor, "batch m dim"]
    ) -> Float[Tensor, "batch n m"] | None:
        """E f(x) f(z), where f is a Gaussian process or is taken for one; None if it is not.

        What has features and no latent is one.
        """
        if self.latent is not None:
            return None
        left, right = (self.features(points, points.new_zeros(0)) for points in (xs, zs))
        if left is None or right is None:
            return None
        return torch.stack(left, -1) @ torch.stack(right, -1).mT

    def functions(self, draws: Draws) -> Functions:
        """Draw `draws.batch_size` functions: w . phi(x), unless a class has another way.

        Raises:
            ValueError: a class without features.
        """
        count = feature_count(self)
        if count is None:
            raise ValueError(f"{type(self).__name__} needs features, or functions of its own")
        nothing = torch.empty(draws.batch_size, 0, dtype=torch.float64, device=draws.device)
        latent = nothing if self.latent is None else self.latent.sample(draws.child(0))
        weights = draws.child(1).normal(count).split(1, dim=-1)

        def functions(xs: Tensor) -> Tensor:
            features = self.features(xs.double(), latent[:, None]) or []
            first, *rest = (w * phi for w, phi in zip(weights, features, strict=True))
            return sum(rest, start=first)

        return functions

    def sample_functions(self, draws: Draws) -> tuple[Functions, Int[Tensor, " batch"]]:
        """Draw `draws.batch_size` functions; returns them and each one's mixture component (B,)."""
        component = torch.zeros(draws.batch_size, dtype=torch.int64, device=draws.device)
        return self.functions(draws), component

    def components(self) -> list[tuple[float, FunctionClass]]:
        """The classes that this one mixes, with their weights; itself, if it mixes none."""
        return [(1.0, self)]

    def unfold(self) -> list[tuple[float, Sum]]:
        """This class as a mixture of sums of basic classes, none of probability or weight zero."""
        return [(1.0, ((1.0, self),))]


def feature_count(function_class: FunctionClass) -> int | None:
    """How many features a class has; None if f is of no such form.

    Raises:
        ValueError: a feature of another shape than `FunctionClass.features` asks for.
    """
    size = 0 if function_class.latent is None else function_class.latent.size
    zero = torch.zeros(3, function_class.dim + size, dtype=torch.float64)
    features = function_class.features(zero[:, : function_class.dim], zero[:, function_class.dim :])
    for feature in features or []:
        if feature.shape != (3,):
            raise ValueError(
                f"a feature of {type(function_class).__name__} at inputs (3, {function_class.dim}) must have shape "
                f"(3,), got {tuple(feature.shape)}"
            )
    return None if features is None else len(features)


def _check_class(name: str, value: object) -> None:
    if not isinstance(value, FunctionClass):
        raise ValueError(f"{name} must be a function class such as DenseLinear(20), got {value!r}")


@dataclass(frozen=True)
class DenseLinear(FunctionClass):
    """f(x) = w . x with w ~ N(0, I / dim). In one dimension: the lines through the origin.

    Raises:
        ValueError: `dim` is not a positive integer.
    """

    second_moment = 1.0
    linear = True
    dim: int

    def __post_init__(self) -> None:
        check_count("dim", self.dim)

    def at_dim(self, dim: int) -> DenseLinear:
        return DenseLinear(dim)

    def features(self, xs: Tensor, latent: Tensor) -> list[Tensor]:
        return [xs[..., c] / self.dim**0.5 for c in range(self.dim)]

    def covariance(self, xs: Tensor, zs: Tensor) -> Tensor:
        return xs @ zs.mT / self.dim

    def functions(self, draws: Draws) -> Functions:
        w = draws.child(0).normal(self.dim) / self.dim**0.5
        return lambda xs: torch.einsum("bnd,bd->bn", xs.double(), w)


@dataclass(frozen=True)
class SparseLinear(FunctionClass):
    """f(x) = w . x with `nnz` coordinates of w, chosen uniformly, drawn from N(0, 1 / nnz), the others zero.

    Raises:
        ValueError: `dim` or `nnz` is not a positive integer, or nnz > dim.
    """

    second_moment = 1.0
    linear = True
    dim: int
    nnz: int

    def __post_init__(self) -> None:
        check_count("dim", self.dim)
        check_count("nnz", self.nnz)
        if self.nnz > self.dim:
            raise ValueError(f"nnz must be at most dim = {self.dim}, got {self.nnz}")

    def at_dim(self, dim: int) -> SparseLinear:
        return SparseLinear(dim, self.nnz)

    @property
    def latent(self) -> Support:
        return Support(self.dim, self.nnz)

    def features(self, xs: Tensor, latent: Tensor) -> list[Tensor]:
        return [
            xs.take_along_dim(latent[..., c, None].long(), dim=-1)[..., 0] / self.nnz**0.5
            for c in range(self.nnz)
        ]

    def unfold(self) -> list[tuple[float, Sum]]:
        return DenseLinear(self.dim).unfold() if self.nnz == self.dim else super().unfold()

    def functions(self, draws: Draws) -> Functions:
        support = self.latent.sample(draws.child(0))
        values = draws.child(1).normal(self.nnz) / self.nnz**0.5
        w = torch.zeros(draws.batch_size, self.dim, dtype=torch.float64, device=draws.device)
        w.scatter_(1, support, values)
        return lambda xs: torch.einsum("bnd,bd->bn", xs.double(), w)


@dataclass(frozen=True)
class ReluNetwork(FunctionClass):
    """f(x) = dim^-1/2 sum_j a_j relu(w_j . x), w_j ~ N(0, I), a_j ~ N(0, 2 / width), j = 1..width.

    Two-layer networks as in Garg et al. (arXiv 2208.01066), scaled to unit second moment.

    Raises:
        ValueError: `dim` or `width` is not a positive integer.
    """

    second_moment = 1.0
    dim: int
    width: int = 100

    def __post_init__(self) -> None:
        check_count("dim", self.dim)
        check_count("width", self.width)

    def at_dim(self, dim: int) -> ReluNetwork:
        return ReluNetwork(dim, self.width)

    def covariance(self, xs: Tensor, zs: Tensor) -> Tensor:
        return arc_cosine_kernel(xs, zs)

    def functions(self, draws: Draws) -> Functions:
        inner = draws.child(0).normal(self.dim, self.width)
        outer = draws.child(1).normal(self.width) * (2.0 / (self.width * self.dim)) ** 0.5
        return lambda xs: torch.einsum(
            "bnh,bh->bn", torch.einsum("bnd,bdh->bnh", xs.double(), inner).relu(), outer
        )


@dataclass(frozen=True)
class Sinusoid(FunctionClass):
    """f(x) = a sin(w x) + b cos(w x), a, b ~ N(0, 1), frequency w ~ U(low, high) in radians per unit of x; x scalar.

    Amplitude is thus Rayleigh, phase uniform: chosen because the posterior given the frequency is then Gaussian.

    Raises:
        ValueError: not 0 < low < high, or one of them not finite.
    """

    second_moment = 1.0
    low: float = 1.0
    high: float = 5.0

    def __post_init__(self) -> None:
        if not (is_number(self.low) and is_number(self.high) and 0 < self.low < self.high):
            raise ValueError(
                f"a band needs 0 < low < high, both finite, got low={self.low!r}, high={self.high!r}"
            )

    @property
    def dim(self) -> int:
        return 1

    @property
    def latent(self) -> Interval:
        return Interval(self.low, self.high)

    def features(self, xs: Tensor, latent: Tensor) -> list[Tensor]:
        angle = latent[..., 0] * xs[..., 0]
        return [angle.sin(), angle.cos()]


@dataclass(frozen=True)
class GaussianProcess(FunctionClass):
    """Smooth functions of no particular form: a Gaussian process with the squared-exponential kernel, unit variance.

    Functions are drawn at the points of the prompt together, exactly but for rounding; asked again, at other points,
    they are refused.

    Raises:
        ValueError: `dim` is not a positive integer, or `length` not a positive, finite number.
    """

    second_moment = 1.0
    dim: int = 1
    length: float = 1.0

    def __post_init__(self) -> None:
        check_count("dim", self.dim)
        check_positive("length", self.length)

    def at_dim(self, dim: int) -> GaussianProcess:
        return GaussianProcess(dim, self.length)

    def covariance(self, xs: Tensor, zs: Tensor) -> Tensor:
        return squared_exponential_kernel(xs, zs, self.length)

    def functions(self, draws: Draws) -> Functions:
        def functions(xs: Tensor) -> Tensor:
            points = xs.double()
            identity = torch.eye(points.shape[1], dtype=torch.float64, device=points.device)
            covariance = self.covariance(points, points) + 1e-10 * identity  # against rounding
            factor = torch.linalg.cholesky(covariance)
            return (factor @ draws.normal(points.shape[1])[:, :, None])[:, :, 0]

        return functions


@dataclass(frozen=True)
class Mixture(FunctionClass):
    """Draws each prompt's function from one of `classes`, class k with probability `weights[k]`.

    Raises:
        ValueError: no class, dimensions or lengths that disagree, a weight outside [0, 1], weights that do not
        sum to 1.
    """

    classes: tuple[FunctionClass, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        for name in ("classes", "weights"):
            value = getattr(self, name)
            if not isinstance(value, (tuple, list)):
                raise ValueError(f"{name} must be a tuple or a list, got {value!r}")
            object.__setattr__(self, name, tuple(value))
        if not self.classes or len(self.classes) != len(self.weights):
            raise ValueError(
                f"a mixture needs one weight per class, got {len(self.classes)} classes and {len(self.weights)} weights"
            )
        for index, (function_class, weight) in enumerate(
            zip(self.classes, self.weights, strict=True)
        ):
            _check_class(f"classes[{index}]", function_class)
            check_fraction(f"weights[{index}]", weight)
        if not isclose(sum(self.weights), 1.0, abs_tol=1e-9):
            raise ValueError(
                f"mixture weights must sum to 1, got {self.weights} with sum {sum(self.weights)}"
            )
        dims = [function_class.dim for function_class in self.classes]
        if len(set(dims)) > 1:
            raise ValueError(f"the classes of a mixture must share one input dimension, got {dims}")

    @property
    def dim(self) -> int:
        return self.classes[0].dim

    def components(self) -> list[tuple[float, FunctionClass]]:
        return list(zip(self.weights, self.classes, strict=True))

    def unfold(self) -> list[tuple[float, Sum]]:
        return [
            (weight * probability, terms)
            for weight, component in self.components()
            if weight > 0
            for probability, terms in component.unfold()
        ]

    def at_dim(self, dim: int) -> Mixture:
        return Mixture(tuple(c.at_dim(dim) for c in self.classes), self.weights)

    @property
    def second_moment(self) -> float:
        return sum(w * c.second_moment for w, c in zip(self.weights, self.classes, strict=True))

    def sample_functions(self, draws: Draws) -> tuple[Functions, Int[Tensor, " batch"]]:
        edges = torch.tensor(self.weights, dtype=torch.float64, device=draws.device).cumsum(0)
        # The last edge is 1 up to rounding: leaving it out keeps the index below the number of classes.
        component = torch.bucketize(draws.child(0).uniform(1)[:, 0], edges[:-1], right=True)
        parts = [c.sample_functions(draws.child(k + 1))[0] for k, c in enumerate(self.classes)]

        def functions(xs: Tensor) -> Tensor:
            values = torch.stack([part(xs) for part in parts])  # (K, B, n)
            return values[component, torch.arange(len(component), device=values.device)]

        return functions, component


@dataclass(frozen=True)
class ConvexCombination(FunctionClass):
    """f = weight * f1 + (1 - weight) * f2, with f1 and f2 drawn independently from `first` and `second`.

    Raises:
        ValueError: a weight outside [0, 1], or classes whose dimensions disagree.
    """

    first: FunctionClass
    second: FunctionClass
    weight: float

    def __post_init__(self) -> None:
        _check_class("first", self.first)
        _check_class("second", self.second)
        check_fraction("weight", self.weight)
        if self.first.dim != self.second.dim:
            raise ValueError(
                "the classes of a combination must share one input dimension, "
                f"got {self.first.dim} and {self.second.dim}"
            )

    @property
    def dim(self) -> int:
        return self.first.dim

    def unfold(self) -> list[tuple[float, Sum]]:
        parts = (self.weight, self.first), (1 - self.weight, self.second)
        first, second = (
            [(p, tuple((weight * s, basic) for s, basic in terms)) for p, terms in part.unfold()]
            if weight > 0
            else [(1.0, ())]
            for weight, part in parts
        )
        return [(p * q, terms + others) for p, terms in first for q, others in second]

    def at_dim(self, dim: int) -> ConvexCombination:
        return ConvexCombination(self.first.at_dim(dim), self.second.at_dim(dim), self.weight)

    @property
    def second_moment(self) -> float:
        # Every class here has mean zero at each x, so the cross term vanishes.
        return (
            self.weight**2 * self.first.second_moment
            + (1 - self.weight) ** 2 * self.second.second_moment
        )

    def sample_functions(self, draws: Draws) -> tuple[Functions, Int[Tensor, " batch"]]:
        first, _ = self.first.sample_functions(draws.child(0))
        second, _ = self.second.sample_functions(draws.child(1))
        component = torch.zeros(draws.batch_size, dtype=torch.int64, device=draws.device)
        return lambda xs: self.weight * first(xs) + (1 - self.weight) * second(xs), component


def describe(value: Any) -> Any:
    """A function class, or a dataclass that holds some, as plain values: dictionaries with a name, and lists.

    Raises:
        ValueError: a value in it that is neither a number nor a string nor None, nor a tuple or a dataclass of such.
    """
    if is_dataclass(value) and not isinstance(value, type):
        return {"class": type(value).__name__} | {
            f.name: describe(getattr(value, f.name)) for f in fields(value)
        }
    if isinstance(value, tuple):
        return [describe(item) for item in value]
    if value is not None and not isinstance(value, (bool, int, float, str)):
        raise ValueError(
            "what a card is to hold must be numbers, strings, None, and tuples and dataclasses of them, "
            f"got {value!r}"
        )
    return value


def undescribe(plain: Any, known: Mapping[str, Callable[..., Any]] | None = None) -> Any:
    """What `describe` described: the inverse of it.

    Args:
        plain: what `describe` gave, or the same from JSON. A field that has a default may be missing.
        known: what a description may name, beside the function classes; those of one's own count once their module is
            imported.

    Raises:
        ValueError: an unknown class, an unknown or missing field, a value that the class refuses.
    """
    if isinstance(plain, Mapping):
        makers = {_name_of(c): c for c in (*_concrete(FunctionClass), *_shipped())} | dict(
            known or {}
        )
        fields_given = dict(plain)
        name = fields_given.pop("class", None)
        if name not in makers:
            raise ValueError(
                f"a description needs a class of {', '.join(sorted(makers))}, got {name!r}"
            )
        values = {key: undescribe(value, known) for key, value in fields_given.items()}
        try:
            return makers[name](**values)
        except TypeError as error:  # a field too many, or one too few
            raise ValueError(f"{name} cannot be made of {', '.join(values)}: {error}") from None
    if isinstance(plain, (list, tuple)):
        return tuple(undescribe(item, known) for item in plain)
    return plain


def _concrete(kind: type[Any]) -> Iterator[type[Any]]:
    """The classes below `kind` that can be made."""
    for below in kind.__subclasses__():
        yield from _concrete(below)
        if not isabstract(below):
            yield below


def _shipped() -> Iterator[type[FunctionClass]]:
    """The function classes of the library itself."""
    return filter(_of_library, _concrete(FunctionClass))


def _of_library(kind: type[Any]) -> bool:
    return kind.__module__.partition(".")[0] == __name__.partition(".")[0]


def _name_of(kind: type[Any]) -> str:
    return kind.__name__


def check_seed(seed: int) -> None:
    """Refuse what is not a seed of evaluation, an integer in [0, 2**32)."""
    check_count("seed", seed, 0, SEEDS - 1)


def training_seed(seed: int) -> int:
    """The seed under which training draws its prompts: seeds of evaluation end where those of training begin."""
    check_seed(seed)
    return seed + SEEDS


def sample_prompts(
    function_class: FunctionClass,
    batch_size: int,
    n_examples: int,
    *,
    seed: int,
    step: int = 0,
    scale: float = 1.0,
    shift: float = 0.0,
    noise: float = 0.0,
    device: torch.device | str = "cpu",
) -> Prompts:
    """Draw a batch of prompts, a pure function of (seed, step).

    Prompt b depends on (seed, step, b) alone: neither on the batch size nor, as far as it reaches, on the
    number of examples. Two function classes are given the same inputs xs at the same (seed, step).

    Args:
        function_class: what f is drawn from.
        batch_size: number of prompts B.
        n_examples: number n of points (x, y) in each prompt, y = f(x) but for noise.
        seed: an integer in [0, 2**32) for evaluation; training uses `training_seed(seed)`, which lies beyond.
        step: batch number, in [0, 2**32).
        scale: standard deviation of the inputs, x ~ N(shift, scale^2 I). Those of pretraining have 1; another value
            asks the same functions at the same draws, stretched.
        shift: mean of the inputs' every coordinate.
        noise: standard deviation of the noise on the values, independent and normal; inputs and functions stay the
            same.
        device: where the prompts are made.

    Returns:
        Prompts(xs (B, n, d), ys (B, n), component (B,)), xs and ys in float32.

    Raises:
        ValueError: an argument outside its range or not finite; mixtures and combinations that nest more than two deep,
            or mix more than 254 classes.
    """
    _check_class("function_class", function_class)
    check_count("batch_size", batch_size)
    check_count("n_examples", n_examples)
    check_count("seed", seed, 0, 2 * SEEDS - 1)
    check_count("step", step, 0, 2**32 - 1)
    check_positive("scale", scale)
    if not is_number(shift):
        raise ValueError(f"shift must be a finite number, got {shift!r}")
    check_not_negative("noise", noise)
    draws = Draws(seed=seed, step=step, batch_size=batch_size, device=device)
    xs = (shift + scale * draws.child(0).normal(n_examples, function_class.dim)).float()
    functions, component = function_class.sample_functions(draws.child(1))
    ys = functions(xs)
    if ys.shape != xs.shape[:2]:
        raise ValueError(
            f"the functions of {function_class!r} must map {tuple(xs.shape)} to {tuple(xs.shape[:2])}, "
            f"got {tuple(ys.shape)}"
        )
    if noise > 0:
        ys = ys + noise * draws.child(2).normal(n_examples)
    return Prompts(xs, ys.float(), component)


def in_words(function_class: FunctionClass) -> str:
    """A function class in few words: 50% DenseLinear(20), 50% SparseLinear(20,2)."""
    if isinstance(function_class, Mixture):
        first, *others = function_class.weights
        if len(others) > 1 and all(weight == first for weight in others):
            return f"{first * 100:.3g}% each of {', '.join(map(in_words, function_class.classes))}"
        parts = zip(function_class.weights, function_class.classes, strict=True)
        shared = ((f"{weight * 100:.3g}%", in_words(part)) for weight, part in parts)
        return ", ".join(
            f"{share} ({w})" if "," in w and "%" in w else f"{share} {w}" for share, w in shared
        )
    if isinstance(function_class, ConvexCombination):
        ends = (function_class.first, function_class.second)
        shares = (function_class.weight, 1 - function_class.weight)
        return " + ".join(f"{a:g} {in_words(end)}" for a, end in zip(shares, ends, strict=True))
    fields = [value for key, value in describe(function_class).items() if key != "class"]
    words = (value if isinstance(value, str) else format(value, "g") for value in fields)
    return f"{type(function_class).__name__}({','.join(words)})"
