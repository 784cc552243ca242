"""The checks of a regularizer."""

from __future__ import annotations

import inspect
import re

import numpy as np

from lossreg.checks._arrays import call, one_line
from lossreg.checks._gradient import gradient
from lossreg.checks._plugin import PluginUnderTest, inner, own
from lossreg.checks._results import CheckFailed, CheckSkipped
from lossreg.checks._shared import LAST, by_name, finite

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
    value = call(plugin.function, *plugin.data(0))
    if value.ndim:
        raise CheckFailed(
            f"weights of shape {plugin.sizes[0]} gave a value of shape {value.shape}, which Keras sums up silently"
        )
    return "one number"


def ranks(plugin: PluginUnderTest) -> str:
    """Weights of rank 1 to 4 (biases, kernels, convolutions) are taken, or refused in so many words.

    Sum over all axes, or reshape first; else refuse with a ValueError that says which rank is right.
    """
    taken, refused = [], []
    whole = call(plugin.function, *plugin.data(1)).ndim == 0  # else the check 'scalar' says so
    for shape in sorted(plugin.domain.sizes, key=np.size):
        try:
            value = call(plugin.function, *plugin.data(1, d=shape))
        except Exception as error:
            if not _refuses(plugin, error):
                raise CheckFailed(f"weights of shape {shape} raise {one_line(error)}") from None
            refused.append(str(np.size(shape)))
            continue
        if value.ndim and whole:
            raise CheckFailed(f"weights of shape {shape} gave a value of shape {value.shape}")
        taken.append(str(np.size(shape)))
    if refused:
        raise CheckSkipped(
            f"it takes rank {', '.join(taken)} only, and refuses rank {', '.join(refused)} by ValueError"
        )
    return "takes weights of rank 1, 2, 3 and 4"


def _refuses(plugin: PluginUnderTest, error: Exception) -> bool:
    """Whether an error was raised on purpose: a ValueError from the plugin's own file."""
    if not isinstance(error, ValueError) or error.__traceback__ is None:
        return False
    raised_in = inspect.getinnerframes(error.__traceback__)[-1].frame.f_globals.get("__name__")
    made = inner(plugin.made)
    return raised_in in {getattr(owner, "__module__", None) for owner in (plugin.target, type(made), made)}


def zero(plugin: PluginUnderTest) -> str:
    """No penalty for zero weights, unless the docstring says so.

    Subtract the constant, or say in the docstring what it is at zero weights.
    """
    value, ones = (float(call(plugin.function, fill(plugin.sizes[0])).sum()) for fill in (np.zeros, np.ones))
    if not np.isfinite(value):
        raise CheckSkipped("the value is not finite there; see the check 'finite'")
    if abs(value) <= 1e-6 * max(1e-6, abs(ones)):
        return "zero weights cost nothing"
    if _ZERO.search(plugin.docstring):
        return f"zero weights cost {value:.6g}, which the docstring explains"
    raise CheckFailed(f"zero weights cost {value:.6g}")


def scale(plugin: PluginUnderTest) -> str:
    """The penalty is proportional to its λ.

    Multiply all of the penalty by it, once, and look for a flipped sign.
    """
    strengths = {name: value for name, value in plugin.numbers.items() if _STRENGTHS.fullmatch(name)}
    if not strengths:
        raise CheckSkipped(
            "none of its parameters is named like a strength (λ): r, l1, l2, lam, factor, strength, scale, …"
        )
    arrays = tuple(3 * array for array in plugin.data(6))  # small weights may be welcome
    for name, value in strengths.items():
        step = abs(value) or 0.01
        try:
            one, two, three = (
                float(call(own(plugin.create(**{name: k * step})), *arrays).sum()) for k in (1.0, 2.0, 3.0)
            )
        except Exception as error:
            raise CheckSkipped(f"{name} = {2 * step:g} or {3 * step:g} is refused: {one_line(error)}") from None
        slack = 1e-3 * max(abs(one), abs(two), abs(three))
        if abs(three - 2 * two + one) > slack:
            raise CheckFailed(
                f"{name} = {step:g}, {2 * step:g}, {3 * step:g} gives {one:.6g}, {two:.6g}, {three:.6g}, no line"
            )
        if len(strengths) == 1 and abs(two - 2 * one) > slack:
            raise CheckFailed(f"twice the {name} makes {two:.6g} of {one:.6g}, not twice as much")
        if len(strengths) == 1 and two < one:
            raise CheckFailed(f"a larger {name} lowers the penalty from {one:.6g} to {two:.6g}")
    return f"{', '.join(strengths)}: the penalty grows in proportion"


CHECKS = by_name(scalar, ranks, finite, zero, gradient, scale, *LAST)
"""The checks of a regularizer by name, in the order in which they run."""
