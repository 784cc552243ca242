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

from lossreg.checks import _fresh
from lossreg.checks._arrays import (
    Array,
    both_to_numpy,
    close,
    differentiator,
    first_of,
    not_finite,
    same,
    tensors,
    to_numpy,
    value_and_gradient,
)
from lossreg.checks._domains import Arrays
from lossreg.checks._plugin import CALLS, UNKNOWN, PluginUnderTest, inner
from lossreg.checks._results import CheckFailed, fail_if, failing, one_line, skip_if

Check = Callable[[PluginUnderTest], str]


def by_name(*checks: Check) -> dict[str, Check]:
    """Return checks by their names, in the order in which they run."""
    return {check.__name__: check for check in checks}


def state(plugin: PluginUnderTest) -> str:
    """The same data give the same value and gradient, whatever was called in between.

    Keep no counter or running value between calls, draw no random numbers, and set no seed.
    """
    fail_if(plugin.unsteady, plugin.unsteady)
    # Also after all that the other checks have called.
    used, new = plugin(*plugin.probes[0]), plugin.values(plugin.create())[0]
    seen = f"an object that was used gives {first_of(used, ', a new one', new)}"
    fail_if(not np.array_equal(used, new, equal_nan=True), seen)
    return f"the same value and gradient in {CALLS} repeated calls, others in between"


def finite(plugin: PluginUnderTest) -> str:
    """No NaN and no infinity, in value or gradient: on ordinary data, at zero, at equality, far out.

    Guard log, sqrt, power, division and exp before they are differentiated: add an epsilon, clip, or use log_softmax,
    softplus, logaddexp; `where` does not guard a gradient.
    """
    ordinary = f"ordinary {plugin.domain.words}"
    cases = [(ordinary, plugin.data(8, 7, d)) for d in plugin.sizes]
    extremes = [case for d in plugin.sizes for case in plugin.domain.edges(d).items()]
    for label, arrays in [*cases, *extremes]:
        found = plugin.differentiate(*arrays)
        for what, x in zip(("value", "gradient"), found, strict=True):
            if word := not_finite(x):
                fail_if(not _overflows(plugin, arrays), f"the {what} is {word} at {label}")
        if label != ordinary:
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
        wide = np.concatenate([x.ravel() for x in plugin.differentiate(*arrays, dtype="float64")])
    except Exception:
        return False
    return bool(np.isfinite(wide).all() and np.abs(wide).max() > 1e38)


def _lost_in_small_batches(plugin: PluginUnderTest) -> str:
    """Return what the value is where a few samples, or one, have none: nothing but padding, or a variance of one."""
    few = [plugin.data(4, n) for n in (1, 2, 3, 7)]
    try:
        values = [plugin(*data) for data in few] + plugin.each(*few[-1])
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
            found = plugin.differentiate(*arrays, dtype=dtype)
        except Exception:
            continue  # the check 'dtypes' says so
        # The gradient of a logarithm, 1 / 1e-7, overflows in float16.
        whats = ("value",) if logarithm and dtype == "float16" else ("value", "gradient")
        for what, x, reference in zip(whats, found, exact, strict=False):
            lost = x.shape == reference.shape and not np.isfinite(x[np.abs(reference) < 1000]).all()
            fail_if(lost, f"{dtype}: the {what} is not finite at {label}; in float32 it is")


def gradient(plugin: PluginUnderTest) -> str:
    """The gradient is there, explains every change of the value along lines, and corrects confident mistakes.

    Something cuts it off or makes it wrong: NumPy, round, sign, argmax, a comparison, stop_gradient, a custom gradient,
    a clip. Use keras.ops throughout, with a smooth stand-in; add the epsilon inside a logarithm instead of clipping.
    """
    moved = False
    for d, seed in zip(itertools.cycle(plugin.sizes[:2]), (9, 10, 11), strict=False):
        arrays = plugin.data(seed, d=d)
        differentiated = differentiator(plugin.function, *arrays)
        value, slope = differentiated(*arrays)
        if not slope.size:
            fail_if(plugin.depends_on_data, "there is no gradient, but the value changes")
            return "the value does not depend on the data, and there is no gradient"
        skip_if(not_finite(slope) or not_finite(value), "not finite on ordinary data; see the check 'finite'")
        moved = moved or bool(np.any(slope))
        _follow_line(differentiated, arrays, bool(plugin.fitting))
    idle = not moved and plugin.fitting and plugin.depends_on_data
    fail_if(idle, "the gradient is zero everywhere, but the value changes")
    if plugin.domain.wrong and 1 in plugin.sizes:
        _corrects_mistakes(plugin)
    return "the gradient explains every change of the value along lines"


def _follow_line(differentiated: Callable[..., tuple[Array, Array]], arrays: Arrays, jumps_count: bool) -> None:
    """Follow the value along a line: it changes as the gradient says, but for kinks, of which a line has few.

    What is not explained between two points is a jump if it stays however near they are.
    """
    *targets, start = arrays
    few = np.random.default_rng(0).permutation(start.size).reshape(start.shape) < 4
    along = few * (np.roll(start, 1, axis=0) - start)

    def at(t: float) -> Array:
        value, slope = differentiated(*targets, start + t * along)
        return np.array([t, value.astype(float).sum(), (slope * along).sum()])

    def changes(low: Array, high: Array) -> Array:
        return np.array([high[1] - low[1], (low[2] + high[2]) / 2 * (high[0] - low[0])])

    def unexplained(pair: tuple[Array, Array]) -> float:
        return float(abs(np.subtract(*changes(*pair))))

    pairs = list(itertools.pairwise(at(t) for t in np.linspace(0, 1, 33)))
    values = np.array([value for (_, value, _), _ in pairs])
    spread, size = np.ptp(values), np.abs(values).max()
    if not_finite(values) or not spread:
        return
    found, said = np.transpose([changes(*pair) for pair in pairs])
    wrong = np.abs(found - said) - 0.01 * (np.abs(found) + spread / len(pairs))
    i, often = wrong.argmax(), (wrong > 1e-6 * size).mean() > 0.5
    fail_if(often, f"the value changes by {found[i]:.4g} where the gradient says {said[i]:.4g}")
    worst, limit = max(pairs, key=unexplained), 1e-3 * spread + 2e-5 * size
    while unexplained(worst) > limit and (gap := worst[1][0] - worst[0][0]) > 3e-8:
        centre = at(worst[0][0] + gap / 2)
        worst = max([(worst[0], centre), (centre, worst[1])], key=unexplained)
    what = "between neighbouring inputs, of which the gradient knows nothing"
    jump = unexplained(worst)
    fail_if(jump > limit and jumps_count, f"the value jumps by {jump:.3g} {what}")


