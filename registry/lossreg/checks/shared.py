"""The checks that losses and regularizers share.

A check takes a subject and returns what it saw; it raises `Fault` if the plugin fails it and `Skip` if it does not
apply.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from lossreg.checks import fresh
from lossreg.checks.report import Fault, Skip
from lossreg.checks.subject import (
    Array,
    Subject,
    call,
    close,
    differentiate,
    differentiator,
    one_line,
    own,
    same,
    tensorflow,
    tensors,
    to_numpy,
    touches_random_state,
    unreduced,
    value_and_gradient,
)

Check = Callable[[Subject], str]


def require_repeatable(subject: Subject) -> None:
    """Skip a check that compares values, if the plugin does not give the same value twice."""
    try:
        repeatable(subject)
    except Fault:
        raise Skip("two calls with the same data differ; see the check 'state'") from None


def repeatable(subject: Subject) -> str:
    """The same data give the same value, whatever was called in between; no global generator is touched."""
    if "repeatable" not in subject.memory:
        try:
            subject.memory["repeatable"] = _repeatable(subject)
        except Fault as fault:
            subject.memory["repeatable"] = fault
    if isinstance(subject.memory["repeatable"], Fault):
        raise subject.memory["repeatable"]
    return str(subject.memory["repeatable"])


def _repeatable(subject: Subject) -> str:
    function = subject.function
    first, *others = _inputs(subject)
    value, gradient = differentiate(function, *first)
    calls = 10
    for i in range(calls):
        call(function, *others[i % len(others)])
        again, gradient_again = differentiate(function, *first)
        if not (np.array_equal(value, again, equal_nan=True) and np.array_equal(gradient, gradient_again, True)):
            a, b = value.ravel(), again.ravel()
            what = f"{a[0]:.6g} and then {b[0]:.6g}" if a.size and a.size == b.size and a[0] != b[0] else "differ"
            raise Fault(
                f"the same data called {i + 2} times: {what}",
                "Keep no counter or running value between calls, and draw no random numbers.",
            )
    if touches_random_state(lambda: call(function, *first)):
        raise Fault(
            "a call changes the state of Python's or NumPy's global random generator",
            "Draw no random numbers and set no seed.",
        )
    return f"the same value and gradient in {calls} repeated calls, others in between"


def still_repeatable(subject: Subject) -> str:
    """As `repeatable`, also after all that the other checks have called."""
    seen = repeatable(subject)
    value = call(subject.function, *_inputs(subject)[0])
    fresh_value = call(own(subject.create()), *_inputs(subject)[0])
    if not np.array_equal(value, fresh_value, equal_nan=True):
        raise Fault(
            f"an object that was used gives {value.ravel()[0]:.6g}, a new one {fresh_value.ravel()[0]:.6g}",
            "Keep no counter or running value between calls.",
        )
    return seen


def _inputs(subject: Subject) -> list[tuple[Array, ...]]:
    return list(subject.probes())


# Gradient.


def gradient(subject: Subject, inputs: list[tuple[Array, ...]]) -> str:
    """Hold the gradient against finite differences, and follow it along a line to find jumps."""
    require_repeatable(subject)
    function = subject.function
    dtype = _differencing_dtype(function, inputs[0])
    moved = False
    checked = 0
    evaluate: dict[tuple[int, ...], Callable[..., tuple[Array, Array]]] = {}
    for seed, arrays in enumerate(inputs):
        value, slope = differentiate(function, *arrays, dtype=dtype)
        if not slope.size:
            _no_gradient(subject, function, arrays)
            return "the value does not depend on the data, and there is no gradient"
        if not np.isfinite(slope).all() or not np.isfinite(value).all():
            raise Skip("not finite on ordinary data; see the check 'finite'")
        moved = moved or bool(np.any(slope))
        shape = np.shape(arrays[-1])
        if shape not in evaluate:
            evaluate[shape] = differentiator(function, *arrays, dtype=dtype)
        checked += _compare_differences(evaluate[shape], arrays, slope, dtype, seed)
    if not moved and _depends(subject, inputs):
        raise Fault(
            "the gradient is zero everywhere, but the value changes",
            "Something cuts it off: round, sign, argmax, a comparison or a clip. Use a smooth stand-in.",
        )
    _find_jump(evaluate[np.shape(inputs[0][-1])], inputs[0], inputs[1], dtype)
    return f"equals finite differences in {dtype} at {checked} points, and explains the value along a line"


def _differencing_dtype(function: Callable[..., Any], arrays: tuple[Array, ...]) -> str:
    """Return float64 where the plugin computes in it, else float32."""
    try:
        value, slope = value_and_gradient(function, *tensors(arrays, "float64"))
    except Exception:
        return "float32"
    if slope is None or value.dtype != "float64":
        return "float32"
    found = np.concatenate([np.ravel(value.numpy()), np.ravel(tensorflow().convert_to_tensor(slope).numpy())])
    # Digits that float32 cannot hold show that nothing inside was cast to it.
    return "float64" if (found != found.astype(np.float32)).any() else "float32"


def _depends(subject: Subject, inputs: list[tuple[Array, ...]]) -> bool:
    pairs = [(arrays, (*arrays[:-1], arrays[-1] * 0.37)) for arrays in inputs]
    if subject.kind == "loss" and subject.domain.ideal is not None:
        y_true, ideal, away = subject.domain.contrast(0, max(4, subject.domain.batch), subject.sizes[0])
        pairs.append(((y_true, ideal), (y_true, away)))
    return any(not close(call(subject.function, *a), call(subject.function, *b), 1e-6) for a, b in pairs)


def _no_gradient(subject: Subject, function: Callable[..., Any], arrays: tuple[Array, ...]) -> None:
    value = tensorflow().convert_to_tensor(function(*tensors(arrays)))
    if not value.dtype.is_floating:
        raise Fault(
            f"there is no gradient: the value is of dtype {value.dtype.name}",
            "Compute in the dtype of the predictions; argmax and comparisons give integers or booleans.",
        )
    if _depends(subject, [arrays]):
        raise Fault(
            "there is no gradient (None), but the value changes",
            "Use keras.ops throughout: NumPy, argmax, round and stop_gradient cut the gradient off.",
        )
    subject.memory["constant"] = True


def _compare_differences(
    differentiated: Callable[..., tuple[Array, Array]], arrays: tuple[Array, ...], slope: Array, dtype: str, seed: int
) -> int:
    *targets, last = (np.asarray(x, float) for x in arrays)
    relative, step = (1e-3, 1e-5) if dtype == "float64" else (5e-2, 1e-2)
    floor = relative * float(np.abs(slope).max(initial=0.0)) + (1e-8 if dtype == "float64" else 1e-4)
    points = np.random.default_rng(seed).permutation(last.size)[:12]

    def total(x: Array) -> float:
        return float(differentiated(*targets, x)[0].astype(float).sum())

    here = total(last)
    for point in points:
        h = step * min(1.0, max(abs(last.flat[point]), 0.05))
        above, below = last.copy(), last.copy()
        above.flat[point] += h
        below.flat[point] -= h
        forward, backward = (total(above) - here) / h, (here - total(below)) / h
        found = float(slope.flat[point])
        slack = floor + relative * max(abs(forward), abs(backward))
        # At a kink any slope between the two sides is right.
        if not min(forward, backward) - slack <= found <= max(forward, backward) + slack:
            raise Fault(
                f"the gradient is {found:.4g} where the value changes by {(forward + backward) / 2:.4g} per unit "
                f"(prediction {last.flat[point]:.3g})".replace(
                    "prediction", "weight" if len(arrays) == 1 else "prediction"
                ),
                "Part of it is cut off or wrong: look for stop_gradient, NumPy, custom_gradient, round.",
            )
    return len(points)


def _find_jump(
    differentiated: Callable[..., tuple[Array, Array]], a: tuple[Array, ...], b: tuple[Array, ...], dtype: str
) -> None:
    """Follow the value along a line; where the gradient does not explain a change, narrow it down."""
    *targets, start = a
    stop = b[-1]
    if start.shape != stop.shape:
        return

    def at(t: float) -> tuple[float, float]:
        value, slope = differentiated(*targets, start + t * (stop - start))
        along = float((slope * (stop - start)).sum()) if slope.size else 0.0
        return float(value.astype(float).sum()), along

    def unexplained(low: tuple[float, tuple[float, float]], high: tuple[float, tuple[float, float]]) -> float:
        (t0, (f0, g0)), (t1, (f1, g1)) = low, high
        return abs(f1 - f0 - (g0 + g1) / 2 * (t1 - t0))

    points = [(t, at(t)) for t in np.linspace(0, 1, 49)]
    values = [f for _, (f, _) in points]
    spread = max(values) - min(values)
    if not np.isfinite(values).all() or spread == 0:
        return
    low, high = max(itertools.pairwise(points), key=lambda pair: unexplained(*pair))
    for _ in range(20):
        middle = (low[0] + high[0]) / 2
        centre = (middle, at(middle))
        low, high = max([(low, centre), (centre, high)], key=lambda pair: unexplained(*pair))
    jump = abs(high[1][0] - low[1][0])
    noise = 1e-9 if dtype == "float64" else 2e-5
    if jump > 1e-3 * spread + noise * max(map(abs, values)):
        raise Fault(
            f"the value jumps by {jump:.3g} between neighbouring inputs, of which the gradient knows nothing",
            "Something cuts it off: round, sign, argmax or a comparison. Use a smooth stand-in.",
        )


# Dtypes and compilation.


def dtypes(subject: Subject, arrays: tuple[Array, ...], scalar_labels: bool = False) -> str:
    """Compute in every floating dtype, and return it."""
    require_repeatable(subject)
    function = subject.function
    reference, slope = differentiate(function, *arrays)
    results = {}
    for dtype in ("float16", "bfloat16", "float64"):
        try:
            value, slope_here = value_and_gradient(function, *tensors(arrays, dtype))
        except Exception as error:
            raise Fault(
                f"{dtype}: it raises {one_line(error)}",
                "Cast to the dtype of the predictions instead of a fixed one.",
            ) from None
        results[dtype] = value.dtype.name
        if not value.dtype.is_floating:
            continue
        if not close(to_numpy(value), reference, 0.1):
            raise Fault(
                f"{dtype}: the value is {to_numpy(value).ravel()[0]:.4g}, in float32 {reference.ravel()[0]:.4g}",
                "Keep intermediate results small, or compute in float32 and cast the result back.",
            )
        # float16 cannot hold the usual epsilon of 1e-7; Keras's own losses overflow there too.
        if dtype == "float16" or slope_here is None or not np.isfinite(slope).all():
            continue
        if not np.isfinite(to_numpy(slope_here)).all():
            raise Fault(
                f"{dtype}: the gradient is not finite on ordinary data",
                "Guard with an epsilon that the dtype can hold.",
            )
    if set(results.values()) == {"float32"}:
        raise Fault(
            "the value is float32 whatever the dtype of the data, float64 included",
            "Cast to the dtype of the predictions instead of a fixed one.",
        )
    kept = [dtype for dtype, result in results.items() if result == dtype]
    widened = [f"{dtype} → {result}" for dtype, result in results.items() if result != dtype]
    return f"computes in {', '.join(['float32', *kept])}" + (f"; widens {', '.join(widened)}" if widened else "")


def compiled(subject: Subject, arrays: tuple[Array, ...]) -> str:
    """The same value and gradient eagerly, as a graph of unknown batch size, and compiled by XLA."""
    require_repeatable(subject)
    tf = tensorflow()
    function = subject.function
    value, slope = differentiate(function, *arrays)
    if not slope.size and not subject.memory.get("constant") and _depends(subject, [arrays]):
        raise Skip("there is no gradient to compare; see the check 'gradient'")
    inputs = tensors(arrays)
    free = subject.kind == "loss"
    signature = [tf.TensorSpec([None, *x.shape[1:]] if free else x.shape, x.dtype) for x in inputs]

    def step(*data: Any) -> tuple[Any, ...]:
        found, gradient_found = value_and_gradient(function, *data)
        return (found,) if gradient_found is None else (found, tf.convert_to_tensor(gradient_found))

    for mode, options in (("graph", {}), ("XLA", {"jit_compile": True})):
        graph = tf.function(step, input_signature=signature, autograph=False, **options)
        try:
            outputs = [to_numpy(x) for x in graph(*inputs)]
        except Exception as error:
            raise Fault(
                f"{mode}: it raises {one_line(error)}",
                "Use keras.ops on tensors; no Python `if` on their values, no NumPy, no static batch size.",
            ) from None
        expected = [value, slope] if slope.size else [value]
        if len(outputs) != len(expected):
            raise Fault(f"{mode}: there is no gradient, eagerly there is", "Use keras.ops on tensors throughout.")
        for what, a, b in zip(("value", "gradient"), outputs, expected, strict=False):
            # What is nothing but rounding, next to the value, may be rounded otherwise.
            if not close(a, b, 1e-3) and np.abs(a - b).max(initial=0) > 1e-6 * np.abs(value).max(initial=0):
                raise Fault(
                    f"{mode}: the {what} is {a.ravel()[0]:.6g}, eagerly {b.ravel()[0]:.6g}",
                    "Do not ask whether TensorFlow runs eagerly, and keep no Python state.",
                )
    return "eager, graph and XLA agree" + (", with a batch size that is not known" if free else "")


# Parameters.


def parameters(subject: Subject) -> str:
    """Every parameter changes the value or the gradient somewhere."""
    require_repeatable(subject)
    if not subject.parameters:
        raise Skip("it has no parameters")
    effects = subject.effects
    if idle := [name for name, change in effects.items() if not change]:
        raise Fault(
            f"{', '.join(idle)}: other values change neither value nor gradient on any data that was tried",
            "Use the parameter, or remove it.",
        )
    untried = [parameter.name for parameter in subject.parameters if parameter.name not in effects]
    if not effects:
        raise Skip(f"no other value could be found for {', '.join(untried)}")
    return f"{', '.join(effects)}: changes show" + (
        f"; no other value found for {', '.join(untried)}" if untried else ""
    )


def tensor_parameters(subject: Subject, arrays: tuple[Array, ...]) -> str:
    """Parameters may be tensors, one value per model: a sweep over them can be vectorized.

    What takes only numbers still trains, one model at a time, so this is no fault; a wrong value is.
    """
    require_repeatable(subject)
    names = subject.float_parameters()
    if not names:
        raise Skip("it has no parameters that are real numbers")
    values = {p.name: float(subject.value_of(p)) for p in subject.parameters if p.name in names}
    failed: dict[str, str] = {}
    if _vectorizes(subject, arrays, values, names) is not None:
        for name in names:
            if reason := _vectorizes(subject, arrays, values, [name]):
                failed[name] = reason
    if failed:
        name, reason = next(iter(failed.items()))
        raise Skip(
            f"{', '.join(failed)}: no tensor is taken ({name}: {reason}), so a sweep trains one model at a time",
            "To vectorize, use the parameter in keras.ops only: no float(), no Python `if`.",
        )
    return f"{', '.join(names)}: may be tensors, one value per model"


def _vectorizes(subject: Subject, arrays: tuple[Array, ...], values: dict[str, float], names: list[str]) -> str | None:
    """Return why the parameters cannot be vectorized together, or `None`."""
    tf = tensorflow()
    data = tensors(arrays)
    # A second value that the plugin accepts; where none was found, the same again.
    seconds = {name: subject.effects.get(name, {}).get(name, values[name]) for name in names}
    pairs = [values | {}, {**values, **{name: float(seconds[name]) for name in names}}]
    expected = []
    for pair in pairs:
        try:
            expected.append(call(own(subject.create(**{name: pair[name] for name in names})), *arrays))
        except Exception as error:
            if not expected:
                return one_line(error)
            pairs = pairs[:1] * 2
            expected.append(expected[0])
    stacked = {name: tf.constant([pair[name] for pair in pairs], tf.float32) for name in names}

    def one(chosen: dict[str, Any]) -> Any:
        return tf.convert_to_tensor(own(subject.create(**chosen))(*data))

    try:
        found = to_numpy(tf.function(lambda p: tf.vectorized_map(one, p, False), autograph=False)(stacked))
    except Exception as error:
        return one_line(error)
    for a, b in zip(found, expected, strict=True):
        if not close(a, b, 1e-3):
            raise Fault(
                f"{', '.join(names)} as tensors: the value is {a.ravel()[0]:.6g}, as numbers {b.ravel()[0]:.6g}",
                "Use the parameter in keras.ops only.",
            )
    return None


# Saving.


def config(subject: Subject) -> str:
    """`from_config(get_config())` gives equal values, through the registry and of the plugin's own class."""
    import keras

    require_repeatable(subject)
    notes: list[str] = []
    changes: list[dict[str, Any]] = [{}, *(change for change in subject.effects.values() if change)]
    for change in changes:
        made = subject.create(**change)
        shown = ", ".join(f"{name}={value!r}" for name, value in change.items()) or "the default parameters"
        before = subject.values(own(made))
        try:
            serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
            again = keras.saving.deserialize_keras_object(serialized)
        except Exception as error:
            raise Fault(f"{shown}: saving raises {one_line(error)}", "Take plain numbers and strings.") from None
        if not same(subject.values(own(again)), before):
            raise Fault(
                f"with {shown}, what from_config makes gives other values", "Keep no state outside of the parameters."
            )
        inner = made._function
        if not hasattr(inner, "get_config"):
            continue
        try:
            remade = type(inner).from_config(inner.get_config())
        except NotImplementedError:
            notes.append("the class alone has no get_config; the registry saves its parameters")
            continue
        except Exception as error:
            raise Fault(
                f"its own from_config(get_config()) raises {one_line(error)}",
                "Return every parameter of __init__ from get_config, by its name.",
            ) from None
        if not same(subject.values(unreduced(remade)), before):
            raise Fault(
                f"with {shown}, its own from_config(get_config()) gives other values: a parameter is dropped",
                "Return every parameter of __init__ from get_config, by its name.",
            )
    return "; ".join(["from_config(get_config()) gives equal values", *dict.fromkeys(notes)])


def saved_model(subject: Subject, arrays: tuple[Array, ...]) -> str:
    """A model with the plugin, saved, loads in a fresh process and gives the same number there."""
    require_repeatable(subject)
    if subject.in_process:
        raise Skip("it is registered in this process only; a fresh one cannot know it", "Install it by entry point.")
    expected = to_numpy(subject.object(*tensors(arrays)))
    try:
        found = fresh.value_after_loading(subject.kind, subject.object, arrays)
    except fresh.LoadingError as error:
        raise Fault(f"in a fresh process: {error}", "Import nothing that only this process has.") from None
    if not close(np.asarray(found), expected, 1e-4):
        raise Fault(
            f"in a fresh process the value is {np.ravel(found)[0]:.6g}, here {expected.ravel()[0]:.6g}",
            "Keep no state outside of the parameters.",
        )
    return "a saved model loads in a fresh process and gives the same value"
