"""The commands, their exit statuses and their messages."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from icl_lib import DenseLinear, TransformerConfig, browser, load, recipes
from icl_lib.__main__ import main
from icl_lib.training import CHECKPOINT, Setting

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


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["fly"],
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
