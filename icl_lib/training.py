"""Training: fresh prompts each step, Muon and AdamW, a curriculum, checkpoints that lose nothing.

Every step is a function of (setting, step, weights, optimiser state): the prompts come from `(seed, step)` and the
learning rate from `step`. A checkpoint therefore needs no generator's state, and a run that is killed and resumed ends
with the very weights of a run that was not, on a CPU, on the same machine with the same number of threads.

A run need not know its length. Without `steps` it goes on at a constant rate for as long as it is let; at any time
`Setting.annealed` branches off a number of steps over which the rates fall to zero, and those give the weights to use,
while the long run goes on. `Setting.parent` starts a run from a finished model.

The orthogonalised momentum of Muon (Jordan et al., 2024) drives the matrices inside the blocks, AdamW everything else:
on this problem that is worth more than a faster machine (the README's benchmarks give the figures).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import filelock
import torch
from jaxtyping import Float
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.compiler import config as compiler
from torch.nn.functional import pad
from torch.nn.parallel import DistributedDataParallel
from tqdm.auto import tqdm

from icl_lib import bayes, naming
from icl_lib._validate import check_count, check_fraction, check_not_negative, check_positive
from icl_lib.model import INITIALISATIONS, Transformer, TransformerConfig
from icl_lib.muon import Muon
from icl_lib.parallel import ALONE, Group
from icl_lib.samplers import (
    FunctionClass,
    Mixture,
    check_seed,
    describe,
    sample_prompts,
    training_seed,
    undescribe,
)
from icl_lib.supervision import TARGETS, Probes, check_supervisable, targets

CHECKPOINT = "checkpoint.safetensors"
ADDED_UP = 1e-5
"""By how much weights may differ, at most, between a run whose batches are cut and one whose batches are not."""
LOCK = "lock"
_REPORT_PROMPTS = 64
_REPORT_SEED = 2**32 - 1  # an evaluation seed that the book's own evaluations do not use
_SMOOTHING = 0.02  # share of the newest step in the smoothed loss
# Smoothed loss, in units of the error of predicting zero, beyond which a run is given up. A step as bad is not saved.
_DIVERGED = 10.0
# Width below which a step's time is that of its many small operations, not of the memory.
_NARROW = 64


class TrainingDiverged(RuntimeError):
    """The loss became NaN, infinite or much worse than predicting zero."""


class FolderInUse(ValueError):
    """Another process works in the folder."""


@dataclass(frozen=True)
class Ramp:
    """A whole number that grows from `start` to `stop`, by `by` every `every` steps.

    Raises:
        ValueError: not 1 <= start <= stop, or `by` or `every` below 1.
    """

    start: int
    stop: int
    by: int = 1
    every: int = 1

    def __post_init__(self) -> None:
        for name in ("start", "stop", "by", "every"):
            check_count(f"a ramp's {name}", getattr(self, name))
        if self.start > self.stop:
            raise ValueError(f"a ramp needs start <= stop, got {self}")

    def at(self, step: int) -> int:
        """The value at `step`."""
        return min(self.stop, self.start + self.by * (step // self.every))


@dataclass(frozen=True)
class Parent:
    """A finished model from whose weights a run starts, with fresh optimisers and prompts that the model has not met.

    Args:
        sha256: of the weights' file, as its card has it.
        steps: training steps that the model has behind it; the run's own prompts are those of the steps after.
        prompts: how many prompts it was trained on.

    Raises:
        ValueError: `steps` or `prompts` is not a positive integer.
    """

    sha256: str
    steps: int
    prompts: int

    def __post_init__(self) -> None:
        check_count("a parent's steps", self.steps)
        check_count("a parent's prompts", self.prompts)


@dataclass(frozen=True)
class Setting:
    """Everything that a training run depends on.

    Args:
        function_class: what prompts are drawn from.
        model: the shape of the transformer.
        steps: number of steps; None for a run that goes on, at a constant rate, for as long as it is let.
        seed: of the prompts and of the initial weights, in [0, 2**32).
        batch_size: prompts per step.
        dims: curriculum over the input dimension; the others are zero. None: all from the start.
        examples: curriculum over the points per prompt. None: `model.max_examples` from the start.
        muon_rate: peak learning rate of the blocks' matrices, in the scale of AdamW's.
        muon_decay: their decoupled weight decay, in units of the learning rate. Without any they grow as long as they
            are trained, and the same rate comes to mean less and less.
        adamw_rate: peak learning rate of all other parameters.
        warmup: steps of linear warm-up.
        decay: fraction of the run, at its end, over which the rates fall linearly to zero. A run without `steps` has
            no end.
        clip: the gradient's largest norm, above zero; infinity to leave it as it is.
        initialisation: of the weights, see `Transformer`.
        deep_supervision: weight of the second loss of `supervision`, for linear functions; none if zero.
        supervision_target: what that loss asks for, one of `supervision.TARGETS`.
        optimiser: "muon", or "adam" for Adam on everything at `adamw_rate`, as in Garg et al.
        parent: the finished model that the run starts from; None to start from nothing.
        noise: standard deviation of the noise on the values of the prompts.
        named: share of the prompts that say which of a mixture's two classes their function is from; see `naming`. If
            above zero, all prompts have the coordinate and the point for it, and the model takes both.

    Raises:
        ValueError: a value outside its range, or dimensions that disagree.
    """

    function_class: FunctionClass
    model: TransformerConfig
    steps: int | None = None
    seed: int = 0
    batch_size: int = 64
    dims: Ramp | None = None
    examples: Ramp | None = None
    muon_rate: float = 4e-3
    muon_decay: float = 0.1
    adamw_rate: float = 2e-3
    warmup: int = 100
    decay: float = 0.6
    clip: float = 1.0
    initialisation: str = "paired"
    deep_supervision: float = 0.0
    supervision_target: str = "function"
    optimiser: str = "muon"
    parent: Parent | None = None
    noise: float = 0.0
    named: float = 0.0

    def __post_init__(self) -> None:
        for name, kind in (("function_class", FunctionClass), ("model", TransformerConfig)):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, got {getattr(self, name)!r}")
        check_fraction("named", self.named)
        if self.named:
            self._check_named()
        if self.function_class.dim + (self.named > 0) != self.model.dim:
            room = " and the name one more" if self.named else ""
            raise ValueError(
                f"the model takes dimension {self.model.dim}, the function class has {self.function_class.dim}{room}"
            )
        for name, ramp, most in (
            ("dims", self.dims, self.model.dim),
            ("examples", self.examples, self.model.max_examples),
        ):
            if ramp is not None and (not isinstance(ramp, Ramp) or ramp.stop != most):
                raise ValueError(f"the curriculum over {name} must be a Ramp to {most}, got {ramp}")
        if self.dims is not None:
            self.function_class.at_dim(
                self.dims.start
            )  # refuses a dimension that the class cannot have
        check_seed(self.seed)
        if self.steps is not None:
            check_count("steps", self.steps)
        check_count("batch_size", self.batch_size)
        check_count("warmup", self.warmup, least=0)
        check_not_negative("muon_rate", self.muon_rate)
        check_not_negative("muon_decay", self.muon_decay)
        check_not_negative("adamw_rate", self.adamw_rate)
        check_not_negative("deep_supervision", self.deep_supervision)
        check_not_negative("noise", self.noise)
        check_fraction("decay", self.decay)
        if self.clip != math.inf:
            check_positive("clip", self.clip)
        if self.deep_supervision:
            check_supervisable(self.function_class, self.model)
            if self.supervision_target == "function":
                self._check_points()
                if self.noise:
                    raise ValueError(
                        "noisy values do not give their function away: deep supervision needs "
                        f"supervision_target='posterior' with a noise of {self.noise}"
                    )
        if self.initialisation not in INITIALISATIONS:
            raise ValueError(
                f"initialisation must be one of {', '.join(INITIALISATIONS)}, got {self.initialisation!r}"
            )
        if self.optimiser not in ("muon", "adam"):
            raise ValueError(f"optimiser must be 'muon' or 'adam', got {self.optimiser!r}")
        if self.supervision_target not in TARGETS:
            raise ValueError(
                f"supervision_target must be one of {', '.join(TARGETS)}, got {self.supervision_target!r}"
            )
        if self.parent is not None and not isinstance(self.parent, Parent):
            raise ValueError(f"parent must be a Parent or None, got {self.parent!r}")
        describe(self)  # refuses what a checkpoint could not hold, before there is anything to lose

    def _check_points(self) -> None:
        """Refuse prompts that do not determine their function.

        Points never grow fewer: they can fall short only where the dimension has just grown.
        """
        grows = self.dims.every if self.dims else 1
        last = grows * (self.dims.stop - self.dims.start) // self.dims.by + 1 if self.dims else 1
        for step in range(0, last if self.steps is None else min(last, self.steps), grows):
            if self.points_at(step) < self.dim_at(step):
                raise ValueError(
                    f"deep supervision needs as many points as dimensions, got {self.points_at(step)} points in "
                    f"{self.dim_at(step)} dimensions at step {step}"
                )

    def _check_named(self) -> None:
        """Refuse names where there are no two classes, and what is not made for the coordinate that they stand in."""
        mixed = self.function_class
        if not isinstance(mixed, Mixture) or len(mixed.classes) != len(naming.NAMES):
            raise ValueError(f"names are for a mixture of two classes, got {mixed!r}")
        if self.dims is not None or self.deep_supervision:
            raise ValueError(
                "prompts with names have neither a curriculum over dims nor deep supervision, "
                f"got {self.dims} and {self.deep_supervision}"
            )

    def annealed(self, at: int, steps: int) -> Setting:
        """The setting whose first `at` steps are this one's, and whose rates then fall to zero over `steps` more.

        Raises:
            ValueError: the rates of this setting are already falling at `at`, or have not warmed up.
        """
        check_count("steps", steps)
        check_count("the step to anneal from", at, least=self.warmup)
        if self.steps is not None and at > self.steps - round(self.decay * self.steps):
            raise ValueError(
                f"a run can be annealed while its rates are constant, got step {at} of {self.steps}, "
                f"the last {round(self.decay * self.steps)} of which have falling rates"
            )
        return replace(self, steps=at + steps, decay=steps / (at + steps))

    def extended(self, parent: Parent) -> Setting:
        """An open-ended run from a finished model of this setting; the curriculum lies behind it."""
        return replace(self, steps=None, dims=None, examples=None, parent=parent)

    def phases(self, done: int) -> dict[str, int]:
        """Prompts met in each phase by the step `done`; "before" are the parent's."""
        falling = 0 if self.steps is None else round(self.decay * self.steps)
        falls_from = done if self.steps is None else self.steps - falling
        edges = {
            "warm-up": min(done, self.warmup, falls_from),
            "constant rate": min(done, falls_from),
            "falling rate": done,
        }
        counts, before = {"before": 0 if self.parent is None else self.parent.prompts}, 0
        for name, end in edges.items():
            counts[name] = (end - before) * self.batch_size
            before = end
        return counts

    def rate(self, step: int) -> float:
        """The learning rates at `step`, as a fraction of their peaks."""
        warm = min(1.0, (step + 1) / (self.warmup + 1))
        if self.steps is None:
            return warm
        fall = (self.steps - step) / max(1.0, self.decay * self.steps)
        return min(warm, fall, 1.0)

    def dim_at(self, step: int) -> int:
        """How many coordinates of the inputs are not zero at `step`."""
        return self.model.dim if self.dims is None else self.dims.at(step)

    def points_at(self, step: int) -> int:
        """How many points a prompt of `step` has, that of the name among them."""
        return self.model.max_examples if self.examples is None else self.examples.at(step)

    def prompts(
        self, step: int, device: torch.device | str = "cpu"
    ) -> tuple[Float[Tensor, "batch examples dim"], Float[Tensor, "batch examples"]]:
        """The prompts of `step`: inputs (B, n, d) and values (B, n)."""
        dim = self.dim_at(step)
        function_class = (
            self.function_class if dim == self.model.dim else self.function_class.at_dim(dim)
        )
        seed = training_seed(self.seed)
        number = step if self.parent is None else self.parent.steps + step
        xs, ys, component = sample_prompts(
            function_class,
            self.batch_size,
            self.points_at(step) - (self.named > 0),
            seed=seed,
            step=number,
            noise=self.noise,
            device=device,
        )
        if self.named:
            return naming.with_name(xs, ys, naming.names_of(component, self.named, seed, number))
        return pad(xs, (0, self.model.dim - dim)), ys

    def as_dict(self) -> dict[str, Any]:
        """The setting as plain values, for cards and checkpoints."""
        return describe(self)

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Setting:
        """The setting that `as_dict` gave; fields that are missing take their defaults.

        Args:
            plain: the fields by name. Only function classes need say their "class"; what else can stand in a field is
                clear.

        Raises:
            ValueError: an unknown field or class, one that is missing and has no default, a value out of its range.
        """
        kinds = {kind.__name__: kind for kind in (cls, TransformerConfig, Ramp, Parent)}
        implied = {"model": TransformerConfig, "dims": Ramp, "examples": Ramp, "parent": Parent}
        full = {
            key: {"class": implied[key].__name__, **value}
            if key in implied and isinstance(value, Mapping)
            else value
            for key, value in plain.items()
        }
        made = undescribe({"class": cls.__name__, **full}, kinds)
        if not isinstance(made, cls):
            raise ValueError(f"this describes {made!r}, which is no setting of a training")
        return made


