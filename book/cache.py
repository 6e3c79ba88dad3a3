"""Put executed notebooks where the site's build looks for outputs, so that it does not run them again.

`python book/cache.py notebooks .notebooks _build/.jupyter_cache`
"""

import argparse
from pathlib import Path

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn


def fill(cache: Path, sources: Path, executed: Path) -> list[str]:
    """Put the executed copy of every notebook of `sources` into `cache`; return their names.

    Args:
        cache: the folder of the cache; it knows a notebook by its kernel, its code cells and their metadata.
        sources: where the notebooks stand that the site is built from.
        executed: copies of them with outputs.

    Raises:
        KeyError: the site's build would not find an executed notebook by its source.
        CachingError: a cell has not been run.
    """
    store = get_cache(cache)
    paths = [executed / source.name for source in sorted(sources.glob("*.ipynb"))]
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        for cell in notebook.cells:
            # When it ran, as nbmake notes: no part of the source.
            cell.metadata.pop("execution", None)
        store.cache_notebook_bundle(CacheBundleIn(notebook, path.name), overwrite=True)
        store.match_cache_file(sources / path.name)
    return [path.name for path in paths]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sources", type=Path, help="folder of the notebooks")
    parser.add_argument("executed", type=Path, help="folder of their executed copies")
    parser.add_argument("cache", type=Path, help="the cache that _config.yml names")
    given = parser.parse_args()
    names = fill(given.cache, given.sources, given.executed)
    print(f"{given.cache} now has the outputs of {', '.join(names)}.")
