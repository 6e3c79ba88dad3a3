"""The built site, served below a sub-path on loopback, and a Chromium that reaches nothing else.

A test asks for `visit` and opens pages with it. When the test ends, every page it opened must have
kept to the site's own host, met no missing file, and logged no error and no warning.

What takes a page of an explorer its time is the runtime: a browser that has just been started translates its 14 MB of
WebAssembly, and what runs often once more, in the background. A process that holds the translation gives it to all its
pages. So pages of the same kind share one context and, by --process-per-site, one process, which a page that stays open
keeps alive; permissions and routes end with their test. `fresh` opens a page as on a first visit.
"""

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    Route,
    sync_playwright,
)

from book import browsers
from book.serve import make_server

REPOSITORY = Path(__file__).parents[2]
SITE = REPOSITORY / "_build" / "html"
PREFIX = "/some/sub/path/"

DESKTOP = (1280, 900)
PHONE = (390, 844)


AXE = REPOSITORY / "node_modules" / "axe-core" / "axe.min.js"


@dataclass
class Visit:
    """A page that was opened, with what went wrong on it so far."""

    page: Page
    context: BrowserContext
    root: str
    fresh: bool
    problems: list[str] = field(default_factory=list)
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def transferred(self) -> int:
        """Bytes of the files loaded so far, each once, as a compressing server sends them."""
        return sum(map(compressed_size, self.files.values()))

    def allow(self, *parts: str) -> None:
        """Forgive the problems that contain one of these strings: the test has provoked them."""
        self.problems[:] = [p for p in self.problems if not any(part in p for part in parts)]


@cache
def compressed_size(file: Path) -> int:
    """Return the size of a file as sent: gzipped, or as it is where that is smaller."""
    content = file.read_bytes()
    return min(len(content), len(gzip.compress(content, 6)))


def faults(page: Page, within: str | None = None, rules: list[str] | None = None) -> list[str]:
    """What axe finds wrong with a page, in words; with an element of it; by some of its rules."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE.read_text(encoding="utf-8"))
    # Of what is right axe would tell as much, at length.
    options = {"resultTypes": ["violations"]} | ({} if rules is None else {"runOnly": rules})
    found = page.evaluate(
        "([within, options]) => axe.run(within ?? document, options).then(({ violations }) => violations)",
        [within, options],
    )
    return [
        f"{fault['id']}: {fault['help']}: {node['target']} {node['failureSummary']}"
        for fault in found
        for node in fault["nodes"]
    ]


def unrevived(page: Page) -> None:
    """Prepares a page whose still figures stay until `window.revive()` is called."""
    script = (SITE / "_static" / "revive.js").read_text(encoding="utf-8")
    body = f"window.revive = () => {{ {script} }};"
    page.route(
        "**/revive.js*", lambda route: route.fulfill(body=body, content_type="text/javascript")
    )


class Gate:
    """Holds up what a page asks for by addresses of a pattern, until it is opened."""

    def __init__(self) -> None:
        self.closed = True
        self.held: list[Route] = []

    def across(self, pattern: str) -> Callable[[Page], None]:
        """What prepares a page for it."""
        return lambda page: page.context.route(pattern, self._pass)

    def _pass(self, route: Route) -> None:
        if self.closed:
            self.held.append(route)
        else:
            route.continue_()

    def open(self) -> None:
        """Let everything pass, from now on."""
        self.closed = False
        for route in self.held:
            route.continue_()


def strike_twice(page: Page, x: float, y: float, *, touch: bool = False) -> None:
    """A double click, or a double tap, whose strikes are a tenth of a second apart on however busy a machine."""
    hand, start = page.context.new_cdp_session(page), time.time()
    for count in (1, 2):
        for end, kind in enumerate(
            ("touchStart", "touchEnd") if touch else ("mousePressed", "mouseReleased")
        ):
            when = {"type": kind, "timestamp": start + 0.1 * count + 0.02 * end}
            if touch:
                points = [] if end else [{"x": x, "y": y}]
                hand.send("Input.dispatchTouchEvent", when | {"touchPoints": points})
            else:
                button = {"x": x, "y": y, "button": "left", "clickCount": count}
                hand.send("Input.dispatchMouseEvent", when | button)
    hand.detach()


@pytest.fixture(scope="session")
def site_dir() -> Path:
    """The folder of the built site."""
    if not (SITE / "index.html").is_file():
        pytest.fail(f"there is no built site in {SITE}; build it with: make site")
    return SITE


@pytest.fixture(scope="session")
def site_url(site_dir: Path) -> Iterator[str]:
    """The address of the site's root, ending in a slash."""
    server = make_server(site_dir, prefix=PREFIX)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}{PREFIX}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One headless Chromium for the whole session; its resolver knows no host."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=browsers.chromium(),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--process-per-site",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


