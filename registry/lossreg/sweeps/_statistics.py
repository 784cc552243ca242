"""What a sweep came to, in numbers: its jobs taken together over the replicates, and held against a baseline."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from lossreg._errors import did_you_mean
from lossreg.sweeps._results import FIXED_COLUMNS, value_of

Cells = Mapping[str, str]
_Z = statistics.NormalDist().inv_cdf(0.975)  # of a 95% interval


@dataclass(frozen=True)
class Settings:
    """What a table of results is about, as `sweep.yaml` keeps it: the callback's settings, and how a job is run."""

    columns: Sequence[str] = ()  # the metrics
    mean: str | None = None  # the metric that is compared
    success: str | None = None
    replicate: str | None = None
    maximize: Sequence[str] = ()
    baseline: str | None = None
    command: Sequence[str] = ()  # the words that run one job, before its overrides
    added: Mapping[str, str] = field(default_factory=dict)  # overrides that were typed with a `+`, by column
    objectives: Sequence[str] = ()  # what a sweeper is told

    @classmethod
    def read(cls, found: Any) -> Settings:
        """Read them from a part of `sweep.yaml`, which may be of another version, or not there."""
        names = {own.name for own in fields(cls)}
        return cls(**{name: value for name, value in dict(found or {}).items() if name in names})


@dataclass(frozen=True, eq=False)
class Point:
    """The jobs that differ in nothing but the replicate."""

    place: tuple[str, ...]  # the value of each axis
    jobs: int
    rate: float | None  # the share that succeeded, of those that did not fail; what diverged did not succeed
    interval: tuple[float, float]  # the rate's 95% interval
    mean: float | None  # of the metric, over completed jobs
    unfinished: int
    half: float | None = None  # half of the mean's 95% interval
    values: Mapping[tuple[str, ...], float] = field(default_factory=dict)  # of the metric, by what tells its jobs apart
    rows: Sequence[Cells] = ()

    def mean_of(self, metric: str) -> float | None:
        """The mean of another metric."""
        values = [value for row in self.rows if math.isfinite(value := measure(row[metric]))]
        return statistics.fmean(values) if values else None


@dataclass(frozen=True)
class Difference:
    """How a point compares with another on what both have, as a rule the same seeds."""

    mean: float | None
    half: float | None
    won: int | None
    pairs: int | None


def axes(rows: Sequence[Cells], metrics: Iterable[str], replicate: str | None) -> list[str]:
    """The overrides that differ between jobs, without the replicate."""
    skipped = {*FIXED_COLUMNS, *metrics, replicate}
    columns = [column for column in (rows[0] if rows else ()) if column not in skipped]
    return [column for column in columns if len({row[column] for row in rows}) > 1]


def points(
    rows: Sequence[Cells], over: Sequence[str], success: str | None, mean: str | None, apart: Sequence[str] = ()
) -> list[Point]:
    """Take rows together that agree in the columns `over`, in the order of first appearance.

    The jobs of a point are told apart by the columns `apart`, or else by their number.
    """
    groups: dict[tuple[str, ...], list[Cells]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in over), []).append(row)
    found = []
    for place, members in groups.items():
        tried = [row[success].lower() == "true" for row in members if row["status"] != "failed"] if success else []
        rate = sum(tried) / len(tried) if tried else None
        measured: dict[tuple[str, ...], list[float]] = {}
        for row in members if mean else ():
            if math.isfinite(value := measure(row[str(mean)])):
                key = tuple(row[column] for column in apart) or (row.get("sweep", ""), row["job"])
                measured.setdefault(key, []).append(value)
        values = {key: statistics.fmean(several) for key, several in measured.items()}
        average, half = mean_of(list(values.values()))
        unfinished = sum(row["status"] != "completed" for row in members)
        ends = wilson(sum(tried), len(tried))
        found.append(Point(place, len(members), rate, ends, average, unfinished, half, values, members))
    return found


def mean_of(values: Sequence[float]) -> tuple[float | None, float | None]:
    """The mean, and half of its 95% interval by Student's t: of two values or more, and if there is SciPy.

    Example:

    >>> [round(number, 4) for number in mean_of([1.0, 2.0, 4.0])]
    [2.3333, 3.7946]
    """
    if len(values) < 2:
        return (values[0] if values else None), None
    try:
        from scipy.special import stdtrit  # of the extra `data`
    except ImportError:
        return statistics.fmean(values), None
    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), float(stdtrit(len(values) - 1, 0.975)) * error


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


def shown(axis: str) -> str:
    """The name of an axis as a person types it."""
    return axis.removeprefix("override.")


def number(cell: str) -> float | None:
    """A cell as a number, if it is one."""
    value = value_of(cell)
    return value if isinstance(value, float) else None


def measure(cell: str) -> float:
    """A metric's cell as a number: 1 and 0 for true and false, NaN for what is none."""
    value = value_of(cell)
    return float(value) if isinstance(value, (bool, float)) else math.nan


