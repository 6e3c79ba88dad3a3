"""The explorer on the built page: its numbers against torch, its lines by mouse, touch and keyboard, its failures."""

import copy
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
import torch
from playwright.sync_api import Page, Route, expect

from icl_lib.page import transformer_curve
from icl_lib.widgets import ConvexExplorer
from icl_lib.widgets.combinations import QUERIES, RANGES, curves

from .conftest import DESKTOP, PHONE, SWITCH, Gate, Visit, faults, strike_twice, unrevived

expect.set_options(timeout=30_000)

CHAPTER = "notebooks/convex_combinations.html"
ALONE = "embed/combinations.html"
PATIENCE = 90_000  # milliseconds, for a busy machine
LINES = ("transformer", "mixture", "linear", "oracle")
Open = Callable[..., Visit]


def widget(page: Page) -> Any:
    return page.locator("[data-stage]")


def live(page: Page) -> None:
    """Wait until the explorer has drawn its first live picture."""
    page.wait_for_selector("[data-stage=live]", timeout=PATIENCE)


def open_explorer(visit: Open, query: str = "", *, path: str = ALONE, **how: Any) -> Visit:
    """A page, once its explorer stands on it: it alone, since a chapter takes more than twice as long to open."""
    opened = visit(path + query, **how)
    opened.page.set_default_timeout(PATIENCE)
    opened.page.wait_for_selector("[data-stage]")
    return opened


def settled(page: Page) -> dict[str, Any]:
    """The explorer's numbers, once they answer what its sliders and points say."""
    page.wait_for_function(
        """() => {
            const { state, numbers } = document.querySelector('[data-stage]').icl;
            return state.stage === 'live' && numbers?.milliseconds
              && numbers.weight === state.weight && numbers.model === state.model && numbers.doubt === state.doubt
              && numbers.xs.length === state.prompt.length
              && state.prompt.every(([x, y], i) => x === numbers.xs[i] && y === numbers.ys[i]);
        }""",
        timeout=PATIENCE,
    )
    return page.evaluate(
        """() => {
            const { numbers } = document.querySelector('[data-stage]').icl;
            return Object.fromEntries(Object.entries(numbers).map(([key, value]) =>
              [key, ArrayBuffer.isView(value) ? Array.from(value) : value]));
        }"""
    )


def state(page: Page) -> dict[str, Any]:
    return page.evaluate("document.querySelector('[data-stage]').icl.state")


def paths(page: Page) -> dict[str, str]:
    """The lines as drawn."""
    return {
        name: page.locator(f".icl-plot path.icl-{name}").last.get_attribute("d")
        for name in ("truth", *LINES)
    }


def open_live(visit: Open, query: str = "a=0.5", **how: Any) -> Page:
    """The explorer, opened by a link to a view, which is live at once."""
    page = open_explorer(visit, f"?{query}", **how).page
    live(page)
    page.locator(".icl-plot").last.scroll_into_view_if_needed()
    return page


def test_the_first_picture_needs_no_models_and_the_next_one_fetches_them(visit: Open) -> None:
    opened = open_explorer(visit, size=(1280, 500))
    page = opened.page
    expect(widget(page)).to_have_attribute("data-stage", "still")
    expect(page.locator(".icl-still")).to_be_hidden()
    expect(page.locator(".icl-slider").first).to_be_visible()
    expect(page.locator(".icl-where")).to_have_text(
        re.compile("^Drag me. Your browser then fetches")
    )
    assert not [name for name in opened.files if name.startswith("live/")]

    page.get_by_role("slider", name="Combination weight").focus()
    live(page)
    expect(page.get_by_text("Computed in your browser")).to_be_visible()


def test_the_still_figures_plot_is_of_the_live_ones_size(visit: Open) -> None:
    page = visit(CHAPTER, prepare=unrevived).page
    before = page.locator(".icl-still .icl-plot").bounding_box()
    page.evaluate("revive()")
    page.wait_for_selector("[data-stage]", timeout=PATIENCE)
    after = page.locator(".icl-explorer[role=group] .icl-plot").bounding_box()
    assert before is not None
    assert after is not None
    assert (before["width"], before["height"]) == pytest.approx(
        (after["width"], after["height"]), abs=1
    )


def test_the_live_picture_continues_the_still_one(visit: Open) -> None:
    page = open_explorer(visit).page
    drawn = page.evaluate(
        """() => Object.fromEntries(['truth', 'transformer', 'mixture', 'linear', 'oracle'].map((name) =>
             [name, document.querySelector(`.icl-still .icl-plot path.icl-${name}`).getAttribute('d')]))"""
    )
    first = paths(page)
    page.get_by_role("slider", name="Combination weight").focus()
    live(page)
    settled(page)

    def coordinates(path: str) -> np.ndarray:
        return np.array([[float(part) for part in pair.split()] for pair in path[1:].split("L")])

    for pictures in (first, paths(page)):
        for name, path in pictures.items():
            assert (
                np.abs(coordinates(path) - coordinates(drawn[name])).max() < 0.25
            )  # of a box of 600 x 400


