"""Pictures take the page's colours and can be read without being seen."""

import re

import pandas as pd
import pytest

from icl_lib import figures


def test_a_picture_is_inline_svg_in_the_pages_colours_with_words_for_it():
    table = pd.DataFrame(
        {"n": [0, 1], "mse": [1.0, 0.1], "ci_low": [0.9, 0.05], "ci_high": [1.1, 0.2]}
    )
    with figures.drawing(figsize=(4, 3)) as (figure, axes):
        figures.curve(axes, table, "n", "mse", "transformer", "the model")
        figures.ignorance(axes, 1.0)
        markup = figures.picture(figure, 'a "falling" curve', "bands: 90% < 1")._repr_html_()
    assert markup.startswith('<figure class="icl-figure">')
    assert markup.endswith("<figcaption>bands: 90% &lt; 1</figcaption></figure>")
    assert 'aria-label="a &quot;falling&quot; curve"' in markup and 'role="img"' in markup
    assert "var(--icl-transformer, #0072b2)" in markup and "currentColor" in markup
    assert figures._TEXT not in markup and "DejaVu" not in markup and "<metadata" not in markup


def test_the_same_figure_is_the_same_markup_and_two_figures_share_no_ids():
    def draw(alt):
        with figures.drawing(figsize=(3, 2)) as (figure, axes):
            axes.plot([0, 1], [0, 1])
            return figures.picture(figure, alt)._repr_html_()

    assert draw("one") == draw("one")
    ids = [set(re.findall(r'<clipPath id="([^"]+)"', draw(alt))) for alt in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]


def test_a_phone_is_shown_the_panels_one_below_the_other():
    size = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
    with figures.drawing(1, 3, figsize=(9, 3), sharey=True) as (figure, panels):
        for axes, title in zip(
            panels,
            ("one", "two", "the third, of so many words that no phone has room for all"),
            strict=True,
        ):
            axes.plot([0, 1], [0, 1])
            axes.set_title(title)
        panels[0].set(ylabel="error", yticks=[0.7])
        figures.name_lines(panels[-1], ["the transformer"])
        shown = figures.picture(figure, "three panels")
    (wide, low), (narrow, high) = (
        map(float, size.search(svg).groups()) for svg in (shown.svg, shown.narrow)
    )
    assert wide == 9 * 72 and narrow == 4 * 72 and high > 3 * low
    assert [svg.count(">error<") for svg in (shown.svg, shown.narrow)] == [1, 3]
    assert [svg.count(">0.7<") for svg in (shown.svg, shown.narrow)] == [1, 3]
    # A long title is broken.
    long = ">the third, of so many words that no phone has room for all<"
    assert long in shown.svg and long not in shown.narrow
    assert all(">the transformer<" in svg for svg in (shown.svg, shown.narrow))
    ids = [set(re.findall(r'<clipPath id="([^"]+)"', svg)) for svg in (shown.svg, shown.narrow)]
    assert ids[0] and not ids[0] & ids[1]
    # Hidden where the book's style sheet is not.
    markup = shown._repr_html_()
    assert markup.index(shown.svg) < markup.index(
        '<div class="icl-figure-narrow" style="display:none">'
    )
    with figures.drawing(figsize=(7, 3)) as (figure, axes):
        axes.set_yticks([0, 1], ["a row whose name takes all the room", "short"])
        names = figures.picture(figure, "rows").narrow
    assert ">a row whose name takes<" in names and ">short<" in names
    with figures.drawing(figsize=(7, 3)) as (figure, axes):
        axes.set(xticks=[], yticks=[])
        assert figures.picture(figure, "no numbers").narrow
    with figures.drawing(figsize=(7, 3)) as (figure, axes):
        figure.add_axes((0.6, 0.6, 0.2, 0.2))
        assert not figures.picture(figure, "one panel within another").narrow
    with figures.drawing(figsize=(3, 2)) as (figure, _):
        assert "narrow" not in figures.picture(figure, "small")._repr_html_()


def test_roles_differ_in_colour_and_in_line_style():
    # The best linear predictor is a classical one, the doubting Bayesian a Bayesian: they have their kin's colours.
    kin = ("best linear", "doubting")
    colours = [look.colour for role, look in figures.LOOKS.items() if role not in kin]
    assert len(set(colours)) == len(colours)
    dashes = [
        str(figures.LOOKS[role].dash)
        for role in ("transformer", "Bayes", "doubting", "classical", "best linear", "oracle")
    ]
    assert len(set(dashes)) == len(dashes)


def test_a_picture_without_words_is_refused():
    with figures.drawing() as (figure, _), pytest.raises(ValueError, match="words in `alt`"):
        figures.picture(figure, " ")


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        ((0.0371, 0.0302, 0.0438), "0.037 (0.030–0.044)"),
        ((0.1944, 0.1504, 0.2401), "0.194 (0.150–0.240)"),
        ((12.3, 10.1, 15.2), "12.3 (10.1–15.2)"),
        ((-0.0203, -0.0401, -0.0031), "−0.020 (−0.040 to −0.003)"),
        ((4.5e-6, 0.8e-6, 9.1e-6), "4.5 (0.8–9.1) × 10⁻⁶"),
        ((2e-11, 2.5e-13, 5.7e-11), "below 10⁻⁷"),
        ((1e-9, 1e-12, 7.7e-4), "at most 7.7 × 10⁻⁴"),
        ((0.5, 0.5, 0.5), "0.50 (0.50–0.50)"),
    ],
)
def test_an_estimate_has_as_many_decimals_as_its_interval_allows(numbers, text):
    assert figures.estimate(*numbers) == text


def test_a_share_is_said_in_percent():
    assert figures.percentage(0.523, 0.48, 0.567) == "52% (48–57%)"
