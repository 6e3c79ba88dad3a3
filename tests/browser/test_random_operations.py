"""Whatever a reader does to an explorer, in whatever order, it ends where its link begins.

Some thirty random operations on each, always the same, in `make test`; as many others as one likes by hand:
`OPERATIONS=10000 SEED=7 .venv/bin/python -m pytest tests/browser/test_random_operations.py`.
"""

import os
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from playwright.sync_api import ElementHandle, Page, TimeoutError

from . import test_attention, test_combinations, test_frequency, test_selection
from .conftest import DESKTOP, PHONE, SWITCH, Visit, strike_twice

OPERATIONS = int(os.environ.get("OPERATIONS", "30"))
SEED = int(os.environ.get("SEED", "12"))
LOOK = 15  # operations between two looks at what has become of it
PATIENCE = 90_000  # milliseconds, for a busy machine
KEYS = ("ArrowLeft", "ArrowRight", "Home", "End", "PageUp", "PageDown")
Open = Callable[..., Visit]


class Explorer(NamedTuple):
    """An explorer as it is played with.

    Args:
        path: a page that has it.
        root: what is its element.
        settled: waits until its numbers answer what is set, and returns them.
        compared: which of its numbers must be those of a page that opens its link.
        query: what its link may say, with values in and out of range.
    """

    path: str
    root: str
    settled: Callable[[Page], dict[str, Any]]
    compared: tuple[str, ...]
    query: dict[str, tuple[Any, ...]]


PROMPT = {
    "n": (-3, 0, 7, 40, 1e9),
    "seed": (-1, 3, 2**40, "x"),
    "pts": ("p1_1", "p99_0", "p", "0_4*p0.5_-1.25", "*" * 2000),
}
EXPLORERS = {
    "combinations": Explorer(
        test_combinations.ALONE,
        ".icl-explorer[role=group]",
        test_combinations.settled,
        ("transformer", "mixture", "linear"),
        PROMPT | {"a": (-1, 0, 0.37, 1, "NaN"), "model": ("gpt", "line+sine-0.5-small")},
    ),
    "frequency": Explorer(
        test_frequency.ALONE,
        ".icl-frequency[role=group]",
        test_frequency.settled,
        ("transformer",),
        PROMPT | {"freq": (-2, 0, 4.5, 1e300), "model": ("", "line+wide-0.5-tiny")},
    ),
    "selection": Explorer(
        test_selection.ALONE,
        ".icl-selection[role=group]",
        test_selection.settled,
        ("errors",),
        {
            "n": (-1, 4, 99),
            "k": (0, 2, 21, "two"),
            "p": (-1, 0.5, 0.47, 2),
            "size": ("tiny", "short", "slim", "huge"),
        },
    ),
    "attention": Explorer(
        test_attention.CHAPTER,
        test_attention.ROOT,
        test_attention.settled,
        ("mean", "attention"),
        PROMPT | {"block": (0, 1, 99), "head": (-1, 2), "x": (-9, 0.5)},
    ),
}

VISIBILITY = """hidden => {
    Object.defineProperty(document, 'hidden', { configurable: true, value: hidden });
    Object.defineProperty(document, 'visibilityState', { configurable: true, value: hidden ? 'hidden' : 'visible' });
    document.dispatchEvent(new Event('visibilitychange'));
}"""

WHOLE = """root => [...[...document.querySelectorAll(root)].at(-1).querySelectorAll('.icl-plot path, td > span')]
    .every((element) => !element.checkVisibility() || (Number(getComputedStyle(element).opacity) >= 0.5
    && !/NaN|undefined|Infinity/.test((element.getAttribute('d') ?? '') + element.textContent)))"""


USABLE = """(root, selector) => [...root.querySelectorAll(selector)].filter((element) =>
    element.checkVisibility({ visibilityProperty: true }) && !element.disabled)"""


