"""What a check found, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import IO, Any


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
        self.seen = seen
        self.advice = advice


class CheckFailed(_NotPassed):
    """Raised by a check that a plugin fails."""


class CheckSkipped(_NotPassed):
    """Raised by a check that does not apply."""


_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.SKIP: "yellow"}


def print_results(results: Iterable[Result], file: IO[str] | None = None) -> None:
    """Print the results of one plugin as a table: check, verdict, what was seen, what to do."""
    results = list(results)
    rows = [(r.check, (r.verdict.value, _STYLES[r.verdict]), r.seen, r.advice) for r in results]
    title = f"{results[0].kind} {results[0].plugin}"
    _print(file, title, ("check", "verdict", "what was seen", "what to do"), rows)


def print_summary(results: Iterable[Result], file: IO[str] | None = None) -> None:
    """Print the results of many plugins: the counts of each, then every fault in full."""
    plugins: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        plugins.setdefault((result.kind, result.plugin), []).append(result)
    faults = {key: [r for r in found if r.verdict is Verdict.FAIL] for key, found in plugins.items()}
    rows: list[Any] = []
    for key, found in plugins.items():
        counts = [str(sum(r.verdict is verdict for r in found)) for verdict in Verdict]
        rows.append((*key, *counts, (", ".join(r.check for r in faults[key]), _STYLES[Verdict.FAIL])))
    _print(file, None, ("kind", "plugin", *(verdict.value for verdict in Verdict), "faults"), rows)
    for faulty in filter(None, faults.values()):
        print_results(faulty, file)


def _print(file: IO[str] | None, title: str | None, columns: Iterable[str], rows: Iterable[Any]) -> None:
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
    console = Console(file=file)
    (console if console.is_terminal else Console(file=file, width=160)).print(table)
