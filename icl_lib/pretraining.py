"""Pretraining in steps that are functions of tensors: what a reader's browser does, and a notebook's kernel too.

`training` trains a model in place, for as long as it takes. Here one step maps weights and optimisers' state to new
ones, the mixture weights being an argument, so that it can be a graph (`icl_lib.browser`), and so that the mixture may
change from one step to the next. Prompts (`sample_prompts`), model, Muon and AdamW are those of `training`. What
differs is the recipe, which has a minute and higher rates, and where the first weights come from: here from the
counter-based generator, so that a run is a function of seed and mixture weights wherever it runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from math import prod, sqrt
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from icl_lib._validate import check_count
from icl_lib.bayes.bands import FINE
from icl_lib.bayes.parts import expand
from icl_lib.bayes.posterior import predict_one
from icl_lib.bayes.regression import JITTER
from icl_lib.model import KIND, PAIR, Transformer, TransformerConfig, size_of
from icl_lib.muon import orthogonalise
from icl_lib.random import Draws
from icl_lib.recipes import LINE, POINTS
from icl_lib.samplers import (
    ConvexCombination,
    FunctionClass,
    Mixture,
    Sinusoid,
    describe,
    sample_prompts,
    training_seed,
)
from icl_lib.shapes import Placed, Polynomial
from icl_lib.weights import FORMAT

BAND = (1.0, 3.0)
"""Frequencies of the sines, in radians per unit of x: narrower than the book's, for what a minute can teach."""

CLASSES: dict[str, FunctionClass] = {
    "line": LINE,
    "sine": Sinusoid(*BAND),
    "quadratic": Polynomial(2),
    "step": Placed("step"),
}
"""What the reader can mix, in the order of the sliders."""

CONFIGS = {
    size: TransformerConfig.of_size(size, dim=1, max_examples=POINTS)
    for size in ("mini", "tiny", "slim", "small")
}
"""The shapes that the reader's model can have, by size; it can take the place of the book's own in the explorers."""

ON_PAGE = ("mini", "tiny")
"""The sizes that a browser trains; the others are for a running kernel."""

CONFIG = CONFIGS["tiny"]
"""The shape where none is asked for."""


class Phase(NamedTuple):
    """A part of a run, with prompts of one length.

    Attributes:
        until: its end, as a share of the run.
        points: in a prompt.
        prompts: in a step; few where they are long, so that all steps cost the same.
    """

    until: float
    points: int
    prompts: int


PHASES = (Phase(0.3, 15, 24), Phase(0.7, 21, 16), Phase(1.0, POINTS, 8))
"""The recipe: prompts that grow, from 14 in-context examples to 40.

A dozen were tried on lines and sines, a thousand steps of two seeds each, and this one did best, if by less than seeds
differ: after 20 examples its errors on sines are 0.24, 0.15, 0.16 and 0.35 for the seeds 1 to 4, on lines 0.01 to 0.04.
Half the prompts in 1,600 steps were clearly worse.
"""

STEPS = (500, 1000, 3000, 10_000)
"""How long a run can be. A thousand steps are a minute of one thread in a browser."""

MUON_RATE, ADAMW_RATE = 6e-3, 4e-3
"""Peak learning rates."""
_MUON_DECAY, _MOMENTUM = 0.1, 0.95
_BETAS, _EPSILON = (0.9, 0.999), 1e-8
_CLIP = 1.0
_WARMUP = 30


def phase_at(step: int, total: int) -> Phase:
    """The phase of `step` in a run of `total` steps."""
    return next(phase for phase in PHASES if step < phase.until * total or phase is PHASES[-1])


def rate_at(step: Int[Tensor, ""], total: Int[Tensor, ""]) -> Float[Tensor, ""]:
    """The learning rates at `step` of a run of `total` steps, as a fraction of their peaks."""
    warm, left = (step + 1) / (_WARMUP + 1), (total - step) / total
    return torch.minimum(warm, left).clamp(0.0, 1.0)


