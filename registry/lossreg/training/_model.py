"""The study's model: one hidden layer, dropout, one output."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np

import lossreg
from lossreg.training._config import Config
from lossreg.training._errors import ConfigError


def build_model(config: Config, loss: keras.losses.Loss, regularizer: keras.regularizers.Regularizer) -> keras.Model:
    """Build and compile inputs → Dense → Dropout → Dense(1, sigmoid).

    The regularizer penalises the kernel of the hidden layer, and only that. Every random number of the model (both
    initial kernels, the dropout) is drawn from the config's seed alone.

    Arguments:
        config: the composed config.
        loss: what is minimised.
        regularizer: the penalty on the hidden kernel.

    Returns:
        The compiled model; float32 inputs of shape `(batch, inputs)`, outputs of shape `(batch, 1)` in (0, 1).
    """
    if loss.reduction in (None, "none"):
        raise ConfigError(
            f"loss.reduction={loss.reduction}: the study trains with one number, so choose 'sum' or 'mean'"
        )
    keras.utils.set_random_seed(config.seed)  # for plugins that draw random numbers themselves
    hidden_seed, output_seed, dropout_seed = model_seeds(config.seed)
    inputs = keras.Input((len(config.data.inputs[0]),), name="x")
    hidden = keras.layers.Dense(
        config.model.hidden_units,
        activation=config.model.activation,
        kernel_initializer=keras.initializers.GlorotUniform(seed=hidden_seed),
        kernel_regularizer=regularizer,
        name="hidden",
    )(inputs)
    dropped = keras.layers.Dropout(config.model.dropout, seed=dropout_seed, name="dropout")(hidden)
    outputs = keras.layers.Dense(
        1,
        activation="sigmoid",
        kernel_initializer=keras.initializers.GlorotUniform(seed=output_seed),
        name="output",
    )(dropped)
    model = keras.Model(inputs, outputs, name=config.model.name)
    model.compile(optimizer=build_optimizer(config), loss=loss, jit_compile=config.jit_compile)
    return model


def build_optimizer(config: Config) -> keras.optimizers.Optimizer:
    """Build the Keras optimizer that the config names."""
    rate = config.optimizer.learning_rate
    settings: dict[str, Any] = {"learning_rate": lossreg.schedules.build(rate) if isinstance(rate, dict) else rate}
    return keras.optimizers.get({"class_name": config.optimizer.name, "config": settings})


def model_seeds(seed: int) -> tuple[int, int, int]:
    """Return the seeds of the hidden kernel, the output kernel and the dropout, as independent as one seed allows."""
    hidden, output, dropout = np.random.SeedSequence(seed).generate_state(3) >> 1  # Keras keeps seeds as int32
    return int(hidden), int(output), int(dropout)
