"""The checks of a loss."""

from __future__ import annotations

import itertools
import re

import numpy as np

from lossreg.checks._arrays import Array, call, call_each, close, tensors, to_numpy
from lossreg.checks._plugin import PluginUnderTest, inner
from lossreg.checks._results import CheckFailed, CheckSkipped, fail_if, failing, skip_if
from lossreg.checks._shared import LAST, by_name, finite, gradient

_BATCHES = (1, 2, 3, 7)
_RETURNS_SCALAR = re.compile(r"returns?\W+[^.]*\bscalar\b", re.IGNORECASE)


def data(plugin: PluginUnderTest) -> str:
    """Some kind of data is found, or named by the plugin, that the loss takes.

    Make it take (y_true, y_pred), or say which data it takes by the attribute lossreg_domain.
    """
    shape = ", ".join(map(str, ["n", *np.shape(plugin.data(0)[1])[1:]]))
    found = "named by the plugin" if plugin.domain_name or plugin.hint("lossreg_domain") else "found by trying"
    return f"takes {plugin.domain.words} ({found}; predictions of shape ({shape}))"


def per_sample(plugin: PluginUnderTest) -> str:
    """One value per sample; a scalar must be the nature of the loss, or declared.

    Return one value per sample: reduce over the last axis only. Else declare it: lossreg_per_sample = False.
    """
    y_true, y_pred = plugin.data(2)
    value = call(plugin.function, y_true, y_pred)
    if value.ndim == 0:
        hint = plugin.hint("lossreg_per_sample")
        if hint is False or (hint is None and _RETURNS_SCALAR.search(plugin.docstring)):
            return "one scalar for the batch, as declared"
        if plugin.domain.batch == 1 and not plugin.broadcasts:
            alone = call_each(plugin.function, y_true, y_pred)
            for word, reduced in (("mean", np.mean(alone)), ("sum", np.sum(alone))):
                seen = f"it returns one scalar, the {word} over the batch: sample weights cannot weigh the samples"
                fail_if(close(value, reduced), seen)
        return "one scalar for the batch, which is no mean over the samples"
    wrong = value.shape[0] != len(y_pred)
    fail_if(wrong, f"predictions of shape {y_pred.shape} gave values of shape {value.shape}")
    if value.ndim == y_pred.ndim > 1 and y_pred.shape[-1] > 1:
        return f"one value per output, of shape {value.shape}; sample weights then need a last axis of 1"
    return f"one value per sample, of shape ({', '.join(['n', *map(str, value.shape[1:])])})"


def sample_weights(plugin: PluginUnderTest) -> str:
    """Weights weigh the samples: linear, and zero takes a sample out.

    Return one value per sample from call(), and leave the weighting and the mean to Keras.
    """
    skip_if(plugin.broadcasts, "every target is compared with every prediction; see the check 'ranks'")
    scalar, reduction = not call(plugin.function, *plugin.data(0)).ndim, plugin.made.reduction
    skip_if(scalar, "the loss is one scalar for the batch, so that samples cannot be weighted")
    skip_if(reduction in (None, "none", "mean_with_sample_weight"), f"its reduction is {reduction}")
    arrays = plugin.data(3, 6, 1 if 1 in plugin.sizes else None)
    value, n = call(plugin.function, *arrays), len(arrays[1])
    shape = (n, *[1] * (value.ndim - 1)) if value.ndim > 2 or value.size > n else (n,)

    def weighted(weight: Array) -> float:
        return float(to_numpy(plugin.made(*tensors(arrays), sample_weight=tensors((np.reshape(weight, shape),))[0])))

    with failing("a sample weight per sample"):
        everything, ones = float(to_numpy(plugin.made(*tensors(arrays)))), weighted(np.ones(n))
        singles = np.array([weighted(row) for row in np.eye(n)])
    fail_if(not close(ones, everything), f"weights of 1 change the loss from {everything:.6g} to {ones:.6g}")
    own = value.reshape(n, -1).astype(float).sum(axis=1)
    relative, expected = (x / (np.abs(x).max() or 1.0) for x in (singles, own))
    single = close(singles.sum(), ones) and close(relative, expected, 1e-3)
    fail_if(not single, "a weight of 1 for one sample and 0 for the others does not give the loss of that sample")
    weight = np.random.default_rng(0).uniform(0.1, 3, n)
    linear = close(weighted(weight), weight @ singles, 1e-3)
    fail_if(not linear, "the loss is not linear in the sample weights")
    return "the loss is the weighted sum of the samples"


