"""The Chromium of the tests, the benchmarks and the README's picture: `python book/chromium.py` sees to one.

Taken is the first there is of: what the environment variable CHROME names; Chromium or Chrome on the path; Chrome where
macOS keeps it; Playwright's own. Where none is, Debian's is installed by apt, on other systems Playwright's.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MACOS = (
    Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"),
    Path("/Applications/Chromium.app/Contents/MacOS/Chromium"),
)


def find() -> str | None:
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
    there = [*filter(None, map(shutil.which, NAMES)), *filter(Path.is_file, MACOS)]
    return str(there[0]) if there else None


def is_there() -> bool:
    """Whether Playwright will find a Chromium to run."""
    if find():
        return True
    with sync_playwright() as playwright:
        return Path(playwright.chromium.executable_path).is_file()


def install() -> None:
    """Install Debian's Chromium where there is apt and the right to use it, else Playwright's own."""
    rights = [] if os.geteuid() == 0 else ["sudo"]
    if shutil.which("apt-get") and all(map(shutil.which, rights)):
        print("No Chromium here: installing Debian's.", flush=True)
        apt = [*rights, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"]
        browser = ["install", "--yes", "--no-install-recommends", "chromium"]
        subprocess.run([*apt, "update"], check=True)
        subprocess.run([*apt, *browser], check=True, stdout=subprocess.DEVNULL)
    else:
        print("No Chromium here: fetching Playwright's own.", flush=True)
        subprocess.run([sys.executable, "-m", "playwright", "install", "chromium"], check=True)


if __name__ == "__main__":
    if not is_there():
        install()
