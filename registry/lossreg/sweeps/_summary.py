"""What a sweep came to, on the terminal."""

from __future__ import annotations

import logging
import math
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
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
        names = ["job", *axes(rows, table.metrics, None), *table.metrics]
        columns = {name: [_rounded(row[name]) for row in rows] for name in names}
        columns["status"] = [row["error"] or row["status"] for row in rows]
        console.print(_table(columns, _ROWS * 2, [bool(row["error"]) for row in rows]))
    else:
        console.print(_table(_columns(taken, over, success, mean), _POINTS))
        if len(taken) > _POINTS:
            console.print(f"… and {len(taken) - _POINTS} more.")
    finite = [row for row in rows if math.isfinite(_value(row, mean))]
    if mean and finite and len(rows) > 1:
        row = min(finite, key=lambda row: _value(row, mean))
        place = [name for name in row if row[name] and name not in (*FIXED_COLUMNS, *table.metrics)]
        overrides = " ".join(f"{name.removeprefix('override.')}={row[name]}" for name in place)
        line = f"lowest {mean}: {_rounded(row[mean])}, job {row['job']}: {overrides}"
        console.print(line, highlight=False, soft_wrap=True)
    paths = [table.path]
    if picture:
        try:
            from lossreg.sweeps._picture import draw  # matplotlib takes 0.4 s to import, so only for what can be drawn

            image = table.path.with_name("sweep.png")
            paths += [image] if draw(rows, over, success, mean, image) else []
        except OSError as error:
            log.error("sweep.png is not written: %s", error)
    counts = Counter(row["status"] for row in rows)
    jobs = ", ".join(
        ["1 job" if len(rows) == 1 else f"{len(rows)} jobs", *(f"{counts[s]} {s}" for s in sorted(counts))]
    )
    console.print(f"{jobs}: {', '.join(map(_relative, paths))}", highlight=False, soft_wrap=True)


def _columns(
    taken: Sequence[Point], over: Sequence[str], success: str | None, mean: str | None
) -> dict[str, list[str]]:
    columns = {name.removeprefix("override."): [point.place[i] for point in taken] for i, name in enumerate(over)}
    columns["jobs"] = [str(point.jobs) for point in taken]
    if success:
        columns[success] = ["" if point.rate is None else f"{point.rate:.1%}" for point in taken]
        ends = ["{:.1%} – {:.1%}".format(*point.interval) for point in taken]
        columns["95% interval"] = [end if rate else "" for end, rate in zip(ends, columns[success], strict=True)]
    if mean:
        columns[f"mean {mean}"] = ["" if point.mean is None else f"{point.mean:.4g}" for point in taken]
    if any(point.unfinished for point in taken):
        columns["not completed"] = [str(point.unfinished or "") for point in taken]
    return columns


def _table(columns: Mapping[str, Sequence[str]], most: int, failed: Sequence[bool] = ()) -> Table:
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, cells in columns.items():
        right = is_numeric(cells) or name == "95% interval"
        shown.add_column(name, justify="right" if right else "left", no_wrap=name != "status", overflow="fold")
    rows = list(zip(*columns.values(), strict=True))
    for index, row in enumerate(rows[:most]):
        shown.add_row(*row, style="red" if failed and failed[index] else None)
    if failed and len(rows) > most:
        shown.add_row("…")
    return shown


def _value(row: Cells, column: str | None) -> float:
    value = number(row[column]) if column else None
    return math.nan if value is None else value


def _relative(path: Path) -> str:
    """A path as a person types it: relative to the working directory where it is inside of it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def _rounded(cell: str) -> str:
    """A cell, with four digits if it is a long number."""
    value = number(cell)
    return cell if value is None or len(cell) <= 6 else f"{value:.4g}"
