"""The picture of a run: the loss, and what changed with it, over the epochs, beside what the outputs are worth."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lossreg.training._config import Config
from lossreg.training._data import Data, load_data
from lossreg.training._fit import VALIDATION, History
from lossreg.training._report import in_batches

_SURFACE = 101  # points along each side


def plot_report(model: keras.Model, history: History, config: Config, title: str) -> Figure:
    """Draw the loss over the epochs, that of validation with it, and what the outputs are worth.

    Below the loss stand its terms, the penalties, the schedules and learned numbers, each with its own axis. Beside
    it, of two inputs the output over the plane with the examples on it; of rows held out, the test rows or else
    those of validation, the ROC curve and the calibration of two classes, the confusion matrix of more, predicted
    against true of a regression. The figure is drawn without a display.
    """
    data = load_data(config)
    panels = _panels(model, data)
    curves = {name: values for name, values in history.items() if not name.startswith(VALIDATION)}
    rows = len(curves)
    figure = Figure(figsize=(5 * (1 + len(panels)), 4 + 1.3 * (rows - 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(textwrap.wrap(title, 60 * (1 + len(panels)))))
    grid = figure.add_gridspec(rows, 1 + len(panels), height_ratios=[3] + [1] * (rows - 1))
    first = None
    for row, (name, values) in enumerate(curves.items()):
        axes = figure.add_subplot(grid[row, 0], sharex=first)
        axes.plot(np.arange(1, len(values) + 1), values, color="tab:orange" if row else "tab:blue", label="training")
        if (held_out := history.get(f"{VALIDATION}{name}")) is not None:
            axes.plot(np.arange(1, len(values) + 1), held_out, color="tab:green", label="validation")
        if not row and held_out is not None:
            axes.legend()
        axes.set_ylim(bottom=min(0.0, float(np.min(values))))
        axes.grid(alpha=0.3)
        if row:
            axes.set_title(name, loc="left", fontsize="small")
        else:
            axes.set(ylabel="loss (with penalty)", title="training loss")
        axes.tick_params(labelbottom=row == rows - 1)
        first = first or axes
    axes.set_xlabel("epoch")
    for column, draw in enumerate(panels, start=1):
        draw(figure.add_subplot(grid[:, column]))
    return figure


def _panels(model: keras.Model, data: Data) -> list[Callable[[Axes], None]]:
    """Return what there is to draw beside the loss."""
    panels: list[Callable[[Axes], None]] = []
    if data.train.x.shape[1:] == (2,) and data.outputs == 1 and data.task == "binary":
        panels.append(lambda axes: _plot_surface(axes, model, data))
    part = next((part for part in ("test", "validation") if part in data.parts), None)
    if part is None:
        return panels
    from sklearn import calibration, metrics

    rows = data.parts[part]
    outputs = _outputs(model, rows.x)

    def titled(draw: Callable[[Axes], object], title: str) -> Callable[[Axes], None]:
        def panel(axes: Axes) -> None:
            draw(axes)
            axes.set_title(f"{title}, {part} rows")
            if axes.get_legend():
                axes.legend(loc="best")  # scikit-learn's own covers points

        return panel

    if data.task == "binary":
        pair = rows.y[:, 0], outputs[:, 0]
        show = metrics.RocCurveDisplay.from_predictions
        panels.append(titled(lambda axes: show(*pair, ax=axes, plot_chance_level=True), "ROC curve"))
        calibrated = calibration.CalibrationDisplay.from_predictions
        panels.append(titled(lambda axes: calibrated(*pair, n_bins=10, ax=axes), "calibration"))
    elif data.task == "multiclass":
        pair = data.indices(rows.y), outputs.argmax(axis=1)
        names = {"labels": [*range(data.outputs)], "display_labels": data.classes, "colorbar": False}
        show = metrics.ConfusionMatrixDisplay.from_predictions
        panels.append(titled(lambda axes: show(*pair, ax=axes, **names), "confusion matrix"))
    elif data.task == "regression" and data.outputs == 1:
        pair = tuple((part * data.scale + data.shift)[:, 0] for part in (rows.y, outputs))
        show = metrics.PredictionErrorDisplay.from_predictions
        panels.append(titled(lambda axes: show(*pair, kind="actual_vs_predicted", ax=axes), "predicted against true"))
    return panels


def _outputs(model: keras.Model, x: np.ndarray) -> np.ndarray:
    found = [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in in_batches(model, x)]
    return np.concatenate(found)


def _plot_surface(axes: Axes, model: keras.Model, data: Data) -> None:
    x, y = data.train.x, data.train.y
    low, high = x.min(axis=0) - 0.25, x.max(axis=0) + 0.25
    first, second = np.meshgrid(*(np.linspace(low[axis], high[axis], _SURFACE, dtype=np.float32) for axis in (0, 1)))
    y_hat = _outputs(model, np.stack([first.ravel(), second.ravel()], axis=1)).reshape(first.shape)
    image = axes.imshow(
        y_hat, origin="lower", extent=(low[0], high[0], low[1], high[1]), vmin=0, vmax=1, cmap="RdBu_r", aspect="auto"
    )
    axes.figure.colorbar(image, ax=axes, label="ŷ")
    if y_hat.min() < 0.5 < y_hat.max():
        axes.contour(first, second, y_hat, levels=[0.5], colors="black", linewidths=1)
    for label, marker, color in ((0, "o", "tab:blue"), (1, "s", "tab:red")):
        own = y[:, 0] == label
        axes.scatter(
            x[own, 0],
            x[own, 1],
            marker=marker,
            s=90 if len(x) <= 50 else 12,
            c=color,
            edgecolors="white",
            label=f"y = {label}",
        )
    axes.set(xlabel="x₁", ylabel="x₂", title="decision surface (line: ŷ = 0.5)")
    axes.legend(loc="center" if len(x) <= 50 else "best")
