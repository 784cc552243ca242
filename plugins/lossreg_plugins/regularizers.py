"""Regularizers of a 2020 lecture note on custom regularizers in Keras."""

from __future__ import annotations

from typing import Any

from keras import ops


def none(weights: Any) -> Any:
    """No penalty.

    Formula: `0`.

    Arguments:
        weights: weights of any shape and floating dtype.

    Returns:
        Zero, a scalar of the dtype of the weights.

    Example:
    >>> float(none(ops.ones((2, 4))))
    0.0
    """
    return ops.zeros((), dtype=weights.dtype)


def l2custom(weights: Any, r: float = 0.0001) -> Any:
    """The sum of the squared weights, scaled.

    Formula: `Σ r w²`.

    Arguments:
        weights: weights of any shape and floating dtype.
        r: the scale of the penalty, at least 0. Defaults to 0.0001, as in the note.

    Returns:
        The penalty, a scalar of the dtype of the weights.

    Example:
    >>> float(l2custom(ops.array([[1.0, 2.0]]), r=0.5))
    2.5

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    return ops.sum(r * ops.square(weights))
