from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest

from lossreg import REQUIRED, Style
from lossreg._signature import read_signature
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
