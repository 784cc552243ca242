"""The picture of a run: the loss curve beside the decision surface."""

from __future__ import annotations

import keras
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from trainer.config import Config
from trainer.fit import arrays


def plot_report(model: keras.Model, history: np.ndarray, config: Config, title: str) -> Figure:
    """Draw the loss over the epochs, and the model's output over the plane with the examples on it.

    Arguments:
        model: a fitted model; with another number of inputs than two there is no surface.
        history: the loss of every epoch.
        config: the composed config, for the examples.
        title: the headline.

    Returns:
        The figure, drawn without a display.
    """
    x, y = arrays(config)
    surface = x.shape[1] == 2
    figure = Figure(figsize=(10 if surface else 5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(title)
    curve = figure.add_subplot(1, 1 + surface, 1)
    curve.plot(np.arange(1, len(history) + 1), history, color="tab:blue")
    curve.set(xlabel="epoch", ylabel="loss (with penalty)", title="training loss")
    curve.set_ylim(bottom=min(0.0, float(np.min(history))))
    curve.grid(alpha=0.3)
    if surface:
        _plot_surface(figure, model, x, y)
    return figure


def _plot_surface(figure: Figure, model: keras.Model, x: np.ndarray, y: np.ndarray) -> None:
    low, high = x.min(axis=0) - 0.25, x.max(axis=0) + 0.25
    first, second = np.meshgrid(*(np.linspace(low[axis], high[axis], 101, dtype=np.float32) for axis in (0, 1)))
    points = np.stack([first.ravel(), second.ravel()], axis=1)
    y_hat = keras.ops.convert_to_numpy(model(points, training=False)).reshape(first.shape)
    axes = figure.add_subplot(1, 2, 2)
    image = axes.imshow(
        y_hat, origin="lower", extent=(low[0], high[0], low[1], high[1]), vmin=0, vmax=1, cmap="RdBu_r", aspect="auto"
    )
    figure.colorbar(image, ax=axes, label="ŷ")
    if y_hat.min() < 0.5 < y_hat.max():
        axes.contour(first, second, y_hat, levels=[0.5], colors="black", linewidths=1)
    for label, marker in ((0, "o"), (1, "s")):
        examples = x[y[:, 0] == label]
        color = "tab:red" if label else "tab:blue"
        axes.scatter(
            examples[:, 0], examples[:, 1], marker=marker, s=90, c=color, edgecolors="white", label=f"y = {label}"
        )
    axes.set(xlabel="x₁", ylabel="x₂", title="decision surface (line: ŷ = 0.5)")
    axes.legend(loc="center")
