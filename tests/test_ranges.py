"""Ranges that a plugin declares: read from source and from objects, held, and said."""

from __future__ import annotations

import math
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest
from annotated_types import Ge, GroupedMetadata, Gt, Interval, Le, Len, Lt, MinLen, MultipleOf

import lossreg
from lossreg import ParameterError, Plugin
from lossreg._ranges import bare, shown, within
from lossreg._signature import describe, read_signature
from lossreg._source import outline_of_object

UNIT = Annotated[float, Interval(ge=0, le=1)]


class Share(GroupedMetadata):
    def __iter__(self) -> typing.Iterator[object]:
        yield Ge(0)
        yield Lt(1)


@pytest.mark.parametrize(
    ("kind", "inside", "outside", "text"),
    [
        (UNIT, [0, 1, 0.5], [-0.1, 1.1, math.nan, math.inf], "float in [0, 1]"),
        (Annotated[float, Gt(0), Lt(1)], [0.5], [0.0, 1.0, math.nan], "float in (0, 1)"),
        (Annotated[float, Gt(0)], [1e-9, math.inf], [0.0, -1.0], "float above 0"),
        (Annotated[float, Ge(-1)], [-1.0], [-1.1], "float at least -1"),
        (Annotated[float, Lt(math.inf)], [-math.inf, 1e300], [math.inf, math.nan], "float below inf"),
        (Annotated[float, Share()], [0.0], [1.0], "float in [0, 1)"),
        (Annotated[float, msgspec.Meta(ge=0, le=1)], [0.0], [2.0], "float in [0, 1]"),
        (Annotated[int, MultipleOf(2), Gt(2)], [4], [2, 5], "int a multiple of 2 above 2"),
        (Annotated[float, MultipleOf(0.1)], [0.3], [0.25], "float a multiple of 0.1"),
        (Annotated[list[float], MinLen(1)], [[0.0]], [[]], "list[float] of length at least 1"),
        (Annotated[list[UNIT], Len(1, 2)], [[0.0]], [[], [2.0], [0, 0, 0]], None),
        (list[UNIT], [[], [0.5]], [[0.5, 2.0]], "list[float in [0, 1]]"),
        (tuple[UNIT, Annotated[int, Gt(5)]], [(0.5, 6)], [(0.5, 5), (6.0, 6)], None),
        (dict[str, Annotated[float, Ge(0)]], [{"a": 0.0}], [{"a": -1.0}], "dict[str, float at least 0]"),
        (UNIT | None, [None, 0.5], [2.0], "float in [0, 1] | None"),
        (Annotated[float | None, Le(1)], [None, 0.5], [2.0], "float | None at most 1"),
        (Literal["auto"] | Annotated[float, Gt(0)], ["auto", 1.0], [0.0], "Literal['auto'] | float above 0"),
        (Annotated[int | float, Gt(0)], [1, 0.5], [0, -0.5], "int | float above 0"),
    ],
)
def test_a_range_is_held_and_said(kind: Any, inside: list[Any], outside: list[Any], text: str | None) -> None:
    assert [value for value in inside if not within(kind, value)] == []
    assert [value for value in outside if within(kind, value)] == []
    assert text is None or shown(kind) == text
    assert "Annotated" not in str(bare(kind))


SOURCE = """
from __future__ import annotations
import annotated_types as at, typing as t
from annotated_types import Gt, Lt as Below
from typing import Annotated as A
from .shared import Unit, Many as Several
Own = A[float, at.Ge(2)]

def loss(y_true, y_pred, a: A[float, Gt(0), Below(1)] = 0.5, b: t.Annotated[float, at.Interval(gt=0, le=1)] = 1,
         c: Unit = 0.5, d: Own | None = None, e: Several = [], f: "t.Optional[Own]" = None, g: Unknown = 1.0):
    return y_pred

def factory(a: A[float, Gt(0)], b: Own):
    def loss(y_true, y_pred):
        return y_pred
    return loss

class Penalty:
    def __init__(self, r: Unit = 0.5):
        self.r = r
    def __call__(self, w):
        return self.r * w
"""
SHARED = """
from typing import Annotated, List
from annotated_types import Interval, MinLen
Unit = Annotated[float, Interval(ge=0, le=1)]
Many = Annotated[List[Unit], MinLen(1)]
"""
TEXTS = {
    "loss": "a: float in (0, 1) = 0.5, b: float in (0, 1] = 1, c: float in [0, 1] = 0.5, "
    "d: float at least 2 | None = None, e: List[float in [0, 1]] of length at least 1 = [], "
    "f: float at least 2 | None = None, g: Any = 1.0",
    "factory": "a: float above 0, b: float at least 2",
    "Penalty": "r: float in [0, 1] = 0.5",
}


