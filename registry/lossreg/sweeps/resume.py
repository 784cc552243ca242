"""Resuming a sweep: what it is, whether it is still the same, and which jobs are done."""

from __future__ import annotations

import logging
import os
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from lossreg.sweeps.compose import as_written
from lossreg.sweeps.results import ResultsTable, write_whole

log = logging.getLogger(__name__)

MANIFEST = "sweep.yaml"
_HEADER = """\
# What this sweep is. The same command with hydra.sweep.dir=<this folder> runs what is missing of it.
"""


class JobFailed(Exception):  # noqa: N818
    """A job that failed before the sweep was resumed, or in another process, with the message that its row keeps."""

    def __init__(self, message: str, status: str) -> None:
        super().__init__(message, status)  # all of them, so that it can be pickled
        self.message = message
        self.status = status

    def __str__(self) -> str:
        return self.message


class OtherSweepError(Exception):
    """The directory holds a sweep of another config."""


@dataclass(frozen=True)
class Finished:
    """A job that has its row.

    Arguments:
        row: the row.
        value: what its task function returned, as far as the table keeps it.
    """

    row: Mapping[str, str]
    value: Any

    def result(self) -> Any:
        """What the job's task function returned.

        Raises:
            JobFailed: if the job did not complete.
        """
        if self.row["status"] != "completed":
            raise self.error()
        return self.value

    def error(self) -> JobFailed:
        """What the job ended with, if it did not complete."""
        return JobFailed(self.row["error"], self.row["status"])


_current: ContextVar[Finished | None] = ContextVar("finished", default=None)


def finished_before() -> Finished | None:
    """The row of the job that is about to run in this process, if it has one."""
    return _current.get()


def set_finished(finished: Finished | None) -> None:
    """Say of the job that is about to run in this process that it has its row."""
    _current.set(finished)


class Done:
    """The jobs of a sweep that have their row.

    Arguments:
        table: the sweep's table.
        objective: the column with what the task function returned, or `None`.
    """

    def __init__(self, table: ResultsTable, objective: str | None) -> None:
        self._table = table
        self._objective = objective
        self._rows = {int(row["job"]): row for row in table.read()}

    def __len__(self) -> int:
        return len(self._rows)

    def find(self, job: int, overrides: Sequence[str]) -> Finished | None:
        """The job of this number, if it is done and these were its overrides."""
        row = self._rows.get(job)
        if not row or any(row.get(key) != cell for key, cell in self._table.cells(overrides).items()):
            return None
        value = row.get(self._objective, "") if self._objective else ""
        return Finished(row, _to_value(value))

    def free(self, job: int) -> int:
        """A job's number, or one above all if another job has the number."""
        return job if job not in self._rows else max(job, *self._rows) + 1

    def take(self, job: int) -> None:
        """Say that a number is given to a job of this run."""
        self._rows[job] = {}


def _to_value(cell: str) -> Any:
    if cell in ("true", "false"):
        return cell == "true"
    try:
        return float(cell)
    except ValueError:
        return cell or None


def describe_sweep(config: DictConfig) -> dict[str, Any]:
    """What makes a multirun this sweep and no other: overrides, sweeper, the app's config, and the swept options."""
    container = OmegaConf.to_container(config, resolve=False, enum_to_str=True)
    assert isinstance(container, dict)
    hydra = container.pop("hydra")
    found = {"overrides": hydra["overrides"]["task"], "sweeper": hydra["sweeper"], "config": container}
    options = _swept_options(config)
    return {**found, "options": options} if options else found


def _swept_options(config: DictConfig) -> dict[str, Any]:
    """The options of config groups that are swept over, which the multirun's own config does not show."""
    loader: Any = GlobalHydra.instance().config_loader()
    lines = as_written(config.hydra.overrides.task)
    options = {}
    try:
        _, repository = loader._parse_overrides_and_create_caching_repo(
            config.hydra.job.config_name, as_written(config.hydra.overrides.hydra)
        )
        for override in OverridesParser.create(config_loader=loader).parse_overrides(lines):
            if override.is_discrete_sweep() and repository.group_exists(override.key_or_group):
                for name in override.sweep_string_iterator():
                    option = f"{override.key_or_group}/{name}"
                    result = repository.load_config(option)
                    if result is not None:
                        options[option] = OmegaConf.to_container(result.config, resolve=False, enum_to_str=True)
    except Exception as error:  # Hydra will say what is wrong with the option when it composes the job
        log.debug("the swept options cannot be read: %s", error)
    return options


def begin(folder: Path, sweep: Mapping[str, Any], table: ResultsTable) -> bool:
    """Begin a sweep in a folder, or go on with the one that is there; returns whether it goes on.

    Raises:
        OtherSweepError: if the folder holds another sweep; the message shows the difference.
        OSError: if the folder cannot be written.
    """
    path = folder / MANIFEST
    if not path.exists():
        if table.read():
            raise OtherSweepError(
                f"{folder} holds {table.path.name}, but no {MANIFEST} that says of which sweep. "
                "Choose another hydra.sweep.dir."
            )
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, _HEADER + yaml.safe_dump(dict(sweep), sort_keys=False, allow_unicode=True))
        return False
    then = yaml.safe_load(path.read_text(encoding="utf-8"))
    now = yaml.safe_load(yaml.safe_dump(dict(sweep)))
    lines = differences(then, now)
    if lines:
        raise OtherSweepError(
            f"{folder} holds another sweep, which this command cannot go on with:\n"
            + "\n".join(f"  {line}" for line in lines)
            + "\nRun it as it was, or choose another hydra.sweep.dir."
        )
    if any("shuffle(" in override for override in now["overrides"]):
        raise OtherSweepError(
            f"{folder} holds a sweep in a shuffled order, which differs each time: it cannot be resumed."
        )
    return True


def differences(then: Any, now: Any, key: str = "") -> list[str]:
    """Say in one line per key how two nested values differ.

    Example:

    >>> differences({"epochs": 500, "loss": {"r": 0.5}}, {"epochs": 100, "loss": {"r": 0.5, "s": 1}})
    ['epochs: 500 then, 100 now', 'loss.s: nothing then, 1 now']
    """
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            line
            for name in dict.fromkeys([*then, *now])
            for line in differences(then.get(name, _NOTHING), now.get(name, _NOTHING), f"{key}.{name}".lstrip("."))
        ]
    if (then == now and type(then) is type(now)) or (then != then and now != now):
        return []
    return [f"{key.removeprefix('config.')}: {_shown(then)} then, {_shown(now)} now"]


_NOTHING = object()


def _shown(value: Any) -> str:
    if value is _NOTHING:
        return "nothing"
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)


def command(folder: Path) -> str:
    """The command that goes on with this sweep.

    Example:

    >>> sys.argv, argv = ["train.py", "-m", "seed=range(0,9)"], sys.argv
    >>> command(Path("multirun/1"))
    "python train.py -m 'seed=range(0,9)' hydra.sweep.dir=multirun/1"
    >>> sys.argv = argv
    """
    program = [sys.argv[0]] if os.access(sys.argv[0], os.X_OK) and not sys.argv[0].endswith(".py") else None
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("hydra.sweep.dir=")]
    # What Hydra's grammar gives a meaning is quoted for Hydra, and the whole for the shell.
    place = str(folder) if re.fullmatch(r"[\w./-]+", str(folder)) else "'" + str(folder).replace("'", r"\'") + "'"
    return shlex.join([*(program or ["python", sys.argv[0]]), *arguments, f"hydra.sweep.dir={place}"])
