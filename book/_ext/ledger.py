"""The ledger of claims: made of what the chapters found, as their executed notebooks tell it, and of nothing else.

A page that holds the directive `{ledger}` is given, once all chapters have run, a table of the verdicts and one section
for each claim: the claim, the rule, the verdict, each measure with its interval, and a link to the section whose figure
shows it.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from docutils import nodes
from jupyter_cache import get_cache
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from icl_lib.claims import CLAIMS, MIME, VERDICTS, Finding

Chapter = tuple[str, Finding]


class Place(nodes.General, nodes.Element):
    """Where the ledger will stand."""


class LedgerDirective(SphinxDirective):
    """Mark the place; the chapters that are read after this page have not run yet."""

    def run(self) -> list[nodes.Node]:
        """Leave a mark, within which the sections of the claims have their titles."""
        return [Place()]


def findings(cache: Path, notebooks: Path) -> dict[str, Chapter]:
    """What the notebooks have found: by claim, the chapter's page and the finding.

    Args:
        cache: the folder of the execution cache, which holds each notebook's outputs.
        notebooks: the folder of the notebooks.

    Raises:
        ValueError: two findings of one claim.
    """
    executed = get_cache(cache)
    found: dict[str, Chapter] = {}
    for path in sorted(notebooks.glob("*.ipynb")):
        record = executed.match_cache_file(path)
        for cell in executed.get_cache_bundle(record.pk).nb.cells:
            for output in cell.get("outputs", ()):
                values = output.get("data", {}).get(MIME)
                if values is None:
                    continue
                if values["claim"] in found:
                    raise ValueError(
                        f"{values['claim']} is judged twice: in {path.stem} and before"
                    )
                found[values["claim"]] = (f"notebooks/{path.stem}", Finding.from_dict(values))
    return found


VERDICT = re.compile(rf"(C\d): ({'|'.join(sorted(VERDICTS, key=len, reverse=True))})")


def badges(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make of bold words such as "C6: supported" the verdict's badge, a link to the ledger."""
    for strong in list(doctree.findall(nodes.strong)):
        # A number's name stands beside it as a comment, which is raw HTML.
        words = "".join(part.astext() for part in strong if isinstance(part, nodes.Text))
        match = VERDICT.fullmatch(words)
        if match:
            key, verdict = match.groups()
            uri = f"{app.builder.get_relative_uri(docname, 'book/ledger')}#{key.lower()}"
            link = nodes.reference("", "", refuri=uri, internal=True)
            classes = ["icl-verdict", f"is-{verdict.replace(' ', '-')}"]
            link += nodes.inline("", f"{key}: {verdict}", classes=classes)
            strong.replace_self(link)


def paragraph(*parts: nodes.Node | str) -> nodes.paragraph:
    """A paragraph of text and inline nodes."""
    made = nodes.paragraph()
    made += [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    return made


def table(rows: Sequence[Sequence[nodes.Node | str]], heads: Sequence[str]) -> nodes.table:
    """A table with these heads; a cell is text or an inline node."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]

    def row(cells: Sequence[nodes.Node | str]) -> nodes.row:
        made = nodes.row()
        made += [nodes.entry("", paragraph(cell)) for cell in cells]
        return made

    head, body = nodes.thead("", row(heads)), nodes.tbody()
    body += [row(cells) for cells in rows]
    group += [head, body]
    return nodes.table("", group, classes=["icl-ledger"])


def badge(chapter: Chapter | None) -> nodes.inline:
    """The verdict of what a chapter has found."""
    verdict = chapter[1].verdict if chapter else "not tested"
    return nodes.inline("", verdict, classes=["icl-verdict", f"is-{verdict.replace(' ', '-')}"])


def overview(found: dict[str, Chapter]) -> nodes.table:
    """All claims with their verdicts, each a link to its section."""
    rows = [
        (
            nodes.reference("", key, refid=key.lower(), internal=True),
            claim.statement,
            badge(found.get(key)),
        )
        for key, claim in CLAIMS.items()
    ]
    made = table(rows, ("claim", "what the paper says", "on our models"))
    made["classes"] = ["icl-verdicts"]
    return made


def entry(app: Sphinx, docname: str, key: str, chapter: Chapter | None) -> nodes.section:
    """The section of one claim."""
    claim = CLAIMS[key]
    section = nodes.section(ids=[key.lower()], names=[key.lower()], classes=["icl-claim"])
    title = nodes.title("", f"{key}: ")
    title += badge(chapter)
    section += title
    section += paragraph(nodes.emphasis("", claim.statement), f" ({claim.status})")
    if chapter is None:
        section += paragraph("No chapter tests this yet.")
        return section
    page, finding = chapter
    section += paragraph(nodes.strong("", "Measured: "), claim.measure, ".")
    section += paragraph(nodes.strong("", "Rule: "), claim.rule, ".")
    if finding.note:
        section += paragraph(nodes.strong("", "With: "), finding.note, ".")
    section += table(list(finding.told().items()), ("measure", "estimate (90% interval)"))
    uri = f"{app.builder.get_relative_uri(docname, page)}#{finding.section}"
    title_of = app.env.titles[page].astext()
    link = nodes.reference("", f"The figure, in “{title_of}”", refuri=uri, internal=True)
    section += paragraph(link, ".")
    return section


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the ledger where the directive has marked its place."""
    places = list(doctree.findall(Place))
    if not places:
        return
    found = findings(Path(app.config.nb_execution_cache_path), Path(app.srcdir) / "notebooks")
    for place in places:
        sections = [entry(app, docname, key, found.get(key)) for key in CLAIMS]
        place.replace_self([overview(found), *sections])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_node(Place)
    app.add_directive("ledger", LedgerDirective)
    app.connect("doctree-resolved", badges)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
