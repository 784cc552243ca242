"""Launching the jobs of a sweep: in batches where the app offers that, one by one where not."""

from __future__ import annotations

import contextlib
import copy
import logging
import os
import sys
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, JobRuntime, configure_log, filter_overrides, run_job, setup_globals
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from lossreg import GROUPS
from lossreg._errors import said
from lossreg.sweeps._backends import Chunk, Engine, WorkerDied
from lossreg.sweeps._batch import Batch, CannotBatch, JobFailed, Outcome, hearing, returned
from lossreg.sweeps._callback import SweepResults
from lossreg.sweeps._compose import Composed, hydra_config
from lossreg.sweeps._loggers import Loggers, Run

log = logging.getLogger(__name__)

AUTO_DIRECTORIES = 300
"""Up to this many jobs each has a directory, unless it is said otherwise."""

_SECONDS_BETWEEN_LINES = 15.0


@dataclass
class Job:
    """One job of a sweep."""

    place: int  # among the jobs that are launched together
    number: int  # hydra.job.num
    composed: Composed
    folder: Path  # whether it gets one or not


class Launch:
    """Runs the jobs that a sweeper hands over; the options are those of `hydra.launcher`."""

    def __init__(
        self,
        context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
        *,
        job_directories: bool | str = "auto",
        chunk_size: int | None = None,
        fail_fast: bool = False,
        **backend: Any,
    ) -> None:
        self._context = context
        self._task_function = task_function
        self._config = config
        self._batch: Batch | None = getattr(task_function, "batch", None)
        self._loader: Any = context.config_loader
        if chunk_size is not None and chunk_size < 1:
            raise HydraException(f"hydra.launcher.chunk_size={chunk_size}: at least 1 job runs in a program")
        if job_directories not in (True, False, "auto"):
            raise HydraException(f"hydra.launcher.job_directories={job_directories}: choose true, false or auto")
        self._chunk_size = chunk_size
        self._fail_fast = fail_fast
        self._engine = Engine(**backend)
        self._directories = job_directories
        callbacks = context.callbacks.callbacks
        self._results = next((callback for callback in callbacks if isinstance(callback, SweepResults)), None)
        self._loggers = next((callback for callback in callbacks if isinstance(callback, Loggers)), None)
        self._others = copy.copy(context.callbacks)
        self._others.callbacks = [callback for callback in callbacks if _listens_to_jobs(callback)]

    def __call__(self, job_overrides: Sequence[Sequence[str]], numbers: Sequence[int]) -> list[JobReturn]:
        """Run jobs of these numbers, in ascending order."""
        setup_globals()
        self._configure_log()
        self._sweep_dir = str(self._config.hydra.sweep.dir)
        Path(self._sweep_dir).mkdir(parents=True, exist_ok=True)
        total = len(job_overrides)
        few = total == 0 or numbers[-1] < AUTO_DIRECTORIES
        self._with_directories = self._directories is True or (self._directories == "auto" and few)
        self._returns: list[Any] = [None] * total
        jobs = [self._job(place, *job) for place, job in enumerate(zip(numbers, job_overrides, strict=True))]
        log.info("Launching %d jobs", total)
        self._progress = _Progress(total)
        try:
            if self._batch is None:
                self._run_alone(jobs)
            elif jobs:
                self._run(self._batch, jobs)
        finally:
            self._progress.pause()
        return self._returns

    def _job(self, place: int, number: int, overrides: Sequence[str]) -> Job:
        own = list(overrides)
        keys = {override.partition("=")[0].lstrip("+") for override in own}
        fixed = self._batch.overrides if self._batch else ()
        own += [line for line in fixed if line.partition("=")[0].lstrip("+") not in keys]
        composed = self._loader.compose(self._config, own)
        folder = os.path.join(self._sweep_dir, composed.subdir(number))  # noqa: PTH118 - as Hydra joins it
        return Job(place, number, composed, Path(os.path.abspath(folder)))  # noqa: PTH100 - `..` is resolved

    def _run(self, batch: Batch, jobs: Sequence[Job]) -> None:
        """Run jobs in chunks; then those that cannot be run so, in the order of their first, for the reasons given."""
        groups: dict[Hashable, list[Job]] = {}
        alone: dict[str, list[Job]] = {}
        for job in jobs:
            try:
                groups.setdefault(batch.group(job.composed.plain), []).append(job)
            except Exception as error:  # the job run alone says what is wrong
                alone.setdefault(str(error) if isinstance(error, CannotBatch) else said(error), []).append(job)
        with self._engine.start(len(jobs), self._sweep_dir) as workers, hearing(self._progress.tell):
            self._progress.resume()
            chunks = []
            for members in groups.values():
                try:
                    chunks += self._cut(batch, members, workers)
                except Exception as error:
                    alone.setdefault(said(error), []).extend(members)
            while chunks:
                died = []
                with contextlib.closing(self._engine.run(batch.run, map(self._prepare, chunks))) as answers:
                    for place, answer in answers:
                        if isinstance(answer, CannotBatch):
                            alone.setdefault(str(answer), []).extend(chunks[place])
                        elif isinstance(answer, WorkerDied) and len(chunks[place]) > 1:
                            half = len(chunks[place]) // 2  # to find out which of them did it
                            died += [chunks[place][:half], chunks[place][half:]]
                        elif isinstance(answer, WorkerDied):
                            (job,) = chunks[place]
                            message = f"{_plugins(job)} ended the process that ran it: {answer}"
                            self._end([job], [Outcome(error=JobFailed(message, "failed"))])
                        else:
                            self._end(chunks[place], answer)
                chunks = died
        for reason, members in alone.items():
            one = "1 job is run alone" if len(members) == 1 else f"{len(members)} jobs are run one by one"
            log.warning("%s: %s", one, " ".join(reason.split()))
            self._run_alone(members)

    def _cut(self, batch: Batch, jobs: list[Job], workers: int) -> list[list[Job]]:
        """Cut a group into chunks of equal size that fit in memory, one per worker; only the last may be smaller."""
        size = min(self._chunk_size or len(jobs), -(-len(jobs) // workers))
        if batch.limit is not None:
            size = min(size, max(1, batch.limit([job.composed.plain for job in jobs])))
        size = -(-len(jobs) // -(-len(jobs) // size))
        return [jobs[start : start + size] for start in range(0, len(jobs), size)]

    def _prepare(self, jobs: Sequence[Job]) -> Chunk:
        """What a batch needs of its jobs; their directories are made."""
        self._progress.running = len(jobs)
        subdir = self._config.hydra.output_subdir
        for job in jobs if self._with_directories else ():
            folder = job.folder / (subdir or "")
            folder.mkdir(parents=True, exist_ok=True)
            for name, text in job.composed.files.items() if subdir else ():
                (folder / name).write_text(text, encoding="utf-8")
        with hydra_config(jobs[0].composed.config(jobs[0].number)) as config:
            environment = {str(name): str(value) for name, value in config.hydra.job.env_set.items()}
            log_name = f"{config.hydra.job.name}.log"
        for job in jobs:
            self._notify("on_job_start", job, task_function=self._task_function)
        folders = [job.folder for job in jobs] if self._with_directories else None
        return Chunk([job.composed.plain for job in jobs], folders, environment, log_name)

    def _end(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        """Keep what a chunk came to."""
        if len(outcomes) != len(jobs):
            raise TypeError(f"the app's batch returned {len(outcomes)} outcomes for {len(jobs)} jobs")
        ended = list(zip(jobs, outcomes, strict=True))
        about = {"task_name": JobRuntime.instance().get("name"), "working_dir": str(Path.cwd())}
        chdir = self._config.hydra.job.chdir
        for job, outcome in ended:
            about |= {"working_dir": str(job.folder)} if chdir else {}
            made = self._returns[job.place] = returned(outcome, overrides=job.composed.overrides, **about)
            self._notify("on_job_end", job, job_return=made)
        if self._results is not None:
            rows = {job.number: (job.composed.overrides, outcome) for job, outcome in ended}
            self._results.append(self._config, rows)
        if self._loggers is not None:
            place = Path(self._sweep_dir).absolute()
            runs = [Run(j.folder, j.composed.plain, j.composed.overrides, o, place, j.number) for j, o in ended]
            self._loggers.log(runs, runs[0].config)
        failures = [(job.number, outcome) for job, outcome in ended if outcome.error is not None]
        for number, outcome in failures:
            log.error("#%d %s: %s", number, outcome.status, " ".join(outcome.message.split()))
        self._progress.advance(len(jobs))
        self._stop_after(jobs)

    def _run_alone(self, jobs: Sequence[Job]) -> None:
        """Run jobs one by one, as Hydra does."""
        self._progress.pause()
        for job in jobs:
            progress = self._progress
            place = f" ({progress.ended} of {progress.total})" if progress.total > 1 else ""
            log.info("\t#%d : %s%s", job.number, " ".join(filter_overrides(job.composed.overrides)), place)
            self._returns[job.place] = run_job(
                hydra_context=self._context,
                task_function=self._task_function,
                config=job.composed.config(job.number),
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )
            self._configure_log()
            self._progress.advance(1)
            self._stop_after([job])

    def _stop_after(self, jobs: Sequence[Job]) -> None:
        """Raise what the first of these jobs that failed ended with, if the sweep is to stop there."""
        for job in jobs if self._fail_fast else ():
            self._returns[job.place].return_value  # noqa: B018 - raises it

    def _notify(self, event: str, job: Job, **named: Any) -> None:
        """Call the callbacks that do more than the results table, with the job's whole config."""
        if self._others.callbacks:
            config = job.composed.config(job.number)
            with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
                config.hydra.runtime.output_dir = str(job.folder)
            with hydra_config(config):
                getattr(self._others, event)(config=config, **named)

    def _configure_log(self) -> None:
        configure_log(self._config.hydra.hydra_logging, self._config.hydra.verbose)


def _plugins(job: Job) -> str:
    """Name the plugins of a job, with their packages."""
    nodes = [(registry, job.composed.plain.get(key)) for key, registry in GROUPS.items()]
    plugins = [
        plugin for found, node in nodes if isinstance(node, dict) for plugin in found.matches(str(node.get("name")))
    ]
    return " or ".join(f"'{plugin.name}' of package {plugin.origin}" for plugin in plugins) or "the job"


def _listens_to_jobs(callback: Any) -> bool:
    own = type(callback)
    events = ("on_job_start", "on_job_end")
    return own not in (SweepResults, Loggers) and any(getattr(own, e, None) is not getattr(Callback, e) for e in events)


class _Progress:
    """How much of a sweep is done: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, total: int) -> None:
        self.total, self.ended, self.running = total, 0, 0
        self._started = self._said = time.monotonic()
        self._bar: Any = None

    def resume(self) -> None:
        """Show the bar, if there is a terminal to show it on."""
        if sys.stdout.isatty():
            from rich.progress import Progress as Bar
            from rich.progress import TimeElapsedColumn

            self._bar = Bar(*Bar.get_default_columns(), TimeElapsedColumn(), transient=True)
            self._bar.add_task("jobs", total=self.total, completed=self.ended)
            self._bar.start()

    def pause(self) -> None:
        """Take the bar away, for a job that writes to the terminal itself."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def advance(self, jobs: int) -> None:
        """Say that jobs have ended."""
        self.ended += jobs
        self.tell(0.0)

    def tell(self, share: float) -> None:
        """Say which share of the jobs that run now is done."""
        done = self.ended + share * self.running
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=done)
        elif done and time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            left = (self._said - self._started) * (self.total / done - 1)
            to_go = f"; {done / self.total:.0%} is done" + f", about {left:.0f} s to go" * (done > self.total / 20)
            log.info("%d of %d jobs have ended%s", self.ended, self.total, to_go)
