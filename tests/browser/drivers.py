"""Firefox and WebKit as Debian has them, each spoken to in the protocol that it knows.

Playwright drives builds of its own of these two, which only its servers have. WebKitGTK comes with a WebDriver, which
Selenium speaks to. Firefox's is not in Debian; but Firefox itself knows WebDriver BiDi: JSON over a websocket.
"""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Protocol

import websocket
from selenium.webdriver import Remote, WebKitGTKOptions
from selenium.webdriver.remote.client_config import ClientConfig
from selenium.webdriver.remote.remote_connection import RemoteConnection
from selenium.webdriver.webkitgtk.service import Service

PATIENCE = 300  # seconds: WebKit, which draws without a graphics card, has taken 40 beside three busy processes
ARROW_RIGHT = "\ue014"  # the key, as WebDriver has it


QUIET: dict[str, bool | int | str] = {
    "app.update.disabledForTesting": True,
    "browser.aboutwelcome.enabled": False,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "browser.startup.page": 0,
    "datareporting.policy.dataSubmissionEnabled": False,
    "startup.homepage_welcome_url": "about:blank",
    "toolkit.telemetry.reportingpolicy.firstRun": False,
}
"""Settings of a Firefox that opens nothing of its own."""


class Driver(Protocol):
    """A browser with one window."""

    def open(self, url: str) -> None:
        """Go to an address, and return once the page has loaded."""

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression, which must be of JSON's kinds; undefined is None."""

    def press(self, key: str) -> None:
        """Press a key, for what has the focus."""


def wait_until(holds: Callable[[], Any], what: str) -> None:
    """Return once `holds()` is true; TimeoutError if it takes too long."""
    end = time.monotonic() + PATIENCE
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {PATIENCE} seconds")
        time.sleep(0.05)


@contextmanager
def running(*command: str, **how: Any) -> Iterator[subprocess.Popen[str]]:
    """A process that ends with the block."""
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, text=True, **how) as process:
        try:
            yield process
        finally:
            process.terminate()


class _Bidi:
    """A window of a browser that speaks WebDriver BiDi."""

    def __init__(self, socket: websocket.WebSocket) -> None:
        self._socket = socket
        self._sent = 0
        self._call("session.new", capabilities={})
        # A tab of its own: in the one that it starts with, Firefox may still be about to open a page for newcomers.
        self._window = self._call("browsingContext.create", type="tab")["context"]

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        """The result of a command. No events are subscribed to: the next message is its answer."""
        self._sent += 1
        self._socket.send(json.dumps({"id": self._sent, "method": method, "params": params}))
        answer = json.loads(self._socket.recv())
        assert (answer["type"], answer["id"]) == ("success", self._sent), answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, url: str) -> None:
        self._call("browsingContext.navigate", context=self._window, url=url, wait="complete")
        # A view in the address may be written anew by the page as soon as it runs.
        page = url.split("?")[0]
        wait_until(lambda: self.evaluate("location.href").split("?")[0] == page, f"the page {url}")

    def evaluate(self, expression: str) -> Any:
        answer = self._call(
            "script.evaluate",
            expression=f"JSON.stringify({expression}) ?? 'null'",
            target={"context": self._window},
            awaitPromise=False,
        )
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])

    def press(self, key: str) -> None:
        strokes = [{"type": kind, "value": key} for kind in ("keyDown", "keyUp")]
        keyboard = {"type": "key", "id": "keyboard", "actions": strokes}
        self._call("input.performActions", context=self._window, actions=[keyboard])


class _Classic:
    """A window of a browser that Selenium has a session with."""

    def __init__(self, session: Remote) -> None:
        self._session = session

    def open(self, url: str) -> None:
        self._session.get(url)

    def evaluate(self, expression: str) -> Any:
        script = f"return JSON.stringify({expression}) ?? 'null'"
        return json.loads(self._session.execute_script(script))

    def press(self, key: str) -> None:
        self._session.switch_to.active_element.send_keys(key)


@contextmanager
def firefox(program: str, folder: Path) -> Iterator[Driver]:
    """A Firefox without a screen, its profile in an empty folder."""
    (folder / "user.js").write_text(
        "".join(
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in QUIET.items()
        )
    )
    with running(program, "--headless", "--remote-debugging-port=0", "--profile", str(folder)):
        server = folder / "WebDriverBiDiServer.json"
        wait_until(lambda: server.exists() and server.read_text(), "Firefox's start")
        address = "ws://{ws_host}:{ws_port}/session".format(**json.loads(server.read_text()))
        with closing(
            websocket.create_connection(address, timeout=PATIENCE, suppress_origin=True)
        ) as socket:
            yield _Bidi(socket)


@contextmanager
def webkit(program: str, folder: Path) -> Iterator[Driver]:
    """WebKitGTK's small browser, on an X server without a screen; its log in the folder."""
    screen = ("Xvfb", "-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp")
    with running(*screen, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        environment = os.environ | {
            "DISPLAY": f":{server.stdout.readline().strip()}",
            "GDK_BACKEND": "x11",
            # Its sandbox wants rights that a container lacks; the pages are our own.
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS": "1",
            "WEBKIT_DISABLE_DMABUF_RENDERER": "1",  # there need not be a graphics card
        }
        service = Service(program, env=environment, log_output=str(folder / "log"))
        service.start()
        try:
            # Not webdriver.WebKitGTK, which sets itself up in ways that Selenium warns of.
            connection = RemoteConnection(client_config=ClientConfig(service.service_url))
            session = Remote(connection, options=WebKitGTKOptions())
            try:
                yield _Classic(session)
            finally:
                session.quit()
        finally:
            service.stop()
