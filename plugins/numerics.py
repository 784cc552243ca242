"""What keeps values and gradients finite where a formula has a pole, a root or a limit."""

from __future__ import annotations

from typing import Any

from keras import backend, ops


def guarded_log(x: Any) -> Any:
    """Logarithm that is finite at zero, and so is its gradient.

    Formula: `log(x + g)`, where `g` is 1e-7, or 1e-4 in float16, in which `1 / 1e-7` would overflow.

    Arguments:
        x: numbers in [0, 1], of any shape and floating dtype.

    Returns:
        The logarithms, of the same shape and dtype.

    Example:

    >>> [round(float(value), 4) for value in guarded_log(ops.array([0.0, 0.5]))]
    [-16.1181, -0.6931]
    """
    return ops.log(x + (1e-4 if backend.standardize_dtype(x.dtype) == "float16" else 1e-7))


def box_cox(log_x: Any, power: Any) -> Any:
    """Box-Cox transform of a number that is given by its logarithm, with its limit at power 0.

    Formula: `(x^power - 1) / power`, which tends to `log(x)` as the power tends to 0.

    Arguments:
        log_x: `log(x)`, of any shape and floating dtype.
        power: the power, a number or a scalar tensor.

    Returns:
        The transform, of the shape and dtype of `log_x`.

    Example:

    >>> log_x = ops.log(ops.array([2.0, 4.0]))
    >>> [[round(float(value), 4) for value in box_cox(log_x, power)] for power in (0.0, 2.0)]
    [[0.6931, 1.3863], [1.5, 7.5]]

    Source: G. E. P. Box and D. R. Cox, "An Analysis of Transformations", 1964.
    """
    power = ops.convert_to_tensor(power, dtype=log_x.dtype)
    exponent = power * log_x
    small = ops.abs(exponent) < 0.02
    # Each branch is computed everywhere, and must be finite where it is not taken, or its gradient is 0 × inf = NaN.
    direct = ops.expm1(ops.where(small, 1.0, exponent)) / ops.where(small, 1.0, power)
    # Near 0 the derivative by the power cancels in the formula, but not in its series.
    u = ops.where(small, exponent, 0.0)
    series = log_x * (1 + u / 2 * (1 + u / 3 * (1 + u / 4 * (1 + u / 5))))
    return ops.where(small, series, direct)


def euclidean_norm(x: Any) -> Any:
    """Euclidean norm over the last axis, with gradient 0 at zero, without overflow or underflow of the squares.

    Formula: `sqrt(Σ x²)`.

    Arguments:
        x: numbers of shape `(…, n)` and any floating dtype.

    Returns:
        The norms, of shape `(…,)` and the same dtype.

    Example:

    >>> [float(value) for value in euclidean_norm(ops.array([[3.0, 4.0], [0.0, 0.0]]))]
    [5.0, 0.0]
    """
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    unit = ops.where(largest > 0, largest, 1.0)
    squares = ops.sum(ops.square(x / unit), axis=-1)
    positive = squares > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0) * unit[..., 0]
