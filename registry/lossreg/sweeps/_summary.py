"""What a sweep came to: its rows taken together over the replicates, on the terminal, and as `sweep.png`."""

from __future__ import annotations

import io
import itertools
import logging
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossreg._errors import printable
from lossreg.sweeps._results import FIXED_COLUMNS, ResultsTable, write_whole

log = logging.getLogger(__name__)

_ROWS = 20  # of the table on the terminal
_POINTS = 40
_LINES = 8  # of the picture
_PANELS = 6
Cells = Mapping[str, str]
_Z = 1.959963984540054  # of a 95% interval


@dataclass(frozen=True)
class Point:
    """The jobs that differ in nothing but the replicate."""

    place: tuple[str, ...]  # the value of each axis
    jobs: int
    rate: float | None  # the share that succeeded, of those that did not fail; what diverged did not succeed
    interval: tuple[float, float]  # the rate's 95% interval
    mean: float | None  # of the metric, over completed jobs
    unfinished: int


def axes(rows: Sequence[Cells], metrics: Iterable[str], replicate: str | None) -> list[str]:
    """The overrides that differ between jobs, without the replicate."""
    skipped = {*FIXED_COLUMNS, *metrics, replicate}
    columns = [column for column in (rows[0] if rows else ()) if column not in skipped]
    return [column for column in columns if len({row[column] for row in rows}) > 1]


def points(rows: Sequence[Cells], over: Sequence[str], success: str | None, mean: str | None) -> list[Point]:
    """Take rows together that agree in the columns `over`, in the order of first appearance."""
    groups: dict[tuple[str, ...], list[Cells]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in over), []).append(row)
    found = []
    for place, members in groups.items():
        tried = [row[success].lower() == "true" for row in members if row["status"] != "failed"] if success else []
        finite = [value for row in members if (value := number(row[mean])) is not None] if mean else []
        rate = sum(tried) / len(tried) if tried else None
        average = math.fsum(finite) / len(finite) if finite else None
        unfinished = sum(row["status"] != "completed" for row in members)
        found.append(Point(place, len(members), rate, wilson(sum(tried), len(tried)), average, unfinished))
    return found


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """The 95% interval of a rate: (p + z²/2n ± z √(p(1−p)/n + z²/4n²)) / (1 + z²/n), with z = 1.96.

    E. B. Wilson, Probable inference, the law of succession, and statistical inference. JASA 22 (1927).

    Example:

    >>> [round(end, 4) for end in wilson(8, 10)], wilson(0, 0)
    ([0.4902, 0.9433], (0.0, 1.0))
    """
    if not trials:
        return 0.0, 1.0
    p, z2 = successes / trials, _Z**2 / trials
    centre = (p + z2 / 2) / (1 + z2)
    half = math.sqrt(z2 * (p * (1 - p) + z2 / 4)) / (1 + z2)
    return 0.0 if successes == 0 else centre - half, 1.0 if successes == trials else centre + half


def number(cell: str) -> float | None:
    """A cell as a number, if it is one."""
    try:
        return float(cell)
    except ValueError:
        return None


def is_numeric(cells: Iterable[str]) -> bool:
    """Whether all cells that hold something hold a number."""
    return all(number(cell) is not None for cell in cells if cell)


# On the terminal.


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
        console.print(printable(line), highlight=False, markup=False, soft_wrap=True)
    paths = [table.path]
    if picture:
        try:
            image = table.path.with_name("sweep.png")
            paths += [image] if draw(rows, over, success, mean, image) else []
        except Exception as error:
            log.error("sweep.png is not written: %s", error)
    counts = Counter(row["status"] for row in rows)
    jobs = ", ".join(
        ["1 job" if len(rows) == 1 else f"{len(rows)} jobs", *(f"{counts[s]} {s}" for s in sorted(counts))]
    )
    line = f"{jobs}: {', '.join(map(_relative, paths))}"
    console.print(printable(line), highlight=False, markup=False, soft_wrap=True)


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
        shown.add_column(
            Text(printable(name)), justify="right" if right else "left", no_wrap=name != "status", overflow="fold"
        )
    rows = list(zip(*columns.values(), strict=True))
    for index, row in enumerate(rows[:most]):
        shown.add_row(*(Text(printable(cell)) for cell in row), style="red" if failed and failed[index] else None)
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


# As a picture.
def draw(rows: Sequence[Cells], over: Sequence[str], success: str | None, mean: str | None, path: Path) -> bool:
    """Draw the success rate of a sweep, or the mean of a metric, over its axes; returns whether it can be drawn.

    Raises:
        OSError: if the file cannot be written.
    """
    figure = figure_of(rows, over, success, mean)
    if figure is not None:
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150, format="png")
        write_whole(path, picture.getvalue())
    return figure is not None


