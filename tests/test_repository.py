"""The repository's address is a setting from outside the tree: with it there are buttons, without it there are none."""

import json
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from bs4 import BeautifulSoup

from book._ext.repository import Repository, fill, repository

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAMED = {"GITHUB_REPOSITORY": "somebody/some.book", "GITHUB_SHA": COMMIT}
SETTING = Repository("https://github.com/somebody/some.book", COMMIT)


def git(folder, *arguments):
    who = ("-c", "user.name=a", "-c", "user.email=a@localhost")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """A clone with one commit and no remote, and that commit."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "first")
    return tmp_path, git(tmp_path, "rev-parse", "HEAD")


def test_a_workflow_names_its_repository_and_commit(clone):
    assert repository(clone[0], NAMED) == SETTING
    only_name = {"GITHUB_REPOSITORY": "somebody/some.book"}
    assert repository(clone[0], only_name) == Repository(SETTING.url, clone[1])


@pytest.mark.parametrize("name", ["book", "https://github.com/a/b", "a/b/c", "a/b c"])
def test_a_name_that_is_none_is_refused(clone, name):
    with pytest.raises(ValueError, match=f"GITHUB_REPOSITORY must be OWNER/NAME, got '{name}'"):
        repository(clone[0], {"GITHUB_REPOSITORY": name})


@pytest.mark.parametrize(
    "remote",
    [
        "https://github.com/somebody/some.book",
        "https://github.com/somebody/some.book.git",
        "https://somebody:secret@github.com/somebody/some.book.git",
        "git@github.com:somebody/some.book.git",
        "ssh://git@github.com/somebody/some.book",
    ],
)
def test_a_clone_is_of_its_remotes_repository(clone, remote):
    git(clone[0], "remote", "add", "origin", remote)
    assert repository(clone[0], {}) == Repository(SETTING.url, clone[1])


@pytest.mark.parametrize(
    "remote",
    [None, "/some/folder", "https://example.org/github.com/a/b", "https://notgithub.com/a/b"],
)
def test_what_is_not_on_github_names_none(clone, remote):
    if remote:
        git(clone[0], "remote", "add", "origin", remote)
    assert repository(clone[0], {}) is None


def test_a_folder_that_is_no_clone_names_none(tmp_path):
    assert repository(tmp_path, {}) is None


def first_cell(path):
    """The source of a notebook's first code cell."""
    cells = json.loads(path.read_text())["cells"]
    return "".join(next(cell for cell in cells if cell["cell_type"] == "code")["source"])


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_a_notebook_in_the_tree_names_no_repository_and_can_be_given_one(notebook, tmp_path):
    assert 'LIBRARY = ""' in first_cell(notebook)
    assert "github.com" not in notebook.read_text().replace("https://github.com/somebody", "")
    copy = tmp_path / notebook.name
    copy.write_text(notebook.read_text())
    fill(copy, SETTING)
    assert f'LIBRARY = "{SETTING.url}@{COMMIT}"' in first_cell(copy)
    assert copy.read_text().replace(f"{SETTING.url}@{COMMIT}", "") == notebook.read_text()
    fill(copy, SETTING)
    assert copy.read_text().count(COMMIT) == 1


def test_a_notebook_without_the_place_is_refused(tmp_path):
    path = tmp_path / "a.ipynb"
    path.write_text("{}")
    with pytest.raises(ValueError, match="must have LIBRARY"):
        fill(path, SETTING)


def on_colab(cell):
    """What a notebook's first cell does on Colab: what it would install, and the error it raises."""
    installed = []
    code = re.sub(
        r"^( *)%pip install (.*)$", lambda m: f"{m[1]}pip({m[2]!r})", cell, flags=re.MULTILINE
    )
    names = {"pip": lambda line: installed.append(line.format(**names))}
    stubs = {name: type(sys)(name) for name in ("google", "google.colab", "google.colab.output")}
    stubs["google.colab"].output = stubs["google.colab.output"]
    stubs["google.colab.output"].enable_custom_widget_manager = lambda: None
    with pytest.MonkeyPatch.context() as patch:
        for name, module in stubs.items():
            patch.setitem(sys.modules, name, module)
        try:
            exec(code, names)
        except ValueError as error:
            return installed, str(error)
    return installed, None


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda notebook: notebook.stem)
def test_on_colab_a_notebook_installs_from_its_own_repository_or_says_what_to_set(
    notebook, tmp_path
):
    installed, error = on_colab(first_cell(notebook))
    assert installed == []
    assert "LIBRARY" in error
    copy = tmp_path / notebook.name
    copy.write_text(notebook.read_text())
    fill(copy, SETTING)
    installed, error = on_colab(first_cell(copy))
    assert error is None
    assert f'"icl_lib @ git+{SETTING.url}@{COMMIT}"' in installed[0]


CONFIG = """
import sys
sys.path.insert(0, {extensions!r})
extensions = ["myst_nb", "sphinx_book_theme", "launch", "published"]
templates_path = [{templates!r}]
html_theme = "sphinx_book_theme"
html_theme_options = {{"launch_buttons": {{
    "binderhub_url": "https://mybinder.org", "colab_url": "https://colab.research.google.com"}}}}
nb_execution_mode = "off"
suppress_warnings = ["myst-nb.lexer"]  # of a cell that is not run
"""


PAGE = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3
  name: python3
---

# A page

```{code-cell} ipython3
1 + 1
```

