"""`sweep.png`: one swept number as a curve with its band, two as a heatmap; other axes become lines or panels."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossreg.sweeps._points import Cells, Point, is_numeric, points
from lossreg.sweeps._results import write_whole

_LINES = 8
_PANELS = 6


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
        parts.setdefault(label, []).append(point)
    if len(parts) > (_LINES if len(numbers) == 1 else _PANELS):
        return None
    what = f"{success} rate" if rate else str(mean) if single else f"mean {mean}"
    return (_curves if len(numbers) == 1 else _heatmaps)(parts, numbers, what, rate)


def _height(point: Point, rate: bool) -> float:
    value = point.rate if rate else point.mean
    return math.nan if value is None else value


def _curves(parts: dict[str, list[Point]], over: Sequence[str], what: str, rate: bool) -> Any:
    from matplotlib.figure import Figure

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
