"""What machines read of the site: canonical addresses, a picture for link previews, a list of all pages, a feed.

All of it needs the address under which the site is published: that of the repository's GitHub Pages. Where nothing
names the repository there is none of it, and the page for what is not there leads to the root of its host.
"""

from pathlib import Path
from xml.etree import ElementTree

from changelog import releases
from markdown_it import MarkdownIt
from repository import repository
from sphinx.application import Sphinx
from sphinx.config import Config

PICTURE = "_static/explorer-light.png"
NOT_FOUND = "404"
FEED = "feed.xml"
CHANGES = Path(__file__).parents[2] / "CHANGELOG.md"
ATOM = "http://www.w3.org/2005/Atom"


def name_address(app: Sphinx, config: Config) -> None:
    """Tell Sphinx where the site will lie, which gives each page its canonical address, and the templates the rest."""
    setting = repository(Path(app.srcdir))
    if setting is None:
        config.html_context |= {"site_root": "/"}
    else:
        config.html_baseurl = setting.site
        config.html_context |= {
            "site_root": setting.site,
            "card_picture": setting.site + PICTURE,
            "feed": FEED,
        }
    config.html_additional_pages[NOT_FOUND] = "not_found.html"


def list_pages(app: Sphinx, error: Exception | None) -> None:
    """Write the list of all pages that search engines take: sitemap.txt, an address a line."""
    base, builder = app.config.html_baseurl, app.builder
    if error is None and base:
        addresses = [base + builder.get_target_uri(name) for name in sorted(app.env.found_docs)]
        text = "".join(f"{address}\n" for address in addresses)
        (Path(app.outdir) / "sitemap.txt").write_text(text, encoding="utf-8")


def write_feed(app: Sphinx, error: Exception | None) -> None:
    """Write what has changed as an Atom feed (RFC 4287), an entry for each release."""
    base = app.config.html_baseurl
    if error is not None or not base:
        return
    found = releases(CHANGES.read_text(encoding="utf-8"))
    feed = ElementTree.Element("feed", xmlns=ATOM)

    def add(parent: ElementTree.Element, name: str, text: str = "", **given: str) -> None:
        ElementTree.SubElement(parent, name, given).text = text or None

    add(feed, "id", base)
    add(feed, "title", app.config.project)
    add(feed, "updated", f"{found[0].day.isoformat()}Z")
    add(feed, "link", rel="self", href=base + FEED)
    add(feed, "link", rel="alternate", href=base)
    add(ElementTree.SubElement(feed, "author"), "name", app.config.author)
    for each in found:
        entry = ElementTree.SubElement(feed, "entry")
        add(entry, "id", f"{base}#{each.version}")
        add(entry, "title", f"Version {each.version}")
        add(entry, "updated", f"{each.day.isoformat()}Z")
        add(entry, "link", href=base)
        add(entry, "content", MarkdownIt().render(each.changes), type="html")
    ElementTree.indent(feed)
    ElementTree.ElementTree(feed).write(
        Path(app.outdir, FEED), encoding="utf-8", xml_declaration=True
    )


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.connect("config-inited", name_address)
    app.connect("build-finished", list_pages)
    app.connect("build-finished", write_feed)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
