"""What is declared is what is needed: notebooks run without any other package, and pins lie in the declared ranges."""

import re
import subprocess
import sys
import tomllib
from datetime import date
from importlib import metadata
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import icl_lib

from .oldest import oldest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
BASE = {need.name: need.specifier for need in map(Requirement, PROJECT["dependencies"])}
EXTRA = {
    need.name: need.specifier
    for needs in PROJECT["optional-dependencies"].values()
    for need in map(Requirement, needs)
}


def pins(path: str) -> dict[str, Version]:
    """The pinned versions of a file of requirements, without a build's local label."""
    lines = (ROOT / path).read_text().splitlines()
    found = [re.match(r"([\w.-]+)==([^+\s]+)", line) for line in lines]
    return {match[1]: Version(match[2]) for match in found if match}


def test_every_pin_takes_the_oldest_python_that_is_declared():
    """Debian 12 has 3.11.2, where a package that asks for 3.11.5 cannot be installed."""
    oldest_python = re.fullmatch(r">=(3\.\d+)", PROJECT["requires-python"])[1] + ".0"
    for name, version in pins("constraints.txt").items():
        needs = metadata.metadata(name)["Requires-Python"] or ""
        assert Version(metadata.version(name)).public == version.public, name
        assert oldest_python in SpecifierSet(needs), f"{name} {version} asks for Python {needs}"


@pytest.mark.parametrize("path", ["requirements.txt", "binder/requirements.txt"])
def test_what_is_tested_and_what_binder_installs_is_in_the_declared_range(path):
    pinned = pins(path)
    assert set(BASE) <= set(pinned)
    for name, allowed in (BASE | EXTRA).items():
        if name in pinned:
            assert pinned[name] in allowed, name


def test_binder_installs_what_is_tested():
    tested = pins("requirements.txt") | pins("requirements-test.txt")
    assert {name: tested.get(name) for name in pins("binder/requirements.txt")} == pins(
        "binder/requirements.txt"
    )


def test_every_range_has_two_ends():
    for name, allowed in (BASE | EXTRA).items():
        assert {part.operator for part in allowed} == {">=", "<"}, name
        low, high = (
            next(Version(part.version) for part in allowed if part.operator == operator)
            for operator in (">=", "<")
        )
        assert high.major > low.major and not (high.minor or high.micro), name
    assert oldest() == {
        name: next(part.version for part in allowed if part.operator == ">=")
        for name, allowed in BASE.items()
    }


def test_the_citation_is_of_this_version_and_names_no_address():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == icl_lib.__version__
    assert date.fromisoformat(citation["date-released"]) <= date.today()
    assert not {"url", "repository", "repository-code"} & set(citation)
    assert citation["references"][0]["doi"] == "10.48550/arXiv.2311.00871"


@pytest.fixture
def declared(monkeypatch):
    """Runs cells, one after the other, in a kernel that has only what is declared; returns what they print."""
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'tests' / 'declared'}:{ROOT}")

    def run(*cells):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(c) for c in cells])
        # The tests treat warnings as errors; the client's own are not in question here.
        NotebookClient(notebook, kernel_name="python3", timeout=300).execute()
        return [o.get("text", "") for cell in notebook.cells for o in cell.outputs]

    return run


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_every_explorer_stands_with_what_is_declared_alone(declared):
    (found,) = declared(
        "import icl_lib.widgets as widgets\n"
        "for explorer in (widgets.ConvexExplorer, widgets.FrequencyExplorer, widgets.MixtureDraws,"
        " widgets.SelectionExplorer):\n"
        "    explorer()\n"
        "import importlib.util\n"
        "print([m for m in ('onnx', 'scipy', 'sklearn', 'pytest', 'torch', 'pandas', 'icl_lib')"
        " if importlib.util.find_spec(m)])"
    )
    assert found.strip() == "['torch', 'pandas', 'icl_lib']"


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("module", ["onnx", "sklearn.linear_model", "icl_lib.browser"])
def test_a_notebook_that_needs_more_fails(declared, module):
    with pytest.raises(CellExecutionError, match=r"No module named '(onnx|sklearn)'"):
        declared(f"import {module}")


def test_other_processes_have_all_that_is_installed(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "tests" / "declared"))
    subprocess.run([sys.executable, "-c", "import onnx"], check=True)
