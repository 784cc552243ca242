"""What can go wrong in a run and is nobody's bug; the message is enough."""

from __future__ import annotations


class ConfigError(ValueError):
    """A config value is outside its range."""

    status = "failed"


class DivergedError(ArithmeticError):
    """The loss became NaN or infinite."""

    status = "diverged"
