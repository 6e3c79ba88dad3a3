"""Training: our step against Hugging Face's GPT-2 of the same shape, our recipe against Garg et al.'s."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from statistics import median
from typing import Any

import torch
from transformers import GPT2Config, GPT2Model

from icl_lib import (
    DenseLinear,
    Mixture,
    SparseLinear,
    Transformer,
    TransformerConfig,
    sample_prompts,
)
from icl_lib.model import SIZES
from icl_lib.muon import Muon
from icl_lib.training import Ramp, Run, Setting, train_steps

POINTS = 41
STEPS = {"tiny": 24, "slim": 16, "short": 12, "small": 8, "standard": 3}
TARGET = 0.3
"""Error after 16 examples, mean over the two classes, which the recipes race to. Predicting zero scores 1."""
GIVE_UP = 12
"""The reference may take this many times our steps; past that the ratio is printed as a lower bound."""


class Reference(torch.nn.Module):
    """Garg et al.'s model: linear maps around Hugging Face's GPT-2, without dropout, without cache."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.backbone = GPT2Model(
            GPT2Config(
                n_positions=2 * config.max_examples,
                n_embd=config.width,
                n_layer=config.layers,
                n_head=config.heads,
                resid_pdrop=0.0,
                embd_pdrop=0.0,
                attn_pdrop=0.0,
                use_cache=False,
            )
        )
        self.read_in = torch.nn.Linear(config.dim, config.width)
        self.read_out = torch.nn.Linear(config.width, 1)

    def forward(self, xs: torch.Tensor, ys: torch.Tensor) -> torch.Tensor:
        tokens = Transformer._tokens(xs, ys)
        hidden = self.backbone(inputs_embeds=self.read_in(tokens)).last_hidden_state
        return self.read_out(hidden)[:, ::2, 0]


def _reference_steps(setting: Setting) -> Iterator[float]:
    torch.manual_seed(0)
    model = Reference(setting.model)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4)
    for step in range(setting.steps):
        xs, ys = setting.prompts(step)
        optimiser.zero_grad()
        loss = (model(xs, ys) - ys).square().mean()
        loss.backward()
        optimiser.step()
        yield loss.item()


def _step_times(setting: Setting) -> tuple[float, float]:
    """Median milliseconds of our step and of the reference's, taken in turn; the first of each does not count."""
    ours, theirs = train_steps(Run.start(setting)), _reference_steps(setting)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(setting.steps):
        for steps, kept in zip((ours, theirs), times, strict=True):
            begin = time.perf_counter()
            next(steps)
            kept.append(1000 * (time.perf_counter() - begin))
    return median(times[0][1:]), median(times[1][1:])


def step_rows() -> list[dict[str, Any]]:
    """One row per size."""
    rows = []
    for size in SIZES:
        setting = Setting(
            DenseLinear(20), TransformerConfig.of_size(size, 20, POINTS), steps=STEPS[size] + 1
        )
        ours, theirs = _step_times(setting)
        rows.append(
            {
                "what": f"training step, {size}, batch 64, 82 tokens",
                "reference": "Hugging Face GPT-2 of that shape, Adam",
                "reach": "1.5 times as fast",
                "measured": theirs / ours,
                "detail": f"{ours:.0f} ms against {theirs:.0f} ms, {torch.get_num_threads()} threads",
            }
        )
    return rows


def optimiser_rows() -> list[dict[str, Any]]:
    """Muon with its matrices taken together, against PyTorch's own, on the matrices of one model."""
    rows = []
    for size in ("slim", "small"):
        model = Transformer(TransformerConfig.of_size(size, 20, POINTS))
        matrices = [p for p in model.blocks.parameters() if p.ndim == 2]
        for p in matrices:
            p.grad = torch.randn_like(p)
        options = {"lr": 1e-3, "momentum": 0.95, "weight_decay": 0.1}
        ours: torch.optim.Optimizer = Muon(matrices, **options)
        theirs = torch.optim.Muon(matrices, adjust_lr_fn="match_rms_adamw", **options)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(6):
            for optimiser, kept in zip((ours, theirs), times, strict=True):
                begin = time.perf_counter()
                optimiser.step()
                kept.append(1000 * (time.perf_counter() - begin))
        mine, reference = (median(kept[1:]) for kept in times)
        rows.append(
            {
                "what": f"Muon's step, {size}",
                "reference": "torch.optim.Muon, in bfloat16",
                "reach": "as fast",
                "measured": reference / mine,
                "detail": f"{mine:.0f} ms against {reference:.0f} ms, {torch.get_num_threads()} threads",
            }
        )
    return rows


def _race(setting: Setting, most: int) -> tuple[int, float, bool]:
    """Steps and seconds until the error falls to TARGET, and whether it did within `most` steps."""
    mixture = setting.function_class
    assert isinstance(mixture, Mixture)
    tests = [
        sample_prompts(part, 256, setting.model.max_examples, seed=11) for part in mixture.classes
    ]
    run = Run.start(replace(setting, steps=max(setting.steps, most)))
    spent, begin = 0.0, time.perf_counter()
    for _ in train_steps(run):
        if run.step % 25 == 0:
            spent += time.perf_counter() - begin
            with torch.no_grad():
                error = (
                    sum(
                        (run.model(xs, ys) - ys)[:, -1].square().mean().item()
                        for xs, ys, _ in tests
                    )
                    / 2
                )
            if error <= TARGET or run.step >= most:
                return run.step, spent, error <= TARGET
            begin = time.perf_counter()
    raise AssertionError("the run ended before its last step was looked at")


def recipe_rows() -> list[dict[str, Any]]:
    """Steps and time to a given error, d = 8, dense + sparse (2 of 8), tiny."""
    mixture = Mixture((DenseLinear(8), SparseLinear(8, 2)), (0.5, 0.5))
    model = TransformerConfig.tiny(8, 17)
    ours = Setting(mixture, model, steps=3000, dims=Ramp(4, 8, every=50), muon_decay=0.0, decay=0.0)
    garg = Setting(
        mixture,
        model,
        steps=1,
        dims=Ramp(5, 8, every=2000),
        examples=Ramp(11, 17, by=2, every=2000),
        optimiser="adam",
        adamw_rate=1e-4,
        warmup=0,
        decay=0.0,
        clip=float("inf"),
        initialisation="gpt2",
    )
    steps, seconds, reached = _race(ours, 3000)
    if not reached:
        raise RuntimeError(f"our own recipe did not reach {TARGET} in {steps} steps")
    their_steps, their_seconds, reached = _race(garg, GIVE_UP * steps)
    sign = "" if reached else "more than "
    return [
        {
            "what": f"steps to error {TARGET}, d = 8, dense + sparse (2 of 8), tiny",
            "reference": "Garg et al.'s recipe in our trainer",
            "reach": "10 times fewer",
            "measured": their_steps / steps,
            "detail": f"{steps} steps, {seconds:.0f} s against {sign}{their_steps} steps, {their_seconds:.0f} s",
            "at_least": not reached,
        }
    ]


ROWS: list[Callable[[], list[dict[str, Any]]]] = [step_rows, optimiser_rows, recipe_rows]


def rows() -> list[dict[str, Any]]:
    """All rows of this module."""
    return [row for make in ROWS for row in make()]
