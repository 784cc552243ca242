"""The losses, against NumPy written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import lossreg
from tests.plugins.numerics import (
    RANDOM,
    Case,
    P,
    Y,
    assert_defaults_are_those_of_the_reference,
    assert_finite,
    assert_same_everywhere,
    assert_vectorizes,
    cases,
    defaults,
    finite_differences,
    full,
    parametrized,
    precisions,
    value_and_gradient,
)

INF = float("inf")
GUARD = 1e-7  # documented; 1e-4 in float16


def crossentropy(y, p):
    return -y * np.log(p) - (1 - y) * np.log(1 - p)


def poly_crossentropy(y, p, epsilon=2.0):
    return crossentropy(y, p) + epsilon * np.abs(y - p)  # of hard targets, whose probability misses 1 by |y - p|


def asymmetric(y, p, gamma_pos=0.0, gamma_neg=4.0, clip=0.05):
    shifted = np.maximum(p - clip, 0)
    return -y * (1 - p) ** gamma_pos * np.log(p) - (1 - y) * shifted**gamma_neg * np.log(1 - shifted)


def symmetric_crossentropy(y, p, alpha=0.1, beta=1.0, log_zero=-4.0):
    # A hard label's reverse crossentropy is -A times the probability of the other class.
    return alpha * crossentropy(y, p) - beta * log_zero * np.where(y == 1, 1 - p, p)


def generalized_crossentropy(y, p, q=0.7):
    target = np.where(y == 1, p, 1 - p)
    return (1 - target**q) / q


def general_robust(y, p, alpha=1.0, scale=1.0):
    x = (p - y) / scale
    if alpha == 2:
        return x**2 / 2
    if alpha == 0:
        return np.log(x**2 / 2 + 1)
    if alpha == -INF:
        return 1 - np.exp(-(x**2) / 2)
    distance = abs(alpha - 2)
    return distance / alpha * ((x**2 / distance + 1) ** (alpha / 2) - 1)


def quantile(y, p, tau=0.5):
    return np.where(y > p, tau * (y - p), (1 - tau) * (p - y))


def wing(y, p, width=10.0, curvature=2.0):
    x = np.abs(p - y)
    offset = width - width * np.log(1 + width / curvature)
    return np.where(x < width, width * np.log(1 + x / curvature), x - offset)


def bce(y, p):
    return -(y * np.log(p + 1e-6) + (1 - y) * np.log(1 - p + 1e-6))


def mse(y, p):
    return (y - p) ** 2


def mix(y, p, r=0.5):
    return r * bce(y, p) + (1 - r) * mse(y, p)


# A loss of probabilities, its reference, and parameters to try, the edges of their domains included.
OF_PROBABILITIES: list[Case] = [
    (bce, {}),
    (mse, {}),
    (mix, {}),
    (mix, {"r": 0.8}),
    (poly_crossentropy, {}),
    (poly_crossentropy, {"epsilon": -1.0}),
    (asymmetric, {}),
    (asymmetric, {"gamma_pos": 1.5, "gamma_neg": 0.5, "clip": 0.2}),
    (asymmetric, {"gamma_neg": 0.0, "clip": 0.0}),
    (symmetric_crossentropy, {}),
    (symmetric_crossentropy, {"alpha": 6.0, "beta": 0.1, "log_zero": -6.0}),
    (generalized_crossentropy, {}),
    (generalized_crossentropy, {"q": 0.001}),
    (generalized_crossentropy, {"q": 1.0}),
]
OF_RESIDUALS: list[Case] = [
    (mse, {}),
    *((general_robust, {"alpha": a}) for a in (3.0, 2.0, 1.99, 1.0, 0.0, 1e-3, -1e-3, -2.0, -1e4, -INF)),
    (general_robust, {"alpha": 0.5, "scale": 0.2}),
    (quantile, {}),
    (quantile, {"tau": 0.9}),
    (wing, {}),
    (wing, {"width": 1.0, "curvature": 0.3}),
]


of_probabilities = parametrized(cases(OF_PROBABILITIES))
of_residuals = parametrized(cases(OF_RESIDUALS))
losses = parametrized(cases(OF_PROBABILITIES, OF_RESIDUALS[1:]))
default_losses = parametrized(defaults(cases(OF_PROBABILITIES, OF_RESIDUALS[1:])))


def loss(reference):
    return lossreg.losses.get(reference.__name__)


# Values


@of_probabilities
def test_a_loss_of_probabilities_is_its_formula(reference, params):
    value = loss(reference)(tf.constant(Y), tf.constant(P), **params)
    np.testing.assert_allclose(value, reference(Y, P, **params).mean(axis=-1), rtol=1e-5, atol=1e-7)


@of_residuals
def test_a_loss_of_residuals_is_its_formula(reference, params):
    y, p = RANDOM.normal(scale=10, size=(6, 4)), RANDOM.normal(scale=10, size=(6, 4))
    p[0] = y[0]
    p[1] = y[1] + [1e-3, -1e-3, 100, -100]
    value = loss(reference)(tf.constant(y), tf.constant(p), **params)
    np.testing.assert_allclose(value, reference(y, p, **params).mean(axis=-1), rtol=1e-8, atol=1e-12)


LOG_GUARD = -np.log(GUARD)


@pytest.mark.parametrize(
    ("name", "params", "wrong"),
    [
        ("bce", {}, -np.log(1e-6)),
        ("mse", {}, 1.0),
        ("mix", {"r": 0.8}, 0.8 * -np.log(1e-6) + 0.2),
        ("poly_crossentropy", {"epsilon": 3.0}, LOG_GUARD + 3),
        ("asymmetric", {"clip": 0.0}, LOG_GUARD),
        ("symmetric_crossentropy", {}, 0.1 * LOG_GUARD + 4),
        ("generalized_crossentropy", {}, (1 - GUARD**0.7) / 0.7),
        ("generalized_crossentropy", {"q": 1e-9}, LOG_GUARD),
    ],
)
def test_certainty_costs_nothing_when_right_and_what_the_guard_allows_when_wrong(name, params, wrong):
    y, p = tf.constant([[0.0], [1.0], [0.0], [1.0]], "float64"), tf.constant([[0.0], [1.0], [1.0], [0.0]], "float64")
    value = lossreg.losses.get(name)(y, p, **params)
    np.testing.assert_allclose(value, [0, 0, wrong, wrong], rtol=1e-6, atol=2e-6)


def test_a_wrong_certain_negative_costs_what_the_clip_of_the_asymmetric_loss_leaves():
    value = lossreg.losses.get("asymmetric")(tf.zeros((1, 1), "float64"), tf.ones((1, 1), "float64"))
    np.testing.assert_allclose(value, [0.95**4 * -np.log(0.05)], rtol=1e-5)


@pytest.mark.parametrize("y", [0.1, 0.5, 0.9])
def test_soft_targets_interpolate_between_hard_ones(y):
    p = np.array([[0.3]])
    for name, hard in [
        ("asymmetric", asymmetric),
        ("generalized_crossentropy", generalized_crossentropy),
        ("bce", bce),
    ]:
        expected = y * hard(np.ones((1, 1)), p) + (1 - y) * hard(np.zeros((1, 1)), p)
        value = lossreg.losses.get(name)(tf.constant([[y]], "float64"), tf.constant(p))
        np.testing.assert_allclose(value, expected[0], rtol=1e-5)
    # These two are not linear in the target.
    value = lossreg.losses.get("poly_crossentropy")(tf.constant([[y]], "float64"), tf.constant(p))
    target = y * 0.3 + (1 - y) * 0.7
    np.testing.assert_allclose(value, (crossentropy(y, p) + 2 * (1 - target))[0], rtol=1e-5)
    value = lossreg.losses.get("symmetric_crossentropy")(tf.constant([[y]], "float64"), tf.constant(p))
    np.testing.assert_allclose(value, (0.1 * crossentropy(y, p) + crossentropy(p, y))[0], rtol=1e-5)


def test_defaults_are_those_of_the_reference():
    assert_defaults_are_those_of_the_reference(lossreg.losses, [*OF_PROBABILITIES, *OF_RESIDUALS])


# Gradients


@losses
def test_the_gradient_of_a_loss_is_that_of_finite_differences(reference, params):
    y, p = (Y, P) if (reference, params) in OF_PROBABILITIES else (4 * Y, 9 * P - 3)
    function = loss(reference)
    _, gradient = value_and_gradient(lambda p: function(tf.constant(y), p, **params), tf.constant(p))
    expected = finite_differences(lambda p: function(tf.constant(y), tf.constant(p), **params), p)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("alpha", [1.5, 0.0, 1e-5, -3.0])
def test_the_shape_of_the_general_robust_loss_can_be_learned(alpha):
    function = lossreg.losses.get("general_robust")
    _, gradient = value_and_gradient(lambda alpha: function(tf.constant(Y), P, alpha), tf.constant(alpha, "float64"))
    expected = finite_differences(lambda alpha: general_robust(Y, P, alpha).mean(axis=-1), np.array(alpha), 1e-4)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


@precisions
@of_probabilities
def test_certainty_has_a_finite_gradient_in_every_precision(reference, params, dtype):
    if dtype == "float16" and reference in (bce, mix):
        pytest.skip("defined with 1e-6, whose reciprocal float16 does not hold")
    y = tf.constant([[0.0], [1.0], [0.0], [1.0], [0.5]], dtype)
    p = tf.constant([[0.0], [1.0], [1.0], [0.0], [0.5]], dtype)
    value, gradient = value_and_gradient(lambda p: loss(reference)(y, p, **params), p)
    assert value.dtype == dtype
    assert_finite(value)
    assert_finite(gradient)
    assert float(gradient[2, 0]) > 0 > float(gradient[3, 0])  # away from the wrong answer


@precisions
@of_residuals
def test_equal_and_extreme_predictions_have_a_finite_gradient(reference, params, dtype):
    far = 1e4
    if dtype == "float16":  # it ends at 65504
        far = 20.0 if params.get("alpha") in (1.99, 3.0) or "scale" in params else 200.0
    y, p = tf.constant([[0.0], [1.0], [0.0], [0.0]], dtype), tf.constant([[0.0], [1.0], [far], [-far]], dtype)
    value, gradient = value_and_gradient(lambda p: loss(reference)(y, p, **params), p)
    assert value.dtype == dtype
    assert_finite(value)
    assert_finite(gradient)


@precisions
@of_probabilities
def test_a_loss_in_low_precision_is_near_its_formula(reference, params, dtype):
    value = tf.cast(loss(reference)(tf.constant(Y, dtype), tf.constant(P, dtype), **params), "float64")
    tolerance = {"float16": 1e-2, "bfloat16": 6e-2, "float32": 1e-5, "float64": 1e-5}[dtype]
    np.testing.assert_allclose(value, reference(Y, P, **params).mean(axis=-1), rtol=tolerance, atol=1e-6)


# Eager, graph and XLA; parameters as tensors


@losses
def test_a_loss_is_the_same_in_eager_graph_and_xla_with_tensors_as_parameters(reference, params):
    y, p = (Y, P) if (reference, params) in OF_PROBABILITIES else (4 * Y, 9 * P - 3)
    data = tf.constant(y, "float32"), tf.constant(p, "float32")
    assert_same_everywhere(loss(reference), data, full(lossreg.losses, reference, params))


@default_losses
def test_one_program_computes_a_loss_for_many_parameters(reference, params):
    y = tf.constant(Y, "float32")
    assert_vectorizes(
        lambda p, **params: loss(reference)(y, p, **params),
        full(lossreg.losses, reference, params),
        lambda **params: reference(Y, P, **params).mean(axis=-1),
        tf.constant(P, "float32"),
    )


# Through the registry


@default_losses
def test_a_loss_from_the_registry_weights_its_samples(reference, params):
    created = lossreg.losses.create(reference.__name__, **params)
    y, p, weights = Y.astype("float32"), P.astype("float32"), np.array([2, 0, 0.5, 1], "float32")
    per_sample = reference(Y, P, **params).mean(axis=-1)
    np.testing.assert_allclose(created(y, p, sample_weight=weights), np.mean(weights * per_sample), rtol=1e-5)
    np.testing.assert_allclose(created(y[:, 0], p[:, :1]), np.mean(reference(Y[:, 0], P[:, 0], **params)), rtol=1e-5)
