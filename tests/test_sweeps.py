"""Grids say what is wrong with them; sweeps survive the death of a run, of the driver, and a full disk."""

import inspect
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
import torch

from icl_lib import (
    DenseLinear,
    Mixture,
    Sinusoid,
    Transformer,
    bayes,
    recipes,
    results,
    sweeps,
    weights,
)
from icl_lib.__main__ import main
from icl_lib.cluster import engine
from icl_lib.evaluation import curve_errors
from icl_lib.results import store
from icl_lib.speed import training_flops
from icl_lib.sweeps import GridError, runs
from icl_lib.sweeps import driver as processes
from icl_lib.sweeps.grid import FOLDER, parse
from icl_lib.training import CHECKPOINT, LOCK, fit, reached

ROOT = Path(__file__).parents[1]
_GRID = """
about = "Very small."

[classes]
line = {{class = "DenseLinear", dim = 1}}

[grid]
{axes}

[every]
mixture = "line"
size = "tiny"
max_examples = 4
steps = {steps}
batch_size = 2
warmup = 2

[tests]
examples = [0, 2]
n_prompts = 4
"""


def grid_file(folder, axes="seed = [1, 2]", steps=120):
    path = folder / "mine.toml"
    path.write_text(_GRID.format(axes=axes, steps=steps))
    return path


# --- The file -------------------------------------------------------------------------------------

PLAIN = {
    "about": "two classes",
    "classes": {
        "line": {"class": "DenseLinear", "dim": 1},
        "sine": {"class": "Sinusoid", "low": 1.0, "high": 5.0},
        "plane": {"class": "DenseLinear", "dim": 2},
    },
    "grid": {"weight": [0.0, 0.25, 1.0], "mixture": ["line+sine", "line"][:1], "seed": [1, 2]},
    "every": {"size": "tiny", "max_examples": 6, "steps": 10},
    "tests": {"on": ["line", "sine"], "examples": [0, 5]},
}


def changed(table, **values):
    """The grid with other values in one of its tables; None takes one out."""
    rows = {**PLAIN[table], **values}
    return {**PLAIN, table: {key: value for key, value in rows.items() if value is not None}}


def test_a_grid_is_every_combination_with_the_first_classs_weight():
    grid = parse(PLAIN, "mine")
    assert len(grid.members) == 6
    assert [m.differs["weight"] for m in grid.members] == [0.0, 0.0, 0.25, 0.25, 1.0, 1.0]
    line, sine = DenseLinear(1), Sinusoid(1.0, 5.0)
    asked = [m.setting.function_class for m in grid.members[::2]]
    assert asked == [sine, Mixture((line, sine), (0.25, 0.75)), line]
    assert {m.setting.seed for m in grid.members} == {1, 2}
    assert sweeps.in_words(grid.members[2]) == "weight 0.25, line+sine, seed 1"
    assert grid.tests.functions == {"line": line, "sine": sine}


