"""The study as its note writes it: plain Keras, a closure for the loss, `model.fit` with default verbosity."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype="float32")
y = np.array([[0], [1], [1], [0]], dtype="float32")


def mix(r: float) -> Any:
    """Return the loss r·bce + (1-r)·mse."""

    def loss(y_true: Any, y_pred: Any) -> Any:
        bce = -ops.mean(y_true * ops.log(y_pred + 1e-6) + (1 - y_true) * ops.log(1 - y_pred + 1e-6))
        return r * bce + (1 - r) * ops.mean(ops.square(y_true - y_pred))

    return loss


class L2Custom(keras.regularizers.Regularizer):
    """Σ r·w²."""

    def __init__(self, r: float = 0.0001) -> None:
        self.r = r

    def __call__(self, x: Any) -> Any:
        """Return the penalty."""
        return ops.sum(self.r * ops.square(x))


model = keras.Sequential(
    [
        keras.Input((2,)),
        keras.layers.Dense(4, activation="sigmoid", kernel_regularizer=L2Custom()),
        keras.layers.Dropout(0.1),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
)
model.compile(optimizer=keras.optimizers.Adam(0.05), loss=mix(0.8))
model.summary()
model.fit(x, y, batch_size=4, epochs=500)
y_hat = model.predict(x)
print(y_hat)
print((y_hat > 0.5).astype(int))
