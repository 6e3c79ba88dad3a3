"""One plotting style for the whole book: colour-blind safe, the same in light and dark, on paper and in the widgets.

Each predictor has one colour of the Okabe-Ito palette *and* one line style, so that no figure is read by colour alone.
A figure is shown as inline SVG whose colours are CSS variables (`--icl-transformer` and so on): the page's theme sets
them.
"""

from __future__ import annotations

import base64
import html
import io
import math
import re
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_TEXT = "#010203"  # stands for the text's colour until `Picture` turns it into currentColor


@dataclass(frozen=True)
class Look:
    """How one predictor is drawn: a CSS variable with its colour in light, and a line style."""

    variable: str
    colour: str
    dash: Any = "-"

    def line(self) -> dict[str, Any]:
        """Keyword arguments for `Axes.plot`."""
        return {"color": self.colour, "linestyle": self.dash, "linewidth": 2.0}


LOOKS = {
    "truth": Look("--icl-truth", _TEXT),
    "transformer": Look("--icl-transformer", "#0072b2"),
    "Bayes": Look("--icl-bayes", "#e69f00", (0, (5, 2))),
    "doubting": Look("--icl-bayes", "#e69f00", (0, (4, 1.5, 1, 1.5, 1, 1.5))),
    "classical": Look("--icl-classical", "#009e73", (0, (1, 1.5))),
    "best linear": Look("--icl-classical", "#009e73", (0, (6, 1.5, 1, 1.5, 1, 1.5))),
    "oracle": Look("--icl-oracle", "#cc79a7", (0, (6, 2, 1.2, 2))),
    "line": Look("--icl-line", "#d55e00", (0, (3, 1.5))),
    "sine": Look("--icl-sine", "#56b4e9", (0, (8, 2))),
}
"""By role. `line` and `sine` are the two classes, and the models pretrained on one of them alone."""

_RC: Any = {
    "svg.fonttype": "none",
    "font.size": 10.5,
    "text.color": _TEXT,
    "axes.edgecolor": _TEXT,
    "axes.labelcolor": _TEXT,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "xtick.color": _TEXT,
    "ytick.color": _TEXT,
    "legend.frameon": False,
    "legend.handlelength": 3.0,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
}
_PHONE = 4.0
"""The width in inches of a drawing that a phone shows as large as it is."""
_NAME = "the name of a line"
"""What texts are that `name_lines` writes."""


@dataclass(frozen=True)
class Picture:
    """A finished figure, shown as inline SVG that takes the page's colours and fonts.

    Args:
        svg: the drawing.
        alt: what it shows, in words, for readers who do not see it.
        narrow: the same for phones, its panels one below the other; empty if the drawing is no wider than a phone.
        caption: what everybody should know to read it.
        data: the numbers that are drawn, which the reader can take away as CSV.
    """

    svg: str
    alt: str
    narrow: str = ""
    caption: str = ""
    data: pd.DataFrame | None = field(default=None, compare=False)

    def _repr_html_(self) -> str:
        words = html.escape(self.caption) + self._link()
        caption = f"<figcaption>{words}</figcaption>" if words else ""
        # The book's style sheet shows phones the narrow one; where there is none, the wide one stands alone.
        narrow = f'<div class="icl-figure-narrow" style="display:none">{self.narrow}</div>'
        return (
            '<figure class="icl-figure"><div class="icl-figure-box" tabindex="0" role="group" aria-label="Figure">'
            f"{self.svg}</div>{narrow if self.narrow else ''}{caption}</figure>"
        )

    def _link(self) -> str:
        """The figure's numbers, in the page itself, so that a notebook has them too."""
        if self.data is None:
            return ""
        table = self.data.to_csv(index=False, float_format="%.6g")
        return (
            '<a class="icl-csv" download="figure.csv" title="The numbers that this figure draws" '
            f'href="data:text/csv;base64,{base64.b64encode(table.encode()).decode()}">CSV</a>'
        )


@contextmanager
def drawing(*args: Any, **kwargs: Any) -> Iterator[tuple[Figure, Any]]:
    """`plt.subplots(*args, **kwargs)` in the book's style; the figure is closed at the end."""
    with mpl.rc_context(_RC):
        figure, axes = plt.subplots(*args, **kwargs)
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def picture(
    figure: Figure, alt: str, caption: str = "", data: pd.DataFrame | None = None
) -> Picture:
    """Turn a figure made under `drawing` into a `Picture`; call it last, inside that context.

    Args:
        figure: what to show; for phones its panels are rearranged, if they stand in a grid.
        alt: what it shows, in words, for readers who do not see it.
        caption: what everybody should know to read it: what the bands are, what was cut.
        data: the numbers that are drawn.

    Raises:
        ValueError: no words for `alt`.
    """
    if not alt.strip():
        raise ValueError("a picture needs words in `alt`, got none")
    svg, narrow = _svg(figure, alt), ""
    if figure.get_figwidth() > _PHONE and all(axes.get_subplotspec() for axes in figure.axes):
        _stack(figure)
        narrow = _svg(figure, alt, "narrow")
    return Picture(svg, alt, narrow, caption, data)


