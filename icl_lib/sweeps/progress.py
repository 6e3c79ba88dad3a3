"""What a sweep shows while it runs: a table of the runs under way, and a line for each that ends."""

from __future__ import annotations

import math
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.table import Table

from icl_lib.speed import duration
from icl_lib.sweeps.grid import Grid, Member, in_words
from icl_lib.sweeps.runs import Told


class Board:
    """The table, live on a terminal; where there is none, the lines alone.

    Args:
        grid: whose runs they are.
    """

    def __init__(self, grid: Grid) -> None:
        self._grid = grid
        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._under_way: dict[str, tuple[Member, Told]] = {}
        self._counts = {"done": 0, "failed": 0}

    def __enter__(self) -> Board:
        self._live.start()
        self.note(f"{self._grid.name}: {self._grid.about}")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def note(self, text: str) -> None:
        """A line that stays."""
        self._console.print(text, markup=False, soft_wrap=True)

    def under_way(self, member: Member, told: Told) -> None:
        """A run has come so far."""
        if member.name not in self._under_way:
            self._line(member, f"begun at step {told.step}")
        self._under_way[member.name] = (member, told)

    def lost(self, member: Member, step: int) -> None:
        """A run has lost its process, and is to go on from its checkpoint."""
        self._under_way.pop(member.name, None)
        self._line(member, f"lost its process; goes on from step {step}")

    def done(self, member: Member, before: bool = False) -> None:
        """A run is trained and measured, by this sweep or one before."""
        self._under_way.pop(member.name, None)
        self._counts["done"] += 1
        self._line(member, "done before" if before else "done")

    def failed(self, member: Member, why: str) -> None:
        """A run has failed."""
        self._under_way.pop(member.name, None)
        self._counts["failed"] += 1
        self._line(member, f"failed: {why}")

    def _line(self, member: Member, what: str) -> None:
        self.note(f"{member.name}  {in_words(member)}: {what}")

    def refresh(self) -> None:
        """Draw the table as things stand."""
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Table:
        total = len(self._grid.members)
        waiting = total - sum(self._counts.values()) - len(self._under_way)
        counts = {**self._counts, "under way": len(self._under_way), "waiting": waiting}
        told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
        table = Table(
            title=f"{total} runs: {told}",
            title_justify="left",
            box=None,
            show_header=bool(self._under_way),
        )
        for name, justify in (
            ("run", "left"),
            ("", "left"),
            ("step", "right"),
            ("loss", "right"),
            ("left", "right"),
        ):
            table.add_column(name, justify=justify)  # type: ignore[arg-type]
        for member, told_last in self._under_way.values():
            table.add_row(
                member.name,
                in_words(member),
                f"{told_last.step:,} of {member.setting.steps:,}",
                "" if math.isnan(told_last.loss) else f"{told_last.loss:.4f}",
                "" if math.isnan(told_last.left) else duration(told_last.left),
            )
        return table