def fetched(opened: Visit) -> list[str]:
    """What the page has fetched to compute with."""
    return [name for name in opened.files if name.startswith("live/")]


@pytest.mark.parametrize("eager", [True, False], ids=["awake", "saving data"])
def test_it_wakes_by_itself_near_the_screen_unless_data_are_to_be_saved(
    visit: Open, eager: bool
) -> None:
    opened = open_explorer(visit, path=CHAPTER, size=(1280, 400), eager=eager)
    page = opened.page
    expect(widget(page)).to_have_attribute("data-stage", "still")
    assert not fetched(opened)
    widget(page).scroll_into_view_if_needed()
    if eager:
        live(page)
    else:
        page.wait_for_load_state("networkidle")
        expect(widget(page)).to_have_attribute("data-stage", "still")
        assert not fetched(opened)


def test_on_the_first_screen_it_wakes_by_itself(visit: Open) -> None:
    live(open_explorer(visit, size=(1280, 1600), eager=True).page)


OPACITY = "all => all.map((one) => getComputedStyle(one).opacity)"
NUMBERS = "[data-stage] :is(.icl-legend td > span, .icl-posterior .icl-error)"


def test_the_first_drag_finds_lines_and_numbers_and_what_is_done_until_it_wakes_is_kept(
    visit: Open,
) -> None:
    gate = Gate()
    page = open_explorer(visit, prepare=gate.across("**/live/*.onnx")).page
    before, first = paths(page), page.locator(NUMBERS).all_text_contents()
    slider = page.get_by_role("slider", name="Combination weight")
    slider.focus()
    page.keyboard.press("End")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    # A picture computed beforehand, of a function of its own: the status says of which.
    expect(page.locator(".icl-status")).to_contain_text("Shown: a = 1.00, of 21")
    turned = paths(page)
    assert all(before[name] != turned[name] for name in before)
    ends = [float(turned["truth"].split("L")[k].split()[-1]) for k in (0, -1)]
    assert ends == [
        200 + 200,
        200 - 200,
    ]  # the line of slope 1, in a plot that reaches from -3 to 3
    assert page.locator(NUMBERS).all_text_contents() != first
    expect(page.locator("[data-stage] .icl-said")).to_have_text(re.compile("^On the line"))
    assert not page.locator("[data-stage] [data-stale]").count()

    # Of another slope nothing was computed: what is older is dimmed, all together, and stays.
    page.get_by_role("slider", name="Slope of the line").focus()
    page.keyboard.press("ArrowLeft")
    line = page.locator("[data-stage] .icl-plot path.icl-transformer")
    expect(line).to_have_css("opacity", "0.35")
    assert page.locator(NUMBERS).evaluate_all(OPACITY) == [*["0.35"] * 4, "1", *["0.35"] * 2]
    assert page.locator(".icl-legend .icl-track").last.evaluate_all(OPACITY) == ["0.35"]
    assert page.locator("[data-stage] .icl-said").evaluate_all(OPACITY) == ["0.35"]
    assert paths(page)["transformer"] == turned["transformer"]
    gate.open()
    assert settled(page)["weight"] == 0.98
    assert state(page)["slope"] == 0.95
    expect(line).to_have_css("opacity", "1")
    assert page.locator(NUMBERS).evaluate_all(OPACITY) == ["1"] * 7
    assert "–" not in page.locator(NUMBERS).all_text_contents()


def in_double_precision(model: str, xs: np.ndarray, ys: np.ndarray) -> np.ndarray:
    """The transformer's curve with every operation in float64."""
    module = copy.deepcopy(transformer_curve(model)).double()
    single = [
        torch.tensor(values, dtype=torch.float32)[None].double() for values in (xs, ys, QUERIES)
    ]
    with torch.no_grad():
        curve: np.ndarray = module(single[0][..., None], single[1], single[2][..., None])[0].numpy()
    return curve


