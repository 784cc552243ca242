"""The fit, held against Keras's own."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from lossreg.training import build_model, evaluate, fit, load_data, read_config
from lossreg.training._fit import order
from tests.training.study import Plain, model_of, study


def plain_fit(ours: keras.Model, optimizer: str, rows: tuple[Any, ...], **settings: Any) -> tuple[keras.Model, Any]:
    """A copy of a model from the same initial state, compiled and fitted by Keras as anybody would."""
    plain = keras.models.clone_model(ours)
    for variable, start in zip(plain.variables, ours.variables, strict=True):
        variable.assign(start)
    optimizer = keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": 0.05}})
    plain.compile(optimizer, "binary_crossentropy")
    return plain, plain.fit(*rows, verbose=0, **settings).history


@pytest.mark.parametrize(("batch_size", "optimizer"), [(4, "adam"), (2, "adam"), (3, "sgd"), (100, "rmsprop")])
def test_the_fit_is_keras_s_own_to_the_bit(batch_size: int, optimizer: str) -> None:
    config = read_config(study(epochs=12, seed=3, jit_compile=False, batch_size=batch_size, optimizer__name=optimizer))
    ours = build_model(config, keras.losses.BinaryCrossentropy(), keras.regularizers.L2(0.01))
    rows = load_data(config).train.arrays
    plain, expected = plain_fit(ours, optimizer, rows, batch_size=min(4, batch_size), epochs=12, shuffle=False)
    history = fit(ours, config)

    assert history["loss"].tolist() == pytest.approx(expected["loss"], rel=1e-6)
    for weights, reference in zip(ours.get_weights(), plain.get_weights(), strict=True):
        assert weights.tolist() == reference.tolist()


def moons(**changes: Any) -> Plain:
    return study(
        data={"name": "two_moons", "n": 100},
        split={"validation": 0.25, "test": 0.25},
        **{"loss": {"name": "bce"}, "reg": {"name": "none"}, "jit_compile": False, "batch_size": 16, **changes},
    )


def test_early_stopping_and_validation_are_keras_s_own() -> None:
    config = read_config(moons(epochs=60, patience=2, shuffle=False, model__dropout=0.0, optimizer__learning_rate=0.05))
    data = load_data(config)
    ours = build_model(config, keras.losses.BinaryCrossentropy(), keras.regularizers.L2(0.0))
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=2, restore_best_weights=True)
    plain, expected = plain_fit(
        ours,
        "adam",
        data.train.arrays,
        **{"batch_size": 16, "epochs": 60, "shuffle": False, "callbacks": [stopping]},
        validation_data=data.parts["validation"].arrays,
    )
    history = fit(ours, config)

    assert history["loss"].tolist() == pytest.approx(expected["loss"], rel=1e-5)
    assert history["validation_loss"].tolist() == pytest.approx(expected["val_loss"], rel=1e-5)
    for weights, reference in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(weights, reference, atol=1e-5)


def test_each_epoch_has_the_rows_in_another_order_of_the_seed() -> None:
    config = read_config(moons(epochs=2, model__dropout=0.0, optimizer__name="sgd", shuffle=True))
    x, y = load_data(config).train.arrays
    ours = build_model(config, keras.losses.BinaryCrossentropy(), keras.regularizers.L2(0.0))
    orders = [order(config.seed, epoch, len(x)) for epoch in range(2)]
    assert sorted(orders[0]) == sorted(orders[1]) == [*range(50)]
    assert orders[0].tolist() != orders[1].tolist()
    in_order = tuple(np.concatenate([part[own] for own in orders]) for part in (x[:, None], y[:, None]))
    plain = keras.models.clone_model(ours)
    plain.set_weights(ours.get_weights())
    plain.compile(keras.optimizers.SGD(0.05), "binary_crossentropy")
    for start in (0, 50):  # an epoch by hand: each batch of 16, and the rest
        for first in range(start, start + 50, 16):
            own = slice(first, min(first + 16, start + 50))
            plain.train_on_batch(in_order[0][own, 0], in_order[1][own, 0])
    fit(ours, config)
    for weights, reference in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(weights, reference, atol=1e-6)


def test_jit_compile_trains_too() -> None:
    config = read_config(study(epochs=12))
    model = build_model(config, keras.losses.MeanSquaredError(), keras.regularizers.L2(0.0))
    history = fit(model, config)
    metrics = evaluate(model, config, epochs_run=12, seconds=0)
    assert np.isfinite(history["loss"]).all()
    assert metrics["brier"] == pytest.approx(metrics["loss"], rel=1e-6)


def test_terms_and_penalties_are_in_the_history_and_sum_up_to_the_loss() -> None:
    both = {"name": "weighted", "terms": {"a": {"name": "bce"}, "b": {"name": "mse"}}, "weights": {"a": 0.8, "b": 0.2}}
    changes = {"loss": both, "reg": {"name": "l2custom", "r": 0.01}, "class_weight": "balanced"}
    config = read_config(moons(epochs=2, model__penalized=["hidden_kernel", "hidden_activity"], **changes))
    history = fit(model_of(config), config)
    terms = ["loss.terms.a", "loss.terms.b", "reg"]
    assert [*history] == ["loss", *terms, *(f"validation_{name}" for name in ("loss", *terms))]
    for part in ("", "validation_"):
        a, b, penalty = (history[f"{part}{name}"] for name in terms)
        np.testing.assert_allclose(0.8 * a + 0.2 * b + penalty, history[f"{part}loss"], rtol=1e-5)
        assert (penalty > 0.01).all()
    without = read_config(moons(epochs=2))
    assert [*fit(model_of(without), without)] == ["loss", "validation_loss"]  # no column of `none`
