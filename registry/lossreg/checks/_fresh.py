"""A fresh process that loads saved models, started once and shared by all that is checked.

`multiprocessing` would run the user's script again in it. So it is `python -m lossreg.checks._fresh`, which answers one
request a line: a kind, and a folder with a model and with data to call the loaded model's loss or regularizer with.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from lossreg.checks._arrays import Array
from lossreg.checks._results import fail_if, failing, one_line


def value_after_loading(kind: str, made: Any, arrays: tuple[Array, ...]) -> Array:
    """Save a model with a loss or regularizer, load it in the fresh process, and return the value it gives there."""
    import keras

    loss, regularizer = (made, None) if kind == "loss" else (None, made)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, kernel_regularizer=regularizer)])
    model.compile("sgd", loss=loss)
    answer = "the process ended without an answer"
    with tempfile.TemporaryDirectory(prefix="lossreg-checks-") as folder:
        with failing("in a fresh process: saving"):
            model.save(f"{folder}/model.keras")
        np.savez(f"{folder}/data.npz", *arrays)
        process: Any = start()
        try:
            print(kind, folder, file=process.stdin, flush=True)
            answer = json.loads(process.stdout.readline())
        except (OSError, ValueError):
            start.cache_clear()  # the next plugin has another
    fail_if(isinstance(answer, str), f"in a fresh process: {answer}")
    return np.array(answer)


@functools.cache
def start() -> subprocess.Popen[str]:
    """Start the fresh process, if it is not running; it imports Keras while this one does other work."""
    # A plugin package on this process's path is on that one's.
    path = os.pathsep.join(folder or str(Path.cwd()) for folder in sys.path)
    command, pipe = [sys.executable, "-m", "lossreg.checks._fresh"], subprocess.PIPE
    environment = os.environ | {"PYTHONPATH": path}
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True, env=environment)
    atexit.register(process.communicate)  # ends its input, and with it the process
    return process


def _serve() -> None:
    # What a plugin prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import lossreg._wrappers  # takes seconds, and needs no request

    for line in sys.stdin:
        kind, _, folder = line.rstrip("\n").partition(" ")
        try:
            model = lossreg.load_model(f"{folder}/model.keras")
            made = model.loss if kind == "loss" else model.layers[0].kernel_regularizer
            with np.load(f"{folder}/data.npz") as data:
                value = made(*(data[name].astype(np.float32) for name in data.files))
            answer = np.asarray(value, float).tolist()
        except Exception as error:
            answer = one_line(error)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
