"""How far a sweep is: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any

log = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES = 15.0


class Progress:
    """Shows how many of a sweep's jobs have ended, and when the last will; some were done before."""

    def __init__(self, total: int, done: int = 0) -> None:
        self.total = total
        self._before = self._ended = done
        self._started = self._said = time.monotonic()
        self._bar: Any = None

    @property
    def place(self) -> str:
        """How many jobs have ended, of how many."""
        return f"{self._ended} of {self.total}"

    def resume(self) -> None:
        """Show the bar, if there is a terminal to show it on."""
        if sys.stdout.isatty():
            from rich.progress import Progress as Bar
            from rich.progress import TimeElapsedColumn

            self._bar = Bar(*Bar.get_default_columns(), TimeElapsedColumn(), transient=True)
            self._bar.add_task("jobs", total=self.total, completed=self._ended)
            self._bar.start()

    def pause(self) -> None:
        """Take the bar away, for a job that writes to the terminal itself."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, jobs: int) -> None:
        """Say that jobs have ended."""
        self._ended += jobs
        if self._bar is not None:
            self._bar.advance(self._bar.task_ids[0], jobs)
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            seconds = (self._said - self._started) / (self._ended - self._before) * (self.total - self._ended)
            log.info("%s jobs have ended%s", self.place, f", about {seconds:.0f} s to go" if seconds else "")
