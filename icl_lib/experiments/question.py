"""The debate's last question: does the failure halfway hang on choices that a press release leaves out?

A *choice* is what an experimenter settles besides the model. Exact Bayes is asked under many, each time with the prior
and the noise of that choice. Two of them were trained on as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from icl_lib import baselines, bayes, claims, figures, recipes, weights
from icl_lib.claims import Measure
from icl_lib.evaluation import CurvePredictor, curve_predictions
from icl_lib.experiments import curves, diversity
from icl_lib.experiments.curves import BAYES, LINE, LINEAR, MOST, SINE, TINY, mean_square
from icl_lib.experiments.experiment import (
    Experiment,
    ratio,
    ratio_of_ratios,
    rows_of,
    share_of,
)
from icl_lib.figures import Picture
from icl_lib.random import Draws
from icl_lib.samplers import ConvexCombination, FunctionClass, Mixture, Sinusoid

LINES: Mapping[str, FunctionClass] = {"through zero": LINE, "with intercept": recipes.STRAIGHT}


@dataclass(frozen=True)
class Choice:
    """What an experimenter settles; by default as everywhere else in the book.

    Attributes:
        lines: which lines are mixed with sines, in equal parts; a key of LINES.
        low: lowest frequency of the sines, in radians per unit of x.
        high: highest frequency.
        inputs: how they are spread, "normal" or "uniform", with a standard deviation of 1.
        noise: standard deviation of the noise on the values.
        n_examples: examples in a prompt.
    """

    lines: str = "through zero"
    low: float = SINE.low
    high: float = SINE.high
    inputs: str = "normal"
    noise: float = 0.0
    n_examples: int = MOST

    @property
    def prior(self) -> Mixture:
        """What functions are drawn from in pretraining."""
        return Mixture((self.asked("line"), self.asked("sine")), (0.5, 0.5))

    def asked(self, kind: str) -> FunctionClass:
        """The functions of a kind: "line", "sine", or "halfway" between the two."""
        line, sine = LINES[self.lines], Sinusoid(self.low, self.high)
        return {"line": line, "sine": sine, "halfway": ConvexCombination(line, sine, 0.5)}[kind]


OURS = "as here"
CHOICES: Mapping[str, Choice] = {
    OURS: Choice(),
    "intercept": Choice(lines="with intercept"),
    "less noise": Choice(noise=0.1),
    "noise": Choice(noise=recipes.NOISY),
    "uniform": Choice(inputs="uniform"),
    "slow": Choice(low=0.2, high=1.0),
    "wide": Choice(low=1.0, high=20.0),
    "longer": Choice(n_examples=200),
    "all": Choice("with intercept", inputs="uniform", noise=recipes.NOISY, n_examples=200),
}
"""One choice made otherwise at a time, and four of them together, by the name that this page has for it."""
TRAINED = {
    OURS: TINY,
    "intercept": "straight+sine-0.5-tiny",
    "noise": "line+sine-0.5-tiny-noisy",
}
"""The models that were trained so: from one seed, on as many prompts."""
KINDS = ("line", "sine", "halfway")
_JUDGED = ("intercept", "noise")


def says(name: str, choice: Choice) -> CurvePredictor:
    """Exact Bayes and the best linear predictor, with the prior and the noise of the choice; or a model."""
    if name == BAYES:
        return curves.exact(choice.prior, noise=choice.noise)
    if name == LINEAR:
        variance = choice.noise**2 + bayes.JITTER**2
        return lambda xs, ys, queries: baselines.best_linear_curve(
            xs, ys, queries, choice.prior, noise_variance=variance
        )
    return weights.load(name).predict_curve


def draw_prompts(
    choice: Choice, kind: str, count: int, n_queries: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Examples, with their noise, and queries: xs (B, n, 1), ys (B, n), queries (B, Q, 1), and the function there.

    Inputs and functions are those of `sample_prompts` with this seed. Uniform inputs lie at the same quantiles.
    """
    draws = Draws(seed=seed, step=0, batch_size=count)
    n = choice.n_examples
    xs = draws.child(0).normal(n + n_queries, 1)
    if choice.inputs == "uniform":
        xs = 3**0.5 * (2 * torch.special.ndtr(xs) - 1)
    xs = xs.float()
    functions, _ = choice.asked(kind).sample_functions(draws.child(1))
    truth = functions(xs)
    ys = truth[:, :n] + choice.noise * draws.child(2).normal(n)
    return xs[:, :n], ys.float(), xs[:, n:], truth[:, n:]


