"""If it is told the class: what a name in the prompt is worth, in the mixture and out, and what a wrong one does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from icl_lib import claims, figures, naming, recipes, weights
from icl_lib.claims import Measure
from icl_lib.evaluation import CurvePredictor, curve_predictions
from icl_lib.experiments import combinations, curves, frequency
from icl_lib.experiments.curves import BAYES, LINE, PRIOR, SINE
from icl_lib.experiments.experiment import Experiment, over_seeds, rows_of
from icl_lib.figures import Picture
from icl_lib.samplers import FunctionClass, sample_prompts

SEEDS = ("", "-seed13", "-seed14")
TOLD = tuple(f"line+sine-0.5-tiny-told{seed}" for seed in SEEDS)
"""Trained on prompts half of which had a name: three seeds."""
ALWAYS = tuple(f"line+sine-0.5-tiny-always-told{seed}" for seed in SEEDS)
"""Trained, from the same seeds, on prompts all of which had one, so that they never had to select."""

SAID = {"nothing": naming.NO_NAME, "line": naming.NAMES[0], "sine": naming.NAMES[1]}
"""What a prompt is said to be, and the name that says so."""
BELIEVED: Mapping[str, FunctionClass] = {"nothing": PRIOR, "line": LINE, "sine": SINE}
"""The prior of the Bayesian who is told that, and believes it."""

CLASSES = ("line", "sine")
OUTSIDE = ("halfway", "frequency 6")
ASKED: Mapping[str, FunctionClass] = {
    "line": LINE,
    "sine": SINE,
    "halfway": combinations.truth(0.5),
    "frequency 6": frequency.at(6.0),
}

FEW = (1, 2, 3, 5)
"""Numbers of examples over which the price of selection is averaged."""
MOST = recipes.TOLD_POINTS - 2
LENGTHS = (*FEW, 10, MOST)


def predictor(model: str, said: str) -> CurvePredictor:
    """A model, or exact Bayes, that is told something of every prompt."""
    if model == BAYES:
        return curves.exact(BELIEVED[said])
    return naming.told(weights.load(model), SAID[said])


def error(
    model: str,
    said: str,
    asked: str,
    n_examples: int,
    most: int,
    n_queries: int,
    seed: int,
    prompts: Sequence[int],
) -> pd.DataFrame:
    """How far a predictor that is told something is from the function, at points after the first `most`."""
    xs, ys, _ = sample_prompts(ASKED[asked], max(prompts) + 1, most + n_queries, seed=seed)
    xs, ys = xs[list(prompts)], ys[list(prompts)]
    truth = ys[:, most:].double()
    known = xs[:, :n_examples], ys[:, :n_examples], xs[:, most:]
    guess = curve_predictions({model: predictor(model, said)}, *known)[model]
    return pd.DataFrame(
        {"error": curves.mean_square(guess - truth), "power": curves.mean_square(truth)}
    )


def _case(model: str, said: str, asked: str, n_examples: int) -> dict[str, str | int]:
    return {"model": model, "said": said, "asked": asked, "n_examples": n_examples}


EXPERIMENTS = (
    Experiment(
        name="named_errors",
        version=1,
        about="one predictor on one prompt, of which it was told the class, another class, or nothing",
        columns=curves.ERROR,
        cases=[
            *(
                _case(model, said, asked, n)
                for model in (BAYES, *TOLD)
                for said in SAID
                for asked in CLASSES
                for n in LENGTHS
            ),
            *(
                _case(model, asked, asked, n)
                for model in ALWAYS
                for asked in CLASSES
                for n in LENGTHS
            ),
            *(
                _case(model, said, asked, MOST)
                for model in (BAYES, *TOLD)
                for said in SAID
                for asked in OUTSIDE
            ),
        ],
        settings={"most": MOST, "n_queries": 32, "seed": 71},
        n_prompts=128,
        measure=error,
    ),
)

Tables = Mapping[str, pd.DataFrame]


def _rows(table: pd.DataFrame, model: str, said: str, asked: str, n: int) -> pd.DataFrame:
    return rows_of(table, model=model, said=said, asked=asked, n_examples=n)


def share(table: pd.DataFrame, who: Sequence[str], said: str, asked: str, n: int) -> Measure:
    """Error as a share of the mean square, over prompts and over the models of `who`."""
    rows = [_rows(table, model, said, asked, n) for model in who]
    return over_seeds([part.error for part in rows], [part.power for part in rows])


def _mean(table: pd.DataFrame, model: str, said: str, asked: str) -> pd.Series:
    """Mean error of a predictor over FEW, by prompt."""
    each = [_rows(table, model, said, asked, n).set_index("prompt").error for n in FEW]
    return pd.concat(each, axis=1).mean(axis=1)


def prices(
    table: pd.DataFrame,
    asked: str,
    said: str,
    who: Sequence[str] = TOLD,
    floor: Sequence[str] = ALWAYS,
) -> list[pd.Series]:
    """The price of selection, by prompt: the error of each of `who` above that of its like that need not select."""
    return [
        _mean(table, model, said, asked) - _mean(table, base, asked, asked)
        for model, base in zip(who, floor, strict=True)
    ]


def price(table: pd.DataFrame, asked: str, said: str) -> Measure:
    """The price of selection as a share of the mean square, over prompts and seeds."""
    found = prices(table, asked, said)
    power = _rows(table, ALWAYS[0], asked, asked, FEW[0]).set_index("prompt").power
    return over_seeds(found, [power] * len(found))


def cheaper(table: pd.DataFrame, *, listens: bool = True) -> dict[str, Measure]:
    """C9: the price with the name over that without; of one that does not listen, if not `listens`."""
    return {
        asked: over_seeds(
            prices(table, asked, asked if listens else "nothing"), prices(table, asked, "nothing")
        )
        for asked in CLASSES
    }


def _of_bayes(table: pd.DataFrame) -> dict[str, Measure]:
    """The same of exact Bayes, above the one that knows the name."""
    return {
        asked: over_seeds(
            *(prices(table, asked, said, (BAYES,), (BAYES,)) for said in (asked, "nothing"))
        )
        for asked in CLASSES
    }


def gain(table: pd.DataFrame, asked: str) -> Measure:
    """How much a name takes off the error over FEW, as a share of the mean square, over prompts and seeds."""
    power = _rows(table, TOLD[0], asked, asked, FEW[0]).set_index("prompt").power
    off = [_mean(table, who, "nothing", asked) - _mean(table, who, asked, asked) for who in TOLD]
    return over_seeds(off, [power] * len(off))


def excess(table: pd.DataFrame, asked: str, said: str, who: Sequence[str] = TOLD) -> Measure:
    """Error above that of exact Bayes, which is told the same, after all examples."""
    exact = _rows(table, BAYES, said, asked, MOST).error.to_numpy()
    rows = [_rows(table, model, said, asked, MOST) for model in who]
    return over_seeds([part.error - exact for part in rows], [part.power for part in rows])


def findings(tables: Tables) -> list[claims.Finding]:
    """What the chapter found: C9."""
    table = tables["named_errors"]
    card = weights.read_card(TOLD[0])
    return [
        claims.find(
            "C9",
            cheaper(table),
            where="notebooks/named#what-is-a-name-worth",
            note=f"{TOLD[0]}: {card['parameters']:,} parameters, trained from three seeds, each time on "
            f"{weights.prompts_met(card):,} prompts; {ALWAYS[0]}, likewise; 128 prompts",
            beside={
                claims.BAYES: _of_bayes(table),
                "null: a model that does not listen": cheaper(table, listens=False),
            },
            gate={
                f"{who} on {asked}s, {MOST} examples, {how}": excess(table, asked, said, models)
                for asked in CLASSES
                for who, how, models, said in (
                    ("told models", "without a name", TOLD, "nothing"),
                    ("models always told", "with it", ALWAYS, asked),
                )
            },
        )
    ]


# --- Figures --------------------------------------------------------------------------------------

_OVER = (
    "Bands and bars are 90% intervals over 128 prompts, and over the three seeds of a transformer"
)
_LABELS = {"nothing": "told nothing", "line": "told “a line”", "sine": "told “a sine”"}
_ROLES = {"nothing": "transformer", "line": "line", "sine": "sine"}


def _table(
    table: pd.DataFrame, cases: Sequence[tuple[str, Sequence[str], str, str, int]]
) -> pd.DataFrame:
    return pd.DataFrame(
        [
            dict(
                zip(
                    ("who", "said", "asked", "n_examples", "share", "ci_low", "ci_high"),
                    (name, said, asked, n, *share(table, who, said, asked, n)),
                    strict=True,
                )
            )
            for name, who, said, asked, n in cases
        ]
    )


def draw(table: pd.DataFrame) -> Picture:
    """Errors in the mixture against the number of examples: told nothing, the class, or the other class."""
    found = _table(
        table,
        [
            *(("told", TOLD, s, a, n) for s in SAID for a in CLASSES for n in LENGTHS),
            *(("always told", ALWAYS, a, a, n) for a in CLASSES for n in LENGTHS),
            *((BAYES, (BAYES,), "nothing", a, n) for a in CLASSES for n in LENGTHS),
        ],
    )
    with figures.drawing(1, 2, figsize=(9.5, 4.1), sharey=True) as (figure, panels):
        for axes, asked in zip(panels, CLASSES, strict=True):
            of = found[found.asked == asked]
            axes.set(xscale="log", yscale="log", ylim=(1e-4, 5), xlabel="examples")
            axes.set_title(f"the function is a {asked}")
            axes.minorticks_off()
            axes.set_xticks(LENGTHS, [str(n) for n in LENGTHS])
            axes.axhline(1.0, linewidth=0.8, alpha=0.6, color=figures.LOOKS["truth"].colour)
            lines = [
                *(("told", said, _ROLES[said], _LABELS[said]) for said in SAID),
                ("always told", asked, "truth", "models always told"),
                (BAYES, "nothing", "Bayes", "exact Bayes, told nothing"),
            ]
            for who, said, role, label in lines:
                rows = of[(of.who == who) & (of.said == said)]
                rows = rows.assign(**rows[["share", "ci_low", "ci_high"]].clip(lower=1e-5))
                dash = ":" if role == "truth" else figures.LOOKS[role].dash
                figures.curve(axes, rows, "n_examples", "share", role, label, linestyle=dash)
        panels[0].set_ylabel(curves.SHARE)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        return figures.picture(
            figure,
            "Errors on lines and on sines against the number of examples, of models that were told nothing, the class, "
            "or the other class; of models that were always told, and of exact Bayes.",
            f"{_OVER}. Exact Bayes that is told the class lies below the "
            "frame from the first example of a line on, and from the fifth of a sine.",
            found,
        )


def draw_outside(table: pd.DataFrame) -> Picture:
    """Errors after all examples, in the mixture and out of it, by what was said; beside Bayes who believes it."""
    everywhere = (*CLASSES, *OUTSIDE)
    who = {"transformer": TOLD, "exact Bayes": (BAYES,)}
    found = _table(
        table,
        [(name, of, s, a, MOST) for name, of in who.items() for s in SAID for a in everywhere],
    )
    titles = ("a line", "a sine", "halfway between", "a sine of frequency 6")
    with figures.drawing(1, 4, figsize=(9.5, 3.4), sharey=True) as (figure, panels):
        for axes, asked, title in zip(panels, everywhere, titles, strict=True):
            axes.set(yscale="log", ylim=(1e-4, 20), title=title, xlim=(-0.6, 2.6))
            axes.minorticks_off()
            axes.set_xticks(range(3), ["nothing", "“line”", "“sine”"])
            axes.axhline(1.0, linewidth=0.8, alpha=0.6, color=figures.LOOKS["truth"].colour)
            for name, role, marker, shift in (
                ("transformer", "transformer", "o", -0.1),
                ("exact Bayes", "Bayes", "s", 0.1),
            ):
                rows = found[(found.asked == asked) & (found.who == name)]
                at = [list(SAID).index(said) + shift for said in rows.said]
                low, value, high = (
                    rows[column].clip(lower=1.2e-4) for column in ("ci_low", "share", "ci_high")
                )
                colour = figures.LOOKS[role].colour
                axes.vlines(at, low, high, color=colour, linewidth=2)
                axes.plot(at, value, marker, color=colour, markersize=5, label=name)
        panels[0].set_ylabel(curves.SHARE)
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=2)
        return figures.picture(
            figure,
            f"Errors after {MOST} examples of a line, a sine, a function halfway between and a sine above the band, by "
            "what the prompt was said to be, of the transformer and of exact Bayes.",
            f"After {MOST} examples, by what was said. {_OVER}. Exact Bayes believes what it is told; points at the "
            "lower edge lie below it.",
            found,
        )


# --- What the prose says --------------------------------------------------------------------------


def numbers(tables: Tables) -> dict[str, str]:
    """The numbers of the chapter's prose, by name."""
    table = tables["named_errors"]
    found: dict[str, Measure] = {f"ratio.{asked}": each for asked, each in cheaper(table).items()}
    for asked in CLASSES:
        found[f"price.{asked}.without"] = price(table, asked, "nothing")
        found[f"price.{asked}.with"] = price(table, asked, asked)
        found[f"excess.{asked}"] = excess(table, asked, "nothing")
        found[f"always.excess.{asked}"] = excess(table, asked, asked, ALWAYS)
        found[f"gain.{asked}"] = gain(table, asked)
    for word, who in (("told", TOLD), ("bayes", (BAYES,))):
        for said in SAID:
            for asked in CLASSES:
                for n in LENGTHS:
                    found[f"{word}.{said}.{asked}.{n}"] = share(table, who, said, asked, n)
            for asked in OUTSIDE:
                name = f"{word}.{said}.{asked.replace(' ', '')}"
                found[name] = share(table, who, said, asked, MOST)
    return {f"named.{name}": figures.estimate(*measure) for name, measure in found.items()}


