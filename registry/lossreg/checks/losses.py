"""The contract of a loss, one function per check."""

from __future__ import annotations

import re

import numpy as np

from lossreg.checks import shared
from lossreg.checks.report import Fault, Skip
from lossreg.checks.shared import Check, require_repeatable
from lossreg.checks.subject import Array, Subject, call, close, differentiate, one_line, tensors, to_numpy

_BATCHES = (1, 2, 3, 7)


def data(subject: Subject) -> str:
    """Some kind of data is found, or named by the plugin, that the loss takes."""
    domain, sizes = subject.domain, subject.sizes
    shape = ", ".join(["n", *map(str, np.shape(subject.batch(0, 4, sizes[0])[1])[1:])])
    found = "named by the plugin" if subject.domain_name or subject.hint("lossreg_domain") else "found by trying"
    return f"takes {domain.words} ({found}; predictions of shape ({shape}))"


def per_sample(subject: Subject) -> str:
    """One value per sample; a scalar must be the nature of the loss, or declared."""
    require_repeatable(subject)
    n = max(5, subject.domain.batch)
    y_true, y_pred = subject.batch(2, n)
    value = call(subject.function, y_true, y_pred)
    if value.ndim == 0:
        if _declares_scalar(subject):
            return "one scalar for the batch, as declared"
        if subject.domain.batch == 1 and not subject.broadcasts:
            alone = np.array([call(subject.function, y_true[i : i + 1], y_pred[i : i + 1]) for i in range(n)])
            for word, reduce in (("mean", np.mean), ("sum", np.sum)):
                if close(value, reduce(alone)):
                    raise Fault(
                        f"it returns one scalar, the {word} over the batch: sample weights cannot weigh the samples",
                        "Reduce over the last axis only, or declare it: lossreg_per_sample = False.",
                    )
        return "one scalar for the batch, which is no mean over the samples"
    if value.shape[0] != n:
        raise Fault(
            f"predictions of shape {np.shape(y_pred)} gave values of shape {value.shape}",
            "Return one value per sample: reduce over the last axis.",
        )
    if value.ndim == np.ndim(y_pred) and np.ndim(y_pred) > 1 and np.shape(y_pred)[-1] > 1:
        return f"one value per output, of shape {value.shape}; sample weights then need a last axis of 1"
    return f"one value per sample, of shape ({', '.join(['n', *map(str, value.shape[1:])])})"


def _declares_scalar(subject: Subject) -> bool:
    hint = subject.hint("lossreg_per_sample")
    if hint is not None:
        return not hint
    return bool(re.search(r"returns?\W+[^.]*\bscalar\b", subject.docstring, re.IGNORECASE))


def sample_weights(subject: Subject) -> str:
    """Weights weigh the samples: linear, and zero takes a sample out."""
    require_repeatable(subject)
    if subject.scalar:
        raise Skip("the loss is one scalar for the batch, so that samples cannot be weighted")
    if subject.object.reduction in (None, "none", "mean_with_sample_weight"):
        raise Skip(f"its reduction is {subject.object.reduction}")
    n = max(6, subject.domain.batch)
    d = 1 if 1 in subject.sizes else subject.sizes[0]
    y_true, y_pred = tensors(subject.batch(3, n, d))
    value = call(subject.function, *subject.batch(3, n, d))
    column = value.ndim == np.ndim(y_pred) and value.shape[-1] > 1

    def weighted(weight: Array) -> float:
        weight = np.asarray(weight, "float32")
        shaped = weight.reshape(-1, *[1] * (value.ndim - 1)) if column or value.ndim > 2 else weight
        return float(to_numpy(subject.object(y_true, y_pred, sample_weight=tensors((shaped,))[0])))

    try:
        everything = float(to_numpy(subject.object(y_true, y_pred)))
        ones, singles = weighted(np.ones(n)), np.array([weighted(row) for row in np.eye(n)])
    except Exception as error:
        raise Fault(f"a sample weight per sample raises {one_line(error)}", "Return one value per sample.") from None
    own = value.reshape(n, -1).astype(float).sum(axis=1)
    scale = np.abs(own).max() or 1.0
    advice = "Return one value per sample from call(), and leave the weighting and the mean to Keras."
    if not close(np.array(ones), np.array(everything)):
        raise Fault(f"weights of 1 change the loss from {everything:.6g} to {ones:.6g}", advice)
    if not close(np.array(singles.sum()), np.array(ones)) or not close(
        singles / (np.abs(singles).max() or 1.0), own / scale, 1e-3
    ):
        raise Fault("a weight of 1 for one sample and 0 for the others does not give the loss of that sample", advice)
    weight = np.random.default_rng(0).uniform(0.1, 3, n)
    if not close(np.array(weighted(weight)), np.array(weight @ singles), 1e-3):
        raise Fault("the loss is not linear in the sample weights", advice)
    return "the loss is the weighted sum of the samples"


