"""Functions between a line and a sine: who predicts them, how well, and as what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from typing import Any

import pandas as pd
import torch
from matplotlib.axes import Axes
from torch import Tensor

from icl_lib import baselines, bayes, claims, figures, weights
from icl_lib.claims import Measure
from icl_lib.evaluation import CurvePredictor, curve_predictions
from icl_lib.experiments.experiment import Experiment, ratio, shares
from icl_lib.figures import Picture
from icl_lib.samplers import (
    ConvexCombination,
    DenseLinear,
    FunctionClass,
    Mixture,
    Sinusoid,
    sample_prompts,
)

LINE, SINE = DenseLinear(1), Sinusoid(1.0, 5.0)
PRIOR = Mixture((LINE, SINE), (0.5, 0.5))

STANDARD, SMALL, TINY = (f"line+sine-0.5-{size}" for size in ("standard-brief", "small", "tiny"))
MODELS = (STANDARD, SMALL, TINY, "line-tiny", "sine-tiny")
BAYES, ORACLE, LINEAR = "Bayes", "oracle", "best linear"

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
MOST = 40
"""Examples at most; what is asked for comes after them, so that it is the same whatever the number of examples."""
LENGTHS = (0, 1, 2, 3, 5, 7, 10, 14, 20, 28, MOST)
NOISES = (0.01, 0.1, 0.3)


def truth(weight: float) -> ConvexCombination:
    """The class that is asked for: weight on the line, the rest on the sine."""
    return ConvexCombination(LINE, SINE, weight)


def predictor(name: str, weight: float) -> CurvePredictor:
    """A predictor of curves by the name that tables have for it; only the oracle knows the weight."""
    if name == ORACLE:
        return _exact(truth(weight))
    if name == LINEAR:
        return partial(baselines.best_linear_curve, function_class=PRIOR)
    if name == BAYES:
        return _exact(PRIOR)
    if name.startswith("Bayes, noise "):
        return _exact(PRIOR, jitter=float(name.removeprefix("Bayes, noise ")))
    return weights.load(name).predict_curve


def _exact(function_class: FunctionClass, jitter: float = bayes.JITTER) -> CurvePredictor:
    return lambda xs, ys, queries: bayes.posterior_curve(
        function_class, xs, ys, queries, jitter=jitter
    )[0]


@cache
def _answers(
    name: str, weight: float, n_examples: int, n_queries: int, seed: int, prompts: tuple[int, ...]
) -> tuple[Tensor, Tensor, Tensor]:
    """Where these prompts are asked (P, Q, 1), the true values (P, Q), and what the predictor says (P, Q)."""
    xs, ys, _ = sample_prompts(truth(weight), max(prompts) + 1, MOST + n_queries, seed=seed)
    xs, ys = xs[list(prompts)], ys[list(prompts)]
    examples, queries = slice(0, n_examples), slice(MOST, None)
    said = curve_predictions(
        {name: predictor(name, weight)}, xs[:, examples], ys[:, examples], xs[:, queries]
    )
    return xs[:, queries].double(), ys[:, queries].double(), said[name]


def errors(
    predictor: str,
    weight: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far a predictor is from the function."""
    _, ys, said = _answers(predictor, weight, n_examples, n_queries, seed, tuple(prompts))
    return pd.DataFrame({"error": _mean_square(said - ys), "power": _mean_square(ys)})


