"""Models with layers that do more than compute with their variables."""

import keras
import tensorflow as tf
from keras import ops


class Counting(keras.layers.Layer):
    """Counts its calls in a variable that Keras does not know."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.calls = [tf.Variable(0.0)]

    def call(self, x):
        self.calls[0].assign_add(1.0)
        return x


class Noisy(keras.layers.Layer):
    """Draws numbers without a seed."""

    def call(self, x, training=False):
        return x + 0.01 * tf.random.normal(tf.shape(x)) if training else x


class Reading(keras.layers.Layer):
    """Reads its weights when it is built."""

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], 3), initializer="glorot_uniform", name="kernel")
        self.scale = 1 / float(ops.max(ops.abs(self.kernel)))

    def call(self, x):
        return self.scale * ops.matmul(x, self.kernel)


class Scaling(keras.layers.Layer):
    """Computes with its variables only."""

    def build(self, shape):
        self.scale = self.add_weight(shape=(shape[-1],), initializer="ones", name="scale")

    def call(self, x):
        return self.scale * x


def counting(inputs, outputs, regularizer):
    return keras.layers.Dense(outputs)(Counting(name="calls")(inputs))


def noisy(inputs, outputs, regularizer):
    return keras.layers.Dense(outputs)(Noisy(name="noise")(inputs))


def reading(inputs, outputs, regularizer):
    return keras.layers.Dense(outputs)(Reading(name="reads")(inputs))


def scripted(inputs, outputs, regularizer):
    def python(x):
        return tf.ensure_shape(tf.py_function(lambda x: 1.0 * x, [x], tf.float32), x.shape)

    return keras.layers.Lambda(python, name="python")(keras.layers.Dense(outputs)(inputs))


def scaling(inputs, outputs, regularizer):
    return keras.layers.Dense(outputs)(Scaling()(inputs))


def recurrent(inputs, outputs, regularizer):
    steps = keras.layers.Reshape((2, 1))(inputs)
    return keras.layers.Dense(outputs)(keras.layers.GRU(3, name="remembers")(steps))
