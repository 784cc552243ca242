"""One compiled program that trains many models at once.

The models of a group (see `_groups`) differ in numbers only, each of which becomes a vector with one entry per model.
`tf.vectorized_map` turns one training step of Keras's own model into a step of all models, Keras's own optimizer
updates their stacked weights (it works elementwise), and a loop over the epochs is compiled with XLA once.
"""

from __future__ import annotations

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import lossreg
from lossreg._bound import columns
from lossreg._tensors import refusal
from lossreg._terms import recording
from lossreg.training._config import LEARNING_RATE, Config, read_config
from lossreg.training._data import Data, load_data
from lossreg.training._errors import CannotVectorizeError
from lossreg.training._fit import VALIDATION, order, shuffles
from lossreg.training._groups import SEED, AnyConfig, plain, split
from lossreg.training._initial import InitialState
from lossreg.training._metrics import require_fit
from lossreg.training._model import build_model, created_by_key
from lossreg.training._stacking import not_compiled, require_elementwise, require_stackable

_EPOCHS_PER_CALL = 25
_SECONDS_PER_CALL = 0.5  # between two calls, Ctrl-C is heard
_PROBED = 64  # rows with which a loss is tried

Progress = Callable[[int, int], None]
"""Called with the epochs done and their total, while many models train."""


class _Late(keras.regularizers.Regularizer):
    """Stands in the model for the regularizer, which is made anew where its parameters are tensors."""

    regularizer: Callable[[Any], Any]

    def __call__(self, weights: Any) -> Any:
        return self.regularizer(weights)


