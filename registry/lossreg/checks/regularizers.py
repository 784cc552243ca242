"""The contract of a regularizer, one function per check."""

from __future__ import annotations

import inspect
import re
from typing import Any

import numpy as np

from lossreg.checks import shared
from lossreg.checks.report import Fault, Skip
from lossreg.checks.shared import Check, require_repeatable
from lossreg.checks.subject import WEIGHT_SHAPES, Subject, call, differentiate, one_line, own, weights

_ZERO = re.compile(
    r"\b(zero|all-zero|null)\s+(weights?|matri\w+|tensors?|kernels?|vectors?)|\b(weights?|kernels?|w)\s*"
    r"(=|are|is|of|at)\s*(all\s+)?(zero|0)\b|\bat (zero|0)\b",
    re.IGNORECASE,
)
_STRENGTHS = re.compile(
    r"r|l|l1|l2|lam|lamb|lambd|lambda_?\w*|lmbda|reg|factor|strength|scale|weight|weight_decay|penalty|coef\w*|amount",
    re.IGNORECASE,
)


def scalar(subject: Subject) -> str:
    """The penalty is one number."""
    value = call(subject.function, weights(0, subject.shape))
    if value.ndim:
        raise Fault(
            f"weights of shape {subject.shape} gave a value of shape {value.shape}, which Keras sums up silently",
            "Sum or average over all axes.",
        )
    return "one number"


def ranks(subject: Subject) -> str:
    """Weights of rank 1 to 4 (biases, kernels, convolutions) are taken, or refused in so many words."""
    taken, refused = [], []
    whole = call(subject.function, weights(1, subject.shape)).ndim == 0  # else the check 'scalar' says so
    for shape in sorted(WEIGHT_SHAPES, key=len):
        try:
            value = call(subject.function, weights(1, shape))
        except Exception as error:
            if not _refuses(subject, error):
                raise Fault(
                    f"weights of shape {shape} raise {one_line(error)}",
                    "Sum over all axes, or reshape first; else refuse with a ValueError that says which rank is right.",
                ) from None
            refused.append(len(shape))
            continue
        if value.ndim and whole:
            raise Fault(f"weights of shape {shape} gave a value of shape {value.shape}", "Sum over all axes.")
        taken.append(len(shape))
    if refused:
        raise Skip(f"it takes rank {_list(taken)} only, and refuses rank {_list(refused)} with a ValueError")
    return "takes weights of rank 1, 2, 3 and 4"


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers))


def _refuses(subject: Subject, error: Exception) -> bool:
    """Whether an error was raised on purpose: a ValueError from the plugin's own file."""
    if not isinstance(error, ValueError) or error.__traceback__ is None:
        return False
    last = inspect.getinnerframes(error.__traceback__)[-1]
    function: Any = subject.object._function
    for owner in (subject.target, type(function), function):
        try:
            if inspect.getsourcefile(owner) == last.filename:
                return True
        except TypeError:
            continue
    return False


def _special(subject: Subject) -> dict[str, Any]:
    shape = subject.shape
    ordinary = weights(2, shape)
    row, column = ordinary.copy(), ordinary.copy()
    row[0] = 0
    column[..., 0] = 0
    return {
        "ordinary weights": ordinary,
        "zero weights": np.zeros(shape),
        "weights that are all 1": np.ones(shape),
        "a row of zeros": row,
        "a column of zeros": column,
        "the weight 100": np.full(shape, 100.0),
        "the weight -10000": np.full(shape, -1e4),
        "the weight 1e-30": np.full(shape, 1e-30),
        "one weight that is not zero": np.where(np.arange(ordinary.size).reshape(shape) == 0, 1.0, 0.0),
    }


def finite(subject: Subject) -> str:
    """No NaN and no infinity, in value or gradient: at zero, in a row of zeros, far out."""
    require_repeatable(subject)
    for label, array in _special(subject).items():
        value, slope = differentiate(subject.function, array)
        for what, found in (("value", value), ("gradient", slope)):
            if not np.isfinite(found).all():
                word = "NaN" if np.isnan(found).any() else "infinite"
                raise Fault(
                    f"the {what} is {word} at {label}",
                    "Guard sqrt, log and division before they are differentiated; `where` does not guard a gradient.",
                )
    return "value and gradient are finite, at zero and far out"


