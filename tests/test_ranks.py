"""Targets and predictions whose ranks differ by one, through the registry."""

from __future__ import annotations

import keras
import numpy as np
import pytest

import lossreg


@pytest.mark.parametrize(("true_shape", "pred_shape"), [((4, 1), (4,)), ((4,), (4, 1))])
def test_ranks_that_differ_give_one_value_per_sample_as_keras_does(true_shape, pred_shape):
    y_true, y_pred = np.array([0.0, 1.0, 1.0, 0.0], "float32"), np.array([0.1, 0.2, 0.7, 0.9], "float32")
    loss = lossreg.losses.create("mse")
    value = loss.call(keras.ops.array(y_true.reshape(true_shape)), keras.ops.array(y_pred.reshape(pred_shape)))
    np.testing.assert_allclose(value, (y_true - y_pred) ** 2, rtol=1e-6)
