"""Terms and penalties as metrics of a model, held against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

import lossreg
from tests.test_numbers import linear

RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=(10, 3)).astype(np.float32)
Y = (RANDOM.random((10, 1)) > 0.5).astype(np.float32)
WEIGHTS = RANDOM.random(10).astype(np.float32)
NESTED = {
    "name": "weighted",
    "terms": {"a": {"name": "bce"}, "b": {"name": "weighted", "terms": {"c": {"name": "mse"}, "d": {"name": "huber"}}}},
    "weights": {"a": 0.7, "b": 0.3},
}
PENALTY = {
    "name": "weighted",
    "terms": {"x": {"name": "l2custom", "r": 0.1}, "y": {"name": "l1", "l1": 0.2}},
    "weights": {"x": 0.5},
}


def compiled(loss: Any, penalty: Any = None, activity: Any = None, rate: float = 0.0, **options: Any) -> keras.Model:
    """Two layers whose kernels share a penalty; at the rate 0 they stay what they are."""
    keras.utils.set_random_seed(1)
    inputs = keras.Input((3,))
    settings = {"kernel_regularizer": penalty, "activity_regularizer": activity}
    hidden = keras.layers.Dense(4, "tanh", name="hidden", **settings)(inputs)
    outputs = keras.layers.Dense(1, "sigmoid", kernel_regularizer=penalty, name="last")(hidden)
    model = keras.Model(inputs, outputs)
    model.compile(keras.optimizers.SGD(rate), loss=loss, **options)
    return model


def created(config: Mapping[str, Any], kind: str = "losses") -> Any:
    return getattr(lossreg, kind).build(getattr(lossreg, kind).parse(config))


def per_sample(p: np.ndarray, y: np.ndarray = Y) -> dict[str, np.ndarray]:
    """What the terms of NESTED are for each sample."""
    bce = -(y * np.log(p + 1e-6) + (1 - y) * np.log(1 - p + 1e-6))[:, 0]
    mse, huber = np.square(y - p)[:, 0], np.square(y - p)[:, 0] / 2
    return {"a": bce, "b": mse + huber, "b.terms.c": mse, "b.terms.d": huber}


@pytest.mark.parametrize("options", [{"run_eagerly": True}, {"steps_per_execution": 3, "jit_compile": True}])
def test_every_term_and_penalty_is_the_mean_that_keras_makes_of_the_loss(options: dict[str, Any]) -> None:
    model = compiled(created(NESTED), created(PENALTY, "regularizers"), **options)
    lossreg.attach(model, terms=True)
    settings = {"batch_size": 4, "epochs": 2, "shuffle": False, "verbose": 0}
    logs = model.fit(X, Y, sample_weight=WEIGHTS, validation_data=(X[:7], Y[:7]), **settings).history
    p = np.asarray(model(X))
    kernels = [np.asarray(model.get_layer(name).kernel) for name in ("hidden", "last")]
    penalties = {
        "": sum(0.05 * np.sum(w**2) + 0.2 * np.sum(np.abs(w)) for w in kernels),
        ".terms.x": sum(0.1 * np.sum(w**2) for w in kernels),
        ".terms.y": sum(0.2 * np.sum(np.abs(w)) for w in kernels),
    }
    expected = {f"hidden.kernel_regularizer{path}": value for path, value in penalties.items()}
    for part, rows, weights in (("", slice(10), WEIGHTS), ("val_", slice(7), np.ones(7))):
        terms = {f"loss.terms.{k}": np.mean(v[rows] * weights) for k, v in per_sample(p).items()}
        total = 0.7 * terms["loss.terms.a"] + 0.3 * terms["loss.terms.b"] + penalties[""]
        found = {name.removeprefix(part): v for name, v in logs.items() if name.startswith("val_") == bool(part)}
        assert {name: v[0] for name, v in found.items()} == pytest.approx(terms | expected | {"loss": total}, rel=1e-5)
        assert {name: v[1] for name, v in found.items()} == pytest.approx(terms | expected | {"loss": total}, rel=1e-5)


def test_the_weighted_sum_is_the_loss_also_while_it_trains() -> None:
    loss = created(NESTED)
    loss.reduction = "sum"
    activity = created({"name": "l2custom", "r": 0.1}, "regularizers")
    model = compiled(loss, created(PENALTY, "regularizers"), activity, rate=0.1)
    lossreg.attach(model, terms=True)
    logs = model.fit(X, Y, class_weight={0: 1.0, 1: 3.0}, batch_size=4, epochs=3, verbose=0).history
    values = {name: np.array(column) for name, column in logs.items()}
    terms = 0.7 * values["loss.terms.a"] + 0.3 * values["loss.terms.b"]
    penalties = values["hidden.kernel_regularizer"] + values["hidden.activity_regularizer"]
    np.testing.assert_allclose(terms + penalties, values["loss"], rtol=1e-5)
    assert (values["hidden.activity_regularizer"] > 0.01).all()


def test_masked_steps_count_in_no_term() -> None:
    inputs = keras.Input((5, 2))
    masked = keras.layers.Masking()(inputs)
    model = keras.Model(inputs, keras.layers.TimeDistributed(keras.layers.Dense(1, "sigmoid"))(masked))
    model.compile(keras.optimizers.SGD(0.0), loss=created(NESTED))
    lossreg.attach(model, terms=True)
    x = RANDOM.normal(size=(4, 5, 2)).astype(np.float32)
    x[:2, 3:] = 0
    y = (RANDOM.random((4, 5, 1)) > 0.5).astype(np.float32)
    logs = model.fit(x, y, verbose=0).history
    seen = np.any(x != 0, axis=-1)
    terms = {k: float(np.mean(v)) for k, v in per_sample(np.asarray(model(x))[seen], y[seen]).items()}
    assert logs["loss.terms.a"][0] == pytest.approx(terms["a"], rel=1e-5)
    assert logs["loss"][0] == pytest.approx(0.7 * terms["a"] + 0.3 * terms["b"], rel=1e-5)


def test_several_outputs_have_columns_of_their_own_which_callbacks_see(tmp_path: Path) -> None:
    inputs = keras.Input((3,))
    outputs = {name: keras.layers.Dense(1, "sigmoid", name=name)(inputs) for name in ("left", "right")}
    model = keras.Model(inputs, outputs)
    losses = {"left": created(NESTED), "right": created(NESTED | {"weights": {"a": 2.0}})}
    model.compile(keras.optimizers.SGD(0.0), loss=losses, loss_weights={"left": 1.0, "right": 0.5}, metrics=["mse"] * 2)
    lossreg.attach(model, terms=True)
    logger = keras.callbacks.CSVLogger(tmp_path / "log.csv")
    data = (X, {"left": Y, "right": 1 - Y})
    callbacks = [logger, keras.callbacks.TensorBoard(tmp_path / "events")]
    logs = model.fit(*data, verbose=0, validation_data=data, callbacks=callbacks).history
    for name, y, (a, b) in (("left", Y, (0.7, 0.3)), ("right", 1 - Y, (2.0, 1.0))):
        terms = {k: np.mean(v) for k, v in per_sample(np.asarray(model(X)[name]), y).items()}
        for part in ("", "val_"):
            assert logs[f"{part}{name}_loss.terms.b.terms.c"][0] == pytest.approx(terms["b.terms.c"], rel=1e-5)
            assert logs[f"{part}{name}_loss"][0] == pytest.approx(a * terms["a"] + b * terms["b"], rel=1e-5)
    assert set(logs) < set((tmp_path / "log.csv").read_text().partition("\n")[0].split(",")) | {"epoch"}
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(tmp_path / "events" / "validation"), {"tensors": 0})
    events.Reload()
    event = events.Tensors("epoch_left_loss.terms.a")[0]
    assert tf.make_ndarray(event.tensor_proto) == pytest.approx(logs["val_left_loss.terms.a"][0])


def test_terms_are_not_weighted_and_numbers_that_change_are_taken_as_they_are() -> None:
    loss = created(NESTED | {"weights": {"a": linear(2, 0, 4), "b": 0.5}})
    model = compiled(loss)
    lossreg.attach(model, terms=True)
    for weight in (2.0, 1.5, 1.0):
        logs = model.fit(X, Y, batch_size=10, verbose=0).history
        expected = {k: np.mean(v) for k, v in per_sample(np.asarray(model(X))).items()}
        assert logs["loss.terms.a"][0] == pytest.approx(expected["a"], rel=1e-5)
        assert logs["loss"][0] == pytest.approx(weight * expected["a"] + 0.5 * expected["b"], rel=1e-5)


def test_without_terms_and_penalties_a_model_has_no_metrics_and_a_term_is_computed_once() -> None:
    model = compiled(lossreg.losses.create("mix"))
    lossreg.attach(model, terms=True)
    assert isinstance(model.evaluate(X, Y, verbose=0), float)
    assert [metric.name for metric in model.metrics] == ["loss"]
    calls: list[int] = []

    @lossreg.losses.register("counted")
    def counted(y_true: Any, y_pred: Any) -> Any:
        calls.append(1)
        return ops.mean(ops.square(y_true - y_pred), axis=-1)

    try:
        counts = []
        for terms in (False, True):
            model = compiled(created({"name": "weighted", "terms": {"a": {"name": "counted"}}}), run_eagerly=True)
            lossreg.attach(model, terms=terms)
            model.train_on_batch(X, Y)
            calls.clear()
            model.train_on_batch(X, Y)
            counts.append(len(calls))
        assert counts == [1, 1]
    finally:
        lossreg.losses.unregister("counted")


def test_a_model_that_was_trained_or_loaded_shows_its_terms_too_and_forgets_those_of_another_loss(
    tmp_path: Path,
) -> None:
    model = compiled(created(NESTED), created({"name": "l2custom"}, "regularizers"))
    lossreg.attach(model)
    assert set(model.fit(X, Y, verbose=0).history) == {"loss"}
    lossreg.attach(model, terms=True)
    expected = model.fit(X, Y, verbose=0).history
    assert {"loss.terms.a", "hidden.kernel_regularizer"} < set(expected)
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert isinstance(loaded.evaluate(X, Y, verbose=0), float)
    lossreg.attach(loaded, terms=True)
    logs = loaded.fit(X, Y, verbose=0).history
    for found in (logs, expected):  # Keras loads what two layers share as two
        penalties = [found.pop(f"{layer}.kernel_regularizer", [0.0])[0] for layer in ("hidden", "last")]
        found["penalty"] = [pytest.approx(sum(penalties), rel=1e-5)]
    assert logs == expected
    loaded.compile("sgd", loss=lossreg.losses.create("mse"))
    lossreg.attach(loaded)
    assert set(loaded.fit(X, Y, verbose=0).history) == {
        "loss",
        "hidden.kernel_regularizer",
        "last.kernel_regularizer",
    }


def larger(
    y_true: Any, y_pred: Any, first: Callable[..., Any], second: Callable[..., Any], branch: bool = False
) -> Any:
    """A plugin that takes terms in a way of its own."""
    if branch:
        return tf.cond(ops.sum(y_pred) > 0, lambda: first(y_true, y_pred), lambda: second(y_true, y_pred))
    return ops.maximum(first(y_true, y_pred), second(y_true, y_pred))


def test_terms_of_any_plugin_have_columns_and_what_cannot_be_seen_is_nan() -> None:
    lossreg.losses.register("larger")(larger)
    try:
        bce = lossreg.losses.create("bce")
        logs: dict[bool, Any] = {}
        for branch in (False, True):
            model = compiled(lossreg.losses.create("larger", first=bce, second={"name": "mse"}, branch=branch))
            lossreg.attach(model, terms=True)
            logs[branch] = model.fit(X, Y, verbose=0).history
        expected = {k: np.mean(v) for k, v in per_sample(np.asarray(model(X))).items()}
        assert logs[False]["loss.first"][0] == pytest.approx(expected["a"], rel=1e-5)
        assert logs[False]["loss.second"][0] == pytest.approx(expected["b.terms.c"], rel=1e-5)
        assert logs[True]["loss"][0] == pytest.approx(expected["a"], rel=1e-5)
        assert np.isnan([logs[True]["loss.first"][0], logs[True]["loss.second"][0]]).all()
        twice = lossreg.losses.create("weighted", terms={"x": bce, "y": bce}, weights={"y": 2.0})
        model = compiled(twice)
        lossreg.attach(model, terms=True)
        assert model.fit(X, Y, verbose=0).history == {
            name: [pytest.approx(factor * expected["a"], rel=1e-5)]
            for name, factor in (("loss", 3), ("loss.terms.x", 1), ("loss.terms.y", 1))
        }
    finally:
        lossreg.losses.unregister("larger")


def test_a_model_that_is_built_without_room_for_metrics_says_so() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.dense = keras.layers.Dense(1, "sigmoid")

        def call(self, x: Any) -> Any:
            return self.dense(x)

    model = Own()
    model.compile("sgd", loss=created(NESTED))
    model.train_on_batch(X, Y)
    with pytest.raises(lossreg.NotAttachedError, match="before the model is built"):
        lossreg.attach(model, terms=True)
