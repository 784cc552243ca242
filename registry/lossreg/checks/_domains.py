"""The kinds of data that plugins are made for: what to draw, what is ideal, what is wrong, what is extreme.

A loss says which it takes, or these are tried, from the most general to the most special. All draws come from a seeded
generator.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np

from lossreg._errors import ParameterError, did_you_mean
from lossreg.checks._arrays import Array, call, close, differentiate
from lossreg.checks._results import one_line

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
    padded: bool = False  # whether some targets may not count
    batch: int = 1  # how many samples a batch needs for a value to mean anything
    invariance: Callable[[Array, Array], Arrays] | None = None  # changes data and no value; tells it from others
    logits: bool = False  # whether predictions far above 1 count for more than 1: they are not clipped
    logarithm: bool = False  # whether predictions are positive, so that losses take the logarithm
    unpack: Callable[..., Any] | None = None  # makes structures of targets and predictions of one array each

    def sample(self, seed: int, n: int, d: Any) -> Arrays:
        """Return targets of at least `n` samples and ordinary predictions for them, or weights."""
        n = max(n, self.batch)
        return self.draw(np.random.default_rng([seed, n, *np.ravel(d)]), n, d)[:2]

    def contrast(self, seed: int, n: int, d: Any) -> Arrays:
        """Return as many targets, ideal predictions, plainly worse ones, and perhaps others that are not better."""
        n = max(n, self.batch)
        y_true, _, *predictions = self.draw(np.random.default_rng([seed, n, d, 1]), n, d)
        return (y_true, *predictions)


def domain_of(named: str | Callable[..., Any]) -> Domain:
    """Return the kind of data that is named, or that a function `(generator, n) -> (y_true, y_pred)` draws.

    Raises:
        ParameterError: if it is neither one of `DOMAINS` nor such a function, also as `"module:function"`.
    """
    draw: Any = named
    if isinstance(named, str):
        if named in DOMAINS:
            return DOMAINS[named]
        try:
            draw = EntryPoint("", named, "").load() if ":" in named else None
        except Exception as error:
            raise ParameterError(f"The kind of data '{named}' cannot be imported: {one_line(error)}.") from None
    if not callable(draw):
        hint, names = did_you_mean(str(named), DOMAINS), ", ".join(DOMAINS)
        message = f"There is no kind of data {named!r}.{hint} Choose one of: {names}; or module:function."
        raise ParameterError(message)
    draw, unpack = _packed(draw)
    words = "the plugin's own data"
    return Domain("custom", words, lambda rng, n, d: draw(rng, n), (0,), knows_ideal=False, unpack=unpack)


def _packed(draw: Any) -> tuple[Any, Any]:
    """Return what draws structures, dictionaries of arrays and the like, as one array each, and what undoes that."""
    from keras import ops, tree

    parts = draw(np.random.default_rng(0), 2)
    if not any(map(tree.is_nested, parts)):
        return lambda rng, n: tuple(map(np.asarray, draw(rng, n))), None

    def packed(rng: np.random.Generator, n: int) -> Arrays:
        flat = ([np.reshape(leaf, (n, -1)) for leaf in tree.flatten(part)] for part in draw(rng, n))
        return tuple(np.concatenate(leaves, axis=-1) for leaves in flat)

    def unpack(part: Any, array: Any) -> Any:
        shapes = [np.shape(leaf)[1:] for leaf in tree.flatten(part)]
        columns = ops.split(array, np.cumsum([math.prod(shape) for shape in shapes])[:-1].tolist(), axis=-1)
        reshaped = [ops.reshape(x, (-1, *shape)) for x, shape in zip(columns, shapes, strict=True)]
        return tree.pack_sequence_as(part, reshaped)

    return packed, lambda *arrays: map(unpack, parts, arrays)


def _points(*pairs: tuple[float | tuple[float, ...], float | tuple[float, ...]]) -> Callable[[int], Cases]:
    """Return edges of pairs of a target and a prediction, for all `d` outputs of two samples, which may differ."""

    def fill(x: float | tuple[float, ...], d: int) -> Array:
        return np.reshape(x, (-1, 1)) * np.ones((2, d))

    return lambda d: {f"y = {y}, p = {p}": (fill(y, d), fill(p, d)) for y, p in pairs}


def _scaled(draw: Draw, factors: tuple[float, ...] = (0, 16, -16)) -> Callable[[int], Cases]:
    """Return edges at which predictions are multiples of the ideal ones: nothing, far, and far on the other side."""

    def edges(d: int) -> Cases:
        y_true, _, ideal, *_ = draw(np.random.default_rng(0), 2 * d, d)
        return {f"p = {by:g} times the ideal": (y_true, by * ideal) for by in factors}

    return edges


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _zeros_and_ones(rng: np.random.Generator, n: int, d: int) -> Array:
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


def _bits(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = _zeros_and_ones(rng, n, d)
    away = np.abs(y - rng.uniform(0.3, 0.95, size=y.shape))
    return y, rng.uniform(0.05, 0.95, size=y.shape), 0.98 * y + 0.01, away


def _logits(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = _zeros_and_ones(rng, n, d)
    return y, 2 * rng.normal(size=(n, d)), 6 * (2 * y - 1), (1 - 2 * y) * rng.uniform(0.5, 4, (n, d))


def _margin(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = 2 * _zeros_and_ones(rng, n, d) - 1
    return y, 1.5 * rng.normal(size=(n, d)), y, -y * rng.uniform(0.5, 3, (n, d))


def _direction(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y, p, noise = (rng.normal(size=(n, d)) for _ in range(3))
    return _unit(y), _unit(p), _unit(y), _unit(0.5 * noise - _unit(y))


def _categorical(rng: np.random.Generator, n: int, d: int, logits: bool = False, labels: bool = False) -> Arrays:
    one_hot = np.eye(d)[rng.permutation(np.arange(n) % d)]
    other, next_to = (np.roll(one_hot, by, axis=-1) for by in (rng.integers(1, d), 1))
    y, ordinary = one_hot.argmax(axis=-1).astype(float) if labels else one_hot, rng.normal(size=(n, d))
    if logits:
        return y, 2 * ordinary, 6 * one_hot, 6 * other, 6 * one_hot + 3 * next_to
    near, away = (0.97 * x + 0.03 / d for x in (one_hot, other))
    return y, np.exp(ordinary) / np.exp(ordinary).sum(axis=-1, keepdims=True), near, away, near + 0.3 * next_to


def _class_edges(d: int, labels: bool = False) -> Cases:
    one_hot: Array = np.eye(d)
    y = np.arange(float(d)) if labels else one_hot
    cases = {"the one-hot target": one_hot, "one-hot of a wrong class": np.roll(one_hot, 1, axis=1)}
    return {f"p = {label}": (y, p) for label, p in (cases | {"equal for all classes": 0 * one_hot + 1 / d}).items()}


def _ordinal(rng: np.random.Generator, n: int, d: int) -> Arrays:
    y = rng.permutation(np.arange(n) % (d + 1)).astype(float)
    right = np.where(y[:, None] > np.arange(d), 6.0, -6.0)
    return y, 2 * rng.normal(size=(n, d)), right, -right


def _sequence(rng: np.random.Generator, n: int, d: int) -> Arrays:
    steps, symbols, length = 9, 5, 3
    y = np.stack([rng.permutation(np.arange(1, symbols))[:length] for _ in range(n)])
    y[1::2, -1] = 0  # 0 pads
    aligned = np.zeros((n, steps), int)
    aligned[:, 1 : 2 * length : 2] = y
    ideal, blank = 6 * np.eye(symbols)[aligned], 6 * np.eye(symbols)[0 * aligned]
    return y.astype(float), rng.normal(size=blank.shape), ideal, blank


def _segmentation(rng: np.random.Generator, n: int, d: int) -> Arrays:
    return tuple(x.reshape(n, 3, 4, d) for x in _bits(rng, 12 * n, d))


def _image_edges(d: int) -> Cases:
    cases = _BIT_EDGES(d).items()
    return {label: tuple(np.tile(x[:, None, None], (1, 3, 4, 1)) for x in pair) for label, pair in cases}


def _embeddings(rng: np.random.Generator, n: int, d: int) -> Arrays:
    group = rng.permutation(np.arange(n) // 2 % 3)  # each occurs twice
    clusters = _unit(np.eye(3, d)[group] + 0.01)
    away = _unit(np.roll(clusters, rng.integers(1, 3), axis=0) + 0.3)
    labels = np.array([11.0, 17.0, 23.0])[group]  # none of them is an index into the embedding
    return labels, _unit(rng.normal(size=(n, d))), clusters, away


def _renamed(y_true: Array, y_pred: Array) -> Arrays:
    return np.choose(np.unique(y_true, return_inverse=True)[1], [23.0, 11.0, 29.0]), y_pred


def _outputs(rng: np.random.Generator, n: int, d: tuple[int, int]) -> Arrays:
    return rng.normal(size=(n, d[0])), rng.normal(size=(n, d[1]))


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
_BIT_EDGES = _points(*itertools.product((0, 1), (0, 1, 0.5, 1e-30)), ((0, 1), 0), ((0, 1), 1), ((0, 1), (0, 1)))
_LOGIT_EDGES = _points(*itertools.product((0, 1), (0, 1, 100, -100)))
_MARGIN_EDGES = _points(*itertools.product((-1, 1), (0, 1, -1, 100, -100)))
_AROUND = _scaled(_direction, (1, -1, 0))
_WRONG = tuple((y, abs(y - p), 0.98 * y + 0.01) for y in (0, 1) for p in (0.97, 0.997, 0.9997))
_WRONG_LOGITS = ((0, 3, -6), (0, 6, -6), (1, -3, 6), (1, -6, 6))
_NUMBERS = ((1, 2), (1, 3), (1, 4), (2, 4), (2, 1), (1, 5), (1, 6))
_SHAPES = ((3, 4), (6,), (2, 3, 4), (2, 2, 3, 4))

_EACH = functools.partial(Domain, elementwise=True)
_COMPARED = "embeddings that are compared with one another, for labels of which only equality counts"


def _of_classes(name: str, targets: str, labels: bool) -> list[Domain]:
    draw, edges = functools.partial(_categorical, labels=labels), functools.partial(_class_edges, labels=labels)
    make, logits = functools.partial(Domain, sizes=(3, 5), padded=labels), functools.partial(draw, logits=True)
    far: dict[str, Any] = {"edges": _scaled(logits), "invariance": lambda y, p: (y, p + 1.5), "logits": True}
    return [
        make(f"{name}_logits", f"logits of classes for {targets}", logits, **far),
        make(name, f"probabilities of classes for {targets}", draw, edges=edges, logarithm=True),
    ]


_ALL = [
    _EACH("real", "real targets and predictions", _real, edges=_REAL_EDGES),
    _EACH("positive", "positive targets and predictions", _positive, edges=_points(*_CORNERS), logarithm=True),
    Domain("direction", "unit vectors", _direction, (3, 5), _AROUND, invariance=lambda y, p: (y, 3 * p)),
    _EACH("margin", "margins for targets -1 and 1", _margin, edges=_MARGIN_EDGES, invariance=lambda y, p: (-y, -p)),
    _EACH("logits", "logits for targets 0 and 1", _logits, edges=_LOGIT_EDGES, wrong=_WRONG_LOGITS, logits=True),
    _EACH("probability", "probabilities for targets 0 and 1", _bits, edges=_BIT_EDGES, wrong=_WRONG, logarithm=True),
    *_of_classes("categorical", "one-hot targets", labels=False),
    *_of_classes("sparse", "integer labels", labels=True),
    Domain("ordinal", "one logit per threshold for ordered integer labels", _ordinal, (4, 3), _scaled(_ordinal)),
    Domain("sequence", "logits over time for label sequences padded with 0", _sequence, (0,), padded=True),
    Domain("segmentation", "images of probabilities for targets 0 and 1", _segmentation, edges=_image_edges),
    Domain("embeddings", _COMPARED, _embeddings, (4,), batch=6, invariance=_renamed),
    Domain("outputs", "real targets, and other numbers of outputs for them", _outputs, _NUMBERS, knows_ideal=False),
]
DOMAINS: dict[str, Domain] = {domain.name: domain for domain in _ALL}
"""The data that losses take, by name, in the order in which they are tried."""

WEIGHTS = Domain("weights", "weights", _weights, _SHAPES, _weight_edges, knows_ideal=False)
"""The data that regularizers take: a matrix first."""


def order(function: Callable[..., Any], domain: Domain, sizes: tuple[Any, ...]) -> float:
    """Return 1 if a loss is lowest at the target of a kind of data, -1 if it is highest, else 0: the kind does not fit.

    Highest counts, since a sign may be flipped; where the loss curves upwards there, it means it, and this is NaN.

    Arguments:
        function: takes targets and predictions.
        domain: the kind of data.
        sizes: the numbers of outputs that it takes.
    """
    value = functools.partial(call, function)
    signs: set[float] = set()
    upwards = False
    for d in sizes if domain.knows_ideal else ():
        (y_true, ideal, away, *more), (true, pred) = domain.contrast(0, 8, d), domain.sample(1, 8, d)
        swapped = np.roll(y_true, 1, axis=0)
        ignored = all(close(value(swapped, p), value(y_true, p)) for p in (ideal, away))  # the targets do not count
        varies = domain.invariance and not close(value(*domain.invariance(true, pred)), value(true, pred))
        if ignored or varies or (domain.logits and not _counts_beyond(function, y_true, ideal, away)):
            return 0
        for worse in (away, *more):
            found = rises(function, domain, y_true, ideal, worse)
            if not np.isfinite(found).all():
                return 0
            signs |= {*np.sign(found)} - ({0.0} if domain.padded or worse is not away else set())
        if len(signs) != 1:
            return 0
        upwards = upwards or (-1.0 in signs and _curves_upwards(function, domain, y_true, ideal, away))
    return math.nan if upwards else next(iter(signs), 0)


def rises(function: Callable[..., Any], domain: Domain, y_true: Array, ideal: Array, worse: Array) -> Array:
    """Return by how much the samples' values rise from the ideal to another prediction, up to one that contradicts.

    Samples are tried alone, so that a fault of batching does not hide the kind of data, or one of many is changed where
    they cannot be told apart alone. Rounding is no rise.
    """

    def rise(high: Array, low: Array) -> float:
        change = float(high.mean() - low.mean())
        return 0.0 if abs(change) <= 1e-6 else change

    n, together = len(y_true), call(function, y_true, ideal)
    if domain.batch > 1:
        return np.array([rise(call(function, y_true, worse), together)])
    alone: list[float] = []
    with contextlib.suppress(Exception):
        for one in (slice(i, i + 1) for i in range(n)):
            alone.append(rise(*(call(function, y_true[one], p[one]) for p in (worse, ideal))))
            if min(alone) < 0 < max(alone):
                return np.array(alone)
    if len(alone) == n and np.isfinite(alone).all() and (together.ndim or all(alone)):
        return np.array(alone)
    one_of_many = np.eye(n, dtype=bool).reshape(n, n, *[1] * (ideal.ndim - 1))
    found = np.array([rise(call(function, y_true, np.where(one, worse, ideal)), together) for one in one_of_many])
    return np.where(found < 0, np.nan, found)  # of many samples one may be meant to be elsewhere


def _counts_beyond(function: Callable[..., Any], y_true: Array, ideal: Array, away: Array) -> bool:
    """Whether predictions that are far beyond 1 count, can be corrected, and do not count exponentially."""
    slope = differentiate(function, y_true, away)[1]
    moves = slope.size and np.abs(slope.reshape(len(away), -1)).max(axis=-1).min() > 1e-6
    right, near, wrong, far = (call(function, y_true, p).mean() for p in (ideal, ideal / 6, away, 4 * away))
    return bool(moves and right <= near and far < 100 * max(abs(wrong), 1))


def _curves_upwards(function: Callable[..., Any], domain: Domain, y_true: Array, ideal: Array, away: Array) -> bool:
    """Whether a loss is a line through the target, or, where 1 may mean near as well as far, convex."""
    low, centre, high = (call(function, y_true, p).astype(float) for p in (away, ideal, 2 * ideal - away))
    bend, slack = low + high - 2 * centre, 1e-4 * (np.abs(low) + np.abs(high) + np.abs(centre))
    return bool((bend >= -slack).all() if domain.elementwise else (np.abs(bend) <= slack).all())
