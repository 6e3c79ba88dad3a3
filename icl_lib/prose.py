"""Numbers in prose, kept true: a number is named where it stands, and a sentence says what it hangs on.

    It errs by 0.13 (0.11–0.15)<!-- combinations.half -->, more than anybody. <!-- holds: combinations.worst -->

The comments are seen nowhere but in the source. The first names the number before it, which `write` replaces by what
the stored tables say. The second names a condition on those tables; when it fails, `check` says which sentence to
rewrite.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path

import pandas as pd

from icl_lib import results
from icl_lib.claims import VERDICTS
from icl_lib.experiments import CHAPTERS, findings
from icl_lib.training import write_whole

_ONE = r"−?\d[\d,]*(?:\.\d+)?%?"
_INTERVAL = rf" \({_ONE}(?:–| to ){_ONE}\)"
_POWER = " × 10⁻[⁰¹²³⁴⁵⁶⁷⁸⁹]+"
_VERDICT = "|".join(sorted(VERDICTS, key=len, reverse=True))
_NUMBER = re.compile(
    rf"(?P<text>(?:below 10⁻⁷|{_VERDICT}|at most {_ONE}|{_ONE}(?:{_INTERVAL})?)(?:{_POWER})?)"
    r"<!-- (?P<name>[\w.]+) -->"
)
_NAMED = re.compile(r"<!-- ([\w.]+) -->")
_HOLDS = re.compile(r"<!-- holds: ([\w.]+) -->")


class Facts:
    """What the stored tables say: the numbers and the conditions of all chapters, and what is found of the claims."""

    def __init__(self, read: Callable[[str], pd.DataFrame] = results.read) -> None:
        tables: Mapping[str, pd.DataFrame] = {
            name: _categorised(read(name)) for name in results.EXPERIMENTS
        }
        self.numbers: dict[str, str] = {}
        self.conditions: dict[str, bool] = {}
        for chapter in CHAPTERS:
            self.numbers |= chapter.numbers(tables)
            self.conditions |= chapter.conditions(tables)
        self.findings = findings(tables)
        for key, finding in self.findings.items():
            self.numbers[f"claims.{key}"] = finding.verdict
            for verdict in VERDICTS:
                name = f"claims.{key}.{verdict.replace(' ', '_')}"
                self.conditions[name] = verdict == finding.verdict

    def complaints(self, text: str) -> list[str]:
        """What is wrong in a text: numbers that are out of date, sentences that hold no longer, unknown names."""
        found = []
        placed = {match.start("name"): match["text"] for match in _NUMBER.finditer(text)}
        for match in _NAMED.finditer(text):
            name, shown = match[1], placed.get(match.start(1))
            if name not in self.numbers:
                found.append(f"no number is called {name}")
            elif shown is None:
                found.append(f"no number stands before the name {name}")
            elif shown != self.numbers[name]:
                found.append(f"{name} is {self.numbers[name]}, the text says {shown}")
        for match in _HOLDS.finditer(text):
            if match[1] not in self.conditions:
                found.append(f"no condition is called {match[1]}")
            elif not self.conditions[match[1]]:
                said = text[: match.start()].split("\n")[-1].strip()
                found.append(f"{match[1]} no longer holds; rewrite: {said[-200:]}")
        return found

    def renew(self, text: str) -> str:
        """The text with its named numbers as they are now."""
        return _NUMBER.sub(
            lambda match: (
                f"{self.numbers.get(match['name'], match['text'])}<!-- {match['name']} -->"
            ),
            text,
        )


@cache
def stored() -> Facts:
    """What the shipped tables say, worked out once."""
    return Facts()


def _categorised(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its words as categories, by which rows are chosen thousands of times."""
    words = table.columns[[pd.api.types.is_string_dtype(kind) for kind in table.dtypes]]
    return table.astype(dict.fromkeys(words, "category"))


def pages(root: Path) -> list[Path]:
    """The notebooks and pages whose prose is kept."""
    return sorted(
        [*root.glob("notebooks/*.ipynb"), *root.glob("book/*.md"), *root.glob("README.md")]
    )


def check(root: Path = Path(), facts: Facts | None = None) -> list[str]:
    """What is wrong in the prose of a checkout, one line for each fault: the file, and what to do."""
    facts = facts or Facts()
    return [
        f"{path.relative_to(root)}: {complaint}"
        for path in pages(root)
        for text in _texts(path)
        for complaint in facts.complaints(text)
    ]


def write(root: Path = Path(), facts: Facts | None = None) -> list[str]:
    """Renew the named numbers in the prose of a checkout; return what is then still wrong."""
    facts = facts or Facts()
    for path in pages(root):
        before = path.read_text()
        after = facts.renew(before) if path.suffix == ".md" else _renewed(before, facts)
        if after != before:
            write_whole(path, partial(Path.write_text, data=after))
    return check(root, facts)


def _texts(path: Path) -> list[str]:
    if path.suffix == ".md":
        return [path.read_text()]
    cells = json.loads(path.read_text())["cells"]
    return ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"]


def _renewed(text: str, facts: Facts) -> str:
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            renewed = facts.renew("".join(cell["source"]))
            cell["source"] = renewed.splitlines(keepends=True)
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"
