"""Numbers that are learned: how what is trained, which is unconstrained, becomes the number that a plugin is handed."""

from __future__ import annotations

import math
from typing import Annotated, Any

from annotated_types import Gt
from keras import ops


class Unbounded:
    """A learned number without bounds.

    Formula: `unconstrained`.

    Arguments:
        initial: the value at the start. Defaults to 0.

    Example:
    >>> Unbounded(initial=0.5).inverse(0.5)
    0.5
    """

    def __init__(self, initial: float = 0.0) -> None:
        self.initial = initial

    def __call__(self, unconstrained: Any) -> Any:
        """Return the number for what is trained."""
        return unconstrained

    def inverse(self, value: float) -> float:
        """Return what is trained for a value."""
        return value


class Bounded:
    """A learned number between two bounds, by a sigmoid.

    Formula: `a + (b - a) / (1 + exp(-unconstrained))`.

    Arguments:
        initial: the value at the start, between the bounds. Defaults to 0.5.
        lower: `a`, the lower bound, which is approached and not reached. Defaults to 0.
        upper: `b`, the upper bound, likewise. Defaults to 1.

    Example:
    >>> r = Bounded(initial=0.8)
    >>> float(r(ops.convert_to_tensor(r.inverse(0.75))))
    0.75
    """

    def __init__(self, initial: float = 0.5, lower: float = 0.0, upper: float = 1.0) -> None:
        self.initial, self.lower, self.upper = initial, lower, upper

    def __call__(self, unconstrained: Any) -> Any:
        """Return the number for what is trained."""
        return self.lower + (self.upper - self.lower) * ops.sigmoid(unconstrained)

    def inverse(self, value: float) -> float:
        """Return what is trained for a value; raises ValueError if it is not between the bounds."""
        if not self.lower < value < self.upper:
            raise ValueError(f"{value:g} is not between {self.lower:g} and {self.upper:g}")
        return math.log((value - self.lower) / (self.upper - value))


class Positive:
    """A learned number above 0, by an exponential.

    Formula: `exp(unconstrained)`.

    Arguments:
        initial: the value at the start, above 0. Defaults to 1.

    Example:
    >>> Positive().inverse(1.0)
    0.0
    """

    def __init__(self, initial: Annotated[float, Gt(0)] = 1.0) -> None:
        self.initial = initial

    def __call__(self, unconstrained: Any) -> Any:
        """Return the number for what is trained."""
        return ops.exp(unconstrained)

    def inverse(self, value: float) -> float:
        """Return what is trained for a value; raises ValueError if it is not above 0."""
        if not value > 0:
            raise ValueError(f"{value:g} is not above 0")
        return math.log(value)


class Uncertainty(Positive):
    """A learned weight of one of several losses, by the uncertainty of its task.

    Formula: `w = exp(-s) / 2`, where `s = log σ²` is trained, and `s / 2` is added to the loss: together
    `L / (2 σ²) + log σ`, the negative log-likelihood of a Gaussian of variance `σ²`. For a fixed `L` the sum is least
    at `w = 1 / (2 L)`, so the weight does not become 0, and terms of different size come to weigh the same.

    Arguments:
        initial: the weight at the start, above 0. Defaults to 0.5: a variance of 1.

    Example:
    >>> weight = Uncertainty()
    >>> s = ops.convert_to_tensor(weight.inverse(2.0))
    >>> round(float(s), 4), round(float(weight(s)), 4), round(float(weight.penalty(s)), 4)
    (-1.3863, 2.0, -0.6931)

    Source: A. Kendall, Y. Gal and R. Cipolla, "Multi-Task Learning Using Uncertainty …", 2018, arXiv:1705.07115.
    """

    def __init__(self, initial: Annotated[float, Gt(0)] = 0.5) -> None:
        self.initial = initial

    def __call__(self, unconstrained: Any) -> Any:
        """Return the number for what is trained."""
        return ops.exp(-unconstrained) / 2

    def penalty(self, unconstrained: Any) -> Any:
        """Return what is added to the loss."""
        return unconstrained / 2

    def inverse(self, value: float) -> float:
        """Return what is trained for a weight."""
        return -math.log(2) - super().inverse(value)
