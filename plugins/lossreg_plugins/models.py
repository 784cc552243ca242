"""Models: functions from a Keras tensor of inputs to a Keras tensor of as many outputs as are asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

import keras
from annotated_types import Interval

Units = Annotated[int, Interval(ge=1, le=1_000_000)]


def mlp(
    inputs: Any,
    outputs: int,
    regularizer: Any,
    hidden_units: list[Units] | Units = [4],  # noqa: B006 - read, never changed
    activation: Literal[
        "celu", "elu", "exponential", "gelu", "hard_sigmoid", "hard_tanh", "leaky_relu", "linear", "mish", "relu",
        "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "swish", "tanh", "tanh_shrink",
    ] = "sigmoid",
    dropout: Annotated[float, Interval(ge=0, lt=1)] = 0.1,
    batch_normalization: bool = False,
    penalized: list[
        Literal["hidden_kernel", "hidden_bias", "hidden_activity", "output_kernel", "output_bias"]
    ] = ["hidden_kernel"],  # noqa: B006
    regularizers: dict[str, Callable[..., Any]] = {},  # noqa: B006
) -> Any:  # fmt: skip
    """Multilayer perceptron: for each hidden layer Dense → BatchNormalization → activation → Dropout, then Dense.

    Arguments:
        inputs: a Keras tensor of shape `(batch, …)`, which is flattened.
        outputs: how many outputs, before the last activation.
        regularizer: the penalty of what `penalized` names.
        hidden_units: the units of each hidden layer. Defaults to one layer of 4.
        activation: of the hidden layers, one of Keras's that work on single units. Defaults to "sigmoid".
        dropout: the share of hidden units that is dropped in training, in [0, 1). Defaults to 0.1; 0 adds no layer.
        batch_normalization: whether hidden units are normalised before the activation, by a layer whose shift is then
            their bias. Defaults to False.
        penalized: what `regularizer` penalises. Defaults to the kernels of the hidden layers.
        regularizers: other regularizers, by what each penalises: `+reg@model.regularizers.output_kernel=l2`.

    Returns a Keras tensor of shape `(batch, outputs)`.
    """
    units = [hidden_units] if isinstance(hidden_units, int) else hidden_units
    places = {**dict.fromkeys(penalized, regularizer), **regularizers}

    def dense(size: int, part: str, name: str, **settings: Any) -> keras.layers.Layer:
        own = {k: places.get(f"{part}_{k}") for k in ("kernel", "bias", "activity")}
        return keras.layers.Dense(size, name=name, **{f"{k}_regularizer": r for k, r in own.items()}, **settings)

    x = inputs if len(inputs.shape) == 2 else keras.layers.Flatten(name="flat")(inputs)
    for number, size in enumerate(units):
        end = f"_{number + 1}" if number else ""
        if batch_normalization:
            # A bias that normalisation takes away has rounding errors as its gradient, and Adam makes steps of them.
            x = dense(size, "hidden", f"hidden{end}", use_bias=False)(x)
            shift = places.get("hidden_bias")
            x = keras.layers.BatchNormalization(name=f"normalized{end}", beta_regularizer=shift)(x)
            x = keras.layers.Activation(activation, name=f"activated{end}")(x)
        else:
            x = dense(size, "hidden", f"hidden{end}", activation=activation)(x)
        if dropout:
            x = keras.layers.Dropout(dropout, name=f"dropout{end}")(x)
    return dense(outputs, "output", "output")(x)
