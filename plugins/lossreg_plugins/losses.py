"""Losses of a 2020 lecture note on custom losses in Keras."""

from __future__ import annotations

from typing import Any

from keras import ops


def bce(y_true: Any, y_pred: Any) -> Any:
    """Binary crossentropy of probabilities, guarded against log(0).

    Formula: `-mean(y log(p + 1e-6) + (1 - y) log(1 - p + 1e-6))` over the last axis. The 1e-6 is part of the
    definition, so at `y = 1, p = 0` the loss is `-log(1e-6) = 13.8` and not infinite.

    Arguments:
        y_true: targets in [0, 1], of shape `(batch, …, d)`.
        y_pred: probabilities in [0, 1], of the same shape and dtype.

    Returns:
        The loss per sample, of shape `(batch, …)`, in nats.

    Example:
    >>> loss = bce(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.5]]))
    >>> [round(float(value), 4) for value in loss]
    [0.6931, 0.6931]

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    guard = 1e-6
    return -ops.mean(y_true * ops.log(y_pred + guard) + (1 - y_true) * ops.log(1 - y_pred + guard), axis=-1)


def mse(y_true: Any, y_pred: Any) -> Any:
    """Mean squared error.

    Formula: `mean((y - p)²)` over the last axis.

    Arguments:
        y_true: targets, of shape `(batch, …, d)`.
        y_pred: predictions, of the same shape and dtype.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = mse(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.0]]))
    >>> [float(value) for value in loss]
    [0.25, 0.0]

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def mix(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    """A weighted mean of binary crossentropy and mean squared error.

    Formula: `r bce(y, p) + (1 - r) mse(y, p)`.

    Arguments:
        y_true: targets in [0, 1], of shape `(batch, …, d)`.
        y_pred: probabilities in [0, 1], of the same shape and dtype.
        r: the weight of the crossentropy, in [0, 1]. Defaults to 0.5; the note uses 0.8.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = mix(ops.array([[1.0]]), ops.array([[0.5]]), r=0.8)
    >>> round(float(loss[0]), 4)  # 0.8 × 0.6931 + 0.2 × 0.25
    0.6045

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    return r * bce(y_true, y_pred) + (1 - r) * mse(y_true, y_pred)
