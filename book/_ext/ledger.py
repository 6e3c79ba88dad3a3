"""The ledger of claims: made of the findings that follow from the stored tables, and of nothing else.

A page that holds the directive `{ledger}` is given a line for each claim, with its verdict, its number and its figure
as a thumbnail; then a section for each, with the rule, the measures and a link to the section of the chapter. Bold
words such as "C6: supported" become a badge on every page, and `{measures}` draws a claim's measures on any.
"""

import re
from collections.abc import Sequence
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from icl_lib import figures, prose
from icl_lib.claims import CLAIMS, OURS, VERDICTS, Claim, Finding

Cell = nodes.Node | str


class Place(nodes.General, nodes.Element):
    """Where the ledger will stand."""


class MeasuresDirective(SphinxDirective):
    """The measures of some claims as intervals against their limits: `{measures} C4a C4b`."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Draw them."""
        return [
            raw(prose.stored().findings[key].draw()._repr_html_())
            for key in self.arguments[0].split()
        ]


class LedgerDirective(SphinxDirective):
    """Mark the place; the titles of the chapters that it links to are known once they are read."""

    def run(self) -> list[nodes.Node]:
        """Leave a mark, within which the sections of the claims have their titles."""
        return [Place()]


_KEY = "|".join(sorted(CLAIMS, key=len, reverse=True))
BADGE = re.compile(rf"({_KEY}): ({'|'.join(sorted(VERDICTS, key=len, reverse=True))})")


def badge(verdict: str, words: str = "") -> nodes.inline:
    """A verdict in its frame."""
    classes = ["icl-verdict", f"is-{verdict.replace(' ', '-')}"]
    return nodes.inline("", words or verdict, classes=classes)


def badges(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Make of bold words such as "C6: supported" the verdict's badge, a link to the ledger."""
    for strong in list(doctree.findall(nodes.strong)):
        # A number's name stands beside it as a comment, which is raw HTML.
        words = "".join(part.astext() for part in strong if isinstance(part, nodes.Text))
        match = BADGE.fullmatch(words)
        if match:
            key, verdict = match.groups()
            uri = f"{app.builder.get_relative_uri(docname, 'book/ledger')}#{key.lower()}"
            link = nodes.reference("", "", refuri=uri, internal=True)
            link += badge(verdict, words)
            strong.replace_self(link)


def raw(markup: str) -> nodes.raw:
    """HTML as it is."""
    return nodes.raw("", markup, format="html")


def paragraph(*parts: Cell) -> nodes.paragraph:
    """A paragraph of text and inline nodes."""
    made = nodes.paragraph()
    made += [nodes.Text(part) if isinstance(part, str) else part for part in parts]
    return made


def table(rows: Sequence[Sequence[Cell]], heads: Sequence[str], *classes: str) -> nodes.table:
    """A table with these heads; a cell is text or an inline node."""
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=1) for _ in heads]

    def row(cells: Sequence[Cell]) -> nodes.row:
        made = nodes.row()
        made += [nodes.entry("", paragraph(cell)) for cell in cells]
        return made

    head, body = nodes.thead("", row(heads)), nodes.tbody()
    body += [row(cells) for cells in rows]
    group += [head, body]
    return nodes.table("", group, classes=list(classes))


def overview() -> nodes.table:
    """All claims, a line each, which leads to its section."""
    found = prose.stored().findings

    def line(key: str, claim: Claim) -> list[Cell]:
        link = nodes.reference("", key, refid=key.lower(), internal=True)
        if key not in found:
            return [link, claim.statement, badge("not tested"), "", "", ""]
        finding = found[key]
        number = figures.estimate(*finding.measures[claim.headline])
        others = ", ".join(
            f"{who.removeprefix('null: ')}: {claim.judge(measures)}"
            for who, measures in finding.beside.items()
        )
        picture = raw(finding.draw(small=True).svg)
        return [
            link,
            claim.statement,
            badge(finding.verdict),
            f"{claim.headline}: {number}",
            others,
            picture,
        ]

    heads = ("claim", "what is said", "ours", "its number", "by the same rule", "measures")
    return table([line(*each) for each in CLAIMS.items()], heads, "icl-verdicts")


def entry(app: Sphinx, docname: str, claim: Claim, finding: Finding | None) -> nodes.section:
    """The section of one claim."""
    anchor = claim.key.lower()
    section = nodes.section(ids=[anchor], names=[anchor], classes=["icl-claim"])
    title = nodes.title("", f"{claim.key}: ")
    title += badge(finding.verdict if finding else "not tested")
    section += title
    section += paragraph(nodes.emphasis("", claim.statement), f" ({claim.status})")

    def told(head: str, words: str) -> None:
        nonlocal section
        section += paragraph(nodes.strong("", f"{head}: "), f"{words}.")

    if finding is None:
        told("To be measured", claim.measure)
        told("Rule", claim.rule)
        section += paragraph("No chapter tests this yet.")
        return section
    if finding.missing:
        told(
            "Not testable",
            f"what it rests on has not learnt its own classes ({'; '.join(finding.missing)})",
        )
        told("By the rule alone", finding.by_rule)
    page, where = finding.where.split("#")
    uri = f"{app.builder.get_relative_uri(docname, page)}#{where}"
    name = f"the section in “{app.env.titles[page].astext()}”"
    number = figures.estimate(*finding.measures[claim.headline])
    link = nodes.reference("", name, refuri=uri, internal=True)
    section += paragraph(nodes.strong("", f"{claim.headline}: "), f"{number}; see ", link, ".")
    section += raw("<details><summary>The rule and all measures</summary>")
    section += raw(finding.draw()._repr_html_())
    told("Measured", claim.measure)
    told("Rule", claim.rule)
    told("On", finding.note)
    for who, measures in finding.beside.items():
        told(f"{who[0].upper()}{who[1:]}, by the same rule", claim.judge(measures))
    if claim.changed:
        told("The rule's history", claim.changed.removesuffix("."))
    words = finding.told()
    columns = [OURS, *finding.beside]
    rows = [[name, *(said[who] for who in columns)] for name, said in words.items()]
    section += table(rows, ("measure, with its 90% interval", *columns), "icl-ledger")
    section += raw("</details>")
    return section


def fill(app: Sphinx, doctree: nodes.document, docname: str) -> None:
    """Put the ledger where the directive has marked its place."""
    places = list(doctree.findall(Place))
    if not places:
        return
    found = prose.stored().findings
    for place in places:
        sections = [entry(app, docname, claim, found.get(key)) for key, claim in CLAIMS.items()]
        place.replace_self([overview(), *sections])


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the extension."""
    app.add_node(Place)
    app.add_directive("ledger", LedgerDirective)
    app.add_directive("measures", MeasuresDirective)
    app.connect("doctree-resolved", badges)
    app.connect("doctree-resolved", fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