@dataclass
class Run:
    """A training run in progress: model, optimisers, probes of the second loss; steps done, their losses, seconds."""

    setting: Setting
    model: Transformer
    optimisers: dict[str, torch.optim.Optimizer]
    probes: Probes | None = None
    step: int = 0
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def start(
        cls,
        setting: Setting,
        device: torch.device | str = "cpu",
        parent: Transformer | None = None,
    ) -> Run:
        """A run before its first step; the initial weights are a function of the seed, or those of `parent`.

        Raises:
            ValueError: `parent` is not the model that the setting names.
        """
        card = None if parent is None else (parent.card or {}).get("sha256", "one without a card")
        named = None if setting.parent is None else setting.parent.sha256
        if card != named:
            raise ValueError(f"the setting starts from the weights {named}, got {card}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(setting.seed)
            model = Transformer(setting.model, setting.initialisation)
            if parent is not None:
                model.load_state_dict(parent.state_dict())
            model = model.to(device)
            probes = Probes(setting.model).to(device) if setting.deep_supervision else None
        run = cls(setting, model, {}, probes)
        run.optimisers = _optimisers(run)
        return run

    @classmethod
    def resume(
        cls, setting: Setting, folder: str | os.PathLike[str], device: torch.device | str = "cpu"
    ) -> Run:
        """The run whose checkpoint lies in `folder`, or one before its first step if there is none.

        Raises:
            ValueError: the checkpoint belongs to another setting, or is damaged.
        """
        path = Path(folder) / CHECKPOINT
        if not path.exists():
            return cls.start(setting, device)
        run = cls._empty(setting, device)
        run.restore(path)
        return run

    @classmethod
    def branch(
        cls, setting: Setting, path: Path, steps: int, device: torch.device | str = "cpu"
    ) -> Run:
        """The run that anneals, over `steps` steps, from the checkpoint at `path` of the run of `setting`.

        Raises:
            ValueError: as for `restore` and `Setting.annealed`.
        """
        run = cls._empty(setting, device)
        run.restore(path)
        run.setting = setting.annealed(run.step, steps)
        return run

    @classmethod
    def _empty(cls, setting: Setting, device: torch.device | str) -> Run:
        """A run to restore a checkpoint into: whatever its parent was, the checkpoint has what came of it."""
        run = cls.start(replace(setting, parent=None), device)
        run.setting = setting
        return run

    def parameters(self) -> list[torch.nn.Parameter]:
        """What is trained: the model's parameters, and the probes'."""
        return [*self.model.parameters(), *(self.probes.parameters() if self.probes else ())]

    def save(self, path: Path) -> None:
        """Write everything to `path`, whole or not at all."""
        tensors = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        if self.probes is not None:
            for name, value in self.probes.state_dict().items():
                tensors[f"probes.{name}"] = value
        for kind, optimiser in self.optimisers.items():
            for index, state in optimiser.state_dict()["state"].items():
                for name, value in state.items():
                    tensors[f"{kind}.{index}.{name}"] = torch.as_tensor(value)
        tensors["losses"] = torch.tensor(self.losses, dtype=torch.float64)
        metadata = {
            "setting": json.dumps(self.setting.as_dict()),
            "step": str(self.step),
            "seconds": str(self.seconds),
            "sha256": _digest(tensors),
        }
        write_whole(path, lambda part: save_file(tensors, part, metadata=metadata))

    def restore(self, path: Path) -> None:
        """Continue from the checkpoint at `path`.

        Raises:
            ValueError: the checkpoint belongs to another setting, or is damaged.
        """
        metadata, tensors = _read(path)
        here = json.loads(json.dumps(self.setting.as_dict()))
        # A field may be younger than the checkpoint.
        there = _defaults() | json.loads(metadata["setting"])
        if there != here:
            differing = [key for key in here | there if there.get(key) != here.get(key)]
            raise ValueError(
                f"{path} is a checkpoint of another setting, which differs in {', '.join(differing)}; "
                "give another folder or delete it to start again"
            )
        self.model.load_state_dict(_under("model.", tensors))
        if self.probes is not None:
            self.probes.load_state_dict(_under("probes.", tensors))
        for kind, optimiser in self.optimisers.items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(f"{kind}.", tensors).items():
                index, key = name.split(".", 1)
                state.setdefault(int(index), {})[key] = value
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.step = int(metadata["step"])
        self.losses = tensors["losses"].tolist()
        self.seconds = float(metadata["seconds"])


def reached(path: Path) -> tuple[int, float]:
    """How many steps the run of the checkpoint at `path` has done, and in how many seconds; none if there is no file.

    Raises:
        ValueError: the checkpoint is damaged.
    """
    if not path.exists():
        return 0, 0.0
    metadata, _ = _read(path)
    return int(metadata["step"]), float(metadata["seconds"])


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    """Metadata and tensors of the checkpoint at `path`, known to be whole."""
    try:
        with safe_open(path, framework="pt") as file:
            metadata = {
                key: file.metadata()[key] for key in ("setting", "step", "seconds", "sha256")
            }
            # Copies, for the file is mapped into memory, and what is mapped cannot be replaced on Windows.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118  (not a mapping)
    except Exception as error:
        raise ValueError(f"{path} is not a readable checkpoint: {error!r}") from error
    if metadata["sha256"] != _digest(tensors):
        raise ValueError(f"{path} is not a readable checkpoint: its SHA-256 does not fit")
    return metadata, tensors


def _defaults() -> dict[str, Any]:
    """The fields of a setting that have a default, as a checkpoint holds them."""
    return {
        f.name: json.loads(json.dumps(describe(f.default)))
        for f in fields(Setting)
        if f.default is not MISSING
    }


def _digest(tensors: dict[str, Tensor]) -> str:
    """SHA-256 of names and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(
            tensors[name].detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()
        )
    return digest.hexdigest()


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def _optimisers(run: Run) -> dict[str, torch.optim.Optimizer]:
    """Muon on the blocks' matrices, AdamW, without weight decay, on the rest."""
    setting, everything = run.setting, run.parameters()
    if setting.optimiser == "adam":
        return {"adam": torch.optim.Adam(everything, lr=setting.adamw_rate, fused=True)}
    matrices = [p for p in run.model.blocks.parameters() if p.ndim == 2]
    inside = {id(p) for p in matrices}
    rest = [p for p in everything if id(p) not in inside]
    return {
        "muon": Muon(
            matrices,
            lr=setting.muon_rate,
            weight_decay=setting.muon_decay,
            dtype=torch.bfloat16 if _on_gpu(matrices[0].device) else torch.float32,
        ),
        "adamw": torch.optim.AdamW(rest, lr=setting.adamw_rate, weight_decay=0.0, fused=True),
    }


def _on_gpu(device: torch.device) -> bool:
    return device.type == "cuda"


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk, and move it into place in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        write(part)
        part.chmod(0o644)  # safetensors leaves it to its owner alone
        with open(part, "r+b") as file:  # Windows flushes only what is open for writing
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)  # on a full disk half a file would keep it full


