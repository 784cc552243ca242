"""What a sweep came to, for people: on the terminal, or as LaTeX."""

from __future__ import annotations

import itertools
import logging
import math
import re
import shlex
from collections import Counter
from pathlib import Path
from typing import Literal

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lossreg._errors import printable
from lossreg.sweeps._picture import draw
from lossreg.sweeps._results import FIXED_COLUMNS, ResultsTable
from lossreg.sweeps._statistics import Difference, Point, Settings, Summary, number, points, shown

__all__ = ["Point", "points", "show", "show_summary", "to_latex"]

log = logging.getLogger(__name__)

_ROWS = 40  # of the table on the terminal
_REASONS = 5
_WRAPPED = ("overrides", "status")
_NUMBER = re.compile(r"[-+]?\d*\.?\d+(e[-+]?\d+)?(%|/\d+)?( .*)?$")
_SIGN = re.compile(r"(?<![\w-])([+-])(?=\d)")
Columns = list[tuple[str, list[str]]]


def show(table: ResultsTable, settings: Settings, *, picture: bool = True, console: Console | None = None) -> None:
    """Print what a sweep came to, and draw it.

    Arguments:
        table: the table.
        settings: what it is about.
        picture: whether to draw `sweep.png` beside the table, if what was swept can be drawn.
        console: where to print.
    """
    rows = sorted(table.read(), key=lambda row: int(row["job"]))
    if not rows:
        return
    console = console or Console()
    summary = Summary(rows, settings)
    show_summary(summary, console)
    paths = [table.path]
    if picture:
        try:
            image = table.path.with_name("sweep.png")
            paths += [image] if draw(summary, image) else []
        except Exception as error:
            log.error("sweep.png is not written: %s", error)
    counts = Counter(row["status"] for row in rows)
    jobs = ["1 job" if len(rows) == 1 else f"{len(rows)} jobs", *(f"{counts[s]} {s}" for s in sorted(counts))]
    _say(console, f"{', '.join(jobs)}: {', '.join(map(_relative, paths))}", soft_wrap=True)


def show_summary(summary: Summary, console: Console) -> None:
    """Print a summary: its table, what that says, the best row and how to run it."""
    for apart, (more, rate) in itertools.product((True, False), ((2, True), (1, True), (0, True), (0, False))):
        columns = _columns(summary, more, apart, rate)
        kept = summary.metric and summary.title(summary.metric)
        same = [(name, cells[0]) for name, cells in columns if len(cells) > 1 == len(set(cells)) and name != kept]
        columns = [(name, cells) for name, cells in columns if any(cells) and (name, cells[0]) not in same]
        if _width(columns) <= console.width:
            break
    most = _ROWS if apart else _ROWS // 2
    fixed = [name for name in _overrides(summary) if len({row[name] for row in summary.rows}) == 1]
    said = [*(f"{shown(name)}={summary.rows[0][name]}" for name in fixed), *(f"{n} {own}" for n, own in same if own)]
    if said and len(summary.rows) > 1:
        _say(console, f"everywhere: {', '.join(said)}")
    console.print(_table(columns, most))
    if len(summary.points) > most:
        _say(console, f"… and {len(summary.points) - most} more.")
    for line in [*_reasons(summary), *_legend(summary)]:
        _say(console, line)
    for name in summary.objectives if summary.metric and len(summary.rows) > 1 else ():
        higher = name in summary.settings.maximize
        means = {p: mean for p in summary.points if (mean := p.mean_of(name)) is not None}
        for best in sorted(means, key=means.__getitem__, reverse=higher)[:1]:
            word = f"{'highest' if higher else 'lowest'} {'' if best.jobs == 1 else 'mean '}{name}"
            where = f", job {best.rows[0]['job']}" if best.jobs == 1 else ""
            command = f":\n  {_command(summary, best)}" if {*summary.apart} <= {summary.settings.replicate} else ""
            value = _plus_minus(means[best], best.half if name == summary.metric else None)
            _say(console, f"{word}: {value}{where}{command}", soft_wrap=True)