def _svg(figure: Figure, alt: str, variant: str = "") -> str:
    """A figure as inline SVG in the page's colours and fonts."""
    file = io.StringIO()
    # The salt makes ids reproducible, and unique within a page.
    with mpl.rc_context({"svg.hashsalt": alt + variant}):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(
        r"font-family: [^;\"]+", "font-family: var(--pst-font-family-base, sans-serif)", svg
    )
    for look in LOOKS.values():
        if look.colour != _TEXT:
            svg = svg.replace(look.colour, f"var({look.variable}, {look.colour})")
    svg = svg.replace(_TEXT, "currentColor")
    width = re.search(r'width="([\d.]+)pt"', svg)
    size = f"width:100%;max-width:{float(width[1]) * 4 / 3:.0f}px;height:auto" if width else ""
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]+)"[^>]*>',
        lambda found: (
            f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{found[1]}" role="img" aria-label="{html.escape(alt, quote=True)}" style="{size}">'
        ),
        svg,
        count=1,
    )


def _stack(figure: Figure) -> None:
    """Have a figure's panels stand one below the other, as wide as a phone, and all names below them."""
    panels, height = figure.axes, figure.get_figheight()
    first = panels[0].get_subplotspec()
    assert first is not None
    n_rows, grid = first.get_geometry()[0], figure.add_gridspec(len(panels), 1)
    shared = panels[0].get_shared_y_axes().get_siblings(panels[0])
    handles: list[Artist] = []
    names: list[str] = []
    for legend in [*figure.legends, *(axes.get_legend() for axes in panels)]:
        if legend is not None:
            handles += [handle for handle in legend.legend_handles if handle is not None]
            names += [text.get_text() for text in legend.get_texts()]
            legend.remove()
    for index, axes in enumerate(panels):
        axes.set_subplotspec(grid[index])
        axes.tick_params(labelleft=True, labelbottom=True)
        if axes in shared:
            axes.set_ylabel(panels[0].get_ylabel())
        rows = [label.get_text() for label in axes.get_yticklabels()]
        if max(map(len, rows), default=0) > 32:
            axes.set_yticks(axes.get_yticks(), [textwrap.fill(row, 24) for row in rows])
            height += 0.1 * len(rows)
        for text in [text for text in reversed(axes.texts) if text.get_label() == _NAME]:
            handles += [line for line in axes.lines if line.get_label() == text.get_text()]
            names.append(text.get_text())
            text.remove()
    figure.set_size_inches(_PHONE, height / n_rows * len(panels) + 0.2 * len(names))
    if names:
        broken = [textwrap.fill(name, 40) for name in names]
        figure.legend(handles, broken, loc="outside lower left")
    figure.draw_without_rendering()
    for axes in panels:
        _fit(axes, figure.bbox.x1)


def _fit(axes: Axes, right: float) -> None:
    """Break words that are longer than there is room, and leave out what would stand on another number."""
    title, label, end = axes.set_title(axes.get_title("left")), axes.yaxis.label, -math.inf
    for text, long, room in (
        (title, title.get_window_extent().width, right - title.get_window_extent().x0),
        (label, label.get_window_extent().height, axes.bbox.height),
    ):
        if long > room:
            width = len(text.get_text()) // math.ceil(long / room) + 3
            text.set_text(textwrap.fill(text.get_text(), width))
    for number in [tick.label1 for tick in axes.xaxis.get_major_ticks() if tick.label1.get_text()]:
        place = number.get_window_extent()
        number.set_visible(place.x0 > end)
        end = max(end, place.x1) if number.get_visible() else end


def curve(
    axes: Axes, table: pd.DataFrame, x: str, y: str, role: str, label: str, **line: Any
) -> None:
    """Draw column `y` of `table` against `x` in the role's look, with its interval as a band.

    Args:
        axes: where.
        table: with columns x, y, ci_low and ci_high.
        x: name of the column along the axis.
        y: name of the column that is drawn.
        role: a key of LOOKS.
        label: for the legend.
        **line: overrides of the look.
    """
    look = LOOKS[role]
    axes.plot(table[x], table[y], label=label, **(look.line() | line))
    axes.fill_between(
        table[x], table.ci_low, table.ci_high, color=look.colour, alpha=0.18, linewidth=0
    )


