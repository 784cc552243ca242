"""What `create` returns, held against Keras and NumPy."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

import lossreg
from lossreg import BrokenPluginError, ParameterError, Registry, ShapeError

Y = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
P = np.array([[0.1], [0.7], [0.4], [0.5]], np.float32)
WEIGHTS = np.array([[1.0, -2.0], [0.5, 0.0]], np.float32)


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What a test registers is gone after it."""
    before = set(lossreg.losses.names())
    yield
    for name in {*lossreg.losses.names()} - before:
        lossreg.losses.unregister(name)


SCALED = [("with_parameters", {"scale": 2.0}), ("factory", {}), ("factory_of_partial", {"scale": 2.0})]
SCALED += [("keras_class", {}), ("callable_class", {})]


@pytest.mark.parametrize(("name", "params"), SCALED)
def test_every_kind_of_loss_becomes_a_keras_loss(losses: Registry, name: str, params: dict[str, float]) -> None:
    loss = losses.create(name, **params)
    assert isinstance(loss, keras.losses.Loss)
    assert float(loss(Y, P)) == pytest.approx(2 * np.mean((Y - P) ** 2), rel=1e-6)


@pytest.mark.parametrize(("name", "params"), SCALED)
def test_sample_weights_are_honoured(losses: Registry, name: str, params: dict[str, float]) -> None:
    weights = np.array([1.0, 0.0, 2.0, 0.5], np.float32)
    expected = np.sum(2 * ((Y - P) ** 2)[:, 0] * weights) / 4
    assert float(losses.create(name, **params)(Y, P, sample_weight=weights)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", ["penalty", "penalty_factory", "keras_class", "callable_class"])
def test_every_kind_of_regularizer_becomes_a_keras_regularizer(regularizers: Registry, name: str) -> None:
    regularizer = regularizers.create(name, scale=2)
    assert isinstance(regularizer, keras.regularizers.Regularizer)
    assert float(regularizer(keras.ops.convert_to_tensor(WEIGHTS))) == pytest.approx(2 * np.abs(WEIGHTS).sum())


def test_keras_trains_with_them_and_logs_their_names() -> None:
    loss = lossreg.losses.create("mix", r=0.8)
    regularizer = lossreg.regularizers.create("l2custom", r=0.5)
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, "sigmoid", kernel_regularizer=regularizer)])
    model.compile("sgd", loss=loss, metrics=[loss])
    history = model.fit(P, Y, verbose=0).history
    assert set(history) == {"loss", "mix"}
    kernel = model.layers[0].kernel
    assert float(model.losses[0]) == pytest.approx(0.5 * float(np.sum(np.square(kernel))), rel=1e-6)


def test_the_repr_says_what_it_is(losses: Registry) -> None:
    assert repr(lossreg.losses.create("mix", r=0.8)) == "<loss lossreg/mix(r=0.8)>"
    assert repr(lossreg.regularizers.create("l2custom")) == "<regularizer lossreg/l2custom(r=0.0001)>"
    assert repr(losses.create("pack-a/twin")) == "<loss pack-a/twin(own='a')>"
    assert losses.create("pack-a/twin").name == "twin"


def test_build_takes_a_config_node() -> None:
    loss = lossreg.losses.build({"name": "mix", "r": 1})
    bce = -np.mean(Y * np.log(P + 1e-6) + (1 - Y) * np.log(1 - P + 1e-6))
    assert float(loss(Y, P)) == pytest.approx(bce, rel=1e-5)


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_targets_without_a_trailing_axis_do_not_broadcast(shape: tuple[int, ...]) -> None:
    loss = lossreg.losses.create("mse")
    assert float(loss(Y.reshape(shape), P)) == pytest.approx(np.mean((Y - P) ** 2), rel=1e-6)


@pytest.mark.parametrize("name", ["broadcasting", "broadcasting_class"])
def test_a_broadcasting_bug_is_an_error_that_names_the_package(losses: Registry, name: str) -> None:
    with pytest.raises(ShapeError, match=rf"'{name}' \(every-kind 1\.2\.3\).*\(4, 4\).*\(4, 1\)"):
        losses.create(name)(Y, P)


