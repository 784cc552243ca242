"""What is shown and kept of a run: metrics, files, the truth table."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
from rich.console import Console
from rich.table import Table

from lossreg.training._config import Config
from lossreg.training._data import load_data
from lossreg.training._fit import History, changing
from lossreg.training._metrics import SCORES, Metrics, baseline, measure, prefix

_ROWS = 16  # more of a table of predictions nobody reads


def evaluate(model: keras.Model, config: Config, *, epochs_run: int, seconds: float) -> Metrics:
    """Compute the metrics of a fitted model on the config's data, each part of it."""
    data = load_data(config)
    # A wide model at all rows at once takes all memory.
    outputs = {
        part: np.concatenate([keras.ops.convert_to_numpy(model(x, training=False)) for x in in_batches(model, rows.x)])
        for part, rows in data.parts.items()
    }
    train = data.train
    measured = {"loss": float(model.loss(train.y, outputs["train"], train.weight)), "penalty": 0.0}
    measured["penalty"] = float(sum(model.losses))
    values = {name: float(value("float32")) for name, value in changing(model).items()}
    return measure(data, outputs, **measured, epochs_run=epochs_run, seconds=seconds, values=values)


def in_batches(model: keras.Model, x: np.ndarray) -> list[np.ndarray]:
    """Return the rows in batches of which each takes some 400 MB in a layer as wide as the model has parameters."""
    return np.array_split(x, 1 + len(x) * model.count_params() // 10**8)


def write_history(history: History, directory: Path) -> None:
    """Write history.csv: `epoch`, counted from 1, and a column for each array, a row per epoch."""
    rows = zip(*(values.tolist() for values in history.values()), strict=True)
    lines = [",".join(["epoch", *history])]
    lines += [",".join([str(epoch), *map(repr, row)]) for epoch, row in enumerate(rows, start=1)]
    write_whole(directory / "history.csv", lambda path: path.write_text("\n".join(lines) + "\n", encoding="utf-8"))


def write_metrics(metrics: Metrics, directory: Path) -> None:
    """Write metrics.json."""
    text = json.dumps(metrics, indent=2) + "\n"
    write_whole(directory / "metrics.json", lambda path: path.write_text(text, encoding="utf-8"))


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Write a file under another name and move it into place, so that it appears whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def show(metrics: Metrics, config: Config, directory: Path) -> None:
    """Print the truth table, or the metrics by part; the last line says what came out, and where the files are."""
    console = Console(highlight=False, soft_wrap=True)
    data = load_data(config)
    if "y_hat" in metrics and len(metrics["y_hat"]) <= _ROWS:
        table = Table("x", "y", "ŷ", "class")
        rows = zip(data.train.x, data.train.y[:, 0], metrics["y_hat"], metrics["y_pred"], strict=True)
        for x, y, y_hat, y_pred in rows:
            table.add_row(" ".join(f"{value:g}" for value in x.ravel()), f"{y:g}", f"{y_hat:.4f}", str(y_pred))
    else:
        names = [name for name in SCORES[data.task] if name in metrics]
        table = Table("rows", "n", *names)
        table.columns[0].no_wrap = True
        last = [*data.parts][-1]
        found = {part: {name: metrics.get(f"{prefix(part)}{name}") for name in names} for part in data.parts}
        for part, own in found.items():
            table.add_row(part, str(len(data.parts[part])), *(_shown(own[name]) for name in names))
        same = baseline(data, last) if data.held_out else {}
        if same:
            table.add_row("baseline", str(len(data.parts[last])), *(_shown(same.get(name)) for name in names))
    console.print(table)
    if metrics["values"]:
        console.print(", ".join(f"{name} {value:.4g}" for name, value in metrics["values"].items()))
    shown = directory.relative_to(Path.cwd()) if directory.is_relative_to(Path.cwd()) else directory
    solved = {True: " solved", False: " not solved", None: ""}[metrics.get("solved")]
    took = f"after {metrics['epochs_run']} epochs in {metrics['seconds']:.1f} s"
    console.print(f"{data.name}{solved}: loss {metrics['loss']:.4f} {took}; files in {shown}", markup=False)


def _shown(number: float | None) -> str:
    return "" if number is None else f"{number:.4f}"
