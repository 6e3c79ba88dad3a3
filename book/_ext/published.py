"""What machines read of the site: canonical addresses, a picture for link previews, a list of all pages.

All of it needs the address under which the site is published: that of the repository's GitHub Pages. Where nothing
names the repository there is none of it, and the page for what is not there leads to the root of its host.
"""

from pathlib import Path

from repository import repository
from sphinx.application import Sphinx
from sphinx.config import Config

PICTURE = "_static/explorer-light.png"
NOT_FOUND = "404"


def name_address(app: Sphinx, config: Config) -> None:
    """Tell Sphinx where the site will lie, which gives each page its canonical address, and the templates the rest."""
    setting = repository(Path(app.srcdir))
    if setting is None:
        config.html_context |= {"site_root": "/"}
    else:
        config.html_baseurl = setting.site
        config.html_context |= {"site_root": setting.site, "card_picture": setting.site + PICTURE}
    config.html_additional_pages[NOT_FOUND] = "not_found.html"


def list_pages(app: Sphinx, error: Exception | None) -> None:
    """Write the list of all pages that search engines take: sitemap.txt, an address a line."""
    base, builder = app.config.html_baseurl, app.builder
    if error is None and base:
        addresses = [base + builder.get_target_uri(name) for name in sorted(app.env.found_docs)]
        text = "".join(f"{address}\n" for address in addresses)
        (Path(app.outdir) / "sitemap.txt").write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", name_address)
    app.connect("build-finished", list_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
