"""The kinds of data that plugins are made for: what to draw, what is ideal, what is wrong, what is extreme.

A loss does not say which data it takes, so the checks try these in turn (see `find_domain`), or take the one that the
plugin names. All draws come from a seeded generator.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossreg.checks._arrays import Array, call, call_each, close, differentiate
from lossreg.checks._results import CheckFailed, one_line

Arrays = tuple[Array, ...]
"""What a plugin is called with: targets and predictions, or weights."""
Cases = dict[str, Arrays]
"""Data by what is special about it, in words for messages."""
Draw = Callable[[np.random.Generator, int, Any], Arrays]


@dataclass(frozen=True)
class Domain:
    """One kind of data."""

    name: str  # what a plugin's `lossreg_domain` says
    words: str  # the same for a person
    draw: Draw  # (generator, n, d) → targets of n samples; ordinary predictions; ideal, worse, other ones for d outputs
    sizes: tuple[Any, ...] = (3, 1)  # the numbers of outputs to try, or the shapes of weights
    edges: Callable[[Any], Cases] = lambda d: {}  # d → data at which values and gradients must be finite
    knows_ideal: bool = True  # whether it draws more than ordinary data; ideal is just inside the domain
    wrong: tuple[tuple[float, float, float], ...] = ()  # target, confident mistake, ideal: its gradient must not be 0
    elementwise: bool = False  # whether targets and predictions have the same shape and may have one output
    labels: bool = False  # whether one-hot targets are handed over as integers
    batch: int = 1  # how many samples a batch needs for a value to mean anything
    invariance: Callable[[Array], Array] | None = None  # changes predictions and no value; tells it from others

    def sample(self, seed: int, n: int, d: Any) -> Arrays:
        """Return `n` targets and ordinary predictions for them, or weights."""
        return self._given(self.draw(np.random.default_rng([seed, n, *np.ravel(d)]), n, d)[:2])

    def contrast(self, seed: int, n: int, d: Any) -> Arrays:
        """Return `n` targets, ideal predictions, plainly worse ones, and perhaps others that are not better."""
        y_true, _, *predictions = self.draw(np.random.default_rng([seed, n, d, 1]), n, d)
        return self._given((y_true, *predictions))

    def extremes(self, d: Any) -> Cases:
        """Return the edges as they are handed over."""
        return {label: self._given(arrays) for label, arrays in self.edges(d).items()}

    def _given(self, arrays: Arrays) -> Arrays:
        first, *others = map(np.asarray, arrays)
        return (first.argmax(axis=-1).astype(float) if self.labels else first, *others)


def drawn_by(draw: Callable[[np.random.Generator, int], Arrays]) -> Domain:
    """Make a domain of a plugin's own function `(generator, n) -> (y_true, y_pred)`."""
    return Domain("custom", "the plugin's own data", lambda rng, n, d: draw(rng, n), knows_ideal=False, sizes=(0,))


def _points(*pairs: tuple[float | tuple[float, ...], float | tuple[float, ...]]) -> Callable[[int], Cases]:
    """Return edges of pairs of a target and a prediction, for all `d` outputs of two samples, which may differ."""

    def fill(x: float | tuple[float, ...], d: int) -> Array:
        return np.reshape(x, (-1, 1)) * np.ones((2, d))

    return lambda d: {f"y = {y}, p = {p}": (fill(y, d), fill(p, d)) for y, p in pairs}


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _bits(rng: np.random.Generator, n: int, d: int) -> Array:
    """Return targets 0 and 1; in a row of several outputs both occur, and in a column of several samples."""
    y = rng.integers(0, 2, size=(n, d)).astype(float)
    if d > 1:
        ones = rng.integers(0, d, size=n)
        y[np.arange(n), ones] = 1.0
        y[np.arange(n), (ones + 1) % d] = 0.0
    elif n > 1:
        y[:2, 0] = [0.0, 1.0]
    return y


