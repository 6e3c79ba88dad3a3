"""A model of the paper's own size for the page, with random weights: how long it takes does not depend on them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from playwright.sync_api import Page, Route

from icl_lib import Transformer, TransformerConfig
from icl_lib.browser import TransformerCurve, export_curve

REPLACED = "line+sine-0.5-small"
"""The shipped model whose place it takes."""


def standard_curve(folder: Path) -> tuple[TransformerCurve, Path]:
    """The model, in half precision as it would be shipped, and its graph in `folder`."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Transformer(TransformerConfig.standard(1, 41))
    module = TransformerCurve(model.half().float().requires_grad_(False)).eval()
    return module, folder / export_curve(module, folder / "standard.onnx")["file"]


def stand_in(page: Page, graph: Path) -> None:
    """Let `page` find `graph` where its manifest has the model REPLACED."""

    def manifest(route: Route) -> None:
        listed = route.fetch().json()
        listed["models"][REPLACED] |= {"file": graph.name, "bytes": graph.stat().st_size}
        route.fulfill(body=json.dumps(listed), content_type="application/json")

    page.route("**/live/manifest.json", manifest)
    page.route(f"**/{graph.name}", lambda route: route.fulfill(path=graph))
