"""Public signatures carry shapes; in the tests they are checked at run time."""

import json
import signal
from pathlib import Path

import jaxtyping

import tests.shapes  # noqa: F401  (the hook finds the checker as an attribute of the package)

jaxtyping.install_import_hook("icl_lib", "tests.shapes.check")

import hypothesis  # noqa: E402
import pytest  # noqa: E402  (the hook must come before anything that imports icl_lib)
import torch  # noqa: E402

torch.set_num_threads(1)
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture
def unchecked():
    """Signatures unchecked, as outside the tests: to see what the library itself says of bad input."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


ROOT = Path(__file__).parents[1]
LIVE = ROOT / "book" / "_vendor" / "live"


@pytest.fixture(scope="session")
def site_graph():
    """Finds the graph that the site has of a model or a posterior, by its group in the manifest and its name."""
    manifest = LIVE / "manifest.json"
    library = [p for p in (ROOT / "icl_lib").rglob("*") if p.is_file() and p.suffix != ".pyc"]
    if not manifest.exists() or manifest.stat().st_mtime < max(p.stat().st_mtime for p in library):
        pytest.fail("the site's graphs are not those of the library as it is: make graphs")
    entries = json.loads(manifest.read_text())
    return lambda group, name: LIVE / entries[group][name]["file"]


@pytest.fixture
def heeds_ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, though whoever runs the tests in the background has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
