"""Finding by trying which kind of data a loss is made for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from lossreg.checks._arrays import Array, call, call_each, close, differentiate
from lossreg.checks._domains import DOMAINS, Domain
from lossreg.checks._results import CheckFailed, one_line

# What is assumed where no kind of data makes sense of a loss: numbers in [0, 1] suit nearly all.
_LIKELY = ("probability", "categorical", "sparse", "direction", "real", "positive", "logits")
# Logits are numbers as probabilities are, so what takes them passes for what takes probabilities.
_LOGITS = {"probability": "logits", "categorical": "categorical_logits", "sparse": "sparse_logits"}


def find_domain(function: Callable[..., Any]) -> Domain:
    """Find the kind of data of which a loss makes sense: finite, and lowest at the target.

    Every sample is tried alone, so that a fault of batching does not hide the domain. Highest at the target counts
    too: such a loss has its sign flipped.
    """
    if _compares_embeddings(function):
        return DOMAINS["embeddings"]
    orders: dict[str, float] = {}
    errors: list[str] = []
    for domain in DOMAINS.values():
        if domain.batch > 1:
            continue
        try:
            order = _order(function, domain)
        except Exception as error:
            errors.append(one_line(error))
            continue
        if abs(order) == 1:
            logits = DOMAINS.get(_LOGITS.get(domain.name, ""))
            return logits if logits and _takes_logits(function, logits, domain) else domain
        orders[domain.name] = order
    if not orders:
        raise CheckFailed(f"it raises on every kind of data, first {errors[0]}")
    # A loss of a whole batch, or a faulty one.
    likely = [*(name for name in _LIKELY if name in orders), *orders]
    return DOMAINS[next((name for name in likely if not math.isnan(orders[name])), likely[0])]


def _order(function: Callable[..., Any], domain: Domain) -> float:
    """Return 1 if every ideal prediction is below every worse one, -1 if above, 0 if neither, NaN if not finite."""
    orders: set[float] = set()
    errors: list[Exception] = []
    for d in domain.sizes:
        y_true, ideal, away, *others = domain.contrast(0, 8, d)
        try:
            low, high = _means(function, y_true, ideal), _means(function, y_true, away)
        except Exception as error:
            errors.append(error)
            continue
        if not np.isfinite([*low, *high]).all():
            return math.nan
        true, pred = domain.sample(1, 8, d)
        if domain.invariance and not close(call(function, true, domain.invariance(pred)), call(function, true, pred)):
            return 0.0
        found = _signs(high - low)
        if 0 in found and (together := call(function, y_true, ideal)).ndim == 0:
            # A score of a whole batch may not tell single samples apart: change one of many.
            one_of_many = np.eye(8, dtype=bool).reshape(8, 8, *[1] * (ideal.ndim - 1))
            found = _signs([call(function, y_true, np.where(one, away, ideal)) - together for one in one_of_many])
        orders |= found.union(*(_signs(_means(function, y_true, other) - low) - {0} for other in others))
    if not orders:
        raise errors[0]
    return orders.pop() if len(orders) == 1 else 0.0


def _means(function: Callable[..., Any], y_true: Array, y_pred: Array) -> Array:
    return np.array([value.mean() for value in call_each(function, y_true, y_pred)])


def _signs(differences: Array) -> set[float]:
    return {float(sign) for sign in np.sign(np.where(np.abs(differences) > 1e-6, differences, 0))}


def _takes_logits(function: Callable[..., Any], logits: Domain, probabilities: Domain) -> bool:
    """Whether a loss that makes sense of probabilities makes more of logits: they are not clipped."""
    for d in reversed(logits.sizes):
        try:
            y_true, ideal, away, *_ = logits.contrast(0, 8, d)
            y_near, near, *_ = probabilities.contrast(0, 8, d)
            moves = np.abs(differentiate(function, y_true, away)[1].reshape(8, d)).max(axis=-1) > 1e-6
            finite = np.isfinite(call(function, *logits.sample(1, 8, d)))
            lower = call(function, y_true, ideal).mean() < 0.5 * call(function, y_near, near).mean()
            return bool(moves.all() and finite.all() and lower) and _order(function, logits) == 1
        except Exception:
            continue
    return False


def _compares_embeddings(function: Callable[..., Any]) -> bool:
    """Whether a loss depends on which labels are equal, but not on what they are."""
    domain = DOMAINS["embeddings"]
    try:
        y_true, y_pred = domain.sample(0, 8, domain.sizes[0])
        value, slope = differentiate(function, y_true, y_pred)
        renamed = call(function, np.choose(np.unique(y_true, return_inverse=True)[1], [23.0, 11.0, 29.0]), y_pred)
        regrouped = call(function, np.roll(y_true, 1), y_pred)
    except Exception:
        return False
    return bool(
        slope.size and np.isfinite(value).all() and np.array_equal(value, renamed) and not close(value, regrouped)
    )