@pytest.mark.parametrize("name", TEXTS)
def test_the_source_and_the_object_say_the_same(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "rangy"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "plugin.py").write_text(SOURCE)
    (package / "shared.py").write_text(SHARED)
    monkeypatch.syspath_prepend(str(tmp_path))
    data = ("weights",) if name == "Penalty" else ("y_true", "y_pred")
    read = describe(Plugin(name, f"rangy.plugin:{name}"), data).parameters
    assert ", ".join(map(str, read)) == TEXTS[name]
    assert "rangy.plugin" not in sys.modules
    imported = getattr(__import__("rangy.plugin", fromlist=[name]), name)
    _, parameters = read_signature(outline_of_object(imported), data)
    for module in ("rangy.plugin", "rangy.shared", "rangy"):
        del sys.modules[module]
    assert [(p.name, p.type) for p in parameters] == [(p.name, p.type) for p in read]
    assert ", ".join(map(str, parameters)) == TEXTS[name]


REFUSED = [
    (lossreg.losses, {"name": "quantile", "tau": 2}, "loss.tau: loss 'quantile' (lossreg 0.1.0) takes float in (0, 1)"),
    (
        lossreg.losses,
        {"name": "mix", "r": math.nan},
        "loss.r: loss 'mix' (lossreg 0.1.0) takes float in [0, 1] for 'r'",
    ),
    (lossreg.losses, {"name": "wing", "width": 0}, "takes float above 0 for 'width', not 0."),
    (lossreg.losses, {"name": "huber", "delta": -1}, "takes float above 0 for 'delta', not -1."),
    (lossreg.losses, {"name": "binary_crossentropy", "label_smoothing": 1.5}, "float in [0, 1] for 'label_smoothing'"),
    (lossreg.losses, {"name": "categorical_generalized_cross_entropy", "q": 1}, "float in (0, 1) for 'q', not 1."),
    (lossreg.losses, {"name": "weighted", "terms": {"a": {"name": "mix", "r": 2}}}, "loss.terms.a.r: loss 'mix'"),
    (
        lossreg.losses,
        {"name": "mix", "r": {"name": "cosine_decay", "initial_learning_rate": 1, "decay_steps": 0}},
        "loss.r.decay_steps: schedule 'cosine_decay' (lossreg 0.1.0) takes int above 0 for 'decay_steps', not 0.",
    ),
    (lossreg.losses, {"name": "mix", "r": {"name": "positive", "initial": 0}}, "loss.r.initial: learned number"),
    (lossreg.regularizers, {"name": "l2custom", "r": -1}, "takes float at least 0 for 'r', not -1."),
    (lossreg.regularizers, {"name": "l1_l2", "l2": -1.0}, "takes float at least 0 for 'l2', not -1.0."),
    (lossreg.regularizers, {"name": "elastic_net", "l1_ratio": 1.01}, "float in [0, 1] for 'l1_ratio', not 1.01."),
]


@pytest.mark.parametrize(("registry", "node", "message"), REFUSED, ids=[node["name"] for _, node, _ in REFUSED])  # type: ignore[index]
def test_ours_and_keras_s_have_theirs(registry: lossreg.Registry, node: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError) as error:
        registry.parse(node, key="loss")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_of_the_type_is_still_told_by_the_type() -> None:
    with pytest.raises(ParameterError, match="takes float for 'r', not 'abc'"):
        lossreg.losses.parse({"name": "mix", "r": "abc"}, key="loss")


def test_a_default_outside_its_own_range_is_the_author_s(register: Callable[..., Any]) -> None:
    def loss(y_true: Any, y_pred: Any, r: Annotated[float, Gt(0)] = -1.0) -> Any: ...

    register("sentinel", loss)
    assert lossreg.losses.parse({"name": "sentinel", "r": -1.0}).node()["r"] == -1.0
    with pytest.raises(ParameterError, match="takes float above 0"):
        lossreg.losses.parse({"name": "sentinel", "r": -2.0})


def test_an_assignment_is_held_against_the_range_too() -> None:
    loss = lossreg.losses.create("mix", r=0.25)
    with pytest.raises(ParameterError, match=r"r: loss 'mix' .* takes float in \[0, 1\] for 'r', not -1"):
        loss.r = -1
    assert loss.r == 0.25
    loss.r = 1
    assert loss.r == 1.0


def test_a_schedule_may_stand_where_a_range_is() -> None:
    schedule = {"name": "polynomial_decay", "initial_learning_rate": 1.0, "decay_steps": 4}
    assert isinstance(lossreg.losses.parse({"name": "huber", "delta": schedule}).numbers["delta"], lossreg.Spec)


@pytest.fixture
def register() -> typing.Iterator[Callable[..., Any]]:
    names: list[str] = []

    def register(name: str, target: Any) -> None:
        lossreg.losses.register(name)(target)
        names.append(name)

    yield register
    for name in names:
        lossreg.losses.unregister(name)
