"""Sines beyond the band of pretraining, large functions, rare parts of a class: who predicts them, and how well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from math import pi
from typing import Any

import pandas as pd
from matplotlib.axes import Axes

from icl_lib import claims, figures, recipes
from icl_lib.claims import Measure
from icl_lib.experiments import curves
from icl_lib.experiments.curves import (
    BAYES,
    DOUBTING,
    LENGTHS,
    LINE,
    LINEAR,
    LINEAR_OF,
    MOST,
    NEAREST,
    NO_EDGE,
    OF,
    RIGHT,
    SINE,
    SMALL,
    STANDARD,
    TINY,
)
from icl_lib.experiments.experiment import (
    Experiment,
    less,
    ratio,
    ratio_of_ratios,
    rows_of,
    share_of,
    shares,
    trained,
)
from icl_lib.figures import Picture
from icl_lib.random import Draws
from icl_lib.samplers import ConvexCombination, FunctionClass, Functions, Sinusoid

GAPPED, WIDE, ALONE = "line+gapped-0.5-tiny", "line+wide-0.5-tiny", "sine-tiny"
COVERED = {
    0.0: TINY,
    **{share: f"fast+line+sine-{share}-tiny" for share in recipes.COVERAGE},
    # Half of the prompts are sines, and of these the fast ones have five ninths.
    0.5 * (recipes.FAST.high - recipes.FAST.low) / (recipes.WIDE.high - recipes.WIDE.low): WIDE,
}
"""The models by the share of sines above the band, 5 to 10, in their pretraining."""
RARE_EDGE = "edge+line+inner-0.01-tiny"

FREQUENCIES = (
    *(0.1, 0.25, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5, 5.0),
    *(5.5, 6.0, 7.0, 8.5, 10.0, 14.0, 20.0),
)
"""Radians per unit of x; the band of pretraining is 1 to 5."""
SHOWN = (3.0, 6.0, 10.0)
SIZES = (1.0, 2.0, 3.0, 6.0, 10.0)


def at(frequency: float) -> Sinusoid:
    """Sines of this frequency alone: a band so narrow that amplitudes, phases and inputs are the same at each."""
    return Sinusoid(frequency, frequency * (1 + 1e-9))


@dataclass(frozen=True)
class LineOfSlope(FunctionClass):
    """f(x) = slope x or -slope x, either as often."""

    slope: float
    dim = 1

    @property
    def second_moment(self) -> float:
        return self.slope**2

    def functions(self, draws: Draws) -> Functions:
        sign = (draws.uniform(1) - 0.5).sign()
        return lambda xs: sign * self.slope * xs[..., 0].double()


@dataclass(frozen=True)
class SineOfAmplitude(FunctionClass):
    """f(x) = amplitude sin(w x + p), frequency w of the band, phase p uniform."""

    amplitude: float
    dim = 1

    @property
    def second_moment(self) -> float:
        return self.amplitude**2 / 2  # over phases, whatever x is

    def functions(self, draws: Draws) -> Functions:
        frequency, phase = SINE.latent.sample(draws.child(0)), 2 * pi * draws.child(1).uniform(1)
        return lambda xs: self.amplitude * (frequency * xs[..., 0].double() + phase).sin()


ASKED: dict[str, FunctionClass] = {
    "sines": SINE,
    "fast sines": recipes.FAST,
    "edge": recipes.EDGE,
    "inner": recipes.INNER,
    "halfway": ConvexCombination(LINE, SINE, 0.5),
    "twice the top": at(2 * SINE.high),
    **{f"slope {size:g}": LineOfSlope(size) for size in SIZES},
    **{f"amplitude {size:g}": SineOfAmplitude(size) for size in SIZES},
}
"""What tables call the classes that are asked for, besides the sines of one frequency."""


def errors(
    predictor: str,
    frequency: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far a predictor is from sines of one frequency."""
    return curves.error(predictor, at(frequency), n_examples, n_queries, seed, tuple(prompts))