def distances(
    predictor: str,
    other: str,
    weight: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far two predictors are from each other."""
    case = weight, n_examples, n_queries, seed, tuple(prompts)
    (_, ys, one), (_, _, two) = _answers(predictor, *case), _answers(other, *case)
    return pd.DataFrame({"distance": _mean_square(one - two), "power": _mean_square(ys)})


def shapes(
    predictor: str,
    weight: float,
    n_examples: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """What a predictor's curve is made of: what a line, a sine, and a line plus a sine leave of it."""
    xs, _, said = _answers(predictor, weight, n_examples, n_queries, seed, tuple(prompts))
    line, sine, both = remainders(xs[:, :, 0], said)
    return pd.DataFrame(
        {"power": _mean_square(said), "off_line": line, "off_sine": sine, "off_sum": both}
    )


def remainders(xs: Tensor, values: Tensor, frequencies: int = 401) -> tuple[Tensor, Tensor, Tensor]:
    """What the nearest line, sine of the band, and sum of both leave of curves (B, Q), mean squared: each (B,).

    The frequency is searched on an even grid; neighbours are 0.01 apart, which at |x| < 3 turns a phase by 0.03.
    """
    angle = torch.linspace(SINE.low, SINE.high, frequencies, dtype=xs.dtype)[:, None] * xs[:, None]
    wave = torch.stack([angle.sin(), angle.cos()], -1)  # (B, F, Q, 2)
    straight = xs[:, None, :, None]
    summed = torch.cat([straight.expand(-1, frequencies, -1, -1), wave], -1)
    line, sine, both = (
        _least_rest(features, values).amin(1) for features in (straight, wave, summed)
    )
    return line, sine, both


def _least_rest(features: Tensor, values: Tensor) -> Tensor:
    """Mean squared rest of least squares on features (B, F, Q, K): (B, F)."""
    gram = features.mT @ features  # (B, F, K, K)
    # Not to divide by zero where a frequency's two features are as good as one.
    gram = gram + 1e-9 * gram.diagonal(dim1=-2, dim2=-1).mean(-1)[..., None, None] * torch.eye(
        gram.shape[-1], dtype=gram.dtype
    )
    fitted = torch.linalg.solve(gram, features.mT @ values[:, None, :, None])
    return (values[:, None] - (features @ fitted)[..., 0]).square().mean(-1)


def _mean_square(values: Tensor) -> Tensor:
    return values.square().mean(1)


def _cases(names: Sequence[str], asked: Sequence[tuple[float, int]]) -> list[dict[str, object]]:
    return [{"predictor": name, "weight": a, "n_examples": n} for name in names for a, n in asked]


_SWEEP = [(a, n) for n in (10, MOST) for a in WEIGHTS]
_CURVE = [(a, n) for n in LENGTHS if n not in (10, MOST) for a in (0.0, 0.5)]
_PAIRS = [(STANDARD, BAYES), (SMALL, BAYES), (TINY, BAYES), (STANDARD, LINEAR), (BAYES, LINEAR)]
_PROMPTS = 256
_SETTINGS = {"n_queries": 32, "seed": 6}
_MEANING = {
    "power": "mean square of the function's values at the same queries",
}

EXPERIMENTS = (
    Experiment(
        name="combination_errors",
        version=1,
        about="one predictor on one prompt, whose function is weight * line + (1 - weight) * sine",
        columns={"error": "mean squared error over the queries, in units of f squared", **_MEANING},
        cases=[
            *_cases((*MODELS, BAYES, LINEAR, ORACLE), _SWEEP),
            *_cases((STANDARD, SMALL, TINY, BAYES, LINEAR, ORACLE), _CURVE),
            *_cases([f"Bayes, noise {noise}" for noise in NOISES], [(0.5, 10), (0.5, MOST)]),
        ],
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=errors,
    ),
    Experiment(
        name="combination_distances",
        version=1,
        about="two predictors on one prompt: how far their answers are from each other",
        columns={
            "distance": "mean squared difference over the queries, in units of f squared",
            **_MEANING,
        },
        cases=[
            {"predictor": one, "other": two, "weight": a, "n_examples": n}
            for one, two in _PAIRS
            for a, n in _SWEEP
        ],
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=distances,
    ),
    Experiment(
        name="combination_shapes",
        version=1,
        about="the curve that one predictor draws for one prompt, and what simple shapes leave of it",
        columns={
            "power": "mean square of the predicted curve, in units of f squared",
            "off_line": "what the nearest line leaves, mean squared",
            "off_sine": "what the nearest sine of the band leaves, mean squared",
            "off_sum": "what the nearest sum of a line and a sine of the band leaves, mean squared",
        },
        cases=_cases((STANDARD, SMALL, TINY, BAYES, LINEAR), [(a, MOST) for a in WEIGHTS]),
        settings=_SETTINGS,
        n_prompts=_PROMPTS,
        measure=shapes,
    ),
)


# --- The figures ----------------------------------------------------------------------------------

BY = ["predictor", "weight", "n_examples"]
FLOOR = 1e-6
"""Smaller shares are drawn there: they are zero but for the jitter and the arithmetic."""

_LOOKS = {STANDARD: "transformer", BAYES: "Bayes", LINEAR: "best linear", ORACLE: "oracle"}
_NAMES = {STANDARD: "transformer", BAYES: "exact Bayes", LINEAR: "best linear", ORACLE: "oracle"}
_BANDS = "Bands are 90% intervals over 256 prompts. Shares below 10⁻⁶ are drawn there."
_SHARE = "error / mean square of f"
_WEIGHT = "weight a of the line"


def _draw(axes: Axes, table: pd.DataFrame, x: str, role: str, label: str, **line: Any) -> None:
    """One line of shares with its band, kept above the floor."""
    drawn = table.sort_values(x)
    drawn = drawn.assign(**drawn[["share", "ci_low", "ci_high"]].clip(lower=FLOOR))
    figures.curve(axes, drawn, x, "share", role, label, **line)


def draw_errors(table: pd.DataFrame) -> Picture:
    """Shares of the mean square that each predictor errs by, against the weight, after 10 and after 40 examples."""
    found = shares(table[table.predictor.isin(_LOOKS) & table.n_examples.isin((10, MOST))], BY)
    with figures.drawing(1, 2, figsize=(9.5, 3.6), sharey=True) as (figure, panels):
        for axes, n in zip(panels, (10, MOST), strict=True):
            axes.set(yscale="log", ylim=(FLOOR / 2, 3), xlabel=_WEIGHT, title=f"after {n} examples")
            axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            for name, role in _LOOKS.items():
                rows = found[(found.predictor == name) & (found.n_examples == n)]
                _draw(axes, rows, "weight", role, _NAMES[name])
        figures.name_lines(panels[1], list(_NAMES.values()))
        panels[0].set_ylabel(_SHARE)
        panels[0].annotate("predicting zero", (0.02, 1.2), fontsize=9)
        return figures.picture(
            figure,
            "Errors of the transformer, exact Bayes, the best linear predictor and the oracle against the weight of "
            "the line, after 10 and after 40 examples, on a log axis.",
            _BANDS,
            found,
        )


def draw_examples(table: pd.DataFrame) -> Picture:
    """Errors against the number of examples, on sines and halfway."""
    asked = {0.0: "on sines, inside the mixture", 0.5: "halfway, a = 0.5"}
    names = (STANDARD, BAYES, LINEAR)
    found = shares(table[table.predictor.isin(names) & table.weight.isin(asked)], BY)
    with figures.drawing(1, 2, figsize=(9.5, 3.6), sharey=True) as (figure, panels):
        for axes, (a, title) in zip(panels, asked.items(), strict=True):
            axes.set(yscale="log", ylim=(1e-4, 10), xlim=(0, MOST), title=title)
            axes.set_xlabel("in-context examples")
            axes.axhline(1, color=figures.LOOKS["truth"].colour, linewidth=0.8, alpha=0.6)
            for name in names:
                rows = found[(found.predictor == name) & (found.weight == a)]
                _draw(axes, rows, "n_examples", _LOOKS[name], _NAMES[name])
        figures.name_lines(panels[1], [_NAMES[name] for name in names])
        panels[0].set_ylabel(_SHARE)
        return figures.picture(
            figure,
            "Errors of the transformer, exact Bayes and the best linear predictor against the number of examples, on "
            "sines and halfway between a line and a sine, on a log axis.",
            "Bands are 90% intervals over 256 prompts; the same queries at every number of examples.",
            found,
        )


def draw_distances(errors: pd.DataFrame, distances: pd.DataFrame) -> Picture:
    """How far transformer and exact Bayes are from the function, and from each other."""
    apart = shares(
        distances[distances.n_examples == MOST], ["predictor", "other", "weight"], "distance"
    )
    own = shares(errors[errors.n_examples == MOST], ["predictor", "weight"])
    own = own[own.predictor.isin((STANDARD, BAYES))].assign(other="the function")
    found = pd.concat([own, apart])
    lines = {
        "transformer to function": (STANDARD, "the function", "transformer"),
        "Bayes to function": (BAYES, "the function", "Bayes"),
        "transformer to Bayes": (STANDARD, BAYES, "truth"),
        "transformer to best linear": (STANDARD, LINEAR, "best linear"),
    }
    with figures.drawing(figsize=(8.5, 3.4)) as (figure, axes):
        axes.set(xlabel=_WEIGHT, ylabel="mean squared distance, as a share")
        for label, (one, two, role) in lines.items():
            rows = found[(found.predictor == one) & (found.other == two)].sort_values("weight")
            figures.curve(axes, rows, "weight", "share", role, label)
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return figures.picture(
            figure,
            "Mean squared distances after 40 examples against the weight of the line: of the transformer and of exact "
            "Bayes from the function, of the transformer from exact Bayes and from the best linear predictor.",
            "After 40 examples. Bands are 90% intervals over 256 prompts.",
            found,
        )


def parts(table: pd.DataFrame) -> pd.DataFrame:
    """Of what each predictor's curves are made, as shares of their mean square: one shape, the sum of both, neither."""
    single = table[["off_line", "off_sine"]].min(axis=1)
    groups = table.assign(single=single).groupby(["predictor", "weight"])
    left = groups[["power", "single", "off_sum"]].mean()
    neither, single_left = left.off_sum / left.power, left.single / left.power
    made = {"one": 1 - single_left, "both": single_left - neither, "neither": neither}
    return pd.DataFrame(made).reset_index()


def draw_shapes(table: pd.DataFrame) -> Picture:
    """What the curves of transformer, exact Bayes and the best linear predictor are made of, after 40 examples."""
    found = parts(table)
    hues = {"one": "#0072b2", "both": "#cc79a7", "neither": "#e69f00"}
    names = {"one": "a line, or a sine", "both": "the sum of both", "neither": "neither"}
    shown = (STANDARD, BAYES, LINEAR)
    with figures.drawing(1, 3, figsize=(9.5, 3.4), sharey=True) as (figure, panels):
        for axes, name in zip(panels, shown, strict=True):
            rows = found[found.predictor == name].sort_values("weight")
            axes.stackplot(
                rows.weight,
                *(rows[part] for part in hues),
                colors=list(hues.values()),
                alpha=0.65,
                labels=list(names.values()),
            )
            axes.set(title=_NAMES[name], xlabel=_WEIGHT, ylim=(0.75, 1), xlim=(0, 1))
        panels[0].set_ylabel("share of the curve")
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "Shares of the predicted curve that a line or a sine makes up, that it takes the sum of both for, and that "
            "neither reaches, against the weight of the line, for transformer, exact Bayes and best linear.",
            "After 40 examples, at 32 queries of 256 prompts. The axis begins at three quarters.",
            found[found.predictor.isin(shown)],
        )


