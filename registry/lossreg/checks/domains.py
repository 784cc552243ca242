"""The kinds of data that losses are made for: what to draw, what is ideal, what is wrong, what is extreme.

A loss does not say which data it takes, so the contract tries these in turn (see `lossreg.checks.subject`), or
takes the one that the plugin names. All draws come from a seeded generator.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = Any
Generator = np.random.Generator


@dataclass(frozen=True)
class Case:
    """Targets and predictions that go together, with a name for messages."""

    label: str
    y_true: Array
    y_pred: Array


@dataclass(frozen=True)
class Domain:
    """One kind of data.

    Arguments:
        name: what a plugin's `lossreg_domain` says.
        words: the same for a person.
        targets: `(generator, n, d)` → targets of `n` samples with `d` outputs.
        predictions: `(generator, targets, d)` → ordinary predictions.
        ideal: `(targets, d)` → predictions that could not be better, just inside the domain.
        away: `(generator, targets, d)` → predictions that are plainly worse.
        sizes: the numbers of outputs to try.
        edges: `d` → the cases at which values and gradients must be finite.
        wrong: confident and wrong predictions for one output; their gradient must not be zero.
        elementwise: whether targets and predictions have the same shape and may have one output.
        batch: how many samples a batch needs for a value to mean anything.
        also_away: changes to ideal predictions that must not make them better.
        invariances: changes to the predictions that leave the value as it is; they tell the domain from others.
    """

    name: str
    words: str
    targets: Callable[[Generator, int, int], Array]
    predictions: Callable[[Generator, Array, int], Array]
    ideal: Callable[[Array, int], Array] | None = None
    away: Callable[[Generator, Array, int], Array] | None = None
    sizes: tuple[int, ...] = (3, 1)
    edges: Callable[[int], list[Case]] = lambda d: []
    wrong: tuple[tuple[float, float], ...] = ()
    elementwise: bool = False
    batch: int = 1
    also_away: tuple[Callable[[Array], Array], ...] = ()
    invariances: tuple[Callable[[Array], Array], ...] = ()

    def sample(self, seed: int, n: int, d: int) -> tuple[Array, Array]:
        """Return `n` targets and ordinary predictions for them."""
        generator = np.random.default_rng([seed, n, d])
        y_true = self.targets(generator, n, d)
        return y_true, self.predictions(generator, y_true, d)

    def contrast(self, seed: int, n: int, d: int) -> tuple[Array, Array, Array]:
        """Return `n` targets, ideal predictions and plainly worse ones."""
        assert self.ideal is not None
        assert self.away is not None
        generator = np.random.default_rng([seed, n, d, 1])
        y_true = self.targets(generator, n, d)
        return y_true, self.ideal(y_true, d), self.away(generator, y_true, d)


class Drawn(Domain):
    """A plugin's own data, drawn by its `lossreg_domain`, a function `(generator, n) -> (y_true, y_pred)`."""

    def sample(self, seed: int, n: int, d: int) -> tuple[Array, Array]:
        """Return `n` targets and predictions."""
        y_true, y_pred = self.targets(np.random.default_rng([seed, n]), n, d)
        return np.asarray(y_true), np.asarray(y_pred)


def drawn(draw: Callable[[Generator, int], tuple[Array, Array]]) -> Domain:
    """Make a domain of a plugin's own function `(generator, n) -> (y_true, y_pred)`."""
    return Drawn("custom", "the plugin's own data", lambda generator, n, d: draw(generator, n), _no_draw, sizes=(0,))


def _no_draw(generator: Generator, y: Array, d: int) -> Array:
    raise NotImplementedError


def _softmax(x: Array) -> Array:
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _unit(x: Array) -> Array:
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def _pairs_of(values: list[tuple[str, float, float]], d: int) -> list[Case]:
    """Make one case per named pair of a target and a prediction, over all `d` outputs."""
    return [Case(label, np.full((2, d), y), np.full((2, d), p)) for label, y, p in values]


def _normal(generator: Generator, n: int, d: int) -> Array:
    return generator.normal(size=(n, d))


def _away_from(generator: Generator, y: Array, d: int) -> Array:
    return y + generator.choice([-1, 1], size=y.shape) * generator.uniform(0.75, 3, size=y.shape)


