"""`make bench`: every measurement as a ratio against its reference in the same run, printed as a table.

`python -m benchmarks --readme` also writes the table into the README.
"""

from __future__ import annotations

import argparse
import importlib
import platform
from pathlib import Path
from typing import Any

MODULES = ("training", "baselines", "slider", "pretraining", "lighthouse")
README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- benchmarks: begin -->", "<!-- benchmarks: end -->"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a table in Markdown."""
    lines = ["| what | reference | reach | measured | in figures |", "|---|---|---|---|---|"]
    for row in rows:
        measured = row["measured"]
        shown = measured if isinstance(measured, str) else f"{measured:.3g}"
        shown = f"> {shown}" if row.get("at_least") else shown
        lines.append(
            f"| {row['what']} | {row['reference']} | {row['reach']} | {shown} | {row['detail']} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Run the modules asked for, print as they finish, and write the README if asked to."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "modules",
        nargs="*",
        default=MODULES,
        metavar="MODULE",
        help=f"of {', '.join(MODULES)}; default all",
    )
    parser.add_argument("--readme", action="store_true", help="write the table into README.md")
    options = parser.parse_args()
    unknown = set(options.modules) - set(MODULES)
    if unknown:
        parser.error(f"MODULE must be of {', '.join(MODULES)}, got {', '.join(sorted(unknown))}")
    rows = []
    for name in options.modules:
        print(f"{name} ...", flush=True)
        rows += importlib.import_module(f"benchmarks.{name}").rows()
    text = table(rows)
    print(text)
    if options.readme:
        before, rest = README.read_text().split(BEGIN)
        _, after = rest.split(END)
        machine = (
            f"Measured on {platform.machine()} with Python {platform.python_version()}, two cores."
        )
        README.write_text(f"{before}{BEGIN}\n{text}\n\n{machine}\n{END}{after}")


if __name__ == "__main__":
    main()
