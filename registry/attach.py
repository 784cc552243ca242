"""Tying what changes in a model's loss and regularizers to the model that trains with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from registry.errors import NotAttachedError

if TYPE_CHECKING:
    import keras


def attach(model: keras.Model, *, fixed: bool = False) -> None:
    """Let the schedules and variables in a model's loss and regularizers follow its training.

    Schedules then have the value of the optimizer's step, `model.optimizer.iterations`, as a schedule of the learning
    rate has. Variables are trained by the optimizer with the weights, and belong to `model.trainable_variables`; so
    does a trainable `keras.Variable` that was handed in. `registry.load_model` attaches what it loads.

    Arguments:
        model: a compiled model that has not been trained yet; what changes nothing in it is left alone. After another
            `compile` it is attached again.
        fixed: whether constants are numbers in compiled code, too, so that they cannot be assigned after compiling. A
            step of a small model in a compiled loop then is somewhat faster.

    Raises:
        NotAttachedError: if the model is not compiled, or was trained with an optimizer that does not know a variable.

    Example:

    >>> import keras, numpy as np, registry
    >>> r = registry.schedules.create("polynomial_decay", initial_learning_rate=1, decay_steps=8, end_learning_rate=0)
    >>> loss = registry.losses.create("mix", r=r)
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    >>> model.compile("adam", loss=loss)
    >>> registry.attach(model)
    >>> loss.r
    1.0
    >>> _ = model.fit(np.ones((4, 2)), np.ones((4, 1)), batch_size=2, epochs=2, verbose=0)
    >>> loss.r  # after 4 of 8 steps
    0.5
    """
    from registry.catalog import is_registered
    from registry.objects import LearnedNumbers

    optimizer = getattr(model, "optimizer", None)
    if optimizer is None:
        raise NotAttachedError(f"model '{model.name}' is not compiled: call model.compile(…) before registry.attach.")
    import keras

    found: list[Any] = keras.tree.flatten(getattr(model, "loss", None))
    found += [variable.regularizer for variable in model.variables]
    found += [getattr(layer, "activity_regularizer", None) for layer in model._flatten_layers()]
    variables: dict[int, Any] = {}
    for each in {id(each): each for each in found if is_registered(each)}.values():
        each.follow(optimizer.iterations, fixed)
        variables |= {
            id(number.trained): number.trained for number in each.numbers.values() if number.trained is not None
        }
    # The layers of a sequential model are its stack, so that it has no room for another.
    holder = model.layers[-1] if isinstance(model, keras.Sequential) else model
    attached = getattr(holder, "learned_numbers", None)
    if [*map(id, attached.numbers if attached else ())] == [*variables]:
        return
    if optimizer.built:
        raise NotAttachedError(
            f"model '{model.name}' was trained without the variables of its loss or regularizers: "
            "call registry.attach after model.compile(…), before the model is trained."
        )
    if attached is None:
        holder._tracker.unlock()  # as Keras does where it adds weights to what is built
        attached = holder.learned_numbers = LearnedNumbers()
    attached.hold([*variables.values()])
