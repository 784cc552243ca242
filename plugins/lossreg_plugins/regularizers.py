"""Regularizers: those of the note, penalties that make weights or groups of them zero, and those of singular values.

All take weights of a floating dtype, of any shape where nothing else is said, and return the penalty, a scalar of that
dtype.
"""

from __future__ import annotations

import math
from typing import Annotated, Any

from annotated_types import Ge, Interval
from keras import backend, ops

Scale = Annotated[float, Ge(0)]


def none(weights: Any) -> Any:
    """No penalty.

    Formula: `0`.

    Arguments:
        weights: weights of any shape.

    Example:
    >>> float(none(ops.ones((2, 4))))
    0.0
    """
    return ops.zeros((), dtype=weights.dtype)


def l2custom(weights: Any, r: Scale = 0.0001) -> Any:
    """The sum of the squared weights, scaled.

    Formula: `Σ r w²`.

    Arguments:
        weights: weights of any shape.
        r: the scale of the penalty, at least 0. Defaults to 0.0001, as in the note.

    Example:
    >>> float(l2custom(ops.array([[1.0, 2.0]]), r=0.5))
    2.5

    Source: a 2020 lecture note on custom losses and regularizers in Keras.
    """
    return ops.sum(r * ops.square(weights))


def elastic_net(weights: Any, factor: Scale = 0.01, l1_ratio: Annotated[float, Interval(ge=0, le=1)] = 0.5) -> Any:
    """Elastic net: a mixture of L1 and L2, as scikit-learn defines it.

    Formula: `λ (ρ Σ |w| + (1 - ρ) / 2 Σ w²)`.

    Arguments:
        weights: weights of any shape.
        factor: `λ`, the scale of the penalty (`alpha` in scikit-learn), at least 0. Defaults to 0.01.
        l1_ratio: `ρ`, the share of L1, in [0, 1]. Defaults to 0.5.

    Example:
    >>> float(elastic_net(ops.array([[1.0, -3.0]]), factor=0.5, l1_ratio=0.5))  # 0.5 (0.5 × 4 + 0.25 × 10)
    2.25

    Source: H. Zou and T. Hastie, "Regularization and Variable Selection via the Elastic Net", 2005.
    """
    return factor * (l1_ratio * ops.sum(ops.abs(weights)) + (1 - l1_ratio) / 2 * ops.sum(ops.square(weights)))


def group_lasso(weights: Any, factor: Scale = 0.01, axis: int = -1) -> Any:
    """Group lasso: drives all weights of a unit, or of an input, to zero together.

    Formula: `λ Σ_g √n ‖w_g‖₂`, where a group `w_g` holds the `n` weights at one position of the axis. The gradient of
    a group that is zero is taken as zero.

    Arguments:
        weights: weights of rank 1 or higher; those of rank 1, such as a bias, are groups of one, which makes this L1.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.01.
        axis: the axis that numbers the groups: in a kernel -1, the default, for output units, -2 for inputs.

    Example:
    >>> kernel = ops.array([[3.0, 0.0], [4.0, 0.0]])
    >>> [round(float(group_lasso(kernel, 1.0, axis)), 4) for axis in (-1, 0)]  # √2 × (5 + 0) and √2 × (3 + 4)
    [7.0711, 9.8995]

    Source: M. Yuan and Y. Lin, "Model Selection … with Grouped Variables", 2006; for networks arXiv:1608.03665.
    """
    groups = ops.moveaxis(weights, axis, 0)
    groups = ops.reshape(groups, (groups.shape[0], -1))
    return factor * math.sqrt(groups.shape[1]) * ops.sum(_norm(groups))


def hoyer_square(weights: Any, factor: Scale = 0.001) -> Any:
    """Hoyer-square: a differentiable count of the weights that matter, whatever their scale.

    Formula: `λ (Σ |w|)² / Σ w²`, between `λ` for one nonzero weight and `λ n` for `n` equal ones, and 0 where all
    are zero, with gradient zero. It does not change when all weights are scaled, so it does not shrink large ones.

    Arguments:
        weights: weights of any shape, taken as one vector.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.001, as in the authors' code.

    Example:
    >>> [round(float(hoyer_square(ops.array(w), factor=1.0)), 4) for w in ([2.0, 2.0], [2.0, 0.0], [3.0, 4.0])]
    [2.0, 1.0, 1.96]

    Source: H. Yang, W. Wen and H. Li, "DeepHoyer", 2020, arXiv:1908.09979.
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


def spectral_norm(weights: Any, factor: Scale = 0.01) -> Any:
    """Spectral norm: the most by which a layer can stretch its input.

    Formula: `λ σ₁(W)`, the largest singular value. The gradient is `λ u₁ v₁ᵀ`, and zero where all weights are zero.

    Arguments:
        weights: weights of rank 1 or higher, reshaped to `(-1, last axis)`; they are decomposed at each call, which
            for kernels with thousands of inputs and units costs more than the layer.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.01.

    Example:
    >>> round(float(spectral_norm(ops.array([[3.0, 0.0], [0.0, -4.0]]), factor=1.0)), 4)
    4.0

    Source: Y. Yoshida and T. Miyato, "Spectral Norm Regularization …", 2017, arXiv:1705.10941 (there half its square).
    """
    return factor * _sum_of_singular_values(weights, largest=1)


def nuclear_norm(weights: Any, factor: Scale = 0.01) -> Any:
    """Nuclear (trace) norm: drives a kernel towards low rank.

    Formula: `λ Σ σ_i(W)`, over all singular values. The gradient is `λ U Vᵀ` over those that are not zero.

    Arguments:
        weights: what `spectral_norm` takes, decomposed likewise, once per call.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.01.

    Example:
    >>> round(float(nuclear_norm(ops.array([[3.0, 0.0], [0.0, -4.0]]), factor=1.0)), 4)
    7.0

    Source: M. Fazel, H. Hindi and S. Boyd, "A Rank Minimization Heuristic …", 2001.
    """
    return factor * _sum_of_singular_values(weights)


def _sum_of_singular_values(weights: Any, largest: int | None = None) -> Any:
    matrix = ops.reshape(weights, (-1, weights.shape[-1]))
    # No backend decomposes half precision.
    matrix = ops.cast(matrix, backend.result_type(weights.dtype, "float32"))
    left, values, right = ops.svd(ops.stop_gradient(matrix), full_matrices=False)
    left, values, right = left[:, :largest], values[:largest], right[:largest]
    # Values that are zero but for rounding have arbitrary vectors, which would make an arbitrary gradient.
    kept = ops.cast(values > 1e-5 * values[0], values.dtype)
    # Σ σ_i = ⟨U Vᵀ, W⟩, and U Vᵀ is its gradient: nothing is differentiated through the decomposition, whose own
    # gradient is NaN where two singular values are equal.
    direction = ops.stop_gradient(ops.matmul(left * kept, right))
    return ops.cast(ops.sum(direction * matrix), weights.dtype)
