"""Holding a gradient against finite differences, and following the value along a line to find jumps."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np

from lossreg.checks._arrays import Array, call_each, differencing_dtype, differentiate, differentiator, not_finite
from lossreg.checks._domains import Arrays
from lossreg.checks._plugin import PluginUnderTest
from lossreg.checks._results import CheckFailed, fail_if, skip_if

Differentiated = Callable[..., tuple[Array, Array]]
Point = tuple[float, float, float]
"""The place on a line, the value there, and the gradient along it."""


def gradient(plugin: PluginUnderTest) -> str:
    """The gradient is there, equals finite differences, explains every change along a line, and corrects mistakes.

    Something cuts it off or makes it wrong: NumPy, round, sign, argmax, a comparison, stop_gradient, a custom gradient,
    a clip. Use keras.ops throughout, with a smooth stand-in; add the epsilon inside a logarithm instead of clipping.
    """
    inputs = [plugin.data(seed, d=d) for d in plugin.sizes[:2] for seed in (9, 10)]
    dtype = differencing_dtype(plugin.function, inputs[0])
    differentiated = differentiator(plugin.function, inputs, dtype)
    moved, checked = False, 0
    for seed, arrays in enumerate(inputs):
        value, slope = differentiated(*arrays)
        if not slope.size:
            fail_if(plugin.depends_on_data, "there is no gradient, but the value changes")
            return "the value does not depend on the data, and there is no gradient"
        skip_if(not_finite(slope) or not_finite(value), "not finite on ordinary data; see the check 'finite'")
        moved = moved or bool(np.any(slope))
        checked += _compare_differences(differentiated, arrays, slope, dtype, seed)
    fail_if(not moved and plugin.depends_on_data, "the gradient is zero everywhere, but the value changes")
    if inputs[0][-1].shape == inputs[1][-1].shape:  # a plugin's own data may differ
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
    far, near = (call_each(plugin.function, y_true, p) for p in (y_pred, ideal))
    for y, p, slope, high, low in zip(y_true.flat, y_pred.flat, slopes.flat, far, near, strict=True):
        # Where the value does not tell wrong from right either, as in an overlap with no target, nothing is cut off.
        blind = slope == 0 and high.mean() != low.mean()
        fail_if(blind, f"the gradient is 0 at y = {y:g}, p = {p:g}: so wrong a prediction can never be corrected")
