"""The stored tables are what the code measures: rows drawn at random are measured again, and nothing stale is read."""

import dataclasses
import re
import secrets
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from icl_lib import prose, results, weights
from icl_lib.__main__ import main
from icl_lib.experiments import EXPERIMENTS, combinations, curves
from icl_lib.experiments.experiment import Experiment, ratio, shares
from icl_lib.results import rounding, store

ROOT = Path(__file__).parents[1]
every_table = pytest.mark.parametrize("name", EXPERIMENTS)


@pytest.fixture
def alone():
    """No predictions are remembered, before or after."""
    curves.answers.cache_clear()
    yield
    curves.answers.cache_clear()


@every_table
def test_a_stored_table_is_fresh_and_plain(name):
    assert results.stale(name) == {}
    table = results.read(name)
    experiment = EXPERIMENTS[name]
    assert len(table) == len(experiment.cases) * experiment.n_prompts
    assert np.isfinite(table[list(experiment.columns)].to_numpy()).all()
    # With pandas alone, and every column that is measured is explained in the file.
    path = results.FOLDER / f"{name}.parquet"
    assert len(pd.read_parquet(path)) == len(table)
    told = store.pq.read_schema(path).metadata
    assert told[b"description"].decode() == experiment.about
    assert all(column in told[b"columns"].decode() for column in experiment.columns)


def test_a_measurement_is_rounded_far_below_what_an_audit_sees():
    values = np.random.default_rng(0).lognormal(sigma=20, size=10_000).astype("float32")
    found = rounding.rounded(values)
    assert 1e-5 < np.abs(found / values - 1).max() <= store.RELATIVE / 16
    odd = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, -1.5], dtype="float32")
    np.testing.assert_array_equal(rounding.rounded(odd), odd)


def test_the_store_is_small():
    assert sum(path.stat().st_size for path in results.FOLDER.glob("*.parquet")) < 5e6


@pytest.mark.usefixtures("alone")
@every_table
def test_rows_drawn_at_random_are_what_the_weights_give(name):
    seed = secrets.randbelow(2**32)
    print(f"{name}: rows drawn with seed {seed}")
    table = results.read(name)
    if name == "inside_probes":  # what a probe reads takes seconds to compute: one at a time
        kinds = ["model", "source", "place", "target"]
        table = table.merge(table[kinds].drop_duplicates().sample(1, random_state=seed), on=kinds)
    rows = table.sample(4, random_state=seed)
    differing = results.audit(name, rows)
    assert differing.empty, f"seed {seed}:\n{differing.to_string()}"


@every_table
def test_all_who_are_asked_the_same_are_asked_at_the_same_points(name):
    """Predictors are compared on the same prompts: the function's mean square there is then the same in all rows."""
    experiment = EXPERIMENTS[name]
    if "the function" not in experiment.columns.get("power", ""):
        pytest.skip("the table has no mean square of the function")
    asked = [
        kind for kind in experiment.cases[0] if kind not in {"predictor", "other", "said", "who"}
    ]
    if name != "many_tasks":  # there each model is asked of tasks of its own
        asked = [kind for kind in asked if kind != "model"]
    powers = results.read(name).groupby([*asked, "prompt"]).power
    assert powers.size().max() > 1
    assert (powers.min() == powers.max()).all()


@pytest.mark.usefixtures("alone")
@every_table
def test_a_tampered_value_is_caught(name):
    table = results.read(name)
    column = next(iter(EXPERIMENTS[name].columns))
    rows = table[table[column] > 0.01].head(3).copy()
    rows.iloc[1, rows.columns.get_loc(column)] *= 1.01
    differing = results.audit(name, rows)
    assert list(differing.column) == [column]
    assert list(differing.prompt) == [rows.prompt.iloc[1]]


@pytest.mark.usefixtures("alone")
def test_other_weights_give_other_rows(monkeypatch):
    table = results.read("combination_errors")
    rows = table[(table.predictor == "line-tiny") & (table.weight == 0.5)].head(3)
    load = weights.load

    def changed(name):
        model = load(name)
        next(model.parameters()).mul_(1.01)
        return model

    monkeypatch.setattr(weights, "load", changed)
    assert len(results.audit("combination_errors", rows)) == 3


@pytest.fixture
def other_weights(tmp_path, monkeypatch):
    """The models' folder, in which line-tiny is another."""
    folder = tmp_path / "weights"
    shutil.copytree(weights.FOLDER, folder)
    path = folder / "line-tiny.safetensors"
    tensors = load_file(path)
    next(iter(tensors.values())).view(-1)[0] += 0.01
    save_file(tensors, path)
    monkeypatch.setattr(store, "WEIGHTS", folder)