@pytest.mark.parametrize(
    "view",
    [
        "a=0.5&slope=1&freq=2.5&amp=1.5&phase=0&n=20&seed=1&model=line%2Bsine-0.5-tiny",
        "a=0.13&slope=-2.4&freq=4.7&amp=0.6&phase=0.75&n=40&seed=7&doubt=1e-30&model=line%2Bsine-0.5-tiny",
        "a=1&slope=0.35&freq=1&amp=1&phase=-1&n=3&seed=8&model=line%2Bsine-0.5-tiny",
        "a=0&slope=0&freq=9.9&amp=3&phase=0.3&n=1&seed=9&doubt=0.5&model=line%2Bsine-0.5-tiny",
        "a=0.6&slope=1&freq=2&amp=1&phase=0&n=0&seed=10&doubt=1e-6&model=line%2Bsine-0.5-tiny",
        "a=0.7&slope=3&freq=3.3&amp=2&phase=0.5&n=31&seed=11&model=line%2Bsine-0.5-small",
        "a=0.4&n=12&seed=12&pts=0_4*p0.5_-1.25*p-2.75_2*7_11&model=line%2Bsine-0.5-small",
    ],
)
def test_the_numbers_on_the_page_are_those_of_torch(visit: Open, view: str) -> None:
    page = open_live(visit, view)
    numbers = settled(page)
    prompt = np.array(numbers["xs"]), np.array(numbers["ys"])
    asked = numbers["model"], numbers["bayes"], numbers["weight"]
    here = curves(*asked, *prompt, QUERIES, doubt=numbers["doubt"])
    for name in ("mixture", "oracle", "probability"):
        assert np.abs(np.array(numbers[name]) - here[name]).max() < 1e-6, name
    apart = np.abs(np.array(numbers["linear"]) - here["linear"]).max()
    assert apart < 1e-6 * max(1.0, np.abs(here["linear"]).max())
    # Single precision may be 1e-5 off where the model is sensitive: torch's own distance from float64 is the measure.
    rounding = np.abs(in_double_precision(numbers["model"], *prompt) - here["transformer"]).max()
    assert (
        np.abs(np.array(numbers["transformer"]) - here["transformer"]).max() < 1e-5 + 3 * rounding
    )
    density = np.exp(-(QUERIES**2) / 2) / np.exp(-(QUERIES**2) / 2).sum()
    for name in LINES:
        error = density @ (here[name] - np.array(numbers["truth"])) ** 2
        assert numbers["errors"][name] == pytest.approx(error, rel=1e-3, abs=1e-9)


def test_a_grain_of_doubt_saves_the_bayesian_and_travels_by_the_link(visit: Open) -> None:
    page = open_live(visit, "a=0.5&n=20")
    certain = settled(page)
    slider = page.get_by_role("slider", name="Its doubt")
    expect(slider).to_have_attribute("aria-valuetext", "none")
    slider.focus()
    page.keyboard.press("ArrowRight")
    expect(slider).to_have_attribute("aria-valuetext", "1 in 10 to the power of 30")
    doubting = settled(page)
    assert doubting["errors"]["mixture"] < certain["errors"]["mixture"] / 4
    assert doubting["errors"]["transformer"] == certain["errors"]["transformer"]
    assert certain["probability"][2] == 0
    assert doubting["probability"][2] > 0.999
    expect(page.get_by_text("P(other)")).to_be_visible()
    page.wait_for_url(lambda url: "doubt=1e-30" in url)
    page.keyboard.press("End")
    expect(slider).to_have_attribute("aria-valuetext", "1 in 2")
    page.keyboard.press("Home")
    assert settled(page)["errors"] == certain["errors"]


def test_without_examples_only_the_prior_speaks(visit: Open) -> None:
    # Many examples first, outside the mixture: a runtime that keeps anything of them would show it.
    page = open_live(visit, "a=0.3&slope=3&freq=9.9&amp=3&phase=0.3&n=40&seed=9")
    settled(page)
    page.get_by_role("slider", name="In-context examples").focus()
    page.keyboard.press("Home")
    numbers = settled(page)
    assert numbers["probability"] == [0.5, 0.5, 0]
    assert np.abs(numbers["mixture"]).max() == np.abs(numbers["oracle"]).max() == 0


def test_the_slider_by_mouse_moves_every_line(visit: Open) -> None:
    page = open_live(visit)
    settled(page)
    before = paths(page)
    slider = page.get_by_role("slider", name="Combination weight")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.8 * box["width"], box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    assert state(page)["weight"] == pytest.approx(0.81, abs=0.03)
    settled(page)
    after = paths(page)
    assert all(before[name] != after[name] for name in before)


def test_the_sliders_by_keyboard(visit: Open) -> None:
    page = open_live(visit, "a=0.5&slope=1&freq=2.5&amp=1.5&phase=0&n=20")
    for label, key, name, value in [
        ("Combination weight", "ArrowRight", "weight", 0.51),
        ("Slope of the line", "ArrowLeft", "slope", 0.95),
        ("Frequency", "ArrowRight", "frequency", 2.6),
        ("Amplitude", "ArrowRight", "amplitude", 1.55),
        ("Phase", "ArrowRight", "phase", 0.05),
        ("In-context examples", "ArrowRight", "n_examples", 21),
    ]:
        before = paths(page)["truth"], page.locator(".icl-plot").last.locator(".icl-point").count()
        page.get_by_role("slider", name=label).focus()
        page.keyboard.press(key)
        assert state(page)[name] == pytest.approx(value)
        settled(page)
        assert before != (
            paths(page)["truth"],
            page.locator(".icl-plot").last.locator(".icl-point").count(),
        )


