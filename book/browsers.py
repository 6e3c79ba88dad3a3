"""The browsers of the tests, the benchmarks and the README's picture: `python book/browsers.py NAME ...` sees to some.

There must be a Chromium. Taken is the first there is of: what the environment variable CHROME names; Chromium or Chrome
on the path; Chrome where macOS keeps it; Playwright's own. Where none is, Debian's is installed by apt, on other
systems Playwright's.

Firefox and WebKit are asked whether the explorers work there too. Where they are missing they come by apt alone:
without it, or without the right to use it, their tests are left out.
"""

import os
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from playwright.sync_api import Browser, Page, Playwright, sync_playwright

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FIREFOXES = ("firefox-esr", "firefox")
MACOS = Path("/Applications")

PACKAGES = {
    "Chromium": ("chromium",),
    "Firefox": ("firefox-esr",),
    "WebKit": ("webkit2gtk-driver", "xvfb"),
}
"""What each is called in Debian."""

SAVE_DATA = "Object.defineProperty(navigator, 'connection', { value: { saveData: true } })"
"""Have a page take its reader for one who wants to save data: it fetches no models before it is touched."""


def _first(names: tuple[str, ...], *apps: str) -> str | None:
    """The path of the first of these programs that there is: on the path, or among the applications of macOS."""
    there = [*filter(None, map(shutil.which, names))]
    there += [str(MACOS / app) for app in apps if (MACOS / app).is_file()]
    return there[0] if there else None


def chromium() -> str | None:
    """The path of a Chromium that is not Playwright's, None if there is none: Playwright then takes its own.

    Raises:
        ValueError: CHROME names something that cannot be run.
    """
    chosen = os.environ.get("CHROME")
    if chosen:
        path = shutil.which(chosen)
        if path is None:
            raise ValueError(
                f"CHROME must name a Chromium or Chrome that can be run, got {chosen!r}"
            )
        return path
    return _first(
        CHROMIUMS,
        "Google Chrome.app/Contents/MacOS/Google Chrome",
        "Chromium.app/Contents/MacOS/Chromium",
    )


def launch(playwright: Playwright) -> Browser:
    """Start that Chromium, where it may run as root and need not draw on a screen."""
    return playwright.chromium.launch(
        executable_path=chromium(), args=["--no-sandbox", "--disable-gpu"]
    )


def open_whole(page: Page, url: str) -> None:
    """Open a page, and wait until it has been read to its end and nothing is fetched any more.

    The network alone will not tell: it may rest while a long page is still being read.
    """
    page.goto(url, wait_until="load")
    page.wait_for_load_state("networkidle")


def firefox() -> str | None:
    """The path of a Firefox, None if there is none."""
    return _first(FIREFOXES, "Firefox.app/Contents/MacOS/firefox")


def webkit() -> str | None:
    """The path of WebKitGTK's driver, None where it or the X server that draws on no screen is missing."""
    return shutil.which("Xvfb") and shutil.which("WebKitWebDriver")


def is_there(name: str) -> bool:
    """Whether there is a browser of this name to run."""
    if name != "Chromium":
        return (firefox() if name == "Firefox" else webkit()) is not None
    if chromium():
        return True
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).is_file()


@cache
def _apt() -> tuple[str, ...]:
    """The command that installs packages, its lists renewed; empty without apt, or the right to use it unasked."""
    rights = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]
    if not shutil.which("apt-get") or (
        rights and not (shutil.which("sudo") and subprocess.run([*rights, "true"]).returncode == 0)
    ):
        return ()
    apt = (*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2")
    subprocess.run([*apt, "update"], check=True)
    return apt


def install(name: str) -> None:
    """Install Debian's browser where apt has it and may be used; else Playwright's Chromium, or none."""
    print(f"No {name} here: ", end="", flush=True)
    packages = ["install", "--yes", "--no-install-recommends", *PACKAGES[name]]
    apt = _apt()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    if apt and subprocess.run([*apt, "--simulate", *packages], **quiet).returncode == 0:
        print("installing Debian's.", flush=True)
        subprocess.run([*apt, *packages], check=True, stdout=subprocess.DEVNULL)
    elif name == "Chromium":
        print("fetching Playwright's own.", flush=True)
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)
    else:
        print("its tests will be left out.", flush=True)


if __name__ == "__main__":
    for wanted in sys.argv[1:]:
        if not is_there(wanted):
            install(wanted)