@pytest.mark.usefixtures("other_weights")
def test_a_changed_weight_makes_its_own_rows_stale_and_no_others():
    reasons = results.stale("combination_errors")
    asked = [
        case for case in EXPERIMENTS["combination_errors"].cases if "line-tiny" in case.values()
    ]
    assert set(reasons) == {tuple(case.values()) for case in asked}
    assert set(reasons.values()) == {"other weights of line-tiny"}
    with pytest.raises(results.StaleError, match=r"other weights of line-tiny .*python -m icl_lib"):
        results.read("combination_errors")
    assert results.stale("combination_shapes") == {}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"settings": {"n_queries": 32, "seed": 7}}, "seed was 6 and is 7"),
        ({"n_prompts": 300}, "n_prompts was 256 and is 300"),
        ({"version": 9}, "version was 1 and is 9"),
    ],
)
def test_a_changed_parameter_makes_every_row_stale(monkeypatch, change, why):
    experiment = EXPERIMENTS["combination_shapes"]
    monkeypatch.setitem(
        EXPERIMENTS, "combination_shapes", dataclasses.replace(experiment, **change)
    )
    reasons = results.stale("combination_shapes")
    assert len(reasons) == len(experiment.cases)
    assert set(reasons.values()) == {why}


def squares(number, power, prompts):
    """An experiment that costs nothing."""
    MEASURED.append(number)
    if number == STOP["at"]:
        raise STOP["by"]
    return pd.DataFrame({"value": [float(number) ** power + prompt for prompt in prompts]})


MEASURED = []
STOP = {"at": None, "by": KeyboardInterrupt()}


def toy(numbers, **changes):
    cases = [{"number": number} for number in numbers]
    columns = {"value": "a number"}
    made = Experiment("toy", 1, "a square", columns, cases, {"power": 2}, 3, squares)
    return dataclasses.replace(made, **changes)


@pytest.fixture
def measured(monkeypatch):
    MEASURED.clear()
    monkeypatch.setitem(STOP, "at", None)
    monkeypatch.setitem(EXPERIMENTS, "toy", toy([1, 2]))
    return MEASURED


def test_what_is_new_is_added_and_the_rest_left(tmp_path, monkeypatch, measured):
    with pytest.raises(results.StaleError, match=r"toy: not measured yet \(2 cases\)"):
        results.read("toy", tmp_path)
    assert results.refresh("toy", tmp_path) == 2
    assert results.refresh("toy", tmp_path) == 0
    monkeypatch.setitem(EXPERIMENTS, "toy", toy([2, 3]))
    assert results.stale("toy", tmp_path) == {
        (1,): "no longer asked for",
        (3,): "not measured yet",
    }
    assert results.refresh("toy", tmp_path) == 1
    assert measured == [1, 2, 3]
    table = results.read("toy", tmp_path)
    assert table.value.tolist() == [4, 5, 6, 9, 10, 11]
    assert results.refresh("toy", tmp_path, everything=True) == 2
    monkeypatch.setitem(EXPERIMENTS, "toy", toy([3]))
    assert results.refresh("toy", tmp_path, everything=True) == 1
    assert results.read("toy", tmp_path).number.tolist() == [3, 3, 3]


def test_missing_rows_are_noticed(tmp_path, measured):
    results.refresh("toy", tmp_path)
    path = tmp_path / "toy.parquet"
    pd.read_parquet(path).drop(index=4).to_parquet(path)
    assert list(results.stale("toy", tmp_path)) == [(2,)]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path, monkeypatch, measured):
    monkeypatch.setitem(EXPERIMENTS, "toy", toy(range(5)))
    monkeypatch.setitem(STOP, "at", 0)
    with pytest.raises(KeyboardInterrupt):
        results.refresh("toy", tmp_path)
    assert not list(tmp_path.iterdir())
    measured.clear()
    monkeypatch.setitem(STOP, "at", 3)
    with pytest.raises(KeyboardInterrupt):
        results.refresh("toy", tmp_path)
    monkeypatch.setitem(STOP, "at", None)
    results.refresh("toy", tmp_path)
    assert measured == [0, 1, 2, 3, 3, 4]
    assert len(results.read("toy", tmp_path)) == 15


KILLED = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from tests import test_results as here
from icl_lib.results import rounding, store
store.SAVE_EVERY = 0.0
class Kill(Exception):
    def __init__(self): pass
here.EXPERIMENTS["toy"] = here.toy(range(5), measure=lambda **case: (
    os.kill(os.getpid(), signal.SIGKILL) if case["number"] == 3 else here.squares(**case)))
