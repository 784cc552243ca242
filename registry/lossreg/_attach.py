"""Tying what changes in a model's loss and regularizers to the model that trains with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lossreg._catalog import is_registered
from lossreg._errors import NotAttachedError

if TYPE_CHECKING:
    import keras


def attach(model: keras.Model, *, fixed: bool = False) -> None:
    """Let the schedules and variables in a model's loss and regularizers follow its training.

    Schedules then have the value of the optimizer's step, `model.optimizer.iterations`, as a schedule of the learning
    rate has. Variables are trained by the optimizer with the weights, and belong to `model.trainable_variables`; so
    does a trainable `keras.Variable` that was handed in. `lossreg.load_model` attaches what it loads.

    Arguments:
        model: a compiled model that has not been trained yet. After a `compile` with another loss it is attached again.
            A loss follows the model that it was attached to last.
        fixed: whether constants are numbers in compiled code, too, so that they cannot be assigned after compiling. A
            step of a small model in a compiled loop then is somewhat faster.

    Raises:
        NotAttachedError: if the model is not compiled, or was trained with an optimizer that does not know a variable,
            or is a sequential model that is not built, and there are variables.

    Example:

    >>> import keras, lossreg, numpy as np
    >>> r = lossreg.schedules.create("polynomial_decay", initial_learning_rate=1, decay_steps=8, end_learning_rate=0)
    >>> loss = lossreg.losses.create("mix", r=r)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    >>> model.compile("adam", loss=loss)
    >>> lossreg.attach(model)
    >>> loss.r
    1.0
    >>> _ = model.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=2, epochs=2, verbose=0)
    >>> loss.r  # after 4 of 8 steps
    0.5
    """
    import tensorflow as tf

    from lossreg._wrappers import LearnedNumbers

    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise NotAttachedError(f"model '{model.name}' is not compiled: call model.compile(…) before lossreg.attach.")
    variables: dict[int, Any] = {}
    for each in registered_in(model):
        each.follow(lambda: model.optimizer.iterations, fixed)
        variables |= {
            id(trained): trained for number in each.numbers.values() if (trained := number.trained) is not None
        }
    attached = getattr(model, "learned_numbers", None)
    if [*map(id, attached.numbers if attached else ())] == [*variables]:
        return
    if optimizer.built:
        raise NotAttachedError(
            f"model '{model.name}' was trained without the variables of its loss or regularizers: "
            "call lossreg.attach after model.compile(…), before the model is trained."
        )
    # The gradient of a mixing weight does not wait for its use in the loss. That it is read before it is updated stands
    # in control dependencies, which this pass drops from some programs (TensorFlow 2.21); without it nothing is slower.
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    if attached is None:
        attached = LearnedNumbers()
        for holder in dict.fromkeys([model, _holder(model)]):
            holder._tracker.unlock()  # as Keras does where it adds weights to what is built
            holder.learned_numbers = attached
        if all(layer is not attached for layer in holder._layers):  # a functional model of Keras 3.12 has a list apart
            holder._layers.append(attached)
    attached.hold([*variables.values()])


def registered_in(model: keras.Model) -> list[Any]:
    """Return what registries created of a compiled model's losses, metrics and regularizers, each once."""
    import keras

    metrics = getattr(model, "_compile_metrics", None)
    compiled = [getattr(model, "loss", None)]
    compiled += [getattr(metrics, name, None) for name in ("_user_metrics", "_user_weighted_metrics")]
    found: list[Any] = keras.tree.flatten(compiled)
    for layer in model._flatten_layers():
        found += vars(layer).values()  # also of a layer that is not built
    found += [variable.regularizer for variable in model.variables]
    return [*{id(each): each for each in found if is_registered(each) and hasattr(each, "numbers")}.values()]


def _holder(model: keras.Model) -> Any:
    """Return what has room for one more layer: not a sequential model, whose layers are its stack, but its input."""
    import keras

    if not isinstance(model, keras.Sequential):
        return model
    if not model.built:
        raise NotAttachedError(
            f"model '{model.name}' is not built, so that its variables would have no place in it: "
            "begin it with keras.Input(…), or call model.build(…), before lossreg.attach."
        )
    return model._layers[0]
