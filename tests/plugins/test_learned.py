"""The learned numbers: what is trained is unconstrained, and comes back from the number."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

import lossreg


def learned(name, **params):
    (plugin,) = (p for p in lossreg.learned.plugins() if p.qualified_name == f"lossreg/{name}")
    return plugin.load()(**params)


@pytest.mark.parametrize(
    ("name", "params", "values"),
    [
        ("unbounded", {}, [-3.0, 0.0, 1e6]),
        ("bounded", {}, [1e-6, 0.3, 0.999]),
        ("bounded", {"lower": -2.0, "upper": 5.0}, [-1.9, 0.0, 4.9]),
        ("positive", {}, [1e-9, 1.0, 1e6]),
        ("uncertainty", {}, [1e-9, 0.5, 1e6]),
    ],
)
def test_the_inverse_is_inverse(name, params, values):
    made = learned(name, **params)
    for value in values:
        unconstrained = ops.convert_to_tensor(made.inverse(value), "float64")
        assert float(made(unconstrained)) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("unconstrained", [-30.0, -1.0, 0.0, 1.0, 30.0])
def test_whatever_is_trained_the_number_is_in_its_range(unconstrained):
    unconstrained = ops.convert_to_tensor(unconstrained, "float64")
    assert 2 < float(learned("bounded", lower=2.0, upper=3.0)(unconstrained)) < 3
    assert float(learned("positive")(unconstrained)) > 0
    assert float(learned("uncertainty")(unconstrained)) > 0


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("bounded", 0.0, "0 is not between 0 and 1"),
        ("bounded", 1.5, "1.5 is not between 0 and 1"),
        ("positive", 0.0, "0 is not above 0"),
        ("uncertainty", -2.0, "-2 is not above 0"),
    ],
)
def test_a_value_out_of_range_is_refused(name, value, message):
    with pytest.raises(ValueError, match=message):
        learned(name).inverse(value)


@pytest.mark.parametrize("loss", [0.01, 0.7, 12.0])
def test_the_weight_of_least_cost_is_that_of_the_uncertainty(loss):
    weight = learned("uncertainty")
    s = ops.linspace(-8.0, 8.0, 16001)
    best = s[int(np.argmin(weight(s) * loss + weight.penalty(s)))]
    assert float(weight(best)) == pytest.approx(1 / (2 * loss), rel=1e-2)
