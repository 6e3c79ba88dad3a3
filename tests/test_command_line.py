"""The commands, their exit statuses and their messages."""

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.metadata import version

import onnx
import pandas as pd
import pytest

from icl_lib import (
    DenseLinear,
    Mixture,
    ReluNetwork,
    Transformer,
    TransformerConfig,
    browser,
    load,
    recipes,
    speed,
    weights,
)
from icl_lib import __main__ as command_line
from icl_lib.__main__ import main
from icl_lib.samplers import in_words
from icl_lib.training import CHECKPOINT, Run, Setting

from .children import library

_OWN = """
steps = 40
seed = 5

[function_class]
class = "Mixture"
weights = [0.25, 0.75]
classes = [{class = "DenseLinear", dim = 3}, {class = "SparseLinear", dim = 3, nnz = 1}]

[model]
dim = 3
max_examples = 9
layers = 1
heads = 2
width = 16
"""
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
    assert load(folder).card["evaluation"]["curves"]["DenseLinear(dim=1)"]["40"]["mse"] > 0
    table = tmp_path / "curves.csv"
    assert main(["evaluate", folder, "--n-prompts", "20", "--csv", str(table)]) == 0
    assert table.read_text().count("\n") == 1 + 2 * 41
    assert main(["evaluate", f"{folder}/quick.safetensors", "--n-prompts", "20"]) == 0
    assert "transformer" in capsys.readouterr().out


def test_a_mixture_of_ones_own_is_trained_from_a_file(tmp_path, capsys):
    file, folder = tmp_path / "mine.toml", tmp_path / "run"
    file.write_text(_OWN, encoding="utf-8")
    train = ["train", str(file), "--folder", str(folder), "--n-prompts", "20"]
    assert main([*train, "--steps", "3"]) == 0
    recipe = load(folder / "mine.safetensors").card["recipe"]
    assert (recipe["steps"], recipe["seed"], recipe["warmup"]) == (3, 5, 100)
    assert recipe["function_class"]["weights"] == [0.25, 0.75]
    assert main(["evaluate", str(folder), "--n-prompts", "20"]) == 0
    assert "SparseLinear" in capsys.readouterr().out
    for wrong, message in (
        (_OWN.replace("Sparse", "Spars"), "SparseLinear, .*got 'SparsLinear'"),
        (_OWN.replace("seed", "sed"), "unexpected keyword argument 'sed'"),
        (_OWN.replace("0.75", "0.7"), "mixture weights must sum to 1"),
        (_OWN.replace("]", ""), "mine.toml"),
    ):
        file.write_text(wrong, encoding="utf-8")
        with pytest.raises(SystemExit) as stop:
            main(train)
        assert stop.value.code == 2
        assert re.search(message, capsys.readouterr().err.replace("\n", " "))


def test_the_nearest_recipes_are_named(capsys):
    with pytest.raises(SystemExit):
        main(["train", "lin-tiny"])
    said = capsys.readouterr().err
    assert "did you mean line-tiny" in said and "dense+sparse-0.05-tiny" not in said


@pytest.mark.parametrize("columns", [None, 80, 600])
def test_the_list_fits_the_terminal_and_loses_nothing(columns):
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    if columns:
        environment["COLUMNS"] = str(columns)
    out, err = library("list", environment=environment).communicate()
    assert not err
    table = out.split("\n\n")[0].splitlines()
    assert max(map(len, table)) <= (columns or 100)
    assert (len(table) == 1 + len(recipes.RECIPES)) == (columns == 600)
    at = table[0].index("trained on")
    told: dict[str, str] = {}
    for line in table[1:]:
        name = line.split()[0] if line[0] != " " else name
        told[name] = f"{told.get(name, '')} {line[at:]}".strip()
    assert set(told) == set(recipes.RECIPES)
    assert told["line+gapped-0.5-tiny"] == (
        "50% DenseLinear(1), 50% (50% Sinusoid(1,2), 50% Sinusoid(4,5))"
    )
    assert told["fast+line+sine-0.01-tiny"] == (
        "1% Sinusoid(5,10), 49.5% DenseLinear(1), 49.5% Sinusoid(1,5)"
    )
    assert all(told[name] == in_words(r.function_class) for name, r in recipes.RECIPES.items())


def test_the_list_can_be_cut_short():
    command = [sys.executable, "-m", "icl_lib", "list"]
    cut = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert cut.stdout is not None and cut.stderr is not None
    cut.stdout.close()
    assert cut.stderr.read() == ""
    assert cut.wait() == command_line.PIPE_CLOSED
    cut.stderr.close()


def test_what_is_no_exact_posterior_is_not_called_one(capsys, monkeypatch):
    network = Mixture((ReluNetwork(1), DenseLinear(1)), (0.5, 0.5))
    for function_class, name in ((network, "approximate Bayes"), (DenseLinear(1), "Bayes")):
        setting = Setting(function_class, TransformerConfig(1, 4, 1, 1, 8))
        table = command_line._compare(Transformer(setting.model), setting, 8, 0)
        assert set(table.predictor) == {"transformer", name}