def figure_of(rows: Sequence[Cells], over: Sequence[str], success: str | None, mean: str | None) -> Any:
    """The figure that `draw` writes; `None` if nothing can be drawn."""
    numbers = [axis for axis in over if is_numeric(row[axis] for row in rows) and all(row[axis] for row in rows)]
    names = [axis for axis in over if axis not in numbers]
    if len(numbers) not in (1, 2) or not (success or mean):
        return None
    taken = points(rows, [*names, *numbers], success, mean)
    single = all(point.jobs == 1 for point in taken)
    rate = success is not None and not (single and mean)  # a rate over one job says less than the metric
    parts: dict[str, list[Point]] = {}
    for point in taken:
        label = " ".join(f"{axis}={value}" for axis, value in zip(names, point.place, strict=False))
        label = printable(label).replace("$", r"\$")  # which begins a formula
        parts.setdefault(label, []).append(point)
    if len(parts) > (_LINES if len(numbers) == 1 else _PANELS):
        return None
    what = f"{success} rate" if rate else str(mean) if single else f"mean {mean}"
    return (_curves if len(numbers) == 1 else _heatmaps)(parts, numbers, what, rate)


def _height(point: Point, rate: bool) -> float:
    value = point.rate if rate else point.mean
    return math.nan if value is None else value


def _curves(parts: dict[str, list[Point]], over: Sequence[str], what: str, rate: bool) -> Any:
    from matplotlib.figure import Figure  # 0.4 s, so only for what can be drawn

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    plot = figure.subplots()
    for label, members in parts.items():
        members.sort(key=lambda point: float(point.place[-1]))
        known = [point for point in members if not math.isnan(_height(point, rate))]
        x = [float(point.place[-1]) for point in known]
        (line,) = plot.plot(x, [_height(point, rate) for point in known], marker="o", ms=4, label=label)
        if rate:
            low, high = [point.interval[0] for point in known], [point.interval[1] for point in known]
            plot.fill_between(x, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    everything = list(itertools.chain.from_iterable(parts.values()))
    values = [float(point.place[-1]) for point in everything]
    positive = min((value for value in values if value > 0), default=math.inf)
    if min(values) >= 0 and max(values) >= 100 * positive:  # over orders of magnitude; 0 has a place on the axis
        if min(values) > 0:
            plot.set_xscale("log")
        else:
            plot.set_xscale("symlog", linthresh=positive)
            plot.set_xlim(left=-0.2 * positive)
    plot.set(xlabel=over[0], ylabel=what)
    if rate:
        jobs = sorted({point.jobs for point in everything})
        plot.set_ylim(-0.03, 1.03)
        per = f"{jobs[0]}–{jobs[-1]}" if len(jobs) > 1 else str(jobs[0])
        plot.set_title(f"{what} with its 95% interval, {per} jobs a point", fontsize=10)
    plot.grid(alpha=0.3, linewidth=0.6)
    if len(parts) > 1:
        plot.legend(frameon=False, fontsize=9)
    return figure


def _heatmaps(parts: dict[str, list[Point]], over: Sequence[str], what: str, rate: bool) -> Any:
    from matplotlib.figure import Figure

    everything = list(itertools.chain.from_iterable(parts.values()))
    ys, xs = (sorted({point.place[place] for point in everything}, key=float) for place in (-2, -1))
    columns = min(len(parts), 3)
    lines = -(-len(parts) // columns)
    size = max(2.2 + 0.55 * len(xs), 4.0) * columns + 0.8, max(1.6 + 0.4 * len(ys), 3.0) * lines
    figure = Figure(figsize=size, layout="constrained")
    plots = figure.subplots(lines, columns, squeeze=False).ravel()
    shown = [value for point in everything if not math.isnan(value := _height(point, rate))]
    low, high = (0.0, 1.0) if rate else (min(shown, default=0.0), max(shown, default=1.0))
    image: Any = None
    for plot, (label, members) in zip(plots, parts.items(), strict=False):
        cells = {point.place[-2:]: _height(point, rate) for point in members}
        grid = [[cells.get((y, x), math.nan) for x in xs] for y in ys]
        image = plot.imshow(grid, origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high)
        for (y, x), value in cells.items() if len(xs) * len(ys) <= 150 else ():
            color = "white" if value < (low + high) / 2 else "black"
            text = "" if math.isnan(value) else f"{value:.2f}" if rate else f"{value:.2g}"
            plot.text(xs.index(x), ys.index(y), text, ha="center", va="center", fontsize=7, color=color)
        plot.set_xticks(range(len(xs)), xs, rotation=45 if len(xs) > 6 else 0)
        plot.set_yticks(range(len(ys)), ys)
        plot.set(xlabel=over[1], ylabel=over[0])
        plot.set_title(label, fontsize=10)
    for plot in plots[len(parts) :]:
        plot.set_visible(False)
    figure.colorbar(image, ax=plots, label=what)
    return figure
