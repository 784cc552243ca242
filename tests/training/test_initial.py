"""The state that models start from."""

from __future__ import annotations

import numpy as np

from lossreg.training import read_config
from lossreg.training._initial import InitialState
from tests.training.study import model_of, study


def test_the_initial_state_is_keras_s_to_the_bit() -> None:
    seeds = [0, 1, 12345, 2**31 - 1]
    weights, (dropout,) = InitialState(model_of(read_config(study())))(seeds)
    for row, seed in enumerate(seeds):
        model = model_of(read_config(study(seed=seed)))
        expected = np.concatenate([weight.numpy().ravel() for weight in model.trainable_variables])
        np.testing.assert_array_equal(weights[row], expected)
        np.testing.assert_array_equal(dropout[row], model.non_trainable_variables[0].numpy())
