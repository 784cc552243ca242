"""Tying what changes in a model's loss and regularizers to the model that trains with it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lossreg._errors import NotAttachedError
from lossreg._spec import is_created

if TYPE_CHECKING:
    import keras


def attach(model: keras.Model, *, static: bool = False) -> None:
    """Let the schedules and learned numbers in a model's loss and regularizers follow its training.

    Schedules then have the value of the optimizer's step, `model.optimizer.iterations`, as a schedule of the learning
    rate has. What is learned is trained by the optimizer with the weights, and belongs to `model.trainable_variables`;
    so does a trainable `keras.Variable` that was handed in. `lossreg.load_model` attaches what it loads.

    Arguments:
        model: a compiled model that has not been trained yet. After a `compile` with another loss it is attached again.
            A loss follows the model that it was attached to last.
        static: whether constants are numbers in compiled code, too, so that they cannot be assigned after compiling. A
            step of a small model in a compiled loop then is somewhat faster.

    Raises:
        NotAttachedError: if the model is not compiled; or, where there are learned numbers, was trained with an
            optimizer that does not know one, is a sequential model that is not built, or is one of a class of one's own
            that is.

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

    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise NotAttachedError(f"model '{model.name}' is not compiled: call model.compile(…) before lossreg.attach.")
    variables: dict[int, Any] = {}
    for each in created_in(model):
        each.follow(lambda: model.optimizer.iterations, static)
        variables |= {id(t): t for number in each.numbers.values() if (t := number.trained) is not None}
    if not variables and getattr(model, "learned_numbers", None) is None:
        return
    host = _host(model)
    attached = getattr(host, "learned_numbers", None)
    if [*map(id, attached.held() if attached else ())] == [*variables]:
        return
    if optimizer.built:
        raise NotAttachedError(
            f"model '{model.name}' was trained without the learned numbers of its loss or regularizers: "
            "call lossreg.attach after model.compile(…), before the model is trained."
        )
    if host is None:
        raise NotAttachedError(
            f"model '{model.name}' is not built, so that its learned numbers would have no place in it: "
            "begin it with keras.Input(…), or call model.build(…), before lossreg.attach."
        )
    # The gradient of a mixing weight does not wait for its use in the loss. That it is read before it is updated stands
    # in control dependencies, which this pass drops from some programs (TensorFlow 2.21); without it nothing is slower.
    tf.config.optimizer.set_experimental_options({"dependency_optimization": False})
    if attached is None:
        from lossreg._learned import LearnedNumbers

        attached = LearnedNumbers()
        try:
            for holder in (model, host):  # Keras saves what a model has, and trains what its layers have
                holder.learned_numbers = attached
        except ValueError as error:
            raise NotAttachedError(
                f"model '{model.name}' is built, so that its learned numbers would have no place in it: "
                "call lossreg.attach after model.compile(…), before the model is built."
            ) from error
    attached.hold([*variables.values()])


def created_in(model: keras.Model) -> list[Any]:
    """Return what registries created of a compiled model's losses, metrics and regularizers, each once."""
    import keras

    found: dict[int, Any] = {}
    # The loss first, then in the order of the layers: a saved model knows what was learned by its place.
    pending: list[Any] = [getattr(model, "loss", None), model.metrics, model, model.variables]
    seen: set[int] = set()
    while pending:
        value = pending.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_created(value) and hasattr(value, "numbers"):
            found[id(value)] = value
        elif isinstance(value, Mapping):
            pending += value.values()
        elif isinstance(value, (list, tuple)):
            pending += value
        elif isinstance(value, (keras.Layer, keras.metrics.Metric, keras.Variable)):
            pending += vars(value).values()  # also of a layer that is not built, and of a metric made of a loss
    return [*found.values()]


def _host(model: keras.Model) -> Any:
    """Return what has room for one more layer: an input, which never is called, or a model of a class of one's own."""
    import keras

    if not isinstance(model, keras.Sequential) and not hasattr(model, "inputs"):
        return model
    if not model.built:
        return None
    layers = keras.Model(model.inputs, model.outputs, name=model.name).layers
    return next(layer for layer in layers if isinstance(layer, keras.layers.InputLayer))
