"""The book as one PDF: its pages in order, links that lead within it, and the offer on each page of the site."""

import io
import shutil
from pathlib import Path

from playwright.sync_api import Browser
from pypdf import PdfReader, PdfWriter

from book.pdf import HERE, NAME, bound, offer, pages_of, printed

CHAPTER, LEDGER = "notebooks/named.html", "book/ledger.html"


PUBLISHED = "https://example.org/book/"


def read(book: PdfWriter) -> PdfReader:
    paper = io.BytesIO()
    book.write(paper)
    return PdfReader(paper)


def addresses(reader: PdfReader) -> set[str]:
    """Where links lead that leave the PDF."""
    links = (link.get_object() for page in reader.pages for link in page.get("/Annots", ()))
    return {link["/A"]["/URI"] for link in links if "/URI" in link.get("/A", {})}


def test_the_pages_are_those_of_the_contents(browser: Browser, site_url: str) -> None:
    found = [url.removeprefix(site_url) for url in pages_of(browser, site_url)]
    assert found[:2] == ["book/intro.html", "notebooks/setting.html"]
    assert {CHAPTER, LEDGER} < set(found)
    assert len(found) == len(set(found)) > 20


def test_two_pages_are_bound_and_lead_to_each_other(browser: Browser, site_url: str) -> None:
    urls = [site_url + CHAPTER, site_url + LEDGER]
    pages = list(printed(browser, urls))
    reader = read(bound(pages, site_url))
    parts = [part for part in reader.outline if not isinstance(part, list)]
    titles = ["If it is told the class", "The ledger of claims"]
    assert [part.title for part in parts] == titles
    begins = [reader.get_destination_page_number(part) for part in parts]
    assert begins[0] == 0 < begins[1]
    for title, number in zip(titles, begins, strict=True):
        assert title in reader.pages[number].extract_text()

    leads: dict[str, set[int]] = {"to": set(), "from": set()}
    for number, page in enumerate(reader.pages):
        for link in (reference.get_object() for reference in page.get("/Annots", ())):
            assert not link.get("/A", {}).get("/URI", "").startswith("http://127.0.0.1")
            if "/Dest" in link:
                paper, kind, *_ = link["/Dest"]
                there = reader.get_page_number(paper.get_object())
                assert kind == "/XYZ"
                if (number < begins[1]) != (there < begins[1]):
                    leads["to" if number < begins[1] else "from"].add(there)
    # What the page folds is there: the ledger's rules.
    text = " ".join(" ".join(page.extract_text() for page in reader.pages).split())
    assert "not supported if one lies above; else mixed" in text

    # The chapter's badge leads to its own claim, which is not on the ledger's first page; the ledger's, to the chapter.
    assert max(leads["to"]) > begins[1]
    assert leads["from"]

    # What is on the site alone leads there, where it is known; a named chapter is as it was.
    away = addresses(read(bound(pages, site_url, PUBLISHED)))
    assert PUBLISHED + "book/choices.html" in away
    assert not any(url.startswith((site_url, PUBLISHED + CHAPTER)) for url in away)
    assert not any(url.startswith(PUBLISHED) for url in addresses(reader))


def test_every_page_of_the_book_offers_it_once(site_dir: Path, tmp_path: Path) -> None:
    for path in ("index.html", "book/intro.html", CHAPTER):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        shutil.copy(site_dir / path, tmp_path / path)
    offer(tmp_path)
    offer(tmp_path)
    for path in ("book/intro.html", CHAPTER):
        text = (tmp_path / path).read_text(encoding="utf-8")
        assert text.count(HERE) == text.count(f'href="../{NAME}"') == 1
    assert NAME not in (tmp_path / "index.html").read_text(encoding="utf-8")
