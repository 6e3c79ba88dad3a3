"""Firefox and WebKit: on each page the explorer comes alive, follows a slider and computes as torch does."""

import io
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from book import browsers
from book.serve import SiteHandler, SiteServer
from icl_lib import Mixture, sample_prompts
from icl_lib.page import RIGHT
from icl_lib.widgets import combinations, frequency, selection
from icl_lib.widgets.mixture import CLASSES

from .conftest import PREFIX, REPOSITORY
from .drivers import ARROW_RIGHT, Driver, firefox, wait_until, webkit

# No driver tells what a page logs in WebKit, so the page keeps it itself.
WATCH = b"""<script>
  window.problems = [];
  for (const kind of ['error', 'warn']) console[kind] = (...said) => window.problems.push(`${kind}: ${said.join(' ')}`);
  window.addEventListener('error', (event) => window.problems.push(`thrown: ${event.message}`));
  window.addEventListener('unhandledrejection', (event) => window.problems.push(`rejected: ${event.reason}`));
</script>"""


class WatchedSite(SiteHandler):
    """The site as it is, but that each page begins with WATCH; what is not there is kept in `missed`."""

    def __init__(self, *args: object, missed: list[str], **kwargs: Any) -> None:
        self.missed = missed
        super().__init__(*args, **kwargs)

    def send_head(self) -> Any:
        file = Path(self.translate_path(self.path))
        if file.suffix != ".html" or not file.is_file():
            return super().send_head()
        page = file.read_bytes().replace(b"<head>", b"<head>" + WATCH, 1)
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        return io.BytesIO(page)

    def log_request(self, code: Any = "-", size: Any = "-") -> None:
        if int(code) >= 400:
            self.missed.append(f"{int(code)} for {self.path}")


class Watched(NamedTuple):
    """The site's address, and what was asked for in vain."""

    url: str
    missed: list[str]


@pytest.fixture(scope="module")
def site(site_dir: Path) -> Iterator[Watched]:
    missed: list[str] = []
    handler = partial(WatchedSite, directory=str(site_dir), prefix=PREFIX, missed=missed)
    server = SiteServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield Watched(f"http://127.0.0.1:{server.server_port}{PREFIX}", missed)
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="module", params=["Firefox", "WebKit"])
def driver(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Driver]:
    """The browser, one for all pages."""
    program, start = {
        "Firefox": (browsers.firefox(), firefox),
        "WebKit": (browsers.webkit(), webkit),
    }[request.param]
    if program is None:
        pytest.skip(f"no {request.param} here, and none that apt could install")
    with start(program, tmp_path_factory.mktemp(request.param)) as driver:
        yield driver


def agree(found: Any, expected: Any, tolerance: float) -> None:
    """Numbers of the page against the library's."""
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance)


def check_convex(numbers: dict[str, Any]) -> None:
    xs, ys = (np.array(numbers[name]) for name in ("xs", "ys"))
    model, bayes, weight = (numbers[name] for name in ("model", "bayes", "weight"))
    here = combinations.curves(model, bayes, weight, xs, ys, combinations.QUERIES)
    for name in combinations.COMPUTED:
        agree(numbers[name], here[name], 1e-3 if name == "transformer" else 1e-6)


def check_frequency(numbers: dict[str, Any]) -> None:
    xs, ys, queries = (np.array(numbers[name]) for name in ("xs", "ys", "queries"))
    here = frequency.answers(numbers["model"], numbers["bayes"], RIGHT, xs, ys, queries)
    for name in frequency.COMPUTED:
        agree(numbers[name], here[name], 1e-3 if name == "transformer" else 1e-6)


def check_selection(numbers: dict[str, Any]) -> None:
    xs, ys = selection.draw_batch(1, numbers["nnz"])
    (share,) = (s for s, name in selection.models_of("tiny") if name == numbers["model"])
    found = selection.answers(numbers["model"], "dense+sparse", share, xs, ys)
    expected = selection.summary(ys, found)
    for name in selection.LINES:
        agree(numbers["errors"][name], expected["errors"][name], 1e-3)
    agree(numbers["belief"], expected["belief"], 1e-5)


class Explorer(NamedTuple):
    """A page's explorer: how its numbers follow from the library, and a slider that they follow."""

    view: str
    slider: str
    moved: str
    check: Callable[[dict[str, Any]], None]


