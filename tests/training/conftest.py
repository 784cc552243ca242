"""Plugins as strangers write them, registered for the length of a test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import lossreg


def focal(y_true: Any, y_pred: Any, gamma: float = 2.0, mode: str = "mean") -> Any:
    reduce = ops.mean if mode == "mean" else ops.max
    weight = ops.power(ops.abs(y_true - y_pred), gamma)
    return reduce(weight * keras.losses.binary_crossentropy(y_true, y_pred)[:, None], axis=-1)


class Elastic:
    def __init__(self, l1: float, l2: float | None = None) -> None:
        self.l1 = l1
        self.l2 = 0.0 if l2 is None else l2

    def __call__(self, weights: Any) -> Any:
        return ops.sum(self.l1 * ops.abs(weights) + self.l2 * ops.square(weights))


def branching(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    if r > 0.5:
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def converting(r: float = 0.5) -> Callable[[Any, Any], Any]:
    r = float(r)
    return lambda y_true, y_pred: r * ops.mean(ops.square(y_true - y_pred), axis=-1)


class ConvertingLoss(keras.losses.Loss):
    def __init__(self, r: float = 0.5, name: str = "own_converting_loss") -> None:
        super().__init__(name=name)
        self.r = r

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return np.float32(self.r) * ops.mean(ops.square(y_true - y_pred), axis=-1)


def looking(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    scale = r if isinstance(r, float) else 1.0
    return scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


def random(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    return ops.mean(ops.square(y_true - y_pred) + r * keras.random.uniform((4, 1)), axis=-1)


def uncompilable(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    text = tf.strings.as_string(y_pred[:, 0])
    return r * ops.mean(ops.square(y_true - y_pred), axis=-1) * tf.strings.to_number(text)


@pytest.fixture(autouse=True)
def plugins() -> Iterator[None]:
    losses = {
        "own_focal": focal,
        "own_huber": keras.losses.Huber,
        "own_branching": branching,
        "own_converting": converting,
    }
    losses |= {
        "own_converting_loss": ConvertingLoss,
        "own_looking": looking,
        "own_random": random,
        "own_uncompilable": uncompilable,
    }
    for name, target in losses.items():
        lossreg.losses.register(name)(target)
    lossreg.regularizers.register("own_elastic")(Elastic)
    yield
    for name in losses:
        lossreg.losses.unregister(name)
    lossreg.regularizers.unregister("own_elastic")
