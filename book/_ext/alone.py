"""Each explorer alone on a page of its own, to be shown on other pages: embed/combinations.html, and its like.

It is the explorer of a chapter, with the same first view. It needs neither the theme nor what revives widgets: a
front end is one module, and the page hands it the numbers that the chapter's notebook left.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx.application import Sphinx

CHAPTERS = {
    "combinations": "notebooks/convex_combinations",
    "frequency": "notebooks/frequency_extrapolation",
    "selection": "notebooks/model_selection",
}
"""The chapter of each explorer."""

FRONT_END, STYLE = "_esm", "_css"


def widget_of(app: Sphinx, chapter: str) -> dict[str, Any]:
    """The state of the chapter's one widget, its front end included.

    Raises:
        ValueError: it has none, or several.
    """
    _, attributes = NbMetadataCollector.get_js_files(app.env, chapter)["ipywidgets_state"]
    models = [model["state"] for model in json.loads(attributes["body"])["state"].values()]
    widgets = [state for state in models if FRONT_END in state]
    if len(widgets) != 1:
        raise ValueError(
            f"{chapter} must have one widget for a page of its own, has {len(widgets)}"
        )
    return widgets[0]


def still_of(app: Sphinx, chapter: str) -> str:
    """The still figure of that widget, less its style sheet."""
    raws = app.env.get_doctree(chapter).findall(nodes.raw)
    still = next(raw.astext() for raw in raws if "icl-still" in raw.astext())
    return re.sub("<style>.*?</style>", "", still, flags=re.DOTALL)


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The pages, as Sphinx collects them: name, context and template."""
    for name, chapter in CHAPTERS.items():
        if chapter not in app.env.found_docs:
            continue
        state = widget_of(app, chapter)
        traits = {
            key: value
            for key, value in state.items()
            if not key.startswith("_") and key != "layout"
        }
        context = {
            "title": app.env.titles[chapter].astext(),
            "explorer": name,
            "chapter": chapter,
            "style": state[STYLE],
            "still": still_of(app, chapter),
            "traits": json.dumps(traits, ensure_ascii=False).replace("</", r"<\/"),
        }
        yield f"embed/{name}", context, "alone.html"
        front_end = Path(app.outdir) / "embed" / f"{name}.js"
        front_end.parent.mkdir(exist_ok=True)
        front_end.write_text(state[FRONT_END], encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
