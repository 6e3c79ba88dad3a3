"""The front-end source: an anywidget module is one piece of text, made here of the files beside this one."""

from pathlib import Path

_HERE = Path(__file__).parent


def source(*names: str) -> str:
    """The files called `names`, one after the other: what the widgets share comes first, then a widget's own."""
    return "\n".join((_HERE / name).read_text(encoding="utf-8") for name in names)