def test_the_number_of_examples_only_appends(visit: Open) -> None:
    page = open_live(visit, "n=12&seed=5")
    few = state(page)["prompt"]
    page.get_by_role("slider", name="In-context examples").focus()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert state(page)["prompt"][:12] == few
    assert len(state(page)["prompt"]) == 17


def point_centre(page: Page, index: int) -> tuple[float, float]:
    box = (
        page.locator(".icl-plot")
        .last.locator(".icl-point")
        .nth(index)
        .locator(".icl-dot")
        .bounding_box()
    )
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


PLACED = "n=3&pts=p-2_1*p0_-1*p2_0.5"  # three points far apart


def test_a_point_dragged_by_mouse(visit: Open) -> None:
    page = open_live(visit, PLACED)
    settled(page)
    before = paths(page)
    x, y = point_centre(page, 1)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 80, steps=6)
    page.mouse.up()
    moved = state(page)["prompt"]
    assert (moved[0], moved[2]) == ([-2, 1], [2, 0.5])
    assert moved[1][0] > 0.3
    assert moved[1][1] > -0.6
    settled(page)
    after = paths(page)
    assert before["truth"] == after["truth"]
    assert all(before[name] != after[name] for name in LINES)
    # A point placed by hand stays where it is when the function moves.
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("Home")
    assert state(page)["prompt"] == moved


def test_points_are_added_and_removed_by_mouse(visit: Open) -> None:
    page = open_live(visit, PLACED)
    box = page.locator(".icl-plot").last.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 0.35 * box["width"], box["y"] + 0.2 * box["height"])
    added = state(page)["prompt"]
    assert len(added) == 4
    assert added[3][0] == pytest.approx(-0.9, abs=0.03)
    assert len(settled(page)["xs"]) == 4

    strike_twice(page, *point_centre(page, 0))
    assert state(page)["prompt"] == added[1:]

    page.mouse.click(*point_centre(page, 1))
    page.get_by_role("button", name="Remove example").click()
    assert state(page)["prompt"] == [added[1], added[3]]
    page.get_by_role("button", name="Put examples back").click()
    assert state(page)["examples"] is None


def test_points_by_keyboard(visit: Open) -> None:
    page = open_live(visit, PLACED)
    points = page.locator(".icl-plot").last.locator(".icl-point")
    assert points.evaluate_all("points => points.filter((p) => p.tabIndex === 0).length") == 1
    page.get_by_role("group", name="Explorer").get_by_role("checkbox").last.focus()
    points.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowUp")
    assert state(page)["prompt"][0] == pytest.approx([-1.95, 1.5])
    page.keyboard.press("PageDown")
    assert state(page)["selected"] == 1
    expect(points.nth(1)).to_be_focused()
    page.keyboard.press("Delete")
    assert state(page)["prompt"] == [pytest.approx([-1.95, 1.5]), [2, 0.5]]
    expect(points.nth(1)).to_be_focused()
    page.keyboard.press("Delete")
    page.keyboard.press("Delete")
    assert state(page)["prompt"] == []
    settled(page)

    page.get_by_role("button", name="Add example").click()
    expect(points.first).to_be_focused()
    assert state(page)["n_examples"] == 1
    settled(page)


def test_touch_drags_adds_and_removes(visit: Open) -> None:
    page = open_live(visit, PLACED, size=PHONE, touch=True)
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        finger.send(
            "Input.dispatchTouchEvent",
            {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]},
        )

    x, y = point_centre(page, 1)
    touch("touchStart", (x + 6, y + 6))  # fingers are not exact
    for step in range(1, 6):
        touch("touchMove", (x + 6 + 8 * step, y + 6 - 10 * step))
    touch("touchEnd")
    moved = state(page)["prompt"]
    assert moved[1][0] > 0.3
    assert moved[1][1] > -0.6
    settled(page)

    box = page.locator(".icl-plot").last.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + 0.3 * box["width"], box["y"] + 0.85 * box["height"])
    assert len(state(page)["prompt"]) == 4
    strike_twice(page, *point_centre(page, 2), touch=True)
    assert len(state(page)["prompt"]) == 3
    page.touchscreen.tap(*point_centre(page, 0))
    page.get_by_role("button", name="Remove example").tap()
    assert len(state(page)["prompt"]) == 2


def test_a_phone_shows_it_whole(visit: Open) -> None:
    page = open_live(visit, size=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]
    plot = page.locator(".icl-plot").last.bounding_box()
    assert plot is not None
    assert plot["width"] > 300


