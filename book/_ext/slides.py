"""The book's figures as slides, each under its finding: slides.html, one file that needs nothing else.

A slide is a figure of a chapter and the caption that follows it: its number, and in bold what it shows.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from docutils import nodes
from sphinx.application import Sphinx

PAGE = "slides"
CAPTION = re.compile(r"(Figure \d+)\. (.+)")
STYLE = Path(__file__).parents[1] / "_static" / "icl.css"


class Slide(NamedTuple):
    """A figure: its number in its chapter, its finding, and the drawing."""

    number: str
    finding: str
    drawing: str


def slides(doctree: nodes.document) -> Iterator[Slide]:
    """The figures of a chapter. Explorers are none: without the engine they draw nothing.

    What a cell to play with draws has no caption, and is no slide.
    """
    drawing = None
    for node in doctree.findall(lambda node: isinstance(node, nodes.raw | nodes.strong)):
        if isinstance(node, nodes.strong):
            caption = CAPTION.fullmatch(" ".join(node.astext().split()))
            if caption and drawing:
                yield Slide(caption[1], caption[2], drawing)
                drawing = None
        elif 'class="icl-figure"' in node.astext():
            text = node.astext()
            drawing = text[text.index("<svg") : text.index("</svg>") + len("</svg>")]


def palette() -> str:
    """The predictors' colours as the book's style sheet has them: first for light pages, then, if others, for dark."""
    found: dict[str, list[str]] = {}
    for name, colour in re.findall(r"(--icl-\w+): (#\w{6});", STYLE.read_text(encoding="utf-8")):
        found.setdefault(name, []).append(colour)
    return " ".join(f"{name}: light-dark({of[0]}, {of[-1]});" for name, of in found.items())


def pages(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """The page, as Sphinx collects it: name, context and template."""
    chapters = [
        (name, app.env.titles[name].astext(), list(slides(app.env.get_doctree(name))))
        for name in app.env.toctree_includes.get(app.config.root_doc, [])
        if name.startswith("notebooks/")
    ]
    # Taken away, it leads back to the book only by the full address, if there is one.
    context = {
        "chapters": [each for each in chapters if each[2]],
        "base": app.config.html_baseurl,
        "palette": palette(),
    }
    yield PAGE, context, "slides.html"


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("html-collect-pages", pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
