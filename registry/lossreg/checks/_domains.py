"""The kinds of data that plugins are made for: what to draw, what is ideal, what is wrong, what is extreme.

A loss does not say which data it takes, so the checks try these in turn (see `_guess`), or take the one that the
plugin names. All draws come from a seeded generator.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
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
    """One kind of data.

    Arguments:
        name: what a plugin's `lossreg_domain` says.
        words: the same for a person.
        draw: `(generator, n, d)` → targets of `n` samples with `d` outputs; ordinary predictions; predictions that
            could not be better, just inside the domain; plainly worse ones, and others that are not better.
        knows_ideal: whether `draw` returns more than ordinary data.
        sizes: the numbers of outputs to try, or the shapes of weights.
        edges: `d` → data at which values and gradients must be finite.
        wrong: confident mistakes for one output, whose gradient must not be zero: target, prediction, ideal prediction.
        elementwise: whether targets and predictions have the same shape and may have one output.
        labels: whether one-hot targets are handed over as integers.
        batch: how many samples a batch needs for a value to mean anything.
        invariance: a change to the predictions that leaves the value as it is; it tells the domain from others.
        logits: the domain of logits: they are numbers as probabilities are, so what takes them passes here too.
    """

    name: str
    words: str
    draw: Draw
    knows_ideal: bool = True
    sizes: tuple[Any, ...] = (3, 1)
    edges: Callable[[Any], Cases] = lambda d: {}
    wrong: tuple[tuple[float, float, float], ...] = ()
    elementwise: bool = False
    labels: bool = False
    batch: int = 1
    invariance: Callable[[Array], Array] | None = None
    logits: str = ""

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


DOMAINS: dict[str, Domain] = {}
"""The data that losses take, by name, in the order in which they are tried."""


def _domain(words: str, **options: Any) -> Callable[[Draw], Draw]:
    """Make a domain of the decorated function, which draws its data and has its name."""

    def add(draw: Draw) -> Draw:
        name = draw.__name__.strip("_")
        DOMAINS[name] = Domain(name, words, draw, **options)
        return draw

    return add


def _points(*pairs: tuple[float | Sequence[float], float | Sequence[float]]) -> Callable[[int], Cases]:
    """Return edges of pairs of a target and a prediction, for all `d` outputs of two samples, which may differ."""

    def show(x: float | Sequence[float]) -> str:
        return " and ".join(f"{value:g}" for value in np.ravel(x))

    def fill(x: float | Sequence[float], d: int) -> Array:
        return np.reshape(x, (-1, 1)) * np.ones((2, d))

    return lambda d: {f"y = {show(y)}, p = {show(p)}": (fill(y, d), fill(p, d)) for y, p in pairs}


_CORNERS = list(itertools.product((0, 1), (0, 1)))
_FAR = [(0.3, 0.3), (1e4, 0), (0, 1e4)]


@_domain(
    "real targets and predictions",
    elementwise=True,
    edges=_points(*_CORNERS, *_FAR, (-100, 100), (100, -100), (1e-30, 1e-30)),
)
def _real(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = rng.normal(size=(n, d))
    return y, 1.5 * rng.normal(size=(n, d)), y, y + rng.choice([-1, 1], (n, d)) * rng.uniform(0.75, 3, (n, d))


@_domain("positive targets and predictions", elementwise=True, edges=_points(*_CORNERS, *_FAR))
def _positive(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = rng.uniform(0.5, 3, (n, d))
    return y, rng.uniform(0.3, 4, (n, d)), y, y * rng.uniform(2, 4, (n, d)) ** rng.choice([-1, 1], (n, d))


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


def _probabilities(rng: np.random.Generator, y: Array) -> Arrays:
    away = np.abs(y - rng.uniform(0.3, 0.95, size=y.shape))
    return y, rng.uniform(0.05, 0.95, size=y.shape), 0.98 * y + 0.01, away


_PROBABILITY_EDGES = _points(*itertools.product((0, 1), (0, 1, 0.5, 1e-30)), ((0, 1), 0), ((0, 1), 1), ((0, 1), (0, 1)))


@_domain(
    "probabilities for targets 0 and 1",
    elementwise=True,
    edges=_PROBABILITY_EDGES,
    wrong=tuple((y, abs(y - p), 0.98 * y + 0.01) for y in (0, 1) for p in (0.97, 0.997, 0.9997)),
    logits="logits",
)
def _probability(rng: np.random.Generator, n: int, d: int) -> Arrays:
    return _probabilities(rng, _bits(rng, n, d))


@_domain(
    "logits for targets 0 and 1",
    elementwise=True,
    edges=_points(*itertools.product((0, 1), (0, 1, 100, -100))),
    wrong=((0, 3, -6), (0, 6, -6), (1, -3, 6), (1, -6, 6)),
)
def _logits(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = _bits(rng, n, d)
    return y, 2 * rng.normal(size=(n, d)), 6 * (2 * y - 1), (1 - 2 * y) * rng.uniform(0.5, 4, (n, d))


def _direction_edges(d: int) -> Cases:
    y, zero = _unit(np.ones((2, d))), np.zeros((2, d))
    return {"y = p": (y, y), "y = -p": (y, -y), "p = 0": (y, zero), "y = p = 0": (zero, zero)}


@_domain("unit vectors", sizes=(3, 5), edges=_direction_edges, invariance=lambda p: 3 * p)
def _direction(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y, p, noise = (rng.normal(size=(n, d)) for _ in range(3))
    return _unit(y), _unit(p), _unit(y), _unit(0.5 * noise - _unit(y))


@_domain(
    "margins for targets -1 and 1",
    elementwise=True,
    edges=_points(*itertools.product((-1, 1), (0, 1, -1, 100, -100))),
)
def _margin(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = 2 * _bits(rng, n, d) - 1
    return y, 1.5 * rng.normal(size=(n, d)), y, -y * rng.uniform(0.5, 3, (n, d))


def _classes(rng: np.random.Generator, n: int, d: int, amount: float) -> Arrays:
    """Return one-hot targets; others; and what adds an amount to a wrong class."""
    y = np.eye(d)[rng.permutation(np.arange(n) % d)]
    return y, np.roll(y, rng.integers(1, d), axis=-1), amount * np.roll(y, 1, axis=-1)


def _class_edges(predictions: dict[str, Callable[[Array], Array]]) -> Callable[[int], Cases]:
    return lambda d: {label: (np.eye(d), predict(np.eye(d))) for label, predict in predictions.items()}


@_domain(
    "probabilities of classes for one-hot targets",
    sizes=(3, 5),
    edges=_class_edges(
        {
            "p = the one-hot target": lambda y: y,
            "p = one-hot of a wrong class": lambda y: np.roll(y, 1, axis=1),
            "p equal for all classes": lambda y: np.full_like(y, 1 / len(y)),
        }
    ),
    logits="categorical_logits",
)
def _categorical(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y, other, more = _classes(rng, n, d, 0.3)
    near = 0.97 * y + 0.03 / d
    return y, _softmax(rng.normal(size=(n, d))), near, 0.97 * other + 0.03 / d, near + more


@_domain(
    "logits of classes for one-hot targets",
    sizes=(3, 5),
    edges=_class_edges(
        {
            "all logits 0": lambda y: 0 * y,
            "logit 100 for the target": lambda y: 100 * y,
            "logit 100 for a wrong class": lambda y: 100 * np.roll(y, 1, axis=1),
            "logit -100 for the target": lambda y: -100 * y,
            "all logits 100": lambda y: np.full_like(y, 100),
        }
    ),
    invariance=lambda p: p + 1.5,
)
def _categorical_logits(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y, other, more = _classes(rng, n, d, 3.0)
    return y, 2 * rng.normal(size=(n, d)), 6 * y, 6 * other, 6 * y + more


for _one_hot in [DOMAINS["categorical"], DOMAINS["categorical_logits"]]:
    _name, _further = (name.replace("categorical", "sparse") for name in (_one_hot.name, _one_hot.logits))
    _words = _one_hot.words.replace("one-hot targets", "integer labels")
    DOMAINS[_name] = replace(_one_hot, name=_name, words=_words, logits=_further, labels=True)


def _ordinal_edges(d: int) -> Cases:
    y = np.arange(d + 1.0)
    right = np.where(y[:, None] > np.arange(d), 100.0, -100.0)
    return {"all logits 0": (y, 0 * right), "logits 100 and right": (y, right), "logits 100 and wrong": (y, -right)}


@_domain("one logit per threshold for ordered integer labels", sizes=(4, 3), edges=_ordinal_edges)
def _ordinal(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = rng.permutation(np.arange(n) % (d + 1)).astype(float)
    right = np.where(y[:, None] > np.arange(d), 6.0, -6.0)
    return y, 2 * rng.normal(size=(n, d)), right, -right


@_domain("logits over time for label sequences padded with 0", sizes=(0,))
def _sequence(rng: np.random.Generator, n: int, d: int) -> Arrays:
    steps, symbols, length = 9, 5, 3
    y = np.stack([rng.permutation(np.arange(1, symbols))[:length] for _ in range(n)])
    y[1::2, -1] = 0  # 0 pads
    aligned = np.zeros((n, steps), int)
    aligned[:, 1 : 2 * length : 2] = y
    ideal, blank = 6 * np.eye(symbols)[aligned], 6 * np.eye(symbols)[0 * aligned]
    return y.astype(float), rng.normal(size=blank.shape), ideal, blank


@_domain(
    "images of probabilities for targets 0 and 1",
    edges=lambda d: {
        label: tuple(np.tile(x[:, None, None], (1, 3, 4, 1)) for x in pair)
        for label, pair in _PROBABILITY_EDGES(d).items()
    },
)
def _segmentation(rng: np.random.Generator, n: int, d: int) -> Arrays:
    return _probabilities(rng, np.stack([_bits(rng, 12, d).reshape(3, 4, d) for _ in range(n)]))


@_domain("embeddings that are compared with one another, for labels of which only equality counts", sizes=(4,), batch=6)
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
    cases = {"zero weights": 0 * ones, "weights that are all 1": ones, "a row of zeros": row}
    cases |= {f"the weight {size:g}": size * ones for size in (100, -1e4, 1e-30)}
    cases |= {"a column of zeros": column, "one weight that is not zero": one}
    return {label: (array,) for label, array in cases.items()}


WEIGHTS = Domain(
    "weights", "weights", _weights, False, sizes=((3, 4), (6,), (2, 3, 4), (2, 2, 3, 4)), edges=_weight_edges
)
"""The data that regularizers take: a matrix first."""


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)
