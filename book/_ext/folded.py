"""On the page the code of an essay stands after what it shows, folded behind a small word *code*.

An essay is a notebook whose metadata say `"essay": true`. A cell tagged `open` stands unfolded: it is there to be read.
A script (`_static/code.js`) adds one switch for the whole page.
"""

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform


class Folded(nodes.General, nodes.Element):
    """A cell's code, which opens at a click."""


class FoldCode(SphinxPostTransform):
    """Put each cell's code after its output, folded."""

    default_priority = 200
    formats = ("html",)

    def run(self) -> None:
        """Fold the cells of an essay."""
        if not self.env.metadata.get(self.env.docname, {}).get("essay"):
            return
        for source in list(self.document.findall(is_source)):
            cell = source.parent
            folded = Folded(open="tag_open" in cell["classes"])
            cell.remove(source)
            folded += source
            cell.insert(0 if folded["open"] else len(cell), folded)


def is_source(node: nodes.Node) -> bool:
    """Whether a node is the code of a cell."""
    return isinstance(node, nodes.container) and node.get("nb_element") == "cell_code_source"


def visit(translator: nodes.NodeVisitor, node: Folded) -> None:
    """Begin the fold."""
    opened = " open" if node["open"] else ""
    translator.body.append(f'<details class="icl-code"{opened}><summary>code</summary>')


def depart(translator: nodes.NodeVisitor, node: Folded) -> None:
    """End the fold."""
    translator.body.append("</details>")


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_node(Folded, html=(visit, depart))
    app.add_post_transform(FoldCode)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
