"""The heat map shows what the stored table says, without a script too, and follows its choices, mouse and keys."""

import pytest
from bs4 import BeautifulSoup

from icl_lib import results
from icl_lib.experiments import weight

from .conftest import SITE

PAGE = "book/sweeps.html"
OWN = "exact Bayes with the model’s own mixture"


@pytest.fixture(scope="module")
def excess():
    found = weight.excess(results.read("weight_errors"))
    return found.set_index(["over", "n_examples", "model", "test"]).share


def shown(text):
    return float(text.replace("−", "-"))


def expected(excess, over, n):
    """The cells of the table, row by row."""
    return [excess[over, n, model, test] for model in weight.MODELS for test in weight.TESTS]


def near(cells, values):
    """Whether the table's numbers are these, to two digits or four decimals."""
    return all(
        abs(shown(c) - v) <= max(0.05 * abs(v), 5.1e-5) for c, v in zip(cells, values, strict=True)
    )


def test_the_table_stands_without_a_script(excess):
    table = BeautifulSoup((SITE / PAGE).read_text(), "html.parser").select_one(".icl-heat table")
    assert near([cell.text for cell in table.select("td")], expected(excess, "oracle", 40))
    assert [head.text for head in table.select("thead th")][1:] == list(weight.TESTS)
    assert [row.text for row in table.select("tbody th")][:3] == ["0%", "1%", "5%"]


def test_it_follows_its_choices(visit, excess):
    page = visit(PAGE).page
    cells = page.locator(".icl-heat td")
    assert near(cells.all_text_contents(), expected(excess, "oracle", 40))
    page.get_by_label("5", exact=True).check()
    assert near(cells.all_text_contents(), expected(excess, "oracle", 5))
    page.get_by_label(OWN).check()
    values = expected(excess, "own", 5)
    assert near(cells.all_text_contents(), values)
    hues = cells.evaluate_all("(cells) => cells.map((cell) => cell.className)")
    assert hues == ["is-more" if value > 0 else "is-less" for value in values]
    assert OWN in page.locator(".icl-heat figcaption").text_content()


def test_a_cell_is_told_in_words_by_mouse_and_keys(visit, excess):
    page = visit(PAGE).page
    cells, told = page.locator(".icl-heat td"), page.locator(".icl-heat-told")
    cells.nth(8).hover()
    assert told.text_content().startswith(
        "Pretrained on 1% lines and asked for halfway, after 40 ex"
    )
    cells.nth(8).focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert told.text_content().startswith("Pretrained on 5% lines and asked for a quarter line,")
    assert page.evaluate("document.activeElement.cellIndex") == 4
    page.get_by_label(OWN).check()
    share = excess["own", 40, "line+sine-0.05-tiny", "a quarter line"]
    assert ("more" if share > 0 else "less") + f" than {OWN}" in told.text_content()