store.refresh("toy", Path({folder!r}))
"""


def test_a_killed_run_goes_on_where_it_was(tmp_path, monkeypatch, measured):
    script = KILLED.format(root=str(ROOT), folder=str(tmp_path))
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    monkeypatch.setitem(EXPERIMENTS, "toy", toy(range(5)))
    assert list(results.stale("toy", tmp_path)) == [(3,), (4,)]
    results.refresh("toy", tmp_path)
    assert measured == [3, 4]


def test_an_unknown_table_is_refused():
    with pytest.raises(
        ValueError, match=r"a table is one of .*combination_errors, .*; got 'nothing'"
    ):
        results.read("nothing")


def test_the_command_says_what_is_stale(tmp_path, monkeypatch, capsys, measured):
    monkeypatch.setattr(store, "FOLDER", tmp_path)
    assert main(["results", "toy", "--check"]) == 1
    assert "toy: not measured yet (2 cases)" in capsys.readouterr().out
    assert main(["results", "toy"]) == 0
    assert "toy: 2 cases measured" in capsys.readouterr().out
    assert main(["results", "toy", "--check"]) == 0
    assert measured == [1, 2]
    assert main(["results", "nothing"]) == 1


# The statistics that are taken of the rows.


def test_a_share_is_a_ratio_of_means_over_the_same_prompts():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {
            "predictor": np.repeat(["one", "two"], 50),
            "prompt": np.tile(range(50), 2),
            "error": rng.exponential(size=100),
            "power": np.tile(rng.exponential(size=50) + 1, 2),
        }
    )
    found = shares(table.sample(frac=1, random_state=1), ["predictor"]).set_index("predictor")
    for name, rows in table.groupby("predictor"):
        row = found.loc[name]
        assert row.share == pytest.approx(rows.error.sum() / rows.power.sum())
        assert row.ci_low < row.share < row.ci_high
        assert tuple(row) == pytest.approx(ratio(rows.error, rows.power))


def test_what_a_line_a_sine_and_both_leave():
    xs = np.linspace(-2.5, 2.5, 40)
    shapes = [1.5 * xs, np.sin(2.345 * xs + 0.4), xs - 2 * np.cos(4.1 * xs), xs**2]
    line, sine, both = (
        rest.numpy()
        for rest in curves.remainders(
            torch.tensor(np.tile(xs, (4, 1))),
            torch.tensor(np.stack(shapes)),
        )
    )
    assert line[0] < 1e-9 and sine[1] < 1e-4 and both[:3].max() < 1e-3
    slope = xs @ shapes[3] / (xs @ xs)
    assert line[3] == pytest.approx(np.mean((shapes[3] - slope * xs) ** 2))
    assert (both <= np.minimum(line, sine) + 1e-6).all() and both[3] > 0.01
    assert line[1] > 0.1 and sine[0] > 0.01


# Numbers in prose.


@pytest.fixture(scope="module")
def facts():
    return prose.stored()


@pytest.fixture(scope="module")
def faults():
    """The prose's faults where a table has the linear predictor err a thousand times more, all others half as much."""

    def read(name):
        table = results.read(name)
        if name != "combination_errors":
            return table
        linear = table.predictor == combinations.LINEAR
        return table.assign(error=table.error.where(~linear, table.error * 2000) / 2)

    return prose.check(ROOT, prose.Facts(read))


def test_the_prose_says_what_the_tables_say(facts):
    assert prose.check(ROOT, facts) == []


def test_every_condition_guards_a_sentence(facts):
    text = "".join(path.read_text() for path in prose.pages(ROOT))
    own = [name for name in facts.conditions if not name.startswith("claims.")]
    assert [name for name in own if f"holds: {name} -->" not in text] == []


def test_a_stored_number_that_changes_is_seen_in_the_prose(faults):
    assert any("combinations.standard.half is" in fault for fault in faults)


def test_a_sentence_that_holds_no_longer_is_named(faults):
    named = [fault for fault in faults if "combinations.data_suffice no longer holds" in fault]
    pages = {fault.split(":")[0] for fault in named}
    assert pages == {"README.md", "book/intro.md", "notebooks/convex_combinations.ipynb"}
    assert any("The data did not force the failure either" in fault for fault in named)


def test_numbers_are_written_where_they_are_named(tmp_path, facts):
    name, now = next(iter(facts.numbers.items()))
    (tmp_path / "book").mkdir()
    page = tmp_path / "book" / "page.md"
    page.write_text(f"It errs by 3.5 (2–4) × 10⁻⁶<!-- {name} -->. As 7<!-- {name} --> says.")
    assert len(prose.check(tmp_path, facts)) == 2
    assert prose.write(tmp_path, facts) == []
    assert page.read_text() == f"It errs by {now}<!-- {name} -->. As {now}<!-- {name} --> says."
    page.write_text(
        "Few<!-- combinations.nobody --> and many. <!-- holds: combinations.nothing -->"
    )
    assert prose.check(tmp_path, facts) == [
        "book/page.md: no number is called combinations.nobody",
        "book/page.md: no condition is called combinations.nothing",
    ]
    page.write_text(f"Many<!-- {name} -->.")
    assert prose.write(tmp_path, facts) == [
        f"book/page.md: no number stands before the name {name}"
    ]


def test_no_sentence_has_more_than_two_numbers():
    pages = [ROOT / "README.md", *ROOT.glob("book/*.md"), *ROOT.glob("notebooks/*.ipynb")]
    long = []
    for page in pages:
        for line in page.read_text(encoding="utf-8").splitlines():
            if line.lstrip().startswith("|") or line.lstrip().startswith('"|'):
                continue  # a table
            for sentence in re.split(r"(?<=[.?!])\s+", line):
                numbers = re.findall(r"<!-- (?!claims\.)[\w.+]+ -->", sentence)
                if len(numbers) > 2:
                    long.append((page.name, sentence))
    assert not long
