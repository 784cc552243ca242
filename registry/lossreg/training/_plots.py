"""The picture of a run: the loss, and what changed with it, over the epochs, beside the decision surface."""

from __future__ import annotations

import textwrap

import keras
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lossreg.training._config import Config
from lossreg.training._fit import History, arrays


def plot_report(model: keras.Model, history: History, config: Config, title: str) -> Figure:
    """Draw the loss over the epochs, and the model's output over the plane with the examples on it.

    Below the loss stand the schedules and learned numbers, each with its own axis. With another number of inputs than
    two there is no surface. The figure is drawn without a display.
    """
    x, y = arrays(config)
    surface = x.shape[1] == 2
    rows = len(history)
    figure = Figure(figsize=(10 if surface else 5, 4 + 1.3 * (rows - 1)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle("\n".join(textwrap.wrap(title, 60 * (1 + surface))))
    grid = figure.add_gridspec(rows, 1 + surface, height_ratios=[3] + [1] * (rows - 1))
    first = None
    for row, (name, values) in enumerate(history.items()):
        axes = figure.add_subplot(grid[row, 0], sharex=first)
        axes.plot(np.arange(1, len(values) + 1), values, color="tab:orange" if row else "tab:blue")
        axes.set_ylim(bottom=min(0.0, float(np.min(values))))
        axes.grid(alpha=0.3)
        if row:
            axes.set_title(name, loc="left", fontsize="small")
        else:
            axes.set(ylabel="loss (with penalty)", title="training loss")
        axes.tick_params(labelbottom=row == rows - 1)
        first = first or axes
    axes.set_xlabel("epoch")
    if surface:
        _plot_surface(figure.add_subplot(grid[:, 1]), model, x, y)
    return figure


def _plot_surface(axes: Axes, model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    low, high = x.min(axis=0) - 0.25, x.max(axis=0) + 0.25
    first, second = np.meshgrid(*(np.linspace(low[axis], high[axis], 101, dtype=np.float32) for axis in (0, 1)))
    points = np.stack([first.ravel(), second.ravel()], axis=1)
    # A wide layer at all points at once takes all memory.
    batches = np.array_split(points, 1 + len(points) * model.count_params() // 10**8)
    outputs = [keras.ops.convert_to_numpy(model(batch, training=False)) for batch in batches]
    y_hat = np.concatenate(outputs).reshape(first.shape)
    image = axes.imshow(
        y_hat, origin="lower", extent=(low[0], high[0], low[1], high[1]), vmin=0, vmax=1, cmap="RdBu_r", aspect="auto"
    )
    axes.figure.colorbar(image, ax=axes, label="ŷ")
    if y_hat.min() < 0.5 < y_hat.max():
        axes.contour(first, second, y_hat, levels=[0.5], colors="black", linewidths=1)
    for label, marker, color in ((0, "o", "tab:blue"), (1, "s", "tab:red")):
        own = y[:, 0] == label
        axes.scatter(x[own, 0], x[own, 1], marker=marker, s=90, c=color, edgecolors="white", label=f"y = {label}")
    axes.set(xlabel="x₁", ylabel="x₂", title="decision surface (line: ŷ = 0.5)")
    axes.legend(loc="center")
