"""Numbers of a loss and of a regularizer, read and assigned while a Keras model trains.

python examples/by_hand.py
"""

from __future__ import annotations

import keras
import numpy as np

import lossreg

X = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
Y = np.array([[0], [1], [1], [0]], np.float32)


class Anneal(keras.callbacks.Callback):
    """Lowers r by a fifth of its start every 100 epochs, and halves λ; nothing is compiled or traced again."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Assign between two epochs, as one would in a notebook."""
        if (epoch + 1) % 100 == 0:
            print(f"epoch {epoch + 1}: r = {loss.r:.2f}, λ = {regularizer.r:.6f}, loss {(logs or {})['loss']:.4f}")
            loss.r -= 0.2
            regularizer.r /= 2


if __name__ == "__main__":
    keras.utils.set_random_seed(1)
    loss = lossreg.losses.create("mix", r=1.0)
    regularizer = lossreg.regularizers.create("l2custom", r=0.001)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(4, "sigmoid", kernel_regularizer=regularizer),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.05), loss=loss)
    model.fit(X, Y, epochs=500, verbose=0, callbacks=[Anneal()])
    print("ŷ =", model.predict(X, verbose=0).ravel().round(3))
