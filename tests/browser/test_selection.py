"""The selection explorer on the built page: its numbers against torch, its sliders, its address, its failures."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from playwright.sync_api import Page, Route, expect

from icl_lib.weights import FOLDER
from icl_lib.widgets import SelectionExplorer
from icl_lib.widgets.selection import DIMS, LINES, PROMPTS, answers, draw_batch, models_of, summary

from .conftest import PHONE, Gate, Visit

expect.set_options(timeout=30_000)

CHAPTER = "notebooks/model_selection.html"
ALONE = "embed/selection.html"
PATIENCE = 90_000  # milliseconds, for a busy machine
Open = Callable[..., Visit]


def state(page: Page) -> dict[str, Any]:
    return page.evaluate("document.querySelector('[data-stage]').icl.state")


def settled(page: Page) -> dict[str, Any]:
    """The explorer's numbers, once the whole batch answers what its sliders say."""
    page.wait_for_function(
        f"""() => {{
            const {{ state, numbers }} = document.querySelector('[data-stage]').icl;
            return state.stage === 'live' && numbers && numbers.count === {PROMPTS}
              && numbers.model === state.model && numbers.nnz === state.nnz && numbers.seed === state.seed;
        }}""",
        timeout=PATIENCE,
    )
    return page.evaluate("document.querySelector('[data-stage]').icl.numbers")


def open_explorer(visit: Open, query: str = "", *, path: str = ALONE, **how: Any) -> Visit:
    """A page, once its explorer stands on it: it alone, since a chapter takes more than twice as long to open."""
    opened = visit(path + query, **how)
    opened.page.set_default_timeout(PATIENCE)
    opened.page.wait_for_selector("[data-stage]")
    return opened


def open_live(visit: Open, query: str = "?n=10", **how: Any) -> Page:
    """The explorer, opened by a link to a view, which is live at once."""
    page = open_explorer(visit, query, **how).page
    settled(page)
    return page


def test_the_first_picture_needs_neither_scripts_nor_models(visit: Open) -> None:
    page = visit(CHAPTER, javascript=False).page
    still = page.locator(".icl-still")
    expect(still).to_be_visible()
    expect(still.locator("svg[role=img]")).to_have_attribute(
        "aria-label", re.compile("Mean squared errors after 10 examples")
    )
    expect(still.locator(".icl-plot path.icl-line")).to_have_count(6)


def test_the_widget_takes_the_stills_place_and_asks_for_nothing(visit: Open) -> None:
    opened = open_explorer(visit, path=CHAPTER, size=(1280, 500))
    page = opened.page
    expect(page.locator("[data-stage]")).to_have_attribute("data-stage", "still")
    expect(page.locator(".icl-still")).to_be_hidden()
    drawn = page.locator(".icl-selection[role=group] .icl-plot path.icl-transformer")
    assert len(drawn.first.get_attribute("d") or "") > 200
    assert not [name for name in opened.files if name.startswith("live/")]


def test_what_is_shown_until_an_answer_comes_says_of_what_it_is(visit: Open) -> None:
    gate = Gate()
    page = open_explorer(visit, prepare=gate.across("**/live/*.onnx")).page
    plot = page.locator("[data-stage] .icl-plot path.icl-oracle")
    before = plot.get_attribute("d")
    page.get_by_role("slider", name="Nonzero coefficients").focus()
    page.keyboard.press("End")
    assert plot.get_attribute("d") != before
    numbers = page.evaluate("document.querySelector('[data-stage]').icl.numbers")
    assert (numbers["nnz"], numbers["count"]) == (20, PROMPTS)
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".icl-status")).to_contain_text("Shown: 20 nonzero, computed beforehand.")
    # Another model's numbers were not computed: the old ones keep their label, and are dimmed.
    page.get_by_role("slider", name="Share of dense functions").focus()
    page.keyboard.press("End")
    row = page.locator("[data-stage] .icl-legend tr").first
    expect(row.locator("td > span")).to_have_css("opacity", "0.35")
    expect(row).to_contain_text("short, 50% dense")
    gate.open()
    assert settled(page)["model"] == "dense-short"
    expect(row).to_contain_text("short, 100% dense")
    expect(row.locator("td > span")).to_have_css("opacity", "1")


@pytest.mark.parametrize(
    ("size", "share", "nnz", "seed"),
    [
        ("tiny", 0.01, 2, 1),
        ("tiny", 1.0, 7, 5),
        ("short", 0.5, 20, 3),
        ("short", 0.0, 1, 9),
        ("slim", 0.5, 2, 3),
    ],
)
def test_its_numbers_are_torchs(visit: Open, size: str, share: float, nnz: int, seed: int) -> None:
    page = open_live(visit, f"?size={size}&p={share:g}&k={nnz}&seed={seed}")
    found = settled(page)
    xs, ys = draw_batch(seed, nnz, dim=DIMS[size])
    drawn = page.evaluate("document.querySelector('[data-stage]').icl.prompts")
    assert np.abs(np.array(drawn["xs"]) - xs.ravel()).max() < 1e-12
    assert np.abs(np.array(drawn["ys"]) - ys.ravel()).max() < 1e-12
    posterior = SelectionExplorer(size=size, share=share).bayes[size]
    expected = summary(ys, answers(dict(models_of(size))[share], posterior, share, xs, ys))
    for name in LINES:
        one, other = (np.array(table["errors"][name]) for table in (found, expected))
        assert np.abs(one - other).max() < 1e-3 * (1 + np.abs(other).max()), name
    assert np.abs(np.array(found["belief"]) - expected["belief"]).max() < 1e-5
    for one, other in zip(found["blend"], expected["blend"], strict=True):
        if other is not None:
            assert one == pytest.approx(other, abs=0.02)