class Hand:
    """Does to an explorer what a reader may do."""

    def __init__(self, page: Page, explorer: Explorer, chance: random.Random) -> None:
        self.page, self.chance = page, chance
        self.root = page.locator(explorer.root).last
        self.done: list[str] = []

    def one(self, selector: str) -> ElementHandle | None:
        """One of the explorer's elements that a reader sees and can use."""
        there = self.root.evaluate_handle(USABLE, selector)
        count = there.evaluate("there => there.length")
        if not count:
            return None
        return there.evaluate_handle(
            "(there, k) => there[k]", self.chance.randrange(count)
        ).as_element()

    def place(self, element: ElementHandle) -> tuple[float, float]:
        """A random place on an element."""
        element.scroll_into_view_if_needed()
        box = element.bounding_box()
        assert box is not None
        return (
            box["x"] + self.chance.random() * box["width"],
            box["y"] + self.chance.random() * box["height"],
        )

    def drag(self) -> None:
        """A slider, or whatever lies there in the plot."""
        element = self.one("input[type=range], .icl-plot")
        if element is not None:
            self.page.mouse.move(*self.place(element))
            self.page.mouse.down()
            for _ in range(self.chance.randint(0, 3)):
                self.page.mouse.move(*self.place(element))
            self.page.mouse.up()

    def press(self) -> None:
        """A key, on a slider or a point."""
        element = self.one("input[type=range], [tabindex='0']")
        if element is not None:
            element.focus()
            for _ in range(self.chance.randint(1, 4)):
                self.page.keyboard.press(self.chance.choice(KEYS))

    def strike(self) -> None:
        """Twice into the plot: a point comes or goes."""
        element = self.one(".icl-plot")
        if element is not None:
            strike_twice(self.page, *self.place(element))

    def choose(self) -> None:
        """Another model, one after the other and faster than they can be fetched."""
        for _ in range(self.chance.randint(1, 3)):
            element = self.one("select")
            if element is not None:
                values = element.evaluate("select => [...select.options].map(({ value }) => value)")
                element.select_option(self.chance.choice(values))

    def click(self) -> None:
        """A button or a box, but for those that leave the page."""
        element = self.one("button, input[type=checkbox], summary")
        if element is not None and "file" not in element.inner_text():
            element.click()

    def hide(self) -> None:
        """The tab, and come back."""
        self.page.evaluate(VISIBILITY, True)
        self.page.wait_for_timeout(self.chance.choice((0, 50)))
        self.page.evaluate(VISIBILITY, False)

    def dress(self) -> None:
        """The page in another theme, or in a window of another size."""
        self.page.evaluate(SWITCH, self.chance.choice(("light", "dark")))
        width, height = self.chance.choice((DESKTOP, PHONE))
        self.page.set_viewport_size({"width": width, "height": height})

    def do(self) -> None:
        """One operation."""
        (what,) = self.chance.choices(
            (self.drag, self.press, self.strike, self.choose, self.click, self.hide, self.dress),
            (6, 6, 2, 2, 4, 1, 1),
        )
        self.done.append(what.__name__)
        what()


def memory(page: Page) -> int:
    """Bytes that scripts hold, once what nobody holds is gone."""
    browser = page.context.new_cdp_session(page)
    browser.send("HeapProfiler.collectGarbage")
    used = browser.send("Runtime.getHeapUsage")["usedSize"]
    browser.detach()
    return int(used)


def at_rest(explorer: Explorer, page: Page, done: Sequence[str] = ()) -> dict[str, Any]:
    """Its numbers, once nothing moves any more, what plays is stopped, and no line or number is dimmed or none."""
    playing = page.locator(f"{explorer.root} button", has_text="Pause")
    for button in playing.all():
        button.click()
    numbers = explorer.settled(page)
    try:
        page.wait_for_function(WHOLE, arg=explorer.root)
    except TimeoutError as error:
        error.add_note(f"{page.url} after {', '.join(done)}")
        raise
    page.wait_for_timeout(500)  # the link follows
    return {name: numbers[name] for name in explorer.compared}


@pytest.mark.parametrize("name", EXPLORERS)
def test_whatever_is_done_ends_where_its_link_begins(visit: Open, name: str) -> None:
    explorer, chance = EXPLORERS[name], random.Random(SEED)
    opened = visit(f"{explorer.path}?n=7")
    page = opened.page
    page.set_default_timeout(PATIENCE)
    page.wait_for_selector(explorer.root)
    explorer.settled(page)
    hand, held = Hand(page, explorer, chance), []
    for count in range(1, OPERATIONS + 1):
        hand.do()
        assert not opened.problems, (hand.done[-LOOK:], page.url)
        if count % LOOK == 0:
            here = at_rest(explorer, page, hand.done[-LOOK:])
            held.append(memory(page))
            other = visit(f"{explorer.path}?{urlsplit(page.url).query}")
            other.page.locator(f"{explorer.root} input[type=range]").first.focus()  # it wakes
            there = at_rest(explorer, other.page)
            assert here == there, (hand.done[-LOOK:], page.url)
            other.page.close()
    early = max(1, 2 * len(held) // 3)
    assert max(held[early:]) < 1.2 * max(held[:early]) + 2e6, held  # memory does not grow


@pytest.mark.parametrize("name", EXPLORERS)
def test_any_link_opens_an_explorer(visit: Open, name: str) -> None:
    explorer, chance = EXPLORERS[name], random.Random(SEED)
    for _ in range(max(2, OPERATIONS // 50)):
        keys = chance.sample(sorted(explorer.query), chance.randint(1, len(explorer.query)))
        link = urlencode({key: chance.choice(explorer.query[key]) for key in keys})
        opened = visit(f"{explorer.path}?{link}")
        opened.page.set_default_timeout(PATIENCE)
        opened.page.wait_for_selector(explorer.root)
        opened.page.locator(f"{explorer.root} input[type=range]").first.focus()
        opened.page.keyboard.press("ArrowRight")
        at_rest(explorer, opened.page)
        opened.page.close()
