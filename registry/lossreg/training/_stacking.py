"""What keeps a model from training stacked with others, told with the name of the layer or of the optimizer."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import lossreg
from lossreg._tensors import effects
from lossreg.training._errors import CannotVectorizeError

_ELEMENTWISE = {"adadelta", "adagrad", "adam", "adamax", "adamw", "ftrl", "lion", "nadam", "rmsprop", "sgd"}
"""Keras's optimizers of which one weight does not notice another, so that stacked models do not."""

_NORMS = ("clipnorm", "global_clipnorm", "ema_overwrite_frequency", "gradient_accumulation_steps")


def require_elementwise(specs: Mapping[str, lossreg.Spec], precision: str) -> None:
    """Raise CannotVectorizeError if what is named in a config trains one model at a time."""
    optimizer = specs["optimizer"]
    found = {**optimizer.settings, **optimizer.numbers}
    together = next((name for name in _NORMS if found.get(name) is not None), None)
    if optimizer.plugin.name not in _ELEMENTWISE or together or found.get("use_ema"):
        why = f" with '{together or 'use_ema'}'" if together or found.get("use_ema") else ""
        raise CannotVectorizeError(f"{optimizer.owner}{why} looks at more than one weight at a time")
    if precision != "float32":
        raise CannotVectorizeError(f"precision: {precision} trains one model at a time")
    for path, term in specs["model"].walk("model"):
        if term.registry in (lossreg.schedules, lossreg.learned):
            raise CannotVectorizeError(f"{path}: {term.owner} trains with one model at a time")


def require_stackable(model: keras.Model, owner: str, other: Callable[[], keras.Model], x: np.ndarray) -> None:
    """Raise CannotVectorizeError if a layer that is not Keras's does more than compute with its variables.

    It may have side effects, draw random numbers without a generator of Keras's, or hold what depends on the seed and
    is no variable, such as a number that it read from its weights when it was built.

    Arguments:
        model: the model.
        owner: how it is called.
        other: builds it with another seed.
        x: some of its inputs.
    """
    if found := side_effects(model):
        why = f"it has side effects, such as random numbers or a state ({found[0].type})"
        raise CannotVectorizeError(f"model: {_layer_of(model, found[0]) or owner}: {why}")
    if not (foreign := _foreign(model)):
        return
    twin = other()
    twin.set_weights(model.get_weights())
    for index in map(model.layers.index, foreign):  # names that Keras gives are others in the twin
        one, two = (keras.tree.flatten(keras.Model(m.input, m.layers[index].output)(x)) for m in (model, twin))
        if not all(map(np.allclose, one, two)):
            why = "its outputs depend on the seed that it was built with"
            raise CannotVectorizeError(f"model: {_called(model.layers[index])}: {why}")


def side_effects(model: keras.Model) -> list[Any]:
    """Return the operations of a model with layers that are not Keras's which do more than compute."""
    state = [[v.value for v in own] for own in (model.trainable_variables, model.non_trainable_variables)]

    def call(*inputs: Any) -> Any:
        return model.stateless_call(*state, *inputs, training=True)[0]

    specs = [tf.TensorSpec(each.shape, each.dtype) for each in model.inputs]
    return effects(tf.function(call, autograph=False).get_concrete_function(*specs)) if _foreign(model) else []


def not_compiled(model: keras.Model, owners: str, error: Exception) -> CannotVectorizeError:
    """Return what is raised where many models were not compiled; it names the layer that alone is not, or `owners`."""
    layer, lines = _uncompiled(model), str(error).strip().splitlines() or [""]
    said = lines[-1].strip() if "in user code" in lines[0] else f"{type(error).__name__}: {lines[0]}"
    said = re.sub(r"\[_Xla[^\]]*\]", "", said)
    return CannotVectorizeError(f"{f'model: {layer}' if layer else owners}: compiling it raised {said}")


def _uncompiled(model: keras.Model) -> str:
    """Return the first layer of which two cannot be compiled together with their gradients; an empty string if none."""
    for layer in (each for each in model.layers if not isinstance(each, keras.layers.InputLayer)):
        single = keras.Model(layer.input, layer.output)
        state = [[v.value for v in own] for own in (single.trainable_variables, single.non_trainable_variables)]

        def one(x: Any, single: keras.Model = single, state: list[Any] = state) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = single.stateless_call(*state, x, training=True)[0]
            return tape.gradient(y, x)

        two = keras.tree.map_structure(lambda like: tf.zeros((2, 2, *like.shape[1:]), like.dtype), layer.input)
        try:
            tf.function(lambda x, one=one: tf.vectorized_map(one, x, warn=False), jit_compile=True)(two)
        except Exception:
            return _called(layer)
    return ""


def _layer_of(model: keras.Model, operation: Any) -> str:
    path = [re.sub(r"_\d+$", "", part) for part in operation.name.split("/")]
    found = [each for each in _foreign(model) if {each.name, re.sub(r"_\d+$", "", each.name)} & {*path}]
    return _called(found[0]) if found else ""


def _called(layer: keras.Layer) -> str:
    return f"layer '{layer.name}' ({type(layer).__name__})"


def _foreign(model: keras.Model) -> list[keras.Layer]:
    """Return the layers that are not Keras's, or hold a function that is not."""
    return [
        e for e in model.layers if not type(e).__module__.startswith("keras.") or isinstance(e, keras.layers.Lambda)
    ]
