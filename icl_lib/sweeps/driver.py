"""A sweep: every run of a grid that is not done yet, in the processes of Ray, until all are done or have failed.

What is done is read from the folders alone, so that whoever is killed, the driver or a run, is gone on from. The driver
holds the sweep's folder, each run its own. On a cluster all machines must see the folder under the same path.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import pandas as pd
import torch

from icl_lib import cluster
from icl_lib.sweeps import runs
from icl_lib.sweeps.grid import Grid, Member, Tests
from icl_lib.sweeps.progress import Board
from icl_lib.training import CHECKPOINT, FolderInUse, Setting, alone, reached, write_whole

IN_VAIN = 3
"""How often a run may lose its process without having come further since, before it counts as failed."""

ERROR = "error.txt"
"""In the folder of a run that failed: why."""

_STEP_SECONDS = 1.0  # between two looks of the driver, and two reports of a run


@dataclass
class Outcome:
    """What came of a sweep.

    Args:
        done: how many runs of the grid are done.
        failed: why the others failed, by their names.
    """

    done: int = 0
    failed: dict[str, str] = field(default_factory=dict)


def sweep(
    grid: Grid,
    folder: Path,
    *,
    address: str | None = None,
    jobs: int | None = None,
    cpus: int = 1,
    gpus: float = 0.0,
    save_every: int = 250,
) -> Outcome:
    """Carry out the runs of a grid that are not done, and write the tables of all that are.

    Args:
        grid: what to run.
        folder: holds a folder for each run, and the tables, `<grid>.csv` and `<grid>-costs.csv`.
        address: of a Ray cluster; None for this machine.
        jobs: how many processors of this machine to use; by default all.
        cpus: processors, and threads, of each run.
        gpus: GPUs of each run; a fraction lets several share one.
        save_every: steps between checkpoints.

    Raises:
        FolderInUse: another sweep is under way in the folder.
        RuntimeError: Ray is not installed, or does not answer.
        ValueError: no machine has what a run asks for.
        OSError: a table cannot be written.
        KeyboardInterrupt: on Ctrl-C or SIGTERM, when the runs have saved where they stand.
    """
    with alone(folder, "running a sweep"), Board(grid) as board:
        outcome = Outcome()
        due = []
        for member in grid.members:
            if runs.is_done(folder / member.name, grid.tests):
                board.done(member, before=True)
                outcome.done += 1
            else:
                due.append(member)
        try:
            if due:
                with (
                    cluster.started(address, jobs) as ray,
                    _sigterm_as_ctrl_c(),
                ):  # Ray has one of its own
                    cluster.check_resources(ray, cpus, gpus)
                    _Sweep(ray, grid, folder, cpus, gpus, save_every, board, outcome).run(due)
        finally:
            write_tables(grid, folder)
        return outcome


def write_tables(grid: Grid, folder: Path) -> None:
    """Write two tables of all runs that are done: `<grid>.csv`, of the columns of `measure`, and `<grid>-costs.csv`.

    A run's cost is one row: steps, prompts, operations (see `speed.model_flops`), and the seconds that its steps took
    where they were done, without measuring and waiting. Each row of both tables begins with the run and what tells it
    apart.
    """
    errors, costs = [], []
    for member in grid.members:
        at = folder / member.name
        if not runs.is_done(at, grid.tests):
            continue
        apart = {
            key: str(value) if isinstance(value, dict) else value
            for key, value in member.differs.items()
        }
        table = pd.read_csv(at / runs.measured_file(grid.tests))
        for place, (key, value) in enumerate({"run": member.name, **apart}.items()):
            table.insert(place, key, value)
        errors.append(table)
        costs.append({"run": member.name, **apart, **runs.cost(member.setting, at)})
    if errors:
        for name, whole in (
            (grid.name, pd.concat(errors)),
            (f"{grid.name}-costs", pd.DataFrame(costs)),
        ):
            write_whole(folder / f"{name}.csv", partial(whole.to_csv, index=False))


class _Sweep:
    """The runs under way, each a stream of reports from another process."""

    def __init__(
        self,
        ray: Any,
        grid: Grid,
        folder: Path,
        cpus: int,
        gpus: float,
        save_every: int,
        board: Board,
        outcome: Outcome,
    ) -> None:
        self.ray, self.grid, self.folder, self.board, self.outcome = (
            ray,
            grid,
            folder,
            board,
            outcome,
        )
        self.asked = {
            "device": "cuda" if gpus else "cpu",
            "threads": cpus,
            "save_every": save_every,
        }
        # Ray would begin a lost run again by itself, however often it is lost.
        self.task = ray.remote(
            max_retries=0, num_cpus=cpus, num_gpus=gpus, num_returns="streaming"
        )(_in_a_process)
        self.streams: dict[Any, Member] = {}
        self.lost: dict[str, list[int]] = {}

    def begin(self, member: Member) -> None:
        stream = self.task.remote(
            member.setting,
            self.grid.tests,
            (self.folder / member.name).resolve(),
            **self.asked,
        )
        self.streams[stream] = member

    def run(self, due: list[Member]) -> None:
        """Carry these out."""
        for member in due:
            self.begin(member)
        try:
            while self.streams:
                ready, _ = self.ray.wait(list(self.streams), timeout=_STEP_SECONDS)
                for stream in ready:
                    self.listen(stream)
                self.board.refresh()
        except KeyboardInterrupt:
            self.stop()
            raise

    def listen(self, stream: Any) -> None:
        """Take one report of a run, or what ended it."""
        member = self.streams[stream]
        try:
            told = self.ray.get(next(stream))
        except StopIteration:
            del self.streams[stream]
            self.finish(member)
        except self.ray.exceptions.RayTaskError as error:
            del self.streams[stream]
            cause = error.cause if isinstance(error.cause, BaseException) else error
            self.fail(member, f"{type(cause).__name__}: {cause}")
        except self.ray.exceptions.RayError as error:  # its process, or its machine, is gone
            del self.streams[stream]
            self.lose(member, error)
        else:
            self.board.under_way(member, told)

    def finish(self, member: Member) -> None:
        (self.folder / member.name / ERROR).unlink(missing_ok=True)
        self.outcome.done += 1
        self.board.done(member)

    def fail(self, member: Member, why: str) -> None:
        self.outcome.failed[member.name] = why
        with suppress(OSError):  # the disk may be what it failed of
            write_whole(self.folder / member.name / ERROR, lambda part: part.write_text(why + "\n"))
        self.board.failed(member, why)

    def lose(self, member: Member, error: Exception) -> None:
        """Begin a run again that lost its process, unless it gets no further."""
        try:
            step, _ = reached(self.folder / member.name / CHECKPOINT)
        except ValueError as damaged:
            self.fail(member, str(damaged))
            return
        lost_at = self.lost.setdefault(member.name, [])
        lost_at.append(step)
        if lost_at.count(step) >= IN_VAIN:
            self.fail(
                member,
                f"its process was lost {IN_VAIN} times at step {step}: {str(error).splitlines()[0]}",
            )
            return
        self.board.lost(member, step)
        self.begin(member)

    def stop(self) -> None:
        """Have all runs save where they stand, and wait until they have left their folders."""
        self.board.note("stopping; every run saves where it stands")
        for stream in self.streams:
            self.ray.cancel(stream)
        for member in self.streams.values():
            if (self.folder / member.name).is_dir():
                with (
                    suppress(FolderInUse),
                    alone(self.folder / member.name, "training", runs.PATIENCE),
                ):
                    pass


def _in_a_process(
    setting: Setting,
    tests: Tests,
    folder: Path,
    device: str,
    threads: int,
    save_every: int,
) -> Iterator[runs.Told]:
    """What a process of Ray does: one run."""
    torch.set_num_threads(threads)
    told = runs.carry_out(
        setting,
        tests,
        folder,
        device=device,
        save_every=save_every,
        every=_STEP_SECONDS,
    )
    yield from told


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[None]:
    """Let SIGTERM stop a sweep as Ctrl-C does."""

    def press(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, press)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