class _Errors(nn.Module):
    """Squared errors, summed: of the predictions, and of what the probes read; in bfloat16 if that is asked for."""

    def __init__(self, model: Transformer, probes: Probes | None, half: bool) -> None:
        super().__init__()
        self.model, self.probes, self.half_precision = model, probes, half

    def forward(self, xs: Tensor, ys: Tensor, truth: Tensor | None) -> tuple[Tensor, Tensor]:
        with torch.autocast(xs.device.type, torch.bfloat16, enabled=self.half_precision):
            streams = self.model.streams(xs, ys)
            predictions = self.model.predictions(streams[-1])
            read = predictions.new_zeros(()) if self.probes is None else self.probes(streams, truth)
        return (predictions.float() - ys).square().sum(), read.float()


def train_steps(
    run: Run, *, micro_batch: int | None = None, group: Group = ALONE
) -> Iterator[float]:
    """Do one training step per item, to the end of the setting if it has one; yields the loss before each step.

    On a GPU the step is compiled and its matrix products are in bfloat16. On a CPU neither pays at these sizes; there
    the batch is taken in slices of 16 prompts, whose activations stay in the cache, or whole by the narrowest models.

    How a batch is cut, into slices or among processes, changes the order in which its gradients are added up, and so
    their last digits: in the tests' runs of 30 steps no weight by more than `ADDED_UP`.

    Args:
        run: what is trained.
        micro_batch: prompts of a slice, whose gradients are added up before the step; None for what is said above.
        group: the processes that share each batch.

    Raises:
        ValueError: a batch that the processes cannot share evenly, or `micro_batch` not a positive integer.
        TrainingDiverged: a loss or gradient that is not finite.
    """
    setting, model, probes = run.setting, run.model, run.probes
    own = group.rows(setting.batch_size)
    if micro_batch is not None:
        check_count("micro_batch", micro_batch)
    device = next(model.parameters()).device
    # Prompts and posteriors are computed in double precision, which Apple's GPUs do not have.
    exact = torch.device("cpu") if device.type == "mps" else device
    on_gpu = _on_gpu(device)
    whole = on_gpu or setting.model.width < _NARROW
    slice_size = micro_batch or (setting.batch_size if whole else 16)
    errors: nn.Module = _Errors(model, probes, on_gpu)
    local: Callable[[], AbstractContextManager[None]] = nullcontext
    if group.size > 1:
        shared = DistributedDataParallel(errors)
        errors, local = shared, shared.no_sync
    if on_gpu:
        # One graph for each size of the curriculum: left to itself, dynamo runs what comes after the eighth uncompiled.
        sizes = setting.model.max_examples * setting.model.dim
        patient = compiler.patch(  # type: ignore[attr-defined]
            recompile_limit=sizes, accumulated_recompile_limit=sizes
        )
        errors = patient(torch.compile(errors, dynamic=False))
    rates = {"muon": setting.muon_rate, "adamw": setting.adamw_rate, "adam": setting.adamw_rate}
    while setting.steps is None or run.step < setting.steps:
        begin = time.perf_counter()
        xs, ys = setting.prompts(run.step, exact)
        values, read_values = ys.numel(), ys[:, 1:].numel()  # of the whole batch
        xs, ys = xs[own], ys[own]
        truth = None
        if probes is not None:
            dim = setting.dim_at(run.step)
            asked = targets(
                setting.supervision_target,
                setting.function_class.at_dim(dim),
                xs[..., :dim],
                ys,
                setting.noise,
            )
            truth = pad(asked, (0, setting.model.dim - dim)).to(device)
        xs, ys = xs.to(device), ys.to(device)
        loss = torch.zeros((), device=device)
        for part in range(0, len(xs), slice_size):
            rows = slice(part, part + slice_size)
            # Processes exchange their gradients once, with the last slice; what they then have is the mean.
            with nullcontext() if rows.stop >= len(xs) else local():
                error, read = errors(xs[rows], ys[rows], None if truth is None else truth[rows])
                both = error / values + setting.deep_supervision * read / read_values
                (group.size * both).backward()
            loss += error.detach() / values
        loss = group.summed(loss)
        norm = torch.nn.utils.clip_grad_norm_(run.parameters(), setting.clip)
        if not math.isfinite(loss.item() + norm.item()):  # before the weights are touched
            raise TrainingDiverged(f"loss {loss.item():g}, gradient norm {norm.item():g}")
        for name, optimiser in run.optimisers.items():
            for trained in optimiser.param_groups:
                trained["lr"] = rates[name] * setting.rate(run.step)
            optimiser.step()
            optimiser.zero_grad()
        run.step += 1
        run.losses.append(loss.item())
        run.seconds += time.perf_counter() - begin
        yield run.losses[-1]


