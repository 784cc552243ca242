"""The kinds of data that plugins are made for: what to draw, what is ideal, what is wrong, what is extreme.

A loss does not say which data it takes, so the checks try these in turn (see `_guess`), or take the one that the
plugin names. All draws come from a seeded generator.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
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


def _classes(rng: np.random.Generator, n: int, d: int, amount: float) -> Arrays:
    """Return one-hot targets; others; and what adds an amount to a wrong class."""
    y = np.eye(d)[rng.permutation(np.arange(n) % d)]
    return y, np.roll(y, rng.integers(1, d), axis=-1), amount * np.roll(y, 1, axis=-1)


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


def _categorical(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y, other, more = _classes(rng, n, d, 0.3)
    near, ordinary = 0.97 * y + 0.03 / d, np.exp(rng.normal(size=(n, d)))
    return y, ordinary / ordinary.sum(axis=-1, keepdims=True), near, 0.97 * other + 0.03 / d, near + more


def _class_edges(d: int) -> Cases:
    y: Array = np.eye(d)
    cases = {"the one-hot target": y, "one-hot of a wrong class": np.roll(y, 1, axis=1), "equal for all classes": 1 / d}
    return {f"p = {label}": (y, p + 0 * y) for label, p in cases.items()}


def _categorical_logits(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y, other, more = _classes(rng, n, d, 3.0)
    return y, 2 * rng.normal(size=(n, d)), 6 * y, 6 * other, 6 * y + more


def _class_logit_edges(d: int) -> Cases:
    y: Array = np.eye(d)
    cases = {"all logits 0": 0, "all logits 100": 100, "logit 100 for the target": 100 * y}
    cases |= {"logit -100 for the target": -100 * y, "logit 100 for a wrong class": 100 * np.roll(y, 1, axis=1)}
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
    logits = functools.partial(make, edges=_class_logit_edges, invariance=lambda p: p + 1.5)
    return [
        make(name, f"probabilities of classes for {targets}", _categorical, edges=_class_edges),
        logits(f"{name}_logits", f"logits of classes for {targets}", _categorical_logits),
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