class Packing:
    """The parameters of a model in few tensors, so that an optimiser's step is few operations.

    The blocks' matrices, which Muon trains, are stacked by shape, (K, n, m); all others are one vector, the last.

    Args:
        config: the shape of the model.

    Attributes:
        stacks: the names in each stack.
        rest: the names in the vector.
        shapes: of every parameter.
    """

    def __init__(self, config: TransformerConfig) -> None:
        with torch.device("meta"):
            named = dict(Transformer(config).named_parameters())
        self.shapes = {name: tuple(p.shape) for name, p in named.items()}
        by_shape: dict[tuple[int, ...], list[str]] = {}
        for name, shape in self.shapes.items():
            if name.startswith("blocks.") and len(shape) == 2:
                by_shape.setdefault(shape, []).append(name)
        self.stacks = list(by_shape.values())
        stacked = {name for names in self.stacks for name in names}
        self.rest = [name for name in self.shapes if name not in stacked]

    def pack(self, named: Mapping[str, Tensor]) -> list[Float[Tensor, ...]]:
        """The parameters, by name, in few tensors."""
        stacks = [torch.stack([named[name] for name in names]) for names in self.stacks]
        return [*stacks, torch.cat([named[name].flatten() for name in self.rest])]

    def unpack(self, packed: Sequence[Float[Tensor, ...]]) -> dict[str, Tensor]:
        """The parameters by name."""
        *stacks, vector = packed
        named = {
            name: matrix
            for names, stack in zip(self.stacks, stacks, strict=True)
            for name, matrix in zip(names, stack.unbind(), strict=True)
        }
        lengths = [prod(self.shapes[name]) for name in self.rest]
        for name, values in zip(self.rest, vector.split(lengths), strict=True):
            named[name] = values.reshape(self.shapes[name])
        return named

    def places(self) -> dict[str, tuple[int, int]]:
        """Where each parameter begins: in which tensor, and at which of its numbers."""
        found = {
            name: (k, i * prod(self.shapes[name]))
            for k, names in enumerate(self.stacks)
            for i, name in enumerate(names)
        }
        begin = 0
        for name in self.rest:
            found[name] = (len(self.stacks), begin)
            begin += prod(self.shapes[name])
        return found


class InitialWeights(nn.Module):
    """The weights that a run begins with: distributed as `Transformer`'s, and a function of the seed alone.

    Args:
        config: the shape of the model.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config, self.packing = config, Packing(config)

    def forward(self, seed: Int[Tensor, ""]) -> list[Float[Tensor, ...]]:
        """The parameters, packed."""
        config, shapes = self.config, self.packing.shapes
        draws = Draws(seed, 0, 1).child(3)  # where no prompt has its numbers
        kind = KIND * draws.child(0).normal(2, config.width)[0]
        pair = PAIR * draws.child(1).normal(config.max_examples, 1, config.width)[0]
        lengths = [prod(shape) for shape in shapes.values()]
        ends = (2 * draws.child(2).uniform(sum(lengths))[0] - 1).split(lengths)
        named = {}
        for (name, shape), uniform in zip(shapes.items(), ends, strict=True):
            if name == "positions.weight":
                value = (kind + pair).flatten(0, 1)
            elif "norm" in name:
                value = torch.full(shape, float(name.endswith("weight")))
            else:
                columns = shapes[name.replace("bias", "weight")][1]
                value = (2.0 if name == "read_in.weight" else 1.0) / sqrt(columns) * uniform
            named[name] = value.reshape(shape).float()
        return self.packing.pack(named)


class PromptsOfStep(nn.Module):
    """The prompts that `sample_prompts` draws from the mixture of `CLASSES`, whose weights are an argument.

    Those of a smaller step, in number or in points, are the first of them.

    Args:
        prompts: how many.
        points: in each.
    """

    def __init__(self, prompts: int, points: int) -> None:
        super().__init__()
        self.prompts, self.points = prompts, points

    def forward(
        self, seed: Int[Tensor, ""], step: Int[Tensor, ""], weights: Float[Tensor, " classes"]
    ) -> tuple[
        Float[Tensor, "batch examples 1"], Float[Tensor, "batch examples"], Int[Tensor, " batch"]
    ]:
        """Draw.

        Args:
            seed: as `training_seed` gives it.
            step: of the run.
            weights: probability of each class.

        Returns:
            Inputs, values and the class of each, as `Prompts` has them.
        """
        draws = Draws(seed, step, self.prompts)
        xs = draws.child(0).normal(self.points, 1).float()
        node = draws.child(1)
        which = (node.child(0).uniform(1) >= weights.cumsum(0)[:-1]).sum(1)
        functions = [
            c.sample_functions(node.child(k + 1))[0] for k, c in enumerate(CLASSES.values())
        ]
        every = torch.stack([f(xs) for f in functions], dim=1)
        return xs, every.take_along_dim(which[:, None, None], dim=1)[:, 0].float(), which


class _Answers(nn.Module):
    """A model without its checks, by which a trace would be cut short."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.model = Transformer(config)

    def forward(self, xs: Tensor, ys: Tensor, queries: Tensor | None = None) -> Tensor:
        """A prediction of every y, or, at queries, a curve."""
        if queries is not None:
            return self.model.curve(xs, ys, queries)
        with sdpa_kernel(SDPBackend.MATH):  # what of attention a graph can hold, backward too
            return self.model.predictions(self.model.streams(xs, ys)[-1])