def test_equal_recipes_are_one_run_and_others_have_another_name():
    alone = changed("grid", weight=[1.0], mixture=["line", "line+sine"])
    assert len(parse(alone, "mine").members) == 2  # by seed
    names = {m.name for m in parse(PLAIN, "mine").members}
    assert {m.name for m in parse(alone, "mine").members} < names
    longer = parse(changed("every", steps=11), "mine")
    assert not names & {m.name for m in longer.members}
    assert (
        parse(changed("tests", examples=[5]), "a").tests.digest()
        != parse(PLAIN, "a").tests.digest()
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("plain", "message"),
    [
        ({"about": "x"}, r"there must be a table \[classes\], but only about"),
        ({**PLAIN, "about": 3}, "about must be a sentence `about` the grid, got 3"),
        ({**PLAIN, "girds": {}}, "the file cannot have 'girds'; did you mean grid"),
        (
            changed("grid", sede=[1]),
            r"\[grid\] cannot have 'sede'; did you mean seed.*accepted are mix",
        ),
        (changed("every", batchsize=3), "did you mean batch_size"),
        (changed("grid", seed=3), r"seed in \[grid\] must be a list of values, got 3"),
        (changed("grid", seed=[]), r"must be a list of values, got \[\]"),
        (changed("every", seed=3), r"seed must stand in \[grid\] or in \[every\], not in both"),
        (changed("every", steps=None), r"steps must stand in \[grid\] or in \[every\]"),
        (changed("every", size="tinny"), "size must be one of mini, tiny, .*got 'tinny'"),
        (changed("every", size=["tiny"]), r"size must be one of .*got \['tiny'\]"),
        (changed("grid", mixture=["line+sin"]), "no class 'sin' to draw from; did you mean sine"),
        (changed("grid", mixture=[["line", "sine"]]), r"must be written as 'line\+sine\+plane' is"),
        (
            changed("grid", mixture=["line"]),
            "the weight of 'line', a class alone, must be 1, got 0.0",
        ),
        (changed("grid", mixture=["line+plane"]), "must share one input dimension"),
        (
            changed("grid", mixture=["plane"], weight=[1.0]),
            "must be of one dimension: .*2, line has 1",
        ),
        (changed("grid", weight=[1.5]), r"weight must be a number in \[0, 1\], got 1.5"),
        (changed("grid", weight=["a"]), r"weight must be a number in \[0, 1\], got 'a'"),
        (changed("grid", seed=[-1]), "seed must be an integer in .*got -1"),
        (changed("every", steps="ten"), "steps must be an integer of at least 1, got 'ten'"),
        (changed("classes", line={"class": "DenseLine", "dim": 1}), "got 'DenseLine'"),
        (changed("classes", line=1), r"line in \[classes\] must be a table"),
        (
            changed("classes", **{"a+b": {"class": "DenseLinear", "dim": 1}}),
            "without a plus.*'a\\+b'",
        ),
        ({**PLAIN, "classes": {}}, "must name at least one class"),
        (changed("tests", on=["lin"]), r"on in \[tests\] has no class 'lin'; did you mean line"),
        (changed("tests", on=[["line"]]), "on in .* has no class"),
        (changed("tests", on="line"), r"on in \[tests\] must be a list of classes, got 'line'"),
        (changed("tests", examples=None), r"examples in \[tests\] must be a list .*got None"),
        (
            changed("tests", examples=[6]),
            r"examples in \[tests\] must be an integer in \[0, 5\], got 6",
        ),
        (changed("tests", n_prompts=0), r"n_prompts in \[tests\] must be .*got 0"),
        (changed("tests", seed=-1), "seed must be"),
    ],
)
def test_a_grid_that_no_sweep_can_be_made_of_is_refused(plain, message):
    with pytest.raises(ValueError, match=message):
        parse(plain, "mine")


@pytest.mark.usefixtures("unchecked")
def test_a_bad_file_is_bad_usage(tmp_path, capsys):
    path = grid_file(tmp_path)
    for text, message in (
        (path.read_text().replace("seed", "sed"), "did you mean seed"),
        ("about = ", "mine.toml: "),
    ):
        path.write_text(text)
        with pytest.raises(SystemExit) as stop:
            main(["sweep", str(path)])
        assert stop.value.code == 2
        assert message in capsys.readouterr().err.replace("\n", " ")
    with pytest.raises(GridError, match=r"no grid is called 'first'; did you mean first-try"):
        sweeps.read("first")
    with pytest.raises(GridError, match="No such file"):
        sweeps.read(tmp_path / "none.toml")


@pytest.mark.parametrize("name", sweeps.available())
def test_the_books_own_grids_are_readable(name):
    grid = sweeps.read(name)
    assert grid.name == name and grid.about.endswith(".")
    assert (FOLDER / f"{name}.toml").read_text().startswith("about = ")


def test_the_weights_grid_is_the_shipped_models():
    grid = sweeps.read("line+sine-tiny")
    shipped = {
        "sine-tiny": 0.0,
        **{f"line+sine-{share}-tiny": share for share in recipes.SHARES},
        "line-tiny": 1.0,
    }
    found = {member.differs["weight"]: member.setting for member in grid.members}
    assert found == {share: recipes.RECIPES[name] for name, share in shipped.items()}


def test_the_costs_that_the_page_shows_are_of_the_grid_as_it_is():
    grid, costs = sweeps.read("first-try"), pd.read_csv(FOLDER / "first-try-costs.csv")
    assert list(costs.run) == [member.name for member in grid.members]
    assert list(costs.operations) == [training_flops(member.setting) for member in grid.members]
    assert (costs.seconds > 0).all()


# --- One run --------------------------------------------------------------------------------------