def _real_edges(d: int) -> list[Case]:
    cases = [(f"y = {y}, p = {p}", y, p) for y in (0.0, 1.0) for p in (0.0, 1.0)]
    cases += [("y = p = 0.3", 0.3, 0.3), ("y = -100, p = 100", -100.0, 100.0), ("y = 100, p = -100", 100.0, -100.0)]
    cases += [("y = 10000, p = 0", 1e4, 0.0), ("y = 0, p = 10000", 0.0, 1e4), ("y = p = 1e-30", 1e-30, 1e-30)]
    return _pairs_of(cases, d)


def _positive_edges(d: int) -> list[Case]:
    cases = [(f"y = {y}, p = {p}", y, p) for y in (0.0, 1.0) for p in (0.0, 1.0)]
    cases += [("y = p = 0.3", 0.3, 0.3), ("y = 10000, p = 0", 1e4, 0.0), ("y = 0, p = 10000", 0.0, 1e4)]
    return _pairs_of(cases, d)


def _bits(generator: Generator, n: int, d: int) -> Array:
    """Return targets 0 and 1; in a row of several outputs both occur, and in a column of several samples."""
    y = generator.integers(0, 2, size=(n, d)).astype(float)
    if d > 1:
        ones = generator.integers(0, d, size=n)
        y[np.arange(n), ones] = 1.0
        y[np.arange(n), (ones + 1) % d] = 0.0
    elif n > 1:
        y[:2, 0] = [0.0, 1.0]
    return y


def _probability_edges(d: int) -> list[Case]:
    cases = [(f"y = {y}, p = {p}", y, p) for y in (0.0, 1.0) for p in (0.0, 1.0, 0.5, 1e-30)]
    mixed = [Case(f"y = 0 and 1, p = {p}", np.array([[0.0] * d, [1.0] * d]), np.full((2, d), p)) for p in (0.0, 1.0)]
    equal = Case("y = p = 0 and 1", np.array([[0.0] * d, [1.0] * d]), np.array([[0.0] * d, [1.0] * d]))
    return [*_pairs_of(cases, d), *mixed, equal]


def _signs(generator: Generator, n: int, d: int) -> Array:
    return 2 * _bits(generator, n, d) - 1


def _margin_edges(d: int) -> list[Case]:
    return _pairs_of([(f"y = {y}, p = {p}", y, p) for y in (-1.0, 1.0) for p in (0.0, 1.0, -1.0, 100.0, -100.0)], d)


def _logit_edges(d: int) -> list[Case]:
    return _pairs_of([(f"y = {y}, logit = {p}", y, p) for y in (0.0, 1.0) for p in (0.0, 1.0, 100.0, -100.0)], d)


def _labels(generator: Generator, n: int, d: int) -> Array:
    return generator.permutation(np.arange(n) % d).astype(float)


def _one_hot(labels: Array, d: int) -> Array:
    return np.eye(d)[labels.astype(int)]


def _simplex_edges(encode: Callable[[Array, int], Array]) -> Callable[[int], list[Case]]:
    def edges(d: int) -> list[Case]:
        labels = np.arange(d, dtype=float)
        wrong = np.roll(np.eye(d), 1, axis=1)
        return [
            Case("p = the one-hot target", encode(labels, d), np.eye(d)),
            Case("p = one-hot of a wrong class", encode(labels, d), wrong),
            Case("p equal for all classes", encode(labels, d), np.full((d, d), 1 / d)),
        ]

    return edges


def _class_logit_edges(encode: Callable[[Array, int], Array]) -> Callable[[int], list[Case]]:
    def edges(d: int) -> list[Case]:
        labels, wrong = np.arange(d, dtype=float), np.roll(np.eye(d), 1, axis=1)
        return [
            Case("all logits 0", encode(labels, d), np.zeros((d, d))),
            Case("logit 100 for the target", encode(labels, d), 100 * np.eye(d)),
            Case("logit 100 for a wrong class", encode(labels, d), 100 * wrong),
            Case("logit -100 for the target", encode(labels, d), -100 * np.eye(d)),
            Case("all logits 100", encode(labels, d), np.full((d, d), 100.0)),
        ]

    return edges


def _raise_wrong_class(p: Array, amount: float) -> Array:
    """Return predictions with more for one class that is not the target's, and no less for the target's."""
    return p + amount * np.eye(p.shape[-1])[(p.argmax(axis=-1) + 1) % p.shape[-1]]


