"""Lighthouse on the built site: the landing page and each chapter, as a phone on a slow connection loads them.

It simulates that phone from what it sees here, so that a slow machine lowers its marks for performance; it says itself
how fast it found the processor.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.slider import SITE
from book import browsers
from book.serve import CompressingHandler, SiteServer

HERE = Path(__file__).parent
PROGRAM = HERE / "node_modules" / "lighthouse" / "cli" / "index.js"
REACH = {"performance": 90, "accessibility": 100, "best-practices": 95}
SHIFT = 0.05
LANDING = "book/intro.html"


class Host(CompressingHandler):
    """A host that keeps its connections, too."""

    protocol_version = "HTTP/1.1"


def _report(url: str) -> dict[str, Any]:
    """What Lighthouse says of a page."""
    node = Path(sys.prefix) / "bin" / "node"
    flags = ["--quiet", "--output=json", "--chrome-flags=--headless=new --no-sandbox"]
    chosen = f"--only-categories={','.join(REACH)}"
    chrome = browsers.chromium()
    ran = subprocess.run(
        [node, PROGRAM, url, *flags, chosen],
        env=os.environ | ({"CHROME_PATH": chrome} if chrome else {}),
        capture_output=True,
        check=True,
    )
    report: dict[str, Any] = json.loads(ran.stdout)
    return report


def rows() -> list[dict[str, Any]]:
    """The marks of each page."""
    server = SiteServer(("127.0.0.1", 0), partial(Host, directory=str(SITE), prefix="/"))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    chapters = sorted(str(file.relative_to(SITE)) for file in SITE.glob("notebooks/*.html"))
    found = []
    for page in (LANDING, *chapters):
        report = _report(f"http://127.0.0.1:{server.server_port}/{page}")
        marks = [round(100 * report["categories"][name]["score"]) for name in REACH]
        audits = report["audits"]
        first, largest, blocked, shift = (
            audits[name]["numericValue"]
            for name in (
                "first-contentful-paint",
                "largest-contentful-paint",
                "total-blocking-time",
                "cumulative-layout-shift",
            )
        )
        found.append(
            {
                "what": f"Lighthouse's marks, mobile: {page}",
                "reference": f"{', '.join(f'{name} {mark}' for name, mark in REACH.items())}, shift {SHIFT}",
                "reach": "as high, and the shift less",
                "measured": f"{', '.join(map(str, marks))}, {shift:.3f}",
                "detail": f"first paint {first / 1000:.1f} s, largest {largest / 1000:.1f} s, blocked {blocked:.0f} "
                f"ms; processor's index {report['environment']['benchmarkIndex']:.0f}",
            }
        )
    server.shutdown()
    return found
