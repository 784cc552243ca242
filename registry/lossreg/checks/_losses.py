"""The checks of a loss."""

from __future__ import annotations

import contextlib
import functools
import re
import textwrap
from collections.abc import Iterator

import numpy as np

from lossreg.checks._arrays import Array, call, close, not_finite, tensors
from lossreg.checks._domains import DOMAINS, Arrays, order, rises
from lossreg.checks._plugin import DECLARE, NO_KIND, UNKNOWN, PluginUnderTest, inner
from lossreg.checks._results import CheckFailed, CheckSkipped, fail_if, failing, skip_if
from lossreg.checks._shared import LAST, by_name, finite, gradient

_BATCHES = (1, 2, 3, 7)
_RETURNS_SCALAR = re.compile(r"returns?\W+[^.]*\bscalar\b", re.IGNORECASE)
_MISTAKES = {
    "real": ("p = -y", lambda y, p: -p),
    "probability": ("p = 1 for y = 0, too", lambda y, p: y * p + (1 - y) * (1 - p)),
}
"""By kind of data: what the ideal prediction may be taken for, and the prediction that is meant by that."""
_CROSSED = "every target is compared with every prediction"


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
    value = plugin(y_true, y_pred)
    if value.ndim == 0:
        hint = plugin.hint("lossreg_per_sample")
        if hint is False or (hint is None and _RETURNS_SCALAR.search(plugin.docstring)):
            return "one scalar for the batch, as declared"
        if plugin.domain.batch == 1 and not plugin.broadcasts:
            alone = plugin.each(y_true, y_pred)
            word = next((f.__name__ for f in (np.mean, np.sum) if close(value, f(alone))), "")
            fail_if(word, f"it returns one scalar, the {word} over the batch: sample weights cannot weigh the samples")
        return "one scalar for the batch, which is no mean over the samples"
    wrong = value.shape[0] != len(y_pred)
    skip_if(wrong and not plugin.fitting, f"it returns values of shape {value.shape}{UNKNOWN}")
    fail_if(wrong, f"predictions of shape {y_pred.shape} gave values of shape {value.shape}")
    per_output = value.ndim == y_pred.ndim > 1 and y_pred.shape[-1] > 1
    return "one value per output; sample weights then need a last axis of 1" if per_output else "one value per sample"


def sample_weights(plugin: PluginUnderTest) -> str:
    """Weights weigh the samples: linear, and zero takes a sample out.

    Return one value per sample from call(), and leave the weighting and the mean to Keras.
    """
    import keras

    skip_if(plugin.broadcasts, f"{_CROSSED}; see the check 'ranks'")
    scalar, reduction = not plugin(*plugin.data(0)).ndim, plugin.made.reduction
    skip_if(scalar, "the loss is one scalar for the batch, so that samples cannot be weighted")
    skip_if(reduction in (None, "none", "mean_with_sample_weight"), f"its reduction is {reduction}")
    skip_if(plugin.domain.unpack, "its data are structures of arrays")
    arrays = plugin.data(3, 6, 1 if 1 in plugin.sizes else None)
    value, n = plugin(*arrays), len(arrays[1])
    skip_if(len(value) != n, "it does not return one value per sample; see the check 'per_sample'")
    shape = (n, *[1] * (value.ndim - 1)) if value.ndim > 2 or value.size > n else (n,)
    plain = keras.losses.Loss(reduction=reduction)
    plain.call = lambda y_true, y_pred: keras.ops.convert_to_tensor(value)

    def both(weight: Array | None = None) -> Array:
        weights = None if weight is None else np.reshape(weight, shape).astype(np.float32)
        return np.array([float(loss(*tensors(arrays), weights)) for loss in (plugin.made, plain)])

    cases = {"every weight 0": np.zeros(n), "every weight 1": np.ones(n)}
    cases |= {f"weight 1 for sample {i + 1} alone": row for i, row in enumerate(np.eye(n))}
    cases |= {"several weights": np.random.default_rng(0).uniform(0.1, 3, n)}
    unweighted = both()
    for words, weight in cases.items():
        with failing("a sample weight per sample"):
            found, expected = both(weight) * unweighted[::-1]  # a constant factor is its own affair
        seen = f"with {words} the loss is {found:.6g}, but its values per sample, weighted, make {expected:.6g}"
        fail_if(not close(found, expected, 1e-3), seen)
    if plugin.domain.elementwise:
        _all_masked(plugin)
    return "the loss is the weighted sum of the samples"