def _class_domains(sparse: bool) -> list[Domain]:
    """Make the domains of one-hot or integer targets: with probabilities and with logits."""
    prefix, targets = ("sparse", "integer labels") if sparse else ("categorical", "one-hot targets")

    def encode(labels: Array, d: int) -> Array:
        return labels if sparse else _one_hot(labels, d)

    def decode(y: Array, d: int) -> Array:
        return _one_hot(y, d) if sparse else y

    def draw(generator: Generator, n: int, d: int) -> Array:
        return encode(_labels(generator, n, d), d)

    def other(generator: Generator, y: Array, d: int) -> Array:
        return np.roll(decode(y, d), generator.integers(1, d), axis=-1)

    def near(one_hot: Array, d: int) -> Array:
        return 0.97 * one_hot + 0.03 / d

    return [
        Domain(
            prefix,
            f"probabilities of classes for {targets}",
            draw,
            lambda generator, y, d: _softmax(generator.normal(size=(len(y), d))),
            lambda y, d: near(decode(y, d), d),
            lambda generator, y, d: near(other(generator, y, d), d),
            sizes=(3, 5),
            edges=_simplex_edges(encode),
            also_away=(lambda p: _raise_wrong_class(p, 0.3),),
        ),
        Domain(
            f"{prefix}_logits",
            f"logits of classes for {targets}",
            draw,
            lambda generator, y, d: 2 * generator.normal(size=(len(y), d)),
            lambda y, d: 6 * decode(y, d),
            lambda generator, y, d: 6 * other(generator, y, d),
            sizes=(3, 5),
            edges=_class_logit_edges(encode),
            also_away=(lambda p: _raise_wrong_class(p, 3.0),),
            invariances=(lambda p: p + 1.5,),
        ),
    ]


