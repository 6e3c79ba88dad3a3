"""Pretraining on the built page: its steps in headless Chromium, one thread, beside torch's, and what a run teaches."""

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
from icl_lib.pretraining import CLASSES, CONFIG, EXAMPLES, STEPS, Packing, Pretraining

CHAPTER = "notebooks/pretrain.html"
WEIGHTS = [0.5, 0.5, 0.0, 0.0]
SEED, TOTAL = 2, STEPS[1]  # as the page shows first
WARM_UP = 50
REACH = 60  # seconds of a run

# The page's own worker: some steps to warm up, then the rest, timed.
_RUN = """async ([seed, total, weights, warm]) => {
  const live = new URL(`${document.documentElement.dataset.content_root}live/`, document.baseURI);
  const worker = new Worker(new URL('engine.js', live), { type: 'module' });
  const once = (until, whole) => new Promise((resolve, reject) => {
    worker.onmessage = ({ data }) => {
      if (data.kind === 'pretrain') resolve(data);
      if (data.kind === 'failed') reject(new Error(data.message));
    };
    const run = { run: 'a', seed, total, until, weights, milliseconds: 350, whole };
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


def _torch_seconds(steps: int) -> float:
    """Seconds of steps of the same run; those of all phases cost about the same."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = Pretraining(SEED, TOTAL)
    for _ in range(WARM_UP):
        run.advance(WEIGHTS)
    begin = time.perf_counter()
    for _ in range(steps):
        run.advance(WEIGHTS)
    taken = time.perf_counter() - begin
    torch.set_num_threads(threads)
    return taken


@torch.no_grad()
def _errors(params: list[float]) -> dict[str, float]:
    """What a model errs by after EXAMPLES examples, on prompts that neither it nor the page has met."""
    packing, begin, packed = Packing(CONFIG), 0, []
    for like in packing.pack(dict(Transformer(CONFIG).named_parameters())):
        values = torch.tensor(params[begin : begin + like.numel()])
        packed.append(values.reshape(like.shape))
        begin += like.numel()
    model = Transformer(CONFIG)
    model.load_state_dict(packing.unpack(packed))
    found = {}
    for name in ("line", "sine"):
        xs, ys, _ = sample_prompts(CLASSES[name], 1024, EXAMPLES + 1, seed=99)
        found[name] = (model(xs, ys) - ys)[:, -1].square().mean().item()
    return found


def rows() -> list[dict[str, Any]]:
    """A step's time beside torch's, and a whole run's."""
    server = make_server(SITE)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as playwright:
        browser = browsers.launch(playwright)
        page = browser.new_page()
        page.set_default_timeout(600_000)
        page.goto(f"http://127.0.0.1:{server.server_port}/{CHAPTER}")
        ran = page.evaluate(_RUN, [SEED, TOTAL, WEIGHTS, WARM_UP])
        browser.close()
    server.shutdown()
    steps = TOTAL - WARM_UP
    ours, theirs = ran["taken"] / 1000 / steps, _torch_seconds(200) / 200
    errors = _errors(ran["params"])
    return [
        {
            "what": "a step of pretraining on the page, its pictures included, tiny",
            "reference": "the same step in torch",
            "reach": "at most 3 times as long",
            "measured": ours / theirs,
            "detail": f"{1000 * ours:.0f} ms against {1000 * theirs:.0f} ms, one thread",
        },
        {
            "what": f"pretraining on the page, {TOTAL:,} steps",
            "reference": f"{REACH} s",
            "reach": "under",
            "measured": f"{ours * TOTAL:.0f} s",
            "detail": f"errs by {errors['line']:.3f} on lines and {errors['sine']:.3f} on sines after "
            f"{EXAMPLES} examples, 1,024 prompts each; seed {SEED}, with which the page begins",
        },
    ]
