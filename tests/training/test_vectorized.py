"""Many models in one program: which may share one, and that each has the numbers of its own run of Keras's fit."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops
from lossreg.training._config import Config, read_config
from lossreg.training._errors import CannotVectorizeError, ConfigError, DivergedError
from lossreg.training._fit import History, fit, raise_if_diverged
from lossreg.training._groups import chunk_limit, group_key
from lossreg.training._initial import InitialState
from lossreg.training._model import build_model
from lossreg.training._report import Metrics, evaluate
from lossreg.training._vectorized import train_many
from omegaconf import DictConfig, OmegaConf

import lossreg
from tests.conftest import ROOT

Plain = dict[str, Any]

STUDY: Plain = {
    "loss": {"name": "mix", "r": 0.8},
    "reg": {"name": "l2custom", "r": 1e-4},
    "data": {"name": "xor", "inputs": [[0, 0], [0, 1], [1, 0], [1, 1]], "targets": [[0], [1], [1], [0]]},
    "model": {"name": "mlp", "hidden_units": 4, "activation": "sigmoid", "dropout": 0.1},
    "optimizer": {"name": "adam", "learning_rate": 0.05},
    "epochs": 500,
    "batch_size": 4,
    "seed": 0,
    "jit_compile": True,
    "verbose": 0,
    "objective": "brier",
}


def study(**changes: Any) -> Plain:
    """The study's config; a name such as `optimizer__learning_rate` changes a value in a node."""
    config = copy.deepcopy(STUDY)
    for name, value in changes.items():
        node, _, key = name.rpartition("__")
        (config[node] if node else config)[key] = value
    return config


def typed(config: Plain) -> Config:
    cfg = OmegaConf.merge(OmegaConf.structured(Config), config)
    assert isinstance(cfg, DictConfig)
    return read_config(cfg)


def model_of(config: Config) -> keras.Model:
    return build_model(config, lossreg.losses.build(config.loss), lossreg.regularizers.build(config.reg))


def alone(plain: Plain) -> tuple[History, Metrics]:
    return _alone(json.dumps(plain))


@functools.cache
def _alone(plain: str) -> tuple[History, Metrics]:
    config = typed(json.loads(plain))
    model = model_of(config)
    history = fit(model, config)
    return history, evaluate(model, config, epochs_run=len(history["loss"]), seconds=0)


# Plugins as strangers write them, registered for the length of a test.


def focal(y_true: Any, y_pred: Any, gamma: float = 2.0, mode: str = "mean") -> Any:
    reduce = ops.mean if mode == "mean" else ops.max
    weight = ops.power(ops.abs(y_true - y_pred), gamma)
    return reduce(weight * keras.losses.binary_crossentropy(y_true, y_pred)[:, None], axis=-1)


class Elastic:
    def __init__(self, l1: float, l2: float | None = None) -> None:
        self.l1 = l1
        self.l2 = 0.0 if l2 is None else l2

    def __call__(self, weights: Any) -> Any:
        return ops.sum(self.l1 * ops.abs(weights) + self.l2 * ops.square(weights))


