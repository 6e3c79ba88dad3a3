"""What exact Bayes believes as examples come, in pictures worked out beforehand: the directive `{belief}`.

The figure stands without a script, after three examples of a sine; belief.js changes the function and their number.
"""

import html
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from ledger import raw
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective
from torch import Tensor

from icl_lib import bayes
from icl_lib.recipes import SINE, line_and_sine
from icl_lib.widgets.plot import as_prompt, draw_inputs, mean_square
from icl_lib.widgets.still import REACH, curve_path, pretty

SCRIPT = Path(__file__).with_name("belief.js")
FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "a sine": lambda x: 1.5 * np.sin(2.5 * x + 0.5),
    "a line": lambda x: 0.8 * x,
    "halfway between": lambda x: 0.5 * x + 0.75 * np.sin(2.5 * x),
}
MOST, FIRST = 12, 3
SEED = 37  # whose first inputs lie apart
TOP = 2.5
WIDTH, HEIGHT = 600, 400  # the box of `curve_path`


def heap(mass: Tensor) -> str:
    """Probabilities of equal cells as a filled outline, the highest of full height."""
    tops = (HEIGHT * (1 - 0.94 * mass / mass.max())).round().int().tolist()
    drawn = f"M0 {HEIGHT}"
    for k, top in enumerate(tops):
        if k + 1 == len(tops) or tops[k + 1] != top:
            drawn += f"V{top}H{WIDTH * (k + 1) / len(tops):.0f}"
    return f"{drawn}V{HEIGHT}Z"


def half(mass: Tensor) -> int:
    """The fewest cells that hold half of the belief."""
    return 1 + int((mass.sort(descending=True).values.cumsum(0) < 0.5).sum())


def belief(name: str, n: int) -> dict[str, Any]:
    """What exact Bayes makes of `n` examples of a function: its curve, its belief in a line and in each frequency."""
    function = FUNCTIONS[name]
    queries = np.linspace(-REACH, REACH, 121)
    xs = np.array(draw_inputs(SEED, MOST))[:n]
    x, y, q = as_prompt(xs, function(xs), queries)
    mean, probability = bayes.posterior_curve(line_and_sine(0.5), x, y, q)
    mass = bayes.latent_posterior(SINE, x, y)[1][0]
    error = mean_square(queries, mean[0].numpy() - function(queries))
    line = float(probability[0, 0])
    sure = "a line" if line > 0.995 else "a sine" if line < 0.005 else ""
    class_told = (
        f"is all but sure of {sure}" if sure else f"believes in a line at {100 * line:.0f}%"
    )
    count = "one example" if n == 1 else f"{n} examples" if n else "no example"
    errs = pretty(error).replace("< ", "less than ")
    told = (
        f"After {count} exact Bayes {class_told}, and errs by {errs}. "
        f"Half of its belief in a frequency lies in {half(mass)} of {len(mass)} cells."
    )
    return {
        "mean": curve_path(queries, mean[0].numpy(), TOP),
        "mass": heap(mass),
        "line": line,
        "told": told,
    }


def pictures() -> dict[str, Any]:
    """By function: it, its examples, and what is believed after none, one, two, ... of them."""
    xs, queries = np.array(draw_inputs(SEED, MOST)), np.linspace(-REACH, REACH, 241)
    return {
        name: {
            "truth": curve_path(queries, function(queries), TOP),
            "dots": [
                [round(WIDTH * (x / REACH + 1) / 2, 1), round(HEIGHT * (1 - y / TOP) / 2, 1)]
                for x, y in zip(xs, function(xs), strict=True)
            ],
            "beliefs": [belief(name, n) for n in range(MOST + 1)],
        }
        for name, function in FUNCTIONS.items()
    }


def markup() -> str:
    """The whole figure."""
    all_pictures = pictures()
    first = all_pictures["a sine"]
    now = first["beliefs"][FIRST]
    choices = "".join(
        f'<label><input type="radio" name="belief-function" value="{name}"'
        f"{' checked' if name == 'a sine' else ''}> {html.escape(name)}</label>"
        for name in FUNCTIONS
    )
    dots = "".join(
        f'<circle cx="{x}" cy="{y}" r="6"{"" if i < FIRST else " hidden"}/>'
        for i, (x, y) in enumerate(first["dots"])
    )
    box = f'viewBox="0 0 {WIDTH} {HEIGHT}" role="img"'
    share = 100 * now["line"]
    return f"""<figure class="icl-believes">
<div class="icl-believes-choices" hidden>
<fieldset><legend>the function</legend>{choices}</fieldset>
<label class="icl-believes-slider">examples
<input type="range" min="0" max="{MOST}" value="{FIRST}" aria-label="Examples">
<output>{FIRST}</output></label>
</div>
<div class="icl-believes-plots">
<div><p>The function (thin), its examples, and exact Bayes (dashed)</p>
<svg {box} aria-label="The function and the curve of exact Bayes">
<path class="is-axis" d="M0 {HEIGHT // 2}H{WIDTH}M{WIDTH // 2} 0V{HEIGHT}"/>
<path class="is-truth" d="{first["truth"]}"/><path class="is-mean" d="{now["mean"]}"/>{dots}</svg>
<p class="icl-believes-ends"><span>x = −3</span><span>0</span><span>3</span></p></div>
<div><p>Belief in each frequency, if it is a sine</p>
<svg {box} aria-label="The belief in each frequency">
<path class="is-axis" d="M0 {HEIGHT}H{WIDTH}"/><path class="is-mass" d="{now["mass"]}"/></svg>
<p class="icl-believes-ends"><span>ω = 1</span><span>3</span><span>5</span></p></div>
</div>
<div class="icl-believes-bar" aria-hidden="true"><span class="is-line" style="width: {share:.2f}%"></span></div>
<p class="icl-believes-ends" aria-hidden="true"><span>a line</span><span>a sine</span></p>
<figcaption aria-live="polite">{now["told"]}</figcaption>
<script type="application/json">{json.dumps(all_pictures, ensure_ascii=False)}</script>
<script>{SCRIPT.read_text(encoding="utf-8")}</script>
</figure>"""


class BeliefDirective(SphinxDirective):
    """The figure."""

    def run(self) -> list[nodes.Node]:
        """Write it."""
        return [raw(markup())]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("belief", BeliefDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
