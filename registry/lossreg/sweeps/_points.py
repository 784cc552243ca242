"""A sweep's rows, taken together over the replicates of each point."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lossreg.sweeps._results import FIXED_COLUMNS

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
    """The overrides that differ between jobs, without the replicate.

    Example:

    >>> axes([{"job": "0", "r": "0.1", "seed": "0"}, {"job": "1", "r": "0.2", "seed": "1"}], [], replicate="seed")
    ['r']
    """
    skipped = {*FIXED_COLUMNS, *metrics, replicate}
    columns = [column for column in (rows[0] if rows else ()) if column not in skipped]
    return [column for column in columns if len({row[column] for row in rows}) > 1]


def points(rows: Sequence[Cells], over: Sequence[str], success: str | None, mean: str | None) -> list[Point]:
    """Take rows together that agree in the columns `over`, in the order of first appearance.

    Example:

    >>> rows = [{"status": "completed", "r": "1", "ok": "true", "e": "0.5"}] * 3
    >>> points(rows, ["r"], "ok", "e")  # doctest: +ELLIPSIS
    [Point(place=('1',), jobs=3, rate=1.0, interval=(0.43850..., 1.0), mean=0.5, unfinished=0)]
    """
    groups: dict[tuple[str, ...], list[Cells]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in over), []).append(row)
    found = []
    for place, members in groups.items():
        tried = [row[success] == "true" for row in members if row["status"] != "failed"] if success else []
        finite = [value for row in members if (value := number(row[mean])) is not None] if mean else []
        found.append(
            Point(
                place=place,
                jobs=len(members),
                rate=sum(tried) / len(tried) if tried else None,
                interval=wilson(sum(tried), len(tried)),
                mean=math.fsum(finite) / len(finite) if finite else None,
                unfinished=sum(row["status"] != "completed" for row in members),
            )
        )
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
