"""The explorer of attention on the built page: its numbers against torch, its heads, its address."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from icl_lib.widgets.attention import MODELS, answers, reading, shares

from .conftest import Visit

expect.set_options(timeout=30_000)

CHAPTER = "notebooks/inside.html"
PATIENCE = 90_000  # milliseconds, for a busy machine
ROOT = ".icl-attention[role=group]"
Open = Callable[..., Visit]


def icl(page: Page, what: str) -> Any:
    return page.locator(ROOT).evaluate(f"root => root.parentElement.icl.{what}")


def settled(page: Page) -> dict[str, Any]:
    """The explorer's numbers, once they answer what its sliders and points say."""
    page.wait_for_function(
        f"""() => {{
            const {{ state, numbers }} = document.querySelector('{ROOT}').parentElement.icl;
            return state.stage === 'live' && numbers?.model === state.model && numbers.query === state.query
              && numbers.xs.length === state.prompt.length
              && state.prompt.every(([x, y], i) => x === numbers.xs[i] && y === numbers.ys[i]);
        }}"""
    )
    found: dict[str, Any] = page.locator(ROOT).evaluate(
        """root => Object.fromEntries(Object.entries(root.parentElement.icl.numbers).map(([key, value]) =>
          [key, ArrayBuffer.isView(value) ? Array.from(value) : value]))"""
    )
    return found


def open_live(visit: Open, query: str) -> Page:
    page = visit(f"{CHAPTER}?{query}").page
    page.set_default_timeout(PATIENCE)
    page.wait_for_selector(ROOT)
    settled(page)
    return page


@pytest.mark.parametrize(("model", "n", "query"), [(MODELS[0], 0, 0.5), (MODELS[1], 40, -1.05)])
def test_attention_in_the_page_is_torchs_and_sums_to_one(
    visit: Open, model: str, n: int, query: float
) -> None:
    page = open_live(
        visit, f"model={model.replace('+', '%2B')}&n={n}&x={query}&a=0.3&freq=3.2&block=2&head=2"
    )
    found = settled(page)
    xs, ys = np.array(found["xs"]), np.array(found["ys"])
    assert np.allclose(ys, 0.3 * xs + 0.7 * 1.5 * np.sin(3.2 * xs))
    mean, here = answers(model, xs, ys, np.array(found["queries"]))
    weights = np.array(found["attention"], dtype=float).reshape(here.shape)
    assert np.abs(weights - here).max() < 1e-4
    assert np.abs(weights.sum(-1) - 1).max() < 1e-5
    assert np.abs(np.array(found["mean"]) - mean).max() < 1e-4
    expect(page.locator(f"{ROOT} .icl-said")).to_have_text(reading(2, 2, weights, xs, query))
    expect(page.locator(f"{ROOT} .icl-head")).to_have_count(here.shape[0] * here.shape[1])
    told = page.locator(f"{ROOT} .icl-counts tbody td").all_inner_texts()
    for k, (one, all_heads) in enumerate(
        zip(
            shares(weights[1, 1], xs, query).values(),
            shares(weights.mean((0, 1)), xs, query).values(),
            strict=True,
        )
    ):
        assert [float(text) for text in told[2 * k : 2 * k + 2]] == pytest.approx(
            [float(one), float(all_heads)], abs=0.0051
        )


def test_the_first_picture_needs_no_scripts(visit: Open) -> None:
    page = visit(CHAPTER, javascript=False).page
    still = page.locator(".icl-still.icl-attention")
    expect(still).to_be_visible()
    expect(still.locator(".icl-head-plot")).to_have_count(6)


def test_heads_and_query_move_by_keyboard_and_the_address_follows(visit: Open) -> None:
    page = open_live(visit, "n=12&x=0.5&block=1&head=2")
    head = page.get_by_role("radio", name="Block 1, head 2.")
    expect(head).to_be_checked()
    head.focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("radio", name="Block 2, head 1.")).to_be_checked()
    expect(page.locator(f"{ROOT} .icl-said")).to_contain_text("Block 2, head 1")
    before = settled(page)
    page.get_by_role("slider", name="The query").focus()
    page.keyboard.press("ArrowRight")
    after = settled(page)
    assert after["query"] == pytest.approx(0.55)
    assert after["attention"] != before["attention"]
    page.wait_for_function("new URLSearchParams(location.search).get('x') === '0.55'")
    view = parse_qs(urlsplit(page.url).query)
    assert (view["block"], view["head"], view["n"]) == (["2"], ["1"], ["12"])


def test_a_dragged_example_is_attended_to_where_it_has_come_to_lie(visit: Open) -> None:
    page = open_live(visit, "n=3&x=0&block=2&head=1")
    discs = page.locator(f"{ROOT} .icl-discs circle")
    expect(discs).to_have_count(3)
    point = page.locator(f"{ROOT} .icl-point").first
    point.focus()
    page.keyboard.press("Shift+ArrowUp")
    moved = settled(page)
    _, here = answers(MODELS[0], *(np.array(moved[key]) for key in ("xs", "ys", "queries")))
    assert np.abs(np.ravel(here) - moved["attention"]).max() < 1e-4
    assert icl(page, "state.examples") is not None
    page.locator(ROOT).get_by_role("button", name="Reset").click()
    assert icl(page, "state.n_examples") == 20
