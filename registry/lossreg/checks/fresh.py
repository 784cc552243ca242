"""A fresh process that loads saved models, started once and shared by all that is checked.

Run as `python -m lossreg.checks.fresh` it answers one request per line: a model file, and data to call the loss
or regularizer of the loaded model with.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np


class LoadingError(Exception):
    """The model could not be saved or loaded; the message says why."""


def value_after_loading(kind: str, made: Any, arrays: tuple[Any, ...]) -> Any:
    """Save a model with a loss or regularizer, load it in the fresh process, and return the value it gives there.

    Raises:
        LoadingError: if the model cannot be saved, or not loaded.
    """
    import keras

    process = start()
    regularizer = made if kind == "regularizer" else None
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(4, kernel_regularizer=regularizer)])
    model.compile("sgd", loss=made if kind == "loss" else None)
    path = process.folder / f"{next(process.numbers)}.keras"
    try:
        model.save(path)
    except Exception as error:
        raise LoadingError(f"saving raises {type(error).__name__}: {error}") from None
    np.savez(path.with_suffix(".npz"), *arrays)
    answer = process.ask({"kind": kind, "model": str(path), "data": str(path.with_suffix(".npz"))})
    if "error" in answer:
        raise LoadingError(answer["error"])
    return np.array(answer["value"])


class _Process:
    def __init__(self) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="lossreg-contract-")
        self.folder = Path(self._temporary.name)
        self.numbers = itertools.count()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "lossreg.checks.fresh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # A plugin package on this process's path is on that one's.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)},
        )

    def ask(self, request: dict[str, str]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except OSError:
            answer = ""
        if not answer:
            raise LoadingError("the process ended without an answer")
        return dict(json.loads(answer))

    def stop(self) -> None:
        self._process.communicate()  # ends its input, and with it the process
        self._temporary.cleanup()


_running: list[_Process] = []


def start() -> _Process:
    """Start the fresh process, if it is not running; it imports Keras while this one does other work."""
    if not _running:
        _running.append(_Process())
        atexit.register(stop)
    return _running[0]


def stop() -> None:
    """End the fresh process, if it is running; the next one sees what was installed since."""
    atexit.unregister(stop)
    while _running:
        _running.pop().stop()


def _answer(request: dict[str, str]) -> dict[str, Any]:
    import lossreg

    try:
        model = lossreg.load_model(request["model"])
        made = model.loss if request["kind"] == "loss" else model.layers[0].kernel_regularizer
        with np.load(request["data"]) as data:
            value = made(*(np.asarray(data[name], np.float32) for name in data.files))
        return {"value": np.asarray(value, float).tolist()}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"}


def _serve() -> None:
    # What a plugin prints must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    import lossreg._wrappers  # noqa: F401  takes seconds, and needs no request

    for line in sys.stdin:
        answers.write(json.dumps(_answer(json.loads(line))) + "\n")
        answers.flush()


if __name__ == "__main__":
    _serve()
