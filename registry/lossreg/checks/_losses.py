"""The checks of a loss."""

from __future__ import annotations

import contextlib
import itertools
import re

import numpy as np

from lossreg.checks._arrays import Array, call, call_each, close, not_finite, tensors, to_numpy
from lossreg.checks._domains import DOMAINS, order
from lossreg.checks._plugin import DECLARE, NO_KIND, UNKNOWN, PluginUnderTest, inner
from lossreg.checks._results import CheckFailed, CheckSkipped, fail_if, failing, skip_if
from lossreg.checks._shared import LAST, by_name, finite, gradient

_BATCHES = (1, 2, 3, 7)
_RETURNS_SCALAR = re.compile(r"returns?\W+[^.]*\bscalar\b", re.IGNORECASE)


def data(plugin: PluginUnderTest) -> str:
    """Some kind of data is found, or named by the plugin, that the loss takes.

    Make it take (y_true, y_pred), or say which data it takes by the attribute lossreg_domain.
    """
    found = "named by the plugin" if plugin.declared else "found by trying"
    skip_if(not plugin.fitting, f"{NO_KIND}, so only what holds for all is checked", DECLARE)
    shape = ", ".join(map(str, ["n", *np.shape(plugin.data(0)[1])[1:]]))
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
    skip_if(wrong and not plugin.fitting, f"it returns values of shape {value.shape}{UNKNOWN}")
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
    skip_if(plugin.domain.unpack, "its data are structures of arrays")
    arrays = plugin.data(3, 6, 1 if 1 in plugin.sizes else None)
    value, n = call(plugin.function, *arrays), len(arrays[1])
    skip_if(len(value) != n, "it does not return one value per sample; see the check 'per_sample'")
    shape = (n, *[1] * (value.ndim - 1)) if value.ndim > 2 or value.size > n else (n,)

    def weighted(weight: Array) -> float:
        return float(to_numpy(plugin.made(*tensors(arrays), sample_weight=tensors((np.reshape(weight, shape),))[0])))

    with failing("a sample weight per sample"):
        everything, ones = float(to_numpy(plugin.made(*tensors(arrays)))), weighted(np.ones(n))
        singles = np.array([weighted(row) for row in np.eye(n)])
        nothing = weighted(np.zeros(n))
    fail_if(nothing != 0, f"with every weight 0 the loss is {nothing:g}")
    fail_if(not close(ones, everything), f"weights of 1 change the loss from {everything:.6g} to {ones:.6g}")
    own = value.reshape(n, -1).astype(float).sum(axis=1)
    relative, expected = (x / (np.abs(x).max() or 1.0) for x in (singles, own))
    single = close(singles.sum(), ones) and close(relative, expected, 1e-3)
    fail_if(not single, "a weight of 1 for one sample and 0 for the others does not give the loss of that sample")
    weight = np.random.default_rng(0).uniform(0.1, 3, n)
    linear = close(weighted(weight), weight @ singles, 1e-3)
    fail_if(not linear, "the loss is not linear in the sample weights")
    if plugin.domain.elementwise:
        _all_masked(plugin)
    return "the loss is the weighted sum of the samples"


def _all_masked(plugin: PluginUnderTest) -> None:
    import keras

    zeros = np.zeros((2, 3, plugin.sizes[0]), np.float32)
    try:
        value = call(plugin.function, zeros, zeros)
    except Exception:
        return  # it takes no sequences
    if value.shape == (2, 3) and np.isfinite(value).all():
        masked = keras.layers.Masking()(zeros)  # predictions with a mask that keeps none of them
        total = float(to_numpy(plugin.made(tensors((zeros, zeros))[0], masked)))
        fail_if(not np.isfinite(total), f"for a batch that is masked altogether the loss is {total:g}")


def batch_size(plugin: PluginUnderTest) -> str:
    """The value of a sample does not depend on how many others, or which, are in the batch.

    Reduce over the last axis only, or take the mean over the batch, not the sum; divide by nothing that depends on it.
    """
    skip_if(plugin.broadcasts, "every target is compared with every prediction; see the check 'ranks'")
    skip_if(plugin.compares_samples, plugin.compares_samples)
    try:
        batch_order(plugin)
    except CheckFailed:
        raise CheckSkipped("the place in the batch counts; see the check 'batch_order'") from None
    own = [plugin.data(4, n, d) for n in _BATCHES for d in plugin.sizes]
    for y_true, y_pred in own:
        n, together = len(y_pred), call(plugin.function, y_true, y_pred)
        if together.ndim == 0:
            twice = call(plugin.function, *(np.concatenate([y, y]) for y in (y_true, y_pred)))
            skip_if(not_finite(together) or not_finite(twice), f"a batch of {n} is not finite; see the check 'finite'")
            seen = f"a batch of {n} samples gives {together:.6g}, with every sample twice {twice:.6g}"
            fail_if(not close(twice, together, 1e-3), seen)
        elif len(together) == n:
            with failing("a batch of one"):
                alone = call_each(plugin.function, y_true, y_pred)
            _same_alone(together, alone)
    for y_true, y_pred in plugin.everywhere(4, 7)[len(plugin.sizes) :]:
        with contextlib.suppress(ValueError, IndexError, ArithmeticError, TypeError):
            together = call(plugin.function, y_true, y_pred)
            alone = call_each(plugin.function, y_true[:3], y_pred[:3])
            if together.ndim and len(together) == len(y_pred) and not any(map(not_finite, (together, *alone))):
                _same_alone(together, alone)
    return f"the same in batches of {', '.join(map(str, _BATCHES))}"


