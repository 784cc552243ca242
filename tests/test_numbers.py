"""Numbers that change while a model trains: schedules, variables, and what is assigned by hand."""

from __future__ import annotations

import copy
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import lossreg
from lossreg import BrokenPluginError, NotAttachedError, ParameterError, Registry, UnknownNameError
from lossreg._bound import function_of
from tests.conftest import ROOT

X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], np.float32)
Y = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
P = np.array([[0.1], [0.7], [0.4], [0.5]], np.float32)

Array = Any


def bce(y: Array, p: Array) -> float:
    return float(-np.mean(y * np.log(p + 1e-6) + (1 - y) * np.log(1 - p + 1e-6)))


def mse(y: Array, p: Array) -> float:
    return float(np.mean((y - p) ** 2))


def linear(start: float, end: float, steps: int) -> dict[str, Any]:
    return {
        "name": "polynomial_decay",
        "initial_learning_rate": start,
        "decay_steps": steps,
        "end_learning_rate": end,
    }


def model_with(loss: Any, optimizer: Any, penalty: Any = None, **options: Any) -> keras.Model:
    """A model of two inputs and one output, compiled and attached."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((2,))
    model = keras.Model(inputs, keras.layers.Dense(1, "sigmoid", kernel_regularizer=penalty, name="dense")(inputs))
    model.compile(optimizer, loss=loss, **options)
    lossreg.attach(model)
    return model


def losses_of_steps(model: keras.Model, steps: int) -> list[float]:
    return [train_one_step(model) for _ in range(steps)]


def train_one_step(model: keras.Model) -> float:
    model.reset_metrics()  # Keras 3.12 returns the mean since the last reset
    return float(model.train_on_batch(X, Y))


# Schedules.


@pytest.mark.parametrize("jit_compile", [False, True])
def test_a_schedule_has_the_value_of_the_step(jit_compile: bool) -> None:
    loss = lossreg.losses.create("mix", r=linear(1, 0.2, 4))
    penalty = lossreg.regularizers.create("l2custom", r={"name": "cosine_decay", "initial_learning_rate": 0.5, "decay_steps": 6})  # fmt: skip  # noqa: E501
    model = model_with(loss, keras.optimizers.SGD(0.0), penalty, jit_compile=jit_compile)
    p, w = np.asarray(model(X)), np.asarray(next(v for v in model.trainable_variables if v.name == "kernel"))
    r = [1.0, 0.8, 0.6, 0.4, 0.2, 0.2]  # it stays where it ends
    cosine = [0.5 * (1 + np.cos(np.pi * step / 6)) / 2 for step in range(6)]
    expected = [a * bce(Y, p) + (1 - a) * mse(Y, p) + b * np.sum(w**2) for a, b in zip(r, cosine, strict=True)]
    assert losses_of_steps(model, 6) == pytest.approx(expected, rel=1e-5)
    assert (loss.r, penalty.r) == (pytest.approx(0.2), pytest.approx(0.0, abs=1e-7))
    assert model.evaluate(X, Y, verbose=0) == pytest.approx(0.2 * bce(Y, p) + 0.8 * mse(Y, p), rel=1e-5)


def test_the_step_is_the_optimizer_s_also_with_many_steps_per_execution() -> None:
    loss = lossreg.losses.create("mix", r=linear(1, 0, 40))
    model = model_with(loss, keras.optimizers.SGD(0.0), steps_per_execution=8)
    model.fit(X, Y, batch_size=2, epochs=8, verbose=0)
    assert int(model.optimizer.iterations) == 16
    assert loss.r == pytest.approx(1 - 16 / 40)


def test_schedules_of_terms_and_of_their_weights() -> None:
    loss = lossreg.losses.create(
        "weighted",
        terms={"a": {"name": "mix", "r": linear(1, 0, 2)}, "b": {"name": "mse"}},
        weights={"a": linear(2, 0, 4), "b": 0.5},
    )
    model = model_with(loss, keras.optimizers.SGD(0.0))
    p = np.asarray(model(X))
    expected = [
        w * (r * bce(Y, p) + (1 - r) * mse(Y, p)) + 0.5 * mse(Y, p) for w, r in ((2.0, 1.0), (1.5, 0.5), (1.0, 0.0))
    ]
    assert losses_of_steps(model, 3) == pytest.approx(expected, rel=1e-5)
    assert loss.weights == {"a": 0.5, "b": 0.5}
    assert set(loss.numbers) == {"weights.a", "weights.b", "terms.a.r"}


def test_a_schedule_of_keras_itself_and_one_that_was_created_are_taken() -> None:
    arguments: dict[str, Any] = {"initial_learning_rate": 1, "decay_steps": 4, "end_learning_rate": 0}
    own = keras.optimizers.schedules.PolynomialDecay(**arguments)
    created = lossreg.schedules.create("polynomial_decay", **arguments)
    assert isinstance(created, keras.optimizers.schedules.LearningRateSchedule)
    found = []
    for schedule in (own, created, linear(1, 0, 4)):
        model = model_with(lossreg.losses.create("mix", r=schedule), keras.optimizers.SGD(0.1))
        found.append(losses_of_steps(model, 4))
    assert found[0] == found[1] == found[2]
    rate = [float(created(step)) for step in range(5)]
    assert rate == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert keras.optimizers.Adam(created).learning_rate == 1.0


def test_schedules_and_variables_of_strangers(losses: Registry) -> None:
    """A function of the step, and a class with an inverse; neither imports anything of ours."""
    loss = losses.create("with_parameters", scale={"name": "staircase", "height": 0.5}, power={"name": "tanh", "initial": 0.5})  # fmt: skip  # noqa: E501
    model = model_with(loss, keras.optimizers.SGD(0.0))
    error = np.mean(np.abs(Y - np.asarray(model(X))) ** 0.5)
    assert losses_of_steps(model, 5) == pytest.approx([s * error for s in (0, 0, 0.5, 0.5, 1.0)], rel=1e-5)
    assert repr(loss) == (
        "<loss every-kind/with_parameters(scale=<schedule every-kind/staircase(height=0.5, length=2)>, "
        "power=<learned every-kind/tanh(initial=0.5)>, mode='mean')>"
    )
    with pytest.raises(
        ParameterError, match=r"learned number 'softplus' \(every-kind 1\.2\.3\): -1 is not a value that"
    ):
        losses.create("with_parameters", scale={"name": "softplus", "initial": -1})
    with pytest.raises(BrokenPluginError, match=r"learned number 'broken_inverse' .*raised NameError: name 'nowhere'"):
        losses.create("with_parameters", scale={"name": "broken_inverse"})
    with pytest.raises(
        BrokenPluginError, match=r"'no_inverse' of package every-kind 1\.2\.3 cannot be used: a learned number is"
    ):
        losses.create("with_parameters", scale={"name": "no_inverse"})


@pytest.mark.parametrize(
    ("name", "params"), [("with_parameters", {}), ("factory", {}), ("keras_class", {}), ("callable_class", {})]
)
def test_every_style_of_plugin_takes_a_schedule(losses: Registry, name: str, params: dict[str, Any]) -> None:
    loss = losses.create(name, scale=linear(2, 0, 4), **params)
    model = model_with(loss, keras.optimizers.SGD(0.0))
    square = mse(Y, np.asarray(model(X)))
    assert losses_of_steps(model, 4) == pytest.approx([s * square for s in (2.0, 1.5, 1.0, 0.5)], rel=1e-5)


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        (
            {"r": {"name": "cosin_decay"}},
            UnknownNameError,
            r"no schedule or learned number 'cosin_decay'. Did you mean 'cosine_",
        ),
        ({"r": linear(1, 0, 0) | {"decay_stps": 3}}, ParameterError, "has no parameter 'decay_stps'"),
        ({"r": linear("x", 0, 5)}, ParameterError, r"r\.initial_learning_rate: schedule 'polynomial_decay' .* not 'x'"),  # type: ignore[arg-type]
        (
            {"r": {"name": "cosine_decay", "initial_learning_rate": 1}},
            ParameterError,
            "needs a value for 'decay_steps'",
        ),
        (
            {"r": {"name": "bounded", "initial": 2}},
            ParameterError,
            r"^r: learned number 'bounded' \(lossreg .*\): 2 is not between",
        ),
        ({"r": {"r": 1}}, ParameterError, r"takes float for 'r', not \{'r': 1\}"),
    ],
)
def test_a_mistake_in_a_node_is_named(params: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        lossreg.losses.create("mix", **params)


# Variables.


def test_a_learned_mixing_weight_follows_its_gradient() -> None:
    loss = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
    model = model_with(loss, keras.optimizers.SGD(0.5))
    raw = np.log(0.8 / 0.2)
    for _ in range(3):
        p, r = np.asarray(model(X)), 1 / (1 + np.exp(-raw))
        expected = r * bce(Y, p) + (1 - r) * mse(Y, p)
        raw -= 0.5 * r * (1 - r) * (bce(Y, p) - mse(Y, p))
        assert train_one_step(model) == pytest.approx(expected, rel=1e-5)
        assert loss.r == pytest.approx(1 / (1 + np.exp(-raw)), rel=1e-5)
    assert len(model.trainable_variables) == 3


def test_uncertainty_weights_are_those_of_the_paper() -> None:
    loss = lossreg.losses.create(
        "weighted",
        terms={"a": {"name": "bce"}, "b": {"name": "mse"}},
        weights={"a": {"name": "uncertainty", "initial": 2}, "b": {"name": "uncertainty"}},
    )
    model = model_with(loss, keras.optimizers.SGD(0.1))
    s = {"a": -np.log(4.0), "b": 0.0}
    for _ in range(3):
        p = np.asarray(model(X))
        terms = {"a": bce(Y, p), "b": mse(Y, p)}
        expected = sum(np.exp(-s[name]) / 2 * value + s[name] / 2 for name, value in terms.items())
        s = {name: s[name] - 0.1 * (0.5 - np.exp(-s[name]) / 2 * value) for name, value in terms.items()}
        assert train_one_step(model) == pytest.approx(expected, rel=1e-5)
    assert dict(loss.weights) == pytest.approx({name: np.exp(-value) / 2 for name, value in s.items()}, rel=1e-5)


def test_a_learned_penalty_and_one_variable_in_two_places() -> None:
    factor = lossreg.learned.create("positive", initial=0.1)
    penalty = lossreg.regularizers.create("l2custom", r=factor)
    loss = lossreg.losses.create("mix", r=factor)
    model = model_with(loss, keras.optimizers.SGD(0.5), penalty)
    assert len(model.trainable_variables) == 3
    p, w = np.asarray(model(X)), np.asarray(next(v for v in model.trainable_variables if v.name == "kernel"))
    model.train_on_batch(X, Y)
    raw = np.log(0.1) - 0.5 * 0.1 * (bce(Y, p) - mse(Y, p) + np.sum(w**2))
    assert loss.r == penalty.r == pytest.approx(np.exp(raw), rel=1e-5)


def test_a_learned_number_is_read_before_it_is_updated() -> None:
    """TensorFlow's dependency optimizer drops that order in some of the programs that it optimizes, not in all."""
    for _ in range(15):
        loss = lossreg.losses.create("mix", r=keras.Variable(0.8))
        model = model_with(loss, keras.optimizers.Adam(0.1))
        for _ in range(2):
            p, r = np.asarray(model(X)), loss.r
            assert train_one_step(model) == pytest.approx(r * bce(Y, p) + (1 - r) * mse(Y, p), rel=1e-5)


