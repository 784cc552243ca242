"""Training many models in one compiled program, each with the numbers of its own run with `jit_compile=true`."""

from __future__ import annotations

import contextlib
import itertools
import logging
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import lossreg
from lossreg.training._config import NODES, read_config
from lossreg.training._data import Data, load_data
from lossreg.training._errors import CannotVectorizeError, DivergedError
from lossreg.training._fit import History, diverged, fit, until_diverged, without_absent
from lossreg.training._groups import AnyConfig, Group, plain, split
from lossreg.training._metrics import Metrics, measure, require_fit
from lossreg.training._model import build_model
from lossreg.training._program import Program, Progress
from lossreg.training._report import evaluate

log = logging.getLogger(__name__)

_PROGRAMS_KEPT = 8
_OF_DATA = ("data", "task", "split", "scale", "label_noise", "class_weight")

_KERAS_DEFAULTS = {
    **{"reg": "none", "optimizer": "adam", "epochs": 1, "batch_size": 32, "shuffle": True, "seed": 0, "scale": "none"},
    **{"split": {"validation": 0.0, "test": 0.0}, "jit_compile": True, "verbose": 0},
}


@dataclass(frozen=True)
class Trained:
    """What became of one model.

    Arguments:
        history: the loss, the terms and the penalties of every epoch, and the numbers that changed, as of `fit`.
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
    data = load_data(plain(configs[0]))
    program = _program(configs[0], groups[0], len(configs), equal, data)
    history, ran, y_hat, losses, penalties, values = program.train(columns, groups[0].epochs, data, on_progress)
    seconds = (time.perf_counter() - started) / len(configs)

    def trained(index: int) -> Trained:
        epochs = int(ran[index])
        own = {name: column[:epochs, index].astype(np.float64) for name, column in history.items()}
        own = without_absent(until_diverged(own), program.terms)
        if error := diverged(own):
            return Trained(own, error=error)
        measured: dict[str, Any] = {"loss": float(losses[index]), "penalty": float(penalties[index])}
        measured["values"] = {name: float(column[index]) for name, column in values.items()}
        outputs = data.by_part(y_hat[index])
        try:
            metrics = measure(data, outputs, **measured, epochs_run=len(own["loss"]), seconds=seconds)
        except DivergedError as error:
            return Trained(own, error=error)
        return Trained(own, metrics)

    return [*map(trained, range(len(configs)))]


def fit_many(
    model: Any, data: Any, configs: Sequence[AnyConfig], *, on_progress: Progress | None = None
) -> list[Trained]:
    """Train one model of one's own per config on one's own data, those that differ in numbers only in one program.

    Arguments:
        model: a function `(inputs, outputs, regularizer)` from Keras tensors to a Keras tensor; or the name of a
            registered model, or its config node.
        data: arrays `(x, y)` or `(x, y, sample_weight)`, all of which are trained on as they are unless the configs say
            otherwise; or the name of a registered data set, or its config node.
        configs: what each is trained with: `loss`, and where it is not Keras's default, `reg`, `optimizer`, `epochs`,
            `batch_size`, `shuffle`, `seed`, `split` and the other keys of the study's config.
        on_progress: called after every few epochs with the epochs done and their total.

    Returns:
        What became of each, in order; see `train_many`, also for what it raises. What cannot train in one program is
        told with the name of the layer or the plugin, and trains one by one.

    Example:
    >>> import keras, numpy as np
    >>> def line(inputs, outputs, regularizer):
    ...     return keras.layers.Dense(outputs, kernel_regularizer=regularizer)(inputs)
    >>> x = np.linspace(-1, 1, 64)[:, None]
    >>> configs = [{"loss": "mean_squared_error", "epochs": 5, "seed": seed} for seed in range(3)]
    >>> [sorted(outcome.history) for outcome in fit_many(line, (x, 2 * x + 1), configs)][0]
    ['loss']
    """
    with contextlib.ExitStack() as registered:

        def named(registry: lossreg.Registry, given: Any) -> Any:
            if isinstance(given, (str, Mapping)):
                return given
            name = f"given_{next(_numbers)}"
            registry.register(name)(given if callable(given) else lambda: given)
            registered.callback(registry.unregister, name)
            return name

        nodes = {"model": named(lossreg.models, model), "data": named(lossreg.datasets, data)}
        whole = [{**_KERAS_DEFAULTS, **plain(config), **nodes} for config in configs]
        for config in whole:
            config.update({key: {"name": config[key]} for key in NODES if isinstance(config[key], str)})
        groups: dict[Group, list[int]] = {}
        for index, config in enumerate(whole):
            groups.setdefault(split(config)[0], []).append(index)
        found: dict[int, Trained] = {}
        for indices in groups.values():
            own = [whole[index] for index in indices]
            try:
                trained = train_many(own, on_progress=on_progress)
            except CannotVectorizeError as error:
                log.warning("%s; %d models train one by one", error, len(own))
                trained = [*map(_alone, own)]
            found |= dict(zip(indices, trained, strict=True))
        return [found[index] for index in range(len(whole))]


def _alone(values: Mapping[str, Any]) -> Trained:
    """Train one model by Keras's own fit."""
    started, config = time.perf_counter(), read_config(values)
    specs = {key: NODES[key].parse(values[key], key=key) for key in ("loss", "reg")}
    require_fit(config, load_data(config), specs["loss"])
    loss, reg = (NODES[key].build(spec, key=key) for key, spec in specs.items())
    history = fit(model := build_model(config, loss, reg), config)
    if error := diverged(history):
        return Trained(history, error=error)
    seconds = time.perf_counter() - started
    return Trained(history, evaluate(model, config, epochs_run=len(history["loss"]), seconds=seconds))


_numbers = itertools.count()
_programs: OrderedDict[Any, Program] = OrderedDict()


def _program(example: AnyConfig, group: Group, models: int, equal: Mapping[str, float], data: Data) -> Program:
    """Return a program for so many models: one that is compiled already, if filling it up costs less than compiling.

    Data of the same shapes share a program: other rows held out, other labels flipped.
    """
    values = plain(example)
    specs = {key: registry.parse(values[key], key=key) for key, registry in NODES.items()}
    plugins = [inner.plugin.load() for name, spec in specs.items() if name != "data" for _, inner in spec.walk()]
    shared = split({name: value for name, value in values.items() if name not in _OF_DATA})[0].shared
    shapes = [(part, *((a.shape, a.dtype.str) for a in rows.arrays)) for part, rows in data.parts.items()]
    # A name may be registered anew.
    key = (shared, group.varying, data.task, data.outputs, *shapes, *map(id, plugins))
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