def batch_size(subject: Subject) -> str:
    """The value of a sample does not depend on how many others, or which, are in the batch."""
    require_repeatable(subject)
    _skip_broadcasting(subject)
    if subject.domain.batch > 1:
        raise Skip("the samples of a batch are compared with one another")
    try:
        batch_order(subject)
    except Fault:
        raise Skip("the place in the batch counts; see the check 'batch_order'") from None
    checked = [n for n in _BATCHES for d in subject.sizes if _same_in_batch(subject, n, d)]
    return f"the same in batches of {', '.join(str(n) for n in dict.fromkeys(checked))}"


def _same_in_batch(subject: Subject, n: int, d: int) -> bool:
    advice = "Divide by nothing that depends on the batch: reduce over the last axis only."
    y_true, y_pred = subject.batch(4, n, d)
    together = call(subject.function, y_true, y_pred)
    if together.ndim == 0:
        twice = call(subject.function, np.concatenate([y_true, y_true]), np.concatenate([y_pred, y_pred]))
        if not close(twice, together, 1e-3):
            raise Fault(
                f"a batch of {n} samples gives {together:.6g}, with every sample twice {twice:.6g}",
                "Take the mean over the batch, not the sum.",
            )
        return True
    for i in range(n):
        alone = call(subject.function, y_true[i : i + 1], y_pred[i : i + 1])
        if alone.shape[1:] != together.shape[1:] or not close(together[i : i + 1], alone, 1e-3):
            raise Fault(
                f"a sample has the value {alone.mean():.6g} alone and {together[i : i + 1].mean():.6g} in a batch "
                f"of {n}",
                advice,
            )
    return True


def batch_order(subject: Subject) -> str:
    """The values follow the samples when the batch is put in another order."""
    require_repeatable(subject)
    n = max(7, subject.domain.batch)
    for d in subject.sizes:
        y_true, y_pred = subject.batch(6, n, d)
        value = call(subject.function, y_true, y_pred)
        for seed in range(3):
            order = np.random.default_rng(seed).permutation(n)
            moved = call(subject.function, y_true[order], y_pred[order])
            if not close(moved, value if value.ndim == 0 else value[order], 1e-3):
                raise Fault(
                    f"a batch of {n} in another order gives other values",
                    "Use no position in the batch: no index, cumulative sum, sort or fixed slice of it.",
                )
    return f"the values follow the samples in batches of {n}"


def ranks(subject: Subject) -> str:
    """Targets `(n,)` with predictions `(n, 1)`, and the reverse, mean the same or are refused."""
    require_repeatable(subject)
    advice = "Make the ranks equal first: keras.ops.expand_dims or squeeze the last axis of 1."
    if how := subject.broadcasts:
        raise Fault(how, advice)
    if subject.domain.elementwise and 1 in subject.sizes:
        y_true, y_pred = subject.batch(7, 5, 1)
        pairs = {"(n,) and (n, 1)": (y_true[:, 0], y_pred), "(n, 1) and (n,)": (y_true, y_pred[:, 0])}
    elif subject.domain.name in {"sparse", "sparse_logits", "ordinal"}:
        y_true, y_pred = subject.batch(7, 5)
        pairs = {"labels (n, 1)": (y_true[:, None], y_pred)}
    else:
        raise Skip(f"it takes {subject.domain.words}, which always have the same rank")
    expected = call(subject.function, y_true, y_pred)
    seen = []
    alone = ""
    for label, arrays in pairs.items():
        try:
            # The registry makes ranks equal before it calls anything, Keras only before it calls a function.
            judged = subject.function if subject.is_keras_class else subject.object.call
            through = call(judged, *arrays)
        except Exception:
            seen.append(f"{label} is refused")
        else:
            # Predictions (n,) leave no axis but the batch to reduce over: one value is no broadcast.
            if through.ndim == 0 < expected.ndim:
                seen.append(f"{label} is reduced over the batch")
                continue
            if not _agrees(through, expected):
                raise Fault(f"{label}: every target is compared with every prediction, silently", advice)
            seen.append(f"{label} is the same")
        try:
            direct = call(subject.function, *arrays)
        except Exception:
            continue
        if not _agrees(direct, expected):
            alone = "; called directly it broadcasts, but Keras and the registry make the ranks equal first"
    return "; ".join(seen) + alone


def _agrees(value: Array, expected: Array) -> bool:
    if value.size == expected.size:
        return close(value.ravel(), expected.ravel(), 1e-3)
    return value.ndim == 0 and any(close(value, reduce(expected), 1e-3) for reduce in (np.mean, np.sum))


def finite(subject: Subject) -> str:
    """No NaN and no infinity, in value or gradient: at 0 and 1, at equality, far out."""
    require_repeatable(subject)
    checked = 0
    for d in subject.sizes:
        ordinary = subject.batch(8, max(7, subject.domain.batch), d)
        cases = [(case.label, (case.y_true, case.y_pred)) for case in subject.domain.edges(d)]
        for label, arrays in [("ordinary data", ordinary), *cases]:
            value, slope = differentiate(subject.function, *arrays)
            for what, found in (("value", value), ("gradient", slope)):
                if not np.isfinite(found).all():
                    word = "NaN" if np.isnan(found).any() else "infinite"
                    raise Fault(f"the {what} is {word} at {label}", _FINITE_ADVICE[what])
            checked += 1
    if not subject.domain.edges(subject.sizes[0]):
        return f"finite on ordinary data; no extremes are known for {subject.domain.words}"
    return f"value and gradient are finite in {checked} cases, the extremes included"