class Summary:
    """What the rows of a sweep, or of many, come to: `points`, the best first, and `composed`, in the sweep's order.

    Arguments:
        rows: the rows, in the order of their jobs.
        settings: what they are about.
        by: the columns to compare; by default all overrides that differ, without the replicate.
    """

    def __init__(self, rows: Sequence[Cells], settings: Settings, by: Sequence[str] = ()) -> None:
        self.rows, self.settings = rows, settings
        self.metrics = [name for name in settings.columns if name in rows[0]]
        self.metric = settings.mean if settings.mean in rows[0] else None
        self.success = settings.success if settings.success in rows[0] else None
        self.higher = self.metric in settings.maximize if self.metric else True
        told = [name for name in settings.objectives if name in rows[0]]
        self.objectives = told if len(told) > 1 else [self.metric or ""]
        results = [*self.metrics, str(self.metric)]
        self.over = list(by) or axes(rows, results, settings.replicate)
        # What else differs between jobs, as a rule the seed: pairs agree in it.
        self.apart = [name for name in axes(rows, results, None) if name not in self.over]
        self.composed = points(rows, self.over, self.success, self.metric, self.apart)
        self.points = sorted(self.composed, key=self._order)
        self.front = self._front() if len(self.objectives) > 1 else []
        self.points.sort(key=lambda point: bool(self.front) and point not in self.front)
        self.single = all(point.jobs == 1 for point in self.composed)
        asked = str(settings.baseline or "").split()
        self.baseline = next((point for point in self.composed if self._names(point).issuperset(asked)), None)

    def _order(self, point: Point) -> tuple[bool, float]:
        value = point.mean if self.metric else point.rate
        return value is None, (-1 if self.higher else 1) * (value or 0.0)

    def _front(self) -> list[Point]:
        """The points that no other betters in one objective without being worse in another (Pareto's front)."""
        told = {point: [point.mean_of(name) for name in self.objectives] for point in self.composed}
        signs = [1 if name in self.settings.maximize else -1 for name in self.objectives]
        high = {
            point: [sign * value for sign, value in zip(signs, values, strict=True)]  # type: ignore[operator]
            for point, values in told.items()
            if None not in values
        }
        found: list[Point] = []
        for point in sorted(high, key=high.__getitem__, reverse=True):  # so that none is bettered by a later one
            own = high[point]
            if all(high[best] == own or any(o > b for o, b in zip(own, high[best], strict=True)) for best in found):
                found.append(point)
        return found

    def _names(self, point: Point) -> set[str]:
        pairs = zip(map(shown, self.over), point.place, strict=True)
        return {*point.place, *(f"{axis}={value}" for axis, value in pairs)}

    def no_baseline(self) -> str:
        """What is said where there is no such baseline."""
        asked = str(self.settings.baseline)
        hint = did_you_mean(asked, dict.fromkeys(cell for point in self.composed for cell in point.place))
        return f"There is no baseline '{asked}' in the table.{hint}"

    def difference(self, point: Point) -> Difference | None:
        """How a point compares with the baseline, on the seeds that both have."""
        base = self.baseline
        if base is None or point is base:
            return None
        gaps = [value - base.values[key] for key, value in point.values.items() if key in base.values]
        mean, half = mean_of(gaps)
        won = sum(gap > 0 if self.higher else gap < 0 for gap in gaps)
        return None if mean is None else Difference(mean, half, won, len(gaps))

    def title(self, metric: str) -> str:
        """A metric's name, told apart from an axis of that name."""
        return f"{metric}_mean" if metric in map(shown, self.over) else metric

    def records(self) -> list[dict[str, Any]]:
        """The whole table as plain data, a dictionary a point; of each metric the mean."""
        return [self._record(point) for point in self.points]

    def _record(self, point: Point) -> dict[str, Any]:
        found: dict[str, Any] = dict(zip(map(shown, self.over), map(_plain, point.place), strict=True))
        found |= {"jobs": point.jobs, "not_completed": point.unfinished}
        found |= {"front": point in self.front} if self.front else {}
        found |= {self.title(name): point.mean_of(name) for name in self.metrics}
        if name := self.success:
            found[self.title(name)] = point.rate
            found |= dict(zip((f"{name}_low", f"{name}_high"), point.interval, strict=True))
        if name := self.metric:
            found |= {self.title(name): point.mean} | _ends(name, point.mean, point.half)
            gap = self.difference(point) or Difference(None, None, None, None)
            found |= {"difference": gap.mean} | _ends("difference", gap.mean, gap.half)
            found |= {"won": gap.won, "pairs": gap.pairs}
        return found


def _ends(name: str, mean: float | None, half: float | None) -> dict[str, float | None]:
    known = mean is not None and half is not None
    return {f"{name}_low": mean - half if known else None, f"{name}_high": mean + half if known else None}  # type: ignore[operator]


def _plain(cell: str) -> Any:
    try:
        return json.loads(cell, parse_constant=str)
    except ValueError:
        return cell