# --- What the prose says --------------------------------------------------------------------------

CLAIMED = {"a = 0": 0.0, "a = 0.1": 0.1, "a = 0.5": 0.5, "a = 0.9": 0.9, "a = 1": 1.0}


def measures(table: pd.DataFrame, name: str = STANDARD) -> dict[str, Measure]:
    """What the claim on combinations is judged by, of one predictor: shares after 40 examples."""
    found = shares(table[(table.predictor == name) & (table.n_examples == MOST)], ["weight"])
    rows = found.set_index("weight")[["share", "ci_low", "ci_high"]].T.to_dict("list")
    return {key: (rows[a][0], rows[a][1], rows[a][2]) for key, a in CLAIMED.items()}


def draw_claim(table: pd.DataFrame) -> Picture:
    """The claim's measures as intervals, against what its rule asks of the middle."""
    names = {STANDARD: "transformer", BAYES: "exact Bayes"}
    found = pd.DataFrame(
        [
            {"predictor": name, "measure": key, "share": share, "ci_low": low, "ci_high": high}
            for name in names
            for key, (share, low, high) in measures(table, name).items()
        ]
    )
    own = found[found.predictor == STANDARD].set_index("measure")
    needed = max(5 * own.ci_high[["a = 0", "a = 1"]].max(), 0.05)
    with figures.drawing(figsize=(8, 2.8)) as (figure, axes):
        for shift, name in zip((0.12, -0.12), names, strict=True):
            rows = found[found.predictor == name]
            low, middle, high = (rows[c].clip(lower=1e-5) for c in ("ci_low", "share", "ci_high"))
            heights = [len(rows) - 1 - i + shift for i in range(len(rows))]
            colour = figures.LOOKS[_LOOKS[name]].colour
            axes.hlines(heights, low, high, color=colour, linewidth=2.5)
            axes.plot(middle, heights, "o", color=colour, label=names[name])
        axes.axvline(needed, color=figures.LOOKS["truth"].colour, linewidth=0.8)
        axes.annotate("the middle must lie beyond", (needed * 1.1, 4.2), fontsize=9)
        axes.set(xscale="log", xlim=(1e-5, 2), xlabel=_SHARE, ylim=(-0.5, 4.6))
        axes.set_yticks(range(len(CLAIMED)), list(reversed(CLAIMED)))
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return figures.picture(
            figure,
            "Errors after 40 examples at five weights of the line, with intervals, for transformer and exact Bayes, "
            "and the line beyond which the middle must lie.",
            "After 40 examples; 90% intervals over 256 prompts. Shares below 10⁻⁵ are drawn there.",
            found,
        )


