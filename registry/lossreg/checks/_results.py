"""What a check found, and what ends a check early."""

from __future__ import annotations

import contextlib
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum


class Verdict(str, Enum):
    """Whether a plugin passes one check."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"


@dataclass(frozen=True)
class Result:
    """What one check found.

    Arguments:
        plugin: the plugin and its parameters: `"focal(gamma=3.0)"`.
        kind: `"loss"` or `"regularizer"`.
        check: the name of the check: `"gradient"`.
        verdict: pass, fail or skip; a check that does not apply is skipped.
        seen: what was seen; the reason, where it was skipped.
        advice: what to do about it, or an empty string.
    """

    plugin: str
    kind: str
    check: str
    verdict: Verdict
    seen: str
    advice: str = ""

    def __str__(self) -> str:
        advice = f" {self.advice}" if self.advice else ""
        return f"{self.kind} {self.plugin}: {self.check}: {self.verdict.value}: {self.seen}.{advice}"


class NotPassed(Exception):  # noqa: N818  a verdict, no error of this program
    """What ends a check early: what was seen, and what to do about it."""

    verdict: Verdict

    def __init__(self, seen: str, advice: str = "") -> None:
        super().__init__(seen)
        self.seen, self.advice = seen, advice


class CheckFailed(NotPassed):
    """Raised by a check that a plugin fails."""

    verdict = Verdict.FAIL


class CheckSkipped(NotPassed):
    """Raised by a check that does not apply."""

    verdict = Verdict.SKIP


def fail_if(found: object, seen: str) -> None:
    """Fail the check if something is found."""
    if found:
        raise CheckFailed(seen)


def skip_if(found: object, seen: str, advice: str = "") -> None:
    """Skip the check if something is found."""
    if found:
        raise CheckSkipped(seen, advice)


@contextlib.contextmanager
def failing(what: str) -> Iterator[None]:
    """Fail the check by any error inside: `"<what> raises ValueError: …"`."""
    try:
        yield
    except Exception as error:
        raise CheckFailed(f"{what} raises {one_line(error)}") from None


def one_line(error: BaseException) -> str:
    """Return an exception as one short line, without the names of TensorFlow's nodes."""
    sentence = re.sub(r"\{\{.*?\}\}", "", str(error)).partition(". ")[0]
    return f"{type(error).__name__}: {textwrap.shorten(sentence, 160, placeholder='…')}"
