"""What a sweep came to, on the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from sweeps.results import FIXED_COLUMNS, ResultsTable


def show(table: ResultsTable, console: Console | None = None) -> None:
    """Print the rows of a results table: the overrides that differ between jobs, the metrics, and what went wrong."""
    console = console or Console()
    rows = sorted(table.read(), key=lambda row: int(row["job"]))
    if not rows:
        return
    varied = [column for column in rows[0] if len({row[column] for row in rows}) > 1 or column in table.metrics]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    columns = ["job", *(column for column in varied if column not in FIXED_COLUMNS)]
    for column in columns:
        shown.add_column(column, justify="right" if _all_numbers(row[column] for row in rows) else "left", no_wrap=True)
    shown.add_column("status", overflow="fold")
    for row in rows:
        status = row["error"] if row["error"] else row["status"]
        shown.add_row(*(_round(row[column]) for column in columns), status, style=None if not row["error"] else "red")
    console.print(shown)
    console.print(f"{count(rows)}: {table.path}", highlight=False, soft_wrap=True)


def count(rows: Sequence[dict[str, str]]) -> str:
    """How many rows there are of each status.

    Example:

    >>> count([{"status": "completed"}, {"status": "failed"}, {"status": "completed"}])
    '3 jobs, 2 completed, 1 failed'
    """
    statuses = [row["status"] for row in rows]
    jobs = "1 job" if len(rows) == 1 else f"{len(rows)} jobs"
    return ", ".join([jobs, *(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))])


def _all_numbers(cells: Iterable[str]) -> bool:
    return all(_number(cell) is not None for cell in cells if cell)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _round(cell: str) -> str:
    number = _number(cell)
    return cell if number is None or len(cell) <= 6 else f"{number:.4g}"