def distances(
    predictor: str,
    other: str,
    frequency: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far two predictors are from each other, on sines of one frequency."""
    return curves.distance(
        predictor, other, at(frequency), n_examples, n_queries, seed, tuple(prompts)
    )


def shapes(
    predictor: str,
    frequency: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """What a predictor's curve is made of: what a line, a sine of the band, and a sum of both leave of it."""
    return curves.shape(predictor, at(frequency), n_examples, n_queries, seed, tuple(prompts))


def others(
    predictor: str,
    asked: str,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far a predictor is from the functions of a class in ASKED."""
    return curves.error(predictor, ASKED[asked], n_examples, n_queries, seed, tuple(prompts))


def _asked(
    names: Sequence[str], asked: Sequence[str], lengths: Sequence[int]
) -> list[dict[str, object]]:
    return [
        {"predictor": name, "asked": one, "n_examples": n}
        for name in names
        for one in asked
        for n in lengths
    ]


def _swept(names: Sequence[str], frequencies: Sequence[float], lengths: Sequence[int]) -> Any:
    return [
        {"predictor": name, "frequency": frequency, "n_examples": n}
        for name in names
        for frequency in frequencies
        for n in lengths
    ]


STRIPS = {
    **dict.fromkeys((STANDARD, SMALL, TINY), (BAYES, LINEAR)),
    **{name: (OF + name, LINEAR_OF + name) for name in (GAPPED, WIDE, COVERED[0.01], ALONE)},
}
"""The models whose error against frequency the explorer draws, each with exact Bayes of its own prior and with the best
linear predictor."""
_SWEPT = (*STRIPS, *dict.fromkeys(chain(*STRIPS.values())), RIGHT, DOUBTING)
_PROMPTS, _MANY = 256, 1024
_SETTINGS = {"n_queries": 16, "seed": 31}
_PLAIN: dict[str, Any] = {
    "version": 1,
    "about": "one predictor on one prompt, whose function is of the class that is asked for",
    "columns": curves.ERROR,
    "settings": _SETTINGS,
    "measure": others,
}

EXPERIMENTS = (
    Experiment(
        name="frequency_errors",
        version=1,
        about="one predictor on one prompt, whose function is a sine of this frequency",
        columns=curves.ERROR,
        cases=[
            *_swept(_SWEPT, FREQUENCIES, (10, MOST)),
            *_swept((STANDARD, BAYES), SHOWN, [n for n in LENGTHS if n not in (10, MOST)]),
            *_swept((NEAREST,), [t * SINE.high for t in (1.2, 1.4, 2.0, 4.0)], (MOST,)),
        ],
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=errors,
    ),
    Experiment(
        name="frequency_distances",
        version=1,
        about="two predictors on one prompt, whose function is a sine of this frequency",
        columns=curves.DISTANCE,
        cases=[
            {"predictor": name, "other": BAYES, "frequency": frequency, "n_examples": MOST}
            for name in (STANDARD, SMALL, TINY)
            for frequency in FREQUENCIES
        ]
        + [
            {"predictor": STANDARD, "other": DOUBTING, "frequency": f, "n_examples": MOST}
            for f in (6.0, 10.0)
        ],
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=distances,
    ),
    Experiment(
        name="frequency_shapes",
        version=1,
        about="the curve that one predictor draws for one prompt, and what simple shapes leave of it",
        columns=curves.SHAPE,
        cases=_swept((STANDARD, BAYES), FREQUENCIES, (MOST,)),
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=shapes,
    ),
    Experiment(
        name="frequency_gains",
        cases=[
            *_asked((STANDARD, BAYES, NEAREST), ("sines", "halfway", "twice the top"), (10, MOST)),
            *_asked((STANDARD, BAYES), ("sines",), (20,)),
        ],
        n_prompts=_MANY,
        **_PLAIN,
    ),
    Experiment(
        name="frequency_sizes",
        cases=_asked(
            (STANDARD, BAYES, NEAREST),
            [f"{kind} {size:g}" for kind in ("slope", "amplitude") for size in SIZES],
            (MOST,),
        ),
        n_prompts=_PROMPTS,
        **_PLAIN,
    ),
    Experiment(
        name="frequency_coverage",
        cases=[
            *_asked(
                [*COVERED.values(), BAYES, *(OF + name for name in list(COVERED.values())[1:])],
                ("sines", "fast sines"),
                (10, MOST),
            ),
            *_asked((TINY, BAYES), ("sines",), (20,)),
            *_asked((RARE_EDGE, TINY, OF + RARE_EDGE, BAYES, NO_EDGE), ("edge", "inner"), (MOST,)),
        ],
        n_prompts=_PROMPTS,
        **_PLAIN,
    ),
)


# --- The figures ----------------------------------------------------------------------------------

_FREQUENCY = "frequency ω, radians per unit of x"
_BANDS = f"Bands: 90% over {_PROMPTS} prompts."
_SHADED = "Shaded: the band of pretraining."
_FLOOR = "Below 10⁻⁶ drawn there."


def _frequencies(axes: Axes, *bands: Sinusoid, xlabel: str = _FREQUENCY) -> None:
    """A log axis of frequencies, with those of pretraining shaded, and predicting zero marked."""
    for band in bands:
        axes.axvspan(
            band.low, band.high, color=figures.LOOKS["Bayes"].colour, alpha=0.13, linewidth=0
        )
    axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
    axes.set(xscale="log", xlim=(FREQUENCIES[0], FREQUENCIES[-1]), xlabel=xlabel)
    axes.set_xticks((0.1, 0.3, 1, 5, 10, 20), ("0.1", "0.3", "1", "5", "10", "20"))
    axes.minorticks_off()


def draw_errors(table: pd.DataFrame) -> Picture:
    """Shares of the mean square that each predictor errs by, against the frequency, after 10 and after 40 examples."""
    lines = {
        LINEAR: "best linear",
        RIGHT: "oracle",
        DOUBTING: "doubting",
        BAYES: "Bayes",
        STANDARD: "transformer",
    }
    names = ["best linear", "Bayes, right band", "doubting Bayes", "exact Bayes", "transformer"]
    chosen = table[table.predictor.isin(lines) & table.n_examples.isin((10, MOST))]
    found = shares(chosen, ["predictor", "frequency", "n_examples"])
    with figures.drawing(1, 2, figsize=(9.5, 3.1), sharey=True) as (figure, panels):
        for axes, n in zip(panels, (10, MOST), strict=True):
            _frequencies(axes, SINE)
            axes.set(yscale="log", ylim=(curves.FLOOR / 2, 100), title=f"after {n} examples")
            for (name, role), label in zip(lines.items(), names, strict=True):
                rows = found[(found.predictor == name) & (found.n_examples == n)]
                curves.draw_share(axes, rows, "frequency", role, label)
        figures.name_lines(panels[1], names)
        panels[0].set_ylabel(curves.SHARE)
        panels[0].annotate("predicting zero", (0.11, 1.3), fontsize=9)
        return figures.picture(
            figure,
            "Errors of the transformer, exact Bayes with its prior, a Bayesian with the right band and the best linear "
            "predictor against the frequency, after 10 and after 40 examples, on log axes.",
            f"{_SHADED} {_BANDS} {_FLOOR}",
            found,
        )


def draw_distances(errors: pd.DataFrame, distances: pd.DataFrame) -> Picture:
    """How far transformer and exact Bayes are from the sine, and from each other, after 40 examples."""
    own = errors[(errors.n_examples == MOST) & errors.predictor.isin((STANDARD, BAYES))]
    apart = distances[(distances.predictor == STANDARD) & (distances.other == BAYES)]
    parts = {
        "Bayes to sine": (shares(own[own.predictor == BAYES], ["frequency"]), "Bayes"),
        "transformer to Bayes": (shares(apart, ["frequency"], "distance"), "truth"),
        "transformer to sine": (
            shares(own[own.predictor == STANDARD], ["frequency"]),
            "transformer",
        ),
    }
    with figures.drawing(figsize=(8.5, 2.7)) as (figure, axes):
        _frequencies(axes, SINE)
        for label, (rows, role) in parts.items():
            figures.curve(axes, rows, "frequency", "share", role, label)
        axes.set(ylim=(0, 1.8), ylabel="mean squared distance, as a share")
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return figures.picture(
            figure,
            "Mean squared distances after 40 examples against the frequency: of the transformer and of exact Bayes "
            "from the sine, and of the two from each other.",
            f"After 40 examples. {_SHADED} {_BANDS}",
            pd.concat(rows.assign(distance=label) for label, (rows, _) in parts.items()),
        )


def draw_examples(table: pd.DataFrame) -> Picture:
    """Errors against the number of examples, in the band, just outside, and at twice its top."""
    titles = ("in the band, at 3", "just outside, at 6", "at twice the top, 10")
    lines = {BAYES: "Bayes", STANDARD: "transformer"}
    found = shares(
        table[table.predictor.isin(lines) & table.frequency.isin(SHOWN)],
        ["predictor", "frequency", "n_examples"],
    )
    with figures.drawing(1, 3, figsize=(9.5, 2.7), sharey=True) as (figure, panels):
        for axes, frequency, title in zip(panels, SHOWN, titles, strict=True):
            axes.set(yscale="log", ylim=(1e-4, 20), xlim=(0, MOST), title=title)
            axes.set_xlabel("in-context examples")
            axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            for name, role in lines.items():
                rows = found[(found.predictor == name) & (found.frequency == frequency)]
                curves.draw_share(axes, rows, "n_examples", role, curves.NAMES[name])
        figures.name_lines(panels[2], [curves.NAMES[name] for name in lines])
        panels[0].set_ylabel(curves.SHARE)
        return figures.picture(
            figure,
            "Errors of the transformer and of exact Bayes against the number of examples, on sines of frequency 3, 6 "
            "and 10, on a log axis.",
            f"{_BANDS} The same queries throughout.",
            found,
        )


def draw_coverage(table: pd.DataFrame) -> Picture:
    """Errors on fast sines and on the old band, against the share of fast sines in pretraining."""
    by_model = {name: share for share, name in COVERED.items()}
    by_prior = {BAYES if name == TINY else OF + name: share for name, share in by_model.items()}
    chosen = table[(table.n_examples == MOST) & table.asked.isin(("fast sines", "sines"))]
    found = shares(chosen[chosen.predictor.isin((*by_model, *by_prior))], ["asked", "predictor"])
    least = 2e-4  # where a share of zero is drawn
    ticks = [max(share, least) for share in COVERED]
    with figures.drawing(1, 2, figsize=(9.5, 2.7), sharey=True) as (figure, panels):
        titles = {"fast sines": "on fast sines, 5 to 10", "sines": "on the old band, 1 to 5"}
        for axes, (asked, title) in zip(panels, titles.items(), strict=True):
            axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            axes.set(xscale="log", yscale="log", ylim=(curves.FLOOR / 2, 5), title=title)
            axes.set_xlabel("share of fast sines in pretraining")
            axes.set_xticks(
                ticks, ["none", *(f"{100 * share:.2g}%" for share in list(COVERED)[1:])]
            )
            axes.minorticks_off()
            for shown, role, label in (
                (by_prior, "Bayes", "exact Bayes"),
                (by_model, "transformer", "transformer"),
            ):
                rows = found[(found.asked == asked) & found.predictor.isin(shown)]
                at_share = rows.predictor.map(shown).clip(lower=least)
                curves.draw_share(
                    axes, rows.assign(share_of_fast=at_share), "share_of_fast", role, label
                )
        figures.name_lines(panels[1], ["exact Bayes", "transformer"])
        panels[0].set_ylabel(curves.SHARE)
        return figures.picture(
            figure,
            "Errors after 40 examples on fast sines and on those of the old band, against the share of fast sines in "
            "pretraining, for tiny transformers and exact Bayes with the same priors.",
            f"Tiny transformers, after 40 examples. {_BANDS} {_FLOOR}",
            found,
        )


def draw_sizes(table: pd.DataFrame) -> Picture:
    """Errors against the slope of lines and the amplitude of sines."""
    words = {"slope": "slope of the line", "amplitude": "amplitude of the sine"}
    lines = {NEAREST: "classical", BAYES: "Bayes", STANDARD: "transformer"}
    names = [NEAREST, "exact Bayes", "transformer"]
    found = shares(table, ["predictor", "asked"])
    found[["kind", "size"]] = found.asked.str.split(" ", expand=True)
    found["size"] = found["size"].astype(float)
    with figures.drawing(1, 2, figsize=(9.5, 2.8), sharey=True) as (figure, panels):
        for axes, (kind, xlabel) in zip(panels, words.items(), strict=True):
            axes.set(xscale="log", yscale="log", ylim=(curves.FLOOR / 2, 5), xlabel=xlabel)
            axes.set_xticks(SIZES, [f"{size:g}" for size in SIZES])
            axes.minorticks_off()
            axes.axhline(claims.COLLAPSE, color=figures.LOOKS["truth"].colour, linewidth=0.8)
            for (name, role), label in zip(lines.items(), names, strict=True):
                rows = found[(found.predictor == name) & (found.kind == kind)]
                curves.draw_share(axes, rows, "size", role, label)
        figures.name_lines(panels[1], names)
        panels[0].set_ylabel(curves.SHARE)
        panels[0].annotate("collapse", (1.05, claims.COLLAPSE * 1.3), fontsize=9)
        return figures.picture(
            figure,
            "Errors after 40 examples of the transformer, exact Bayes and the nearest neighbour against the slope of "
            "lines and the amplitude of sines, on log axes.",
            f"After 40 examples. {_BANDS} {_FLOOR}",
            found,
        )


def strips(table: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """For the explorer: each model's error against frequency, beside exact Bayes and the best linear predictor."""
    found = shares(table, ["predictor", "n_examples", "frequency"])
    swept = found[found.frequency.isin(FREQUENCIES) & found.n_examples.isin((10, MOST))]
    wide = swept.pivot_table("share", ["predictor", "n_examples"], "frequency")
    return {
        model: {
            "frequencies": list(FREQUENCIES),
            "n_examples": [10, MOST],
            "transformer": wide.loc[model].to_numpy().tolist(),
            "mixture": wide.loc[prior].to_numpy().tolist(),
            "right": wide.loc[RIGHT].to_numpy().tolist(),
            "linear": wide.loc[linear].to_numpy().tolist(),
        }
        for model, (prior, linear) in STRIPS.items()
    }


# --- What the prose says --------------------------------------------------------------------------

_PAGE = "notebooks/frequency_extrapolation"
_NULL = f"null: {NEAREST}"
_BEYOND = {
    "1.2 times the top": 1.2,
    "1.4 times the top": 1.4,
    "twice the top": 2.0,
    "four times the top": 4.0,
}
Tables = Mapping[str, pd.DataFrame]


def beyond(tables: Tables, name: str = STANDARD) -> dict[str, Measure]:
    """What collapse beyond the band is judged by, of one predictor: shares after 40 examples."""
    errors, gains = tables["frequency_errors"], tables["frequency_gains"]
    inside = share_of(gains, predictor=name, asked="sines", n_examples=MOST)
    return {"in the band": inside} | {
        words: share_of(errors, predictor=name, frequency=times * SINE.high, n_examples=MOST)
        for words, times in _BEYOND.items()
    }


def enlarged(tables: Tables, name: str = STANDARD) -> dict[str, Measure]:
    """What collapse beyond the scale is judged by, of one predictor: shares after 40 examples."""
    needs = claims.CLAIMS["C7c"].needs
    return {
        asked: share_of(tables["frequency_sizes"], predictor=name, asked=asked) for asked in needs
    }


def edge(tables: Tables, name: str = RARE_EDGE, even: str = TINY) -> dict[str, Measure]:
    """What a rare edge is judged by: the error there, over that of one who took the edge for as common as the rest."""
    table = tables["frequency_coverage"]
    rare, common = (rows_of(table, predictor=one, asked="edge").error for one in (name, even))
    return {"rare edge": ratio(rare, common)}


def gains(tables: Tables, asked: str, name: str = STANDARD) -> dict[str, Measure]:
    """What 40 examples leave of the error after 10: on functions outside, on sines of the band, one over the other."""
    table = tables["frequency_gains"]

    def late_and_early(which: str) -> tuple[pd.Series, pd.Series]:
        rows = rows_of(table, predictor=name, asked=which)
        return rows[rows.n_examples == MOST].error, rows[rows.n_examples == 10].error

    outside, inside = late_and_early(asked), late_and_early("sines")
    return {
        "outside": ratio(*outside),
        "inside": ratio(*inside),
        "outside over inside": ratio_of_ratios(outside, inside),
    }


def above_bayes(table: pd.DataFrame, model: str, n_examples: int) -> Measure:
    """How far a model is above exact Bayes on sines of the band, as a share of their mean square."""
    asked = {"asked": "sines", "n_examples": n_examples}
    ours, best = (rows_of(table, predictor=name, **asked) for name in (model, BAYES))
    return ratio(ours.error - best.error.to_numpy(), ours.power)


def _gate(table: pd.DataFrame, model: str) -> dict[str, Measure]:
    return {f"sines, {n} examples": above_bayes(table, model, n) for n in (20, MOST)}


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: C7a to C7c, C8a and C8b."""
    coverage = tables["frequency_coverage"]
    open_ = _gate(tables["frequency_gains"], STANDARD)

    def judged(key: str, section: str, prompts: int, measure: Any, *args: str) -> claims.Finding:
        return claims.find(
            key,
            measure(tables, *args),
            where=f"{_PAGE}#{section}",
            note=f"{trained(STANDARD)}; {prompts:,} prompts of each kind",
            beside={
                claims.BAYES: measure(tables, *args, name=BAYES),
                _NULL: measure(tables, *args, name=NEAREST),
            },
            gate=open_,
        )

    return [
        judged("C7a", "how-far-does-it-reach", _PROMPTS, beyond),
        claims.find(
            "C7b",
            edge(tables),
            where=f"{_PAGE}#how-much-coverage-is-enough",
            note=f"{trained(RARE_EDGE)}; {_PROMPTS} prompts",
            beside={
                claims.BAYES: edge(tables, OF + RARE_EDGE, BAYES),
                "null: a Bayesian to whom the edge is impossible": edge(tables, NO_EDGE),
            },
            gate=_gate(coverage, TINY),
        ),
        judged("C7c", "what-of-large-functions", _PROMPTS, enlarged),
        judged("C8a", "do-more-examples-help", _MANY, gains, "halfway"),
        judged("C8b", "do-more-examples-help", _MANY, gains, "twice the top"),
    ]


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    errors, coverage = tables["frequency_errors"], tables["frequency_coverage"]
    late, apart = errors[errors.n_examples == MOST], tables["frequency_distances"]
    found: dict[str, Measure] = {}
    for called, name in (("standard", STANDARD), ("bayes", BAYES)):
        inside, *_ = beyond(tables, name).values()
        found[f"{called}.inside"] = inside
        for frequency in (0.25, 6.0, 7.0, 10.0, 20.0):
            found[f"{called}.at{frequency:g}"] = share_of(late, predictor=name, frequency=frequency)
        for size in (3, 6, 10):
            for kind in ("slope", "amplitude"):
                asked = f"{kind} {size}"
                found[f"{called}.{kind}{size}"] = share_of(
                    tables["frequency_sizes"], predictor=name, asked=asked
                )
    for frequency in (6.0, 10.0, 20.0):
        found[f"doubting.at{frequency:g}"] = share_of(late, predictor=DOUBTING, frequency=frequency)
    for called, name in (("small", SMALL), ("tiny", TINY)):
        found[f"{called}.at6"] = share_of(late, predictor=name, frequency=6.0)
        found[f"{called}.at10"] = share_of(late, predictor=name, frequency=10.0)
    for frequency in (6.0, 10.0):
        found[f"apart.at{frequency:g}"] = share_of(
            apart, "distance", predictor=STANDARD, other=BAYES, frequency=frequency
        )
        found[f"apart.doubting.at{frequency:g}"] = share_of(
            apart, "distance", predictor=STANDARD, other=DOUBTING, frequency=frequency
        )
    for kind in ("slope", "amplitude"):
        found[f"nearest.{kind}10"] = share_of(
            tables["frequency_sizes"], predictor=NEAREST, asked=f"{kind} 10"
        )
    for called, asked in (("half", "halfway"), ("twice", "twice the top")):
        outside = gains(tables, asked)
        found[f"{called}.gain"], found["inside.gain"] = outside["outside"], outside["inside"]
        found[f"{called}.less"] = outside["outside over inside"]
    for name in (TINY, GAPPED):
        for frequency in SHOWN[:2]:
            called = "whole" if name == TINY else "hole"
            found[f"{called}.at{frequency:g}"] = share_of(late, predictor=name, frequency=frequency)
    found["hole.bayes"] = share_of(late, predictor=OF + GAPPED, frequency=3.0)
    for share, name in COVERED.items():
        called = f"{1000 * share:.0f}"  # in thousandths
        for asked, where in (("fast sines", "fast"), ("sines", "old")):
            found[f"covered.{where}.{called}"] = share_of(
                coverage, predictor=name, asked=asked, n_examples=MOST
            )
    found["edge"] = edge(tables)["rare edge"]
    found["tiny.inside"] = above_bayes(coverage, TINY, MOST)
    said = {name: figures.estimate(*measure) for name, measure in found.items()}
    foreign = _foreign(tables["frequency_shapes"])
    said |= {f"foreign.at{f:g}": f"{100 * foreign[f]:.0f}%" for f in SHOWN}
    return {f"frequency.{name}": words for name, words in said.items()}


def _foreign(table: pd.DataFrame) -> dict[float, float]:
    """How much of what the transformer draws is neither a line nor a sine of the band, by frequency."""
    ours = table[table.predictor == STANDARD]
    left = ours[["off_line", "off_sine"]].min(axis=1).groupby(ours.frequency).mean()
    return dict(left / ours.groupby("frequency").power.mean())


def conditions(tables: Tables) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name: each must hold with its whole interval."""
    errors, coverage = tables["frequency_errors"], tables["frequency_coverage"]
    late, sizes = errors[errors.n_examples == MOST], tables["frequency_sizes"]
    reached, large, large_bayes = beyond(tables), enlarged(tables), enlarged(tables, BAYES)

    def error(name: str, frequency: float) -> pd.Series:
        return rows_of(late, predictor=name, frequency=frequency).error

    def apart(frequency: float, other: str = BAYES) -> pd.Series:
        table = tables["frequency_distances"]
        return rows_of(table, predictor=STANDARD, other=other, frequency=frequency).distance

    def fast(name: str) -> Measure:
        return share_of(coverage, predictor=name, asked="fast sines", n_examples=MOST)

    def on(asked: str, name: str) -> pd.Series:
        return rows_of(coverage, predictor=name, asked=asked, n_examples=MOST).error

    def big(name: str, asked: str) -> pd.Series:
        return rows_of(sizes, predictor=name, asked=asked).error

    steps = list(COVERED.values())
    foreign = _foreign(tables["frequency_shapes"])
    verdicts = {finding.claim.key: finding.verdict for finding in findings(tables)}
    found = {
        "collapses_far_out": verdicts["C7a"] == "supported",
        "edge_untestable": verdicts["C7b"] == "not testable here",
        "helped_less_halfway_undecided": verdicts["C8a"] == "mixed",
        "helped_less_beyond": verdicts["C8b"] == "supported",
        "learns_the_band": reached["in the band"][2] < claims.WORSE,
        "reaches_a_little": reached["1.2 times the top"][2] < 0.25,
        "bayes_errs_more_nearby": all(
            less(error(STANDARD, f), error(BAYES, f), 0.5) for f in (0.25, 6.0, 7.0)
        ),
        "worse_than_zero_far_out": reached["four times the top"][1] > 1,
        "doubt_saves": all(
            less(error(DOUBTING, f), error(BAYES, f), 0.2) for f in (0.25, 6.0, 7.0, 10.0)
        ),
        "doubt_explodes": share_of(late, predictor=DOUBTING, frequency=20.0)[1] > 1,
        "nearer_to_doubt_nearby": less(apart(6.0, DOUBTING), apart(6.0))
        and less(apart(10.0), apart(10.0, DOUBTING)),
        "linear_explodes": less(error(STANDARD, 6.0), error(LINEAR, 6.0), 0.1),
        "not_that_bayesian": all(less(error(STANDARD, f), apart(f)) for f in (6.0, 7.0)),
        "alike_far_out": all(
            less(apart(f), error(name, f)) for f in (10.0, 14.0, 20.0) for name in (STANDARD, BAYES)
        ),
        "draws_what_it_never_met": foreign[6.0] > 0.1 and foreign[10.0] > 0.1 > foreign[3.0],
        "smaller_reach_less": all(less(error(STANDARD, 6.0), error(m, 6.0)) for m in (SMALL, TINY)),
        "hole_is_easier": less(error(GAPPED, 3.0), error(GAPPED, 6.0)),
        "hole_costs": less(error(TINY, 3.0), error(GAPPED, 3.0)),
        "hole_beats_bayes": less(error(GAPPED, 3.0), error(OF + GAPPED, 3.0)),
        "possible_is_not_enough": fast(OF + COVERED[0.001])[2]
        < 1e-6
        < 0.5
        < fast(COVERED[0.001])[1],
        "more_coverage_helps": all(
            less(on("fast sines", more), on("fast sines", fewer))
            for fewer, more in pairwise(steps[1:])
        ),
        "coverage_costs": less(on("sines", TINY), on("sines", WIDE)),
        "bayes_scales": all(measure[2] < 1e-6 for measure in large_bayes.values()),
        "large_is_handled_to_3": all(
            share_of(sizes, predictor=STANDARD, asked=f"{kind} 3")[2] < claims.WORSE
            for kind in ("slope", "amplitude")
        ),
        "large_costs": all(large[f"{kind} 10"][1] > 0.25 for kind in ("slope", "amplitude")),
        "large_is_undecided": large["slope 10"][2] < claims.COLLAPSE < large["amplitude 10"][2]
        and large["amplitude 10"][1] < claims.COLLAPSE,
        "nearest_is_better": all(
            less(big(NEAREST, f"{kind} 10"), big(STANDARD, f"{kind} 10"))
            for kind in ("slope", "amplitude")
        ),
    }
    return {f"frequency.{name}": bool(holds) for name, holds in found.items()}
