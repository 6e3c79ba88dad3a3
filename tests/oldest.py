"""Print the oldest version of each base dependency that pyproject.toml allows, as pins, for `make oldest`."""

import re
import tomllib
from pathlib import Path

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def oldest() -> dict[str, str]:
    """By name, the lower bound of each base dependency."""
    needs = tomllib.loads(PROJECT.read_text())["project"]["dependencies"]
    return dict(re.match(r"([\w.-]+)>=([\d.]+),<", need).groups() for need in needs)


if __name__ == "__main__":
    print("\n".join(f"{name}=={version}" for name, version in oldest().items()))
