"""The first-party losses and regularizers, against NumPy written by hand."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

import lossreg

Case = tuple[Callable[..., Any], dict[str, Any]]

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


def cases(*tables):
    return [
        pytest.param(reference, params, id="-".join([reference.__name__, *(f"{k}={v}" for k, v in params.items())]))
        for table in tables
        for reference, params in table
    ]


def defaults(cases):
    return [case for case in cases if not case.values[1] or case.id == "general_robust-alpha=1.0"]


of_probabilities = pytest.mark.parametrize(("reference", "params"), cases(OF_PROBABILITIES))
of_residuals = pytest.mark.parametrize(("reference", "params"), cases(OF_RESIDUALS))
of_weights = pytest.mark.parametrize(("reference", "params"), cases(REGULARIZERS))
losses = pytest.mark.parametrize(("reference", "params"), cases(OF_PROBABILITIES, OF_RESIDUALS[1:]))
default_losses = pytest.mark.parametrize(("reference", "params"), defaults(cases(OF_PROBABILITIES, OF_RESIDUALS[1:])))
default_regularizers = pytest.mark.parametrize(("reference", "params"), defaults(cases(REGULARIZERS)))
precisions = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])

RANDOM = np.random.default_rng(7)
Y = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1]], "float64")
P = RANDOM.uniform(0.06, 0.94, (4, 3))
WEIGHTS = {1: RANDOM.normal(size=5), 2: RANDOM.normal(size=(5, 3)), 4: RANDOM.normal(size=(3, 2, 2, 4))}


def loss(reference):
    return lossreg.losses.get(reference.__name__)


def regularizer(reference):
    return lossreg.regularizers.get(reference.__name__)


def value_and_gradient(function, x):
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    return value, tape.gradient(value, x, unconnected_gradients="zero")


def finite_differences(function, x, step=1e-6):
    """The gradient of the sum of a function's values, by central differences."""
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        moved = np.zeros_like(x)
        moved[index] = step
        gradient[index] = (np.sum(function(x + moved)) - np.sum(function(x - moved))) / (2 * step)
    return gradient


def assert_finite(tensor):
    array = tf.cast(tensor, "float64").numpy()
    assert np.isfinite(array).all(), array


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
    for reference in {case[0] for case in [*OF_PROBABILITIES, *OF_RESIDUALS, *REGULARIZERS]}:
        kind = lossreg.regularizers if reference.__name__ in lossreg.regularizers else lossreg.losses
        parameters = inspect.signature(reference).parameters.values()
        expected = {p.name: p.default for p in parameters if p.default is not p.empty}
        found = {p.name: p.default for p in kind.describe(reference.__name__).parameters}
        assert found == expected, reference.__name__


# Gradients


@losses
def test_the_gradient_of_a_loss_is_that_of_finite_differences(reference, params):
    y, p = (Y, P) if (reference, params) in OF_PROBABILITIES else (4 * Y, 9 * P - 3)
    function = loss(reference)
    _, gradient = value_and_gradient(lambda p: function(tf.constant(y), p, **params), tf.constant(p))
    expected = finite_differences(lambda p: function(tf.constant(y), tf.constant(p), **params), p)
    np.testing.assert_allclose(gradient, expected, rtol=1e-5, atol=1e-8)


@of_weights
def test_the_gradient_of_a_regularizer_is_that_of_finite_differences(reference, params):
    w, function = WEIGHTS[4], regularizer(reference)
    _, gradient = value_and_gradient(lambda w: function(w, **params), tf.constant(w))
    expected = finite_differences(lambda w: reference(w, **params), w)
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
@of_weights
def test_a_regularizer_keeps_the_dtype_and_is_near_its_formula(reference, params, dtype):
    w = tf.constant(WEIGHTS[2], dtype)
    value, gradient = value_and_gradient(lambda w: regularizer(reference)(w, **params), w)
    assert value.dtype == dtype
    assert_finite(gradient)
    tolerance = {"float16": 1e-2, "bfloat16": 3e-2, "float32": 1e-5, "float64": 1e-8}[dtype]
    np.testing.assert_allclose(float(value), reference(WEIGHTS[2], **params), rtol=tolerance, atol=1e-7)


