"""Calling a plugin with arrays, differentiating it, and comparing what it returns."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from lossreg.checks._results import CheckFailed

Array = Any


def tensors(inputs: tuple[Array, ...], dtype: str = "float32") -> list[Any]:
    """Return arrays as Keras hands them over, in one dtype: weights, which stand alone, as a variable."""
    import tensorflow as tf

    if len(inputs) > 1:
        return [tf.convert_to_tensor(np.asarray(x), dtype=dtype) for x in inputs]
    variable = _variable(np.shape(inputs[0]), dtype)
    variable.assign(np.asarray(inputs[0]))
    return [variable]


@functools.cache
def _variable(shape: tuple[int, ...], dtype: str) -> Any:
    import keras

    return keras.Variable(np.zeros(shape), dtype=dtype)  # making one takes long


def to_numpy(tensor: Any) -> Array:
    """Return a tensor as an array; bfloat16 and integers become floats that NumPy can compare."""
    array = np.asarray(tensor.numpy() if hasattr(tensor, "numpy") else tensor)
    return array.astype(np.float32) if array.dtype.kind not in "fcO" or array.dtype.itemsize < 4 else array


def call(function: Callable[..., Any], *inputs: Array) -> Array:
    """Return the value of a plugin as an array."""
    value = function(*tensors(inputs))
    if not hasattr(value, "shape") and not isinstance(value, (int, float)):
        what = "function" if callable(value) else type(value).__name__
        raise CheckFailed(f"it returned a {what} when it was called with the data")
    array = to_numpy(value)
    if array.dtype.kind != "f":
        raise TypeError(f"it returned {value!r}, not a number")
    return array


def value_and_gradient(function: Callable[..., Any], *inputs: Any) -> tuple[Any, Any]:
    """Return value, and gradient of its sum by the last input, as tensors; the gradient may be `None`."""
    import tensorflow as tf

    last = getattr(inputs[-1], "value", inputs[-1])  # a variable of Keras holds one of TensorFlow
    with tf.GradientTape() as tape:
        tape.watch(last)
        value = tf.convert_to_tensor(function(*inputs))
    gradient = tape.gradient(value, last) if value.dtype.is_floating else None
    return value, None if gradient is None else tf.convert_to_tensor(gradient)


def differentiate(function: Callable[..., Any], *inputs: Array, dtype: str = "float32") -> tuple[Array, Array]:
    """Return value and gradient as arrays; a missing gradient is an array without elements."""
    return both_to_numpy(*value_and_gradient(function, *tensors(inputs, dtype)))


def differentiator(function: Callable[..., Any], *inputs: Array) -> Callable[..., tuple[Array, Array]]:
    """Return `differentiate` for a function: through a graph, which is faster, where that gives the same."""
    import tensorflow as tf

    eager, graph = functools.partial(differentiate, function), tf.function(value_and_gradient, autograph=False)
    fast = lambda *arrays: both_to_numpy(*graph(function, *tensors(arrays)))  # noqa: E731
    try:
        return fast if same(fast(*inputs), eager(*inputs)) else eager
    except Exception:
        return eager


def both_to_numpy(value: Any, gradient: Any) -> tuple[Array, Array]:
    """Return value and gradient, which may be `None`, as arrays."""
    return to_numpy(value), np.empty(0) if gradient is None else to_numpy(gradient)


def close(a: Array, b: Array, tolerance: float = 1e-4) -> bool:
    """Whether two arrays agree to a tolerance relative to their largest element; NaN equals nothing."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance * scale + 1e-30)


def same(a: Iterable[Array], b: Iterable[Array]) -> bool:
    """Whether lists of arrays agree but for rounding."""
    return all(close(x, y, 1e-5) for x, y in zip(a, b, strict=True))


def not_finite(array: Array) -> str:
    """Return what is wrong with an array: `"NaN"` or `"infinite"`, or an empty string."""
    return "NaN" if np.isnan(array).any() else "" if np.isfinite(array).all() else "infinite"


def first_of(a: Array, words: str, b: Array) -> str:
    """Return the first number of two arrays, as a text."""
    return f"{next(iter(a.flat), 0):.6g}{words} {next(iter(b.flat), 0):.6g}"


def touches_random_state(function: Callable[[], Any]) -> bool:
    """Whether a call draws from, or seeds, Python's or NumPy's global generator; both are left as they were."""
    generators: Any = (random.getstate, random.setstate), (np.random.get_state, np.random.set_state)
    kept = [get() for get, _ in generators]
    try:
        random.seed(271828)
        np.random.seed(271828)  # noqa: NPY002
        before = [repr(get()) for get, _ in generators]
        function()
        return before != [repr(get()) for get, _ in generators]
    finally:
        for (_, put), state in zip(generators, kept, strict=True):
            put(state)