def test_axe_finds_nothing_in_the_live_explorer(visit: Open) -> None:
    page = open_live(visit, "tour=3")
    page.get_by_text("The numbers", exact=True).click()
    page.locator(".icl-plot").last.locator(".icl-point").first.focus()
    for theme in ("light", "dark"):
        page.evaluate(SWITCH, theme)
        assert faults(page, ".icl-explorer") == [], theme


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_nothing_below_moves_when_the_widget_comes_and_goes_live(
    visit: Open, size: tuple[int, int]
) -> None:
    page = visit(CHAPTER, size=size, prepare=unrevived).page
    page.set_default_timeout(PATIENCE)
    page.wait_for_function("document.fonts.status === 'loaded'")
    height = "document.documentElement.scrollHeight"
    still = page.evaluate(height)
    page.evaluate("revive()")
    page.wait_for_selector("[data-stage]")
    assert page.evaluate(height) == pytest.approx(still, abs=25)  # the outputs' own margins
    widget_alone = page.evaluate(height)
    page.get_by_role("slider", name="Combination weight").focus()
    live(page)
    assert page.evaluate(height) == pytest.approx(widget_alone, abs=2)


def test_the_legend_hides_and_shows_lines(visit: Open) -> None:
    page = open_live(visit)
    for name, label in [
        ("transformer", "Transformer"),
        ("mixture", "Exact Bayes"),
        ("linear", "Best linear"),
        ("oracle", "Oracle"),
        ("truth", "Truth"),
    ]:
        line = page.locator(f".icl-plot path.icl-{name}").last
        box = page.get_by_role("checkbox", name=label)
        assert line.evaluate("line => getComputedStyle(line).display") == "inline"
        box.uncheck()
        assert line.evaluate("line => getComputedStyle(line).display") == "none"
        box.check()
        assert line.evaluate("line => getComputedStyle(line).display") == "inline"


def test_the_landing_page_begins_without_the_oracle_and_a_link_can_have_it(visit: Open) -> None:
    page = visit("book/intro.html").page
    page.wait_for_selector("[data-stage]", timeout=PATIENCE)
    box = page.get_by_role("checkbox", name="Oracle")
    line = page.locator("[data-stage] .icl-plot path.icl-oracle").last
    assert not box.is_checked()
    assert line.evaluate("line => getComputedStyle(line).display") == "none"
    box.check()
    page.wait_for_url("**hide=none**")
    page = visit("book/intro.html?" + urlsplit(page.url).query).page
    page.wait_for_selector("[data-stage]", timeout=PATIENCE)
    assert page.get_by_role("checkbox", name="Oracle").is_checked()


def tour(page: Page) -> Any:
    return page.get_by_role("group", name="Tour")


def test_a_tour_is_taken_by_keyboard_and_left_at_any_time(visit: Open) -> None:
    page = open_explorer(visit).page
    start = page.get_by_role("button", name="Take the tour")
    start.focus()
    page.keyboard.press("Enter")
    expect(tour(page)).to_contain_text("1 of 6 A sine, as in pretraining")
    assert state(page)["weight"] == 0
    for weight, words in ((1, "2 of 6 A line"), (0.5, "3 of 6 Halfway between")):
        page.keyboard.press("Enter")
        expect(tour(page)).to_contain_text(words)
        assert state(page)["weight"] == weight
    page.wait_for_url("**tour=3**")
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("ArrowRight")
    expect(tour(page)).to_contain_text("3 of 6 You have moved on by yourself.")
    page.get_by_role("button", name="Return to the tour").focus()
    page.keyboard.press("Enter")
    expect(tour(page)).to_contain_text("3 of 6 Halfway between")
    assert state(page)["weight"] == 0.5
    page.keyboard.press("Escape")
    expect(tour(page)).to_be_hidden()
    expect(start).to_be_focused()
    page.wait_for_url(lambda url: "a=0.5" in url and "tour" not in url)


def test_a_link_leads_to_a_step_of_the_tour_or_beside_it(visit: Open) -> None:
    page = open_explorer(visit, "?tour=5").page
    assert (state(page)["weight"], state(page)["doubt"]) == (0.5, 1e-6)
    expect(tour(page)).to_contain_text("5 of 6 Given one chance in a million")
    page.get_by_role("button", name="Now a faster sine").click()
    assert (state(page)["weight"], state(page)["frequency"]) == (0, 8)
    page.get_by_role("button", name="Finish").click()
    expect(tour(page)).to_be_hidden()
    page = open_explorer(visit, "?tour=3&a=0.3").page
    assert state(page)["weight"] == 0.3
    expect(tour(page)).to_contain_text("You have moved on")


def test_places_have_names(visit: Open) -> None:
    page = open_explorer(visit, f"?{PLACED}").page
    places = page.get_by_label("Go to a place with a name")
    assert places.input_value() == ""
    places.select_option("Five examples")
    assert (state(page)["n_examples"], state(page)["examples"]) == (5, None)
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("ArrowRight")
    assert places.input_value() == ""


def test_a_sentence_says_what_one_sees_in_the_still_and_live(visit: Open) -> None:
    page = visit(CHAPTER).page
    page.wait_for_selector("[data-stage]", timeout=PATIENCE)
    still, said = (
        page.locator(f"{place} .icl-said").first for place in (".icl-still", "[data-stage]")
    )
    assert still.text_content() == said.text_content()
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("End")
    live(page)
    settled(page)
    expect(said).to_have_text(
        re.compile(
            r"^On the line exact Bayes is certain of a line and errs by .*, the transformer by"
        )
    )


