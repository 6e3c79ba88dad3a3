"""Buttons that lead to the repository and to where a chapter runs, if anything names the repository; else none.

Only notebooks can be launched: Colab opens nothing else, and Binder shows Markdown as text. A notebook that is
downloaded from the site says where Colab finds the library.
"""

from pathlib import Path
from typing import Any

from docutils import nodes
from repository import BRANCH, fill, repository
from sphinx.application import Sphinx
from sphinx.config import Config


def name_repository(app: Sphinx, config: Config) -> None:
    """Give the theme the repository's address, or take from it all that would need one."""
    setting = repository(Path(app.srcdir))
    options = config.html_theme_options
    options["use_repository_button"] = setting is not None
    if setting is None:
        options["repository_url"] = ""
        options["launch_buttons"] = {}
    else:
        options["repository_url"] = setting.url
        options["repository_branch"] = BRANCH


def launch_notebooks_only(
    app: Sphinx,
    pagename: str,
    templatename: str,
    context: dict[str, Any],
    doctree: nodes.document | None,
) -> None:
    """Take the launch buttons from pages that are no notebooks."""
    if not app.env.doc2path(pagename, base=False).endswith(".ipynb"):
        buttons = context.get("header_buttons", [])
        context["header_buttons"] = [b for b in buttons if b.get("label") != "launch-buttons"]


def fill_downloads(app: Sphinx, error: Exception | None) -> None:
    """Write the repository into the notebooks that readers download."""
    setting = repository(Path(app.srcdir))
    if error is None and setting is not None:
        # Not into those that the theme makes of pages with cells, which have no such place.
        for name in app.env.found_docs:
            source = app.env.doc2path(name, base=False)
            if source.endswith(".ipynb"):
                fill(Path(app.outdir) / "_sources" / source, setting)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", name_repository)
    app.connect(
        "html-page-context", launch_notebooks_only, priority=502
    )  # the theme adds them at 501
    app.connect("build-finished", fill_downloads)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