EXPLORERS = {
    "notebooks/convex_combinations": Explorer(
        "a=0.5&n=20&seed=1&model=line%2Bsine-0.5-tiny", "Combination weight", "weight", check_convex
    ),
    "notebooks/frequency_extrapolation": Explorer(
        "freq=2.5&n=20&seed=1&model=line%2Bsine-0.5-tiny", "Frequency", "frequency", check_frequency
    ),
    "notebooks/model_selection": Explorer(
        "size=tiny&p=0.5&k=2&seed=1", "Nonzero coefficients", "nnz", check_selection
    ),
}

NUMBERS = """(({ state, numbers }) => state.stage === 'live' && numbers && numbers.model === state.model
  && numbers.MOVED === state.MOVED && (numbers.count === undefined || numbers.count === 64)
  && Object.fromEntries(Object.entries(numbers).map(
    ([name, value]) => [name, ArrayBuffer.isView(value) ? [...value] : value])))
  (document.querySelector('[data-stage]')?.icl ?? { state: {} })"""

HOW_IT_STANDS = """(({ state, numbers }) => [document.visibilityState, innerWidth, innerHeight, scrollY,
    document.querySelector('[data-stage]')?.getBoundingClientRect().top, state, numbers && numbers.model,
    document.querySelector('.icl-status')?.textContent])
  (document.querySelector('[data-stage]')?.icl ?? { state: {} })"""


def focus(driver: Driver, slider: str) -> None:
    """Give the focus to the slider with this label."""
    assert driver.evaluate(
        f"""[...document.querySelectorAll('.icl-widget[role=group] input[type=range]')].filter((input) =>
          [input.ariaLabel, input.labels[0]?.textContent].some((label) => label?.includes('{slider}')))
          .map((input) => (input.focus(), document.activeElement === input))"""
    ) == [True]


def numbers_of(driver: Driver, moved: str) -> dict[str, Any]:
    """The explorer's numbers, once they answer what its sliders say."""
    found: list[dict[str, Any]] = []
    asked = NUMBERS.replace("MOVED", moved)

    def settled() -> bool:
        assert driver.evaluate("window.problems") == []
        found[:] = [driver.evaluate(asked)]
        return bool(found[0])

    try:
        wait_until(settled, "live numbers")
    except TimeoutError as error:
        error.add_note(f"the explorer: {driver.evaluate(HOW_IT_STANDS)}")
        raise
    return found[0]


def test_no_page_is_left_out() -> None:
    sources = [*(REPOSITORY / "book").glob("*.md"), *(REPOSITORY / "notebooks").glob("*.ipynb")]
    found = [path for path in sources if "explorer.still()" in path.read_text(encoding="utf-8")]
    landing = {"book/intro"}  # the explorer of combinations, once more
    assert {f"{path.parent.name}/{path.stem}" for path in found} == set(EXPLORERS) | landing


@pytest.mark.parametrize("page", EXPLORERS)
def test_an_explorer_computes_what_the_library_does(
    site: Watched, driver: Driver, page: str
) -> None:
    view, slider, moved, check = EXPLORERS[page]
    driver.open(f"{site.url}{page}.html?{view}")
    before = numbers_of(driver, moved)
    check(before)
    focus(driver, slider)
    driver.press(ARROW_RIGHT)
    wait_until(lambda: numbers_of(driver, moved)[moved] > before[moved], "the slider's move")
    after = numbers_of(driver, moved)
    check(after)
    assert {name for name, value in after.items() if value != before[name]} > {moved}
    assert driver.evaluate("window.problems") == site.missed == []


def test_the_prompts_of_a_mixture_are_those_that_the_library_draws(
    site: Watched, driver: Driver
) -> None:
    driver.open(f"{site.url}notebooks/setting.html?w=0.5_0.5_0")
    group = ".icl-mixture[role=group]"
    wait_until(lambda: driver.evaluate(f"!!document.querySelector('{group} .icl-card')"), "cards")
    focus(driver, "Weight of the ReLU network")
    for _ in range(20):
        driver.press(ARROW_RIGHT)
    shares = driver.evaluate(f"document.querySelector('{group}').parentElement.icl.state.shares")
    assert shares == pytest.approx([1 / 2.4, 1 / 2.4, 0.4 / 2.4])
    drawn = sample_prompts(Mixture(tuple(CLASSES.values()), tuple(shares)), 24, 8, seed=0)
    assert (
        driver.evaluate(
            f"""[...document.querySelectorAll('{group} .icl-card')].map((card) =>
              [0, 1, 2].findIndex((k) => card.matches(`.is-class-${{k}}`)))"""
        )
        == drawn.component.tolist()
    )
    assert driver.evaluate("window.problems") == site.missed == []