class _Bare:
    """A model's shape, and none of its weights: they come with each question.

    Args:
        config: the shape.
    """

    def __init__(self, config: TransformerConfig) -> None:
        self.packing = Packing(config)
        self.answers = _Answers(config).to("meta")

    def __call__(self, params: Sequence[Tensor], *asked: Tensor) -> Tensor:
        """What the model with these parameters, packed, answers."""
        named = {f"model.{name}": value for name, value in self.packing.unpack(params).items()}
        answer: Tensor = functional_call(self.answers, named, asked)
        return answer


class TrainingStep(nn.Module):
    """One step of pretraining: predictions, gradients, Muon and AdamW.

    Args:
        config: the shape of the model.
    """

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.model = _Bare(config)

    def forward(
        self,
        params: Sequence[Float[Tensor, ...]],
        momenta: Sequence[Float[Tensor, "_ _ _"]],
        mean: Float[Tensor, " rest"],
        square: Float[Tensor, " rest"],
        xs: Float[Tensor, "batch examples 1"],
        ys: Float[Tensor, "batch examples"],
        step: Int[Tensor, ""],
        total: Int[Tensor, ""],
    ) -> tuple[Tensor, list[Tensor], list[Tensor], Tensor, Tensor]:
        """Take a step.

        Args:
            params: the parameters, packed.
            momenta: Muon's running means of the gradients of its matrices.
            mean: AdamW's running mean of the gradients of the others,
            square: and of their squares.
            xs: the prompts' inputs,
            ys: and values.
            step: how many steps went before.
            total: how many there will be in all.

        Returns:
            The loss before the step, and what params, momenta, mean and square are after it.
        """
        loss, (*gradients, gradient) = self._gradients(params, xs, ys)
        *matrices, vector = params
        rate = rate_at(step, total)
        pairs = [_muon(*three, rate) for three in zip(matrices, gradients, momenta, strict=True)]
        vector, mean, square = _adamw(vector, gradient, mean, square, rate, step.float())
        moved = [matrix for matrix, _ in pairs]
        return loss, [*moved, vector], [momentum for _, momentum in pairs], mean, square

    def at_rest(
        self, params: Sequence[Float[Tensor, ...]]
    ) -> tuple[list[Float[Tensor, "_ _ _"]], Float[Tensor, " rest"], Float[Tensor, " rest"]]:
        """The optimisers' state before the first step."""
        *matrices, vector = params
        return (
            [torch.zeros_like(m) for m in matrices],
            torch.zeros_like(vector),
            torch.zeros_like(vector),
        )

    def _gradients(
        self, params: Sequence[Tensor], xs: Tensor, ys: Tensor
    ) -> tuple[Tensor, list[Tensor]]:
        """The loss, and its gradient, clipped."""
        leaves = [p.detach().requires_grad_() for p in params]
        with torch.enable_grad():
            loss = (self.model(leaves, xs, ys) - ys).square().mean()
            gradients = torch.autograd.grad(loss, leaves)
        norm = torch.stack([g.square().sum() for g in gradients]).sum().sqrt()
        scale = (_CLIP / (norm + 1e-6)).clamp(max=1.0)
        return loss.detach(), [g * scale for g in gradients]


