"""The model of a run: what registered functions make, its random numbers, its penalties."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest

import lossreg
from lossreg.training import ConfigError, build_model, read_config
from tests.training.study import Plain, study


def model_with(regularizer: Any = None, **changes: Any) -> keras.Model:
    config = read_config(study(**changes))
    return build_model(config, keras.losses.MeanSquaredError(), regularizer or keras.regularizers.L2(0.0))


def test_the_same_seed_is_the_same_model() -> None:
    def weights(seed: int) -> list[float]:
        return np.concatenate([w.ravel() for w in model_with(seed=seed).get_weights()]).tolist()

    assert weights(0) == weights(0)
    assert weights(0) != weights(1)


def test_a_deep_model_has_the_layers_that_are_asked_for() -> None:
    mlp = {"name": "mlp", "hidden_units": [5, 3], "activation": "relu", "dropout": 0.2, "batch_normalization": True}
    layers = [type(layer).__name__ for layer in model_with(model=mlp).layers]
    hidden = ["Dense", "BatchNormalization", "Activation", "Dropout"]
    assert layers == ["InputLayer", *hidden, *hidden, "Dense", "Activation"]


@pytest.mark.parametrize(
    ("penalized", "expected"),
    [
        (["hidden_kernel"], ["hidden"]),
        (["output_kernel"], ["output"]),
        (["hidden_bias", "output_bias"], ["hidden", "output"]),
    ],
)
def test_what_is_penalised_is_a_parameter(penalized: list[str], expected: list[str]) -> None:
    model = model_with(keras.regularizers.L2(0.5), model__penalized=penalized)
    for layer in model.layers:
        layer.set_weights([np.ones_like(weight) for weight in layer.get_weights() if weight.dtype == np.float32])
    kinds = {place.partition("_")[2] for place in penalized}
    squares = sum(w.numpy().size for name in expected for w in model.get_layer(name).weights if w.name in kinds)
    assert float(sum(model.losses)) == pytest.approx(0.5 * squares)


def test_several_regularizers_in_several_places() -> None:
    own: Plain = {"name": "mlp", "dropout": 0.0, "regularizers": {"output_kernel": {"name": "l1", "l1": 0.25}}}
    model = model_with(keras.regularizers.L2(0.5), model=own)
    model.set_weights([np.full_like(weight, 2.0) for weight in model.get_weights()])
    assert float(sum(model.losses)) == pytest.approx(0.5 * 8 * 4 + 0.25 * 4 * 2)


@pytest.fixture
def strangers() -> Iterator[None]:
    lossreg.models.register("own_wide")(lambda inputs, outputs, regularizer: keras.layers.Dense(3)(inputs))
    lossreg.models.register("own_none")(lambda inputs, outputs, regularizer: None)
    yield
    lossreg.models.unregister("own_wide")
    lossreg.models.unregister("own_none")


@pytest.mark.usefixtures("strangers")
@pytest.mark.parametrize(("name", "returned"), [("own_wide", r"\(None, 3\)"), ("own_none", "NoneType")])
def test_a_model_that_returns_something_else_is_named(name: str, returned: str) -> None:
    with pytest.raises(ConfigError, match=rf"model: model '{name}' .*returned {returned}; it must return \(None, 1\)"):
        model_with(model={"name": name})


def test_any_optimizer_of_keras_has_its_parameters() -> None:
    model = model_with(optimizer={"name": "adam", "learning_rate": 0.1, "beta_1": 0.5})
    assert model.optimizer.get_config()["beta_1"] == 0.5
    with pytest.raises(lossreg.ParameterError, match="beta_3"):
        model_with(optimizer={"name": "adam", "beta_3": 0.5})


def test_mixed_precision_computes_in_half_and_answers_in_float32() -> None:
    model = model_with(precision="mixed_float16")
    assert (model.get_layer("hidden").compute_dtype, model.get_layer("hidden").variable_dtype) == ("float16", "float32")
    assert model.output.dtype == "float32"
    assert keras.config.dtype_policy().name == "float32"
