"""Every page of the built site is whole, asks no other host, is accessible and fits a phone."""

import re
from collections.abc import Callable, Iterator
from functools import cache
from urllib.parse import unquote, urldefrag, urlsplit
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

from book._ext.repository import repository
from icl_lib import available

from .conftest import DESKTOP, PHONE, REPOSITORY, SITE, SWITCH, Visit, faults

FIRST_LOAD_LIMIT = 500_000  # bytes, gzip

PAGES = sorted(
    str(file.relative_to(SITE))
    for file in SITE.rglob("*.html")
    if not file.relative_to(SITE).parts[0].startswith("_")
    and file not in (SITE / "index.html", SITE / "404.html")
)
every_page = pytest.mark.parametrize("path", PAGES)


@cache
def parsed(path: str) -> BeautifulSoup:
    """Return the tree of a page."""
    return BeautifulSoup((SITE / path).read_text(encoding="utf-8"), "html.parser")


@cache
def places(path: str) -> set[str]:
    """What a link into a page may name."""
    return {str(tag["id"]) for tag in parsed(path).find_all(id=True)}


def sheet(path: str) -> str:
    """The one style sheet of a page that is not its own."""
    (link,) = parsed(path).select("link[rel=stylesheet]")
    return (SITE / path).parent.joinpath(str(link["href"])).read_text(encoding="utf-8")


def test_the_site_has_pages() -> None:
    assert "book/intro.html" in PAGES
    assert "search.html" in PAGES


def test_the_root_leads_to_the_first_page(visit: Callable[..., Visit]) -> None:
    opened = visit("")
    opened.page.wait_for_url(opened.root + "book/intro.html")


def test_a_page_has_a_title_a_language_and_one_heading() -> None:
    for path in PAGES:
        page = parsed(path)
        assert page.title is not None, path
        assert page.title.get_text(strip=True), path
        assert page.html is not None, path
        assert page.html.get("lang") == "en", path
        assert len(page.select("h1")) == 1, path


def targets(path: str) -> list[str]:
    """Return what a page links to or loads on the site itself."""
    page = parsed(path)
    found = [
        str(tag[attribute])
        for attribute in ("href", "src")
        for tag in page.find_all(attrs={attribute: True})
    ]
    return [
        target for target in found if not urlsplit(target).scheme and not target.startswith("//")
    ]


def broken_links(path: str) -> Iterator[str]:
    """What a page links to on the site that is not there."""
    for target in targets(path):
        name, fragment = urldefrag(target)
        assert not name.startswith("/"), f"{path}: {target} would leave the sub-path"
        relative = unquote(urlsplit(name).path)
        file = (SITE / path).parent / relative if relative else SITE / path
        if file.is_dir():
            file = file / "index.html"
        if not file.is_file():
            yield target
            continue
        there = str(file.resolve().relative_to(SITE.resolve()))
        if fragment and file.suffix == ".html" and unquote(fragment) not in places(there):
            yield target


def test_internal_links_resolve() -> None:
    broken = {path: list(broken_links(path)) for path in PAGES}
    assert not {path: links for path, links in broken.items() if links}


BEYOND = """limit => [...document.querySelectorAll('main *')]
    .filter(e => e.getBoundingClientRect().right > limit + 1)
    .filter(e => !e.closest('[aria-hidden=true]'))
    .slice(0, 5).map(e => e.tagName + '.' + e.className)"""


@every_page
def test_a_page_keeps_to_its_own_host_is_accessible_in_both_themes_and_has_its_size(
    path: str, visit: Callable[..., Visit], record_property: Callable[[str, object], None]
) -> None:
    opened = visit(path, size=PHONE, fresh=True)
    record_property("first load", f"{opened.transferred / 1e6:7.2f} MB  {path}")
    assert opened.transferred < FIRST_LOAD_LIMIT
    page = opened.page
    for size in (PHONE, DESKTOP):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        for theme in ("light", "dark"):
            page.evaluate(SWITCH, theme)
            width = page.evaluate("document.documentElement.scrollWidth")
            assert width <= size[0], (theme, page.evaluate(BEYOND, size[0]))
            if size == PHONE:  # a figure's panels stand one below the other, and no box scrolls
                assert not page.locator(".icl-figure-box:has(+ .icl-figure-narrow):visible").count()
            else:
                assert not page.locator(".icl-figure-narrow:visible").count()
            assert faults(page) == [], (theme, size)
    if path.startswith("notebooks/"):  # a chapter is not longer than ten screens
        page.set_viewport_size({"width": 1440, "height": 900})
        # Once fonts are there and widgets have taken the still figures' place.
        page.wait_for_function("document.documentElement.scrollHeight <= 9000")
    # Down to the end, so that what loads as the reader reaches it is loaded too.
    page.mouse.wheel(0, 100_000)
    page.wait_for_load_state("networkidle")