def test_a_class_of_a_stranger_is_handed_equal_ranks(losses: Registry) -> None:
    expected = np.mean((Y - P) ** 2)
    for y_true, y_pred in ((Y[:, 0], P), (Y, P[:, 0])):
        assert float(losses.create("elementwise_class")(y_true, y_pred)) == pytest.approx(expected, rel=1e-6)


def test_a_keras_loss_that_calls_itself_is_left_to_it(losses: Registry) -> None:
    assert float(losses.create("own_call")(Y, P)) == pytest.approx(np.abs(Y - P).sum(), rel=1e-6)


def test_a_penalty_that_is_no_scalar_is_an_error_that_names_the_package(regularizers: Registry) -> None:
    with pytest.raises(ShapeError, match=r"'not_a_scalar' \(every-kind 1\.2\.3\).*\(2, 2\)"):
        regularizers.create("not_a_scalar")(keras.ops.convert_to_tensor(WEIGHTS))


def test_an_error_inside_a_plugin_names_the_package_and_the_line(losses: Registry) -> None:
    with pytest.raises(
        BrokenPluginError, match=r"'raises' of package every-kind 1\.2\.3 raised TypeError: this loss always"
    ):
        losses.create("raises")(Y, P)


@pytest.mark.parametrize("name", ["shatter", "dependent", "constant", "gone"])
def test_a_broken_plugin_names_its_package(losses: Registry, name: str) -> None:
    with pytest.raises(BrokenPluginError, match=r"of package [a-z-]+ 1\.2\.3 cannot be used"):
        losses.create(name)


def test_a_factory_that_returns_no_function_is_an_error() -> None:
    lossreg.losses.register("returns_three")(lambda r=3.0: r)
    with pytest.raises(BrokenPluginError, match="returned a float, not a function"):
        lossreg.losses.create("returns_three")


def test_a_missing_parameter_is_an_error_before_anything_is_called(losses: Registry) -> None:
    with pytest.raises(ParameterError, match="needs a value for 'scale'"):
        losses.create("with_parameters")


@pytest.mark.parametrize("r", [0.8, 1])
def test_the_config_makes_an_equal_object(r: float) -> None:
    loss = lossreg.losses.create("mix", r=r)
    again = type(loss).from_config(loss.get_config())
    assert repr(again) == repr(loss)
    assert float(again(Y, P)) == float(loss(Y, P))
    regularizer = lossreg.regularizers.create("l2custom", r=r)
    assert repr(type(regularizer).from_config(regularizer.get_config())) == repr(regularizer)


def test_tensors_are_taken_for_numbers() -> None:
    loss = lossreg.losses.create("mix", r=keras.ops.convert_to_tensor(0.8))
    assert float(loss(Y, P)) == pytest.approx(float(lossreg.losses.create("mix", r=0.8)(Y, P)), rel=1e-6)


@pytest.mark.parametrize(("true_shape", "pred_shape"), [((4, 1), (4,)), ((4,), (4, 1))])
def test_ranks_that_differ_give_one_value_per_sample_as_keras_does(
    true_shape: tuple[int, ...], pred_shape: tuple[int, ...]
) -> None:
    y_true, y_pred = np.array([0.0, 1.0, 1.0, 0.0], "float32"), np.array([0.1, 0.2, 0.7, 0.9], "float32")
    loss = lossreg.losses.create("mse")
    value = loss.call(keras.ops.array(y_true.reshape(true_shape)), keras.ops.array(y_pred.reshape(pred_shape)))
    np.testing.assert_allclose(value, (y_true - y_pred) ** 2, rtol=1e-6)


