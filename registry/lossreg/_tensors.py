"""Whether code takes tensors where it took numbers, and if not, why. This module imports Keras.

What may change while a model trains, or differs between models of one program, is a tensor. A plugin may need the
number itself (`if r > 0.5:`), or do something else with a tensor; that is found out here, and only here.
"""

from __future__ import annotations

import contextlib
import textwrap
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lossreg._errors import BrokenPluginError, text_of
from lossreg._terms import recording

CROSSED = "every target was compared with every prediction"
MIXED = "what a sample is worth depends on the others in its batch"
_READS = {"Placeholder", "ReadVariableOp", "ResourceGather"}
_HERE, *_MACHINERY = (str(Path(path).parent) for path in (__file__, tf.__file__, keras.__file__))
_OF_KERAS = (keras.Layer, keras.Variable, keras.metrics.Metric, keras.random.SeedGenerator)
_STATEFUL = (*_OF_KERAS, tf.Module, tf.Variable, tf.random.Generator)


def refusal(
    make: Callable[[Mapping[str, Any]], Callable[..., Any]],
    numbers: Mapping[str, float],
    data: tuple[Any, ...],
    *,
    stateless: bool = False,
) -> str:
    """Say why code does not take tensors for some of its numbers.

    It is traced with tensors, which shows whether it raises and whether its value depends on them; then its value is
    held against that with numbers, on the data, or on a little data of the same kind where that is symbolic.

    Arguments:
        make: returns what is called with the data, given scalar tensors by path for the numbers, or none of them.
        numbers: the numbers that are to be tensors, by path.
        data: what it is called with: tensors, arrays, or nested structures of them.
        stateless: whether it must not draw random numbers or keep a state either.

    Returns:
        One line with the reason and the line of code; nothing if it takes them.
    """
    dtype = dtype_of(data)
    reached: set[int] = set()
    inputs: dict[str, Any] = {}

    def traced(tensors: Mapping[str, Any], *data: Any) -> Any:
        inputs.update(tensors)
        with tf.variable_creator_scope(_refuse_to_create):
            return make(tensors)(*data)

    with tf.init_scope(), recording():  # what is tried is no part of a step
        tensors = {path: tf.cast(number, dtype) for path, number in numbers.items()}
        specs = [keras.tree.map_structure(lambda x: tf.TensorSpec(x.shape, x.dtype), part) for part in data]
        try:
            scalars = {path: tf.TensorSpec((), dtype) for path in numbers}
            program = tf.function(traced, autograph=False).get_concrete_function(scalars, *specs)
        except Exception as error:
            return reason(error)
        pending = [output.op for output in program.outputs]
        while pending:
            operation = pending.pop()
            if id(operation) not in reached:
                reached.add(id(operation))
                pending.extend(tensor.op for tensor in operation.inputs)
        if ignored := [path for path in numbers if id(inputs[path].op) not in reached]:
            return f"its value does not depend on a tensor for '{ignored[0]}'"
        state = effects(program)
        if state and stateless:
            return f"it has side effects, such as random numbers or a state ({state[0].type})"
        # What draws random numbers or counts has another value, and another state, at each call.
        if numbers and not state and _differs(make, program, tensors, data):
            names = " and ".join(f"'{path}'" for path in numbers)
            return f"its value with a tensor for {names} is another"
    return ""


def crossing(make: Callable[[], Callable[..., Any]], y_true: Any, y_pred: Any) -> str | None:
    """Say how the samples of a batch meet in a loss, `CROSSED` or `MIXED`; nothing if they do not, `None` if untold.

    Two samples together are held against each alone, and against all pairs. The loss is traced first, so that nothing
    is drawn, counted or kept.
    """
    with contextlib.suppress(Exception), warnings.catch_warnings(), tf.init_scope(), recording():
        warnings.simplefilter("ignore")  # the shapes are not those of the data
        random = np.random.default_rng(0)
        y, p = (example(x, random, samples=2) for x in (y_true, y_pred))
        p = p[::-1]  # high where y is low: a distance may be linear in data that lie otherwise
        specs = [tf.TensorSpec((None, *x.shape[1:]), x.dtype) for x in (y, p)]
        if effects(tf.function(lambda *data: make()(*data), autograph=False).get_concrete_function(*specs)):
            return None
        function, tolerance = make(), 0.02 if "16" in p.dtype.name else 1e-3

        def mean(*pairs: tuple[int, int]) -> Any:
            return np.mean([np.mean(function(y[i : i + 1], p[j : j + 1])) for i, j in pairs])

        def close(*sizes: Any) -> bool:  # a sum may have been taken where a mean could be
            return bool(np.isclose(value.mean(), sizes, tolerance, tolerance / 100 * np.abs(value).max()).any())

        value = np.asarray(function(y, p))
        alone = mean((0, 0), (1, 1))
        if close(alone, 2 * alone):
            return ""
        every = (alone + mean((0, 1), (1, 0))) / 2
        if not np.isfinite([value.mean(), every]).all():
            return None
        if close(every, 2 * every, 4 * every):
            return CROSSED
        return MIXED if value.ndim else ""
    return None