def _columns(summary: Summary, more: int = 2, apart: bool = True, rate: bool = True) -> Columns:
    """The table as text: its axes, each a column or together, the results, and some more metrics."""
    found = summary.points
    places = zip(*(map(_rounded, point.place) for point in found), strict=True)
    columns = [(shown(axis), list(own)) for axis, own in zip(summary.over, places, strict=False)]
    if not apart and columns:
        columns = [("overrides", [_label(summary, point) for point in found])]
    jobs = [p.rows[0]["job"] if summary.single else str(p.jobs) for p in found]
    columns.append(("job" if summary.single else "jobs", jobs))
    if rate and summary.success:
        columns.append((summary.title(summary.success), [_rate(point, summary.success) for point in found]))
    name = summary.metric
    if name:
        columns.append((summary.title(name), [_plus_minus(point.mean, point.half) for point in found]))
    others = [own for own in summary.metrics if own not in (summary.success, summary.metric, "seconds")]
    others.sort(key=lambda own: own.partition("_")[0] != str(name).partition("_")[0])  # of the same part of the data
    others.sort(key=lambda own: own not in summary.objectives)
    means = [(summary.title(own), [_plus_minus(point.mean_of(own), None) for point in found]) for own in others]
    columns += [column for column in means if any(column[1])][: max(more, len(summary.objectives) - 1)]
    if summary.front:
        columns.append(("front", ["yes" if point in summary.front else "" for point in found]))
    if gaps := _differences(summary):
        shown_gaps = [_plus_minus(gap.mean, gap.half, "+") if gap else "" for gap in gaps]
        base = found.index(summary.baseline) if summary.baseline else -1
        columns.append(("difference", ["baseline" if i == base else gap for i, gap in enumerate(shown_gaps)]))
        columns.append(("won", [f"{gap.won}/{gap.pairs}" if gap else "" for gap in gaps]))
    columns.append(("status", [_status(point) for point in found]))
    return columns


def _differences(summary: Summary) -> list[Difference | None]:
    """The differences to the baseline, where they are asked for or there is more than one seed to see them on."""
    if not summary.metric or len(summary.points) == 1 or not (summary.settings.baseline or not summary.single):
        return []
    found = [summary.difference(point) for point in summary.points]
    return found if any(found) else []


def _status(point: Point) -> str:
    counts = Counter(row["status"] for row in point.rows if row["status"] != "completed")
    return ", ".join(f"{count} {status}" if point.jobs > 1 else status for status, count in sorted(counts.items()))


def _rate(point: Point, success: str) -> str:
    if point.jobs == 1:
        return point.rows[0][success]
    return "" if point.rate is None else "{:.1%} ({:.0f}–{:.0f})".format(point.rate, *(100 * e for e in point.interval))


def _plus_minus(mean: float | None, half: float | None, sign: str = "") -> str:
    """A mean and half of its interval, to two digits of that.

    Example:

    >>> _plus_minus(0.123456, 0.0123), _plus_minus(12.3, None, "+")
    ('0.123 ± 0.012', '+12.3')
    """
    if mean is None:
        return ""
    if half is not None and half <= 1e-9 * abs(mean):  # rounding errors
        half = 0.0
    digits = 1 - math.floor(math.log10(half)) if half else -1
    if not 0 <= digits <= 6:
        return f"{mean:{sign}.4g}" + ("" if half is None else f" ± {half:.2g}")
    return f"{mean:{sign}.{digits}f} ± {half:.{digits}f}"


def _rounded(cell: str) -> str:
    """A cell, with four digits if it is a long number."""
    value = number(cell)
    return cell if value is None or len(cell) <= 8 else f"{value:.4g}"


def _table(columns: Columns, most: int) -> Table:
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name, cells in columns:
        right = all(_NUMBER.match(cell) for cell in cells if cell not in ("", "baseline"))
        justify: Literal["left", "right"] = "right" if right else "left"
        made.add_column(_heading(name), justify=justify, no_wrap=name not in _WRAPPED, overflow="fold")
    for row in list(zip(*(cells for _, cells in columns), strict=True))[:most]:
        style = "red" if columns[-1][0] == "status" and row[-1] else None
        made.add_row(*(Text(printable(cell)) for cell in row), style=style)
    return made


