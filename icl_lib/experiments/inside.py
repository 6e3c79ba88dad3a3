"""Inside: what a linear probe reads from the residual stream, layer by layer and example by example."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from itertools import pairwise
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from icl_lib import baselines, bayes, claims, figures, weights
from icl_lib.bayes.regression import Noise, regress
from icl_lib.claims import Measure
from icl_lib.experiments.curves import BAYES, LINE, MOST, PRIOR, SINE, SMALL, TINY
from icl_lib.experiments.experiment import (
    Experiment,
    less,
    ratio,
    rows_of,
    share_of,
    shares,
    trained,
)
from icl_lib.figures import Picture
from icl_lib.model import Transformer
from icl_lib.samplers import FunctionClass, sample_prompts

LENGTHS = (1, 2, 3, 5, 10, 20, MOST)
LAYERS = {SMALL: range(1, 7), TINY: range(1, 4)}
"""The blocks of each model, after each of which its stream is read."""

TARGETS: Mapping[str, FunctionClass] = {"class": PRIOR, "slope": LINE, "frequency": SINE}
"""What is asked of the stream, and whose prompts it is asked on."""

SOURCES = ("trained", "untrained", "shuffled")
"""Whose stream is read: the model's; that of a model of its shape with random weights; the model's, by a probe that was
fitted to the targets of other prompts."""

FIT, FIT_SEED = 2048, 52
"""The prompts that a probe is fitted on, and their seed."""

RIDGE = 1e-3
"""Ridge penalty per prompt, on coordinates of unit variance."""

PLACES = {"query": 0, "last value": -1}
"""Where the stream is read after n examples: at the next input, where the model predicts, or at the token before."""

_FREQUENCIES = torch.linspace(SINE.low, SINE.high, 801, dtype=torch.float64)


@cache
def _prompts(target: str, count: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Inputs, values, and what is asked for, (B,): of prompts of the target's class."""
    xs, ys, component = sample_prompts(TARGETS[target], count, MOST + 1, seed=seed)
    if target == "class":
        return xs, ys, 2.0 * component.double() - 1.0
    if target == "slope":
        return xs, ys, (xs[:, :, 0] * ys).double().sum(1) / xs[:, :, 0].double().square().sum(1)
    return xs, ys, baselines.fit_sine(xs, ys, SINE.low, SINE.high).frequency.double()


@cache
def _model(model: str, untrained: bool) -> Transformer:
    trained = weights.load(model)
    if not untrained:
        return trained
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Transformer(trained.config).eval().requires_grad_(False)


@lru_cache(maxsize=4)
def _streams(
    model: str, untrained: bool, place: str, kind: FunctionClass, count: int, seed: int
) -> Tensor:
    """The stream after each of LENGTHS examples and after each block: (layers, lengths, B, width)."""
    xs, ys, _ = sample_prompts(kind, count, MOST + 1, seed=seed)
    at = torch.tensor([2 * n + PLACES[place] for n in LENGTHS])
    read = _model(model, untrained)
    parts = [
        torch.stack([stream[:, at].transpose(0, 1) for stream in read.streams(x, y)])
        for x, y in zip(xs.split(128), ys.split(128), strict=True)
    ]
    return torch.cat(parts, 2)


def _stream(
    model: str,
    source: str,
    place: str,
    target: str,
    layer: int,
    n_examples: int,
    count: int,
    seed: int,
) -> Tensor:
    """What a probe reads, (B, width)."""
    streams = _streams(model, source == "untrained", place, TARGETS[target], count, seed)
    return streams[layer - 1, LENGTHS.index(n_examples)].double()


@cache
def _probe(
    model: str, source: str, place: str, target: str, layer: int, n_examples: int
) -> tuple[Tensor, Tensor, Tensor]:
    """A linear probe by ridge regression: centre and weights of the coordinates, and what is added."""
    _, _, asked = _prompts(target, FIT, FIT_SEED)
    if source == "shuffled":
        asked = asked.roll(1)
    stream = _stream(model, source, place, target, layer, n_examples, FIT, FIT_SEED)
    centre, scale = stream.mean(0), stream.std(0).clamp_min(1e-6)
    columns, values = (stream - centre) / scale, asked - asked.mean()
    gram = columns.T @ columns + RIDGE * FIT * torch.eye(columns.shape[1], dtype=torch.float64)
    return centre, torch.linalg.solve(gram, columns.T @ values) / scale, asked.mean()


