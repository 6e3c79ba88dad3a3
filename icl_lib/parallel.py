"""One training in several processes, each with a part of every step's prompts: PyTorch's own data parallel.

    torchrun --nproc-per-node 2 -m icl_lib train line+sine-0.5-small

Every process draws the same prompts and takes its rows; the gradients are summed, so that all take the same step.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class Group:
    """The processes of one training, of which this is one.

    Args:
        rank: the number of this process.
        size: how many there are.
        device: where this process trains.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes files and speaks."""
        return self.rank == 0

    def rows(self, batch_size: int) -> slice:
        """The rows of a batch that are this process's.

        Raises:
            ValueError: they cannot be shared out evenly.
        """
        if batch_size % self.size:
            raise ValueError(
                f"batch_size must be a multiple of the number of processes, got {batch_size} and {self.size}"
            )
        part = batch_size // self.size
        return slice(self.rank * part, (self.rank + 1) * part)

    def summed(self, value: torch.Tensor) -> torch.Tensor:
        """The sum of what each process has."""
        if self.size > 1:
            dist.all_reduce(value)
        return value

    def agreed(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process has raised it: none may stop where the others go on."""
        if self.size == 1:
            return list(flags)
        raised = torch.tensor(flags, dtype=torch.int32, device=self.device)
        return [count > 0 for count in self.summed(raised).tolist()]

    def wait(self) -> None:
        """Until all processes have come here."""
        if self.size > 1:
            dist.barrier()


ALONE = Group()


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group that torchrun has started this process in; a group of one where it was started by itself.

    Args:
        device: cpu, cuda or mps; of several GPUs each process takes its own.

    Raises:
        ValueError: several processes on a device that cannot be shared.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Group(device=device)
        return
    backends = {"cpu": "gloo", "cuda": "nccl"}
    if device not in backends:
        raise ValueError(f"several processes train on cpu or cuda, got {device!r}")
    if device == "cuda":
        device = f"cuda:{os.environ['LOCAL_RANK']}"
        torch.cuda.set_device(device)
    dist.init_process_group(backends[device.partition(":")[0]])
    try:
        yield Group(dist.get_rank(), size, device)
    finally:
        dist.destroy_process_group()
