"""The regularizers, against NumPy written by hand."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import lossreg
from tests.plugins.numerics import (
    WEIGHTS,
    Case,
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


def elastic_net(w, factor=0.01, l1_ratio=0.5):
    return factor * (l1_ratio * np.abs(w).sum() + 0.5 * (1 - l1_ratio) * (w**2).sum())


def group_lasso(w, factor=0.01, axis=-1):
    groups = [np.take(w, index, axis) for index in range(w.shape[axis])]
    return factor * sum(np.sqrt(np.size(group)) * np.linalg.norm(np.ravel(group)) for group in groups)


def hoyer_square(w, factor=0.001):
    return factor * np.abs(w).sum() ** 2 / (w**2).sum()


def spectral_norm(w, factor=0.01):
    matrix = w.reshape(-1, w.shape[-1])
    return factor * np.sqrt(np.linalg.eigvalsh(matrix.T @ matrix).max())


def nuclear_norm(w, factor=0.01):
    matrix = w.reshape(-1, w.shape[-1])
    return factor * np.sqrt(np.maximum(np.linalg.eigvalsh(matrix.T @ matrix), 0)).sum()


def none(w):
    return 0.0


def l2custom(w, r=0.0001):
    return (r * w**2).sum()


REGULARIZERS: list[Case] = [
    (none, {}),
    (l2custom, {}),
    (l2custom, {"r": 0.3}),
    (elastic_net, {}),
    (elastic_net, {"factor": 0.2, "l1_ratio": 0.9}),
    (group_lasso, {}),
    (group_lasso, {"factor": 2.0, "axis": 0}),
    (hoyer_square, {}),
    (hoyer_square, {"factor": 2.0}),
    (spectral_norm, {}),
    (spectral_norm, {"factor": 2.0}),
    (nuclear_norm, {}),
    (nuclear_norm, {"factor": 2.0}),
]


of_weights = parametrized(cases(REGULARIZERS))
default_regularizers = parametrized(defaults(cases(REGULARIZERS)))


def regularizer(reference):
    return lossreg.regularizers.get(reference.__name__)


# Values


@pytest.mark.parametrize("rank", [1, 2, 4])
@of_weights
def test_a_regularizer_is_its_formula_at_any_rank(reference, params, rank):
    value = regularizer(reference)(tf.constant(WEIGHTS[rank]), **params)
    assert value.shape == ()
    np.testing.assert_allclose(value, reference(WEIGHTS[rank], **params), rtol=1e-7, atol=1e-12)


def test_weights_of_rank_1_are_one_vector_or_groups_of_one():
    bias = tf.constant([3.0, -4.0])
    for name, expected in [("spectral_norm", 5), ("nuclear_norm", 5), ("group_lasso", 7)]:
        np.testing.assert_allclose(lossreg.regularizers.create(name, factor=1.0)(bias), expected, rtol=1e-6)


def test_hoyer_square_ignores_the_scale_of_the_weights():
    create = lossreg.regularizers.create("hoyer_square", factor=1.0)
    w = WEIGHTS[2].astype("float32")
    for scale in (1e-30, 1.0, 1e30):
        np.testing.assert_allclose(create(tf.constant(scale * w, "float32")), hoyer_square(w, 1.0), rtol=1e-5)


def test_defaults_are_those_of_the_reference():
    assert_defaults_are_those_of_the_reference(lossreg.regularizers, REGULARIZERS)


# Gradients


@of_weights
def test_the_gradient_of_a_regularizer_is_that_of_finite_differences(reference, params):
    w, function = WEIGHTS[4], regularizer(reference)
    _, gradient = value_and_gradient(lambda w: function(w, **params), tf.constant(w))
    expected = finite_differences(lambda w: reference(w, **params), w)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


@precisions
@of_weights
def test_a_regularizer_keeps_the_dtype_and_is_near_its_formula(reference, params, dtype):
    w = tf.constant(WEIGHTS[2], dtype)
    value, gradient = value_and_gradient(lambda w: regularizer(reference)(w, **params), w)
    assert value.dtype == dtype
    assert_finite(gradient)
    tolerance = {"float16": 1e-2, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-8}[dtype]
    np.testing.assert_allclose(float(value), reference(WEIGHTS[2], **params), rtol=tolerance, atol=1e-7)


@of_weights
def test_weights_of_zero_cost_nothing_and_are_left_alone(reference, params):
    for shape in [(3,), (3, 3), (2, 3, 2)]:
        value, gradient = value_and_gradient(lambda w: regularizer(reference)(w, **params), tf.zeros(shape))
        assert float(value) == 0
        np.testing.assert_array_equal(gradient, np.zeros(shape))


def test_a_group_of_zeros_is_left_alone_among_others():
    w = tf.constant([[3.0, 0.0], [4.0, 0.0]])
    _, gradient = value_and_gradient(lossreg.regularizers.create("group_lasso", factor=1.0), w)
    np.testing.assert_allclose(gradient, np.sqrt(2) * np.array([[0.6, 0], [0.8, 0]]), rtol=1e-6)


def test_the_nuclear_norm_of_a_deficient_kernel_has_the_gradient_of_its_rank():
    left, right = np.array([0.6, 0.8, 0.0]), np.array([0.0, 1.0])
    w = tf.constant(2 * np.outer(left, right), "float32")
    for jit_compile in (None, True):
        run = tf.function(value_and_gradient, jit_compile=jit_compile)
        value, gradient = run(lossreg.regularizers.get("nuclear_norm"), w)
        np.testing.assert_allclose(value, 0.02, rtol=1e-5)
        np.testing.assert_allclose(gradient, 0.01 * np.outer(left, right), atol=1e-6)


@pytest.mark.parametrize(("name", "norm"), [("nuclear_norm", np.sqrt(3)), ("spectral_norm", 1)])
def test_equal_singular_values_have_a_finite_subgradient(name, norm):
    _, gradient = value_and_gradient(lossreg.regularizers.create(name, factor=1.0), tf.eye(3))
    np.testing.assert_allclose(np.linalg.norm(gradient), norm, rtol=1e-5)


# Eager, graph and XLA; parameters as tensors


@default_regularizers
def test_a_regularizer_is_the_same_in_eager_graph_and_xla_with_tensors_as_parameters(reference, params):
    params = full(lossreg.regularizers, reference, params)
    assert_same_everywhere(regularizer(reference), (tf.constant(WEIGHTS[2], "float32"),), params)


@default_regularizers
def test_one_program_computes_a_regularizer_for_many_parameters(reference, params):
    assert_vectorizes(
        regularizer(reference),
        full(lossreg.regularizers, reference, params),
        lambda **params: reference(WEIGHTS[2], **params),
        tf.constant(WEIGHTS[2], "float32"),
    )


# Through the registry


@of_weights
def test_a_regularizer_from_the_registry_is_its_formula(reference, params):
    created = lossreg.regularizers.create(reference.__name__, **params)
    value = created(tf.constant(WEIGHTS[2], "float32"))
    np.testing.assert_allclose(value, reference(WEIGHTS[2], **params), rtol=1e-5)
