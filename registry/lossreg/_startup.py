"""Loading TensorFlow without its chatter."""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

# What TensorFlow's C++ code logs on the way up, before any log level is obeyed; errors other than "no GPU" are kept.
_CHATTER = re.compile(
    r"[IW]\d{4} \d\d:|E\d{4} \d\d:.*(cuda|cuInit)|WARNING: All log messages before absl|To enable the following instr"
)


@contextmanager
def quiet_startup() -> Iterator[None]:
    """Drop TensorFlow's start-up log lines from stderr while the block imports it; anything else is passed on."""
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        stderr = os.dup(2)
        os.dup2(held.fileno(), 2)
        try:
            yield
            import tensorflow as tf

            tf.config.list_logical_devices()  # starts the devices, the last thing that TensorFlow talks about
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held.seek(0)
            lines = held.read().decode(errors="replace").splitlines(keepends=True)
            sys.stderr.write("".join(line for line in lines if not _CHATTER.match(line)))