def _pair_labels(generator: Generator, n: int, d: int) -> Array:
    # Every label occurs at least twice, and none of them is an index into the embedding.
    return generator.permutation(np.array([11.0, 17.0, 23.0])[np.arange(n) // 2 % 3])


def _clusters(y: Array, d: int) -> Array:
    return _unit(np.eye(3, d)[np.searchsorted([11.0, 17.0, 23.0], y)] + 0.01)


def _ordinal_logits(y: Array, d: int) -> Array:
    return np.where(y[:, None] > np.arange(d), 6.0, -6.0)


_STEPS, _SYMBOLS, _LENGTH = 9, 5, 3


def _sequences(generator: Generator, n: int, d: int) -> Array:
    y = np.stack([generator.permutation(np.arange(1, _SYMBOLS))[:_LENGTH] for _ in range(n)]).astype(float)
    y[1::2, -1] = 0.0  # 0 pads
    return y


def _aligned(y: Array, d: int) -> Array:
    path = np.zeros((len(y), _STEPS), int)
    path[:, 1 : 2 * _LENGTH : 2] = y
    return 6 * np.eye(_SYMBOLS)[path]


def _as_images(draw: Callable[..., Array]) -> Callable[[Generator, int, int], Array]:
    def images(generator: Generator, n: int, d: int) -> Array:
        return np.stack([draw(generator, 12, d).reshape(3, 4, d) for _ in range(n)])

    return images


def _toward(y: Array, d: int) -> Array:
    return 0.98 * y + 0.01


def _opposite(generator: Generator, y: Array, d: int) -> Array:
    return np.abs(y - generator.uniform(0.3, 0.95, size=y.shape))


DOMAINS = {
    domain.name: domain
    for domain in [
        Domain(
            "real",
            "real targets and predictions",
            _normal,
            lambda generator, y, d: 1.5 * generator.normal(size=y.shape),
            lambda y, d: y,
            _away_from,
            edges=_real_edges,
            elementwise=True,
        ),
        Domain(
            "positive",
            "positive targets and predictions",
            lambda generator, n, d: generator.uniform(0.5, 3, size=(n, d)),
            lambda generator, y, d: generator.uniform(0.3, 4, size=y.shape),
            lambda y, d: y,
            lambda generator, y, d: y * generator.uniform(2, 4, size=y.shape) ** generator.choice([-1, 1], y.shape),
            edges=_positive_edges,
            elementwise=True,
        ),
        Domain(
            "probability",
            "probabilities for targets 0 and 1",
            _bits,
            lambda generator, y, d: generator.uniform(0.05, 0.95, size=y.shape),
            _toward,
            _opposite,
            edges=_probability_edges,
            wrong=tuple((y, abs(y - p)) for y in (0.0, 1.0) for p in (0.97, 0.997, 0.9997)),
            elementwise=True,
        ),
        Domain(
            "logits",
            "logits for targets 0 and 1",
            _bits,
            lambda generator, y, d: 2 * generator.normal(size=y.shape),
            lambda y, d: 6 * (2 * y - 1),
            lambda generator, y, d: -(2 * y - 1) * generator.uniform(0.5, 4, size=y.shape),
            edges=_logit_edges,
            wrong=((0.0, 3.0), (0.0, 6.0), (1.0, -3.0), (1.0, -6.0)),
            elementwise=True,
        ),
        Domain(
            "direction",
            "unit vectors",
            lambda generator, n, d: _unit(generator.normal(size=(n, d))),
            lambda generator, y, d: _unit(generator.normal(size=y.shape)),
            lambda y, d: y,
            lambda generator, y, d: _unit(-y + 0.5 * generator.normal(size=y.shape)),
            sizes=(3, 5),
            edges=lambda d: [
                Case("y = p", _unit(np.ones((2, d))), _unit(np.ones((2, d)))),
                Case("y = -p", _unit(np.ones((2, d))), -_unit(np.ones((2, d)))),
                Case("p = 0", _unit(np.ones((2, d))), np.zeros((2, d))),
                Case("y = p = 0", np.zeros((2, d)), np.zeros((2, d))),
            ],
            invariances=(lambda p: 3 * p,),
        ),
        Domain(
            "margin",
            "margins for targets -1 and 1",
            _signs,
            lambda generator, y, d: 1.5 * generator.normal(size=y.shape),
            lambda y, d: y,
            lambda generator, y, d: -y * generator.uniform(0.5, 3, size=y.shape),
            edges=_margin_edges,
            elementwise=True,
        ),
        *_class_domains(sparse=False),
        *_class_domains(sparse=True),
        Domain(
            "ordinal",
            "one logit per threshold for ordered integer labels",
            lambda generator, n, d: _labels(generator, n, d + 1),
            lambda generator, y, d: 2 * generator.normal(size=(len(y), d)),
            _ordinal_logits,
            lambda generator, y, d: -_ordinal_logits(y, d),
            sizes=(4, 3),
            edges=lambda d: [
                Case("all logits 0", np.arange(d + 1.0), np.zeros((d + 1, d))),
                Case("logits 100 and right", np.arange(d + 1.0), 20 * _ordinal_logits(np.arange(d + 1.0), d)),
                Case("logits 100 and wrong", np.arange(d + 1.0), -20 * _ordinal_logits(np.arange(d + 1.0), d)),
            ],
        ),
        Domain(
            "sequence",
            "logits over time for label sequences padded with 0",
            _sequences,
            lambda generator, y, d: generator.normal(size=(len(y), _STEPS, _SYMBOLS)),
            _aligned,
            lambda generator, y, d: 6 * np.eye(_SYMBOLS)[np.zeros((len(y), _STEPS), int)],
            sizes=(0,),
        ),
        Domain(
            "segmentation",
            "images of probabilities for targets 0 and 1",
            _as_images(_bits),
            lambda generator, y, d: generator.uniform(0.05, 0.95, size=y.shape),
            _toward,
            _opposite,
            sizes=(3, 1),
            edges=lambda d: [
                Case(case.label, *(np.broadcast_to(x[:, None, None], (2, 3, 4, d)) for x in (case.y_true, case.y_pred)))
                for case in _probability_edges(d)
            ],
        ),
    ]
}
"""The domains by name, in the order in which they are tried."""

EMBEDDINGS = Domain(
    "embeddings",
    "embeddings that are compared with one another, for labels of which only equality counts",
    _pair_labels,
    lambda generator, y, d: _unit(generator.normal(size=(len(y), d))),
    _clusters,
    lambda generator, y, d: _unit(np.roll(_clusters(y, d), generator.integers(1, 3), axis=0) + 0.3),
    sizes=(4,),
    batch=6,
)
DOMAINS[EMBEDDINGS.name] = EMBEDDINGS

UPGRADES = {"probability": "logits", "categorical": "categorical_logits", "sparse": "sparse_logits"}
"""Probabilities are valid logits, so a loss of logits also passes for one of probabilities; this one is more."""

LIKELY = ("probability", "categorical", "sparse", "direction", "real", "positive", "logits")
"""The order in which a domain is assumed where none makes sense of a loss: numbers in [0, 1] suit nearly all."""