def _corrects_mistakes(plugin: PluginUnderTest) -> None:
    y_true, y_pred, ideal = np.array(plugin.domain.wrong, float).T[..., None]
    slopes = plugin.differentiate(y_true, y_pred)[1]
    far, near = (plugin.each(y_true, p) for p in (y_pred, ideal))
    for y, p, slope, high, low in zip(y_true.flat, y_pred.flat, slopes.flat, far, near, strict=True):
        # Where the value does not tell wrong from right either, as in an overlap with no target, nothing is cut off.
        blind = slope == 0 and high.mean() != low.mean()
        fail_if(blind, f"the gradient is 0 at y = {y:g}, p = {p:g}: so wrong a prediction can never be corrected")


def dtypes(plugin: PluginUnderTest) -> str:
    """float16, bfloat16 and float64 work, and none is hard-coded.

    Cast to the dtype of the predictions instead of a fixed one; keep intermediate results, and epsilons, in its range.
    """
    import tensorflow as tf

    arrays = plugin.data(14)
    reference, slope = plugin.differentiate(*arrays)
    results = {"float32": "float32"}
    for dtype in ("float16", "bfloat16", "float64"):
        with failing(f"{dtype}: it"):
            try:
                value, gradient = value_and_gradient(plugin.function, *tensors(arrays, dtype))
            except tf.errors.NotFoundError:
                continue  # TensorFlow itself has not every operation in 16 bits
        results[dtype] = value.dtype.name
        if not value.dtype.is_floating:
            continue
        found = to_numpy(value)
        fail_if(not close(found, reference, 0.1), f"{dtype}: the value is {first_of(found, ', in float32', reference)}")
        # float16 cannot hold the usual epsilon of 1e-7; Keras's own losses overflow there too.
        lost = dtype != "float16" and gradient is not None and not not_finite(slope) and not_finite(to_numpy(gradient))
        fail_if(lost, f"{dtype}: the gradient is not finite on ordinary data")
    always = len(results) > 1 and set(results.values()) == {"float32"}
    fail_if(always, "the value is float32 whatever the dtype of the data, float64 included")
    return ", ".join(f"{dtype} → {result}" for dtype, result in results.items())


def compiled(plugin: PluginUnderTest) -> str:
    """The same value and gradient eagerly, as a graph of unknown batch size, and compiled by XLA.

    Use keras.ops on tensors: no Python `if` on their values, no NumPy, no static batch size, no Python state. Do not
    ask whether TensorFlow runs eagerly.
    """
    import tensorflow as tf

    arrays = plugin.data(15)
    eager = plugin.differentiate(*arrays)
    missing = not eager[1].size
    skip_if(missing and plugin.depends_on_data, "there is no gradient to compare; see the check 'gradient'")
    free = plugin.kind == "loss"
    handed = tensors(arrays)
    signature = [tf.TensorSpec([None, *x.shape[1:]], x.dtype) for x in handed] if free else []

    def step(*data: Any) -> tuple[Any, Any]:
        return value_and_gradient(plugin.function, *(data or handed))  # a variable is no argument

    for mode, options in (("graph", {}), ("XLA", {"jit_compile": True})):
        graph = tf.function(step, input_signature=signature, autograph=False, **options)
        with failing(f"{mode}: it"):
            found = both_to_numpy(*graph(*(handed if free else ())))
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
    skip_if(not effects, f"no other value could be found for {', '.join(p.name for p in plugin.parameters)}")
    return f"{', '.join(effects)}: changes show"


def tensor_parameters(plugin: PluginUnderTest) -> str:
    """Parameters may be tensors, one value per model: a sweep over them can be vectorized.

    Use the parameter in keras.ops only: no float(), no Python `if`.
    """
    import keras

    from lossreg import _tensors  # imports Keras

    names = list(plugin.numbers)
    skip_if(not names, "it has no parameters that are real numbers")
    data = tuple(keras.ops.convert_to_tensor(x) for x in tensors(plugin.data(16)))

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
        before = plugin.values(made)
        for whose, remake in (("the registry's", _through_keras), ("its own", _through_its_class)):
            try:
                after = plugin.values(remake(made))
            except NotImplementedError:
                seen = [*seen[:1], "the class alone has no get_config; the registry saves its parameters"]
                continue
            except Exception as error:
                raise CheckFailed(f"with {shown}, {whose} get_config or from_config raises {one_line(error)}") from None
            lost = f"with {shown}, {whose} from_config(get_config()) gives other values"
            fail_if(not same(after, before), lost)
    return "; ".join(seen)


def _through_keras(made: Any) -> Any:
    import keras

    return keras.saving.deserialize_keras_object(json.loads(json.dumps(keras.saving.serialize_keras_object(made))))


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
