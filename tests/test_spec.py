"""A config node that is held against its plugin's signature; nothing here needs Keras."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import pytest

import lossreg
from lossreg import REQUIRED, ParameterError, Registry, Spec


@pytest.fixture
def parsed() -> Callable[..., Spec]:
    """Parse parameters of a loss 'x' that takes parameters of these types: `parsed({"r": 1}, r=float)`."""
    registry = Registry(lossreg.losses.kind)

    def parse(values: dict[str, Any], key: str = "", defaults: dict[str, Any] | None = None, **types: Any) -> Spec:
        def loss(y_true: Any, y_pred: Any, **parameters: Any) -> Any: ...

        data = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_ONLY) for name in ("y_true", "y_pred")]
        loss.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            data
            + [
                inspect.Parameter(
                    name, inspect.Parameter.KEYWORD_ONLY, annotation=kind, default=(defaults or {}).get(name, REQUIRED)
                )
                for name, kind in types.items()
            ]
        )
        registry.register("x", replace=True)(loss)
        return registry.parse({"name": "x", **values}, key=key)

    return parse


def value(spec: Spec, name: str = "r") -> Any:
    return spec.node()[name]


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (float, 1, 1.0),
        (float, 1.5, 1.5),
        (int, 2, 2),
        (bool, True, True),
        (float | None, None, None),
        (Literal["a", "b"], "a", "a"),
        (list[float], [1, 2], [1.0, 2.0]),
        (Any, {"x": 1}, {"x": 1}),
        (int | float, 2, 2),
        (int | float, 2.5, 2.5),
        # A variable of the environment is text: `loss.r=${oc.env:R}`.
        (float, "0.5", 0.5),
        (float | None, "null", None),
        (int, "3", 3),
        (int | float, "2", 2),
        (bool, "true", True),
        (list[float], ["1", 2], [1.0, 2.0]),
        (dict[str, float], {"a": "0.5"}, {"a": 0.5}),
        (str | float, "0.5", "0.5"),
    ],
)
def test_right_values_pass(parsed: Callable[..., Spec], kind: Any, given: Any, expected: Any) -> None:
    checked = value(parsed({"r": given}, r=kind))
    assert checked == expected
    assert type(checked) is type(expected)


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        *((float, given) for given in ("abc", True, None, [1.0], {"_target_": "os.system"})),
        *((int, given) for given in (1.5, "1.5", "")),
        *((bool, given) for given in (2, "yes")),
        (Literal["a", "b"], "c"),
        (list[float], ["a"]),
    ],
)
def test_wrong_values_are_refused_by_name(parsed: Callable[..., Spec], kind: Any, given: Any) -> None:
    with pytest.raises(ParameterError, match=r"loss\.r: loss 'x' .* takes .* for 'r', not "):
        parsed({"r": given}, "loss", r=kind)


def test_tensors_and_arrays_pass_where_a_number_is_expected(parsed: Callable[..., Spec]) -> None:
    given = np.array([0.5])
    assert value(parsed({"r": given}, r=float)) is given


@pytest.mark.parametrize("given", [np.float32(0.5), np.float64(0.5), np.array(0.5)])
def test_a_scalar_of_numpy_is_a_number(parsed: Callable[..., Spec], given: Any) -> None:
    found = value(parsed({"r": given}, r=float))
    assert found == 0.5
    assert type(found) is float


def test_integers_beside_floats_are_floats(parsed: Callable[..., Spec]) -> None:
    assert [type(inner) for inner in value(parsed({"r": [1, 0.5, 0]}, r=Any))] == [float, float, float]


def test_tensors_and_arrays_pass_beside_numbers_in_a_mapping(parsed: Callable[..., Spec]) -> None:
    given = np.array([0.5])
    spec = parsed({"weights": {"a": given, "b": 1}}, weights=dict[str, float])
    assert list(value(spec, "weights")) == ["a", "b"]
    assert value(spec, "weights") == {"a": given, "b": 1.0}
    with pytest.raises(ParameterError, match=r"not \{'b': 'half'\}"):
        parsed({"weights": {"a": given, "b": "half"}}, weights=dict[str, float])


def test_an_unknown_parameter_is_named_with_the_nearest_and_all(parsed: Callable[..., Spec]) -> None:
    with pytest.raises(ParameterError) as error:
        parsed({"gama": 1}, gamma=float, scale=float, defaults={"gamma": 2.0})
    assert str(error.value) == (
        "gama: loss 'x' (registered in this process) has no parameter 'gama'. Did you mean 'gamma'? "
        "It takes: gamma: float = 2.0, scale: float."
    )


@pytest.mark.parametrize("given", [{}, {"scale": "???"}])
def test_a_missing_parameter_is_named(parsed: Callable[..., Spec], given: dict[str, Any]) -> None:
    with pytest.raises(ParameterError, match=r"loss\.scale: loss 'x' .* needs a value for 'scale'"):
        parsed(given, "loss", scale=float)


NODE = {
    "name": "weighted",
    "terms": {"a": {"name": "mix", "r": 1}, "b": {"name": "huber"}},
    "weights": {"a": {"name": "bounded", "initial": 0.5, "upper": 2}, "b": 3},
}
CONSTANTS = {"terms.a.r": 1.0, "terms.b.delta": 1.0, "weights.a.initial": 0.5, "weights.b": 3.0}


def test_what_is_inside_is_parsed_too() -> None:
    spec = lossreg.losses.parse(NODE)
    assert [(path, inner.plugin.name) for path, inner in spec.walk()] == [
        *(("", "weighted"), ("terms.a", "mix"), ("terms.b", "huber"), ("weights.a", "bounded")),
    ]
    assert spec.constants() == CONSTANTS
    assert spec.node() == {  # with the defaults
        "name": "lossreg/weighted",
        "terms": {"a": {"name": "lossreg/mix", "r": 1.0}, "b": {"name": "lossreg/huber", "delta": 1.0}},
        "weights": {"a": {"name": "lossreg/bounded", "initial": 0.5, "lower": 0.0, "upper": 2.0}, "b": 3.0},
    }


def test_other_numbers_may_take_their_place() -> None:
    spec = lossreg.losses.parse(NODE)
    other = spec.with_numbers({"terms.a.r": 0.25, "weights.a.initial": 0.75, "weights.b": 1.0})
    assert other.constants() == CONSTANTS | {"terms.a.r": 0.25, "weights.a.initial": 0.75, "weights.b": 1.0}
    assert spec.constants()["terms.a.r"] == 1.0
    assert other.without_numbers() == spec.without_numbers()
    different = {**NODE, "weights": {**NODE["weights"], "a": {"name": "bounded", "upper": 3}}}  # type: ignore[dict-item]
    assert lossreg.losses.parse(different).without_numbers() != spec.without_numbers()


def test_a_mistake_inside_is_named_by_its_path() -> None:
    with pytest.raises(ParameterError, match=r"^loss\.terms\.a\.q: loss 'mix' .* has no parameter 'q'"):
        lossreg.losses.parse({**NODE, "terms": {"a": {"name": "mix", "q": 1}}}, key="loss")
    with pytest.raises(ParameterError, match=r"^loss\.weights\.a\.uper: learned number 'bounded'"):
        lossreg.losses.parse({**NODE, "weights": {"a": {"name": "bounded", "uper": 1}}}, key="loss")


def test_a_schedule_stands_in_the_place_of_real_numbers_only(parsed: Callable[..., Spec]) -> None:
    schedule = {"name": "cosine_decay", "initial_learning_rate": 1, "decay_steps": 5}
    assert isinstance(parsed({"r": schedule}, r=float).numbers["r"], Spec)
    for kind in (int, bool, str):
        with pytest.raises(ParameterError, match=r"r: loss 'x' .* takes \w+ for 'r', not"):
            parsed({"r": schedule}, r=kind)


def test_a_default_that_is_not_of_its_type_is_the_plugin_s_own(parsed: Callable[..., Spec]) -> None:
    spec = parsed({}, weights=dict[str, float], scale=float, defaults={"weights": {"a": 1, "b": "x"}, "scale": "auto"})
    assert spec.node() == {"name": "x"}
