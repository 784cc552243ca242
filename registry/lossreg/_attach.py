"""Tying what changes in a model's loss and regularizers to the model that trains with it."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from lossreg._errors import NotAttachedError
from lossreg._spec import is_created

if TYPE_CHECKING:
    import keras


def attach(model: keras.Model, *, static: bool = False, terms: bool = False) -> None:
    """Let the schedules and learned numbers in a model's loss and regularizers follow its training.

    Schedules then have the value of the optimizer's step, `model.optimizer.iterations`, as a schedule of the learning
    rate has. What is learned is trained by the optimizer with the weights, and belongs to `model.trainable_variables`;
    so does a trainable `keras.Variable` that was handed in. `lossreg.load_model` attaches what it loads.

    Arguments:
        model: a compiled model that has not been trained yet. After a `compile` with another loss it is attached again.
            A loss follows the model that it was attached to last.
        static: whether constants are numbers in compiled code, too, so that they cannot be assigned after compiling. A
            step of a small model in a compiled loop then is somewhat faster.
        terms: whether the terms of its losses and the penalties of its regularizers are metrics of the model, too,
            which Keras then logs, and `evaluate` returns. Each has the name of its place in the model, as
            `loss.terms.a` and `dense.kernel_regularizer`. Attached again, the model keeps them.

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
    for each in created_in(model).values():
        each.follow(lambda: model.optimizer.iterations, static)
        variables |= {id(t): t for number in each.numbers.values() if (t := number.trained) is not None}
    if terms or getattr(model, "recorded_terms", None) is not None:
        _show_terms(model)
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
            raise _no_place(model, "learned numbers") from error
    attached.hold([*variables.values()])


def _show_terms(model: keras.Model) -> None:
    """Make metrics of the terms and penalties of a model."""
    import keras

    from lossreg._bound import columns
    from lossreg._terms import Terms, watch

    losses = [*map(id, keras.tree.flatten(model.loss))]
    found = created_in(model).items()
    shown = columns({k: v for k, v in found if id(v) in losses or isinstance(v, keras.regularizers.Regularizer)})
    if (held := getattr(model, "recorded_terms", None)) is None:
        if not shown:
            return  # no metric, no cost
        try:
            model.recorded_terms = held = Terms()
        except ValueError as error:
            raise _no_place(model, "terms") from error
        watch(model, lambda: held.places.values(), held.keep)
    held.hold(shown)
    for name in ("train", "test"):  # what was compiled before
        if getattr(model, f"{name}_function", None) is not None:
            getattr(model, f"make_{name}_function")(force=True)


def _no_place(model: keras.Model, what: str) -> NotAttachedError:
    return NotAttachedError(
        f"model '{model.name}' is built, so that its {what} would have no place in it: "
        "call lossreg.attach after model.compile(…), before the model is built."
    )


def created_in(model: keras.Model) -> dict[str, Any]:
    """Return what registries created of a compiled model's losses, metrics and regularizers, each once, by its place.

    The first place that it stands in: a loss as Keras's logs call it, else the layer and its attribute.
    """
    import keras

    found: dict[str, Any] = {}
    # The loss first, then in the order of the layers: a saved model knows what was learned by its place.
    loss, outputs = getattr(model, "loss", None), getattr(model, "output_names", ())
    if isinstance(loss, (list, tuple)):
        loss = dict(zip(outputs if len(outputs) == len(loss) else range(len(loss)), loss, strict=True))
    pending: list[tuple[str, Any]] = [("loss", loss), ("metrics", model.metrics), ("", model), ("", model.variables)]
    seen: set[int] = set()
    while pending:
        place, value = pending.pop(0)
        if id(value) in seen:
            continue
        seen.add(id(value))
        if is_created(value) and hasattr(value, "numbers"):
            places = (f"{place}_{n}" if n else place for n in itertools.count())
            found[next(free for free in places if free not in found)] = value
        elif isinstance(value, Mapping):
            pending += [(f"{name}_loss" if place == "loss" else place, each) for name, each in value.items()]
        elif isinstance(value, (list, tuple)):
            pending += [(place, each) for each in value]
        elif isinstance(value, (keras.Layer, keras.metrics.Metric, keras.Variable)):
            # Also of a layer that is not built, and of a metric made of a loss.
            is_variable = isinstance(value, keras.Variable)
            start = f"{'.'.join(value.path.split('/')[-2:])}_" if is_variable else f"{value.name}."
            pending += [(start + name.strip("_"), each) for name, each in vars(value).items()]
    return found


def _host(model: keras.Model) -> Any:
    """Return what has room for one more layer: an input, which never is called, or a model of a class of one's own."""
    import keras

    if not isinstance(model, keras.Sequential) and not hasattr(model, "inputs"):
        return model
    if not model.built:
        return None
    layers = keras.Model(model.inputs, model.outputs, name=model.name).layers
    return next(layer for layer in layers if isinstance(layer, keras.layers.InputLayer))
