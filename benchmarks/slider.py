"""A slider's move to its picture on the built page, and what the page loads: in headless Chromium, one thread.

The clock starts at the time stamp of the browser's own event (a key pressed on the focused slider) and stops when
all lines and their errors are in the document and laid out. With the picture comes the next frame of the screen. The
explorer of selection draws as results come in: there the first picture is timed, and that of the whole batch.
"""

from __future__ import annotations

import gzip
import statistics
import threading
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Browser, Page, Request, sync_playwright

from book import browsers
from book.serve import make_server
from icl_lib.page import prior_of
from icl_lib.widgets.combinations import QUERIES

SITE = Path(__file__).parents[1] / "_build" / "html"
CHAPTER = "notebooks/convex_combinations.html"
FREQUENCY = "notebooks/frequency_extrapolation.html"
SELECTION = "notebooks/model_selection.html"
STANDARD = "line+sine-0.5-standard-brief"
MOVES = 60
BATCHES, WARM_UP_BATCHES = 24, 6
WARM_UP = 20  # the browser compiles what runs often a second time, better

_WATCH = """() => {
  window.times = { drawn: [], painted: [] };
  const el = document.querySelector('[data-stage]');
  let moved = 0;
  el.addEventListener('keydown', (event) => { moved = event.timeStamp; }, true);
  el.addEventListener('icl-drawn', () => {
    const since = moved;
    el.getBoundingClientRect();
    window.times.drawn.push(performance.now() - since);
    requestAnimationFrame(() => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => window.times.painted.push(performance.now() - since);
      port2.postMessage(0);
    });
  });
}"""


def _open(browser: Browser, url: str) -> tuple[Page, dict[str, int]]:
    """A page and the compressed sizes of the files it has loaded, each once."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.set_default_timeout(120_000)
    sizes: dict[str, int] = {}

    def note(request: Request) -> None:
        file = SITE / request.url.removeprefix(url).split("?")[0].split("#")[0]
        if request.url.startswith(url) and file.is_file():
            data = file.read_bytes()
            sizes[str(file)] = min(len(data), len(gzip.compress(data, 6)))

    page.context.on("request", note)
    return page, sizes


def _latency(
    browser: Browser,
    url: str,
    page_and_view: str,
    slider: str,
) -> dict[str, list[float]]:
    """Milliseconds from each of MOVES key presses to the lines drawn, and to the frame painted."""
    page, _ = _open(browser, url)
    page.goto(url + page_and_view)
    page.wait_for_selector("[data-stage=live]")
    page.get_by_role("slider", name=slider).first.focus()
    page.evaluate(_WATCH)
    for move in range(WARM_UP + MOVES):
        page.keyboard.press("ArrowRight")
        page.wait_for_function(f"window.times.painted.length > {move}")
    times = page.evaluate("window.times")
    page.close()
    return {kind: values[WARM_UP:] for kind, values in times.items()}


def _quantile(times: list[float]) -> float:
    return statistics.quantiles(times, n=10)[-1]


_WATCH_BATCH = """() => {
  window.times = [];
  const el = document.querySelector('[data-stage]');
  let moved = 0;
  let first = null;
  el.addEventListener('keydown', (event) => { moved = event.timeStamp; first = null; }, true);
  el.addEventListener('icl-drawn', ({ detail }) => {
    el.getBoundingClientRect();
    const now = performance.now() - moved;
    first ??= now;
    if (detail.prompts === 64) window.times.push([first, now]);
  });
}"""


# What the explorer's worker takes to answer, for more queries than the page draws.
_ASK = """async ([model, bayes, examples, queries, times]) => {
  const live = new URL(`${document.documentElement.dataset.content_root}live/`, document.baseURI);
  const worker = new Worker(new URL('engine.js', live), { type: 'module' });
  const spread = (count) => Float64Array.from({ length: count }, (_, i) => 3 * Math.sin(i));
  const xs = spread(examples);
  const request = { kind: 'curve', model, bayes, weight: 0.5, xs, ys: xs.map(Math.sin), queries: spread(queries) };
  const answer = (id) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.kind === 'curve') resolve();
      if (data.kind === 'failed') reject(new Error(data.message));
    };
    worker.postMessage({ ...request, id });
  });
  const taken = [];
  for (let id = 0; id < times; id++) {
    const asked = performance.now();
    await answer(id);
    taken.push(performance.now() - asked);
  }
  worker.terminate();
  return taken;
}"""


def _standard(browser: Browser, url: str) -> list[dict[str, Any]]:
    """The paper's size in the explorer of combinations."""
    view = f"{CHAPTER}?a=0.2&n=40&model={quote(STANDARD)}"
    times = _latency(browser, url, view, "Combination weight")
    page, _ = _open(browser, url)
    page.goto(url + CHAPTER)
    asked = [STANDARD, prior_of(STANDARD), 40, 128, WARM_UP + MOVES]
    answers = page.evaluate(_ASK, asked)[WARM_UP:]
    page.close()
    return [
        {
            "what": f"{what}, standard",
            "reference": "200 ms",
            "reach": "median under",
            "measured": f"{statistics.median(found):.0f} ms",
            "detail": f"40 examples, {queries} queries, all lines; 90% quantile {_quantile(found):.0f} ms",
        }
        for what, queries, found in (
            ("a slider's move to its picture", len(QUERIES), times["drawn"]),
            ("the worker's answer", 128, answers),
        )
    ]


