"""Calling a plugin with arrays, differentiating it, and comparing what it returns."""

from __future__ import annotations

import functools
import importlib
import random
from collections.abc import Callable
from typing import Any

import numpy as np

from lossreg.checks._results import CheckFailed

Array = Any


@functools.cache
def tensorflow() -> Any:
    """Import TensorFlow at the first use."""
    return importlib.import_module("tensorflow")


def tensors(inputs: tuple[Array, ...], dtype: str = "float32") -> list[Any]:
    """Return arrays as Keras hands them over, in one dtype: weights, which stand alone, as a variable."""
    if len(inputs) == 1:
        import keras

        return [keras.Variable(inputs[0], dtype=dtype)]
    return [tensorflow().convert_to_tensor(np.asarray(x), dtype=dtype) for x in inputs]


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


def call_each(function: Callable[..., Any], y_true: Array, y_pred: Array) -> list[Array]:
    """Return the value of each sample in a batch of its own."""
    return [call(function, y_true[i : i + 1], y_pred[i : i + 1]) for i in range(len(y_true))]


def value_and_gradient(function: Callable[..., Any], *inputs: Any) -> tuple[Any, Any]:
    """Return value, and gradient of its sum by the last input, as tensors; the gradient may be `None`."""
    tf = tensorflow()
    last = getattr(inputs[-1], "value", inputs[-1])  # a variable of Keras holds one of TensorFlow
    with tf.GradientTape() as tape:
        tape.watch(last)
        value = tf.convert_to_tensor(function(*inputs))
    if not value.dtype.is_floating:
        return value, None
    gradient = tape.gradient(value, last)
    return value, None if gradient is None else tf.convert_to_tensor(gradient)


def differentiate(
    function: Callable[..., Any], *inputs: Array, dtype: str = "float32", through: Any = value_and_gradient
) -> tuple[Array, Array]:
    """Return value and gradient as arrays; a missing gradient is an array without elements."""
    value, gradient = through(function, *tensors(inputs, dtype))
    return to_numpy(value), np.empty(0) if gradient is None else to_numpy(gradient)


def differentiator(function: Callable[..., Any], inputs: list[tuple[Array, ...]]) -> tuple[Any, str]:
    """Return `differentiate` for a function, and its dtype: float64 where it computes in it, else float32.

    It goes through a graph, which is faster, where that gives the same.
    """
    eager = functools.partial(differentiate, function, dtype="float64")
    try:
        found = np.concatenate([x.ravel() for x in eager(*inputs[0])])
        # Digits that float32 cannot hold show that nothing inside was cast to it.
        dtype = "float64" if (found != found.astype(np.float32)).any() else "float32"
    except Exception:
        dtype = "float32"
    eager = functools.partial(differentiate, function, dtype=dtype)
    graph = functools.partial(eager, through=tensorflow().function(value_and_gradient, autograph=False))
    try:
        agree = all(close(a, b) for x in inputs for a, b in zip(graph(*x), eager(*x), strict=True))
    except Exception:
        agree = False
    return (graph if agree else eager), dtype


def close(a: Array, b: Array, tolerance: float = 1e-4) -> bool:
    """Whether two arrays agree to a tolerance relative to their largest element; NaN equals nothing."""
    a, b = np.asarray(a, float), np.asarray(b, float)
    scale = float(np.abs(b[np.isfinite(b)]).max(initial=0.0))
    return a.shape == b.shape and np.allclose(a, b, rtol=tolerance, atol=tolerance * scale + 1e-30)


def same(a: list[Array], b: list[Array]) -> bool:
    """Whether lists of arrays agree but for rounding."""
    return all(close(x, y, 1e-5) for x, y in zip(a, b, strict=True))


def not_finite(array: Array) -> str:
    """Return what is wrong with an array: `"NaN"` or `"infinite"`, or an empty string."""
    if np.isfinite(array).all():
        return ""
    return "NaN" if np.isnan(array).any() else "infinite"


def first_of(a: Array, words: str, b: Array) -> str:
    """Return the first number of two arrays, as a text."""
    return f"{next(iter(a.flat), 0):.6g}{words} {next(iter(b.flat), 0):.6g}"


def touches_random_state(function: Callable[[], Any]) -> bool:
    """Whether a call draws from, or seeds, Python's or NumPy's global generator; both are left as they were."""
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        random.seed(271828)
        np.random.seed(271828)  # noqa: NPY002
        before = random.getstate(), repr(np.random.get_state())  # noqa: NPY002
        function()
        return before != (random.getstate(), repr(np.random.get_state()))  # noqa: NPY002
    finally:
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002
