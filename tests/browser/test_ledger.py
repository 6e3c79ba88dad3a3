"""The ledger says what the chapters found, and every verdict follows from the numbers by its rule."""

import re
from functools import cache

import pytest
from bs4 import BeautifulSoup, Tag

from book._ext.ledger import findings
from icl_lib.claims import CLAIMS, VERDICTS, Finding

from .conftest import REPOSITORY, SITE


@cache
def told() -> dict[str, tuple[str, Finding]]:
    """By claim: the chapter that judged it, and what its output holds."""
    return findings(REPOSITORY / "_build" / ".jupyter_cache", REPOSITORY / "notebooks")


def page(path: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / path).read_text(encoding="utf-8"), "html.parser")


def section(key: str) -> Tag:
    found = page("book/ledger.html").find(id=key.lower())
    assert isinstance(found, Tag)
    return found


def test_every_claim_has_its_section_and_each_that_is_tested_its_finding() -> None:
    assert set(told()) == set(CLAIMS)
    for key, claim in CLAIMS.items():
        text = section(key).get_text(" ", strip=True)
        assert claim.statement in text
        verdict = section(key).select_one(".icl-verdict")
        assert verdict is not None
        assert verdict.get_text() in VERDICTS


@pytest.mark.parametrize("key", CLAIMS)
def test_the_verdict_follows_from_the_numbers_in_ledger_and_prose_alike(key: str) -> None:
    chapter, finding = told()[key]
    there = section(key).select_one(".icl-verdict")
    assert there is not None
    assert there.get_text() == finding.verdict
    prose = page(f"{chapter}.html").get_text(" ", strip=True)
    verdicts = re.findall(rf"{key}\s+is\s+(not supported|supported|mixed)", prose)
    assert verdicts == [finding.verdict]
    rows = [
        tuple(cell.get_text(" ", strip=True) for cell in row.select("td"))
        for row in section(key).select("tbody tr")
    ]
    assert rows == list(finding.told().items())


def test_the_overview_has_every_verdict_and_leads_to_its_section() -> None:
    rows = page("book/ledger.html").select("table.icl-verdicts tbody tr")
    assert len(rows) == len(CLAIMS)
    for key, row in zip(CLAIMS, rows, strict=True):
        link, verdict = row.select_one("a"), row.select_one(".icl-verdict")
        assert link is not None
        assert verdict is not None
        assert link["href"] == f"#{key.lower()}"
        assert link.get_text() == key
        assert verdict.get_text() == told()[key][1].verdict


@pytest.mark.parametrize("key", CLAIMS)
def test_the_link_leads_to_the_section_with_the_figure(key: str) -> None:
    chapter, finding = told()[key]
    there = page(f"{chapter}.html").find(id=finding.section)
    assert isinstance(there, Tag)
    assert there.select_one("figure.icl-figure") is not None
    link = section(key).select(f'a[href$="{chapter}.html#{finding.section}"]')
    assert len(link) == 1