def test_every_line_has_a_colour_and_a_style_of_its_own(visit: Open) -> None:
    for theme in ("light", "dark"):
        page = open_live(visit, theme=theme)
        styles = [
            page.locator(f".icl-plot path.icl-{name}").last.evaluate(
                "line => { const s = getComputedStyle(line); return [s.stroke, s.strokeDasharray + s.strokeWidth]; }"
            )
            for name in ("truth", *LINES)
        ]
        assert len({colour for colour, _ in styles}) == 5
        assert len({style for _, style in styles}) == 5


def test_a_view_travels_by_its_link(visit: Open) -> None:
    page = open_live(visit, "a=0.5&n=6&seed=3")
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("ArrowLeft")
    page.get_by_role("slider", name="Frequency").focus()
    page.keyboard.press("End")
    page.get_by_role("checkbox", name="Oracle").uncheck()
    strike_twice(page, *point_centre(page, 5))
    x, y = point_centre(page, 2)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 31, y + 40, steps=4)
    page.mouse.up()
    page.get_by_label("Transformer pretrained on").select_option("line+sine-0.5-small")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy link").click()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    wanted, drawn = state(page), (settled(page), paths(page))

    other = open_explorer(visit, f"?{urlsplit(link).query}").page
    live(other)
    keys = (
        "weight",
        "slope",
        "frequency",
        "amplitude",
        "phase",
        "n_examples",
        "seed",
        "model",
        "hidden",
        "prompt",
    )
    restored = state(other)
    assert {key: restored[key] for key in keys} == {key: wanted[key] for key in keys}
    numbers = settled(other)
    assert numbers["transformer"] == drawn[0]["transformer"]
    assert paths(other) == drawn[1]
    assert not other.get_by_role("checkbox", name="Oracle").is_checked()


def test_the_address_keeps_its_anchor_and_forgets_after_a_reset(visit: Open) -> None:
    page = open_explorer(visit, "?other=1#conclusions").page
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(lambda url: "a=0.49" in url)
    assert page.url.endswith("#conclusions")
    assert parse_qs(urlsplit(page.url).query)["other"] == ["1"]
    live(page)
    page.get_by_role("button", name="Reset").click()
    page.wait_for_url(lambda url: "a=" not in url)
    assert page.url.endswith("?other=1#conclusions")


@pytest.mark.parametrize("query", ["a=2", "n=41", "pts=0_4000", "doubt=0.3", "a="])
def test_a_broken_link_is_said_to_be_one(visit: Open, query: str) -> None:
    page = open_live(visit, query)
    expect(page.get_by_text("could not be read in full", exact=False)).to_be_visible()
    assert state(page)["weight"] == 0.5


def test_a_broken_link_is_still_said_to_be_one_when_a_late_reader_looks(visit: Open) -> None:
    page = open_live(visit, "a=x", prepare=lambda page: page.clock.install())
    page.clock.fast_forward("10:00")
    expect(page.get_by_text("could not be read in full", exact=False)).to_be_visible()


def test_a_new_draw_changes_function_and_inputs(visit: Open) -> None:
    page = open_live(visit)
    before = state(page)
    page.get_by_role("button", name="New draw").click()
    after = state(page)
    assert before["prompt"] != after["prompt"]
    assert before["slope"] != after["slope"] or before["frequency"] != after["frequency"]
    assert 1 <= after["frequency"] <= 5
    settled(page)
    page.get_by_role("button", name="New inputs").click()
    again = state(page)
    assert [again[key] for key in ("slope", "frequency", "phase")] == [
        after[key] for key in ("slope", "frequency", "phase")
    ]
    assert [x for x, _ in again["prompt"]] != [x for x, _ in after["prompt"]]


def test_play_sweeps_the_weight(visit: Open) -> None:
    page = open_live(visit, "a=0.5")
    button = page.get_by_role("button", name="Play")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.click()
    # These tests ask for reduced motion: the sweep then goes in steps of a tenth, one a second.
    page.wait_for_function(
        "document.querySelector('[data-stage]').icl.state.weight === 0.6", timeout=PATIENCE
    )
    page.get_by_role("button", name="Pause").click()
    weight = state(page)["weight"]
    page.wait_for_timeout(1500)
    assert state(page)["weight"] == weight


