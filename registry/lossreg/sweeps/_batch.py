"""What an app offers to have many of its jobs run in one program, and what a job comes to."""

from __future__ import annotations

import contextlib
import functools
import logging
import pickle
import traceback
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from lossreg._errors import is_ctrl_c, printable, said

log = logging.getLogger(__name__)

TaskFunction = Callable[[DictConfig], Any]
PlainConfig = Mapping[str, Any]


class CannotBatch(Exception):  # noqa: N818 - it is no error: the jobs are run one by one
    """Raised by an app's `group` or `run`: these jobs have to be run one by one; the message says why."""


@dataclass(eq=False)
class JobFailed(Exception):  # noqa: N818
    """A job that failed before the sweep was resumed, or in another process, with the message that its row keeps."""

    message: str
    status: str

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Outcome:
    """What one job came to.

    Arguments:
        value: what the task function returns; the number that a sweeper minimises.
        metrics: what the job's file of metrics holds.
        error: the exception that it ended with, if it did.
        history: curves for loggers, a value per epoch each, by name.
    """

    value: Any = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    history: Mapping[str, Any] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """`"completed"`, `"failed"`, or the word that the error carries as `status`."""
        status = "completed" if self.error is None else getattr(self.error, "status", None)
        return status if isinstance(status, str) and status.isidentifier() else "failed"

    @property
    def message(self) -> str:
        """Why it did not complete; empty if it did.

        Example:

        >>> Outcome(error=ValueError("r must be positive")).message
        'ValueError: r must be positive'
        """
        if self.error is None or isinstance(self.error, JobFailed):
            return str(self.error or "")
        return said(self.error)


def returned(outcome: Outcome, **about: Any) -> JobReturn:
    """What Hydra returns of a job, without its configs: no sweeper reads them, and they take 10 ms."""
    made = JobReturn(**about, status=JobStatus.COMPLETED if outcome.error is None else JobStatus.FAILED)
    made.return_value = outcome.value if outcome.error is None else outcome.error
    return made


@dataclass(frozen=True)
class Batch:
    """How to run many jobs at once.

    Arguments:
        group: maps a job's config to a key that is equal for jobs which may run in one program; may raise
            `CannotBatch`. Configs are plain data here, resolved and read-only: nested dicts, lists and values.
        run: runs jobs of one group. It is given their configs as `group` is, and their directories (which exist), or
            `None` where no job has one; it writes each job's files and returns, in the same order, an `Outcome` or the
            exception that the job ended with. Whatever it raises, the jobs are then run one by one. It may call
            `progress` now and then.
        overrides: what running in a batch fixes (`"jit_compile=true"`). They are added to the overrides of every job
            of the sweep that does not set the key itself, recorded with it, and hold also where it is run alone.
        limit: how many jobs of a group may run at once, given the configs of all; by default any number.
    """

    group: Callable[[PlainConfig], Hashable]
    run: Callable[[Sequence[PlainConfig], Sequence[Path] | None], Sequence[Outcome | Exception]]
    overrides: tuple[str, ...] = ()
    limit: Callable[[Sequence[PlainConfig]], int] | None = None


_heard: ContextVar[Callable[[float], None]] = ContextVar("heard", default=lambda share: None)


def progress(done: float, total: float) -> None:
    """Say how much of a batch is done, from its `run`: where that runs in the sweep's process, the sweep shows it.

    Example:

    >>> for epoch in range(3):
    ...     progress(epoch, 3)
    """
    _heard.get()(done / total)


@contextlib.contextmanager
def hearing(listener: Callable[[float], None]) -> Iterator[None]:
    """Have a listener told the share of a batch that is done."""
    token = _heard.set(listener)
    try:
        yield
    finally:
        _heard.reset(token)


def batched(batch: Batch | None = None) -> Callable[[TaskFunction], TaskFunction]:
    """Decorate a task function, below `@hydra.main`, so that its jobs can run in batches and say how they fail.

    Arguments:
        batch: how to run many jobs at once, for `hydra/launcher=vectorized`.

    Example:

    ```python
    @hydra.main(version_base="1.3", config_path="conf", config_name="config")
    @sweeps.batched(Batch(group, run))
    def main(cfg): ...
    ```
    """

    def decorate(task_function: TaskFunction) -> TaskFunction:
        @functools.wraps(task_function)
        def task(config: DictConfig) -> Any:
            return _call(task_function, config)

        task.batch = batch  # type: ignore[attr-defined]
        return task

    return decorate


def _call(task_function: TaskFunction, config: DictConfig) -> Any:
    try:
        return task_function(config)
    except BaseException as error:
        if is_ctrl_c(error):
            raise
        failure = log.makeRecord(log.name, logging.ERROR, __file__, 0, traceback_of(error), (), None)
        for handler in logging.getLogger().handlers:  # the traceback is for the job's log, not for the terminal
            if isinstance(handler, logging.FileHandler):
                handler.handle(failure)
        if not HydraConfig.initialized() or OmegaConf.is_missing(HydraConfig.get().job, "num"):  # no sweep
            raise
        failed = portable(error)
        outcome = Outcome(error=failed)
        log.error("#%s %s: %s", HydraConfig.get().job.num, outcome.status, " ".join(outcome.message.split()))
        if failed is error:
            raise
        raise failed from error


def traceback_of(error: BaseException) -> str:
    """Return the traceback of an exception, as a log has it."""
    return printable("".join(traceback.format_exception(type(error), error, error.__traceback__)))


def portable(error: BaseException) -> Exception:
    """Return an exception that a launcher can hand on, also to another process: the same, or one with its message."""
    if isinstance(error, Exception):
        try:
            str(pickle.loads(pickle.dumps(error)))
        except BaseException:  # a plugin's exception may do anything
            pass
        else:
            return error
    return JobFailed(said(error), Outcome(error=error).status)
