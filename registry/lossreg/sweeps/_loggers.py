"""What runs left, handed to the loggers that the config names: one run, the jobs of a program together, a sweep."""

from __future__ import annotations

import atexit
import contextlib
import csv
import json
import logging
import numbers
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from lossreg._kinds import loggers
from lossreg.sweeps._batch import JobFailed, Outcome
from lossreg.sweeps._callback import outcome_of, sweep_of

log = logging.getLogger(__name__)

_said: set[str] = set()


@dataclass(frozen=True)
class Run:
    """What a run left: a single one, a job of a sweep, or a sweep itself, which has a `sweep` and no `job`.

    Arguments:
        directory: where its files are; of a job that ran with others it may not exist.
        config: the app's config as plain data, resolved.
        overrides: what was chosen on the command line, or by the sweeper.
        outcome: what it came to; `outcome.message` says why it did not complete.
        sweep: the directory of the sweep that it is, or is a job of.
        job: its number in that sweep.
    """

    directory: Path
    config: Mapping[str, Any]
    overrides: Sequence[str] = ()
    outcome: Outcome = field(default_factory=Outcome)
    sweep: Path | None = None
    job: int | None = None

    @property
    def name(self) -> str:
        """The number of the job and its choices, or the last two folders of the directory."""
        chosen = [f"{self.job}", *(line for line in self.overrides if not line.startswith("logger"))]
        return "/".join(self.directory.parts[-2:]) if self.job is None else " ".join(chosen)

    @cached_property
    def params(self) -> dict[str, Any]:
        """The config by paths with dots, but its loggers."""
        return _flat({key: value for key, value in self.config.items() if key != "logger"})

    @property
    def choices(self) -> dict[str, Any]:
        """What the overrides chose, by key."""
        pairs = [line.lstrip("+").split("=", 1) for line in self.overrides if not line.startswith(("logger", "~"))]
        found = {key: (self.params.get(key), text) for key, text in pairs}
        return {key: value if isinstance(value, (int, float)) else text for key, (value, text) in found.items()}

    @cached_property
    def metrics(self) -> dict[str, float]:
        """The numbers that it came to, of `metrics.json`, by paths with dots."""
        found = _flat(self.outcome.metrics or _read(self.directory / "metrics.json", json.load) or {})
        return {key: float(value) for key, value in found.items() if isinstance(value, numbers.Real)}

    @cached_property
    def history(self) -> Mapping[str, Sequence[float]]:
        """Curves by name, of `history.csv`: a value for each epoch."""
        rows = _read(self.directory / "history.csv", lambda file: [*csv.DictReader(file)]) or []
        columns = {name: [float(row[name]) for row in rows] for row in rows[:1] for name in row if name != "epoch"}
        return self.outcome.history or columns


def _flat(values: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _flat(value, f"{path}{key}.") if isinstance(value, Mapping) else {f"{path}{key}": value}
    return found


def _read(path: Path, read: Any) -> Any:
    with contextlib.suppress(OSError, ValueError), path.open(newline="", encoding="utf-8") as file:
        return read(file)


class Loggers(Callback):
    """Hands what runs left to the loggers that the config names in `logger`; one that fails costs no result.

    In an app's config it stands among `hydra.callbacks` before `SweepResults`, so that a sweep is logged with its
    files: `loggers: {_target_: lossreg.sweeps.Loggers}`.
    """

    def log(self, runs: Sequence[Run], config: Mapping[str, Any]) -> None:
        """Hand over runs of one config; where there are none, see to it that its loggers can be used."""
        for name, node in (config.get("logger") or {}).items():
            try:
                spec = loggers.parse(node, key=f"logger.{name}")
                logger = loggers.build(spec)
                with spec.plugin.running("logging"):
                    logger(runs) if runs else None
            except Exception as error:
                message = f"logger={name}: {' '.join(str(error).split())}"
                if message not in _said:
                    log.warning(message)
                _said.add(message)

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Log a run that has ended."""
        job = None if OmegaConf.is_missing(config.hydra.job, "num") else int(config.hydra.job.num)
        directory, outcome, own = Path(config.hydra.runtime.output_dir), outcome_of(job_return), _plain(config)
        sweep = None if job is None else sweep_of(config)
        run = Run(directory, own, job_return.overrides or (), outcome, sweep, job)
        if sweep or outcome.error is None or run.history:  # what was refused is no run
            self.log([run], own)

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """See to it that the sweep is logged also if it ends with an error."""
        self.log([], _plain(config))  # at the end of a program nothing more can be imported
        atexit.register(self._end, config, Outcome(error=JobFailed("A job of it failed, or it was stopped.", "failed")))

    def on_multirun_end(self, config: DictConfig, **kwargs: Any) -> None:
        """Log a sweep that has ended."""
        atexit.unregister(self._end)
        self._end(config, Outcome(error=sys.exc_info()[1]))  # which Hydra 1.4 goes on to raise

    def _end(self, config: DictConfig, outcome: Outcome) -> None:
        folder, own = sweep_of(config), _plain(config)
        if outcome.error is None or (folder / "results.csv").exists():  # else no job has run
            self.log([Run(folder, own, list(config.hydra.overrides.task), outcome, folder)], own)


def _plain(config: DictConfig) -> Any:
    own = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        return OmegaConf.to_container(own, resolve=True)
    except OmegaConfBaseException:  # of a sweep, what only its jobs know
        return OmegaConf.to_container(own, resolve=False)