def _selection(browser: Browser, url: str) -> list[dict[str, Any]]:
    """The explorer of selection: from a move to its first picture, and to that of all 64 prompts."""
    found = []
    for size in ("tiny", "short"):
        page, _ = _open(browser, url)
        page.goto(f"{url}{SELECTION}?size={size}")
        page.wait_for_selector("[data-stage=live]")
        page.get_by_role("slider", name="Nonzero").first.focus()
        page.evaluate(_WATCH_BATCH)
        for move in range(BATCHES):
            page.keyboard.press("ArrowRight" if move % 2 == 0 else "ArrowLeft")
            page.wait_for_function(f"window.times.length > {move}")
        first, whole = zip(*page.evaluate("window.times")[WARM_UP_BATCHES:], strict=True)
        page.close()
        for what, times, limit in (
            ("first picture", first, "100 ms"),
            ("all 64 prompts", whole, "1 s"),
        ):
            found.append(
                {
                    "what": f"explorer of selection, a move to its {what}, {size}",
                    "reference": limit,
                    "reach": "median under",
                    "measured": f"{statistics.median(times):.0f} ms",
                    "detail": f"90% quantile {_quantile(list(times)):.0f} ms; 41 prefixes of each prompt, d = 20",
                }
            )
    return found


def rows() -> list[dict[str, Any]]:
    """Latency for both sizes, and the weights of page and runtime."""
    server = make_server(SITE)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/"
    found = []
    with sync_playwright() as playwright:
        browser = browsers.launch(playwright)
        for chapter, view, slider, what, size, limit in (
            (CHAPTER, "a=0.2", "Combination weight", "", "tiny", 16),
            (CHAPTER, "a=0.2", "Combination weight", "", "small", 33),
            (FREQUENCY, "freq=3", "Frequency", "frequency explorer, ", "tiny", 33),
            (FREQUENCY, "freq=3", "Frequency", "frequency explorer, ", "small", 66),
        ):
            few, many = (
                _latency(
                    browser, url, f"{chapter}?{view}&n={n}&model=line%2Bsine-0.5-{size}", slider
                )
                for n in (20, 40)
            )
            median = statistics.median
            found.append(
                {
                    "what": f"a slider's move to its picture, {what}{size}, all lines",
                    "reference": f"{limit} ms",
                    "reach": "median under",
                    "measured": f"{median(few['drawn']):.1f} ms",
                    "detail": f"20 examples, as first shown; 90% quantile {_quantile(few['drawn']):.0f} ms; "
                    f"painted, at 60 frames a second: {median(few['painted']):.0f} ms; "
                    f"40 examples: {median(many['drawn']):.1f} ms",
                }
            )
        found += _standard(browser, url)
        found += _selection(browser, url)
        page, sizes = _open(browser, url)
        # Of a reader who saves data nothing is fetched before a touch; of others what follows is, unasked.
        page.add_init_script(browsers.SAVE_DATA)
        browsers.open_whole(page, url + CHAPTER)
        before = dict(sizes)
        page.get_by_role("slider", name="Combination weight").focus()
        page.wait_for_selector("[data-stage=live]")
        after = {name: size for name, size in sizes.items() if name not in before}
        browser.close()
    server.shutdown()
    graphs = {
        name: size for name, size in after.items() if name.endswith((".onnx", ".safetensors"))
    }
    found.append(
        {
            "what": "a chapter's first load before any touch, gzip",
            "reference": "0.5 MB",
            "reach": "under",
            "measured": f"{sum(before.values()) / 1e6:.2f} MB",
            "detail": CHAPTER,
        }
    )
    found.append(
        {
            "what": "the runtime after it, gzip",
            "reference": "5 MB",
            "reach": "under",
            "measured": f"{(sum(after.values()) - sum(graphs.values())) / 1e6:.2f} MB",
            "detail": "and the first view's graphs: "
            + ", ".join(
                f"{Path(name).name.rsplit('.', 2)[0]} {size / 1e6:.2f} MB"
                for name, size in graphs.items()
            ),
        }
    )
    return found