def _muon(
    matrices: Tensor, gradients: Tensor, momenta: Tensor, rate: Tensor
) -> tuple[Float[Tensor, "_ _ _"], Float[Tensor, "_ _ _"]]:
    """As `muon.Muon`, for matrices of one shape: what they and the momenta are after a step."""
    momenta = momenta.lerp(gradients, 1 - _MOMENTUM)
    update = orthogonalise(gradients.lerp(momenta, _MOMENTUM))
    scale = 0.2 * sqrt(max(matrices.shape[1:])) * MUON_RATE
    return matrices * (1 - rate * MUON_RATE * _MUON_DECAY) - update * (scale * rate), momenta


def _adamw(
    params: Tensor, gradients: Tensor, mean: Tensor, square: Tensor, rate: Tensor, step: Tensor
) -> tuple[Float[Tensor, " rest"], Float[Tensor, " rest"], Float[Tensor, " rest"]]:
    """As `torch.optim.AdamW` without weight decay: what the parameters and the running means are after a step."""
    first, second = _BETAS
    mean = mean.lerp(gradients, 1 - first)
    square = second * square + (1 - second) * gradients.square()
    unbias, unbias_square = 1 - first ** (step + 1), (1 - second ** (step + 1)).sqrt()
    towards = mean / (square.sqrt() / unbias_square + _EPSILON)
    return params - (ADAMW_RATE * rate / unbias) * towards, mean, square


EXAMPLES = 20
"""In-context examples of the held prompts that are shown, and the most of those that are measured."""

_HELD_SEED = 20
_HELD = 16  # prompts of each class


class Shown(NamedTuple):
    """A held prompt whose curve the reader sees.

    Attributes:
        title: what its function is.
        function_class: what it was drawn from.
        seed: of the draw.
    """

    title: str
    function_class: FunctionClass
    seed: int


SHOWN = (
    Shown("line", CLASSES["line"], 12),
    Shown("sine", CLASSES["sine"], 11),
    Shown("quadratic", CLASSES["quadratic"], 54),
    Shown("step", CLASSES["step"], 26),
    Shown("halfway", ConvexCombination(CLASSES["line"], CLASSES["sine"], 0.5), 11),
    Shown("beyond", Sinusoid(5.0, 5.1), 20),
)
"""One of each class, one from between, one from beyond the band."""

QUERIES = torch.linspace(-3, 3, 97)
"""Where curves are drawn."""


def shown_prompts() -> tuple[
    Float[Tensor, "shown examples 1"],
    Float[Tensor, "shown examples"],
    Float[Tensor, "shown queries"],
]:
    """The inputs and values of `SHOWN`, and each one's function at `QUERIES`; float64."""
    drawn = []
    for _, function_class, seed in SHOWN:
        draws = Draws(seed, 0, 1)
        xs = draws.child(0).normal(EXAMPLES, 1)
        functions, _ = function_class.sample_functions(draws.child(1))
        drawn.append((xs, functions(xs), functions(QUERIES[None, :, None])))
    xs, ys, truth = map(torch.cat, zip(*drawn, strict=True))
    return xs, ys, truth


