"""The built site, served below a sub-path on loopback, and a Chromium that reaches nothing else.

A test asks for `visit` and opens pages with it. When the test ends, every page it opened must have
kept to the site's own host, met no missing file, and logged no error and no warning.
"""

import gzip
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    sync_playwright,
)

from book import chromium
from book.serve import make_server

REPOSITORY = Path(__file__).parents[2]
SITE = REPOSITORY / "_build" / "html"
PREFIX = "/some/sub/path/"

DESKTOP = (1280, 900)
PHONE = (390, 844)


@dataclass
class Visit:
    """A page that was opened, with what went wrong on it so far."""

    page: Page
    context: BrowserContext
    root: str
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
            executable_path=chromium.find(),
            args=[
                "--no-sandbox",
                "--disable-gpu",
                "--disable-quic",
                "--disable-background-networking",
                "--disable-component-update",
                "--disable-sync",
                "--no-first-run",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser: Browser, site_url: str, site_dir: Path) -> Iterator[Callable[..., Visit]]:
    """A function that opens a page of the site, given by its path below the root.

    `visit("book/intro.html", theme="dark", size=PHONE, javascript=False)` returns a `Visit`.
    """
    visits: list[Visit] = []

    def open_page(
        path: str,
        *,
        theme: str = "light",
        size: tuple[int, int] = DESKTOP,
        javascript: bool = True,
        touch: bool = False,
        wait_until: str = "networkidle",
        prepare: Callable[[Page], None] | None = None,
    ) -> Visit:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            java_script_enabled=javascript,
            has_touch=touch,
            reduced_motion="reduce",
        )
        context.add_init_script(
            f"localStorage.setItem('mode', '{theme}'); localStorage.setItem('theme', '{theme}');"
        )
        page = context.new_page()
        visit = Visit(page, context, site_url)
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

        context.on("request", on_request)
        context.on("response", on_response)
        context.on("requestfailed", on_failure)
        page.on("console", on_console)
        page.on("pageerror", lambda error: visit.problems.append(f"page error: {error}"))
        if prepare is not None:
            prepare(page)
        page.goto(site_url + path, wait_until=wait_until)  # type: ignore[arg-type]
        return visit

    yield open_page
    for visit in visits:
        visit.context.close()
    problems = [f"{visit.page.url}: {problem}" for visit in visits for problem in visit.problems]
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