def _all_masked(plugin: PluginUnderTest) -> None:
    import keras

    zeros = np.zeros((2, 3, plugin.sizes[0]), np.float32)
    try:
        value = plugin(zeros, zeros)
    except Exception:
        return  # it takes no sequences
    if value.shape == (2, 3) and np.isfinite(value).all():
        masked = keras.layers.Masking()(zeros)  # predictions with a mask that keeps none of them
        total = float(plugin.made(masked * 0, masked))
        fail_if(not np.isfinite(total), f"for a batch that is masked altogether the loss is {total:g}")


def batch_size(plugin: PluginUnderTest) -> str:
    """The value of a sample does not depend on how many others, or which, are in the batch.

    Reduce over the last axis only, or take the mean over the batch, not the sum; divide by nothing that depends on it.
    """
    skip_if(plugin.broadcasts, f"{_CROSSED}; see the check 'ranks'")
    skip_if(plugin.compares_samples, plugin.compares_samples)
    try:
        batch_order(plugin)
    except CheckFailed:
        raise CheckSkipped("the place in the batch counts; see the check 'batch_order'") from None
    for y_true, y_pred in (plugin.data(4, n, d) for n in _BATCHES for d in plugin.sizes):
        n, together = len(y_pred), plugin(y_true, y_pred)
        if together.ndim == 0:
            twice = plugin(*(np.concatenate([y, y]) for y in (y_true, y_pred)))
            skip_if(not_finite(together) or not_finite(twice), f"a batch of {n} is not finite; see the check 'finite'")
            seen = f"a batch of {n} samples gives {together:.6g}, with every sample twice {twice:.6g}"
            fail_if(not close(twice, together, 1e-3), seen)
        elif len(together) == n:
            with failing("a batch of one"):
                alone = plugin.each(y_true, y_pred)
            skip_if(any(map(not_finite, alone)), "a sample alone is not finite; see the check 'finite'")
            _same_alone(together, alone)
    for y_true, y_pred in plugin.everywhere(4, 7)[len(plugin.sizes) :]:
        with contextlib.suppress(ValueError, IndexError, ArithmeticError, TypeError):
            together, alone = plugin(y_true, y_pred), plugin.each(y_true[:3], y_pred[:3])
            if together.ndim and len(together) == len(y_pred) and not any(map(not_finite, (together, *alone))):
                _same_alone(together, alone)
    return f"the same in batches of {', '.join(map(str, _BATCHES))}"


def _same_alone(together: Array, alone: list[Array]) -> None:
    for one, single in zip(together, alone, strict=False):
        seen = f"a sample has the value {single.mean():.6g} alone, {one.mean():.6g} in a batch of {len(together)}"
        fail_if(not close(one[None], single, 1e-3), seen)


def batch_order(plugin: PluginUnderTest) -> str:
    """The values follow the samples when the batch is put in another order.

    Use no position in the batch: no index, cumulative sum, sort or fixed slice of it.
    """
    skip_if(plugin.compares_samples and not plugin.fitting, plugin.compares_samples)
    for y_true, y_pred in plugin.everywhere(6, 7):
        value, n = plugin(y_true, y_pred), len(y_pred)
        for seed in range(3 if np.isfinite(value).all() else 0):
            order = np.random.default_rng(seed).permutation(n)
            follow = close(plugin(y_true[order], y_pred[order]), value[order] if value.ndim else value, 1e-3)
            fail_if(not follow, f"a batch of {n} in another order gives other values")
    return f"the values follow the samples in batches of {n}"


