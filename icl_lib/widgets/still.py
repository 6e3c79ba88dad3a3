"""Still figures: what a widget shows before any script runs, drawn as its front end draws it.

Like the front ends, the pictures have no size of their own: curves lie in a box of 600 x 400 units that the browser
stretches, points and labels stand at percentages of it. The colours are the page's, by its style sheet.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from math import log, log10
from typing import Any

import numpy as np
from IPython.display import HTML

from icl_lib.recipes import parts

REACH = 3.0
"""Plots show x in [-REACH, REACH]."""

SELECTION_FLOOR, SELECTION_CEILING = 1e-4, 5.0
"""Errors beyond are drawn there in the selection explorer, as in selection/widget.js."""
_AXIS_END = 6e-5

PRETRAIN_CEILING = 1.4
"""The error axis of the pretraining widget, as in pretrain/widget.js."""

ATTENTION_ENDS, ATTENTION_RADIUS = (0.1, 0.2, 0.5, 1.0), 22
"""Ends of a head's axis, and the radius of the disc around an example that has all of the attention, as in
attention/widget.js."""

ATTENTION_SHARES = {
    "inputs": "inputs <i>x</i>",
    "values": "values <i>y</i>",
    "itself": "the query itself",
    "nearest": "the 3 nearest examples",
}
"""Where attention goes, in words, as in attention/widget.js."""

ATTENTION_CAPTION = (
    "Attention of each head, at the examples’ places <i>x</i>: up, to their inputs; down, to their values. The dotted "
    "line is the query, the thick bar what it pays itself; the number is the axis’ end."
)

_BOX = 'viewBox="0 0 600 400" preserveAspectRatio="none" width="100%" height="100%"'
_THUMB_TOP = 3.0

Curve = tuple[np.ndarray, np.ndarray]


def curves_still(
    *,
    css: str,
    kind: str,
    reach: float,
    top: float,
    names: Mapping[str, tuple[str, str]],
    looks: Mapping[str, str],
    lines: Mapping[str, Curve],
    points: Curve,
    errors: Mapping[str, float],
    zero: float,
    said: str,
    spread: float = 1.0,
    hidden: Sequence[str] = (),
    below: str = "",
) -> HTML:
    """An explorer's plot of curves, and its legend.

    Args:
        css: the widget's style sheet.
        kind: a class of the figure, by which that style sheet knows how much room the widget will take.
        reach: the plot shows x in [-reach, reach],
        top: and y in [-top, top].
        names: for each line what the legend calls it and says of it, in the legend's order.
        looks: for each line its look in the style sheet, from the lowest line to the uppermost.
        lines: the lines, each as (xs, ys).
        points: the in-context examples, as (xs, ys).
        errors: of all lines but the truth.
        zero: the error of predicting 0.
        said: the function in words.
        spread: standard deviation of the inputs, as which the errors are weighted.
        hidden: names of lines that are not drawn.
        below: what one sees, in a sentence below the plot.
    """
    numbers = ", ".join(f"{names[name][0]} {pretty(error)}" for name, error in errors.items())
    alt = (
        f"Curves over x from -{reach:g} to {reach:g} of {said}, with {len(points[0])} in-context examples. "
        f"Mean squared errors: {numbers}, always 0 {pretty(zero)}."
    )
    fine = np.linspace(-reach, reach, 385)
    hill = curve_path(fine, -1 + 0.24 * np.exp(-((fine / spread) ** 2) / 2), 1, reach).replace(
        "M", "L"
    )
    paths = "".join(
        f'<path class="icl-line icl-{look}" d="{curve_path(*lines[name], top, reach)}"/>'
        for name, look in looks.items()
        if name not in hidden
    )
    grid, values = _grid(top, reach)
    plot = (
        f'<svg class="icl-plot" role="img" aria-label="{escape(alt)}">'
        f'<svg {_BOX}><path class="icl-density" d="M0 400{hill}L600 400Z"/></svg>'
        f"{grid}<svg {_BOX}>{paths}</svg>{values}{_dots(*points, top, 4.5, reach)}</svg>"
    )
    words = f'<p class="icl-said">{escape(below)}</p>' if below else ""
    rows = "".join(_row(*names[name], looks[name], errors.get(name)) for name in names)
    legend = (
        f'<table class="icl-legend" style="--ignorance: {_place(zero):.4f}">'
        f"<caption>Mean squared error, <i>x</i> ~ N(0, {'1' if spread == 1 else f'{spread:g}²'})</caption>"
        f'<tbody>{rows}<tr class="icl-ignorance"><th scope="row"><span>Always 0<small>line of ignorance</small>'
        f"</span></th><td>{escape(pretty(zero))}</td></tr></tbody></table>"
    )
    return HTML(
        f'<figure class="icl-still icl-widget icl-explorer{" " if kind else ""}{kind}"><style>{css}</style>'
        f'<div class="icl-body"><div class="icl-left">{plot}{words}</div><div class="icl-right">{legend}</div></div>'
        "<noscript><p>The sliders need scripts; without them the figure stays as it is.</p></noscript></figure>"
    )


def mixture_still(
    *,
    css: str,
    prompts: Sequence[tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
    said: str,
) -> HTML:
    """The prompts drawn from a mixture, one small picture each.

    Args:
        css: the widget's style sheet.
        prompts: for each its class, its function as (grid, values), and its points as (xs, ys).
        said: what is shown, in words.
    """
    cards = "".join(
        f'<span class="icl-card is-class-{k}"><svg class="icl-thumb" aria-hidden="true"><svg {_BOX}>'
        f'<path class="icl-line" d="{curve_path(grid, values, _THUMB_TOP)}"/></svg>{_dots(xs, ys, _THUMB_TOP, 2)}</svg>'
        "</span>"
        for k, grid, values, xs, ys in prompts
    )
    return HTML(
        f'<figure class="icl-still icl-widget icl-mixture"><style>{css}</style><div class="icl-body">'
        f'<div class="icl-stage"><div class="icl-cards" role="img" aria-label="{escape(said)}">{cards}</div></div>'
        "</div></figure>"
    )


def pretrain_still(
    *,
    css: str,
    classes: Sequence[str],
    shares: np.ndarray,
    errors: np.ndarray,
    floor: np.ndarray,
    total: int,
    examples: int,
    queries: np.ndarray,
    shown: Sequence[tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
) -> HTML:
    """The pretraining widget before the first step.

    Args:
        css: the widget's style sheet.
        classes: names of the classes.
        shares: of each in the mixture.
        errors: of the untrained model, by class and number of examples.
        floor: of exact Bayes, likewise.
        total: steps of a run.
        examples: the most that are measured.
        queries: where curves are told.
        shown: the held prompts: title, xs, ys, and at the queries the function, exact Bayes and the model.
    """

    def down(error: float) -> float:
        return 1 - min(error / PRETRAIN_CEILING, 1.0)

    def note(title: str) -> str:
        if title not in classes:
            return "never in the mixture"
        return "" if shares[classes.index(title)] else "not in the mixture"

    drawn, dots = "", ""
    for k, share in enumerate(shares):
        kind = f"is-class-{k}{'' if share else ' is-absent'}"
        best, mine = (float(values[k].mean()) for values in (floor, errors))
        drawn += f'<path class="icl-line is-floor {kind}" d="M0 {400 * down(best):.1f}H600"/>'
        dots += f'<circle class="icl-now {kind}" r="4" cx="0" cy="{100 * down(mine):.2f}%"/>'
    grid = "".join(
        f'<line x1="0" x2="100%" y1="{100 * down(at):.2f}%" y2="{100 * down(at):.2f}%"/>'
        for at in (0, 0.5, 1)
    )
    values = "".join(
        f'<text x="6" y="{100 * down(at):.2f}%" dy="-4">{text}</text>'
        for at, text in ((0.5, "0.5"), (1, "1: always 0"))
    )
    numbers = ", ".join(
        f"{name} {pretty(float(floor[k].mean()))}" for k, name in enumerate(classes)
    )
    alt = f"The errors of a transformer before its first step, and of exact Bayes: {numbers}."
    cards = "".join(
        f'<figure class="icl-card"><svg class="icl-thumb" aria-hidden="true"><svg {_BOX}>'
        f'<path class="icl-line icl-truth" d="{curve_path(queries, truth, _THUMB_TOP)}"/>'
        f'<path class="icl-line icl-mixture" d="{curve_path(queries, bayes, _THUMB_TOP)}"/>'
        f'<path class="icl-line icl-transformer" d="{curve_path(queries, model, _THUMB_TOP)}"/></svg>'
        f"{_dots(xs, ys, _THUMB_TOP, 2)}</svg>"
        f"<figcaption>{escape(title)} <small>{note(title)}</small></figcaption></figure>"
        for title, xs, ys, truth, bayes, model in shown
    )
    rows = "".join(
        f'<tr><th scope="row"><span class="icl-key is-class-{k}"></span>{escape(name)}</th>'
        f"<td>{escape(pretty(float(errors[k, -1])))}</td><td>{escape(pretty(float(floor[k, -1])))}</td></tr>"
        for k, name in enumerate(classes)
    )
    key = "".join(
        f'<svg class="icl-sample" aria-hidden="true"><path class="icl-line icl-{look}" d="M1 4H23"/></svg>{text} '
        for look, text in (
            ("truth", "the function"),
            ("transformer", "the transformer"),
            ("mixture", "exact Bayes for this mixture"),
        )
    )
    ends = "".join(f"<span>{at}</span>" for at in ("0", f"{total // 2:,}", f"{total:,} steps"))
    return HTML(
        f'<figure class="icl-still icl-widget icl-pretrain"><style>{css}</style><div class="icl-body">'
        f'<div class="icl-left"><p class="icl-caption">Error on prompts it never trains on, averaged over 0 to '
        f"{examples} examples; dashed: exact Bayes</p>"
        f'<svg class="icl-plot" role="img" aria-label="{escape(alt)}"><g class="icl-grid">{grid}</g>'
        f'<svg {_BOX}>{drawn}</svg><g class="icl-values">{values}</g>{dots}</svg>'
        f'<div class="icl-ends" aria-hidden="true">{ends}</div></div>'
        f'<div class="icl-right"><table class="icl-counts"><caption>Error after {examples} examples</caption>'
        '<thead><tr><th scope="col">Class</th><th scope="col">Transformer</th><th scope="col">Exact Bayes</th>'
        f'</tr></thead><tbody>{rows}</tbody></table></div><div class="icl-cards">{cards}</div>'
        f'<p class="icl-caption icl-cards-key">{key}</p></div>'
        "<noscript><p>To pretrain needs scripts; without them the figure stays as it is.</p></noscript></figure>"
    )


def selection_still(
    *,
    css: str,
    errors: Mapping[str, np.ndarray],
    spread: np.ndarray,
    belief: np.ndarray,
    blend: np.ndarray,
    n_examples: int,
    said: str,
) -> HTML:
    """The selection explorer's two plots.

    Args:
        css: the widget's style sheet.
        errors: mean squared error of transformer, mixture, dense and sparse at 0, 1, ... examples.
        spread: half the width of the transformer's interval.
        belief: exact Bayes' probability of the dense class.
        blend: weight of the dense expert in the transformer's predictions; NaN where none is told.
        n_examples: where the numbers are read.
        said: what is shown, in words.
    """
    points = len(belief)
    across = (np.arange(points) + 0.5) / points

    def place(error: np.ndarray) -> np.ndarray:
        """From 0 at the top of the plot to 1 at the bottom, as `high` in selection/widget.js."""
        clipped = np.clip(error, SELECTION_FLOOR, SELECTION_CEILING)
        return np.log(SELECTION_CEILING / clipped) / log(SELECTION_CEILING / _AXIS_END)

    def level(part: np.ndarray) -> np.ndarray:
        return 0.88 - 0.76 * np.clip(part, -0.1, 1.1)

    def path(down: np.ndarray) -> str:
        told = np.isfinite(down)
        pens = np.where(told & ~np.append(False, told[:-1]), "M", "L")
        steps = zip(pens, across * 600, down * 400, told, strict=True)
        return "".join(f"{pen}{x:.1f} {y:.1f}" for pen, x, y, there in steps if there)

    looks = {"sparse": "oracle", "dense": "classical", "mixture": "mixture"}
    looks["transformer"] = "transformer"
    drawn = "".join(
        f'<path class="icl-line icl-{look}" d="{path(place(errors[name]))}"/>'
        for name, look in looks.items()
    )
    upper, under = (path(place(errors["transformer"] + sign * spread)) for sign in (1, -1))
    back = "L".join(reversed(under[1:].split("L")))
    ticks = "".join(
        f'<line x1="{100 * across[n]:.3f}%" x2="{100 * across[n]:.3f}%" y1="0" y2="100%"/>'
        f'<text x="{100 * across[n]:.3f}%" y="100%" dy="-6" '
        f'style="text-anchor: { ({0: "start", points - 1: "end"}.get(n, "middle")) }">{n}</text>'
        for n in range(0, points, (points - 1) // 4)
    )
    names = {1.0: "1: always 0", 0.1: "0.1", 0.01: "0.01", 0.001: "0.001"}
    heights = {error: 100 * float(place(np.array([error]))[0]) for error in names}
    levels = "".join(
        f'<line x1="0" x2="100%" y1="{y:.3f}%" y2="{y:.3f}%"/>' for y in heights.values()
    )
    words = "".join(
        f'<text x="6" y="{heights[error]:.3f}%" dy="-4">{name}</text>'
        for error, name in names.items()
    )
    mark = 100 * across[n_examples]
    marker = f'<line class="icl-marker" x1="{mark:.3f}%" x2="{mark:.3f}%" y1="0" y2="100%"/>'
    numbers = ", ".join(f"{name} {pretty(float(e[n_examples]))}" for name, e in errors.items())
    alt = f"Learning curves: {said}. Mean squared errors after {n_examples} examples: {numbers}."
    return HTML(
        f'<figure class="icl-still icl-widget icl-explorer icl-selection"><style>{css}</style>'
        '<div class="icl-body"><div class="icl-left"><p class="icl-plot-name">Mean squared error</p>'
        f'<svg class="icl-plot" role="img" aria-label="{escape(alt)}">'
        f'<g class="icl-grid">{ticks}{levels}</g>{marker}'
        f'<svg {_BOX}><path class="icl-band" d="{upper}L{back}Z"/>{drawn}</svg>'
        f'<g class="icl-values">{words}</g></svg>'
        '<p class="icl-plot-name">Whom does it follow? 1: the dense expert, 0: the sparse one</p>'
        f'<svg class="icl-plot icl-lower" aria-hidden="true">{marker}<svg {_BOX}>'
        f'<path class="icl-line icl-mixture" d="{path(level(belief))}"/>'
        f'<path class="icl-line icl-transformer" d="{path(level(blend))}"/></svg></svg></div></div>'
        "<noscript><p>The sliders need scripts; without them the figure stays as it is.</p></noscript></figure>"
    )


def attention_still(
    *,
    css: str,
    top: float,
    truth: Curve,
    predicted: Curve,
    points: Curve,
    query: tuple[float, float],
    weights: np.ndarray,
    chosen: tuple[int, int],
    shares: Sequence[Mapping[str, Any]],
    said: str,
    model: str,
) -> HTML:
    """The explorer of attention: the prompt, and a picture of each head.

    Args:
        css: the widget's style sheet.
        top: the plot shows y in [-top, top].
        truth: the function, as (xs, ys).
        predicted: the transformer's, likewise.
        points: the in-context examples, likewise.
        query: where the model is asked, and what it answers.
        weights: how the query attends, (layers, heads, 2n + 1).
        chosen: block and head of the discs around the examples, from 1.
        shares: where attention goes, of that head and on the mean of all.
        said: what one sees of it, in words.
        model: the model's name.
    """
    xs, ys = points
    layers, heads, _ = weights.shape
    of = weights[chosen[0] - 1, chosen[1] - 1]

    def across(x: float) -> str:
        return f"{(x / REACH + 1) * 50:.2f}%"

    def down(y: float) -> str:
        return f"{(1 - y / top) * 50:.2f}%"

    def vertical(kind: str, x: float, begin: str, end: str) -> str:
        return f'<line class="{kind}" x1="{across(x)}" x2="{across(x)}" y1="{begin}" y2="{end}"/>'

    def picture(layer: int, head: int) -> str:
        one = weights[layer, head]
        end = next(limit for limit in ATTENTION_ENDS if limit >= min(one.max(), 1))

        def bar(kind: str, x: float, height: float) -> str:
            return vertical(kind, x, "50%", f"{50 - 46 * height / end:.2f}%")

        bars = "".join(
            bar("icl-stem", x, one[2 * i]) + bar("icl-stem", x, -one[2 * i + 1])
            for i, x in enumerate(xs)
        ) + bar("icl-own", query[0], one[-1])
        kind = " is-chosen" if (layer + 1, head + 1) == chosen else ""
        return (
            f'<span class="icl-head{kind}"><span>block {layer + 1}, head {head + 1}</span>'
            '<svg class="icl-head-plot" aria-hidden="true"><line class="icl-axis" x1="0" x2="100%" y1="50%" y2="50%"/>'
            f'{vertical("icl-marker", query[0], "0", "100%")}{bars}<text x="4" y="0" dy="12">{end:g} on x</text>'
            '<text x="4" y="100%" dy="-4">on y</text></svg></span>'
        )

    discs = "".join(
        f'<circle cx="{across(x)}" cy="{down(y)}" r="{ATTENTION_RADIUS * (of[2 * i] + of[2 * i + 1]) ** 0.5:.2f}"/>'
        for i, (x, y) in enumerate(zip(xs, ys, strict=True))
    )
    grid, values = _grid(top, REACH)
    alt = f"A prompt of {len(xs)} examples and a query at x = {query[0]:g}. {said}"
    rows = "".join(
        f'<tr class="icl-at-{key}"><th scope="row">{words}</th>'
        + "".join(f"<td>{share[key]:.2f}</td>" for share in shares)
        + "</tr>"
        for key, words in ATTENTION_SHARES.items()
    )
    return HTML(
        f'<figure class="icl-still icl-widget icl-explorer icl-attention"><style>{css}</style><div class="icl-body">'
        f'<div class="icl-left"><svg class="icl-plot" role="img" aria-label="{escape(alt)}">'
        f'{vertical("icl-marker", query[0], "0", "100%")}<g class="icl-discs">{discs}</g>{grid}'
        f'<svg {_BOX}><path class="icl-line icl-truth" d="{curve_path(*truth, top)}"/>'
        f'<path class="icl-line icl-transformer" d="{curve_path(*predicted, top)}"/></svg>{values}'
        f"{_dots(xs, ys, top, 4.5)}"
        f'<circle class="icl-answer" r="6" cx="{across(query[0])}" cy="{down(query[1])}"/>'
        '<text class="icl-axis-name" x="6" y="0" dy="14" font-style="italic">y</text></svg>'
        f'<p class="icl-said">{escape(said)}</p></div>'
        '<div class="icl-right"><table class="icl-counts"><caption>Share of the query’s attention</caption><thead><tr>'
        f'<th scope="col">on</th><th scope="col">block {chosen[0]}, head {chosen[1]}</th><th scope="col">all heads</th>'
        f"</tr></thead><tbody>{rows}</tbody></table><p>Transformer pretrained on {escape(model)}</p></div>"
        f'<div class="icl-main"><p class="icl-caption">{ATTENTION_CAPTION}</p>'
        f'<div class="icl-heads" style="--heads: {heads}">'
        f"{''.join(picture(layer, head) for layer in range(layers) for head in range(heads))}</div></div></div>"
        "<noscript><p>The sliders need scripts; without them the figure stays as it is.</p></noscript></figure>"
    )


def _dots(xs: np.ndarray, ys: np.ndarray, top: float, radius: float, reach: float = REACH) -> str:
    return "".join(
        f'<circle class="icl-dot" r="{radius}" cx="{(x / reach + 1) * 50:.2f}%" cy="{(1 - y / top) * 50:.2f}%"/>'
        for x, y in zip(xs, ys, strict=True)
    )


def curve_path(xs: np.ndarray, ys: np.ndarray, top: float, reach: float = REACH) -> str:
    """As curvePath in shared.js."""
    left, down = (xs / reach + 1) * 300, (1 - np.clip(ys / top, -20, 20)) * 200
    return "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in zip(left, down, strict=True))


def _multiples(limit: float, step: int) -> range:
    most = int((limit - 0.01) // step) * step
    return range(-most, most + 1, step)


def _grid(top: float, reach: float) -> tuple[str, str]:
    """As drawGrid in plot.js: what lies below the lines, and the names of values above them."""
    marks, names = [], []
    for x in _multiples(reach, 1 if reach <= 4 else 2 if reach <= 6 else 3):
        at = (x / reach + 1) * 50
        marks.append(f'<line x1="{at:.3f}%" x2="{at:.3f}%" y1="0" y2="100%"/>')
        marks.append(f'<text x="{at:.3f}%" y="100%" dy="-6">{_minus(x)}</text>')
    marks.append('<text x="100%" y="100%" dx="-12" dy="-6" font-style="italic">x</text>')
    for y in _multiples(top, 1 if top <= 3 else 2 if top <= 6 else 4):
        at = (1 - y / top) * 50
        marks.append(f'<line x1="0" x2="100%" y1="{at:.3f}%" y2="{at:.3f}%"/>')
        names.append(f'<text x="6" y="{at:.3f}%" dy="-4">{_minus(y)}</text>')
    return (
        f'<g class="icl-grid">{"".join(marks)}</g>',
        f'<g class="icl-values">{"".join(names)}</g>',
    )


def _row(label: str, note: str, look: str, error: float | None) -> str:
    sample = f'<svg class="icl-sample" aria-hidden="true"><path class="icl-line icl-{look}" d="M1 4H23"/></svg>'
    value = ""
    if error is not None:
        bar = f'<div class="icl-bar icl-{look}" style="--share: {_place(error):.4f}"></div>'
        value = f'{escape(pretty(error))}<div class="icl-track">{bar}</div>'
    head = f"<label>{sample}<span>{label}<small>{escape(note)}</small></span></label>"
    return f'<tr><th scope="row">{head}</th><td>{value}</td></tr>'


def model_label(name: str) -> str:
    """As modelLabel in combinations/widget.js."""
    if name.startswith("yours: "):
        return name
    mixture, *shape = parts(name)
    classes = mixture.split("-")[0]
    only = "" if "+" in classes else " only"
    return ", ".join((classes.replace("+", " + ") + only, *filter(None, shape)))


def _place(error: float) -> float:
    """Where an error stands on the legend's log scale, from 1e-7 to 10."""
    return min(1.0, max(0.0, (log10(max(error, 1e-300)) + 7) / 8))


def _minus(value: int) -> str:
    return str(value).replace("-", "−")


def pretty(value: float) -> str:
    """As pretty in shared.js."""
    if value >= 1e-3:
        return f"{value:.0f}" if value >= 100 else f"{float(f'{value:.2g}'):g}"
    if value < 1e-7:
        return "< 10⁻⁷"
    digits, exponent = f"{value:.1e}".split("e-")
    return f"{digits} × 10⁻{''.join('⁰¹²³⁴⁵⁶⁷⁸⁹'[int(digit)] for digit in str(int(exponent)))}"
