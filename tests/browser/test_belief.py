"""The figure of the page on exact Bayes follows its slider and its choice, and stands without a script."""

from playwright.sync_api import expect

PAGE = "book/exact_bayes.html"


def test_it_follows_the_slider_and_the_function(visit):
    page = visit(PAGE).page
    figure, told = page.locator(".icl-believes"), page.locator(".icl-believes figcaption")
    mass = figure.locator("path.is-mass")
    expect(told).to_contain_text("After 3 examples")
    before = mass.get_attribute("d")
    page.get_by_label("Examples").focus()
    page.keyboard.press("ArrowRight")
    expect(told).to_contain_text("After 4 examples exact Bayes is all but sure of a sine")
    assert mass.get_attribute("d") != before
    assert figure.locator("circle:visible").count() == 4
    page.get_by_label("a line").check()
    expect(told).to_contain_text("is all but sure of a line")
    bar = figure.locator(".icl-believes-bar")
    width, whole = (
        part.evaluate("part => part.clientWidth") for part in (bar.locator(".is-line"), bar)
    )
    assert width > 0.99 * whole
    page.get_by_label("Examples").focus()
    page.keyboard.press("Home")
    expect(told).to_contain_text("After no example exact Bayes believes in a line at 50%")
    expect(figure.locator("circle:visible")).to_have_count(0)


def test_without_scripts_it_shows_three_examples(visit):
    page = visit(PAGE, javascript=False).page
    expect(page.locator(".icl-believes figcaption")).to_contain_text("After 3 examples")
    expect(page.locator(".icl-believes-choices")).to_be_hidden()
    assert page.locator(".icl-believes circle:visible").count() == 3
