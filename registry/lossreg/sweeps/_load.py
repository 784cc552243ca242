"""Results read again, of one sweep's directory or of many."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from lossreg._errors import ParameterError, UnknownNameError, did_you_mean
from lossreg.sweeps._results import FIXED_COLUMNS, ResultsTable
from lossreg.sweeps._resume import MANIFEST
from lossreg.sweeps._statistics import Cells, Settings, Summary, shown


def settings_of(folder: Path) -> Settings:
    """What a sweep's `sweep.yaml` says of its table."""
    path = folder / MANIFEST
    try:
        return Settings.read((yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("results"))
    except FileNotFoundError:
        return Settings()
    except (yaml.YAMLError, AttributeError, TypeError, ValueError) as error:
        raise OSError(f"{path} cannot be read: {' '.join(str(error).split())}") from None


def read(
    directories: Iterable[str | os.PathLike[str]],
    by: Sequence[str] = (),
    metric: str | None = None,
    baseline: str | None = None,
) -> Summary:
    """Read the results of one sweep or of many together; where many hold the same job, `sweep` tells them apart.

    Raises:
        OSError: if a directory holds no results.
        RegistryError: if there is no such metric, or no such column to compare by.
    """
    rows: list[Cells] = []
    settings = Settings()
    for folder in map(Path, directories):
        folder = folder.parent if folder.name == "results.csv" else folder
        path = folder / "results.csv"
        own = ResultsTable(path).read() if path.is_file() else []
        if not own:
            below = [str(own.parent) for depth in ("*/", "*/*/") for own in sorted(folder.glob(depth + path.name))][:3]
            hint = f" There are some in {', '.join(below)}." if below else ""
            why = "no row yet in its results.csv" if path.is_file() else "no results.csv, so it is no sweep's directory"
            raise FileNotFoundError(f"{folder} has {why}.{hint}")
        rows += [{"sweep": str(folder), **row} for row in sorted(own, key=lambda row: int(row["job"]))]
        found = settings_of(folder)
        settings = dataclasses.replace(
            settings if settings.mean else found,
            columns=tuple(dict.fromkeys([*settings.columns, *found.columns])),
            maximize=(*settings.maximize, *found.maximize),
            added={**found.added, **settings.added},
        )
    header = dict.fromkeys(column for row in rows for column in row)
    rows = [{column: row.get(column, "") for column in header} for row in rows]
    overrides = [name for name in header if name not in (*FIXED_COLUMNS, *settings.columns, metric)]
    _require("metric", metric, [name for name in settings.columns if name in header] or overrides[1:])
    columns = {shown(name): name for name in [*overrides, "job"]}
    for name in by:
        _require("column", name, list(columns))
    settings = dataclasses.replace(settings, mean=metric or settings.mean, baseline=baseline or settings.baseline)
    settings = dataclasses.replace(settings, objectives=() if metric else settings.objectives)
    if settings.mean not in header and settings.success not in header:
        raise ParameterError(f"{MANIFEST} does not say which column is the metric. Say it: --metric NAME --by NAME")
    jobs = {tuple((name, row[name]) for name in overrides) for row in rows}
    told = {tuple((name, row[name]) for name in overrides if name != "sweep") for row in rows}
    if len(jobs) == len(told) and "sweep" not in by:
        rows = [{name: cell for name, cell in row.items() if name != "sweep"} for row in rows]
    summary = Summary(rows, settings, [columns[name] for name in by])
    if baseline and summary.baseline is None:
        raise UnknownNameError(summary.no_baseline())
    return summary


def _require(noun: str, name: str | None, options: Sequence[str]) -> None:
    if name is not None and name not in options:
        shown = ", ".join(options[:12]) + (", …" if len(options) > 12 else "")
        raise UnknownNameError(f"There is no {noun} '{name}'.{did_you_mean(name, options)} There are: {shown}")


def load(*directories: str | os.PathLike[str], by: Sequence[str] | str = (), metric: str | None = None) -> Any:
    """Return the closing table of one sweep, or of many together, as a pandas DataFrame.

    A row is what differs in nothing but the seed, best first: the overrides that differ, how many jobs there are, the
    mean of each metric by its name; of the objective the 95% interval (`_low`, `_high`), the paired difference to the
    baseline, and how many pairs it won.

    Arguments:
        directories: the sweeps' directories.
        by: the columns to compare by; `"job"` for a row per job.
        metric: the metric to compare; by default the objective.

    Raises:
        OSError: if a directory holds no results.
        RegistryError: if there is no such metric, or no such column to compare by.
    """
    import pandas as pd

    return pd.DataFrame(read(directories, [by] if isinstance(by, str) else by, metric).records())
