"""What a check found, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import Enum
from typing import IO, Any


class Verdict(str, Enum):
    """Whether a plugin keeps to one clause of the contract."""

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

    def as_dict(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return {**asdict(self), "verdict": self.verdict.value}


class Fault(Exception):  # noqa: N818  a verdict, no error of this program
    """Raised by a check that fails.

    Arguments:
        seen: what was seen.
        advice: what to do about it.
    """

    def __init__(self, seen: str, advice: str) -> None:
        super().__init__(seen)
        self.seen = seen
        self.advice = advice


class Skip(Exception):  # noqa: N818
    """Raised by a check that does not apply.

    Arguments:
        reason: why it does not apply.
        advice: what would make it apply, or an empty string.
    """

    def __init__(self, reason: str, advice: str = "") -> None:
        super().__init__(reason)
        self.seen = reason
        self.advice = advice


_STYLES = {Verdict.PASS: "green", Verdict.FAIL: "bold red", Verdict.SKIP: "yellow"}


def print_results(results: Iterable[Result], file: IO[str] | None = None) -> None:
    """Print the results of one plugin as a table: check, verdict, what was seen, what to do."""
    results = list(results)
    table = _table(f"{results[0].kind} {results[0].plugin}", "check", "verdict", "what was seen", "what to do")
    for result in results:
        table.add_row(result.check, _verdict(result.verdict), _escape(result.seen), _escape(result.advice))
    _print(table, file)


def print_summary(results: Iterable[Result], file: IO[str] | None = None) -> None:
    """Print the results of many plugins: the counts of each, then every fault in full."""
    plugins: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        plugins.setdefault((result.kind, result.plugin), []).append(result)
    table = _table("", "kind", "plugin", *(verdict.value for verdict in Verdict), "faults")
    for (kind, plugin), own in plugins.items():
        counts = [str(sum(result.verdict is verdict for result in own)) for verdict in Verdict]
        faults = ", ".join(result.check for result in own if result.verdict is Verdict.FAIL)
        table.add_row(kind, _escape(plugin), *counts, f"[bold red]{faults}[/]" if faults else "")
    _print(table, file)
    for own in plugins.values():
        if faulty := [result for result in own if result.verdict is Verdict.FAIL]:
            print_results(faulty, file)


def _table(title: str, *columns: str) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(title=_escape(title) or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in {"check", "verdict"})
    return table


def _verdict(verdict: Verdict) -> str:
    return f"[{_STYLES[verdict]}]{verdict.value}[/]"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _print(table: Any, file: IO[str] | None) -> None:
    from rich.console import Console

    console = Console(file=file)
    if not console.is_terminal:
        console = Console(file=file, width=160)
    console.print(table)
