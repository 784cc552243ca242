"""The picture of a run: the loss curve beside the decision surface."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure


def plot_report(
    history: np.ndarray, x: np.ndarray, y: np.ndarray, predict: Callable[[np.ndarray], np.ndarray], title: str
) -> Figure:
    """Draw the loss over the epochs, and the model's output over the plane with the examples on it.

    Arguments:
        history: the loss of every epoch.
        x: inputs, of shape `(examples, 2)`; with another number of inputs there is no surface.
        y: targets, of shape `(examples, 1)`.
        predict: the model's outputs, of shape `(points, 1)`, for points of shape `(points, 2)`.
        title: the headline.

    Returns:
        The figure, drawn without a display.
    """
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
        _plot_surface(figure, x, y, predict)
    return figure


def _plot_surface(figure: Figure, x: np.ndarray, y: np.ndarray, predict: Callable[[np.ndarray], np.ndarray]) -> None:
    low, high = x.min(axis=0) - 0.25, x.max(axis=0) + 0.25
    first, second = np.meshgrid(*(np.linspace(low[axis], high[axis], 101, dtype=np.float32) for axis in (0, 1)))
    y_hat = predict(np.stack([first.ravel(), second.ravel()], axis=1)).reshape(first.shape)
    axes = figure.add_subplot(1, 2, 2)
    image = axes.imshow(
        y_hat, origin="lower", extent=(low[0], high[0], low[1], high[1]), vmin=0, vmax=1, cmap="RdBu_r", aspect="auto"
    )
    figure.colorbar(image, ax=axes, label="ŷ")
    if y_hat.min() < 0.5 < y_hat.max():
        axes.contour(first, second, y_hat, levels=[0.5], colors="black", linewidths=1)
    for label, marker in ((0, "o"), (1, "s")):
        points = x[y[:, 0] == label]
        axes.scatter(
            *points.T, marker=marker, s=90, c="tab:blue" if label == 0 else "tab:red", edgecolors="white", label=f"y = {label}"
        )
    axes.set(xlabel="x₁", ylabel="x₂", title="decision surface (line: ŷ = 0.5)")
    axes.legend(loc="center")
