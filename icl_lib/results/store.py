"""One Parquet file for each experiment: plain columns, and beside each row what it depends on.

A row belongs to a *case* of its experiment and to one prompt. It is fresh while the case's parameters, the experiment's
version and the SHA-256 of the weights that it used are what they were. Whoever reads a table gets fresh rows or a
`StaleError` that says why there are none; only `refresh` measures, case by case, and leaves the fresh ones as they are.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from icl_lib import weights
from icl_lib.experiments import EXPERIMENTS, Experiment
from icl_lib.results.rounding import rounded
from icl_lib.training import write_whole

FOLDER = Path(__file__).parent
WEIGHTS = weights.FOLDER

RELATIVE, ABSOLUTE = 1e-3, 1e-6
"""Within these a measurement on another processor agrees with the stored one."""

SAVE_EVERY = 10.0
"""Seconds of computing that a killed process may lose."""

_DEPENDS = ["n_prompts", "version", "weights"]

Key = tuple[Any, ...]


class StaleError(ValueError):
    """A stored table is not what its experiment would measure now."""


def read(name: str, folder: Path | None = None) -> pd.DataFrame:
    """The stored table of an experiment: its cases' parameters, prompt, and what was measured.

    Args:
        name: one of `icl_lib.experiments.EXPERIMENTS`.
        folder: where the tables lie; by default those shipped with the library.

    Raises:
        ValueError: an unknown name.
        StaleError: rows are missing or stale; the message says which, why, and what computes them.
    """
    experiment = find(name)
    table = _load(experiment, folder)
    reasons = _reasons(experiment, table)
    if reasons:
        raise StaleError(
            f"{told(name, reasons)}. To measure them: python -m icl_lib results {name}"
        )
    return table.drop(columns=_DEPENDS)


def stale(name: str, folder: Path | None = None) -> dict[Key, str]:
    """Why cases are stale: by the case's parameters, in words. Empty if the table is fresh."""
    experiment = find(name)
    return _reasons(experiment, _load(experiment, folder))


def told(name: str, reasons: Mapping[Key, str]) -> str:
    """These reasons in one line."""
    if not reasons:
        return f"{name}: fresh"
    counts = pd.Series(list(reasons.values())).value_counts()
    return f"{name}: " + "; ".join(f"{why} ({count} cases)" for why, count in counts.items())


Engine = Callable[[Callable[..., pd.DataFrame], Sequence[tuple[Any, ...]]], Iterable[pd.DataFrame]]
"""Calls a function with each of these arguments, in any order, and gives what it returns as it comes."""


def one_by_one(
    call: Callable[..., pd.DataFrame], arguments: Sequence[tuple[Any, ...]]
) -> Iterator[pd.DataFrame]:
    """The engine of this process alone."""
    for given in arguments:
        yield call(*given)


def refresh(
    name: str,
    folder: Path | None = None,
    *,
    everything: bool = False,
    engine: Engine = one_by_one,
) -> int:
    """Measure what is stale, or everything, and store it; return how many cases were measured.

    The table is saved every few seconds, each time whole or not at all: a process that is stopped, or killed, goes on
    from there when it is called again.

    Args:
        name: of the table.
        folder: where the tables lie.
        everything: measure the fresh cases too.
        engine: what measures them; `cluster.engine` has them measured in many processes.
    """
    experiment = find(name)
    table = _load(experiment, folder)
    due = set(_reasons(experiment, table)) | set(_wanted(experiment) if everything else ())
    if not due:
        return 0
    keys = table[_parameters(experiment)].itertuples(index=False, name=None)
    parts = [table[[key not in due for key in keys]]]
    wanted = [case for key, case in _wanted(experiment).items() if key in due]
    saved = time.monotonic()
    try:
        found = engine(_measured_case, [(name, case) for case in wanted])
        for part in tqdm(found, desc=name, unit="case", total=len(wanted)):
            parts.append(part)
            if time.monotonic() - saved > SAVE_EVERY:
                _save(experiment, parts, folder)
                saved = time.monotonic()
    finally:
        _save(experiment, parts, folder)
    return len(wanted)


def audit(name: str, rows: pd.DataFrame) -> pd.DataFrame:
    """Measure stored rows again, and return those that differ by more than the tolerance, with both values.

    Args:
        name: of the experiment.
        rows: some rows of its table.
    """
    experiment = find(name)
    differing = []
    for key, part in rows.groupby(_parameters(experiment), sort=False):
        case = _wanted(experiment)[key if isinstance(key, tuple) else (key,)]
        again = _measured(experiment, case, part.prompt.tolist())
        for column in experiment.columns:
            stored, computed = part[column].to_numpy(float), again[column].to_numpy(float)
            off = ~np.isclose(stored, computed, rtol=RELATIVE, atol=ABSOLUTE)
            differing.append(
                part[off].assign(column=column, stored=stored[off], computed=computed[off])
            )
    return pd.concat(differing, ignore_index=True)


