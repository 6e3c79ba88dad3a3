"""Work in many processes, of this machine or of a cluster, by Ray; only whoever asks for that needs Ray.

Ray is started for one piece of work and stopped after it. It sends no statistics of use.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch

if TYPE_CHECKING:
    from icl_lib.results.store import Engine

_STORE = 80 * 2**20  # bytes, the least that Ray allows: what is sent about here is small


def lacking(error: ModuleNotFoundError) -> str:
    """What to say where a package of the extra is not installed."""
    return f"this needs {error.name}, which comes with: pip install 'icl_lib[sweep]'"


@contextmanager
def started(address: str | None = None, jobs: int | None = None) -> Iterator[Any]:
    """Ray, as a module, while it runs here or is connected to a cluster.

    Args:
        address: of a cluster that is there, asked on one of its machines: "auto", or host:port of its head. None to
            start Ray on this machine.
        jobs: how many processors of this machine to use; by default all.

    Raises:
        RuntimeError: Ray is not installed, or the cluster does not answer.
        ValueError: `jobs` beside an address, for a cluster has the processors that it has; an address of Ray's client.
    """
    if address is not None and address.startswith("ray://"):
        raise ValueError(
            f"the address must be auto or HOST:PORT, given on a machine of the cluster; Ray's client has no streams, "
            f"got {address!r}"
        )
    if address is not None and jobs is not None:
        raise ValueError(
            f"jobs is for this machine alone, got {jobs} beside the address {address!r}"
        )
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise RuntimeError(lacking(error)) from None
    try:
        if address is not None:
            ray.init(address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            ray.init(
                "local",
                num_cpus=jobs,
                include_dashboard=False,
                object_store_memory=_STORE,
                log_to_driver=False,
                logging_level=logging.ERROR,
            )
    except (ConnectionError, TimeoutError) as error:
        raise RuntimeError(f"no Ray cluster answers at {address!r}: {error}") from None
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def engine(address: str | None = None, jobs: int | None = None) -> Iterator[Engine]:
    """What has functions called in many processes, for `results.refresh`.

    A call whose process is lost is made again. Each has one processor, and computes with one thread.

    Args:
        address: as for `started`.
        jobs: as for `started`.

    Raises:
        RuntimeError: as for `started`; so is ValueError.
    """
    with started(address, jobs) as ray:

        def call_all(
            call: Callable[..., pd.DataFrame], arguments: Sequence[tuple[Any, ...]]
        ) -> Iterator[pd.DataFrame]:
            task = ray.remote(_on_one_thread)
            waiting = [task.remote(call, *given) for given in arguments]
            while waiting:
                (ready,), waiting = ray.wait(waiting)
                try:
                    yield ray.get(ready)
                except ray.exceptions.RayTaskError as error:
                    raise error.cause from error  # as where it is called here

        yield call_all


def _on_one_thread(call: Callable[..., pd.DataFrame], *given: Any) -> pd.DataFrame:
    torch.set_num_threads(1)
    return call(*given)


def check_resources(ray: Any, cpus: float, gpus: float) -> None:
    """Refuse what no machine of the cluster has: a run would wait for it forever.

    Raises:
        ValueError: more processors or GPUs than the largest machine has.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    for name, asked in (("CPU", cpus), ("GPU", gpus)):
        most = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if asked > most:
            raise ValueError(
                f"a run asks for {asked:g} {name}, but the largest machine of {len(nodes)} has {most:g}"
            )