def error(
    predictor: str, asked: str, n_queries: int, seed: int, prompts: Sequence[int], **choice: Any
) -> pd.DataFrame:
    """How far a predictor is from the function, where examples have noise and what is asked for has none."""
    chosen = Choice(**choice)
    drawn = draw_prompts(chosen, asked, max(prompts) + 1, n_queries, seed)
    xs, ys, queries, truth = (part[list(prompts)] for part in drawn)
    said = curve_predictions({predictor: says(predictor, chosen)}, xs, ys, queries)[predictor]
    return pd.DataFrame({"error": mean_square(said - truth), "power": mean_square(truth)})


EXPERIMENTS = (
    Experiment(
        name="debate_choices",
        version=1,
        about="one predictor on one prompt, where the experimenter's choices are made otherwise",
        columns=curves.ERROR,
        cases=[
            {"predictor": name, **asdict(choice), "asked": asked}
            for called, choice in CHOICES.items()
            for name in (BAYES, LINEAR, *filter(None, [TRAINED.get(called)]))
            for asked in KINDS
        ],
        settings={"n_queries": 32, "seed": 47},
        n_prompts=256,
        measure=error,
    ),
)


# --- The figure -----------------------------------------------------------------------------------

_ROWS = {
    OURS: "as in this book",
    "intercept": "lines with an intercept",
    "less noise": "noise of 0.1",
    "noise": "noise of 0.3",
    "uniform": "uniform inputs",
    "longer": "200 examples",
    "all": "intercept, noise, uniform, 200",
    "wide": "sines up to frequency 20",
    "slow": "sines from 0.2 to 1",
}
_LEAST = 1e-5
_TITLES = {"halfway": "halfway between a line and a sine", "sine": "sines, for comparison"}


def _rows(table: pd.DataFrame, called: str, who: str, asked: str) -> pd.DataFrame:
    """The rows of a predictor under a choice; of the model that was trained so, if `who` is TINY."""
    name = TRAINED[called] if who == TINY else who
    return rows_of(table, predictor=name, asked=asked, **asdict(CHOICES[called]))


def share(table: pd.DataFrame, called: str, who: str, asked: str = "halfway") -> Measure:
    """Error as a share of the mean square under a choice; `who` as for `_rows`."""
    rows = _rows(table, called, who, asked)
    return ratio(rows.error, rows.power)


def draw(table: pd.DataFrame) -> Picture:
    """Errors halfway and on sines, a row for each choice."""
    looks = {
        TINY: ("transformer", "o", "tiny transformer trained so"),
        BAYES: ("Bayes", "s", "exact Bayes"),
        LINEAR: ("best linear", "D", "best linear predictor"),
    }
    found = pd.DataFrame(
        [
            (asked, called, who, *share(table, called, who, asked))
            for asked in _TITLES
            for called in _ROWS
            for who in looks
            if who != TINY or called in TRAINED
        ],
        columns=["asked", "choice", "who", "share", "ci_low", "ci_high"],
    )
    places = {called: -i for i, called in enumerate(_ROWS)}
    with figures.drawing(1, 2, figsize=(9.5, 3.5), sharex=True, sharey=True) as (figure, panels):
        for axes, (asked, title) in zip(panels, _TITLES.items(), strict=True):
            axes.set(xscale="log", xlim=(_LEAST, 1), title=title, xlabel=curves.SHARE)
            axes.set_yticks(list(places.values()), list(_ROWS.values()))
            for shift, (who, (role, marker, label)) in zip(
                (0.2, 0, -0.2), looks.items(), strict=True
            ):
                rows = found[(found.who == who) & (found.asked == asked)]
                at = [places[called] + shift for called in rows.choice]
                low, value, high = (
                    rows[column].clip(lower=_LEAST) for column in ("ci_low", "share", "ci_high")
                )
                colour = figures.LOOKS[role].colour
                axes.hlines(at, low, high, color=colour, linewidth=2)
                axes.plot(value, at, marker, color=colour, markersize=5, label=label, clip_on=False)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "Errors halfway between a line and a sine, and on sines, under nine choices of the experimenter, of exact "
            "Bayes, of the best linear predictor, and of three tiny transformers.",
            "After 40 examples, or 200 where it says so. Bars are 90% intervals over 256 prompts; what lies below the "
            "frame is drawn at its edge.",
            found,
        )


# --- What the prose says --------------------------------------------------------------------------

Tables = Mapping[str, pd.DataFrame]


