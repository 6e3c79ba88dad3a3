"""The explorers alone, on pages of their own and within other pages."""

import html
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page, expect

from .conftest import Visit
from .test_combinations import CHAPTER, PATIENCE, Open, live, open_live, settled, state

expect.set_options(timeout=30_000)

OWN = {"combinations": "Between a line", "frequency": "Out of the band", "selection": "Which class"}


def open_alone(visit: Open, name: str, query: str = "", **how: object) -> Visit:
    opened = visit(f"embed/{name}.html{query}", **how)
    opened.page.set_default_timeout(PATIENCE)
    opened.page.wait_for_selector("[data-stage]")
    return opened


@pytest.mark.parametrize("name", OWN)
def test_it_needs_itself_and_the_engine_and_nothing_of_the_theme(visit: Open, name: str) -> None:
    opened = open_alone(visit, name)
    page = opened.page
    expect(page.locator(".icl-still")).to_be_hidden()
    expect(page.get_by_role("link", name=OWN[name])).to_be_visible()
    expect(page.locator("nav, header, aside, footer")).to_have_count(0)
    own = {f"embed/{name}.html", f"embed/{name}.js"}
    assert set(opened.files) - {"_static/favicon.svg"} == own
    page.get_by_role("slider").first.focus()
    page.keyboard.press("ArrowRight")
    live(page)
    assert all(
        file in own or file.startswith(("live/", "_static/favicon")) for file in opened.files
    )
    assert "live/engine.js" in opened.files


def test_the_line_to_copy_shows_this_very_view_within_another_page(visit: Open) -> None:
    page = open_live(visit, "a=0.3&n=6&seed=3&pts=0_4*p0.5_-1.25&doubt=1e-6", path=CHAPTER)
    page.get_by_role("checkbox", name="Oracle").uncheck()
    wanted, numbers = state(page), settled(page)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Embed").click()
    line = page.get_by_label("The line of HTML").input_value()
    assert page.evaluate("navigator.clipboard.readText()") == line

    other: Page = visit("book/licences.html").page
    other.evaluate("line => { document.body.innerHTML = line; }", line)
    expect(other.frame_locator("iframe").locator("[data-stage=live]")).to_be_visible()
    frame = other.frames[1]
    assert urlsplit(frame.url).path.endswith("/embed/combinations.html")
    assert html.unescape(re.findall('src="([^"]*)"', line)[0]) == frame.url
    keys = ("weight", "seed", "doubt", "model", "hidden", "prompt", "frequency")
    restored = frame.evaluate("document.querySelector('[data-stage]').icl.state")
    assert {key: restored[key] for key in keys} == {key: wanted[key] for key in keys}
    found = frame.evaluate("[...document.querySelector('[data-stage]').icl.numbers.transformer]")
    assert found == numbers["transformer"]


def test_it_leads_back_to_the_same_view_in_the_book(visit: Open) -> None:
    page = open_alone(visit, "combinations", "?a=0.3").page
    page.get_by_role("slider", name="Combination weight").focus()
    page.keyboard.press("ArrowRight")
    link = page.get_by_role("link", name="Open in the book")
    page.evaluate("addEventListener('click', (event) => event.preventDefault())")
    link.click()
    target = urlsplit(link.get_attribute("href") or "")
    assert target.path.endswith("/notebooks/convex_combinations.html")
    assert parse_qs(target.query)["a"] == ["0.31"]


def test_it_is_light_or_dark_as_the_reader_prefers(visit: Open) -> None:
    page = open_alone(visit, "frequency").page
    lightness = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for part in ("body", "[data-stage] .icl-widget"):
            colour = page.locator(part).evaluate("one => getComputedStyle(one).backgroundColor")
            parts = [float(number) for number in re.findall(r"[\d.]+", colour)[:3]]
            lightness[scheme, part] = sum(parts) / 765
    assert min(v for (scheme, _), v in lightness.items() if scheme == "light") > 0.9
    assert max(v for (scheme, _), v in lightness.items() if scheme == "dark") < 0.2


def test_on_the_landing_page_the_line_says_what_is_hidden(visit: Open) -> None:
    page = visit("book/intro.html").page
    page.wait_for_selector("[data-stage]")
    page.get_by_role("button", name="Embed").click()
    assert "hide=oracle" in page.get_by_label("The line of HTML").input_value()


def test_without_scripts_the_still_figure_stands_there(visit: Open) -> None:
    page = visit("embed/selection.html", javascript=False).page
    expect(page.locator(".icl-still svg[role=img]")).to_be_visible()