def find(name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        ValueError: there is none.
    """
    if name not in EXPERIMENTS:
        raise ValueError(f"a table is one of {', '.join(EXPERIMENTS)}; got {name!r}")
    return EXPERIMENTS[name]


def _parameters(experiment: Experiment) -> list[str]:
    """The columns that tell cases apart."""
    return list(experiment.cases[0])


def _wanted(experiment: Experiment) -> dict[Key, dict[str, Any]]:
    return {tuple(case.values()): dict(case) for case in experiment.cases}


def _depends(experiment: Experiment, case: Mapping[str, Any]) -> dict[str, Any]:
    """What a case's rows depend on besides its own parameters, as the table has it."""
    models = [word for word in case.values() if word in _models(WEIGHTS)]
    return {
        **experiment.settings,
        "n_prompts": experiment.n_prompts,
        "version": experiment.version,
        "weights": " ".join(
            f"{model}:{_digest(WEIGHTS / f'{model}.safetensors')}" for model in models
        ),
    }


@cache
def _models(folder: Path) -> frozenset[str]:
    return frozenset(weights.available(folder))


@cache
def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:16]


def _reasons(experiment: Experiment, table: pd.DataFrame) -> dict[Key, str]:
    names, depends = _parameters(experiment), [*experiment.settings, *_DEPENDS]
    stored: dict[Key, list[tuple[dict[str, Any], int]]] = {}
    for key, count in table.groupby([*names, *depends], sort=False).size().items():
        values = tuple(key) if isinstance(key, tuple) else (key,)
        before = dict(zip(depends, values[len(names) :], strict=True))
        stored.setdefault(values[: len(names)], []).append((before, count))
    wanted = _wanted(experiment)
    reasons = {key: "no longer asked for" for key in stored if key not in wanted}
    for key, case in wanted.items():
        now = _depends(experiment, case)
        before, count = stored.get(key, [({}, 0)])[0]
        if not before:
            reasons[key] = "not measured yet"
        elif changed := [name for name in depends if before[name] != now[name]]:
            reasons[key] = ", ".join(_change(name, before[name], now[name]) for name in changed)
        elif len(stored[key]) > 1 or count != experiment.n_prompts:
            reasons[key] = "rows are missing, or not all of one measurement"
    return reasons


def _change(name: str, before: Any, now: Any) -> str:
    if name != "weights":
        return f"{name} was {before} and is {now}"
    changed = set(now.split()) - set(before.split())
    return f"other weights of {', '.join(sorted(word.split(':')[0] for word in changed))}"


def _measured_case(name: str, case: dict[str, Any]) -> pd.DataFrame:
    """All prompts of a case; of words and numbers alone, so that another process can be asked."""
    experiment = find(name)
    return _measured(experiment, case, range(experiment.n_prompts))


def _measured(
    experiment: Experiment, case: dict[str, Any], prompts: range | list[int]
) -> pd.DataFrame:
    found = experiment.measure(**case, **experiment.settings, prompts=list(prompts))
    columns = {**case, **_depends(experiment, case), "prompt": list(prompts)}
    return found.apply(lambda values: rounded(values.to_numpy("float32"))).assign(**columns)


def _columns(experiment: Experiment) -> list[str]:
    measured = [*_parameters(experiment), "prompt", *experiment.columns]
    return [*measured, *experiment.settings, *_DEPENDS]


def _load(experiment: Experiment, folder: Path | None) -> pd.DataFrame:
    path = (folder or FOLDER) / f"{experiment.name}.parquet"
    nothing = pd.DataFrame(columns=_columns(experiment))
    if not path.is_file():
        return nothing
    table = pd.read_parquet(path)
    # Of other columns, so of another version: nothing of it can be kept.
    return table if list(table.columns) == list(nothing.columns) else nothing


def _save(experiment: Experiment, parts: list[pd.DataFrame], folder: Path | None) -> None:
    parts = [part for part in parts if len(part)]
    if not parts:
        return  # stopped before anything was measured
    rows = pd.concat(parts)[_columns(experiment)]
    table = rows.sort_values([*_parameters(experiment), "prompt"], ignore_index=True)
    about = {
        "description": experiment.about,
        "columns": json.dumps(dict(experiment.columns)),
        "settings": json.dumps(dict(experiment.settings)),
    }
    made = pa.Table.from_pandas(table, preserve_index=False)
    made = made.replace_schema_metadata({**(made.schema.metadata or {}), **about})
    write_whole(
        (folder or FOLDER) / f"{experiment.name}.parquet",
        lambda part: pq.write_table(
            made,
            part,
            compression="zstd",
            compression_level=19,
            use_dictionary=[name for name in made.column_names if name not in experiment.columns],
            use_byte_stream_split=list(experiment.columns),
        ),
    )
