"""Progress of a long loop: a bar with an ETA on a terminal, sparse lines elsewhere."""

from __future__ import annotations

import sys
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_LINES = 5  # how many lines are printed where there is no terminal


class Progress:
    """Shows how much of a loop is done.

    Arguments:
        unit: what is counted: `"epoch"`.
        total: how many there are.
        shown: whether anything is shown at all.
    """

    def __init__(self, unit: str, total: int, *, shown: bool = True) -> None:
        self.unit = unit
        self.total = total
        self.shown = shown
        self._printed = 0
        self._bar: Bar | None = None
        if shown and sys.stdout.isatty():
            columns = (TextColumn(unit), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.4f}"))
            self._bar = Bar(*columns, TextColumn("ETA"), TimeRemainingColumn())
            self._task = self._bar.add_task(unit, total=total, loss=float("nan"))

    def __enter__(self) -> Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def update(self, done: int, *, loss: float) -> None:
        """Say that so many are done, and what the loss is."""
        if self._bar:
            self._bar.update(self._task, completed=done, loss=loss)
        elif self.shown and done * _LINES // self.total > self._printed:
            self._printed = done * _LINES // self.total
            print(f"{self.unit} {done}/{self.total}  loss {loss:.4f}", flush=True)
