"""The shipped models in a table, made of their cards: a page that holds the directive `{models}` is given it."""

from docutils import nodes
from ledger import Cell, table
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from icl_lib import weights
from icl_lib.samplers import in_words

HEADS = ("model", "pretrained on", "parameters", "prompts", "seed", "besides")


def besides(card: dict[str, object]) -> str:
    """What was unusual in a model's training."""
    recipe = card["recipe"]
    assert isinstance(recipe, dict)
    noise, named = recipe.get("noise") or 0.0, recipe.get("named") or 0.0
    told = (
        ("a second loss", recipe.get("deep_supervision")),
        ("went on from earlier weights", recipe.get("parent")),
        ("first weights as GPT-2's", recipe.get("initialisation") == "gpt2"),
        (f"noise of {noise:.2g}", noise),
        (f"the class named in {named:.0%} of the prompts", named),
    )
    return "; ".join(words for words, so in told if so)


class ModelsDirective(SphinxDirective):
    """All shipped models, a line each."""

    def run(self) -> list[nodes.Node]:
        """Write the table."""

        def line(name: str) -> list[Cell]:
            card = weights.read_card(name)
            return [
                nodes.literal("", name),
                in_words(weights.trained_on(card)),
                f"{card['parameters']:,}",
                f"{weights.prompts_met(card):,}",
                str(card["seed"]),
                besides(card),
            ]

        return [table([line(name) for name in weights.available()], HEADS, "icl-models")]


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the extension."""
    app.add_directive("models", ModelsDirective)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