```{toctree}
chapter
```
"""
"""With a cell, as the landing page has: where a repository is named, the theme makes a notebook of it too."""


@pytest.fixture(scope="module", params=[True, False], ids=["named", "unnamed"])
def small_book(request, tmp_path_factory):
    """A book of one page and one notebook, built with a repository named or not: the built folder, and which."""
    source = tmp_path_factory.mktemp("book")
    (source / "conf.py").write_text(
        CONFIG.format(
            extensions=str(ROOT / "book" / "_ext"), templates=str(ROOT / "book" / "_templates")
        )
    )
    (source / "index.md").write_text(PAGE)
    notebook = json.loads(NOTEBOOKS[0].read_text())
    title = {"cell_type": "markdown", "id": "title", "metadata": {}, "source": ["# A chapter"]}
    code = next(cell for cell in notebook["cells"] if cell["cell_type"] == "code")
    notebook["cells"] = [title, code]
    (source / "chapter.ipynb").write_text(json.dumps(notebook))
    environment = {"PATH": "/usr/bin:/bin", **(NAMED if request.param else {})}
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", str(source), str(source / "built")],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return source / "built", request.param


def test_buttons_lead_to_the_repository_or_are_not_there(small_book):
    built, named = small_book
    pages = {
        name: BeautifulSoup((built / f"{name}.html").read_text(), "html.parser")
        for name in ("index", "chapter")
    }
    links = {
        name: [
            str(tag["href"])
            for tag in page.select("a[href]")
            if re.search(r"github|mybinder|colab", tag["href"])
        ]
        for name, page in pages.items()
    }
    if not named:
        assert links == {"index": [], "chapter": []}
        return
    assert links["index"] == [SETTING.url]
    assert sorted(links["chapter"]) == [
        "https://colab.research.google.com/github/somebody/some.book/blob/launch/chapter.ipynb",
        SETTING.url,
        "https://mybinder.org/v2/gh/somebody/some.book/launch?urlpath=tree/chapter.ipynb",
    ]


def test_a_downloaded_notebook_knows_the_repository(small_book):
    built, named = small_book
    cell = first_cell(built / "_sources" / "chapter.ipynb")
    assert f'LIBRARY = "{f"{SETTING.url}@{COMMIT}" if named else ""}"' in cell


def test_no_file_of_the_tree_holds_an_address_of_this_book():
    parts = (
        "*.*",
        "binder/*",
        ".github/**/*",
        "notebooks/*",
        "book/*.*",
        "book/_ext/*",
        "book/_templates/**/*",
    )
    files = {
        path
        for part in (*parts, "icl_lib/**/*.[pjm]*")
        for path in ROOT.glob(part)
        if path.is_file()
    }
    assert ROOT / "README.md" in files
    address = re.compile(
        r"(?:github\.com|mybinder\.org/v2/gh|research\.google\.com/github)/([\w.-]+/[\w.-]+)"
    )
    found = {
        (str(path.relative_to(ROOT)), match)
        for path in files
        if path.suffix not in (".png", ".pyc", ".parquet") and path.name != "package-lock.json"
        for match in address.findall(path.read_text(encoding="utf-8"))
    }
    assert {match for _, match in found} <= {"OWNER/NAME"}, found


def test_machines_are_told_where_a_page_lies_and_how_it_looks(small_book):
    built, named = small_book
    page = BeautifulSoup((built / "chapter.html").read_text(), "html.parser")
    told = {
        tag.get("property") or tag.get("name"): tag["content"]
        for tag in page.select("meta[content]")
    }
    canonical = [tag["href"] for tag in page.select("link[rel=canonical]")]
    if not named:
        assert canonical == []
        assert not {"og:url", "og:image", "citation_public_url"} & set(told)
        assert not (built / "sitemap.txt").exists() and not (built / "feed.xml").exists()
        assert not page.select("link[type='application/atom+xml']")
        return
    site = "https://somebody.github.io/some.book/"
    assert canonical == [f"{site}chapter.html"]
    assert told["og:url"] == told["citation_public_url"] == f"{site}chapter.html"
    assert told["og:image"] == f"{site}_static/explorer-light.png"
    assert (ROOT / "book" / "_static" / "explorer-light.png").is_file()
    assert (told["og:title"], told["citation_title"]) == ("A chapter", "A chapter")
    listed = (built / "sitemap.txt").read_text().splitlines()
    assert listed == [f"{site}chapter.html", f"{site}index.html"]
    (link,) = page.select("link[type='application/atom+xml']")
    feed = ElementTree.parse(built / link["href"]).getroot()
    name = "{http://www.w3.org/2005/Atom}"
    assert feed.find(f"{name}id").text == site
    assert "Version 0.1.0" in [title.text for title in feed.findall(f"{name}entry/{name}title")]
    assert "<li>The book:" in feed.findall(f"{name}entry/{name}content")[-1].text


def test_what_is_not_there_leads_back_and_needs_no_other_file(small_book):
    built, named = small_book
    page = BeautifulSoup((built / "404.html").read_text(), "html.parser")
    assert not page.select("script, img, link[rel=stylesheet]")
    (link,) = page.select("a")
    assert link["href"] == ("https://somebody.github.io/some.book/" if named else "/")


def test_a_users_own_pages_lie_at_the_host_s_root():
    assert Repository("https://github.com/Some/some.github.io", COMMIT).site == (
        "https://some.github.io/"
    )
