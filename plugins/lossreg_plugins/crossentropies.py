"""Binary cross-entropies reshaped for imbalanced classes and for wrong labels."""

from __future__ import annotations

from typing import Any

from keras import backend, ops


def poly_crossentropy(y_true: Any, y_pred: Any, epsilon: float = 2.0) -> Any:
    """PolyLoss (Poly-1): binary crossentropy with its leading polynomial term reweighted.

    Formula: `mean(-y log p - (1 - y) log(1 - p) + ε (1 - p_t))` over the last axis, where
    `p_t = y p + (1 - y)(1 - p)` is the probability of the target. The crossentropy is `Σ_j (1 - p_t)^j / j`;
    `ε` is added to the coefficient of its first term. The logarithms are guarded: 1e-7 (in float16 1e-4) is added.

    Arguments:
        y_true: targets in [0, 1], of shape `(batch, …, d)`.
        y_pred: probabilities in [0, 1], of the same shape and dtype.
        epsilon: `ε`, at least -1; 0 is the crossentropy. Defaults to 2, the paper's choice for ImageNet; it takes
            negative values where a model should be less confident.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = poly_crossentropy(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.1]]))
    >>> [round(float(value), 4) for value in loss]  # 0.6931 + 2 × 0.5 and 0.1054 + 2 × 0.1
    [1.6931, 0.3054]

    Source: Z. Leng et al., "PolyLoss: A Polynomial Expansion Perspective of Classification Loss Functions", 2022,
    arXiv:2204.12511.
    """
    crossentropy = -y_true * _log(y_pred) - (1 - y_true) * _log(1 - y_pred)
    target_probability = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    return ops.mean(crossentropy + epsilon * (1 - target_probability), axis=-1)


def asymmetric(y_true: Any, y_pred: Any, gamma_pos: float = 0.0, gamma_neg: float = 4.0, clip: float = 0.05) -> Any:
    """Asymmetric loss (ASL): focuses positives and negatives apart, and drops easy negatives.

    Formula: `mean(-y (1 - p)^γ₊ log p - (1 - y) p_m^γ₋ log(1 - p_m))` over the last axis, where
    `p_m = max(p - m, 0)`. The logarithms and powers are guarded: 1e-7 (in float16 1e-4) is added to what they are of.

    Arguments:
        y_true: targets in [0, 1], of shape `(batch, …, d)`; several classes may apply to one sample.
        y_pred: probabilities in [0, 1], of the same shape and dtype.
        gamma_pos: `γ₊`, the focusing of positives, at least 0. Defaults to 0.
        gamma_neg: `γ₋`, the focusing of negatives, at least 0. Defaults to 4.
        clip: `m`, the probability below which a negative costs nothing, in [0, 1). Defaults to 0.05.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = asymmetric(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.55]]))
    >>> [round(float(value), 4) for value in loss]  # -log 0.5 and -0.5⁴ log 0.5
    [0.6931, 0.0433]

    Source: T. Ridnik, E. Ben-Baruch et al., "Asymmetric Loss for Multi-Label Classification", 2021, arXiv:2009.14119.
    """
    shifted = ops.relu(y_pred - clip)
    # exp(γ log x) and not x^γ, whose gradient is NaN at x = 0 for γ = 0.
    positive = ops.exp(gamma_pos * _log(1 - y_pred)) * _log(y_pred)
    negative = ops.exp(gamma_neg * _log(shifted)) * _log(1 - shifted)
    return -ops.mean(y_true * positive + (1 - y_true) * negative, axis=-1)


def symmetric_crossentropy(
    y_true: Any, y_pred: Any, alpha: float = 0.1, beta: float = 1.0, log_zero: float = -4.0
) -> Any:
    """Symmetric cross-entropy (SCE): with the reverse added, which tolerates wrong labels.

    Formula: `mean(α H(y, p) + β H(p, y))` over the last axis, where `H(a, b) = -a log b - (1 - a) log(1 - b)` and
    the logarithm of a label is at least `A`, so that `log 0 = A`. The logarithms are guarded: 1e-7 (in float16 1e-4)
    is added.

    Arguments:
        y_true: targets in [0, 1], of shape `(batch, …, d)`.
        y_pred: probabilities in [0, 1], of the same shape and dtype.
        alpha: `α`, the weight of the crossentropy, at least 0. Defaults to 0.1, the paper's choice for CIFAR-10.
        beta: `β`, the weight of the reverse crossentropy, at least 0. Defaults to 1.
        log_zero: `A`, what the logarithm of a zero label counts as, in [-9, 0). Defaults to -4.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = symmetric_crossentropy(ops.array([[1.0], [0.0]]), ops.array([[0.5], [0.1]]))
    >>> [round(float(value), 4) for value in loss]  # 0.1 × 0.6931 + 0.5 × 4 and 0.1 × 0.1054 + 0.1 × 4
    [2.0693, 0.4105]

    Source: Y. Wang et al., "Symmetric Cross Entropy for Robust Learning with Noisy Labels", 2019, arXiv:1908.06112.
    """
    forward = y_true * _log(y_pred) + (1 - y_true) * _log(1 - y_pred)
    log_true = ops.maximum(_log(y_true), log_zero)
    log_false = ops.maximum(_log(1 - y_true), log_zero)
    reverse = y_pred * log_true + (1 - y_pred) * log_false
    return -ops.mean(alpha * forward + beta * reverse, axis=-1)


def generalized_crossentropy(y_true: Any, y_pred: Any, q: float = 0.7) -> Any:
    """Generalized cross-entropy of a binary target: between crossentropy and absolute error.

    Formula: `mean(y (1 - p^q) / q + (1 - y) (1 - (1 - p)^q) / q)` over the last axis. At `q = 1` it is the absolute
    error, which tolerates wrong labels; as `q` tends to 0 it tends to the crossentropy. The powers are guarded: 1e-7
    (in float16 1e-4) is added to what they are of. Keras has the form for several classes,
    `categorical_generalized_cross_entropy`.

    Arguments:
        y_true: targets in [0, 1], of shape `(batch, …, d)`.
        y_pred: probabilities in [0, 1], of the same shape and dtype.
        q: the power, in (0, 1]. Defaults to 0.7.

    Returns:
        The loss per sample, of shape `(batch, …)`.

    Example:
    >>> loss = generalized_crossentropy(ops.array([[1.0], [0.0]]), ops.array([[0.25], [0.75]]), q=0.5)
    >>> [round(float(value), 4) for value in loss]  # (1 - √0.25) / 0.5
    [1.0, 1.0]

    Source: Z. Zhang and M. R. Sabuncu, "Generalized Cross Entropy Loss for Training Deep Neural Networks with Noisy
    Labels", 2018, arXiv:1805.07836.
    """
    # expm1(q log p) and not p^q - 1, which cancels where q is small.
    true, false = ops.expm1(q * _log(y_pred)), ops.expm1(q * _log(1 - y_pred))
    return -ops.mean(y_true * true + (1 - y_true) * false, axis=-1) / q


def _log(x: Any) -> Any:
    """Logarithm of a number in [0, 1], finite at 0 together with its gradient; float16 does not hold `1 / 1e-7`."""
    return ops.log(x + (1e-4 if backend.standardize_dtype(x.dtype) == "float16" else 1e-7))