@pytest.mark.parametrize("trainable", [True, False])
def test_a_variable_that_is_handed_in_is_trained_if_it_is_trainable(trainable: bool) -> None:
    variable = keras.Variable(0.8, trainable=trainable)
    loss = lossreg.losses.create("mix", r=variable)
    model = model_with(loss, keras.optimizers.SGD(0.5))
    p = np.asarray(model(X))
    model.train_on_batch(X, Y)
    expected = 0.8 - 0.5 * (bce(Y, p) - mse(Y, p)) if trainable else 0.8
    assert float(variable) == loss.r == pytest.approx(expected, rel=1e-5)


def test_a_variable_that_is_no_scalar_is_the_plugin_s_own_affair() -> None:
    @lossreg.losses.register("per_class")
    def per_class(y_true: Any, y_pred: Any, alpha: Any = (1.0,)) -> Any:
        return keras.ops.mean(keras.ops.convert_to_tensor(alpha) * keras.ops.square(y_true - y_pred), axis=-1)

    try:
        loss = lossreg.losses.create("per_class", alpha=tf.Variable([2.0]))
        assert float(loss(Y, P)) == pytest.approx(2 * mse(Y, P), rel=1e-6)
    finally:
        lossreg.losses.unregister("per_class")


@pytest.mark.parametrize("subclassed", [False, True])
def test_a_model_that_is_not_built_yet_is_attached(subclassed: bool) -> None:
    loss = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
    penalty = lossreg.regularizers.create("l2custom", r=linear(1, 0, 4))

    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.hidden = keras.layers.Dense(2, kernel_regularizer=penalty)
            self.out = keras.layers.Dense(1, "sigmoid")

        def call(self, x: Any) -> Any:
            return self.out(self.hidden(x))

    layers = [keras.layers.Dense(2, kernel_regularizer=penalty), keras.layers.Dense(1, "sigmoid")]
    model = Own() if subclassed else keras.Sequential(layers)
    model.compile("adam", loss=loss if subclassed else "mse")
    lossreg.attach(model)
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert penalty.r == pytest.approx(0.5)
    assert len(model.trainable_variables) == 4 + subclassed
    assert (loss.r != pytest.approx(0.8, abs=1e-6)) is subclassed