def _over_ours(table: pd.DataFrame, who: str, called: str) -> Measure:
    """The share of error left halfway under a choice, over that under ours."""
    pairs = [_rows(table, case, who, "halfway") for case in (called, OURS)]
    return ratio_of_ratios(*((rows.error, rows.power) for rows in pairs))


def cures(table: pd.DataFrame, who: str = TINY) -> dict[str, Measure]:
    """D7: for each choice that is judged, the share of error left halfway, over that under ours."""
    return {called: _over_ours(table, who, called) for called in _JUDGED}


def _excess(table: pd.DataFrame, called: str, asked: str) -> Measure:
    own, exact = (_rows(table, called, who, asked) for who in (TINY, BAYES))
    return ratio(own.error - exact.error.to_numpy(), own.power)


def findings(tables: Tables) -> list[claims.Finding]:
    """What the section found: D7."""
    table = tables["debate_choices"]
    seen = weights.prompts_met(weights.read_card(TINY))
    return [
        claims.find(
            "D7",
            cures(table),
            where="notebooks/debate#was-it-the-question",
            note=f"three tiny models, trained once each, on {seen:,} prompts; 256 prompts",
            beside={
                claims.BAYES: cures(table, BAYES),
                "null: the same choice": dict.fromkeys(_JUDGED, _over_ours(table, TINY, OURS)),
            },
            gate={
                f"{TRAINED[called]} on {asked}s": _excess(table, called, asked)
                for called in TRAINED
                for asked in ("line", "sine")
            },
        )
    ]


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the section's prose, by name."""
    table = tables["debate_choices"]
    exact = {called: share(table, called, BAYES) for called in CHOICES}
    found = {f"bayes.{called.replace(' ', '')}.halfway": exact[called] for called in CHOICES}
    found["bayes.slow.over.ours"] = _over_ours(table, BAYES, "slow")
    found |= {f"left.{called}": measure for called, measure in cures(table).items()}
    told = {name: figures.estimate(*measure) for name, measure in found.items()}
    for name, values in (
        ("bayes", [exact[called][0] for called in CHOICES if called != "slow"]),
        ("above.sine", [_excess(table, called, "sine")[0] for called in TRAINED]),
    ):
        told |= {f"{name}.least": f"{min(values):.2f}", f"{name}.most": f"{max(values):.2f}"}
    return {f"question.{name}": words for name, words in told.items()}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the section's sentences hang on, by name."""
    table, types = tables["debate_choices"], tables["debate_diversity"]
    others = [called for called in CHOICES if called not in (OURS, "slow")]
    left = cures(table).values()
    lines_and_sines = (diversity.MODELS[diversity.FEW, seed] for seed in diversity.SEEDS)
    seeds = [share_of(types, predictor=model, asked="halfway")[0] for model in lines_and_sines]

    def over(called: str) -> Measure:
        return _over_ours(table, BAYES, called)

    found = {
        "bayes_knows_every_class": all(
            share(table, called, BAYES, asked)[2] < 0.01
            for called in CHOICES
            for asked in ("line", "sine")
        ),
        "most_choices_matter_little": all(
            over(called)[1] > 0.5 and over(called)[2] < 2 for called in others
        ),
        "uniform_helps_most": all(
            over("uniform")[2] < over(called)[1]
            for called in others
            if called not in ("uniform", "all")
        ),
        "slow_sines_change_it": over("slow")[2] < 0.1,
        "slow_is_easy": share(table, "slow", LINEAR)[2] < 1e-3 * share(table, "slow", BAYES)[1],
        "linear_is_far_better": all(
            share(table, called, LINEAR)[2] < 0.5 * share(table, called, BAYES)[1]
            for called in (OURS, *others)
        ),
        "tiny_gains_some": all(high < 1 for _, _, high in left),
        "more_than_half_is_left": all(low > claims.CURED for _, low, _ in left),
        "seeds_do_as_much": all(
            share(table, called, TINY)[1] < max(seeds)
            and share(table, called, TINY)[2] > min(seeds)
            for called in _JUDGED
        ),
        "rule_says_not_supported": findings(tables)[0].by_rule == "not supported",
        "lines_learnt": all(_excess(table, called, "line")[2] < claims.WORSE for called in TRAINED),
        "sines_at_the_limit": all(
            claims.WORSE <= _excess(table, called, "sine")[2] < 2 * claims.WORSE
            for called in TRAINED
        ),
    }
    return {f"question.{name}": bool(holds) for name, holds in found.items()}