def test_the_errors_of_a_run_are_the_models_and_those_of_both_bayesians():
    grid = parse(changed("tests", n_prompts=64, seed=3, examples=[2, 5]), "mine")
    setting = grid.members[2].setting
    model = Transformer(setting.model).eval()
    table = runs.measure(model, setting, grid.tests)
    assert set(table.test) == {"line", "sine"} and set(table.n_examples) == {2, 5}
    assert set(table.predictor) == {"transformer", "Bayes", "oracle"}
    prior, line = setting.function_class, DenseLinear(1)
    asked = {"transformer": model.predict_curve} | {
        who: lambda *given, p=p: bayes.posterior_curve(p, *given)[0]
        for who, p in (("Bayes", prior), ("oracle", line))
    }
    errors = curve_errors(asked, line, n_examples=5, n_queries=runs.QUERIES, n_prompts=64, seed=3)
    mean = {who: error.mean().item() for who, error in errors.items()}
    rows = table[(table.test == "line") & (table.n_examples == 5)].set_index("predictor")
    assert rows.mse.to_dict() == pytest.approx(mean)
    ours = rows.loc["transformer"]
    assert ours.over_bayes == pytest.approx(mean["transformer"] - mean["Bayes"])
    assert ours.over_oracle == pytest.approx(mean["transformer"] - mean["oracle"])
    assert ours.over_oracle_low < ours.over_oracle < ours.over_oracle_high
    assert rows.loc["oracle"].isna().over_bayes


def test_a_run_keeps_to_its_own_folder_and_to_what_is_done(tmp_path, monkeypatch):
    grid = sweeps.read(grid_file(tmp_path, "seed = [1]", steps=3))
    (member,) = grid.members
    with pytest.raises(ValueError, match=f"must be called {member.name}"):
        list(runs.carry_out(member.setting, grid.tests, tmp_path / "other"))
    folder = tmp_path / member.name
    told = list(runs.carry_out(member.setting, grid.tests, folder, every=0.0))
    assert [one.step for one in told] == [0, 1, 2, 3]
    assert told[-1].left == 0
    assert runs.is_done(folder, grid.tests)
    kept = {"losses.csv", LOCK, runs.measured_file(grid.tests)}
    assert {p.name for p in folder.iterdir()} == {
        *kept,
        f"{member.name}.json",
        f"{member.name}.safetensors",
    }
    assert weights.load(folder).card["evaluation"]["training_seconds"] > 0
    # What it is measured on may change: then it is measured again, and not trained.
    monkeypatch.setattr(runs, "_train", lambda *_: pytest.fail("trained again"))
    other = sweeps.Tests(grid.tests.functions, (1,), n_prompts=4)
    assert not runs.is_done(folder, other)
    assert list(runs.carry_out(member.setting, other, folder)) == []
    assert runs.is_done(folder, other) and runs.is_done(folder, grid.tests)


# --- Many, with real processes --------------------------------------------------------------------

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


MEMORY = 80 * 2**20


@contextmanager
def started(**head):
    """A cluster that has one machine, which in truth is this one."""
    from ray.cluster_utils import Cluster

    head |= {"include_dashboard": False, "object_store_memory": MEMORY}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


@pytest.fixture(scope="module")
def cluster():
    """The address of a cluster of one machine, which says that it has four processors and a GPU."""
    with started(num_cpus=4, num_gpus=1) as only:
        yield only.address


@pytest.fixture
def sweep(request, tmp_path, capfd, monkeypatch):
    """Carries out a grid on a cluster; returns the exit status and what was printed."""
    # To Ray a function whose signature is checked is no generator.
    unchecked = inspect.unwrap(processes._in_a_process)
    monkeypatch.setattr(processes, "_in_a_process", unchecked)

    def run(path, *more, folder=tmp_path / "out", address=None):
        address = address or request.getfixturevalue("cluster")
        command = ["sweep", str(path), "--folder", str(folder), "--address", address, *more]
        status = main([*command, "--save-every", "5"])
        shown = capfd.readouterr()
        return status, shown.out, shown.err

    return run