def squared(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def test_a_loss_of_keras_that_is_made_already_keeps_its_sample_weights() -> None:
    huber = keras.losses.Huber(delta=0.5)
    lossreg.losses.register("my_huber", replace=True)(huber)
    p = np.array([[1.0], [2.0], [3.0], [4.0]], "float32")
    weights = np.array([0.0, 0.0, 0.0, 4.0], "float32")
    loss = lossreg.losses.create("my_huber")
    assert lossreg.losses.describe("my_huber").parameters == ()
    assert float(loss(0 * p, p, sample_weight=weights)) == float(huber(0 * p, p, sample_weight=weights))


def weighs(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
    return y_true - y_pred


def makes_what_weighs(scale: float = 1.0) -> Any:
    def loss(y_true: Any, y_pred: Any, sample_weights: Any = None) -> Any:
        return scale * (y_true - y_pred)

    return loss


class Weighs:
    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        return y_true - y_pred


@pytest.mark.parametrize("target", [weighs, makes_what_weighs, Weighs])
def test_what_wants_sample_weights_is_refused(target: Any) -> None:
    lossreg.losses.register("weighs", replace=True)(target)
    with pytest.raises(BrokenPluginError, match=r"parameter 'sample_weights?' would be handed no weights"):
        lossreg.losses.create("weighs")


def one(y_pred: Any, scale: float = 1.0) -> Any:
    return scale * keras.ops.mean(keras.ops.square(y_pred))


def swapped(y_pred: Any, y_true: Any) -> Any:
    return keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)


def by_keyword(*, y_true: Any, y_pred: Any) -> Any:
    return swapped(y_pred, y_true)


def factory_of_one(scale: float = 1.0) -> Any:
    return lambda logits: scale * logits


class SwappedLoss(keras.losses.Loss):
    def call(self, logits: Any, labels: Any) -> Any:
        return swapped(logits, labels)


class CalledWithOne:
    def __call__(self, y_pred: Any) -> Any:
        return one(y_pred)


@pytest.mark.parametrize(
    ("target", "takes"),
    [
        (one, "it takes (y_pred: Any, scale: float = 1.0)"),
        (swapped, "it takes (y_pred: Any, y_true: Any)"),
        (lambda x: x, "it takes (x)"),
        (by_keyword, "it takes (*, y_true: Any, y_pred: Any)"),
        (factory_of_one, "what it makes takes (logits)"),
        (SwappedLoss, "it takes (logits: Any, labels: Any)"),
        (CalledWithOne, "what it makes takes (y_pred: Any)"),
    ],
)
def test_what_does_not_take_the_data_as_keras_hands_it_is_refused(target: Any, takes: str) -> None:
    lossreg.losses.register("misfit", replace=True)(target)
    with pytest.raises(BrokenPluginError, match=r"'misfit' .* cannot be used: ") as error:
        lossreg.losses.create("misfit")
    assert takes in str(error.value).replace("typing.", "").replace("'Any'", "Any")
    assert "(y_true, y_pred)" in str(error.value)


def test_odd_names_that_leave_a_doubt_are_taken() -> None:
    def distance(x: Any, y: Any, label: float = 1.0) -> Any:
        return label * keras.ops.mean(keras.ops.square(x - y), axis=-1)

    def smoothed(label_smoothing: float) -> Any:
        return made(label_smoothing)

    def made(label_smoothing: float) -> Any:
        return lambda a, b: distance(a, b, label_smoothing)

    for target, given in ((distance, {}), (smoothed, {"label_smoothing": 1.0})):
        lossreg.losses.register("doubtful", replace=True)(target)
        assert float(lossreg.losses.create("doubtful", **given)(Y, P)) == pytest.approx(np.mean((Y - P) ** 2))


def test_a_parameter_by_the_name_of_a_method_works_and_is_assigned_by_its_number() -> None:
    @lossreg.losses.register("clash", replace=True)
    def clash(
        y_true: Any, y_pred: Any, call: float = 1.0, reduction: str = "mean", dtype: float = 1.0, _gain: float = 1.0
    ) -> Any:
        return call * dtype * _gain * keras.ops.mean(keras.ops.square(y_true - y_pred), axis=-1)

    loss = lossreg.losses.create("clash", call=2.0, reduction="sum")
    assert float(loss(Y, P)) == pytest.approx(2 * np.mean((Y - P) ** 2), rel=1e-6)
    with pytest.raises(AttributeError, match=r"'call' is a method here"):
        loss.call = 5.0
    loss.numbers["call"].assign(5.0)
    assert float(loss(Y, P)) == pytest.approx(5 * np.mean((Y - P) ** 2), rel=1e-6)
    assert "reduction='sum'" in repr(loss)
    with pytest.raises(AttributeError, match=r"'dtype' is .* an attribute of Keras's"):
        loss.dtype = 5.0
    loss._gain = 2.0
    assert float(loss(Y, P)) == pytest.approx(10 * np.mean((Y - P) ** 2), rel=1e-6)
    assert loss._gain == 2.0


def hetero(y: Any, p: Any) -> Any:  # as many values as targets: two means, then two log-variances
    mu, log_var = keras.ops.split(p, 2, axis=-1)
    return 0.5 * (log_var + keras.ops.square(y - mu) * keras.ops.exp(-log_var))


def mixture(y: Any, p: Any) -> Any:
    mu, scale, weight = keras.ops.split(p, 3, axis=-1)
    log = keras.ops.log_softmax(weight) - scale - 0.5 * keras.ops.square((y - mu) * keras.ops.exp(-scale))
    return -keras.ops.logsumexp(log, axis=-1)


def pooled(y: Any, p: Any) -> Any:
    return keras.ops.square(keras.ops.average_pool(y, 2) - keras.ops.average_pool(p, 2))


def noisy(y: Any, p: Any) -> Any:
    return squared(y, p + keras.random.normal(keras.ops.shape(p)))


def by_numpy(y: Any, p: Any) -> Any:  # where it is no NumPy array it cannot be tried
    return keras.ops.convert_to_tensor(np.square(np.asarray(y) - np.asarray(p)[:, ::2]))


def contrastive(y: Any, p: Any) -> Any:
    scores = keras.ops.matmul(y, keras.ops.transpose(p))
    labels = keras.ops.arange(keras.ops.shape(y)[0])
    return keras.losses.sparse_categorical_crossentropy(labels, scores, from_logits=True)


def declared(y: Any, p: Any) -> Any:
    return keras.ops.square(y[:, 0] - p)


declared.lossreg_per_sample = False  # type: ignore[attr-defined]

MASKED = "masked"
SOUND: list[tuple[Any, tuple[int, ...], tuple[int, ...], str]] = [
    (hetero, (2,), (4,), ""),
    (lambda y, p: squared(y, keras.ops.split(p, 2, axis=-1)[0]), (1,), (2,), ""),
    (lambda y, p: keras.ops.square(y[:, 1:] - p[:, :-1]), (4,), (4,), ""),  # the next step: fewer values
    (mixture, (1,), (6,), ""),
    (pooled, (4, 4, 1), (4, 4, 1), ""),
    (noisy, (1,), (1,), ""),
    (lambda y, p: keras.ops.sum(keras.ops.square(y - p)), (1,), (1,), ""),
    (lambda y, p: 1 - 2 * keras.ops.sum(y * p) / keras.ops.sum(y + p), (1,), (1,), ""),
    (declared, (1,), (1,), ""),
    (contrastive, (3,), (3,), "what a sample is worth depends on the others in its batch"),
    (by_numpy, (2,), (4,), "perhaps"),
]


def computed(loss: Any, y: Any, p: Any, *, weights: Any = None, mode: Mapping[str, Any] | None = None) -> float:
    """Return what Keras trains with for a compiled loss, in compiled code of this mode or eagerly."""
    model = keras.Sequential([keras.Input(np.shape(p)[1:]), keras.layers.Masking()])
    model.compile("sgd", loss)

    def compute() -> Any:
        return model.compute_loss(y=y, y_pred=model(p) if weights is MASKED else p, sample_weight=given)

    given = None if weights is MASKED else weights
    return float(compute() if mode is None else tf.function(compute, autograph=False, **mode)())


@pytest.mark.parametrize(("loss", "y_shape", "p_shape", "told"), SOUND)
def test_a_sound_loss_is_no_broadcast_and_has_the_value_of_plain_keras(
    loss: Any, y_shape: tuple[int, ...], p_shape: tuple[int, ...], told: str
) -> None:
    y, p = (np.random.default_rng(0).uniform(size=(8, *shape)).astype("float32") for shape in (y_shape, p_shape))
    lossreg.losses.register("sound", replace=True)(loss)
    modes: list[dict[str, bool] | None] = [None] if loss is by_numpy else [None, {}]
    for mode in modes:
        created, found = lossreg.losses.create("sound"), []
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            for each in (loss, created, created):
                keras.utils.set_random_seed(0)
                found.append(computed(each, y, p, mode=mode))
        assert found == pytest.approx([found[0]] * 3, rel=1e-6)
        messages = [str(warning.message) for warning in said if "loss 'sound'" in str(warning.message)]
        assert len(messages) == bool(told)
        assert all(told in message and "lossreg_per_sample = False" in message for message in messages)


def absolute(y: Any, p: Any) -> Any:
    return keras.ops.abs(keras.ops.reshape(y, (-1,)) - p)


CROSSED: list[Any] = [lambda y, p: keras.ops.mean(absolute(y, p)), lambda y, p: keras.ops.sum(absolute(y, p))]
CROSSED += [lambda y, p: keras.ops.mean(absolute(y, p) ** 2, -1), lambda y, p: keras.ops.sum(absolute(y, p), -1)]
CROSSED += [lambda y, p: keras.ops.mean(keras.ops.log(keras.ops.cosh(absolute(y, p))), axis=0), absolute]


@pytest.mark.parametrize("mode", [None, {}])
@pytest.mark.parametrize("loss", CROSSED)
def test_a_broadcast_that_is_reduced_is_an_error(loss: Any, mode: dict[str, bool] | None) -> None:
    lossreg.losses.register("crossed", replace=True)(loss)
    with pytest.raises(ShapeError, match="every target was compared with every prediction"):
        computed(lossreg.losses.create("crossed"), Y, P, mode=mode)


@pytest.mark.parametrize(("loss", "warned"), [(declared, 0), (lambda y_true, y_pred: contrastive(y_true, y_pred), 1)])
def test_a_term_says_for_itself_how_samples_meet_in_it(loss: Any, warned: int) -> None:
    lossreg.losses.register("term", replace=True)(loss)
    created = lossreg.losses.create("weighted", terms={"a": {"name": "term"}}, weights={"a": 2.0})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        np.testing.assert_allclose(created.call(Y, P), 2 * loss(Y, P), rtol=1e-6)
    assert len(said) == warned


def test_a_warning_of_the_loss_itself_is_that_of_its_data() -> None:
    with pytest.warns(SyntaxWarning, match=r"y_pred\.shape=\(4, 1\)") as said:
        lossreg.losses.create("categorical_crossentropy")(Y, P)
    assert len(said) == 1


def test_an_object_of_keras_that_takes_other_ranks_is_handed_them(losses: Registry) -> None:
    class Squeezes(keras.losses.Loss):
        def call(self, y_true: Any, y_pred: Any) -> Any:
            return keras.ops.abs(y_true - keras.ops.squeeze(y_pred, axis=-1))

    lossreg.losses.register("squeezes", replace=True)(Squeezes)
    for y, p in ((Y[:, 0], P), (np.stack([Y, P], 1)[..., 0], np.stack([P, Y], 1))):
        assert float(lossreg.losses.create("squeezes")(y, p)) == pytest.approx(float(Squeezes()(y, p)), rel=1e-6)


GRID = [((1,), (1,)), ((), (1,)), ((3,), (3,)), ((4,), (4, 1)), ((4, 1), (4,)), ((4, 2), (4, 2)), ((3,), (1,))]
WEIGHED: list[Any] = [None, (), (1,), (4,), (4, 1), MASKED]


@pytest.mark.parametrize("mode", [None, {}, {"jit_compile": True}], ids=["eager", "graph", "xla"])
@pytest.mark.parametrize(("y_shape", "p_shape"), GRID)
def test_ranks_weights_and_masks_are_those_of_plain_keras(
    y_shape: tuple[int, ...], p_shape: tuple[int, ...], mode: dict[str, bool] | None
) -> None:
    random, n = np.random.default_rng(0), 4
    y, p = (random.normal(size=(n, *shape)).astype("float32") for shape in (y_shape, p_shape))
    p[1] = 0.0  # what a mask leaves out
    lossreg.losses.register("squared", replace=True)(squared)
    for weights in WEIGHED if mode != {"jit_compile": True} else [(), MASKED]:
        given = random.uniform(size=(n, *weights)).astype("float32") if isinstance(weights, tuple) else weights
        found: list[Any] = []
        for loss in (squared, lossreg.losses.create("squared")):
            try:
                found.append(computed(loss, y, p, weights=given, mode=mode))
            except Exception as error:  # what Keras refuses, the registry may refuse too
                found.append(type(error).__name__)
        plain, registered = found
        assert registered == (plain if isinstance(plain, str) else pytest.approx(plain, rel=1e-6)), weights


class Plain(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return squared(y_true, y_pred)


class Keywords(Plain):
    def __init__(self, scale: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Reduced(Plain):
    def __init__(self, reduction="sum_over_batch_size", name="own"):
        super().__init__(name, reduction)


@pytest.mark.parametrize("target", ["mean_squared_error", Plain, Keywords, Reduced])
def test_the_reduction_of_a_keras_class_can_be_given(target: Any) -> None:
    name = target if isinstance(target, str) else "reduced"
    if name == "reduced":
        lossreg.losses.register(name, replace=True)(target)
    error = ((Y - P) ** 2)[:, 0]
    expected = {None: error, "none": error, "sum": error.sum(), "mean_with_sample_weight": (error[:2]).sum() / 2}
    for reduction, value in expected.items():
        loss = lossreg.losses.create(name, reduction=reduction)
        for each in (loss, type(loss).from_config(loss.get_config())):
            assert f"reduction={reduction!r}" in repr(each)
            weights = [1.0, 1.0, 0.0, 0.0] if reduction == "mean_with_sample_weight" else None
            np.testing.assert_allclose(each(Y, P, sample_weight=weights), value, rtol=1e-6)
    assert "reduction" not in repr(lossreg.losses.create(name))
    with pytest.raises(
        ParameterError, match=r"takes Literal\['sum_over_batch_size', 'sum', .*for 'reduction', not 'max'"
    ):
        lossreg.losses.create(name, reduction="max")


def test_class_weights_are_those_of_plain_keras() -> None:
    lossreg.losses.register("squared", replace=True)(squared)
    found = []
    for loss in (squared, lossreg.losses.create("squared")):
        model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
        model.compile("sgd", loss)
        found.append(float(model.train_on_batch(P, Y, class_weight={0: 0.2, 1: 3.0})))
    assert found[0] == pytest.approx(found[1], rel=1e-6)


JAX = """
import json, sys
import keras, lossreg
import numpy as np
assert keras.backend.backend() == "jax"
x = np.random.default_rng(0).normal(size=(16, 2)).astype("float32")
y = (x[:, :1] > 0).astype("float32")
found = []
mix, l2 = lossreg.losses.get("mix"), lossreg.regularizers.get("l2custom")
ours = lossreg.losses.create("mix", r=0.3), lossreg.regularizers.create("l2custom", r=0.01)
for loss, penalty in (ours, (lambda y, p: mix(y, p, r=0.3), lambda w: l2(w, r=0.01))):
    keras.utils.set_random_seed(0)
    hidden = keras.layers.Dense(3, kernel_regularizer=penalty)
    model = keras.Sequential([keras.Input((2,)), hidden, keras.layers.Dense(1, "sigmoid")])
    model.compile("adam", loss)
    if loss is ours[0]:
        lossreg.attach(model)
        untrained = f"{sys.argv[1]}/model.keras"
        model.save(untrained)
    found.append(model.fit(x, y, epochs=2, verbose=0).history["loss"])
loaded = lossreg.load_model(untrained)
found.append(loaded.fit(x, y, epochs=2, verbose=0).history["loss"])
refused = []
def attempt(do):
    try:
        do()
    except lossreg.RegistryError as error:
        refused.append(str(error))
cosine = {"name": "cosine_decay", "initial_learning_rate": 1, "decay_steps": 10}
for r in (cosine, {"name": "bounded"}, keras.Variable(0.5)):
    attempt(lambda: lossreg.losses.create("mix", r=r))
attempt(lambda: lossreg.regularizers.create("weighted", terms={"a": {"name": "l2custom", "r": cosine}}))
attempt(lambda: setattr(ours[0], "r", 0.5))
attempt(lambda: ours[1].numbers["r"].assign(0.5))
print(json.dumps([found, refused, repr(ours)]))
"""


def test_with_jax_constants_work_and_what_changes_is_refused_at_once(tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", JAX, str(tmp_path)]
    process = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    (ours, plain, loaded), refused, shown = json.loads(process.stdout)
    assert ours == pytest.approx(plain, rel=1e-6)
    assert loaded == pytest.approx(plain, rel=1e-6)
    assert len(refused) == 6
    assert all("needs the TensorFlow backend of Keras, and this is jax" in message for message in refused)
    assert refused[0].startswith("r: loss 'mix' (lossreg ")
    assert shown == "(<loss lossreg/mix(r=0.3)>, <regularizer lossreg/l2custom(r=0.01)>)"
