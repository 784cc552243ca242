"""What the tests of losses and of regularizers share: references in NumPy, gradients, graphs and XLA."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from lossreg import Registry

Case = tuple[Callable[..., Any], dict[str, Any]]

RANDOM = np.random.default_rng(7)
Y = np.array([[0, 1, 1], [1, 0, 0], [1, 1, 0], [0, 0, 1]], "float64")
P = RANDOM.uniform(0.06, 0.94, (4, 3))
WEIGHTS = {1: RANDOM.normal(size=5), 2: RANDOM.normal(size=(5, 3)), 4: RANDOM.normal(size=(3, 2, 2, 4))}

precisions = pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])


def parametrized(cases):
    return pytest.mark.parametrize(("reference", "params"), cases)


def cases(*tables):
    return [
        pytest.param(reference, params, id="-".join([reference.__name__, *(f"{k}={v}" for k, v in params.items())]))
        for table in tables
        for reference, params in table
    ]


def defaults(cases):
    return [case for case in cases if not case.values[1] or case.id == "general_robust-alpha=1.0"]


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


def assert_defaults_are_those_of_the_reference(kind: Registry, table: list[Case]) -> None:
    for reference in {case[0] for case in table}:
        parameters = inspect.signature(reference).parameters.values()
        expected = {p.name: p.default for p in parameters if p.default is not p.empty}
        found = {p.name: p.default for p in kind.describe(reference.__name__).parameters}
        assert found == expected, reference.__name__


def as_tensors(params):
    return {name: tf.constant(value) if isinstance(value, float) else value for name, value in params.items()}


def run(function, data, params):
    return value_and_gradient(lambda x: function(*data[:-1], x, **params), data[-1])


@functools.cache
def compiled(function, jit_compile):
    """Return `run` for a plugin as one program, which takes any numbers without being compiled again."""
    return tf.function(functools.partial(run, function), jit_compile=jit_compile, autograph=False)


def assert_same_everywhere(function, data, params):
    """Eager with numbers, and a graph and XLA with tensors, give one value and one gradient."""
    expected = run(function, data, params)
    for jit_compile in (None, True):
        found = compiled(function, jit_compile)(data, as_tensors(params))
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def full(kind, reference, params):
    """All parameters of a plugin with their values."""
    return {p.name: p.default for p in kind.describe(reference.__name__).parameters} | params


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