def probe(
    model: str,
    source: str,
    place: str,
    target: str,
    layer: int,
    n_examples: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far what is read is from what is asked for; for a class, whether it is the wrong one."""
    chosen, count = list(prompts), max(prompts) + 1
    xs, ys, asked = _prompts(target, count, seed)
    if source == BAYES:
        read = _believed(target, xs[chosen], ys[chosen], n_examples)
    else:
        stream = _stream(model, source, place, target, layer, n_examples, count, seed)[chosen]
        centre, weight, mean = _probe(model, source, place, target, layer, n_examples)
        read = (stream - centre) @ weight + mean
    asked = asked[chosen]
    if target == "class":
        wrong = (read > 0) != (asked > 0)
        return pd.DataFrame({"error": wrong.double(), "power": torch.ones_like(asked)})
    typical = _prompts(target, FIT, FIT_SEED)[2].mean()
    return pd.DataFrame({"error": (read - asked).square(), "power": (asked - typical).square()})


def _believed(target: str, xs: Tensor, ys: Tensor, n_examples: int) -> Tensor:
    """What exact Bayes believes: how much likelier a sine is than a line, or the posterior mean of the frequency."""
    xs, ys = xs[:, :n_examples].double(), ys[:, :n_examples].double()
    if target == "class":
        _, probability = bayes.posterior_curve(PRIOR, xs, ys, xs[:, :1])
        return probability[:, 1] - probability[:, 0]
    features = SINE.features(xs[:, None], _FREQUENCIES[:, None, None])  # each (B, N, n)
    _, log_evidence = regress(features, ys[:, None], Noise(bayes.JITTER))
    return log_evidence.softmax(1) @ _FREQUENCIES


_READ = (
    *((model, source, "query") for model in LAYERS for source in SOURCES),
    (SMALL, "trained", "last value"),
)

EXPERIMENTS = (
    Experiment(
        name="inside_probes",
        version=1,
        about="what one probe, or exact Bayes, reads of one prompt after some examples",
        columns={
            "error": "squared error of what is read; for the class, 1 if it is the wrong one, else 0",
            "power": "squared distance of what is asked for from its mean; for the class, 1",
        },
        cases=[
            *(
                {
                    "model": model,
                    "source": source,
                    "place": place,
                    "target": target,
                    "layer": layer,
                    "n_examples": n,
                }
                for model, source, place in _READ
                for target in TARGETS
                for layer in LAYERS[model]
                for n in LENGTHS
            ),
            *(
                {
                    "model": "",
                    "source": BAYES,
                    "place": "",
                    "target": target,
                    "layer": 0,
                    "n_examples": n,
                }
                for target in ("class", "frequency")
                for n in LENGTHS
            ),
        ],
        settings={"seed": 54},
        n_prompts=256,
        measure=probe,
    ),
)


# --- The figure -----------------------------------------------------------------------------------

_PANELS = {
    "class": ("line or sine?", "share of prompts called wrong", 0.62),
    "slope": ("the slope of a line", "squared error / variance", 1.2),
    "frequency": ("the frequency of a sine", "squared error / variance", 1.2),
}
_CONTROLS = {
    "untrained": "untrained model, last block",
    "shuffled": "probe of other prompts' values",
}


def _last(model: str) -> int:
    return LAYERS[model][-1]


def draw(table: pd.DataFrame) -> Picture:
    """What a probe reads after each block, against the number of examples; beside the controls and exact Bayes."""
    found = shares(
        table[table.place != "last value"], ["model", "source", "target", "layer", "n_examples"]
    )
    look, grey = figures.LOOKS["transformer"], figures.LOOKS["truth"]
    with figures.drawing(1, 3, figsize=(9.5, 3.9)) as (figure, panels):
        for axes, (target, (title, label, top)) in zip(panels, _PANELS.items(), strict=True):
            of = found[found.target == target]
            axes.set(xscale="log", ylim=(0, top), title=title, ylabel=label)
            axes.set_xlabel("examples")
            axes.minorticks_off()
            axes.set_xticks(LENGTHS, [str(n) for n in LENGTHS])
            for (source, name), dots in zip(_CONTROLS.items(), (":", "--"), strict=True):
                rows = of[(of.model == SMALL) & (of.source == source) & (of.layer == _last(SMALL))]
                axes.plot(
                    rows.n_examples, rows.share, dots, color=grey.colour, linewidth=1.2, label=name
                )
            for layer in LAYERS[SMALL]:
                rows = of[(of.model == SMALL) & (of.source == "trained") & (of.layer == layer)]
                named = {1: "after block 1", _last(SMALL): f"after block {layer}, the last"}
                axes.plot(
                    rows.n_examples,
                    rows.share,
                    label=named.get(layer, "_"),
                    **(
                        look.line()
                        | {"alpha": 0.15 + 0.85 * layer / _last(SMALL), "linewidth": 1.6}
                    ),
                )
            rows = of[of.source == BAYES]
            if len(rows):
                axes.plot(
                    rows.n_examples,
                    rows.share,
                    label="exact Bayes",
                    **figures.LOOKS["Bayes"].line(),
                )
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "Error of a linear probe for the class, the slope and the frequency, against the number of examples, after "
            "each block of the small transformer; beside two controls and exact Bayes.",
            f"Ridge regression on the stream at the query, fitted on {FIT:,} prompts, asked on 256 others. "
            "Blue: after each of the six blocks, the later the darker.",
            found,
        )


# --- What the prose says --------------------------------------------------------------------------

Tables = Mapping[str, pd.DataFrame]

_EARLY = (2, 3, 5)


def _rows(
    table: pd.DataFrame,
    target: str,
    n: int,
    source: str = "trained",
    model: str = SMALL,
    place: str = "query",
) -> pd.DataFrame:
    """After the last block, or of exact Bayes."""
    at = rows_of(table, source=source, target=target, n_examples=n)
    return at if source == BAYES else rows_of(at, model=model, layer=_last(model), place=place)


def behind(table: pd.DataFrame, source: str = "trained") -> dict[str, Measure]:
    """D6: how many more prompts a probe calls wrong than exact Bayes, as a share of all."""
    found = {}
    for n in _EARLY:
        own, exact = (_rows(table, "class", n, who) for who in (source, BAYES))
        found[f"after {n} examples"] = ratio(own.error - exact.error.to_numpy(), own.power)
    return found


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: D6."""
    table = tables["inside_probes"]
    return [
        claims.find(
            "D6",
            behind(table),
            where="notebooks/inside#when-does-it-know-the-class",
            note=f"{trained(SMALL)}; 256 prompts",
            beside={
                claims.BAYES: behind(table, BAYES),
                "null: an untrained model": behind(table, "untrained"),
            },
        )
    ]


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    table = tables["inside_probes"]
    found = {}
    for target in TARGETS:
        for n in LENGTHS:
            for word, *whose in (
                ("small", "trained"),
                ("value", "trained", SMALL, "last value"),
                ("tiny", "trained", TINY),
                ("untrained", "untrained"),
                ("shuffled", "shuffled"),
                ("bayes", BAYES),
            ):
                rows = _rows(table, target, n, *whose)
                if len(rows):
                    found[f"{word}.{target}.{n}"] = figures.estimate(*ratio(rows.error, rows.power))
    for layer in LAYERS[SMALL]:
        at = rows_of(
            table, model=SMALL, source="trained", place="query", target="frequency", layer=layer
        )
        found[f"block.{layer}"] = figures.estimate(*share_of(at, n_examples=MOST))
    return {f"inside.{name}": words for name, words in found.items()}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name."""
    table = tables["inside_probes"]

    def share(*of: Any) -> Measure:  # as `_rows`
        rows = _rows(table, *of)
        return ratio(rows.error, rows.power)

    blocks = [
        rows_of(
            table[table.place == "query"],
            model=SMALL,
            source="trained",
            target="frequency",
            layer=layer,
            n_examples=MOST,
        ).error
        for layer in LAYERS[SMALL]
    ]
    found = {
        "class_is_known_at_the_end": share("class", MOST)[2] < 0.03,
        "class_is_known_after_ten": share("class", 10)[2] < 0.03,
        "class_comes_late": behind(table)["after 2 examples"][1] > 0.05,
        "three_straddles": behind(table)["after 3 examples"][1]
        < claims.WORSE
        < behind(table)["after 3 examples"][2],
        "class_catches_up": behind(table)["after 5 examples"][2] < 0.05,
        "bayes_knows_after_two": share("class", 2, BAYES)[2] < 0.03,
        "tiny_knows_less": less(
            _rows(table, "class", 5).error, _rows(table, "class", 5, "trained", TINY).error
        ),
        "untrained_guesses_better_than_chance": share("class", MOST, "untrained")[2] < 0.4,
        "untrained_does_not_know": share("class", MOST, "untrained")[1] > 0.1,
        "shuffled_knows_nothing": all(
            share(target, MOST, "shuffled")[1] > chance
            for target, chance in (("class", 0.35), ("slope", 0.9), ("frequency", 0.9))
        ),
        "frequency_comes_block_by_block": all(
            less(later, earlier, 0.95) for earlier, later in pairwise(blocks[1:5])
        ),
        "first_blocks_know_no_frequency": all(
            ratio(block, _rows(table, "frequency", MOST).power)[1] > 0.6 for block in blocks[:2]
        ),
        "frequency_comes_late": share("frequency", 5)[1] > 10 * share("frequency", 5, BAYES)[2],
        "untrained_knows_no_frequency": share("frequency", MOST, "untrained")[1] > 0.8,
        "tiny_knows_little_frequency": share("frequency", MOST, "trained", TINY)[1] > 0.4,
        "slope_is_read_at_the_first_value": share("slope", 1, "trained", SMALL, "last value")[2]
        < 0.06,
        "slope_comes_and_stays_vague": 0.08 < share("slope", MOST)[0] < share("slope", 5)[0] < 0.3,
        "tiny_says_slopes_better": less(
            _rows(table, "slope", MOST, "trained", TINY).error, _rows(table, "slope", MOST).error
        ),
        "class_comes_later_at_the_value": less(
            _rows(table, "class", 3).error,
            _rows(table, "class", 3, "trained", SMALL, "last value").error,
        ),
    }
    return {f"inside.{name}": bool(holds) for name, holds in found.items()}
