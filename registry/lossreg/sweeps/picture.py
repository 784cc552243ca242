"""`sweep.png`: one swept number as a curve with its band, two as a heatmap."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossreg.sweeps.aggregate import Cells, Point, is_numeric, points
from lossreg.sweeps.results import write_whole

_LINES = 8
_PANELS = 6


def draw(rows: Sequence[Cells], over: Sequence[str], success: str | None, mean: str | None, path: Path) -> Path | None:
    """Draw a sweep, if it swept one number or two; other axes become lines or panels.

    Arguments:
        rows: the rows of the results table.
        over: the axes, without the replicate.
        success: the true-or-false column whose rate is drawn; without it the mean is.
        mean: the column whose mean is drawn where there is no rate.
        path: the file to write.

    Returns:
        the path, or `None` if nothing can be drawn.

    Raises:
        OSError: if the file cannot be written.
    """
    numbers = [axis for axis in over if is_numeric(row[axis] for row in rows) and all(row[axis] for row in rows)]
    names = [axis for axis in over if axis not in numbers]
    if len(numbers) not in (1, 2) or not (success or mean):
        return None
    taken = points(rows, [*names, *numbers], success, mean)
    single = all(point.jobs == 1 for point in taken)
    if single and mean:
        success = None  # a rate over one job says less than the metric
    parts: dict[str, list[Point]] = {}
    for point in taken:
        label = " ".join(f"{axis}={value}" for axis, value in zip(names, point.place, strict=False))
        parts.setdefault(label, []).append(point)
    if len(parts) > (_LINES if len(numbers) == 1 else _PANELS):
        return None
    what = f"{success} rate" if success else str(mean) if single else f"mean {mean}"
    if len(numbers) == 1:
        figure = _curves(parts, numbers[0], what, success is not None)
    else:
        figure = _heatmaps(parts, numbers, what, success is not None)
    picture = io.BytesIO()
    figure.savefig(picture, dpi=150, format="png")
    write_whole(path, picture.getvalue())
    return path


def _curves(parts: dict[str, list[Point]], axis: str, what: str, rate: bool) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    plot = figure.subplots()
    for label, members in parts.items():
        known = [point for point in members if (point.rate if rate else point.mean) is not None]
        known.sort(key=lambda point: float(point.place[-1]))
        x = [float(point.place[-1]) for point in known]
        (line,) = plot.plot(
            x, [_or_nan(point.rate if rate else point.mean) for point in known], marker="o", ms=4, label=label
        )
        if rate:
            low, high = zip(*(point.interval for point in known), strict=True)
            plot.fill_between(x, low, high, color=line.get_color(), alpha=0.18, linewidth=0)
    values = [float(point.place[-1]) for members in parts.values() for point in members]
    _scale(plot, values)
    plot.set_xlabel(axis)
    jobs = {point.jobs for members in parts.values() for point in members}
    per = f"{min(jobs)}–{max(jobs)}" if len(jobs) > 1 else f"{max(jobs)}"
    plot.set_ylabel(what)
    if rate:
        plot.set_ylim(-0.03, 1.03)
        plot.set_title(f"{what} with its 95% interval, {per} jobs a point", fontsize=10)
    plot.grid(alpha=0.3, linewidth=0.6)
    if len(parts) > 1:
        plot.legend(frameon=False, fontsize=9)
    return figure


def _scale(plot: Any, values: Sequence[float]) -> None:
    """A logarithmic axis for numbers over several orders of magnitude; 0 has a place on it."""
    positive = [value for value in values if value > 0]
    if positive and min(values) >= 0 and max(positive) / min(positive) >= 100:
        if min(values) > 0:
            plot.set_xscale("log")
        else:
            plot.set_xscale("symlog", linthresh=min(positive))
            plot.set_xlim(left=-0.2 * min(positive))


def _heatmaps(parts: dict[str, list[Point]], over: Sequence[str], what: str, rate: bool) -> Any:
    from matplotlib.figure import Figure

    columns = min(len(parts), 3)
    lines = -(-len(parts) // columns)
    ticks = [
        sorted({point.place[place] for members in parts.values() for point in members}, key=float) for place in (-1, -2)
    ]
    width = max(2.2 + 0.55 * len(ticks[0]), 4.0)
    height = max(1.6 + 0.4 * len(ticks[1]), 3.0)
    figure = Figure(figsize=(width * columns + 0.8, height * lines), layout="constrained")
    plots = list(itertools.chain.from_iterable(figure.subplots(lines, columns, squeeze=False)))
    shown = [point.rate if rate else point.mean for members in parts.values() for point in members]
    finite = [value for value in shown if value is not None]
    low, high = (0.0, 1.0) if rate else (min(finite, default=0.0), max(finite, default=1.0))
    image: Any = None
    for plot, (label, members) in zip(plots, parts.items(), strict=False):
        by_place = {point.place[-2:]: (point.rate if rate else point.mean) for point in members}
        grid = [[_or_nan(by_place.get((y, x))) for x in ticks[0]] for y in ticks[1]]
        image = plot.imshow(grid, origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high)
        if len(ticks[0]) * len(ticks[1]) <= 150:
            for row, column in itertools.product(range(len(ticks[1])), range(len(ticks[0]))):
                value = grid[row][column]
                dark = value < (low + high) / 2
                text = "" if value != value else f"{value:.2f}" if rate else f"{value:.2g}"
                plot.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black")
        plot.set_xticks(range(len(ticks[0])), ticks[0], rotation=45 if len(ticks[0]) > 6 else 0)
        plot.set_yticks(range(len(ticks[1])), ticks[1])
        plot.set_xlabel(over[1])
        plot.set_ylabel(over[0])
        plot.set_title(label, fontsize=10)
    for plot in plots[len(parts) :]:
        plot.set_visible(False)
    figure.colorbar(image, ax=plots, label=what)
    return figure


def _or_nan(value: float | None) -> float:
    return float("nan") if value is None else value
