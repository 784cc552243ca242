"""The state that models start from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import lossreg
from lossreg.training import read_config
from lossreg.training._initial import InitialState
from tests.training.study import Plain, model_of, study

DEEP = {"name": "mlp", "hidden_units": [3, 5], "activation": "relu", "batch_normalization": True, "dropout": 0.2}


class Scaled(keras.layers.Layer):
    """A layer that draws its weights in a way of its own."""

    def build(self, shape: Any) -> None:
        self.scale = self.add_weight(shape=(shape[-1],), initializer=lambda shape, dtype: keras.random.normal(shape))

    def call(self, inputs: Any) -> Any:
        return inputs * self.scale


@pytest.fixture(autouse=True)
def strangers() -> Iterator[None]:
    @lossreg.models.register("own_he")
    def he(inputs: Any, outputs: int, regularizer: Any) -> Any:
        x = keras.layers.Dense(4, kernel_initializer="he_normal", bias_initializer="random_uniform")(inputs)
        return keras.layers.Dense(outputs, kernel_initializer=keras.initializers.Orthogonal())(x)

    @lossreg.models.register("own_scaled")
    def scaled(inputs: Any, outputs: int, regularizer: Any) -> Any:
        return keras.layers.Dense(outputs)(Scaled()(inputs))

    yield
    lossreg.models.unregister("own_he")
    lossreg.models.unregister("own_scaled")


@pytest.mark.parametrize(
    "model", [{"name": "mlp"}, DEEP, {"name": "own_he"}, {"name": "own_scaled"}], ids=["mlp", "deep", "he", "own"]
)
def test_the_initial_state_is_that_of_the_run_alone_to_the_bit(model: Plain) -> None:
    def build(seed: int) -> keras.Model:
        return model_of(read_config(study(seed=seed, model=model)))

    seeds = [0, 1, 12345, 2**31 - 1]
    weights, states = InitialState(build, build(0))(seeds)
    for row, seed in enumerate(seeds):
        own = build(seed)
        expected = np.concatenate([weight.numpy().ravel() for weight in own.trainable_variables])
        np.testing.assert_array_equal(weights[row], expected)
        for state, variable in zip(states, own.non_trainable_variables, strict=True):
            np.testing.assert_array_equal(state[row], variable.numpy())
    assert len({tuple(row) for row in weights.tolist()}) == len(seeds)
