"""The commands, their exit statuses and their messages."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest

from icl_lib import DenseLinear, TransformerConfig, browser, load, recipes, weights
from icl_lib import __main__ as command_line
from icl_lib.__main__ import main
from icl_lib.training import CHECKPOINT, Run, Setting

QUICK = Setting(DenseLinear(1), TransformerConfig(1, 41, 1, 2, 16), steps=6, batch_size=8)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setitem(recipes.RECIPES, "quick", QUICK)


def test_list_names_every_recipe(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in recipes.RECIPES)


@pytest.mark.usefixtures("quick")
def test_train_then_evaluate(tmp_path, capsys):
    folder = str(tmp_path / "run")
    assert main(["--threads", "1", "train", "quick", "--folder", folder, "--n-prompts", "20"]) == 0
    assert "of a large matrix product's" in capsys.readouterr().out
    assert len(pd.read_csv(f"{folder}/quick.losses.csv")) == 6
    assert load("quick", folder).card["evaluation"]["curves"]["DenseLinear(dim=1)"]["40"]["mse"] > 0
    table = tmp_path / "curves.csv"
    assert (
        main(["evaluate", "quick", "--weights", folder, "--n-prompts", "20", "--csv", str(table)])
        == 0
    )
    assert table.read_text().count("\n") == 1 + 2 * 41
    assert main(["evaluate", "quick", "--weights", folder, "--n-prompts", "20"]) == 0
    assert "transformer" in capsys.readouterr().out


@pytest.mark.usefixtures("quick")
def test_a_run_without_an_end_is_let_go_on_annealed_and_extended(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "_step_back", lambda: None)  # this process stays as it is
    monkeypatch.setitem(recipes.RECIPES, "open", replace(QUICK, steps=None, warmup=2))
    folder = tmp_path / "open"
    train = ["train", "open", "--folder", str(folder), "--n-prompts", "20"]
    assert main([*train, "--anneal", "5"]) == 1
    assert f"no checkpoint in {folder} to anneal from" in capsys.readouterr().err
    assert main([*train, "--for", "1s"]) == 0
    shown = capsys.readouterr()
    assert "the same command goes on, and --anneal makes weights" in shown.out
    assert "time left" in shown.err
    at = Run.resume(recipes.RECIPES["open"], folder).step
    assert at > 2 and not list(folder.glob("*.safetensors.part"))
    assert main([*train, "--anneal", "5"]) == 0
    shown = capsys.readouterr()
    assert f"from step {at}; timing" in shown.out and "\n5 steps in" in shown.out
    assert "excess over Bayes" in shown.err
    assert main([*train, "--for", "1s"]) == 0  # the long run goes on from where it was
    after = Run.resume(recipes.RECIPES["open"], folder).step
    assert after > at
    card = load("open", folder / f"anneal-{at}+5").card
    assert card["steps"] == at + 5
    assert card["prompts"] == {
        "before": 0,
        "warm-up": 2 * 8,
        "constant rate": (at - 2) * 8,
        "falling rate": 5 * 8,
    }
    # An anneal that was cut short is taken up again, and only then is one begun from the newer checkpoint.
    (folder / f"anneal-{at}+5" / "open.json").unlink()
    assert main([*train, "--anneal", "5"]) == 0
    assert [f.name for f in folder.glob("anneal-*")] == [f"anneal-{at}+5"]
    assert main([*train, "--anneal", "5"]) == 0
    assert (folder / f"anneal-{after}+5" / "open.json").exists()

    monkeypatch.setattr(weights, "load", partial(load, folder=folder / f"anneal-{at}+5"))
    monkeypatch.setattr(
        weights, "parent", partial(weights.parent, folder=folder / f"anneal-{at}+5")
    )
    more = ["train", "open", "--folder", str(tmp_path / "more"), "--n-prompts", "20", "--extend"]
    assert main([*more, "--for", "1s"]) == 0
    assert main([*more, "--anneal", "5"]) == 0
    (longer,) = (tmp_path / "more").glob("anneal-*+5/open.json")
    assert json.loads(longer.read_text())["prompts"]["before"] == (at + 5) * 8


def test_a_run_for_a_time_leaves_the_machine_to_others(tmp_path):
    command = f"train line-tiny --folder {tmp_path} --for 2s --n-prompts 8"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "import os, sys, torch; from icl_lib.__main__ import main; "
            "status = main(sys.argv[1:]); "
            "print('niceness', os.nice(0), 'threads', torch.get_num_threads()); sys.exit(status)",
            *command.split(),
        ],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "niceness 19 threads 1" in done.stdout
    assert "of 2500 steps done" in done.stdout or "steps done; the same command" in done.stdout


@pytest.mark.parametrize(
    ("text", "seconds"), [("2h", 7200), ("90min", 5400), ("2h30m", 9000), ("45s", 45)]
)
def test_times_are_given_in_hours_minutes_and_seconds(text, seconds):
    assert command_line._seconds(text) == seconds


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
        ["train", "line-tiny", "--for", "soon"],
        ["train", "line-tiny", "--for", "0h"],
        ["train", "line-tiny", "--anneal", "0"],
        ["train"],
        ["train", "nosuch"],
        ["train", "line-tiny", "--save-every", "0"],
        ["train", "line-tiny", "--device", "abacus"],
        ["evaluate", "line-tiny", "--n-prompts", "0"],
        ["export"],
        ["--threads", "0", "list"],
    ],
)
def test_bad_usage_exits_with_2_and_says_why(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("command", [[], ["list"], ["train"], ["evaluate"], ["export"]])
def test_help_is_there_for_every_command(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert len(capsys.readouterr().out) > 100


def test_a_failure_exits_with_1_and_a_reason_without_a_trace(tmp_path, capsys):
    assert main(["evaluate", "nosuch", "--weights", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: no model 'nosuch' in {tmp_path}; available: none\n"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_exits_with_130_and_leaves_a_checkpoint_and_tables(tmp_path, stop):
    command = f"train line-tiny --folder {tmp_path} --save-every 2 --n-prompts 8"
    child = subprocess.Popen(
        f"{sys.executable} -m icl_lib --threads 1 {command}".split(),
        cwd=Path(__file__).parents[1],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while (
        not (tmp_path / CHECKPOINT).exists()
        and child.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.05)
    child.send_signal(stop)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, err
    assert "on this machine, CPU threads: 1" in out
    assert err.rstrip().endswith("interrupted")
    assert (tmp_path / CHECKPOINT).exists()
    assert pd.read_csv(tmp_path / "line-tiny.losses.csv").loss.notna().all()
    assert set(pd.read_csv(tmp_path / "line-tiny.curves.csv").predictor) == {"transformer", "Bayes"}


def test_export_writes_graphs_named_by_their_hash(tmp_path, monkeypatch):
    two = ["line-tiny", "sine-tiny"]
    monkeypatch.setattr(browser, "page_models", lambda: two)
    # The site has been built with all posteriors, each of which takes long, and its graphs are tested.
    for group in ("BAYES", "PREFIX_BAYES", "BAND_BAYES"):
        monkeypatch.setattr(browser, group, {})
    assert main(["export", "--out", str(tmp_path)]) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest["models"]) == two
    for entry in manifest["models"].values():
        data = (tmp_path / entry["file"]).read_bytes()
        assert (
            len(data) == entry["bytes"] and hashlib.sha256(data).hexdigest()[:12] in entry["file"]
        )
    assert (tmp_path / "engine.mjs").exists()
