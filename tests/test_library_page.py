"""The library's page: its code runs, from top to bottom, in one namespace, as a reader would type it."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

import icl_lib
from icl_lib import training

PAGE = Path(__file__).parents[1] / "book" / "library.md"


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Evaluations of few prompts and trainings of few steps, in a folder of their own: the code stays as it is."""
    evaluate, fit = icl_lib.evaluate, training.fit
    monkeypatch.setattr(
        icl_lib, "evaluate", lambda *given, **named: evaluate(*given, **named | {"n_prompts": 4})
    )
    monkeypatch.setattr(
        training,
        "fit",
        lambda setting, *given, **named: fit(replace(setting, steps=2), *given, **named),
    )
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("small", "unchecked")
def test_every_block_of_the_page_runs():
    text = PAGE.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "library_page"}
    for block in re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        line = text[: block.start(1)].count("\n")
        # The lines before it, empty, so that an error names the line of the page.
        exec(compile("\n" * line + block[1], str(PAGE), "exec"), names)

    # What the page says of the class of one's own.
    mixture, parabola = names["lines_or_parabolas"], names["Parabola"]()
    xs, ys, component = icl_lib.sample_prompts(mixture, 64, 4, seed=1)
    found = icl_lib.bayes.posterior_predictive(mixture, xs, ys).component_probability
    assert (found[:, 2].argmax(1) == component).double().mean() > 0.9
    moment = icl_lib.sample_prompts(parabola, 20_000, 1, seed=0).ys.square().mean()
    assert abs(moment - parabola.second_moment) < 0.1
    bump = names["Bump"]()
    moment = icl_lib.sample_prompts(bump, 20_000, 1, seed=0).ys.square().mean()
    assert abs(moment - bump.second_moment) < 0.01
