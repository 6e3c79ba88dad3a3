"""Put what a release consists of into a folder: `python -m book.release _build/html dist [--tag v0.1.0]`.

That is the library's wheel, and the built site with a server of its own, which opens without a network. What has
changed is printed: the release's section of CHANGELOG.md.
"""

import argparse
import zipfile
from pathlib import Path

from flit_core import buildapi

import icl_lib
from book._ext.changelog import release

ROOT = Path(__file__).parents[1]
HOW = """The book "Beyond the Mixture", version {version}.

Its pages are in site/, and can be read as they are. Explorers compute only on pages that a server sends:

    python3 serve.py site
"""


def archive(site: Path, path: Path) -> None:
    """Write a built site and its server into a zip file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for source in sorted(site.rglob("*")):
            if source.is_file() and source.name not in (".built", ".pages"):
                file.write(source, Path(path.stem, "site", source.relative_to(site)))
        file.write(ROOT / "book" / "serve.py", Path(path.stem, "serve.py"))
        file.writestr(f"{path.stem}/README.txt", HOW.format(version=icl_lib.__version__))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path, help="the built site")
    parser.add_argument("folder", type=Path, help="where to")
    parser.add_argument("--tag", help="refuse, unless this is v and the library's version")
    given = parser.parse_args()
    version = icl_lib.__version__
    if given.tag not in (None, f"v{version}"):
        parser.error(f"the tag must be v{version}, the library's version, got {given.tag}")
    print(release(version, (ROOT / "CHANGELOG.md").read_text()).changes)
    given.folder.mkdir(parents=True, exist_ok=True)
    archive(given.site, given.folder / f"beyond-the-mixture-{version}.zip")
    buildapi.build_wheel(given.folder)