class Look(nn.Module):
    """How a model does on prompts that no run meets, beside exact Bayes for the mixture of the moment.

    What each class alone would predict, and how well it explains the examples, does not depend on the mixture weights:
    it is computed here, once, and exact Bayes for any weights is their average.

    Args:
        config: the shape of the model.
    """

    xs: Tensor
    ys: Tensor
    means: Tensor
    evidences: Tensor
    shown_xs: Tensor
    shown_ys: Tensor
    queries: Tensor
    curves: Tensor
    evidence: Tensor

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.model = _Bare(config)
        held = [sample_prompts(c, _HELD, EXAMPLES + 1, seed=_HELD_SEED) for c in CLASSES.values()]
        self.register_buffer("xs", torch.cat([prompts.xs for prompts in held]))
        self.register_buffer("ys", torch.cat([prompts.ys for prompts in held]))
        means, evidences = zip(
            *(
                _alone(self.xs[:, :i], self.ys[:, :i], self.xs[:, i : i + 1])
                for i in range(EXAMPLES + 1)
            ),
            strict=True,
        )
        self.register_buffer("means", torch.cat(means, dim=2))  # (K, P, n)
        self.register_buffer("evidences", torch.stack(evidences, dim=2))  # (K, P, n)
        xs, ys, _ = shown_prompts()
        queries = QUERIES[None, :, None].expand(len(xs), -1, -1)
        curves, evidence = _alone(xs, ys, queries)
        for name, value in {"shown_xs": xs, "shown_ys": ys, "queries": queries}.items():
            self.register_buffer(name, value.float())
        self.register_buffer("curves", curves)
        self.register_buffer("evidence", evidence)

    def forward(
        self, params: Sequence[Float[Tensor, ...]], weights: Float[Tensor, " classes"]
    ) -> tuple[
        Float[Tensor, "classes examples"],
        Float[Tensor, "shown queries"],
        Float[Tensor, "classes examples"],
        Float[Tensor, "shown queries"],
    ]:
        """Measure.

        Args:
            params: of the model, packed.
            weights: probability of each class in exact Bayes' prior.

        Returns:
            The model's mean squared error on each class after 0 to `EXAMPLES` examples, and its curves of `SHOWN`;
            the same of exact Bayes.
        """
        of_class = partial(torch.unflatten, dim=0, sizes=(len(CLASSES), -1))
        errors = (self.model(params, self.xs, self.ys) - self.ys).square()
        curves = self.model(params, self.shown_xs, self.shown_ys, self.queries)
        prior = weights.log()
        best = _average(self.means, prior, self.evidences)
        floor = (best - self.ys).square()
        bayes = _average(self.curves, prior, self.evidence[..., None])
        return of_class(errors).mean(1), curves, of_class(floor).mean(1), bayes


def _average(
    means: Float[Tensor, "classes ..."],
    prior: Float[Tensor, " classes"],
    evidences: Float[Tensor, "classes ..."],
) -> Float[Tensor, ...]:
    """What exact Bayes predicts: the mean of the classes' predictions, weighted by prior times evidence."""
    log_posterior = prior.reshape(-1, *[1] * (evidences.ndim - 1)) + evidences
    return (log_posterior.softmax(0) * means).sum(0)


def _alone(
    xs: Tensor, ys: Tensor, queries: Tensor
) -> tuple[Float[Tensor, "classes batch queries"], Float[Tensor, "classes batch"]]:
    """What each class alone predicts, and the log evidence of the examples under it."""
    found = []
    for function_class in CLASSES.values():
        [(_, parts)] = expand(function_class)
        given = (xs.double(), ys.double(), queries.double())
        found.append(predict_one(parts, *given, JITTER, FINE))
    means, evidences = zip(*found, strict=True)
    return torch.stack(means), torch.stack(evidences)


def file_metadata(config: TransformerConfig) -> dict[str, str]:
    """What a safetensors file of a pretrained model says of itself, as those of `weights.save` do."""
    return {"format": FORMAT, "model": json.dumps(asdict(config))}


