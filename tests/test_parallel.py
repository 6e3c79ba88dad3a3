"""Two processes take the steps that one takes, and so does one that takes its batch in slices."""

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from icl_lib import DenseLinear, TransformerConfig, load, training
from icl_lib.parallel import Group, joined
from icl_lib.training import ADDED_UP, CHECKPOINT, Ramp, Run, Setting, fit, train_steps

ROOT = Path(__file__).parents[1]
SETTING = Setting(
    DenseLinear(2),
    TransformerConfig(dim=2, max_examples=6, layers=3, heads=2, width=16),
    steps=30,
    seed=3,
    batch_size=40,
    dims=Ramp(1, 2, every=10),
    examples=Ramp(3, 6, every=8),
    warmup=5,
    deep_supervision=1.0,
    clip=4.0,  # some steps are cut and some are not: to the optimisers all else is the same at half the gradient
)
_TOML = """
steps = 30
seed = 3
batch_size = 40
warmup = 5
dims = {start = 1, stop = 2, every = 10}
examples = {start = 3, stop = 6, every = 8}
deep_supervision = 1.0
clip = 4.0
function_class = {class = "DenseLinear", dim = 2}
model = {dim = 2, max_examples = 6, layers = 3, heads = 2, width = 16}
"""


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    """The run of one process."""
    return fit(SETTING, tmp_path_factory.mktemp("one"), progress=False)


def farthest(run, weights):
    """The largest difference of any weight."""
    return max(
        (value - weights[name]).abs().max() for name, value in run.model.state_dict().items()
    )


def weights_of(folder):
    tensors = load_file(folder / CHECKPOINT)
    return {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}


@pytest.mark.parametrize("micro_batch", [7, 40])
def test_gradients_that_are_added_up_give_the_same_weights(one, micro_batch):
    run = Run.start(SETTING)
    losses = list(train_steps(run, micro_batch=micro_batch))
    assert losses == pytest.approx(one.losses, rel=1e-3)
    assert farthest(one, run.model.state_dict()) < ADDED_UP


def two_processes(folder, *more):
    """What the command does when torchrun starts it twice."""
    (folder / "two.toml").write_text(_TOML)
    command = ["train", str(folder / "two.toml"), "--folder", str(folder), "--n-prompts", "8"]
    return subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
            *("-m", "icl_lib", "--threads", "1", *command, *more),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )


def test_two_processes_give_the_weights_of_one_and_go_on_from_its_checkpoint(one, tmp_path):
    # Eleven steps by one process, the rest by two: the checkpoint does not say how many there were.
    run = Run.start(SETTING)
    for _ in zip(range(11), train_steps(run), strict=False):
        pass
    run.save(tmp_path / CHECKPOINT)
    done = two_processes(tmp_path, "--micro-batch", "9")
    assert done.returncode == 0, done.stderr
    assert "from step 11" in done.stdout and done.stdout.count("saved") == 1
    assert farthest(one, weights_of(tmp_path)) < ADDED_UP
    losses = load_file(tmp_path / CHECKPOINT)["losses"].tolist()
    assert losses == pytest.approx(one.losses, rel=1e-3)
    assert load(tmp_path).card["steps"] == 30


@pytest.mark.parametrize("mistake", [{"batch_size": 39}, {"clip": 8.0}])
def test_the_tolerance_would_show_a_mistake(one, mistake):
    """Prompts that are left out, or gradients half as large, are far beyond it."""
    run = Run.start(replace(SETTING, **mistake))
    for _ in train_steps(run):
        pass
    assert farthest(one, run.model.state_dict()) > 10 * ADDED_UP


def press(times):
    for _ in range(times):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_of_several_processes_none_stops_within_a_step_however_often_it_is_told():
    with training._interrupt_after_step(at_once=False) as interrupted:
        assert not interrupted()
        press(3)
        assert interrupted()
    with pytest.raises(KeyboardInterrupt), training._interrupt_after_step():
        press(2)


def test_a_batch_is_shared_out_evenly_or_refused():
    groups = [Group(rank, 4) for rank in range(4)]
    rows = torch.cat([torch.arange(12)[group.rows(12)] for group in groups])
    assert rows.tolist() == list(range(12))
    assert [group.leads for group in groups] == [True, False, False, False]
    with pytest.raises(ValueError, match="a multiple of the number of processes, got 10 and 4"):
        groups[0].rows(10)
    with pytest.raises(ValueError, match="micro_batch must be an integer of at least 1, got 0"):
        next(train_steps(Run.start(SETTING), micro_batch=0))


def test_only_what_can_be_shared_is(monkeypatch):
    with joined("mps") as group:
        assert group == Group(device="mps")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="train on cpu or cuda, got 'mps'"), joined("mps"):
        pass
