"""The paper's own size in the page: fetched when it is chosen, once, and it computes what torch does."""

from urllib.parse import quote

import numpy as np
import torch
from playwright.sync_api import Page, expect

from icl_lib.page import transformer_curve
from icl_lib.weights import FOLDER
from icl_lib.widgets.combinations import QUERIES

from .conftest import REPOSITORY
from .test_combinations import Open, open_live, settled

TINY, STANDARD = "line+sine-0.5-tiny", "line+sine-0.5-standard-brief"


def test_the_landing_page_says_what_it_weighs() -> None:
    megabytes = round((FOLDER / f"{STANDARD}.safetensors").stat().st_size / 1e6)
    told = (REPOSITORY / "book" / "intro.md").read_text(encoding="utf-8")
    assert f'model="{STANDARD}"' in told
    assert f"Its {megabytes} MB are fetched" in told


def test_it_is_fetched_when_chosen_once_and_computes_what_torch_does(visit: Open) -> None:
    fetched = []

    def prepare(page: Page) -> None:
        page.on("request", lambda request: fetched.append(request.url))

    def times_fetched() -> int:
        return sum(f"/{STANDARD.replace('+', '-')}." in url for url in fetched)

    page = open_live(visit, f"a=0.5&n=40&seed=3&model={quote(TINY)}", prepare=prepare)
    settled(page)
    assert times_fetched() == 0

    chooser = page.get_by_label("Transformer pretrained on")
    chooser.select_option(STANDARD)
    numbers = settled(page)
    assert numbers["model"] == STANDARD
    assert times_fetched() == 1
    inputs = [np.array(numbers[name])[None] for name in ("xs", "ys")] + [QUERIES[None]]
    xs, ys, queries = (torch.tensor(values, dtype=torch.float32) for values in inputs)
    with torch.no_grad():
        here = transformer_curve(STANDARD)(xs[..., None], ys, queries[..., None])[0].numpy()
    np.testing.assert_allclose(numbers["transformer"], here, atol=1e-4)

    chooser.select_option(TINY)
    settled(page)
    chooser.select_option(STANDARD)
    settled(page)
    assert times_fetched() == 1
    expect(page.locator(".icl-progress")).to_be_hidden()