SWITCH = "theme => Object.assign(document.documentElement.dataset, { theme, mode: theme })"
"""Change the theme of a page, as its button does."""

HOLD_RUNTIME = "async url => { window.held = await WebAssembly.compile(await (await fetch(url)).arrayBuffer()); }"


class Kind(NamedTuple):
    """What pages must have in common to share a context."""

    javascript: bool
    touch: bool


def new_context(browser: Browser, kind: Kind) -> BrowserContext:
    """A context of its own, as a reader has who comes for the first time."""
    return browser.new_context(
        java_script_enabled=kind.javascript, has_touch=kind.touch, reduced_motion="reduce"
    )


@pytest.fixture(scope="session")
def shared_context(
    browser: Browser, site_url: str, site_dir: Path
) -> Callable[[Kind], BrowserContext]:
    """A function from a kind of page to the context of all such pages, in which one stays open."""

    @cache
    def context_of(kind: Kind) -> BrowserContext:
        context = new_context(browser, kind)
        page = context.new_page()
        page.goto(site_url + "search.html")
        if kind.javascript:
            (runtime,) = site_dir.rglob("*.wasm")
            page.evaluate(HOLD_RUNTIME, site_url + str(runtime.relative_to(site_dir)))
        return context

    return context_of


@pytest.fixture
def visit(
    browser: Browser,
    shared_context: Callable[[Kind], BrowserContext],
    site_url: str,
    site_dir: Path,
) -> Iterator[Callable[..., Visit]]:
    """A function that opens a page of the site, given by its path below the root.

    `visit("book/intro.html", theme="dark", size=PHONE, javascript=False)` returns a `Visit`. A page fetches models when
    it is touched, or, if it is `eager`, as those do whose readers do not save data. Unless it is to be `whole`, it may
    still be fetching.
    """
    visits: list[Visit] = []

    def open_page(
        path: str,
        *,
        theme: str = "light",
        size: tuple[int, int] = DESKTOP,
        javascript: bool = True,
        touch: bool = False,
        fresh: bool = False,
        eager: bool = False,
        whole: bool = True,
        prepare: Callable[[Page], None] | None = None,
    ) -> Visit:
        kind = Kind(javascript, touch)
        context = new_context(browser, kind) if fresh else shared_context(kind)
        page = context.new_page()
        page.set_viewport_size({"width": size[0], "height": size[1]})
        page.add_init_script(
            f"try {{ localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}'); }} catch {{}}"
        )
        if not eager:
            page.add_init_script(browsers.SAVE_DATA)
        visit = Visit(page, context, site_url, fresh)
        visits.append(visit)

        def on_request(request: Request) -> None:
            url = request.url
            if urlsplit(url).scheme in ("data", "blob"):
                return
            if not url.startswith(site_url):
                visit.problems.append(f"request outside the site: {url}")
                return
            name = unquote(urlsplit(url.removeprefix(site_url)).path)
            file = site_dir / (name or "index.html")
            if file.is_file():
                visit.files[name] = file

        def on_response(response: Response) -> None:
            if response.status >= 400:
                visit.problems.append(f"{response.status} for {response.url}")

        def on_failure(request: Request) -> None:
            # Aborted is what the page no longer wants; without scripts, it never wanted some.
            if javascript and request.failure != "net::ERR_ABORTED":
                visit.problems.append(f"{request.failure} for {request.url}")

        def on_console(message: ConsoleMessage) -> None:
            if message.type in ("error", "warning"):
                visit.problems.append(f"console {message.type}: {message.text}")

        page.on("request", on_request)
        page.on("response", on_response)
        page.on("requestfailed", on_failure)
        page.on("console", on_console)
        page.on("pageerror", lambda error: visit.problems.append(f"page error: {error}"))
        if prepare is not None:
            prepare(page)
        if whole:
            browsers.open_whole(page, site_url + path)
        else:
            page.goto(site_url + path)
        return visit

    yield open_page
    problems = [f"{visit.page.url}: {problem}" for visit in visits for problem in visit.problems]
    for visit in visits:
        visit.page.close()
        visit.context.unroute_all()
        visit.context.clear_permissions()
        if visit.fresh:
            visit.context.close()
    assert not problems, "\n".join(problems)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what each page loads before it is touched."""
    sizes = [
        value
        for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed")
        for key, value in report.user_properties
        if key == "first load"
    ]
    if sizes:
        terminalreporter.section("first load of each page before any touch, gzip")
        for line in sizes:
            terminalreporter.line(str(line))
