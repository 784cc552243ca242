"""Losses and regularizers composed of others."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

import lossreg
from lossreg import BrokenPluginError, ParameterError, Registry
from tests.conftest import composed

Y = np.array([[0.0], [1.0], [1.0], [0.0]], np.float32)
P = np.array([[0.1], [0.7], [0.4], [0.5]], np.float32)
BCE_MSE = {"first": {"name": "bce"}, "second": {"name": "mse"}}


def test_it_equals_mix_when_it_is_given_the_terms_of_mix() -> None:
    weighted = lossreg.losses.create("weighted", terms=BCE_MSE, weights={"first": 0.8, "second": 0.2})
    assert float(weighted(Y, P)) == pytest.approx(float(lossreg.losses.create("mix", r=0.8)(Y, P)), rel=1e-6)


def test_it_is_composed_on_the_command_line() -> None:
    cfg = composed(
        *(
            "loss=weighted",
            "+loss@loss.terms.a=mix",
            "+loss@loss.terms.b=mse",
            "loss.terms.a.r=0.25",
            "loss.weights.b=2",
        ),
        *("reg=weighted", "+reg@reg.terms.a=l2custom", "+reg@reg.terms.b=l1", "reg.weights={a: 3, b: 0.5}"),
    )
    loss = lossreg.losses.build(cfg.loss)
    bce = -np.mean(Y * np.log(P + 1e-6) + (1 - Y) * np.log(1 - P + 1e-6))
    mse = np.mean((Y - P) ** 2)
    assert float(loss(Y, P)) == pytest.approx(0.25 * bce + 0.75 * mse + 2 * mse, rel=1e-5)
    weights = np.array([[1.0, -2.0]], np.float32)
    penalty = lossreg.regularizers.build(cfg.reg)(keras.ops.convert_to_tensor(weights))
    assert float(penalty) == pytest.approx(3 * 0.0001 * 5 + 0.5 * 0.01 * 3, rel=1e-5)


def test_a_preset_composes_it() -> None:
    cfg = composed("loss=bce_and_mse", "loss.weights.bce=0.8", "loss.weights.mse=0.2")
    loss = lossreg.losses.build(cfg.loss)
    assert float(loss(Y, P)) == pytest.approx(float(lossreg.losses.create("mix", r=0.8)(Y, P)), rel=1e-6)


def test_it_nests_and_honours_sample_weights() -> None:
    inner = {"name": "weighted", "terms": BCE_MSE}
    nested = lossreg.losses.create("weighted", terms={"x": inner, "y": {"name": "huber"}}, weights={"x": 0.5})
    weights = np.array([1.0, 0.0, 2.0, 0.5], np.float32)
    bce = -(Y * np.log(P + 1e-6) + (1 - Y) * np.log(1 - P + 1e-6))[:, 0]
    square = ((Y - P) ** 2)[:, 0]
    expected = np.sum(weights * (0.5 * (bce + square) + 0.5 * square)) / 4  # huber is half the square here
    assert float(nested(Y, P, sample_weight=weights)) == pytest.approx(expected, rel=1e-5)


def test_third_party_terms(losses: Registry) -> None:
    loss = losses.create("weighted", terms={"a": {"name": "keras_class", "scale": 3}, "b": {"name": "factory"}})
    assert float(loss(Y, P)) == pytest.approx((3 + 2) * np.mean((Y - P) ** 2), rel=1e-5)


def test_objects_are_taken_as_terms_and_the_config_makes_it_again() -> None:
    loss = lossreg.losses.create("weighted", terms={"a": lossreg.losses.create("mix", r=0.3)}, weights={"a": 2})
    assert loss.parameters == {"terms": {"a": {"name": "lossreg/mix", "r": 0.3}}, "weights": {"a": 2.0}}
    again = type(loss).from_config(loss.get_config())
    assert (
        float(again(Y, P)) == float(loss(Y, P)) == pytest.approx(2 * float(lossreg.losses.create("mix", r=0.3)(Y, P)))
    )


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"terms": {"a": {"name": "bec"}}}, r"loss\.terms\.a\.name: There is no loss 'bec'. Did you mean 'bce'\?"),
        ({"terms": {"a": {"name": "mix", "r": "x"}}}, r"loss\.terms\.a\.r: loss 'mix' .* takes float for 'r', not 'x'"),
        ({"terms": {"a": {"name": "mix", "s": 1}}}, r"loss\.terms\.a\.s: loss 'mix' .* has no parameter 's'"),
        ({"terms": {"a": 3}}, r"loss\.terms\.a: expected \{name: <loss>"),
        ({"terms": 3}, r"loss\.terms: expected \{name: <loss>"),
        ({}, r"loss\.terms: loss 'weighted' .* needs a value for 'terms'"),
        ({"terms": {"a": {"name": "bce"}}, "weights": {"a": "x"}}, r"loss\.weights: .* takes dict\[str, float\]"),
    ],
)
def test_a_mistake_inside_is_named_by_its_key(node: dict[str, Any], message: str) -> None:
    with pytest.raises(lossreg.RegistryError, match=message):
        lossreg.losses.build({"name": "weighted", **node}, key="loss")


def test_a_weight_without_a_term_is_an_error() -> None:
    with pytest.raises(BrokenPluginError, match="there is no term c; the terms are first, second"):
        lossreg.losses.create("weighted", terms=BCE_MSE, weights={"c": 1})


def test_only_registered_losses_are_terms() -> None:
    with pytest.raises(ParameterError, match="expected {name: <loss>"):  # noqa: RUF043
        lossreg.losses.create("weighted", terms={"a": keras.losses.MeanSquaredError()})
