"""What this book asks of Sphinx beyond the settings in `_config.yml`.

- A formula that KaTeX cannot set stops the build, instead of appearing in red.
- Every page describes itself to search engines and link previews.
- Scripts do not hold up the first picture of a page.
- What docutils and pandas write is made to say what it is to a screen reader.
- The API reference leaves out what Python itself has written of a tuple's fields.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinxcontrib import katex

DESCRIPTION_LENGTH = 200  # what search engines and link previews show of a description


def use_installed_katex(app: Sphinx, config: Config) -> None:
    """Set formulas with the very version of KaTeX whose style sheet and fonts the site serves."""
    config.katex_js_path = str(Path(app.srcdir) / "node_modules/katex/dist/katex.min.js")
    katex.KATEX_DEFAULT_OPTIONS["throwOnError"] = True
    # Seconds; on a busy machine node takes longer than the 5 that are usual.
    katex.STARTUP_TIMEOUT = katex.RENDER_TIMEOUT = 120.0
    # Of the two ways to node only that by a port tries again where node has its socket but does not listen yet.
    katex.KaTeXServer.start_server_process = katex.KaTeXServer.start_network_socket


def first_sentences(doctree: nodes.document) -> str:
    """Return the page's first paragraph as plain text, cut between words at DESCRIPTION_LENGTH."""
    for paragraph in doctree.findall(nodes.paragraph):
        if isinstance(paragraph.parent, nodes.section):
            text = " ".join(paragraph.astext().split())
            if len(text) <= DESCRIPTION_LENGTH:
                return text
            return text[: DESCRIPTION_LENGTH - 1].rsplit(" ", 1)[0] + "…"
    return ""


def describe_page(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Give the template a description, unless the page's own front matter has one."""
    has_own = doctree is not None and any(
        meta.get("name") == "description" for meta in doctree.findall(nodes.meta)
    )
    context["page_description"] = first_sentences(doctree) if doctree is not None else ""
    context["has_own_description"] = has_own


def defer_scripts(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Have script files run once the page is read, in their order.

    Not so the options, which inline scripts write to, nor the search page's, which call each other.
    """
    write = context["js_tag"]

    def write_deferred(script: Any) -> str:
        tag: str = write(script)
        opening = tag.partition(">")[0]
        if " src=" not in opening or " defer=" in opening or "documentation_options.js" in tag:
            return tag
        return tag.replace("<script ", '<script defer="defer" ', 1)

    if pagename != "search":
        context["js_tag"] = write_deferred


_LINES = re.compile(r'<span class="sig-paren">\(</span>\s*<dl>(.*?)</dl>', re.DOTALL)


def _line_items(lines: str) -> str:
    return lines.replace("<dd>", "<li>").replace("</dd>", "</li>")


def mend_markup(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Replace markup that axe-core finds fault with, where no setting upstream does."""
    if "body" in context:
        context["body"] = (
            context["body"]
            # docutils gives a bibliography's entries a role that ARIA has since withdrawn.
            .replace(' role="doc-biblioentry"', ' role="listitem"')
            # pandas heads the column of an unnamed index with nothing.
            .replace("<th></th>", "<td></td>")
            # myst-nb names a hidden cell's switch otherwise than it labels it.
            .replace('<summary aria-label="Toggle hidden content">', "<summary>")
        )
        # Sphinx writes the lines of a long signature as a list of definitions without terms.
        context["body"] = _LINES.sub(
            lambda lines: '<span class="sig-paren">(</span><ul>' + _line_items(lines[1]) + "</ul>",
            context["body"],
        )


def leave_out(
    app: Sphinx, what: str, name: str, thing: object, skip: bool, options: object
) -> bool | None:
    """Leave the fields of a named tuple out: they are told of among its variables."""
    return True if (getattr(thing, "__doc__", "") or "").startswith("Alias for field") else None


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("autodoc-skip-member", leave_out)
    app.connect("config-inited", use_installed_katex)
    app.connect("html-page-context", describe_page)
    app.connect("html-page-context", defer_scripts)
    app.connect("html-page-context", mend_markup)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