def name_lines(axes: Axes, names: Sequence[str], gap: float = 0.075) -> None:
    """Write the names of the last lines drawn beside their right ends, none over another.

    Args:
        axes: with the lines, its limits set.
        names: of the last lines, in the order in which they were drawn.
        gap: least distance of two names, as a share of the height.
    """
    lines = axes.lines[-len(names) :]
    to_axes = axes.transData + axes.transAxes.inverted()
    ends = [float(to_axes.transform(np.column_stack(line.get_data()))[-1, 1]) for line in lines]
    order = sorted(range(len(names)), key=ends.__getitem__)
    heights = [min(max(ends[index], 0.0), 1.0) for index in order]
    for i in range(1, len(heights)):
        heights[i] = max(heights[i], heights[i - 1] + gap)
    for index, height in zip(order, heights, strict=True):
        lines[index].set_label(names[index])
        axes.text(
            1.02,
            height,
            names[index],
            color=lines[index].get_color(),
            transform=axes.transAxes,
            va="center",
            label=_NAME,
        )


def intervals(table: pd.DataFrame, limit: float, alt: str, *, small: bool = False) -> Picture:
    """Measures as points with their intervals, one row for each measure, each predictor in its look, against a limit.

    Args:
        table: with columns predictor, measure, value, ci_low and ci_high.
        limit: what a rule compares with, a vertical line.
        alt: what it shows, in words.
        small: as a thumbnail, without words.
    """
    looks = dict(zip(table.predictor.unique(), ("transformer", "Bayes", "classical"), strict=False))
    names = list(table.measure.unique())
    step = 0.8 / len(looks)
    size = (1.8, max(0.5, 0.11 * len(names))) if small else (7.5, 0.8 + 0.36 * len(names))
    with drawing(figsize=size) as (figure, axes):
        for i, (predictor, role) in enumerate(looks.items()):
            rows = table[table.predictor == predictor].set_index("measure").loc[names]
            heights = np.arange(len(names))[::-1] + 0.4 - step * (i + 0.5)
            colour, marker = LOOKS[role].colour, "os^"[i]
            axes.hlines(
                heights, rows.ci_low, rows.ci_high, color=colour, linewidth=1.5 if small else 2.5
            )
            axes.plot(
                rows.value,
                heights,
                marker,
                color=colour,
                label=predictor,
                markersize=3 if small else 5,
            )
        axes.axvline(limit, color=_TEXT, linewidth=0.8)
        low, high = table[["value", "ci_low"]].min().min(), table[["value", "ci_high"]].max().max()
        if low > 0 and max(high, limit) / min(low, limit) > 100:
            axes.set_xscale("log")
            axes.set_xlim(left=max(low, limit / 1e4) / 1.5)
        elif max(-low, high) > 10 * limit:
            axes.set_xscale("symlog", linthresh=limit)
        axes.set_ylim(-0.6, len(names) - 0.4)
        if small:
            axes.set(xticks=[], yticks=[])
            axes.xaxis.set_minor_locator(mpl.ticker.NullLocator())
            axes.spines[:].set_visible(False)
            return picture(figure, alt)
        axes.set_yticks(range(len(names)), names[::-1])
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5))
        return picture(figure, alt, "Points are estimates, bars 90% intervals.", table)


def ignorance(
    axes: Axes, second_moment: float | Sequence[float], xs: Sequence[float] | None = None
) -> None:
    """Draw the error of predicting zero, above which a predictor knows less than nothing."""
    style: dict[str, Any] = {"color": _TEXT, "linewidth": 0.8, "alpha": 0.6}
    if xs is None:
        assert isinstance(second_moment, (int, float))
        axes.axhline(second_moment, label="predicting zero", **style)
    else:
        axes.plot(xs, second_moment, label="predicting zero", **style)


NOTHING = 1e-7
"""Errors below this are zero but for the jitter and the arithmetic, and are said to be."""


def estimate(value: float, low: float, high: float) -> str:
    """A number with its interval, as prose has it: 0.037 (0.030–0.044), 4.5 (0.8–9.1) × 10⁻⁶, below 10⁻⁷.

    Args:
        value: the estimate.
        low: the lower end of its interval.
        high: the upper end.

    Returns:
        All three to the same number of decimals, of which the interval's width decides. Where the estimate is nothing
        beside the upper end, that alone.
    """
    largest = max(abs(low), abs(high), abs(value))
    if largest < NOTHING:
        return "below 10⁻⁷"
    power = min(0, math.floor(math.log10(largest))) if largest < 1e-3 else 0
    value, low, high = (number / 10.0**power for number in (value, low, high))
    width = high - low
    decimals = min(4, max(0, 1 - math.floor(math.log10(width)))) if width > 0 else 2
    shown, start, end = (f"{number:.{decimals}f}" for number in (value, low, high))
    if low >= 0 and float(shown) == 0:
        text = f"at most {end}"
    else:
        text = f"{shown} ({start} to {end})" if low < 0 else f"{shown} ({start}–{end})"
    if power:
        text += " × 10" + str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return text.replace("-", "−")


def percentage(value: float, low: float, high: float) -> str:
    """A share with its interval, in whole percent: 52% (48–57%)."""
    return f"{100 * value:.0f}% ({100 * low:.0f}–{100 * high:.0f}%)".replace("-", "−")