def _excess_meter(setting: Setting) -> Callable[[Transformer], float] | None:
    """Measures a model's mean excess risk over exact Bayes on fixed prompts; None if the posterior is not known.

    With a ReluNetwork in the class, the posterior and so the excess are approximate. Names are not told.
    """
    xs, ys, _ = sample_prompts(
        setting.function_class,
        _REPORT_PROMPTS,
        setting.model.max_examples - (setting.named > 0),
        seed=_REPORT_SEED,
        noise=setting.noise,
    )
    try:
        best = bayes.posterior_predictive(setting.function_class, xs, ys, noise=setting.noise).mean
    except ValueError:  # the prompts are sound, so it is the class: too many supports, or one that bayes does not know
        return None
    floor = (best - ys).square().mean()

    @torch.no_grad()
    def excess(model: Transformer) -> float:
        device = next(model.parameters()).device
        asked = naming.told_at_every_prefix(model, naming.NO_NAME) if setting.named else model
        return ((asked(xs.to(device), ys.to(device)).cpu() - ys).square().mean() - floor).item()

    return excess


def fit(
    setting: Setting,
    folder: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    begin: Callable[[], Run] | None = None,
    seconds: float = math.inf,
    save_every: int = 250,
    progress: bool = True,
    micro_batch: int | None = None,
    group: Group = ALONE,
) -> Run:
    """Train to the end of `setting`, from the checkpoint in `folder` if there is one.

    Args:
        setting: what to train.
        folder: where the checkpoint is kept.
        device: where to train.
        begin: makes the run where the folder has no checkpoint: one with a parent, or one that branches off
            another. By default `Run.start`.
        seconds: stop after a step when so much time has passed, with a checkpoint; for a run without an end.
        save_every: steps between checkpoints; each is written whole or not at all. One is also written at the end
            and on Ctrl-C or SIGTERM.
        progress: show a progress bar with the loss, the excess over Bayes and the time left.
        micro_batch: as for `train_steps`.
        group: the processes that share each batch; the first keeps the checkpoint, which all must be able to read.

    Returns:
        The run, finished unless its time was up: its model, and the loss of every step.

    Raises:
        ValueError: the folder's checkpoint is damaged or of another setting; `save_every` is not a positive integer.
        FolderInUse: another process trains there.
        TrainingDiverged: the loss is NaN, infinite or far above that of predicting zero; the message names the step and
            the last good checkpoint.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, after a checkpoint.
    """
    steps = fitting(
        setting,
        folder,
        device=device,
        begin=begin,
        seconds=seconds,
        save_every=save_every,
        progress=progress,
        micro_batch=micro_batch,
        group=group,
    )
    (run,) = deque(steps, maxlen=1)
    return run


