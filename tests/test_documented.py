"""The README and the library's page: what they say to type works, as a reader would type it."""

import importlib
import re
import shlex
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import icl_lib
from icl_lib import training
from icl_lib.__main__ import _parser

ROOT = Path(__file__).parents[1]
README, PAGE = ROOT / "README.md", ROOT / "book" / "library.md"
EXERCISES = ROOT / "book" / "exercises.md"


def run_python(page: Path) -> dict[str, object]:
    """Run a page's blocks of Python, from top to bottom, in one namespace, which is returned."""
    text = page.read_text(encoding="utf-8")
    names: dict[str, object] = {"__name__": "a_page"}
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL))
    assert blocks
    for block in blocks:
        line = text[: block.start(1)].count("\n")
        # The lines before it, empty, so that an error names the line of the page.
        exec(compile("\n" * line + block[1], str(page), "exec"), names)
    return names


def typed(page: Path, program: str) -> list[list[str]]:
    """What a page says to type of this program, in blocks or within a line, each as the arguments that follow."""
    found = re.findall(
        rf"^\$ ({program}\b.*)$|`({program}\b[^`]*)`", page.read_text(), flags=re.MULTILINE
    )
    start = len(program.split())
    return [shlex.split(block or inline, comments=True)[start:] for block, inline in found]


@pytest.fixture
def small(monkeypatch, tmp_path):
    """Evaluations of few prompts and trainings of few steps, in a folder of their own: the code stays as it is."""
    evaluate, fit = icl_lib.evaluate, training.fit
    monkeypatch.setattr(
        icl_lib, "evaluate", lambda *given, **named: evaluate(*given, **named | {"n_prompts": 4})
    )
    monkeypatch.setattr(
        training,
        "fit",
        lambda setting, *given, **named: fit(replace(setting, steps=2), *given, **named),
    )
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("small", "unchecked")
def test_every_block_of_the_page_runs():
    names = run_python(PAGE)

    # What the page says of the class of one's own.
    mixture, parabola = names["lines_or_parabolas"], names["Parabola"]()
    xs, ys, component = icl_lib.sample_prompts(mixture, 64, 4, seed=1)
    found = icl_lib.bayes.posterior_predictive(mixture, xs, ys).component_probability
    assert (found[:, 2].argmax(1) == component).double().mean() > 0.9
    moment = icl_lib.sample_prompts(parabola, 20_000, 1, seed=0).ys.square().mean()
    assert abs(moment - parabola.second_moment) < 0.1
    bump = names["Bump"]()
    moment = icl_lib.sample_prompts(bump, 20_000, 1, seed=0).ys.square().mean()
    assert abs(moment - bump.second_moment) < 0.01


@pytest.mark.usefixtures("small", "unchecked")
def test_the_readmes_example_prints_its_whole_table(capsys):
    table = run_python(README)["table"]
    header, *rows = (line.split() for line in capsys.readouterr().out.splitlines())
    assert header == list(table.columns)
    assert [row[:2] for row in rows] == [
        [name, str(n)] for name in ("transformer", "Bayes") for n in (0, 2, 5, 10, 20, 40)
    ]
    for row in rows:
        assert len(row) == len(header) and all(float(number) >= 0 for number in row[2:])


@pytest.mark.parametrize("page", [README, PAGE], ids=lambda page: page.stem)
def test_every_command_of_the_library_that_a_page_names_is_one(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mixture = re.search(r"^```toml\n(.*?)^```$", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    Path("mine.toml").write_text(mixture[1])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    commands = typed(page, "python -m icl_lib")
    assert commands
    for arguments in commands:
        if "--help" not in arguments:
            assert _parser().parse_args(arguments).run


@pytest.mark.parametrize("arguments", typed(README, "python -m icl_lib"), ids=" ".join)
def test_the_readmes_commands_of_the_library_run(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "icl_lib", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout and not done.stderr


def test_every_target_of_make_that_the_readme_names_is_there():
    targets = typed(README, "make")
    assert ["book"] in targets and ["test"] in targets
    for arguments in targets:
        plan = subprocess.run(
            ["make", "--dry-run", *arguments], cwd=ROOT, capture_output=True, text=True
        )
        assert plan.returncode == 0, plan.stderr
        assert plan.stdout


def test_the_reference_has_every_public_name():
    """Whole modules it takes whole; of the others it names what is written there."""
    pages = "".join(path.read_text() for path in sorted((ROOT / "book").glob("reference_*.md")))
    told = {}
    for module, members in re.findall(r"automodule:: icl_lib\.(\w+)\n   :members:(.*)", pages):
        told[module] = set(members.replace(" ", "").split(",")) - {""}
    for name in icl_lib.__all__:
        thing = getattr(icl_lib, name)
        if isinstance(thing, types.ModuleType):
            assert name in told
        else:
            home = thing.__module__.split(".")[1]
            assert not told[home] or name in told[home], name
    for module, members in told.items():
        assert members <= set(dir(importlib.import_module(f"icl_lib.{module}"))), module


@pytest.mark.usefixtures("unchecked")
def test_the_exercises_have_five_to_a_chapter_and_their_solutions_are_true():
    text = EXERCISES.read_text(encoding="utf-8")
    chapters = re.findall(r"^## (.*?)$(.*?)^````$", text, flags=re.MULTILINE | re.DOTALL)
    assert len(chapters) == 6
    for _, body in chapters:
        asked, solved = body.split("````{dropdown}")
        assert re.findall(r"^(\d)\. ", asked, flags=re.MULTILINE) == list("12345")
        assert re.findall(r"^(\d)\\. ", solved, flags=re.MULTILINE) == list("12345")

    found = run_python(EXERCISES)
    assert all(abs(power - 1) < 0.05 for power in found["power"].values())
    assert found["certainty"][1] < 0.9 and found["certainty"][2] > 0.99
    halfway = found["halfway"]
    assert halfway["transformer"] < halfway["exact Bayes"]
    assert halfway["doubting Bayes"] < halfway["transformer"] / 4
    along = found["along"]
    assert max(along, key=along.get) == 0.5 and along[0.1] > along[0.9]
    gained = found["gained"]
    assert gained[3.0] < 0.5 and min(gained[6.0], gained[10.0]) > 0.75
    assert found["mended"] < 0.01 < 0.5 < found["plain"]
    six = found["after_six"]
    assert six["Lasso"] < six["transformer"] < six["least squares"]
    assert found["turned"] > 2 * found["upright"]
    assert found["named"] < found["nothing"] / 2
    assert found["misled"] > 1.1 * found["unnamed"]
    doubting, misinformed = found["doubting"], found["misinformed"]
    assert misinformed[1] > 1.1 * doubting[1]
    distance = found["distance"]
    assert distance["doubting Bayes"] < distance["exact Bayes"]
    assert distance["doubting Bayes"] > 0.5 * halfway["transformer"]
