"""Pretraining on the built page, in headless Chromium: steps beside torch's, what a run teaches, how free the page is.

The worker has one thread, and so has torch.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import torch
from playwright.sync_api import sync_playwright

from benchmarks.slider import SITE
from book import browsers
from book.serve import make_server
from icl_lib import Transformer, sample_prompts
from icl_lib.pretraining import CLASSES, CONFIGS, EXAMPLES, ON_PAGE, STEPS, Packing, Pretraining

CHAPTER = "notebooks/pretrain.html"
WEIGHTS = [0.5, 0.5, 0.0, 0.0]
SEED, TOTAL = 2, STEPS[1]  # as the page shows first
WARM_UP = 50
REACH = 60  # seconds of a run
WATCHED = 15  # seconds of it during which the page's own thread is watched

# The page's own worker: some steps to warm up, then the rest, timed.
_RUN = """async ([size, seed, total, weights, warm]) => {
  const live = new URL(`${document.documentElement.dataset.content_root}live/`, document.baseURI);
  const worker = new Worker(new URL('engine.js', live), { type: 'module' });
  const once = (until, whole) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.kind === 'pretrain') resolve(data);
      if (data.kind === 'failed') reject(new Error(data.message));
    };
    const run = { run: 'a', size, seed, total, until, weights, milliseconds: 350, whole };
    worker.postMessage({ kind: 'pretrain', id: until, ...run });
  });
  // In slices, and with a look after each, as the page does.
  const ask = async (until) => {
    for (let step = 0; step < until; ) step = (await once(until, false)).step[0];
  };
  await ask(warm);
  const start = performance.now();
  await ask(total);
  const taken = performance.now() - start;
  const { params } = await once(total, true);
  worker.terminate();
  return { taken, params: Array.from(params) };
}"""


# How long the tasks of the page's own thread take that browsers call long, of more than 50 ms.
_WATCH = """() => {
  window.long = [];
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map(({ duration }) => duration)))
    .observe({ type: 'longtask' });
}"""


def _torch_seconds(size: str, steps: int) -> float:
    """Seconds of steps of the same run; those of all phases cost about the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = Pretraining(SEED, TOTAL, CONFIGS[size])
    for _ in range(WARM_UP):
        run.advance(WEIGHTS)
    begin = time.perf_counter()
    for _ in range(steps):
        run.advance(WEIGHTS)
    taken = time.perf_counter() - begin
    torch.set_num_threads(threads)
    return taken


@torch.no_grad()
def _errors(size: str, params: list[float]) -> dict[str, float]:
    """What a model errs by after EXAMPLES examples, on prompts that neither it nor the page has met."""
    model = Transformer(CONFIGS[size])
    packing, begin, packed = Packing(model.config), 0, []
    for like in packing.pack(dict(model.named_parameters())):
        values = torch.tensor(params[begin : begin + like.numel()])
        packed.append(values.reshape(like.shape))
        begin += like.numel()
    model.load_state_dict(packing.unpack(packed))
    found = {}
    for name in ("line", "sine"):
        xs, ys, _ = sample_prompts(CLASSES[name], 1024, EXAMPLES + 1, seed=99)
        found[name] = (model(xs, ys) - ys)[:, -1].square().mean().item()
    return found


def rows() -> list[dict[str, Any]]:
    """For each size a step's time beside torch's, and a whole run's; and how long the page's own thread is not free."""
    server = make_server(SITE)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = []
    with sync_playwright() as playwright:
        browser = browsers.launch(playwright)
        page = browser.new_page()
        page.set_default_timeout(600_000)
        browsers.open_whole(page, f"http://127.0.0.1:{server.server_port}/{CHAPTER}")
        for size in reversed(ON_PAGE):
            ran = page.evaluate(_RUN, [size, SEED, TOTAL, WEIGHTS, WARM_UP])
            found += _rows_of(size, **ran)
        page.get_by_role("button", name="Pretrain", exact=True).click()
        page.locator(".icl-said", has_text="After ").wait_for()  # its engine is up
        page.evaluate(_WATCH)
        page.wait_for_timeout(1000 * WATCHED)
        long = page.evaluate("window.long")
        browser.close()
    server.shutdown()
    return [
        *found,
        {
            "what": f"the page's own thread, {WATCHED} s of a run",
            "reference": "50 ms, from where browsers call a task long",
            "reach": "none longer",
            "measured": str(len(long)),
            "detail": f"the longest {max(long):.0f} ms" if long else "none was longer",
        },
    ]


def _rows_of(size: str, taken: float, params: list[float]) -> list[dict[str, Any]]:
    """Rows of a run that took so many milliseconds, and led to these parameters."""
    ours, theirs = taken / 1000 / (TOTAL - WARM_UP), _torch_seconds(size, 200) / 200
    errors = _errors(size, params)
    return [
        {
            "what": f"a step of pretraining on the page, its pictures included, {size}",
            "reference": "the same step in torch",
            "reach": "at most 3 times as long",
            "measured": ours / theirs,
            "detail": f"{1000 * ours:.0f} ms against {1000 * theirs:.0f} ms, one thread",
        },
        {
            "what": f"pretraining on the page, {TOTAL:,} steps, {size}",
            "reference": f"{REACH} s",
            "reach": "under",
            "measured": f"{ours * TOTAL:.0f} s",
            "detail": f"errs by {errors['line']:.3f} on lines and {errors['sine']:.3f} on sines after "
            f"{EXAMPLES} examples, 1,024 prompts each; seed {SEED}, with which the page begins",
        },
    ]
