"""Fitting a compiled model: Keras's own `fit`, many steps per execution, the loss of every epoch kept.

What changes while the model trains (schedules, learned numbers) is kept too: a history is arrays by name.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

import lossreg
from lossreg._bound import columns
from lossreg._terms import Place, watch
from lossreg.training._config import LEARNING_RATE, Config
from lossreg.training._data import Data, Rows, load_data
from lossreg.training._errors import DivergedError
from lossreg.training._model import created_by_key

History = dict[str, np.ndarray]
"""Arrays of shape `(epochs,)` by name: `"loss"`, the key of each term, penalty, and number that changed; and with
`validation_` before it of the loss, terms and penalties."""

VALIDATION = "validation_"
VALIDATION_LOSS = f"{VALIDATION}loss"

_REPORTS = 20  # how often a fit reports its progress
_LINES = 5  # how many lines it prints where there is no terminal


def changing(model: keras.Model) -> dict[str, Callable[[str], Any]]:
    """Return what changes while an attached model of `build_model` trains, by config key.

    Each is a function from a dtype to a tensor of the value: of a schedule or a learned number in the loss or in the
    regularizer, and of the learning rate where it has a schedule.
    """
    found = {
        f"{key}.{path}": number.tensor
        for key, owner in created_by_key(model).items()
        if lossreg.is_created(owner)
        for path, number in sorted(owner.numbers.items())
        if number.follows
    }
    optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)  # within one that scales the loss
    if isinstance(optimizer.get_config()["learning_rate"], dict):
        found[LEARNING_RATE] = lambda dtype: tf.cast(optimizer.learning_rate, dtype)
    return found


class _Watch(keras.callbacks.Callback):
    """Shows the progress, a bar on a terminal and lines elsewhere, and stops at the first loss that is not finite."""

    def __init__(self, bar: Progress, config: Config, steps_per_epoch: int, kept: tf.Variable) -> None:
        super().__init__()
        self.bar, self.steps_per_epoch, self.epochs, self.kept = bar, steps_per_epoch, config.epochs, kept
        self.task = bar.add_task("epoch", total=config.epochs, loss=math.nan)
        self.lines = 0 if config.verbose and bar.console.quiet else _LINES

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        losses = self.kept.numpy()[: int(self.model.optimizer.iterations), 0]
        epoch, loss = len(losses) // self.steps_per_epoch, float(losses[-1])
        self.bar.update(self.task, completed=epoch, loss=loss)
        if (lines := epoch * _LINES // self.epochs) > self.lines:
            self.lines = lines
            print(f"epoch {epoch}/{self.epochs}  loss {loss:.4f}", flush=True)
        if not np.isfinite(losses).all():
            self.model.stop_training = True


def fit(model: keras.Model, config: Config) -> History:
    """Fit a compiled model to the rows of the config's data that are trained on.

    Where rows are held out for validation, their loss is computed after every epoch; with `patience`, training stops
    after so many epochs without a better one, and the weights of the best epoch are kept, as Keras's `EarlyStopping`
    does it.

    Arguments:
        model: a compiled model of `build_model`; it is trained in place, and what changes in its loss and regularizers
            is attached to it.
        config: the composed config: data, epochs, batch size, shuffle, patience.

    Returns:
        The loss of every epoch, penalty included: the mean over its examples; `validation_loss` likewise, of all rows
        held out for it. By config key, likewise, the terms of the loss, unweighted, and the penalties that are not 0
        throughout. And by config key the numbers that changed: the value with which the last step of each epoch was
        taken. Where the loss became NaN or infinite, the history ends with that epoch.

    Raises:
        lossreg.BrokenPluginError: if a plugin does not take a tensor where a schedule or a learned number stands.
    """
    data = load_data(config)
    train, validation = data.train, data.parts.get("validation")
    batch_size = min(config.batch_size, len(train))
    steps_per_epoch = math.ceil(len(train) / batch_size)
    steps = config.epochs * steps_per_epoch

    lossreg.attach(model, static=True)
    recorder = keras.Model(model.inputs, model.outputs, name=model.name)
    at_once = steps_per_epoch if validation else math.ceil(steps / _REPORTS)
    recorder.compile(model.optimizer, model.loss, jit_compile=model.jit_compile, steps_per_execution=at_once)
    lossreg.attach(recorder, static=True)
    terms, changes = columns(created_by_key(model)), changing(model)
    # Keras keeps means over an execution; with many steps per execution the single steps would be lost.
    kept = tf.Variable(np.full((steps, 1 + len(terms) + len(changes)), np.nan, np.float32), trainable=False)
    validated = tf.Variable(np.full((config.epochs, len(terms)), np.nan, np.float32), trainable=False)

    def keep(loss: Any, values: list[Any], rows: Any, training: bool) -> None:
        step = tf.cast(model.optimizer.iterations.value, tf.int32)
        row = [tf.cast(value, tf.float32) for value in (loss, *values)]
        if training:
            kept.scatter_nd_update([[step]], [tf.stack([*row, *(value("float32") for value in changes.values())])])
        elif terms:
            validated.scatter_nd_update([[step // steps_per_epoch - 1]], [tf.stack(row[1:])])

    watch(recorder, terms.values, keep)
    model.optimizer.build(model.trainable_variables)  # built inside the first step, it would be traced twice
    shown = (TextColumn("epoch"), BarColumn(), MofNCompleteColumn(), TextColumn("loss {task.fields[loss]:.4f}"))
    console = Console(quiet=not (config.verbose and sys.stdout.isatty()))
    settings: dict[str, Any] = {}
    if validation:  # else all epochs are one of Keras's
        settings = {"epochs": config.epochs, "steps_per_epoch": steps_per_epoch}
        settings |= {"validation_data": validation.arrays, "validation_batch_size": len(validation)}
    with Progress(*shown, TextColumn("ETA"), TimeRemainingColumn(), console=console, disable=console.quiet) as bar:
        callbacks: list[keras.callbacks.Callback] = [_Watch(bar, config, steps_per_epoch, kept)]
        if config.patience:
            callbacks.append(
                keras.callbacks.EarlyStopping("val_loss", patience=config.patience, restore_best_weights=True)
            )
        batches = _batches(train, batch_size, config)
        logs = recorder.fit(batches, callbacks=callbacks, shuffle=False, verbose=0, **settings).history

    found = kept.numpy().astype(np.float64).reshape(config.epochs, steps_per_epoch, -1)
    share = np.minimum(batch_size, len(train) - batch_size * np.arange(steps_per_epoch)) / len(train)
    history = {name: np.ascontiguousarray(found[:, :, i]) @ share for i, name in enumerate(["loss", *terms])}
    history |= dict(zip(changes, found[:, -1, len(history) :].T, strict=True))
    if validation:
        ran = len(logs["val_loss"])
        own = [np.array(logs["val_loss"]), *validated.numpy().astype(np.float64).T]
        history |= dict(zip((f"{VALIDATION}{name}" for name in ("loss", *terms)), own, strict=True))
        history = {name: values[:ran] for name, values in history.items()}
    return without_absent(until_diverged(history), terms)


def shuffles(config: Config, data: Data) -> bool:
    """Whether the rows are shuffled anew in every epoch; where nobody says so, if rows are held out."""
    return data.held_out if config.shuffle is None else config.shuffle


def order(seed: int, epoch: int, rows: int) -> np.ndarray:
    """Return the order of the rows in an epoch, counted from 0."""
    return np.random.default_rng([seed, epoch]).permutation(rows).astype(np.int32)


def _batches(rows: Rows, size: int, config: Config) -> tf.data.Dataset:
    """Return the batches of all epochs, one after the other."""
    # A batch size that divides the data gives batches of known shape, so that a broadcasting bug shows at once.
    whole = len(rows) % size == 0
    if not shuffles(config, load_data(config)):
        return tf.data.Dataset.from_tensor_slices(rows.arrays).batch(size, drop_remainder=whole).repeat(config.epochs)
    arrays = [tf.constant(array) for array in rows.arrays]
    orders = np.stack([order(config.seed, epoch, len(rows)) for epoch in range(config.epochs)])
    epochs = tf.data.Dataset.from_tensor_slices(orders)
    indices = epochs.flat_map(lambda own: tf.data.Dataset.from_tensor_slices(own).batch(size, drop_remainder=whole))
    batches = indices.map(lambda own: tuple(tf.gather(array, own) for array in arrays))
    # Where Keras cannot tell how many there are, it says that they ran out.
    return batches.apply(tf.data.experimental.assert_cardinality(config.epochs * math.ceil(len(rows) / size)))


def without_absent(history: History, terms: Mapping[str, Place]) -> History:
    """Return a history without the penalties that are 0 throughout, as that of `none`."""
    absent = [name for name, place in terms.items() if place.is_penalty and not history[name].any()]
    return {name: values for name, values in history.items() if name.removeprefix(VALIDATION) not in absent}


def until_diverged(history: History) -> History:
    """Return a history up to and including the first epoch whose loss is not finite."""
    finite = np.isfinite(history["loss"])
    epochs = len(finite) if finite.all() else int(np.argmin(finite)) + 1
    return {name: values[:epochs] for name, values in history.items()}


def diverged(history: History) -> DivergedError | None:
    """Return an error if the last loss of a history is not finite, or `None`."""
    loss = history["loss"]
    message = f"The loss became {loss[-1]} at epoch {len(loss)}. A smaller learning rate may help."
    return None if np.isfinite(loss[-1]) else DivergedError(message)