def test_a_model_that_knows_names_is_compared_without_them():
    mixture = Mixture((DenseLinear(1), ReluNetwork(1)), (0.5, 0.5))
    setting = Setting(mixture, TransformerConfig(2, 4, 1, 1, 8), named=0.5)
    table = command_line._compare(Transformer(setting.model), setting, 8, 0)
    assert sorted(set(table.n_examples)) == [0, 1, 2]


def test_a_missing_extra_is_named(tmp_path):
    without = "import sys; sys.modules['onnx'] = None; from icl_lib.__main__ import main; sys.exit(main())"
    command = [sys.executable, "-c", without, "export", "--out", str(tmp_path)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert found.stderr == (
        "error: export needs onnx, which comes with: pip install 'icl_lib[browser]'\n"
    )


def test_the_version_is_told(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"icl_lib {version('icl_lib')}\n"


@pytest.mark.usefixtures("quick")
def test_a_run_without_an_end_is_let_go_on_annealed_and_extended(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command_line, "_step_back", lambda: None)  # this process stays as it is
    monkeypatch.setattr(speed, "_PRODUCT_SECONDS", 0.01)
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
    card = load(folder / f"anneal-{at}+5").card
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

    shipped = folder / f"anneal-{at}+5"
    monkeypatch.setattr(weights, "locate", lambda name: shipped / "open.safetensors")
    more = ["train", "open", "--folder", str(tmp_path / "more"), "--n-prompts", "20", "--extend"]
    assert main([*more, "--for", "1s"]) == 0
    assert main([*more, "--anneal", "5"]) == 0
    (longer,) = (tmp_path / "more").glob("anneal-*+5/open.json")
    assert json.loads(longer.read_text())["prompts"]["before"] == (at + 5) * 8


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
    assert main(["evaluate", str(tmp_path)]) == 1
    assert capsys.readouterr().err == f"error: {tmp_path} holds no finished model\n"


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_exits_with_130_and_leaves_a_checkpoint_and_tables(tmp_path, stop):
    command = f"--threads 1 train line-tiny --folder {tmp_path} --save-every 2 --n-prompts 8"
    child = library(*command.split())
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


@pytest.fixture
def export_only(monkeypatch):
    """Makes an export write these models alone, and of graphs nothing but a name.

    The site has been built with all predictors, each of which takes long, and its graphs are tested.
    """
    monkeypatch.setattr(
        browser,
        "export_shape",
        lambda config, dtype: onnx.ModelProto(producer_name=f"{config}, {dtype}"),
    )
    for group in ("POSTERIORS", "BANDS", "LINEARS", "PRETRAINING"):
        monkeypatch.setattr(browser, group, ())
    return lambda *names: monkeypatch.setattr(browser, "page_models", lambda: names)


def test_export_writes_graphs_named_by_their_hash(tmp_path, export_only):
    two = ["line-tiny", "dense+sparse-0.5-tiny"]
    export_only(*two)
    assert main(["export", "--out", str(tmp_path)]) == 0
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest["models"]) == two
    assert all(re.fullmatch("[a-z0-9.-]+", path.name) for path in tmp_path.iterdir())
    shown, trained = ["tiny-1-41-float16", "tiny-20-41-float16"], ["mini", "tiny"]
    shapes = [*shown, *(f"{size}-1-41-float32" for size in trained)]
    assert list(manifest["shapes"]) == shapes
    for entry in (*manifest["shapes"].values(), *manifest["models"].values()):
        data = (tmp_path / entry["file"]).read_bytes()
        assert (
            len(data) == entry["bytes"] and hashlib.sha256(data).hexdigest()[:12] in entry["file"]
        )
    assert (tmp_path / "engine.js").exists()


def test_export_replaces_what_it_wrote_and_nothing_else(tmp_path, export_only):
    for name in ("mine.onnx", "line-tiny.0123456789ab.onnx"):
        (tmp_path / name).write_bytes(b"a stranger's")
    export_only("line-tiny", "sine-tiny")
    assert main(["export", "--out", str(tmp_path)]) == 0
    before = {path.name for path in tmp_path.iterdir()}
    export_only("line-tiny")
    assert main(["export", "--out", str(tmp_path)]) == 0
    (gone,) = before - {path.name for path in tmp_path.iterdir()}
    assert gone.startswith("sine-tiny.")
    for name in ("mine.onnx", "line-tiny.0123456789ab.onnx"):
        assert (tmp_path / name).read_bytes() == b"a stranger's"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("manifest.json", '{"name": "a web app"}'),
        ("manifest.json", '{"models": {"a": {"file": "../mine.onnx"}}}'),
        ("engine.js", "// a stranger's"),
    ],
)
def test_export_refuses_a_folder_whose_files_it_would_replace(
    tmp_path, export_only, capsys, name, text
):
    (tmp_path / name).write_text(text)
    export_only("line-tiny")
    assert main(["export", "--out", str(tmp_path)]) == 1
    assert f"{name} was not written by an export; give another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == text