def ranks(plugin: PluginUnderTest) -> str:
    """Targets `(n,)` with predictions `(n, 1)`, and the reverse, mean the same or are refused.

    Make the ranks equal first: keras.ops.expand_dims or squeeze the last axis of 1.
    """
    import keras

    fail_if(plugin.broadcasts, plugin.broadcasts)
    cases = [case for case in _of_other_ranks(plugin) if np.isfinite(case[2]).all()]
    skip_if(not cases, f"it takes {plugin.domain.words}, and no other rank means the same")
    # The registry makes ranks equal before it calls anything, Keras only before it calls a function.
    judged = plugin.function if isinstance(inner(plugin.made), keras.losses.Loss) else plugin.made.call
    for label, arrays, expected in cases:
        try:
            value = call(judged, *arrays)
        except Exception:
            continue
        # Predictions (n,) leave no axis but the batch to reduce over: one value is no broadcast.
        reduced = value.ndim == 0 < expected.ndim
        same = value.size == expected.size and close(value.ravel(), expected.ravel(), 1e-3)
        fail_if(not reduced and not same, f"{label}: {_CROSSED}, silently")
    return f"the same, or refused: {', '.join(dict.fromkeys(label for label, *_ in cases))}"


def _of_other_ranks(plugin: PluginUnderTest) -> Iterator[tuple[str, Arrays, Array]]:
    """Yield data of other ranks: what they are, in words, and the value that they have where the ranks are right."""
    own = plugin.domain
    for domain, sizes in plugin.accepted:
        if domain.elementwise and own.elementwise and 1 in sizes:
            y_true, y_pred = domain.sample(7, 5, 1)
            yield "(n,) and (n, 1)", (y_true[:, 0], y_pred), plugin(y_true, y_pred)
            yield "(n, 1) and (n,)", (y_true, y_pred[:, 0]), plugin(y_true, y_pred)
        elif {domain.name, own.name} <= {"sparse", "sparse_logits", "ordinal"}:
            y_true, y_pred = domain.sample(7, 5, sizes[0])
            yield "labels (n, 1)", (y_true[:, None], y_pred), plugin(y_true, y_pred)


def minimum(plugin: PluginUnderTest) -> str:
    """Lower where prediction and target agree than away from it, sample by sample.

    Let the loss depend on the predictions, and look for a flipped sign or swapped arguments; for other data set
    lossreg_domain.
    """
    if not plugin.fitting:
        _known_mistakes(plugin)
        raise CheckSkipped(f"the ideal prediction is not known{UNKNOWN}")
    skip_if(not plugin.domain.knows_ideal, "for its own data the ideal prediction is not known")
    lower = 0
    for d, seed in ((d, seed) for d in plugin.sizes for seed in (11, 12)):
        y_true, ideal, *others = plugin.domain.contrast(seed, 6, d)
        for worse in others:
            found = rises(plugin.function, plugin.domain, y_true, ideal, worse)
            y, p, away = (np.round(x[np.nan_to_num(found).argmin()], 3).tolist() for x in (y_true, ideal, worse))
            seen = f"{plugin.domain.words}: the value is higher at y = {y}, p = {p} than at p = {away}"
            fail_if((found < 0).any(), textwrap.shorten(seen, 200, placeholder="…"))
            lower += (found > 0).sum()
    fail_if(not lower, "the value is the same at the target and away from it")
    return f"lower at the target than away from it ({lower} comparisons)"


def _known_mistakes(plugin: PluginUnderTest) -> None:
    whole = any(sizes == domain.sizes for domain, sizes in plugin.accepted)
    fail_if(whole and not plugin.depends_on_data, "the value is the same whatever is predicted")
    taken = {domain.name: sizes for domain, sizes in plugin.accepted if 1 in sizes}
    for name in _MISTAKES.keys() & taken.keys():
        y_true, y_pred = DOMAINS[name].sample(0, 8, 1)
        targets_count = not close(plugin(np.roll(y_true, 1, axis=0), y_pred), plugin(y_true, y_pred))
        words, mistaken = _MISTAKES[name]
        function = functools.partial(lambda mistaken, y, p: plugin.function(y, mistaken(y, p)), mistaken)
        fail_if(targets_count and order(function, DOMAINS[name], taken[name]) == 1, f"it is lowest at {words}")


CHECKS = by_name(data, per_sample, sample_weights, batch_size, batch_order, ranks, finite, gradient, minimum, *LAST)
"""The checks of a loss by name, in the order in which they run."""