def fitting(
    setting: Setting,
    folder: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    begin: Callable[[], Run] | None = None,
    seconds: float = math.inf,
    save_every: int = 250,
    progress: bool = False,
    patience: float = 0.0,
    micro_batch: int | None = None,
    group: Group = ALONE,
) -> Iterator[Run]:
    """What `fit` does, a step at a time: the run as it stands, before the first step and after each.

    Args:
        setting: what to train.
        folder: where the checkpoint is kept.
        device: where to train.
        begin: makes the run where the folder has no checkpoint.
        seconds: stop when so much time has passed.
        save_every: steps between checkpoints.
        progress: show a progress bar.
        patience: seconds to wait for another process to leave the folder.
        micro_batch: prompts of a slice.
        group: the processes that share each batch.

    Raises:
        ValueError: as for `fit`; so are FolderInUse, TrainingDiverged and KeyboardInterrupt.
    """
    check_count("save_every", save_every)
    if not seconds > 0:
        raise ValueError(f"seconds must be above zero, got {seconds!r}")
    path = Path(folder) / CHECKPOINT
    with alone(Path(folder), "training", patience) if group.leads else nullcontext():
        group.wait()
        begin = begin or partial(Run.start, setting, device)
        run = Run.resume(setting, folder, device) if path.exists() else begin()
        group.wait()  # until all have read what there is
        if run.step and group.leads and not path.exists():
            run.save(path)  # a branch: what it grew from may be gone when it is resumed
        yield run
        steps = train_steps(run, micro_batch=micro_batch, group=group)
        yield from _train(run, steps, path, seconds, save_every, progress, group)