def _real(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = rng.normal(size=(n, d))
    return y, 1.5 * rng.normal(size=(n, d)), y, y + rng.choice([-1, 1], (n, d)) * rng.uniform(0.75, 3, (n, d))


def _positive(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = rng.uniform(0.5, 3, (n, d))
    return y, rng.uniform(0.3, 4, (n, d)), y, y * rng.uniform(2, 4, (n, d)) ** rng.choice([-1, 1], (n, d))


def _bernoulli(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = _bits(rng, n, d)
    away = np.abs(y - rng.uniform(0.3, 0.95, size=y.shape))
    return y, rng.uniform(0.05, 0.95, size=y.shape), 0.98 * y + 0.01, away


def _logits(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = _bits(rng, n, d)
    return y, 2 * rng.normal(size=(n, d)), 6 * (2 * y - 1), (1 - 2 * y) * rng.uniform(0.5, 4, (n, d))


def _direction(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y, p, noise = (rng.normal(size=(n, d)) for _ in range(3))
    return _unit(y), _unit(p), _unit(y), _unit(0.5 * noise - _unit(y))


def _direction_edges(d: int) -> Cases:
    y, zero = _unit(np.ones((2, d))), np.zeros((2, d))
    return {"y = p": (y, y), "y = -p": (y, -y), "p = 0": (y, zero), "y = p = 0": (zero, zero)}


def _margin(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = 2 * _bits(rng, n, d) - 1
    return y, 1.5 * rng.normal(size=(n, d)), y, -y * rng.uniform(0.5, 3, (n, d))


def _categorical(rng: np.random.Generator, n: int, d: int, logits: bool = False) -> Arrays:
    y = np.eye(d)[rng.permutation(np.arange(n) % d)]
    other, next_to = (np.roll(y, by, axis=-1) for by in (rng.integers(1, d), 1))
    ordinary = rng.normal(size=(n, d))
    if logits:
        return y, 2 * ordinary, 6 * y, 6 * other, 6 * y + 3 * next_to
    near, away = (0.97 * x + 0.03 / d for x in (y, other))
    return y, np.exp(ordinary) / np.exp(ordinary).sum(axis=-1, keepdims=True), near, away, near + 0.3 * next_to


def _class_edges(d: int) -> Cases:
    y: Array = np.eye(d)
    cases = {"the one-hot target": y, "one-hot of a wrong class": np.roll(y, 1, axis=1), "equal for all classes": 1 / d}
    return {f"p = {label}": (y, p + 0 * y) for label, p in cases.items()}


def _class_logit_edges(d: int) -> Cases:
    y: Array = np.eye(d)
    cases = {"all logits 0": 0, "logit 100 for the target": 100 * y, "logit -100 for the target": -100 * y}
    cases |= {"logit 100 for a wrong class": 100 * np.roll(y, 1, axis=1), "all logits 100": 100}
    return {label: (y, p + 0 * y) for label, p in cases.items()}


def _ordinal(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = rng.permutation(np.arange(n) % (d + 1)).astype(float)
    right = np.where(y[:, None] > np.arange(d), 6.0, -6.0)
    return y, 2 * rng.normal(size=(n, d)), right, -right


def _ordinal_edges(d: int) -> Cases:
    y = np.arange(d + 1.0)
    right = np.where(y[:, None] > np.arange(d), 100.0, -100.0)
    return {"all logits 0": (y, 0 * right), "logits 100 and right": (y, right), "logits 100 and wrong": (y, -right)}


def _sequence(rng: np.random.Generator, n: int, d: int) -> Arrays:
    steps, symbols, length = 9, 5, 3
    y = np.stack([rng.permutation(np.arange(1, symbols))[:length] for _ in range(n)])
    y[1::2, -1] = 0  # 0 pads
    aligned = np.zeros((n, steps), int)
    aligned[:, 1 : 2 * length : 2] = y
    ideal, blank = 6 * np.eye(symbols)[aligned], 6 * np.eye(symbols)[0 * aligned]
    return y.astype(float), rng.normal(size=blank.shape), ideal, blank


def _segmentation(rng: np.random.Generator, n: int, d: int) -> Arrays:
    return tuple(x.reshape(n, 3, 4, d) for x in _bernoulli(rng, 12 * n, d))


def _image_edges(d: int) -> Cases:
    cases = _BERNOULLI_EDGES(d).items()
    return {label: tuple(np.tile(x[:, None, None], (1, 3, 4, 1)) for x in pair) for label, pair in cases}


def _embeddings(rng: np.random.Generator, n: int, d: int) -> Arrays:
    group = rng.permutation(np.arange(n) // 2 % 3)  # each occurs twice
    clusters = _unit(np.eye(3, d)[group] + 0.01)
    away = _unit(np.roll(clusters, rng.integers(1, 3), axis=0) + 0.3)
    labels = np.array([11.0, 17.0, 23.0])[group]  # none of them is an index into the embedding
    return labels, _unit(rng.normal(size=(n, d))), clusters, away


def _weights(rng: np.random.Generator, n: int, shape: tuple[int, ...]) -> Arrays:
    """Return ordinary weights: none is near zero, no two rows are alike."""
    return (rng.choice([-1, 1], size=shape) * rng.uniform(0.1, 1.5, size=shape),)


def _weight_edges(shape: tuple[int, ...]) -> Cases:
    (ordinary,), ones = _weights(np.random.default_rng(2), 1, shape), np.ones(shape)
    row, column, one = ordinary.copy(), ordinary.copy(), 0 * ones
    row[0], column[..., 0], one.flat[0] = 0, 0, 1
    cases = {"zero weights": 0 * ones, "weights that are all 1": ones, "one weight that is not zero": one}
    cases |= {"a row of zeros": row, "a column of zeros": column}
    cases |= {f"the weight {size:g}": size * ones for size in (100, -1e4, 1e-30)}
    return {label: (array,) for label, array in cases.items()}


_CORNERS = [*itertools.product((0, 1), (0, 1)), (0.3, 0.3), (10000, 0), (0, 10000)]
_REAL_EDGES = _points(*_CORNERS, (-100, 100), (100, -100), (1e-30, 1e-30))
_BERNOULLI_EDGES = _points(*itertools.product((0, 1), (0, 1, 0.5, 1e-30)), ((0, 1), 0), ((0, 1), 1), ((0, 1), (0, 1)))
_LOGIT_EDGES = _points(*itertools.product((0, 1), (0, 1, 100, -100)))
_MARGIN_EDGES = _points(*itertools.product((-1, 1), (0, 1, -1, 100, -100)))
_WRONG = tuple((y, abs(y - p), 0.98 * y + 0.01) for y in (0, 1) for p in (0.97, 0.997, 0.9997))
_WRONG_LOGITS = ((0, 3, -6), (0, 6, -6), (1, -3, 6), (1, -6, 6))
_SHAPES = ((3, 4), (6,), (2, 3, 4), (2, 2, 3, 4))

_ONE_EACH = functools.partial(Domain, elementwise=True)
_COMPARED = "embeddings that are compared with one another, for labels of which only equality counts"


def _of_classes(name: str, targets: str, labels: bool) -> list[Domain]:
    make = functools.partial(Domain, sizes=(3, 5), labels=labels)
    draw, shift = functools.partial(_categorical, logits=True), lambda p: p + 1.5
    words = f"logits of classes for {targets}"
    return [
        make(name, f"probabilities of classes for {targets}", _categorical, edges=_class_edges),
        make(f"{name}_logits", words, draw, edges=_class_logit_edges, invariance=shift),
    ]


_ALL = [
    _ONE_EACH("real", "real targets and predictions", _real, edges=_REAL_EDGES),
    _ONE_EACH("positive", "positive targets and predictions", _positive, edges=_points(*_CORNERS)),
    _ONE_EACH("probability", "probabilities for targets 0 and 1", _bernoulli, edges=_BERNOULLI_EDGES, wrong=_WRONG),
    _ONE_EACH("logits", "logits for targets 0 and 1", _logits, edges=_LOGIT_EDGES, wrong=_WRONG_LOGITS),
    Domain("direction", "unit vectors", _direction, (3, 5), _direction_edges, invariance=lambda p: 3 * p),
    _ONE_EACH("margin", "margins for targets -1 and 1", _margin, edges=_MARGIN_EDGES),
    *_of_classes("categorical", "one-hot targets", labels=False),
    *_of_classes("sparse", "integer labels", labels=True),
    Domain("ordinal", "one logit per threshold for ordered integer labels", _ordinal, (4, 3), _ordinal_edges),
    Domain("sequence", "logits over time for label sequences padded with 0", _sequence, (0,)),
    Domain("segmentation", "images of probabilities for targets 0 and 1", _segmentation, edges=_image_edges),
    Domain("embeddings", _COMPARED, _embeddings, (4,), batch=6),
]
DOMAINS: dict[str, Domain] = {domain.name: domain for domain in _ALL}
"""The data that losses take, by name, in the order in which they are tried."""

WEIGHTS = Domain("weights", "weights", _weights, _SHAPES, _weight_edges, knows_ideal=False)
"""The data that regularizers take: a matrix first."""

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
