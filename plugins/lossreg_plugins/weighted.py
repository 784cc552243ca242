"""Weighted sums of losses, and of regularizers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def weighted(terms: dict[str, Callable[..., Any]], weights: dict[str, float] = {}) -> Callable[..., Any]:  # noqa: B006
    """Weighted sum of other losses, or of other regularizers.

    Formula: `Σ_i w_i term_i`. A term may be a weighted sum itself.

    Arguments:
        terms: the terms by a name of your choice; in a config, nodes of their own.
        weights: the weight of each term by the same name; 1 where it is left out. Defaults to no weights.

    Returns a function of the terms' data. Raises ValueError if a weight belongs to no term, or there is no term.

    Example:
    >>> total = weighted({"first": abs, "second": float}, {"second": 0.5})
    >>> total(-3)  # 1 × 3 + 0.5 × -3
    1.5
    """
    if not terms:
        raise ValueError("there is no term")
    if strangers := set(weights) - set(terms):
        raise ValueError(f"there is no term {', '.join(sorted(strangers))}; the terms are {', '.join(terms)}")

    def total(*data: Any) -> Any:
        return sum(weights.get(name, 1.0) * term(*data) for name, term in terms.items())

    return total
