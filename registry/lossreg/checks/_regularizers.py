"""The checks of a regularizer."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np

from lossreg.checks._arrays import call
from lossreg.checks._plugin import PluginUnderTest, inner
from lossreg.checks._results import CheckSkipped, fail_if, one_line, skip_if
from lossreg.checks._shared import LAST, by_name, finite, gradient

_ZERO = re.compile(
    r"\b(zero|all-zero|null)\s+(weights?|matri\w+|tensors?|kernels?|vectors?)|\b(weights?|kernels?|w)\s*"
    r"(=|are|is|of|at)\s*(all\s+)?(zero|0)\b|\bat (zero|0)\b",
    re.IGNORECASE,
)
_STRENGTHS = re.compile(
    r"r|l|l1|l2|lam|lamb|lambd|lambda_?\w*|lmbda|reg|factor|strength|scale|weight|weight_decay|penalty|coef\w*|amount",
    re.IGNORECASE,
)


def scalar(plugin: PluginUnderTest) -> str:
    """The penalty is one number.

    Take one tensor of weights, and sum or average over all its axes.
    """
    shape = plugin(*plugin.data(0)).shape
    seen = f"weights of shape {plugin.sizes[0]} gave a value of shape {shape}, which Keras sums up silently"
    fail_if(shape, seen)
    return "one number"


def ranks(plugin: PluginUnderTest) -> str:
    """Weights of rank 1 to 4 (biases, kernels, convolutions) are taken, or refused in so many words.

    Sum over all axes, or reshape first; else refuse with a ValueError that says which rank is right.
    """
    taken, refused = [], []
    whole = plugin(*plugin.data(1)).ndim == 0  # else the check 'scalar' says so
    for shape in sorted(plugin.domain.sizes, key=np.size):
        try:
            value = plugin(*plugin.data(1, d=shape))
        except Exception as error:
            fail_if(not _refuses(plugin, error), f"weights of shape {shape} raise {one_line(error)}")
            refused.append(str(np.size(shape)))
        else:
            fail_if(value.ndim and whole, f"weights of shape {shape} gave a value of shape {value.shape}")
            taken.append(str(np.size(shape)))
    seen = f"it takes rank {', '.join(taken)} only, and refuses rank {', '.join(refused)} by ValueError"
    skip_if(refused, seen)
    return "takes weights of rank 1, 2, 3 and 4"


def _refuses(plugin: PluginUnderTest, error: Exception) -> bool:
    """Whether an error was raised on purpose: a ValueError from the plugin's own file."""
    place: Any = error.__traceback__
    raised_in = inspect.getinnerframes(place)[-1].frame.f_globals.get("__name__")
    made = inner(plugin.made)
    owners = (plugin.target, type(made), made)
    return isinstance(error, ValueError) and raised_in in {getattr(owner, "__module__", None) for owner in owners}


def zero(plugin: PluginUnderTest) -> str:
    """No penalty for zero weights, unless the docstring says so.

    Subtract the constant, or say in the docstring what it is at zero weights.
    """
    value, ones = (float(plugin(fill(plugin.sizes[0])).sum()) for fill in (np.zeros, np.ones))
    skip_if(not np.isfinite(value), "the value is not finite there; see the check 'finite'")
    if abs(value) <= 1e-6 * max(1e-6, abs(ones)):
        return "zero weights cost nothing"
    fail_if(not _ZERO.search(plugin.docstring), f"zero weights cost {value:.6g}")
    return f"zero weights cost {value:.6g}, which the docstring explains"


def scale(plugin: PluginUnderTest) -> str:
    """The penalty is proportional to its λ.

    Multiply all of the penalty by it, once, and look for a flipped sign.
    """
    strengths = {name: value for name, value in plugin.numbers.items() if _STRENGTHS.fullmatch(name)}
    names = "r, l1, l2, lam, factor, strength, scale, …"
    skip_if(not strengths, f"none of its parameters is named like a strength (λ): {names}")
    arrays = tuple(3 * array for array in plugin.data(6))  # small weights may be welcome
    for name, value in strengths.items():
        a, b, c = (k * (abs(value) or 0.01) for k in (1, 2, 3))
        try:
            one, two, three = (float(call(plugin.own(plugin.create(**{name: x})), *arrays).sum()) for x in (a, b, c))
        except Exception as error:
            raise CheckSkipped(f"{name} = {b:g} or {c:g} is refused: {one_line(error)}") from None
        seen = f"{name} = {a:g}, {b:g}, {c:g} gives {one:.6g}, {two:.6g}, {three:.6g}"
        slack = 1e-3 * max(abs(one), abs(two), abs(three))
        fail_if(abs(three - 2 * two + one) > slack, f"{seen}, no line")
        if len(strengths) == 1:
            fail_if(abs(two - 2 * one) > slack, f"{seen}, not twice and three times as much")
            fail_if(two < one, f"{seen}: a larger {name} lowers the penalty")
    return f"{', '.join(strengths)}: the penalty grows in proportion"


CHECKS = by_name(scalar, ranks, finite, zero, gradient, scale, *LAST)
"""The checks of a regularizer by name, in the order in which they run."""
