"""What carries the project on without its authors: releases, what runs by itself, what asks for news."""

import re
import subprocess
import sys
import urllib.request
import zipfile
from pathlib import Path

import pytest
import yaml

import icl_lib
from book.release import archive, changes

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
TEXT = "# Changes\n\n## Unreleased\n\n- New.\n\n## 1.10.0, today\n\n- Ten.\n\n## 1.1.0\n\n## 1.0.0, then\n\n- One.\n"


def test_a_release_tells_its_own_changes():
    assert changes("1.10.0", TEXT) == "- Ten."
    assert changes("1.0.0", TEXT) == "- One."
    for silent in ("1.1.0", "1.1", "2.0.0"):
        with pytest.raises(
            ValueError, match=rf"says nothing of {silent}; it has Unreleased, 1\.10\.0, 1"
        ):
            changes(silent, TEXT)
    assert changes(icl_lib.__version__, (ROOT / "CHANGELOG.md").read_text())


def test_the_archive_of_the_site_serves_itself(tmp_path):
    site = tmp_path / "html"
    (site / "book").mkdir(parents=True)
    (site / "book" / "intro.html").write_text("the first page")
    (site / ".built").touch()
    archive(site, tmp_path / "book-1.zip")
    with zipfile.ZipFile(tmp_path / "book-1.zip") as file:
        file.extractall(tmp_path / "there")
    folder = tmp_path / "there" / "book-1"
    assert {path.name for path in folder.iterdir()} == {"README.txt", "serve.py", "site"}
    assert not (folder / "site" / ".built").exists()
    command = (folder / "README.txt").read_text().split("\n    ")[1].split()
    assert command == ["python3", "serve.py", "site"]
    server = subprocess.Popen(
        [sys.executable, *command[1:]], cwd=folder, stdout=subprocess.PIPE, text=True
    )
    try:
        said = next(line for line in server.stdout if "http://" in line)
        with urllib.request.urlopen(said.split()[-1] + "book/intro.html") as page:
            assert page.read() == b"the first page"
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_runs_what_there_is(path):
    """Files and make's targets that its commands name; actions by their major version."""
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    for job in yaml.safe_load(path.read_text())["jobs"].values():
        for step in job["steps"]:
            command = step.get("run", "")
            assert re.fullmatch(r"[\w-]+/[\w-]+@v\d+", step.get("uses", "an/action@v1"))
            assert set(re.findall(r"^make (\w+)", command)) <= targets
            for name in re.findall(r"(?:^|\s)((?:\.ci|book|notebooks)[/\w]*(?:\.py)?)\b", command):
                assert (ROOT / name).exists(), name


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_a_form_asks_for_something(path):
    form = yaml.safe_load(path.read_text())
    assert {"name", "description", "body"} <= set(form)
    asked = [part for part in form["body"] if part["type"] in ("input", "textarea")]
    assert asked and len({part["id"] for part in asked}) == len(asked)
    assert all(part["validations"]["required"] for part in asked)


def test_what_runs_before_a_commit_is_what_the_tests_pin():
    pinned = (ROOT / "requirements-test.txt").read_text()
    (local,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    for hook in local["hooks"]:
        name = hook["entry"].split()[0].removeprefix(".venv/bin/")
        assert re.search(rf"^{name}==", pinned, flags=re.MULTILINE), name