@precisions
@of_probabilities
def test_a_loss_in_low_precision_is_near_its_formula(reference, params, dtype):
    value = tf.cast(loss(reference)(tf.constant(Y, dtype), tf.constant(P, dtype), **params), "float64")
    tolerance = {"float16": 1e-2, "bfloat16": 6e-2, "float32": 1e-5, "float64": 1e-5}[dtype]
    np.testing.assert_allclose(value, reference(Y, P, **params).mean(axis=-1), rtol=tolerance, atol=1e-6)


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


def as_tensors(params):
    return {name: tf.constant(value) if isinstance(value, float) else value for name, value in params.items()}


def assert_same_everywhere(function, x, params):
    """Eager with numbers, and a graph and XLA with tensors, give one value and one gradient."""
    run = lambda x, params: value_and_gradient(lambda x: function(x, **params), x)  # noqa: E731
    expected = run(x, params)
    for jit_compile in (None, True):
        found = tf.function(run, jit_compile=jit_compile, autograph=False)(x, as_tensors(params))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def full(kind, reference, params):
    """All parameters of a plugin with their values."""
    return {p.name: p.default for p in kind.describe(reference.__name__).parameters} | params


@losses
def test_a_loss_is_the_same_in_eager_graph_and_xla_with_tensors_as_parameters(reference, params):
    y, p = (Y, P) if (reference, params) in OF_PROBABILITIES else (4 * Y, 9 * P - 3)
    y, p = tf.constant(y, "float32"), tf.constant(p, "float32")
    params = full(lossreg.losses, reference, params)
    assert_same_everywhere(lambda p, **params: loss(reference)(y, p, **params), p, params)


@default_regularizers
def test_a_regularizer_is_the_same_in_eager_graph_and_xla_with_tensors_as_parameters(reference, params):
    params = full(lossreg.regularizers, reference, params)
    assert_same_everywhere(regularizer(reference), tf.constant(WEIGHTS[2], "float32"), params)


def assert_vectorizes(function, params, reference, x):
    """One program computes the values and gradients for many parameters, one value per model."""
    many = {name: value for name, value in params.items() if isinstance(value, float)}
    fixed = {name: value for name, value in params.items() if name not in many}
    factors = tf.constant([0.5, 1.0, 0.9])
    stacked = {name: tf.cast(factors * value, "float32") for name, value in many.items()}

    def one(args):
        return value_and_gradient(lambda x: function(x, **args[1], **fixed), args[0])

    run = tf.function(lambda *args: tf.vectorized_map(one, args), jit_compile=True, autograph=False)
    values, gradients = run(tf.stack([x] * 3), stacked)
    assert_finite(gradients)
    for index, factor in enumerate([0.5, 1.0, 0.9]):
        expected = reference(**{name: factor * value for name, value in many.items()}, **fixed)
        np.testing.assert_allclose(values[index], expected, rtol=2e-5, atol=1e-6)


@default_losses
def test_one_program_computes_a_loss_for_many_parameters(reference, params):
    y = tf.constant(Y, "float32")
    assert_vectorizes(
        lambda p, **params: loss(reference)(y, p, **params),
        full(lossreg.losses, reference, params),
        lambda **params: reference(Y, P, **params).mean(axis=-1),
        tf.constant(P, "float32"),
    )


@default_regularizers
def test_one_program_computes_a_regularizer_for_many_parameters(reference, params):
    assert_vectorizes(
        regularizer(reference),
        full(lossreg.regularizers, reference, params),
        lambda **params: reference(WEIGHTS[2], **params),
        tf.constant(WEIGHTS[2], "float32"),
    )


# Through the registry


@default_losses
def test_a_loss_from_the_registry_weights_its_samples(reference, params):
    created = lossreg.losses.create(reference.__name__, **params)
    y, p, weights = Y.astype("float32"), P.astype("float32"), np.array([2, 0, 0.5, 1], "float32")
    per_sample = reference(Y, P, **params).mean(axis=-1)
    np.testing.assert_allclose(created(y, p, sample_weight=weights), np.mean(weights * per_sample), rtol=1e-5)
    np.testing.assert_allclose(created(y[:, 0], p[:, :1]), np.mean(reference(Y[:, 0], P[:, 0], **params)), rtol=1e-5)


@of_weights
def test_a_regularizer_from_the_registry_is_its_formula(reference, params):
    created = lossreg.regularizers.create(reference.__name__, **params)
    value = created(tf.constant(WEIGHTS[2], "float32"))
    np.testing.assert_allclose(value, reference(WEIGHTS[2], **params), rtol=1e-5)
