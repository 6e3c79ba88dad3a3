"""Put executed notebooks where the site's build looks for outputs, so that it does not run them again.

`python book/cache.py .notebooks _build/.jupyter_cache`
"""

import argparse
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn


def fill(cache: Path, executed: Path) -> list[str]:
    """Put every notebook of the folder `executed` into `cache`; return their names.

    The cache knows a notebook by its kernel, its code cells and their metadata, and refuses one with a cell that has
    not been run.
    """
    store = get_cache(cache)
    paths = sorted(executed.glob("*.ipynb"))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            cell.metadata.pop(
                "execution", None
            )  # when it ran, noted by nbmake: no part of the source
        store.cache_notebook_bundle(CacheBundleIn(notebook, path.name), overwrite=True)
    return [path.name for path in paths]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("executed", type=Path, help="folder of executed notebooks")
    parser.add_argument("cache", type=Path, help="the cache that _config.yml names")
    given = parser.parse_args()
    print(f"{given.cache} now has the outputs of {', '.join(fill(given.cache, given.executed))}.")
