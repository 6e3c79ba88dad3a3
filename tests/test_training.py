"""Resuming gives the very weights, also after kill -9; divergence stops; training learns."""

import json
import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from icl_lib import (
    DenseLinear,
    Mixture,
    SparseLinear,
    TransformerConfig,
    baselines,
    bayes,
    load,
    sample_prompts,
    training,
)
from icl_lib.training import (
    CHECKPOINT,
    Parent,
    Ramp,
    Run,
    Setting,
    TrainingDiverged,
    fit,
    train_steps,
)
from icl_lib.weights import parent, save

from .children import Child

MODEL = TransformerConfig(dim=2, max_examples=5, layers=1, heads=2, width=16)
SETTING = Setting(
    DenseLinear(2),
    MODEL,
    steps=60,
    seed=3,
    batch_size=20,
    dims=Ramp(1, 2, every=20),
    examples=Ramp(3, 5, every=15),
    warmup=10,
)
OPEN = replace(SETTING, steps=None)  # the same start: the curriculum ends at step 30


# What another process does.


def train(setting, folder, save_every=4, seconds=math.inf):
    fit(setting, folder, save_every=save_every, seconds=seconds, progress=False)


def anneal(long, folder):
    fit(
        OPEN.annealed(24, 300),
        folder,
        save_every=4,
        progress=False,
        begin=lambda: Run.branch(OPEN, long, 300),
    )


