"""Building a run's model: what a registered function makes, with the last activation, compiled."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import keras

import lossreg
from lossreg.training._config import Config
from lossreg.training._data import load_data
from lossreg.training._errors import ConfigError
from lossreg.training._initial import start
from lossreg.training._stacking import side_effects

_created: WeakKeyDictionary[keras.Model, dict[str, Any]] = WeakKeyDictionary()


def build_model(config: Config, loss: keras.losses.Loss, regularizer: keras.regularizers.Regularizer) -> keras.Model:
    """Build the model that the config names for its data, and compile it.

    What the model's function returns is followed by the last activation of the task: sigmoid, softmax or none. Every
    random number of the model (initial weights, dropout) is drawn from the config's seed alone.

    Arguments:
        config: the composed config.
        loss: what is minimised.
        regularizer: the penalty; what it penalises, the model says.

    Returns:
        The compiled model; float32 inputs of the shape of the data, outputs of shape `(batch, outputs)`.

    Raises:
        ConfigError: if the model's function returns anything else.
    """
    if loss.reduction in (None, "none"):
        raise ConfigError(
            f"loss.reduction={loss.reduction}: the study trains with one number, so choose 'sum' or 'mean'"
        )
    data = load_data(config)
    keras.utils.set_random_seed(config.seed)  # for plugins that draw random numbers themselves
    spec = lossreg.models.parse(config.model, key="model")
    terms = {path: lossreg.regularizers.build(term) for path, term in spec.terms.items()}
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(config.precision)
    try:
        make = spec.bind(spec.arguments(lambda _, number: number, lambda path, _: terms[path]))
        inputs = keras.Input(data.train.x.shape[1:], name="x")
        with spec.plugin.running(spec.plugin.target):
            made = make(inputs, data.outputs, regularizer)
        if getattr(made, "shape", None) != (None, data.outputs):
            shape = getattr(made, "shape", type(made).__name__)
            raise ConfigError(f"model: {spec.owner} returned {shape}; it must return (None, {data.outputs})")
        last = keras.layers.Activation(data.activation, dtype="float32", name="prediction")(made)
    finally:
        keras.config.set_dtype_policy(policy)
    name = spec.plugin.name if spec.plugin.name.isidentifier() else "model"
    model = keras.Model(inputs, last, name=name)
    start(model, config.seed)
    optimizer = lossreg.optimizers.build(config.optimizer, key="optimizer")
    # XLA compiles no Python.
    compiled = config.jit_compile and not any("PyFunc" in each.type for each in side_effects(model))
    model.compile(optimizer=optimizer, loss=loss, jit_compile=compiled)
    _created[model] = {"loss": loss, "reg": regularizer, **{f"model.{path}": made for path, made in terms.items()}}
    return model


def created_by_key(model: keras.Model) -> dict[str, Any]:
    """Return the loss and the regularizers of a model of `build_model`, by config key."""
    return _created[model]
