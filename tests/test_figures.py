"""Pictures take the page's colours and can be read without being seen."""

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
        markup = figures.picture(figure, 'a "falling" curve', still=True)._repr_html_()
    assert markup.startswith('<figure class="icl-still"><svg')
    assert 'aria-label="a &quot;falling&quot; curve"' in markup and 'role="img"' in markup
    assert "var(--icl-transformer, #0072b2)" in markup and "currentColor" in markup
    assert figures._TEXT not in markup and "DejaVu" not in markup and "<metadata" not in markup


def test_the_same_figure_is_the_same_markup_and_two_figures_share_no_ids():
    def draw(alt):
        with figures.drawing(figsize=(3, 2)) as (figure, axes):
            axes.plot([0, 1], [0, 1])
            return figures.picture(figure, alt)._repr_html_()

    import re

    assert draw("one") == draw("one")
    ids = [set(re.findall(r'<clipPath id="([^"]+)"', draw(alt))) for alt in ("one", "two")]
    assert ids[0] and not ids[0] & ids[1]


def test_roles_differ_in_colour_and_in_line_style():
    looks = list(figures.LOOKS.values())
    assert len({look.colour for look in looks}) == len(looks)
    for role in ("transformer", "Bayes", "classical", "oracle"):
        dashes = [
            str(figures.LOOKS[other].dash)
            for other in ("transformer", "Bayes", "classical", "oracle")
            if other != role
        ]
        assert str(figures.LOOKS[role].dash) not in dashes


def test_a_picture_without_words_is_refused():
    with figures.drawing() as (figure, _), pytest.raises(ValueError, match="words in `alt`"):
        figures.picture(figure, " ")
