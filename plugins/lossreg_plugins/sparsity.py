"""Regularizers that make weights, or groups of weights, exactly or nearly zero."""

from __future__ import annotations

import math
from typing import Any

from keras import ops


def elastic_net(weights: Any, factor: float = 0.01, l1_ratio: float = 0.5) -> Any:
    """Elastic net: a mixture of L1 and L2, as scikit-learn defines it.

    Formula: `λ (ρ Σ |w| + (1 - ρ) / 2 Σ w²)`.

    Arguments:
        weights: weights of any shape and floating dtype.
        factor: `λ`, the scale of the penalty (`alpha` in scikit-learn), at least 0. Defaults to 0.01.
        l1_ratio: `ρ`, the share of L1, in [0, 1]. Defaults to 0.5.

    Returns:
        The penalty, a scalar of the dtype of the weights.

    Example:
    >>> float(elastic_net(ops.array([[1.0, -3.0]]), factor=0.5, l1_ratio=0.5))  # 0.5 (0.5 × 4 + 0.25 × 10)
    2.25

    Source: H. Zou and T. Hastie, "Regularization and Variable Selection via the Elastic Net", 2005; the
    parametrization is that of `sklearn.linear_model.ElasticNet`.
    """
    return factor * (l1_ratio * ops.sum(ops.abs(weights)) + (1 - l1_ratio) / 2 * ops.sum(ops.square(weights)))


def group_lasso(weights: Any, factor: float = 0.01, axis: int = -1) -> Any:
    """Group lasso: drives all weights of a unit, or of an input, to zero together.

    Formula: `λ Σ_g √n ‖w_g‖₂`, where a group `w_g` holds the `n` weights at one position of the axis. The gradient of
    a group that is zero is taken as zero.

    Arguments:
        weights: weights of any rank from 1 and any floating dtype. In a kernel of `Dense` or `Conv2D` the last axis
            numbers the output units; weights of rank 1, such as a bias, are groups of one, which makes this L1.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.01.
        axis: the axis that numbers the groups: -1 for output units, -2 for inputs, which selects features. Defaults
            to -1.

    Returns:
        The penalty, a scalar of the dtype of the weights.

    Example:
    >>> kernel = ops.array([[3.0, 0.0], [4.0, 0.0]])
    >>> round(float(group_lasso(kernel, factor=1.0)), 4)  # √2 × 5 + √2 × 0
    7.0711
    >>> round(float(group_lasso(kernel, factor=1.0, axis=0)), 4)  # √2 × 3 + √2 × 4
    9.8995

    Source: M. Yuan and Y. Lin, "Model Selection and Estimation in Regression with Grouped Variables", 2006; for
    networks W. Wen et al., "Learning Structured Sparsity in Deep Neural Networks", 2016, arXiv:1608.03665.
    """
    groups = ops.moveaxis(weights, axis, 0)
    groups = ops.reshape(groups, (groups.shape[0], -1))
    return factor * math.sqrt(groups.shape[1]) * ops.sum(_norm(groups))


def hoyer_square(weights: Any, factor: float = 0.001) -> Any:
    """Hoyer-square: a differentiable count of the weights that matter, whatever their scale.

    Formula: `λ (Σ |w|)² / Σ w²`, between `λ` for one nonzero weight and `λ n` for `n` equal ones, and 0 where all
    are zero, with gradient zero. It does not change when all weights are scaled, so it does not shrink large ones.

    Arguments:
        weights: weights of any shape and floating dtype, taken as one vector.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.001, as in the authors' code.

    Returns:
        The penalty, a scalar of the dtype of the weights.

    Example:
    >>> [round(float(hoyer_square(ops.array(w), factor=1.0)), 4) for w in ([2.0, 2.0], [2.0, 0.0], [3.0, 4.0])]
    [2.0, 1.0, 1.96]

    Source: H. Yang, W. Wen and H. Li, "DeepHoyer: Learning Sparser Neural Network with Differentiable Scale-Invariant
    Sparsity Measures", 2020, arXiv:1908.09979.
    """
    vector = ops.reshape(weights, (-1,))
    norm = _norm(vector)
    ratio = ops.sum(ops.abs(vector) / ops.where(norm > 0, norm, 1.0))
    return factor * ratio * ratio


def _norm(x: Any) -> Any:
    """Euclidean norm over the last axis, with gradient 0 at 0; the squares neither overflow nor underflow."""
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    unit = ops.where(largest > 0, largest, 1.0)
    squares = ops.sum(ops.square(x / unit), axis=-1)
    positive = squares > 0
    return ops.where(positive, ops.sqrt(ops.where(positive, squares, 1.0)), 0.0) * unit[..., 0]
