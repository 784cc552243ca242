"""Errors that say what was wrong, in which package, and what would be right."""

from __future__ import annotations

import contextlib
import difflib
import dis
import io
import os
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any


class RegistryError(Exception):
    """The base of every error that a wrong name, parameter or plugin raises."""

    def __str__(self) -> str:
        return printable(super().__str__())  # it quotes what strangers wrote


class UnknownNameError(RegistryError, LookupError):
    """No installed package and nothing in this process registers the name.

    Arguments:
        message: what is said.
        name: the name.
        noun: what it was to be: `"loss"`.
        group: the entry-point group in which it was looked for.
    """

    def __init__(self, message: str, name: str = "", noun: str = "", group: str = "") -> None:
        super().__init__(message)
        self.name, self.noun, self.group = name, noun, group


class AmbiguousNameError(RegistryError, LookupError):
    """Several packages register the name; `<distribution>/<name>` tells them apart."""


class BrokenPluginError(RegistryError, ImportError):
    """The plugin is registered, but it cannot be imported, called or described."""


class ParameterError(RegistryError, ValueError):
    """A parameter is unknown, missing, or of the wrong type."""


class DuplicateNameError(RegistryError, ValueError):
    """`register` was given a name that is taken."""


class ShapeError(RegistryError, ValueError):
    """A loss or regularizer returned a value whose shape shows a broadcasting bug."""


class NotAttachedError(RegistryError, RuntimeError):
    """A schedule or a variable follows no model: see `lossreg.attach`."""


class ModelFileError(RegistryError, ValueError):
    """A file holds no model, or names something that may not be loaded from a file."""


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return `" Did you mean 'mix'?"` for the option nearest to `name`, or an empty string.

    Example:
    >>> did_you_mean("mxi", ["bce", "mse", "mix"])
    " Did you mean 'mix'?"
    >>> did_you_mean("zzz", ["bce", "mse", "mix"])
    ''
    """
    options = list(options)
    nearest = difflib.get_close_matches(name, options, n=1, cutoff=0.5)
    nearest = nearest or [option for option in options if name and option.startswith(name)]
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def printable(text: str) -> str:
    r"""Return a plugin's text with what would steer a terminal, or cannot be printed at all, as `\xNN`.

    Example:
    >>> print(printable("a name\x1b[2J, größer"))
    a name\x1b[2J, größer
    """
    controls = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"  # but no tab, no end of a line
    return re.sub(controls, lambda found: f"\\x{ord(found[0]):02x}", text)


def text_of(error: BaseException) -> str:
    """Return what an exception says, as `printable`, even if it cannot say it.

    Example:
    >>> text_of(ValueError("r must be positive"))
    'r must be positive'
    """
    try:
        return printable(str(error))
    except BaseException as inner:  # a plugin's own `__str__` may do anything
        return f"(what it says raises {type(inner).__name__})"


def said(error: BaseException) -> str:
    """Return the type of an exception and what it says: `"ValueError: r must be positive"`."""
    return printable(f"{type(error).__name__}: {text_of(error)}").removesuffix(": ")


def is_ctrl_c(error: BaseException) -> bool:
    """Whether an exception is the user's Ctrl-C: a KeyboardInterrupt that no `raise` in any code made.

    Example:
    >>> try:
    ...     raise KeyboardInterrupt
    ... except KeyboardInterrupt as error:
    ...     is_ctrl_c(error)
    False
    """
    place = error.__traceback__ if isinstance(error, KeyboardInterrupt) else None
    while place and place.tb_next:
        place = place.tb_next
    return place is not None and dis.opname[place.tb_frame.f_code.co_code[place.tb_lasti]] != "RAISE_VARARGS"


def print_anything() -> None:
    """Let nothing that this program prints end it: what the encoding lacks is escaped, what a pipe refuses is lost."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # noqa: SIM115, PTH123 - as long as the program
        setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
            os.environ["PYTHONIOENCODING"] = f"{stream.encoding}:backslashreplace"  # for the program's workers
            for method in ("write", "flush"):
                setattr(stream, method, _unless_refused(getattr(stream, method)))


def _unless_refused(call: Callable[..., Any]) -> Callable[..., Any]:
    def quiet(*arguments: Any) -> Any:
        with contextlib.suppress(OSError):
            return call(*arguments)

    return quiet
