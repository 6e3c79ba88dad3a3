"""What carries the project on without its authors: releases, what runs by itself, what asks for news."""

import re
import subprocess
import sys
import urllib.request
import zipfile
from datetime import datetime
from pathlib import Path

import pytest
import yaml

import icl_lib
from book._ext.changelog import release, releases
from book.release import archive

ROOT = Path(__file__).parents[1]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))
TEXT = """# Changes

## Unreleased

- New.

## 1.10.0, 2 February 2027

- Ten, *at last*.

## 1.0.0, 26 November 2026

- One.
"""


def test_a_release_tells_its_own_changes():
    assert [each.version for each in releases(TEXT)] == ["1.10.0", "1.0.0"]
    assert release("1.10.0", TEXT) == ("1.10.0", datetime(2027, 2, 2), "- Ten, *at last*.")
    for silent in ("1.1.0", "Unreleased"):
        with pytest.raises(
            ValueError, match=rf"'## {silent}, DAY MONTH YEAR', it has .* 1\.10\.0, 1"
        ):
            release(silent, TEXT)
    assert release(icl_lib.__version__, (ROOT / "CHANGELOG.md").read_text()).changes


def test_the_archive_of_the_site_serves_itself(tmp_path):
    site = tmp_path / "html"
    (site / "book").mkdir(parents=True)
    (site / "book" / "intro.html").write_text("the first page")
    for stamp in (".built", ".pages"):
        (site / stamp).touch()
    archive(site, tmp_path / "book-1.zip")
    with zipfile.ZipFile(tmp_path / "book-1.zip") as file:
        file.extractall(tmp_path / "there")
    folder = tmp_path / "there" / "book-1"
    assert {path.name for path in folder.iterdir()} == {"README.txt", "serve.py", "site"}
    assert {path.name for path in (folder / "site").iterdir()} == {"book"}
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
