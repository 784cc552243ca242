"""Training many models in one compiled program, each with the numbers of its own run.

The models of a group (see `groups`) differ in numbers only: float parameters of the loss and the regularizer,
seed, learning rate. Each of these becomes a vector with one entry per model. `tf.vectorized_map` turns one training
step of Keras's own model into a step of all models, Keras's own optimizer updates their stacked weights (it works
elementwise), and a loop over the epochs is compiled with XLA once. A row equals `fit.fit` of its config with
`jit_compile=true`: same initial weights, same dropout masks, same arithmetic.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from omegaconf import DictConfig, OmegaConf

import lossreg
from lossreg.training.config import Config, read_config
from lossreg.training.errors import DivergedError
from lossreg.training.fit import History, arrays, raise_if_diverged, until_diverged
from lossreg.training.groups import (
    INITIAL,
    LEARNING_RATE,
    PLUGINS,
    SEED,
    AnyConfig,
    Group,
    plain,
    split,
    targets_of,
)
from lossreg.training.initial import InitialState
from lossreg.training.model import build_model
from lossreg.training.probe import create, probe, refused, with_numbers
from lossreg.training.report import Metrics, measure

_EPOCHS_PER_CALL = 25
_SECONDS_PER_CALL = 0.5  # between two calls, Ctrl-C is heard
_PROGRAMS_KEPT = 8

Progress = Callable[[int, int], None]
"""Called with the epochs done and their total, while many models train."""


@dataclass(frozen=True)
class Outcome:
    """What became of one model.

    Arguments:
        history: the loss of every epoch and the numbers that changed, as `lossreg.training.fit.fit` returns it.
        metrics: its metrics, or `None` if it diverged; `seconds` is its share of the wall time of the program.
        error: why there are no metrics, or `None`.
    """

    history: History
    metrics: Metrics | None = None
    error: DivergedError | None = None


def train_many(configs: Sequence[AnyConfig], *, on_progress: Progress | None = None) -> list[Outcome]:
    """Train one model per config, all in one program compiled with XLA.

    The program is kept: configs of the same group train without compiling again, if there are as many as before, or
    somewhat fewer. Ctrl-C is heard within a second.

    Arguments:
        configs: composed configs of one group, typed, from Hydra, or plain data.
        on_progress: called after every few epochs with the epochs done and their total.

    Returns:
        One outcome per config, in order. That one model diverged leaves the others alone.

    Raises:
        CannotVectorizeError: if the loss or the regularizer cannot take a tensor where it took a number (it branches on
            it in Python, or makes a float of it), keeps a state of its own, or cannot be compiled.
        ConfigError, lossreg.RegistryError: if what the configs share is wrong.
        ValueError: if the configs are not of one group.
    """
    if not configs:
        return []
    started = time.perf_counter()
    group, _ = split(configs[0])
    numbers = []
    for index, config in enumerate(configs):
        other, values = split(config)
        if other != group:
            raise ValueError(f"configs 0 and {index} are not of one group: {group} and {other}")
        numbers.append(values)
    program = _program(configs[0], group, len(configs))
    columns = {key: np.array([values[key] for values in numbers]) for key in group.varying}
    result = program.train(columns, group.epochs, on_progress)
    seconds = (time.perf_counter() - started) / len(configs)
    return [_outcome(program.y, result, index, seconds) for index in range(len(configs))]


@dataclass(frozen=True)
class _Result:
    """The trained models: `history` with arrays of shape `(epochs, models)`, the rest with the models first."""

    history: History
    y_hat: np.ndarray
    loss: np.ndarray
    penalty: np.ndarray
    values: dict[str, np.ndarray]


def _outcome(y: np.ndarray, result: _Result, index: int, seconds: float) -> Outcome:
    history = until_diverged({name: array[:, index].astype(np.float64) for name, array in result.history.items()})
    try:
        raise_if_diverged(history)
    except DivergedError as error:
        return Outcome(history, error=error)
    metrics = measure(
        y,
        result.y_hat[index],
        loss=result.loss[index],
        penalty=result.penalty[index],
        epochs_run=len(history["loss"]),
        seconds=seconds,
        values={name: array[index] for name, array in result.values.items()},
    )
    return Outcome(history, metrics)


_programs: OrderedDict[Any, _Program] = OrderedDict()


def _program(example: AnyConfig, group: Group, models: int) -> _Program:
    """Return a program for so many models: one that is compiled already, if filling it up costs less than compiling."""
    config = plain(example)
    plugins = targets_of(_nodes(config))
    key = (group.shared, group.varying, *map(id, plugins))  # a name may be registered anew
    larger = [size for *rest, size in _programs if tuple(rest) == key and size >= models]
    for size in sorted(larger):
        found = _programs[(*key, size)]
        if size == models or (1 - models / size) * found.seconds_per_epoch * group.epochs < found.seconds_to_compile:
            _programs.move_to_end((*key, size))
            return found
    program = _programs[(*key, models)] = _Program(example, group, models, plugins)
    if len(_programs) > _PROGRAMS_KEPT:
        _programs.popitem(last=False)
    return program


class _Late(keras.regularizers.Regularizer):
    """Stands in the model for the regularizer, which is made anew where its parameters are tensors."""

    regularizer: Callable[[Any], Any]

    def __call__(self, weights: Any) -> Any:
        return self.regularizer(weights)


class _Program:
    """One compiled program that trains so many models of a group at once.

    Arguments:
        example: any config of the group.
        group: what the configs have in common, and which numbers vary.
        size: how many models it trains.
        plugins: the targets of the loss and the regularizer, to keep them alive.
    """

    def __init__(self, example: AnyConfig, group: Group, size: int, plugins: list[Any]) -> None:
        started = time.perf_counter()
        config = _typed(example)
        self.size = size
        self.plugins = plugins
        self.seconds_per_epoch = 0.0
        self._lock = threading.Lock()
        every_node = _nodes(plain(config))
        self._nodes = {key: every_node[key] for key in PLUGINS}
        self._late = _Late()
        self._model = build_model(config, lossreg.losses.build(config.loss, key="loss"), self._late)
        self._shapes = [tuple(weight.shape) for weight in self._model.trainable_variables]
        self.x, self.y = arrays(config)
        self._batch_size = min(config.batch_size, len(self.x))
        numbers_inside = {
            path: (catalog, node)
            for key, value in self._nodes.items()
            for path, catalog, node in PLUGINS[key].nodes(value, key)
            if catalog is not PLUGINS[key]
        }
        self._variables = {path: n for path, (catalog, n) in numbers_inside.items() if catalog is lossreg.variables}
        numbers = {key: number for key, number in split(example)[1].items() if self._is_handed_over(key)}
        raws = {path: _start_of(node, {}, path) for path, node in self._variables.items()}
        y_hat = np.linspace(0.1, 0.9, self.y.size).reshape(self.y.shape)
        kernel = np.linspace(-1, 1, math.prod(self._shapes[0])).reshape(self._shapes[0])
        probe("loss", self._nodes, numbers, raws, self.y, y_hat)
        probe("reg", self._nodes, numbers, raws, kernel)

        self._initial = InitialState(self._model)
        self._shapes += [()] * len(self._variables)  # what is trained of variables stands behind the weights
        parameters = sum(map(math.prod, self._shapes))
        self._weights = keras.Variable(np.zeros((size, parameters), np.float32))
        self._states = [
            tf.Variable(np.zeros((size, *state.shape)), dtype=state.dtype, trainable=False)
            for state in self._model.non_trainable_variables
        ]
        self._numbers = {
            key: tf.Variable(np.zeros(size, np.float32), trainable=False)
            for key in group.varying
            if self._is_handed_over(key)
        }
        self._optimizer = self._model.optimizer
        self._rate = every_node.get(LEARNING_RATE)
        self._optimizer.learning_rate = lambda: tf.reshape(self._learning_rates(), (-1, 1))
        self.changing = [*sorted(numbers_inside), *([LEARNING_RATE] if self._rate else [])]
        self._optimizer.build([self._weights])
        self._optimizer_start = [variable.numpy() for variable in self._optimizer.variables]
        with refused(self._nodes, "compiling it raised"):
            advance = tf.function(self._train_and_measure, jit_compile=True, autograph=False)
            self._advance = advance.get_concrete_function(tf.TensorSpec((), tf.int32))
            self._advance(tf.constant(0))
        self.seconds_to_compile = time.perf_counter() - started

    def train(self, columns: Mapping[str, np.ndarray], epochs: int, on_progress: Progress | None) -> _Result:
        """Train as many models as the columns are long; what is missing to the program's size is filled up."""
        with self._lock:
            models = len(next(iter(columns.values())))
            self._start({key: np.pad(column, (0, self.size - models), mode="edge") for key, column in columns.items()})
            history, values = [], []
            done, at_once = 0, 1
            while done < epochs:
                started = time.perf_counter()
                count = min(at_once, epochs - done)
                losses, changed, *measured = self._advance(tf.constant(count))
                history.append(losses.numpy()[:count, :models])
                values.append(changed.numpy()[:count, :, :models])
                done += count
                self.seconds_per_epoch = (time.perf_counter() - started) / count
                at_once = int(np.clip(_SECONDS_PER_CALL / self.seconds_per_epoch, 1, _EPOCHS_PER_CALL))
                if on_progress:
                    on_progress(done, epochs)
            y_hat, loss, penalty, last = (value.numpy() for value in measured)
            arrays = zip(self.changing, np.concatenate(values).swapaxes(0, 1), strict=True)
            return _Result(
                {"loss": np.concatenate(history), **dict(arrays)},
                y_hat[:models],
                loss[:models],
                penalty[:models],
                dict(zip(self.changing, last[:, :models], strict=True)),
            )

    def _start(self, columns: Mapping[str, np.ndarray]) -> None:
        """Set every variable to what it is before the first step."""
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite in a run alone, too
            for key, variable in self._numbers.items():
                variable.assign(columns[key].astype(np.float32))
        for variable, start in zip(self._optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(start)
        seeds, inverse = np.unique(columns[SEED], return_inverse=True)
        weights, states = self._initial(seeds)
        starts = [_starts_of(node, columns, path, self.size) for path, node in self._variables.items()]
        self._weights.assign(np.column_stack([weights[inverse], *starts]))
        for variable, state in zip(self._states, states, strict=True):
            variable.assign(state[inverse])

    def _train_and_measure(self, epochs: Any) -> tuple[Any, ...]:
        """Train so many epochs, at most `_EPOCHS_PER_CALL`; return what `_epoch` and then `_measure` return."""
        losses = tf.TensorArray(tf.float32, _EPOCHS_PER_CALL, element_shape=(self.size,))
        values = tf.TensorArray(tf.float32, _EPOCHS_PER_CALL, element_shape=(len(self.changing), self.size))

        def train(epoch: Any, losses: Any, values: Any) -> tuple[Any, Any, Any]:
            loss, value = self._epoch()
            return epoch + 1, losses.write(epoch, loss), values.write(epoch, value)

        _, losses, values = tf.while_loop(lambda epoch, *_: epoch < epochs, train, (0, losses, values))
        return losses.stack(), values.stack(), *self._measure()

    def _epoch(self) -> tuple[Any, Any]:
        """Train one epoch; return the mean loss over its examples, of shape `(models,)`, and the last step's values."""
        rows, size = len(self.x), self._batch_size
        whole = rows // size
        values = tf.zeros((len(self.changing), self.size))
        if whole == 1:
            loss, values = self._step(tf.constant(self.x[:size]), tf.constant(self.y[:size]))
            loss *= size / rows
        else:
            x = tf.constant(self.x[: whole * size].reshape(whole, size, -1))
            y = tf.constant(self.y[: whole * size].reshape(whole, size, -1))

            def train(batch: Any, loss: Any, values: Any) -> tuple[Any, Any, Any]:
                more, values = self._step(x[batch], y[batch])
                return batch + 1, loss + more * (size / rows), values

            _, loss, values = tf.while_loop(lambda batch, *_: batch < whole, train, (0, tf.zeros(self.size), values))
        if rest := rows - whole * size:
            more, values = self._step(tf.constant(self.x[-rest:]), tf.constant(self.y[-rest:]))
            loss += more * (rest / rows)
        return loss, values

    def _step(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Train all models on one batch; return their losses, penalty included, and the values of what changes."""

        def one(model: tuple[Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
            weights, states, numbers = model
            with tf.GradientTape() as tape:
                tape.watch(weights)
                _, loss, penalty, values, states = self._call(weights, states, numbers, x, y, training=True)
                total = loss + penalty
            return total, values, states, tape.gradient(total, weights)

        # The gradient is taken inside: outside, it would keep the random numbers of all steps.
        losses, values, states, gradients = tf.vectorized_map(one, self._stacked(), warn=False)
        for variable, value in zip(self._states, states, strict=True):
            variable.assign(value)
        values = self._all_values(values)
        self._optimizer.apply([gradients], [self._weights])
        return losses, values

    def _measure(self) -> tuple[Any, Any, Any, Any]:
        """Return, in inference mode, outputs of shape `(models, examples, 1)`, losses, penalties, what changes."""

        def one(model: tuple[Any, Any, Any]) -> tuple[Any, Any, Any, Any]:
            return self._call(*model, tf.constant(self.x), tf.constant(self.y), training=False)[:4]

        *measured, values = tf.vectorized_map(one, self._stacked(), warn=False)
        return *measured, self._all_values(values)

    def _all_values(self, values: Any) -> Any:
        """Return the values of what changes, of shape `(values, models)`, the learning rate the last."""
        rows = [tf.transpose(values)]
        if self._rate:
            rows.append(tf.broadcast_to(self._learning_rates(), (1, self.size)))
        return tf.concat(rows, 0)

    def _learning_rates(self) -> Any:
        """Return the learning rates of this step: of shape `(models,)`, or one for all."""
        if not self._rate:
            return self._numbers[LEARNING_RATE]
        rate = self._rate

        def one(numbers: Mapping[str, Any]) -> Any:
            node = with_numbers(numbers, rate, LEARNING_RATE)
            schedule = lossreg.schedules.create(node.pop("name"), **node)
            return tf.cast(schedule(self._optimizer.iterations), tf.float32)

        numbers = {k: tf.convert_to_tensor(v) for k, v in self._numbers.items() if k.startswith(f"{LEARNING_RATE}.")}
        return tf.vectorized_map(one, numbers, warn=False) if numbers else one({})

    def _stacked(self) -> tuple[Any, Any, Any]:
        numbers = {key: tf.convert_to_tensor(variable) for key, variable in self._numbers.items()}
        return self._weights.value, [tf.convert_to_tensor(state) for state in self._states], numbers

    def _call(
        self, weights: Any, states: list[Any], numbers: Mapping[str, Any], x: Any, y: Any, *, training: bool
    ) -> tuple[Any, Any, Any, Any, list[Any]]:
        """Call one model; return its outputs, loss, penalty, the values of what changes, and new states."""
        parts = tf.split(weights, [math.prod(shape) for shape in self._shapes])
        parts = [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        count = len(parts) - len(self._variables)
        raws = dict(zip(self._variables, parts[count:], strict=True))
        step = self._optimizer.iterations
        loss = create("loss", self._nodes, numbers, step=step, raws=raws)
        self._late.regularizer = regularizer = create("reg", self._nodes, numbers, step=step, raws=raws)
        y_hat, states, penalties = self._model.stateless_call(
            parts[:count], states, x, training=training, return_losses=True
        )
        changed = {f"loss.{path}": number for path, number in loss.numbers.items()}
        changed |= {f"reg.{path}": number for path, number in regularizer.numbers.items()}
        values = [changed[path].tensor("float32") for path in self.changing if path != LEARNING_RATE]
        return y_hat, loss(y, y_hat), tf.add_n(penalties), tf.stack(values) if values else tf.zeros(0), states

    def _is_handed_over(self, key: str) -> bool:
        """Whether a number that varies is one of the step: neither the seed, nor where a variable starts."""
        return key != SEED and key.removesuffix(f".{INITIAL}") not in self._variables


def _nodes(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nodes that name a plugin, by config key."""
    nodes = {key: config[key] for key in PLUGINS}
    rate = config["optimizer"]["learning_rate"]
    return nodes | ({LEARNING_RATE: rate} if isinstance(rate, Mapping) else {})


def _start_of(node: Mapping[str, Any], numbers: Mapping[str, float], path: str) -> float:
    """Return what is trained of a variable, as it is at the start."""
    node = with_numbers(numbers, node, path)
    start: float = lossreg.variables.create(node.pop("name"), **node).start_raw()
    return start


def _starts_of(node: Mapping[str, Any], columns: Mapping[str, np.ndarray], path: str, size: int) -> np.ndarray:
    """Return what is trained of a variable, as it is at the start of each model."""
    key = f"{path}.{INITIAL}"
    if key not in columns:
        return np.full(size, _start_of(node, {}, path))
    initials, inverse = np.unique(columns[key], return_inverse=True)
    return np.array([_start_of(node, {key: float(initial)}, path) for initial in initials])[inverse]


def _typed(config: AnyConfig) -> Config:
    cfg = OmegaConf.merge(OmegaConf.structured(Config), plain(config))
    assert isinstance(cfg, DictConfig)
    lossreg.losses.parse(cfg.loss, key="loss")
    lossreg.regularizers.parse(cfg.reg, key="reg")
    return read_config(cfg)
