"""Print the built book into one PDF, and offer that on each of its pages: `python -m book.pdf _build/html`.

A link from page to page leads to the page within the PDF. Explorers are their still figures there, and what a page
unfolds at a click, such as the solutions of exercises, is unfolded; code is left out, but for what is to be read.
"""

import argparse
import io
import threading
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urldefrag, urljoin

from playwright.sync_api import Browser, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, Fit, NameObject, TextStringObject
from tqdm import tqdm

from book import browsers
from book.serve import make_server

NAME = "beyond-the-mixture.pdf"
FIRST = "book/intro.html"
HERE = "<!-- the book as one file -->"
"""Where, in the footer of each page, the PDF is offered."""

PAGES = """() => [...document.querySelectorAll('.bd-sidebar-primary nav.bd-links a.reference.internal')]
  .map((link) => link.href.split('#')[0])"""


UNFOLD = """() => document.querySelectorAll('.bd-article details:not(.icl-code)')
  .forEach((folded) => { folded.open = true; })"""


class Printed(NamedTuple):
    """A page of the site on paper."""

    url: str
    title: str
    pdf: bytes


def pages_of(browser: Browser, root: str) -> list[str]:
    """The addresses of the book's pages, from the first to the last."""
    page = browser.new_page()
    page.goto(root + FIRST)
    return list(dict.fromkeys([page.url, *page.evaluate(PAGES)]))


def published_at(browser: Browser, root: str) -> str | None:
    """Where the site says that it is published, None if it does not."""
    page = browser.new_page()
    page.goto(root + FIRST)
    canonical = page.evaluate("document.querySelector('link[rel=canonical]')?.href")
    return canonical and canonical.removesuffix(FIRST)


def printed(browser: Browser, urls: list[str]) -> Iterator[Printed]:
    """Pages on paper, with their explorers' still figures."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.add_init_script(browsers.SAVE_DATA)
    for url in tqdm(urls, unit="page", disable=None):
        browsers.open_whole(page, url)
        page.evaluate(UNFOLD)
        title = page.locator("h1").first.evaluate("title => title.firstChild.textContent.trim()")
        paper = page.pdf(format="A4", tagged=True, outline=True, print_background=True)
        yield Printed(url, title, paper)


def bound(pages: list[Printed], root: str, published: str | None = None) -> PdfWriter:
    """One PDF of all, with an outline.

    Links to what is in it lead there; those to the rest of the site lead to where it is published, or nowhere.

    Args:
        pages: in their order.
        root: the address under which they were printed.
        published: the address under which readers find the site, None if it is not known.
    """
    book, places, first = PdfWriter(), {}, []
    for page in pages:
        reader, first_page = PdfReader(io.BytesIO(page.pdf)), len(book.pages)
        first.append(first_page)
        places[page.url, ""] = first_page, None
        for name, there in reader.named_destinations.items():
            number = reader.get_destination_page_number(there)
            places[page.url, name.removeprefix("/")] = first_page + number, there.top
        book.append(reader, outline_item=page.title)
    book.root_object.pop("/Dests", None)  # of all pages, under names that several have
    for number, paper in enumerate(book.pages):
        here = pages[bisect_right(first, number) - 1].url
        for link in (reference.get_object() for reference in paper.get("/Annots", ())):
            address = f"#{link['/Dest']}" if "/Dest" in link else link.get("/A", {}).get("/URI", "")
            url, name = urldefrag(urljoin(here, address.replace("#/", "#")))
            place = places.get((url, name), places.get((url, "")))
            if url.startswith(root):
                action = link.pop("/A", None)
                if action is not None and published is not None and place is None:
                    away = published + urljoin(here, address).removeprefix(root)
                    action[NameObject("/URI")] = TextStringObject(away)
                    link[NameObject("/A")] = action
            if place is not None:
                link[NameObject("/Dest")] = at(book, *place)
    book.add_metadata({"/Title": pages[0].title})
    return book


def at(book: PdfWriter, number: int, top: float | None) -> ArrayObject:
    """A place in a PDF: a page, and a height on it or its upper edge."""
    fit = Fit.xyz(top=top)
    return ArrayObject(
        [book.pages[number].indirect_reference, NameObject(fit.fit_type), *fit.fit_args]
    )


def offer(site: Path) -> None:
    """Add a link to the PDF to the footer of every page of a site."""
    for path in site.rglob("*.html"):
        text = path.read_text(encoding="utf-8")
        if HERE in text and NAME not in text:
            root = "../" * (len(path.relative_to(site).parts) - 1)
            link = f'{HERE} <a href="{root}{NAME}">The book as one PDF.</a>'
            path.write_text(text.replace(HERE, link), encoding="utf-8")


def main() -> None:
    """Print, bind, offer."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("site", type=Path)
    site = parser.parse_args().site
    server = make_server(site)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = browsers.launch(playwright)
        root = f"http://127.0.0.1:{server.server_port}/"
        pages = list(printed(browser, pages_of(browser, root)))
        book = bound(pages, root, published_at(browser, root))
        browser.close()
    server.shutdown()
    book.write(site / NAME)
    offer(site)
    print(f"{site / NAME}: {len(book.pages)} pages, {(site / NAME).stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
