"""What is shown and kept of a run: metrics, files, the truth table."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from lossreg.training._config import Config
from lossreg.training._fit import History, arrays, changing


@dataclass(frozen=True)
class Metrics:
    """The result of a run, in inference mode; the fields of metrics.json.

    Arguments:
        solved: whether every thresholded output equals its target.
        accuracy: the share of thresholded outputs that equal their target.
        loss: the chosen loss, without penalty.
        penalty: the regularizer's penalty.
        brier: the mean squared error of the outputs; comparable across losses.
        y_hat: the outputs.
        y_pred: the outputs thresholded at 0.5.
        epochs_run: how many epochs were run.
        seconds: the wall time of building and fitting, in seconds.
        values: what the numbers that changed came to, by config key: schedules after the last step, learned numbers.
    """

    solved: bool
    accuracy: float
    loss: float
    penalty: float
    brier: float
    y_hat: list[float]
    y_pred: list[int]
    epochs_run: int
    seconds: float
    values: dict[str, float] = field(default_factory=dict)


def measure(y: np.ndarray, y_hat: np.ndarray, **measured: Any) -> Metrics:
    """Compute the metrics of one model from its targets and outputs, both of shape `(examples, 1)`, and the others."""
    y_hat = np.asarray(y_hat, np.float64)
    y_pred = (y_hat > 0.5).astype(int)
    return Metrics(
        solved=bool((y_pred == y).all()),
        accuracy=float((y_pred == y).mean()),
        brier=float(np.square(y_hat - y).mean()),
        y_hat=y_hat.ravel().tolist(),
        y_pred=y_pred.ravel().tolist(),
        **measured,
    )


def evaluate(model: keras.Model, config: Config, *, epochs_run: int, seconds: float) -> Metrics:
    """Compute the metrics of a fitted model on the config's data."""
    x, y = arrays(config)
    y_hat = model(x, training=False)
    measured: dict[str, Any] = {"loss": float(model.loss(y, y_hat)), "penalty": float(sum(model.losses))}
    measured["values"] = {name: float(value("float32")) for name, value in changing(model).items()}
    return measure(y, keras.ops.convert_to_numpy(y_hat), epochs_run=epochs_run, seconds=seconds, **measured)


def write_history(history: History, directory: Path) -> None:
    """Write history.csv: `epoch,loss` and the numbers that changed, one row per epoch, counted from 1."""
    rows = zip(*(values.tolist() for values in history.values()), strict=True)
    lines = [",".join(["epoch", *history])]
    lines += [",".join([str(epoch), *map(repr, row)]) for epoch, row in enumerate(rows, start=1)]
    write_whole(directory / "history.csv", lambda path: path.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def write_metrics(metrics: Metrics, directory: Path) -> None:
    """Write metrics.json."""
    text = json.dumps(asdict(metrics), indent=2) + "\n"
    write_whole(directory / "metrics.json", lambda path: path.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name and move it into place, so that it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".") as directory:
        part = Path(directory, path.name)
        write(part)
        part.replace(path)


def show(metrics: Metrics, config: Config, directory: Path) -> None:
    """Print the truth table; the last line says whether it is solved, the loss, the time, and where the files are."""
    console = Console(highlight=False, soft_wrap=True)
    table = Table("x", "y", "ŷ", "class")
    rows = zip(config.data.inputs, config.data.targets, metrics.y_hat, metrics.y_pred, strict=True)
    for x, (y,), y_hat, y_pred in rows:
        table.add_row(" ".join(f"{value:g}" for value in x), f"{y:g}", f"{y_hat:.4f}", str(y_pred))
    console.print(table)
    if metrics.values:
        console.print(", ".join(f"{name} {value:.4g}" for name, value in metrics.values.items()))
    shown = directory.relative_to(Path.cwd()) if directory.is_relative_to(Path.cwd()) else directory
    verdict = f"{config.data.name} {'solved' if metrics.solved else 'not solved'}: loss {metrics.loss:.4f}"
    took = f"after {metrics.epochs_run} epochs in {metrics.seconds:.1f} s"
    console.print(f"{verdict} {took}; files in {shown}", markup=False)