def effects(program: Any) -> list[Any]:
    """Return what a traced function does besides computing, as operations: random numbers, a state."""
    operations = program.graph.get_operations()
    return [op for op in operations if op.op_def.is_stateful and op.type not in _READS]


def state_of(made: Any) -> str:
    """Say what an object, or the function that a factory made, holds that has a state; an empty string if nothing."""
    pending, seen = [(made, 0)], {id(made)}
    while pending:
        holder, depth = pending.pop()
        held = [*getattr(holder, "__dict__", {}).values()]
        held += [cell.cell_contents for cell in getattr(holder, "__closure__", None) or ()]
        held += [
            inner for value in held if isinstance(value, (dict, list, tuple)) for inner in keras.tree.flatten(value)
        ]
        for value in held:
            if isinstance(value, _STATEFUL):
                return f"a {type(value).__name__}"
            # Modules and classes are everybody's; terms, which are ours, look after themselves.
            passed = isinstance(value, (type, ModuleType)) or type(value).__module__.startswith("lossreg.")
            if depth < 3 and id(value) not in seen and not passed:
                seen.add(id(value))
                pending.append((value, depth + 1))
    return ""


def reason(error: BaseException) -> str:
    """Say in one line what a plugin raised, and where: `"ValueError: … (file:line: code)"`."""
    if isinstance(error, BrokenPluginError) and error.__cause__ is not None:
        error = error.__cause__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not frame.filename.startswith(_HERE)]
    frames = [frame for frame in frames if not frame.filename.startswith(tuple(_MACHINERY))] or frames
    where = f" ({frames[0].filename}:{frames[0].lineno}: {frames[0].line})" if frames else ""
    message = textwrap.shorten(text_of(error).strip().partition("\n")[0], 200, placeholder="…")
    return f"{type(error).__name__}: {message}{where}"


def dtype_of(data: tuple[Any, ...]) -> str:
    """Return the floating dtype in which the data is computed with."""
    dtype = keras.backend.standardize_dtype(keras.tree.flatten(data)[-1].dtype)
    return dtype if "float" in dtype else keras.config.floatx()


def _differs(make: Any, program: Any, tensors: Mapping[str, Any], data: tuple[Any, ...]) -> bool:
    """Whether the value with tensors is another than with numbers."""
    random = np.random.default_rng(0)
    try:
        examples = keras.tree.map_structure(lambda x: example(x, random), data)
        calls = [program(tensors, *examples), make({})(*examples), make({})(*examples)]
        found, expected, again = (
            [np.asarray(keras.ops.cast(x, "float64")) for x in keras.tree.flatten(call)] for call in calls
        )
    except Exception:
        return False  # it does not take such data; what it takes, it takes with tensors
    tolerance = 0.02 if "16" in dtype_of(data) else 1e-4
    return _close(expected, again, tolerance) and not _close(found, expected, tolerance)


def _close(found: list[Any], expected: list[Any], tolerance: float) -> bool:
    pairs = zip(found, expected, strict=True)
    return all(np.allclose(a, b, rtol=tolerance, atol=1e-6, equal_nan=True) for a, b in pairs)


def _refuse_to_create(creator: Any, **settings: Any) -> Any:
    if tf.executing_eagerly():  # as Keras makes them, outside of what is traced
        return creator(**settings)
    raise TypeError("it makes a variable when it is called")


def example(like: Any, random: np.random.Generator, samples: int = 0) -> Any:
    """Return the data itself, or such data where it is symbolic or so many samples are wanted: numbers, or zeros.

    Several samples differ: by turns they are low and high, or 0 and 1.
    """
    if not samples and (hasattr(like, "numpy") or isinstance(like, np.ndarray)):
        return like
    shape = [size or 2 for size in like.shape]
    shape = [samples, *shape[1:]] if samples else shape
    dtype = keras.backend.standardize_dtype(like.dtype)
    high = np.indices(shape)[0] % 2 if samples else np.zeros(shape)
    values = random.uniform(0.1, 0.4 if samples else 0.9, shape) + high / 2 if "float" in dtype else high
    return keras.ops.convert_to_tensor(values, dtype=dtype)
