"""The state that Keras's models start from, for many seeds at once, without building a model for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lossreg.training._model import model_seeds


class InitialState:
    """Computes what `lossreg.training._model.build_model` starts from, to the bit.

    Arguments:
        model: a model of `build_model`, with any seed.

    Example:
    >>> from lossreg.training._config import Config, Data, Model, Optimizer
    >>> from lossreg.training._model import build_model
    >>> data, layers = Data("xor", [[0.0, 1.0]], [[1.0]]), Model("mlp", 4, "sigmoid", 0.1)
    >>> config = Config(data=data, model=layers, optimizer=Optimizer("adam", 0.05), seed=7, jit_compile=False)
    >>> model = build_model(config, keras.losses.MeanSquaredError(), keras.regularizers.L2(0.0))
    >>> weights, (dropout,) = InitialState(model)([6, 7])
    >>> weights.shape
    (2, 17)
    >>> bool((weights[1, :8] == model.get_layer("hidden").kernel.numpy().ravel()).all())
    True
    """

    def __init__(self, model: keras.Model) -> None:
        self._model = model
        self._draw = {
            layer.name: _drawing(layer.kernel_initializer, tuple(layer.kernel.shape))
            for layer in map(model.get_layer, ("hidden", "output"))
        }

    def __call__(self, seeds: Iterable[int]) -> tuple[np.ndarray, list[np.ndarray]]:
        """Compute the state of one model per seed of a config.

        Returns:
            The trainable weights, flattened in Keras's order, float32 of shape `(seeds, parameters)`; and the other
            variables, each with the seeds first: the state of the dropout's generator, its seed and a count, int64 of
            shape `(seeds, 2)`, if there is dropout.
        """
        hidden, output, dropout = np.array([model_seeds(int(seed)) for seed in seeds], np.int32).T
        count = len(hidden)
        drawn = {
            "hidden": self._draw["hidden"](tf.constant(hidden)),
            "output": self._draw["output"](tf.constant(output)),
        }
        columns = []
        for weight in self._model.trainable_variables:
            layer, _, name = weight.path.partition("/")
            values = drawn[layer] if name == "kernel" else np.tile(weight.numpy(), (count, 1))
            columns.append(np.reshape(values, (count, -1)))
        state = np.stack([dropout, np.zeros_like(dropout)], axis=1).astype(np.int64)
        return np.concatenate(columns, axis=1), [state for _ in self._model.non_trainable_variables]


class _Given(keras.random.SeedGenerator):
    """A seed that is a tensor; Keras's initializers take integers and seed generators."""

    def __init__(self, seed: Any) -> None:
        self.seed = seed

    def next(self, ordered: bool = True) -> Any:
        """Return what Keras makes of an integer seed."""
        return tf.stack([self.seed, 0])


def _drawing(initializer: keras.initializers.Initializer, shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """Return the function from seeds to what the initializer draws from each, of shape `(seeds, *shape)`."""
    config = initializer.get_config()

    def draw(seed: Any) -> Any:
        return type(initializer)(**{**config, "seed": _Given(seed)})(shape, dtype="float32")

    # Not compiled with XLA, which draws other numbers: Keras draws these before it compiles anything.
    every = tf.function(lambda seeds: tf.map_fn(draw, seeds, fn_output_signature=tf.float32), autograph=False)
    return every.get_concrete_function(tf.TensorSpec((None,), tf.int32))
