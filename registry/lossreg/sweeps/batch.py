"""What an app offers to have many of its jobs run in one program."""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from lossreg.sweeps.resume import finished_before

TaskFunction = Callable[[DictConfig], Any]
PlainConfig = Mapping[str, Any]


class CannotBatch(Exception):  # noqa: N818 - it is no error: the jobs are run one by one
    """Raised by an app's `group` or `run`: these jobs have to be run one by one; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """What one job of a batch came to.

    Arguments:
        value: what the task function would have returned; the number that a sweeper minimises.
        metrics: what the job's file of metrics would have held.
    """

    value: Any
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Batch:
    """How to run many jobs at once.

    Arguments:
        group: maps a job's config to a key that is equal for jobs which may run in one program; may raise
            `CannotBatch`. Configs are plain data here, resolved and read-only: nested dicts, lists and values.
        run: runs jobs of one group. It is given their configs as `group` is, and their directories (which exist), or
            `None` where no job has one; it writes each job's files and returns, in the same order, an `Outcome` or the
            exception that the job ended with. Whatever it raises, the jobs are then run one by one.
        overrides: what running in a batch fixes (`"jit_compile=true"`). They are added to the overrides of every job
            of the sweep that does not set the key itself, recorded with it, and hold also where it is run alone.
        limit: how many jobs of a group may run at once, given the configs of all; by default any number.
    """

    group: Callable[[PlainConfig], Hashable]
    run: Callable[[Sequence[PlainConfig], Sequence[Path] | None], Sequence[Outcome | Exception]]
    overrides: tuple[str, ...] = ()
    limit: Callable[[Sequence[PlainConfig]], int] | None = None


def batched(batch: Batch | None = None) -> Callable[[TaskFunction], TaskFunction]:
    """Decorate a task function, below `@hydra.main`, so that its sweeps can be resumed and run in batches.

    Arguments:
        batch: how to run many jobs at once, for `hydra/launcher=vectorized`; without it only resuming is added.

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
            finished = finished_before()
            return task_function(config) if finished is None else finished.result()

        task.batch = batch  # type: ignore[attr-defined]
        return task

    return decorate


def batch_of(task_function: TaskFunction) -> Batch | None:
    """The batch that was attached to a task function."""
    found = getattr(task_function, "batch", None)
    return found if isinstance(found, Batch) else None


def is_resumable(task_function: TaskFunction) -> bool:
    """Whether the task function returns what it returned before, where a job was finished before."""
    return hasattr(task_function, "batch")
