"""The checks that losses and regularizers share.

A check takes a plugin and returns what it saw; it raises `CheckFailed` if the plugin fails it and `CheckSkipped` if it
does not apply. The first line of its docstring says what it holds, the rest what is advised to whom fails it.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from lossreg.checks import _arrays, _fresh
from lossreg.checks._arrays import Array, call, call_each, close, differentiate, first_of, not_finite, tensors, to_numpy
from lossreg.checks._domains import Arrays
from lossreg.checks._plugin import UNKNOWN, PluginUnderTest, inner
from lossreg.checks._results import CheckFailed, fail_if, failing, one_line, skip_if

Check = Callable[[PluginUnderTest], str]
Differentiated = Callable[..., tuple[Array, Array]]
Point = tuple[float, float, float]  # the place on a line, the value there, and the gradient along it


def by_name(*checks: Check) -> dict[str, Check]:
    """Return checks by their names, in the order in which they run."""
    return {check.__name__: check for check in checks}


def state(plugin: PluginUnderTest) -> str:
    """The same data give the same value and gradient, whatever was called in between.

    Keep no counter or running value between calls, draw no random numbers, and set no seed.
    """
    fail_if(plugin.unsteady, plugin.unsteady)
    # Also after all that the other checks have called.
    used, new = (call(function, *plugin.probes[0]) for function in (plugin.function, plugin.own(plugin.create())))
    fail_if(
        not np.array_equal(used, new, equal_nan=True),
        f"an object that was used gives {first_of(used, ', a new one', new)}",
    )
    return f"the same value and gradient in {plugin.CALLS} repeated calls, others in between"


def finite(plugin: PluginUnderTest) -> str:
    """No NaN and no infinity, in value or gradient: on ordinary data, at zero, at equality, far out.

    Guard log, sqrt, power, division and exp before they are differentiated: add an epsilon, clip, or use log_softmax,
    softplus, logaddexp; `where` does not guard a gradient.
    """
    cases = [(f"ordinary {plugin.domain.words}", plugin.data(8, 7, d)) for d in plugin.sizes]
    extremes = [case for d in plugin.sizes for case in plugin.domain.extremes(d).items()]
    for label, arrays in [*cases, *extremes]:
        found = differentiate(plugin.function, *arrays)
        for what, x in zip(("value", "gradient"), found, strict=True):
            if word := not_finite(x):
                fail_if(not _overflows(plugin, arrays), f"the {what} is {word} at {label}")
        if label not in dict(cases):
            _finite_in_16_bits(plugin, label, arrays, found)
    if plugin.kind == "loss" and not plugin.compares_samples:
        word = _lost_in_small_batches(plugin)
        fail_if(word, f"the value is {word} for a small batch, of one sample or of a few")
    if not extremes:
        return f"finite on ordinary data; no extremes are known for {plugin.domain.words}"
    return f"value and gradient are finite in {len(cases) + len(extremes)} cases, the extremes included"


def _overflows(plugin: PluginUnderTest, arrays: Arrays) -> bool:
    """Whether the numbers themselves are too large for float32, as float64 shows: no guard is missing."""
    try:
        wide = np.concatenate([x.ravel() for x in differentiate(plugin.function, *arrays, dtype="float64")])
    except Exception:
        return False
    return bool(np.isfinite(wide).all() and np.abs(wide).max() > 1e38)


def _lost_in_small_batches(plugin: PluginUnderTest) -> str:
    """Return what the value is where a few samples, or one, have none: nothing but padding, or a variance of one."""
    few = [plugin.data(4, n) for n in (1, 2, 3, 7)]
    try:
        values = [call(plugin.function, *data) for data in few] + call_each(plugin.function, *few[-1])
    except Exception:
        return ""  # the check 'batch_size' says so
    return next(filter(None, map(not_finite, values)), "")


def _finite_in_16_bits(plugin: PluginUnderTest, label: str, arrays: Arrays, exact: tuple[Array, Array]) -> None:
    """Fail where a guard is lost: 1e-12 is 0 in float16. A true overflow is none; 1 - 1e-7 is 1, also for Keras."""
    logarithm = plugin.domain.logarithm
    one = plugin.domain.elementwise and (arrays[-1] == 1).any()
    if max(np.abs(x).max() for x in arrays) > 1 or (logarithm and one):
        return
    # Keras's own normalization divides by 0 in float16.
    for dtype in ("float16", "bfloat16")[plugin.domain.name == "direction" :]:
        try:
            found = differentiate(plugin.function, *arrays, dtype=dtype)
        except Exception:
            continue  # the check 'dtypes' says so
        # The gradient of a logarithm, 1 / 1e-7, overflows in float16.
        whats = ("value",) if logarithm and dtype == "float16" else ("value", "gradient")
        for what, x, reference in zip(whats, found, exact, strict=False):
            lost = x.shape == reference.shape and not np.isfinite(x[np.abs(reference) < 1000]).all()
            fail_if(lost, f"{dtype}: the {what} is not finite at {label}; in float32 it is")


def gradient(plugin: PluginUnderTest) -> str:
    """The gradient is there, equals finite differences, explains every change along a line, and corrects mistakes.

    Something cuts it off or makes it wrong: NumPy, round, sign, argmax, a comparison, stop_gradient, a custom gradient,
    a clip. Use keras.ops throughout, with a smooth stand-in; add the epsilon inside a logarithm instead of clipping.
    """
    inputs = [plugin.data(seed, d=d) for d in plugin.sizes[:2] for seed in (9, 10)]
    differentiated, dtype = _arrays.differentiator(plugin.function, inputs)
    moved, checked = False, 0
    for seed, arrays in enumerate(inputs):
        value, slope = differentiated(*arrays)
        if not slope.size:
            fail_if(plugin.depends_on_data, "there is no gradient, but the value changes")
            return "the value does not depend on the data, and there is no gradient"
        skip_if(not_finite(slope) or not_finite(value), "not finite on ordinary data; see the check 'finite'")
        moved = moved or bool(np.any(slope))
        checked += _compare_differences(differentiated, arrays, slope, dtype, seed)
    fail_if(
        not moved and plugin.depends_on_data and plugin.fitting,
        "the gradient is zero everywhere, but the value changes",
    )
    if plugin.fitting and inputs[0][-1].shape == inputs[1][-1].shape:  # a plugin's own data may differ
        _find_jump(differentiated, inputs[0], inputs[1][-1], dtype)
    if plugin.domain.wrong and 1 in plugin.sizes:
        _corrects_mistakes(plugin)
    return f"equals finite differences in {dtype} at {checked} points, and explains the value along a line"


def _compare_differences(differentiated: Differentiated, arrays: Arrays, slope: Array, dtype: str, seed: int) -> int:
    *targets, last = (np.asarray(x, float) for x in arrays)
    relative, step, floor = (1e-3, 1e-5, 1e-8) if dtype == "float64" else (5e-2, 1e-2, 1e-4)
    floor += relative * float(np.abs(slope).max(initial=0.0))
    points = np.random.default_rng(seed).permutation(last.size)[:12]

    def total(point: int, h: float) -> float:
        moved = last.copy()
        moved.flat[point] += h
        return float(differentiated(*targets, moved)[0].astype(float).sum())

    here = total(0, 0.0)
    for point in points:
        h = step * min(1.0, max(abs(last.flat[point]), 0.05))
        forward, backward = (total(point, h) - here) / h, (here - total(point, -h)) / h
        found = float(slope.flat[point])
        slack = floor + relative * max(abs(forward), abs(backward))
        # At a kink any slope between the two sides is right.
        if not min(forward, backward) - slack <= found <= max(forward, backward) + slack:
            at = f"{'prediction' if targets else 'weight'} {last.flat[point]:.3g}"
            change = (forward + backward) / 2
            raise CheckFailed(f"the gradient is {found:.4g} where the value changes by {change:.4g} per unit ({at})")
    return len(points)


def _find_jump(differentiated: Differentiated, arrays: Arrays, stop: Array, dtype: str) -> None:
    """Follow the value along a line; where the gradient does not explain a change, narrow it down."""
    *targets, start = arrays

    def at(t: float) -> Point:
        value, slope = differentiated(*targets, start + t * (stop - start))
        return t, float(value.astype(float).sum()), float((slope * (stop - start)).sum()) if slope.size else 0.0

    def unexplained(pair: tuple[Point, Point]) -> float:
        (t0, f0, g0), (t1, f1, g1) = pair
        return abs(f1 - f0 - (g0 + g1) / 2 * (t1 - t0))

    points = [at(t) for t in np.linspace(0, 1, 33)]
    values = np.array([f for _, f, _ in points])
    if not_finite(values) or not np.ptp(values):
        return
    low, high = max(itertools.pairwise(points), key=unexplained)
    for _ in range(20):
        centre = at((low[0] + high[0]) / 2)
        low, high = max([(low, centre), (centre, high)], key=unexplained)
    jump, noise = abs(high[1] - low[1]), (1e-9 if dtype == "float64" else 2e-5) * np.abs(values).max()
    what = f"the value jumps by {jump:.3g} between neighbouring inputs, of which the gradient knows nothing"
    fail_if(jump > 1e-3 * np.ptp(values) + noise, what)


def _corrects_mistakes(plugin: PluginUnderTest) -> None:
    y_true, y_pred, ideal = np.array(plugin.domain.wrong, float).T[..., None]
    slopes = differentiate(plugin.function, y_true, y_pred)[1]
    far, near = (_arrays.call_each(plugin.function, y_true, p) for p in (y_pred, ideal))
    for y, p, slope, high, low in zip(y_true.flat, y_pred.flat, slopes.flat, far, near, strict=True):
        # Where the value does not tell wrong from right either, as in an overlap with no target, nothing is cut off.
        blind = slope == 0 and high.mean() != low.mean()
        fail_if(blind, f"the gradient is 0 at y = {y:g}, p = {p:g}: so wrong a prediction can never be corrected")


def dtypes(plugin: PluginUnderTest) -> str:
    """float16, bfloat16 and float64 work, and none is hard-coded.

    Cast to the dtype of the predictions instead of a fixed one; keep intermediate results, and epsilons, in its range.
    """
    arrays = plugin.data(14)
    reference, slope = differentiate(plugin.function, *arrays)
    results = {}
    for dtype in ("float16", "bfloat16", "float64"):
        with failing(f"{dtype}: it"):
            try:
                value, gradient = _arrays.value_and_gradient(plugin.function, *tensors(arrays, dtype))
            except _arrays.tensorflow().errors.NotFoundError:
                continue  # TensorFlow itself has not every operation in 16 bits
        results[dtype] = value.dtype.name
        if not value.dtype.is_floating:
            continue
        found = to_numpy(value)
        fail_if(not close(found, reference, 0.1), f"{dtype}: the value is {first_of(found, ', in float32', reference)}")
        # float16 cannot hold the usual epsilon of 1e-7; Keras's own losses overflow there too.
        lost = dtype != "float16" and gradient is not None and not not_finite(slope) and not_finite(to_numpy(gradient))
        fail_if(lost, f"{dtype}: the gradient is not finite on ordinary data")
    always = set(results.values()) == {"float32"}
    fail_if(always, "the value is float32 whatever the dtype of the data, float64 included")
    kept = ["float32", *(dtype for dtype, result in results.items() if result == dtype)]
    widened = [f"{dtype} → {result}" for dtype, result in results.items() if result != dtype]
    return f"computes in {', '.join(kept)}" + (f"; widens {', '.join(widened)}" if widened else "")


def compiled(plugin: PluginUnderTest) -> str:
    """The same value and gradient eagerly, as a graph of unknown batch size, and compiled by XLA.

    Use keras.ops on tensors: no Python `if` on their values, no NumPy, no static batch size, no Python state. Do not
    ask whether TensorFlow runs eagerly.
    """
    import tensorflow as tf

    arrays = plugin.data(15)
    eager = differentiate(plugin.function, *arrays)
    missing = not eager[1].size
    skip_if(missing and plugin.depends_on_data, "there is no gradient to compare; see the check 'gradient'")
    free = plugin.kind == "loss"
    handed = tensors(arrays)
    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in handed] if free else []

    def step(*data: Any) -> tuple[Any, Any]:
        return _arrays.value_and_gradient(plugin.function, *(data or handed))  # a variable is no argument

    for mode, options in (("graph", {}), ("XLA", {"jit_compile": True})):
        graph = tf.function(step, input_signature=signature, autograph=False, **options)
        with failing(f"{mode}: it"):
            found = differentiate(graph, *arrays, through=lambda function, *data: function(*(data if free else ())))
        fail_if(found[1].size != eager[1].size, f"{mode}: there is no gradient, eagerly there is")
        for what, a, b in zip(("value", "gradient"), found, eager, strict=True):
            # What is nothing but rounding, next to the value, may be rounded otherwise.
            agree = close(a, b, 1e-3) or np.abs(a - b).max(initial=0) <= 1e-6 * np.abs(eager[0]).max(initial=0)
            fail_if(not agree, f"{mode}: the {what} is {first_of(a, ', eagerly', b)}")
    return "eager, graph and XLA agree" + (", with a batch size that is not known" if free else "")


def parameters(plugin: PluginUnderTest) -> str:
    """Every parameter changes the value or the gradient somewhere.

    Use the parameter, or remove it.
    """
    skip_if(not plugin.parameters, "it has no parameters")
    effects = plugin.effects
    idle = ", ".join(name for name, change in effects.items() if not change)
    skip_if(idle and not plugin.fitting, f"{idle} shows in no data that was tried{UNKNOWN}")
    fail_if(idle, f"{idle}: other values change neither value nor gradient on any data that was tried")
    untried = ", ".join(parameter.name for parameter in plugin.parameters if parameter.name not in effects)
    skip_if(not effects, f"no other value could be found for {untried}")
    return f"{', '.join(effects)}: changes show" + (f"; no other value found for {untried}" if untried else "")


def tensor_parameters(plugin: PluginUnderTest) -> str:
    """Parameters may be tensors, one value per model: a sweep over them can be vectorized.

    Use the parameter in keras.ops only: no float(), no Python `if`.
    """
    import tensorflow as tf

    from lossreg import _tensors  # imports Keras

    names = list(plugin.numbers)
    skip_if(not names, "it has no parameters that are real numbers")
    data = tuple(tf.convert_to_tensor(x) for x in tensors(plugin.data(16)))

    def refusal(names: list[str]) -> str:
        numbers = {name: plugin.numbers[name] for name in names}
        return _tensors.refusal(lambda chosen: plugin.own(plugin.create(**{**numbers, **chosen})), numbers, data)

    refused = {name: reason for name in names if (reason := refusal([name]))} if refusal(names) else {}
    for name, reason in refused.items():
        # What takes only numbers still trains, one model at a time, so that is no fault; a wrong value is.
        wrong = reason.startswith("its value")
        fail_if(wrong and [*plugin.effects.get(name, {})] == [name], f"{name}: {reason}")
        seen = f"{name}: no tensor is taken ({reason}), so a sweep trains one model at a time"
        skip_if(not wrong, seen, "To vectorize, use the parameter in keras.ops only.")
    return f"{', '.join(names)}: may be tensors, one value per model"


def config(plugin: PluginUnderTest) -> str:
    """`from_config(get_config())` gives equal values, through the registry and of the plugin's own class.

    Take plain numbers and strings, keep no state outside of the parameters, and return every parameter of __init__ from
    get_config, by its name.
    """
    seen = ["from_config(get_config()) gives equal values"]
    for change in [{}, *filter(None, plugin.effects.values())]:
        shown = ", ".join(f"{name}={value!r}" for name, value in change.items()) or "the default parameters"
        made = plugin.create(**change)
        before = plugin.values(plugin.own(made))
        for whose, remake in (("the registry's", _through_keras), ("its own", _through_its_class)):
            try:
                after = plugin.values(plugin.called(remake(made)))
            except NotImplementedError:
                seen = [*seen[:1], "the class alone has no get_config; the registry saves its parameters"]
                continue
            except Exception as error:
                raise CheckFailed(f"with {shown}, {whose} get_config or from_config raises {one_line(error)}") from None
            fail_if(
                not _arrays.same(after, before), f"with {shown}, {whose} from_config(get_config()) gives other values"
            )
    return "; ".join(seen)


def _through_keras(made: Any) -> Any:
    import keras

    serialized = json.loads(json.dumps(keras.saving.serialize_keras_object(made)))
    return inner(keras.saving.deserialize_keras_object(serialized))


def _through_its_class(made: Any) -> Any:
    function = inner(made)
    return type(function).from_config(function.get_config()) if hasattr(function, "get_config") else function


def saved_model(plugin: PluginUnderTest) -> str:
    """A model with the plugin, saved, loads in a fresh process and gives the same number there.

    Import nothing that only this process has, and keep no state outside of the parameters.
    """
    skip_if(plugin.in_process, "it is known in this process only, not in a fresh one", "Install it by entry point.")
    skip_if(plugin.domain.unpack, "its data are structures of arrays")
    arrays = plugin.data(17)
    expected = to_numpy(plugin.made(*tensors(arrays)))
    found = _fresh.value_after_loading(plugin.kind, plugin.made, arrays)
    fail_if(not close(found, expected), f"in a fresh process the value is {first_of(found, ', here', expected)}")
    return "a saved model loads in a fresh process and gives the same value"


LAST = (dtypes, compiled, parameters, tensor_parameters, config, saved_model, state)
"""The checks with which both kinds end."""
