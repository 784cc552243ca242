from __future__ import annotations

import dataclasses
import enum
import json
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

from lossreg import REQUIRED, Parameter, ParameterError, Style
from lossreg._signature import check_value, plain_number, read_signature, typed
from lossreg._source import outline_of_object

LOSS = ("y_true", "y_pred")
WEIGHTS = ("weights",)


def returns_lambda(r):
    return lambda y_true, y_pred: r


def returns_inner(a, b):
    def loss(y_true, y_pred):
        return a * b

    return loss


def returns_one_of_two(a, b):
    loss: Any = lambda y_true, y_pred: a  # noqa: E731
    return loss if a else lambda y_true, y_pred: b


def computes_by_lambda(y, p):
    return map_over(lambda a, b: a - b, y, p)


def map_over(function, *data):
    return function(*data)


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
        (returns_one_of_two, LOSS, Style.FACTORY, ["a", "b"]),
        (computes_by_lambda, LOSS, Style.FUNCTION, []),
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
        **{
            "g": "int | float",
            "h": "float",
            "i": "bool",
            "j": "str",
            "k": "Any",
            "m": "list[float]",
            "n": "Any",
            "o": "str",
        },
    }
    assert parameters[0].default is REQUIRED
    assert parameters[0].required


def test_a_mandatory_parameter_called_name_cannot_be_described() -> None:
    with pytest.raises(ValueError, match="'name' has no default"):
        read_signature(outline_of_object(lambda y_true, y_pred, name: 0), LOSS)


class Mode(enum.Enum):
    A = "a"
    B = "b"


class Pair(enum.Enum):
    P = (1, 2)
    Q = (3, 4)


@dataclasses.dataclass(frozen=True)
class Inner:
    mode: Mode = Mode.A
    scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class Outer:
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("kind", "default", "given", "config", "taken"),
    [
        (Mode, Mode.A, "b", "b", Mode.B),
        (Mode | None, None, Mode.B, "b", Mode.B),
        (list[Mode], [Mode.A], ["b"], ["b"], [Mode.B]),
        (dict[str, Mode], {"k": Mode.A}, {"k": Mode.B}, {"k": "b"}, {"k": Mode.B}),
        (Pair, Pair.P, [3, 4], (3, 4), Pair.Q),
        (Outer, Outer(), {"inner": {"mode": "b"}}, {"inner": {"mode": "b", "scale": 1.0}}, Outer(Inner(Mode.B))),
        (Inner | None, None, {"scale": 2}, {"mode": "a", "scale": 2.0}, Inner(scale=2.0)),
        (set[str], {"x"}, ["b", "a"], ["a", "b"], {"a", "b"}),
        (np.ndarray, None, [1.0, 2.0], [1.0, 2.0], np.array([1.0, 2.0])),
        (np.float32, np.float32(2.0), 3, 3.0, np.float32(3.0)),
        (Any, (1.0, 2.0), [3, 4.0], [3.0, 4.0], (3.0, 4.0)),
        (Any, np.ones(2, "float32"), np.array([3.0, 4.0]), [3.0, 4.0], np.array([3.0, 4.0], "float32")),
    ],
)
def test_a_value_is_plain_in_a_config_and_of_its_type_for_the_plugin(
    kind: Any, default: Any, given: Any, config: Any, taken: Any
) -> None:
    parameter = Parameter("m", kind, default)
    found = check_value(parameter, plain_number(given), where="m", owner="loss 'f'")
    assert found == config
    made = typed(parameter, json.loads(json.dumps(found)))
    np.testing.assert_array_equal(made, taken)
    assert type(made) is type(taken)
    assert typed(Parameter("m", kind, None), None) is None


@pytest.mark.parametrize("default", [Mode.A, Inner()])
def test_a_default_tells_its_type(default: Any) -> None:
    def loss(y_true, y_pred, m=default): ...

    assert read_signature(outline_of_object(loss), LOSS)[1][0].type is type(default)


@pytest.mark.parametrize(
    ("kind", "given", "message"),
    [
        (Outer, {"inner": {"scal": 1.0}}, "m.inner.scal: .* Did you mean 'scale'"),
        (Inner | None, {"mod": "a"}, "m.mod: .* Did you mean 'mode'"),
        (list[Inner], [{"scale": 1.0}, {"mod": "a"}], "m.mod: "),
        (Mode | None, "c", r"takes 'a' \| 'b' \| None for 'm', not 'c'"),
        (list[Mode], ["c"], r"takes list\['a' \| 'b'\] for"),
        (Pair, [1, 3], r"takes \(1, 2\) \| \(3, 4\) for"),
    ],
)
def test_what_is_misspelt_inside_is_refused(kind: Any, given: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        check_value(Parameter("m", kind), given, where="m", owner="loss 'f'")


def test_only_a_number_takes_what_changes() -> None:
    kinds = (float, int | float, float | None, list[float], tuple[float, float], int)
    assert [Parameter("m", kind).takes_number for kind in kinds] == [True, True, True, False, False, False]
