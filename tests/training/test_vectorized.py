"""Many models in one program: each has the numbers of its own run of Keras's fit."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

import lossreg
from lossreg.training import CannotVectorizeError, ConfigError, DivergedError, diverged, fit_many, group_key, train_many
from tests.training.study import BCE, MSE, NONE, STUDY, Plain, alone, study, weighted

# The numbers of the run alone.


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
    whole = configs is next(iter(CASES.values()))  # of the other cases one: compiling each run alone takes 5 s
    for config, outcome in list(zip(configs, train_many(configs), strict=True))[0 if whole else -1 :]:
        history, metrics = alone(config)
        assert outcome.metrics is not None
        assert outcome.error is None
        np.testing.assert_allclose(outcome.metrics["y_hat"], metrics["y_hat"], atol=1e-5)
        assert list(outcome.history) == list(history)
        for name, values in history.items():
            np.testing.assert_allclose(outcome.history[name], values, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(outcome.metrics["loss"], metrics["loss"], atol=1e-5)
        np.testing.assert_allclose(outcome.metrics["penalty"], metrics["penalty"], atol=1e-5)
        np.testing.assert_allclose(outcome.metrics["brier"], metrics["brier"], atol=1e-5)
        assert list(outcome.metrics["values"]) == list(metrics["values"])
        for name, value in metrics["values"].items():
            np.testing.assert_allclose(outcome.metrics["values"][name], value, rtol=1e-4, atol=1e-7)
        for name in ("solved", "accuracy", "y_pred", "epochs_run"):
            assert outcome.metrics[name] == metrics[name]


@pytest.mark.parametrize("configs", CHANGING.values(), ids=CHANGING.keys())
def test_what_changes_is_in_the_history_and_is_one_program(configs: list[Plain]) -> None:
    assert len({group_key(config) for config in configs}) == 1
    changing = [name for name in alone(configs[1])[0] if name not in ("loss", "reg")]
    assert changing
    for name in changing:
        values = alone(configs[1])[0][name]
        assert len(np.unique(values)) > len(values) / 2


def test_a_model_that_diverges_leaves_the_others_alone() -> None:
    first, last = CASES["mixing weights, penalties, seeds and learning rates"][:2]
    bad = {**first, "optimizer": {"name": "adam", "learning_rate": 1e38}}
    outcomes = train_many([first, bad, last])
    history, _ = alone(bad)
    assert isinstance(outcomes[1].error, DivergedError)
    assert str(outcomes[1].error) == str(diverged(history))
    assert outcomes[1].metrics is None
    np.testing.assert_allclose(outcomes[1].history["loss"], history["loss"], rtol=1e-5)
    assert 1 < len(history["loss"]) < 10
    for config, outcome in ((first, outcomes[0]), (last, outcomes[2])):
        assert outcome.metrics is not None
        np.testing.assert_allclose(outcome.metrics["y_hat"], alone(config)[1]["y_hat"], atol=1e-5)


def test_configs_of_two_groups_are_refused() -> None:
    with pytest.raises(ValueError, match="configs 0 and 1 are not of one group"):
        train_many([STUDY, study(batch_size=2)])


# Plugins that cannot be vectorized.


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("own_branching", r"loss 'own_branching' .*loss.r: OperatorNotAllowedInGraphError: .*: if r > 0\.5:\)"),
        ("own_converting", r"loss 'own_converting' .*loss.r: TypeError: .*: r = float\(r\)\)"),
        ("own_converting_loss", r"loss 'own_converting_loss' .*loss.r: .*: return np\.float32\(self\.r\)"),
        ("own_looking", "loss 'own_looking' .*with a tensor for loss.r: its value does not depend"),
        ("own_random", "loss 'own_random' .*: (it has side effects|TypeError: it makes a variable when it is called)"),
        ("own_uncompilable", "loss 'own_uncompilable' .*compiling it raised InvalidArgumentError: .*AsString"),
    ],
)
def test_a_plugin_that_cannot_be_vectorized_is_named_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(CannotVectorizeError, match=reason):
        train_many([study(loss={"name": name, "r": r}) for r in (0.25, 0.75)])


def test_a_broadcasting_bug_is_an_error_as_it_is_in_a_run_alone() -> None:
    @lossreg.losses.register("own_crossed", replace=True)
    def crossed(y_true: Any, y_pred: Any, r: float = 1.0) -> Any:
        return r * ops.mean(ops.square(y_true[:, 0] - y_pred), axis=-1)

    with pytest.raises(lossreg.ShapeError, match=r"loss 'own_crossed' .*every target was compared"):
        train_many([study(loss={"name": "own_crossed", "r": r}) for r in (0.25, 0.75)])


def test_the_line_is_that_of_the_plugin_inside_another() -> None:
    with pytest.raises(CannotVectorizeError, match=r"loss 'weighted' .*loss\.terms\.a\.r.*: if r > 0\.5:\)"):
        train_many([study(loss=weighted({"name": "own_branching", "r": r}, 0.5)) for r in (0.25, 0.75)])


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": {"name": "binary_crossentropy", "label_smoothing": 0.1}},
        {"loss": BCE, "reg": {"name": "l2", "l2": 0.01}},
        {"loss": weighted({"name": "own_branching", "r": 0.75}, 0.5), "reg": {"name": "own_elastic", "l1": 1e-3}},
    ],
)
def test_a_number_that_does_not_vary_stays_what_it_is(settings: Plain) -> None:
    configs = [study(**settings, epochs=30, seed=seed) for seed in (1, 2)]
    for config, outcome in list(zip(configs, train_many(configs), strict=True))[1:]:
        history, metrics = alone(config)
        assert outcome.metrics is not None
        np.testing.assert_allclose(outcome.metrics["y_hat"], metrics["y_hat"], atol=1e-5)
        np.testing.assert_allclose(outcome.history["loss"], history["loss"], atol=1e-5)


def test_another_number_that_does_not_vary_is_another_program() -> None:
    for r in (0.25, 0.75, 0.25):
        config = study(loss={"name": "own_branching", "r": r}, epochs=30)
        (outcome,) = train_many([config])
        np.testing.assert_allclose(outcome.history["loss"], alone(config)[0]["loss"], atol=1e-5)


# Any model, any data.


@pytest.fixture
def models() -> Iterator[None]:
    @lossreg.models.register("own_convolution")
    def convolution(inputs: Any, outputs: int, regularizer: Any, filters: int = 3) -> Any:
        x = keras.layers.Conv2D(filters, 3, activation="relu", kernel_regularizer=regularizer)(inputs)
        x = keras.layers.MaxPooling2D(2)(keras.layers.BatchNormalization()(x))
        return keras.layers.Dense(outputs)(keras.layers.Dropout(0.1)(keras.layers.Flatten()(x)))

    @lossreg.datasets.register("own_images")
    def images() -> Any:
        random = np.random.default_rng(0)
        y = np.arange(60) % 3
        return random.normal(size=(60, 8, 8, 1)) + y[:, None, None, None], y

    yield
    lossreg.models.unregister("own_convolution")
    lossreg.datasets.unregister("own_images")


DEEP = {"name": "mlp", "hidden_units": [5, 3], "activation": "relu", "batch_normalization": True, "dropout": 0.1}
ANY: dict[str, Plain] = {
    "two layers, batch normalisation, shuffled batches, early stopping": {
        "model": DEEP,
        "loss": weighted(MSE, 0.3),
        "patience": 2,
        "optimizer": {"name": "adam", "learning_rate": 0.1},
    },
    "convolutions on images": {
        "data": {"name": "own_images"},
        "model": {"name": "own_convolution"},
        "loss": {"name": "categorical_crossentropy"},
    },
    "integers as targets, weights of classes": {
        "data": {"name": "wine"},
        "loss": {"name": "sparse_categorical_crossentropy"},
        "class_weight": "balanced",
    },
}


@pytest.mark.usefixtures("models")
@pytest.mark.parametrize("settings", ANY.values(), ids=ANY.keys())
def test_any_model_has_the_numbers_of_its_own_fit(settings: Plain) -> None:
    moons: Plain = {"data": {"name": "two_moons", "n": 100}, "loss": BCE}
    shared: Plain = {**moons, "objective": None, "epochs": 12, "batch_size": 16, **settings}
    configs = [study(**shared, reg={"name": "l2custom", "r": r}, seed=seed) for seed, r in ((1, 1e-3), (2, 1e-2))]
    for config, outcome in list(zip(configs, train_many(configs), strict=True))[1:]:
        history, metrics = alone(config)
        assert outcome.metrics is not None
        assert list(outcome.history) == list(history)
        for name, values in history.items():
            np.testing.assert_allclose(outcome.history[name], values, rtol=1e-4, atol=1e-5)
        assert outcome.metrics.keys() == metrics.keys()
        for name, value in metrics.items():
            if name not in ("seconds", "values"):
                counts = name.endswith(("accuracy", "auc", "f1", "ece"))  # a rounding may change a tie into an order
                np.testing.assert_allclose(
                    outcome.metrics[name], value, rtol=1e-3, atol=0.02 if counts else 1e-4, err_msg=name
                )


def test_a_mistake_in_what_the_configs_share_is_the_run_s_own_error() -> None:
    with pytest.raises(lossreg.ParameterError, match="no parameter 'q'"):
        train_many([study(loss={"name": "mix", "q": 1})])
    with pytest.raises(ConfigError, match=r"optimizer\.learning_rate"):
        train_many([study(optimizer__learning_rate=-1.0)])
    with pytest.raises(ConfigError, match=r"loss\.reduction=none: the study trains with one number"):
        train_many([study(loss={"name": "mean_squared_error", "reduction": "none"})])


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
        assert one.metrics["y_hat"] == other.metrics["y_hat"]
    np.testing.assert_array_equal(longer[0].history["loss"][:60], first[0].history["loss"])
    assert len(longer[0].history["loss"]) == 70


def test_other_rows_of_the_same_shapes_are_not_compiled_again(traced: list[int]) -> None:
    settings: Plain = {"loss": {"name": "own_counted", "r": 1.0}, "epochs": 2, "batch_size": 32, "objective": None}
    counts = set()
    for seed in (0, 1):
        data = {
            "data": {"name": "two_moons", "n": 100, "seed": seed},
            "split": {"seed": seed},
            "label_noise": 0.1 * seed,
        }
        (found,) = train_many([config := study(**settings, **data)])
        counts.add(len(traced))
        history, metrics = alone(config)
        traced[:] = traced[: min(counts)]  # what the run alone traced does not count
        np.testing.assert_allclose(found.history["validation_loss"], history["validation_loss"], rtol=1e-4)
        assert found.metrics is not None
        assert found.metrics["test_brier"] == pytest.approx(metrics["test_brier"], rel=1e-4)
    assert len(counts) == 1


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


def test_a_function_and_arrays_of_one_s_own_train_as_the_registered_ones_do() -> None:
    def line(inputs: Any, outputs: int, regularizer: Any) -> Any:
        return keras.layers.Dense(outputs, kernel_initializer="zeros", kernel_regularizer=regularizer)(inputs)

    x = np.linspace(-1, 1, 64, dtype=np.float32)[:, None]
    configs: list[Plain] = [
        {"loss": "mean_squared_error", "reg": {"name": "l2custom", "r": l2}, "epochs": 3, "shuffle": False}
        for l2 in (0.0, 0.1)
    ]
    configs.insert(1, {"loss": "mean_absolute_error", "epochs": 3, "shuffle": False})
    outcomes = fit_many(line, (x, 2 * x + 1), configs)
    for outcome, loss, l2 in zip(
        outcomes, ("mean_squared_error", "mean_absolute_error", "mean_squared_error"), (0.0, 0.0, 0.1), strict=True
    ):
        plain = keras.Sequential(
            [
                keras.Input((1,)),
                keras.layers.Dense(1, kernel_initializer="zeros", kernel_regularizer=keras.regularizers.L2(l2)),
            ]
        )
        plain.compile("adam", loss)
        expected = plain.fit(x, 2 * x + 1, epochs=3, shuffle=False, verbose=0).history["loss"]
        np.testing.assert_allclose(outcome.history["loss"], expected, rtol=1e-5)


def test_no_configs_are_no_models() -> None:
    assert train_many([]) == []
