"""Processes for the tests, forked from one that has imported the library, which takes each alone seconds.

They are real processes: they can be killed, and hold what they print in files of their own.
"""

import os
import runpy
import shutil
import sys
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch

_CONTEXT = get_context("forkserver")
_CONTEXT.set_forkserver_preload(["icl_lib.__main__", "torch._dynamo", "pytest"])


class Child:
    """A process of its own that calls a function, and is asked about as `subprocess.Popen` is.

    Args:
        function: of a module that can be imported.
        arguments: what to call it with.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._folder = Path(mkdtemp())
        self._said = [self._folder / name for name in ("out", "err")]
        self._process = _CONTEXT.Process(
            target=_call, args=(list(map(str, self._said)), function, *arguments)
        )
        self._process.start()

    @property
    def returncode(self) -> int | None:
        """As of `Popen`: None while it runs, minus its number after a signal."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """The same."""
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it still runs."""
        if self._process.is_alive():
            os.kill(self._process.pid, number)

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """Wait for its end; what it has printed, and what it has printed as errors.

        Raises:
            TimeoutError: it has not ended.
        """
        self._process.join(timeout)
        if self._process.is_alive():
            raise TimeoutError(f"a child has not ended after {timeout} s")
        said = [path.read_text() if path.exists() else "" for path in self._said]
        shutil.rmtree(self._folder)
        return said[0], said[1]


def library(*arguments: str, environment: dict[str, str] | None = None) -> Child:
    """`python -m icl_lib` with these arguments, in its environment or another."""
    return Child(_library, dict(os.environ) if environment is None else environment, arguments)


def _library(environment: dict[str, str], arguments: tuple[str, ...]) -> None:
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["icl_lib", *arguments]
    del sys.modules["icl_lib.__main__"]  # it has been imported, and is now to be run
    runpy.run_module("icl_lib", run_name="__main__", alter_sys=True)


def _call(said: list[str], function: Callable[..., Any], *arguments: Any) -> None:
    for stream, path in enumerate(said, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), stream)
    torch.set_num_threads(1)
    function(*arguments)
