"""The frequency explorer on the built page: its numbers against torch, its bands, strip, examples and address."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from icl_lib.page import RIGHT, prior_of
from icl_lib.widgets.frequency import COMPUTED, RANGES, answers, describe

from .conftest import DESKTOP, PHONE, SWITCH, Gate, Visit, faults, strike_twice, unrevived

expect.set_options(timeout=30_000)

CHAPTER = "notebooks/frequency_extrapolation.html"
ALONE = "embed/frequency.html"
PATIENCE = 90_000  # milliseconds, for a busy machine
NARROW, GAPPED = "line+sine-0.5-tiny", "line+gapped-0.5-tiny"
WIDE, RARE = "line+wide-0.5-tiny", "fast+line+sine-0.01-tiny"
PLACED = "n=3&pts=p-2_1*p0_-1*p2_0.5"  # three points far apart
Open = Callable[..., Visit]


def state(page: Page) -> dict[str, Any]:
    return page.evaluate("document.querySelector('[data-stage]').icl.state")


def settled(page: Page) -> dict[str, Any]:
    """The explorer's numbers, once they answer what its sliders and points say."""
    page.wait_for_function(
        """() => {
            const { state, numbers } = document.querySelector('[data-stage]').icl;
            return state.stage === 'live' && numbers?.milliseconds && numbers.model === state.model
              && numbers.frequency === state.frequency && numbers.doubt === state.doubt
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


def open_explorer(visit: Open, query: str = "", *, path: str = ALONE, **how: Any) -> Visit:
    """A page, once its explorer stands on it: it alone, since a chapter takes more than twice as long to open."""
    opened = visit(path + query, **how)
    opened.page.set_default_timeout(PATIENCE)
    opened.page.wait_for_selector("[data-stage]")
    return opened


def open_live(visit: Open, query: str = "freq=2.5", **how: Any) -> Page:
    """The explorer, opened by a link to a view, which is live at once."""
    page = open_explorer(visit, f"?{query.replace('+', '%2B')}", **how).page
    settled(page)
    page.locator(".icl-plot").last.scroll_into_view_if_needed()
    return page


def line(page: Page, look: str, where: str = ".icl-plot") -> str:
    """One of the lines as drawn, in the plot or in the strip."""
    path = page.locator(f".icl-frequency[role=group] {where} path.icl-{look}").last
    return path.get_attribute("d") or ""


def frequency_slider(page: Page) -> Any:
    return page.get_by_role("slider", name="Frequency")


def centre(page: Page, index: int) -> tuple[float, float]:
    points = page.locator(".icl-frequency[role=group] .icl-plot .icl-point")
    box = points.nth(index).locator(".icl-dot").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_the_first_picture_needs_no_models_and_the_next_one_fetches_them(visit: Open) -> None:
    opened = open_explorer(visit, path=CHAPTER, size=(1280, 400))
    page = opened.page
    expect(page.locator("[data-stage]")).to_have_attribute("data-stage", "still")
    expect(page.locator(".icl-still")).to_be_hidden()
    assert line(page, "transformer").count("L") == 256
    assert not [name for name in opened.files if name.startswith("live/")]
    gate = Gate()
    gate.across("**/live/*.onnx")(page)
    before = line(page, "transformer")
    frequency_slider(page).focus()
    page.keyboard.press("Home")
    expect(page.locator(".icl-status")).not_to_contain_text("Shown")  # its own picture
    assert line(page, "transformer") != before
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".icl-status")).to_contain_text("Shown: ω = 0.1, of 20")
    gate.open()
    assert settled(page)["frequency"] == 0.14
    expect(page.get_by_text("Computed in your browser")).to_be_visible()


def test_without_scripts_the_still_figure_says_it_all(visit: Open) -> None:
    page = visit(CHAPTER, javascript=False).page
    still = page.locator(".icl-still")
    expect(still).to_be_visible()
    expect(still.locator("svg[role=img]")).to_have_attribute(
        "aria-label",
        re.compile("a sine of .* radians per unit .* Mean squared errors: Transformer"),
    )


@pytest.mark.parametrize(
    "view",
    [
        f"freq=2.5&amp=1.5&phase=0&scale=1&n=20&seed=1&model={NARROW}",
        f"freq=4.5&amp=1.2&phase=0.3&scale=1&n=2&seed=2&model={GAPPED}",
        f"freq=8&amp=0.8&phase=-0.6&scale=1&n=40&seed=3&doubt=1e-6&model={NARROW}",
        f"freq=7.3&amp=1.1&phase=1&scale=1&n=7&seed=4&doubt=0.5&model={RARE}",
        f"freq=18&amp=10&phase=0.1&scale=3&n=40&seed=5&model={RARE}",
        f"freq=0.1&amp=3&phase=0.5&scale=0.33&n=0&seed=6&model={GAPPED}",
        f"freq=3&scale=2&n=12&seed=7&pts=0_4*p0.5_-1.25*p-5.75_2*7_11&model={WIDE}",
    ],
)
def test_the_numbers_on_the_page_are_those_of_torch(visit: Open, view: str) -> None:
    page = open_live(visit, view)
    numbers = settled(page)
    xs, ys, queries = (np.array(numbers[name]) for name in ("xs", "ys", "queries"))
    prior = numbers["model"], numbers["bayes"], RIGHT
    here = answers(*prior, xs, ys, queries, doubt=numbers["doubt"])
    assert numbers["bayes"] == prior_of(numbers["model"])
    size = 1 + np.abs(ys).max(initial=0)
    for name in ("mixture", "right", "probability"):
        assert np.abs(np.array(numbers[name]) - here[name]).max() < 1e-6 * size, name
    apart = np.abs(np.array(numbers["linear"]) - here["linear"]).max()
    assert apart < 1e-6 * max(size, np.abs(here["linear"]).max())
    # Single precision may be 1e-5 off where the model is sensitive, and far from its training data it is.
    found = np.array(numbers["transformer"])
    assert np.abs(found - here["transformer"]).max() < 1e-3 * size
    density = np.exp(-((queries / state(page)["scale"]) ** 2) / 2)
    density /= density.sum()
    for name in COMPUTED:
        error = density @ (here[name] - np.array(numbers["truth"])) ** 2
        assert numbers["errors"][name] == pytest.approx(error, rel=1e-2, abs=1e-8)


def test_the_frequency_slider_moves_the_lines_and_the_strips_mark(visit: Open) -> None:
    page = open_live(visit, f"freq=2.5&n=20&model={NARROW}")
    slider = frequency_slider(page)
    before = {
        look: line(page, look) for look in ("truth", "transformer", "mixture", "linear", "oracle")
    }
    mark = page.locator(".icl-strip .icl-marker")
    stood = mark.get_attribute("x1")
    slider.focus()
    page.keyboard.press("PageUp")
    assert state(page)["frequency"] == 3
    settled(page)
    assert all(line(page, look) != path for look, path in before.items())
    assert mark.get_attribute("x1") != stood
    expect(slider).to_have_attribute(
        "aria-valuetext", "3 radians per unit, inside the training band"
    )
    page.keyboard.press("End")
    assert state(page)["frequency"] == RANGES["frequency"][1]
    expect(slider).to_have_attribute("aria-valuetext", re.compile("20 .* outside"))
    expect(page.locator(".icl-outside")).to_be_visible()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert state(page)["frequency"] == pytest.approx(0.11)
    settled(page)


def test_outside_its_band_bayes_errs_where_bayes_of_the_right_band_does_not(visit: Open) -> None:
    inside = settled(open_live(visit, f"freq=3&n=20&model={NARROW}"))["errors"]
    assert inside["mixture"] < 1e-5 and inside["right"] < 1e-5
    outside = settled(open_live(visit, f"freq=8&n=20&model={NARROW}"))["errors"]
    assert outside["mixture"] > 0.1 and outside["right"] < 1e-5


def test_the_sliders_thumb_stands_above_the_strips_mark(visit: Open) -> None:
    for query in ("freq=0.1", "freq=2.5", "freq=20"):
        page = open_live(visit, query)
        slider = frequency_slider(page).bounding_box()
        mark = page.locator(".icl-strip .icl-marker").bounding_box()
        assert slider is not None and mark is not None
        low, high = RANGES["frequency"]
        share = np.log(state(page)["frequency"] / low) / np.log(high / low)
        thumb = slider["x"] + 10 + share * (slider["width"] - 20)  # the thumb is 20 pixels wide
        assert mark["x"] + mark["width"] / 2 == pytest.approx(thumb, abs=1.5)


def test_the_strip_sets_the_frequency(visit: Open) -> None:
    page = open_live(visit, f"freq=2.5&model={NARROW}")
    strip = page.locator(".icl-strip")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    assert box is not None
    low, high = RANGES["frequency"]
    at = box["x"] + box["width"] * np.log(8 / low) / np.log(high / low)
    page.mouse.click(at, box["y"] + 40)
    assert state(page)["frequency"] == pytest.approx(8, rel=0.02)
    page.mouse.move(at, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(at - 120, box["y"] + 60, steps=6)
    page.mouse.up()
    assert state(page)["frequency"] < 7
    assert settled(page)["frequency"] == state(page)["frequency"]


def test_another_model_changes_band_strip_and_answer(visit: Open) -> None:
    page = open_live(visit, f"freq=3&n=20&model={NARROW}")
    before = settled(page)
    strip, shade = line(page, "transformer", ".icl-strip"), "input => input.style.cssText"
    assert strip
    track = frequency_slider(page).evaluate(shade)
    expect(page.locator(".icl-strip rect")).to_have_count(1)
    page.get_by_label("Transformer pretrained on").select_option(GAPPED)
    after = settled(page)
    expect(page.locator(".icl-strip rect")).to_have_count(2)
    assert frequency_slider(page).evaluate(shade) != track
    assert line(page, "transformer", ".icl-strip") != strip
    assert before["transformer"] != after["transformer"]
    assert after["errors"]["mixture"] > 100 * before["errors"]["mixture"]  # 3 lies in the gap
    assert len(after["probability"]) == 4  # and a doubt
    expect(page.get_by_text("trained on 1 to 2 and 4 to 5")).to_be_visible()
    expect(page.get_by_text("P(4 to 5)")).to_be_visible()


def test_the_tour_moves_model_and_frequency(visit: Open) -> None:
    page = open_live(visit, "tour=4")
    assert (state(page)["frequency"], state(page)["doubt"]) == (10, 1e-6)
    page.get_by_role("button", name="Give it a wider band").click()
    expect(page.get_by_role("group", name="Tour")).to_contain_text("5 of 6 A transformer")
    assert settled(page)["model"] == WIDE
    expect(page.get_by_text("trained on 1 to 10")).to_be_visible()
    page.get_by_role("button", name="Back", exact=True).click()
    assert settled(page)["model"] == NARROW
    page.get_by_role("button", name="Reset").click()
    expect(page.get_by_role("group", name="Tour")).to_be_hidden()


def test_rare_frequencies_are_shaded_faintly(visit: Open) -> None:
    page = open_live(visit, f"freq=7&model={RARE}")
    expect(page.locator(".icl-strip rect.icl-rare")).to_have_count(1)
    expect(page.locator(".icl-outside")).to_have_text("rare in training")


def test_the_strips_dot_lies_on_the_transformers_curve(visit: Open) -> None:
    page = open_live(visit, f"freq=1&n=20&model={NARROW}")
    dot = page.locator(".icl-strip .icl-here")
    expect(dot).to_be_visible()
    path = line(page, "transformer", ".icl-strip")
    points = np.array([[float(part) for part in pair.split()] for pair in path[1:].split("L")])
    x, y = (float((dot.get_attribute(name) or "")[:-1]) for name in ("cx", "cy"))
    assert y == pytest.approx(np.interp(6 * x, points[:, 0], points[:, 1]) / 4, abs=0.2)
    drawn = line(page, "transformer", ".icl-strip")
    page.get_by_role("slider", name="In-context examples").focus()
    page.keyboard.press("End")
    assert line(page, "transformer", ".icl-strip") != drawn  # the curve of 40 examples
    expect(page.locator(".icl-strip-figure p")).to_contain_text("40 examples")


def test_the_scale_stretches_the_inputs_and_the_plot(visit: Open) -> None:
    page = open_live(visit, "freq=2.5&scale=1&n=12")
    before = state(page)["prompt"]
    page.get_by_role("slider", name="Scale of the inputs").focus()
    page.keyboard.press("End")
    after = state(page)["prompt"]
    assert [x for x, _ in after] == pytest.approx([3 * x for x, _ in before])
    assert settled(page)["queries"][-1] == 9
    expect(page.locator(".icl-plot").last).to_have_attribute(
        "aria-label", "Curves over x from −9 to 9"
    )
    page.keyboard.press("Home")
    assert settled(page)["queries"][-1] == 3


def test_an_example_by_mouse_and_by_keyboard(visit: Open) -> None:
    page = open_live(visit, PLACED)
    drawn = line(page, "transformer")
    x, y = centre(page, 1)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y - 60, steps=6)
    page.mouse.up()
    moved = state(page)["prompt"]
    assert (moved[0], moved[2]) == ([-2, 1], [2, 0.5])
    assert moved[1][0] > 0.3 and moved[1][1] > -0.7
    settled(page)
    assert line(page, "transformer") != drawn
    points = page.locator(".icl-frequency[role=group] .icl-plot .icl-point")
    points.first.focus()
    page.keyboard.press("ArrowRight")
    assert state(page)["prompt"][0] == pytest.approx([-1.95, 1])
    page.keyboard.press("Delete")
    assert len(state(page)["prompt"]) == 2
    page.get_by_role("button", name="Add example").click()
    assert len(settled(page)["xs"]) == 3
    page.get_by_role("button", name="Put examples back").click()
    assert state(page)["examples"] is None


def test_touch_drags_an_example_and_taps_the_strip(visit: Open) -> None:
    page = open_live(visit, PLACED, size=PHONE, touch=True)
    finger = page.context.new_cdp_session(page)

    def touch(kind: str, *points: tuple[float, float]) -> None:
        at = [{"x": x, "y": y} for x, y in points]
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": at})

    x, y = centre(page, 1)
    touch("touchStart", (x + 5, y + 5))
    for step in range(1, 6):
        touch("touchMove", (x + 5 + 8 * step, y + 5 - 8 * step))
    touch("touchEnd")
    assert state(page)["prompt"][1][0] > 0.3
    strip = page.locator(".icl-strip")
    strip.scroll_into_view_if_needed()
    box = strip.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] - 2, box["y"] + 30)
    assert state(page)["frequency"] > 19
    settled(page)


def test_a_view_travels_by_its_link(visit: Open) -> None:
    page = open_live(visit, "freq=2.5&n=6&seed=3")
    frequency_slider(page).focus()
    page.keyboard.press("ArrowRight")
    page.get_by_role("slider", name="Amplitude").focus()
    page.keyboard.press("End")
    page.get_by_role("checkbox", name="Bayes, right band").uncheck()
    strike_twice(page, *centre(page, 5))
    page.get_by_label("Transformer pretrained on").select_option(RARE)
    wanted, numbers = state(page), settled(page)
    page.wait_for_url(lambda url: "rare" in url or "fast" in url)
    page.wait_for_timeout(400)
    other = open_live(visit, urlsplit(page.url).query)
    restored = state(other)
    keys = (*RANGES, "model", "hidden", "prompt")
    assert {key: restored[key] for key in keys} == {key: wanted[key] for key in keys}
    assert settled(other)["transformer"] == numbers["transformer"]
    assert not other.get_by_role("checkbox", name="Bayes, right band").is_checked()
    other.get_by_role("button", name="Reset").click()
    other.wait_for_url(lambda url: "freq=" not in url)


@pytest.mark.parametrize("query", ["freq=21", "scale=x", "model=gpt", "pts=p10_0"])
def test_a_broken_link_is_said_to_be_one(visit: Open, query: str) -> None:
    page = open_live(visit, query)
    expect(page.get_by_text("could not be read in full", exact=False)).to_contain_text(
        query.split("=")[0]
    )


def test_play_goes_by_steps_for_who_wants_little_motion(visit: Open) -> None:
    page = open_live(visit, "freq=2.5")
    # Looked at and stopped within the page: a busy machine may let a second pass between two commands.
    seen = page.evaluate(
        """async () => {
          const { icl } = document.querySelector('[data-stage]');
          const button = () => document.querySelector('[data-stage] .icl-play');
          const seen = [icl.state.frequency];
          button().click();
          while (seen.length < 4) {
            await new Promise(requestAnimationFrame);
            if (icl.state.frequency !== seen.at(-1)) seen.push(icl.state.frequency);
          }
          button().click();
          return seen;
        }"""
    )
    low, high = RANGES["frequency"]  # in tenths of the way, on a logarithmic scale
    assert np.diff(np.log(seen)) == pytest.approx(np.log(high / low) / 10, abs=0.02)
    page.wait_for_timeout(1300)
    assert state(page)["frequency"] == seen[-1]


def test_a_new_draw_keeps_the_frequency(visit: Open) -> None:
    page = open_live(visit, "freq=7&amp=9.95")
    before = state(page)
    page.get_by_role("button", name="New draw").click()
    after = state(page)
    assert after["frequency"] == 7
    assert after["amplitude"] != before["amplitude"] and after["prompt"] != before["prompt"]
    settled(page)


def test_the_numbers_can_be_taken_home(visit: Open) -> None:
    page = open_live(visit)
    numbers = settled(page)
    page.get_by_text("The numbers", exact=True).click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Curves as CSV").click()
    text = download.value.path().read_text().splitlines()
    assert text[0] == "x,truth,transformer,mixture,linear,right"
    table = np.array([[float(value) for value in row.split(",")] for row in text[1:]])
    assert np.array_equal(table[:, 5], numbers["right"])


def test_an_answer_comes_while_a_slider_moves(visit: Open) -> None:
    """Forty examples: the runtime's own time, the best of several answers, on whatever else the machine does."""
    page = open_live(visit, f"freq=2.5&n=40&model={NARROW}")
    page.evaluate(
        """() => { const el = document.querySelector('[data-stage]'); window.took = [];
             el.addEventListener('icl-drawn', () => window.took.push(el.icl.numbers.milliseconds)); }"""
    )
    frequency_slider(page).focus()
    for _ in range(15):
        page.keyboard.press("ArrowRight")
        settled(page)
    took = page.evaluate("window.took")
    print(f"an answer takes {min(took):.0f} ms at best, {np.median(took):.0f} ms in the median")
    assert min(took) < 100


def test_a_missing_predictor_is_named_and_can_be_asked_for_again(visit: Open) -> None:
    broken = True

    def stop(route: Route) -> None:
        if broken:
            route.fulfill(status=404, body="")
        else:
            route.continue_()

    opened = open_explorer(
        visit,
        whole=False,
        prepare=lambda page: page.route("**/bands-right.*.onnx", stop),
    )
    page = opened.page
    frequency_slider(page).focus()
    page.wait_for_selector("[data-stage=failed]", timeout=PATIENCE)
    expect(page.locator(".icl-where")).to_contain_text("Bayes predictor (right) is missing")
    assert line(page, "transformer")  # the first picture's stay
    opened.allow("404")
    broken = False
    page.get_by_role("button", name="Try again").click()
    settled(page)


def test_a_phone_shows_it_whole(visit: Open) -> None:
    page = open_live(visit, size=PHONE)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE[0]


@pytest.mark.parametrize("size", [DESKTOP, PHONE])
def test_the_still_figure_keeps_the_widgets_room(visit: Open, size: tuple[int, int]) -> None:
    page = visit(CHAPTER, size=size, prepare=unrevived).page
    page.set_default_timeout(PATIENCE)
    page.wait_for_function("document.fonts.status === 'loaded'")
    height = "document.documentElement.scrollHeight"
    still = page.evaluate(height)
    page.evaluate("revive()")
    page.wait_for_selector("[data-stage]")
    assert page.evaluate(height) == pytest.approx(still, abs=40)  # the outputs' own margins
    alone = page.evaluate(height)
    frequency_slider(page).focus()
    settled(page)
    assert page.evaluate(height) == pytest.approx(alone, abs=2)


def test_axe_finds_nothing_in_the_live_explorer(visit: Open) -> None:
    page = open_live(visit, PLACED)
    page.get_by_text("The numbers", exact=True).click()
    for theme in ("light", "dark"):
        page.evaluate(SWITCH, theme)
        assert faults(page, ".icl-frequency") == [], theme


def test_every_model_on_offer_is_in_the_book(visit: Open) -> None:
    page = open_explorer(visit).page
    manifest = page.evaluate("fetch('../live/manifest.json').then((r) => r.json())")
    chooser = page.get_by_label("Transformer pretrained on")
    offered = chooser.locator("option").evaluate_all("options => options.map((o) => o.value)")
    assert set(offered) >= {NARROW, GAPPED, WIDE, RARE}
    assert set(offered) <= set(manifest["models"])
    assert {describe(name)["prior"] for name in offered} <= set(manifest["bands"])
