"""Two losses and a regularizer; one loss has another value in every process."""

import os

from keras import ops

HERE = 1 + os.getpid() % 997 / 500


def absolute(scale=2.0):
    return lambda y_true, y_pred: scale * ops.mean(ops.abs(y_true - y_pred), axis=-1)


def another_elsewhere(y_true, y_pred):
    return HERE * ops.mean(ops.abs(y_true - y_pred), axis=-1)


def cubic(weights, r=0.1):
    return r * ops.sum(ops.abs(weights) ** 3)