def await_checkpoint(path, process, seen=0):
    """Wait until `process` has saved a checkpoint of its own, or has ended."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if path.exists() and path.stat().st_mtime_ns != seen:
            break
        time.sleep(0.002)


def kill_again_and_again(folder, *call, delays=(0.0, 0.05, 0.12, 0.3)):
    """Make a call as often as there are delays, killing each process that long after it has saved."""
    kills, path = 0, folder / CHECKPOINT
    for delay in delays:
        process = Child(*call)
        await_checkpoint(path, process, path.stat().st_mtime_ns if path.exists() else 0)
        time.sleep(delay)
        if process.poll() is None:
            kills += 1
            process.send_signal(signal.SIGKILL)
        process.communicate()
    assert kills, "no child was killed before it had finished: the test has tested nothing"


def weights(folder):
    tensors = load_file(Path(folder) / CHECKPOINT)
    return {name: value for name, value in tensors.items() if name.startswith("model.")}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    return fit(SETTING, folder, progress=False), weights(folder)


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def test_a_run_killed_at_any_moment_resumes_to_the_very_same_weights(tmp_path, uninterrupted):
    kill_again_and_again(tmp_path, train, SETTING, tmp_path)
    run = fit(SETTING, tmp_path, progress=False)
    assert run.step == SETTING.steps
    assert_same(weights(tmp_path), uninterrupted[1])
    assert run.losses == uninterrupted[0].losses


def run_to(setting, folder, step):
    """The run of `setting` in `folder`, stopped, with a checkpoint, when it has done `step` steps."""
    run = Run.resume(setting, folder)
    for _ in zip(range(step - run.step), train_steps(run), strict=False):
        pass
    run.save(folder / CHECKPOINT)
    return run


def test_an_open_run_killed_at_any_moment_goes_on_as_if_it_had_not_been(tmp_path):
    cut = tmp_path / "cut"
    kill_again_and_again(cut, train, OPEN, cut, delays=(0.0, 0.1))
    reached = Run.resume(OPEN, cut).step
    assert reached > 0 and reached % 4 == 0
    run_to(OPEN, cut, reached + 7)
    run_to(OPEN, tmp_path / "whole", reached + 7)
    assert_same(weights(cut), weights(tmp_path / "whole"))


def test_an_open_run_is_the_run_of_a_set_length_until_its_rates_fall(tmp_path):
    # What a run of 60 steps that anneals over its last 60% is: 24 steps of an open one, and 36 that anneal.
    assert [OPEN.rate(step) for step in (0, 9, 10, 10**6)] == pytest.approx([1 / 11, 10 / 11, 1, 1])
    run_to(OPEN, tmp_path, 24)
    branch = Run.branch(OPEN, tmp_path / CHECKPOINT, 36)
    assert branch.setting.steps == 60
    assert [branch.setting.rate(s) for s in (23, 24, 59)] == pytest.approx([1.0, 1.0, 1 / 36])
    for _ in train_steps(branch):
        pass
    assert branch.step == 60
    for name, value in fit(SETTING, tmp_path / "set", progress=False).model.state_dict().items():
        assert torch.equal(value, branch.model.state_dict()[name]), name
    assert Run.resume(OPEN, tmp_path).step == 24, "the long run stands where it stood"


def test_an_anneal_killed_at_any_moment_resumes_though_the_long_run_has_gone_on(tmp_path):
    run_to(OPEN, tmp_path, 24)
    long, cut = tmp_path / CHECKPOINT, tmp_path / "anneal"
    whole = Run.branch(OPEN, long, 300)
    kill_again_and_again(cut, anneal, long, cut, delays=(0.0, 0.1, 0.2))
    run_to(OPEN, tmp_path, 40)
    for _ in train_steps(whole):
        pass
    run = fit(OPEN.annealed(24, 300), cut, progress=False)
    assert run.losses == whole.losses
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name


def test_a_run_can_be_annealed_only_while_its_rates_are_constant():
    for at in (9, 25):
        with pytest.raises(ValueError, match=rf"got .*{at}"):
            SETTING.annealed(at, 5)
    assert SETTING.annealed(24, 36) == SETTING


def test_a_run_ends_when_its_time_is_up_with_a_checkpoint(tmp_path):
    run = fit(OPEN, tmp_path, seconds=0.3, save_every=10**6, progress=False)
    assert run.step > 0
    assert Run.resume(OPEN, tmp_path).step == run.step
    with pytest.raises(ValueError, match="seconds must be above zero, got 0"):
        fit(OPEN, tmp_path, seconds=0)


def test_a_second_process_in_a_folder_is_refused_and_a_dead_one_holds_nothing(tmp_path):
    first = Child(train, OPEN, tmp_path, 1)
    await_checkpoint(tmp_path / CHECKPOINT, first)
    second = Child(train, OPEN, tmp_path, 4, 0.1)
    _, said = second.communicate(timeout=120)
    assert second.returncode != 0 and f"another process is training in {tmp_path}" in said
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert fit(OPEN, tmp_path, seconds=0.1, progress=False).step > 0


def test_a_finished_run_is_extended_with_prompts_that_it_has_not_met(tmp_path):
    finished = fit(SETTING, tmp_path / "first", progress=False)
    save(finished, "mine", tmp_path)
    setting = SETTING.extended(parent(tmp_path / "mine.safetensors"))
    assert setting.steps is None and setting.parent.prompts == 60 * 20
    assert torch.equal(setting.prompts(0)[0], replace(SETTING, steps=61).prompts(60)[0])
    run = Run.start(setting, parent=load(tmp_path / "mine.safetensors"))
    for name, value in finished.model.state_dict().items():
        assert torch.equal(value, run.model.state_dict()[name]), name
    for wrong in (None, finished.model):
        with pytest.raises(ValueError, match=f"starts from the weights {setting.parent.sha256}"):
            Run.start(setting, parent=wrong)
    with pytest.raises(ValueError, match="starts from the weights None, got"):
        Run.start(SETTING, parent=load(tmp_path / "mine.safetensors"))
    for _ in zip(range(12), train_steps(run), strict=False):
        pass
    run.save(tmp_path / "second" / CHECKPOINT)
    assert fit(setting, tmp_path / "second", seconds=0.1, progress=False).step > 12
    branch = Run.branch(setting, tmp_path / "second" / CHECKPOINT, 10)
    for _ in train_steps(branch):
        pass
    save(branch, "longer", tmp_path)
    assert load(tmp_path / "longer.safetensors").card["prompts"]["before"] == 60 * 20
    assert parent(tmp_path / "longer.safetensors").prompts == (60 + branch.step) * 20
    assert parent(tmp_path / "longer.safetensors").steps == 60 + branch.step


def test_the_prompts_of_each_phase_add_up():
    assert OPEN.phases(25) == {
        "before": 0,
        "warm-up": 200,
        "constant rate": 300,
        "falling rate": 0,
    }
    assert SETTING.phases(60) == {
        "before": 0,
        "warm-up": 200,
        "constant rate": 280,
        "falling rate": 720,
    }
    assert sum(OPEN.annealed(1000, 200).phases(1200).values()) == 1200 * 20


def test_a_checkpoint_that_is_older_than_a_field_of_the_setting_is_readable(tmp_path):
    run = run_to(SETTING, tmp_path, 7)
    path = tmp_path / CHECKPOINT
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    old = json.loads(metadata["setting"])
    del old["supervision_target"], old["parent"], old["clip"]
    save_file(tensors, path, metadata=metadata | {"setting": json.dumps(old)})
    assert Run.resume(SETTING, tmp_path).step == run.step
    # What it was written with is the default, and nothing else will do.
    with pytest.raises(ValueError, match="differs in clip;"):
        Run.resume(replace(SETTING, clip=2.0), tmp_path)
    del old["seed"], old["function_class"]
    save_file(tensors, path, metadata=metadata | {"setting": json.dumps(old)})
    with pytest.raises(ValueError, match="differs in function_class"):
        Run.resume(SETTING, tmp_path)


def test_ctrl_c_saves_the_step_it_fell_in_and_loses_nothing(tmp_path, uninterrupted, monkeypatch):
    prompts = Setting.prompts

    def interrupting(self, step, device="cpu"):
        if step == 17:
            os.kill(os.getpid(), signal.SIGINT)
        return prompts(self, step, device)

    monkeypatch.setattr(Setting, "prompts", interrupting)
    with pytest.raises(KeyboardInterrupt):
        fit(SETTING, tmp_path, save_every=1000, progress=False)
    monkeypatch.setattr(Setting, "prompts", prompts)
    run = Run.start(SETTING)
    run.restore(tmp_path / CHECKPOINT)
    assert run.step == 18  # the step that the signal fell in was finished
    fit(SETTING, tmp_path, progress=False)
    assert_same(weights(tmp_path), uninterrupted[1])


def test_a_checkpoint_of_another_setting_or_a_damaged_one_is_refused(tmp_path):
    fit(Setting(DenseLinear(2), MODEL, steps=1), tmp_path, progress=False)
    with pytest.raises(ValueError, match="another setting, which differs in steps, seed,"):
        fit(SETTING, tmp_path, progress=False)
    whole = (tmp_path / CHECKPOINT).read_bytes()
    bit_flipped = whole[:-1] + bytes([whole[-1] ^ 1])
    for damaged in (b"not a checkpoint", whole[:-8], bit_flipped):
        (tmp_path / CHECKPOINT).write_bytes(damaged)
        with pytest.raises(ValueError, match="not a readable checkpoint"):
            fit(SETTING, tmp_path, progress=False)


def test_divergence_stops_with_the_step_and_the_last_good_checkpoint(tmp_path, monkeypatch):
    prompts = Setting.prompts

    def poisoned(self, step, device="cpu"):
        xs, ys = prompts(self, step, device)
        return xs, ys * float("nan") if step == 7 else ys

    monkeypatch.setattr(Setting, "prompts", poisoned)
    with pytest.raises(TrainingDiverged, match=rf"step 7: .*nan.*{CHECKPOINT}"):
        fit(SETTING, tmp_path, save_every=5, progress=False)
    assert all(torch.isfinite(value).all() for value in weights(tmp_path).values())


def test_progress_is_shown_for_a_class_whose_posterior_is_out_of_reach(tmp_path, capsys):
    wide = SparseLinear(60, 4)
    with pytest.raises(ValueError, match="487,635"):
        bayes.posterior_predictive(wide, torch.zeros(1, 2, 60), torch.zeros(1, 2))
    model = TransformerConfig(dim=60, max_examples=2, layers=1, heads=1, width=8)
    fit(Setting(wide, model, steps=1, batch_size=2), tmp_path, progress=True)
    shown = capsys.readouterr().err
    assert "loss=" in shown and "excess" not in shown


def test_runaway_rates_are_called_divergence(tmp_path):
    wild = Setting(
        DenseLinear(2), MODEL, steps=400, muon_rate=30.0, adamw_rate=30.0, warmup=0, clip=1e9
    )
    with pytest.raises(
        TrainingDiverged, match="last good checkpoint: none was written yet"
    ) as once:
        fit(wild, tmp_path / "once", save_every=1000, progress=False)
    # Begun again from a checkpoint on the way, it is given up at the same step, and none of the bad ones was saved.
    for _ in range(2):
        with pytest.raises(TrainingDiverged, match=r"last good checkpoint: .*safetensors") as again:
            fit(wild, tmp_path, save_every=1, progress=False)
        assert str(again.value).split(";")[0] == str(once.value).split(";")[0]


def test_the_curriculum_grows_the_dimension_and_the_number_of_examples():
    for step, dim, points in ((0, 1, 3), (19, 1, 4), (20, 2, 4), (30, 2, 5), (59, 2, 5)):
        xs, ys = SETTING.prompts(step)
        assert xs.shape == (20, points, 2) and ys.shape == (20, points)
        assert bool((xs[..., dim:] == 0).all()) and bool((xs[..., :dim] != 0).all())
        assert 0.2 < ys.square().mean() < 5  # the narrower class keeps its unit second moment


def test_training_prompts_are_none_that_evaluation_can_draw():
    xs, _ = Setting(DenseLinear(2), MODEL, steps=1, seed=3).prompts(0)
    assert not torch.equal(xs, sample_prompts(DenseLinear(2), 64, 5, seed=3).xs)


def test_rates_warm_up_and_fall_to_zero():
    setting = Setting(DenseLinear(2), MODEL, steps=1000, warmup=100, decay=0.5)
    rates = [setting.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 101) and max(rates) == 1.0
    assert rates[100:500] == [1.0] * 400
    assert rates[750] == pytest.approx(0.5) and rates[-1] == pytest.approx(0.002)


def test_a_short_training_comes_near_least_squares_on_lines():
    setting = Setting(
        DenseLinear(1),
        TransformerConfig(1, 8, 2, 2, 32),
        steps=600,
        batch_size=64,
        warmup=20,
        decay=0.6,
    )
    run = Run.start(setting)
    for _ in train_steps(run):
        pass
    xs, ys, _ = sample_prompts(DenseLinear(1), 400, 8, seed=0)
    with torch.no_grad():
        error = (run.model(xs, ys) - ys).square().mean(0)
    assert (baselines.least_squares(xs, ys) - ys).square().mean(0)[3:].max() < 1e-6
    assert error[0] > 0.5 and error[-1] < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Setting(DenseLinear(3), MODEL, steps=1), "dimension 2, the function class has 3"),
        (lambda: Setting(DenseLinear(2), MODEL, steps=0), "steps .* got 0"),
        (lambda: Setting(DenseLinear(2), MODEL, steps=1, decay=2), r"\[0, 1\], got 2"),
        (lambda: Setting(DenseLinear(2), MODEL, steps=1, dims=Ramp(1, 3)), "must be a Ramp to 2"),
        (
            lambda: Setting(DenseLinear(2), MODEL, steps=1, optimiser="sgd"),
            "'muon' or 'adam', got 'sgd'",
        ),
        (
            lambda: Setting("line", MODEL, steps=1),
            "function_class must be a FunctionClass, got 'line'",
        ),
        (lambda: Setting(DenseLinear(2), MODEL, steps=1, dims=(1, 2)), "must be a Ramp to 2"),
        (lambda: Setting(SparseLinear(2, 2), MODEL, steps=1, dims=Ramp(1, 2)), "nnz .* got 2"),
        (lambda: Setting(DenseLinear(2), MODEL, steps=2.5), "steps .* got 2.5"),
        (lambda: Setting(DenseLinear(2), MODEL, steps=1, seed=2**32), "seed .* got 4294967296"),
        (
            lambda: Setting(DenseLinear(2), MODEL, steps=1, muon_rate=float("nan")),
            "rate .* got nan",
        ),
        (lambda: Setting(DenseLinear(2), MODEL, steps=1, clip=0), "clip .* got 0"),
        (
            lambda: Setting(DenseLinear(2), MODEL, steps=1, initialisation="zeros"),
            "torch, gpt2, got 'zeros'",
        ),
        (lambda: Setting(DenseLinear(2), MODEL, parent="mine"), "a Parent or None, got 'mine'"),
        (lambda: Parent("0" * 64, 0, 1), "parent's steps .* got 0"),
        (lambda: Ramp(3, 2), "start <= stop"),
        (lambda: Ramp(1.5, 2), "start .* got 1.5"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_mixture_of_classes_trains_in_any_dimension_of_the_curriculum():
    mixture = Mixture((DenseLinear(4), SparseLinear(4, 2)), (0.5, 0.5))
    model = TransformerConfig(4, 5, 1, 2, 16)
    setting = Setting(mixture, model, steps=3, dims=Ramp(2, 4))
    losses = list(train_steps(Run.start(setting)))
    assert len(losses) == 3 and all(0 < loss < 10 for loss in losses)


def test_prompts_are_drawn_where_there_is_double_precision(monkeypatch):
    # Apple's GPUs have none, and there is none here: the devices that are asked for are looked at.
    asked = []
    prompts = Setting.prompts

    def drawn(self, step, device="cpu"):
        asked.append(torch.device(device).type)
        return prompts(self, step)

    monkeypatch.setattr(Setting, "prompts", drawn)
    for kind, expected in (("mps", "cpu"), ("meta", "meta")):
        run = Run.start(replace(SETTING, steps=1))
        where = [iter([SimpleNamespace(device=torch.device(kind))])]
        monkeypatch.setattr(run.model, "parameters", lambda where=where: where.pop())
        with pytest.raises((RuntimeError, NotImplementedError, IndexError)):
            next(train_steps(run))
        assert asked.pop() == expected


@pytest.mark.usefixtures("unchecked")
def test_the_gpus_way_is_compiled_for_every_size_and_learns_as_much(monkeypatch):
    # There is no GPU here: the same step, whole batch, compiled and in bfloat16, on the CPU.
    setting = Setting(
        DenseLinear(2),
        TransformerConfig(dim=2, max_examples=13, layers=3, heads=2, width=16),
        steps=60,
        batch_size=32,
        dims=Ramp(1, 2, every=20),
        examples=Ramp(3, 13, every=3),
        warmup=10,
        deep_supervision=0.5,
    )
    plain = list(train_steps(Run.start(setting)))
    sizes = []

    def eager(graph, inputs):
        sizes.append(len(inputs))
        return graph.forward

    compile = torch.compile
    monkeypatch.setattr(
        torch, "compile", lambda f, **how: compile(f, backend=eager, fullgraph=True, **how)
    )
    monkeypatch.setattr(training, "_on_gpu", lambda device: True)
    run = Run.start(setting)
    assert run.optimisers["muon"].dtype == torch.bfloat16
    losses = list(train_steps(run))
    assert len(sizes) == 11  # from 3 to 13 points, each once: more than dynamo would by itself
    assert all(p.dtype == torch.float32 for p in run.parameters())
    late = slice(-15, None)
    assert sum(losses[late]) == pytest.approx(sum(plain[late]), rel=0.05)
    assert losses != plain
