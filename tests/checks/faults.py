"""Losses and regularizers with one planted fault each, as people write them, and the checks that must find it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

LOSSES: dict[str, tuple[Any, set[str]]] = {}
REGULARIZERS: dict[str, tuple[Any, set[str]]] = {}


def loss(*checks: str) -> Callable[[Any], Any]:
    """Plant a faulty loss that exactly these checks find."""
    return lambda target: LOSSES.setdefault(target.__name__, (target, set(checks)))[0]


def regularizer(*checks: str) -> Callable[[Any], Any]:
    """Plant a faulty regularizer that exactly these checks find."""
    return lambda target: REGULARIZERS.setdefault(_name(target), (target, set(checks)))[0]


def _name(target: Any) -> str:
    return str(getattr(target, "__name__", getattr(target, "_name", "")))


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def crossentropy(y_true, y_pred):
    return -ops.mean(y_true * ops.log(y_pred + 1e-6) + (1 - y_true) * ops.log(1 - y_pred + 1e-6), axis=-1)


class Loss(keras.losses.Loss):
    """A class that makes the ranks equal, for the faults that are elsewhere."""

    def call(self, y_true, y_pred):
        if len(y_true.shape) < len(y_pred.shape):
            y_true = ops.expand_dims(y_true, -1)
        elif len(y_true.shape) > len(y_pred.shape):
            y_pred = ops.expand_dims(y_pred, -1)
        return self.value(y_true, y_pred)

    def value(self, y_true, y_pred):
        return squared(y_true, y_pred)


# One value per sample.


@loss("per_sample")
def mean_over_batch(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - y_pred))


@loss("per_sample")
def mean_crossentropy_over_batch(y_true, y_pred):
    return ops.mean(crossentropy(y_true, y_pred))


@loss("per_sample", "batch_size")
def sum_over_batch(y_true, y_pred):
    return ops.sum(ops.square(y_true - y_pred))


@loss("sample_weights")
class IgnoresWeights(Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        return super().__call__(y_true, y_pred)


@loss("sample_weights")
class SquaresWeights(Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        weight = None if sample_weight is None else ops.square(sample_weight)
        return super().__call__(y_true, y_pred, weight)


# Batches.


@loss("batch_size")
def divides_by_batch(y_true, y_pred):
    return squared(y_true, y_pred) / ops.cast(ops.shape(y_pred)[0], y_pred.dtype)


@loss("batch_size")
def scales_by_largest_error(y_true, y_pred):
    error = squared(y_true, y_pred)
    return error / (1 + ops.max(error))


@loss("batch_size")
def centres_predictions(y_true, y_pred):
    return squared(y_true, y_pred) + 0.1 * ops.mean(ops.square(y_pred - ops.mean(y_pred, axis=0)), axis=-1)


@loss("batch_order")
def weighs_by_position(y_true, y_pred):
    error = squared(y_true, y_pred)
    return error * (1 + ops.cumsum(ops.ones_like(error)))


@loss("batch_order")
def compares_neighbours(y_true, y_pred):
    return squared(y_true, y_pred) + 0.1 * ops.mean(ops.square(y_pred - ops.roll(y_pred, 1, axis=0)), axis=-1)


# Broadcasting.


@loss("ranks")
class ClassBroadcasts(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return ops.mean(ops.square(y_true - y_pred), axis=-1)


@loss("ranks")
class ClassBroadcastsCrossentropy(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return crossentropy(y_true, y_pred)


@loss("ranks")
def flattens_targets(y_true, y_pred):
    return tf.reduce_mean(tf.square(tf.reshape(y_true, [-1]) - y_pred), axis=-1)


@loss("ranks")
def squeezes_predictions(y_true, y_pred):
    return ops.mean(ops.abs(y_true - ops.squeeze(y_pred, -1)), axis=-1)


@loss("ranks")
def flattens_and_averages(y_true, y_pred):
    return tf.reduce_mean(tf.square(tf.reshape(y_true, [-1]) - y_pred))


@loss("ranks")
def takes_first_target(y_true, y_pred):
    return ops.mean(ops.abs(y_true[:, 0] - y_pred), axis=-1)


@loss("ranks")
class ClassBroadcastsLabels(keras.losses.Loss):
    def call(self, y_true, y_pred):
        one_hot = ops.one_hot(ops.cast(y_true, "int32"), y_pred.shape[-1], dtype=y_pred.dtype)
        return -ops.sum(one_hot * ops.log(y_pred + 1e-6), axis=-1)


# Finite.


@loss("finite")
def unguarded_log(y_true, y_pred):
    return -ops.mean(y_true * ops.log(y_pred) + (1 - y_true) * ops.log(1 - y_pred), axis=-1)


@loss("finite")
def unguarded_sqrt(y_true, y_pred):
    return ops.sqrt(ops.mean(ops.square(y_true - y_pred), axis=-1))


@loss("finite")
def where_trap(y_true, y_pred):
    error = ops.abs(y_true - y_pred)
    return ops.mean(ops.where(error > 0, ops.power(error, 0.5), 0.0 * error), axis=-1)


@loss("finite")
def where_trap_at_probability_zero(y_true, y_pred):
    right = ops.where(y_pred > 0, y_true * ops.log(y_pred), -20.0 * y_true)
    return -ops.mean(right + (1 - y_true) * ops.log(1 - y_pred + 1e-6), axis=-1)


@loss("finite")
def naive_softplus(y_true, y_pred):
    return ops.mean(ops.log(1 + ops.exp(y_pred)) - y_true * y_pred, axis=-1)


@loss("finite")
def naive_softmax(y_true, y_pred):
    e = ops.exp(y_pred)
    return -ops.sum(y_true * ops.log(e / ops.sum(e, axis=-1, keepdims=True)), axis=-1)


@loss("finite")
def unguarded_division(y_true, y_pred):
    return ops.mean(ops.abs((y_true - y_pred) / y_true), axis=-1)


@loss("finite")
def unguarded_kullback_leibler(y_true, y_pred):
    return ops.sum(y_true * ops.log((y_true + 1e-6) / y_pred), axis=-1)


@loss("finite")
def unguarded_cosine(y_true, y_pred):
    norm = ops.sqrt(ops.sum(y_true**2, axis=-1)) * ops.sqrt(ops.sum(y_pred**2, axis=-1))
    return 1 - ops.sum(y_true * y_pred, axis=-1) / norm


@loss("finite")
def cosh_overflows(y_true, y_pred):
    return ops.mean(ops.log(ops.cosh(y_pred - y_true)), axis=-1)


# Gradient.


@loss("gradient")
def rounds_predictions(y_true, y_pred):
    return squared(y_true, tf.round(y_pred))


@loss("gradient")
def rounds_with_numpy(y_true, y_pred):
    return squared(y_true, tf.cast(np.round(y_pred), y_pred.dtype))


@loss("gradient")
def numpy_throughout(y_true, y_pred):
    return tf.constant(np.mean(np.square(np.asarray(y_true) - np.asarray(y_pred)), axis=-1))


@loss("gradient")
def stops_gradient(y_true, y_pred):
    return squared(y_true, tf.stop_gradient(y_pred))


@loss("gradient")
def stops_part_of_gradient(y_true, y_pred):
    probability = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    return ops.mean(-tf.stop_gradient((1 - probability) ** 2) * ops.log(probability + 1e-6), axis=-1)


@loss("gradient")
def compares_classes(y_true, y_pred):
    wrong = ops.not_equal(ops.argmax(y_true, axis=-1), ops.argmax(y_pred, axis=-1))
    return ops.cast(wrong, y_pred.dtype)


@loss("gradient")
def adds_error_rate(y_true, y_pred):
    return crossentropy(y_true, y_pred) + ops.mean(ops.abs(y_true - ops.round(y_pred)), axis=-1)


@loss("gradient")
def clips_too_much(y_true, y_pred):
    return crossentropy(y_true, ops.clip(y_pred, 0.1, 0.9))


@loss("gradient")
def clips_at_one_percent(y_true, y_pred):
    return crossentropy(y_true, ops.clip(y_pred, 0.01, 0.99))


@loss("gradient")
def sign_of_error(y_true, y_pred):
    return ops.mean(ops.abs(ops.sign(y_true - y_pred)), axis=-1)


@tf.custom_gradient
def _double(x):
    return 1.0 * x, lambda upstream: 2.0 * upstream


@loss("gradient")
def wrong_custom_gradient(y_true, y_pred):
    return squared(y_true, _double(y_pred))


# The minimum.


@loss("minimum")
def flipped_squared(y_true, y_pred):
    return -squared(y_true, y_pred)


@loss("minimum")
def flipped_crossentropy(y_true, y_pred):
    return -crossentropy(y_true, y_pred)


@loss("minimum")
def flipped_keras_crossentropy(y_true, y_pred):
    return -keras.losses.binary_crossentropy(y_true, y_pred)


@loss("minimum")
def half_flipped_crossentropy(y_true, y_pred):
    return -ops.mean(y_true * ops.log(y_pred + 1e-6) - (1 - y_true) * ops.log(1 - y_pred + 1e-6), axis=-1)


@loss("minimum")
def flipped_categorical(y_true, y_pred):
    return keras.losses.categorical_crossentropy(1 - y_true, y_pred)


@loss("minimum")
def negative_similarity_without_minus(y_true, y_pred):
    return -keras.losses.cosine_similarity(y_true, y_pred)


@loss("minimum")
def adds_instead_of_subtracting(y_true, y_pred):
    return ops.mean(ops.square(y_true + y_pred), axis=-1)


@loss("minimum")
def ignores_predictions(y_true, y_pred):
    return ops.mean(ops.square(y_true), axis=-1)


# Dtypes.


@loss("dtypes")
def casts_to_float32(y_true, y_pred):
    return squared(tf.cast(y_true, tf.float32), tf.cast(y_pred, tf.float32))


@loss("dtypes")
def casts_targets_only(y_true, y_pred):
    return tf.reduce_mean(tf.square(tf.cast(y_true, tf.float32) - y_pred), axis=-1)


@loss("dtypes")
def float32_constant(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - y_pred) * tf.constant([0.5]), axis=-1)


# Eager, graph and XLA.


@loss("compiled")
def branches_on_a_value(y_true, y_pred):
    return squared(y_true, y_pred) if ops.max(ops.abs(y_pred)) < 1e9 else 0.0 * squared(y_true, y_pred)


@loss("compiled")
def another_value_in_graphs(y_true, y_pred):
    return squared(y_true, y_pred) * (1.0 if tf.executing_eagerly() else 0.5)


@loss("compiled")
def needs_a_static_batch(y_true, y_pred):
    parts = [ops.mean(ops.square(y_true[i] - y_pred[i]), axis=-1) for i in range(y_pred.shape[0])]
    return ops.stack(parts)


@loss("compiled")
def numpy_on_targets(y_true, y_pred):
    return squared(y_true, y_pred) * tf.cast(1 + np.mean(np.abs(y_true.numpy()), axis=-1), y_pred.dtype)


@loss("compiled")
def python_inside_graphs(y_true, y_pred):
    factor = tf.py_function(lambda x: x * 0 + 1.0, [y_true], y_true.dtype)
    return squared(y_true, y_pred) * tf.reduce_mean(tf.reshape(factor, tf.shape(y_true)), axis=-1)


# State.


_calls = itertools.count(1)


@loss("state")
def counts_its_calls(y_true, y_pred):
    return squared(y_true, y_pred) * (1 + 0.001 * next(_calls))


@loss("state")
def adds_noise(y_true, y_pred):
    return squared(y_true, y_pred) + 1e-3 * keras.random.uniform((1,), dtype=y_pred.dtype)


@loss("state")
def reseeds_numpy(y_true, y_pred):
    np.random.seed(0)  # noqa: NPY002
    return squared(y_true, y_pred) * (1 + np.random.random())  # noqa: NPY002


@loss("state")
class RunningMean(Loss):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.mean = 0.0

    def value(self, y_true, y_pred):
        error = squared(y_true, y_pred)
        self.mean = 0.9 * self.mean + 0.1 * float(ops.mean(error)) if tf.executing_eagerly() else self.mean
        return error / (1 + self.mean)


# Parameters.


@loss("parameters")
def unused_parameter(y_true, y_pred, gamma=2.0):
    return squared(y_true, y_pred)


@loss("parameters")
def parameter_cancels(y_true, y_pred, scale=3.0):
    return ops.mean(ops.square(scale * y_true - scale * y_pred), axis=-1) / scale**2


@loss("parameters")
def unused_factory_parameter(gamma=2.0, delta=1.0):
    def value(y_true, y_pred):
        return delta * squared(y_true, y_pred)

    return value


@loss("tensor_parameters")
def another_value_for_tensors(y_true, y_pred, gamma=2.0):
    return squared(y_true, y_pred) * (gamma if isinstance(gamma, float) else 1.0)


# Configs.


@loss("config")
class ConfigDropsGamma(Loss):
    def __init__(self, gamma=2.0, **kwargs):
        super().__init__(**kwargs)
        self.gamma = gamma

    def value(self, y_true, y_pred):
        return self.gamma * squared(y_true, y_pred)

    def get_config(self):
        return super().get_config()


@loss("config")
class ConfigIsRefused(ConfigDropsGamma):
    def get_config(self):
        return {**super().get_config(), "gama": self.gamma}


def _scaled(gamma, **kwargs):
    return ConfigDropsGamma(gamma, **kwargs)


@loss("config")
def factory_of_a_class_that_drops(gamma=2.0):
    return _scaled(gamma)


# Data.


@loss("data")
def takes_three_arguments(y_true, y_pred):
    raise RuntimeError("no data will do")


# What shows only on some kinds of data, or where no kind fits.


@loss("batch_size")
def centres_logits(y_true, y_pred):
    return -ops.sum(y_true * ops.log_softmax(y_pred - ops.mean(y_pred, axis=0)), axis=-1)


@loss("batch_size")
def softmax_over_the_batch(y_true, y_pred):
    return -ops.sum(y_true * ops.log_softmax(y_pred, axis=0), axis=-1)


@loss("batch_size")
def weighs_classes_by_the_batch(y_true, y_pred):
    frequency = ops.mean(y_true, axis=0) + 0.1
    return -ops.sum(y_true / frequency * ops.log(y_pred + 1e-6), axis=-1)


@loss("batch_size")
def scales_by_the_spread_of_targets(y_true, y_pred):
    return squared(y_true, y_pred) / (0.1 + ops.mean(ops.std(y_true, axis=0)))


@loss("batch_size")
def weighs_by_the_sum_of_weights(y_true, y_pred):
    weight = ops.abs(y_true - y_pred)
    return ops.mean(weight * ops.softplus(y_pred), axis=-1) / (1e-3 + ops.mean(weight))


@loss("batch_size")
def margins_of_the_batch(y_true, y_pred):
    return ops.mean(ops.softplus(-y_true * y_pred), axis=-1) + 0.1 * ops.mean(ops.softplus(-y_true * y_pred))


def mixture(y_true, y_pred):
    mean, scale, logit = ops.split(y_pred, 3, axis=-1)
    density = ops.log_softmax(logit) - scale - 0.5 * ops.square((y_true - mean) * ops.exp(-scale))
    return -ops.logsumexp(density, axis=-1)


@loss("batch_size")
def mixture_of_the_batch(y_true, y_pred):
    return mixture(y_true, y_pred - ops.mean(y_pred, axis=0))


def gaussian(y_true, y_pred):
    mean, scale = ops.split(y_pred, 2, axis=-1)
    return ops.mean(scale + 0.5 * ops.square((y_true - mean) * ops.exp(-scale)), axis=-1)


@loss("batch_size")
def variance_of_the_batch(y_true, y_pred):
    mean, scale = ops.split(y_pred, 2, axis=-1)
    return gaussian(y_true, ops.concatenate([mean, 0 * scale + ops.mean(scale)], axis=-1))


@loss("per_sample")
def mixture_over_batch(y_true, y_pred):
    return ops.mean(mixture(y_true, y_pred))


@loss("state")
def mixture_and_calls(y_true, y_pred):
    return mixture(y_true, y_pred) * (1 + 0.001 * next(_calls))


@loss("dtypes")
def mixture_in_float32(y_true, y_pred):
    return mixture(ops.cast(y_true, "float32"), ops.cast(y_pred, "float32"))


@loss("compiled")
def mixture_of_a_value(y_true, y_pred):
    return mixture(y_true, y_pred) if float(ops.max(y_pred)) < 1e9 else 0.0 * mixture(y_true, y_pred)


@loss("batch_order")
def accumulates_over_the_batch(y_true, y_pred):
    return ops.mean(ops.square(ops.cumsum(y_true, axis=0) - ops.cumsum(y_pred, axis=0)), axis=-1)


@loss("batch_order")
def compares_with_the_first(y_true, y_pred):
    return -ops.sum(y_true * ops.log_softmax(y_pred + 0.1 * y_pred[:1, ::-1]), axis=-1)


@loss("batch_order")
def sorts_mixtures(y_true, y_pred):
    return mixture(y_true, ops.sort(y_pred, axis=0))


@loss("ranks")
def expands_targets(y_true, y_pred):
    return ops.mean(ops.square(ops.expand_dims(y_true[..., 0], 0) - y_pred), axis=-1)


# One sample, none that counts.


@loss("finite")
def nothing_but_padding(y_true, y_pred):
    labels = ops.reshape(y_true, (-1,))
    value = keras.losses.sparse_categorical_crossentropy(labels, y_pred, from_logits=True)
    mask = ops.cast(labels != 0, value.dtype)
    return ops.sum(value * mask) / ops.sum(mask)


@loss("finite")
def spread_of_one(y_true, y_pred):
    n = ops.cast(ops.shape(y_pred)[0], y_pred.dtype)
    return squared(y_true, y_pred) + 0 * ops.sum(ops.square(y_pred - ops.mean(y_pred, axis=0))) / (n - 1)


@loss("finite")
def mixture_and_spread_of_one(y_true, y_pred):
    value = mixture(y_true, y_pred)
    return value + 0 * ops.mean(value) / ops.var(value)


@loss("sample_weights")
class DividesByTheSumOfWeights(Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        value = self.call(ops.convert_to_tensor(y_true), ops.convert_to_tensor(y_pred))
        weight = ops.ones_like(value) if sample_weight is None else ops.cast(sample_weight, value.dtype)
        return ops.sum(value * weight) / ops.sum(weight)


@loss("sample_weights")
class DividesByTheMask(Loss):
    def __call__(self, y_true, y_pred, sample_weight=None):
        mask = getattr(y_pred, "_keras_mask", None)
        total = super().__call__(y_true, y_pred, sample_weight)
        return total if mask is None else total / ops.mean(ops.cast(mask, total.dtype))


# Guards that are 0 in 16 bits.


@loss("finite")
def logarithm_guarded_in_float32(y_true, y_pred):
    return -ops.mean(y_true * ops.log(y_pred + 1e-12) + (1 - y_true) * ops.log(1 - y_pred + 1e-12), axis=-1)


@loss("finite")
def root_guarded_in_float32(y_true, y_pred):
    return ops.sqrt(ops.mean(ops.square(y_true - y_pred), axis=-1) + 1e-12)


@loss("finite")
def overlap_guarded_in_float32(y_true, y_pred):
    overlap = 2 * ops.sum(y_true * y_pred, axis=(1, 2, 3)) + 1e-10
    return 1 - overlap / (ops.sum(y_true + y_pred, axis=(1, 2, 3)) + 1e-10)


@loss("finite")
def classes_guarded_in_float32(y_true, y_pred):
    return -ops.sum(y_true * ops.log(ops.maximum(y_pred, 1e-10)), axis=-1)


@loss("dtypes")
def a_factor_beyond_float16(y_true, y_pred):
    return squared(y_true, y_pred) * 3e4


# The rest, as it is met.


@loss("state")
def random_tensors(y_true, y_pred):
    return squared(y_true, y_pred + 1e-3 * tf.random.normal(tf.shape(y_pred), dtype=y_pred.dtype))


@loss("state")
class KeepsTheFirstBatch(Loss):
    scale = None

    def value(self, y_true, y_pred):
        if self.scale is None and tf.executing_eagerly():
            self.scale = float(ops.mean(ops.abs(y_true)))
        return squared(y_true, y_pred) / (1 + (self.scale or 0))


@loss("gradient")
def clips_logits(y_true, y_pred):
    logits = ops.clip(y_pred, -5, 5)
    return ops.mean(ops.softplus(logits) - y_true * logits, axis=-1)


@loss("gradient")
def labels_as_integers(y_true, y_pred):
    return squared(y_true, ops.cast(ops.cast(4 * y_pred, "int32"), y_pred.dtype) / 4)


@loss("minimum")
def flipped_poisson(y_true, y_pred):
    return ops.mean(y_true * ops.log(y_pred + 1e-6) - y_pred, axis=-1)


@loss("minimum")
def flipped_logits(y_true, y_pred):
    return ops.mean(y_true * y_pred - ops.softplus(y_pred), axis=-1)


@loss("minimum")
def flipped_labels(y_true, y_pred):
    return -keras.losses.sparse_categorical_crossentropy(y_true, y_pred)


@loss("compiled")
def rows_in_python(y_true, y_pred):
    return tf.stack([tf.reduce_mean(tf.square(y - p)) for y, p in zip(y_true, y_pred, strict=True)])


@loss("config")
class ConfigBounds(ConfigDropsGamma):
    def get_config(self):
        return {**super().get_config(), "gamma": min(self.gamma, 2.5)}


@loss("data")
def returns_a_pair(y_true, y_pred):
    return squared(y_true, y_pred), crossentropy(y_true, y_pred)


# Regularizers.


@regularizer("scalar")
def per_column(weights):
    return ops.sum(ops.square(ops.reshape(weights, (-1, weights.shape[-1]))), axis=0)


@regularizer("ranks")
def sums_two_axes(weights, r=0.1):
    return r * ops.sum(ops.square(weights), axis=(0, 1))


@regularizer("ranks")
def multiplies_matrices(weights, r=0.1):
    return r * ops.sum(ops.square(ops.matmul(ops.transpose(weights), weights)))


@regularizer("finite")
def unguarded_norm(weights, r=0.1):
    return r * ops.sqrt(ops.sum(ops.square(weights)))


@regularizer("finite")
def unguarded_groups(weights, r=0.1):
    rows = ops.reshape(weights, (weights.shape[0], -1))
    return r * ops.sum(ops.sqrt(ops.sum(ops.square(rows), axis=1)))


@regularizer("finite")
def log_of_weights(weights, r=0.1):
    return r * ops.sum(ops.where(weights == 0, 0 * weights, ops.square(weights) * ops.log(ops.abs(weights))))


@regularizer("zero")
def offset(weights, r=0.1):
    return r * ops.sum(ops.square(weights) + 1)


@regularizer("zero")
def pulls_to_one(weights, r=0.1):
    return r * ops.sum(ops.square(weights - 1))


@regularizer("gradient")
def counts_weights(weights, r=0.1):
    return r * ops.sum(ops.cast(ops.abs(weights) > 0.5, weights.dtype))


@regularizer("gradient")
def stops_weights(weights, r=0.1):
    return r * ops.sum(tf.stop_gradient(ops.abs(weights)) * ops.abs(weights))


@regularizer("gradient")
def numpy_weights(weights, r=0.1):
    return tf.constant(r * np.sum(np.square(np.asarray(weights))))


@regularizer("scale")
def squares_strength(weights, r=0.1):
    return r**2 * ops.sum(ops.square(weights))


@regularizer("scale")
def flips_strength(weights, r=0.1):
    return -r * ops.sum(ops.square(weights))


@regularizer("scale")
def scales_half_of_it(weights, r=0.1):
    return r * ops.sum(ops.square(weights)) + 0.1 * ops.sum(ops.abs(weights))


@regularizer("parameters", "scale")
def ignores_strength(weights, r=0.1):
    return ops.sum(ops.square(weights))


@regularizer("dtypes")
def float32_strength(weights, r=0.1):
    return tf.constant(r) * tf.reduce_sum(tf.square(weights))


@regularizer("dtypes")
def float32_weights(weights, r=0.1):
    return r * tf.reduce_sum(tf.square(tf.cast(weights, tf.float32)))


@regularizer("compiled")
def branches_on_weights(weights, r=0.1):
    total = ops.sum(ops.square(weights))
    return r * total if total < 1e30 else 0 * total


@regularizer("state")
def weights_and_calls(weights, r=0.1):
    return r * ops.sum(ops.square(weights)) * (1 + 0.01 * next(_calls))


@regularizer("parameters")
def unused_exponent(weights, r=0.1, power=2.0):
    return r * ops.sum(ops.square(weights))


@regularizer("config")
class RegularizerDropsPower(keras.regularizers.Regularizer):
    def __init__(self, r=0.1, power=2.0):
        self.r = r
        self.power = power

    def __call__(self, weights):
        return self.r * ops.sum(ops.power(ops.abs(weights), self.power))

    def get_config(self):
        return {"r": self.r}


@regularizer("tensor_parameters")
def another_penalty_for_tensors(weights, r=0.1):
    return (r if isinstance(r, float) else 1.0) * ops.sum(ops.square(weights))


@regularizer("compiled")
@tf.function
def takes_no_variable(weights, r=0.1):
    return r * tf.reduce_sum(tf.square(weights))


@regularizer("finite")
def norm_guarded_in_float32(weights, r=0.1):
    return r * ops.sqrt(ops.sum(ops.square(weights)) + 1e-12)


@regularizer("compiled")
def numpy_of_a_variable(weights, r=0.1):
    return r * ops.sum(ops.square(weights)) * (1 + 0 * float(np.max(weights.numpy())))


@regularizer("parameters")
def nothing_for_variables(weights, r=0.1):
    return r * tf.reduce_sum(tf.square(weights)) if isinstance(weights, tf.Tensor) else 0 * ops.sum(weights)


@regularizer("scalar")
def keeps_an_axis(weights, r=0.1):
    return r * ops.reshape(ops.sum(ops.square(weights)), (1,))


@regularizer("zero")
def a_hyperbola_of_weights(weights, r=0.1):
    return r * ops.sum(ops.sqrt(1 + ops.square(weights)))


@regularizer("state")
def random_weights(weights, r=0.1):
    return r * ops.sum(ops.square(weights) * keras.random.uniform(weights.shape, dtype=weights.dtype))


@regularizer("gradient")
def rounds_weights(weights, r=0.1):
    return r * ops.sum(ops.square(ops.round(weights)))


@regularizer("scale")
def root_of_strength(weights, lam=0.1):
    return lam**0.5 * ops.sum(ops.square(weights))