def driver(cluster, path, folder, *more):
    """The same in a process of its own."""
    command = ["sweep", str(path), "--folder", str(folder), "--address", cluster, *more]
    return subprocess.Popen(
        [sys.executable, "-m", "icl_lib", *command, "--save-every", "5"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(what, seconds=180):
    """Wait until `what` gives something true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)
    return found


def checkpoints(folder):
    return sorted(folder.glob(f"*/{CHECKPOINT}"))


def process_in(folder):
    """The process that has a run's folder locked."""
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == str(folder / LOCK):
                return int(link.parts[2])
        except OSError:  # it has ended, or belongs to somebody else
            continue
    return None


def assert_as_if_nothing_had_happened(path, folder, tmp_path):
    """Every run has the very weights of one that was left in peace, each of its steps once."""
    grid = sweeps.read(path)
    for member in grid.members:
        alone = fit(member.setting, tmp_path / "alone" / member.name, progress=False)
        losses = pd.read_csv(folder / member.name / "losses.csv")
        assert losses.step.tolist() == list(range(member.setting.steps))
        assert losses.loss.tolist() == pytest.approx(alone.losses, rel=1e-12)
        found = weights.load(folder / member.name).state_dict()
        for name, value in alone.model.state_dict().items():
            assert torch.equal(value.half().float(), found[name]), name
    table = pd.read_csv(folder / "mine.csv")
    assert list(table.run.unique()) == [member.name for member in grid.members]
    assert len(table) == 6 * len(grid.members)  # two lengths, three predictors
    costs = pd.read_csv(folder / "mine-costs.csv").set_index("run")
    assert list(costs.index) == [member.name for member in grid.members]
    for member in grid.members:
        cost = costs.loc[member.name]
        assert cost.steps == member.setting.steps and cost.prompts == 2 * cost.steps
        assert cost.operations == training_flops(member.setting)
        card = weights.read_card(folder / member.name)
        assert cost.seconds == card["evaluation"]["training_seconds"] > 0
    return table


def test_a_run_that_fails_is_told_and_the_others_are_not_stopped_nor_done_again(sweep, tmp_path):
    path, out = grid_file(tmp_path, "adamw_rate = [2e-3, 1e9]", steps=8), tmp_path / "out"
    good, bad = sweeps.read(path).members
    status, said, err = sweep(path)
    assert status == 1
    assert f"{good.name}  adamw_rate 0.002: done" in said, err
    assert f"{bad.name}  adamw_rate 1000000000.0: failed: TrainingDiverged: " in said
    assert "1 runs failed" in err and f"{bad.name}: TrainingDiverged" in err
    assert "training diverged at step" in (out / bad.name / "error.txt").read_text()
    assert set(pd.read_csv(out / "mine.csv").run) == {good.name}
    card = out / good.name / f"{good.name}.json"
    before = card.stat().st_mtime_ns
    path.write_text(path.read_text().replace("2e-3, 1e9", "2e-3"))
    status, said, _ = sweep(path)
    assert status == 0 and "done before" in said and "begun" not in said
    assert card.stat().st_mtime_ns == before


def test_stale_tables_are_measured_by_the_same_engine(cluster, tmp_path):
    with engine(cluster) as many:
        assert results.refresh("setting_beliefs", tmp_path, engine=many) == 6
        assert results.refresh("setting_beliefs", tmp_path, engine=many) == 0
    stored, measured = (results.read("setting_beliefs", where) for where in (None, tmp_path))
    pd.testing.assert_frame_equal(stored, measured, rtol=store.RELATIVE, atol=store.ABSOLUTE)


def test_what_no_machine_has_is_refused_and_so_is_a_silent_cluster(sweep, tmp_path, capfd):
    path = grid_file(tmp_path)
    status, _, err = sweep(path, "--gpus", "2")
    assert status == 1 and "a run asks for 2 GPU, but the largest machine of 1 has 1" in err
    for more, message in (
        (["--address", "ray://here:1"], "got 'ray://here:1'"),
        (["--address", "auto", "--jobs", "2"], "got 2 beside the address 'auto'"),
    ):
        assert main(["sweep", str(path), "--folder", str(tmp_path / "a"), *more]) == 1
        assert message in capfd.readouterr().err


def kill_a_run_then_the_driver(first, sweep, path, out):
    """Leaves a sweep whose driver is dead, after one of its runs has lost its process and begun again."""
    checkpoint = wait_for(lambda: first.poll() is not None or checkpoints(out))[0]
    os.kill(wait_for(lambda: process_in(checkpoint.parent)), signal.SIGKILL)
    lost, said = checkpoint.parent.name, ""
    for line in first.stdout:
        said += line
        if "lost its process" in said and re.search(rf"{lost} .*: begun", line):
            break
    assert re.search(rf"{lost} .*: lost its process; goes on from step \d+", said), said
    status, _, err = sweep(path)
    assert status == 1 and f"another process is running a sweep in {out}" in err
    assert first.poll() is None, "it has ended before it was killed: nothing is tested"


@pytest.mark.skipif(sys.platform != "linux", reason="looks for a run's process in /proc")
def test_a_killed_run_and_a_killed_driver_are_gone_on_from(cluster, sweep, tmp_path):
    path, out = grid_file(tmp_path, "seed = [1, 2]", steps=200), tmp_path / "out"
    with driver(cluster, path, out) as first:
        try:
            kill_a_run_then_the_driver(first, sweep, path, out)
        finally:
            first.kill()
    at = {p.parent.name: reached(p)[0] for p in checkpoints(out)}
    assert any(at.values())
    status, said, err = sweep(path)
    assert status == 0, err
    for name, step in at.items():
        begun = re.search(rf"{name} .*: begun at step (\d+)", said)
        assert begun is None or int(begun[1]) >= step
    assert_as_if_nothing_had_happened(path, out, tmp_path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for a run's process in /proc")
def test_a_machine_that_dies_takes_no_run_with_it(sweep, tmp_path):
    path, out = grid_file(tmp_path, "seed = [1, 2]", steps=150), tmp_path / "out"
    with started(num_cpus=1) as cluster:
        other = cluster.add_node(num_cpus=1, object_store_memory=MEMORY)

        def pull_the_plug():
            wait_for(lambda: len(checkpoints(out)) == 2)  # one run on each machine
            cluster.remove_node(other, allow_graceful=False)

        threading.Thread(target=pull_the_plug, daemon=True).start()
        status, said, err = sweep(path, address=cluster.address)
    assert status == 0, err
    (step,) = re.findall(r"lost its process; goes on from step (\d+)", said)
    assert 0 < int(step) < 150
    assert_as_if_nothing_had_happened(path, out, tmp_path)


def test_two_runs_share_a_gpu(sweep, tmp_path, monkeypatch):
    """It is a pretended one: what is seen is how many runs Ray lets have it, and which they are told to use."""
    path, here = grid_file(tmp_path, "seed = [1, 2, 3]"), tmp_path / "here"
    here.mkdir()

    def pretend(setting, tests, folder, device, threads, save_every):
        told = here / f"{setting.seed}.under-way"
        told.write_text("")
        yield runs.Told(0, 0.0, 0.0)
        wait_for(lambda: len(list(here.iterdir())) >= 2)
        time.sleep(0.5)
        at_once = len(list(here.glob("*.under-way")))
        told.rename(here / f"{setting.seed}.{device}.{ray.get_gpu_ids()}.{at_once}")

    monkeypatch.setattr(processes, "_in_a_process", pretend)
    status, _, err = sweep(path, "--gpus", "0.5")
    assert status == 0, err
    names = sorted(file.name for file in here.iterdir())
    assert [name.rsplit(".", 1)[0] for name in names] == [f"{n}.cuda.[0]" for n in range(1, 4)]
    assert max(int(name.rsplit(".", 1)[1]) for name in names) == 2


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_loses_nothing(sweep, tmp_path):
    path, out = grid_file(tmp_path, "seed = [1]", steps=200), tmp_path / "out"

    def press():
        wait_for(lambda: checkpoints(out))
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    status, said, err = sweep(path)
    assert status == 130, err
    assert "stopping; every run saves where it stands" in said
    (checkpoint,) = checkpoints(out)
    step, _ = reached(checkpoint)
    assert 0 < step < 200
    status, said, _ = sweep(path)
    assert status == 0 and f"begun at step {step}" in said
    assert_as_if_nothing_had_happened(path, out, tmp_path)


@pytest.fixture
def small_disk(tmp_path):
    """A disk of two megabytes that can be made larger."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    yield folder, lambda: subprocess.run(["mount", "-o", "remount,size=64m", folder], check=True)
    subprocess.run(["umount", folder], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="mounts a tmpfs")
def test_a_full_disk_loses_nothing(sweep, tmp_path, small_disk):
    path, (out, enlarge) = grid_file(tmp_path, steps=40), small_disk
    # A checkpoint has 1.2 megabytes: one fits, but neither a second one that is to take its place, nor another run's.
    status, said, err = sweep(path, folder=out)
    assert status == 1
    assert len(re.findall(r"failed: .*[Nn]o space left", said)) >= 1, said
    at = {p.parent.name: reached(p)[0] for p in checkpoints(out)}
    assert any(at.values()) and not list(out.glob("*/*.part"))
    enlarge()
    status, said, err = sweep(path, folder=out)
    assert status == 0, err
    for name, step in at.items():
        assert re.search(rf"{name} .*: begun at step {step}\n", said)
    assert not list(out.glob("*/error.txt"))
    assert_as_if_nothing_had_happened(path, out, tmp_path)
