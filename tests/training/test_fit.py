"""The fit, held against Keras's own."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from lossreg.training import build_model, evaluate, fit, read_config
from lossreg.training._fit import arrays
from lossreg.training._model import model_seeds
from tests.training.study import study


@pytest.mark.parametrize(("batch_size", "optimizer"), [(4, "adam"), (2, "adam"), (3, "sgd"), (100, "rmsprop")])
def test_the_fit_is_keras_s_own_to_the_bit(batch_size: int, optimizer: str) -> None:
    settings = read_config(
        study(epochs=12, seed=3, jit_compile=False, batch_size=batch_size, optimizer__name=optimizer)
    )
    ours = build_model(settings, keras.losses.BinaryCrossentropy(), keras.regularizers.L2(0.01))
    history = fit(ours, settings)

    hidden_seed, output_seed, dropout_seed = model_seeds(3)
    glorot = keras.initializers.GlorotUniform
    regularizer = keras.regularizers.L2(0.01)
    plain = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(4, "sigmoid", kernel_initializer=glorot(hidden_seed), kernel_regularizer=regularizer),
            keras.layers.Dropout(0.1, seed=dropout_seed),
            keras.layers.Dense(1, "sigmoid", kernel_initializer=glorot(output_seed)),
        ]
    )
    plain.compile(
        keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.05}}), "binary_crossentropy"
    )
    expected = plain.fit(*arrays(settings), batch_size=min(4, batch_size), epochs=12, shuffle=False, verbose=0).history

    assert history["loss"].tolist() == pytest.approx(expected["loss"], rel=1e-6)
    for weights, reference in zip(ours.get_weights(), plain.get_weights(), strict=True):
        assert weights.tolist() == reference.tolist()


def test_jit_compile_trains_too() -> None:
    settings = read_config(study(epochs=12))
    model = build_model(settings, keras.losses.MeanSquaredError(), keras.regularizers.L2(0.0))
    history = fit(model, settings)
    metrics = evaluate(model, settings, epochs_run=12, seconds=0)
    assert np.isfinite(history["loss"]).all()
    assert metrics.brier == pytest.approx(metrics.loss, rel=1e-6)