def conditions(tables: Tables) -> dict[str, bool]:
    """What the chapter's sentences hang on, by name."""
    table = tables["named_errors"]
    other = dict(zip(CLASSES, reversed(CLASSES), strict=True))

    def over(one: str, two: str, asked: str, n: int = MOST) -> Measure:
        """The models' error when they are told `one` over that when they are told `two`."""
        told = [
            [_rows(table, model, said, asked, n).error for model in TOLD] for said in (one, two)
        ]
        return over_seeds(*told)

    def below(one: str, two: str, asked: str, n: int = MOST, factor: float = 1.0) -> bool:
        """Whether the models err less when they are told `one` than when they are told `two`."""
        return over(one, two, asked, n)[2] < factor

    def costs_more(asked: str) -> bool:
        """Whether a wrong name adds more to the error than the right one takes away, after all examples."""
        said = ("nothing", asked, other[asked])
        none, right, misled = (
            [_rows(table, model, word, asked, MOST).error.to_numpy() for model in TOLD]
            for word in said
        )
        gained, lost = (
            [pd.Series(one - two) for one, two in zip(*pair, strict=True)]
            for pair in ((none, right), (misled, none))
        )
        return over_seeds(gained, lost)[2] < 1

    def wrong(model: str, asked: str, n: int) -> Measure:
        return share(table, (model,), other[asked], asked, n)

    misled = [_rows(table, model, "line", "sine", MOST).error for model in TOLD]
    believer = _rows(table, BAYES, "line", "sine", MOST).error
    ratios, left = cheaper(table), price(table, "sine", "sine")
    lines, sines = (excess(table, asked, "nothing") for asked in CLASSES)
    gains = [gain(table, asked) for asked in CLASSES]
    found = {
        "rule_says_supported": claims.CLAIMS["C9"].judge(ratios) == "supported",
        "line_price_halved": ratios["line"][2] < claims.CHEAPER,
        "line_name_lasts": below("line", "nothing", "line", 5, factor=1 / 5),
        "sine_price_gone": ratios["sine"][2] < 1 and left[1] <= 0 <= left[2],
        "gains_alike": gains[0][1] < gains[1][0] < gains[0][2],
        "always_told_have_not_learnt_sines": excess(table, "sine", "sine", ALWAYS)[2]
        >= claims.WORSE,
        "lines_learnt": lines[2] < claims.WORSE,
        "sines_at_the_limit": sines[1] < claims.WORSE <= sines[2],
        "bayes_needs_no_name_after_two": all(
            share(table, (BAYES,), "nothing", "line", n)[2] < 1e-3 for n in (2, 3, 5)
        ),
        "wrong_hurts": all(
            below("nothing", other[asked], asked, n) for asked in CLASSES for n in LENGTHS
        ),
        "wrong_costs_more": all(costs_more(asked) for asked in CLASSES),
        "wrong_wears_off": all(
            wrong(model, asked, MOST)[2] < wrong(model, asked, 1)[1]
            for model in TOLD
            for asked in CLASSES
        ),
        "wrong_line_is_worse_than_nothing_said_by_anyone": all(
            wrong(model, "sine", 1)[1] > 1 for model in TOLD
        ),
        "misled_bayes_errs_more": over_seeds(misled, [believer] * len(TOLD))[2] < 1,
        "halfway_no_name_helps": all(over(said, "nothing", "halfway")[1] > 0.9 for said in CLASSES),
        "six_sine_does_not_help": over("sine", "nothing", "frequency 6")[1] > 0.9,
    }
    return {f"named.{name}": bool(holds) for name, holds in found.items()}
