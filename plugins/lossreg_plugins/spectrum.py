"""Regularizers of the singular values of a kernel."""

from __future__ import annotations

from typing import Any

from keras import backend, ops


def spectral_norm(weights: Any, factor: float = 0.01) -> Any:
    """Spectral norm: the most by which a layer can stretch its input.

    Formula: `λ σ₁(W)`, the largest singular value. The gradient is `λ u₁ v₁ᵀ`, and zero where all weights are zero.

    Arguments:
        weights: weights of any rank from 1 and any floating dtype, reshaped to `(-1, last axis)`; of rank 1 their
            norm is Euclidean. One decomposition is made per call: for kernels with thousands of inputs and units it
            costs more than the layer.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.01.

    Returns:
        The penalty, a scalar of the dtype of the weights.

    Example:
    >>> round(float(spectral_norm(ops.array([[3.0, 0.0], [0.0, -4.0]]), factor=1.0)), 4)
    4.0

    Source: Y. Yoshida and T. Miyato, "Spectral Norm Regularization for Improving the Generalizability of Deep
    Learning", 2017, arXiv:1705.10941, where half its square is added.
    """
    return factor * _sum_of_singular_values(weights, largest=1)


def nuclear_norm(weights: Any, factor: float = 0.01) -> Any:
    """Nuclear (trace) norm: drives a kernel towards low rank.

    Formula: `λ Σ σ_i(W)`, over all singular values. The gradient is `λ U Vᵀ` over those that are not zero.

    Arguments:
        weights: weights of any rank from 1 and any floating dtype, reshaped to `(-1, last axis)`; of rank 1 their
            norm is Euclidean. One decomposition is made per call: for kernels with thousands of inputs and units it
            costs more than the layer.
        factor: `λ`, the scale of the penalty, at least 0. Defaults to 0.01.

    Returns:
        The penalty, a scalar of the dtype of the weights.

    Example:
    >>> round(float(nuclear_norm(ops.array([[3.0, 0.0], [0.0, -4.0]]), factor=1.0)), 4)
    7.0

    Source: M. Fazel, H. Hindi and S. Boyd, "A Rank Minimization Heuristic with Application to Minimum Order System
    Approximation", 2001.
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