def card(config: TransformerConfig) -> dict[str, Any]:
    """What the card of a pretrained model says whatever the run; the mixture that it has met is without its weights."""
    kinds = [describe(kind) for kind in CLASSES.values()]
    return {
        "format": FORMAT,
        "parameters": sum(map(prod, Packing(config).shapes.values())),
        "dtype": "float32",
        "recipe": {
            "class": "Pretraining",
            "model": describe(config),
            "function_class": {"class": "Mixture", "classes": kinds},
        },
    }


class Pretraining:
    """A run in this process: what the page does, by the same modules.

    Args:
        seed: of weights and prompts, in [0, 2**32).
        total: steps from the first to the last; a run is made longer by setting `total` to more.
        config: the shape of the model, for functions of one number.

    Raises:
        ValueError: an argument out of its range.
    """

    def __init__(
        self, seed: int, total: int = STEPS[1], config: TransformerConfig = CONFIG
    ) -> None:
        check_count("total", total)
        if config.dim != 1:
            raise ValueError(
                f"the classes are of functions of one number, got a model of {config.dim}"
            )
        self.config, self.total, self.step, self.seed = config, total, 0, seed
        self._seed = torch.tensor(training_seed(seed))
        self._mixtures: list[tuple[int, tuple[float, ...]]] = []
        self._lengths: list[tuple[int, int]] = []
        most = max(phase.prompts for phase in PHASES), max(phase.points for phase in PHASES)
        self._prompts, self._train = PromptsOfStep(*most), TrainingStep(config)
        self.params = InitialWeights(config)(self._seed)
        self._state = self._train.at_rest(self.params)

    def advance(self, weights: Sequence[float]) -> float:
        """Take a step on the mixture of `CLASSES` with these weights, which sum to 1; returns the loss before it.

        Raises:
            ValueError: the run has ended; weights of another number, negative, or of another sum.
        """
        if self.step == self.total:
            raise ValueError(f"the run has ended after {self.total} steps")
        mixture = Mixture(tuple(CLASSES.values()), tuple(weights))  # refuses weights that are none
        if not self._mixtures or self._mixtures[-1][1] != mixture.weights:
            self._mixtures.append((self.step, mixture.weights))
        if not self._lengths or self._lengths[-1][1] != self.total:
            self._lengths.append((self.step, self.total))
        phase, step = phase_at(self.step, self.total), torch.tensor(self.step)
        xs, ys, _ = self._prompts(
            self._seed, step, torch.tensor(mixture.weights, dtype=torch.float64)
        )
        part = slice(phase.prompts), slice(phase.points)
        loss, self.params, *self._state = self._train(
            self.params, *self._state, xs[part], ys[part], step, torch.tensor(self.total)
        )
        self.step += 1
        return float(loss)

    def met(self) -> list[float]:
        """The weights of `CLASSES` in what the run has met on the whole; ValueError before the first step."""
        if not self.step:
            raise ValueError("the run has met nothing yet: advance it")
        begins = [begin for begin, _ in self._mixtures]
        taken = [end - begin for begin, end in zip(begins, [*begins[1:], self.step], strict=True)]
        of_class = zip(*(weights for _, weights in self._mixtures), strict=True)
        return [
            sum(steps * weight for steps, weight in zip(taken, weights, strict=True)) / self.step
            for weights in of_class
        ]

    def model(self) -> Transformer:
        """The model as it stands; after the first step with a card, which says what it has met, as the page's do."""
        model = Transformer(self.config)
        model.load_state_dict(Packing(self.config).unpack(self.params))
        if self.step:
            told = card(self.config)
            recipe = told["recipe"] | {"seed": self.seed, "steps": self.total}
            recipe["function_class"] |= {"weights": self.met()}
            recipe |= {
                "mixtures": [[begin, list(weights)] for begin, weights in self._mixtures],
                "lengths": [list(length) for length in self._lengths],
            }
            name = f"pretrained-{size_of(self.config)}-{self.seed}-{self.step}"
            run = {"name": name, "seed": self.seed, "steps": self.step}
            model.card = told | run | {"recipe": recipe}
        return model.eval()
