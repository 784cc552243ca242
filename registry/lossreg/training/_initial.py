"""The state that Keras's models start from, for many seeds at once, without building a model for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lossreg.training._model import model_seeds


class InitialState:
    """Computes what models of `build_model` start from, to the bit.

    Arguments:
        model: a model of `build_model`, with any seed.
    """

    def __init__(self, model: keras.Model) -> None:
        self._weights, self._states = model.trainable_variables, model.non_trainable_variables
        layers = map(model.get_layer, ("hidden", "output"))
        self._draw = {layer.kernel.path: _drawing(layer) for layer in layers}

    def __call__(self, seeds: Iterable[int]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Compute the state of one model per seed of a config.

        Returns:
            The trainable weights, flattened in Keras's order, float32 of shape `(seeds, parameters)`; and the other
            variables, each with the seeds first: the state of the dropout's generator, its seed and a count, int64 of
            shape `(seeds, 2)`, if there is dropout.
        """
        *kernels, dropout = np.array([model_seeds(int(seed)) for seed in seeds], np.int32).T
        count = len(dropout)
        drawn = {path: draw(seeds) for (path, draw), seeds in zip(self._draw.items(), kernels, strict=True)}
        columns = [drawn[w.path] if w.path in drawn else np.tile(w.numpy(), (count, 1)) for w in self._weights]
        state = np.stack([dropout, np.zeros_like(dropout)], axis=1).astype(np.int64)
        return np.concatenate([np.reshape(c, (count, -1)) for c in columns], axis=1), [state for _ in self._states]


class _Given(keras.random.SeedGenerator):
    """A seed that is a tensor; Keras's initializers take integers and seed generators."""

    def __init__(self, seed: Any) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Any:
        """Return what Keras makes of an integer seed."""
        return tf.stack([self.seed, 0])


def _drawing(layer: keras.layers.Dense) -> Callable[[Any], Any]:
    """Return the function from seeds to the kernels that a layer's initializer draws from each, the seeds first."""
    initializer, shape = layer.kernel_initializer, tuple(layer.kernel.shape)
    config = initializer.get_config()

    def draw(seed: Any) -> Any:
        return type(initializer)(**{**config, "seed": _Given(seed)})(shape, dtype="float32")

    # Not compiled with XLA, which draws other numbers: Keras draws these before it compiles anything.
    every = tf.function(lambda seeds: tf.map_fn(draw, seeds, fn_output_signature=tf.float32), autograph=False)
    return every.get_concrete_function(tf.TensorSpec((None,), tf.int32))
