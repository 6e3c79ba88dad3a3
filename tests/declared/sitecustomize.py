"""A kernel that has what `pip install .` and a kernel bring, and nothing else that lies in this environment.

Python imports this by its name when it starts, if the folder is on PYTHONPATH; processes that are no kernel are left
alone. To a notebook, a package that is not declared then looks as one that is not installed.
"""

import sys


def block() -> None:
    """Hide all modules but those of the base dependencies in pyproject.toml, of ipykernel, and of what these need."""
    import re
    import tomllib
    from importlib.machinery import PathFinder
    from importlib.metadata import PackageNotFoundError, packages_distributions, requires
    from pathlib import Path

    from packaging.requirements import Requirement

    def canonical(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    declared = {canonical(project["name"])}
    waiting = [Requirement(text) for text in (*project["dependencies"], "ipykernel")]
    seen = set()
    while waiting:
        wanted = waiting.pop()
        key = canonical(wanted.name), frozenset(wanted.extras)
        if key in seen:
            continue
        seen.add(key)
        declared.add(key[0])
        try:
            needs = [Requirement(text) for text in requires(wanted.name) or ()]
        except PackageNotFoundError:  # for another system or Python
            continue
        extras = ("", *wanted.extras)
        waiting += [
            need
            for need in needs
            if need.marker is None or any(need.marker.evaluate({"extra": e}) for e in extras)
        ]
    hidden = {
        module
        for module, names in packages_distributions().items()
        if not declared.intersection(map(canonical, names))
    }

    class Declared(PathFinder):
        @classmethod
        def find_spec(cls, fullname, path=None, target=None):
            if path is None and fullname in hidden:
                return None
            return super().find_spec(fullname, path, target)

    sys.meta_path[sys.meta_path.index(PathFinder)] = Declared


if "ipykernel_launcher" in sys.orig_argv:
    block()