_FINITE_ADVICE = {
    "value": "Guard log, division and exp: add an epsilon, clip, or use log_softmax, softplus, logaddexp.",
    "gradient": "Guard sqrt, power and division before they are differentiated; `where` does not guard a gradient.",
}


def gradient(subject: Subject) -> str:
    """The gradient is there, equals finite differences, and is not cut off."""
    n = max(4, subject.domain.batch)
    inputs = [subject.batch(seed, n, d) for d in subject.sizes for seed in (9, 10)]
    seen = shared.gradient(subject, inputs)
    if subject.domain.wrong and 1 in subject.sizes:
        _corrects_the_wrong(subject)
    return seen


def _corrects_the_wrong(subject: Subject) -> None:
    y_true, y_pred = (np.array(column)[:, None] for column in zip(*subject.domain.wrong, strict=True))
    ideal = subject.domain.ideal(y_true, 1) if subject.domain.ideal else y_pred
    slopes = differentiate(subject.function, y_true, y_pred)[1]
    for i, slope in enumerate(slopes.ravel()):
        row = slice(i, i + 1)
        # Where the value does not tell wrong from right either, as in an overlap with no target, nothing is cut off.
        if (
            slope == 0
            and call(subject.function, y_true[row], y_pred[row]).mean()
            != call(subject.function, y_true[row], ideal[row]).mean()
        ):
            raise Fault(
                f"the gradient is 0 at y = {y_true[i, 0]:g}, p = {y_pred[i, 0]:g}: so wrong a prediction can never be "
                "corrected",
                "Clip less, or add the epsilon inside the logarithm instead of clipping.",
            )


def minimum(subject: Subject) -> str:
    """Lower where prediction and target agree than away from it, sample by sample."""
    require_repeatable(subject)
    if subject.domain.ideal is None:
        raise Skip("for its own data the ideal prediction is not known")
    lower = 0
    for d in subject.sizes:
        for seed in (11, 12):
            n = max(6, subject.domain.batch)
            y_true, ideal, away = subject.domain.contrast(seed, n, d)
            batches = [slice(i, i + 1) for i in range(n)] if subject.domain.batch == 1 else [slice(0, n)]
            for rows in batches:
                low = float(call(subject.function, y_true[rows], ideal[rows]).mean())
                for worse in [away, *(change(ideal) for change in subject.domain.also_away)]:
                    high = float(call(subject.function, y_true[rows], worse[rows]).mean())
                    if low > high + 1e-6 * max(1.0, abs(low), abs(high)):
                        raise Fault(
                            f"{subject.domain.words}: {low:.6g} at y = {_show(y_true[rows])}, "
                            f"p = {_show(ideal[rows])}, but {high:.6g} away from it at p = {_show(worse[rows])}",
                            "Look for a flipped sign or swapped arguments; for other data set lossreg_domain.",
                        )
                    lower += low < high
    if not lower:
        raise Fault("the value is the same at the target and away from it", "Let the loss depend on the predictions.")
    return f"lower at the target than away from it ({lower} comparisons)"


def _show(array: Array) -> str:
    flat = np.ravel(array)[:4]
    shown = ", ".join(f"{x:.3g}" for x in flat)
    return shown if np.size(array) == 1 else f"({shown}{', …' if np.size(array) > 4 else ''})"


def _skip_broadcasting(subject: Subject) -> None:
    if subject.broadcasts:
        raise Skip("every target is compared with every prediction; see the check 'ranks'")


def dtypes(subject: Subject) -> str:
    """float16, bfloat16 and float64 work, and none is hard-coded."""
    return shared.dtypes(subject, subject.batch(14, max(4, subject.domain.batch)))


def compiled(subject: Subject) -> str:
    """The same in eager mode, as a graph and under XLA."""
    return shared.compiled(subject, subject.batch(15, max(5, subject.domain.batch)))


def tensor_parameters(subject: Subject) -> str:
    """Parameters may be tensors, so that a sweep over them can be vectorized."""
    return shared.tensor_parameters(subject, subject.batch(16, max(5, subject.domain.batch)))


def saved_model(subject: Subject) -> str:
    """A saved model loads in a fresh process, with the loss and its parameters."""
    return shared.saved_model(subject, subject.batch(17, max(5, subject.domain.batch)))


CHECKS: dict[str, Check] = {
    "data": data,
    "per_sample": per_sample,
    "sample_weights": sample_weights,
    "batch_size": batch_size,
    "batch_order": batch_order,
    "ranks": ranks,
    "finite": finite,
    "gradient": gradient,
    "minimum": minimum,
    "dtypes": dtypes,
    "compiled": compiled,
    "parameters": shared.parameters,
    "tensor_parameters": tensor_parameters,
    "config": shared.config,
    "saved_model": saved_model,
    "state": shared.still_repeatable,
}
"""The checks of a loss by name, in the order in which they run."""
