"""Losses: those of a 2020 lecture note on custom losses, and some that Keras lacks.

All take targets `y_true` (`y`) and predictions `y_pred` (`p`) of one shape `(batch, …, d)` and one floating dtype, and
return the loss per sample, the mean over the last axis, of shape `(batch, …)`. All after `mix` that take the logarithm
or a power of a probability add 1e-7 (in float16 1e-4) to it.
"""

from __future__ import annotations

from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval, Lt
from keras import backend, ops

Unit = Annotated[float, Interval(ge=0, le=1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]


def bce(y_true: Any, y_pred: Any) -> Any:
    """Binary crossentropy of probabilities, guarded against log(0).

    Formula: `-mean(y log(p + 1e-6) + (1 - y) log(1 - p + 1e-6))` over the last axis. The 1e-6 is part of the
    definition, so at `y = 1, p = 0` the loss is `-log(1e-6) = 13.8` nats and not infinite.

    Arguments:
        y_true, y_pred: targets and probabilities in [0, 1], of shape `(batch, …, d)`.

    Example:
    >>> bce(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.5]])).numpy().round(4)
    array([0.6931, 0.6931], dtype=float32)

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    return -ops.mean(y_true * ops.log(y_pred + 1e-6) + (1 - y_true) * ops.log(1 - y_pred + 1e-6), axis=-1)


def mse(y_true: Any, y_pred: Any) -> Any:
    """Mean squared error.

    Formula: `mean((y - p)²)` over the last axis.

    Arguments:
        y_true, y_pred: targets and predictions, of shape `(batch, …, d)`.

    Example:
    >>> mse(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.0]])).numpy().round(4)
    array([0.25, 0.  ], dtype=float32)

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def mix(y_true: Any, y_pred: Any, r: Unit = 0.5) -> Any:
    """A weighted mean of binary crossentropy and mean squared error.

    Formula: `r bce(y, p) + (1 - r) mse(y, p)`.

    Arguments:
        y_true, y_pred: targets and probabilities in [0, 1], of shape `(batch, …, d)`.
        r: the weight of the crossentropy, in [0, 1]. Defaults to 0.5; the note uses 0.8.

    Example:
    >>> loss = mix(ops.array([[1.0]]), ops.array([[0.5]]), r=0.8)
    >>> round(float(loss[0]), 4)  # 0.8 × 0.6931 + 0.2 × 0.25
    0.6045

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    return r * bce(y_true, y_pred) + (1 - r) * mse(y_true, y_pred)


def poly_crossentropy(y_true: Any, y_pred: Any, epsilon: Annotated[float, Ge(-1)] = 2.0) -> Any:
    """PolyLoss (Poly-1): binary crossentropy with its leading polynomial term reweighted.

    Formula: `mean(-y log p - (1 - y) log(1 - p) + ε (1 - p_t))` over the last axis, where `p_t = y p + (1 - y)(1 - p)`
    is the probability of the target. The crossentropy is `Σ_j (1 - p_t)^j / j`; `ε` is added to the coefficient of its
    first term.

    Arguments:
        y_true, y_pred: targets and probabilities in [0, 1], of shape `(batch, …, d)`.
        epsilon: `ε`, at least -1; 0 is the crossentropy. Defaults to 2, the paper's choice for ImageNet.

    Example (0.6931 + 2 × 0.5 and 0.1054 + 2 × 0.1):
    >>> poly_crossentropy(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.1]])).numpy().round(4)
    array([1.6931, 0.3054], dtype=float32)

    Source: Z. Leng et al., "PolyLoss", 2022, arXiv:2204.12511.
    """
    crossentropy = -y_true * _log(y_pred) - (1 - y_true) * _log(1 - y_pred)
    target_probability = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    return ops.mean(crossentropy + epsilon * (1 - target_probability), axis=-1)


def asymmetric(
    y_true: Any,
    y_pred: Any,
    gamma_pos: NotNegative = 0.0,
    gamma_neg: NotNegative = 4.0,
    clip: Annotated[float, Interval(ge=0, lt=1)] = 0.05,
) -> Any:
    """Asymmetric loss (ASL): focuses positives and negatives apart, and drops easy negatives.

    Formula: `mean(-y (1 - p)^γ₊ log p - (1 - y) p_m^γ₋ log(1 - p_m))` over the last axis; `p_m = max(p - m, 0)`.

    Arguments:
        y_true, y_pred: targets, of which several may be 1, and probabilities in [0, 1], of shape `(batch, …, d)`.
        gamma_pos: `γ₊`, the focusing of positives, at least 0. Defaults to 0.
        gamma_neg: `γ₋`, the focusing of negatives, at least 0. Defaults to 4.
        clip: `m`, the probability below which a negative costs nothing, in [0, 1). Defaults to 0.05.

    Example (-log 0.5 and -0.5⁴ log 0.5):
    >>> asymmetric(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.55]])).numpy().round(4)
    array([0.6931, 0.0433], dtype=float32)

    Source: T. Ridnik, E. Ben-Baruch et al., "Asymmetric Loss for Multi-Label Classification", 2021, arXiv:2009.14119.
    """
    shifted = ops.relu(y_pred - clip)
    # exp(γ log x) and not x^γ, whose gradient is NaN at x = 0 for γ = 0.
    positive = ops.exp(gamma_pos * _log(1 - y_pred)) * _log(y_pred)
    negative = ops.exp(gamma_neg * _log(shifted)) * _log(1 - shifted)
    return -ops.mean(y_true * positive + (1 - y_true) * negative, axis=-1)


def symmetric_crossentropy(
    y_true: Any,
    y_pred: Any,
    alpha: NotNegative = 0.1,
    beta: NotNegative = 1.0,
    log_zero: Annotated[float, Interval(ge=-9, lt=0)] = -4.0,
) -> Any:
    """Symmetric cross-entropy (SCE): with the reverse added, which tolerates wrong labels.

    Formula: `mean(α H(y, p) + β H(p, y))` over the last axis, where `H(a, b) = -a log b - (1 - a) log(1 - b)` and
    the logarithm of a label is at least `A`, so that `log 0 = A`.

    Arguments:
        y_true, y_pred: targets and probabilities in [0, 1], of shape `(batch, …, d)`.
        alpha: `α`, the weight of the crossentropy, at least 0. Defaults to 0.1, the paper's choice for CIFAR-10.
        beta: `β`, the weight of the reverse crossentropy, at least 0. Defaults to 1.
        log_zero: `A`, what the logarithm of a zero label counts as, in [-9, 0). Defaults to -4.

    Example (0.1 × 0.6931 + 0.5 × 4 and 0.1 × 0.1054 + 0.1 × 4):
    >>> symmetric_crossentropy(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.1]])).numpy().round(4)
    array([2.0693, 0.4105], dtype=float32)

    Source: Y. Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", 2019, arXiv:1908.06112.
    """
    forward = y_true * _log(y_pred) + (1 - y_true) * _log(1 - y_pred)
    log_true = ops.maximum(_log(y_true), log_zero)
    log_false = ops.maximum(_log(1 - y_true), log_zero)
    reverse = y_pred * log_true + (1 - y_pred) * log_false
    return -ops.mean(alpha * forward + beta * reverse, axis=-1)


def generalized_crossentropy(y_true: Any, y_pred: Any, q: Annotated[float, Interval(gt=0, le=1)] = 0.7) -> Any:
    """Generalized cross-entropy of a binary target: between crossentropy and absolute error.

    Formula: `mean(y (1 - p^q) / q + (1 - y) (1 - (1 - p)^q) / q)` over the last axis. At `q = 1` it is the absolute
    error, which tolerates wrong labels; as `q` tends to 0 it tends to the crossentropy. Keras has the form for several
    classes, `categorical_generalized_cross_entropy`.

    Arguments:
        y_true, y_pred: targets and probabilities in [0, 1], of shape `(batch, …, d)`.
        q: the power, in (0, 1]. Defaults to 0.7.

    Example ((1 - √0.25) / 0.5):
    >>> generalized_crossentropy(ops.array([[1.0], [0.0]]), ops.array([[0.25], [0.75]]), q=0.5).numpy().round(4)
    array([1., 1.], dtype=float32)

    Source: Z. Zhang and M. R. Sabuncu, "Generalized Cross Entropy Loss for … Noisy Labels", 2018, arXiv:1805.07836.
    """
    # expm1(q log p) and not p^q - 1, which cancels where q is small.
    true, false = ops.expm1(q * _log(y_pred)), ops.expm1(q * _log(1 - y_pred))
    return -ops.mean(y_true * true + (1 - y_true) * false, axis=-1) / q


def _log(x: Any) -> Any:
    """Logarithm of a number in [0, 1], finite at 0 together with its gradient; float16 does not hold `1 / 1e-7`."""
    return ops.log(x + (1e-4 if backend.standardize_dtype(x.dtype) == "float16" else 1e-7))


def general_robust(
    y_true: Any, y_pred: Any, alpha: Annotated[float, Lt(float("inf"))] = 1.0, scale: Positive = 1.0
) -> Any:
    """Barron's general robust loss: one shape parameter from squared error to Welsch.

    Formula: `mean(|α - 2| / α · (((x / c)² / |α - 2| + 1)^(α / 2) - 1))` over the last axis, where `x = y - p`, and
    its limits at `α = 2` (half the squared error), `α = 0` (Cauchy) and `α = -∞` (Welsch). `α = 1` is the Charbonnier
    or pseudo-Huber loss, `α = -2` is Geman-McClure. Near 0 all are half the squared error over `c²`.

    Arguments:
        y_true, y_pred: targets and predictions, of shape `(batch, …, d)`.
        alpha: `α`, the shape, below ∞, and `-inf` included: the lower, the less an outlier counts. Defaults to 1. In
            float16 `(x / c)² / |α - 2|` must stay below 65504, so choose 2 and not nearly 2.
        scale: `c`, the size of a residual from which it counts as an outlier, above 0. Defaults to 1.

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