def test_the_nonzeros_slider_draws_other_functions_of_the_same_inputs(visit: Open) -> None:
    page = open_live(visit, "?k=2&n=10")
    before = settled(page)
    slider = page.get_by_role("slider", name="Nonzero coefficients")
    slider.focus()
    page.keyboard.press("ArrowRight")
    after = settled(page)
    assert state(page)["nnz"] == 3
    assert after["errors"]["sparse"][20] > 10 * max(before["errors"]["sparse"][20], 1e-6)
    page.wait_for_function("new URLSearchParams(location.search).get('k') === '3'")


def test_the_share_slider_picks_the_model(visit: Open) -> None:
    page = open_live(visit, "?size=tiny&p=0.5&k=2")
    page.get_by_role("slider", name="Share of dense functions").focus()
    page.keyboard.press("End")
    after = settled(page)
    assert after["model"] == "dense-tiny"
    assert after["belief"] == pytest.approx([1.0] * 41)
    expect(page.locator(".icl-legend").last).to_contain_text("prior: 100% dense")
    page.keyboard.press("Home")
    assert settled(page)["model"] == "sparse-tiny"


def test_the_examples_slider_and_the_plot_read_the_numbers(visit: Open) -> None:
    page = open_live(visit, "?k=2&n=10")
    settled(page)
    page.evaluate(
        """() => {
          window.answers = 0;
          const count = () => { window.answers += 1; };
          document.querySelector('[data-stage]').addEventListener('icl-drawn', count, true);
        }"""
    )
    page.get_by_role("slider", name="In-context examples").focus()
    page.keyboard.press("Home")
    expect(page.locator("caption").last).to_have_text("Mean squared error after 0 examples")
    plot = page.locator(".icl-selection[role=group] .icl-plot").first
    plot.scroll_into_view_if_needed()
    box = plot.bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + box["width"] * 30.5 / 41, box["y"] + 50)
    assert state(page)["n_examples"] == 30
    page.wait_for_timeout(1000)  # four times as long as a batch takes
    assert page.evaluate("window.answers") == 0  # nothing was computed anew


def test_a_shared_link_opens_the_same_view(visit: Open) -> None:
    page = open_live(visit, "?size=tiny&p=0.99&k=4&n=7&seed=42")
    page.get_by_role("button", name="New prompts").click()
    page.wait_for_function("new URLSearchParams(location.search).get('seed') !== '42'")
    numbers = settled(page)
    query = urlsplit(page.url).query
    assert {key: value[0] for key, value in parse_qs(query).items()} | {"seed": ""} == {
        "size": "tiny",
        "p": "0.99",
        "k": "4",
        "n": "7",
        "seed": "",
    }
    again = open_live(visit, f"?{query}")
    assert settled(again)["errors"] == numbers["errors"]


def test_a_link_that_cannot_be_read_says_so(visit: Open) -> None:
    page = open_explorer(visit, "?p=0.3&k=99&n=x").page
    expect(page.locator(".icl-note").last).to_contain_text("could not be read in full (p, k, n)")


def test_the_other_size_keeps_the_nearest_share(visit: Open) -> None:
    page = open_live(visit, "?size=tiny&p=0.9&k=2")
    page.get_by_label("Size of the transformer").select_option("short")
    assert settled(page)["model"] == "dense-short"
    page.get_by_role("button", name="Reset").click()
    assert settled(page)["model"] == "dense+sparse-0.5-short"
    assert "?" not in page.url


def test_a_size_of_fewer_dimensions_keeps_the_view_in_proportion(visit: Open) -> None:
    page = open_live(visit, "?k=20&n=10")
    sizes = page.get_by_label("Size of the transformer")
    sizes.select_option("slim")
    assert settled(page)["model"] == "dense8+sparse8-0.5-slim"
    assert {name: state(page)[name] for name in ("nnz", "n_examples")} == {
        "nnz": 8,
        "n_examples": 4,
    }
    ends = page.locator(".icl-selection[role=group] .icl-plot").first.locator(".icl-grid text")
    assert ends.all_text_contents() == ["0", "4", "8", "12", "16"]
    for name in ("Nonzero coefficients", "In-context examples"):
        slider = page.get_by_role("slider", name=name)
        slider.focus()
        page.keyboard.press("End")
    settled(page)
    assert {name: state(page)[name] for name in ("nnz", "n_examples")} == {
        "nnz": 8,
        "n_examples": 16,
    }
    page.wait_for_function("new URLSearchParams(location.search).get('n') === '16'")
    page.reload()
    page.wait_for_selector("[data-stage]")
    assert len(settled(page)["belief"]) == 17
    page.get_by_label("Size of the transformer").select_option("tiny")
    assert len(settled(page)["belief"]) == 41
    assert {name: state(page)[name] for name in ("nnz", "n_examples")} == {
        "nnz": 20,
        "n_examples": 40,
    }
    page.get_by_role("button", name="Reset").click()
    assert settled(page)["model"] == "dense+sparse-0.5-short"
    assert "?" not in page.url


