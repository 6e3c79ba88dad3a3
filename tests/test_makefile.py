"""The Makefile keeps to what GNU make 3.81 and the tools of macOS know, so that it runs where it says it does."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text()

# Make's own, with the version of its NEWS that brought it; then what only GNU's tools know.
NEWER = {
    "--output-sync (4.0)": r"--output-sync|\s-O\b",
    "grouped targets (4.3)": r"&:",
    ".ONESHELL (3.82)": r"\.ONESHELL",
    "$(file) (4.0)": r"\$\(file ",
    "!= and ::= (4.0)": r"^\w+ *(!=|::=)",
    "undefine and private (3.82)": r"^(undefine|private) ",
    "install -D or -t": r"\binstall\b.* -\w*[Dt]\b",
    "cp -t, --parents or -u": r"\bcp\b.* (-\w*[tu]\b|--)",
    "sed -i or -r": r"\bsed\b.* -\w*[ir]\b",
    "find -printf": r"-printf",
    "readlink -f or realpath": r"readlink -f|realpath",
    "touch -d, date -d": r"\b(touch|date) -d",
    "nproc": r"\bnproc\b",
}


@pytest.mark.parametrize("what", NEWER)
def test_the_makefile_uses_nothing_that_macos_lacks(what):
    assert not re.findall(NEWER[what], MAKEFILE, flags=re.MULTILINE)


def test_no_recipe_relies_on_a_setting_of_the_shell_that_3_81_ignores():
    """.SHELLFLAGS is of make 3.82: without it no pipe's failure counts but the last's, and a line goes on after `;`."""
    recipes = re.sub(r"\\\n", " ", MAKEFILE)
    for line in re.findall(r"^\t@?(.*)$", recipes, flags=re.MULTILINE):
        bare = re.sub(r"'[^']*'|\"[^\"]*\"|\{[^}]*\}", "", line)
        assert ";" not in bare, line
        assert not re.search(r"(?<!\|)\|(?!\|)", bare), line


def test_a_notebook_that_fails_is_named_and_leaves_no_outputs(tmp_path):
    """The Makefile's own rule for notebooks, in a small tree: what is not declared is missed there too."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tests" / "declared", tmp_path / "tests" / "declared")
    for name in ("book", "icl_lib", "notebooks"):
        (tmp_path / name).mkdir()
    (tmp_path / ".venv").symlink_to(sys.prefix)

    def write(name, code):
        cells = [nbformat.v4.new_code_cell(code)]
        path = tmp_path / "notebooks" / f"{name}.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=cells), path)

    def make():
        return subprocess.run(
            ["make", "--old-file=.venv/.installed", ".notebooks/.complete"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
        )

    write("sound", "print(6 * 7)")
    write("unsound", "import onnx")
    made = make()
    assert made.returncode != 0
    said = re.sub(r"\x1b\[[\d;]*m", "", made.stdout)
    assert "ModuleNotFoundError: No module named 'onnx'" in said
    assert re.search(r"FAILED .*\bunsound\.ipynb", said)
    assert not list((tmp_path / ".notebooks").glob("*.ipynb"))

    write("unsound", "print(6 * 8)")
    assert make().returncode == 0
    for name, told in (("sound", "42\n"), ("unsound", "48\n")):
        (cell,) = nbformat.read(tmp_path / ".notebooks" / f"{name}.ipynb", as_version=4).cells
        assert cell.outputs[0].text == told
