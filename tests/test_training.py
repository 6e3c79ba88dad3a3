"""Resuming gives the very weights, also after kill -9; divergence stops; training learns."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from icl_lib import (
    DenseLinear,
    Mixture,
    SparseLinear,
    TransformerConfig,
    baselines,
    bayes,
    sample_prompts,
    training,
)
from icl_lib.training import CHECKPOINT, Ramp, Run, Setting, TrainingDiverged, fit, train_steps

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
_CHILD = """
import torch
torch.set_num_threads(1)
from tests.test_training import SETTING
from icl_lib.training import fit
fit(SETTING, {folder!r}, save_every=4, progress=False)
"""


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
    kills = 0
    for delay in (0.0, 0.05, 0.12, 0.3):
        child = subprocess.Popen(
            [sys.executable, "-c", _CHILD.format(folder=str(tmp_path))],
            cwd=Path(__file__).parents[1],
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        seen = (tmp_path / CHECKPOINT).stat().st_mtime_ns if (tmp_path / CHECKPOINT).exists() else 0
        deadline = time.monotonic() + 120
        while (
            child.poll() is None and time.monotonic() < deadline
        ):  # until it has made progress of its own
            path = tmp_path / CHECKPOINT
            if path.exists() and path.stat().st_mtime_ns != seen:
                break
            time.sleep(0.002)
        time.sleep(delay)
        if child.poll() is None:
            kills += 1
            child.send_signal(signal.SIGKILL)
        child.wait()
    assert kills, "no child was killed before it had finished: the test has tested nothing"
    run = fit(SETTING, tmp_path, progress=False)
    assert run.step == SETTING.steps
    assert_same(weights(tmp_path), uninterrupted[1])
    assert run.losses == uninterrupted[0].losses


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