def test_the_tour_ends_in_other_dimensions(visit: Open) -> None:
    page = open_live(visit, "?tour=5")
    assert {name: state(page)[name] for name in ("nnz", "n_examples")} == {
        "nnz": 20,
        "n_examples": 20,
    }
    page.get_by_role("button", name="Now in eight dimensions").click()
    assert settled(page)["model"] == "dense8+sparse8-0.5-slim"
    expect(page.get_by_role("group", name="Tour")).to_contain_text("6 of 6 In eight dimensions")
    expect(page.locator("caption").last).to_have_text("Mean squared error after 6 examples")
    page.wait_for_url("**tour=6**")


def test_a_missing_model_is_named_and_can_be_asked_for_again(visit: Open) -> None:
    broken = True

    def stop(route: Route) -> None:
        if broken:
            route.fulfill(status=404, body="")
        else:
            route.continue_()

    opened = open_explorer(
        visit,
        "?size=tiny&p=0.5",
        whole=False,
        prepare=lambda page: page.route("**/dense-sparse-0.5-tiny.*.safetensors", stop),
    )
    page = opened.page
    page.wait_for_selector("[data-stage=failed]", timeout=PATIENCE)
    expect(page.locator(".icl-where")).to_contain_text("dense+sparse-0.5-tiny is missing")
    opened.allow("404")
    broken = False
    page.get_by_role("button", name="Try again").click()
    assert settled(page)["model"] == "dense+sparse-0.5-tiny"


def test_a_phone_moves_the_sliders(visit: Open) -> None:
    page = open_live(visit, "?k=2&n=10", size=PHONE, touch=True)
    slider = page.get_by_role("slider", name="Nonzero coefficients")
    slider.scroll_into_view_if_needed()
    box = slider.bounding_box()
    assert box is not None
    page.touchscreen.tap(box["x"] + box["width"] * 0.9, box["y"] + box["height"] / 2)
    settled(page)
    assert state(page)["nnz"] > 15


def test_the_table_holds_what_is_drawn(visit: Open) -> None:
    page = open_live(visit, "?k=2&n=10")
    numbers = settled(page)
    page.get_by_text("The numbers", exact=True).click()
    row = page.locator(".icl-numbers tbody tr").nth(10)
    expect(row.locator("td").first).to_have_text("10")
    cells = row.locator("td").all_inner_texts()
    assert float(cells[1]) == pytest.approx(numbers["errors"]["transformer"][10], abs=1e-4)


def test_every_model_on_offer_is_in_the_book(visit: Open) -> None:
    page = open_explorer(visit).page
    manifest = page.evaluate("fetch('../live/manifest.json').then((r) => r.json())")
    offered = [name for models in SelectionExplorer().models.values() for _, name in models]
    assert len(offered) == 17
    assert set(offered) <= set(manifest["models"])


FORGET = """() => new Promise((resolve) => {
  const request = indexedDB.deleteDatabase('beyond-the-mixture');
  request.onsuccess = request.onerror = request.onblocked = resolve;
})"""


def test_a_models_file_is_opened_and_kept_and_one_of_other_functions_refused(visit: Open) -> None:
    page = open_live(visit, "?size=tiny&p=0.5&k=2&n=10&seed=4")
    try:
        chooser = page.locator("input[type=file]")
        chooser.set_input_files(FOLDER / "line-tiny.safetensors")
        expect(page.locator(".icl-note")).to_contain_text("64 × 20, and is F16 of shape 64 × 1")
        chooser.set_input_files(FOLDER / "dense8+sparse8-0.5-slim.safetensors")
        expect(page.locator(".icl-note")).to_have_text("")
        expect(page.get_by_label("Size of the transformer")).to_have_value("yours")
        expect(page.get_by_role("slider", name="in exact Bayes’ prior")).to_be_visible()
        page.wait_for_function(
            "new URLSearchParams(location.search).get('size') === 'yours'"
            " && document.querySelector('[data-stage]').icl.state.model === 'yours-linear'"
        )
        xs, ys = draw_batch(4, 2, dim=8)
        here = summary(ys, answers("dense8+sparse8-0.5-slim", "dense8+sparse8", 0.5, xs, ys))
        found = settled(page)
        page = open_explorer(visit, "?size=yours&seed=4&k=2").page
        page.wait_for_function(
            "document.querySelector('[data-stage]').icl.state.model === 'yours-linear'"
        )
        for table in (found, settled(page)):
            for name in LINES:
                one, other = (np.array(of["errors"][name]) for of in (table, here))
                assert np.abs(one - other).max() < 1e-3, name
    finally:
        visit("search.html").page.evaluate(FORGET)
