"""Places of an explorer that have a name, and the tour through some of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple


class Place(NamedTuple):
    """A view with a name; one with a sentence is a step of the tour.

    Attributes:
        name: as the reader chooses it.
        view: what differs from the explorer's usual view, by the names of its traits.
        says: what is to be seen there, in one sentence.
        button: what the button says that leads there from the step before.
    """

    name: str
    view: Mapping[str, Any]
    says: str = ""
    button: str = ""


def offered(
    places: Sequence[Place],
    usual: Mapping[str, Any],
    *,
    shown: Callable[[Mapping[str, Any]], bool] = lambda _: True,
    true: bool = True,
) -> list[dict[str, Any]]:
    """The places that an explorer has, for guide.js.

    Args:
        places: all of them, the steps of the tour in their order.
        usual: the view that they differ from.
        shown: whether the explorer can show a view.
        true: whether the tour's sentences are true of this explorer's model. If not, or if it cannot show a step, it
            offers no tour.
    """
    views = [{**usual, **place.view} for place in places]
    there = [shown(view) for view in views]
    toured = true and all(there[k] for k, place in enumerate(places) if place.says)
    return [
        {"name": name, "view": view, "says": says if toured else "", "button": button}
        for (name, _, says, button), view, can in zip(places, views, there, strict=True)
        if can
    ]