def batch_size(plugin: PluginUnderTest) -> str:
    """The value of a sample does not depend on how many others, or which, are in the batch.

    Reduce over the last axis only, or take the mean over the batch, not the sum; divide by nothing that depends on it.
    """
    skip_if(plugin.broadcasts, "every target is compared with every prediction; see the check 'ranks'")
    skip_if(plugin.domain.batch > 1, "the samples of a batch are compared with one another")
    try:
        batch_order(plugin)
    except CheckFailed:
        raise CheckSkipped("the place in the batch counts; see the check 'batch_order'") from None
    for n in _BATCHES:
        for d in plugin.sizes:
            y_true, y_pred = plugin.data(4, n, d)
            together = call(plugin.function, y_true, y_pred)
            if together.ndim == 0:
                twice = call(plugin.function, *(np.concatenate([y, y]) for y in (y_true, y_pred)))
                seen = f"a batch of {n} samples gives {together:.6g}, with every sample twice {twice:.6g}"
                fail_if(not close(twice, together, 1e-3), seen)
                continue
            for one, alone in zip(together, call_each(plugin.function, y_true, y_pred), strict=True):
                seen = f"a sample has the value {alone.mean():.6g} alone, {one.mean():.6g} in a batch of {n}"
                fail_if(not close(one[None], alone, 1e-3), seen)
    return f"the same in batches of {', '.join(map(str, _BATCHES))}"


def batch_order(plugin: PluginUnderTest) -> str:
    """The values follow the samples when the batch is put in another order.

    Use no position in the batch: no index, cumulative sum, sort or fixed slice of it.
    """
    for d in plugin.sizes:
        y_true, y_pred = plugin.data(6, 7, d)
        value, n = call(plugin.function, y_true, y_pred), len(y_pred)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(n)
            moved = call(plugin.function, y_true[order], y_pred[order])
            follow = close(moved, value[order] if value.ndim else value, 1e-3)
            fail_if(not follow, f"a batch of {n} in another order gives other values")
    return f"the values follow the samples in batches of {n}"


def ranks(plugin: PluginUnderTest) -> str:
    """Targets `(n,)` with predictions `(n, 1)`, and the reverse, mean the same or are refused.

    Make the ranks equal first: keras.ops.expand_dims or squeeze the last axis of 1.
    """
    import keras

    fail_if(plugin.broadcasts, plugin.broadcasts)
    if plugin.domain.elementwise and 1 in plugin.sizes:
        y_true, y_pred = plugin.data(7, 5, 1)
        pairs = {"(n,) and (n, 1)": (y_true[:, 0], y_pred), "(n, 1) and (n,)": (y_true, y_pred[:, 0])}
    elif plugin.domain.name in {"sparse", "sparse_logits", "ordinal"}:
        y_true, y_pred = plugin.data(7)
        pairs = {"labels (n, 1)": (y_true[:, None], y_pred)}
    else:
        raise CheckSkipped(f"it takes {plugin.domain.words}, which always have the same rank")
    expected = call(plugin.function, y_true, y_pred)
    # The registry makes ranks equal before it calls anything, Keras only before it calls a function.
    judged = plugin.function if isinstance(inner(plugin.made), keras.losses.Loss) else plugin.made.call
    seen = []
    for label, arrays in pairs.items():
        try:
            value = call(judged, *arrays)
        except Exception:
            seen.append(f"{label} is refused")
            continue
        # Predictions (n,) leave no axis but the batch to reduce over: one value is no broadcast.
        if value.ndim == 0 < expected.ndim:
            seen.append(f"{label} is reduced over the batch")
            continue
        same = value.size == expected.size and close(value.ravel(), expected.ravel(), 1e-3)
        fail_if(not same, f"{label}: every target is compared with every prediction, silently")
        seen.append(f"{label} is the same")
    return "; ".join(seen)


def minimum(plugin: PluginUnderTest) -> str:
    """Lower where prediction and target agree than away from it, sample by sample.

    Let the loss depend on the predictions, and look for a flipped sign or swapped arguments; for other data set
    lossreg_domain.
    """
    skip_if(not plugin.domain.knows_ideal, "for its own data the ideal prediction is not known")
    lower, n, words = 0, max(6, plugin.domain.batch), plugin.domain.words
    batches = [slice(i, i + 1) for i in range(n)] if plugin.domain.batch == 1 else [slice(0, n)]
    for d, seed, rows in itertools.product(plugin.sizes, (11, 12), batches):
        y_true, ideal, *others = (array[rows] for array in plugin.domain.contrast(seed, n, d))
        low = float(call(plugin.function, y_true, ideal).mean())
        for worse in others:
            high = float(call(plugin.function, y_true, worse).mean())
            seen = f"{words}: {low:.6g} at y = {_show(y_true)}, p = {_show(ideal)}, but {high:.6g} away from it"
            fail_if(low > high + 1e-6 * max(1.0, abs(low), abs(high)), f"{seen} at p = {_show(worse)}")
            lower += low < high
    fail_if(not lower, "the value is the same at the target and away from it")
    return f"lower at the target than away from it ({lower} comparisons)"


def _show(array: Array) -> str:
    shown = ", ".join(f"{x:.3g}" for x in np.ravel(array)[:4])
    return shown if np.size(array) == 1 else f"({shown}{', …' if np.size(array) > 4 else ''})"


CHECKS = by_name(data, per_sample, sample_weights, batch_size, batch_order, ranks, finite, gradient, minimum, *LAST)
"""The checks of a loss by name, in the order in which they run."""
