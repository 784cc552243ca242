"""What a sweep came to, on the terminal."""

from __future__ import annotations

import logging
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from lossreg.sweeps._points import Cells, Point, axes, is_numeric, number, points
from lossreg.sweeps._results import FIXED_COLUMNS, ResultsTable

log = logging.getLogger(__name__)

_ROWS = 20
_POINTS = 40


def show(
    table: ResultsTable,
    success: str | None,
    mean: str | None,
    replicate: str | None,
    *,
    picture: bool = True,
    console: Console | None = None,
) -> None:
    """Print a results table, row by row or, if it is long, taken together over the replicates; and draw it.

    Arguments:
        table: the table.
        success: the true-or-false column whose rate is given.
        mean: the column whose mean is given, and whose lowest value makes the best row.
        replicate: the override over which they are taken.
        picture: whether to draw `sweep.png` beside the table, if what was swept can be drawn.
        console: where to print.
    """
    console = console or Console(width=None if sys.stdout.isatty() else 200)  # a file need not be cut to 80
    rows = sorted(table.read(), key=lambda row: int(row["job"]))
    if not rows:
        return
    success, mean = (column if column in rows[0] else None for column in (success, mean))
    over = axes(rows, table.metrics, replicate)
    taken = points(rows, over, success, mean)
    if len(rows) <= _ROWS or len(taken) == len(rows):
        console.print(_row_by_row(rows, table.metrics))
    else:
        console.print(_point_by_point(taken, over, success, mean))
        if len(taken) > _POINTS:
            console.print(f"… and {len(taken) - _POINTS} more.")
    values = [(value, row) for row in rows if (value := number(row[mean])) is not None] if mean else []
    finite = [(value, row) for value, row in values if math.isfinite(value)]
    if finite and len(rows) > 1:
        _, row = min(finite, key=lambda found: found[0])
        names = [name for name in row if row[name] and name not in (*FIXED_COLUMNS, *table.metrics)]
        place = " ".join(f"{name.removeprefix('override.')}={row[name]}" for name in names)
        line = f"lowest {mean}: {_rounded(row[str(mean)])}, job {row['job']}: {place}"
        console.print(line, highlight=False, soft_wrap=True)
    paths = [table.path]
    if picture:
        try:
            from lossreg.sweeps._picture import draw  # matplotlib takes 0.4 s to import, so only for what can be drawn

            drawn = draw(rows, over, success, mean, table.path.with_name("sweep.png"))
            paths += [drawn] if drawn else []
        except OSError as error:
            log.error("sweep.png is not written: %s", error)
    console.print(f"{_count(rows)}: {', '.join(map(_relative, paths))}", highlight=False, soft_wrap=True)


def _relative(path: Path) -> str:
    """A path as a person types it: relative to the working directory where it is inside of it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _row_by_row(rows: Sequence[Cells], metrics: Sequence[str]) -> Table:
    columns = ["job", *axes(rows, metrics, None), *metrics]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        shown.add_column(column, justify="right" if is_numeric(row[column] for row in rows) else "left", no_wrap=True)
    shown.add_column("status", overflow="fold")
    for row in rows[: _ROWS * 2]:
        style = "red" if row["error"] else None
        shown.add_row(*(_rounded(row[column]) for column in columns), row["error"] or row["status"], style=style)
    if len(rows) > _ROWS * 2:
        shown.add_row("…")
    return shown


def _point_by_point(taken: Sequence[Point], over: Sequence[str], success: str | None, mean: str | None) -> Table:
    axis = {name.removeprefix("override."): [point.place[i] for point in taken] for i, name in enumerate(over)}
    columns = axis | {"jobs": [str(point.jobs) for point in taken]}
    if success:
        known = [point if point.rate is not None else None for point in taken]
        columns[success] = [f"{point.rate:.1%}" if point else "" for point in known]
        columns["95% interval"] = ["{:.1%} – {:.1%}".format(*point.interval) if point else "" for point in known]
    if mean:
        columns[f"mean {mean}"] = ["" if point.mean is None else f"{point.mean:.4g}" for point in taken]
    if any(point.unfinished for point in taken):
        columns["not completed"] = [str(point.unfinished or "") for point in taken]
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, cells in columns.items():
        right = name not in axis or is_numeric(cells)
        shown.add_column(name, justify="right" if right else "left", no_wrap=name == "95% interval")
    for row in list(zip(*columns.values(), strict=True))[:_POINTS]:
        shown.add_row(*row)
    return shown


def _count(rows: Sequence[Cells]) -> str:
    """How many rows there are of each status.

    Example:

    >>> _count([{"status": "completed"}, {"status": "failed"}, {"status": "completed"}])
    '3 jobs, 2 completed, 1 failed'
    """
    statuses = [row["status"] for row in rows]
    jobs = "1 job" if len(rows) == 1 else f"{len(rows)} jobs"
    return ", ".join([jobs, *(f"{statuses.count(status)} {status}" for status in sorted(set(statuses)))])


def _rounded(cell: str) -> str:
    """A cell, with four digits if it is a long number."""
    value = number(cell)
    return cell if value is None or len(cell) <= 6 else f"{value:.4g}"