def _rows(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """The rows that have these values, by prompt."""
    for column, value in values.items():
        table = table[table[column] == value]
    return table.sort_values("prompt")


def _share(table: pd.DataFrame, over: str = "error", **values: object) -> Measure:
    """The share of the rows that have these values, with its interval."""
    rows = _rows(table, **values)
    return ratio(rows[over], rows["power"])


def _halfway(shapes: pd.DataFrame) -> dict[Any, Any]:
    """What each predictor's curves are made of at a = 0.5."""
    found = parts(shapes)
    return found[found.weight == 0.5].set_index("predictor").to_dict("index")


def sizes(errors: pd.DataFrame, distances: pd.DataFrame) -> pd.DataFrame:
    """The three mixture models: where they err, and how far they are from exact Bayes, in words."""
    late, apart = (t[t.n_examples == MOST] for t in (errors, distances))
    rows = {}
    for name, called in ((TINY, "tiny"), (SMALL, "small"), (STANDARD, "standard")):
        card = weights.read_card(name)
        found = {
            "on lines": _share(late, predictor=name, weight=1.0),
            "on sines": _share(late, predictor=name, weight=0.0),
            "halfway": _share(late, predictor=name, weight=0.5),
            "from exact Bayes, halfway": _share(
                apart, "distance", predictor=name, other=BAYES, weight=0.5
            ),
        }
        seen = card["steps"] * card["recipe"]["batch_size"]
        rows[called] = {
            "parameters": f"{card['parameters']:,}",
            "prompts": f"{seen:,}",
            **{where: figures.estimate(*share) for where, share in found.items()},
        }
    return pd.DataFrame(rows).T


def numbers(tables: Mapping[str, pd.DataFrame]) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    errors, distances = tables["combination_errors"], tables["combination_distances"]
    late, early = (errors[errors.n_examples == n] for n in (MOST, 10))
    short = {STANDARD: "standard", SMALL: "small", TINY: "tiny", BAYES: "bayes", LINEAR: "linear"}
    found = {}
    for name, called in short.items():
        for where, a in (("sines", 0.0), ("half", 0.5), ("lines", 1.0)):
            found[f"{called}.{where}"] = figures.estimate(*_share(late, predictor=name, weight=a))
        found[f"{called}.early"] = figures.estimate(*_share(early, predictor=name, weight=0.5))
    found["oracle.half"] = figures.estimate(*_share(late, predictor=ORACLE, weight=0.5))
    for n in (10, MOST):
        noisy = errors[errors.n_examples == n]
        noise = _share(noisy, predictor="Bayes, noise 0.3", weight=0.5)
        found[f"noise.{n}"] = figures.estimate(*noise)
    apart = distances[(distances.n_examples == MOST) & (distances.weight == 0.5)]
    for one, two in _PAIRS:
        share = _share(apart, "distance", predictor=one, other=two)
        found[f"{short[one]}.from.{short[two]}"] = figures.estimate(*share)
    for called, gain in _gains(errors).items():
        found[f"{called}.gain"] = figures.estimate(*gain)
    made = _halfway(tables["combination_shapes"])
    for name in (STANDARD, BAYES, LINEAR):
        for part in ("one", "both", "neither"):
            found[f"{short[name]}.{part}"] = f"{100 * made[name][part]:.0f}%"
    found["verdict"] = claims.CLAIMS["C6"].judge(measures(errors))
    return {f"combinations.{name}": words for name, words in found.items()}


def _gains(errors: pd.DataFrame) -> dict[str, Measure]:
    """Error at 40 examples over that at 10, halfway and on sines."""
    asked = {
        "standard": (STANDARD, 0.5),
        "bayes": (BAYES, 0.5),
        "linear": (LINEAR, 0.5),
        "sines": (STANDARD, 0.0),
    }
    gains = {}
    for called, (name, a) in asked.items():
        late, early = (
            _rows(errors, predictor=name, weight=a, n_examples=n).error for n in (MOST, 10)
        )
        gains[called] = ratio(late, early)
    return gains


def conditions(tables: Mapping[str, pd.DataFrame]) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name: each must hold with its whole interval."""
    errors, distances = tables["combination_errors"], tables["combination_distances"]
    late = errors[errors.n_examples == MOST]

    def error(name: str, weight: float = 0.5) -> pd.Series:
        return _rows(late, predictor=name, weight=weight).error

    def less(one: pd.Series, other: pd.Series, factor: float = 1.0) -> bool:
        """Whether one mean is demonstrably below another's multiple, prompt by prompt."""
        return ratio(one, other)[2] < factor

    to_bayes = _rows(
        distances, predictor=STANDARD, other=BAYES, weight=0.5, n_examples=MOST
    ).distance
    power = _rows(late, predictor=STANDARD, weight=0.5).power
    shared = {
        name: _share(late, predictor=name, weight=0.5)
        for name in (STANDARD, "line-tiny", "sine-tiny", "Bayes, noise 0.3")
    }
    gains, made = _gains(errors), _halfway(tables["combination_shapes"])
    judge, ours = claims.CLAIMS["C6"].judge, measures(errors)
    found = {
        "learns_both": all(ours[end][2] < claims.WORSE for end in ("a = 0", "a = 1")),
        "fails_between": judge(ours) == "supported",
        "bayes_fails_between": judge(measures(errors, BAYES)) == "supported",
        "bayes_errs_more": less(error(STANDARD), error(BAYES)),
        "small_err_more": all(less(error(BAYES), error(name)) for name in (SMALL, TINY)),
        "not_that_bayesian": less(power * claims.WORSE, to_bayes),
        "farther_from_bayes": less(error(STANDARD), to_bayes),
        "data_suffice": all(less(error(LINEAR), error(name), 0.05) for name in (BAYES, STANDARD)),
        "best_linear_pays": less(error(BAYES, 0.0), error(LINEAR, 0.0)),
        "bayes_has_one_shape": made[BAYES]["one"] > 0.99 > made[STANDARD]["one"],
        "adds_half": made[LINEAR]["both"]
        > made[STANDARD]["both"]
        > made[STANDARD]["neither"]
        > 0.01,
        "helped_not_repaired": gains["standard"][2] < 1 and shared[STANDARD][1] > claims.WORSE,
        "helped_less_than_sines": gains["sines"][2] < gains["standard"][1],
        "noise_is_no_remedy": shared["Bayes, noise 0.3"][1] > claims.WORSE,
        "single_classes_fail": all(
            shared[name][1] > claims.WORSE for name in ("line-tiny", "sine-tiny")
        ),
    }
    return {f"combinations.{name}": bool(holds) for name, holds in found.items()}
