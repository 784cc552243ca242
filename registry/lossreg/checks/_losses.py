"""The checks of a loss."""

from __future__ import annotations

import re

import numpy as np

from lossreg.checks._arrays import Array, call, call_each, close, one_line, tensors, to_numpy
from lossreg.checks._gradient import gradient
from lossreg.checks._plugin import PluginUnderTest, inner
from lossreg.checks._results import CheckFailed, CheckSkipped
from lossreg.checks._shared import LAST, by_name, finite

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
    value, n = call(plugin.function, y_true, y_pred), len(y_pred)
    if value.ndim == 0:
        hint = plugin.hint("lossreg_per_sample")
        if hint is False or (hint is None and _RETURNS_SCALAR.search(plugin.docstring)):
            return "one scalar for the batch, as declared"
        if plugin.domain.batch == 1 and not plugin.broadcasts:
            alone = call_each(plugin.function, y_true, y_pred)
            for word, reduce in (("mean", np.mean), ("sum", np.sum)):
                if close(value, reduce(alone)):
                    raise CheckFailed(
                        f"it returns one scalar, the {word} over the batch: sample weights cannot weigh the samples"
                    )
        return "one scalar for the batch, which is no mean over the samples"
    if value.shape[0] != n:
        raise CheckFailed(f"predictions of shape {y_pred.shape} gave values of shape {value.shape}")
    if value.ndim == y_pred.ndim > 1 and y_pred.shape[-1] > 1:
        return f"one value per output, of shape {value.shape}; sample weights then need a last axis of 1"
    return f"one value per sample, of shape ({', '.join(['n', *map(str, value.shape[1:])])})"


def sample_weights(plugin: PluginUnderTest) -> str:
    """Weights weigh the samples: linear, and zero takes a sample out.

    Return one value per sample from call(), and leave the weighting and the mean to Keras.
    """
    if not call(plugin.function, *plugin.data(0)).ndim:
        raise CheckSkipped("the loss is one scalar for the batch, so that samples cannot be weighted")
    if plugin.made.reduction in (None, "none", "mean_with_sample_weight"):
        raise CheckSkipped(f"its reduction is {plugin.made.reduction}")
    arrays = plugin.data(3, 6, 1 if 1 in plugin.sizes else None)
    value, n = call(plugin.function, *arrays), len(arrays[1])
    shape = (n, *[1] * (value.ndim - 1)) if value.ndim > 2 or value.size > n else (n,)

    def weighted(weight: Array | None) -> float:
        sample_weight = None if weight is None else tensors((np.reshape(weight, shape),))[0]
        return float(to_numpy(plugin.made(*tensors(arrays), sample_weight=sample_weight)))

    try:
        everything, ones = weighted(None), weighted(np.ones(n))
        singles = np.array([weighted(row) for row in np.eye(n)])
    except Exception as error:
        raise CheckFailed(f"a sample weight per sample raises {one_line(error)}") from None
    own = value.reshape(n, -1).astype(float).sum(axis=1)
    if not close(ones, everything):
        raise CheckFailed(f"weights of 1 change the loss from {everything:.6g} to {ones:.6g}")
    if not close(singles.sum(), ones) or not close(
        singles / (np.abs(singles).max() or 1.0), own / (np.abs(own).max() or 1.0), 1e-3
    ):
        raise CheckFailed("a weight of 1 for one sample and 0 for the others does not give the loss of that sample")
    weight = np.random.default_rng(0).uniform(0.1, 3, n)
    if not close(weighted(weight), weight @ singles, 1e-3):
        raise CheckFailed("the loss is not linear in the sample weights")
    return "the loss is the weighted sum of the samples"


def batch_size(plugin: PluginUnderTest) -> str:
    """The value of a sample does not depend on how many others, or which, are in the batch.

    Reduce over the last axis only, or take the mean over the batch, not the sum; divide by nothing that depends on it.
    """
    if plugin.broadcasts:
        raise CheckSkipped("every target is compared with every prediction; see the check 'ranks'")
    if plugin.domain.batch > 1:
        raise CheckSkipped("the samples of a batch are compared with one another")
    try:
        batch_order(plugin)
    except CheckFailed:
        raise CheckSkipped("the place in the batch counts; see the check 'batch_order'") from None
    for n in _BATCHES:
        for d in plugin.sizes:
            y_true, y_pred = plugin.data(4, n, d)
            together = call(plugin.function, y_true, y_pred)
            if together.ndim == 0:
                twice = call(plugin.function, np.concatenate([y_true, y_true]), np.concatenate([y_pred, y_pred]))
                if not close(twice, together, 1e-3):
                    raise CheckFailed(
                        f"a batch of {n} samples gives {together:.6g}, with every sample twice {twice:.6g}"
                    )
                continue
            for i, alone in enumerate(call_each(plugin.function, y_true, y_pred)):
                if not close(together[i : i + 1], alone, 1e-3):
                    raise CheckFailed(
                        f"a sample has the value {alone.mean():.6g} alone, {together[i].mean():.6g} in a batch of {n}"
                    )
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
            if not close(moved, value if value.ndim == 0 else value[order], 1e-3):
                raise CheckFailed(f"a batch of {n} in another order gives other values")
    return f"the values follow the samples in batches of {n}"


