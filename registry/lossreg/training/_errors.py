"""What can go wrong in a run and is nobody's bug; the message is enough."""

from __future__ import annotations


class ConfigError(ValueError):
    """A config value is outside its range."""

    status = "failed"


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite."""

    status = "diverged"


class CannotVectorizeError(Exception):
    """Configs cannot train in one program; each of them can still train alone.

    The message names the plugin and the line of its code that is in the way.
    """