def _same_alone(together: Array, alone: list[Array]) -> None:
    for one, single in zip(together, alone, strict=False):
        skip_if(not_finite(single), "a sample alone is not finite; see the check 'finite'")
        seen = f"a sample has the value {single.mean():.6g} alone, {one.mean():.6g} in a batch of {len(together)}"
        fail_if(not close(one[None], single, 1e-3), seen)


def batch_order(plugin: PluginUnderTest) -> str:
    """The values follow the samples when the batch is put in another order.

    Use no position in the batch: no index, cumulative sum, sort or fixed slice of it.
    """
    skip_if(plugin.compares_samples and not plugin.fitting, plugin.compares_samples)
    for y_true, y_pred in plugin.everywhere(6, 7):
        value, n = call(plugin.function, y_true, y_pred), len(y_pred)
        for seed in range(3 if np.isfinite(value).all() else 0):
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
    own, cases = plugin.domain, []
    for domain, sizes in plugin.accepted:
        if domain.elementwise and own.elementwise and 1 in sizes:
            y_true, y_pred = domain.sample(7, 5, 1)
            pairs = {"(n,) and (n, 1)": (y_true[:, 0], y_pred), "(n, 1) and (n,)": (y_true, y_pred[:, 0])}
        elif {domain.name, own.name} <= {"sparse", "sparse_logits", "ordinal"}:
            y_true, y_pred = domain.sample(7, 5, sizes[0])
            pairs = {"labels (n, 1)": (y_true[:, None], y_pred)}
        else:
            continue
        expected = call(plugin.function, y_true, y_pred)
        cases += [(label, arrays, expected) for label, arrays in pairs.items() if np.isfinite(expected).all()]
    skip_if(not cases, f"it takes {own.words}, and no other rank means the same")
    # The registry makes ranks equal before it calls anything, Keras only before it calls a function.
    judged = plugin.function if isinstance(inner(plugin.made), keras.losses.Loss) else plugin.made.call
    seen = {}
    for label, arrays, expected in cases:
        try:
            value = call(judged, *arrays)
        except Exception:
            seen[label] = "is refused"
            continue
        # Predictions (n,) leave no axis but the batch to reduce over: one value is no broadcast.
        if value.ndim == 0 < expected.ndim:
            seen[label] = "is reduced over the batch"
            continue
        same = value.size == expected.size and close(value.ravel(), expected.ravel(), 1e-3)
        fail_if(not same, f"{label}: every target is compared with every prediction, silently")
        seen[label] = "is the same"
    return "; ".join(f"{label} {what}" for label, what in seen.items())


def minimum(plugin: PluginUnderTest) -> str:
    """Lower where prediction and target agree than away from it, sample by sample.

    Let the loss depend on the predictions, and look for a flipped sign or swapped arguments; for other data set
    lossreg_domain.
    """
    if not plugin.fitting:
        _known_mistakes(plugin)
        raise CheckSkipped(f"the ideal prediction is not known{UNKNOWN}")
    skip_if(not plugin.domain.knows_ideal, "for its own data the ideal prediction is not known")
    lower, n, words = 0, max(6, plugin.domain.batch), plugin.domain.words
    batches = [slice(i, i + 1) for i in range(n)] if plugin.domain.batch == 1 else [slice(0, n)]
    for d, seed, rows in itertools.product(plugin.sizes, (11, 12), batches):
        y_true, ideal, *others = (array[rows] for array in plugin.domain.contrast(seed, n, d))
        low = float(call(plugin.function, y_true, ideal).mean())
        skip_if(not np.isfinite(low), "a sample alone is not finite; see the check 'finite'")
        for worse in others:
            high = float(call(plugin.function, y_true, worse).mean())
            seen = f"{words}: {low:.6g} at y = {_show(y_true)}, p = {_show(ideal)}, but {high:.6g} away from it"
            fail_if(low > high + 1e-6 * max(1.0, abs(low), abs(high)), f"{seen} at p = {_show(worse)}")
            lower += low < high
    fail_if(not lower, "the value is the same at the target and away from it")
    return f"lower at the target than away from it ({lower} comparisons)"


def _known_mistakes(plugin: PluginUnderTest) -> None:
    whole = any(sizes == domain.sizes for domain, sizes in plugin.accepted)
    fail_if(whole and not plugin.depends_on_data, "the value is the same whatever is predicted")
    taken = {domain.name: sizes for domain, sizes in plugin.accepted if 1 in sizes}
    if "real" in taken:
        mirrored = order(lambda y, p: plugin.function(y, -p), DOMAINS["real"], taken["real"])
        fail_if(mirrored == 1, "it is lowest at p = -y")
    if "probability" in taken:
        y_true, *predictions = DOMAINS["probability"].contrast(0, 8, 1)
        low, high = (np.array([x.mean() for x in call_each(plugin.function, y_true, p)]) for p in predictions)
        other = call(plugin.function, 1 - y_true, predictions[0])
        half = (np.sign(high - low) == np.sign(y_true[:, 0] - 0.5)).all() and not close(other.mean(), low.mean())
        fail_if(half, "it is lower at the target for y = 1, and higher for y = 0")


def _show(array: Array) -> str:
    shown = ", ".join(f"{x:.3g}" for x in np.ravel(array)[:4])
    return shown if np.size(array) == 1 else f"({shown}{', …' if np.size(array) > 4 else ''})"


CHECKS = by_name(data, per_sample, sample_weights, batch_size, batch_order, ranks, finite, gradient, minimum, *LAST)
"""The checks of a loss by name, in the order in which they run."""