def quantile(y_true: Any, y_pred: Any, tau: Annotated[float, Interval(gt=0, lt=1)] = 0.5) -> Any:
    """Quantile (pinball) loss, which is least at a chosen quantile of the targets.

    Formula: `mean(max(τ (y - p), (τ - 1) (y - p)))` over the last axis; at `τ = 0.5` half the absolute error.

    Arguments:
        y_true, y_pred: targets and predictions, of shape `(batch, …, d)`.
        tau: `τ`, the quantile to predict, in (0, 1). Defaults to 0.5.

    Example (too low costs 0.75 a unit, too high 0.25):
    >>> quantile(ops.array([[3.0], [1.0]]), ops.array([[1.0], [3.0]]), tau=0.75).numpy().round(4)
    array([1.5, 0.5], dtype=float32)

    Source: R. Koenker and G. Bassett, "Regression Quantiles", 1978, Econometrica 46(1).
    """
    residual = y_true - y_pred
    return ops.mean(ops.maximum(tau * residual, (tau - 1) * residual), axis=-1)


def wing(y_true: Any, y_pred: Any, width: Positive = 10.0, curvature: Positive = 2.0) -> Any:
    """Wing loss: logarithmic for small residuals, so that they still count, and linear beyond.

    Formula: `mean(w log(1 + |x| / ε))` where `|x| < w`, else `mean(|x| - w + w log(1 + w / ε))`; `x = y - p`.

    Arguments:
        y_true, y_pred: targets and predictions, of shape `(batch, …, d)`; the defaults suit pixels.
        width: `w`, the residual up to which the loss is logarithmic, above 0. Defaults to 10.
        curvature: `ε`, which limits the curvature of the logarithmic part, above 0. Defaults to 2.

    Example (10 log 2 and 2 + 10 log 6):
    >>> wing(ops.array([[0.0], [0.0]]), ops.array([[2.0], [12.0]])).numpy().round(4)
    array([ 6.9315, 19.9176], dtype=float32)

    Source: Z.-H. Feng et al., "Wing Loss for Robust Facial Landmark Localisation …", 2018, arXiv:1711.06753.
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


# Which tasks a loss is made for; lossreg reads it from here without importing this module.
bce.lossreg_tasks = ("binary", "multilabel")  # type: ignore[attr-defined]
mse.lossreg_tasks = ("binary", "multiclass", "multilabel", "regression")  # type: ignore[attr-defined]
mix.lossreg_tasks = ("binary", "multilabel")  # type: ignore[attr-defined]
poly_crossentropy.lossreg_tasks = ("binary", "multilabel")  # type: ignore[attr-defined]
asymmetric.lossreg_tasks = ("binary", "multilabel")  # type: ignore[attr-defined]
symmetric_crossentropy.lossreg_tasks = ("binary", "multilabel")  # type: ignore[attr-defined]
generalized_crossentropy.lossreg_tasks = ("binary", "multilabel")  # type: ignore[attr-defined]
general_robust.lossreg_tasks = ("binary", "multiclass", "multilabel", "regression")  # type: ignore[attr-defined]
quantile.lossreg_tasks = ("regression",)  # type: ignore[attr-defined]
wing.lossreg_tasks = ("regression",)  # type: ignore[attr-defined]