def test_formulas_are_set_beforehand() -> None:
    paths = [path for path in PAGES if 'class="math' in (SITE / path).read_text(encoding="utf-8")]
    assert paths
    for path in paths:
        formulas = parsed(path).select(".math")
        assert formulas, path
        assert all(formula.select(".katex") for formula in formulas), path
        assert not parsed(path).select(".katex-error"), path
        assert ".katex" in sheet(path), path


def test_a_formula_is_seen_without_scripts(visit: Callable[..., Visit]) -> None:
    page = visit("notebooks/setting.html", javascript=False).page
    box = page.locator(".katex-html").first.bounding_box()
    assert box is not None
    assert box["width"] > 0


def test_what_is_not_there_leads_back(visit: Callable[..., Visit]) -> None:
    opened = visit("book/of/sand.html")
    opened.allow("404")
    page = opened.page
    assert page.get_by_role("heading").inner_text() == "There is no such page."
    assert faults(page) == []
    assert page.get_by_role("link").get_attribute("href") == (
        "/" if SETTING is None else SETTING.site
    )


def test_the_page_of_models_has_them_all() -> None:
    rows = parsed("book/models.html").select("table.icl-models tbody tr")
    told = {row.code.text: [cell.text for cell in row.select("td")] for row in rows if row.code}
    assert list(told) == available()
    assert told["dense8+sparse8-0.5-slim"][5] == "a second loss; went on from earlier weights"
    assert told["line+sine-0.5-tiny"][3:] == ["160,000", "12", ""]


def test_search_finds_a_page(visit: Callable[..., Visit]) -> None:
    page = visit("search.html?q=transformer").page
    page.wait_for_selector("#search-results li a")


SETTING = repository(REPOSITORY)


def test_no_button_leads_to_a_repository_that_nothing_names() -> None:
    """How the buttons look where one is named is tested on a small book, in test_repository.py."""
    for path in PAGES:
        links = [str(tag["href"]) for tag in parsed(path).select("a[href]")]
        there = [a for a in links if re.search("mybinder.org|colab.research|github.com", a)]
        notebook = path.startswith("notebooks/")
        bare = path == "slides.html" or path.startswith("embed/")  # they have no bar for buttons
        expected = 0 if SETTING is None or bare else 3 if notebook else 1
        assert len(there) == expected, (path, there)
        assert all(SETTING.url.removeprefix("https://github.com/") in link for link in there)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_figure_is_taken_away_in_the_colours_of_the_page(visit, theme, tmp_path):
    page = visit("notebooks/debate.html", theme=theme).page

    def saved(kind):
        with page.expect_download() as download:
            page.locator(".icl-figure").first.get_by_role("button", name=kind).click()
        assert download.value.suggested_filename == f"debate-1.{kind.lower()}"
        download.value.save_as(tmp_path / kind)
        return (tmp_path / kind).read_bytes()

    text = saved("SVG").decode()
    assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
    shown = page.locator(".icl-figure svg").first
    assert shown.evaluate("element => getComputedStyle(element).color") in text
    assert not re.search(r"var\(|currentColor", text)
    assert saved("PNG").startswith(b"\x89PNG\r\n")


def test_the_slides_are_the_figures_of_all_chapters_each_under_what_it_shows(
    visit: Callable[..., Visit],
) -> None:
    expected = {}
    for path in PAGES:
        for strong in parsed(path).select("p > strong") if path.startswith("notebooks/") else []:
            if re.match(r"Figure \d+\. ", strong.get_text()):
                drawing = strong.find_previous("svg", role="img")
                assert drawing is not None
                finding = strong.get_text(" ", strip=True).partition(". ")[2]
                expected[finding] = drawing["aria-label"]
    slides = parsed("slides.html").select("section:not(.title)")
    found = {
        slide.select("h2")[0].get_text(): slide.select("svg")[0]["aria-label"] for slide in slides
    }
    assert len(found) == len(slides) > 20
    assert found == expected

    page = visit("slides.html").page
    here = "scrollY / innerHeight"
    for key, expected in (("ArrowRight", 1), (" ", 2), ("PageDown", 3), ("ArrowLeft", 2)):
        page.keyboard.press(key)
        page.wait_for_function(f"{here} === {expected}")