@contextmanager
def alone(folder: Path, doing: str, patience: float = 0.0) -> Iterator[None]:
    """Keep other processes out of `folder`; the system takes the lock back from one that is killed.

    Args:
        folder: made where it is not there.
        doing: what is done in it, for the refusal.
        patience: seconds to wait for another process to leave.

    Raises:
        FolderInUse: another process has not left by then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(folder / LOCK, timeout=patience)
    try:
        lock.acquire()
    except filelock.Timeout:
        raise FolderInUse(
            f"another process is {doing} in {folder}; wait for it, stop it, or give another folder"
        ) from None
    try:
        yield
    finally:
        lock.release()


def _train(
    run: Run,
    steps: Iterator[float],
    path: Path,
    seconds: float,
    save_every: int,
    progress: bool,
    group: Group,
) -> Iterator[Run]:
    """Do the `steps` of `run` to its end or for `seconds`, with checkpoints at `path`; yields it after each step."""
    setting = run.setting
    progress = progress and group.leads
    excess = _excess_meter(setting) if progress else None
    smooth = ignorance = setting.function_class.second_moment + setting.noise**2
    for loss in run.losses:
        smooth += _SMOOTHING * (loss - smooth)
    shown: dict[str, str] = {}
    begin = time.monotonic()
    with (
        tqdm(total=setting.steps, initial=run.step, disable=not progress, unit="step") as bar,
        # To each of its processes torchrun hands on the signal that they have from the terminal too.
        _interrupt_after_step(at_once=group.size == 1) as interrupted,
    ):
        try:
            for loss in steps:
                smooth += _SMOOTHING * (loss - smooth)
                if smooth > _DIVERGED * ignorance:
                    raise TrainingDiverged(f"smoothed loss {smooth:g}")
                shown["loss"] = f"{smooth:.4f}"
                if excess is not None and (run.step % 100 == 0 or run.step == setting.steps):
                    shown["excess over Bayes"] = f"{excess(run.model):.4f}"
                left = seconds - (time.monotonic() - begin)
                if left < math.inf:
                    shown["time left"] = f"{max(0.0, left) / 60:.0f} min"
                bar.set_postfix(shown, refresh=False)
                bar.update()
                stop, over = group.agreed(interrupted(), left <= 0)
                due = run.step % save_every == 0 and loss < _DIVERGED * ignorance
                if group.leads and (due or stop or over or run.step == setting.steps):
                    run.save(path)
                if stop:
                    raise KeyboardInterrupt
                yield run
                if over:
                    return
        except TrainingDiverged as error:
            last = path if path.exists() else "none was written yet"
            raise TrainingDiverged(
                f"training diverged at step {run.step}: {error}; last good checkpoint: {last}"
            ) from None


@contextmanager
def _interrupt_after_step(at_once: bool = True) -> Iterator[Callable[[], bool]]:
    """Turn Ctrl-C and SIGTERM into a flag, so that no step is cut in half; a second one stops at once, if it may."""
    pressed = False

    def press(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        pressed = True
        if at_once:
            restore()

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread receives signals
        return
    before = {number: signal.signal(number, press) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: pressed
    finally:
        restore()
