"""What a sweep came to as a picture, `sweep.png`: curves, a heatmap, a scatter, or points with their intervals."""

from __future__ import annotations

import io
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lossreg._errors import printable
from lossreg.sweeps._results import write_whole
from lossreg.sweeps._statistics import Point, Summary, number
from lossreg.sweeps._statistics import shown as name_of

_LINES = 8
_PANELS = 6
_DOTS = 40
_FEW = 12  # numbers of an axis; more, with one job each, are no grid that a person chose


def draw(summary: Summary, path: Path) -> bool:
    """Draw the success rate of a sweep, or the mean of its metric, over its axes; returns whether it can be drawn.

    Raises:
        OSError: if the file cannot be written.
    """
    figure = figure_of(summary)
    if figure is not None:
        picture = io.BytesIO()
        figure.savefig(picture, dpi=150, format="png")
        write_whole(path, picture.getvalue())
    return figure is not None


def figure_of(summary: Summary) -> Any:
    """The figure that `draw` writes; `None` if there is nothing to compare."""
    drawing = _Drawing(summary)
    return drawing.figure() if drawing.heights and len(summary.points) > 1 else None


class _Drawing:
    """A picture of a summary, of the kind that its axes ask for."""

    def __init__(self, summary: Summary) -> None:
        self.summary = summary
        # A rate over one job says less than the metric.
        self.rate = summary.success is not None and not (summary.single and summary.metric)
        found = {point: point.rate if self.rate else point.mean for point in summary.points}
        self.heights = {point: height for point, height in found.items() if height is not None}
        self.points = list(self.heights)  # the best first
        cells = {axis: [self.cell(point, axis) for point in self.points] for axis in summary.over}
        self.numbers = [axis for axis, own in cells.items() if all(number(cell) is not None for cell in own if cell)]
        self.names = [axis for axis in cells if axis not in self.numbers]
        self.whole = all(all(cells[axis]) for axis in self.numbers)
        self.distinct = {axis: len(set(own)) for axis, own in cells.items()}
        mean = "" if summary.single else "mean "
        self.what = _text(f"{summary.success} rate" if self.rate else f"{mean}{summary.metric}")
        self.parts: dict[str, list[Point]] = {}
        for point in filter(self.heights.__contains__, summary.composed):
            label = " ".join(f"{name_of(axis)}={self.cell(point, axis)}" for axis in self.names)
            self.parts.setdefault(_text(label), []).append(point)

    def figure(self) -> Any:
        many = max((self.distinct[axis] for axis in self.numbers), default=0) > _FEW
        grid = 2 * len(self.points) >= math.prod(self.distinct.values())
        if self.whole and len(self.numbers) == 1 and len(self.parts) <= _LINES and not (many and self.summary.single):
            return self.curves()
        if self.whole and len(self.numbers) == 2 and len(self.parts) <= _PANELS and grid:
            return self.heatmaps()
        return self.scatter() if self.numbers and (many or not grid) else self.dots()

    def cell(self, point: Point, axis: str) -> str:
        return point.place[self.summary.over.index(axis)]

    def x(self, point: Point, axis: str) -> float:
        value = number(self.cell(point, axis))
        return math.nan if value is None else value

    def ends(self, point: Point) -> tuple[float, float]:
        height, half = self.heights[point], point.half or 0.0
        return point.interval if self.rate else (height - half, height + half)

    def title(self) -> str:
        jobs = sorted({point.jobs for point in self.points})
        per = f"{jobs[0]}–{jobs[-1]} jobs" if len(jobs) > 1 else f"{jobs[0]} jobs"
        sure = self.rate or any(point.half is not None for point in self.points)
        return f"{self.what} with its 95% interval, {per} a point" if sure else ""

    def curves(self) -> Any:
        figure, (plot,) = _figure(1, (6.4, 4.0))
        (axis,) = self.numbers
        for label, members in self.parts.items():
            members.sort(key=lambda point: self.x(point, axis))
            x = [self.x(point, axis) for point in members]
            (line,) = plot.plot(x, [self.heights[point] for point in members], marker="o", ms=4, label=label)
            ends = list(map(self.ends, members))
            if any(low != high for low, high in ends):
                plot.fill_between(x, *zip(*ends, strict=True), color=line.get_color(), alpha=0.18, linewidth=0)
        _scale(plot, "x", [self.x(point, axis) for point in self.points])
        plot.set(xlabel=_text(axis), ylabel=self.what)
        if self.rate:
            plot.set_ylim(-0.03, 1.03)
        plot.set_title(self.title(), fontsize=10)
        plot.grid(alpha=0.3, linewidth=0.6)
        if len(self.parts) > 1:
            plot.legend(frameon=False, fontsize=9)
        return figure

    def heatmaps(self) -> Any:
        ys, xs = (sorted({self.cell(point, axis) for point in self.points}, key=float) for axis in self.numbers)
        size = max(2.2 + 0.55 * min(len(xs), 20), 4.0), max(1.6 + 0.4 * min(len(ys), 20), 3.0)
        figure, plots = _figure(len(self.parts), size, more=0.8)
        low, high = (0.0, 1.0) if self.rate else (min(self.heights.values()), max(self.heights.values()))
        image: Any = None
        for plot, (label, members) in zip(plots, self.parts.items(), strict=True):
            y_axis, x_axis = self.numbers
            cells = {(self.cell(point, y_axis), self.cell(point, x_axis)): self.heights[point] for point in members}
            grid = [[cells.get((y, x), math.nan) for x in xs] for y in ys]
            image = plot.imshow(grid, origin="lower", aspect="auto", cmap="viridis", vmin=low, vmax=high)
            for (y, x), value in cells.items() if len(xs) * len(ys) <= 150 else ():
                color = "white" if value < (low + high) / 2 else "black"
                text = f"{value:.2f}" if self.rate else f"{value:.2g}"
                plot.text(xs.index(x), ys.index(y), text, ha="center", va="center", fontsize=7, color=color)
            for set_ticks, cells_of, turned in ((plot.set_xticks, xs, len(xs) > 6), (plot.set_yticks, ys, False)):
                step = -(-len(cells_of) // 20)
                set_ticks(range(0, len(cells_of), step), cells_of[::step], rotation=45 if turned else 0)
            plot.set(xlabel=_text(x_axis), ylabel=_text(y_axis))
            plot.set_title(label, fontsize=10)
        figure.colorbar(image, ax=plots, label=self.what)
        return figure

    def scatter(self) -> Any:
        """The metric over each number, or in the plane of two; the best is marked."""
        plane = len(self.numbers) == 2 and self.whole and len(self.parts) == 1
        panels = [self.numbers] if plane else [[axis] for axis in self.numbers[:_PANELS]]
        figure, plots = _figure(len(panels), (6.4, 4.0) if len(panels) == 1 else (4.2, 3.6))
        best = self.points[0]
        star = {"marker": "*", "s": 190, "color": "black", "edgecolor": "white", "linewidth": 0.8, "zorder": 3}
        for plot, axes in zip(plots, panels, strict=True):
            x = {point: self.x(point, axes[0]) for point in self.points}
            y = {point: self.x(point, axes[1]) if plane else self.heights[point] for point in self.points}
            for label, own in (self.parts if len(self.parts) <= _LINES else {"": self.points}).items():
                colors = {"c": [self.heights[point] for point in own], "cmap": "viridis"} if plane else {}
                places = [x[point] for point in own], [y[point] for point in own]
                points = plot.scatter(*places, s=24, alpha=0.8, linewidth=0, label=label, **colors)
            plot.scatter(x[best], y[best], label=f"best: {self.heights[best]:.4g}", **star)
            plot.set(xlabel=_text(axes[0]), ylabel=_text(axes[1]) if plane else self.what)
            _scale(plot, "x", list(x.values()))
            _scale(plot, "y", list(y.values()))
            plot.grid(alpha=0.3, linewidth=0.6)
        if plane:
            figure.colorbar(points, ax=plots, label=self.what)
        handles, labels = plots[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
        return figure

    def dots(self) -> Any:
        """A line for each point, the best above."""
        shown = sorted(self.points, key=self.heights.__getitem__, reverse=True) if self.rate else self.points
        shown = shown[:_DOTS]
        figure, (plot,) = _figure(1, (6.4, 1.4 + 0.27 * len(shown)))
        x, lines = [self.heights[point] for point in shown], range(len(shown))
        ends = list(map(self.ends, shown))
        errors = [[abs(end[side] - value) for end, value in zip(ends, x, strict=True)] for side in (0, 1)]
        plot.errorbar(x, lines, xerr=errors, fmt="o", ms=5, capsize=3, elinewidth=1.4)
        plot.set_yticks(lines, [_text(", ".join(filter(None, point.place))) for point in shown], fontsize=9)
        plot.set_ylim(len(shown) - 0.5, -0.5)
        base = self.summary.baseline
        if base in shown and not self.summary.single:
            plot.axvline(self.heights[base], color="gray", linestyle="--", linewidth=0.8, zorder=0)
        if self.rate:
            plot.set_xlim(-0.03, 1.03)
        more = f" (the best {_DOTS} of {len(self.points)})" if len(self.points) > _DOTS else ""
        plot.set(xlabel=self.what + more, ylabel=_text(", ".join(map(name_of, self.summary.over))))
        plot.set_title(self.title(), fontsize=10)
        plot.grid(axis="x", alpha=0.3, linewidth=0.6)
        return figure


def _figure(panels: int, size: tuple[float, float], more: float = 0.0) -> tuple[Any, list[Any]]:
    """A figure with so many panels of a size, in inches, three in a line."""
    from matplotlib.figure import Figure  # 0.4 s, so only for what can be drawn

    columns = min(panels, 3)
    lines = -(-panels // columns)
    figure = Figure(figsize=(size[0] * columns + more, size[1] * lines), layout="constrained")
    plots = figure.subplots(lines, columns, squeeze=False).ravel()
    for plot in plots[panels:]:
        plot.set_visible(False)
    return figure, list(plots[:panels])


def _scale(plot: Any, axis: str, values: Sequence[float]) -> None:
    """Over orders of magnitude a logarithmic scale; 0 has a place on it."""
    known = [value for value in values if not math.isnan(value)]
    positive = min((value for value in known if value > 0), default=math.inf)
    wide = known and max(known) >= max(100 * positive, 5 * statistics.median(set(known)))
    if wide and min(known) > 0:
        plot.set(**{f"{axis}scale": "log"})
    elif wide and min(known) == 0:
        getattr(plot, f"set_{axis}scale")("symlog", linthresh=positive)
        getattr(plot, f"set_{axis}lim")(-0.2 * positive)


def _text(text: str) -> str:
    return printable(text.removeprefix("override.")).replace("$", r"\$")  # which begins a formula
