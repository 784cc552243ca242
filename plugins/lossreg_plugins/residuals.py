"""Losses of the residual between target and prediction, for regression."""

from __future__ import annotations

from typing import Any

from keras import ops


def general_robust(y_true: Any, y_pred: Any, alpha: float = 1.0, scale: float = 1.0) -> Any:
    """Barron's general robust loss: one shape parameter from squared error to Welsch.

    Formula: `mean(|α - 2| / α · (((x / c)² / |α - 2| + 1)^(α / 2) - 1))` over the last axis, where `x = y - p`, and
    its limits at `α = 2` (half the squared error), `α = 0` (Cauchy) and `α = -∞` (Welsch). `α = 1` is the Charbonnier
    or pseudo-Huber loss, `α = -2` is Geman-McClure. Near 0 all are half the squared error over `c²`.

    Arguments:
        y_true: targets, of shape `(batch, …, d)`.
        y_pred: predictions, of the same shape and dtype.
        alpha: `α`, the shape, below ∞, and `-inf` included: the lower, the less an outlier counts. Defaults to 1. In
            float16 `(x / c)² / |α - 2|` must stay below 65504, so choose 2 and not nearly 2.
        scale: `c`, the size of a residual from which it counts as an outlier, above 0. Defaults to 1.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> y, p = ops.array([[0.0], [0.0]]), ops.array([[1.0], [10.0]])
    >>> for alpha in (2.0, 1.0, 0.0, float("-inf")):
    ...     print(alpha, [round(float(value), 4) for value in general_robust(y, p, alpha)])
    2.0 [0.5, 50.0]
    1.0 [0.4142, 9.0499]
    0.0 [0.4055, 3.9318]
    -inf [0.3935, 1.0]

    Source: J. T. Barron, "A General and Adaptive Robust Loss Function", 2019, arXiv:1701.03077.
    """
    alpha = ops.convert_to_tensor(alpha, dtype=y_pred.dtype)
    squared = ops.square((y_true - y_pred) / scale) / 2
    quadratic, welsch = ops.equal(alpha, 2.0), ops.equal(alpha, float("-inf"))
    # Any shape that the formula takes, where its result is not used: an unused infinity still makes the gradient NaN.
    shape = ops.where(ops.logical_or(quadratic, welsch), 1.0, alpha)
    distance = ops.abs(shape - 2)
    general = distance / 2 * _box_cox(ops.log1p(2 * squared / distance), shape / 2)
    return ops.mean(ops.where(quadratic, squared, ops.where(welsch, -ops.expm1(-squared), general)), axis=-1)


def quantile(y_true: Any, y_pred: Any, tau: float = 0.5) -> Any:
    """Quantile (pinball) loss, which is least at a chosen quantile of the targets.

    Formula: `mean(max(τ (y - p), (τ - 1) (y - p)))` over the last axis. At `τ = 0.5` it is half the absolute error,
    and the prediction a median.

    Arguments:
        y_true: targets, of shape `(batch, …, d)`.
        y_pred: predictions, of the same shape and dtype.
        tau: `τ`, the quantile to predict, in (0, 1). Defaults to 0.5.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = quantile(ops.array([[3.0], [1.0]]), ops.array([[1.0], [3.0]]), tau=0.75)
    >>> [float(value) for value in loss]  # too low costs 0.75 a unit, too high 0.25
    [1.5, 0.5]

    Source: R. Koenker and G. Bassett, "Regression Quantiles", 1978, Econometrica 46(1).
    """
    residual = y_true - y_pred
    return ops.mean(ops.maximum(tau * residual, (tau - 1) * residual), axis=-1)


def wing(y_true: Any, y_pred: Any, width: float = 10.0, curvature: float = 2.0) -> Any:
    """Wing loss: logarithmic for small residuals, so that they still count, and linear beyond.

    Formula: `mean(w log(1 + |x| / ε))` where `|x| < w`, else `mean(|x| - w + w log(1 + w / ε))`, over the last axis,
    where `x = y - p`.

    Arguments:
        y_true: targets, of shape `(batch, …, d)`; the defaults suit pixels.
        y_pred: predictions, of the same shape and dtype.
        width: `w`, the residual up to which the loss is logarithmic, above 0. Defaults to 10.
        curvature: `ε`, which limits the curvature of the logarithmic part, above 0. Defaults to 2.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = wing(ops.array([[0.0], [0.0]]), ops.array([[2.0], [12.0]]))
    >>> [round(float(value), 4) for value in loss]  # 10 log 2 and 2 + 10 log 6
    [6.9315, 19.9176]

    Source: Z.-H. Feng et al., "Wing Loss for Robust Facial Landmark Localisation with Convolutional Neural Networks",
    2018, arXiv:1711.06753.
    """
    size = ops.abs(y_true - y_pred)
    return ops.mean(width * ops.log1p(ops.minimum(size, width) / curvature) + ops.relu(size - width), axis=-1)


def _box_cox(log_x: Any, power: Any) -> Any:
    """Box-Cox transform `(x^power - 1) / power` of a number given by its logarithm; `log(x)` at power 0."""
    exponent = power * log_x
    small = ops.abs(exponent) < 0.02
    # Each branch is computed everywhere, and must be finite where it is not taken, or its gradient is 0 × inf = NaN.
    direct = ops.expm1(ops.where(small, 1.0, exponent)) / ops.where(small, 1.0, power)
    # Near 0 the derivative by the power cancels in the formula, but not in its series.
    u = ops.where(small, exponent, 0.0)
    series = log_x * (1 + u / 2 * (1 + u / 3 * (1 + u / 4 * (1 + u / 5))))
    return ops.where(small, series, direct)
