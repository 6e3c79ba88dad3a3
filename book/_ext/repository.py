"""Where the repository of this book lies: one setting, which the tree itself does not hold.

It is taken from GITHUB_REPOSITORY, which GitHub's workflows set, or else from the git remote `origin`, if that is on
GitHub; the commit is the one that is checked out. Without it the site has no buttons that lead to a repository.
`python book/_ext/repository.py notebooks/*.ipynb` writes it into notebooks, for Colab, which has the notebook alone.
"""

import argparse
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BRANCH = "launch"
"""The branch that Binder and Colab open; the workflow that publishes the site writes it, with the setting filled in."""

LIBRARY = re.compile(r'(LIBRARY = \\")[^"\\]*(\\")')
"""The setting's place in a notebook as it lies in its file; empty in the tree."""


@dataclass(frozen=True)
class Repository:
    """An address such as https://github.com/OWNER/NAME, and a commit there."""

    url: str
    commit: str

    @property
    def site(self) -> str:
        """Where GitHub Pages publishes its site, with a slash at the end."""
        owner, name = self.url.rsplit("/", 2)[1:]
        host = f"{owner.lower()}.github.io"
        return f"https://{host}/" if name.lower() == host else f"https://{host}/{name}/"


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None if it fails or there is no git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def repository(root: Path, environment: Mapping[str, str] = os.environ) -> Repository | None:
    """The repository that the clone at `root` is of; None if nothing names it.

    Raises:
        ValueError: GITHUB_REPOSITORY is no OWNER/NAME.
    """
    name = environment.get("GITHUB_REPOSITORY")
    commit = _git(root, "rev-parse", "HEAD")
    if name:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
            raise ValueError(f"GITHUB_REPOSITORY must be OWNER/NAME, got {name!r}")
        commit = environment.get("GITHUB_SHA") or commit
    else:
        # Of the address only the name is kept: some hold a password.
        remote = _git(root, "remote", "get-url", "origin") or ""
        found = re.fullmatch(
            r"(?:https://|ssh://|git://)?(?:[^/@]+@)?github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?",
            remote,
        )
        name = found[1] if found else None
    if not name or not commit:
        return None
    return Repository(f"https://github.com/{name}", commit)


def fill(path: Path, setting: Repository) -> None:
    """Write into a notebook where Colab finds the library; nothing else in the file changes.

    Raises:
        ValueError: the notebook has not exactly one place for it.
    """
    text, count = LIBRARY.subn(
        rf"\g<1>{setting.url}@{setting.commit}\g<2>", path.read_text(encoding="utf-8")
    )
    if count != 1:
        raise ValueError(f'{path} must have LIBRARY = "" once, in its first cell, got {count}')
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="*", type=Path, help="to write it into")
    notebooks = parser.parse_args().notebooks
    setting = repository(Path(__file__).parents[2])
    if setting is None:
        parser.exit(
            1, "no repository: set GITHUB_REPOSITORY, or the git remote origin, on GitHub\n"
        )
    for notebook in notebooks:
        fill(notebook, setting)
    print(f"{setting.url}@{setting.commit}")
