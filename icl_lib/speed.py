"""What a training run costs: floating-point operations, the share of the machine's best, the time it will take."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import replace
from itertools import islice
from statistics import median

import torch

from icl_lib.model import TransformerConfig
from icl_lib.training import Run, Setting, train_steps

_SIDE = {"cpu": 2048, "cuda": 8192}  # of the matrices of a product that fills the machine
_PRODUCT_SECONDS = 1.0
_TIMED_STEPS = 2


def model_flops(config: TransformerConfig, batch_size: int, points: int) -> float:
    """Floating-point operations of one training step that the model asks for, forward and backward.

    Two for each weight of a matrix and token, and the products of attention, whose causal half alone counts; the
    backward pass takes twice the forward one (Chowdhery et al., arXiv 2204.02311, appendix B, less the half that a
    causal mask makes needless). Norms, activations and the optimiser count as nothing, so that utilisation cannot be
    had by computing more.

    Args:
        config: the model's shape.
        batch_size: prompts in the step.
        points: points (x, y) in a prompt; the last y is not fed in.
    """
    tokens = 2 * points - 1
    matrices = config.layers * 12 * config.width**2 + config.dim * config.width
    attention = config.layers * 2 * config.width * tokens / 2
    read_out = config.width * points  # from the tokens of x alone
    forward = 2 * batch_size * (tokens * (matrices + attention) + read_out)
    return 3 * forward


def training_flops(setting: Setting, done: int = 0, end: int | None = None) -> float:
    """`model_flops` of the steps of `setting` from `done` to `end`, by default its last.

    Raises:
        ValueError: no `end`, and a run without one.
    """
    end = setting.steps if end is None else end
    if end is None:
        raise ValueError("a run without a number of steps needs an end to count to")
    return sum(
        count * model_flops(setting.model, setting.batch_size, points)
        for points, count in _lengths(setting, done, end).items()
    )


def _lengths(setting: Setting, done: int, end: int) -> dict[int, int]:
    """How many of the steps from `done` to `end` have prompts of each number of points, which never falls."""
    counts = {}
    while done < end:
        points = setting.points_at(done)
        after = bisect_right(range(end), points, lo=done, key=setting.points_at)
        counts[points], done = after - done, after
    return counts


def matrix_product_rate(device: torch.device | str = "cpu") -> float:
    """FLOP/s of a large square matrix product on `device`: bfloat16 on a GPU, single precision on a CPU."""
    kind = torch.device(device).type
    dtype = torch.bfloat16 if kind == "cuda" else torch.float32
    side = _SIDE[kind]
    left, right = (torch.randn(side, side, dtype=dtype, device=device) for _ in range(2))

    def synchronise() -> float:
        if kind == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    left @ right
    products, begin = 0, synchronise()
    while (now := synchronise()) - begin < _PRODUCT_SECONDS or products == 0:
        left @ right
        products += 1
    return 2 * side**3 * products / (now - begin)


def step_seconds(setting: Setting, step: int) -> float:
    """Median seconds of a training step on the CPU, at `step` and after, from fresh weights; the first is left out."""
    run = Run.start(replace(setting, parent=None))  # any weights take as long
    if setting.steps is not None:
        step = min(step, max(0, setting.steps - _TIMED_STEPS - 1))
    run.step = step
    times: list[float] = []
    for _ in islice(train_steps(run), _TIMED_STEPS + 1):
        times.append(run.seconds - sum(times))
    return median(times[1:] or times)


def training_seconds(setting: Setting, done: int = 0) -> float:
    """How long the steps of `setting` from `done` on will take on the CPU.

    The first and the last are timed; between them a step's time is taken to be linear in the number of points.

    Raises:
        ValueError: a run without an end.
    """
    if setting.steps is None:
        raise ValueError("a run without a number of steps takes as long as it is let")
    if done >= setting.steps:
        return 0.0
    lengths = _lengths(setting, done, setting.steps)
    first, last = min(lengths), max(lengths)
    slow = step_seconds(setting, setting.steps - 1)
    fast = slow if first == last else step_seconds(setting, done)
    slope = (slow - fast) / max(1, last - first)
    return sum(count * (fast + slope * (points - first)) for points, count in lengths.items())


def duration(seconds: float) -> str:
    """In words: 40 s, 12 min, 3 h 20 min, 5 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes <= 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours / 24:.0f} days"
