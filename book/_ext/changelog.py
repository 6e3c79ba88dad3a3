"""What CHANGELOG.md says of each version."""

import re
from datetime import datetime
from typing import NamedTuple


class Release(NamedTuple):
    """A section of the changelog: the version, the day it came out, and what changed, as Markdown."""

    version: str
    day: datetime
    changes: str


def releases(text: str) -> list[Release]:
    """The versions that `text`, a changelog, has with a date, the newest first; what is not released is left out."""
    sections = re.findall(
        r"^## ([\d.]+), (\d+ \w+ \d{4})\n(.*?)(?=^## |\Z)", text, flags=re.DOTALL | re.MULTILINE
    )
    return [
        Release(version, datetime.strptime(day, "%d %B %Y"), changes.strip())
        for version, day, changes in sections
    ]


def release(version: str, text: str) -> Release:
    """The section of one version.

    Raises:
        ValueError: there is none with a date.
    """
    known = {each.version: each for each in releases(text)}
    if version not in known:
        raise ValueError(
            f"CHANGELOG.md must have a section '## {version}, DAY MONTH YEAR', it has those of {', '.join(known)}"
        )
    return known[version]
