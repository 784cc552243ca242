"""What a check found, and how it is shown."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Any


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


class _NotPassed(Exception):  # noqa: N818  a verdict, no error of this program
    """What ends a check early: what was seen, and what to do about it."""

    def __init__(self, seen: str, advice: str = "") -> None:
        super().__init__(seen)
        self.seen, self.advice = seen, advice


class CheckFailed(_NotPassed):
    """Raised by a check that a plugin fails."""


class CheckSkipped(_NotPassed):
    """Raised by a check that does not apply."""


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
    """Return an exception as one short line."""
    text = " ".join(str(error).split()).partition(". ")[0]
    return f"{type(error).__name__}: {text[:160]}{'…' if len(text) > 160 else ''}"


_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.SKIP: "yellow"}


def print_results(results: list[Result]) -> None:
    """Print the results of one plugin as a table: check, verdict, what was seen, what to do."""
    rows = [(r.check, (r.verdict.value, _STYLES[r.verdict]), r.seen, r.advice) for r in results]
    title = f"{results[0].kind} {results[0].plugin}"
    _print(title, ("check", "verdict", "what was seen", "what to do"), rows)


def print_summary(results: Iterable[Result]) -> None:
    """Print the results of many plugins: the counts of each, then every fault in full."""
    plugins: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        plugins.setdefault((result.kind, result.plugin), []).append(result)
    faults = {key: [r for r in found if r.verdict is Verdict.FAIL] for key, found in plugins.items()}
    rows: list[Any] = []
    for key, found in plugins.items():
        counts = [str(sum(r.verdict is verdict for r in found)) for verdict in Verdict]
        rows.append((*key, *counts, (", ".join(r.check for r in faults[key]), _STYLES[Verdict.FAIL])))
    _print(None, ("kind", "plugin", *(verdict.value for verdict in Verdict), "faults"), rows)
    for faulty in filter(None, faults.values()):
        print_results(faulty)


def _print(title: str | None, columns: Iterable[str], rows: Iterable[Any]) -> None:
    """Print a table; a cell is a text, or a text and its style."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title and Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"check", "verdict"})
    for row in rows:
        table.add_row(*(Text(*((cell,) if isinstance(cell, str) else cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)
