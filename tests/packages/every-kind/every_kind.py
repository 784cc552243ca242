"""Every kind of target that the contract names; nothing of ours is imported."""

import functools
import math

import keras
from keras import ops

constant = 3.0


def plain(y_true, y_pred):
    """Squared error."""
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def with_parameters(y_true, y_pred, scale: float, power=2, mode: "Literal['mean', 'max']" = "mean"):
    """Scaled error; scale has no default."""
    reduce = ops.mean if mode == "mean" else ops.max
    return scale * reduce(ops.abs(y_true - y_pred) ** power, axis=-1)


def factory(scale=2.0):
    """A factory, as closures are written for Keras."""

    def scaled(y_true, y_pred):
        return scale * ops.mean(ops.square(y_true - y_pred), axis=-1)

    return scaled


def factory_of_partial(scale):
    return functools.partial(with_parameters, scale=scale)


class KerasLoss(keras.losses.Loss):
    """A Keras loss."""

    def __init__(self, scale: float = 2.0, name="keras_loss", **kwargs):
        super().__init__(name=name, **kwargs)
        self.scale = scale

    def call(self, y_true, y_pred):
        return self.scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


class CallableClass:
    """Not a Keras class."""

    def __init__(self, scale: float = 2.0):
        self.scale = scale

    def __call__(self, y_true, y_pred):
        return self.scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


def broadcasting(y_true, y_pred):
    return ops.mean(ops.square(y_true[:, 0] - y_pred), axis=-1, keepdims=False) + 0 * (y_true[:, 0] - y_pred)


class BroadcastingClass(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.square(y_true[:, 0] - y_pred)


class ElementwiseClass(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


class OwnCall(keras.losses.Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return ops.sum(ops.abs(y_true - y_pred))


def becomes_nan(y_true, y_pred):
    return ops.mean(ops.log(0.5 - y_pred), axis=-1)


def raises(y_true, y_pred):
    raise TypeError("this loss always raises")


def penalty(weights, scale=0.5):
    return scale * ops.sum(ops.abs(weights))


def penalty_factory(scale=0.5):
    return lambda weights: scale * ops.sum(ops.abs(weights))


class KerasRegularizer(keras.regularizers.Regularizer):
    def __init__(self, scale=0.5):
        self.scale = scale

    def __call__(self, x):
        return self.scale * ops.sum(ops.abs(x))


class CallableRegularizer:
    def __init__(self, scale=0.5):
        self.scale = scale

    def __call__(self, x):
        return self.scale * ops.sum(ops.abs(x))


def not_a_scalar(weights):
    return ops.abs(weights)


def branching(y_true, y_pred, r: float = 0.5, scale: float = 1.0):
    if r > 0.5:
        return scale * ops.mean(ops.abs(y_true - y_pred), axis=-1)
    return scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


def looking(y_true, y_pred, r: float = 0.5):
    return (r if isinstance(r, float) else 1.0) * ops.mean(ops.square(y_true - y_pred), axis=-1)


def doubling(y_true, y_pred, r: float = 0.5):
    return (2 * r if isinstance(r, float) else r) * ops.mean(ops.square(y_true - y_pred), axis=-1)


class Perceptual:
    """A loss that holds a layer."""

    def __init__(self, scale: float = 1.0):
        self.scale = scale
        self.layer = keras.layers.Dense(2, kernel_initializer="ones")

    def __call__(self, y_true, y_pred):
        return self.scale * ops.mean(ops.square(self.layer(y_true) - self.layer(y_pred)), axis=-1)


def staircase(step, height: float = 0.1, length: int = 2):
    """Up by a height every so many steps."""
    return height * ops.cast(step // length, "float32")


class Tanh:
    """A learned number between -1 and 1."""

    def __init__(self, initial: float = 0.0):
        self.initial = initial

    def __call__(self, unconstrained):
        return ops.tanh(unconstrained)

    def inverse(self, value):
        return math.atanh(value)


class Softplus:
    def __init__(self, initial: float = 1.0):
        self.initial = initial

    def __call__(self, unconstrained):
        return ops.softplus(unconstrained)

    def inverse(self, value):
        return math.log(math.expm1(value)) if value > 0 else math.nan


class BrokenInverse(Softplus):
    def __init__(self, initial: float = 1.0):
        super().__init__(initial)

    def inverse(self, value):
        return nowhere(value)


class NoInverse:
    def __init__(self, initial: float = 0.0):
        self.initial = initial

    def __call__(self, unconstrained):
        return unconstrained
