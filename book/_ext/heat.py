"""The heat map of excess risk over mixture weight and test function: a page that holds the directive `{heat}` has it.

It is a table in words and numbers, tinted, which stands without a script; heat.js changes what it shows.
"""

import html
import json
from math import floor, log10
from pathlib import Path

import pandas as pd
from docutils import nodes
from ledger import raw
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from icl_lib import results
from icl_lib.experiments import weight
from icl_lib.experiments.curves import MOST

SCRIPT = Path(__file__).with_name("heat.js")
LEAST = 1e-3  # smaller shares have no tint; one has the deepest
FULL = {"more": 72, "less": 45}  # percent of the hue: the words on it can still be read
MEANT = {
    "oracle": "exact Bayes that knows the test’s class",
    "own": "exact Bayes with the model’s own mixture",
}


def plain(value: float) -> str:
    """Two digits that count, none after the fourth decimal, and a true minus."""
    digits = min(4, max(0, 1 - floor(log10(max(abs(value), 1e-4)))))
    return f"{value:z.{digits}f}".replace("-", "−")


def tint(share: float) -> int:
    """How deep a cell's colour is, in percent of its hue, on a log scale."""
    depth = 1 - log10(max(abs(share), LEAST)) / log10(LEAST)
    return round(min(depth, 1) * FULL["more" if share > 0 else "less"])


def values(found: pd.DataFrame) -> dict[str, list[list[str | int]]]:
    """By "<over> <n_examples>", row by row: number, lower and upper end, tint, hue."""
    rows = {(r.over, r.n_examples, r.model, r.test): r for r in found.itertuples()}
    return {
        f"{over} {n}": [
            [plain(r.share), plain(r.ci_low), plain(r.ci_high), tint(r.share), hue(r.share)]
            for model in weight.MODELS
            for r in (rows[over, n, model, test] for test in weight.TESTS)
        ]
        for over in weight.OVER
        for n in weight.LENGTHS
    }


def hue(share: float) -> str:
    """Whether the model errs more than the Bayesian, or less."""
    return "more" if share > 0 else "less"


def markup(found: pd.DataFrame) -> str:
    """The whole figure."""
    cells = values(found)
    first = f"oracle {MOST}"
    tests = list(weight.TESTS)
    heads = "".join(f'<th scope="col">{html.escape(test)}</th>' for test in tests)
    body = ""
    for row, share in enumerate(weight.MODELS.values()):
        line = cells[first][row * len(tests) : (row + 1) * len(tests)]
        body += f'<tr><th scope="row">{100 * share:g}%</th>' + "".join(
            f'<td class="is-{hue}" style="--tint: {depth}%">{number}</td>'
            for number, _, _, depth, hue in line
        )
        body += "</tr>"

    def choices(name: str, legend: str, options: dict[str, str], chosen: str) -> str:
        made = "".join(
            f'<label><input type="radio" name="heat-{name}" value="{value}"'
            f"{' checked' if value == chosen else ''}> {html.escape(words)}</label>"
            for value, words in options.items()
        )
        return f"<fieldset><legend>{legend}</legend>{made}</fieldset>"

    lengths = {str(n): str(n) for n in weight.LENGTHS}
    return f"""<figure class="icl-heat">
<div class="icl-heat-choices" hidden>
{choices("n", "after so many examples", lengths, str(MOST))}
{choices("over", "more than", MEANT, "oracle")}
</div>
<figcaption id="heat-caption">Excess over <span data-heat="over">{html.escape(MEANT["oracle"])}</span>,
as a share of the mean square, after <span data-heat="n">{MOST}</span> examples</figcaption>
<div class="icl-heat-scroll" tabindex="0" role="group" aria-label="Excess risk by mixture and test">
<table aria-labelledby="heat-caption">
<thead><tr><th scope="col">lines in pretraining</th>{heads}</tr></thead><tbody>{body}</tbody></table>
</div>
<p class="icl-heat-told" aria-live="polite" hidden>Point at a cell, or go through the table with the arrow keys.</p>
<script type="application/json">{json.dumps(cells, ensure_ascii=False)}</script>
<script>{SCRIPT.read_text(encoding="utf-8")}</script>
</figure>"""


class HeatDirective(SphinxDirective):
    """The heat map of the stored table."""

    def run(self) -> list[nodes.Node]:
        """Write the figure."""
        return [raw(markup(weight.excess(results.read("weight_errors"))))]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("heat", HeatDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
