"""The ranges that types declare by annotated-types (`Annotated[float, Interval(ge=0, le=1)]`), or by `msgspec.Meta`."""

from __future__ import annotations

import itertools
import math
import operator
import types
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any

from annotated_types import Ge, GroupedMetadata, Gt, Interval

_LIMITS: dict[str, tuple[Any, str]] = {
    "gt": (operator.gt, "above"),
    "ge": (operator.ge, "at least"),
    "lt": (operator.lt, "below"),
    "le": (operator.le, "at most"),
    "multiple_of": (lambda value, step: abs(math.remainder(value, step)) < 1e-9, "a multiple of"),
    "min_length": (lambda value, length: len(value) >= length, "of length at least"),
    "max_length": (lambda value, length: len(value) <= length, "of length at most"),
}
UNIONS = (typing.Union, types.UnionType)

# What Keras documents of its parameters, or checks itself once they are built.
OF_KERAS = {
    "label_smoothing": Interval(ge=0, le=1),
    "delta": Gt(0),
    "q": Interval(gt=0, lt=1),
    **dict.fromkeys(("l1", "l2", "factor"), Ge(0)),
    **dict.fromkeys(("decay_steps", "first_decay_steps"), Gt(0)),
}


def within(kind: Any, value: Any) -> bool:
    """Whether a value of a type, and what is inside of it, is in the ranges that the type declares.

    Example:
    >>> [within(list[Annotated[float, Gt(0)]] | None, value) for value in ([1.0], [1.0, 0.0], None)]
    [True, False, True]
    """
    origin, inside = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return all(_holds(limit, value, bound) for limit, bound in _limits(kind)) and within(inside[0], value)
    if origin in UNIONS:
        return all(within(member, value) for member in inside)
    if isinstance(value, dict):
        return all(within(inside[-1], each) for each in value.values() if inside)
    if isinstance(value, (list, tuple)):
        several = origin is tuple and ... not in inside
        return all(map(within, inside if several else itertools.repeat(inside[0] if inside else Any), value))
    return True


def bare(kind: Any) -> Any:
    """Return a type without what it declares of ranges."""

    def holder() -> None: ...

    holder.__annotations__ = {"x": kind}
    return typing.get_type_hints(holder)["x"] if "Annotated" in str(kind) else kind


def shown(kind: Any) -> str:
    """Return a type with its ranges as a person writes it.

    Example:
    >>> shown(Annotated[float, Interval(gt=0, le=1)] | None), shown(list[Annotated[int, Ge(2)]])
    ('float in (0, 1] | None', 'list[int at least 2]')
    """
    inside = typing.get_args(kind)
    if typing.get_origin(kind) is Annotated:
        return " ".join([shown(inside[0]), *_words(dict(_limits(kind)))])
    if typing.get_origin(kind) in UNIONS:
        return " | ".join(map(shown, inside))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return " | ".join(repr(member.value) for member in kind)
    if isinstance(kind, type) and not inside:
        return kind.__name__.replace("NoneType", "None")
    text = str(kind)
    for member in inside:
        if isinstance(member, type) and issubclass(member, Enum):
            text = text.replace(f"{member.__module__}.{member.__qualname__}", shown(member))
        elif "Annotated" in str(member):
            text = text.replace(str(member), shown(member))
    return text.replace("typing.", "").replace("collections.abc.", "").replace("NoneType", "None")


def _limits(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield what limits an annotated type: `("gt", 0)`."""
    for given in kind.__metadata__:
        for each in given if isinstance(given, GroupedMetadata) else [given]:
            found = ((name, getattr(each, name, None)) for name in _LIMITS)
            yield from ((name, bound) for name, bound in found if bound is not None)


def _holds(limit: str, value: Any, bound: Any) -> bool:
    try:
        return bool(_LIMITS[limit][0](value, bound))
    except TypeError:  # of another member of a union
        return True


def _words(limits: dict[str, Any]) -> Iterator[str]:
    low, high = (next((name for name in names if name in limits), "") for names in (("gt", "ge"), ("lt", "le")))
    if low and high:
        yield f"in {'(' if low == 'gt' else '['}{limits.pop(low)}, {limits.pop(high)}{')' if high == 'lt' else ']'}"
    yield from (f"{_LIMITS[name][1]} {bound}" for name, bound in limits.items())