def branching(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    if r > 0.5:
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def converting(r: float = 0.5) -> Callable[[Any, Any], Any]:
    r = float(r)
    return lambda y_true, y_pred: r * ops.mean(ops.square(y_true - y_pred), axis=-1)


class ConvertingLoss(keras.losses.Loss):
    def __init__(self, r: float = 0.5, name: str = "own_converting_loss") -> None:
        super().__init__(name=name)
        self.r = r

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return np.float32(self.r) * ops.mean(ops.square(y_true - y_pred), axis=-1)


def looking(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    scale = r if isinstance(r, float) else 1.0
    return scale * ops.mean(ops.square(y_true - y_pred), axis=-1)


def random(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    return ops.mean(ops.square(y_true - y_pred) + r * keras.random.uniform((4, 1)), axis=-1)


def uncompilable(y_true: Any, y_pred: Any, r: float = 0.5) -> Any:
    text = tf.strings.as_string(y_pred[:, 0])
    return r * ops.mean(ops.square(y_true - y_pred), axis=-1) * tf.strings.to_number(text)


@pytest.fixture(autouse=True)
def plugins() -> Iterator[None]:
    losses = {
        "own_focal": focal,
        "own_huber": keras.losses.Huber,
        "own_branching": branching,
        "own_converting": converting,
    }
    losses |= {
        "own_converting_loss": ConvertingLoss,
        "own_looking": looking,
        "own_random": random,
        "own_uncompilable": uncompilable,
    }
    for name, target in losses.items():
        lossreg.losses.register(name)(target)
    lossreg.regularizers.register("own_elastic")(Elastic)
    yield
    for name in losses:
        lossreg.losses.unregister(name)
    lossreg.regularizers.unregister("own_elastic")


# The numbers of the run alone.


def weighted(first: Plain, weight: float) -> Plain:
    return {"name": "weighted", "terms": {"a": first, "b": BCE}, "weights": {"a": weight, "b": 1 - weight}}


BCE, MSE, NONE = {"name": "bce"}, {"name": "mse"}, {"name": "none"}

CASES: dict[str, list[Plain]] = {
    "mixing weights, penalties, seeds and learning rates": [
        study(loss__r=0.0, reg__r=1e-2, seed=3),
        study(loss__r=0.5, reg__r=0.0, seed=2**31 - 1, optimizer__learning_rate=0.1),
        study(loss__r=1.0, reg__r=1e-4, seed=0, optimizer__learning_rate=0.01),
    ],
    "bce alone, adamw, two batches": [
        study(loss=BCE, reg=NONE, optimizer__name="adamw", batch_size=2, seed=seed) for seed in (1, 2)
    ],
    "mse, nadam, a partial batch": [
        study(loss=MSE, optimizer__name="nadam", batch_size=3, seed=seed, reg__r=r)
        for seed, r in ((1, 1e-3), (2, 1e-5))
    ],
    "a Keras class, rmsprop, no dropout": [
        study(
            loss={"name": "own_huber", "delta": delta},
            reg=NONE,
            optimizer__name="rmsprop",
            model__dropout=0.0,
            seed=seed,
        )
        for seed, delta in ((5, 0.1), (6, 1.0))
    ],
    "a weighted sum with plugins of a third party, sgd": [
        study(
            loss=weighted({"name": "own_focal", "gamma": gamma, "mode": "max"}, weight),
            reg={"name": "own_elastic", "l1": l1, "l2": 1e-4},
            optimizer={"name": "sgd", "learning_rate": 0.5},
            seed=seed,
        )
        for seed, gamma, weight, l1 in ((8, 0.5, 0.9, 1e-4), (9, 2.0, 0.1, 1e-3))
    ],
}


def linear(start: float, end: float, steps: int = 500) -> Plain:
    return {
        **{"name": "polynomial_decay", "initial_learning_rate": start, "end_learning_rate": end},
        **{"decay_steps": steps, "power": 1.0, "cycle": False},
    }


def cosine(start: float, alpha: float, **warm_up: float) -> Plain:
    return {"name": "cosine_decay", "initial_learning_rate": start, "decay_steps": 450, "alpha": alpha, **warm_up}


def bounded(initial: float, upper: float = 1.0) -> Plain:
    return {"name": "bounded", "initial": initial, "lower": 0.0, "upper": upper}


CHANGING: dict[str, list[Plain]] = {
    "end points of a schedule": [
        study(loss__r=linear(1, end), seed=seed) for seed, end in ((3, 0.0), (4, 0.25), (5, 1))
    ],
    "schedules of everything, two batches": [
        study(
            loss__r=linear(start, 0.2),
            reg__r=cosine(start / 1000, 0.5),
            optimizer__learning_rate=cosine(0.0, 0.1, warmup_target=0.1, warmup_steps=50),
            batch_size=2,
            epochs=250,
            seed=seed,
        )
        for seed, start in ((1, 0.9), (2, 0.5))
    ],
    "a learned mixing weight and a learned penalty, a partial batch": [
        study(loss__r=bounded(r), reg__r=bounded(r / 1000, 0.001), batch_size=3, epochs=250, seed=seed)
        for seed, r in ((1, 0.8), (2, 0.3))
    ],
    "uncertainty weights beside a schedule, adamw": [
        study(
            loss={
                "name": "weighted",
                "terms": {
                    "a": {"name": "mix", "r": linear(r, 0.0)},
                    "b": {"name": "own_focal", "gamma": bounded(0.5, 4)},
                },
                "weights": {"a": {"name": "uncertainty", "initial": r}, "b": {"name": "uncertainty", "initial": 0.5}},
            },
            optimizer={"name": "adamw", "learning_rate": cosine(rate, 0.0)},
            seed=seed,
        )
        for seed, r, rate in ((8, 0.9, 0.05), (9, 0.4, 0.1))
    ],
    "a stranger's class with a schedule and a learned number": [
        study(
            loss={"name": "own_huber", "delta": linear(2.0, 0.1)},
            reg={"name": "own_elastic", "l1": cosine(l1, 0.0), "l2": {"name": "positive", "initial": l1}},
            optimizer={"name": "sgd", "learning_rate": 0.5},
            seed=seed,
        )
        for seed, l1 in ((5, 1e-4), (6, 1e-3))
    ],
}
CASES |= CHANGING


@pytest.mark.parametrize("configs", CASES.values(), ids=CASES.keys())
def test_each_model_has_the_numbers_of_its_own_fit(configs: list[Plain]) -> None:
    for config, outcome in zip(configs, train_many(configs), strict=True):
        history, metrics = alone(config)
        assert outcome.metrics is not None
        assert outcome.error is None
        np.testing.assert_allclose(outcome.metrics.y_hat, metrics.y_hat, atol=1e-5)
        assert list(outcome.history) == list(history)
        for name, values in history.items():
            np.testing.assert_allclose(outcome.history[name], values, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(outcome.metrics.loss, metrics.loss, atol=1e-5)
        np.testing.assert_allclose(outcome.metrics.penalty, metrics.penalty, atol=1e-5)
        np.testing.assert_allclose(outcome.metrics.brier, metrics.brier, atol=1e-5)
        assert list(outcome.metrics.values) == list(metrics.values)
        for name, value in metrics.values.items():
            np.testing.assert_allclose(outcome.metrics.values[name], value, rtol=1e-4, atol=1e-7)
        for name in ("solved", "accuracy", "y_pred", "epochs_run"):
            assert getattr(outcome.metrics, name) == getattr(metrics, name)


@pytest.mark.parametrize("configs", CHANGING.values(), ids=CHANGING.keys())
def test_what_changes_is_in_the_history_and_is_one_program(configs: list[Plain]) -> None:
    assert len({group_key(config) for config in configs}) == 1
    changing = [name for name in alone(configs[0])[0] if name != "loss"]
    assert changing
    for name in changing:
        values = alone(configs[0])[0][name]
        assert len(np.unique(values)) > len(values) / 2


def test_the_initial_state_is_keras_s_to_the_bit() -> None:
    seeds = [0, 1, 12345, 2**31 - 1]
    weights, (dropout,) = InitialState(model_of(typed(study())))(seeds)
    for row, seed in enumerate(seeds):
        model = model_of(typed(study(seed=seed)))
        expected = np.concatenate([weight.numpy().ravel() for weight in model.trainable_variables])
        np.testing.assert_array_equal(weights[row], expected)
        np.testing.assert_array_equal(dropout[row], model.non_trainable_variables[0].numpy())


def test_a_model_that_diverges_leaves_the_others_alone() -> None:
    first, last = CASES["mixing weights, penalties, seeds and learning rates"][:2]
    bad = {**first, "optimizer": {"name": "adam", "learning_rate": 1e38}}
    outcomes = train_many([first, bad, last])
    history, _ = alone(bad)
    with pytest.raises(DivergedError) as expected:
        raise_if_diverged(history)
    assert str(outcomes[1].error) == str(expected.value)
    assert outcomes[1].metrics is None
    np.testing.assert_allclose(outcomes[1].history["loss"], history["loss"], rtol=1e-5)
    assert 1 < len(history["loss"]) < 10
    for config, outcome in ((first, outcomes[0]), (last, outcomes[2])):
        assert outcome.metrics is not None
        np.testing.assert_allclose(outcome.metrics.y_hat, alone(config)[1].y_hat, atol=1e-5)


# Which configs train in one program.


@pytest.mark.parametrize(
    "other",
    [
        study(loss__r=0.1),
        study(loss__r=1),
        study(reg__r=0.0),
        study(seed=7),
        study(optimizer__learning_rate=1),
    ],
)
def test_numbers_that_may_vary_are_not_in_the_key(other: Plain) -> None:
    assert group_key(other) == group_key(STUDY)


@pytest.mark.parametrize(
    "other",
    [
        study(loss=BCE),
        study(reg=NONE),
        study(data__targets=[[0], [1], [1], [1]]),
        study(model__hidden_units=5),
        study(model__dropout=0.2),
        study(optimizer__name="adamw"),
        study(epochs=100),
        study(batch_size=2),
        study(jit_compile=False),
        study(seed=-1),
        study(optimizer__learning_rate=-1.0),
        study(loss__r="half"),
    ],
)
def test_all_else_is_in_the_key(other: Plain) -> None:
    assert group_key(other) != group_key(STUDY)


def test_parameters_of_other_types_are_in_the_key() -> None:
    mean, largest = (study(loss={"name": "own_focal", "gamma": 2.0, "mode": mode}) for mode in ("mean", "max"))
    assert group_key(mean) != group_key(largest)


def test_a_float_that_may_be_left_out_varies_where_it_is_given() -> None:
    unset, small, large = (study(reg={"name": "own_elastic", "l1": 0.1, "l2": l2}) for l2 in (None, 0.1, 0.2))
    assert group_key(unset) != group_key(small) == group_key(large)


def test_numbers_inside_of_nested_plugins_vary() -> None:
    one, other = (study(loss=weighted({"name": "mix", "r": r}, r)) for r in (0.1, 0.2))
    assert group_key(one) == group_key(other)
    assert {"loss.terms.a.r", "loss.weights.a", "loss.weights.b"} <= set(group_key(one).varying)
    assert group_key(one) != group_key(study(loss=weighted(BCE, 0.1)))


def test_a_config_with_a_mistake_has_a_key_of_its_own() -> None:
    wrong, nested = study(loss={"name": "mxi", "r": 0.5}), study(loss=weighted({"name": "mxi"}, 0.5))
    assert len({group_key(config) for config in (wrong, nested, STUDY)}) == 3
    for config in (wrong, nested):
        with pytest.raises(lossreg.UnknownNameError, match="Did you mean 'mix'"):
            train_many([config])


def test_the_key_is_the_same_however_the_config_is_held() -> None:
    config = typed(STUDY)
    assert group_key(config) == group_key(OmegaConf.structured(config))
    assert group_key(OmegaConf.create(STUDY)) == group_key(STUDY)


def test_grouping_needs_no_tensorflow(no_tensorflow: Path) -> None:
    program = "from lossreg.training.groups import chunk_limit, group_key\n"
    program += f"print(group_key({STUDY!r}), chunk_limit({STUDY!r}))"
    subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env={"PYTHONPATH": f"{no_tensorflow}:{ROOT}"})


def test_fewer_large_models_than_small_ones_train_at_once() -> None:
    small, large = chunk_limit(STUDY), chunk_limit(study(model__hidden_units=100_000))
    assert small >= 1000
    assert 1 <= large < small / 10


def test_configs_of_two_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="configs 0 and 1 are not of one group"):
        train_many([STUDY, study(batch_size=2)])


# Plugins that cannot be vectorized.


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("own_branching", r"loss 'own_branching' .*'r', it raised OperatorNotAllowedInGraphError: .*: if r > 0\.5:\)"),
        ("own_converting", r"loss 'own_converting' .*'r', it raised TypeError: .*: r = float\(r\)\)"),
        ("own_converting_loss", r"loss 'own_converting_loss' .*'r', it raised .*: return np\.float32\(self\.r\)"),
        ("own_looking", "loss 'own_looking' .*with a tensor for 'r' its value is 0.338.*, else 0.0847"),
        ("own_random", "loss 'own_random' .*: it has side effects"),
        ("own_uncompilable", "loss 'own_uncompilable' .*compiling it raised InvalidArgumentError: .*AsString"),
    ],
)
def test_a_plugin_that_cannot_be_vectorized_is_named_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(CannotVectorizeError, match=reason):
        train_many([study(loss={"name": name, "r": r}) for r in (0.25, 0.75)])


