"""The Hydra callback that keeps a sweep's results, under any launcher."""

from __future__ import annotations

import atexit
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from sweeps.results import ResultsTable, Row

log = logging.getLogger(__name__)


class SweepResults(Callback):
    """Appends one row per job of a multirun to `results.csv` in the sweep directory, as the jobs end.

    Works under every launcher, also where jobs end in other processes. A single run is left alone.

    Arguments:
        columns: the metric columns, keys of the file of metrics.
        metrics: the JSON file in the job's directory that holds them.
        file: the table's name.
        show: whether to print the table when the sweep ends.

    Example, in an app's config:

    ```yaml
    hydra:
      callbacks:
        results:
          _target_: sweeps.SweepResults
          columns: [accuracy, loss]
    ```
    """

    def __init__(
        self,
        columns: Sequence[str] = (),
        metrics: str = "metrics.json",
        file: str = "results.csv",
        show: bool = True,
    ) -> None:
        self.columns = tuple(columns)
        self.metrics = metrics
        self.file = file
        self.show = bool(show)
        self._ending: _Ending | None = None

    def table(self, config: DictConfig) -> ResultsTable:
        """The table of the sweep that a config belongs to."""
        directory = Path(config.hydra.runtime.cwd) / str(config.hydra.sweep.dir)
        return ResultsTable(directory / self.file, self.columns)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Remember to print the table, also when a failed job ends the sweep with an exception."""
        self._ending = _Ending(self.table(config)) if self.show else None

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the table."""
        if self._ending:
            self._ending.show()

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Append the job's row."""
        hydra = config.hydra
        if OmegaConf.is_missing(hydra.job, "num"):  # a single run
            return
        metrics: Mapping[str, Any] = {}
        if self.columns and job_return.status == JobStatus.COMPLETED:
            metrics = _read_metrics(Path(hydra.runtime.output_dir) / self.metrics)
        try:
            self.table(config).append([row_of(hydra.job.num, job_return, metrics)])
        except OSError as error:
            log.error("job %s has no row in %s: %s", hydra.job.num, self.file, error)

    def __getstate__(self) -> dict[str, Any]:
        """Another process, where a job ends, has no table to print."""
        return {**self.__dict__, "_ending": None}


def row_of(job: int, job_return: JobReturn, metrics: Mapping[str, Any]) -> Row:
    """The row of a job that Hydra has run."""
    status, error = "completed", ""
    if job_return.status != JobStatus.COMPLETED:
        status, error = describe(job_return._return_value)  # `return_value` would raise it
    return Row(job, job_return.overrides or (), status, error, metrics)


def describe(error: object) -> tuple[str, str]:
    """The status and the one-line message of what ended a job.

    Example:

    >>> describe(ValueError("r must be positive"))
    ('failed', 'ValueError: r must be positive')
    """
    status = getattr(error, "status", None)
    message = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return status if isinstance(status, str) else "failed", message


def _read_metrics(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        log.error("the job's metrics cannot be read: %s", error)
        return {}
    return found if isinstance(found, dict) else {}


class _Ending:
    """Prints a table once, when the sweep or the program ends: Hydra has no call for a sweep that raises."""

    def __init__(self, table: ResultsTable) -> None:
        self.table = table
        atexit.register(self.show)

    def show(self) -> None:
        atexit.unregister(self.show)
        from sweeps.summary import show  # rich takes 0.1 s to import

        show(self.table)
