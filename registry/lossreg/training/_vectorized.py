"""Training many models in one compiled program, each with the numbers of its own run with `jit_compile=true`."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossreg.training._config import NODES
from lossreg.training._errors import DivergedError
from lossreg.training._fit import History, diverged, until_diverged
from lossreg.training._groups import AnyConfig, Group, plain, split
from lossreg.training._metrics import Metrics, measure
from lossreg.training._program import Program, Progress

_PROGRAMS_KEPT = 8


@dataclass(frozen=True)
class Trained:
    """What became of one model.

    Arguments:
        history: the loss of every epoch and the numbers that changed, as `fit` returns it.
        metrics: its metrics, or `None` if it diverged; `seconds` is its share of the wall time of the program.
        error: why there are no metrics, or `None`.
    """

    history: History
    metrics: Metrics | None = None
    error: DivergedError | None = None


def train_many(configs: Sequence[AnyConfig], *, on_progress: Progress | None = None) -> list[Trained]:
    """Train one model per config, all in one program compiled with XLA.

    The program is kept: configs of the same group train without compiling again, if there are as many as before, or
    somewhat fewer. Ctrl-C is heard within a second.

    Arguments:
        configs: composed configs of one group, typed, from Hydra, or plain data.
        on_progress: called after every few epochs with the epochs done and their total.

    Returns:
        What became of each, in order. That one model diverged leaves the others alone.

    Raises:
        CannotVectorizeError: if the loss or the regularizer cannot take a tensor where it took a number (it branches on
            it in Python, or makes a float of it), keeps a state of its own, or cannot be compiled.
        ConfigError, lossreg.RegistryError: if what the configs share is wrong.
        ValueError: if the configs are not of one group.
    """
    if not configs:
        return []
    started = time.perf_counter()
    groups, numbers = zip(*map(split, configs), strict=True)
    for index, other in enumerate(groups):
        if other != groups[0]:
            raise ValueError(f"configs 0 and {index} are not of one group: {groups[0]} and {other}")
    columns = {key: np.array([values[key] for values in numbers]) for key in groups[0].varying}
    equal = {key: float(column[0]) for key, column in columns.items() if (column == column[0]).all()}
    program = _program(configs[0], groups[0], len(configs), equal)
    history, ran, y_hat, losses, penalties, values = program.train(columns, groups[0].epochs, on_progress)
    seconds = (time.perf_counter() - started) / len(configs)

    def trained(index: int) -> Trained:
        epochs = int(ran[index])
        own = until_diverged({name: column[:epochs, index].astype(np.float64) for name, column in history.items()})
        if error := diverged(own):
            return Trained(own, error=error)
        measured: dict[str, Any] = {"loss": float(losses[index]), "penalty": float(penalties[index])}
        measured["values"] = {name: float(column[index]) for name, column in values.items()}
        outputs = program.by_part(y_hat[index])
        metrics = measure(program.data, outputs, **measured, epochs_run=len(own["loss"]), seconds=seconds)
        return Trained(own, metrics)

    return [*map(trained, range(len(configs)))]


_programs: OrderedDict[Any, Program] = OrderedDict()


def _program(example: AnyConfig, group: Group, models: int, equal: Mapping[str, float]) -> Program:
    """Return a program for so many models: one that is compiled already, if filling it up costs less than compiling."""
    values = plain(example)
    specs = {key: registry.parse(values[key], key=key) for key, registry in NODES.items()}
    plugins = [inner.plugin.load() for spec in specs.values() for _, inner in spec.walk()]
    key = (group.shared, group.varying, *map(id, plugins))  # a name may be registered anew
    fitting = [
        (found.size, own)
        for own, found in _programs.items()
        if own[: len(key)] == key and found.size >= models and found.fixed.items() <= equal.items()
    ]
    for size, own in sorted(fitting, key=lambda each: each[0]):
        found = _programs[own]
        if size == models or (1 - models / size) * found.seconds_per_epoch * group.epochs < found.seconds_to_compile:
            _programs.move_to_end(own)
            return found
    program = Program(example, specs, models, equal)
    _programs[(*key, models, *sorted(program.fixed.items()))] = program
    if len(_programs) > _PROGRAMS_KEPT:
        _programs.popitem(last=False)
    return program
