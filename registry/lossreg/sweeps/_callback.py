"""The Hydra callback that keeps a sweep's results and lets it be resumed, under any launcher."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict, read_write

from lossreg._errors import printable
from lossreg.sweeps._batch import Outcome
from lossreg.sweeps._directory import check_places, take
from lossreg.sweeps._ending import Ending
from lossreg.sweeps._results import ResultsTable, Row
from lossreg.sweeps._resume import Done, added, begin, command, command_of_a_job, describe_sweep
from lossreg.sweeps._statistics import Settings
from lossreg.sweeps._study import keep_study

log = logging.getLogger(__name__)

_SPARING = {"_target_": "hydra_plugins.lossreg.launcher.SparingLauncher"}


@dataclass(eq=False)
class SweepResults(Callback):
    """Appends one row per job of a multirun to `results.csv` in the sweep directory, as the jobs end.

    Works under every launcher, also where jobs end in other processes. A multirun into the directory of an earlier one
    goes on with it: jobs that have a row are not run again, and another config is refused. A directory that is named by
    the time is no other's, that of a single run too, and one in which another process runs is refused.

    Arguments:
        columns: the metric columns, keys of the file of metrics.
        objective: the column with what the task function returns, or the columns, if it returns several numbers; added
            to `columns` if not among them. A sweeper that learns from its jobs is told it when it is resumed.
        success: the true-or-false column whose rate the closing table gives.
        mean: the column whose mean the closing table gives, and whose best mean makes the best row; by default
            the objective.
        replicate: the override over which rate and mean are taken, as a rule the seed.
        maximize: the columns of which a higher value is better, as of an accuracy; of the others, a lower one is. The
            objective of a sweeper with `direction: maximize` is one of them.
        baseline: a value (`bce`) or an override (`loss=bce`) that names the row with which others are compared; by
            default the first.
        metrics: the JSON file in a job's directory that holds its metrics.
        file: the table's name.
        show: whether to print a table and draw `sweep.png` when the sweep ends.
        retry_failed: whether a resumed sweep runs the jobs again that have failed; their rows are then removed.

    Example, in an app's config:

    ```yaml
    hydra:
      callbacks:
        results:
          _target_: lossreg.sweeps.SweepResults
          columns: [solved, accuracy, loss]
          objective: loss
          success: solved
          replicate: seed
    ```
    """

    columns: Sequence[str] = ()
    objective: str | Sequence[str] | None = None
    success: str | None = None
    mean: str | None = None
    replicate: str | None = None
    maximize: Sequence[str] = ()
    baseline: str | None = None
    metrics: str = "metrics.json"
    file: str = "results.csv"
    show: bool = True
    retry_failed: bool = False

    def __post_init__(self) -> None:
        self._objectives = (self.objective,) if isinstance(self.objective, str) else tuple(self.objective or ())
        self.columns = tuple(dict.fromkeys([*self.columns, *self._objectives]))
        self.maximize = tuple(self.maximize or ())
        self.done: Any = None
        self.launcher: Any = None  # before which one stands that hands it what is not done
        self._ending: Ending | None = None
        self._table: ResultsTable | None = None
        self._lock: Any = None
        self._unwritten: list[Row] = []

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Take the directory of a single run; end the program if another process runs in it."""
        with contextlib.suppress(Exception):  # where it cannot be made, Hydra says why
            self._lock = take(config, "run")

    def on_run_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Leave the directory to others."""
        if self._lock:
            Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock.release(force=True)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Begin a sweep, or go on with the one that is in the directory; end the program if that is another one."""
        try:
            sweep = describe_sweep(config)
            settings = self._settings(config, sweep)
            check_places(config)
            self._lock = take(config, "sweep")
            table = self._table_of(config)
            learns = "study_name" in config.hydra.sweeper
            goes_on = begin(table.path.parent, sweep, table, asdict(settings))
            failed = table.remove("failed") if self.retry_failed else 0
            self.done = Done(table, self._objectives, learns)
            if goes_on:
                again = f", {failed} that have failed are run again" if failed else ""
                log.info("Going on with the sweep in %s: %d jobs are done%s", table.path.parent, len(self.done), again)
            with read_write(config.hydra), open_dict(config.hydra):
                if learns:
                    keep_study(config.hydra.sweeper, table.path.parent, self.done)
                self.launcher, config.hydra.launcher = config.hydra.launcher, _SPARING
        except Exception as error:  # which Hydra would turn into a warning
            log.debug("the sweep cannot begin", exc_info=error)
            folder = OmegaConf.to_container(config.hydra.sweep, resolve=False)["dir"]  # type: ignore[index, call-overload]
            where = "" if isinstance(error, OSError) else f"{folder}: {type(error).__name__}: "
            sys.exit(f"This sweep cannot begin: {where}{printable(' '.join(str(error).split()))}")
        self._ending = Ending(lambda interrupted: self._close(table, settings, interrupted))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Print the closing table; end the program with an error if jobs have no row."""
        if self._ending:
            self._ending.close()
        if self._table and not sys.exc_info()[0]:  # which Hydra 1.4 goes on to raise
            try:
                lost, jobs = self.done.lost()
            except OSError as error:
                sys.exit(str(error))
            if lost:
                sys.exit(f"{lost} of {jobs} jobs have no row in {self._table.path}: they could not be written.")
            if not jobs:
                sys.exit(f"No job of this sweep has a row in {self._table.path}: none has run.")

    def _settings(self, config: DictConfig, sweep: Mapping[str, Any]) -> Settings:
        """What the results are about; ends the program if the sweeper would look for the worst."""
        maximize, directions = list(self.maximize), OmegaConf.select(config, "hydra.sweeper.direction")
        directions = directions if isinstance(directions, (list, ListConfig)) else [directions] * len(self._objectives)
        right = ["maximize" if name in maximize else "minimize" for name in self._objectives]
        for objective, direction in zip(self._objectives, directions, strict=False):
            word = getattr(direction, "name", direction)
            if objective in maximize and word == "minimize":
                add = right[0] if len(right) == 1 else f"[{','.join(right)}]"
                sys.exit(f"Of {objective}, a higher value is better. Add hydra.sweeper.direction={add}")
            maximize += [objective] if word == "maximize" else []
        about = {own.name: getattr(self, own.name) for own in fields(Settings) if hasattr(self, own.name)}
        mean = self.mean if isinstance(self.mean, str) else next(iter(self._objectives), None)
        about |= {
            "mean": mean,
            "maximize": maximize,
            "objectives": self._objectives if len(self._objectives) > 1 else (),
        }
        return Settings(**about, command=command_of_a_job(), added=added(sweep))

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Append the job's row."""
        if OmegaConf.is_missing(config.hydra.job, "num"):  # a single run
            return
        outcome = outcome_of(job_return)
        if outcome.error is None and self.columns:
            outcome = Outcome(outcome.value, _read(Path(config.hydra.runtime.output_dir) / self.metrics))
        self.append(config, {int(config.hydra.job.num): (job_return.overrides or (), outcome)})

    def append(self, config: DictConfig, jobs: Mapping[int, tuple[Sequence[str], Outcome]]) -> None:
        """Append rows: overrides and outcomes by job; where that fails, say so and try again at the next row."""
        rows = self._unwritten
        for job, (overrides, outcome) in jobs.items():
            metrics = outcome.metrics
            if outcome.error is None:
                values = outcome.value if len(self._objectives) > 1 else [outcome.value]
                returned = zip(self._objectives, values if isinstance(values, (list, tuple)) else (), strict=False)
                metrics = {**metrics, **{name: value for name, value in returned if metrics.get(name) is None}}
            rows.append(Row(job, overrides, outcome.status, outcome.message, metrics))
        try:
            self._table_of(config).append(rows)
            self._unwritten = []
        except OSError as error:
            numbers = ", ".join(str(row.job) for row in rows[:5]) + (", …" if len(rows) > 5 else "")
            log.error("job %s: no row in %s: %s", numbers, self.file, error)

    def _table_of(self, config: DictConfig) -> ResultsTable:
        """The table of the sweep that a config belongs to, wherever its job has changed to."""
        path = sweep_of(config) / self.file
        if self._table is None or self._table.path != path:
            self._table = ResultsTable(path, self.columns)
        return self._table

    def _close(self, table: ResultsTable, settings: Settings, interrupted: bool) -> None:
        with contextlib.suppress(OSError):  # which it said before
            if self._unwritten:
                table.append(self._unwritten)
                self._unwritten = []
        try:
            if self.show:
                from lossreg.sweeps._summary import show  # rich takes 0.1 s to import

                show(table, settings, picture=not interrupted)
        except Exception as error:  # it is only shown: all results are on the disk
            log.error("the closing table cannot be shown: %s", error)
        finally:
            if self._lock:
                self._lock.release(force=True)
            if interrupted:
                print(f"Interrupted. To go on:\n  {command(table.path.parent)}", flush=True)

    def __getstate__(self) -> dict[str, Any]:
        """Another process, where a job ends, does not end the sweep."""
        return {**self.__dict__, "_ending": None, "_lock": None, "_table": None, "done": None, "launcher": None}


def sweep_of(config: DictConfig) -> Path:
    """The directory of a sweep."""
    return Path(config.hydra.runtime.cwd, str(config.hydra.sweep.dir))


def outcome_of(job_return: JobReturn) -> Outcome:
    with contextlib.redirect_stderr(io.StringIO()):  # Hydra says there that it raises what the job raised
        try:
            return Outcome(job_return.return_value)
        except Exception as error:
            traceback = error.__traceback__
            for _ in ("here", "return_value"):  # whoever prints it later does not want these frames
                traceback = traceback.tb_next if traceback else None
            return Outcome(error=error.with_traceback(traceback))


def _read(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        log.error("the job's metrics cannot be read: %s", error)
        return {}
    return found if isinstance(found, dict) else {}
