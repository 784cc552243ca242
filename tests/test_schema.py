from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from lossreg import REQUIRED, Parameter, ParameterError, Style
from lossreg._signature import check_parameters, read_signature
from lossreg._source import outline_of_object

LOSS = ("y_true", "y_pred")
WEIGHTS = ("weights",)


def returns_lambda(r):
    return lambda y_true, y_pred: r


def returns_inner(a, b):
    def loss(y_true, y_pred):
        return a * b

    return loss


def annotated(a, b) -> Callable[..., Any]:
    return print


class Instance:
    def __call__(self, y_true, y_pred, r=1.0):
        return r


@pytest.mark.parametrize(
    ("target", "data", "style", "names"),
    [
        (lambda y_true, y_pred: 0, LOSS, Style.FUNCTION, []),
        (lambda y_true, y_pred, r: 0, LOSS, Style.FUNCTION, ["r"]),
        (lambda target, output, r=1.0: 0, LOSS, Style.FUNCTION, ["r"]),
        (lambda y, y_hat, *, r=1.0: 0, LOSS, Style.FUNCTION, ["r"]),
        (lambda labels, logits, **kwargs: 0, LOSS, Style.FUNCTION, []),
        (lambda r=1.0: 0, LOSS, Style.FACTORY, ["r"]),
        (lambda: 0, LOSS, Style.FACTORY, []),
        (returns_lambda, LOSS, Style.FACTORY, ["r"]),
        (returns_inner, LOSS, Style.FACTORY, ["a", "b"]),
        (annotated, LOSS, Style.FACTORY, ["a", "b"]),
        (Instance, LOSS, Style.CLASS, []),
        (Instance(), LOSS, Style.FUNCTION, ["r"]),
        (lambda weights: 0, WEIGHTS, Style.FUNCTION, []),
        (lambda w, r=1.0: 0, WEIGHTS, Style.FUNCTION, ["r"]),
        (lambda r=1.0: 0, WEIGHTS, Style.FACTORY, ["r"]),
        (returns_lambda, WEIGHTS, Style.FACTORY, ["r"]),
    ],
)
def test_the_signature_tells_the_style(target: Any, data: tuple[str, ...], style: Style, names: list[str]) -> None:
    found, parameters = read_signature(outline_of_object(target), data)
    assert (found, [p.name for p in parameters]) == (style, names)


def types(a: float, b: int = 1, c: bool = False, d: str = "x", e: float | None = None, f: Literal["p", "q"] = "p", g=2,
          h=0.5, i=True, j="s", k=None, m: list[float] = [], n: Unknown = 1, o: "str" = "") -> None: ...  # type: ignore  # noqa  # fmt: skip


def test_annotations_and_defaults_become_types() -> None:
    _, parameters = read_signature(outline_of_object(types), LOSS)
    assert {p.name: p.type_name for p in parameters} == {
        **{"a": "float", "b": "int", "c": "bool", "d": "str", "e": "float | None", "f": "Literal['p', 'q']"},
        **{"g": "float", "h": "float", "i": "bool", "j": "str", "k": "Any", "m": "list[float]", "n": "Any", "o": "str"},
    }
    assert parameters[0].default is REQUIRED
    assert parameters[0].required


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (float, 1, 1.0),
        (float, 1.5, 1.5),
        (int, 2, 2),
        (bool, True, True),
        (float | None, None, None),
        (Literal["a", "b"], "a", "a"),
        (list[float], [1, 2], [1.0, 2.0]),
        (Any, {"x": 1}, {"x": 1}),
    ],
)
def test_right_values_pass(kind: Any, value: Any, expected: Any) -> None:
    checked = check_parameters([Parameter("r", kind)], {"r": value}, owner="loss 'x'")["r"]
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *((float, value) for value in ("abc", True, None, [1.0], {"_target_": "os.system"})),
        *((int, value) for value in (1.5, "1")),
        *((bool, value) for value in (1, "true")),
        (Literal["a", "b"], "c"),
        (list[float], ["a"]),
    ],
)
def test_wrong_values_are_refused_by_name(kind: Any, value: Any) -> None:
    with pytest.raises(ParameterError, match=r"loss\.r: loss 'x' takes .* for 'r', not "):
        check_parameters([Parameter("r", kind, 1.0)], {"r": value}, owner="loss 'x'", key="loss")


def test_tensors_and_arrays_pass_where_a_number_is_expected() -> None:
    value = np.array([0.5])
    assert check_parameters([Parameter("r", float)], {"r": value}, owner="loss 'x'")["r"] is value


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.array(0.5)])
def test_a_scalar_of_numpy_is_a_number(value: Any) -> None:
    checked = check_parameters([Parameter("r", float)], {"r": value}, owner="loss 'x'")
    assert checked == {"r": 0.5}
    assert type(checked["r"]) is float


def test_integers_beside_floats_are_floats() -> None:
    checked = check_parameters([Parameter("values", Any)], {"values": [1, 0.5, 0]}, owner="schedule 'x'")["values"]
    assert [type(value) for value in checked] == [float, float, float]


def test_tensors_and_arrays_pass_beside_numbers_in_a_mapping() -> None:
    parameter = Parameter("weights", dict[str, float])
    value = np.array([0.5])
    checked = check_parameters([parameter], {"weights": {"a": value, "b": 1}}, owner="loss 'x'")["weights"]
    assert checked == {"a": value, "b": 1.0}
    assert checked["a"] is value
    with pytest.raises(ParameterError, match=r"not \{'b': 'half'\}"):
        check_parameters([parameter], {"weights": {"a": value, "b": "half"}}, owner="loss 'x'")


def test_an_unknown_parameter_is_named_with_the_nearest_and_all() -> None:
    with pytest.raises(ParameterError) as error:
        check_parameters(
            [Parameter("gamma", float, 2.0), Parameter("scale", float)], {"gama": 1}, owner="loss 'x' (p 1)"
        )
    assert str(error.value) == (
        "gama: loss 'x' (p 1) has no parameter 'gama'. Did you mean 'gamma'? "
        "It takes: gamma: float = 2.0, scale: float."
    )


@pytest.mark.parametrize("given", [{}, {"scale": "???"}])
def test_a_missing_parameter_is_named(given: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"reg\.scale: regularizer 'x' needs a value for 'scale'"):
        check_parameters([Parameter("scale", float)], given, owner="regularizer 'x'", key="reg")


def test_a_mandatory_parameter_called_name_cannot_be_described() -> None:
    with pytest.raises(ValueError, match="'name' has no default"):
        read_signature(outline_of_object(lambda y_true, y_pred, name: 0), LOSS)