def test_a_sequential_model_that_is_not_built_has_no_place_for_a_variable() -> None:
    model = keras.Sequential([keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", loss=lossreg.losses.create("mix", r={"name": "bounded"}))
    with pytest.raises(NotAttachedError, match=r"is not built.*keras\.Input"):
        lossreg.attach(model)
    model.build((None, 2))
    lossreg.attach(model)
    assert len(model.trainable_variables) == 3


def test_the_layers_of_a_sequential_model_have_their_own_weights_only() -> None:
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", loss=lossreg.losses.create("mix", r={"name": "bounded"}))
    lossreg.attach(model)
    assert len(model.layers[-1].get_weights()) == 2
    assert len(model.trainable_variables) == 3


def test_a_loss_that_is_a_metric_too_is_attached(tmp_path: Path) -> None:
    loss = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
    scheduled = lossreg.losses.create("mix", r=linear(1, 0, 4))
    model = model_with(loss, "sgd", metrics=[loss], weighted_metrics=[scheduled])
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == 3
    assert loaded.fit(X, Y, verbose=0).history == model.fit(X, Y, verbose=0).history


def test_sequential_and_nested_models_are_attached() -> None:
    loss = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
    penalty = lossreg.regularizers.create("l2custom", r=linear(1, 0, 4))
    inner = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, kernel_regularizer=penalty)])
    model = keras.Sequential([keras.Input((2,)), inner, keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", loss=loss)
    lossreg.attach(model)
    lossreg.attach(model)  # a second time changes nothing
    assert len(model.trainable_variables) == 5
    model.fit(X, Y, batch_size=4, epochs=2, verbose=0)
    assert loss.r != pytest.approx(0.8, abs=1e-6)
    assert penalty.r == pytest.approx(0.5)


def test_what_is_not_attached_is_an_error_that_says_what_to_do() -> None:
    for number in (linear(1, 0, 4), {"name": "bounded"}):
        loss = lossreg.losses.create("mix", r=number)
        with pytest.raises(NotAttachedError, match=r"loss 'mix' .*: 'r' is a .*Call lossreg\.attach\(model\) after"):
            loss(Y, P)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
    with pytest.raises(NotAttachedError, match="is not compiled"):
        lossreg.attach(model)
    model.compile("adam", loss=loss)
    model.optimizer.build(model.trainable_variables)
    with pytest.raises(NotAttachedError, match=r"was trained without the learned numbers"):
        lossreg.attach(model)


def test_another_compile_is_attached_again() -> None:
    first = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
    model = model_with(first, "sgd")
    model.train_on_batch(X, Y)
    second = lossreg.losses.create("mix", r=linear(1, 0, 4))
    model.compile("sgd", loss=second)
    lossreg.attach(model)
    assert len(model.trainable_variables) == 2
    model.train_on_batch(X, Y)
    assert second.r == 0.75
    model.compile("sgd", loss=second)  # the same loss follows the new optimizer without being attached again
    losses_of_steps(model, 2)
    assert second.r == 0.5


# By hand.


@pytest.fixture
def counted() -> Iterator[list[int]]:
    """A loss `counted` and a regularizer that note each time that their Python code runs: while it is traced."""
    calls: list[int] = []

    @lossreg.losses.register("counted")
    def counted(y_true: Any, y_pred: Any, r: float = 0.5, scale: float = 1.0) -> Any:
        calls.append(1)
        square = keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)
        return scale * (r + (1 - r) * square)

    @lossreg.regularizers.register("counted")
    def penalty(weights: Any, r: float = 0.1) -> Any:
        calls.append(1)
        return r * keras.ops.sum(keras.ops.abs(weights))

    yield calls
    lossreg.losses.unregister("counted")
    lossreg.regularizers.unregister("counted")


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("given", [{"r": 0.8}, {}])
def test_numbers_are_assigned_between_epochs_without_tracing_again(
    counted: list[int], given: dict[str, float], jit_compile: bool
) -> None:
    loss = lossreg.losses.create("counted", **given)
    penalty = lossreg.regularizers.create("counted")
    model = model_with(loss, keras.optimizers.SGD(0.0), penalty, jit_compile=jit_compile)
    p, w = np.asarray(model(X)), np.asarray(next(v for v in model.trainable_variables if v.name == "kernel"))

    def expected() -> float:
        return loss.scale * (loss.r + (1 - loss.r) * mse(Y, p)) + penalty.r * np.sum(np.abs(w))

    assert loss.r == given.get("r", 0.5)
    assert model.fit(X, Y, verbose=0).history["loss"][0] == pytest.approx(expected(), rel=1e-5)
    traces = len(counted)
    loss.r, loss.scale, penalty.r = 0.25, 3, 0.75
    assert (loss.r, loss.scale, penalty.r) == (0.25, 3.0, 0.75)
    assert model.fit(X, Y, verbose=0).history["loss"][0] == pytest.approx(expected(), rel=1e-5)
    assert len(counted) == traces
    assert float(loss(Y, p)) == pytest.approx(3 * (0.25 + 0.75 * mse(Y, p)), rel=1e-6)
    assert repr(loss) == "<loss counted(r=0.25, scale=3.0)>"


def test_numbers_are_assigned_from_a_callback(counted: list[int]) -> None:
    loss = lossreg.losses.create("counted", r=1.0)
    model = model_with(loss, keras.optimizers.SGD(0.0))
    traces: list[int] = []

    class Halve(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            traces.append(len(counted))
            self.model.loss.r *= 0.5

    square = mse(Y, np.asarray(model(X)))
    history = model.fit(X, Y, epochs=4, verbose=0, callbacks=[Halve()]).history["loss"]
    assert history == pytest.approx([r + (1 - r) * square for r in (1, 0.5, 0.25, 0.125)], rel=1e-5)
    assert len(set(traces)) == 1


def test_weights_of_terms_and_numbers_of_terms_are_assigned(counted: list[int]) -> None:
    loss = lossreg.losses.create(
        "weighted", terms={"a": {"name": "counted", "r": 0.5}, "b": {"name": "bce"}}, weights={"a": 1, "b": 0.5}
    )
    model = model_with(loss, keras.optimizers.SGD(0.0))
    p = np.asarray(model(X))
    model.train_on_batch(X, Y)
    traces = len(counted)
    loss.weights["b"] = 2
    loss.terms["a"].r = 0.25
    assert train_one_step(model) == pytest.approx(0.25 + 0.75 * mse(Y, p) + 2 * bce(Y, p), rel=1e-5)
    assert len(counted) == traces
    with pytest.raises(ParameterError, match=r"was given no number for 'weights\.c'; in weights: a, b"):
        loss.weights["c"] = 1


def test_a_variable_is_assigned_and_goes_on_learning() -> None:
    loss = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
    model = model_with(loss, keras.optimizers.SGD(0.1))
    model.train_on_batch(X, Y)
    loss.r = 0.3
    assert loss.r == pytest.approx(0.3)
    model.train_on_batch(X, Y)
    assert 0.25 < loss.r < 0.3


@pytest.mark.parametrize(
    ("params", "assign", "error", "message"),
    [
        ({}, ("r", "abc"), ParameterError, "r: loss 'mix' .* takes float for 'r', not 'abc'"),
        ({}, ("r", None), ParameterError, "takes float for 'r', not None"),
        ({}, ("r", keras.ops.ones((2,))), ParameterError, "takes float for 'r'"),
        ({}, ("rr", 0.5), AttributeError, "has no number 'rr' that could be assigned. Did you mean 'r'?"),
        ({"r": linear(1, 0, 4)}, ("r", 0.5), ParameterError, "'r' cannot be assigned: it is a schedule"),
        (
            {"r": {"name": "bounded", "upper": 0.5, "initial": 0.3}},
            ("r", 0.7),
            ParameterError,
            "'r' cannot be assigned: .* 0.7 is not between 0 and 0.5",
        ),
    ],
)
def test_what_cannot_be_assigned_is_an_error(
    params: dict[str, Any], assign: tuple[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        setattr(lossreg.losses.create("mix", **params), *assign)


@pytest.mark.parametrize("number", [np.float64(0.25), np.float32(0.25), np.array(0.25), tf.constant(0.25)])
def test_numbers_of_numpy_and_eager_scalars_are_numbers(number: Any) -> None:
    loss = lossreg.losses.create("mix", r=0.8)
    loss.r = number
    assert loss.r == 0.25
    if not tf.is_tensor(number):
        loss = lossreg.losses.create("mix", r=number)
        loss.r = 0.5
        assert loss.parameters == {"r": 0.5}
        initial = lossreg.learned.create("bounded", initial=number)
        assert lossreg.losses.create("mix", r=initial).r == 0.25


def test_what_is_read_cannot_be_changed_behind_its_back() -> None:
    loss = lossreg.losses.create("weighted", terms={"a": {"name": "mix"}})
    with pytest.raises(TypeError):
        loss.terms["a"] = lossreg.losses.create("mse")


def test_a_misspelt_attribute_is_an_error_with_the_nearest_name() -> None:
    loss = lossreg.losses.create("binary_focal_crossentropy")
    with pytest.raises(AttributeError, match=r"has no parameter or attribute 'gama'\. Did you mean 'gamma'"):
        loss.gama  # noqa: B018
    assert loss.gamma == 2.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_constant_is_as_exact_in_compiled_code_as_a_number(dtype: str) -> None:
    loss = lossreg.regularizers.create("l2custom", r=0.1)
    weights = keras.ops.convert_to_tensor(np.array([1.0, 3.0]), dtype=dtype)
    compiled = tf.function(loss)(weights)
    assert compiled.dtype == dtype
    assert float(compiled) == float(loss(weights))


def test_fixed_constants_are_compiled_in_and_schedules_are_not(counted: list[int]) -> None:
    loss = lossreg.losses.create("counted", r=linear(1, 0, 4), scale=2)
    model = model_with(loss, keras.optimizers.SGD(0.0))
    lossreg.attach(model, static=True)
    square = mse(Y, np.asarray(model(X)))
    assert losses_of_steps(model, 2) == pytest.approx([2 * (r + (1 - r) * square) for r in (1, 0.75)], rel=1e-5)
    with pytest.raises(ParameterError, match=r"'scale' cannot be assigned.*lossreg\.attach\(model, static=True\)"):
        loss.scale = 3


# Plugins that need the number itself.


def test_a_constant_of_a_plugin_that_branches_stays_a_number(losses: Registry) -> None:
    loss = losses.create("branching", r=0.75, scale=2)
    model = model_with(loss, keras.optimizers.SGD(0.0))
    p = np.asarray(model(X))
    assert train_one_step(model) == pytest.approx(2 * np.mean(np.abs(Y - p)), rel=1e-5)
    loss.scale = 3  # what it takes as a tensor can be assigned all the same
    assert train_one_step(model) == pytest.approx(3 * np.mean(np.abs(Y - p)), rel=1e-5)
    with pytest.raises(ParameterError, match=r"loss 'branching' \(every-kind 1\.2\.3\): 'r' cannot be assigned.*every_kind\.py:\d+: if r > 0\.5:\)"):  # fmt: skip  # noqa: E501
        loss.r = 0.25


@pytest.mark.parametrize("eagerly", [False, True])
@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("branching", r"OperatorNotAllowedInGraphError: .*every_kind\.py:\d+: if r > 0\.5:\)"),
        ("looking", "its value does not depend on a tensor for 'r'"),
        ("doubling", "its value with a tensor for 'r' is another"),
    ],
)
def test_a_schedule_of_a_plugin_that_needs_the_number_is_an_error_with_its_line(
    losses: Registry, name: str, reason: str, eagerly: bool
) -> None:
    for number, noun in ((linear(1, 0, 4), "schedule"), ({"name": "bounded"}, "learned number")):
        model = model_with(losses.create(name, r=number), "sgd", run_eagerly=eagerly)
        with pytest.raises(BrokenPluginError, match=rf"loss '{name}' \(every-kind 1\.2\.3\) does not take a {noun} for 'r'.*{reason}"):  # fmt: skip  # noqa: E501
            model.train_on_batch(X, Y)


@pytest.mark.parametrize(("name", "factor"), [("looking", 1), ("doubling", 2)])
def test_a_constant_that_a_plugin_looks_at_keeps_its_meaning(losses: Registry, name: str, factor: int) -> None:
    model = model_with(losses.create(name, r=0.25), keras.optimizers.SGD(0.0))
    assert train_one_step(model) == pytest.approx(factor * 0.25 * mse(Y, np.asarray(model(X))), rel=1e-5)


def test_an_object_that_holds_layers_is_made_once(losses: Registry) -> None:
    loss = losses.create("perceptual", scale=0.5)
    model = model_with(loss, keras.optimizers.SGD(0.0))
    assert train_one_step(model) == pytest.approx(0.5 * mse(Y, np.asarray(model(X))), rel=1e-5)
    with pytest.raises(ParameterError, match="it holds a Dense, which would be made anew"):
        loss.scale = 1
    with pytest.raises(BrokenPluginError, match=r"does not take a schedule for 'scale'.*it holds a Dense"):
        model_with(losses.create("perceptual", scale=linear(1, 0, 4)), "sgd").train_on_batch(X, Y)


class Counting:
    """A loss that counts its calls in a variable, held by a helper, or made at the first call."""

    def __init__(self, scale: float = 1.0, lazy: bool = False) -> None:
        self.scale = scale
        self.held: dict[str, Any] = {"count": None if lazy else tf.Variable(0.0, trainable=False)}

    def __call__(self, y_true: Any, y_pred: Any) -> Any:
        if self.held["count"] is None:
            self.held["count"] = tf.Variable(0.0, trainable=False)
        self.held["count"].assign_add(1.0)
        return self.scale * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def noisy(y_true: Any, y_pred: Any, scale: float = 1.0) -> Any:
    noise = tf.random.normal(tf.shape(y_pred), stddev=1e-2) + np.random.normal(0, 1e-2)  # noqa: NPY002
    return scale * keras.ops.mean(keras.ops.square(y_true - y_pred + noise), axis=-1)


@pytest.fixture
def awkward() -> Iterator[None]:
    targets = {"counting": Counting, "noisy": noisy}
    for name, target in targets.items():
        lossreg.losses.register(name)(target)
    yield
    for name in targets:
        lossreg.losses.unregister(name)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("nested", [False, True])
def test_a_constant_of_a_plugin_with_a_state_trains_as_ever(awkward: None, lazy: bool, nested: bool) -> None:
    loss = lossreg.losses.create("counting", scale=2, lazy=lazy)
    whole = lossreg.losses.create("weighted", terms={"a": loss}, weights={"a": 0.5}) if nested else loss
    model = model_with(whole, keras.optimizers.SGD(0.0))
    p = np.asarray(model(X))
    found = losses_of_steps(model, 2)
    assert found == pytest.approx([(1 if nested else 2) * mse(Y, p)] * 2, rel=1e-5)
    assert float(vars(function_of(loss))["held"]["count"]) == 2
    model = model_with(lossreg.losses.create("counting", scale=linear(1, 0, 4), lazy=lazy), "sgd")
    with pytest.raises(BrokenPluginError, match=r"'counting'.*(it holds a|it makes a variable)"):
        model.train_on_batch(X, Y)


def test_a_plugin_that_draws_random_numbers_takes_a_schedule(awkward: None) -> None:
    loss = lossreg.losses.create("noisy", scale=linear(1, 0, 4))
    model = model_with(loss, keras.optimizers.SGD(0.0))
    first, _, _, last = losses_of_steps(model, 4)
    assert last == pytest.approx(first / 4, rel=0.2)


def test_what_was_assigned_before_compiling_is_made_outside_of_the_program() -> None:
    @lossreg.losses.register("precomputing")
    def precomputing(scale: float = 0.5) -> Any:
        constant = tf.constant(scale)
        assert scale > 0
        return lambda y_true, y_pred: constant * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    try:
        loss = lossreg.losses.create("precomputing")
        loss.scale = 0.25
        model = model_with(loss, keras.optimizers.SGD(0.0))
        expected = pytest.approx(0.25 * mse(Y, np.asarray(model(X))), rel=1e-5)
        assert train_one_step(model) == expected
        assert model.evaluate(X, Y, verbose=0) == expected
    finally:
        lossreg.losses.unregister("precomputing")


def test_a_tensor_of_unknown_rank_is_penalised() -> None:
    penalty = lossreg.regularizers.create("l2custom", r=0.5)

    @tf.function
    def call(x: Any) -> Any:
        return penalty(tf.numpy_function(lambda value: value, [x], tf.float32))

    assert float(call(tf.constant([1.0, 2.0]))) == pytest.approx(2.5)


def test_a_plugin_that_is_broken_in_any_case_says_so_itself(losses: Registry) -> None:
    @lossreg.losses.register("broken_with_r")
    def broken(y_true: Any, y_pred: Any, r: float = 1.0) -> Any:
        raise TypeError("this loss always raises")

    try:
        model = model_with(lossreg.losses.create("broken_with_r", r=linear(1, 0, 4)), "sgd")
        with pytest.raises(
            BrokenPluginError, match=r"'broken_with_r' of package .* raised TypeError: this loss always"
        ):
            model.train_on_batch(X, Y)
    finally:
        lossreg.losses.unregister("broken_with_r")


# Saving.


def changing_model() -> keras.Model:
    loss = lossreg.losses.create(
        "weighted",
        terms={"a": {"name": "mix", "r": {"name": "bounded", "initial": 0.8}}, "b": {"name": "mse"}},
        weights={"a": {"name": "uncertainty"}, "b": linear(1, 0.1, 20)},
    )
    penalty = lossreg.regularizers.create("l2custom", r={"name": "positive", "initial": 0.01})
    rate = lossreg.schedules.create("cosine_decay", initial_learning_rate=0.1, decay_steps=20)
    return model_with(loss, keras.optimizers.Adam(rate), penalty)


def numbers_of(model: keras.Model) -> dict[str, float]:
    penalty = model.get_layer("dense").kernel_regularizer
    return {
        **{path: float(number.now()) for path, number in model.loss.numbers.items()},
        **{f"reg.{path}": float(number.now()) for path, number in penalty.numbers.items()},
    }


def test_training_goes_on_after_loading_as_if_it_had_not_been_saved(tmp_path: Path) -> None:
    model = changing_model()
    losses_of_steps(model, 5)
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert numbers_of(loaded) == numbers_of(model)
    assert loaded.evaluate(X, Y, verbose=0) == model.evaluate(X, Y, verbose=0)
    assert losses_of_steps(loaded, 5) == losses_of_steps(model, 5)
    assert numbers_of(loaded) == numbers_of(model)


def test_the_order_of_parameters_does_not_matter_to_loading(tmp_path: Path) -> None:
    positive = lossreg.learned.create
    loss = lossreg.losses.create(
        "asymmetric", gamma_neg=positive("positive", initial=3.0), gamma_pos=positive("positive", initial=0.5)
    )
    penalty = lossreg.regularizers.create(
        "elastic_net", l1_ratio=positive("bounded", initial=0.3), factor=positive("positive", initial=0.01)
    )
    model = model_with(loss, "adam", penalty)
    losses_of_steps(model, 5)
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert numbers_of(loaded) == numbers_of(model)
    assert losses_of_steps(loaded, 3) == losses_of_steps(model, 3)


def test_a_variable_in_several_places_is_one_after_loading(tmp_path: Path) -> None:
    factor = lossreg.learned.create("positive", initial=0.1)
    penalty = lossreg.regularizers.create("l2custom", r=factor)
    inputs = keras.Input((2,))
    hidden = keras.layers.Dense(2, kernel_regularizer=penalty)(inputs)
    heads = {name: keras.layers.Dense(1, "sigmoid", kernel_regularizer=penalty, name=name)(hidden) for name in "ab"}
    model = keras.Model(inputs, heads)
    loss = lossreg.losses.create("mix", r=factor)
    model.compile("adam", loss={"a": loss, "b": loss})
    lossreg.attach(model)
    data = {"a": Y, "b": Y}
    model.fit(X, data, verbose=0)
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert len(loaded.trainable_variables) == len(model.trainable_variables) == 7
    assert loaded.loss["a"].r == loaded.loss["b"].r == loss.r
    for _ in range(2):
        assert loaded.fit(X, data, verbose=0).history == model.fit(X, data, verbose=0).history
    assert loaded.loss["a"].r == loaded.loss["b"].r == loaded.get_layer("a").kernel_regularizer.r == loss.r


def test_a_variable_that_was_handed_in_comes_back_with_the_optimizer_s_state(tmp_path: Path) -> None:
    loss = lossreg.losses.create("mix", r=keras.Variable(0.8))
    penalty = lossreg.regularizers.create("l2custom", r=keras.Variable(0.01, trainable=False))
    model = model_with(loss, "adam", penalty)
    losses_of_steps(model, 5)
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert int(loaded.optimizer.iterations) == 5
    assert numbers_of(loaded) == pytest.approx(numbers_of(model), rel=1e-7)
    assert losses_of_steps(loaded, 3) == losses_of_steps(model, 3)
    loaded.get_layer("dense").kernel_regularizer.r = 0.5
    assert loaded.get_layer("dense").kernel_regularizer.r == 0.5


def test_weights_alone_hold_what_was_learned(tmp_path: Path) -> None:
    def make() -> keras.Model:
        loss = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
        model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1, "sigmoid")])
        model.compile("adam", loss=loss)
        lossreg.attach(model)
        return model

    model, other = make(), make()
    model.fit(X, Y, epochs=3, verbose=0)
    model.save_weights(tmp_path / "model.weights.h5")
    other.optimizer.build(other.trainable_variables)
    other.load_weights(tmp_path / "model.weights.h5")
    assert other.loss.r == model.loss.r != pytest.approx(0.8, abs=1e-6)