def zero(subject: Subject) -> str:
    """No penalty for zero weights, unless the docstring says so."""
    require_repeatable(subject)
    value = float(call(subject.function, np.zeros(subject.shape)).sum())
    if not np.isfinite(value):
        raise Skip("the value is not finite there; see the check 'finite'")
    if abs(value) <= 1e-6 * max(1e-6, abs(float(call(subject.function, np.ones(subject.shape)).sum()))):
        return "zero weights cost nothing"
    if _ZERO.search(subject.docstring):
        return f"zero weights cost {value:.6g}, which the docstring explains"
    raise Fault(
        f"zero weights cost {value:.6g}",
        "Subtract the constant, or say in the docstring what it is at zero weights.",
    )


def gradient(subject: Subject) -> str:
    """The gradient is there, equals finite differences, and is not cut off."""
    inputs = [(scale * weights(seed, subject.shape),) for seed, scale in ((3, 1.0), (4, 1.0), (5, 0.3))]
    return shared.gradient(subject, inputs)


def scale(subject: Subject) -> str:
    """The penalty is proportional to its λ."""
    require_repeatable(subject)
    names = [name for name in subject.float_parameters() if _STRENGTHS.fullmatch(name)]
    if not names:
        raise Skip("none of its parameters is named like a strength (λ): r, l1, l2, lam, factor, strength, scale, …")
    array = weights(6, subject.shape)
    for name in names:
        value = subject.value_of(next(p for p in subject.parameters if p.name == name))
        step = abs(float(value)) or 0.01
        try:
            one, two, three = (
                float(call(own(subject.create(**{name: k * step})), array).sum()) for k in (1.0, 2.0, 3.0)
            )
        except Exception as error:
            raise Skip(f"{name} = {2 * step:g} or {3 * step:g} is refused: {one_line(error)}") from None
        rise = two - one
        size = max(abs(one), abs(two), abs(three))
        if abs(three - two - rise) > 1e-3 * size:
            raise Fault(
                f"{name} = {step:g}, {2 * step:g}, {3 * step:g} gives {one:.6g}, {two:.6g}, {three:.6g}, no straight "
                "line",
                f"Multiply the penalty by {name}.",
            )
        if len(names) == 1 and abs(two - 2 * one) > 1e-3 * size:
            raise Fault(
                f"twice the {name} makes {two:.6g} of {one:.6g}, not twice as much", f"Multiply all of it by {name}."
            )
        if len(names) == 1 and rise < 0:
            raise Fault(f"a larger {name} lowers the penalty from {one:.6g} to {two:.6g}", "Look for a flipped sign.")
    return f"{', '.join(names)}: the penalty grows in proportion"


def dtypes(subject: Subject) -> str:
    """float16, bfloat16 and float64 work, and none is hard-coded."""
    return shared.dtypes(subject, (weights(7, subject.shape),))


def compiled(subject: Subject) -> str:
    """The same in eager mode, as a graph and under XLA."""
    return shared.compiled(subject, (weights(8, subject.shape),))


def tensor_parameters(subject: Subject) -> str:
    """Parameters may be tensors, so that a sweep over them can be vectorized."""
    return shared.tensor_parameters(subject, (weights(9, subject.shape),))


def saved_model(subject: Subject) -> str:
    """A saved model loads in a fresh process, with the regularizer and its parameters."""
    return shared.saved_model(subject, (weights(10, subject.shape),))


CHECKS: dict[str, Check] = {
    "scalar": scalar,
    "ranks": ranks,
    "finite": finite,
    "zero": zero,
    "gradient": gradient,
    "scale": scale,
    "dtypes": dtypes,
    "compiled": compiled,
    "parameters": shared.parameters,
    "tensor_parameters": tensor_parameters,
    "config": shared.config,
    "saved_model": saved_model,
    "state": shared.still_repeatable,
}
"""The checks of a regularizer by name, in the order in which they run."""
