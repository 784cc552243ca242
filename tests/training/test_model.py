"""The study's model: its random numbers."""

from __future__ import annotations

import keras
import numpy as np

from lossreg.training import build_model, read_config
from lossreg.training._model import model_seeds
from tests.training.study import study


def test_seeds_differ_and_are_reproducible() -> None:
    def weights(seed: int) -> list[float]:
        model = build_model(read_config(study(seed=seed)), keras.losses.MeanSquaredError(), keras.regularizers.L2(0))
        return np.concatenate([w.ravel() for w in model.get_weights()]).tolist()

    assert weights(0) == weights(0)
    assert weights(0) != weights(1)
    assert len({seed for n in range(100) for seed in model_seeds(n)}) == 300
