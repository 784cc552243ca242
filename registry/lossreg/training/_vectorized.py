"""Training many models in one compiled program, each with the numbers of its own run with `jit_compile=true`.

The models of a group (see `_groups`) differ in numbers only, each of which becomes a vector with one entry per model.
`tf.vectorized_map` turns one training step of Keras's own model into a step of all models, Keras's own optimizer
updates their stacked weights (it works elementwise), and a loop over the epochs is compiled with XLA once.
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

import lossreg
from lossreg._tensors import refusal
from lossreg.training._config import LEARNING_RATE, read_config
from lossreg.training._errors import CannotVectorizeError, DivergedError
from lossreg.training._fit import History, arrays, diverged, until_diverged
from lossreg.training._groups import SEED, AnyConfig, Group, nodes, plain, split
from lossreg.training._initial import InitialState
from lossreg.training._model import build_model
from lossreg.training._report import Metrics, measure

_EPOCHS_PER_CALL = 25
_SECONDS_PER_CALL = 0.5  # between two calls, Ctrl-C is heard
_PROGRAMS_KEPT = 8

Progress = Callable[[int, int], None]
"""Called with the epochs done and their total, while many models train."""


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
    program = _program(configs[0], groups[0], len(configs))
    columns = {key: np.array([values[key] for values in numbers]) for key in groups[0].varying}
    history, y_hat, losses, penalties, values = program.train(columns, groups[0].epochs, on_progress)
    seconds = (time.perf_counter() - started) / len(configs)

    def trained(index: int) -> Trained:
        own = until_diverged({name: column[:, index].astype(np.float64) for name, column in history.items()})
        if error := diverged(own):
            return Trained(own, error=error)
        measured: dict[str, Any] = {"loss": float(losses[index]), "penalty": float(penalties[index])}
        measured["values"] = {name: float(column[index]) for name, column in values.items()}
        metrics = measure(program.y, y_hat[index], epochs_run=len(own["loss"]), seconds=seconds, **measured)
        return Trained(own, metrics)

    return [*map(trained, range(len(configs)))]


_programs: OrderedDict[Any, _Program] = OrderedDict()


def _program(example: AnyConfig, group: Group, models: int) -> _Program:
    """Return a program for so many models: one that is compiled already, if filling it up costs less than compiling."""
    specs = {key: registry.parse(node, key=key) for key, registry, node in nodes(plain(example))}
    plugins = [inner.plugin.load() for spec in specs.values() for _, inner in spec.walk()]
    key = (group.shared, group.varying, *map(id, plugins))  # a name may be registered anew
    larger = [size for *rest, size in _programs if tuple(rest) == key and size >= models]
    for size in sorted(larger):
        found = _programs[(*key, size)]
        if size == models or (1 - models / size) * found.seconds_per_epoch * group.epochs < found.seconds_to_compile:
            _programs.move_to_end((*key, size))
            return found
    program = _programs[(*key, models)] = _Program(example, specs, models)
    if len(_programs) > _PROGRAMS_KEPT:
        _programs.popitem(last=False)
    return program


class _Late(keras.regularizers.Regularizer):
    """Stands in the model for the regularizer, which is made anew where its parameters are tensors."""

    regularizer: Callable[[Any], Any]

    def __call__(self, weights: Any) -> Any:
        return self.regularizer(weights)


class _Program:
    """One compiled program that trains `size` models of a group at once, of which any config is an example."""

    def __init__(self, example: AnyConfig, specs: Mapping[str, lossreg.Spec], size: int) -> None:
        started = time.perf_counter()
        config = read_config(plain(example))
        self.size = size
        self.seconds_per_epoch = 0.0
        self._lock = threading.Lock()
        self._late = _Late()
        self._specs = {key: specs[key] for key in ("loss", "reg")}
        self._schedule = specs.get(LEARNING_RATE)
        loss = lossreg.losses.build(specs["loss"], key="loss")
        self._model = build_model(config, loss, self._late)
        self._shapes = [tuple(weight.shape) for weight in self._model.trainable_variables]
        self.x, self.y = arrays(config)
        self._batch_size = min(config.batch_size, len(self.x))
        inside = {path: spec for key in self._specs for path, spec in specs[key].walk(key)}
        self._learned = {path: spec for path, spec in inside.items() if spec.registry is lossreg.learned}
        scheduled = [path for path, spec in inside.items() if spec.registry is lossreg.schedules]
        self.changing = [*sorted([*self._learned, *scheduled]), *([LEARNING_RATE] if self._schedule else [])]
        starts = {SEED, *(f"{path}.initial" for path in self._learned)}
        numbers = {key: number for key, number in split(example)[1].items() if key not in starts}
        self._numbers = {key: tf.Variable(np.zeros(size, np.float32), trainable=False) for key in numbers}
        predictions = np.linspace(0.1, 0.9, self.y.size).reshape(self.y.shape)
        self._probe("loss", numbers, self.y, predictions)
        loss.follow(0, static=True)
        loss(self.y, predictions)  # what is created in compiled code cannot be tried for a broadcasting bug
        self._probe("reg", numbers, np.linspace(-1, 1, math.prod(self._shapes[0])).reshape(self._shapes[0]))

        self._initial = InitialState(self._model)
        self._shapes += [()] * len(self._learned)  # what is trained of learned numbers stands behind the weights
        parameters = sum(map(math.prod, self._shapes))
        self._weights = keras.Variable(np.zeros((size, parameters), np.float32))
        states = self._model.non_trainable_variables
        self._states = [tf.Variable(np.zeros((size, *s.shape)), dtype=s.dtype, trainable=False) for s in states]
        self._optimizer = self._model.optimizer
        self._optimizer.learning_rate = lambda: self._rates
        self._optimizer.build([self._weights])
        self._optimizer_start = [variable.numpy() for variable in self._optimizer.variables]
        try:
            advance = tf.function(self._train_and_measure, jit_compile=True, autograph=False)
            self._advance = advance.get_concrete_function(tf.TensorSpec((), tf.int32))
            self._advance(tf.constant(0))
        except Exception as error:
            owners = " with ".join(spec.owner for spec in self._specs.values())
            message = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            raise CannotVectorizeError(f"{owners}: compiling it raised {message}") from error
        self.seconds_to_compile = time.perf_counter() - started

    def _probe(self, key: str, numbers: Mapping[str, float], *data: np.ndarray) -> None:
        """Raise `CannotVectorizeError` if the loss or the regularizer does not take tensors for its numbers."""
        own = {path: number for path, number in numbers.items() if path.startswith(f"{key}.")}
        starts = {path: lossreg.learned.build(spec).start() for path, spec in self._learned.items()}
        floats = tuple(part.astype(np.float32) for part in data)
        if why := refusal(lambda tensors: self._create(key, tensors, starts, step=0), own, floats, stateless=True):
            names = f", with a tensor for {' and '.join(own)}" if own else ""
            raise CannotVectorizeError(f"{self._specs[key].owner}{names}: {why}")

    def _create(self, key: str, numbers: Mapping[str, Any], learned: Mapping[str, Any], *, step: Any) -> Any:
        """Create the loss or the regularizer, with tensors in the place of its numbers, and of what is trained."""
        spec = self._specs[key]
        created = spec.registry.build(spec.with_numbers(_inside(numbers, key)))
        created.follow(step, static=True)
        for path, number in created.numbers.items():
            if f"{key}.{path}" in learned:
                number.share(learned[f"{key}.{path}"])
        return created

    def train(self, columns: Mapping[str, np.ndarray], epochs: int, on_progress: Progress | None) -> tuple[Any, ...]:
        """Train as many models as the columns are long; what is missing to the program's size is filled up.

        Returns the history, with arrays of shape `(epochs, models)`; outputs, losses, penalties, the models first; and
        by name what the numbers that changed came to.
        """
        with self._lock:
            models = len(columns[SEED])
            self._start({key: np.pad(column, (0, self.size - models), mode="edge") for key, column in columns.items()})
            kept: list[np.ndarray] = []
            done, at_once = 0, 1
            while done < epochs:
                started = time.perf_counter()
                count = min(at_once, epochs - done)
                rows, *measured, values = self._advance(tf.constant(count))
                kept.append(rows.numpy()[:count, :, :models])
                done += count
                self.seconds_per_epoch = (time.perf_counter() - started) / count
                at_once = int(np.clip(_SECONDS_PER_CALL / self.seconds_per_epoch, 1, _EPOCHS_PER_CALL))
                if on_progress:
                    on_progress(done, epochs)
            history = dict(zip(["loss", *self.changing], np.concatenate(kept).swapaxes(0, 1), strict=True))
            last = dict(zip(self.changing, values.numpy()[:models].T, strict=True))
            return history, *(value.numpy()[:models] for value in measured), last

    def _start(self, columns: Mapping[str, np.ndarray]) -> None:
        """Set every variable to what it is before the first step."""
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite in a run alone, too
            for key, variable in self._numbers.items():
                variable.assign(columns[key].astype(np.float32))
        for variable, start in zip(self._optimizer.variables, self._optimizer_start, strict=True):
            variable.assign(start)
        seeds, inverse = np.unique(columns[SEED], return_inverse=True)
        weights, states = self._initial(seeds)
        starts = [_starts(spec, columns.get(f"{path}.initial"), self.size) for path, spec in self._learned.items()]
        self._weights.assign(np.column_stack([weights[inverse], *starts]))
        for variable, state in zip(self._states, states, strict=True):
            variable.assign(state[inverse])

    def _train_and_measure(self, epochs: Any) -> tuple[Any, ...]:
        """Train so many epochs, at most `_EPOCHS_PER_CALL`; return what `_epoch` and then `_measure` return."""
        shape = (1 + len(self.changing), self.size)
        kept = tf.TensorArray(tf.float32, _EPOCHS_PER_CALL, element_shape=shape)

        def train(epoch: Any, kept: Any) -> tuple[Any, Any]:
            return epoch + 1, kept.write(epoch, self._epoch(tf.zeros(shape)))

        _, kept = tf.while_loop(lambda epoch, _: epoch < epochs, train, (0, kept))
        return kept.stack(), *self._measure()

    def _epoch(self, zeros: Any) -> Any:
        """Train one epoch; return the mean loss over its examples and the last step's values, of shape of `zeros`."""
        rows, size = len(self.x), self._batch_size
        whole, rest = divmod(rows, size)
        x, y = (tf.constant(part[: whole * size].reshape(whole, size, -1)) for part in (self.x, self.y))

        def train(kept: Any, x: Any, y: Any) -> Any:
            losses, values = self._step(x, y)
            return tf.concat([kept[:1] + losses[tf.newaxis] * (x.shape[0] / rows), tf.transpose(values)], 0)

        kept = tf.while_loop(lambda i, _: i < whole, lambda i, kept: (i + 1, train(kept, x[i], y[i])), (0, zeros))[1]
        return train(kept, tf.constant(self.x[-rest:]), tf.constant(self.y[-rest:])) if rest else kept

    def _step(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Train all models on one batch; return their losses, penalty included, and the values of what changes."""

        def one(model: tuple[Any, Any, Any]) -> tuple[Any, ...]:
            weights, states, numbers = model
            with tf.GradientTape() as tape:
                tape.watch(weights)
                _, loss, penalty, values, rate, states = self._call(weights, states, numbers, x, y, training=True)
                total = loss + penalty
            return total, values, rate, states, tape.gradient(total, weights)

        # The gradient is taken inside: outside, it would keep the random numbers of all steps.
        losses, values, rates, states, gradients = tf.vectorized_map(one, self._stacked(), warn=False)
        for variable, value in zip(self._states, states, strict=True):
            variable.assign(value)
        self._rates = rates[:, tf.newaxis]
        self._optimizer.apply([gradients], [self._weights])
        return losses, values

    def _measure(self) -> Any:
        """Return, in inference mode, outputs of shape `(models, examples, 1)`, losses, penalties, what changes."""

        def one(model: tuple[Any, Any, Any]) -> tuple[Any, ...]:
            return self._call(*model, tf.constant(self.x), tf.constant(self.y), training=False)[:4]

        return tf.vectorized_map(one, self._stacked(), warn=False)

    def _stacked(self) -> tuple[Any, Any, Any]:
        numbers = {key: tf.convert_to_tensor(variable) for key, variable in self._numbers.items()}
        return self._weights.value, [tf.convert_to_tensor(state) for state in self._states], numbers

    def _call(
        self, weights: Any, states: list[Any], numbers: Mapping[str, Any], x: Any, y: Any, *, training: bool
    ) -> tuple[Any, ...]:
        """Call one model; return outputs, loss, penalty, the values of what changes, learning rate, and new states."""
        parts = tf.split(weights, [math.prod(shape) for shape in self._shapes])
        parts = [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        count = len(parts) - len(self._learned)
        learned = dict(zip(self._learned, parts[count:], strict=True))
        step = self._optimizer.iterations
        created = {key: self._create(key, numbers, learned, step=step) for key in self._specs}
        self._late.regularizer = created["reg"]
        y_hat, states, penalties = self._model.stateless_call(
            parts[:count], states, x, training=training, return_losses=True
        )
        found = {f"{key}.{path}": number for key, each in created.items() for path, number in each.numbers.items()}
        values = [found[path].tensor("float32") for path in self.changing if path != LEARNING_RATE]
        if self._schedule:
            schedule = lossreg.schedules.build(self._schedule.with_numbers(_inside(numbers, LEARNING_RATE)))
            values.append(rate := tf.cast(schedule(step), tf.float32))
        else:
            rate = numbers[LEARNING_RATE]
        loss = created["loss"](y, y_hat)
        return y_hat, loss, tf.add_n(penalties), tf.stack(values) if values else tf.zeros(0), rate, states


def _inside(numbers: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return the numbers of a node, by path, of all by config key."""
    return {path.removeprefix(f"{key}."): number for path, number in numbers.items() if path.startswith(f"{key}.")}


def _starts(spec: lossreg.Spec, initials: np.ndarray | None, size: int) -> np.ndarray:
    """Return what is trained of a learned number, as it is at the start of each model."""
    if initials is None:
        return np.full(size, lossreg.learned.build(spec).start())
    values, inverse = np.unique(initials, return_inverse=True)
    built = [lossreg.learned.build(spec.with_numbers({"initial": float(value)})) for value in values]
    return np.array([number.start() for number in built])[inverse]