LOAD = """
import json, sys, warnings
import lossreg
warnings.filterwarnings("error", module="lossreg")
from tests.test_numbers import X, Y, numbers_of
if sys.argv[2] == "keras":
    import keras
    lossreg.losses.create("mse")  # Keras then knows our classes
    warnings.filterwarnings("ignore", message="Skipping variable loading for optimizer")
    model = keras.models.load_model(sys.argv[1])
else:
    model = lossreg.load_model(sys.argv[1])
print(json.dumps([numbers_of(model) | ({"step": int(model.optimizer.iterations)} if sys.argv[2] == "lossreg" else {}),
                  lossreg.load_model(sys.argv[1]).evaluate(X, Y, verbose=0)]))
"""


@pytest.mark.parametrize("loader", ["lossreg", "keras"])
def test_a_fresh_process_loads_what_was_learned(tmp_path: Path, loader: str) -> None:
    model = changing_model()
    losses_of_steps(model, 5)
    model.save(tmp_path / "model.keras")
    command = [sys.executable, "-c", LOAD, str(tmp_path / "model.keras"), loader]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    found, loss = json.loads(process.stdout)
    expected = numbers_of(model)
    if loader == "keras":  # it attaches nothing, so that a schedule stands at its first step
        expected["weights.b"] = 1.0
    else:
        assert found.pop("step") == 5
    assert found == expected
    assert loss == pytest.approx(model.evaluate(X, Y, verbose=0), rel=1e-6)