def test_the_line_is_that_of_the_plugin_inside_another() -> None:
    with pytest.raises(CannotVectorizeError, match=r"loss 'weighted' .*'terms\.a\.r'.*: if r > 0\.5:\)"):
        train_many([study(loss=weighted({"name": "own_branching", "r": 0.25}, 0.5))])


def test_a_mistake_in_what_the_configs_share_is_the_run_s_own_error() -> None:
    with pytest.raises(lossreg.ParameterError, match="no parameter 'q'"):
        train_many([study(loss={"name": "mix", "q": 1})])
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate"):
        train_many([study(optimizer__learning_rate=-1.0)])


# One program for many chunks.


@pytest.fixture
def traced() -> Iterator[list[int]]:
    """A loss `own_counted` that notes each time that its Python code runs: while it is traced, not while it trains."""
    calls: list[int] = []

    @lossreg.losses.register("own_counted")
    def counted(y_true: Any, y_pred: Any, r: float = 1.0) -> Any:
        calls.append(1)
        return r * ops.mean(ops.square(y_true - y_pred), axis=-1)

    yield calls
    lossreg.losses.unregister("own_counted")


def test_a_chunk_of_the_same_size_or_smaller_is_not_compiled_again(traced: list[int]) -> None:
    configs = [
        study(loss={"name": "own_counted", "r": r}, epochs=60, seed=seed) for seed, r in enumerate((0.1, 0.2, 0.3))
    ]
    first = train_many(configs)
    count = len(traced)
    assert count > 0
    again, fewer = train_many(configs[::-1])[::-1], train_many(configs[1:])
    longer = train_many([{**config, "epochs": 70} for config in configs])
    assert len(traced) == count
    for one, other in zip([*first, *first[1:]], [*again, *fewer], strict=True):
        np.testing.assert_array_equal(one.history["loss"], other.history["loss"])
        assert one.metrics is not None
        assert other.metrics is not None
        assert one.metrics.y_hat == other.metrics.y_hat
    np.testing.assert_array_equal(longer[0].history["loss"][:60], first[0].history["loss"])
    assert len(longer[0].history["loss"]) == 70


def test_a_name_that_is_registered_anew_is_compiled_anew(traced: list[int]) -> None:
    configs = [study(loss={"name": "own_counted", "r": 1.0}, reg=NONE, epochs=1)]
    (before,) = train_many(configs)

    @lossreg.losses.register("own_counted", replace=True)
    def doubled(y_true: Any, y_pred: Any, r: float = 1.0) -> Any:
        return 2 * r * ops.mean(ops.square(y_true - y_pred), axis=-1)

    (after,) = train_many(configs)
    np.testing.assert_allclose(after.history["loss"], 2 * before.history["loss"], rtol=1e-6)


def test_progress_is_told_and_an_interrupt_leaves_nothing_behind() -> None:
    configs = [study(epochs=60, seed=seed) for seed in (1, 2)]
    told: list[tuple[int, int]] = []
    whole = train_many(configs, on_progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (60, 60)
    assert len(told) > 2
    assert [done for done, _ in told] == sorted({done for done, _ in told})

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_many(configs, on_progress=interrupt)
    for one, other in zip(whole, train_many(configs), strict=True):
        np.testing.assert_array_equal(one.history["loss"], other.history["loss"])


def test_no_configs_are_no_models() -> None:
    assert train_many([]) == []