def test_play_is_smooth_for_who_does_not_mind(visit: Open) -> None:
    page = open_live(visit, "a=0.5")
    page.emulate_media(reduced_motion="no-preference")
    page.evaluate(
        """() => { const el = document.querySelector('[data-stage]');
             Object.assign(window, { seen: [], drawn: [] });
             const look = () => { window.seen.push(el.icl.state.weight); requestAnimationFrame(look); };
             el.addEventListener('icl-drawn', () => window.drawn.push(el.icl.numbers.weight));
             look(); }"""
    )
    page.get_by_role("button", name="Play").click()
    page.wait_for_function("new Set(window.drawn).size > 4", timeout=PATIENCE)
    page.get_by_role("button", name="Pause").click()
    # A fifth of the way in a second, and in steps of the slider however seldom a busy machine draws.
    assert all(abs(b - a) <= 0.031 for a, b in pairwise(page.evaluate("window.seen")))


def test_the_numbers_fill_while_the_slider_plays(visit: Open) -> None:
    page = open_live(visit)
    page.emulate_media(reduced_motion="no-preference")
    page.get_by_role("button", name="Play").click()
    page.get_by_text("The numbers", exact=True).click()
    expect(page.locator(".icl-numbers tbody tr")).to_have_count(97)
    expect(page.get_by_role("button", name="Pause")).to_be_visible()  # it plays on


def test_the_numbers_can_be_read_and_taken_home(visit: Open) -> None:
    page = open_live(visit)
    numbers = settled(page)
    page.get_by_text("The numbers", exact=True).click()
    expect(page.locator(".icl-numbers tbody tr")).to_have_count(97)
    with page.expect_download() as download:
        page.get_by_role("button", name="Curves as CSV").click()
    text = download.value.path().read_text().splitlines()
    assert text[0] == "x,truth,transformer,mixture,linear,oracle"
    table = np.array([[float(value) for value in line.split(",")] for line in text[1:]])
    assert np.array_equal(table[:, 2], numbers["transformer"])
    assert np.array_equal(table[:, 0], QUERIES)


def abort(pattern: str) -> Callable[[Page], None]:
    return lambda page: page.context.route(pattern, lambda route: route.abort())


def missing(pattern: str) -> Callable[[Page], None]:
    def answer(route: Route) -> None:
        route.fulfill(status=404, body="not here")

    return lambda page: page.context.route(pattern, answer)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (missing("**/live/*.onnx"), "is missing: the server answered 404"),
        (abort("**/live/*.onnx"), "could not be fetched"),
        (abort("**/live/ort/*.wasm"), "The runtime could not be fetched"),
        (abort("**/live/ort/*.js"), "The runtime could not be loaded: the connection failed"),
        (missing("**/live/manifest.json"), "could not be read: the server answered 404"),
        (missing("**/live/engine.js"), "could not be loaded: the server answered 404"),
        (
            lambda page: page.add_init_script("delete globalThis.WebAssembly"),
            "This browser has no WebAssembly",
        ),
    ],
    ids=[
        "model missing",
        "model aborted",
        "runtime aborted",
        "module aborted",
        "manifest",
        "worker",
        "no WebAssembly",
    ],
)
def test_a_failure_is_told_and_the_first_picture_stays(
    visit: Open, prepare: Callable[[Page], None], said: str
) -> None:
    opened = open_explorer(visit, prepare=prepare)
    page = opened.page
    page.get_by_role("slider", name="Slope of the line").focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_selector("[data-stage=failed]", timeout=PATIENCE)
    status = page.locator(".icl-where")
    expect(status).to_have_attribute("role", "status")
    expect(status).to_contain_text(said)
    expect(status).to_contain_text("The faint lines are those of a = 0.50 with 20 examples")
    line = page.locator("[data-stage] .icl-plot path.icl-transformer")
    expect(line).to_have_css("opacity", "0.35")
    expect(page.get_by_role("slider", name="Combination weight")).to_be_visible()
    opened.allow("live/", "404", "net::ERR_FAILED", "ERR_FAILED")

    # What was missing comes back: trying again works.
    page.context.unroute_all()
    if "WebAssembly" not in said:
        page.get_by_role("button", name="Try again").click()
        live(page)
        settled(page)
        assert state(page)["slope"] == pytest.approx(1.05)
        expect(line).to_have_css("opacity", "1")
    opened.allow("live/", "404", "net::ERR_FAILED", "ERR_FAILED")


