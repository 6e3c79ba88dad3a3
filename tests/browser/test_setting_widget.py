"""The setting's widget on the built page: what is drawn from the mixture as its weights move."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from icl_lib import Mixture, sample_prompts
from icl_lib.widgets.mixture import CLASSES

from .conftest import PHONE, Visit

CHAPTER = "notebooks/setting.html"
PATIENCE = 90_000  # milliseconds, for a busy machine
Open = Callable[..., Visit]

expect.set_options(timeout=30_000)


def open_chapter(visit: Open, query: str = "", **how: Any) -> Page:
    """The chapter, once its widget stands on the page."""
    page: Page = visit(CHAPTER + query, **how).page
    page.set_default_timeout(PATIENCE)
    page.wait_for_selector(".icl-mixture .icl-tokens li")
    return page


def state(page: Page) -> dict[str, Any]:
    """What the widget says of itself; it hangs its state on the element above its root."""
    return page.locator(".icl-mixture[role=group]").evaluate("root => root.parentElement.icl.state")


def drawn(page: Page) -> list[int]:
    """The class of each card, as its colour and line style say."""
    cards = page.locator(".icl-mixture[role=group] .icl-card")
    return cards.evaluate_all(
        "cards => cards.map((card) => [0, 1, 2].findIndex((k) => card.matches(`.is-class-${k}`)))"
    )


def test_it_stands_in_the_still_figures_place(visit: Open) -> None:
    page = open_chapter(visit)
    expect(page.locator(".icl-still")).to_be_hidden()
    expect(page.locator(".icl-mixture[role=group] .icl-card")).to_have_count(24)


def test_without_scripts_the_still_figure_stays(visit: Open) -> None:
    page = visit(CHAPTER, javascript=False).page
    expect(page.locator(".icl-still")).to_be_visible()
    expect(page.locator(".icl-still path")).to_have_count(24)


@pytest.mark.parametrize("weights", ["0.5_0.5_0", "0.2_0.7_0.4", "0_0_1", "1_0.01_0"])
def test_each_prompt_is_what_the_library_draws(visit: Open, weights: str) -> None:
    page = open_chapter(visit, f"?w={weights}")
    parts = [float(part) for part in weights.split("_")]
    shares = tuple(part / sum(parts) for part in parts)
    assert state(page)["shares"] == pytest.approx(shares)
    component = sample_prompts(
        Mixture(tuple(CLASSES.values()), shares), 24, 8, seed=0
    ).component.tolist()
    assert drawn(page) == component
    counts = page.locator(".icl-counts tbody tr").evaluate_all(
        "rows => rows.map((r) => [r.cells[1].textContent, r.cells[2].textContent])"
    )
    assert [int(count) for count, _ in counts] == [component.count(k) for k in range(3)]
    assert [float(expected) for _, expected in counts] == pytest.approx(
        [24 * share for share in shares], abs=0.051
    )


def test_a_slider_by_keyboard_flips_prompts_one_way(visit: Open) -> None:
    page = open_chapter(visit)
    before = drawn(page)
    page.get_by_label("Weight of the line").focus()
    page.keyboard.press("PageUp")
    page.keyboard.press("End")
    after = drawn(page)
    assert state(page)["shares"] == pytest.approx([2 / 3, 1 / 3, 0])
    assert before != after
    assert all(
        b <= a for a, b in zip(before, after, strict=True)
    )  # prompts move to the line, none away from it


def test_a_slider_by_mouse(visit: Open) -> None:
    page = open_chapter(visit)
    slider = page.get_by_label("Weight of the ReLU network")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
    assert state(page)["shares"] == pytest.approx([0.25, 0.25, 0.5])
    assert 2 in drawn(page)


def test_all_weights_cannot_be_zero(visit: Open) -> None:
    page = open_chapter(visit, "?w=0_0_1")
    page.get_by_label("Weight of the ReLU network").focus()
    page.keyboard.press("Home")
    expect(page.get_by_text("One weight at least must be above zero.")).to_be_visible()
    assert state(page)["weights"] == [0, 0, 1]


def test_a_prompt_is_shown_as_the_tokens_that_the_model_reads(visit: Open) -> None:
    page = open_chapter(visit, size=PHONE, touch=True)
    page.locator(".icl-mixture[role=group] .icl-card").nth(4).tap()
    assert state(page)["prompt"] == 4
    prompts = sample_prompts(Mixture(tuple(CLASSES.values()), (0.5, 0.5, 0.0)), 24, 8, seed=0)
    tokens = page.locator(".icl-tokens li").evaluate_all(
        "items => items.map((li) => li.lastChild.textContent)"
    )
    numbers = [float(token.replace("−", "-")) for token in tokens]
    assert numbers[0::2] == pytest.approx(prompts.xs[4, :, 0].tolist(), abs=0.0056)
    assert numbers[1::2] == pytest.approx(prompts.ys[4].tolist(), abs=0.0056)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]

    page.locator(".icl-card input").nth(4).focus()
    page.keyboard.press("ArrowRight")
    assert state(page)["prompt"] == 5


def test_new_draws_and_the_link_to_them(visit: Open) -> None:
    page = open_chapter(visit)
    before = drawn(page)
    page.get_by_role("button", name="New draw").click()
    assert state(page)["set"] == 1
    after = drawn(page)
    assert before != after
    page.get_by_label("Weight of the sine").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(lambda url: "set=2" in url and "w=0.5_0.49_0" in url)
    wanted = state(page), drawn(page)
    other = open_chapter(visit, f"?{urlsplit(page.url).query}")
    assert (state(other), drawn(other)) == wanted
    other.get_by_role("button", name="Reset").click()
    other.wait_for_url(lambda url: "?" not in url)
    assert drawn(other) == before
