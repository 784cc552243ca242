"""Fitting a compiled model: Keras's own `fit`, many steps per execution, the loss of every epoch kept."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from trainer.config import Config
from trainer.errors import DivergedError
from trainer.progress import Progress

_REPORTS = 20  # how often a fit reports its progress


class RecordingModel(keras.Model):
    """A model that keeps the loss of every training step, as Keras's own history does for every epoch.

    Keras gives a callback one running mean per execution; with many steps per execution the single steps are lost.
    """

    def record(self, steps: int) -> None:
        """Make room for the losses of so many steps."""
        self.step_losses = tf.Variable(np.full(steps, np.nan, np.float32), trainable=False)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """Return Keras's loss, penalty included, and keep it if this is a training step."""
        loss = super().compute_loss(x, y, y_pred, sample_weight, training=training)
        if training:
            step = tf.cast(self.optimizer.iterations.value, tf.int32)
            self.step_losses.scatter_nd_update([[step]], [tf.cast(loss, tf.float32)])
        return loss


class _Watch(keras.callbacks.Callback):
    """Shows the progress and stops at the first loss that is not finite."""

    def __init__(self, progress: Progress, steps_per_epoch: int) -> None:
        super().__init__()
        self.progress = progress
        self.steps_per_epoch = steps_per_epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        done = batch + 1
        losses = self.model.step_losses.numpy()[:done]
        self.progress.update(done // self.steps_per_epoch, loss=float(losses[-1]))
        if not np.isfinite(losses).all():
            self.model.stop_training = True


def fit(model: keras.Model, config: Config) -> np.ndarray:
    """Fit a compiled model to the config's data, in order and without shuffling.

    Arguments:
        model: a compiled model; it is trained in place.
        config: the composed config: data, epochs, batch size.

    Returns:
        The loss of every epoch, penalty included: the mean over its examples, of shape `(epochs,)`. Where the loss
        became NaN or infinite, the history ends with that epoch.
    """
    x, y = arrays(config)
    batch_size = min(config.batch_size, len(x))
    steps_per_epoch = math.ceil(len(x) / batch_size)
    steps = config.epochs * steps_per_epoch
    # A batch size that divides the data gives batches of known shape, so that a broadcasting bug shows at once.
    batches = tf.data.Dataset.from_tensor_slices((x, y)).batch(batch_size, drop_remainder=len(x) % batch_size == 0)

    model.optimizer.build(model.trainable_variables)  # built inside the first step, it would be traced twice
    recorder = RecordingModel(model.inputs, model.outputs, name=model.name)
    recorder.record(steps)
    recorder.compile(
        optimizer=model.optimizer,
        loss=model.loss,
        jit_compile=model.jit_compile,
        steps_per_execution=math.ceil(steps / _REPORTS),
    )
    with Progress("epoch", config.epochs, shown=config.verbose > 0) as progress:
        recorder.fit(
            batches.repeat(config.epochs), callbacks=[_Watch(progress, steps_per_epoch)], shuffle=False, verbose=0
        )

    losses = recorder.step_losses.numpy().astype(np.float64)
    losses = losses.reshape(config.epochs, steps_per_epoch)
    sizes = np.minimum(batch_size, len(x) - batch_size * np.arange(steps_per_epoch))
    history = losses @ (sizes / len(x))
    return until_diverged(history)


def until_diverged(history: np.ndarray) -> np.ndarray:
    """Return a history up to and including the first epoch whose loss is not finite."""
    finite = np.isfinite(history)
    return history if finite.all() else history[: int(np.argmin(finite)) + 1]


def arrays(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """Return the config's inputs and targets, float32, of shapes `(examples, inputs)` and `(examples, 1)`."""
    return np.asarray(config.data.inputs, np.float32), np.asarray(config.data.targets, np.float32)


def raise_if_diverged(history: np.ndarray) -> None:
    """Raise `DivergedError` if the last loss of a history is not finite."""
    if not np.isfinite(history[-1]):
        raise DivergedError(f"The loss became {history[-1]} at epoch {len(history)}. A smaller learning rate may help.")
