"""The ledger says what the stored tables do, and every verdict follows from the numbers by its rule."""

import posixpath
import re
from functools import cache

import pytest
from bs4 import BeautifulSoup, Tag

from icl_lib import figures, results
from icl_lib.claims import CLAIMS, VERDICTS, Finding
from icl_lib.experiments import findings

from .conftest import SITE


@cache
def found() -> dict[str, Finding]:
    return findings({name: results.read(name) for name in results.EXPERIMENTS})


@cache
def page(path: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / path).read_text(encoding="utf-8"), "html.parser")


def section(key: str) -> Tag:
    there = page("book/ledger.html").find(id=key.lower())
    assert isinstance(there, Tag)
    return there


def test_every_claim_has_its_section_with_its_verdict() -> None:
    for key, claim in CLAIMS.items():
        text = section(key).get_text(" ", strip=True)
        assert claim.statement in text
        verdict = section(key).select_one(".icl-verdict")
        assert verdict is not None
        assert verdict.get_text() == found()[key].verdict


@pytest.mark.parametrize("key", CLAIMS)
def test_a_section_has_all_measures_of_all_who_are_judged_and_a_figure(key: str) -> None:
    rows = [
        tuple(cell.get_text(" ", strip=True) for cell in row.select("td"))
        for row in section(key).select("details tbody tr")
    ]
    assert rows == [(name, *words.values()) for name, words in found()[key].told().items()]
    assert section(key).select_one("figure.icl-figure svg") is not None
    text = section(key).get_text(" ", strip=True)
    for who, measures in found()[key].beside.items():
        assert f"{who}, by the same rule".lower() in text.lower()
        assert CLAIMS[key].judge(measures) in text


@pytest.mark.parametrize("key", CLAIMS)
def test_the_chapter_says_the_same_verdict_in_a_badge_that_leads_here(key: str) -> None:
    chapter = found()[key].where.split("#")[0]
    badges = page(f"{chapter}.html").select(f'a[href$="ledger.html#{key.lower()}"]')
    assert badges
    for badge in badges:
        assert badge.get_text(strip=True) == f"{key}: {found()[key].verdict}"


def test_the_overview_has_a_line_for_each_claim_with_number_and_figure() -> None:
    rows = page("book/ledger.html").select("table.icl-verdicts tbody tr")
    assert len(rows) == len(CLAIMS)
    for (key, claim), row in zip(CLAIMS.items(), rows, strict=True):
        link, verdict = row.select_one("a"), row.select_one(".icl-verdict")
        assert link is not None
        assert verdict is not None
        assert link["href"] == f"#{key.lower()}"
        assert link.get_text() == key
        finding = found()[key]
        assert verdict.get_text() == finding.verdict
        assert verdict.get_text() in VERDICTS
        assert figures.estimate(*finding.measures[claim.headline]) in row.get_text()
        assert row.select_one("svg") is not None


@pytest.mark.parametrize("key", CLAIMS)
def test_the_link_leads_to_the_section_with_the_figure(key: str) -> None:
    chapter, anchor = found()[key].where.split("#")
    there = page(f"{chapter}.html").find(id=anchor)
    assert isinstance(there, Tag)
    assert there.select_one("figure.icl-figure") is not None
    address = posixpath.relpath(f"{chapter}.html", "book")  # from the ledger
    assert len(section(key).select(f'a[href="{address}#{anchor}"]')) == 1


def test_no_verdict_stands_in_prose_but_as_a_badge() -> None:
    words = re.compile(rf"\b({'|'.join(CLAIMS)})\b[^.]{{0,20}}\b(is|was) (not )?(supported|mixed)")
    for chapter in {finding.where.split("#")[0] for finding in found().values()}:
        assert not words.search(page(f"{chapter}.html").get_text(" ", strip=True))