def ranks(plugin: PluginUnderTest) -> str:
    """Targets `(n,)` with predictions `(n, 1)`, and the reverse, mean the same or are refused.

    Make the ranks equal first: keras.ops.expand_dims or squeeze the last axis of 1.
    """
    import keras

    if plugin.broadcasts:
        raise CheckFailed(plugin.broadcasts)
    if plugin.domain.elementwise and 1 in plugin.sizes:
        y_true, y_pred = plugin.data(7, 5, 1)
        pairs = {"(n,) and (n, 1)": (y_true[:, 0], y_pred), "(n, 1) and (n,)": (y_true, y_pred[:, 0])}
    elif plugin.domain.name in {"sparse", "sparse_logits", "ordinal"}:
        y_true, y_pred = plugin.data(7)
        pairs = {"labels (n, 1)": (y_true[:, None], y_pred)}
    else:
        raise CheckSkipped(f"it takes {plugin.domain.words}, which always have the same rank")
    expected = call(plugin.function, y_true, y_pred)

    def agrees(value: Array) -> bool:
        if value.size == expected.size:
            return close(value.ravel(), expected.ravel(), 1e-3)
        return value.ndim == 0 and any(close(value, reduce(expected), 1e-3) for reduce in (np.mean, np.sum))

    # The registry makes ranks equal before it calls anything, Keras only before it calls a function.
    judged = plugin.function if isinstance(inner(plugin.made), keras.losses.Loss) else plugin.made.call
    seen = []
    for label, arrays in pairs.items():
        try:
            value = call(judged, *arrays)
        except Exception:
            seen.append(f"{label} is refused")
        else:
            # Predictions (n,) leave no axis but the batch to reduce over: one value is no broadcast.
            if value.ndim == 0 < expected.ndim:
                seen.append(f"{label} is reduced over the batch")
                continue
            if not agrees(value):
                raise CheckFailed(f"{label}: every target is compared with every prediction, silently")
            seen.append(f"{label} is the same")
    return "; ".join(seen)


def minimum(plugin: PluginUnderTest) -> str:
    """Lower where prediction and target agree than away from it, sample by sample.

    Let the loss depend on the predictions, and look for a flipped sign or swapped arguments; for other data set
    lossreg_domain.
    """
    if not plugin.domain.knows_ideal:
        raise CheckSkipped("for its own data the ideal prediction is not known")
    lower, n, words = 0, max(6, plugin.domain.batch), plugin.domain.words
    batches = [slice(i, i + 1) for i in range(n)] if plugin.domain.batch == 1 else [slice(0, n)]
    for d, seed in ((d, seed) for d in plugin.sizes for seed in (11, 12)):
        y_true, ideal, *others = plugin.domain.contrast(seed, n, d)
        for rows in batches:
            low = float(call(plugin.function, y_true[rows], ideal[rows]).mean())
            for worse in others:
                high = float(call(plugin.function, y_true[rows], worse[rows]).mean())
                if low > high + 1e-6 * max(1.0, abs(low), abs(high)):
                    raise CheckFailed(
                        f"{words}: {low:.6g} at y = {_show(y_true[rows])}, p = {_show(ideal[rows])}, but {high:.6g} "
                        f"away from it at p = {_show(worse[rows])}"
                    )
                lower += low < high
    if not lower:
        raise CheckFailed("the value is the same at the target and away from it")
    return f"lower at the target than away from it ({lower} comparisons)"


def _show(array: Array) -> str:
    shown = ", ".join(f"{x:.3g}" for x in np.ravel(array)[:4])
    return shown if np.size(array) == 1 else f"({shown}{', …' if np.size(array) > 4 else ''})"


CHECKS = by_name(data, per_sample, sample_weights, batch_size, batch_order, ranks, finite, gradient, minimum, *LAST)
"""The checks of a loss by name, in the order in which they run."""