FAKE_KERNEL = """async ([source, traits]) => {
  // A notebook, not the book: no content_root, and a kernel that answers the widget's messages in their order, when it
  // is not busy with another cell.
  document.body.innerHTML = '<div id="view"></div>';
  delete document.documentElement.dataset.content_root;
  window.asked = [];
  window.kernel = {
    busy: traits.busy, waiting: [],
    rest() { this.busy = false; this.waiting.splice(0).forEach((answer) => answer()); },
  };
  const handlers = [];
  const model = {
    get: (name) => traits[name], set() {}, save_changes() {},
    on: (name, f) => handlers.push([name, f]),
    off: (name, f) => handlers.splice(handlers.findIndex(([n, g]) => n === name && g === f), 1),
    send(...message) {
      const answer = () => model.answer(...message);
      if (kernel.busy) kernel.waiting.push(answer);
      else answer();
    },
    answer(content, callbacks, buffers) {
      const reply = (content, buffers) => setTimeout(() =>
        handlers.filter(([name]) => name === 'msg:custom').forEach(([, f]) => f(content, buffers)), 40);
      if (content.kind === 'ping') { reply({ kind: 'pong', models: traits.models }, []); return; }
      window.asked.push({ ...content, xs: [...new Float64Array(buffers[0])] });
      const line = (value, n) => {
        const bytes = new Uint8Array(8 * n + 1); // at an odd offset, as from a socket
        bytes.set(new Uint8Array(new Float64Array(n).fill(value).buffer), 1);
        return new DataView(bytes.buffer, 1);
      };
      const lines = (...values) => [...values.map((value) => line(value, 97)), line(0.5, 2)];
      reply({ kind: 'curve', id: 'of another view', milliseconds: 1 }, lines(9, 9, 9, 9));
      reply({ kind: 'curve', id: content.id, milliseconds: 1 }, lines(0.25, 0.5, 0.75, 1));
    },
  };
  const module = await import(URL.createObjectURL(new Blob([source], { type: 'text/javascript' })));
  module.default.render({ model, el: document.getElementById('view') });
}"""


def notebook(visit: Open, *, busy: bool = False) -> Page:
    """The explorer as in a notebook, before a kernel that answers at once or is busy with other cells."""
    page: Page = visit("book/licences.html", prepare=lambda page: page.clock.install()).page
    page.set_default_timeout(PATIENCE)
    explorer = ConvexExplorer()
    traits = {
        name: getattr(explorer, name)
        for name in (*RANGES, "model", "models", "bayes", "compact", "key", "first")
    }
    page.evaluate(FAKE_KERNEL, [explorer._esm, traits | {"busy": busy}])
    return page


def test_in_a_notebook_the_kernel_computes(visit: Open) -> None:
    page = notebook(visit)
    live(page)
    expect(page.get_by_text("Computed by the running kernel")).to_be_visible()
    slider = page.get_by_role("slider", name="Combination weight")
    slider.evaluate(
        """(slider) => {
            for (let i = 0; i < 10; i++) {
                slider.stepUp();
                slider.dispatchEvent(new Event('input', { bubbles: true }));
            }
        }"""
    )
    numbers = settled(page)
    assert [numbers[name][0] for name in LINES] == [0.25, 0.5, 0.75, 1.0]
    assert numbers["weight"] == pytest.approx(0.6)
    asked = page.evaluate("window.asked")
    assert asked[-1]["xs"] == numbers["xs"]
    # Of the positions that passed while one was computed, only the newest is asked for.
    assert len(asked) < 5
    assert "?" not in page.url


def test_a_kernel_that_is_busy_is_waited_for(visit: Open) -> None:
    """As after Run All: the cells below run for minutes, and the widget's messages wait for them."""
    page = notebook(visit, busy=True)
    where = page.locator(".icl-where")
    expect(where).to_have_text("Asking the kernel …")
    page.clock.fast_forward("00:04")
    expect(where).to_contain_text("No kernel has answered yet: it is busy, or none is running.")
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("End")
    page.clock.fast_forward("10:00")
    expect(widget(page)).to_have_attribute("data-stage", "loading")
    page.evaluate("kernel.rest()")
    page.clock.fast_forward("00:01")
    live(page)
    expect(page.get_by_text("Computed by the running kernel")).to_be_visible()
    assert settled(page)["weight"] == 1


def test_a_kernel_that_grows_busy_later_is_waited_for(visit: Open) -> None:
    page = notebook(visit)
    page.clock.fast_forward("00:01")
    live(page)
    settled(page)
    page.evaluate("kernel.busy = true")
    page.get_by_role("slider", name="Combination weight").focus()
    page.clock.pause_at(page.evaluate("Date.now() + 1000"))
    page.keyboard.press("End")
    stale = page.locator("[data-stage] > [data-stale]")
    page.clock.run_for(140)
    assert not stale.count()
    page.keyboard.press("ArrowLeft")  # more moves do not put it off
    page.keyboard.press("ArrowRight")
    page.clock.run_for(20)
    assert stale.count()
    page.clock.resume()
    page.clock.fast_forward("05:00")
    note = page.locator(".icl-note")
    expect(note).to_contain_text("The kernel is busy: the lines follow when it answers.")
    expect(widget(page)).to_have_attribute("data-stage", "live")
    page.evaluate("kernel.rest()")
    page.clock.fast_forward("00:01")
    assert settled(page)["weight"] == 1
    expect(note).to_be_empty()
    expect(stale).to_have_count(0)


def test_without_scripts_the_still_figure_says_it_all(visit: Open) -> None:
    page = visit(CHAPTER, javascript=False).page
    still = page.locator(".icl-still")
    expect(still).to_be_visible()
    expect(still.locator("svg[role=img]")).to_have_attribute(
        "aria-label", re.compile("Mean squared errors")
    )
