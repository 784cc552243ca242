"""Plain Keras on breast cancer, `model.fit` in a loop with default verbosity: one model, or one of each of 6 losses."""

from __future__ import annotations

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler

from lossreg_plugins import losses

NAMES = ("bce", "asymmetric", "poly_crossentropy", "symmetric_crossentropy", "generalized_crossentropy")
LOSSES = [*(getattr(losses, name) for name in NAMES), keras.losses.BinaryFocalCrossentropy()]

x, benign = load_breast_cancer(return_X_y=True)
x, y = StandardScaler().fit_transform(x).astype("float32"), (1 - benign).astype("float32")[:, None]
for seed, loss in enumerate(LOSSES[: int(sys.argv[1])]):
    keras.utils.set_random_seed(seed)
    layers = [
        keras.Input((30,)),
        keras.layers.Dense(32, activation="relu"),
        keras.layers.Dense(1, activation="sigmoid"),
    ]
    model = keras.Sequential(layers)
    model.compile(optimizer="adam", loss=loss)
    model.fit(x, y, batch_size=32, epochs=100)
    print(((model.predict(x) > 0.5) == y).mean())