class Program:
    """One compiled program that trains `size` models of a group at once, of which any config is an example.

    Of the numbers that are equal in all configs, those of a plugin that does not take a tensor stay what they are:
    `fixed`, by config key.
    """

    def __init__(
        self, example: AnyConfig, specs: Mapping[str, lossreg.Spec], size: int, equal: Mapping[str, float]
    ) -> None:
        started = time.perf_counter()
        config = read_config(plain(example))
        self.size = size
        self.seconds_per_epoch = 0.0
        self._lock = threading.Lock()
        self._late = _Late()
        self._specs = {key: specs[key] for key in ("loss", "reg")}
        rate = specs["optimizer"].numbers.get("learning_rate")
        self._schedule = rate if isinstance(rate, lossreg.Spec) else None
        require_elementwise(specs, config.precision)
        self.data = load_data(config)
        require_fit(config, self.data, specs["loss"])
        loss = lossreg.losses.build(specs["loss"], key="loss")
        self._model = build_model(config, loss, self._late)
        another = dataclasses.replace(config, seed=config.seed ^ 1)
        require_stackable(
            self._model, specs["model"].owner, lambda: self._build(another), self.data.train.x[: config.batch_size]
        )
        self._created = created_by_key(self._model)
        self.terms = columns(self._created | {"reg": lossreg.regularizers.build(specs["reg"], key="reg")})
        self._shapes = [tuple(weight.shape) for weight in self._model.trainable_variables]
        train, validation = self.data.train, self.data.parts.get("validation")
        # Variables, so that other data of the same shapes train in the same program.
        self._rows, self._validation, (self._every,) = (
            [tf.Variable(array, trainable=False) for array in arrays] for arrays in self.data.arrays
        )
        self._batch_size = min(config.batch_size, len(train))
        self._shuffles = shuffles(config, self.data)
        self._patience = config.patience
        inside = {path: spec for key in self._specs for path, spec in specs[key].walk(key)}
        self._learned = {path: spec for path, spec in inside.items() if spec.registry is lossreg.learned}
        scheduled = [path for path, spec in inside.items() if spec.registry is lossreg.schedules]
        self.changing = [*sorted([*self._learned, *scheduled]), *([LEARNING_RATE] if self._schedule else [])]
        starts = {SEED, *(f"{path}.initial" for path in self._learned)}
        numbers = {key: number for key, number in split(example)[1].items() if key not in starts}
        y = train.y[:_PROBED]
        y_hat = np.linspace(0.1, 0.9, len(y) * self.data.outputs).reshape(len(y), -1)
        y_hat = y_hat / y_hat.sum(1, keepdims=True) if self.data.outputs > 1 else y_hat
        weights = np.linspace(-1, 1, math.prod(self._shapes[0])).reshape(self._shapes[0])
        self.fixed = self._probe("loss", numbers, equal, y, y_hat) | self._probe("reg", numbers, equal, weights)
        loss.follow(0, static=True)
        loss(y, y_hat)  # what is created in compiled code cannot be tried for a broadcasting bug
        varying = [key for key in numbers if key not in self.fixed]
        self._numbers = {key: tf.Variable(np.zeros(size, np.float32), trainable=False) for key in varying}

        self._initial = InitialState(lambda seed: self._build(dataclasses.replace(config, seed=seed)), self._model)
        self._shapes += [()] * len(self._learned)  # what is trained of learned numbers stands behind the weights
        parameters = sum(map(math.prod, self._shapes))
        self._weights = keras.Variable(np.zeros((size, parameters), np.float32))
        states = self._model.non_trainable_variables
        self._states = [tf.Variable(np.zeros((size, *s.shape)), dtype=s.dtype, trainable=False) for s in states]
        self._optimizer = self._model.optimizer
        self._optimizer.learning_rate = lambda: self._rates
        self._optimizer.build([self._weights])
        self._optimizer_start = [variable.numpy() for variable in self._optimizer.variables]
        # What early stopping keeps: the least loss in validation, epochs since, epochs run, and the best weights.
        self._stopping = (
            [tf.Variable(np.zeros(size, np.float32), trainable=False) for _ in range(3)] if validation else []
        )
        best = [self._weights.value, *self._states] if config.patience else []
        self._best = [tf.Variable(tf.zeros_like(variable), trainable=False) for variable in best]
        try:
            advance = tf.function(self._train_and_measure, jit_compile=True, autograph=False)
            orders = tf.TensorSpec((_EPOCHS_PER_CALL, len(train) if self._shuffles else 0, size), tf.int32)
            self._advance = advance.get_concrete_function(tf.TensorSpec((), tf.int32), orders)
            self._advance(tf.constant(0), tf.zeros(orders.shape, tf.int32))
        except Exception as error:
            owners = " with ".join(spec.owner for spec in self._specs.values())
            raise not_compiled(self._model, owners, error) from error
        self.seconds_to_compile = time.perf_counter() - started

    def _build(self, config: Config) -> keras.Model:
        """Build a model in which the regularizer is made anew in each step."""
        loss = self._specs["loss"]
        return build_model(config, lossreg.losses.build(loss, key="loss"), self._late)

    def _probe(
        self, key: str, numbers: Mapping[str, float], equal: Mapping[str, float], *data: np.ndarray
    ) -> dict[str, float]:
        """Return the numbers of the loss or the regularizer that it is handed as they are, as all models have them.

        Raises `CannotVectorizeError` if it does not take tensors for the others.
        """
        own = {path: number for path, number in numbers.items() if path.startswith(f"{key}.")}
        starts = {path: lossreg.learned.build(spec).start() for path, spec in self._learned.items()}
        floats = tuple(part if part.dtype.kind == "i" else part.astype(np.float32) for part in data)
        fixed: dict[str, float] = {}
        for tried in ({}, {path: number for path, number in own.items() if path in equal}):
            fixed, rest = tried, {path: number for path, number in own.items() if path not in tried}
            why = refusal(lambda tensors: self._create(key, tensors, starts, step=0), rest, floats, stateless=True)
            if not why or not own.keys() & equal.keys():
                break
        if why:
            names = f", with a tensor for {' and '.join(rest)}" if rest else ""
            raise CannotVectorizeError(f"{self._specs[key].owner}{names}: {why}")
        return fixed

    def _create(self, key: str, numbers: Mapping[str, Any], learned: Mapping[str, Any], *, step: Any) -> Any:
        """Create the loss or the regularizer, with tensors in the place of its numbers, and of what is trained."""
        spec = self._specs[key]
        created = spec.registry.build(spec.with_numbers(_inside(numbers, key)))
        created.follow(step, static=True)
        for path, number in created.numbers.items():
            if f"{key}.{path}" in learned:
                number.share(learned[f"{key}.{path}"])
        return created

    def train(
        self, columns: Mapping[str, np.ndarray], epochs: int, data: Data, on_progress: Progress | None
    ) -> tuple[Any, ...]:
        """Train as many models as the columns are long; what is missing to the program's size is filled up.

        The data are of the shapes of the program's own.

        Returns the history, with arrays of shape `(epochs, models)`; the epochs of each model; outputs, losses,
        penalties, the models first; and by name what the numbers that changed came to.
        """
        with self._lock:
            models = len(columns[SEED])
            if data is not self.data:
                held = (self._rows, self._validation, [self._every])
                for variables, arrays in zip(held, data.arrays, strict=True):
                    for variable, array in zip(variables, arrays, strict=True):
                        variable.assign(array)
                self.data = data
            padded = {key: np.pad(column, (0, self.size - models), mode="edge") for key, column in columns.items()}
            self._start(padded)
            kept: list[np.ndarray] = []
            done, at_once, ran = 0, 1, np.full(models, epochs)
            while done < epochs:
                started = time.perf_counter()
                count = min(at_once, epochs - done)
                rows, *measured, values = self._advance(tf.constant(count), self._orders(padded[SEED], done, count))
                kept.append(rows.numpy()[:count, :, :models])
                done += count
                self.seconds_per_epoch = (time.perf_counter() - started) / count
                at_once = int(np.clip(_SECONDS_PER_CALL / self.seconds_per_epoch, 1, _EPOCHS_PER_CALL))
                if on_progress:
                    on_progress(done, epochs)
                if self._patience and (self._stopping[1].numpy() >= self._patience).all():
                    break
            if self._patience:
                for variable, best in zip([self._weights, *self._states], self._best, strict=True):
                    variable.assign(best)
                _, *measured, values = self._advance(tf.constant(0), self._orders(padded[SEED], 0, 0))
                ran = self._stopping[2].numpy()[:models].astype(int)
            measures = ["loss", *self.terms]
            names = [*measures, *self.changing, *(f"{VALIDATION}{name}" for name in measures if self._validation)]
            history = dict(zip(names, np.concatenate(kept).swapaxes(0, 1), strict=True))
            last = dict(zip(self.changing, values.numpy()[:models].T, strict=True))
            return history, ran, *(value.numpy()[:models] for value in measured), last

    def _orders(self, seeds: np.ndarray, done: int, count: int) -> Any:
        """Return the order of the rows in some epochs, of shape `(epochs, rows, models)`; unshuffled, without rows."""
        orders = np.zeros((_EPOCHS_PER_CALL, len(self.data.train) if self._shuffles else 0, self.size), np.int32)
        if self._shuffles:
            distinct, inverse = np.unique(seeds, return_inverse=True)
            for epoch in range(count):
                own = np.stack([order(int(seed), done + epoch, orders.shape[1]) for seed in distinct], axis=1)
                orders[epoch] = own[:, inverse]
        return tf.constant(orders)

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
        for variable, value in zip(self._stopping, (np.inf, 0.0, 0.0), strict=False):
            variable.assign(tf.fill(variable.shape, np.float32(value)))

    def _train_and_measure(self, epochs: Any, orders: Any) -> tuple[Any, ...]:
        """Train so many epochs, at most `_EPOCHS_PER_CALL`; return what `_epoch` and then `_measure` return."""
        shape = (1 + len(self.terms) + len(self.changing), self.size)
        rows = shape[0] + (1 + len(self.terms)) * bool(self._validation)
        kept = tf.TensorArray(tf.float32, _EPOCHS_PER_CALL, element_shape=(rows, self.size))

        def train(epoch: Any, kept: Any) -> tuple[Any, Any]:
            found = self._epoch(tf.zeros(shape), orders[epoch])
            if self._validation:
                found = tf.concat([found, self._validate()], 0)
            return epoch + 1, kept.write(epoch, found)

        _, kept = tf.while_loop(lambda epoch, _: epoch < epochs, train, (0, kept))
        return kept.stack(), *self._measure()

    def _epoch(self, zeros: Any, order: Any) -> Any:
        """Train one epoch; return the means over its examples of the loss and the terms, and the last step's values."""
        rows, size = len(self.data.train), self._batch_size
        whole, rest = divmod(rows, size)

        def steps(part: Any) -> Any:
            """Return rows by step; behind the last whole one stand what is left, and the first rows again."""
            return tf.reshape(tf.concat([part, part[: size - rest]], 0), (whole + 1, size, *part.shape[1:]))

        held = [tf.convert_to_tensor(part) for part in self._rows]
        own = tf.transpose(steps(order), (0, 2, 1)) if self._shuffles else None
        stacked = [] if self._shuffles else [steps(part) for part in held]

        def batch(i: Any) -> list[Any]:
            return [part[i] for part in stacked] if own is None else [tf.gather(part, own[i]) for part in held]

        def train(kept: Any, count: int, batch: list[Any]) -> Any:
            losses, values = self._step(batch)
            means = kept[: 1 + len(self.terms)] + tf.transpose(losses) * (count / rows)
            return tf.concat([means, tf.transpose(values)], 0)

        def advance(i: Any, kept: Any, now: list[Any]) -> tuple[Any, ...]:
            # Gathered a step ahead: what is gathered where it is used, XLA gathers again for every use.
            return i + 1, train(kept, size, now), batch(i + 1)

        _, kept, last = tf.while_loop(lambda i, *_: i < whole, advance, (0, zeros, batch(0)))
        last = [part[:rest] if own is None else part[:, :rest] for part in last]
        return train(kept, rest, last) if rest else kept

    def _step(self, batch: Any) -> tuple[Any, Any]:
        """Train all models on one batch; return their losses with penalties and terms, and the values of what changes.

        The batch is the same rows for all models, or each model's own, the models first.
        """

        def one(model: tuple[Any, ...]) -> tuple[Any, ...]:
            weights, states, numbers, *own = model
            rows = own[0] if own else batch
            with tf.GradientTape() as tape:
                tape.watch(weights)
                _, loss, penalty, *rest, terms = self._call(weights, states, numbers, *rows, training=True)
                total = loss + penalty
            return tf.stack([total, *terms]), *rest, tape.gradient(total, weights)

        # The gradient is taken inside: outside, it would keep the random numbers of all steps.
        models = (*self._stacked(), batch) if self._shuffles else self._stacked()
        losses, values, rates, states, gradients = tf.vectorized_map(one, models, warn=False)
        for variable, value in zip(self._states, states, strict=True):
            variable.assign(value)
        self._rates = rates[:, tf.newaxis]
        self._optimizer.apply([gradients], [self._weights])
        return losses, values

    def _validate(self) -> Any:
        """Return the losses with penalties and terms in validation, the models last; keep what early stopping needs."""

        def one(model: tuple[Any, Any, Any]) -> Any:
            _, loss, penalty, *_, terms = self._call(*model, *self._validation, training=False)
            return tf.stack([loss + penalty, *terms])

        found = tf.transpose(tf.vectorized_map(one, self._stacked(), warn=False))
        losses = found[0]
        if self._patience:
            least, waited, ran = self._stopping
            runs = waited < self._patience
            better = runs & (losses < least)
            ran.assign_add(tf.cast(runs, tf.float32))
            first = runs & (ran < 1.5)  # if it is never better, the first is kept
            for best, variable in zip(self._best, [self._weights.value, *self._states], strict=True):
                keeps = tf.reshape(better | first, (self.size, *[1] * (len(best.shape) - 1)))
                best.assign(tf.where(keeps, variable, best))
            least.assign(tf.where(better, losses, least))
            waited.assign(tf.where(better, 0.0, waited + tf.cast(runs, tf.float32)))
        return found

    def _measure(self) -> Any:
        """Return, in inference mode, outputs of shape `(models, rows, outputs)`, losses, penalties, what changes."""

        def one(model: tuple[Any, Any, Any]) -> tuple[Any, ...]:
            _, *measured = self._call(*model, *self._rows, training=False)[:4]
            weights, states, _ = model
            y_hat, _ = self._model.stateless_call(self._parts(weights)[0], states, self._every, training=False)
            return y_hat, *measured

        return tf.vectorized_map(one, self._stacked(), warn=False)

    def _stacked(self) -> tuple[Any, Any, Any]:
        numbers = {key: tf.convert_to_tensor(variable) for key, variable in self._numbers.items()}
        return self._weights.value, [tf.convert_to_tensor(state) for state in self._states], numbers

    def _parts(self, weights: Any) -> tuple[list[Any], list[Any]]:
        """Return one model's weights as the model has them, and what is trained of learned numbers."""
        parts = tf.split(weights, [math.prod(shape) for shape in self._shapes])
        parts = [tf.reshape(part, shape) for part, shape in zip(parts, self._shapes, strict=True)]
        count = len(parts) - len(self._learned)
        return parts[:count], parts[count:]

    def _call(
        self,
        weights: Any,
        states: list[Any],
        numbers: Mapping[str, Any],
        x: Any,
        y: Any,
        sample_weight: Any = None,
        *,
        training: bool,
    ) -> tuple[Any, ...]:
        """Call one model; return outputs, loss, penalty, the values of what changes, learning rate, states, terms."""
        parts, trained = self._parts(weights)
        learned = dict(zip(self._learned, trained, strict=True))
        step = self._optimizer.iterations
        created = {key: self._create(key, numbers, learned, step=step) for key in self._specs}
        self._late.regularizer = created["reg"]
        with recording() as recorded:
            call = self._model.stateless_call
            y_hat, states, penalties = call(parts, states, x, training=training, return_losses=True)
            loss = created["loss"](y, y_hat, sample_weight)
        penalized = [weight.regularizer for weight in self._model.trainable_variables]
        penalized = [created["reg"] if each is self._late else each for each in penalized]
        places = columns(self._created | created).values()
        terms = recorded.totals(places, penalized, tf.cast(tf.shape(y_hat)[0], tf.float32))
        found = {f"{key}.{path}": number for key, each in created.items() for path, number in each.numbers.items()}
        values = [found[path].tensor("float32") for path in self.changing if path != LEARNING_RATE]
        if self._schedule:
            schedule = lossreg.schedules.build(self._schedule.with_numbers(_inside(numbers, LEARNING_RATE)))
            values.append(rate := tf.cast(schedule(step), tf.float32))
        else:
            rate = numbers[LEARNING_RATE]
        penalty = tf.add_n(penalties) if penalties else tf.zeros(())
        return y_hat, loss, penalty, tf.stack(values) if values else tf.zeros(0), rate, states, terms


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
