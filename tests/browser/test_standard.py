"""The paper's own size in the page. No weights of it are shipped yet: random ones take the place of a model's."""

from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, expect

from benchmarks.standin import REPLACED, stand_in, standard_curve
from icl_lib.browser import TransformerCurve
from icl_lib.widgets.explorer import QUERIES

from .test_explorer import Open, open_live, settled

TINY = "line+sine-0.5-tiny"
MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def standard(tmp_path_factory: pytest.TempPathFactory) -> tuple[TransformerCurve, Path]:
    return standard_curve(tmp_path_factory.mktemp("standard"))


def test_its_graph_is_light_enough_to_ship(standard: tuple[TransformerCurve, Path]) -> None:
    _, graph = standard
    assert 16 * MEBIBYTE < graph.stat().st_size < 20 * MEBIBYTE


def test_it_is_fetched_when_chosen_once_and_computes_what_torch_does(
    visit: Open, standard: tuple[TransformerCurve, Path]
) -> None:
    module, graph = standard
    fetched = []

    def prepare(page: Page) -> None:
        stand_in(page, graph)
        page.on("request", lambda request: fetched.append(request.url))

    def times_fetched() -> int:
        return sum(url.endswith(graph.name) for url in fetched)

    page = open_live(visit, f"a=0.5&n=40&seed=3&model={quote(TINY)}", prepare=prepare)
    settled(page)
    assert times_fetched() == 0

    chooser = page.get_by_label("Transformer pretrained on")
    chooser.select_option(REPLACED)
    numbers = settled(page)
    assert numbers["model"] == REPLACED
    assert times_fetched() == 1
    inputs = [np.array(numbers[name])[None] for name in ("xs", "ys")] + [QUERIES[None]]
    xs, ys, queries = (torch.tensor(values, dtype=torch.float32) for values in inputs)
    with torch.no_grad():
        here = module(xs[..., None], ys, queries[..., None])[0].numpy()
    np.testing.assert_allclose(numbers["transformer"], here, atol=1e-4)

    chooser.select_option(TINY)
    settled(page)
    chooser.select_option(REPLACED)
    settled(page)
    assert times_fetched() == 1
    expect(page.locator(".icl-progress")).to_be_hidden()
