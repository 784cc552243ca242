"""How a sweep ends: with its closing table, however it ends, and within two seconds of Ctrl-C."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from types import FrameType

_GRACE = 1.2  # seconds that the program has to end by itself after Ctrl-C


class Ending:
    """Calls `close` once, when a sweep ends, with whether Ctrl-C ended it.

    Hydra has no call for a sweep that ends with an exception, so the end is when the program ends, or before that
    `on_multirun_end`. And Python handles Ctrl-C between two instructions, so not while compiled code runs, nor when the
    program waits for such code to end: a thread that is woken by the signal sees to it that the sweep ends.
    """

    def __init__(self, close: Callable[[bool], None]) -> None:
        self._show = close
        self._closed = threading.Event()
        self._closing = threading.Lock()
        self._interrupted = False
        atexit.register(self._at_exit)
        self._bell, ear = socket.socketpair()
        if threading.current_thread() is threading.main_thread():  # no other thread can ask for signals
            self._bell.setblocking(False)
            self._before = signal.signal(signal.SIGINT, self._interrupt)
            self._bell_before = signal.set_wakeup_fd(self._bell.fileno(), warn_on_full_buffer=False)
            threading.Thread(target=self._listen, args=(ear,), daemon=True, name="sweep-ctrl-c").start()

    def close(self) -> None:
        """Say that the sweep has ended."""
        with self._closing:
            if self._closed.is_set():
                return
            if threading.current_thread() is threading.main_thread() and hasattr(self, "_before"):
                signal.signal(signal.SIGINT, self._before)
                signal.set_wakeup_fd(self._bell_before)
                self._bell.close()
            atexit.unregister(self._at_exit)
            try:
                self._show(self._interrupted)
            finally:
                self._closed.set()

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        self._interrupted = True
        signal.default_int_handler(number, frame)

    def _listen(self, ear: socket.socket) -> None:
        with ear:
            while signal.SIGINT not in (heard := ear.recv(64)):
                if not heard:  # the sweep has ended
                    return
        if not self._closed.wait(_GRACE):
            self._leave()

    def _at_exit(self) -> None:
        if self._interrupted:  # else Python would wait for the compiled program that still runs
            self._leave()
        self.close()

    def _leave(self) -> None:
        self._interrupted = True
        self.close()
        if sys.stdout.isatty():
            sys.stdout.write("\x1b[?25h")  # the progress bar had hidden the cursor
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        # Ends at once, whatever the main thread is in, and threads of compiled code with it.
        os.execv(sys.executable, [sys.executable, "-ISc", "raise SystemExit(130)"])