def test_what_was_assigned_is_saved(tmp_path: Path) -> None:
    loss = lossreg.losses.create("mix", r=0.8)
    model = model_with(loss, "sgd")
    model.train_on_batch(X, Y)
    loss.r = 0.25
    model.save(tmp_path / "model.keras")
    loaded = lossreg.load_model(tmp_path / "model.keras")
    assert loaded.loss.r == 0.25
    loaded.loss.r = 0.5  # and can be assigned again
    p = np.asarray(loaded(X))
    assert loaded.evaluate(X, Y, verbose=0) == pytest.approx(0.5 * bce(Y, p) + 0.5 * mse(Y, p), rel=1e-5)


def test_a_schedule_that_is_not_installed_is_named(tmp_path: Path, losses: Registry) -> None:
    loss = losses.create("with_parameters", scale={"name": "staircase"})
    config = loss.get_config()
    config["parameters"]["scale"]["name"] = "shop-window/staircase"
    model = model_with(lossreg.losses.create("mix"), "sgd")
    path = tmp_path / "model.keras"
    model.loss.get_config = lambda: {**config, "plugin": "lossreg/mix", "parameters": {"r": config["parameters"]["scale"]}}  # fmt: skip  # noqa: E501
    model.save(path)
    with pytest.raises(
        UnknownNameError,
        match="the schedule or learned number 'staircase' comes from package shop-window",
    ):
        lossreg.load_model(path)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda loss: pickle.loads(pickle.dumps(loss))])
def test_a_copy_has_numbers_of_its_own(copied: Callable[[Any], Any]) -> None:
    loss = lossreg.losses.create("mix", r={"name": "bounded", "initial": 0.8})
    loss.r = 0.6
    other = copied(loss)
    loss.r = 0.3
    assert other.r == pytest.approx(0.6, rel=1e-6)
    assert repr(other) == repr(loss)
