"""What a sweep came to, on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from lossreg.sweeps.aggregate import Cells, Point, axes, best, is_numeric, number, points
from lossreg.sweeps.ending import Report
from lossreg.sweeps.results import FIXED_COLUMNS, ResultsTable

log = logging.getLogger(__name__)

_ROWS = 20
_POINTS = 40


def show(table: ResultsTable, report: Report, *, picture: bool = True, console: Console | None = None) -> None:
    """Print a results table, row by row or, if it is long, taken together over the replicates; and draw it.

    Arguments:
        table: the table.
        report: which columns hold success, the metric and the replicate.
        picture: whether to draw `sweep.png` beside the table, if what was swept can be drawn.
        console: where to print.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 200)  # a file need not be cut to 80
    rows = sorted(table.read(), key=lambda row: int(row["job"]))
    if not rows:
        return
    success = report.success if report.success in rows[0] else None
    mean = report.mean if report.mean in rows[0] else None
    over = axes(rows, table.metrics, report.replicate)
    taken = points(rows, over, success, mean)
    if len(rows) <= _ROWS or len(taken) == len(rows):
        console.print(_row_by_row(rows, table.metrics))
    else:
        console.print(_point_by_point(taken, over, success, mean))
        if len(taken) > _POINTS:
            console.print(f"… and {len(taken) - _POINTS} more.")
    row = best(rows, mean) if mean else None
    if row is not None and mean and len(rows) > 1:
        overrides = [c for c in row if row[c] and c not in FIXED_COLUMNS and c not in table.metrics]
        place = " ".join(f"{column.removeprefix('override.')}={row[column]}" for column in overrides)
        console.print(
            f"lowest {mean}: {rounded(row[mean])}, job {row['job']}: {place}", highlight=False, soft_wrap=True
        )
    paths = [_shown(table.path)]
    if picture:
        try:
            from lossreg.sweeps.picture import draw  # matplotlib takes 0.4 s to import, so only for what can be drawn

            drawn = draw(rows, over, success, mean, table.path.with_name("sweep.png"))
            paths += [_shown(drawn)] if drawn else []
        except OSError as error:
            log.error("sweep.png is not written: %s", error)
    console.print(f"{count(rows)}: {', '.join(paths)}", highlight=False, soft_wrap=True)


def _shown(path: Path) -> str:
    """A path as a person types it: relative to the working directory where it is inside of it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _row_by_row(rows: Sequence[Cells], metrics: Sequence[str]) -> Table:
    varied = axes(rows, metrics, None)
    columns = ["job", *varied, *metrics]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        shown.add_column(column, justify="right" if is_numeric(row[column] for row in rows) else "left", no_wrap=True)
    shown.add_column("status", overflow="fold")
    for row in rows[: _ROWS * 2]:
        status, style = (row["error"], "red") if row["error"] else (row["status"], None)
        shown.add_row(*(rounded(row[column]) for column in columns), status, style=style)
    if len(rows) > _ROWS * 2:
        shown.add_row("…")
    return shown


def _point_by_point(taken: Sequence[Point], over: Sequence[str], success: str | None, mean: str | None) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, column in enumerate(over):
        shown.add_column(
            column.removeprefix("override."),
            justify="right" if is_numeric(point.place[index] for point in taken) else "left",
        )
    shown.add_column("jobs", justify="right")
    if success:
        shown.add_column(success, justify="right")
        shown.add_column("95% interval", justify="right", no_wrap=True)
    if mean:
        shown.add_column(f"mean {mean}", justify="right")
    unfinished = any(point.unfinished for point in taken)
    if unfinished:
        shown.add_column("not completed", justify="right")
    for point in taken[:_POINTS]:
        low, high = point.interval
        cells = [*point.place, str(point.jobs)]
        if success:
            known = point.rate is not None
            cells += [f"{point.rate:.1%}", f"{low:.1%} – {high:.1%}"] if known else ["", ""]
        if mean:
            cells.append("" if point.mean is None else f"{point.mean:.4g}")
        if unfinished:
            cells.append(str(point.unfinished or ""))
        shown.add_row(*cells)
    return shown


def count(rows: Sequence[Cells]) -> str:
    """How many rows there are of each status.

    Example:

    >>> count([{"status": "completed"}, {"status": "failed"}, {"status": "completed"}])
    '3 jobs, 2 completed, 1 failed'
    """
    statuses = [row["status"] for row in rows]
    jobs = "1 job" if len(rows) == 1 else f"{len(rows)} jobs"
    return ", ".join([jobs, *(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))])


def rounded(cell: str) -> str:
    """A cell, with four digits if it is a long number."""
    value = number(cell)
    return cell if value is None or len(cell) <= 6 else f"{value:.4g}"