def _width(columns: Columns) -> int:
    """How wide a table is at least, if no word is to be broken."""
    widths = [_heading(name).plain.split("\n") for name, _ in columns]
    for own, (name, cells) in zip(widths, columns, strict=True):
        own += [word for cell in cells for word in (cell.split() if name in _WRAPPED else [cell])]
    return sum(max(map(cell_len, own)) + 3 for own in widths) - 1


def _heading(name: str) -> Text:
    return Text(printable(name).replace(".", ".\n"))


def _legend(summary: Summary) -> list[str]:
    """What the columns of the table are."""
    name, found = summary.metric, []
    if summary.baseline is None:
        found.append(summary.no_baseline())
    if summary.front:
        found.append(
            f"front: no other row is better in one of {', '.join(summary.objectives)} and not worse in another."
        )
    several = any(len(point.values) > 1 for point in summary.composed)
    if not name or not several:
        return found
    sure = any(point.half is not None for point in summary.composed)
    ends = "± half of its 95% interval (Student's t)" if sure else "(for intervals: pip install 'lossreg[data]')"
    better = "higher" if summary.higher else "lower"
    text = f"{name}: mean {ends}, {better} is better."
    if summary.baseline and any(_differences(summary)):
        label = _label(summary, summary.baseline)
        same = ", ".join(map(shown, summary.apart))
        text += f" difference: to {label}, on the same {same}; won: how often it was {better} there."
    return [*found, text]


def _label(summary: Summary, point: Point) -> str:
    pairs = zip(map(shown, summary.over), map(_rounded, point.place), strict=True)
    return " ".join(f"{axis}={cell}" for axis, cell in pairs if cell)


def _reasons(summary: Summary) -> list[str]:
    """Why jobs did not complete, each reason once."""
    reasons: dict[str, list[str]] = {}
    for row in summary.rows:
        reasons.setdefault(row["error"], []).append(row["job"])
    reasons.pop("", None)
    numbers = [", ".join(jobs[:3]) + (", …" if len(jobs) > 3 else "") for jobs in reasons.values()]
    lines = [f"job {jobs}: {error}" for jobs, error in zip(numbers, reasons, strict=True)]
    return lines[:_REASONS] + (["…"] if len(lines) > _REASONS else [])


def _command(summary: Summary, point: Point) -> str:
    """The command that runs a point's config once, as a rule with the seed that the config has."""
    overrides = []
    row, replicate = point.rows[0], summary.settings.replicate
    seeds = {own.get(str(replicate), "") for own in summary.rows} - {""}
    for name in _overrides(summary):
        if row[name] and (name != replicate or (point.jobs == 1 and len(seeds) > 1)):
            key = shown(name)
            key = summary.settings.added.get(key, key)
            overrides.append(key if key.startswith("~") and row[name] == "deleted" else f"{key}={row[name]}")
    return shlex.join([*summary.settings.command, *overrides])


def _overrides(summary: Summary) -> list[str]:
    other = {*FIXED_COLUMNS, *summary.metrics, summary.metric, "sweep"}
    return [name for name in summary.rows[0] if name not in other]


def _say(console: Console, line: str, soft_wrap: bool = False) -> None:
    console.print(printable(line), highlight=False, markup=False, soft_wrap=soft_wrap)


def _relative(path: Path) -> str:
    """A path as a person types it: relative to the working directory where it is inside of it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def to_latex(summary: Summary) -> str:
    """The table for LaTeX, with the package booktabs."""
    special = {character: f"\\{character}" for character in "#$%&_{}"}
    special |= {"\\": r"\textbackslash{}", "^": r"\^{}", "~": r"\~{}", "±": r"$\pm$", "–": "--"}
    columns = [(name, *cells) for name, cells in _columns(summary) if any(cells)]
    lines = zip(*columns, strict=True)
    table = str.maketrans(special)
    rows = [" & ".join(_SIGN.sub(r"$\1$", cell.translate(table)) for cell in line) + r" \\" for line in lines]
    head = rf"\begin{{tabular}}{{{'l' * len(columns)}}}  % \usepackage{{booktabs}}"
    return "\n".join([head, r"\toprule", rows[0], r"\midrule", *rows[1:], r"\bottomrule", r"\end{tabular}"])
