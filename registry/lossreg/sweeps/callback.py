"""The Hydra callback that keeps a sweep's results and lets it be resumed, under any launcher."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from hydra.types import TaskFunction
from omegaconf import DictConfig, OmegaConf

from lossreg.sweeps.batch import is_resumable
from lossreg.sweeps.compose import as_written
from lossreg.sweeps.ending import Ending
from lossreg.sweeps.results import ResultsTable, Row
from lossreg.sweeps.resume import Done, Finished, JobFailed, OtherSweepError, begin, describe_sweep, set_finished

log = logging.getLogger(__name__)


class SweepResults(Callback):
    """Appends one row per job of a multirun to `results.csv` in the sweep directory, as the jobs end.

    Works under every launcher, also where jobs end in other processes. A multirun into the directory of an earlier one
    goes on with it: jobs that have a row are not run again, and another config is refused. A single run is left alone.

    Arguments:
        columns: the metric columns, keys of the file of metrics.
        objective: the column with what the task function returns; added to `columns` if it is not among them. Without
            it a sweeper that learns from its jobs cannot be resumed.
        success: the true-or-false column whose rate the closing table gives.
        mean: the column whose mean the closing table gives, and whose lowest value makes the best row.
        replicate: the override over which rate and mean are taken, as a rule the seed.
        metrics: the JSON file in a job's directory that holds its metrics.
        file: the table's name.
        show: whether to print a table and draw `sweep.png` when the sweep ends.

    Example, in an app's config:

    ```yaml
    hydra:
      callbacks:
        results:
          _target_: lossreg.sweeps.SweepResults
          columns: [solved, accuracy, loss]
          objective: loss
          success: solved
          mean: loss
          replicate: seed
    ```
    """

    def __init__(
        self,
        columns: Sequence[str] = (),
        objective: str | None = None,
        success: str | None = None,
        mean: str | None = None,
        replicate: str | None = None,
        metrics: str = "metrics.json",
        file: str = "results.csv",
        show: bool = True,
    ) -> None:
        wanted = [*columns, *([objective] if objective else [])]
        self.columns = tuple(dict.fromkeys(wanted))
        self.objective = objective
        self.success = success
        self.mean = mean
        self.replicate = replicate
        self.metrics = metrics
        self.file = file
        self.show = bool(show)
        self.done: Done | None = None
        self._ending: Ending | None = None
        self._table: ResultsTable | None = None

    def table(self, config: DictConfig) -> ResultsTable:
        """The table of the sweep that a config belongs to."""
        path = sweep_directory(config) / self.file
        if self._table is None or self._table.path != path:
            self._table = ResultsTable(path, self.columns)
        return self._table

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin a sweep, or go on with the one that is in the directory; end the program if that is another one."""
        table = self.table(config)
        try:
            goes_on = begin(table.path.parent, describe_sweep(config), table)
        except OtherSweepError as error:
            sys.exit(str(error))  # Hydra lets no other exception of a callback through
        except OSError as error:
            log.error("this sweep cannot be resumed: %s", error)
            goes_on = False
        if goes_on:
            self.done = Done(table, self.objective)
            log.info("Going on with the sweep in %s: %d jobs are done", table.path.parent, len(self.done))
        self._ending = Ending(table, self)

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the closing table."""
        if self._ending:
            self._ending.close()

    def on_job_start(self, config: DictConfig, *, task_function: TaskFunction, **kwargs: Any) -> None:
        """Spare a job that has its row."""
        finished = self._finished(config)
        set_finished(finished if is_resumable(task_function) else None)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Append the job's row."""
        set_finished(None)
        if is_single_run(config) or self._finished(config) is not None:
            return
        metrics: Mapping[str, Any] = {}
        if self.columns and job_return.status == JobStatus.COMPLETED:
            metrics = _read_metrics(Path(config.hydra.runtime.output_dir) / self.metrics)
        self.append(config, [self.row(config.hydra.job.num, job_return, metrics)])

    def row(self, job: int, job_return: JobReturn, metrics: Mapping[str, Any]) -> Row:
        """The row of a job that has ended."""
        overrides = job_return.overrides or ()
        if job_return.status != JobStatus.COMPLETED:
            status, error = describe(job_return._return_value)  # `return_value` would raise it
            return Row(job, overrides, status, error)
        if self.objective and metrics.get(self.objective) is None:
            metrics = {**metrics, self.objective: job_return.return_value}
        return Row(job, overrides, metrics=metrics)

    def append(self, config: DictConfig, rows: Sequence[Row]) -> None:
        """Append rows to the table; where that is impossible, say so and let the jobs go on."""
        try:
            self.table(config).append(rows)
        except OSError as error:
            jobs = ", ".join(str(row.job) for row in rows[:5]) + (", …" if len(rows) > 5 else "")
            log.error("job %s: no row in %s: %s", jobs, self.file, error)

    def _finished(self, config: DictConfig) -> Finished | None:
        if self.done is None or is_single_run(config):
            return None
        return self.done.find(config.hydra.job.num, as_written(config.hydra.overrides.task))

    def __getstate__(self) -> dict[str, Any]:
        """Another process, where a job ends, does not end the sweep."""
        return {**self.__dict__, "_ending": None}


def is_single_run(config: DictConfig) -> bool:
    """Whether a config is not of a job of a multirun."""
    return OmegaConf.is_missing(config.hydra.job, "num")


def sweep_directory(config: DictConfig) -> Path:
    """The directory of the sweep that a config belongs to, wherever its job has changed to."""
    return Path(config.hydra.runtime.cwd) / str(config.hydra.sweep.dir)


def describe(error: object) -> tuple[str, str]:
    """The status and the one-line message of what ended a job.

    Example:

    >>> describe(ValueError("r must be positive"))
    ('failed', 'ValueError: r must be positive')
    """
    if isinstance(error, JobFailed):
        return error.status, error.message
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
