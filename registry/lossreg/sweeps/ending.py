"""How a sweep ends: with a table, however it ends, and within two seconds of Ctrl-C."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import sys
import threading
from typing import Protocol

from lossreg.sweeps.results import ResultsTable
from lossreg.sweeps.resume import command

log = logging.getLogger(__name__)

_GRACE = 1.2  # seconds that the program has to end by itself after Ctrl-C


class Report(Protocol):
    """What the closing table is about."""

    success: str | None
    mean: str | None
    replicate: str | None
    show: bool


class Ending:
    """Waits for the end of a sweep, in the process that Hydra runs in.

    Hydra has no call for a sweep that ends with an exception, so the end is when the program ends, or before that
    `on_multirun_end`. And Python handles Ctrl-C between two instructions, so not while a compiled program trains: a
    thread sees to it that the sweep ends.

    Arguments:
        table: the sweep's table.
        report: what to print of it.
    """

    def __init__(self, table: ResultsTable, report: Report) -> None:
        self._table = table
        self._report = report
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self._listened = threading.Event()
        self._interrupted = False
        self._watch()
        atexit.register(self._at_exit)

    def close(self) -> None:
        """Print the closing table, once."""
        with self._closing:
            if self._closed.is_set():
                return
            self._unwatch()
            atexit.unregister(self._at_exit)
            try:
                if self._report.show:
                    from lossreg.sweeps.summary import show  # rich takes 0.1 s to import

                    show(self._table, self._report, picture=not self._interrupted)
            except OSError as error:
                log.error("the closing table cannot be shown: %s", error)
            finally:
                if self._interrupted:
                    print(f"Interrupted. To go on:\n  {command(self._table.path.parent)}", flush=True)
                self._closed.set()

    def _watch(self) -> None:
        self._bell: socket.socket | None = None
        if threading.current_thread() is not threading.main_thread():
            self._listened.set()
            return
        self._bell, ear = socket.socketpair()
        self._bell.setblocking(False)
        self._before = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
        threading.Thread(target=self._listen, args=(ear,), daemon=True, name="sweep-ctrl-c").start()

    def _unwatch(self) -> None:
        if self._bell is not None and threading.current_thread() is threading.main_thread():
            signal.set_wakeup_fd(self._before)
            self._bell.close()
            self._bell = None

    def _listen(self, ear: socket.socket) -> None:
        with ear:
            heard = ear.recv(64)
            while heard and signal.SIGINT not in heard:
                heard = ear.recv(64)
        self._interrupted = bool(heard)  # nothing is heard where the sweep has ended
        self._listened.set()
        if self._interrupted and not self._closed.wait(_GRACE):
            self._leave()

    def _at_exit(self) -> None:
        self._unwatch()
        self._listened.wait(_GRACE)  # the thread may not have heard yet why the program ends
        if self._interrupted:  # else Python would wait for the compiled program that still runs
            self._leave()
        self.close()

    def _leave(self) -> None:
        self.close()
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[?25h")  # the progress bar had hidden the cursor
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)
