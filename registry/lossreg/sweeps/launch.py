"""Launching the jobs of a sweep: in batches where the app offers that, one by one where not."""

from __future__ import annotations

import copy
import logging
import os
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import version
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import (
    JobReturn,
    JobRuntime,
    JobStatus,
    configure_log,
    filter_overrides,
    run_job,
    setup_globals,
)
from hydra.experimental.callback import Callback
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict, read_write

from lossreg.sweeps.backends import Answer, Chunk, Engine, Result, run_chunk
from lossreg.sweeps.batch import CannotBatch, batch_of
from lossreg.sweeps.callback import SweepResults, describe
from lossreg.sweeps.compose import Composed, Template
from lossreg.sweeps.files import JobFiles
from lossreg.sweeps.progress import Progress

log = logging.getLogger(__name__)

AUTO_DIRECTORIES = 300
"""Up to this many jobs each has a directory, unless it is said otherwise."""

_FAILURES = 5  # lines about failed jobs per batch; the table has them all


@dataclass
class Job:
    """One job of a sweep.

    Arguments:
        place: its place among the jobs that are launched together.
        number: `hydra.job.num`.
        composed: its config.
    """

    place: int
    number: int
    composed: Composed


class Launch:
    """Runs the jobs that a sweeper hands over.

    Arguments:
        context: Hydra's context; its config loader is a `SweepLoader`.
        task_function: the app.
        config: the config of the multirun.
        job_directories: whether a batch's jobs have directories; `"auto"`: up to 300 jobs.
        chunk_size: how many jobs at most run in one program.
        backend: where the chunks run: `serial`, `loky`, `ray` or `dask`.
        n_jobs: how many chunks run at once, where the backend is not `serial`; -1: one per processor.
        address: of a cluster.
    """

    def __init__(
        self,
        context: HydraContext,
        task_function: TaskFunction,
        config: DictConfig,
        *,
        job_directories: bool | str = "auto",
        chunk_size: int | None = None,
        backend: str = "serial",
        n_jobs: int = -1,
        address: str | None = None,
    ) -> None:
        self.context = context
        self.task_function = task_function
        self.config = config
        self.batch = batch_of(task_function)
        self.loader: Any = context.config_loader
        self.chunk_size = chunk_size
        self.engine = Engine(backend, n_jobs, address)
        self._directories = job_directories
        self._files: dict[int, JobFiles] = {}
        callbacks = context.callbacks.callbacks
        self.results = next((callback for callback in callbacks if isinstance(callback, SweepResults)), None)
        self._others = copy.copy(context.callbacks)
        self._others.callbacks = [callback for callback in callbacks if _listens_to_jobs(callback)]

    def __call__(self, job_overrides: Sequence[Sequence[str]], first: int) -> list[JobReturn]:
        """Run jobs; the first has the number `first`."""
        setup_globals()
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        self._sweep_dir = str(self.config.hydra.sweep.dir)
        Path(self._sweep_dir).mkdir(parents=True, exist_ok=True)
        chdir = self.config.hydra.job.chdir
        changes_directory = not version.base_at_least("1.2") if chdir is None else bool(chdir)
        self._working_dir = None if changes_directory else str(Path.cwd())
        self._task_name = JobRuntime.instance().get("name")
        total = len(job_overrides)
        self._with_directories = self._directories is True or (
            self._directories == "auto" and first + total <= AUTO_DIRECTORIES
        )
        self.returns: list[JobReturn | None] = [None] * total
        jobs = [job for place, overrides in enumerate(job_overrides) if (job := self._job(place, first, overrides))]
        done = total - len(jobs)
        log.info("Launching %d jobs%s", len(jobs), f", {done} are done" if done else "")
        with Progress(total, done) as self.progress:
            if self.batch is None:
                for job in jobs:
                    self._run_alone(job)
            elif jobs:
                with self.engine.start() as workers:
                    self._run(self._chunks(jobs, workers))
        return [returned for returned in self.returns if returned is not None]

    def _job(self, place: int, first: int, overrides: Sequence[str]) -> Job | None:
        """The job of a place; `None` if it was done before."""
        number = first + place
        own = list(overrides)
        more = self.batch.overrides if self.batch else ()
        keys = {override.partition("=")[0].lstrip("+") for override in own}
        everything = own + [line for line in more if line.partition("=")[0].lstrip("+") not in keys]
        composed = self.loader.compose(self.config, everything) or self.loader.compose_whole(self.config, everything)
        done = self.results.done if self.results else None
        if done is not None:
            finished = done.find(number, own)
            if finished is not None:
                status = JobStatus.COMPLETED if finished.row["status"] == "completed" else JobStatus.FAILED
                value = finished.value if status == JobStatus.COMPLETED else finished.error()
                self.returns[place] = self._return(Job(place, number, composed), status, value)
                return None
            number = done.free(number)
            done.take(number)
        return Job(place, number, composed)

    # Grouping

    def _chunks(self, jobs: Sequence[Job], workers: int) -> list[tuple[list[Job], str]]:
        """Jobs that run together, in the order of each group's first job; or one by one, for the reason given."""
        assert self.batch is not None
        groups: dict[tuple[bool, Hashable], list[Job]] = {}
        for job in jobs:
            try:
                _refuse_hydra_interpolations(job.composed)
                key: tuple[bool, Hashable] = (True, self.batch.group(job.composed.plain()))
            except CannotBatch as error:
                key = (False, str(error))
            groups.setdefault(key, []).append(job)
        chunks: list[tuple[list[Job], str]] = []
        for (together, value), members in groups.items():
            if together:
                chunks += [(chunk, "") for chunk in self._cut(members, workers)]
            else:
                chunks.append((members, str(value)))
        return chunks

    def _cut(self, jobs: list[Job], workers: int) -> list[list[Job]]:
        """Cut a group into chunks of equal size that fit in memory, one per worker; only the last may be smaller."""
        assert self.batch is not None
        size = min(self.chunk_size or len(jobs), -(-len(jobs) // workers))
        if self.batch.limit is not None:
            size = min(size, max(1, self.batch.limit([job.composed.plain() for job in jobs])))
        count = -(-len(jobs) // size)
        size = -(-len(jobs) // count)
        return [jobs[start : start + size] for start in range(0, len(jobs), size)]

    # Running

    def _run(self, chunks: Sequence[tuple[list[Job], str]]) -> None:
        """Run chunks in the order they come in; those that go to other processes first."""
        assert self.batch is not None
        if self.engine.backend != "serial":
            together = [jobs for jobs, reason in chunks if not reason]
            self.progress.resume()
            for place, answer in self.engine.run(self.batch, [self._prepare(jobs) for jobs in together]):
                self._end(together[place], answer)
            chunks = [(jobs, reason) for jobs, reason in chunks if reason]
        for jobs, reason in chunks:
            if reason:
                self._run_one_by_one(jobs, reason)
            else:
                self.progress.resume()
                self._end(jobs, run_chunk(self.batch.run, self._prepare(jobs)))

    def _prepare(self, jobs: Sequence[Job]) -> Chunk:
        """What a batch needs of its jobs; their directories are made."""
        folders = [self._folder(job) for job in jobs]
        if self._with_directories:
            for job, folder in zip(jobs, folders, strict=True):
                self._files_of(job.composed.template).write(job.composed, job.number, folder)
        with _hydra_config(jobs[0].composed.config(jobs[0].number)) as config:
            environment = {str(name): str(value) for name, value in config.hydra.job.env_set.items()}
        for job, folder in zip(jobs, folders, strict=True):
            self._notify("on_job_start", job, folder, task_function=self.task_function)
        return Chunk([job.composed.plain() for job in jobs], folders if self._with_directories else None, environment)

    def _end(self, jobs: Sequence[Job], answer: Answer) -> None:
        """Keep what a batch came to; where it could not be run, run its jobs one by one."""
        if answer.reason:
            self._run_one_by_one(jobs, answer.reason)
            return
        rows = []
        for job, result in zip(jobs, answer.results, strict=True):
            status = JobStatus.FAILED if isinstance(result, Exception) else JobStatus.COMPLETED
            returned = self._return(job, status, result if isinstance(result, Exception) else result.value)
            metrics: Mapping[str, Any] = {} if isinstance(result, Exception) else result.metrics
            self.returns[job.place] = returned
            self._notify("on_job_end", job, self._folder(job), job_return=returned)
            if self.results is not None:
                rows.append(self.results.row(job.number, returned, metrics))
        if self.results is not None:
            self.results.append(self.config, rows)
        _log_failures([(job.number, result) for job, result in zip(jobs, answer.results, strict=True)])
        self.progress.advance(len(jobs))

    def _run_one_by_one(self, jobs: Sequence[Job], reason: str) -> None:
        one = "1 job is run alone" if len(jobs) == 1 else f"{len(jobs)} jobs are run one by one"
        log.warning("%s: %s", one, " ".join(reason.split()))
        for job in jobs:
            self._run_alone(job)

    def _run_alone(self, job: Job) -> None:
        """Run a job as Hydra does."""
        self.progress.pause()
        place = f" ({self.progress.place()})" if self.progress.total > 1 else ""
        log.info("\t#%d : %s%s", job.number, " ".join(filter_overrides(job.composed.overrides)), place)
        returned = run_job(
            hydra_context=self.context,
            task_function=self.task_function,
            config=job.composed.config(job.number),
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )
        if (
            job.composed.patches and returned.hydra_cfg is not None
        ):  # the same configs, made only when somebody looks: those of 1,000 jobs take 150 MB
            returned.cfg = job.composed.task()
            returned.hydra_cfg = job.composed.hydra(job.number, returned.hydra_cfg.hydra.runtime.output_dir)
        self.returns[job.place] = returned
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        self.progress.advance(1)

    # What a job leaves

    def _return(self, job: Job, status: JobStatus, value: Any) -> JobReturn:
        directory = self._output_dir(job)
        return JobReturn(
            overrides=job.composed.overrides,
            cfg=job.composed.task(),
            hydra_cfg=job.composed.hydra(job.number, str(self._folder(job))),
            working_dir=directory if self._working_dir is None else self._working_dir,
            task_name=self._task_name,
            status=status,
            _return_value=value,
        )

    def _files_of(self, template: Template) -> JobFiles:
        if id(template) not in self._files:
            self._files[id(template)] = JobFiles(template)
        return self._files[id(template)]

    def _folder(self, job: Job) -> Path:
        return Path(os.path.abspath(self._output_dir(job)))  # noqa: PTH100 - `..` is resolved

    def _output_dir(self, job: Job) -> str:
        """The job's directory: `hydra.sweep.dir` and `hydra.sweep.subdir` in its config."""
        subdir = job.composed.template.subdir
        if subdir == "${hydra.job.num}":
            name = str(job.number)
        elif subdir == "${hydra.job.override_dirname}" and "${" not in job.composed.dirname:
            name = job.composed.dirname
        else:
            with _hydra_config(job.composed.config(job.number)) as config:
                name = str(config.hydra.sweep.subdir)
        return os.path.join(self._sweep_dir, name)  # noqa: PTH118 - as Hydra joins it

    def _notify(self, event: str, job: Job, directory: Path, **named: Any) -> None:
        """Call the callbacks that do more than the results table, with the job's whole config."""
        if not self._others.callbacks:
            return
        config = job.composed.config(job.number)
        with read_write(config.hydra.runtime), open_dict(config.hydra.runtime):
            config.hydra.runtime.output_dir = str(directory)
        with _hydra_config(config):
            getattr(self._others, event)(config=config, **named)


def _log_failures(results: Sequence[tuple[int, Result]]) -> None:
    failures = [(number, *describe(result)) for number, result in results if isinstance(result, Exception)]
    for number, status, message in failures[:_FAILURES]:
        log.error("#%d %s: %s", number, status, " ".join(message.split()))
    if len(failures) > _FAILURES:
        log.error("and %d more jobs of this batch", len(failures) - _FAILURES)


def _listens_to_jobs(callback: Any) -> bool:
    own = type(callback)
    return not isinstance(callback, SweepResults) and any(
        getattr(own, event, None) is not getattr(Callback, event) for event in ("on_job_start", "on_job_end")
    )


@contextmanager
def _hydra_config(config: DictConfig) -> Iterator[DictConfig]:
    """Make a job's config the one that `${hydra:…}` refers to."""
    hydra_config = HydraConfig.instance()
    before = hydra_config.cfg
    hydra_config.set_config(config)
    try:
        yield config
    finally:
        hydra_config.cfg = before


def _refuse_hydra_interpolations(composed: Composed) -> None:
    texts = [str(patch.node._value()) for patch in composed.patches]
    if composed.template.refers_to_hydra or any("${hydra:" in text for text in texts):
        raise CannotBatch("the config refers to ${hydra:…}, which is only known when a job runs alone")
